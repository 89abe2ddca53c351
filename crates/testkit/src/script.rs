//! What a test can tell the upstream to do wrong.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// An encoding applied whether it was asked for or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// gzip
    Gzip,
    /// deflate (zlib)
    Deflate,
    /// brotli
    Br,
    /// A name that nobody knows.
    Unknown,
}

/// Instructions for the next requests that match. All fields have a harmless default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// Only requests with this method.
    pub method: Option<String>,
    /// Only requests whose path begins so.
    pub path: Option<String>,
    /// How many requests; 0 means one.
    pub times: u32,

    /// Status instead of the usual.
    pub status: Option<u16>,
    /// Body instead of the usual: a string as it is, anything else as JSON.
    pub body: Option<Value>,
    /// Headers on top.
    pub headers: BTreeMap<String, String>,

    /// Wait before the head.
    pub delay_head_ms: u64,
    /// Wait before each chunk.
    pub delay_chunk_ms: u64,
    /// Write the body in pieces of so many bytes, each flushed.
    pub chunk_bytes: usize,
    /// Close after so many bytes of the body, though more was announced.
    pub cut_after: Option<usize>,
    /// Reset the connection after so many bytes of the body.
    pub reset_after: Option<usize>,
    /// Stop writing after so many bytes of the body, and stay open.
    pub stall_after: Option<usize>,
    /// Close before the head.
    pub disconnect: bool,
    /// Send something that is not HTTP.
    pub garbage: bool,
    /// End the body by closing, without a length.
    pub until_close: bool,
    /// Answer as HTTP/1.0 does.
    pub http10: bool,
    /// Send a `103 Early Hints` first.
    pub informational: bool,
    /// Headers of this many bytes on top.
    pub huge_headers_bytes: usize,

    /// Events with CR LF line ends.
    pub crlf: bool,
    /// A comment before each event.
    pub comments: bool,
    /// One more event with this much data in the middle.
    pub big_event_bytes: usize,
    /// No `data: [DONE]`.
    pub no_done: bool,
    /// No usage in the answer.
    pub no_usage: bool,
    /// So many pieces of text in a stream.
    pub pieces: Option<usize>,

    /// Encode the body.
    pub encoding: Option<Encoding>,
    /// A body of this many zeros, encoded.
    pub bomb_bytes: usize,
    /// Put the key that was received into a header and the body.
    pub echo_key: bool,
}

impl Script {
    /// Whether the script is meant for this request.
    pub(crate) fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_deref().is_none_or(|start| path.starts_with(start))
    }
}
