//! What is remembered of one exchange: one log line, and the metrics.
//!
//! Promises: exactly one line for every request that reached a worker, however it ended: success, refusal, a client
//! that left, a panic, the drain; stages add what they learn; no body, no header value that could be a secret, and no
//! key but its id is ever in it. The fields are documented in docs/reference/request-log.md.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, Version};
use store::{Key, KeyEntry};
use wire::key_like::without_keys;
use wire::refusal::Refusal;

use crate::address::client_address;
use crate::alarms::{Alarm, AlarmKind};
use crate::client_secrets::ClientSecret;
use crate::gate::InFlight;
use crate::resolve::Row;
use crate::socket::{ConnectionState, ExchangeInFlight};
use crate::uses::Use;
use crate::worker::Worker;

/// Longest text of a client's choosing in a log line: model names and request ids are shorter.
const CLIENT_TEXT_CHARS_MAX: usize = 128;

/// What is read of it: a key that begins within what is shown ends within this.
const CLIENT_TEXT_BYTES_READ: usize = 1_024;

/// Status in the log when the client left before the answer began (nginx's convention).
const CLIENT_LEFT_STATUS: u16 = 499;

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The answer was handed over whole.
    Complete,
    /// The client left before the end.
    ClientLeft,
    /// The upstream's answer broke off, or stalled beyond its time.
    UpstreamBroke,
    /// The key was revoked while the answer ran.
    Revoked,
    /// The answer was withheld: over a bound, undecodable, or with the gate's own key in it.
    Withheld,
}

impl Ended {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Ended::Complete => "complete",
            Ended::ClientLeft => "client_left",
            Ended::UpstreamBroke => "upstream_broke",
            Ended::Revoked => "revoked",
            Ended::Withheld => "withheld",
        }
    }
}

/// What came of an inspection.
pub(crate) struct Inspected {
    /// `pass`, `observe` or `block`.
    pub(crate) verdict: &'static str,
    /// Kinds of what was found.
    pub(crate) found: String,
    /// When the verdict was there.
    pub(crate) at: Instant,
}

/// One exchange, written down when it is dropped.
pub(crate) struct Record {
    worker: Arc<Worker>,
    started: Instant,
    /// The gate's `x-request-id`.
    pub(crate) request_id: String,
    /// The caller's `X-Client-Request-Id`.
    pub(crate) client_request_id: Option<String>,
    method: Method,
    version: Version,
    address: IpAddr,
    /// The endpoint's row, once found.
    pub(crate) row: Option<Row>,
    /// The key that authenticated.
    pub(crate) caller: Option<Arc<KeyEntry>>,
    /// The client secret that authenticated, which the key made.
    pub(crate) client_secret: Option<Arc<ClientSecret>>,
    /// The web origin whose pages may read the answer.
    pub(crate) readable_by: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    /// The model that the request names.
    pub(crate) model: Option<String>,
    /// Whether the answer is a stream of events.
    pub(crate) streamed: bool,
    /// Request body, bytes as received and decoded.
    pub(crate) request_bytes: u64,
    /// Answer body, bytes handed to the client.
    pub(crate) response_bytes: u64,
    /// The upstream's status.
    pub(crate) upstream_status: Option<u16>,
    /// The upstream's request id.
    pub(crate) upstream_request_id: Option<String>,
    /// The id of the upstream key that was used.
    pub(crate) upstream_key_id: Option<Arc<str>>,
    /// Attempts at the upstream.
    pub(crate) attempts: u8,
    /// When the answer's head was ready.
    pub(crate) answered: Option<Instant>,
    /// Status sent.
    pub(crate) status: u16,
    /// How it ended; `ClientLeft` until somebody knows better.
    pub(crate) ended: Ended,
    /// How full the tightest rate limits are, for the answer's headers.
    pub(crate) rates: Option<rates::Gauges>,
    /// Documented headers that stages add.
    pub(crate) notes: Vec<(&'static str, String)>,
    /// A place under limits, of a request that is not metered; otherwise it settles with the money.
    pub(crate) admission: Option<rates::Admission>,
    /// What the guards said.
    pub(crate) inspected: Option<Inspected>,
    code: Option<&'static str>,
    cause: Option<String>,
    _connection: ExchangeInFlight,
    _gate: InFlight,
}

impl Record {
    /// Begins the record of a request.
    pub(crate) fn begin(
        worker: &Arc<Worker>,
        connection: &Arc<ConnectionState>,
        method: &Method,
        version: Version,
        headers: &HeaderMap,
    ) -> Box<Record> {
        let trusted = &worker.gate.settings.trusted_proxies;
        Box::new(Record {
            started: Instant::now(),
            request_id: worker.ids.next(),
            client_request_id: headers.get("x-client-request-id").map(|value| client_text(value.as_bytes())),
            method: method.clone(),
            version,
            address: client_address(connection.peer, connection.proxied, headers, trusted),
            row: None,
            caller: None,
            client_secret: None,
            readable_by: None,
            user_agent: headers.get("user-agent").cloned(),
            model: None,
            streamed: false,
            request_bytes: 0,
            response_bytes: 0,
            upstream_status: None,
            upstream_request_id: None,
            upstream_key_id: None,
            attempts: 0,
            answered: None,
            status: CLIENT_LEFT_STATUS,
            ended: Ended::ClientLeft,
            rates: None,
            notes: Vec::new(),
            admission: None,
            inspected: None,
            code: None,
            cause: None,
            _connection: connection.begin_exchange(),
            _gate: worker.gate.begin_exchange(),
            worker: Arc::clone(worker),
        })
    }

