//! What was judged before: the earlier turns of a conversation come again with every request, and are read once.
//!
//! What a judgement is, in two numbers, is for those to say who judge: here it is a [`Note`].
//!
//! Promises: fixed memory; nobody ever waits; an answer is only given for the very text, channel and policy that it was
//! noted for, as far as a keyed hash of 128 bits tells. The key is random and never leaves the process, so nobody can
//! prepare two texts that look the same to it. What was thrown out, or was written twice at once, is read again.
//!
//! Each slot holds the hash mixed with the note beside the note itself (the way chess programs share their tables
//! without locks): a slot that two threads wrote halves of fits no hash.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use siphasher::sip128::{Hasher128, SipHasher13};
use wire::channel::Channel;

/// Slots of one memory by default: 2.1 MB, some hundred thousand messages of busy conversations an hour.
pub const MEMORY_SLOTS: usize = 64 * 1024;

/// Slots that a hash may be in. The bits of one byte say which of them were used lately.
const WAYS: usize = 8;

/// A text, its channel and the policy under which it was judged, as a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64, u64);

/// What is noted of a text.
pub type Note = [u64; 2];

/// What was judged before.
pub struct Memory {
    hashing: SipHasher13,
    sets: Vec<Set>,
}

#[derive(Default)]
struct Set {
    slots: [Slot; WAYS],
    used: AtomicU8,
}

#[derive(Default)]
struct Slot {
    first: AtomicU64,
    second: AtomicU64,
    note: [AtomicU64; 2],
}

impl Memory {
    /// A memory of at least so many slots, 33 bytes each, rounded up to a power of two.
    pub fn new(slots: usize) -> Memory {
        let sets = slots.div_ceil(WAYS).next_power_of_two();
        let random = RandomState::new();
        let hashing = SipHasher13::new_with_keys(random.hash_one(0), random.hash_one(1));
        Memory { hashing, sets: (0..sets).map(|_| Set::default()).collect() }
    }

    /// The key of a text. `generation` stands for all else that a judgement depends on: the policy and the detector.
    pub fn key(&self, channel: Channel, text: &str, generation: u64) -> Key {
        let mut hasher = self.hashing;
        hasher.write_u8(channel as u8);
        hasher.write_u64(generation);
        hasher.write(text.as_bytes());
        let hash = hasher.finish128();
        Key(hash.h1, hash.h2)
    }

    /// What was noted.
    pub fn recall(&self, key: Key) -> Option<Note> {
        let set = self.set(key);
        let (at, note) = set.slots.iter().enumerate().find_map(|(at, slot)| Some((at, slot.read(key)?)))?;
        // Mostly it is set already, and then no other core loses the line.
        if set.used.load(Relaxed) & 1 << at == 0 {
            set.used.fetch_or(1 << at, Relaxed);
        }
        Some(note)
    }

    /// Notes what a text came to. Something that was not used lately is forgotten for it.
    pub fn note(&self, key: Key, note: Note) {
        let set = self.set(key);
        let present = set.slots.iter().position(|slot| slot.read(key).is_some());
        let at = present.unwrap_or_else(|| {
            let used = set.used.load(Relaxed);
            // All were used: all but the one that is taken now have to be used again to stay.
            if used == u8::MAX { key.1 as usize % WAYS } else { used.trailing_ones() as usize }
        });
        set.slots[at].write(key, note);
        let others = set.used.load(Relaxed);
        let others = if others == u8::MAX { 0 } else { others };
        set.used.store(others | 1 << at, Relaxed);
    }

    fn set(&self, key: Key) -> &Set {
        &self.sets[key.0 as usize & (self.sets.len() - 1)]
    }
}

impl std::fmt::Debug for Memory {
    /// Without the key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Memory").field("sets", &self.sets.len()).finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new(MEMORY_SLOTS)
    }
}

impl Slot {
    fn read(&self, key: Key) -> Option<Note> {
        let note = [self.note[0].load(Relaxed), self.note[1].load(Relaxed)];
        let is_ours = self.first.load(Relaxed) ^ mixed(note, FIRST) == key.0
            && self.second.load(Relaxed) ^ mixed(note, SECOND) == key.1;
        is_ours.then_some(note)
    }

    fn write(&self, key: Key, note: Note) {
        self.note[0].store(note[0], Relaxed);
        self.note[1].store(note[1], Relaxed);
        self.first.store(key.0 ^ mixed(note, FIRST), Relaxed);
        self.second.store(key.1 ^ mixed(note, SECOND), Relaxed);
    }
}

/// Odd numbers of many bits, another pair for each half, so that what cancels out in one half does not in the other.
const FIRST: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F];
const SECOND: [u64; 2] = [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB];

/// A note as one number. That of an empty slot is not zero, so that it fits none but one hash of 2^128.
fn mixed(note: Note, by: [u64; 2]) -> u64 {
    (note[0] ^ by[1]).wrapping_mul(by[0]) ^ (note[1] ^ by[0]).wrapping_mul(by[1]).rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_recalled_for_the_very_same_only() {
        let memory = Memory::new(64);
        let key = memory.key(Channel::User, "hello", 1);
        assert_eq!(memory.recall(key), None);
        for note in [[7, 9], [9, 7], [0, 0]] {
            memory.note(key, note);
            assert_eq!(memory.recall(key), Some(note));
        }
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
        memory.note(key(0), [1, 2]);
        let mut kept = 0;
        for number in 1..20_000 {
            memory.note(key(number), [0, 0]);
            kept += u32::from(memory.recall(key(0)).is_some());
            if memory.recall(key(0)).is_none() {
                memory.note(key(0), [1, 2]);
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
        let note = |number: u32| [u64::from(number), u64::from(number % 7)];
        std::thread::scope(|scope| {
            for start in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for round in 0..50_000_u32 {
                        let number = (round * 7 + start) % 97;
                        let key = memory.key(Channel::User, &number.to_string(), 0);
                        if let Some(found) = memory.recall(key) {
                            assert_eq!(found, note(number));
                        }
                        memory.note(key, note(number));
                    }
                });
            }
        });
    }
}
