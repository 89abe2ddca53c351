//! The gate as a whole: what every worker shares.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderValue;
use injection::Detector;
use ledger::Ledger;
use pricing::Prices;
use store::{Clock, Directory, KeyEntry, KeyUse, Owners};
use wire::endpoint::Endpoint;
use wire::refusal::Refusal;

use crate::alarms::Alarms;
use crate::body::BodyBudget;
use crate::client_secrets::ClientSecrets;
use crate::idempotency::IdempotentCalls;
use crate::inspect::Guards;
use crate::metrics::Metrics;
use crate::money::Money;
use crate::own::OwnerBook;
use crate::request_log::RequestLog;
use crate::settings::Settings;
use crate::unknown_keys::UnknownKeys;
use crate::upstreams::Upstreams;
use crate::uses::UseBook;

/// A call of the control plane, authenticated, with a body that is strict JSON or empty.
#[derive(Debug)]
pub struct ControlCall {
    /// The row of the table.
    pub endpoint: &'static Endpoint,
    /// Path parameters, decoded.
    pub params: Vec<(&'static str, String)>,
    /// Query as it came.
    pub query: String,
    /// Body as it came.
    pub body: Bytes,
    /// The admin key that calls.
    pub caller: Arc<KeyEntry>,
    /// Where the call comes from.
    pub address: IpAddr,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: String,
}

/// A call that a signature opens: nobody is known yet, and nothing of it is checked but its size.
#[derive(Debug)]
pub struct SignedDelivery {
    /// The row of the table.
    pub endpoint: &'static Endpoint,
    /// Headers as they came: the signature is in them.
    pub headers: http::HeaderMap,
    /// Body as it came: the signature is over these bytes.
    pub body: Bytes,
    /// Where the call comes from.
    pub address: IpAddr,
    /// The request's id.
    pub request_id: String,
}

/// What a control call answers: status and JSON, or a refusal.
pub type ControlAnswer = Result<(u16, Vec<u8>), Refusal>;

/// The control plane, as the gateway sees it. Calls run on the process's own runtime, not on a worker's.
pub trait ControlPlane: Send + Sync {
    /// Serves one call.
    fn serve(&self, call: ControlCall) -> Pin<Box<dyn Future<Output = ControlAnswer> + Send>>;

    /// Serves a call that a signature opens, once the signature is held against the operator's keys.
    fn receive(&self, delivery: SignedDelivery) -> Pin<Box<dyn Future<Output = ControlAnswer> + Send>>;
}

/// What an embedded model can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelEndpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/responses`
    Responses,
}

