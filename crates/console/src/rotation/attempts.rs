//! What is remembered of a rotation between two attempts at its step.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use store::{Rotation, RotationState};
use tokio::sync::Notify;

/// Longest wait between two attempts.
const RETRY_SECONDS_MAX: i64 = 600;

/// What is remembered of rotations between two attempts. A new process tries at once.
#[derive(Default)]
pub(crate) struct Attempts {
    by_rotation: Mutex<HashMap<String, Attempt>>,
    pub(super) wanted: Notify,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Attempt {
    state: Option<RotationState>,
    pub(super) count: u32,
    pub(super) not_before: i64,
    pub(super) words: String,
}

impl Attempts {
    /// Notes a failed attempt in a state; the how manieth it was.
    pub(super) fn note(&self, rotation: &Rotation, words: &str, now: i64) -> u32 {
        let mut attempts = self.by_rotation.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(rotation.id.clone()).or_default();
        if attempt.state != Some(rotation.state) {
            *attempt = Attempt { state: Some(rotation.state), ..Attempt::default() };
        }
        attempt.count = attempt.count.saturating_add(1);
        attempt.not_before = now + (1_i64 << (attempt.count - 1).min(16)).min(RETRY_SECONDS_MAX);
        words.clone_into(&mut attempt.words);
        attempt.count
    }

    pub(super) fn of(&self, rotation: &Rotation) -> Option<Attempt> {
        let attempts = self.by_rotation.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.get(&rotation.id).filter(|attempt| attempt.state == Some(rotation.state)).cloned()
    }

    pub(super) fn forget(&self, rotation: &str) {
        self.by_rotation.lock().unwrap_or_else(PoisonError::into_inner).remove(rotation);
    }
}
