//! Connections to the upstream, kept by each worker and for each key by itself.
//!
//! Promises: a connection serves one HTTP/1.1 request at a time and goes back only after its answer was read to the
//! end; HTTP/2 is used where the upstream offers it (ALPN), with one connection for all; a request whose connection
//! turns out to be closed before anything was written comes back unsent, and only such a one is sent again; when its
//! key is taken out of force, a connection is closed as soon as no answer is on it.
//!
//! Our own instead of the library's pooled client: it starts a task for each request to watch for its connection's
//! return, and keeps requests that may be sent again out of reach (docs/decisions/0001).

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use crate::sending::Sending;
use crate::settings::Timeouts;
use crate::upstreams::Address;

/// Idle connections kept.
const IDLE_MAX: usize = 256;

/// Pings on an HTTP/2 connection, so that a dead one is noticed.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

type Sender1 = http1::SendRequest<Sending>;
type Sender2 = http2::SendRequest<Sending>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer's head.
pub(crate) enum Failure {
    /// No connection: nothing was sent, the request is given back.
    Connect(BoxError, Box<Request<Sending>>),
    /// The connection broke with the request on it: it may have been acted on.
    Broken(hyper::Error),
}

/// The pool of one worker for one key.
pub(crate) struct Pool {
    connector: HttpsConnector<HttpConnector>,
    address: Arc<Address>,
    host: HeaderValue,
    connect_limit: Duration,
    idle: Arc<Idle>,
    shared: Mutex<Option<Sender2>>,
}

/// Connections that wait for a request, the last used last.
struct Idle {
    senders: Mutex<Vec<(Sender1, Instant)>>,
    limit: Duration,
    /// The key takes no requests: nothing is kept for one.
    is_retired: Arc<AtomicBool>,
}

/// A connection in use: given back when its answer was read to the end, closed otherwise.
pub(crate) struct Lease {
    sender: Sender1,
    idle: Arc<Idle>,
}

impl Lease {
    /// The answer was read to its end: the connection can take another request.
    pub(crate) fn give_back(self) {
        let mut senders = self.idle.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.len() < IDLE_MAX && !self.sender.is_closed() && !self.idle.is_retired.load(SeqCst) {
            senders.push((self.sender, Instant::now()));
        }
    }
}

impl Idle {
    /// The connection used last among those that are ready. One that was just given back may need its task to run
    /// first: it stays for the next request.
    fn take(&self) -> Option<Sender1> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let (limit, now) = (self.limit, Instant::now());
        if senders.first().is_some_and(|(_, since)| now.duration_since(*since) > limit) {
            senders.retain(|(sender, since)| !sender.is_closed() && now.duration_since(*since) <= limit);
        }
        let at = senders.iter().rposition(|(sender, _)| sender.is_ready());
        if at.is_none() {
            senders.retain(|(sender, _)| !sender.is_closed());
        }
        at.map(|at| senders.remove(at).0)
    }
}

impl Pool {
    /// An empty pool for a key of an upstream.
    pub(crate) fn new(address: &Arc<Address>, timeouts: &Timeouts, is_retired: Arc<AtomicBool>) -> Pool {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_secs(60)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(address.tls.clone())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        Pool {
            connector,
            // An authority is a header's value by its grammar.
            host: HeaderValue::from_str(address.authority.as_str()).unwrap_or(HeaderValue::from_static("")),
            address: Arc::clone(address),
            connect_limit: timeouts.upstream_connect,
            idle: Arc::new(Idle { senders: Mutex::default(), limit: timeouts.upstream_pool_idle, is_retired }),
            shared: Mutex::new(None),
        }
    }

    /// Closes the connections that wait for a request; the key's flag sees to those that are in use.
    pub(crate) fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.senders.lock().unwrap_or_else(PoisonError::into_inner));
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop((idle, shared));
    }

    /// Sends a request, whose URI is path and query alone, and waits for the answer's head.
    pub(crate) async fn send(&self, request: Request<Sending>) -> Result<(Response<Incoming>, Option<Lease>), Failure> {
        let mut request = request;
        // A kept connection may have been closed meanwhile; each try of one takes it out, so this ends.
        while let Some(mut sender) = self.idle.take() {
            request.headers_mut().insert(header::HOST, self.host.clone());
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Some(Lease { sender, idle: Arc::clone(&self.idle) }))),
                Err(mut error) => request = error.take_message().ok_or_else(|| Failure::Broken(error.into_error()))?,
            }
        }
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sender) = shared {
            match self.send_shared(sender, request).await {
                Ok(response) => return Ok((response, None)),
                Err(Failure::Connect(_, unsent)) => request = *unsent,
                Err(broken) => return Err(broken),
            }
        }
        Box::pin(self.send_on_a_new_one(request)).await
    }

    async fn send_on_a_new_one(
        &self,
        mut request: Request<Sending>,
    ) -> Result<(Response<Incoming>, Option<Lease>), Failure> {
        match self.connect().await {
            Err(error) => Err(Failure::Connect(error, Box::new(request))),
            Ok(Connected::Shared(sender)) => {
                *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
                self.send_shared(sender, request).await.map(|response| (response, None))
            }
            Ok(Connected::Own(mut sender)) => {
                request.headers_mut().insert(header::HOST, self.host.clone());
                match sender.try_send_request(request).await {
                    Ok(response) => Ok((response, Some(Lease { sender, idle: Arc::clone(&self.idle) }))),
                    Err(mut error) => Err(match error.take_message() {
                        Some(unsent) => Failure::Connect(error.into_error().into(), Box::new(unsent)),
                        None => Failure::Broken(error.into_error()),
                    }),
                }
            }
        }
    }

    async fn send_shared(
        &self,
        mut sender: Sender2,
        mut request: Request<Sending>,
    ) -> Result<Response<Incoming>, Failure> {
        request.headers_mut().remove(header::HOST);
        let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
        *request.uri_mut() = self.absolute(path.clone());
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => {
                // Whatever is wrong with it, the next request makes a new one.
                *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(match error.take_message() {
                    Some(mut unsent) => {
                        *unsent.uri_mut() = path.map(Uri::from).unwrap_or_default();
                        Failure::Connect(error.into_error().into(), Box::new(unsent))
                    }
                    None => Failure::Broken(error.into_error()),
                })
            }
        }
    }

    fn absolute(&self, path: Option<PathAndQuery>) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.address.scheme.clone());
        parts.authority = Some(self.address.authority.clone());
        parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Makes a connection, name look-up and TLS included, within its limit.
    async fn connect(&self) -> Result<Connected, BoxError> {
        let limit = self.connect_limit;
        let late = |_| BoxError::from(format!("no connection within {} seconds", limit.as_secs()));
        tokio::time::timeout(limit, self.connect_without_limit()).await.map_err(late)?
    }

    async fn connect_without_limit(&self) -> Result<Connected, BoxError> {
        let mut connector = self.connector.clone();
        std::future::poll_fn(|cx: &mut Context<'_>| -> Poll<Result<(), BoxError>> { connector.poll_ready(cx) }).await?;
        let stream = connector.call(self.absolute(None)).await?;
        if stream.connected().is_negotiated_h2() {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(HTTP2_PING_INTERVAL);
            let (sender, connection) = builder.handshake(stream).await?;
            drive(connection);
            return Ok(Connected::Shared(sender));
        }
        let (sender, connection) = http1::Builder::new().handshake(stream).await?;
        drive(connection);
        Ok(Connected::Own(sender))
    }
}

enum Connected {
    Own(Sender1),
    Shared(Sender2),
}

/// Runs a connection until it ends; how it ended is told to the request on it.
fn drive(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
}
