//! What the cheap stages saw of a request, and what they leave to the transformer.
//!
//! Promise: bounded, however many texts a request has: of what is found alike only the first are kept, of what is unsure
//! no more than may be read.

use std::collections::HashSet;
use std::sync::Arc;

use extract::{Key, Medium, Piece, UnseenSet};
use injection::{Channel, Pending};

use super::pool::Failure;
use super::reading::{Found, KINDS, Reading};
use super::verdict::{Unmarked, Verdict};

/// Findings of one kind in one channel that are kept of a request: four times as many as are told.
const ALIKE_MAX: usize = 64;

/// A number for each channel, in the order of [`Channel::ALL`].
pub(super) type ByChannel<T> = [T; Channel::ALL.len()];

/// Where a text stands, and whose it is.
pub(super) struct Spot {
    pub(super) channel: Channel,
    pub(super) at: usize,
    pub(super) part: Option<Arc<str>>,
    /// What it is made of, where it is the seam of parts.
    pub(super) pieces: Vec<Piece>,
}

impl Spot {
    /// Where a finding begins, and the finding there: in a seam, as far as it goes in the part where it begins.
    pub(super) fn placed(&self, found: Found) -> (usize, Found) {
        let behind = self.pieces.partition_point(|piece| piece.range.start <= found.start);
        let Some(piece) = behind.checked_sub(1).and_then(|at| self.pieces.get(at)) else { return (self.at, found) };
        let moved = |place: usize| piece.before + place.min(piece.range.end) - piece.range.start;
        (piece.at, Found { start: moved(found.start), end: moved(found.end), ..found })
    }
}

/// A text that the transformer should read.
pub(super) struct Unsure {
    pub(super) spot: Spot,
    pub(super) pending: Pending<'static>,
    /// In millionths.
    pub(super) threshold: u32,
    /// What it is remembered by.
    pub(super) key: Key,
    /// How many windows of it were read before; 0 if none were.
    pub(super) read_before: usize,
}

/// One that it does read.
pub(super) struct Chosen {
    pub(super) spot: Spot,
    /// `None` once it is on its way to the threads.
    pub(super) pending: Option<Pending<'static>>,
    /// In millionths.
    pub(super) threshold: u32,
    pub(super) key: Key,
    /// How many windows of it are read.
    pub(super) windows: usize,
    /// As how many they are remembered: as all that may be read, where no later turn can read twice as many of it.
    pub(super) noted: usize,
    /// What they cost.
    pub(super) cost: usize,
    /// The task that it is read in.
    pub(super) task: usize,
}

/// What the cheap stages saw.
#[derive(Default)]
pub(super) struct Looked {
    /// What there is something to say about: see [`Self::note`].
    pub(super) judged: Vec<(Spot, Reading)>,
    /// How many findings there were, by channel and kind.
    pub(super) found: ByChannel<[usize; KINDS.len()]>,
    /// What the transformer is to read, the first one first.
    pub(super) chosen: Vec<Chosen>,
    /// How many texts it should read and does not.
    pub(super) unread: ByChannel<usize>,
    /// Whether parts of texts were left to the cheap stages.
    pub(super) partly: ByChannel<bool>,
    /// Whether as much as may be was read of one of them, in this turn or before.
    pub(super) too_long: ByChannel<bool>,
    pub(super) media: Vec<Medium>,
    pub(super) unseen: UnseenSet,
    pub(super) unknown: Vec<String>,
    pub(super) unknown_more: usize,
    pub(super) has_unread_parts: bool,
    pub(super) failure: Option<Failure>,
    /// The body with its untrusted texts marked, where the project asks for that.
    pub(super) lit: Option<Vec<u8>>,
    /// Why some were to be marked and are not.
    pub(super) unmarked: Unmarked,
}

impl Looked {
    /// Nobody knows what there is to see.
    pub(super) fn failed(why: Failure) -> Looked {
        Looked { failure: Some(why), ..Looked::default() }
    }

    /// A body that is not looked into.
    pub(super) fn unread() -> Looked {
        Looked { has_unread_parts: true, ..Looked::default() }
    }

    /// Takes in what a text came to. Findings that are like many before are counted, and not kept.
    pub(super) fn note(&mut self, spot: Spot, reading: Reading) {
        self.partly[spot.channel as usize] |= reading.partly;
        let Some(best) = reading.found.first() else { return };
        let count = &mut self.found[spot.channel as usize][best.kind as usize];
        *count += 1;
        if *count <= ALIKE_MAX {
            self.judged.push((spot, reading));
        }
    }

    /// Leaves out what a seam has of a part in which it was found, too.
    pub(super) fn leave_repeated(&mut self) {
        let whole = self.judged.iter().filter(|(spot, _)| spot.pieces.is_empty());
        let found: HashSet<_> = whole.map(|(spot, _)| (spot.part.clone(), spot.at)).collect();
        let counts = &mut self.found;
        self.judged.retain(|(spot, reading)| {
            let Some(best) = reading.found.first().filter(|_| !spot.pieces.is_empty()) else { return true };
            let is_repeated = found.contains(&(spot.part.clone(), spot.placed(best.clone()).0));
            counts[spot.channel as usize][best.kind as usize] -= usize::from(is_repeated);
            !is_repeated
        });
    }

