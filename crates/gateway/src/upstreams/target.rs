//! One upstream with its keys, and what belongs to a key: where it is sent, its header, its breaker, its connections.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri, header};
use keys::Secret;
use memchr::memmem::Finder;
use wire::refusal::Refusal;

use crate::breaker::Breaker;
use crate::headers::{ORGANIZATION, PROJECT};
use crate::pool::Pool;
use crate::settings::{Timeouts, Upstream};
use crate::upstream::internal;

/// Where an upstream is, and as whom the gate speaks to it.
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) base_path: String,
    pub(crate) tls: rustls::ClientConfig,
    organization: Option<HeaderValue>,
    project: Option<HeaderValue>,
}

impl PartialEq for Address {
    /// TLS settings are the process's own, and the same for all.
    fn eq(&self, other: &Address) -> bool {
        self.scheme == other.scheme
            && self.authority == other.authority
            && self.base_path == other.base_path
            && self.organization == other.organization
            && self.project == other.project
    }
}

impl Address {
    pub(crate) fn new(upstream: &Upstream) -> Address {
        let plain = |text: &Option<String>| text.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        Address {
            scheme: upstream.scheme.clone(),
            authority: upstream.authority.clone(),
            base_path: upstream.base_path.clone(),
            tls: upstream.tls.clone(),
            organization: plain(&upstream.organization),
            project: plain(&upstream.project),
        }
    }

    /// Our path under the upstream's base path: `/v1` is replaced by it, the rest is untouched to the byte.
    pub(crate) fn uri(&self, ours: &PathAndQuery) -> Result<Uri, Refusal> {
        if self.base_path == "/v1" {
            return Ok(Uri::from(ours.clone()));
        }
        let rest = ours.as_str().strip_prefix("/v1").unwrap_or(ours.as_str());
        format!("{}{rest}", self.base_path).parse().map_err(|error| internal(&error))
    }
}

/// One upstream. Requests on their way hold it, and find the keys that are in force when they are sent.
pub(crate) struct Target {
    pub(crate) id: Arc<str>,
    /// The region whose host it is, which may have a price of its own.
    pub(crate) region: Option<Arc<str>>,
    /// Keys that take requests.
    pub(crate) keys: ArcSwap<Vec<Arc<TargetKey>>>,
    /// Keys that only finish theirs.
    pub(crate) retired: ArcSwap<Vec<Arc<TargetKey>>>,
}

impl Target {
    pub(crate) fn new(id: Arc<str>, region: Option<Arc<str>>) -> Target {
        Target { id, region, keys: ArcSwap::default(), retired: ArcSwap::default() }
    }
}

/// A key of an upstream.
pub(crate) struct TargetKey {
    pub(crate) id: Arc<str>,
    pub(crate) address: Arc<Address>,
    pub(crate) breaker: Breaker,
    authorization: Option<HeaderValue>,
    secret: Option<Secret>,
    finder: Option<Finder<'static>>,
    in_flight: AtomicUsize,
    /// Unix seconds; 0 is never.
    last_used_at: AtomicI64,
    /// Set while it takes no new requests: its connections then close after their answer.
    is_retired: Arc<AtomicBool>,
    /// Connections of each worker.
    pools: Box<[OnceLock<Pool>]>,
}

impl TargetKey {
    pub(crate) fn new(id: Arc<str>, address: &Arc<Address>, secret: Option<Secret>, workers: usize) -> TargetKey {
        let authorization = secret.as_ref().and_then(|secret| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        TargetKey {
            id,
            address: Arc::clone(address),
            breaker: Breaker::default(),
            authorization,
            finder: secret.as_ref().map(|secret| Finder::new(secret.expose().as_bytes()).into_owned()),
            secret,
            in_flight: AtomicUsize::new(0),
            last_used_at: AtomicI64::new(0),
            is_retired: Arc::default(),
            pools: std::iter::repeat_with(OnceLock::new).take(workers).collect(),
        }
    }

    /// Whether it is this key.
    pub(crate) fn is(&self, id: &str, address: &Address, secret: &Secret) -> bool {
        *self.id == *id && *self.address == *address && self.secret.as_ref() == Some(secret)
    }

    /// The key, to be watched for.
    pub(crate) fn secret(&self) -> Option<&str> {
        self.secret.as_ref().map(Secret::expose)
    }

    /// A prepared search for the key.
    pub(crate) fn finder(&self) -> Option<Finder<'static>> {
        self.finder.clone()
    }

    /// The connections of a worker. Call it inside the worker's runtime.
    pub(crate) fn pool(&self, worker: usize, timeouts: &Timeouts) -> &Pool {
        // A worker's number is below the number of workers; another's connections would do as well.
        let pool = &self.pools[worker % self.pools.len()];
        pool.get_or_init(|| Pool::new(&self.address, timeouts, Arc::clone(&self.is_retired)))
    }

    /// Headers with the key and its account.
    pub(crate) fn signed(&self, mut headers: HeaderMap) -> HeaderMap {
        let address = &self.address;
        for (name, value) in [
            (header::AUTHORIZATION, &self.authorization),
            (ORGANIZATION, &address.organization),
            (PROJECT, &address.project),
        ] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// When a request used it last.
    pub(crate) fn last_used_at(&self) -> Option<i64> {
        Some(self.last_used_at.load(Relaxed)).filter(|at| *at > 0)
    }

    /// Notes that a request uses it.
    pub(crate) fn used_at(&self, unix_seconds: i64) {
        self.last_used_at.store(unix_seconds, Relaxed);
    }

    /// No new request from now on. Connections that wait close now, those with a request on them after it.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, SeqCst);
        self.pools.iter().filter_map(OnceLock::get).for_each(Pool::close);
    }

    /// Takes requests, again or for the first time.
    pub(crate) fn take_requests(&self) {
        self.is_retired.store(false, SeqCst);
    }
}

/// A request is under way with a key while this lives.
pub(crate) struct InUse(Arc<TargetKey>);

impl InUse {
    /// Begins a request, unless the key takes none any more. Whoever retires a key and then finds nothing in flight can
    /// be sure: either this counts first, or it sees that the key is retired.
    pub(crate) fn begin(key: &Arc<TargetKey>) -> Option<InUse> {
        // Whoever comes late does not count even for a moment: it would look like a request under way.
        if key.is_retired.load(SeqCst) {
            return None;
        }
        key.in_flight.fetch_add(1, SeqCst);
        let in_use = InUse(Arc::clone(key));
        (!key.is_retired.load(SeqCst)).then_some(in_use)
    }

    pub(crate) fn key(&self) -> &Arc<TargetKey> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}
