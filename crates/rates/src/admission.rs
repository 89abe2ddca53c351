//! What an admitted request holds until its end, and what headers tell of it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::book::SUBJECTS_MAX;
use crate::duration::{go_duration, whole_milliseconds};
use crate::level::{Level, counted, flow_time_ns};
use crate::limits::Meter;

/// A request's places under all of its limits. It rides to the end of the stream: dropping it frees them.
#[derive(Debug)]
#[must_use = "dropping it ends the request's places under concurrency limits"]
pub struct Admission {
    holds: [Option<Hold>; SUBJECTS_MAX],
    tokens: u64,
    gauges: Gauges,
}

#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) bucket: Arc<Mutex<Level>>,
    /// The number of the taking, if the estimate was taken out of it: a limit that came later owes nothing back.
    pub(crate) taking: Option<u64>,
}

impl Admission {
    pub(crate) fn new(holds: [Option<Hold>; SUBJECTS_MAX], tokens: u64, gauges: Gauges) -> Admission {
        Admission { holds, tokens, gauges }
    }

    /// Replaces the estimated tokens by those that were used, once they are known or known better: gives back what was
    /// too much, takes what was too little even where nothing is left.
    pub fn correct(&mut self, now_ns: u64, tokens: u64) {
        for hold in self.holds.iter().flatten() {
            if let Some(taking) = hold.taking {
                lock(&hold.bucket).correct(now_ns, taking, self.tokens, tokens);
            }
        }
        self.tokens = tokens;
    }

    /// What headers tell, as of the admission.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Names and values of `x-ratelimit-*`; none where nothing is limited.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.gauges.headers()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.holds.iter().flatten().for_each(|hold| lock(&hold.bucket).leave());
    }
}

/// Locks a bucket. Nothing under the lock panics, and a level is whole between any two of its steps.
pub(crate) fn lock(bucket: &Mutex<Level>) -> std::sync::MutexGuard<'_, Level> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How full one bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// The limit.
    pub limit: u64,
    /// What is left now, rounded down.
    pub remaining: u64,
    /// When all of it is left again if nobody comes, in nanoseconds.
    pub reset_ns: u64,
}

impl Gauge {
    pub(crate) fn new(meter: Meter, limit: u64, used: u128) -> Gauge {
        let remaining = limit.saturating_sub(counted(used, meter));
        Gauge { limit, remaining, reset_ns: flow_time_ns(used, limit) }
    }
}

/// The tightest buckets of a request: those with the least left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Of those that count requests, by minute or by day.
    pub requests: Option<Gauge>,
    /// Of those that count tokens.
    pub tokens: Option<Gauge>,
}

impl Gauges {
    pub(crate) fn tighten_requests(&mut self, gauge: Gauge) {
        tighten(&mut self.requests, gauge);
    }

    pub(crate) fn tighten_tokens(&mut self, gauge: Gauge) {
        tighten(&mut self.tokens, gauge);
    }

    pub(crate) fn tighten(&mut self, others: &Gauges) {
        others.requests.into_iter().for_each(|gauge| tighten(&mut self.requests, gauge));
        others.tokens.into_iter().for_each(|gauge| tighten(&mut self.tokens, gauge));
    }

    /// Names and values of `x-ratelimit-*`, as the API has them.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        const REQUESTS: [&str; 3] =
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
        const TOKENS: [&str; 3] =
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
        let gauges = [(REQUESTS, self.requests), (TOKENS, self.tokens)];
        gauges.into_iter().filter_map(|(names, gauge)| gauge.map(|gauge| (names, gauge))).flat_map(|(names, gauge)| {
            [
                (names[0], gauge.limit.to_string()),
                (names[1], gauge.remaining.to_string()),
                (names[2], go_duration(whole_milliseconds(gauge.reset_ns)).to_string()),
            ]
        })
    }
}

/// Keeps the one with the least left; of equals the later reset.
fn tighten(held: &mut Option<Gauge>, gauge: Gauge) {
    let is_tighter = |held: Gauge| {
        gauge.remaining < held.remaining || gauge.remaining == held.remaining && gauge.reset_ns > held.reset_ns
    };
    if held.is_none_or(is_tighter) {
        *held = Some(gauge);
    }
}
