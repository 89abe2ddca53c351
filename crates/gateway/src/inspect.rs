//! What is in the texts of a request: each is looked at, judged, told, and refused where the project says so.
//!
//! Promises: nothing goes on without a [`Cleared`], which only [`inspect`] makes; the cheap stages read every text where the
//! request is, tens of microseconds a kilobyte, or elsewhere where that is long ([`look`], [`turns`]), and what they are sure
//! of waits for nobody; what they are unsure of is read by the threads of [`pool`], never by a worker ([`judge`]), within a
//! bound for each request ([`choose`]); what that leaves out passes on their word, and is said; a text that was judged before
//! is not read again ([`remember`]), and one that the project lets through not at all; a guard that fails refuses what its
//! channel would block, unless the project says otherwise, and is counted; the header of every answer says what came of it
//! ([`verdict`]); no text is kept anywhere ([`tell`]).
//!
//! A verdict of observe changes not a byte; only a project that asks for spotlighting has its untrusted texts marked. In
//! parallel the upstream is called while the guards read, if its answer is all that comes of the call: then that is held
//! back, in `forward`, until they have; where nothing may be refused, not long.
//!
//! What somebody asks about a text beforehand goes by the same threads: [`ask`].

mod ask;
mod choose;
mod guards;
mod judge;
mod look;
mod looked;
mod pool;
mod reading;
mod remember;
mod tell;
mod turns;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extract::Unseen;
use hyper::body::Incoming;
use injection::{Channel, Detector};
use store::{GuardMode, GuardSettings, OnFailure, Project};
use tokio::task::JoinHandle;
use wire::endpoint::{Meter, Opens};
use wire::refusal::Refusal;

use crate::body::Share;
use crate::gate::Gate;
use crate::prepare::{BodyKind, Prepared};
use crate::record::Record;
use crate::resolve::Resolved;
pub(crate) use ask::{QUESTION_BYTES_MAX, ask};
pub(crate) use guards::Guards;
use looked::Looked;
use pool::{Failure, Readings};
use tell::Teller;
pub(crate) use verdict::Verdict;

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
    /// How long an answer that nobody may refuse waits for it.
    patience: Duration,
    /// What is told of it until it is there.
    early: Verdict,
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

    /// What an answer that is there waits for, beside the verdict: where nothing may be refused, not long. What is found
    /// after that is told all the same.
    pub(crate) fn patience(&mut self) -> Option<(Duration, Verdict)> {
        (!self.may_refuse).then(|| (self.patience, std::mem::take(&mut self.early)))
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

/// A verdict, or what is told in its place once the patience for it is over.
pub(crate) async fn in_time(judging: impl Future<Output = Verdict>, patience: Option<(Duration, Verdict)>) -> Verdict {
    match patience {
        Some((time, early)) => tokio::time::timeout(time, judging).await.unwrap_or(early),
        None => judging.await,
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
    /// Memory that it takes: it may go on when its caller has left and the request's own share is given back.
    share: Share,
    began: Instant,
}

/// Inspects a request. With `is_upstream` an upstream answers, which may be called meanwhile. A body that streams and is
/// refused is given back in `body`.
///
/// # Errors
/// 400 `content_filter` for what the project blocks, 503 where the guards cannot judge.
pub(crate) async fn inspect(
    gate: &Arc<Gate>,
    resolved: &Resolved<'_>,
    mut prepared: Prepared,
    is_upstream: bool,
    body: &mut Option<Incoming>,
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
        share: gate.bodies.share(),
        began: Instant::now(),
    };
    let (mut case, mut looked) = Box::pin(look::look(case, prepared.kind.clone())).await;
    if case.blocks(&looked) {
        looked.leave_unsure();
    }
    case.share.grow_by(looked.waiting_bytes())?;
    let (lit, needs_reading) = (looked.lit.take(), !looked.chosen.is_empty());
    let may_refuse =
        looked.chosen.iter().any(|chosen| case.blocks_in(chosen.spot.channel)) || case.lacks(&looked).is_some();
    // What may not be refused waits for nobody: the model takes longer than the guards.
    let overlaps = !may_refuse || project.guards.parallel && only_answers(resolved, &prepared, &looked);
    let awaited = if needs_reading && is_upstream && overlaps {
        let (on_failure, patience) = (project.guards.on_failure, gate.guards.limits.answer_wait_max);
        let early = looked.early();
        // The body stays as long as the guards read.
        case.share.grow_by(case.body.len() as u64)?;
        Some(Awaited { task: tokio::spawn(case.judge(looked)), may_refuse, on_failure, patience, early })
    } else {
        let verdict = match needs_reading {
            true => Box::pin(case.judge(looked)).await,
            false => case.ruled(looked, Readings::default()).await,
        };
        if let Err(refusal) = record.rule(&verdict) {
            // The caller reads the rest away, so that the client sees the answer.
            *body = prepared.body.into_incoming().or(body.take());
            return Err(refusal);
        }
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

/// Whether an answer is all that comes of a call, so that nothing is left of it where the answer is withheld: nothing is
/// stored, no tool of the provider's reaches anybody else, and nothing is done later.
fn only_answers(resolved: &Resolved<'_>, prepared: &Prepared, looked: &Looked) -> bool {
    let endpoint = resolved.row.endpoint;
    let is_answered_at_once = match endpoint.meter {
        Meter::Chat | Meter::Responses | Meter::Completions | Meter::Embeddings => true,
        Meter::Moderations | Meter::Images | Meter::Speech | Meter::Transcriptions => true,
        Meter::Nothing | Meter::Unbounded | Meter::Compactions | Meter::Decisions => false,
    };
    let is_stored = resolved.makes_objects(prepared) || endpoint.owned_by.is_some();
    // A stored prompt may bring such tools with it.
    let reaches_out = |unseen: Unseen| match unseen {
        Unseen::WebSearch | Unseen::Mcp | Unseen::Container | Unseen::Conversation | Unseen::StoredPrompt => true,
        Unseen::FileSearch | Unseen::PreviousResponse | Unseen::File | Unseen::StoredAnswers => false,
    };
    let is_background = prepared.asked.as_ref().is_some_and(|asked| asked.is_background);
    is_answered_at_once && !is_stored && !is_background && !looked.unseen.iter().any(reaches_out)
}

impl Case {
    /// Whether what is found in a channel is refused.
    fn blocks_in(&self, channel: Channel) -> bool {
        self.project.guards.channel(channel).mode == GuardMode::Block
    }

    /// Whether what is sure is enough to refuse the request.
    fn blocks(&self, looked: &Looked) -> bool {
        looked.judged.iter().any(|(spot, _)| self.blocks_in(spot.channel))
    }
}
