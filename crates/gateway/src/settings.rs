//! What the gate was told to do: already checked, ready to use. The words an operator writes are in the binary's
//! configuration; this is what they mean.
//!
//! Every limit and time has a name here and a default with its reason.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use ipnet::IpNet;
use keys::Secret;
use pricing::Nano;

/// Everything the data path needs to know, fixed for the life of the process.
#[derive(Debug)]
pub struct Settings {
    /// Worker threads that carry traffic, each with its own runtime and its own upstream connections.
    pub workers: usize,
    /// TLS towards clients; `None` serves plain HTTP/1.1.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether a trusted proxy's PROXY protocol header (v1 or v2) is expected before the first request.
    pub proxy_protocol: bool,
    /// Peers whose `X-Forwarded-For` and PROXY header are believed. Empty: nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Sizes and counts.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
    /// How much the guards may do at once.
    pub guards: GuardLimits,
    /// The real upstream; `None` when the embedded model is all there is.
    pub upstream: Option<Upstream>,
    /// The embedded model's own id.
    pub local_model: &'static str,
    /// Names that the embedded model answers to besides its own.
    pub local_aliases: BTreeSet<String>,
}

/// Sizes and counts, each with what happens above it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open client connections; above it a new one is answered 503 and closed.
    pub connections_max: usize,
    /// Header block of a request (OpenAI's documented total is 64 KiB); above it 431.
    pub header_block_bytes_max: usize,
    /// JSON body after decoding; above it 413.
    pub json_body_bytes_max: u64,
    /// Multipart body that streams through; above it 413.
    pub multipart_body_bytes_max: u64,
    /// Multipart body that must be read whole because it is metered; above it 413.
    pub multipart_memory_bytes_max: u64,
    /// Control-plane body; above it 413.
    pub control_body_bytes_max: u64,
    /// All bodies held in memory at once in the process; above it 503.
    pub body_memory_bytes_max: u64,
    /// One server-sent event; above it the stream ends in an error.
    pub event_bytes_max: usize,
    /// An encoded answer after decoding; above it the answer ends in an error.
    pub decoded_answer_bytes_max: u64,
    /// Abandoned answers that are read to their end at once; above it the upstream call is cut.
    pub read_on_max: usize,
    /// The largest hold of an abandoned answer that is read on; above it the upstream call is cut.
    pub read_on_amount_max: Nano,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 20_000,
            header_block_bytes_max: 64 * 1024,
            json_body_bytes_max: 25 * 1024 * 1024,
            multipart_body_bytes_max: 512 * 1024 * 1024,
            // OpenAI takes 25 MB of audio and up to 16 images of 50 MB; most edits are far smaller.
            multipart_memory_bytes_max: 128 * 1024 * 1024,
            control_body_bytes_max: 1024 * 1024,
            body_memory_bytes_max: 512 * 1024 * 1024,
            event_bytes_max: wire::sse::EVENT_BYTES_MAX,
            decoded_answer_bytes_max: 64 * 1024 * 1024,
            // Each has an upstream connection.
            read_on_max: 1_000,
            // Reading on costs what the rest of the answer costs; five dollars is a long one of a large model.
            read_on_amount_max: Nano::from_cents(500),
        }
    }
}

/// How much the guards of the process may do at once, each with what happens above it.
#[derive(Debug, Clone)]
pub struct GuardLimits {
    /// Threads that the transformer runs on.
    pub threads: usize,
    /// Texts, or several short ones together, that wait for it; of each project half at most. Above it a request cannot be judged.
    pub queue_max: usize,
    /// Their bytes, likewise.
    pub queue_bytes_max: usize,
    /// Windows of 128 tokens that are read of one request, shorter ones charged by length; the rest is left to the cheap
    /// stages.
    pub windows_max: usize,
    /// Judgements of texts that are remembered; the oldest go.
    pub remembered_max: usize,
    /// How long reading one request may take, and how long a long one waits before that until it is looked at; then it
    /// cannot be judged.
    pub read_time_max: Duration,
    /// How long an answer waits for the verdict where nothing may be refused; then it goes out without.
    pub answer_wait_max: Duration,
}

impl Default for GuardLimits {
    fn default() -> GuardLimits {
        GuardLimits {
            // The workers have the other half.
            threads: std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)),
            // Some ten seconds of work for one thread, at ten milliseconds a text.
            queue_max: 1_024,
            // Twice the largest JSON body, and some.
            queue_bytes_max: 64 * 1024 * 1024,
            // Half a second of one thread: six thousand words in messages, three thousand of one long text.
            windows_max: 64,
            // 2.1 MB.
            remembered_max: extract::MEMORY_SLOTS,
            read_time_max: Duration::from_secs(10),
            // Five windows: what most requests need, and less than anybody notices beside the model's time.
            answer_wait_max: Duration::from_millis(50),
        }
    }
}

