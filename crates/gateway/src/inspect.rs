//! What is in the texts of a request: each is looked at, judged, told, and refused where the project says so.
//!
//! Promises: nothing goes on without a [`Cleared`], which only [`inspect`] makes; the cheap stages run where the request
//! is, tens of microseconds a kilobyte, and what they are sure of waits for nobody; what they are unsure of is read by
//! the threads of [`pool`], never by a worker; a text that was judged before is not read again, and one that the project
//! lets through not at all; a guard that cannot judge refuses what its channel would block, unless the project says
//! otherwise, and is counted; the header of every answer says what came of it; no text is kept anywhere.
//!
//! A verdict of observe changes not a byte. In parallel the upstream is called while the guards read: then its answer is
//! held back, in `forward`, until they have.

mod ask;
mod guards;
mod pool;
mod reading;
mod remembered;
mod tell;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use extract::{Extracted, Medium, Text, UnseenSet};
use injection::{Channel, Glance};
use store::{GuardMode, GuardSettings, OnFailure, Project, TextHash};
use tokio::task::JoinHandle;
use wire::endpoint::Opens;
use wire::refusal::Refusal;

use crate::gate::Gate;
use crate::prepare::{BodyKind, Prepared};
use crate::record::Record;
use crate::resolve::Resolved;
pub(crate) use ask::ask;
pub(crate) use guards::Guards;
use guards::score;
use pool::{Failure, Task};
use reading::Reading;
use remembered::Asked;
use tell::Teller;
use verdict::Placed;
pub(crate) use verdict::Verdict;

/// Bodies from this size on are looked at off the worker's thread: half a millisecond of its time.
const OFF_THREAD_BYTES: usize = 64 * 1024;
/// Bytes of text that a window of the transformer covers, roughly: 128 tokens, overlapping.
const WINDOW_BYTES: usize = 400;

/// A request that the guards let through, or whose answer waits for them. Only [`inspect`] makes one.
pub(crate) struct Cleared {
    prepared: Prepared,
    awaited: Option<Awaited>,
}

impl Cleared {
    /// The request, and what its answer has to wait for.
    pub(crate) fn into_parts(self) -> (Prepared, Option<Awaited>) {
        (self.prepared, self.awaited)
    }
}

/// A verdict on its way. What it finds is told, whether or not somebody still waits for it.
pub(crate) struct Awaited {
    task: JoinHandle<Verdict>,
    on_failure: OnFailure,
}

impl Awaited {
    /// Whether there is no need to wait.
    pub(crate) fn is_there(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the verdict.
    pub(crate) async fn verdict(self) -> Verdict {
        let failed = Verdict {
            failure: Some(Failure::Failed),
            fails_closed: self.on_failure == OnFailure::Closed,
            ..Verdict::default()
        };
        self.task.await.unwrap_or(failed)
    }
}

/// A request that is inspected, with all that this takes.
struct Case {
    gate: Arc<Gate>,
    project: Arc<Project>,
    body: Bytes,
    teller: Teller,
    began: Instant,
}

/// Where a text stands, and whose it is.
struct Spot {
    channel: Channel,
    at: usize,
    part: Option<Arc<str>>,
    hash: TextHash,
}

/// A text that the transformer has to read.
struct Unsure {
    spot: Spot,
    text: String,
    asked: Asked,
}

/// What the cheap stages saw.
#[derive(Default)]
struct Looked {
    /// What they are sure of, as far as there is something to say about it.
    judged: Vec<(Spot, Arc<Reading>)>,
    unsure: Vec<Unsure>,
    media: Vec<Medium>,
    unseen: UnseenSet,
    unknown: Vec<String>,
    unknown_more: usize,
    has_unread_parts: bool,
    failure: Option<Failure>,
}

/// Inspects a request. With `is_upstream` an upstream answers, which may be called meanwhile.
///
/// # Errors
/// 400 `content_filter` for what the project blocks, 503 where the guards cannot judge.
pub(crate) async fn inspect(
    gate: &Arc<Gate>,
    resolved: &Resolved<'_>,
    mut prepared: Prepared,
    is_upstream: bool,
    record: &mut Record,
) -> Result<Cleared, Refusal> {
    let Some(project) = resolved.project().filter(|project| is_inspected(resolved, &prepared, &project.guards)) else {
        return Ok(Cleared { prepared, awaited: None });
    };
    let case = Case {
        gate: Arc::clone(gate),
        project: Arc::clone(project),
        body: prepared.whole.clone(),
        teller: Teller::of(resolved, record),
        began: Instant::now(),
    };
    let kind = prepared.kind.clone();
    let (case, looked) = if case.body.len() < OFF_THREAD_BYTES {
        let looked = case.look(&kind);
        (case, looked)
    } else {
        Box::pin(look_off_thread(case, kind)).await
    };
    // The copies that wait for the transformer.
    prepared.share.grow_by(looked.unsure.iter().map(|unsure| unsure.text.len() as u64).sum())?;
    if project.guards.parallel && is_upstream && !looked.unsure.is_empty() && !case.blocks(&looked) {
        let on_failure = project.guards.on_failure;
        let awaited = Awaited { task: tokio::spawn(case.judge(looked)), on_failure };
        return Ok(Cleared { prepared, awaited: Some(awaited) });
    }
    let verdict = if looked.unsure.is_empty() || case.blocks(&looked) {
        case.rule(looked, Ok(Vec::new()))
    } else {
        Box::pin(case.judge(looked)).await
    };
    record.rule(&verdict)?;
    Ok(Cleared { prepared, awaited: None })
}

/// Whether there is something to look at, and somebody wants it.
fn is_inspected(resolved: &Resolved<'_>, prepared: &Prepared, guards: &GuardSettings) -> bool {
    let endpoint = resolved.row.endpoint;
    let is_data = endpoint.opens == Opens::ProjectKey && !endpoint.makes_client_secret;
    is_data && prepared.kind != BodyKind::Nothing && !guards.are_off()
}

async fn look_off_thread(case: Case, kind: BodyKind) -> (Case, Looked) {
    let case = Arc::new(case);
    let looking = Arc::clone(&case);
    let looked = tokio::task::spawn_blocking(move || looking.look(&kind)).await;
    let looked = looked.unwrap_or(Looked { failure: Some(Failure::Failed), ..Looked::default() });
    (Arc::into_inner(case).expect("the look is over, and had the only other copy"), looked)
}

impl Case {
    /// What the cheap stages see. A detector that fails costs the request its verdict, not the worker.
    fn look(&self, kind: &BodyKind) -> Looked {
        let failed = Looked { failure: Some(Failure::Failed), ..Looked::default() };
        match kind {
            BodyKind::Json => catch_unwind(AssertUnwindSafe(|| self.look_at_json())).unwrap_or(failed),
            BodyKind::Nothing => Looked::default(),
            BodyKind::Other => Looked { has_unread_parts: true, ..Looked::default() },
        }
    }

