//! GitHub's public keys, and its reports of leaked keys: read from where the operator said, kept for a bounded time,
//! looked for again when a report names a key that is not known.
//!
//! Promises: keys come from one file or one address that the configuration names; redirects are not followed; an answer is
//! bounded in size and time; nothing is asked on the data path. A refresh that fails leaves the keys in force for a day
//! ([`KEYS_AGE_SECONDS_MAX`]); after that reports are answered with 503, so that they come again. A stranger who makes up
//! identifiers causes one refresh a minute and no more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use console::Console;
use exposure::github::{KEY_IDENTIFIER_HEADER, KeySet, SIGNATURE_HEADER, Signature, Unverified};
use gateway::{ControlAnswer, SignedDelivery};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use store::Clock;
use tokio::sync::Mutex;
use wire::refusal::{Reason, Refusal};

use crate::config::GithubConfig;

/// How often the keys are read anew. GitHub asks to cache them, and for conditional requests.
const REFRESH_EVERY: Duration = Duration::from_secs(3_600);
/// How soon a failed refresh is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long keys count whose refresh fails: a day of their source being away must not cost a report.
const KEYS_AGE_SECONDS_MAX: i64 = 86_400;
/// Least seconds between two refreshes for the sake of unknown keys.
const UNKNOWN_SECONDS_MIN: i64 = 60;
/// Most bytes of a key set: some 250 keys.
const KEY_SET_BYTES_MAX: usize = 64 * 1024;
/// How long reading the keys may take: a report waits for it, and its sender for 30 seconds.
const READ_TIME_MAX: Duration = Duration::from_secs(10);

/// Keys, and when their source said so.
struct Known {
    set: KeySet,
    read_at: i64,
}

/// Where keys come from.
enum Source {
    File(PathBuf),
    Address { uri: Uri, client: Box<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>> },
}

/// What is remembered between two refreshes; held while one runs.
#[derive(Default)]
struct Refreshing {
    entity_tag: Option<HeaderValue>,
    /// When one last ran for the sake of an unknown key, and whether it worked.
    for_unknown: Option<(i64, bool)>,
}

/// GitHub's public keys.
pub(crate) struct GithubKeys {
    source: Source,
    clock: Arc<dyn Clock>,
    known: ArcSwapOption<Known>,
    refreshing: Mutex<Refreshing>,
}

