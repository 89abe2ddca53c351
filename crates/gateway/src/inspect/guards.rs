//! What all requests share that are inspected: the detector, its threads, what was judged before.

use std::hash::{BuildHasher, RandomState};

use extract::Memory;
use injection::{Channel, Detector, Level};
use store::{ProjectId, Threshold};

use super::pool::{Pool, Room};
use crate::settings::GuardLimits;

/// The guards of a process.
pub(crate) struct Guards {
    pub(crate) detector: &'static Detector,
    pub(crate) pool: Pool,
    /// Scores of texts that were judged before.
    pub(crate) memory: Memory,
    hashing: RandomState,
    pub(crate) limits: GuardLimits,
}

impl Guards {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(limits: &GuardLimits) -> std::io::Result<Guards> {
        let room = Room { texts_max: limits.queue_max, bytes_max: limits.queue_bytes_max };
        Ok(Guards {
            detector: Detector::embedded(),
            pool: Pool::start(limits.threads, room)?,
            memory: Memory::new(limits.remembered_max),
            hashing: RandomState::new(),
            limits: limits.clone(),
        })
    }

    /// What a remembered score depends on beside its text: what one project's texts came to tells another nothing.
    pub(crate) fn generation(&self, project: &ProjectId) -> u64 {
        self.hashing.hash_one(project)
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
        let score = f64::from(self.detector.threshold(level, channel).clamp(0.0, 1.0));
        // Within its bounds, as the score is.
        (score * f64::from(Threshold::SCORE_MAX)).round() as u32
    }
}

/// Millionths as a score.
pub(crate) fn score(millionths: u32) -> f32 {
    // Seven digits are what a float of this size holds.
    (f64::from(millionths) / f64::from(Threshold::SCORE_MAX)) as f32
}
