//! A scriptable upstream that speaks the OpenAI API: deterministic, with correct usage, and as broken as a test wants.
//!
//! It writes HTTP/1.1 by hand, so that it can stall, trickle, split anywhere, cut, reset and send garbage; it records
//! what it received and what it sent, byte for byte; and it is fast enough to be a load test's upstream.
//!
//! In a test: `let upstream = Upstream::start(Options::default());`, then `upstream.url()`,
//! `upstream.script(Script { … })`, `upstream.requests()`. Over HTTP: `POST /_script` with the same fields as JSON,
//! `GET /_record`, `DELETE /_record`; or one request's own script in an `x-script` header.
//!
//! Its token rule is [`tokens`]: a quarter of a text's bytes, rounded up, at least one.

mod answers;
mod connection;
mod record;
mod script;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use record::Recorded;
pub use script::{Encoding, Script};

/// Tokens of a text by this upstream's rule.
pub fn tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4).max(1)
}

/// How an upstream is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address; port 0 takes any.
    pub listen: SocketAddr,
    /// Threads, each with a listener of its own on the same port.
    pub workers: usize,
    /// The key that calls must carry; `None` takes any.
    pub key: Option<String>,
    /// Whether requests are recorded.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), workers: 1, key: None, record: true }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) key: Option<String>,
    pub(crate) record: bool,
    pub(crate) state: Mutex<State>,
}

/// What changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) scripts: Vec<Script>,
    pub(crate) recorded: Vec<Recorded>,
    pub(crate) objects: answers::Objects,
    pub(crate) requests: u64,
}

impl Shared {
    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running upstream. It stops when this is dropped.
pub struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Upstream {
    /// Starts an upstream on threads of its own.
    ///
    /// # Panics
    /// When the address cannot be listened on: a test cannot go on without it.
    pub fn start(options: Options) -> Upstream {
        let shared = Arc::new(Shared { key: options.key, record: options.record, state: Mutex::default() });
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut address = options.listen;
        for _ in 0..options.workers.max(1) {
            let listener = connection::listener(address).expect("the upstream's address is free");
            address = listener.local_addr().expect("a bound socket has an address");
            let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
            std::thread::spawn(move || connection::run(listener, shared, stopped));
        }
        Upstream { shared, address, stop }
    }

    /// Base URL, `/v1` included.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a script for the next matching requests.
    pub fn script(&self, script: Script) {
        self.shared.state().scripts.push(script);
    }

    /// What was recorded so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state().recorded.clone()
    }

    /// Forgets records and scripts.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.recorded.clear();
        state.scripts.clear();
    }

    /// Waits until `is_there` holds for the records, at most 10 seconds, and gives them.
    ///
    /// # Panics
    /// When it does not come to hold.
    pub fn wait_for(&self, is_there: impl Fn(&[Recorded]) -> bool) -> Vec<Recorded> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let requests = self.requests();
            if is_there(&requests) {
                return requests;
            }
            assert!(Instant::now() < deadline, "what was waited for did not come: {requests:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

#[cfg(test)]
mod tests;
