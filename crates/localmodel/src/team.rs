//! The threads that compute one forward pass together.
//!
//! Promises: a pass is over in every thread before [`together`] returns; a panic in one thread reaches the caller and
//! leaves no other waiting.
//!
//! A pass has some 150 meeting points and takes a few milliseconds, so the threads spin a little before they yield:
//! parking and waking them would cost more than the work between two meetings.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Looks at the meeting point before the time slice is given away; about ten microseconds.
const SPINS: u32 = 400;

/// Where the threads of a pass meet.
pub(crate) struct Team {
    size: usize,
    arrived: AtomicUsize,
    meetings: AtomicUsize,
    broken: AtomicBool,
}

impl Team {
    /// How many threads meet.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns when every thread has called it. What a thread wrote before is seen by all after.
    pub(crate) fn meet(&self) {
        let meeting = self.meetings.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.size {
            self.arrived.store(0, Ordering::Relaxed);
            self.meetings.store(meeting.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.meetings.load(Ordering::Acquire) == meeting {
            assert!(!self.broken.load(Ordering::Relaxed), "another thread of the pass panicked");
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Tells the others when this thread leaves by a panic.
struct Alarm<'a>(&'a Team);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs `work` in `size` threads, this one among them, and gives what this one made. `work` gets its thread's number.
pub(crate) fn together<T: Send>(size: usize, work: impl Fn(&Team, usize) -> T + Sync) -> T {
    let team =
        Team { size, arrived: AtomicUsize::new(0), meetings: AtomicUsize::new(0), broken: AtomicBool::new(false) };
    let (team, work) = (&team, &work);
    thread::scope(|scope| {
        for member in 1..size {
            scope.spawn(move || {
                let _alarm = Alarm(team);
                work(team, member);
            });
        }
        let _alarm = Alarm(team);
        work(team, 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_sees_what_everybody_wrote() {
        let cells: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
        together(3, |team, me| {
            for round in 1..200 {
                cells[me].store(round, Ordering::Relaxed);
                team.meet();
                assert!(cells.iter().all(|cell| cell.load(Ordering::Relaxed) == round));
                team.meet();
            }
        });
    }

    #[test]
    fn a_panic_frees_the_others() {
        let outcome = std::panic::catch_unwind(|| {
            together(2, |team, me| {
                assert!(me == 0, "meant to fail");
                team.meet();
            });
        });
        assert!(outcome.is_err());
    }
}
