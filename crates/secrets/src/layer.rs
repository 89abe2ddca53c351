//! One reading of the input: the bytes as they are, or decoded from another layer. Each layer looks for anchors, follows
//! candidates, and hands what it decodes to layers below.
//!
//! The promise that everything else rests on: what a layer finds depends on its bytes alone, not on how many of them
//! came at a time; and [`Layer::hold_recorded`] names the first byte of the input that a later finding may begin with.

use std::ops::Range;

use crate::encoded::{Place, Runs};
use crate::engine::{Inner, Target};
use crate::finding::Encoding;
use crate::rule::Run;
use crate::text::{TOKEN_BYTES_MAX, TRIGGERS, Token, token};
use crate::walk::{self, Pieces, REACH_BYTES_MAX, Walked};

/// Layers below the bytes as they are: base64 of JSON with escapes in it is two.
pub(crate) const DEPTH_MAX: usize = 3;
/// Bytes in front of a match that its check may see.
pub(crate) const CONTEXT_BYTES: usize = 128;
/// Bytes around a decoded token that are read again with it: the longest token of a rule but for certificates' keys,
/// whose lines are shorter.
const AROUND_BYTES: usize = 320;
/// Bytes kept in front of what is still open: what a check, a walk or a decoded token may look back at.
const KEPT_BYTES: usize = 512;
/// Dropped bytes are moved over only when there are so many.
const TRIM_BYTES_MIN: usize = 4096;

/// Where a decoded byte comes from in the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Where a layer's bytes come from.
pub(crate) enum Origins {
    /// They are the input, from this byte on.
    Input(u64),
    Each(Vec<Origin>),
}

impl Origins {
    pub(crate) fn at(&self, index: usize) -> Origin {
        match self {
            Origins::Input(base) => Origin { start: base + index as u64, end: base + index as u64 + 1 },
            Origins::Each(origins) => origins[index],
        }
    }

    fn drop_front(&mut self, count: usize) {
        match self {
            Origins::Input(base) => *base += count as u64,
            Origins::Each(origins) => drop(origins.drain(..count)),
        }
    }
}

/// How a layer came to be, from the outside in.
pub(crate) type Path = Vec<Encoding>;

/// A match that passed its check.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) rule: usize,
    pub(crate) span: Range<u64>,
    pub(crate) secret: Vec<u8>,
    pub(crate) path: Path,
    pub(crate) certainty: u8,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    target: Target,
    start: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Matching(Run),
    /// The match as it stands was followed to its end; now over bridges, only sober ones where it was a finding.
    Walking {
        is_sober: bool,
    },
}

pub(crate) struct Layer {
    path: Path,
    bytes: Vec<u8>,
    origins: Origins,
    /// The first byte has none before it.
    is_at_start: bool,
    /// Anchors that end before this were seen.
    searched: usize,
    candidates: Vec<Candidate>,
    text: Text,
    runs: Runs,
    hold: Option<u64>,
}

/// The layer of decoded text below, fed only around what is decoded.
struct Text {
    /// Tokens before this are read.
    read: usize,
    /// Plain bytes are fed up to here.
    fed_until: usize,
    /// Where the input's first decoded token of the segment begins: what ends before it was read without decoding.
    first_token: u64,
    is_open: bool,
    child: Option<Box<Layer>>,
}

impl Text {
    /// Reads what was fed.
    fn read_child(&mut self, engine: &Inner, is_ended: bool, found: &mut Vec<Found>) {
        let Some(child) = self.child.as_deref_mut().filter(|_| self.is_open) else { return };
        let mut inner = Vec::new();
        match is_ended {
            true => child.end_segment(engine, &mut inner),
            false => child.advance(engine, false, &mut inner),
        }
        self.is_open = !is_ended;
        found.extend(inner.into_iter().filter(|found| found.span.end > self.first_token));
    }
}

impl Layer {
    /// The bytes as they are.
    pub(crate) fn input() -> Layer {
        Layer::new(Path::new(), Origins::Input(0))
    }

    pub(crate) fn below(path: &Path, encoding: Encoding) -> Layer {
        Layer::new(path.iter().copied().chain([encoding]).collect(), Origins::Each(Vec::new()))
    }

