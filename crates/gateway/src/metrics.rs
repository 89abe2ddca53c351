//! Prometheus metrics. Counting is an atomic add; series are made when they first count.

mod guards;
mod money;

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use wire::endpoint;
use wire::refusal::Refusal;

use crate::record::Ended;
use crate::resolve::Row;
pub(crate) use guards::{By, GuardMetrics};
pub(crate) use money::MoneyMetrics;

/// Status classes, 1xx to 5xx.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndedLabel {
    ended: &'static str,
}

/// The counters of one row: found once, then an array look-up away.
#[derive(Default)]
struct RowCounters([OnceLock<Counter>; STATUS_CLASSES.len()]);

/// All metrics of the process.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// One per row of the table, and a last one for what found no row.
    by_row: Vec<RowCounters>,
    durations: Histogram,
    refusals: Family<CodeLabel, Counter>,
    unfinished: Family<EndedLabel, Counter>,
    /// Exchanges that run now.
    pub(crate) in_flight: Gauge,
    /// Request bodies held in memory now.
    pub(crate) body_memory_bytes: Gauge,
    /// Log lines dropped so far because the writer could not keep up.
    pub(crate) log_lines_dropped: Gauge,
    /// Connections refused because there were too many.
    pub(crate) connections_refused: Counter,
    /// Retries at the upstream.
    pub(crate) upstream_retries: Counter,
    /// Attempts at another key or upstream.
    pub(crate) upstream_failovers: Counter,
    /// Upstream keys that take requests.
    pub(crate) upstream_keys: Gauge,
    /// Of them, those that are left alone for a while.
    pub(crate) upstream_keys_open: Gauge,
    /// Owners of objects that could not be written down at once.
    pub(crate) owner_write_failures: Counter,
    /// Alarms that nobody took in time.
    pub(crate) alarms_lost: Counter,
    /// Object ids that another project owned already.
    pub(crate) owner_conflicts: Counter,
    /// What the ledger counts.
    pub(crate) money: MoneyMetrics,
    /// What the guards do.
    pub(crate) guards: GuardMetrics,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("sallyport");
        let requests = Family::<RequestLabels, Counter>::default();
        // 0.5 ms to about 9 minutes, each bucket four times the last.
        let durations = Histogram::new(exponential_buckets(0.000_5, 4.0, 11));
        let refusals = Family::<CodeLabel, Counter>::default();
        let unfinished = Family::<EndedLabel, Counter>::default();
        let in_flight = Gauge::default();
        let body_memory_bytes = Gauge::default();
        let log_lines_dropped = Gauge::default();
        let connections_refused = Counter::default();
        let upstream_retries = Counter::default();
        let upstream_failovers = Counter::default();
        let (upstream_keys, upstream_keys_open) = (Gauge::default(), Gauge::default());
        let owner_write_failures = Counter::default();
        let owner_conflicts = Counter::default();
        let alarms_lost = Counter::default();
        registry.register("requests", "Requests by endpoint, method and status class", requests.clone());
        registry.register("request_duration_seconds", "From the request's head to the answer's end", durations.clone());
        registry.register("refusals", "Refusals by error code", refusals.clone());
        registry.register("unfinished", "Answers that did not reach their end, by reason", unfinished.clone());
        registry.register("in_flight", "Exchanges that run now", in_flight.clone());
        registry.register("body_memory_bytes", "Request bodies held in memory now", body_memory_bytes.clone());
        registry.register("log_lines_dropped", "Request log lines dropped since the start", log_lines_dropped.clone());
        registry.register("connections_refused", "Connections over connections_max", connections_refused.clone());
        registry.register("upstream_retries", "Further attempts at the upstream", upstream_retries.clone());
        let words = "Attempts at another upstream key or upstream";
        registry.register("upstream_failovers", words, upstream_failovers.clone());
        registry.register("upstream_keys", "Upstream keys that take requests", upstream_keys.clone());
        let words = "Upstream keys that are left alone after failures";
        registry.register("upstream_keys_open", words, upstream_keys_open.clone());
        registry.register(
            "owner_write_failures",
            "Failed writes of object owners, retried",
            owner_write_failures.clone(),
        );
        registry.register("owner_conflicts", "Object ids that another project owned", owner_conflicts.clone());
        registry.register("alarms_lost", "Alarms that came faster than they were taken", alarms_lost.clone());
        let money = MoneyMetrics::register(&mut registry);
        let guards = GuardMetrics::register(&mut registry);
        Metrics {
            registry,
            requests,
            by_row: std::iter::repeat_with(RowCounters::default).take(endpoint::count() + 1).collect(),
            durations,
            refusals,
            unfinished,
            in_flight,
            body_memory_bytes,
            log_lines_dropped,
            connections_refused,
            upstream_retries,
            upstream_failovers,
            upstream_keys,
            upstream_keys_open,
            owner_write_failures,
            owner_conflicts,
            alarms_lost,
            money,
            guards,
        }
    }
}

impl Metrics {
    /// Counts a finished exchange.
    pub(crate) fn exchanged(&self, row: Option<Row>, status: u16, total: Duration, ended: Ended) {
        let class = usize::from(status / 100).saturating_sub(1).min(STATUS_CLASSES.len() - 1);
        let number = row.map_or(endpoint::count(), |row| row.number);
        let counter = self.by_row[number].0[class].get_or_init(|| {
            let (endpoint, method) =
                row.map_or(("none", "none"), |row| (row.endpoint.path, row.endpoint.method.as_str()));
            self.requests.get_or_create(&RequestLabels { endpoint, method, status: STATUS_CLASSES[class] }).clone()
        });
        counter.inc();
        self.durations.observe(total.as_secs_f64());
        if ended != Ended::Complete {
            self.unfinished.get_or_create(&EndedLabel { ended: ended.word() }).inc();
        }
    }

    /// Counts a refusal by its code.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refusals.get_or_create(&CodeLabel { code: refusal.code().unwrap_or("none") }).inc();
    }

    /// All metrics in the text format of OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; a half-written page would be better than none anyway.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
