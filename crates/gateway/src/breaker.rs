//! Whether a key of an upstream is worth trying: a circuit breaker.
//!
//! Promises: what fails is left alone for a bounded time that grows each time it fails again; when that time is over one
//! request tries, and no other until it has an answer or [`PROBE_MS`] have passed; an answer to a request that was sent
//! before the breaker opened neither closes it nor keeps it open longer. Reading and changing it never waits: all of it is one atomic word.
//!
//! The states and their changes are the pure functions of [`State`]; [`Breaker`] puts them behind the word. Times are
//! milliseconds of a clock that never goes back.
//!
//! Left out: what counts as a failure ([`crate::upstream`] says so), and that the last of several is tried though it is
//! open ([`crate::upstreams`]).

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Failures in a row that open it: one bad answer of a busy service is no outage.
const FAILURES_MAX: u64 = 5;

/// How long a request that tries may take before another one may.
pub(crate) const PROBE_MS: u64 = 10_000;

/// Longest time that it stays open.
pub(crate) const OPEN_MS_MAX: u64 = 600_000;

/// How often the time may double.
const LEVEL_MAX: u64 = 15;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection, no answer, or an error of the server's: opens after [`FAILURES_MAX`] in a row.
    Failure,
    /// The server says that it does no work now.
    Overloaded,
    /// The key was refused.
    Refused,
    /// A rate limit or a quota, and how long it says that it lasts.
    Limited {
        /// Milliseconds, where it says.
        retry_after_ms: Option<u64>,
    },
}

impl Fault {
    /// How many failures it counts for.
    fn weight(self) -> u64 {
        match self {
            Fault::Failure => 1,
            Fault::Overloaded | Fault::Refused | Fault::Limited { .. } => FAILURES_MAX,
        }
    }

    /// How long it opens for at first.
    fn open_ms(self) -> u64 {
        match self {
            Fault::Failure | Fault::Overloaded => 1_000,
            // It will not be right again by itself.
            Fault::Refused => 30_000,
            Fault::Limited { retry_after_ms } => retry_after_ms.unwrap_or(5_000).clamp(250, 60_000),
        }
    }
}

/// A breaker's state, in one word: from the lowest bit, failures in a row (8 bits), how often it opened without closing
/// (8), and until when it is open (48; 0 is closed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u64);

/// How a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Like any other.
    Pass,
    /// As the one that tries.
    Probe,
    /// Not now.
    Wait,
}

impl State {
    /// Nothing is known against it.
    pub(crate) const CLOSED: State = State(0);

    fn new(failures: u64, level: u64, until_ms: u64) -> State {
        State(failures.min(0xff) | level.min(0xff) << 8 | until_ms << 16)
    }

    fn failures(self) -> u64 {
        self.0 & 0xff
    }

    fn level(self) -> u64 {
        self.0 >> 8 & 0xff
    }

    /// Until when it is open; 0 when it is closed.
    pub(crate) fn until_ms(self) -> u64 {
        self.0 >> 16
    }

    /// Whether it is open: then only the request that tries may pass, and only when its time has come.
    pub(crate) fn is_open(self) -> bool {
        self.until_ms() != 0
    }

    /// Whether a request may pass, and the state after that.
    pub(crate) fn admit(self, now_ms: u64) -> (State, Verdict) {
        match self.until_ms() {
            0 => (self, Verdict::Pass),
            until_ms if now_ms < until_ms => (self, Verdict::Wait),
            _ => (State::new(self.failures(), self.level(), now_ms + PROBE_MS), Verdict::Probe),
        }
    }

    /// The state after an answer to a request that was admitted in state `admitted`.
    pub(crate) fn succeeded(self, admitted: State) -> State {
        // It opened after that request was sent: what it says is old.
        if self.is_open() && self != admitted { self } else { State::CLOSED }
    }

    /// The state after a fault of a request that was admitted in state `admitted`.
    pub(crate) fn failed(self, admitted: State, fault: Fault, now_ms: u64) -> State {
        // Of many that were under way when it opened the first has said it all: the rest must not make it longer.
        if self.is_open() && self != admitted {
            return self;
        }
        let failures = self.failures() + fault.weight();
        if failures < FAILURES_MAX {
            return State::new(failures, self.level(), 0);
        }
        let level = if self.is_open() { (self.level() + 1).min(LEVEL_MAX) } else { self.level() };
        let open_ms = (fault.open_ms() << level).min(OPEN_MS_MAX);
        State::new(failures, level, now_ms + open_ms)
    }
}

/// A breaker. All at once may use it.
#[derive(Debug, Default)]
pub(crate) struct Breaker(AtomicU64);

impl Breaker {
    /// How it stands.
    pub(crate) fn state(&self) -> State {
        State(self.0.load(SeqCst))
    }

    /// Whether a request would pass now, without passing.
    pub(crate) fn would_admit(&self, now_ms: impl Fn() -> u64) -> bool {
        let state = self.state();
        !state.is_open() || now_ms() >= state.until_ms()
    }

    /// Lets a request pass, if it may: the state in which it does.
    pub(crate) fn admit(&self, now_ms: impl Fn() -> u64) -> Option<State> {
        let mut state = self.state();
        if !state.is_open() {
            return Some(state);
        }
        let now_ms = now_ms();
        loop {
            let (next, verdict) = state.admit(now_ms);
            match verdict {
                Verdict::Wait => return None,
                Verdict::Pass => return Some(next),
                Verdict::Probe => match self.0.compare_exchange(state.0, next.0, SeqCst, SeqCst) {
                    Ok(_) => return Some(next),
                    Err(found) => state = State(found),
                },
            }
        }
    }

    /// Notes an answer to a request that passed in state `admitted`.
    pub(crate) fn succeeded(&self, admitted: State) {
        // Mostly nothing was known against it, and nothing is written.
        if self.state() != State::CLOSED {
            let _ = self.0.fetch_update(SeqCst, SeqCst, |state| Some(State(state).succeeded(admitted).0));
        }
    }

    /// Notes a fault of a request that passed in state `admitted`.
    pub(crate) fn failed(&self, admitted: State, fault: Fault, now_ms: u64) {
        let _ = self.0.fetch_update(SeqCst, SeqCst, |state| Some(State(state).failed(admitted, fault, now_ms).0));
    }
}

#[cfg(test)]
mod tests;
