//! Browsers: by which signs a request shows that it comes from one, and what is answered across origins.
//!
//! Promises: a long-lived key that comes with a sign is refused (`authenticate`); the answer to a preflight, and the
//! headers that let a page read an answer, are given to origins only that a live client secret is bound to, never with
//! credentials, and name that origin alone. Node's own fetch sends `Sec-Fetch-Mode` and `Accept-Language: *`: neither is
//! a sign.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, REFERER, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use wire::refusal::{Reason, Refusal};

use crate::alarms::AlarmKind;
use crate::answer::Answer;
use crate::gate::Gate;
use crate::headers::single;
use crate::record::{Record, client_text};

/// How long a browser may remember the answer to a preflight, seconds: shorter than most client secrets live.
const PREFLIGHT_SECONDS: &str = "60";
/// Headers that pages may read beside the few that they always may.
const EXPOSED: &str = "x-request-id, openai-processing-ms, openai-version, retry-after, retry-after-ms, \
     x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, \
     x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens, x-should-retry, \
     x-sallyport-verdict, x-sallyport-spend-warning";
/// Longest list of headers that a preflight may ask for.
const ASKED_HEADERS_BYTES_MAX: usize = 4_096;

/// What gives a browser away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Origin,
    SecFetchSite,
    SecFetchDest,
    Referer,
}

impl Sign {
    /// The header.
    pub(crate) const fn header(self) -> &'static str {
        match self {
            Sign::Origin => "Origin",
            Sign::SecFetchSite => "Sec-Fetch-Site",
            Sign::SecFetchDest => "Sec-Fetch-Dest",
            Sign::Referer => "Referer",
        }
    }
}

/// The first sign of a browser.
pub(crate) fn sign(headers: &HeaderMap) -> Option<Sign> {
    if headers.contains_key(ORIGIN) {
        return Some(Sign::Origin);
    }
    if headers.contains_key("sec-fetch-site") {
        return Some(Sign::SecFetchSite);
    }
    if headers.contains_key("sec-fetch-dest") {
        return Some(Sign::SecFetchDest);
    }
    // Tools send words of their own in it; a page's is the page's address.
    let is_page = |value: &HeaderValue| {
        let start = |scheme: &[u8]| {
            value.as_bytes().get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        start(b"http://") || start(b"https://")
    };
    headers.get_all(REFERER).iter().any(is_page).then_some(Sign::Referer)
}

/// The web origin that a request names: by `Origin`, or, where a same-origin page sends none, by `Referer`.
///
/// # Errors
/// 400 for one that stands twice.
pub(crate) fn origin(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if let Some(origin) = single(headers, "origin")? {
        return Ok(Some(origin.to_ascii_lowercase()));
    }
    let Some(referer) = single(headers, "referer")? else { return Ok(None) };
    let Some((scheme, rest)) = referer.split_once("://") else { return Ok(None) };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Ok(Some(format!("{scheme}://{host}").to_ascii_lowercase()))
}

/// Answers a preflight; `None` for any other request.
///
/// # Errors
/// 403 for an origin that no live client secret is bound to.
pub(crate) fn preflight(gate: &Gate, head: &Parts, record: &Record) -> Result<Option<Response<Answer>>, Refusal> {
    if head.method != Method::OPTIONS || !head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return Ok(None);
    }
    let origin = single(&head.headers, "origin")?.unwrap_or_default();
    let lower = origin.to_ascii_lowercase();
    let now = gate.clock.unix_seconds();
    let asked = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
    let is_named =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let asked = asked.and_then(|asked| asked.to_str().ok()).filter(|asked| asked.len() <= ASKED_HEADERS_BYTES_MAX);
    let names: Vec<&str> = asked.unwrap_or_default().split(',').map(str::trim).filter(is_named).collect();
    let allowed = HeaderValue::from_str(origin).ok().filter(|_| gate.client_secrets.has_origin(&lower, now));
    let Some(allowed) = allowed else {
        record.alarm(AlarmKind::UnknownOrigin, None, Some(client_text(origin.as_bytes())));
        let words = "No client secret is bound to this web origin. Have your server make one (POST /v1/sallyport/client_secrets with this 'origin') before its page calls the gate; never put a project key into a page.";
        return Err(Refusal::new(Reason::BrowserKey, words));
    };
    let mut response = Response::new(Answer::whole(Vec::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    headers.insert(VARY, HeaderValue::from_static("origin, access-control-request-headers"));
    Ok(Some(response))
}

/// Lets the page of a client secret's origin read an answer.
pub(crate) fn let_read(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn browsers_are_told_from_other_clients() {
        for (pairs, expected) in [
            (&[("origin", "null")][..], Some(Sign::Origin)),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], Some(Sign::SecFetchSite)),
            (&[("sec-fetch-dest", "empty")], Some(Sign::SecFetchDest)),
            (&[("referer", "HTTPS://app.example/page")], Some(Sign::Referer)),
            // Node's own fetch.
            (&[("sec-fetch-mode", "cors"), ("accept-language", "*"), ("user-agent", "node")], None),
            (&[("referer", "my batch job")], None),
            (&[("user-agent", "Mozilla/5.0")], None),
            (&[], None),
        ] {
            assert_eq!(sign(&map(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn an_origin_is_read_from_its_header_or_from_the_page_s_address() {
        for (pairs, expected) in [
            (&[("origin", "https://App.Example")][..], Some("https://app.example")),
            (&[("referer", "https://app.example:8443/a?b#c")], Some("https://app.example:8443")),
            (&[("origin", "null"), ("referer", "https://app.example/")], Some("null")),
            (&[("referer", "words")], None),
            (&[], None),
        ] {
            assert_eq!(origin(&map(pairs)).expect("once").as_deref(), expected, "{pairs:?}");
        }
        let mut twice = map(&[("origin", "https://a.example")]);
        twice.append(ORIGIN, HeaderValue::from_static("https://b.example"));
        assert!(origin(&twice).is_err());
    }
}
