//! `Idempotency-Key`: one call upstream, one charge, the same answer again.
//!
//! Promises: a second POST with the same key and body gets the first one's answer while it is in memory, 409 while the
//! first one runs (also when its client has left and the gate reads on), 400 with another body; an answer that failed is
//! not kept, so that a retry is a new call; keys are a project's own. Nothing of it touches a disk.
//!
//! Bounded: by the bytes and number of kept answers and by their age; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use wire::multipart::boundary;
use wire::refusal::{Reason, Refusal};

use crate::answer::Answer;
use crate::headers::{UPSTREAM_REQUEST_ID, single};

/// The header.
const HEADER: &str = "idempotency-key";
/// Longest key; SDKs send some 60 characters.
const KEY_BYTES_MAX: usize = 255;
/// Longest answer kept.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// All answers kept.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Keys known, running calls included. For a new one the oldest answer goes; where all run, a call is not protected, as
/// without the header.
const KEYS_MAX: usize = 20_000;
/// How long an answer is kept. SDKs retry within minutes.
const KEPT_FOR: Duration = Duration::from_secs(3_600);

/// Says that an answer is a repetition.
const REPLAYED: &str = "x-sallyport-idempotent-replay";

/// What a kept answer is given under: project and key.
type Name = (String, String);

/// What is known of a key.
#[derive(Debug)]
enum Known {
    Running,
    Done(Kept),
}

#[derive(Debug, Clone)]
struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    since: Instant,
}

#[derive(Debug, Default)]
struct Calls {
    known: HashMap<Name, (u128, Known)>,
    /// Answers by age.
    kept: VecDeque<Name>,
    kept_bytes: usize,
}

/// Calls by their keys.
#[derive(Debug, Default)]
pub(crate) struct IdempotentCalls {
    calls: Mutex<Calls>,
    hashers: [RandomState; 2],
}

/// What to do with a request.
pub(crate) enum Begin {
    /// It has no key, or cannot be protected.
    Plain,
    /// It is the first with its key.
    First(Box<Keeping>),
    /// Its answer is known.
    Again(Box<Response<Answer>>),
}

