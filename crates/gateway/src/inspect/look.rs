//! The cheap stages: every text is found, and looked at for tens of microseconds a kilobyte; what the transformer should
//! read is chosen.
//!
//! Promises: whatever the transformer comes to read, every text was looked at; a detector that panics costs the request
//! its verdict, not the worker its life; a long body whose turn does not come in time has none, either.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::vec::Drain;

use aws_lc_rs::rand;
use bytes::Bytes;
use extract::{Extracted, FormReader, PurposeReader, Text, Unseen, UnseenSet, is_marked, is_unmarkable, spotlight};
use injection::{Channel, Glance};
use store::{GuardMode, OnFailure, OnUnread, Spotlight, Threshold};
use wire::multipart::{Event, MultipartError, Parser, boundary};

use super::Case;
use super::choose::{Candidates, cost_of, share};
use super::guards::score;
use super::looked::{ByChannel, Chosen, Looked, Spot, Unsure};
use super::pool::Failure;
use super::reading::{Reading, is_allowed};
use super::remember::Known;
use crate::metrics::By;
use crate::prepare::BodyKind;

/// A form is walked in pieces of this size, so that its texts are looked at as they are found.
const PIECE_BYTES: usize = 64 * 1024;

/// Looks at a request where it keeps no other waiting.
pub(super) async fn look(case: Case, kind: BodyKind) -> (Case, Looked) {
    let case = Arc::new(case);
    let looking = Arc::clone(&case);
    let looked = case.gate.guards.turns.run(case.body.len(), move || looking.look(&kind)).await;
    let case = Arc::into_inner(case).expect("the look is over or never began, and had the only other copy");
    (case, looked.unwrap_or_else(Looked::failed))
}

impl Case {
    /// What the cheap stages see.
    fn look(&self, kind: &BodyKind) -> Looked {
        let look = || match kind {
            BodyKind::Nothing => Looked::default(),
            BodyKind::Json => Look::at(self).json(),
            BodyKind::Form(content_type) => Look::at(self).form(content_type).unwrap_or_else(|_| unlooked()),
            BodyKind::Through => Looked { failure: self.unread_form(), ..Looked::unread() },
            BodyKind::Unread => Looked::unread(),
        };
        catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| unlooked())
    }

    /// What a form that streams through comes to: nobody may read in it what the project wants to be refused, and a guard
    /// that padding switches off is none. Lines of a batch hold words of every channel. Where such a text would pass all
    /// the same, no more than the header says it.
    fn unread_form(&self) -> Option<Failure> {
        let guards = &self.project.guards;
        let is_closed = guards.on_failure == OnFailure::Closed || guards.on_unread == OnUnread::Closed;
        (is_closed && self.blocks_anywhere()).then_some(Failure::Form)
    }

    /// How many windows may be read of a request.
    pub(super) fn windows_max(&self) -> usize {
        self.gate.guards.limits.windows_max
    }

    /// Whether the provider keeps the request's texts, to show them later or to go on from them: marks would be kept,
    /// too. Responses are stored unless the caller says no, chat completions if the caller says so.
    fn is_kept(&self, unseen: UnseenSet) -> bool {
        let is_stored = match self.teller.endpoint.path {
            "/v1/responses" => self.store != Some(false),
            "/v1/chat/completions" => self.store == Some(true),
            _ => false,
        };
        is_stored || unseen.contains(Unseen::Conversation)
    }

    /// The body with its untrusted texts marked.
    fn lit(&self, extracted: &Extracted<'_>) -> Option<Vec<u8>> {
        let how = match self.project.guards.spotlight {
            Spotlight::Off => return None,
            Spotlight::Delimit => extract::Spotlight::Delimit,
            Spotlight::Datamark => extract::Spotlight::Datamark,
        };
        let mut random = [0; 8];
        // Without randomness a text could know its mark: then it is not sent marked, but not at all (`look` fails).
        rand::fill(&mut random).expect("the system's randomness works: TLS does not without it, either");
        let lit = spotlight(self.teller.endpoint, &self.body, &extracted.texts, how, u64::from_le_bytes(random));
        lit.map(|lit| lit.body)
    }
}

