//! Which headers pass, in both directions. Everything passes but what this file names: these are the documented
//! exceptions to "untouched" (docs/reference/headers.md).
//!
//! Promises: the client's key and whatever else holds it stay here; the upstream's account is not told to clients;
//! connection-level headers end at each side of the gate.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use wire::refusal::{Reason, Refusal};

/// `x-request-id`: on every answer, the gate's own.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The upstream's `x-request-id`, for questions to its support.
pub(crate) const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-sallyport-upstream-request-id");
/// `OpenAI-Organization`.
pub(crate) const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
/// `OpenAI-Project`.
pub(crate) const PROJECT: HeaderName = HeaderName::from_static("openai-project");
/// Tells SDKs whether a retry makes sense.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Milliseconds until a retry makes sense.
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Connection-level in both directions (RFC 9110, 7.6.1), and framing, which the library writes itself.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Request headers that end at the gate.
fn stays_here(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            "authorization"
                | "api-key"
                | "x-api-key"
                | "cookie"
                | "host"
                | "content-length"
                | "expect"
                | "forwarded"
                | "via"
                | "x-real-ip"
                | "openai-organization"
                | "openai-project"
        )
        || name.starts_with("x-stainless-")
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-sallyport-")
}

/// What goes upstream of the request's headers.
///
/// `secret` is the client's key: a header that holds it anywhere stays here. With `identity` the upstream is asked
/// not to encode its answer, because the gate reads it.
pub(crate) fn upstream_request(client: &HeaderMap, secret: &str, identity: bool) -> HeaderMap {
    let named = connection_names(client);
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    for (name, value) in client {
        let word = name.as_str();
        if stays_here(word) || named.iter().any(|named| named.eq_ignore_ascii_case(word)) || holds(value, secret) {
            continue;
        }
        if identity && name == header::ACCEPT_ENCODING {
            continue;
        }
        headers.append(name.clone(), value.clone());
    }
    if identity {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers
}

/// Whether the value holds the secret.
pub(crate) fn holds(value: &HeaderValue, secret: &str) -> bool {
    !secret.is_empty()
        && value.len() >= secret.len()
        && memchr::memmem::find(value.as_bytes(), secret.as_bytes()).is_some()
}

/// Headers that `Connection` names: connection-level as well.
fn connection_names(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty() && !is_common_option(name)).map(str::to_owned).collect()
}

fn is_common_option(name: &str) -> bool {
    name.eq_ignore_ascii_case("keep-alive") || name.eq_ignore_ascii_case("close")
}

/// Takes out of an upstream's answer what does not come back: connection-level headers, its cookies, its account.
///
/// Returns the upstream's request id.
pub(crate) fn clean_answer(headers: &mut HeaderMap, upstream_secret: Option<&str>) -> Option<HeaderValue> {
    for name in connection_names(headers) {
        if let Ok(name) = HeaderName::try_from(name) {
            headers.remove(name);
        }
    }
    let leaves = |name: &str, value: &HeaderValue| {
        !is_hop_by_hop(name)
            && !matches!(name, "set-cookie" | "alt-svc" | "openai-organization" | "openai-project")
            && !name.starts_with("x-sallyport-")
            // Which pages may read an answer is the gate's to say.
            && !name.starts_with("access-control-")
            && upstream_secret.is_none_or(|secret| !holds(value, secret))
    };
    let stay: Vec<HeaderName> =
        headers.iter().filter(|(name, value)| !leaves(name.as_str(), value)).map(|(name, _)| name.clone()).collect();
    for name in stay {
        headers.remove(name);
    }
    headers.remove(REQUEST_ID)
}

/// Puts on an answer how full the gate's limits are, and what stages noted.
pub(crate) fn note(headers: &mut HeaderMap, rates: Option<&rates::Gauges>, notes: &[(&'static str, String)]) {
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    // They stand in the place of the upstream's, which tell of the operator's account.
    rates.into_iter().flat_map(rates::Gauges::headers).for_each(|(name, value)| put(name, value));
    notes.iter().for_each(|(name, value)| put(name, value.clone()));
}

/// Puts the gate's own facts on an answer.
pub(crate) fn sign_answer(
    headers: &mut HeaderMap,
    request_id: &str,
    organization: &HeaderValue,
    project: Option<&str>,
) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(ORGANIZATION, organization.clone());
    if let Some(Ok(project)) = project.map(HeaderValue::from_str) {
        headers.insert(PROJECT, project);
    }
}

/// The value of a header that may stand at most once.
///
/// # Errors
/// 400 when it stands twice or is not visible ASCII, because two readers could take different ones.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let unclear = |words: &str| {
        Refusal::new(Reason::InvalidHeaders, format!("The `{name}` header {words}. Send it once, in visible ASCII."))
            .param(name)
    };
    if values.next().is_some() {
        return Err(unclear("stands more than once"));
    }
    first.to_str().map(Some).map_err(|_| unclear("is not visible ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_client_s_key_never_goes_upstream_whatever_header_holds_it() {
        let client = map(&[
            ("authorization", "Bearer sp-proj_secret"),
            ("x-my-copy", "key=sp-proj_secret;"),
            ("openai-beta", "assistants=v2"),
            ("x-stainless-lang", "python"),
            ("connection", "x-private, keep-alive"),
            ("x-private", "1"),
            ("accept-encoding", "gzip, br"),
            ("user-agent", "OpenAI/Python"),
        ]);
        let sent = upstream_request(&client, "sp-proj_secret", true);
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "openai-beta", "user-agent"]);
        assert_eq!(sent["accept-encoding"], "identity");
        assert_eq!(upstream_request(&client, "sp-proj_secret", false)["accept-encoding"], "gzip, br");
    }

    #[test]
    fn the_upstream_s_account_and_key_never_come_back() {
        let mut answer = map(&[
            ("x-request-id", "req_upstream"),
            ("openai-organization", "org-real"),
            ("openai-project", "proj_real"),
            ("set-cookie", "__cf_bm=1"),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("x-echo", "Bearer sk-upstream"),
            ("transfer-encoding", "chunked"),
            ("x-ratelimit-limit-requests", "10"),
            ("content-type", "application/json"),
        ]);
        let id = clean_answer(&mut answer, Some("sk-upstream"));
        assert_eq!(id, Some(HeaderValue::from_static("req_upstream")));
        let mut names: Vec<&str> = answer.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-ratelimit-limit-requests"]);
    }

    #[test]
    fn a_header_that_two_readers_could_take_differently_is_refused() {
        let mut headers = map(&[("authorization", "Bearer a")]);
        assert_eq!(single(&headers, "authorization").expect("once"), Some("Bearer a"));
        headers.append("authorization", HeaderValue::from_static("Bearer b"));
        assert_eq!(single(&headers, "authorization").expect_err("twice").reason, Reason::InvalidHeaders);
        assert_eq!(single(&headers, "openai-project").expect("absent"), None);
    }
}
