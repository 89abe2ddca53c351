//! Metrics of the guards.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use injection::{Channel, Work};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TextLabels {
    channel: &'static str,
    by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    kind: &'static str,
    channel: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabel {
    failure: &'static str,
}

/// How a text was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// By the project's list of what is let through.
    Allowed,
    /// As it was when it came before.
    Remembered,
    /// By the cheap stages alone.
    Glanced,
    /// By the transformer.
    Read,
    /// By the transformer, in part.
    Partly,
    /// By the cheap stages, though the transformer should have read it.
    Unread,
    /// By all stages, for a question.
    Asked,
}

impl By {
    const ALL: [By; 7] = [By::Allowed, By::Remembered, By::Glanced, By::Read, By::Partly, By::Unread, By::Asked];

    fn word(self) -> &'static str {
        match self {
            By::Allowed => "allowed",
            By::Remembered => "remembered",
            By::Glanced => "glanced",
            By::Read => "read",
            By::Partly => "partly",
            By::Unread => "unread",
            By::Asked => "asked",
        }
    }
}

/// Metrics of the guards.
pub(crate) struct GuardMetrics {
    inspections: Family<VerdictLabel, Counter>,
    /// By channel and by [`By`]: found without a look at their labels, since each text is counted.
    texts: [[Counter; By::ALL.len()]; Channel::ALL.len()],
    findings: Family<FindingLabels, Counter>,
    failures: Family<FailureLabel, Counter>,
    seconds: Histogram,
    glances: Counter,
    windows: Counter,
    /// Tasks that wait for the transformer now.
    pub(crate) queue: Gauge,
}

impl GuardMetrics {
    pub(super) fn register(registry: &mut Registry) -> GuardMetrics {
        let texts = Family::<TextLabels, Counter>::default();
        let count = |channel: Channel, by: By| {
            texts.get_or_create_owned(&TextLabels { channel: channel.as_str(), by: by.word() })
        };
        let metrics = GuardMetrics {
            inspections: Family::default(),
            texts: Channel::ALL.map(|channel| By::ALL.map(|by| count(channel, by))),
            findings: Family::default(),
            failures: Family::default(),
            // 20 µs to about 20 seconds, each bucket four times the last.
            seconds: Histogram::new(exponential_buckets(0.000_02, 4.0, 11)),
            glances: Counter::default(),
            windows: Counter::default(),
            queue: Gauge::default(),
        };
        registry.register("inspections", "Requests inspected, by verdict", metrics.inspections.clone());
        let words = "Texts of requests, by channel and by how they were judged: allowed (by the project's list), \
                     remembered, glanced (the cheap stages were sure), read (by the transformer), partly (read), unread \
                     (the transformer should have read them, and did not)";
        registry.register("inspected_texts", words, texts);
        let words = "Findings of prompt injection, by kind, channel and action";
        registry.register("injection_findings", words, metrics.findings.clone());
        let words = "Inspections that came to no verdict: overloaded, late, failed, unread (more than may be read of one request, in a project that lets nothing pass so) or form (too long to be held, or of no announced length)";
        registry.register("guard_failures", words, metrics.failures.clone());
        registry.register("inspection_seconds", "How long inspecting a request took", metrics.seconds.clone());
        registry.register("guard_glances", "Texts that the cheap stages looked at", metrics.glances.clone());
        registry.register("guard_windows", "Windows that the transformer read", metrics.windows.clone());
        registry.register(
            "guard_queue",
            "Texts, or several short ones together, that wait for the transformer now",
            metrics.queue.clone(),
        );
        metrics
    }

    /// Counts an inspected request.
    pub(crate) fn inspected(&self, verdict: &'static str, took: Duration) {
        self.inspections.get_or_create(&VerdictLabel { verdict }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts texts.
    pub(crate) fn texts(&self, channel: Channel, by: By, count: u64) {
        self.texts[channel as usize][by as usize].inc_by(count);
    }

    /// Counts findings.
    pub(crate) fn found(&self, kind: &'static str, channel: &'static str, action: &'static str, count: u64) {
        if count > 0 {
            self.findings.get_or_create(&FindingLabels { kind, channel, action }).inc_by(count);
        }
    }

    /// Copies what the detector counts of its work.
    pub(crate) fn copy(&self, work: &Work) {
        // They only grow, as a counter must.
        self.glances.inner().store(work.glances(), Relaxed);
        self.windows.inner().store(work.windows(), Relaxed);
    }

    /// Counts an inspection without a verdict.
    pub(crate) fn failed(&self, failure: &'static str) {
        self.failures.get_or_create(&FailureLabel { failure }).inc();
    }
}