/// Times, each with what happens after it.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From a request's first byte to the end of its header block; then 408.
    pub header_read: Duration,
    /// Between two requests of one connection; then it is closed.
    pub keep_alive: Duration,
    /// Between two chunks of a request body; then 408.
    pub body_idle: Duration,
    /// For a whole request body that is read into memory; then 408.
    pub body_total: Duration,
    /// How long a client may leave what is written to it unread; then its connection is cut.
    pub client_stall: Duration,
    /// For a connection to the upstream, TLS included; then 502.
    pub upstream_connect: Duration,
    /// From sending the request to the first byte of the answer (the SDKs wait 10 minutes); then 504.
    pub upstream_first_byte: Duration,
    /// Between two chunks of an answer; then the stream ends in an error.
    pub upstream_idle: Duration,
    /// How long an answer is read on after its client left; then the upstream call is cut.
    pub read_on: Duration,
    /// How long an idle upstream connection is kept for the next request.
    pub upstream_pool_idle: Duration,
    /// How long streams in flight may run on after a stop was asked for.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            header_read: Duration::from_secs(15),
            keep_alive: Duration::from_secs(120),
            body_idle: Duration::from_secs(30),
            body_total: Duration::from_secs(300),
            client_stall: Duration::from_secs(120),
            upstream_connect: Duration::from_secs(10),
            upstream_first_byte: Duration::from_secs(600),
            upstream_idle: Duration::from_secs(300),
            read_on: Duration::from_secs(180),
            upstream_pool_idle: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}

/// Where requests go.
#[derive(Debug)]
pub struct Upstream {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// Path in front of ours, without a trailing slash. It stands in for our `/v1`.
    pub base_path: String,
    /// The upstream key, sent as `Authorization: Bearer`.
    pub key: Option<Secret>,
    /// `OpenAI-Organization` towards the upstream.
    pub organization: Option<String>,
    /// `OpenAI-Project` towards the upstream.
    pub project: Option<String>,
    /// Certificate authorities trusted for `https`, beside the usual ones.
    pub tls: rustls::ClientConfig,
}

/// Why an upstream URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamUrlError {
    /// Not a URL.
    #[error("not a URL: {0}")]
    NotAUrl(#[from] http::uri::InvalidUri),
    /// Another scheme, or none.
    #[error("the URL must start with http:// or https://")]
    Scheme,
    /// Without a host.
    #[error("the URL has no host")]
    Host,
    /// With user information, which would be a secret in a URL.
    #[error("the URL must not carry a user or password")]
    UserInfo,
    /// With a query.
    #[error("the URL must not have a query")]
    Query,
}

/// Takes an upstream URL apart: scheme, authority, base path without its trailing slash.
///
/// # Errors
/// What [`UpstreamUrlError`] lists.
pub fn parse_upstream_url(url: &str) -> Result<(Scheme, Authority, String), UpstreamUrlError> {
    let parts = url.parse::<Uri>()?.into_parts();
    let scheme = parts.scheme.ok_or(UpstreamUrlError::Scheme)?;
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
        return Err(UpstreamUrlError::Scheme);
    }
    let authority = parts.authority.ok_or(UpstreamUrlError::Host)?;
    if authority.as_str().contains('@') {
        return Err(UpstreamUrlError::UserInfo);
    }
    if authority.host().is_empty() {
        return Err(UpstreamUrlError::Host);
    }
    let path = parts.path_and_query;
    if path.as_ref().is_some_and(|path| path.query().is_some()) {
        return Err(UpstreamUrlError::Query);
    }
    let base_path = path.map(|path| path.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    Ok((scheme, authority, base_path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_url_comes_apart() {
        let (scheme, authority, path) = parse_upstream_url("https://api.openai.com/v1/").expect("a good URL");
        assert_eq!((scheme.as_str(), authority.as_str(), path.as_str()), ("https", "api.openai.com", "/v1"));
        let (_, authority, path) = parse_upstream_url("http://127.0.0.1:9000").expect("a good URL");
        assert_eq!((authority.as_str(), path.as_str()), ("127.0.0.1:9000", ""));
    }

    #[test]
    fn a_bad_upstream_url_says_why() {
        for (url, word) in [
            ("api.openai.com/v1", "not a URL"),
            ("ftp://host/v1", "http://"),
            ("https://user:pw@host/v1", "user or password"),
            ("https://host/v1?x=1", "query"),
            ("", "not a URL"),
        ] {
            let error = parse_upstream_url(url).expect_err(url).to_string();
            assert!(error.contains(word), "{url}: {error}");
        }
    }
}