    fn look_at_json(&self) -> Looked {
        match extract::extract(self.teller.endpoint, &self.body) {
            Ok(extracted) => self.look_at(extracted),
            // It was read before by the same reader.
            Err(_) => Looked { failure: Some(Failure::Failed), ..Looked::default() },
        }
    }

    fn look_at(&self, extracted: Extracted<'_>) -> Looked {
        let mut looked = Looked {
            media: extracted.media().collect(),
            unseen: extracted.unseen,
            unknown_more: extracted.unknown_count.saturating_sub(extracted.unknown_fields.len()),
            ..Looked::default()
        };
        for text in extracted.texts {
            if self.project.guards.channel(text.channel).mode != GuardMode::Off && !text.text.is_empty() {
                let by = self.look_at_text(text, &mut looked);
                self.gate.metrics.guards.texts(by.0.as_str(), by.1, 1);
            }
        }
        looked.unknown = extracted.unknown_fields;
        looked
    }

    /// Looks at one text; by what it was judged.
    fn look_at_text(&self, text: Text<'_>, looked: &mut Looked) -> (Channel, &'static str) {
        let (guards, channel) = (&self.gate.guards, text.channel);
        let hash = hash(&text.text);
        if self.project.guards.allow.contains(&hash) {
            return (channel, "allowed");
        }
        let threshold = guards.threshold(self.project.guards.channel(channel).threshold, channel);
        let asked = Asked { project: self.project.id.clone(), channel, threshold, text: hash };
        let spot = Spot { channel, at: text.at.start, part: text.part, hash };
        if let Some(reading) = guards.remembered.find(&asked) {
            looked.note(spot, reading);
            return (channel, "remembered");
        }
        match guards.detector.glance(&text.text, channel, score(threshold)) {
            Glance::Sure(judgement) => {
                let reading = Arc::new(Reading::of(&text.text, judgement));
                guards.remembered.put(asked, Arc::clone(&reading));
                looked.note(spot, reading);
                (channel, "glanced")
            }
            Glance::Unsure(_) => {
                looked.unsure.push(Unsure { spot, text: text.text.into_owned(), asked });
                (channel, "unsure")
            }
        }
    }

    /// Whether what is sure is enough to refuse the request.
    fn blocks(&self, looked: &Looked) -> bool {
        let blocks = |spot: &Spot| self.project.guards.channel(spot.channel).mode == GuardMode::Block;
        looked.judged.iter().any(|(spot, reading)| !reading.found.is_empty() && blocks(spot))
    }