    fn new(path: Path, origins: Origins) -> Layer {
        let text = Text { read: 0, fed_until: 0, first_token: 0, is_open: false, child: None };
        Layer {
            path,
            bytes: Vec::new(),
            origins,
            is_at_start: true,
            searched: 0,
            candidates: Vec::new(),
            text,
            runs: Runs::new(),
            hold: None,
        }
    }

    /// Appends the input's own bytes.
    pub(crate) fn append_input(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends decoded bytes that all come from one place.
    pub(crate) fn append(&mut self, bytes: &[u8], origin: Origin) {
        self.bytes.extend_from_slice(bytes);
        if let Origins::Each(origins) = &mut self.origins {
            origins.extend(bytes.iter().map(|_| origin));
        }
    }

    /// Reads what was appended.
    pub(crate) fn advance(&mut self, engine: &Inner, is_ended: bool, found: &mut Vec<Found>) {
        self.find_anchors(engine);
        self.follow_candidates(engine, is_ended, found);
        if self.path.len() < DEPTH_MAX {
            self.decode_text(engine, is_ended, found);
            let place = Place { engine, layer: &self.path, bytes: &self.bytes, origins: &self.origins, is_ended };
            self.runs.advance(&place, found);
        }
        self.hold = if is_ended { None } else { self.first_open(engine) };
        self.trim();
    }

    /// The input's first byte that may still belong to a finding of this layer or one below.
    pub(crate) fn hold_recorded(&self) -> Option<u64> {
        self.hold
    }

    /// What follows does not go on from what was there.
    pub(crate) fn end_segment(&mut self, engine: &Inner, found: &mut Vec<Found>) {
        self.advance(engine, true, found);
        self.bytes.clear();
        if let Origins::Each(origins) = &mut self.origins {
            origins.clear();
        }
        self.is_at_start = true;
        (self.searched, self.text.read, self.text.fed_until, self.runs.done) = (0, 0, 0, 0);
        self.candidates.clear();
        self.hold = None;
    }

    fn find_anchors(&mut self, engine: &Inner) {
        let from = self.searched.saturating_sub(engine.anchor_bytes_max - 1);
        for (target, range) in engine.anchors_in(&self.bytes[from..]) {
            let (start, end) = (from + range.start, from + range.end);
            if end > self.searched && self.has_left_edge(engine, target, start) {
                let stage = match target {
                    Target::Rule(rule) => Stage::Matching(engine.start(rule, start)),
                    _ => Stage::Walking { is_sober: false },
                };
                self.candidates.push(Candidate { target, start, stage });
            }
        }
        // A literal may end in the middle of an anchor.
        for quote in memchr::memchr3_iter(b'"', b'\'', b'`', &self.bytes[self.searched..]) {
            let quote = self.searched + quote;
            if let Some(tail) = engine.certain_tail(&self.bytes[..quote]) {
                let stage = Stage::Walking { is_sober: false };
                self.candidates.push(Candidate { target: Target::Tail, start: quote - tail, stage });
            }
        }
        self.searched = self.bytes.len();
    }

    fn has_left_edge(&self, engine: &Inner, target: Target, start: usize) -> bool {
        let Target::Rule(rule) = target else { return true };
        match start.checked_sub(1).map(|before| self.bytes[before]) {
            _ if !engine.rule(rule).has_left_edge => true,
            None => self.is_at_start,
            Some(before) => !is_word(before),
        }
    }

    fn follow_candidates(&mut self, engine: &Inner, is_ended: bool, found: &mut Vec<Found>) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain_mut(|candidate| self.follow(candidate, engine, is_ended, found));
        self.candidates = candidates;
    }

    /// Follows a candidate as far as the bytes go. False when it is done.
    fn follow(&mut self, candidate: &mut Candidate, engine: &Inner, is_ended: bool, found: &mut Vec<Found>) -> bool {
        if let (Stage::Matching(run), Target::Rule(rule)) = (&mut candidate.stage, candidate.target) {
            let limit = self.limit(candidate.start, engine.rule(rule).bytes_max);
            if !engine.step(rule, run, &self.bytes, limit, is_ended) {
                return true;
            }
            let is_found = self.take_match(engine, rule, candidate.start, *run, found);
            if engine.rule(rule).class != crate::Class::Secret {
                return false;
            }
            candidate.stage = Stage::Walking { is_sober: is_found || !engine.rule(rule).is_certain };
        }
        let Stage::Walking { is_sober } = candidate.stage else { return false };
        let start = candidate.start;
        let limit = self.limit(start, REACH_BYTES_MAX);
        let (bytes, is_ended) = (&self.bytes[..limit.min(self.bytes.len())], is_ended || limit <= self.bytes.len());
        let walked = match candidate.target {
            Target::Rule(_) | Target::Tail => walk::pieces(bytes, start, is_sober, is_ended),
            Target::Codes => walk::numbers(bytes, start, is_ended),
            Target::Rot13 => walk::rot13(bytes, start, is_ended),
            Target::Reversed => walk::reversed(bytes, start, is_ended),
        };
        match walked {
            Walked::Undecided => return true,
            Walked::Nothing => {}
            Walked::Text(pieces) => self.take_pieces(engine, candidate.target, &pieces, found),
        }
        false
    }

