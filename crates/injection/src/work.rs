//! How much a detector has done: what it costs, in the two units that its cost comes in.
//!
//! Promise: counted where the work is done, so that whoever has a text looked at twice sees it here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the program began.
#[derive(Debug, Default)]
pub struct Work {
    glances: AtomicU64,
    windows: AtomicU64,
}

impl Work {
    /// Texts that the cheap stages looked at: tens of microseconds a kilobyte.
    pub fn glances(&self) -> u64 {
        self.glances.load(Relaxed)
    }

    /// Windows that the transformer read: milliseconds each.
    pub fn windows(&self) -> u64 {
        self.windows.load(Relaxed)
    }

    pub(crate) fn glanced(&self) {
        self.glances.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self, windows: usize) {
        self.windows.fetch_add(windows as u64, Relaxed);
    }
}
