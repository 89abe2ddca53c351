//! Money's metrics. The ledger counts for itself; what it has counted is copied here at each scrape.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ledger::{Counters, Ledger};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One of the ledger's counters: its name, its help, and where it is read.
type Copied = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

/// The ledger's counters.
const COUNTED: [Copied; 7] = [
    ("spend_refusals", "Requests refused for money since the start", |counters| &counters.refused),
    ("spend_shadow_refusals", "Requests that a spending limit in shadow would have refused", |counters| {
        &counters.shadow_refused
    }),
    ("spend_waits", "Requests that waited for other holds to settle, whatever became of them", |counters| {
        &counters.waited
    }),
    (
        "settlement_above_hold",
        "Requests that cost more than was held for them: defects of a bound. Alert on any. The log says \
         settlement_above_hold with the request and the amounts",
        |counters| &counters.above_hold,
    ),
    ("estimated_ends", "Requests charged at their full hold, because their usage never came", |counters| {
        &counters.estimated
    }),
    (
        "ledger_write_failures",
        "Writes of the ledger that the database refused; all of them are tried again",
        |counters| &counters.writes_failed,
    ),
    ("ledger_writes", "Writes of the ledger that were committed", |counters| &counters.writes),
];

/// Money's metrics.
pub(crate) struct MoneyMetrics {
    counted: [Counter; COUNTED.len()],
    open_holds: Gauge,
    reading_on: Gauge,
    price_table_age_days: Gauge,
}

impl MoneyMetrics {
    pub(super) fn register(registry: &mut Registry) -> MoneyMetrics {
        let metrics = MoneyMetrics {
            counted: std::array::from_fn(|_| Counter::default()),
            open_holds: Gauge::default(),
            reading_on: Gauge::default(),
            price_table_age_days: Gauge::default(),
        };
        for ((name, help, _), counter) in COUNTED.iter().zip(&metrics.counted) {
            registry.register(*name, *help, counter.clone());
        }
        let mut gauge = |name, help: &str, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("open_holds", "Requests that hold money or wait for some now", &metrics.open_holds);
        gauge("reading_on", "Answers read to their end now although their client left", &metrics.reading_on);
        let help = "Days since the shipped price list was taken; prices that the operator set are as new as they are";
        gauge("price_table_age_days", help, &metrics.price_table_age_days);
        metrics
    }

    /// Takes over what stands now.
    pub(crate) fn copy(&self, ledger: &Ledger, reading_on: usize, price_table_age_days: u64) {
        for ((_, _, of), counter) in COUNTED.iter().zip(&self.counted) {
            // They only grow, as a counter must.
            counter.inner().store(of(&ledger.counters).load(Relaxed), Relaxed);
        }
        self.open_holds.set(i64::try_from(ledger.open_holds_count()).unwrap_or(i64::MAX));
        self.reading_on.set(i64::try_from(reading_on).unwrap_or(i64::MAX));
        self.price_table_age_days.set(i64::try_from(price_table_age_days).unwrap_or(i64::MAX));
    }
}