    /// Where a match that begins here must have ended.
    fn limit(&self, start: usize, bytes_max: usize) -> usize {
        let limit = start + bytes_max;
        match &self.origins {
            Origins::Each(origins) if origins.len() > start => {
                let reach = origins[start].start + REACH_BYTES_MAX as u64;
                match origins.last().is_some_and(|last| last.end > reach) {
                    true => limit.min(start + origins[start..].partition_point(|origin| origin.end <= reach)),
                    false => limit,
                }
            }
            _ => limit,
        }
    }

    /// Reports a match if it passes. True if it was reported.
    fn take_match(&self, engine: &Inner, rule: usize, start: usize, run: Run, found: &mut Vec<Found>) -> bool {
        let Some(end) = run.longest else { return false };
        if engine.rule(rule).has_right_edge && self.bytes.get(end).is_some_and(|byte| is_word(*byte)) {
            return false;
        }
        let before = &self.bytes[start.saturating_sub(CONTEXT_BYTES)..start];
        let Some((secret, certainty)) = engine.check(rule, &self.bytes[start..end], before) else { return false };
        let (from, to) = (start + secret.start, start + secret.end);
        found.push(Found {
            rule,
            span: self.origins.at(from).start..self.origins.at(to - 1).end,
            secret: self.bytes[from..to].to_vec(),
            path: self.path.clone(),
            certainty,
        });
        true
    }

    /// Looks for rules at the start of text that was put together.
    fn take_pieces(&self, engine: &Inner, target: Target, pieces: &Pieces, found: &mut Vec<Found>) {
        let rules: Vec<usize> = match target {
            Target::Rule(rule) => vec![rule],
            _ => engine.certain_rules_at(&pieces.bytes).collect(),
        };
        let encoding = match target {
            Target::Rule(_) | Target::Tail => Encoding::Pieces,
            Target::Codes => Encoding::Codes,
            Target::Rot13 => Encoding::Rot13,
            Target::Reversed => Encoding::Reversed,
        };
        for rule in rules {
            let mut run = engine.start(rule, 0);
            engine.step(rule, &mut run, &pieces.bytes, engine.rule(rule).bytes_max, true);
            let Some(end) = run.longest else { continue };
            let Some((secret, certainty)) = engine.check(rule, &pieces.bytes[..end], &[]) else { continue };
            let crossed: Vec<bool> = pieces
                .seams
                .iter()
                .filter(|(at, _)| *at > secret.start && *at < secret.end)
                .map(|seam| seam.1)
                .collect();
            if encoding == Encoding::Pieces && crossed.is_empty()
                || !engine.rule(rule).is_certain && !crossed.iter().all(|is_sure| *is_sure)
            {
                continue;
            }
            let (one, other) = (pieces.places[secret.start], pieces.places[secret.end - 1]);
            let (first, last) = (one.0.min(other.0), one.1.max(other.1) - 1);
            found.push(Found {
                rule,
                span: self.origins.at(first).start..self.origins.at(last).end,
                secret: pieces.bytes[secret].to_vec(),
                path: self.path.iter().copied().chain([encoding]).collect(),
                certainty,
            });
        }
    }

    fn decode_text(&mut self, engine: &Inner, is_ended: bool, found: &mut Vec<Found>) {
        while self.text.read < self.bytes.len() {
            let from = self.text.read;
            let plain = self.bytes[from..].iter().take_while(|byte| !TRIGGERS[usize::from(**byte)]).count();
            self.feed_plain(from + plain, engine, found);
            if self.text.read == self.bytes.len() {
                break;
            }
            match token(&self.bytes, self.text.read, is_ended) {
                Token::Undecided => break,
                Token::Plain(count) => self.feed_plain(self.text.read + count, engine, found),
                Token::Decoded(count, short) => self.feed_decoded(count, short.as_bytes(), found, engine),
            }
        }
        self.text.read_child(engine, is_ended, found);
    }

