//! Reports from outside that a signature opens instead of a key: GitHub's of leaked keys.
//!
//! Promises: how often an address may come, how many are served at once and how large a report may be is bounded before
//! anything is looked up; the body goes on byte for byte, because the signature is over those bytes; requests with keys
//! are not slowed by a flood of reports. What the signature is held against is the control plane's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use rates::{Admission, Limits, Scope, Subject, Want};
use wire::endpoint::Found;
use wire::refusal::{Reason, Refusal};

use crate::address::network;
use crate::answer::Answer;
use crate::body::{self, declared_length};
use crate::control;
use crate::gate::{Gate, SignedDelivery};
use crate::record::Record;
use crate::resolve::Row;
use crate::settings::Timeouts;

/// Most bytes of a report: what the strictest sender's protocol needs (`exposure::github::BODY_BYTES_MAX`).
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What one address may send. GitHub batches what it finds.
const ADDRESS_LIMITS: Limits = Limits { requests_per_minute: Some(60), concurrency: Some(4), ..Limits::NONE };
/// What runs at once: with the largest bodies 64 MB, and never more than a part of the main runtime's time.
const RECEIVER_LIMITS: Limits = Limits { concurrency: Some(16), ..Limits::NONE };

/// How long a report may take to arrive: its sender waits 30 seconds for the answer at most, and places are few.
const BODY_TIME_MAX: Duration = Duration::from_secs(20);

/// Receives a report.
///
/// # Errors
/// 429 for too many, 413 for a body over its limit, and what the control plane refuses.
pub(crate) async fn receive(
    gate: &Arc<Gate>,
    found: Found<'_>,
    head: &Parts,
    body: &mut Option<Incoming>,
    record: &mut Record,
) -> Result<Response<Answer>, Refusal> {
    record.row = Some(Row { number: found.number, endpoint: found.endpoint });
    let admission = admit(gate, found.endpoint.path, record.address())?;
    let mut share = gate.bodies.share();
    let declared = declared_length(&head.headers);
    let usual = &gate.settings.timeouts;
    let body_total = usual.body_total.min(BODY_TIME_MAX);
    let timeouts = Timeouts { body_total, body_idle: usual.body_idle.min(BODY_TIME_MAX), ..usual.clone() };
    let body = match body.as_mut() {
        Some(body) => body::read(body, declared, BODY_BYTES_MAX, &timeouts, &mut share).await?,
        None => bytes::Bytes::new(),
    };
    let delivery = SignedDelivery {
        endpoint: found.endpoint,
        headers: head.headers.clone(),
        body,
        address: record.address(),
        request_id: record.request_id.clone(),
    };
    let answer = control::answer(gate, gate.control.receive(delivery)).await;
    drop((admission, share));
    answer
}

fn admit(gate: &Gate, path: &str, address: IpAddr) -> Result<Admission, Refusal> {
    let network = network(address).to_string();
    let subjects = [
        Subject { scope: Scope::EndUser { project: path, user: &network }, limits: &ADDRESS_LIMITS },
        Subject { scope: Scope::Project { project: path }, limits: &RECEIVER_LIMITS },
    ];
    gate.reporters.admit(gate.money.now_ns(), &subjects, &Want::default()).map_err(|limited| {
        let words = "Too many reports from this address, or at once. Send them again later.";
        let refusal = Refusal::new(Reason::RequestsLimited, words);
        match limited.retry_after_ms() {
            Some(wait_ms) => refusal.retry_after_ms(wait_ms),
            None => refusal,
        }
    })
}