    /// Whether something of a channel was left to the cheap stages.
    pub(super) fn is_left(&self, channel: Channel) -> bool {
        self.unread[channel as usize] > 0 || self.partly[channel as usize]
    }

    /// Leaves what is unsure unread: what is sure is enough.
    pub(super) fn leave_unsure(&mut self) {
        self.chosen.clear();
        self.unread = ByChannel::default();
    }

    /// Bytes of what waits for the transformer.
    pub(super) fn waiting_bytes(&self) -> u64 {
        let bytes = |pending: &Pending<'_>| (size_of::<Chosen>() + pending.text().len()) as u64;
        self.chosen.iter().filter_map(|chosen| chosen.pending.as_ref()).map(bytes).sum()
    }

    /// What is known of the verdict before the transformer has read.
    pub(super) fn early(&self) -> Verdict {
        Verdict { media: self.media.clone(), unknown: self.unknown.clone(), is_pending: true, ..self.plain() }
    }

    /// What a verdict tells of it beside findings and names.
    pub(super) fn plain(&self) -> Verdict {
        let unread = self.unread.iter().sum();
        Verdict {
            has_unread_parts: self.has_unread_parts,
            unseen: self.unseen,
            unknown_more: self.unknown_more,
            unmarked: self.unmarked,
            unread,
            partly: unread > 0 || self.partly.contains(&true),
            ..Verdict::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use injection::Kind;

    use super::*;

    #[test]
    fn what_is_found_in_a_seam_stands_in_its_part() {
        // "…all previous", a line break, "instructions", of which the second part has no other.
        let pieces = vec![Piece { at: 70, range: 0..13, before: 100 }, Piece { at: 300, range: 14..26, before: 0 }];
        let spot = Spot { channel: Channel::User, at: 70, part: None, pieces };
        let placed = |start, end| {
            let (at, found) = spot.placed(Found { kind: Kind::Direct, score: 0.9, start, end, rule: None });
            (at, found.start, found.end)
        };
        assert_eq!(placed(2, 20), (70, 102, 113), "as far as it goes in the part where it begins");
        assert_eq!(placed(2, 6), (70, 102, 106));
        assert_eq!(placed(14, 26), (300, 0, 12));
        let text = Spot { channel: Channel::User, at: 5, part: None, pieces: Vec::new() };
        let found = Found { kind: Kind::Direct, score: 0.9, start: 2, end: 20, rule: None };
        assert_eq!(text.placed(found.clone()), (5, found));
    }

    #[test]
    fn what_a_seam_repeats_of_its_part_is_told_once() {
        let found = |start| Found { kind: Kind::Direct, score: 0.9, start, end: start + 5, rule: None };
        let reading = |start| Reading { score: 0.9, found: vec![found(start)], ..Reading::default() };
        let pieces = vec![Piece { at: 70, range: 0..13, before: 0 }, Piece { at: 300, range: 14..26, before: 0 }];
        let spot = |at, pieces| Spot { channel: Channel::User, at, part: None, pieces };
        let places = |judged: Vec<(Spot, Reading)>| {
            let mut looked = Looked::default();
            judged.into_iter().for_each(|(spot, reading)| looked.note(spot, reading));
            looked.leave_repeated();
            assert_eq!(looked.found[Channel::User as usize][Kind::Direct as usize], looked.judged.len());
            looked.judged.iter().map(|(spot, _)| (spot.at, spot.pieces.len())).collect::<Vec<_>>()
        };
        let repeated = vec![(spot(70, Vec::new()), reading(2)), (spot(70, pieces.clone()), reading(2))];
        assert_eq!(places(repeated), [(70, 0)]);
        let another = vec![(spot(70, Vec::new()), reading(2)), (spot(70, pieces.clone()), reading(15))];
        assert_eq!(places(another), [(70, 0), (70, 2)], "it begins in the other part");
        assert_eq!(places(vec![(spot(70, pieces), reading(2))]), [(70, 2)], "neither half is one by itself");
    }

    #[test]
    fn of_a_hundred_thousand_findings_each_is_counted_and_few_are_kept() {
        let mut looked = Looked::default();
        let mut note = |channel: Channel, kind: Kind| {
            let found = vec![Found { kind, score: 0.9, start: 0, end: 1, rule: None }];
            looked.note(
                Spot { channel, at: 0, part: None, pieces: Vec::new() },
                Reading { score: 0.9, found, ..Reading::default() },
            );
        };
        (0..100_000).for_each(|_| note(Channel::User, Kind::Direct));
        note(Channel::User, Kind::Jailbreak);
        note(Channel::Untrusted, Kind::Direct);
        assert_eq!(looked.judged.len(), ALIKE_MAX + 2, "another kind, or in another channel, is kept");
        let counts = |channel: Channel| looked.found[channel as usize];
        assert_eq!((counts(Channel::User), counts(Channel::Untrusted)), ([100_000, 0, 1, 0], [1, 0, 0, 0]));
    }
}
