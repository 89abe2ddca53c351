//! A bucket's level: what is used of each meter, exact in integers.
//!
//! What is used is kept in units times nanoseconds of the meter's period: in `t` nanoseconds `t × limit` of it flow
//! back, without a remainder. Products of two 64-bit numbers fit; sums saturate.

use crate::admission::{Gauge, Gauges};
use crate::limited::Shortage;
use crate::limits::{Limits, Meter, Want};

/// Most low points that are remembered. Beyond it two become one, the lower: some of an estimate is then not given
/// back.
const LOWS_MAX: usize = 16;

/// A bucket.
#[derive(Debug, Default)]
pub(crate) struct Level {
    at_ns: u64,
    limits: Limits,
    used: [u128; Meter::FLOWING.len()],
    running: u32,
    /// Counts requests that took tokens.
    taken: u64,
    /// How low the tokens in use were, for as long as somebody may correct an estimate: each with `taken` at that time,
    /// and lower than all later ones.
    lows: Vec<(u64, u128)>,
}

impl Level {
    /// Brings the level to a moment, at the limits that it had, and puts `limits` in force. What was used stays used; of
    /// a meter that is no longer limited nothing is remembered.
    pub(crate) fn advance(&mut self, now_ns: u64, limits: &Limits) {
        self.flow(now_ns);
        if self.limits != *limits {
            self.limits = *limits;
            for (used, meter) in self.used.iter_mut().zip(Meter::FLOWING) {
                if limits.of(meter).is_none() {
                    *used = 0;
                }
            }
            self.note_low();
        }
    }

    /// A moment before the last one changes nothing: threads read their clocks in one order and get here in another.
    fn flow(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.at_ns);
        if elapsed_ns == 0 {
            return;
        }
        self.at_ns = now_ns;
        for (used, meter) in self.used.iter_mut().zip(Meter::FLOWING) {
            if *used > 0 {
                let limit = self.limits.of(meter).unwrap_or(0);
                *used = used.saturating_sub(u128::from(elapsed_ns) * u128::from(limit));
            }
        }
        self.note_low();
    }

    /// Remembers how much of the tokens is in use, if it was never less since some request took of them.
    fn note_low(&mut self) {
        let used = self.used[Meter::TokensPerMinute as usize];
        while self.lows.last().is_some_and(|(_, low)| *low >= used) {
            self.lows.pop();
        }
        if self.running == 0 {
            return;
        }
        self.lows.push((self.taken, used));
        if self.lows.len() > LOWS_MAX {
            let (taken, _) = self.lows.remove(LOWS_MAX / 2);
            self.lows[LOWS_MAX / 2 - 1].0 = taken;
        }
    }

    /// The shortage that takes longest to pass, if there is one.
    pub(crate) fn shortage(&self, want: &Want) -> Option<Shortage> {
        let flowing = Meter::FLOWING.iter().zip(&self.used).filter_map(|(meter, used)| {
            let (wanted, limit) = (want.of(*meter), self.limits.of(*meter)?);
            (wanted > 0).then(|| Shortage::flowing(*meter, limit, *used, wanted)).flatten()
        });
        let running = self.limits.concurrency.filter(|limit| self.running >= *limit);
        let running = running.map(|limit| Shortage::running(limit, self.running));
        flowing.chain(running).max_by_key(Shortage::rank)
    }

    /// Takes what is wanted; where tokens are limited, the number of the taking.
    pub(crate) fn take(&mut self, want: &Want) -> Option<u64> {
        for (used, meter) in self.used.iter_mut().zip(Meter::FLOWING) {
            if self.limits.of(meter).is_some() {
                *used = used.saturating_add(scaled(want.of(meter), meter));
            }
        }
        self.running = self.running.saturating_add(1);
        self.limits.tokens_per_minute?;
        self.taken += 1;
        Some(self.taken)
    }

    /// Replaces tokens that were taken by those that were used. What flowed back since is not given back twice, and more
    /// than the limit may be owed.
    pub(crate) fn correct(&mut self, now_ns: u64, number: u64, taken: u64, used: u64) {
        self.flow(now_ns);
        if self.limits.tokens_per_minute.is_none() {
            return;
        }
        let meter = Meter::TokensPerMinute;
        let level = &mut self.used[meter as usize];
        if let Some(more) = used.checked_sub(taken) {
            *level = level.saturating_add(scaled(more, meter));
            return;
        }
        // Without the excess the bucket would have been empty where its level was lower than the excess: what flowed
        // back beyond that would have been lost.
        let since = self.lows.partition_point(|(at, _)| *at < number);
        let lowest = self.lows.get(since).map_or(*level, |(_, low)| *low);
        let back = scaled(taken - used, meter).min(lowest).min(*level);
        *level -= back;
        // Whoever is corrected next finds the levels that there would have been.
        self.lows[since..].iter_mut().for_each(|(_, low)| *low -= back);
        let (before, after) = self.lows.split_at(since);
        let first = after.first().map_or(u128::MAX, |(_, low)| *low);
        let higher = before.iter().rev().take_while(|(_, low)| *low >= first).count();
        self.lows.drain(since - higher..since);
        self.note_low();
    }

    /// Frees a place under the concurrency limit.
    pub(crate) fn leave(&mut self) {
        self.running = self.running.saturating_sub(1);
        if self.running == 0 {
            self.lows = Vec::new();
        }
    }

    /// Whether a new bucket would be the same.
    pub(crate) fn is_full(&mut self, now_ns: u64) -> bool {
        self.flow(now_ns);
        self.running == 0 && self.used.iter().all(|used| *used == 0)
    }

    /// What headers tell of this bucket.
    pub(crate) fn gauges(&self) -> Gauges {
        let mut gauges = Gauges::default();
        for (meter, used) in Meter::FLOWING.iter().zip(&self.used) {
            let Some(limit) = self.limits.of(*meter) else { continue };
            if meter.counts_requests() {
                gauges.tighten_requests(Gauge::new(*meter, limit, *used));
            } else if *meter == Meter::TokensPerMinute {
                gauges.tighten_tokens(Gauge::new(*meter, limit, *used));
            }
        }
        gauges
    }
}

pub(crate) fn scaled(count: u64, meter: Meter) -> u128 {
    u128::from(count) * u128::from(meter.period_ns())
}

/// A scaled amount in what the meter counts, rounded up.
pub(crate) fn counted(used: u128, meter: Meter) -> u64 {
    u64::try_from(used.div_ceil(u128::from(meter.period_ns()))).unwrap_or(u64::MAX)
}

/// How long a scaled amount takes to flow back, rounded up; for ever under a limit of nothing.
pub(crate) fn flow_time_ns(used: u128, limit: u64) -> u64 {
    if used == 0 {
        return 0;
    }
    let time = used.checked_next_multiple_of(u128::from(limit)).and_then(|used| used.checked_div(u128::from(limit)));
    time.and_then(|time| u64::try_from(time).ok()).unwrap_or(u64::MAX)
}
