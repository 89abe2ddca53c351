//! One client connection from its first byte to its last: PROXY header, TLS, HTTP/1.1 or HTTP/2, drain, timeouts.
//!
//! Promise: every connection ends: by itself, by a command of the sweeper, or by the drain.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::refusal::{Reason, Refusal};

use crate::address::is_trusted;
use crate::exchange::exchange;
use crate::socket::{Command, ConnectionState, Watched, raw_answer};
use crate::worker::Worker;

/// Longest PROXY protocol header read: version 2 with its largest addresses (216 bytes) and room for extensions.
const PROXY_HEADER_BYTES_MAX: usize = 2048;

/// Most HTTP/2 streams of one connection at once.
const HTTP2_STREAMS_MAX: u32 = 256;

/// Serves one accepted connection.
pub(crate) async fn serve(worker: Arc<Worker>, mut stream: TcpStream, peer: SocketAddr) {
    let settings = &worker.gate.settings;
    // Small events must not wait for the peer's acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut proxied = None;
    if settings.proxy_protocol && is_trusted(peer.ip(), &settings.trusted_proxies) {
        match tokio::time::timeout(settings.timeouts.header_read, proxy_header(&mut stream)).await {
            Ok(Ok(source)) => proxied = source,
            Ok(Err(error)) => return tracing::warn!(%peer, %error, "PROXY protocol header refused"),
            Err(_) => return tracing::warn!(%peer, "PROXY protocol header did not come in time"),
        }
    }
    let state = Arc::new(ConnectionState::new(peer, proxied));
    let _registered = worker.register(&state);
    let Some(tls) = &settings.tls else {
        return serve_http1(&worker, stream, &state).await;
    };
    let handshake = tokio_rustls::TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    match tokio::time::timeout(settings.timeouts.header_read, handshake).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            serve_http2(&worker, stream, &state).await;
        }
        Ok(Ok(stream)) => serve_http1(&worker, stream, &state).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake did not end in time"),
    }
}

/// Reads a PROXY protocol header (version 1 or 2) and gives the source it names; `None` for a proxy's own check.
async fn proxy_header(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let refused = |words: &str| io::Error::new(io::ErrorKind::InvalidData, words.to_owned());
    let mut peeked = vec![0; PROXY_HEADER_BYTES_MAX];
    let mut seen = 0;
    loop {
        let count = stream.peek(&mut peeked).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (length, source) = match ppp::HeaderResult::parse(&peeked[..count]) {
            ppp::HeaderResult::V1(Ok(header)) => (header.header.len(), v1_source(&header.addresses)),
            ppp::HeaderResult::V2(Ok(header)) => (header.len(), v2_source(&header.addresses)),
            incomplete if ppp::PartialResult::is_incomplete(&incomplete) && count < PROXY_HEADER_BYTES_MAX => {
                // `peek` returns at once while what is there stays: wait for more without spinning.
                if count == seen {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                seen = count;
                continue;
            }
            _ => return Err(refused("not a PROXY protocol header")),
        };
        stream.read_exact(&mut peeked[..length]).await?;
        return Ok(source);
    }
}

fn v1_source(addresses: &ppp::v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        ppp::v1::Addresses::Unknown => None,
        ppp::v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        ppp::v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
    }
}

fn v2_source(addresses: &ppp::v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        ppp::v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
        ppp::v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
        ppp::v2::Addresses::Unspecified | ppp::v2::Addresses::Unix(_) => None,
    }
}

async fn serve_http1<S>(worker: &Arc<Worker>, stream: S, state: &Arc<ConnectionState>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| exchange(Arc::clone(worker), Arc::clone(state), request));
    let mut connection = http1::Builder::new()
        // The sweeper watches header blocks and idle time, without a timer per request.
        .header_read_timeout(None)
        .max_header_size(worker.gate.settings.limits.header_block_bytes_max)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(Watched::http1(stream, Arc::clone(state))), service);
    let mut draining = false;
    let too_slow = std::future::poll_fn(|cx| {
        match state.poll_command(cx) {
            Command::Close => return Poll::Ready(false),
            Command::TooSlow => return Poll::Ready(true),
            Command::Drain if !draining => {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Command::Drain | Command::GoOn => {}
        }
        // How a connection ended is the exchange's to tell; between exchanges nobody waits for an answer.
        Pin::new(&mut connection).poll(cx).map(|_| false)
    })
    .await;
    if too_slow {
        let refusal =
            Refusal::new(Reason::SlowSender, "The request's headers did not arrive in time. Send them at once.");
        let mut stream = connection.into_parts().io.into_inner().into_inner();
        let answer = raw_answer(&refusal);
        // The peer may be gone: then there is nobody to tell.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), stream.write_all(&answer)).await;
        let _ = stream.shutdown().await;
    }
}

async fn serve_http2<S>(worker: &Arc<Worker>, stream: S, state: &Arc<ConnectionState>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (for_each, of) = (Arc::clone(worker), Arc::clone(state));
    let service = service_fn(move |request| exchange(Arc::clone(&for_each), Arc::clone(&of), request));
    let limits = &worker.gate.settings.limits;
    let connection = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(u32::try_from(limits.header_block_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .timer(TokioTimer::new())
        .keep_alive_interval(worker.gate.settings.timeouts.keep_alive)
        .serve_connection(TokioIo::new(Watched::http2(stream, Arc::clone(state))), service);
    let mut connection = pin!(connection);
    let mut draining = false;
    std::future::poll_fn(|cx| {
        match state.poll_command(cx) {
            Command::Close | Command::TooSlow => return Poll::Ready(()),
            Command::Drain if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            Command::Drain | Command::GoOn => {}
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
}