    /// The address that the request came from.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// `User-Agent` as it came.
    pub(crate) fn user_agent(&self) -> Option<&HeaderValue> {
        self.user_agent.as_ref()
    }

    /// Notes a refusal, at the start or in the middle of an answer.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.code = refusal.code().or(Some("none"));
        self.cause.clone_from(&refusal.cause);
        self.worker.gate.metrics.refused(refusal);
    }

    /// Notes that the answer's head leaves now.
    pub(crate) fn answering(&mut self, status: u16) {
        self.status = status;
        self.answered = Some(Instant::now());
        let Some(caller) = &self.caller else { return };
        self.worker.uses().note(&Use {
            key: &caller.key.id,
            address: Some(self.address).filter(|_| self.client_secret.is_none()),
            at: self.worker.gate.clock.unix_seconds(),
            is_refused: status >= 400,
            user_agent: self.user_agent.as_ref(),
            model: self.model.as_deref(),
        });
    }

    /// Raises an alarm about this request.
    pub(crate) fn alarm(&self, kind: AlarmKind, key: Option<&Key>, origin: Option<String>) {
        let gate = &self.worker.gate;
        let is_taken = gate.alarms.raise(Alarm {
            kind,
            at: gate.clock.unix_seconds(),
            project: key.and_then(|key| key.project.clone()),
            key: key.map(|key| key.id.clone()),
            address: self.address.to_string(),
            user_agent: self.user_agent.as_ref().map(|value| client_text(value.as_bytes())),
            origin,
            injection: None,
        });
        if !is_taken {
            gate.metrics.alarms_lost.inc();
        }
    }

