//! A refusal: which limit, how full, when to come back.

use std::fmt;

use crate::admission::Gauges;
use crate::duration::{go_duration, whole_milliseconds};
use crate::level::{counted, flow_time_ns, scaled};
use crate::limits::{Meter, Scope};

/// When to try again after a refusal for concurrency. Nobody knows when a stream ends: long enough not to hammer, short
/// against an answer.
pub const CONCURRENCY_RETRY_NS: u64 = 500_000_000;

/// What is too short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shortage {
    meter: Meter,
    limit: u64,
    used: u64,
    requested: u64,
    /// `None`: the request alone is over the limit.
    retry_after_ns: Option<u64>,
}

impl Shortage {
    pub(crate) fn flowing(meter: Meter, limit: u64, used: u128, requested: u64) -> Option<Shortage> {
        let excess = used.saturating_add(scaled(requested, meter)).checked_sub(scaled(limit, meter))?;
        if excess == 0 {
            return None;
        }
        let retry_after_ns = (requested <= limit).then(|| flow_time_ns(excess, limit));
        Some(Shortage { meter, limit, used: counted(used, meter), requested, retry_after_ns })
    }

    pub(crate) fn running(limit: u32, running: u32) -> Shortage {
        Shortage {
            meter: Meter::Concurrency,
            limit: limit.into(),
            used: running.into(),
            requested: 1,
            retry_after_ns: (limit > 0).then_some(CONCURRENCY_RETRY_NS),
        }
    }

    /// The higher, the later the request could pass.
    pub(crate) fn rank(&self) -> u64 {
        self.retry_after_ns.unwrap_or(u64::MAX)
    }
}

/// Why a request is not admitted. Its text is OpenAI's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// Which limit.
    pub which: Meter,
    /// Whose limit, in words: `gpt-4o in project proj_a`. End users are not named.
    pub scope: String,
    /// The limit.
    pub limit: u64,
    /// What is used of it, rounded up; over the limit while debt is worked off.
    pub used: u64,
    /// What the request wants of it.
    pub requested: u64,
    /// After what time it would pass if nobody else came, in nanoseconds; `None` when it never will.
    pub retry_after_ns: Option<u64>,
    /// What headers tell: nothing was taken. Boxed: a refusal is the rare result, and should not be the large one.
    pub gauges: Box<Gauges>,
}

impl Limited {
    pub(crate) fn new(scope: &Scope<'_>, shortage: &Shortage, gauges: Gauges) -> Limited {
        let scope = match scope {
            Scope::Model { project, model } => format!("{model} in project {project}"),
            Scope::Project { project } => format!("all models in project {project}"),
            Scope::Key { key } => format!("API key {key}"),
            Scope::EndUser { project, .. } => format!("this end user in project {project}"),
        };
        let Shortage { meter, limit, used, requested, retry_after_ns } = *shortage;
        Limited { which: meter, scope, limit, used, requested, retry_after_ns, gauges: Box::new(gauges) }
    }

    /// `retry-after-ms`; `None` when a retry is in vain (`x-should-retry: false`).
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ns.map(|time| time.div_ceil(1_000_000))
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limited { scope, limit, used, requested, .. } = self;
        let words = self.which.words();
        let Some(retry_after_ns) = self.retry_after_ns else {
            write!(f, "Request too large for {scope} on {words}: Limit {limit}, Requested {requested}.")?;
            return match self.which {
                Meter::TokensPerMinute | Meter::BatchTokensPerDay => {
                    f.write_str(" The input or output tokens must be reduced in order to run successfully.")
                }
                _ => f.write_str(" It cannot pass while this limit holds."),
            };
        };
        let retry = go_duration(whole_milliseconds(retry_after_ns));
        write!(
            f,
            "Rate limit reached for {scope} on {words}: Limit {limit}, Used {used}, Requested {requested}. Please try again in {retry}."
        )
    }
}

impl std::error::Error for Limited {}