    /// Plain bytes up to `end`: fed only if something was decoded a little before.
    fn feed_plain(&mut self, end: usize, engine: &Inner, found: &mut Vec<Found>) {
        if self.text.is_open {
            let until = end.min(self.text.fed_until);
            let child = self.text.child.as_deref_mut().expect("an open segment has a layer");
            copy(&self.bytes, &self.origins, self.text.read..until, child);
            if end > self.text.fed_until {
                self.text.read_child(engine, true, found);
            }
        }
        self.text.read = end;
    }

    fn feed_decoded(&mut self, count: usize, decoded: &[u8], found: &mut Vec<Found>, engine: &Inner) {
        let at = self.text.read;
        let child = self.text.child.get_or_insert_with(|| Box::new(Layer::below(&self.path, Encoding::Escaped)));
        if !self.text.is_open {
            let from = at.saturating_sub(AROUND_BYTES);
            child.is_at_start = from == 0 && self.is_at_start;
            copy(&self.bytes, &self.origins, from..at, child);
            self.text.is_open = true;
            self.text.first_token = self.origins.at(at).start;
        }
        let origin = Origin { start: self.origins.at(at).start, end: self.origins.at(at + count - 1).end };
        child.append(decoded, origin);
        self.text.read = at + count;
        self.text.fed_until = at + count + AROUND_BYTES;
        // Decoded text is read as it grows, so that its window stays small.
        if child.bytes.len() > 8 * TRIM_BYTES_MIN {
            self.text.read_child(engine, false, found);
        }
    }

    fn first_open(&self, engine: &Inner) -> Option<u64> {
        let length = self.bytes.len();
        let tail = engine.tail(&self.bytes);
        let mut first = self.candidates.iter().map(|candidate| candidate.start).min().unwrap_or(length);
        first = first.min(length - tail);
        let is_decoded = self.path.len() < DEPTH_MAX;
        let read = self.text.read;
        if is_decoded && read < length {
            // What ends at the token may go on behind it once the token is decoded.
            first = first.min(read.saturating_sub(AROUND_BYTES));
        }
        let here = (first < length).then(|| self.origins.at(first).start);
        let text = self.text.child.as_ref().filter(|_| self.text.is_open).and_then(|child| child.hold);
        let runs = if is_decoded { self.runs.hold(&self.origins, length) } else { None };
        [here, text, runs].into_iter().flatten().min()
    }

    /// Drops bytes that nothing looks back at.
    fn trim(&mut self) {
        let candidates = self.candidates.iter().map(|candidate| candidate.start);
        let mut open = candidates.min().unwrap_or(self.searched);
        if self.path.len() < DEPTH_MAX {
            open = open.min(self.text.read).min(self.runs.done);
        }
        let count = open.saturating_sub(KEPT_BYTES);
        if count < TRIM_BYTES_MIN {
            return;
        }
        self.bytes.drain(..count);
        self.origins.drop_front(count);
        self.is_at_start = false;
        self.searched -= count;
        self.text.read = self.text.read.saturating_sub(count);
        self.text.fed_until = self.text.fed_until.saturating_sub(count);
        self.runs.done = self.runs.done.saturating_sub(count);
        for candidate in &mut self.candidates {
            candidate.start -= count;
            if let Stage::Matching(run) = &mut candidate.stage {
                run.at -= count;
                run.longest = run.longest.map(|end| end - count);
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn copy(bytes: &[u8], origins: &Origins, range: Range<usize>, child: &mut Layer) {
    child.bytes.extend_from_slice(&bytes[range.clone()]);
    if let Origins::Each(mapped) = &mut child.origins {
        match origins {
            Origins::Input(_) => mapped.extend(range.map(|index| origins.at(index))),
            Origins::Each(origins) => mapped.extend_from_slice(&origins[range]),
        }
    }
}

// The longest token is within what is kept in front of what is open.
const _: () = assert!(TOKEN_BYTES_MAX < AROUND_BYTES && AROUND_BYTES < KEPT_BYTES && CONTEXT_BYTES < KEPT_BYTES);