    fn line(&self, line: &mut Vec<u8>, total: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        line.extend_from_slice(b"{\"event\":\"exchange\"");
        thousandths(line, "time", now.as_secs(), now.subsec_millis());
        text(line, "request_id", Some(&self.request_id));
        text(line, "client_request_id", self.client_request_id.as_deref());
        text(line, "method", Some(self.method.as_str()).filter(|method| method.len() <= 16));
        text(line, "endpoint", self.row.map(|row| row.endpoint.path));
        text(line, "protocol", Some(if self.version < Version::HTTP_2 { "HTTP/1.1" } else { "HTTP/2.0" }));
        number(line, "status", self.status.into());
        text(line, "code", self.code);
        text(line, "cause", self.cause.as_deref());
        text(line, "ended", Some(self.ended.word()));
        if let Some(caller) = &self.caller {
            text(line, "project_id", caller.key.project.as_ref().map(|id| id.as_str()));
            text(line, "key_id", Some(caller.key.id.as_str()));
        }
        text(line, "client_secret_id", self.client_secret.as_ref().map(|secret| secret.id.as_str()));
        text(line, "model", self.model.as_deref());
        line.extend_from_slice(if self.streamed { b",\"stream\":true" } else { b",\"stream\":false" });
        if let Some(status) = self.upstream_status {
            number(line, "upstream_status", status.into());
            number(line, "attempts", self.attempts.into());
        }
        text(line, "upstream_request_id", self.upstream_request_id.as_deref());
        // The configuration's only key needs no name.
        let key = self.upstream_key_id.as_deref().filter(|id| *id != store::Upstream::DEFAULT);
        text(line, "upstream_key_id", key);
        if let Some(inspected) = &self.inspected {
            text(line, "verdict", Some(inspected.verdict));
            text(line, "found", Some(inspected.found.as_str()).filter(|found| !found.is_empty()));
            milliseconds(line, "verdict_ms", inspected.at.duration_since(self.started));
        }
        number(line, "request_bytes", self.request_bytes);
        number(line, "response_bytes", self.response_bytes);
        if let Some(answered) = self.answered {
            milliseconds(line, "head_ms", answered.duration_since(self.started));
        }
        milliseconds(line, "total_ms", total);
        // Writing to memory cannot fail.
        let _ = writeln!(line, ",\"address\":\"{}\"}}", self.address);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.cause = Some("panic while the request was handled".into());
        }
        let total = self.started.elapsed();
        self.worker.gate.metrics.exchanged(self.row, self.status, total, self.ended);
        self.worker.log.line(|line| self.line(line, total));
    }
}

/// A member's name, up to its value.
fn name(line: &mut Vec<u8>, name: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

/// A member with a whole number.
fn number(line: &mut Vec<u8>, member: &str, value: u64) {
    name(line, member);
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A member with a number and three decimals.
fn thousandths(line: &mut Vec<u8>, member: &str, whole: u64, thousandths: u32) {
    number(line, member, whole);
    let digit = |unit: u32| b'0' + u8::try_from(thousandths / unit % 10).unwrap_or_default();
    line.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

/// A member with a time in milliseconds.
fn milliseconds(line: &mut Vec<u8>, member: &str, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    thousandths(line, member, micros / 1_000, u32::try_from(micros % 1_000).unwrap_or_default());
}

/// A member with a text value; absent values are left out.
fn text(line: &mut Vec<u8>, member: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    name(line, member);
    line.push(b'"');
    // Nearly every value is plain.
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        line.extend_from_slice(value.as_bytes());
    } else {
        escaped(line, value);
    }
    line.push(b'"');
}

fn escaped(line: &mut Vec<u8>, value: &str) {
    for char in value.chars() {
        match char {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            // Line separators too: some log readers split on them.
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(line, "\\u{:04x}", u32::from(char));
            }
            char => line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Text of a client's choosing, cut to a length that a log can bear, and without anything that looks like a key.
pub(crate) fn client_text(value: &[u8]) -> String {
    let value = &value[..value.len().min(CLIENT_TEXT_BYTES_READ)];
    without_keys(&String::from_utf8_lossy(value)).chars().take(CLIENT_TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_one_json_string_on_one_line() {
        let mut line = b"{\"a\":1".to_vec();
        text(&mut line, "model", Some("evil\"},\n\\\u{2028}\u{7f}ä"));
        thousandths(&mut line, "time", 7, 45);
        line.push(b'}');
        assert!(!line.contains(&b'\n') && line.ends_with(b",\"time\":7.045}"));
        let value: serde_json::Value = serde_json::from_slice(&line).expect("valid JSON");
        assert_eq!(value["model"], "evil\"},\n\\\u{2028}\u{7f}ä");
    }

    #[test]
    fn long_or_broken_client_text_is_cut() {
        assert_eq!(client_text(&[b'x'; 10_000]).len(), CLIENT_TEXT_CHARS_MAX);
        assert_eq!(client_text(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
