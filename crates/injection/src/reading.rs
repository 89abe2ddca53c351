//! The transformer's reading of one text: its windows' scores, and where in the text the payload sits.
//!
//! Promises: spans lie on the pieces' edges, within the text; the work is bounded by the windows allowed.

use std::cell::RefCell;
use std::ops::Range;

use crate::calibration::Calibration;
use crate::encoder::{Encoder, Scratch};
use crate::tokenise::{CLOSE, OPEN, Piece, Vocabulary};
use crate::windows::{WIDTH, windows};
use crate::{Channel, Kind};

/// Pieces between two that are marked as payload and still count as one payload.
const GAP: usize = 8;

/// A stretch of the text that windows at or above the threshold agree on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spot {
    pub(crate) kind: Kind,
    pub(crate) score: f32,
    /// Bytes of the text that was read.
    pub(crate) span: Range<usize>,
}

/// What came out of a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reading {
    pub(crate) score: f32,
    pub(crate) spots: Vec<Spot>,
    /// The highest logit of all windows; what calibration is made from.
    pub(crate) logit: f32,
    /// Windows of the text.
    pub(crate) windows: usize,
    /// Windows by which the score was taken: those of the text, or [`Task::whole`].
    pub(crate) whole: usize,
    /// Windows that were left unread.
    pub(crate) skipped: usize,
}

impl Reading {
    /// Windows that were read.
    pub(crate) fn read(&self) -> usize {
        self.windows - self.skipped
    }

    /// The same of a text that begins at `start` of another.
    pub(crate) fn moved(mut self, start: usize) -> Reading {
        for spot in &mut self.spots {
            spot.span = spot.span.start + start..spot.span.end + start;
        }
        self
    }
}

thread_local! {
    /// One a thread that reads: its 1.5 MB are taken once.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What is to be read, and how much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'t> {
    pub(crate) text: &'t str,
    pub(crate) channel: Channel,
    /// Windows that score at least this are spots.
    pub(crate) threshold: f32,
    /// Windows that may be read.
    pub(crate) allowed: usize,
    /// What the linear stage says of the whole text.
    pub(crate) linear: f32,
    /// Windows of the whole of which the text is a part, if it is one: the linear stage's, where the whole is never cut into
    /// pieces.
    pub(crate) whole: Option<usize>,
}

/// Reads one text: where there are more windows than allowed, those that `rank` puts first (highest).
pub(crate) fn read(model: &Model, task: Task<'_>, rank: impl Fn(Range<usize>) -> f32) -> Reading {
    let Task { text, channel, threshold, allowed, linear, whole } = task;
    let mut pieces = Vec::with_capacity(text.len().div_ceil(3));
    model.vocabulary.tokenise(text, usize::MAX, &mut pieces);
    let mut chosen: Vec<Range<usize>> = windows(pieces.len()).collect();
    let count = chosen.len();
    if count > allowed {
        let ranked = |window: &Range<usize>| rank(bytes(&pieces[window.clone()]));
        let mut by_rank: Vec<(f32, Range<usize>)> = chosen.drain(..).map(|window| (ranked(&window), window)).collect();
        by_rank.sort_by(|(left, a), (right, b)| right.total_cmp(left).then(a.start.cmp(&b.start)));
        by_rank.truncate(allowed);
        chosen.extend(by_rank.into_iter().map(|(_, window)| window));
        chosen.sort_by_key(|window| window.start);
    }
    let whole = whole.unwrap_or(count);
    let skipped = count - chosen.len();
    let mut reading = Reading { windows: count, whole, skipped, logit: f32::NEG_INFINITY, ..Reading::default() };
    let mut ids = Vec::with_capacity(WIDTH + 2);
    let mut open: Option<(Spot, usize)> = None;
    SCRATCH.with_borrow_mut(|scratch| {
        for window in chosen {
            ids.clear();
            ids.push(OPEN);
            ids.extend(pieces[window.clone()].iter().map(|piece| piece.id));
            ids.push(CLOSE);
            let output = model.encoder.run(scratch, &ids, Some(channel));
            let score = model.calibration.score(channel, output.window[0], whole, linear);
            reading.score = reading.score.max(score);
            reading.logit = reading.logit.max(output.window[0]);
            if score < threshold {
                continue;
            }
            let marked = marked(&output.tokens[1..=window.len()])
                .map_or(window.clone(), |near| window.start + near.start..window.start + near.end);
            let spot = Spot { kind: kind(&output.window[1..]), score, span: bytes(&pieces[marked]) };
            match &mut open {
                Some((last, end)) if window.start < *end => {
                    *end = window.end;
                    join(last, spot);
                }
                _ => reading.spots.extend(open.replace((spot, window.end)).map(|(done, _)| done)),
            }
        }
    });
    reading.spots.extend(open.map(|(done, _)| done));
    reading
}

/// The weights that reading needs.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) encoder: Encoder,
    pub(crate) calibration: Calibration,
}

/// Two overlapping windows that both found something: the stronger names it, and where they meet is where it is.
fn join(last: &mut Spot, next: Spot) {
    if next.span.start <= last.span.end && last.span.start <= next.span.end {
        last.span = last.span.start.min(next.span.start)..last.span.end.max(next.span.end);
    } else if next.score > last.score {
        last.span = next.span;
    }
    if next.score > last.score {
        last.score = next.score;
        last.kind = next.kind;
    }
}

fn bytes(pieces: &[Piece]) -> Range<usize> {
    match (pieces.first(), pieces.last()) {
        (Some(first), Some(last)) => first.start as usize..last.end as usize,
        _ => 0..0,
    }
}

/// The run of pieces that the token head marks most strongly, gaps of [`GAP`] forgiven.
fn marked(tokens: &[f32]) -> Option<Range<usize>> {
    let mut best: Option<(f32, Range<usize>)> = None;
    let mut run: Option<(f32, Range<usize>)> = None;
    for (at, &logit) in tokens.iter().enumerate().filter(|(_, logit)| **logit > 0.0) {
        run = match run.take() {
            Some((sum, range)) if at - range.end < GAP => Some((sum + logit, range.start..at + 1)),
            _ => Some((logit, at..at + 1)),
        };
        if run.as_ref().map(|(sum, _)| *sum) > best.as_ref().map(|(sum, _)| *sum) {
            best.clone_from(&run);
        }
    }
    best.map(|(_, range)| range)
}

/// The kind whose logit is highest, in the order of training/network.py.
fn kind(logits: &[f32]) -> Kind {
    let all = [Kind::Direct, Kind::Indirect, Kind::Jailbreak, Kind::Extraction];
    all.into_iter().zip(logits).max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(Kind::Direct, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_run_is_the_payload_and_small_gaps_are_part_of_it() {
        assert_eq!(marked(&[-1.0, 2.0, -1.0, 3.0, -1.0]), Some(1..4));
        let mut tokens = vec![-1.0; 40];
        tokens[2] = 1.0;
        tokens[30] = 5.0;
        assert_eq!(marked(&tokens), Some(30..31));
        assert_eq!(marked(&[-1.0, -2.0]), None);
    }
}
