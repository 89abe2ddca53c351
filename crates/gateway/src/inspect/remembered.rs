//! What was judged before: the earlier turns of a conversation come again with each new one.
//!
//! Promises: bounded in number; a text is known by its SHA-256, so that nobody can make one that passes for another;
//! what one project's texts came to tells another nothing; no text is in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use injection::Channel;
use store::{ProjectId, TextHash};

use super::reading::Reading;

/// Parts with a lock each: workers look up at the same time.
const SHARDS: usize = 16;

/// What a judgement depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) project: ProjectId,
    pub(crate) channel: Channel,
    /// In millionths.
    pub(crate) threshold: u32,
    pub(crate) text: TextHash,
}

/// Judgements by what was asked.
pub(crate) struct Remembered {
    shards: [Mutex<Shard>; SHARDS],
    /// Of each half of a shard.
    half_max: usize,
}

/// Two halves: what is asked for again moves to the new one, and when that is full the old one goes.
#[derive(Default)]
struct Shard {
    new: HashMap<Asked, Arc<Reading>>,
    old: HashMap<Asked, Arc<Reading>>,
}

impl Remembered {
    /// Room for `max` judgements, roughly; 0 remembers nothing.
    pub(crate) fn new(max: usize) -> Remembered {
        Remembered { shards: std::array::from_fn(|_| Mutex::default()), half_max: max.div_ceil(2 * SHARDS) }
    }

    fn shard(&self, asked: &Asked) -> std::sync::MutexGuard<'_, Shard> {
        let shard = &self.shards[usize::from(asked.text.0[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it came to before.
    pub(crate) fn find(&self, asked: &Asked) -> Option<Arc<Reading>> {
        let mut shard = self.shard(asked);
        if let Some(reading) = shard.new.get(asked) {
            return Some(Arc::clone(reading));
        }
        let reading = shard.old.remove(asked)?;
        shard.put(asked.clone(), Arc::clone(&reading), self.half_max);
        Some(reading)
    }

    /// Keeps what it came to.
    pub(crate) fn put(&self, asked: Asked, reading: Arc<Reading>) {
        if self.half_max > 0 {
            self.shard(&asked).put(asked, reading, self.half_max);
        }
    }
}

impl Shard {
    fn put(&mut self, asked: Asked, reading: Arc<Reading>, half_max: usize) {
        if self.new.len() >= half_max {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(asked, reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(number: u32) -> Asked {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        Asked { project: ProjectId::new("proj_a"), channel: Channel::User, threshold: 500_000, text: TextHash(hash) }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let remembered = Remembered::new(640);
        for number in 0..100_000 {
            remembered.put(asked(number), Arc::default());
            assert!(remembered.find(&asked(0)).is_some(), "asked for all the time: {number}");
        }
        let kept = (0..100_000).filter(|number| remembered.find(&asked(*number)).is_some()).count();
        assert!((300..=700).contains(&kept), "{kept}");
    }

    #[test]
    fn another_project_channel_or_threshold_is_another_question() {
        let remembered = Remembered::new(100);
        remembered.put(asked(7), Arc::default());
        assert!(remembered.find(&asked(7)).is_some());
        let others = [
            Asked { project: ProjectId::new("proj_b"), ..asked(7) },
            Asked { channel: Channel::System, ..asked(7) },
            Asked { threshold: 500_001, ..asked(7) },
        ];
        assert!(others.iter().all(|other| remembered.find(other).is_none()));
        let nothing = Remembered::new(0);
        nothing.put(asked(7), Arc::default());
        assert!(nothing.find(&asked(7)).is_none());
    }
}
