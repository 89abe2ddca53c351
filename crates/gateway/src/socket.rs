//! A client's socket as the gate watches it.
//!
//! Promises: the HTTP library's own bodiless refusals (what it cannot parse it answers itself) leave in the API's
//! shape; conflicting length headers, which the library silently resolves, are noticed; a connection that stalls in
//! any direction is known to the sweeper, without a timer per request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use futures_util::task::AtomicWaker;
use store::Revocation;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::framing::LengthConflict;
use wire::refusal::{Reason, Refusal};

use crate::settings::Timeouts;

/// What the sweeper asks of a connection's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing.
    GoOn,
    /// Finish what runs, accept no further request.
    Drain,
    /// The header block took too long: answer 408 and close.
    TooSlow,
    /// Close now.
    Close,
}

/// What a connection's socket, its exchanges and the sweeper know of each other.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// TCP peer.
    pub(crate) peer: SocketAddr,
    /// Source in a PROXY header of a trusted peer.
    pub(crate) proxied: Option<SocketAddr>,
    started: Instant,
    exchanges: AtomicU32,
    /// Milliseconds since `started`, plus one; zero is "not".
    head_since: AtomicU64,
    idle_since: AtomicU64,
    stalled_since: AtomicU64,
    vouched: AtomicBool,
    command: AtomicU8,
    waker: AtomicWaker,
    /// Whether the key that authenticated on it last was revoked.
    key: ArcSwapOption<Revocation>,
    /// How often the sweeper has seen it with a revoked key.
    revoked_sweeps: AtomicU8,
}

/// Sweeps that an exchange of a revoked key has for its last words.
const LAST_WORDS_SWEEPS: u8 = 2;

impl ConnectionState {
    pub(crate) fn new(peer: SocketAddr, proxied: Option<SocketAddr>) -> ConnectionState {
        ConnectionState {
            peer,
            proxied,
            started: Instant::now(),
            exchanges: AtomicU32::new(0),
            head_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            stalled_since: AtomicU64::new(0),
            vouched: AtomicBool::new(false),
            command: AtomicU8::new(Command::GoOn as u8),
            waker: AtomicWaker::new(),
            key: ArcSwapOption::empty(),
            revoked_sweeps: AtomicU8::new(0),
        }
    }

    /// Notes the key that a request on this connection came with.
    pub(crate) fn authenticated(&self, revocation: &Arc<Revocation>) {
        // Nearly always it is the one before.
        if !self.key.load().as_ref().is_some_and(|known| Arc::ptr_eq(known, revocation)) {
            self.key.store(Some(Arc::clone(revocation)));
        }
    }

    /// Whether the connection is one of a revoked key, and has had time for its last words. Its buffers hold the key for
    /// as long as it is open.
    fn is_revoked(&self) -> bool {
        if !self.key.load().as_ref().is_some_and(|revocation| revocation.is_revoked()) {
            self.revoked_sweeps.store(0, Relaxed);
            return false;
        }
        let sweeps = self.revoked_sweeps.fetch_add(1, Relaxed);
        self.exchanges.load(Relaxed) == 0 || sweeps >= LAST_WORDS_SWEEPS
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Whether the request head just read is known to be chunked and nothing else. Asked only where a head has
    /// `Transfer-Encoding`.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.vouched.load(Relaxed)
    }

    /// Marks an exchange as running until the guard drops.
    pub(crate) fn begin_exchange(self: &Arc<Self>) -> ExchangeInFlight {
        self.exchanges.fetch_add(1, Relaxed);
        self.head_since.store(0, Relaxed);
        ExchangeInFlight(Arc::clone(self))
    }

    /// What the clock asks of this connection.
    pub(crate) fn due(&self, timeouts: &Timeouts) -> Command {
        let now = self.now();
        let passed = |since: &AtomicU64, limit: std::time::Duration| {
            let since = since.load(Relaxed);
            since != 0 && u128::from(now.saturating_sub(since)) >= limit.as_millis()
        };
        if passed(&self.stalled_since, timeouts.client_stall) || self.is_revoked() {
            return Command::Close;
        }
        if self.exchanges.load(Relaxed) > 0 {
            return Command::GoOn;
        }
        if passed(&self.head_since, timeouts.header_read) {
            return Command::TooSlow;
        }
        let between = self.head_since.load(Relaxed) == 0;
        if between && passed(&self.idle_since, timeouts.keep_alive) { Command::Close } else { Command::GoOn }
    }

    /// Gives the connection's task a command and wakes it.
    pub(crate) fn order(&self, command: Command) {
        self.command.store(command as u8, SeqCst);
        self.waker.wake();
    }

    /// The command in force; the task is woken when it changes.
    pub(crate) fn poll_command(&self, cx: &Context<'_>) -> Command {
        self.waker.register(cx.waker());
        match self.command.load(SeqCst) {
            value if value == Command::Drain as u8 => Command::Drain,
            value if value == Command::TooSlow as u8 => Command::TooSlow,
            value if value == Command::Close as u8 => Command::Close,
            _ => Command::GoOn,
        }
    }
}

