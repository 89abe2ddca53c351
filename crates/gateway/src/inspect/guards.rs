//! What all requests share that are inspected: the detector, its threads, what was judged before.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use arc_swap::ArcSwap;
use extract::{Key, Memory};
use injection::{Channel, Detector, Level};
use store::{ProjectId, Threshold};

use super::pool::{Pool, Room};
use super::remember::Known;
use super::turns::Turns;
use crate::settings::GuardLimits;

/// The guards of a process.
pub(crate) struct Guards {
    detector: ArcSwap<Detector>,
    /// How many detectors there were before it.
    version: AtomicU64,
    pub(crate) pool: Pool,
    /// What texts that were judged before came to.
    memory: Memory,
    /// Turns of what is looked at off the workers: one for each core. Who waits for one waits as long as for the
    /// transformer.
    pub(super) turns: Turns,
    hashing: RandomState,
    pub(crate) limits: GuardLimits,
}

impl Guards {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(limits: &GuardLimits, detector: Arc<Detector>) -> std::io::Result<Guards> {
        extract::prepare();
        let room = Room { texts_max: limits.queue_max, bytes_max: limits.queue_bytes_max };
        Ok(Guards {
            detector: ArcSwap::new(detector),
            version: AtomicU64::new(0),
            pool: Pool::start(limits.threads, room)?,
            memory: Memory::new(limits.remembered_max),
            turns: Turns::new(std::thread::available_parallelism().map_or(1, usize::from), limits.read_time_max),
            hashing: RandomState::new(),
            limits: limits.clone(),
        })
    }

    /// The detector in force.
    pub(crate) fn detector(&self) -> Arc<Detector> {
        self.detector.load_full()
    }

    /// Puts another detector in force. What the one before said is not remembered any more.
    pub(crate) fn put(&self, detector: Arc<Detector>) {
        self.detector.store(detector);
        // Behind the swap, and read in front of the detector: what the one before said is never noted under the next
        // version.
        self.version.fetch_add(1, SeqCst);
    }

    /// What a text is remembered by.
    pub(super) fn key(&self, channel: Channel, text: &str, generation: u64) -> Key {
        self.memory.key(channel, text, generation)
    }

    /// What is remembered of a text.
    pub(super) fn recall(&self, key: Key) -> Option<Known> {
        self.memory.recall(key).map(Known::of)
    }

    /// Remembers what a text came to.
    pub(super) fn remember(&self, key: Key, known: Known) {
        self.memory.note(key, known.note());
    }

    /// What a remembered score depends on beside its text: the detector; and what one project's texts came to tells
    /// another nothing.
    pub(crate) fn generation(&self, project: &ProjectId) -> u64 {
        self.hashing.hash_one((project, self.version.load(SeqCst)))
    }

    /// The score from which on something is a finding, in millionths: as settings say it, and as it is compared.
    pub(crate) fn threshold(&self, threshold: Threshold, channel: Channel) -> u32 {
        let level = match threshold {
            Threshold::Score(millionths) => return millionths,
            Threshold::Default => Level::default(),
            Threshold::OneInThousand => Level::OneInThousand,
            Threshold::OneInHundred => Level::OneInHundred,
            Threshold::FiveInHundred => Level::FiveInHundred,
        };
        let score = f64::from(self.detector.load().threshold(level, channel).clamp(0.0, 1.0));
        // Within its bounds, as the score is.
        (score * f64::from(Threshold::SCORE_MAX)).round() as u32
    }
}

/// Millionths as a score.
pub(crate) fn score(millionths: u32) -> f32 {
    // Seven digits are what a float of this size holds.
    (f64::from(millionths) / f64::from(Threshold::SCORE_MAX)) as f32
}