/// A look at a request, under way.
struct Look<'c> {
    case: &'c Case,
    looked: Looked,
    candidates: Candidates<Unsure>,
    /// How many texts came of which some was read before, and how many of them are read again.
    again: ByChannel<usize>,
    /// Where texts stand that the project lets through unread.
    allowed: HashSet<Where>,
}

/// The part of a form, and where in it or in the body.
type Where = (Option<Arc<str>>, usize);

impl Look<'_> {
    fn at(case: &Case) -> Look<'_> {
        let candidates = Candidates::new(case.windows_max());
        let (looked, again, allowed) = (Looked::default(), ByChannel::default(), HashSet::new());
        Look { case, looked, candidates, again, allowed }
    }

    fn json(mut self) -> Looked {
        let case = self.case;
        // It was read before by the same reader.
        let Ok(extracted) = extract::extract(case.teller.endpoint, &case.body) else { return unlooked() };
        let is_wanted = case.project.guards.spotlight != Spotlight::Off;
        if is_wanted && case.is_kept(extracted.unseen) {
            self.looked.unmarked.is_stored = extracted.texts.iter().any(is_marked);
        } else {
            self.looked.lit = case.lit(&extracted);
        }
        self.looked.unmarked.is_binary = is_wanted && extracted.texts.iter().any(is_unmarkable);
        self.all(extracted);
        self.end()
    }

    fn form(mut self, content_type: &str) -> Result<Looked, MultipartError> {
        let (case, boundary) = (self.case, boundary(content_type)?);
        let mut purpose = PurposeReader::new(case.teller.endpoint);
        if purpose.is_asked() {
            walk(&case.body, &boundary, |events| {
                for event in events {
                    match event {
                        Event::Begin(part) => purpose.begin(&part.name, part.file_name.as_deref()),
                        Event::Data(data) => purpose.data(&data),
                        Event::End => {}
                    }
                }
            })?;
        }
        // It may stand behind the files that it tells about.
        let mut form = FormReader::new(case.teller.endpoint).with_purpose(purpose.finish());
        walk(&case.body, &boundary, |events| {
            for event in events {
                match event {
                    Event::Begin(part) => form.begin(&part.name, part.file_name.as_deref()),
                    Event::Data(data) => form.data(&data),
                    Event::End => form.end(),
                }
            }
            form.drain().into_iter().for_each(|text| self.text(text));
        })?;
        self.all(form.finish());
        Ok(self.end())
    }

    fn all(&mut self, extracted: Extracted<'_>) {
        let looked = &mut self.looked;
        looked.media = extracted.media().collect();
        looked.unseen = extracted.unseen;
        looked.unknown_more = extracted.unknown_count.saturating_sub(extracted.unknown_fields.len());
        looked.unknown = extracted.unknown_fields;
        extracted.texts.into_iter().for_each(|text| self.text(text));
    }

    fn text(&mut self, text: Text<'_>) {
        let (guard, channel) = (self.case.project.guards.channel(text.channel), text.channel);
        if guard.mode == GuardMode::Off || text.text.is_empty() {
            return;
        }
        if let Some(by) = self.judged_by(text, guard.threshold) {
            self.case.gate.metrics.guards.texts(channel, by, 1);
        }
    }

    /// Looks at one text; how it was judged, if it was.
    fn judged_by(&mut self, text: Text<'_>, threshold: Threshold) -> Option<By> {
        let (guards, settings, channel) = (&self.case.gate.guards, &self.case.project.guards, text.channel);
        // What is let through by itself is left out where it meets its neighbours, which are read together all the same.
        let part = text.part.clone();
        let Some(text) = text.without(|piece| self.allowed.contains(&(part.clone(), piece.at))) else {
            return Some(By::Allowed);
        };
        if is_allowed(settings, channel, &text.text) {
            self.allowed.insert((text.part, text.at.start));
            return Some(By::Allowed);
        }
        let threshold = guards.threshold(threshold, channel);
        let key = guards.key(channel, &text.text, self.case.generation);
        let spot = Spot { channel, at: text.at.start, part: text.part, pieces: text.pieces };
        let mut read_before = 0;
        if let Some(known) = guards.recall(key)
            && let Some(reading) = known.reading(&text.text, score(threshold))
        {
            if !self.is_worth_more(&reading, known.windows) {
                self.looked.too_long[channel as usize] |= reading.partly && known.windows >= self.case.windows_max();
                self.looked.note(spot, reading);
                return Some(By::Remembered);
            }
            read_before = known.windows;
        }
        match self.case.detector.glance(&text.text, channel, score(threshold)) {
            Glance::Sure(judgement) => {
                // What a rule finds depends on the threshold: see `remember`.
                if judgement.findings.is_empty() {
                    guards.remember(key, Known::glanced(judgement.score));
                }
                self.looked.note(spot, Reading::of(&text.text, judgement));
                Some(By::Glanced)
            }
            Glance::Unsure(pending) => {
                let (rank, pending) = (pending.rank(), pending.into_owned());
                self.again[channel as usize] += usize::from(read_before > 0);
                let unsure = Unsure { spot, pending, threshold, key, read_before };
                self.candidates.add(unsure, channel, rank, read_before > 0);
                None
            }
        }
    }

    /// Whether a text of which parts were left before may be read further now: one of which as much was read as may be of
    /// any is not read anew in every turn.
    fn is_worth_more(&self, reading: &Reading, read_before: usize) -> bool {
        reading.partly && reading.found.is_empty() && read_before < self.case.windows_max()
    }

    /// Chooses what the transformer reads.
    fn end(mut self) -> Looked {
        let (case, looked) = (self.case, &mut self.looked);
        let windows_max = case.windows_max();
        for channel in Channel::ALL {
            looked.unread[channel as usize] = self.candidates.came(channel) - self.again[channel as usize];
        }
        let texts = self.candidates.into_order();
        // One more than may be read of a text tells which is too long.
        let extent_of = |unsure: &Unsure| case.detector.extent(&unsure.pending, windows_max.saturating_add(1));
        let extents: Vec<_> = texts.iter().map(|unsure| (extent_of(unsure), unsure.read_before)).collect();
        let shares = share(windows_max, &extents);
        for ((unsure, (extent, _)), windows) in texts.into_iter().zip(extents).zip(shares) {
            let Unsure { spot, pending, threshold, key, read_before } = unsure;
            if windows == 0 {
                continue;
            }
            let left = if read_before > 0 { &mut self.again } else { &mut looked.unread };
            left[spot.channel as usize] -= 1;
            let is_done = extent.windows > windows_max && windows.saturating_mul(2) > windows_max;
            let noted = if is_done { windows_max } else { windows };
            let (pending, cost) = (Some(pending), cost_of(extent, windows));
            looked.chosen.push(Chosen { spot, pending, threshold, key, windows, noted, cost, task: 0 });
        }
        for (channel, left) in Channel::ALL.into_iter().zip(self.again) {
            looked.partly[channel as usize] |= left > 0;
            case.gate.metrics.guards.texts(channel, By::Remembered, left as u64);
        }
        self.looked
    }
}

/// What is seen where looking failed.
fn unlooked() -> Looked {
    Looked::failed(Failure::Failed)
}

/// Walks through a form, piece by piece: `show` takes what each of them shows.
fn walk(body: &Bytes, boundary: &str, mut show: impl FnMut(Drain<'_, Event>)) -> Result<(), MultipartError> {
    let (mut parser, mut rest, mut events) = (Parser::new(boundary), body.clone(), Vec::new());
    while !rest.is_empty() {
        parser.push(&rest.split_to(rest.len().min(PIECE_BYTES)), &mut events)?;
        show(events.drain(..));
    }
    Ok(())
}
