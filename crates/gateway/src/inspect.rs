//! What is in the texts of a request: each is looked at, judged, told, and refused where the project says so.
//!
//! Promises: nothing goes on without a [`Cleared`], which only [`inspect`] makes; the cheap stages run where the request
//! is ([`look`]), tens of microseconds a kilobyte, and what they are sure of waits for nobody; what they are unsure of is
//! read by the threads of [`pool`], never by a worker ([`judge`]); a text that was judged before is not read again, and
//! one that the project lets through not at all; a guard that cannot judge refuses what its channel would block, unless
//! the project says otherwise, and is counted; the header of every answer says what came of it ([`verdict`]); no text is
//! kept anywhere ([`tell`]).
//!
//! A verdict of observe changes not a byte; only a project that asks for spotlighting has its untrusted texts marked. In
//! parallel the upstream is called while the guards read: then its answer is held back, in `forward`, until they have.
//!
//! What somebody asks about a text beforehand goes by the same threads: [`ask`].

mod ask;
mod guards;
mod judge;
mod look;
mod pool;
mod reading;
mod tell;
mod verdict;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use injection::{Channel, Detector};
use store::{GuardMode, GuardSettings, OnFailure, Project};
use tokio::task::JoinHandle;
use wire::endpoint::Opens;
use wire::refusal::Refusal;

use crate::gate::Gate;
use crate::prepare::{BodyKind, Prepared};
use crate::record::Record;
use crate::resolve::Resolved;
pub(crate) use ask::{QUESTION_BYTES_MAX, ask};
pub(crate) use guards::Guards;
use look::{Looked, look_off_thread};
use pool::Failure;
use tell::Teller;
pub(crate) use verdict::Verdict;

/// Bodies from this size on are looked at off the worker's thread: half a millisecond of its time.
const OFF_THREAD_BYTES: usize = 64 * 1024;

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
    may_refuse: bool,
    on_failure: OnFailure,
}

impl Awaited {
    /// Whether there is no need to wait.
    pub(crate) fn is_there(&self) -> bool {
        self.task.is_finished()
    }

    /// Whether the request may still be refused.
    pub(crate) fn may_refuse(&self) -> bool {
        self.may_refuse
    }

    /// Waits for the verdict.
    pub(crate) async fn verdict(self) -> Verdict {
        let failed = Verdict {
            failure: Some(Failure::Failed),
            fails_closed: self.may_refuse && self.on_failure == OnFailure::Closed,
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
    /// The `store` that the body asks for.
    store: Option<bool>,
    teller: Teller,
    /// What judges it from its first text to its last.
    detector: Arc<Detector>,
    /// What its remembered scores depend on.
    generation: u64,
    began: Instant,
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
    // Read in front of the detector: see `Guards::put`.
    let generation = gate.guards.generation(&project.id);
    let case = Case {
        gate: Arc::clone(gate),
        project: Arc::clone(project),
        body: prepared.whole.clone(),
        store: prepared.store,
        teller: Teller::of(resolved, record),
        detector: gate.guards.detector(),
        generation,
        began: Instant::now(),
    };
    let (case, mut looked) = if case.body.len() < OFF_THREAD_BYTES {
        let looked = case.look(&prepared.kind);
        (case, looked)
    } else {
        Box::pin(look_off_thread(case, prepared.kind.clone())).await
    };
    // The copies that wait for the transformer.
    prepared.share.grow_by(looked.unsure.iter().map(|unsure| unsure.text.len() as u64).sum())?;
    let (lit, needs_reading) = (looked.lit.take(), !looked.unsure.is_empty() && !case.blocks(&looked));
    let may_refuse = looked.unsure.iter().any(|unsure| case.mode(unsure.spot.channel) == GuardMode::Block);
    // What may not be refused waits for nobody: the model takes longer than the guards.
    let awaited = if needs_reading && is_upstream && (project.guards.parallel || !may_refuse) {
        let on_failure = project.guards.on_failure;
        Some(Awaited { task: tokio::spawn(case.judge(looked)), may_refuse, on_failure })
    } else {
        let verdict = match needs_reading {
            true => Box::pin(case.judge(looked)).await,
            false => case.ruled(looked, Ok(Vec::new())).await,
        };
        record.rule(&verdict)?;
        None
    };
    if let Some(lit) = lit {
        prepared = prepared.with_json(lit, resolved.row.endpoint.meter)?;
    }
    Ok(Cleared { prepared, awaited })
}

/// Whether there is something to look at, and somebody wants it.
fn is_inspected(resolved: &Resolved<'_>, prepared: &Prepared, guards: &GuardSettings) -> bool {
    let endpoint = resolved.row.endpoint;
    let is_data = endpoint.opens == Opens::ProjectKey && !endpoint.makes_client_secret;
    is_data && prepared.kind != BodyKind::Nothing && !guards.are_off()
}

impl Case {
    /// What the project says about a channel.
    fn mode(&self, channel: Channel) -> GuardMode {
        self.project.guards.channel(channel).mode
    }

    /// Whether what is sure is enough to refuse the request.
    fn blocks(&self, looked: &Looked) -> bool {
        looked
            .judged
            .iter()
            .any(|(spot, reading)| !reading.found.is_empty() && self.mode(spot.channel) == GuardMode::Block)
    }
}
