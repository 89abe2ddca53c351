//! Which texts the transformer reads where one request has more than it may have read.
//!
//! Promises: the choice depends on the request alone; no more texts are held than may be chosen, twice over, however many
//! come; a text that is chosen has a window at least.
//!
//! A window costs what it takes: by sixteen pieces, of which a whole one has eight times as many. So a request may have
//! read eight times as many short messages as pages. They are not joined to fill windows: beside two harmless neighbours
//! up to a quarter of the attacks would be missed that are found alone (docs/decisions/0013-many-texts.md).
//!
//! What somebody would do who hides one attack in a flood of harmless texts, and why turns: by rank alone, he would write
//! a flood that the linear stage suspects more than his attack; by age alone, he would put it in front of the attack. So
//! the newest texts have turns that no rank takes, and each channel has turns that no other takes: whoever can only write
//! in one cannot crowd out what stands in the others. What he can do is to hide in his own channel, behind texts that are
//! newer and suspected more; those that are left come first in the next turn, when the others are remembered.

use std::cmp::Ordering;

use injection::{Channel, Extent};

/// What a whole window costs.
pub(super) const WINDOW_COST: usize = 8;
/// Pieces for which one is charged.
const PIECES_A_UNIT: usize = 16;

/// Whose turn it is to name the next text, over and over. Untrusted text has twice what the others have: there an attack
/// stands that its sender could not make in his own name.
const TURNS: [Turn; 5] = [
    Turn::Newest,
    Turn::Suspected(Channel::Untrusted),
    Turn::Suspected(Channel::User),
    Turn::Suspected(Channel::Untrusted),
    Turn::Suspected(Channel::System),
];

#[derive(Clone, Copy)]
enum Turn {
    /// The last one of the body that the developer did not write: what came with this turn of a conversation.
    Newest,
    /// The one that the linear stage suspects most.
    Suspected(Channel),
}

/// A text that may be read.
struct Candidate<T> {
    text: T,
    channel: Channel,
    /// How much the linear stage suspects it.
    rank: f32,
    /// Whether some of it was read before. Then all others come first.
    was_read: bool,
    /// The higher, the later it came.
    number: usize,
}

/// The texts that may be read, as they are found.
pub(super) struct Candidates<T> {
    kept: Vec<Candidate<T>>,
    /// Most that may be chosen.
    most: usize,
    /// How many came, in the order of [`Channel::ALL`].
    came: [usize; Channel::ALL.len()],
}

impl<T> Candidates<T> {
    /// For a request of which so many windows may be read.
    pub(super) fn new(windows_max: usize) -> Candidates<T> {
        Candidates { kept: Vec::new(), most: windows_max.saturating_mul(WINDOW_COST), came: Default::default() }
    }

    /// Adds a text.
    pub(super) fn add(&mut self, text: T, channel: Channel, rank: f32, was_read: bool) {
        let number = self.came.iter().sum();
        self.came[channel as usize] += 1;
        self.kept.push(Candidate { text, channel, rank, was_read, number });
        // One that is not among the first now is not either when more have come: each takes one place, and frees none.
        if self.kept.len() >= self.most.saturating_mul(2) {
            self.order();
        }
    }

    /// How many came in a channel.
    pub(super) fn came(&self, channel: Channel) -> usize {
        self.came[channel as usize]
    }

    /// The texts that may be chosen, the first one first.
    pub(super) fn into_order(mut self) -> Vec<T> {
        self.order();
        self.kept.into_iter().map(|candidate| candidate.text).collect()
    }

    /// Puts what is kept in its order, and lets go of what cannot be chosen any more.
    fn order(&mut self) {
        let mut lists = TURNS.map(|turn| self.list(turn).into_iter());
        let mut places = vec![usize::MAX; self.kept.len()];
        let mut place = 0;
        while place < self.kept.len() {
            for list in &mut lists {
                if let Some(at) = list.find(|at| places[*at] == usize::MAX) {
                    places[at] = place;
                    place += 1;
                }
            }
        }
        let mut placed: Vec<_> = places.into_iter().zip(self.kept.drain(..)).collect();
        placed.sort_unstable_by_key(|(place, _)| *place);
        placed.truncate(self.most);
        self.kept.extend(placed.into_iter().map(|(_, candidate)| candidate));
    }

    /// What a turn would name, the first one first.
    fn list(&self, turn: Turn) -> Vec<usize> {
        let is_named = |candidate: &Candidate<T>| match turn {
            Turn::Newest => candidate.channel != Channel::System,
            Turn::Suspected(channel) => candidate.channel == channel,
        };
        let mut list: Vec<usize> = (0..self.kept.len()).filter(|at| is_named(&self.kept[*at])).collect();
        list.sort_unstable_by(|a, b| {
            let (a, b) = (&self.kept[*a], &self.kept[*b]);
            let by_rank = match turn {
                Turn::Newest => Ordering::Equal,
                Turn::Suspected(_) => b.rank.total_cmp(&a.rank),
            };
            a.was_read.cmp(&b.was_read).then(by_rank).then(b.number.cmp(&a.number))
        });
        list
    }
}

/// What a window of a text costs.
fn cost(extent: Extent) -> usize {
    extent.pieces.div_ceil(PIECES_A_UNIT).clamp(1, WINDOW_COST)
}

/// What so many windows of a text cost.
pub(super) fn cost_of(extent: Extent, windows: usize) -> usize {
    windows.saturating_mul(cost(extent))
}

/// Whether reading so many windows of a text gets further than reading `before` of them did: twice as far, or to its end.
fn is_further(windows: usize, before: usize, extent: Extent) -> bool {
    windows > before && windows >= before.saturating_mul(2).min(extent.windows)
}

/// Shares windows among texts in their order, each with the windows that were read of it before. A new one gets a window
/// as long as there are any, and then what it needs as long as no other new one has less for it. What they leave goes to
/// the others, one after the other, where that gets further: so a request that comes again is read to its end.
pub(super) fn share(windows_max: usize, texts: &[(Extent, usize)]) -> Vec<usize> {
    let mut left = windows_max.saturating_mul(WINDOW_COST);
    let mut shares = vec![0; texts.len()];
    let mut long = Vec::new();
    for (at, (extent, _)) in texts.iter().enumerate().filter(|(_, (_, before))| *before == 0) {
        if cost(*extent) > left {
            continue;
        }
        shares[at] = 1;
        left -= cost(*extent);
        if extent.windows > 1 {
            long.push(at);
        }
    }
    long.sort_by_key(|at| texts[*at].0.windows);
    for (done, at) in long.iter().enumerate() {
        let (extent, others) = (texts[*at].0, long.len() - done);
        let more = (extent.windows - 1).min(left / others / cost(extent));
        shares[*at] += more;
        left -= cost_of(extent, more);
    }
    for (at, (extent, before)) in texts.iter().enumerate().filter(|(_, (_, before))| *before > 0) {
        let windows = extent.windows.min(left / cost(*extent));
        if is_further(windows, *before, *extent) {
            shares[at] = windows;
            left -= cost_of(*extent, windows);
        }
    }
    shares
}

#[cfg(test)]
mod tests;
