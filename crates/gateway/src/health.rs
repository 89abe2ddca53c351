//! What machines ask about the gate itself: alive, ready, metrics. No key is needed, nothing secret is told.

use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderValue, Method, Response, StatusCode, header};
use wire::refusal::{Reason, Refusal};

use crate::answer::Answer;
use crate::gate::{Gate, Local};

/// Answers `/healthz`, `/readyz` and `/metrics`; `None` for every other path.
///
/// # Errors
/// Another method than GET.
pub(crate) fn answer(gate: &Gate, method: &Method, path: &str) -> Result<Option<Response<Answer>>, Refusal> {
    let (status, kind, text) = match path {
        "/healthz" => (StatusCode::OK, "application/json", r#"{"status":"ok"}"#.to_owned()),
        "/readyz" => readiness(gate),
        "/metrics" => (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics(gate)),
        _ => return Ok(None),
    };
    if method != Method::GET && method != Method::HEAD {
        return Err(Refusal::new(Reason::MethodNotAllowed, format!("{path} answers GET only.")));
    }
    let mut response = Response::new(Answer::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(Some(response))
}

fn readiness(gate: &Gate) -> (StatusCode, &'static str, String) {
    // One of several upstreams that is down makes nobody less ready: requests go elsewhere.
    let model = match (gate.upstreams.is_any(), &gate.local) {
        (true, _) => "upstream",
        (false, Local::Ready(_)) => "local",
        (false, Local::Missing(_) | Local::Off) => "none",
    };
    let (status, word) = if gate.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if gate.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    };
    (status, "application/json", format!(r#"{{"status":"{word}","models":"{model}"}}"#))
}

fn metrics(gate: &Gate) -> String {
    gate.metrics.in_flight.set(i64::try_from(gate.in_flight()).unwrap_or(i64::MAX));
    gate.metrics.body_memory_bytes.set(i64::try_from(gate.bodies.used()).unwrap_or(i64::MAX));
    gate.metrics.log_lines_dropped.set(i64::try_from(gate.log.dropped()).unwrap_or(i64::MAX));
    let (keys, keys_open) = gate.upstreams.count();
    gate.metrics.upstream_keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
    gate.metrics.upstream_keys_open.set(i64::try_from(keys_open).unwrap_or(i64::MAX));
    let price_age_days = gate.money.prices.table().age_days(gate.clock.unix_seconds());
    gate.metrics.money.copy(&gate.money.ledger, gate.reading_on.load(Relaxed), price_age_days);
    gate.metrics.guards.copy(gate.guards.detector().work());
    gate.metrics.guards.queue.set(i64::try_from(gate.guards.pool.waiting()).unwrap_or(i64::MAX));
    gate.metrics.text()
}
