//! Bytes as they come, findings as soon as nothing that follows can change them.

use keys::Secret;

use crate::engine::Engine;
use crate::finding::Finding;
use crate::layer::{Found, Layer};
use crate::walk::REACH_BYTES_MAX;

/// Most bytes that a layer is given at a time: its window stays this small, however much is pushed at once.
const PUSH_BYTES_MAX: usize = 64 * 1024;

/// A search through bytes that come in pieces. What is found does not depend on where they are cut.
pub struct Stream {
    engine: Engine,
    input: Layer,
    /// Bytes so far.
    bytes: u64,
    /// Every later finding begins here or behind. It never moves back: what is free of secrets may have been passed on.
    open: u64,
    /// Matches that something may still be said about, by the bytes behind them.
    waiting: Vec<Found>,
}

impl Stream {
    pub(crate) fn new(engine: Engine) -> Stream {
        Stream { engine, input: Layer::input(), bytes: 0, open: 0, waiting: Vec::new() }
    }

    /// Takes the next bytes, and gives the findings that are certain now, in the order of their starts.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for piece in bytes.chunks(PUSH_BYTES_MAX) {
            self.input.append_input(piece);
            self.bytes += piece.len() as u64;
            self.input.advance(self.engine.inner(), false, &mut self.waiting);
            let open = self.input.hold_recorded().unwrap_or(self.bytes);
            self.open = self.open.max(open.saturating_sub(self.engine.inner().looks_back_bytes));
            self.settle(&mut findings);
        }
        findings
    }

    /// Bytes at the end of what was pushed that may still turn out to be part of a finding. Everything before them is
    /// free of secrets but for the findings already given. At most [`HELD_BACK_BYTES_MAX`](crate::HELD_BACK_BYTES_MAX).
    pub fn held_back(&self) -> usize {
        let waiting = self.waiting.iter().map(|found| found.span.start).min().unwrap_or(self.bytes);
        usize::try_from(self.bytes - self.open.min(waiting)).unwrap_or(usize::MAX)
    }

    /// Nothing follows: gives the findings that waited. What is pushed after it is another stream.
    pub fn finish(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.input.advance(self.engine.inner(), true, &mut self.waiting);
        self.open = u64::MAX;
        self.settle(&mut findings);
        *self = Stream::new(self.engine.clone());
        findings
    }

    /// Findings of clusters that end before what is still open.
    fn settle(&mut self, findings: &mut Vec<Finding>) {
        self.waiting.sort_by_key(|found| (found.span.start, found.span.end));
        while let Some(first) = self.waiting.first() {
            let last_start = first.span.start + REACH_BYTES_MAX as u64;
            let mut end = first.span.end;
            let count = self.waiting.iter().take_while(|found| {
                let is_near = found.span.start < end && found.span.start < last_start;
                end = if is_near { end.max(found.span.end) } else { end };
                is_near
            });
            let count = count.count();
            if end.min(last_start) > self.open {
                break;
            }
            let cluster: Vec<Found> = self.waiting.drain(..count).collect();
            self.choose(cluster, findings);
        }
    }

    /// Of readings of the same bytes the surest stays: whole rather than cut, worse rather than harmless, as it stands
    /// rather than decoded, long rather than short.
    fn choose(&self, mut cluster: Vec<Found>, findings: &mut Vec<Finding>) {
        let rules = self.engine.inner();
        cluster.sort_by_key(|found| {
            let rule = rules.rule(found.rule);
            let preferred = (found.certainty, rule.severity);
            (
                std::cmp::Reverse(preferred),
                found.path.len(),
                std::cmp::Reverse(found.span.end - found.span.start),
                found.span.start,
                found.rule,
                found.path.clone(),
            )
        });
        let mut chosen: Vec<Found> = Vec::new();
        for found in cluster {
            let class = rules.rule(found.rule).class;
            let is_taken = chosen.iter().any(|other| {
                rules.rule(other.rule).class == class
                    && other.span.start < found.span.end
                    && found.span.start < other.span.end
            });
            if !is_taken {
                chosen.push(found);
            }
        }
        chosen.sort_by_key(|found| (found.span.start, found.span.end));
        findings.extend(chosen.into_iter().map(|found| Finding {
            rule: rules.rule(found.rule),
            span: found.span,
            secret: Secret::new(String::from_utf8_lossy(&found.secret)),
            encodings: found.path,
        }));
    }
}