/// What an embedded model answers.
pub enum ModelAnswer {
    /// A JSON body.
    Json(Bytes),
    /// Whole server-sent events, one or more an item.
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

/// An embedded model, as the gateway sees it. Dropping the future or the events cancels the work.
pub trait EmbeddedModel: Send + Sync {
    /// Answers a request whose body is strict JSON.
    fn answer(
        &self,
        endpoint: ModelEndpoint,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<ModelAnswer, Refusal>> + Send + '_>>;
}

/// The embedded model: there, or the words why not.
pub enum Local {
    /// Loaded.
    Ready(Box<dyn EmbeddedModel>),
    /// Wanted, and not there: what the operator has to do.
    Missing(String),
    /// Not wanted.
    Off,
}

/// Everything that the gate is made of.
pub struct Parts {
    /// Checked settings.
    pub settings: Settings,
    /// Projects and keys.
    pub directory: Arc<Directory>,
    /// Where requests go.
    pub upstreams: Arc<Upstreams>,
    /// Shape of keys.
    pub shape: keys::Shape,
    /// Pepper of key digests.
    pub pepper: keys::Pepper,
    /// Store of object owners.
    pub owners: Arc<dyn Owners>,
    /// Money.
    pub ledger: Arc<Ledger>,
    /// The price table in force.
    pub prices: Arc<Prices>,
    /// Administration.
    pub control: Arc<dyn ControlPlane>,
    /// The embedded model.
    pub local: Local,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// Request log.
    pub log: RequestLog,
    /// Where alarms go in.
    pub alarms: Alarms,
    /// What finds injections.
    pub detector: Arc<Detector>,
}

/// The gate.
pub struct Gate {
    pub(crate) settings: Settings,
    pub(crate) directory: Arc<Directory>,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) shape: keys::Shape,
    pub(crate) pepper: keys::Pepper,
    pub(crate) owners: Arc<OwnerBook>,
    pub(crate) money: Money,
    pub(crate) idempotent: Arc<IdempotentCalls>,
    /// Who may send signed reports how often: apart from callers with keys, whom a flood of reports must not slow.
    pub(crate) reporters: rates::Book,
    pub(crate) control: Arc<dyn ControlPlane>,
    pub(crate) local: Local,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: RequestLog,
    pub(crate) alarms: Alarms,
    pub(crate) guards: Guards,
    pub(crate) unknown_keys: UnknownKeys,
    pub(crate) client_secrets: ClientSecrets,
    /// One for each worker.
    pub(crate) uses: Vec<UseBook>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bodies: Arc<BodyBudget>,
    /// The process's own runtime, where the control plane and the database run.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) organization: HeaderValue,
    /// Answers read on after their clients left.
    pub(crate) reading_on: AtomicUsize,
    /// Calls to the upstream that go on without their clients.
    detached: AtomicUsize,
    in_flight: AtomicUsize,
    ready: AtomicBool,
    draining: AtomicBool,
}

impl Gate {
    /// Puts the gate together. Call it inside the process's own runtime.
    ///
    /// # Errors
    /// When a guard's thread cannot be started.
    pub fn new(parts: Parts) -> std::io::Result<Arc<Gate>> {
        let metrics = Arc::new(Metrics::default());
        let money = Money::new(parts.ledger, parts.prices);
        let organization = parts.directory.snapshot().organization.id.as_str().to_owned();
        let workers = parts.settings.workers.max(1);
        Ok(Arc::new(Gate {
            guards: Guards::start(&parts.settings.guards, parts.detector)?,
            uses: std::iter::repeat_with(UseBook::default).take(workers).collect(),
            owners: OwnerBook::open(parts.owners, Arc::clone(&metrics)),
            bodies: BodyBudget::new(parts.settings.limits.body_memory_bytes_max),
            organization: HeaderValue::try_from(organization).unwrap_or(HeaderValue::from_static("")),
            money,
            idempotent: Arc::default(),
            reporters: rates::Book::new(),
            settings: parts.settings,
            directory: parts.directory,
            upstreams: parts.upstreams,
            shape: parts.shape,
            pepper: parts.pepper,
            control: parts.control,
            local: parts.local,
            clock: parts.clock,
            log: parts.log,
            alarms: parts.alarms,
            unknown_keys: UnknownKeys::default(),
            client_secrets: ClientSecrets::default(),
            metrics,
            runtime: tokio::runtime::Handle::current(),
            reading_on: AtomicUsize::new(0),
            detached: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }))
    }

    /// Exchanges that run now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Waits until what was learnt of object owners is on disk, for a few seconds; whether it is. Called at a stop.
    pub async fn settle(&self) -> bool {
        self.owners.settle().await
    }

    /// Puts another detector in force, from the next text on.
    pub fn put_detector(&self, detector: Arc<Detector>) {
        self.guards.put(detector);
    }

    /// Takes over what was counted of keys' uses since the last time.
    pub fn take_uses(&self) -> Vec<KeyUse> {
        self.uses.iter().flat_map(UseBook::take).collect()
    }

    pub(crate) fn begin_exchange(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// What runs without a connection: calls whose clients may have left, and answers that are read on.
    pub(crate) fn running_alone(&self) -> usize {
        self.detached.load(Relaxed) + self.reading_on.load(Relaxed)
    }

    pub(crate) fn begin_detached(self: &Arc<Self>) -> Detached {
        self.detached.fetch_add(1, Relaxed);
        Detached(Arc::clone(self))
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, SeqCst);
    }

    /// Whether requests are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(SeqCst) && !self.is_draining()
    }

    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }
}

/// A call goes on by itself while this lives.
pub(crate) struct Detached(Arc<Gate>);

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.detached.fetch_sub(1, Relaxed);
    }
}

/// An exchange is running while this lives.
pub(crate) struct InFlight(Arc<Gate>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
