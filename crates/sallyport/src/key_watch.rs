//! What runs beside the gate for its keys: ends fall due, uses are taken over and written down, alarms are looked into,
//! planned rotations happen.
//!
//! Promises: a secret whose time is over is cut within two seconds; what was counted of uses is on disk within a minute,
//! and at a stop; alarms are grouped before they are written, so that a flood is one row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use console::{Console, Noticed, NoticedText};
use gateway::{Alarm, AlarmKind, Gate, Injection};
use serde_json::json;
use store::{Clock, Directory, TextHash, Threshold};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How often ends are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often the data path's counts are taken over.
const USES_INTERVAL: Duration = Duration::from_secs(5);
/// How often they are written, and planned things looked for.
const KEEPING_INTERVAL: Duration = Duration::from_secs(60);
/// How often old rows are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(3_600);
/// How long alarms are gathered before they are written.
const GATHER: Duration = Duration::from_millis(250);
/// Alarms told apart in one gathering.
const GATHERED_MAX: usize = 1_024;

/// What is needed.
pub(crate) struct KeyWatch {
    pub(crate) gate: Arc<Gate>,
    pub(crate) console: Arc<Console>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl KeyWatch {
    /// Starts everything; it ends when `stop` says so, uses written down.
    pub(crate) fn start(self, alarms: mpsc::Receiver<Alarm>, stop: watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let watch = Arc::new(self);
        vec![
            tokio::spawn(Arc::clone(&watch).tick(stop.clone())),
            tokio::spawn(Arc::clone(&watch).write(stop.clone())),
            tokio::spawn(Arc::clone(&watch).plan(stop.clone())),
            tokio::spawn(watch.look_into(alarms, stop)),
        ]
    }

    /// What is quick.
    async fn tick(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
        let mut uses = tokio::time::interval(USES_INTERVAL);
        loop {
            tokio::select! {
                _ = expiry.tick() => {
                    self.directory.expire(self.clock.unix_seconds());
                }
                _ = uses.tick() => self.console.keeping().take_over(self.gate.take_uses()),
                () = stopped(&mut stop) => break,
            }
        }
        self.console.keeping().take_over(self.gate.take_uses());
        self.write_uses().await;
    }

    /// What waits for the disk.
    async fn write(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut keeping = tokio::time::interval(KEEPING_INTERVAL);
        loop {
            tokio::select! {
                _ = keeping.tick() => self.write_uses().await,
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// What may take long: deliveries, one after the other.
    async fn plan(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut keeping = tokio::time::interval(KEEPING_INTERVAL);
        let mut forgetting = tokio::time::interval(FORGET_INTERVAL);
        loop {
            tokio::select! {
                _ = keeping.tick() => self.console.keep_keys().await,
                _ = forgetting.tick() => self.console.forget_old().await,
                () = stopped(&mut stop) => return,
            }
        }
    }

    async fn write_uses(&self) {
        if let Err(error) = self.console.keeping().write_uses().await {
            tracing::warn!(%error, "uses of keys could not be written down; they wait");
        }
    }

    /// Takes alarms, gathers those that are alike, and hands them on.
    async fn look_into(self: Arc<Self>, mut alarms: mpsc::Receiver<Alarm>, mut stop: watch::Receiver<bool>) {
        loop {
            let first = tokio::select! {
                alarm = alarms.recv() => alarm,
                () = stopped(&mut stop) => return,
            };
            let Some(first) = first else { return };
            let mut gathered: HashMap<_, (Alarm, u64)> = HashMap::new();
            gathered.insert(likeness(&first), (first, 1));
            let until = tokio::time::Instant::now() + GATHER;
            while gathered.len() < GATHERED_MAX {
                let Ok(Some(alarm)) = tokio::time::timeout_at(until, alarms.recv()).await else { break };
                gathered.entry(likeness(&alarm)).and_modify(|(_, count)| *count += 1).or_insert((alarm, 1));
            }
            for (alarm, count) in gathered.into_values() {
                let noticed = noticed(alarm, count);
                if let Err(refusal) = self.console.take_in(&noticed).await {
                    tracing::error!(kind = noticed.kind, key_id = ?noticed.key, cause = ?refusal.cause, "a finding could not be written down");
                }
            }
        }
    }
}

/// Waits until it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone is a stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What makes alarms one.
type Likeness = (AlarmKind, String, Option<String>, Option<(TextHash, &'static str)>);

/// Alarms with the same likeness are one.
fn likeness(alarm: &Alarm) -> Likeness {
    if let Some(injection) = &alarm.injection {
        let project = alarm.project.as_ref().map_or_else(String::new, ToString::to_string);
        return (alarm.kind, project, None, Some((injection.text, injection.channel)));
    }
    let who = alarm.key.as_ref().map_or_else(|| alarm.address.clone(), ToString::to_string);
    (alarm.kind, who, alarm.origin.clone(), None)
}

/// A text with an injection, for the list of findings.
fn text(injection: Injection) -> Box<NoticedText> {
    let details = json!({
        "score": f64::from(injection.score) / f64::from(Threshold::SCORE_MAX),
        "place": injection.place,
        "start": injection.start,
        "end": injection.end,
        "rule": injection.rule,
        "action": if injection.is_blocked { "block" } else { "observe" },
        "endpoint": injection.endpoint,
        "model": injection.model,
        "request_id": injection.request_id,
    });
    Box::new(NoticedText { hash: injection.text, channel: injection.channel, details })
}

fn noticed(alarm: Alarm, count: u64) -> Noticed {
    if alarm.kind == AlarmKind::DecoyUsed {
        tracing::warn!(key_id = ?alarm.key, address = alarm.address, "a decoy key was used");
    }
    Noticed {
        kind: alarm.kind.word(),
        severity: alarm.kind.severity(),
        at: alarm.at,
        project: alarm.project,
        key: alarm.key,
        address: alarm.address,
        user_agent: alarm.user_agent,
        origin: alarm.origin,
        is_browser_use: alarm.kind == AlarmKind::BrowserUse,
        count,
        text: alarm.injection.map(|injection| text(*injection)),
    }
}
