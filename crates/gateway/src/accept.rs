//! What may come in at all: a head that every reader reads the same way.
//!
//! Promises: one `Host`, lengths that agree, a path without tricks (dot segments, encoded slashes, empty segments), a
//! known HTTP version; whatever else is refused with 400 before anybody is asked who they are.

use http::request::Parts;
use http::{Version, header};
use wire::refusal::{Reason, Refusal};
use wire::target::{Path, TargetError};

use crate::socket::ConnectionState;

/// A head that can be read in one way only. Only [`accept`] makes one.
pub(crate) struct Accepted<'r> {
    head: &'r Parts,
}

impl<'r> Accepted<'r> {
    /// The path as it came: still percent-encoded, without the query.
    pub(crate) fn path(&self) -> &'r str {
        self.head.uri.path()
    }

    /// The head.
    pub(crate) fn head(&self) -> &'r Parts {
        self.head
    }
}

/// Checks a request's head.
///
/// # Errors
/// 400 for what two parsers could read differently, 414 for a target over its limit.
pub(crate) fn accept<'r>(head: &'r Parts, connection: &ConnectionState) -> Result<Accepted<'r>, Refusal> {
    if head.version < Version::HTTP_2 {
        if head.headers.contains_key(header::TRANSFER_ENCODING) && !connection.is_vouched_for() {
            return Err(Refusal::new(
                Reason::InvalidHeaders,
                "The request has conflicting length headers (Content-Length together with Transfer-Encoding, or more \
                 than one Transfer-Encoding). Send one of them.",
            ));
        }
        if head.headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Refusal::new(Reason::InvalidHeaders, "The request has more than one Host header. Send one."));
        }
        if head.uri.scheme().is_some() {
            let words =
                "The request line holds a whole URL. Send the path alone, as a client does to an origin server.";
            return Err(Refusal::new(Reason::InvalidTarget, words));
        }
    }
    Path::parse(head.uri.path()).map_err(invalid_target)?;
    Ok(Accepted { head })
}

fn invalid_target(error: TargetError) -> Refusal {
    let reason = if error.is_too_long() { Reason::TargetTooLong } else { Reason::InvalidTarget };
    Refusal::new(reason, format!("The request's path cannot be accepted: {error}. Send the plain path of the API."))
}
