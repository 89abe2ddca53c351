//! Which rows this handle has written, so that a writer that sends them again, because an answer was lost, charges
//! nobody twice.
//!
//! A commit of SQLite is exact within a process, a data folder serves one process, and a process that ended sends
//! nothing again: so memory is enough, and no index over the ids of all time is kept. What can come again is what the
//! ledger has not seen written yet: [`ledger::UNJOURNALED_MAX`] rows at most.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use ledger::UNJOURNALED_MAX;

/// Ids of a generation. Two generations are remembered, the young one growing: always the last two times as many as can
/// come again, up to four times as many. Some 9 MB in all.
const GENERATION: usize = 2 * UNJOURNALED_MAX;

/// A request's id, in 128 bits under keys of this process: no two that anybody meets have the same.
pub(super) type Mark = u128;

/// A set of marks, which are hashes already.
type Marks = HashSet<Mark, BuildHasherDefault<Marked>>;

/// Takes a mark for its own hash.
#[derive(Debug, Default)]
struct Marked(u64);

impl Hasher for Marked {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Marks come as integers; whatever else there is counts byte by byte.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, mark: u128) {
        // The upper half is as good as the lower.
        self.0 = mark as u64;
    }
}

/// Rows that are written and may not be known to be.
#[derive(Debug)]
struct Unsure {
    /// The batch's number: it is in the database if they are.
    sequence: i64,
    marks: Vec<Mark>,
}

/// The ids that were written lately.
#[derive(Debug, Default)]
pub(super) struct Ids {
    keys: [RandomState; 2],
    young: Marks,
    old: Marks,
    unsure: Option<Unsure>,
}

impl Ids {
    fn mark(&self, id: &str) -> Mark {
        let [high, low] = [&self.keys[0], &self.keys[1]].map(|key| u128::from(key.hash_one(id)));
        high << 64 | low
    }

    /// The marks of the rows that were not written before, and which rows they are: of several with one id the first.
    pub(super) fn unwritten<'i, T>(&self, items: &'i [T], id: impl Fn(&T) -> &str) -> (Vec<Mark>, Vec<&'i T>) {
        let mut batch = Marks::with_capacity_and_hasher(items.len(), BuildHasherDefault::default());
        let is_new = |mark: &Mark| !self.young.contains(mark) && !self.old.contains(mark);
        let marked = items.iter().map(|item| (self.mark(id(item)), item));
        marked.filter(|(mark, _)| is_new(mark) && batch.insert(*mark)).unzip()
    }

    /// Rows are about to be committed, in the batch of this number.
    pub(super) fn committing(&mut self, sequence: i64, marks: Vec<Mark>) {
        self.unsure = Some(Unsure { sequence, marks });
    }

    /// The number of the batch of which nobody knows whether it was committed: its commit failed, or nobody waited for
    /// its answer.
    pub(super) fn unsure(&self) -> Option<i64> {
        self.unsure.as_ref().map(|unsure| unsure.sequence)
    }

    /// Whether what was about to be committed is.
    pub(super) fn committed(&mut self, is_committed: bool) {
        let Some(unsure) = self.unsure.take().filter(|_| is_committed) else { return };
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.extend(unsure.marks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(ids: &mut Ids, names: &[String], is_committed: bool) -> usize {
        let (marks, new) = ids.unwritten(names, String::as_str);
        let count = new.len();
        ids.committing(1, marks);
        ids.committed(is_committed);
        count
    }

    #[test]
    fn what_was_committed_is_new_once() {
        let mut ids = Ids::default();
        let names = ["a", "b", "a"].map(str::to_owned);
        assert_eq!(write(&mut ids, &names, false), 2, "of one id the first");
        assert_eq!(write(&mut ids, &names, true), 2, "nothing was written");
        assert_eq!(write(&mut ids, &names, true), 0);
    }

    #[test]
    fn as_many_as_can_come_again_are_known_and_not_all_of_time() {
        let mut ids = Ids::default();
        let batch = |number: usize| (0..2_000).map(|row| format!("req_{number}_{row}")).collect::<Vec<_>>();
        let batches = 10 * UNJOURNALED_MAX / 2_000;
        for number in 0..batches {
            assert_eq!(write(&mut ids, &batch(number), true), 2_000);
            let earliest = number.saturating_sub(2 * UNJOURNALED_MAX / 2_000 - 1);
            assert!(ids.unwritten(&batch(earliest), String::as_str).1.is_empty(), "{earliest} after {number}");
        }
        assert!(ids.young.len() + ids.old.len() <= 2 * (GENERATION + 2_000));
    }
}
