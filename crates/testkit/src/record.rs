//! What was received and what was sent.

use serde::Serialize;

/// Most requests kept.
pub(crate) const RECORDS_MAX: usize = 10_000;
/// Most bytes of a body kept.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One request and its answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recorded {
    /// Number of the request, from 0.
    pub number: u64,
    /// Method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Headers in their order, as they came.
    pub headers: Vec<(String, String)>,
    /// Body, as it was sent before chunking.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// The body as text, for tests over HTTP.
    pub body_text: String,
    /// Whether the body came to its end.
    pub is_whole: bool,
    /// Status sent.
    pub status: u16,
    /// Headers sent.
    pub sent_headers: Vec<(String, String)>,
    /// Body sent, before chunking.
    #[serde(skip)]
    pub sent_body: Vec<u8>,
    /// Whether the whole answer was written.
    pub is_answered: bool,
    /// Whether the client was seen to leave before that.
    pub client_left: bool,
}

impl Recorded {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
