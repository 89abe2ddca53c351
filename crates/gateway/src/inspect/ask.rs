//! `POST /v1/sallyport/inspect`: what the guards would say about one text.
//!
//! Takes and gives what a line of `sallyport inspect --jsonl` does, by the threshold and the list of the key's project.
//! Promises: bounded like every text of a request, and by the same queue; nothing is kept or told, whatever is found.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use injection::{Channel, Glance};
use serde_json::json;
use store::{Project, ProjectId, Threshold};
use wire::json::{Kind, TopLevel};
use wire::refusal::{Reason, Refusal};

use super::guards::score;
use super::pool::{Failure, Task};
use super::reading::{Found, Reading, is_allowed, kind_word};
use super::turns::OFF_THREAD_BYTES;
use super::verdict::unjudged;
use crate::answer::Answer;
use crate::gate::Gate;
use crate::metrics::By;
use crate::prepare::Prepared;
use crate::resolve::Resolved;

/// Longest question, in bytes: some two hundred pages. Longer texts are for `sallyport inspect --jsonl`.
pub(crate) const QUESTION_BYTES_MAX: u64 = 1024 * 1024;

/// Whose turn it is among the projects when an admin key asks.
const ADMINS: &str = "admin";

/// A text to be judged.
struct Question {
    text: String,
    channel: Channel,
}

/// What came of it.
struct Said {
    reading: Reading,
    /// Whether the project lets the text through, whatever was found in it.
    is_allowed: bool,
}

/// Answers what the guards say about a text.
///
/// # Errors
/// 400 for what is no question (413 for one over [`QUESTION_BYTES_MAX`] comes earlier), 503 where the guards cannot judge.
pub(crate) async fn ask(
    gate: &Arc<Gate>,
    resolved: &Resolved<'_>,
    mut prepared: Prepared,
) -> Result<Response<Answer>, Refusal> {
    let began = Instant::now();
    // The text as it is written, and as it is meant.
    prepared.share.grow_by(prepared.whole.len() as u64)?;
    let question = read_anywhere(prepared.whole.clone()).await?;
    let project = resolved.project();
    let said = project.map_or(Threshold::Default, |project| project.guards.channel(question.channel).threshold);
    let threshold = gate.guards.threshold(said, question.channel);
    gate.metrics.guards.texts(question.channel, By::Asked, 1);
    let said = judge(gate, project, question, score(threshold)).await;
    let Said { reading, is_allowed } = said.map_err(|failure| {
        gate.metrics.guards.failed(failure.word());
        unjudged(failure)
    })?;
    let found = |found: &Found| {
        let mut shown = json!({
            "kind": kind_word(found.kind), "score": decimal(found.score), "start": found.start, "end": found.end,
        });
        if let Some(rule) = &found.rule {
            shown["rule"] = json!(**rule);
        }
        shown
    };
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut json = json!({
        "score": decimal(reading.score),
        "verdict": if !is_allowed && reading.score >= score(threshold) { "block" } else { "pass" },
        "findings": reading.found.iter().map(found).collect::<Vec<_>>(),
        "micros": micros,
    });
    if reading.partly {
        json["partly"] = json!(true);
    }
    if is_allowed {
        json["allowed"] = json!(true);
    }
    let mut response = Response::new(Answer::whole(json.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Judges a text as a project does, or as nobody's where there is none.
async fn judge(
    gate: &Gate,
    project: Option<&Arc<Project>>,
    question: Question,
    threshold: f32,
) -> Result<Said, Failure> {
    let Question { text, channel } = question;
    let (guards, detector) = (&gate.guards, gate.guards.detector());
    let (bytes, windows) = (text.len(), guards.limits.windows_max);
    let whose = project.map_or_else(|| ProjectId::new(ADMINS), |project| project.id.clone());
    let (looking, project) = (Arc::clone(&detector), project.cloned());
    let look = move || {
        let is_allowed = project.is_some_and(|project| is_allowed(&project.guards, channel, &text));
        let seen = match looking.glance_closely(&text, channel, threshold) {
            Glance::Sure(judgement) => Ok(Reading::of(&text, judgement)),
            Glance::Unsure(pending) => Err(pending.into_owned()),
        };
        (seen, is_allowed)
    };
    let (seen, is_allowed) = guards.turns.run(bytes, look).await?;
    let pending = match seen {
        Ok(reading) => return Ok(Said { reading, is_allowed }),
        Err(pending) => pending,
    };
    let read = Box::new(move || vec![Reading::read(&detector, &pending, threshold, windows)]);
    let readings = guards.pool.submit(&whose, vec![Task { bytes, read }])?.within(guards.limits.read_time_max).await;
    let reading = readings.whole()?.into_iter().next().unwrap_or_default();
    Ok(Said { reading, is_allowed })
}

/// Reads a question where a long one keeps no other request waiting.
async fn read_anywhere(body: Bytes) -> Result<Question, Refusal> {
    if body.len() < OFF_THREAD_BYTES {
        return read(&body);
    }
    tokio::task::spawn_blocking(move || read(&body)).await.unwrap_or_else(|_| Err(unjudged(Failure::Failed)))
}

/// Reads a question. Members that it does not know are not for it, and are not kept: lines of data sets have labels and
/// ids.
fn read(body: &[u8]) -> Result<Question, Refusal> {
    let invalid = |param: &'static str, words: &str| Refusal::new(Reason::InvalidValue, words.to_owned()).param(param);
    let members = TopLevel::read(body).unwrap_or_default();
    let channel = match members.member("channel") {
        None | Some((Kind::Null, _)) => Channel::User,
        Some(_) => (members.string("channel").as_deref())
            .and_then(Channel::from_name)
            .ok_or_else(|| invalid("channel", "'channel' must be system, user, untrusted or output."))?,
    };
    match (members.string("text"), members.member("text")) {
        (Some(text), _) => Ok(Question { text, channel }),
        (None, Some(_)) => Err(invalid("text", "'text' must be a string.")),
        (None, None) => {
            Err(invalid("text", "Missing required parameter: 'text'. The body is {\"text\": …, \"channel\": …}."))
        }
    }
}

/// A score with as many digits as it has.
fn decimal(score: f32) -> f64 {
    (f64::from(score) * 1e6).round() / 1e6
}