impl IdempotentCalls {
    /// Looks a request's key up, and takes it if it is new.
    ///
    /// # Errors
    /// 409 while the first call runs, 400 for another body or a bad key.
    pub(crate) fn begin(
        self: &Arc<Self>,
        headers: &HeaderMap,
        project: &str,
        target: &str,
        body: &[u8],
    ) -> Result<Begin, Refusal> {
        let Some(key) = single(headers, HEADER)?.map(str::trim).filter(|key| !key.is_empty()) else {
            return Ok(Begin::Plain);
        };
        if key.len() > KEY_BYTES_MAX {
            let words = format!("The Idempotency-Key is longer than {KEY_BYTES_MAX} characters.");
            return Err(Refusal::new(Reason::InvalidHeaders, words).param("Idempotency-Key"));
        }
        let boundary = single(headers, "content-type")?.and_then(|content_type| boundary(content_type).ok());
        let print = |hasher| u128::from(print(hasher, target, body, boundary.as_deref()));
        let print = print(&self.hashers[0]) << 64 | print(&self.hashers[1]);
        let name = (project.to_owned(), key.to_owned());
        let mut calls = self.calls();
        calls.forget_old();
        match calls.known.get(&name) {
            Some((known, _)) if *known != print => {
                let words = "This Idempotency-Key was used with another request. Use a new key for each request.";
                Err(Refusal::new(Reason::IdempotencyMismatch, words).param("Idempotency-Key"))
            }
            Some((_, Known::Running)) => {
                let words = "The first request with this Idempotency-Key is still running. Retry shortly.";
                Err(Refusal::new(Reason::IdempotencyRunning, words).param("Idempotency-Key").retry_after_ms(1_000))
            }
            Some((_, Known::Done(kept))) => Ok(Begin::Again(Box::new(kept.answer()))),
            None => {
                while calls.known.len() >= KEYS_MAX && !calls.kept.is_empty() {
                    calls.forget_oldest();
                }
                if calls.known.len() >= KEYS_MAX {
                    return Ok(Begin::Plain);
                }
                calls.known.insert(name.clone(), (print, Known::Running));
                Ok(Begin::First(Box::new(Keeping {
                    calls: Arc::clone(self),
                    name: Some(name),
                    status: StatusCode::OK,
                    headers: HeaderMap::new(),
                    chunks: Vec::new(),
                    bytes: 0,
                })))
            }
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request is known again by. SDKs give a form another boundary at each attempt, so a form is what stands between
/// its boundaries.
fn print(hasher: &RandomState, target: &str, body: &[u8], boundary: Option<&str>) -> u64 {
    let mut print = hasher.build_hasher();
    target.hash(&mut print);
    let mut from = 0;
    if let Some(boundary) = boundary {
        for at in memchr::memmem::find_iter(body, boundary.as_bytes()) {
            body[from..at].hash(&mut print);
            from = at + boundary.len();
        }
    }
    body[from..].hash(&mut print);
    print.finish()
}

impl Calls {
    fn forget_old(&mut self) {
        while let Some(name) = self.kept.front() {
            let is_old = match self.known.get(name) {
                Some((_, Known::Done(kept))) => kept.since.elapsed() > KEPT_FOR,
                _ => true,
            };
            if !is_old && self.kept_bytes <= KEPT_BYTES_MAX {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(name) = self.kept.pop_front() else { return };
        if let Some((_, Known::Done(kept))) = self.known.remove(&name) {
            self.kept_bytes -= kept.body.len();
        }
    }
}

impl Kept {
    fn answer(&self) -> Response<Answer> {
        let mut response = Response::new(Answer::whole(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

/// Keeps an answer while it passes. Dropped before its end it frees the key.
#[derive(Debug)]
pub(crate) struct Keeping {
    calls: Arc<IdempotentCalls>,
    /// `None` once it is over.
    name: Option<Name>,
    status: StatusCode,
    headers: HeaderMap,
    chunks: Vec<Bytes>,
    bytes: usize,
}

impl Keeping {
    /// The head of the answer that will be kept.
    pub(crate) fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = status;
        for name in [header::CONTENT_TYPE, UPSTREAM_REQUEST_ID] {
            if let Some(value) = headers.get(&name) {
                self.headers.insert(name, value.clone());
            }
        }
    }

    /// A chunk of it.
    pub(crate) fn take(&mut self, chunk: &Bytes) {
        self.bytes += chunk.len();
        if self.bytes <= ANSWER_BYTES_MAX {
            self.chunks.push(chunk.clone());
        } else {
            self.chunks.clear();
        }
    }

    /// Its end: from now on it is given again.
    pub(crate) fn done(mut self) {
        let is_kept = self.status.is_success() && self.bytes <= ANSWER_BYTES_MAX;
        if !is_kept {
            return;
        }
        let Some(name) = self.name.take() else { return };
        let body = Bytes::from(self.chunks.concat());
        let headers = std::mem::take(&mut self.headers);
        let kept = Kept { status: self.status, headers, body, since: Instant::now() };
        let mut calls = self.calls.calls();
        calls.kept_bytes += kept.body.len();
        if let Some(place) = calls.known.get_mut(&name) {
            place.1 = Known::Done(kept);
            calls.kept.push_back(name);
        }
        calls.forget_old();
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.calls.calls().known.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(key: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(HEADER), HeaderValue::from_static(key))])
    }

    fn first(calls: &Arc<IdempotentCalls>, key: &'static str, body: &[u8]) -> Box<Keeping> {
        match calls.begin(&headers(key), "proj_a", "/v1/x", body) {
            Ok(Begin::First(keeping)) => keeping,
            _ => panic!("not the first"),
        }
    }

    #[test]
    fn one_call_then_its_answer_again() {
        let calls = Arc::new(IdempotentCalls::default());
        let mut keeping = first(&calls, "k", b"body");
        let reason =
            |body: &[u8]| calls.begin(&headers("k"), "proj_a", "/v1/x", body).err().map(|refusal| refusal.reason);
        assert_eq!(reason(b"body"), Some(Reason::IdempotencyRunning));
        assert_eq!(reason(b"other"), Some(Reason::IdempotencyMismatch));
        // Another project's key is another key.
        assert!(matches!(calls.begin(&headers("k"), "proj_b", "/v1/x", b"other"), Ok(Begin::First(_))));
        keeping.take(&Bytes::from_static(b"answer"));
        keeping.done();
        let Ok(Begin::Again(response)) = calls.begin(&headers("k"), "proj_a", "/v1/x", b"body") else { panic!() };
        assert_eq!(response.headers()[REPLAYED], "true");
        assert_eq!(reason(b"other"), Some(Reason::IdempotencyMismatch));
    }

    #[test]
    fn what_failed_can_be_tried_again() {
        let calls = Arc::new(IdempotentCalls::default());
        drop(first(&calls, "k", b"body"));
        let mut keeping = first(&calls, "k", b"body");
        keeping.head(StatusCode::BAD_GATEWAY, &HeaderMap::new());
        keeping.done();
        drop(first(&calls, "k", b"body"));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let calls = Arc::new(IdempotentCalls::default());
        let chunk = Bytes::from(vec![0; ANSWER_BYTES_MAX]);
        let keys: Vec<&'static str> = (0..20).map(|n| &*Box::leak(n.to_string().into_boxed_str())).collect();
        for key in &keys {
            let mut keeping = first(&calls, key, b"");
            keeping.take(&chunk);
            keeping.done();
        }
        assert!(calls.calls().kept_bytes <= KEPT_BYTES_MAX);
        assert!(matches!(calls.begin(&headers(keys[19]), "proj_a", "/v1/x", b""), Ok(Begin::Again(_))));
        let mut over = first(&calls, keys[0], b"");
        over.take(&chunk);
        over.take(&Bytes::from_static(b"x"));
        over.done();
        drop(first(&calls, keys[0], b""));
    }
}
