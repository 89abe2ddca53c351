//! What was judged before: the earlier turns of a conversation come again with every request, and are read once.
//!
//! Promises: fixed memory; nobody ever waits; an answer is only given for the very text, channel and policy that it was
//! noted for, as far as a keyed hash of 128 bits tells. The key is random and never leaves the process, so nobody can
//! prepare two texts that look the same to it. What was thrown out, or was written twice at once, is read again.
//!
//! Each slot holds the hash mixed with the value beside the value itself (the way chess programs share their tables
//! without locks): a slot that two threads wrote halves of fits no hash.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use wire::channel::Channel;

/// Slots of one memory by default: 1.6 MB, some hundred thousand messages of busy conversations an hour.
pub const MEMORY_SLOTS: usize = 64 * 1024;

/// Slots that a hash may be in. The bits of one byte say which of them were used lately.
const WAYS: usize = 8;

/// A text, its channel and the policy under which it was judged, as a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64, u64);

/// What was judged before.
#[derive(Debug)]
pub struct Memory {
    hashing: RandomState,
    sets: Vec<Set>,
}

#[derive(Debug, Default)]
struct Set {
    slots: [Slot; WAYS],
    used: AtomicU8,
}

#[derive(Debug, Default)]
struct Slot {
    first: AtomicU64,
    second: AtomicU64,
    value: AtomicU64,
}

/// Tells a slot that holds a value from one that never did.
const FILLED: u64 = 1 << 32;

impl Memory {
    /// A memory of at least so many slots, 25 bytes each, rounded up to a power of two.
    pub fn new(slots: usize) -> Memory {
        let sets = slots.div_ceil(WAYS).next_power_of_two();
        Memory { hashing: RandomState::new(), sets: (0..sets).map(|_| Set::default()).collect() }
    }

    /// The key of a text. `generation` stands for all else that a judgement depends on: the policy and the detector.
    pub fn key(&self, channel: Channel, text: &str, generation: u64) -> Key {
        let half = |number: u8| {
            let mut hasher = self.hashing.build_hasher();
            hasher.write_u8(number);
            hasher.write_u8(channel as u8);
            hasher.write_u64(generation);
            hasher.write(text.as_bytes());
            hasher.finish()
        };
        Key(half(0), half(1))
    }

    /// The score that was noted.
    pub fn recall(&self, key: Key) -> Option<f32> {
        let set = self.set(key);
        let at = set.slots.iter().position(|slot| slot.read(key).is_some())?;
        let value = set.slots[at].read(key)?;
        // Mostly it is set already, and then no other core loses the line.
        if set.used.load(Relaxed) & 1 << at == 0 {
            set.used.fetch_or(1 << at, Relaxed);
        }
        Some(f32::from_bits(value as u32))
    }

    /// Notes a score. Something that was not used lately is forgotten for it.
    pub fn note(&self, key: Key, score: f32) {
        let set = self.set(key);
        let present = set.slots.iter().position(|slot| slot.read(key).is_some());
        let at = present.unwrap_or_else(|| {
            let used = set.used.load(Relaxed);
            // All were used: all but the one that is taken now have to be used again to stay.
            if used == u8::MAX { key.1 as usize % WAYS } else { used.trailing_ones() as usize }
        });
        set.slots[at].write(key, FILLED | u64::from(score.to_bits()));
        let others = set.used.load(Relaxed);
        let others = if others == u8::MAX { 0 } else { others };
        set.used.store(others | 1 << at, Relaxed);
    }

    fn set(&self, key: Key) -> &Set {
        &self.sets[key.0 as usize & (self.sets.len() - 1)]
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new(MEMORY_SLOTS)
    }
}

impl Slot {
    fn read(&self, key: Key) -> Option<u64> {
        let value = self.value.load(Relaxed);
        let is_ours = self.first.load(Relaxed) ^ value == key.0 && self.second.load(Relaxed) ^ spread(value) == key.1;
        (is_ours && value & FILLED != 0).then_some(value)
    }

    fn write(&self, key: Key, value: u64) {
        self.value.store(value, Relaxed);
        self.first.store(key.0 ^ value, Relaxed);
        self.second.store(key.1 ^ spread(value), Relaxed);
    }
}

/// A value for the second half, so that what cancels out in one half does not in the other.
fn spread(value: u64) -> u64 {
    value.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_recalled_for_the_very_same_only() {
        let memory = Memory::new(64);
        let key = memory.key(Channel::User, "hello", 1);
        assert_eq!(memory.recall(key), None);
        memory.note(key, 0.25);
        assert_eq!(memory.recall(key), Some(0.25));
        memory.note(key, 0.5);
        assert_eq!(memory.recall(key), Some(0.5));
        for other in [
            memory.key(Channel::Untrusted, "hello", 1),
            memory.key(Channel::User, "hello", 2),
            memory.key(Channel::User, "hello ", 1),
            Memory::new(64).key(Channel::User, "hello", 1),
        ] {
            assert_eq!(memory.recall(other), None);
        }
    }

    #[test]
    fn memory_is_fixed_and_what_is_used_stays() {
        let memory = Memory::new(1024);
        let key = |number: u32| memory.key(Channel::User, &number.to_string(), 0);
        memory.note(key(0), 0.125);
        let mut kept = 0;
        for number in 1..20_000 {
            memory.note(key(number), 0.0);
            kept += u32::from(memory.recall(key(0)).is_some());
            if memory.recall(key(0)).is_none() {
                memory.note(key(0), 0.125);
            }
        }
        assert_eq!(memory.sets.len() * WAYS, 1024);
        let held = (0..20_000).filter(|number| memory.recall(key(*number)).is_some()).count();
        assert!(held <= 1024 && held > 900, "{held}");
        assert!(kept > 19_800, "what is asked for all the time was there {kept} times of 19,999");
    }

    #[test]
    fn threads_never_read_what_was_not_noted() {
        let memory = Memory::new(8);
        let score = |number: u32| number as f32 / 1_000.0;
        std::thread::scope(|scope| {
            for start in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for round in 0..50_000_u32 {
                        let number = (round * 7 + start) % 97;
                        let key = memory.key(Channel::User, &number.to_string(), 0);
                        if let Some(found) = memory.recall(key) {
                            assert_eq!(found, score(number));
                        }
                        memory.note(key, score(number));
                    }
                });
            }
        });
    }
}
