//! What becomes known of an inspection: findings, metrics, the header, the log line.
//!
//! Promise: kinds, places, scores and a hash; never a text.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use injection::{Channel, Kind};
use store::{KeyEntry, Threshold};
use wire::endpoint::Endpoint;
use wire::refusal::Refusal;

use super::Case;
use super::looked::ByChannel;
use super::reading::{KINDS, kind_word};
use super::verdict::{HEADER, Placed, Verdict, shown};
use crate::alarms::{Alarm, AlarmKind, Injection};
use crate::record::{Inspected, Record, client_text};
use crate::resolve::Resolved;

/// Findings of one request that are told, with their places. One with a thousand of them says no more.
pub(super) const TOLD_MAX: usize = 16;

/// Who a finding is about.
pub(super) struct Teller {
    pub(super) endpoint: &'static Endpoint,
    key: Arc<KeyEntry>,
    address: IpAddr,
    user_agent: Option<HeaderValue>,
    request_id: String,
    model: Option<String>,
}

impl Teller {
    pub(super) fn of(resolved: &Resolved<'_>, record: &Record) -> Teller {
        Teller {
            endpoint: resolved.row.endpoint,
            key: Arc::clone(&resolved.caller.key),
            address: record.address(),
            user_agent: record.user_agent().cloned(),
            request_id: record.request_id.clone(),
            model: record.model.clone(),
        }
    }
}

impl Case {
    /// Counts a verdict and all that was found, and raises an alarm for each finding that it has.
    pub(super) fn tell(&self, verdict: &Verdict, found: &ByChannel<[usize; KINDS.len()]>) {
        let metrics = &self.gate.metrics;
        metrics.guards.inspected(verdict.word().word(), self.began.elapsed());
        if let Some(failure) = verdict.failure {
            metrics.guards.failed(failure.word());
        }
        for (channel, kinds) in Channel::ALL.into_iter().zip(found) {
            let action = if self.blocks_in(channel) { "block" } else { "observe" };
            for (kind, count) in KINDS.into_iter().zip(kinds) {
                metrics.guards.found(kind_word(kind), channel.as_str(), action, *count as u64);
            }
        }
        for placed in verdict.found.iter().take(TOLD_MAX) {
            if !self.gate.alarms.raise(self.alarm(placed)) {
                metrics.alarms_lost.inc();
            }
        }
    }

    fn alarm(&self, placed: &Placed) -> Alarm {
        let Teller { endpoint, key, address, user_agent, request_id, model } = &self.teller;
        let found = &placed.found;
        // Within its bounds, as the score is.
        let score = (f64::from(found.score.clamp(0.0, 1.0)) * f64::from(Threshold::SCORE_MAX)).round() as u32;
        Alarm {
            kind: match found.kind {
                Kind::Direct => AlarmKind::DirectInjection,
                Kind::Indirect => AlarmKind::IndirectInjection,
                Kind::Jailbreak => AlarmKind::Jailbreak,
                Kind::Extraction => AlarmKind::Extraction,
            },
            at: self.gate.clock.unix_seconds(),
            project: Some(self.project.id.clone()),
            key: Some(key.key.id.clone()),
            address: address.to_string(),
            user_agent: user_agent.as_ref().map(|value| client_text(value.as_bytes())),
            origin: None,
            injection: Some(Box::new(Injection {
                text: placed.hash,
                channel: placed.channel.as_str(),
                place: shown(&placed.place),
                start: found.start,
                end: found.end,
                score,
                rule: found.rule.as_ref().map(ToString::to_string),
                is_blocked: placed.blocks,
                endpoint: endpoint.path,
                request_id: request_id.clone(),
                model: model.clone(),
            })),
        }
    }
}

impl Record {
    /// Takes a verdict into the record and onto the answer.
    ///
    /// # Errors
    /// The refusal, where it is one.
    pub(crate) fn rule(&mut self, verdict: &Verdict) -> Result<(), Refusal> {
        self.notes.push((HEADER, verdict.header()));
        self.inspected = Some(Inspected { verdict: verdict.word().word(), found: verdict.kinds(), at: Instant::now() });
        verdict.refusal().map_or(Ok(()), Err)
    }
}
