//! The upstream's Administration API, as far as rotating a key takes it (service accounts with their keys, and the expiry
//! of a key), and reports of usage and costs.
//!
//! Promises: one connection a call, which is closed after it, so that none keeps an admin key in its buffers; every call
//! and every answer is bounded; an error has the upstream's status and code, never its words, which may show a part of
//! a key.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keys::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::settings::Upstream;
use crate::upstream::chain;

/// Longest wait for a whole answer.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// Largest answer read; a page of a hundred service accounts has some 20 kB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Service accounts of a page.
const PAGE: usize = 100;
/// Most pages that are looked through for a name.
const PAGES_MAX: usize = 100;
/// Longest code of an error that is passed on.
const CODE_CHARS_MAX: usize = 64;

/// Why a call did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// No whole answer came: it may have been done, or not.
    #[error("the upstream's Administration API gave no answer: {0}")]
    NoAnswer(String),
    /// It refused.
    #[error("the upstream's Administration API answered {status}{}", code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Refused {
        /// The status.
        status: u16,
        /// The error's code, or its type.
        code: Option<String>,
    },
    /// It answered with something else than its document says.
    #[error("the upstream's Administration API answered with something unreadable")]
    Unreadable,
}

impl AdministrationError {
    /// Whether the same call may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            AdministrationError::NoAnswer(_) | AdministrationError::Unreadable => true,
            AdministrationError::Refused { status, .. } => matches!(status, 408 | 409 | 425 | 429 | 500..),
        }
    }
}

/// A new service account and its key.
#[derive(Debug)]
pub struct ServiceAccount {
    /// Its id.
    pub id: String,
    /// The id of its key.
    pub key_id: String,
    /// Its key.
    pub key: Secret,
}

#[derive(Deserialize)]
struct Created {
    id: String,
    api_key: CreatedKey,
}

#[derive(Deserialize)]
struct CreatedKey {
    id: String,
    value: String,
}

#[derive(Deserialize)]
struct Listed {
    data: Vec<Named>,
    #[serde(default)]
    has_more: bool,
    last_id: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

/// Makes a service account in a project of the upstream. `upstream` carries an admin key.
///
/// # Errors
/// What [`AdministrationError`] lists.
pub async fn create_service_account(
    upstream: &Upstream,
    project: &str,
    name: &str,
) -> Result<ServiceAccount, AdministrationError> {
    let path = format!("/organization/projects/{project}/service_accounts");
    let answer = call(upstream, Method::POST, &path, Some(&json!({"name": name}))).await?;
    let created: Created = serde_json::from_slice(&answer).map_err(|_| AdministrationError::Unreadable)?;
    let is_key = !created.api_key.value.is_empty() && created.api_key.value.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_key || !is_id(&created.id) || !is_id(&created.api_key.id) {
        return Err(AdministrationError::Unreadable);
    }
    Ok(ServiceAccount { id: created.id, key_id: created.api_key.id, key: Secret::new(created.api_key.value) })
}

/// Ids of the project's service accounts of this name.
///
/// # Errors
/// What [`AdministrationError`] lists.
pub async fn service_accounts_named(
    upstream: &Upstream,
    project: &str,
    name: &str,
) -> Result<Vec<String>, AdministrationError> {
    let (mut found, mut after) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let path = format!("/organization/projects/{project}/service_accounts?limit={PAGE}{after}");
        let answer = call(upstream, Method::GET, &path, None).await?;
        let page: Listed = serde_json::from_slice(&answer).map_err(|_| AdministrationError::Unreadable)?;
        let last = page.last_id.or_else(|| page.data.last().map(|account| account.id.clone()));
        found.extend(page.data.into_iter().filter(|account| account.name == name && is_id(&account.id)).map(|a| a.id));
        match last.filter(|last| page.has_more && is_id(last)) {
            Some(last) => after = format!("&after={last}"),
            None => break,
        }
    }
    Ok(found)
}

/// Deletes a service account, and its keys with it. One that is not there any more is as good as deleted.
///
/// # Errors
/// What [`AdministrationError`] lists.
pub async fn delete_service_account(
    upstream: &Upstream,
    project: &str,
    account: &str,
) -> Result<(), AdministrationError> {
    let path = format!("/organization/projects/{project}/service_accounts/{account}");
    match call(upstream, Method::DELETE, &path, None).await {
        Ok(_) | Err(AdministrationError::Refused { status: 404, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Lets a key expire.
///
/// # Errors
/// What [`AdministrationError`] lists; upstreams without this operation refuse it.
pub async fn expire_key(
    upstream: &Upstream,
    project: &str,
    key_id: &str,
    seconds: u64,
) -> Result<(), AdministrationError> {
    let path = format!("/organization/projects/{project}/api_keys/{key_id}");
    call(upstream, Method::POST, &path, Some(&json!({"expires_in_seconds": seconds}))).await.map(drop)
}

/// Whether the upstream knows the key that `upstream` carries: a new one may take a while to be known everywhere.
///
/// # Errors
/// When it gave no answer, or one that says nothing about the key.
pub async fn key_works(upstream: &Upstream) -> Result<bool, AdministrationError> {
    match call(upstream, Method::GET, "/models", None).await {
        Ok(_) => Ok(true),
        Err(AdministrationError::Refused { status: 401, .. }) => Ok(false),
        // It is known, though it may not list models.
        Err(AdministrationError::Refused { status: 403 | 429, .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// What a path (with its query) below the base address answers: reports of usage and costs.
///
/// # Errors
/// What [`AdministrationError`] lists.
pub async fn read(upstream: &Upstream, path: &str) -> Result<Bytes, AdministrationError> {
    call(upstream, Method::GET, path, None).await
}

/// An id that can stand in a path as it is.
fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 256
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

async fn call(
    upstream: &Upstream,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Bytes, AdministrationError> {
    let answer = tokio::time::timeout(CALL_TIME_MAX, exchange(upstream, method, path, body)).await;
    answer.unwrap_or_else(|_| {
        let words = format!("nothing came within {} seconds", CALL_TIME_MAX.as_secs());
        Err(AdministrationError::NoAnswer(words))
    })
}

async fn exchange(
    upstream: &Upstream,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Bytes, AdministrationError> {
    let no_answer = |error: &dyn std::error::Error| AdministrationError::NoAnswer(chain(error));
    let request = request(upstream, method, path, body).map_err(|error| no_answer(&error))?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(upstream.tls.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .retry_canceled_requests(false)
        .build::<_, Full<Bytes>>(connector);
    let answer = client.request(request).await.map_err(|error| no_answer(&error))?;
    let (status, mut body) = (answer.status(), answer.into_body());
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| no_answer(&error))?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(AdministrationError::Unreadable);
        }
    }
    if status.is_success() { Ok(bytes.freeze()) } else { Err(refused(status, &bytes)) }
}

fn request(
    upstream: &Upstream,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let url = format!("{}://{}{}{path}", upstream.scheme, upstream.authority, upstream.base_path);
    let mut request = Request::builder().method(method).uri(url);
    if let Some(key) = &upstream.key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let text = body.map(Value::to_string).unwrap_or_default();
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    request.body(Full::from(text))
}

fn refused(status: StatusCode, body: &[u8]) -> AdministrationError {
    let error = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let word = |name: &str| error["error"][name].as_str().filter(|word| word.len() <= CODE_CHARS_MAX && is_id(word));
    let code = word("code").or_else(|| word("type")).map(str::to_owned);
    AdministrationError::Refused { status: status.as_u16(), code }
}