/// An exchange is running on this connection while this lives.
#[derive(Debug)]
pub(crate) struct ExchangeInFlight(Arc<ConnectionState>);

impl Drop for ExchangeInFlight {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Relaxed);
        self.0.exchanges.fetch_sub(1, Relaxed);
    }
}

/// The socket under the HTTP library.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    state: Arc<ConnectionState>,
    /// Only HTTP/1 has length headers to conflict and bodiless refusals to replace.
    lengths: Option<LengthConflict>,
    /// A refusal of our own that takes the place of the library's: bytes, and how many are written.
    replacement: Option<(Vec<u8>, usize)>,
}

impl<S> Watched<S> {
    pub(crate) fn http1(inner: S, state: Arc<ConnectionState>) -> Watched<S> {
        Watched { inner, state, lengths: Some(LengthConflict::new()), replacement: None }
    }

    pub(crate) fn http2(inner: S, state: Arc<ConnectionState>) -> Watched<S> {
        Watched { inner, state, lengths: None, replacement: None }
    }

    pub(crate) fn into_inner(self) -> S {
        self.inner
    }

    fn saw(&mut self, bytes: &[u8]) {
        if self.state.exchanges.load(Relaxed) == 0 && self.state.head_since.load(Relaxed) == 0 {
            self.state.head_since.store(self.state.now(), Relaxed);
        }
        if let Some(lengths) = &mut self.lengths {
            lengths.observe(bytes);
            self.state.vouched.store(lengths.vouches(), Relaxed);
        }
    }

    fn wrote(&mut self, progress: &Poll<io::Result<usize>>) {
        match progress {
            Poll::Pending if self.state.stalled_since.load(Relaxed) == 0 => {
                self.state.stalled_since.store(self.state.now(), Relaxed);
            }
            Poll::Pending => {}
            Poll::Ready(_) => {
                self.state.stalled_since.store(0, Relaxed);
                // What comes after an answer is another message.
                if let Some(lengths) = &mut self.lengths {
                    lengths.reset();
                    self.state.vouched.store(false, Relaxed);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.saw(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Writes our own refusal in place of the library's; `taken` is what the library believes it wrote.
    fn write_replacement(&mut self, cx: &mut Context<'_>, taken: usize) -> Poll<io::Result<usize>> {
        while let Some((bytes, written)) = &mut self.replacement {
            if *written == bytes.len() {
                self.replacement = None;
                break;
            }
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &bytes[*written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count;
        }
        Poll::Ready(Ok(taken))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.lengths.is_some() && (self.replacement.is_some() || is_bare_refusal(buf)) {
            if self.replacement.is_none() {
                self.replacement = Some((in_our_shape(buf), 0));
            }
            return self.write_replacement(cx, buf.len());
        }
        let progress = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(&progress);
        progress
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &buf[..]);
        if self.lengths.is_some() && (self.replacement.is_some() || is_bare_refusal(first)) {
            return self.poll_write(cx, first);
        }
        let progress = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(&progress);
        progress
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Whether these bytes are an answer that the HTTP library made by itself: a 4xx without a body and without the
/// request id that every answer of the gate carries.
fn is_bare_refusal(bytes: &[u8]) -> bool {
    const STATUS: &[u8] = b"HTTP/1.1 4";
    bytes.starts_with(STATUS)
        && bytes.ends_with(b"\r\n\r\n")
        && memchr::memmem::find(bytes, b"content-length: 0\r\n").is_some()
        && memchr::memmem::find(bytes, b"x-request-id").is_none()
}

/// The refusal that takes the place of a bare one.
fn in_our_shape(bare: &[u8]) -> Vec<u8> {
    let refusal = match bare.get(9..12) {
        Some(b"431") => Refusal::new(
            Reason::HeadersTooLarge,
            "The request's header block is over its limit of 64 KB or 100 headers. Send fewer or shorter headers.",
        ),
        Some(b"414") => Refusal::new(
            Reason::TargetTooLong,
            "The request's URL is too long. Put long values into the body instead of the query.",
        ),
        _ => Refusal::new(
            Reason::InvalidHeaders,
            "The request is not valid HTTP/1.1: its request line, a header or its length could not be read. Check \
             the client, or a proxy between it and the gate.",
        ),
    };
    raw_answer(&refusal)
}

/// A refusal as the bytes of a whole HTTP/1.1 answer that closes the connection.
pub(crate) fn raw_answer(refusal: &Refusal) -> Vec<u8> {
    let body = refusal.body();
    let reason = http::StatusCode::from_u16(refusal.status()).ok().and_then(|status| status.canonical_reason());
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\nx-request-id: {}\r\nconnection: close\r\ncontent-length: \
         {}\r\n\r\n{body}",
        refusal.status(),
        reason.unwrap_or("Refused"),
        crate::ids::rare_request_id(),
        body.len(),
    )
    .into_bytes()
}