impl GithubKeys {
    /// Keys from where the configuration says; nothing where it says nothing.
    ///
    /// # Errors
    /// When the configuration makes no sense.
    pub(crate) fn new(
        config: &GithubConfig,
        tls: rustls::ClientConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Arc<GithubKeys>>> {
        let source = match (&config.keys_url, &config.keys_file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => bail!("leaks.github.keys_file: keys_url is set as well; give one of them"),
            (None, Some(path)) => Source::File(path.clone()),
            (Some(url), None) => Source::Address { uri: checked(url)?, client: Box::new(client(tls)) },
        };
        let (known, refreshing) = (ArcSwapOption::empty(), Mutex::default());
        Ok(Some(Arc::new(GithubKeys { source, clock, known, refreshing })))
    }

    /// Reads the keys now and every hour, until the process ends.
    pub(crate) fn keep_fresh(self: &Arc<GithubKeys>) -> tokio::task::JoinHandle<()> {
        let keys = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let mut refreshing = keys.refreshing.lock().await;
                let is_fresh = keys.refresh(&mut refreshing).await;
                drop(refreshing);
                tokio::time::sleep(if is_fresh { REFRESH_EVERY } else { RETRY_AFTER }).await;
            }
        })
    }

    /// The keys in force, read anew if none has this identifier and that was not tried lately. Where nobody can say
    /// whether the identifier is GitHub's, because the keys could not be read just now, there are none: the report must come
    /// again, and not be refused for good.
    async fn that_may_know(&self, key_identifier: &str) -> Result<Arc<Known>, Refusal> {
        let knows = |known: &Arc<Known>| known.set.knows(key_identifier);
        if let Some(known) = self.in_force().filter(knows) {
            return Ok(known);
        }
        let mut refreshing = self.refreshing.lock().await;
        let now = self.clock.unix_seconds();
        let lately = refreshing.for_unknown.filter(|(at, _)| now.saturating_sub(*at) < UNKNOWN_SECONDS_MIN);
        let is_fresh = match lately {
            // Whoever held the lock has read them meanwhile.
            _ if self.in_force().as_ref().is_some_and(knows) => true,
            Some((_, has_worked)) => has_worked,
            None => {
                let works = self.refresh(&mut refreshing).await;
                refreshing.for_unknown = Some((now, works));
                works
            }
        };
        self.in_force().filter(|_| is_fresh).ok_or_else(|| {
            let words = "GitHub's public keys could not be read, so the report cannot be verified. Send it again later; the gate's log says why.";
            Refusal::new(Reason::SigningKeysUnavailable, words)
        })
    }

    fn in_force(&self) -> Option<Arc<Known>> {
        let now = self.clock.unix_seconds();
        self.known.load_full().filter(|known| now.saturating_sub(known.read_at) <= KEYS_AGE_SECONDS_MAX)
    }

    /// Reads the keys from their source; whether that worked.
    async fn refresh(&self, refreshing: &mut Refreshing) -> bool {
        let now = self.clock.unix_seconds();
        let before = self.known.load_full();
        let read = tokio::time::timeout(READ_TIME_MAX, self.read(refreshing, before.is_some()));
        let read = read.await.unwrap_or_else(|_| bail!("no whole answer within {} seconds", READ_TIME_MAX.as_secs()));
        let set = read.and_then(|read| match (read, &before) {
            (Some(text), before) => {
                let before = before.as_ref().map(|known| &known.set);
                KeySet::parse(&text, now, before).context("it cannot be used")
            }
            (None, Some(known)) => Ok(known.set.clone()),
            (None, None) => bail!("it is said to be unchanged, and was never read"),
        });
        match set {
            Ok(set) => {
                self.known.store(Some(Arc::new(Known { set, read_at: now })));
                true
            }
            Err(error) => {
                // What was read is not what is in force: ask for all of it the next time.
                refreshing.entity_tag = None;
                tracing::warn!("GitHub's public keys (leaks.github) could not be read: {error:#}");
                false
            }
        }
    }

    /// The key set's text; `None` where it is unchanged.
    async fn read(&self, refreshing: &mut Refreshing, is_known: bool) -> Result<Option<Bytes>> {
        let (uri, client) = match &self.source {
            Source::Address { uri, client } => (uri, client),
            Source::File(path) => {
                let text = tokio::fs::read(path).await.with_context(|| path.display().to_string())?;
                ensure!(text.len() <= KEY_SET_BYTES_MAX, "{} is over {KEY_SET_BYTES_MAX} bytes", path.display());
                return Ok(Some(text.into()));
            }
        };
        let mut request = Request::get(uri.clone())
            .header(header::USER_AGENT, concat!("sallyport/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        if let Some(tag) = refreshing.entity_tag.as_ref().filter(|_| is_known) {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let answer = client.request(request.body(Empty::new())?).await.context("the address cannot be reached")?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => return Ok(None),
            StatusCode::OK => {}
            status if status.is_redirection() => bail!("the address redirects ({status}): name the one it leads to"),
            status => bail!("the address answers {status}"),
        }
        let tag = answer.headers().get(header::ETAG).cloned();
        let body = Limited::new(answer.into_body(), KEY_SET_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
        refreshing.entity_tag = tag;
        Ok(Some(body.to_bytes()))
    }
}

/// The address of a key set. Whoever can change what comes from it can make reports: so nobody on the way may.
fn checked(url: &str) -> Result<Uri> {
    let wrong = || format!("leaks.github.keys_url: `{url}`");
    let uri = notify::checked_url(url).with_context(wrong)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    ensure!(uri.scheme_str() == Some("https") || is_here, "{}: it must begin with https://", wrong());
    Ok(uri)
}

fn client(tls: rustls::ClientConfig) -> Client<HttpsConnector<HttpConnector>, Empty<Bytes>> {
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// Holds a report against GitHub's keys, and acts on it.
///
/// # Errors
/// 501 where no keys are configured, 401 for what GitHub did not sign, 503 while its keys are not known.
pub(crate) async fn receive(keys: Option<&GithubKeys>, console: &Console, delivery: &SignedDelivery) -> ControlAnswer {
    let keys = keys.ok_or_else(|| {
        let words = "This gate takes no reports of leaked keys from GitHub. To take them, name GitHub's public keys in its configuration: leaks.github.keys_url or keys_file.";
        Refusal::new(Reason::NotServed, words)
    })?;
    let key_identifier = single(&delivery.headers, KEY_IDENTIFIER_HEADER)?;
    let signature = Signature { key_identifier, base64: single(&delivery.headers, SIGNATURE_HEADER)? };
    let known = keys.that_may_know(key_identifier).await?;
    let verified = known.set.verify(signature, &delivery.body, keys.clock.unix_seconds()).map_err(forged)?;
    let answer = console.receive_github(verified, &delivery.address.to_string()).await?;
    Ok((200, answer.into_bytes()))
}

/// A header that must stand once.
fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (None, _) => {
            let words =
                format!("The report has no '{name}' header. GitHub sends it; nobody else's reports are taken here.");
            Err(Refusal::new(Reason::InvalidSignature, words).param(name))
        }
        _ => {
            let words = format!("The '{name}' header must stand once, in visible ASCII.");
            Err(Refusal::new(Reason::InvalidSignature, words).param(name))
        }
    }
}

fn forged(error: Unverified) -> Refusal {
    let words = format!(
        "The report is not taken: {error}. Reports must be signed by GitHub over the body as it is sent; a proxy on the way must not change it."
    );
    Refusal::new(Reason::InvalidSignature, words).cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for good in
            ["https://api.github.com/meta/public_keys/secret_scanning", "http://127.0.0.1:9/x", "http://[::1]:9/"]
        {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in ["http://api.github.com/x", "http://10.0.0.1/", "http://127.0.0.1.example.com/", "ftp://x", "x"] {
            let error = format!("{:#}", checked(bad).expect_err(bad));
            assert!(error.contains("leaks.github.keys_url"), "{error}");
        }
    }
}