    /// Has the transformer read what is left, and rules.
    async fn judge(self, mut looked: Looked) -> Verdict {
        let guards = &self.gate.guards;
        let (tasks, order) = tasks(&self, &mut looked.unsure);
        let submitted = guards.pool.submit(&self.project.id, tasks);
        let readings = match submitted {
            Ok(awaited) => awaited.within(guards.limits.read_time_max).await,
            Err(failure) => Err(failure),
        };
        let readings = readings.map(|readings| order.into_iter().zip(readings).collect());
        self.rule(looked, readings)
    }

    /// What all of it comes to; tells it, and remembers what was read.
    fn rule(&self, mut looked: Looked, readings: Result<Vec<(usize, Reading)>, Failure>) -> Verdict {
        let mut failure = looked.failure;
        let unread: Vec<Channel> = looked.unsure.iter().map(|unsure| unsure.spot.channel).collect();
        match readings {
            Ok(readings) => {
                let mut unsure: Vec<Option<Unsure>> = looked.unsure.drain(..).map(Some).collect();
                for (at, reading) in readings {
                    let Some(Unsure { spot, asked, .. }) = unsure.get_mut(at).and_then(Option::take) else { continue };
                    let reading = Arc::new(reading);
                    if !reading.partly {
                        self.gate.guards.remembered.put(asked, Arc::clone(&reading));
                    }
                    looked.note(spot, reading);
                }
            }
            Err(error) => failure = Some(error),
        }
        let blocks = |channel| self.project.guards.channel(channel).mode == GuardMode::Block;
        let may_block = match looked.failure {
            // Nobody knows which texts there are.
            Some(_) => Channel::ALL.into_iter().any(blocks),
            None => unread.into_iter().any(blocks),
        };
        let verdict = Verdict {
            partly: looked.judged.iter().any(|(_, reading)| reading.partly),
            found: looked.judged.into_iter().filter_map(|(spot, reading)| self.place(spot, &reading)).collect(),
            media: looked.media,
            has_unread_parts: looked.has_unread_parts,
            unseen: looked.unseen,
            unknown: looked.unknown,
            unknown_more: looked.unknown_more,
            failure,
            fails_closed: failure.is_some() && may_block && self.project.guards.on_failure == OnFailure::Closed,
        };
        self.tell(&verdict);
        verdict
    }

    /// A text's best finding.
    fn place(&self, spot: Spot, reading: &Reading) -> Option<Placed> {
        let found = reading.found.first()?.clone();
        let place = match &spot.part {
            Some(part) => part.to_string(),
            None => extract::place(&self.body, spot.at),
        };
        let blocks = self.project.guards.channel(spot.channel).mode == GuardMode::Block;
        Some(Placed { place, channel: spot.channel, hash: spot.hash, found, blocks })
    }
}

impl Looked {
    /// Keeps what there is something to say about.
    fn note(&mut self, spot: Spot, reading: Arc<Reading>) {
        if !reading.found.is_empty() || reading.partly {
            self.judged.push((spot, reading));
        }
    }
}

/// What the threads are to read, and which text each reading is of. The newest texts come first; those for which there
/// are no windows left are judged by the cheap stages alone, all in one.
fn tasks(case: &Case, unsure: &mut [Unsure]) -> (Vec<Task>, Vec<usize>) {
    let (gate, mut left) = (&case.gate, case.gate.guards.limits.windows_max);
    let (mut tasks, mut order, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for (at, unsure) in unsure.iter_mut().enumerate().rev() {
        let windows = left.min(1 + unsure.text.len() / WINDOW_BYTES);
        left -= windows;
        let (text, channel) = (std::mem::take(&mut unsure.text), unsure.spot.channel);
        let threshold = score(unsure.asked.threshold);
        gate.metrics.guards.texts(channel.as_str(), if windows == 0 { "unread" } else { "read" }, 1);
        if windows == 0 {
            rest.push((at, text, channel, threshold));
            continue;
        }
        let (bytes, detector) = (text.len(), gate.guards.detector);
        let read = Box::new(move || vec![Reading::read(detector, &text, channel, threshold, windows)]);
        tasks.push(Task { bytes, read });
        order.push(at);
    }
    if !rest.is_empty() {
        order.extend(rest.iter().map(|(at, ..)| *at));
        let (bytes, detector) = (rest.iter().map(|(_, text, ..)| text.len()).sum(), gate.guards.detector);
        let read = move || {
            let read = |(_, text, channel, threshold): (usize, String, Channel, f32)| Reading {
                partly: true,
                ..Reading::read(detector, &text, channel, threshold, 0)
            };
            rest.into_iter().map(read).collect()
        };
        tasks.push(Task { bytes, read: Box::new(read) });
    }
    (tasks, order)
}

/// SHA-256 of a text.
fn hash(text: &str) -> TextHash {
    let mut hash = TextHash([0; 32]);
    hash.0.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}
