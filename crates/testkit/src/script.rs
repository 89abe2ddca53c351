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

/// How a transcription reports what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageShape {
    /// Tokens of audio and text.
    Tokens,
    /// Seconds.
    Duration,
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
    /// So many pieces of text for each choice, each billed as one token where nothing below says otherwise.
    pub pieces: Option<usize>,
    /// Wait between the head of a stream and its first piece, while the model reasons unseen.
    pub delay_reasoning_ms: u64,
    /// Close after the event with which so many tokens were generated.
    pub cut_after_tokens: Option<u64>,
    /// Reset the connection after that event.
    pub reset_after_tokens: Option<u64>,
    /// Stop writing after that event, and stay open.
    pub stall_after_tokens: Option<u64>,

    /// Tokens of the prompt, instead of [`crate::tokens`] of it.
    pub prompt_tokens: Option<u64>,
    /// Tokens of input that is only referred to (earlier responses, files, URLs), on top of the prompt's.
    pub hidden_input_tokens: u64,
    /// Of the prompt's tokens, those of images.
    pub input_image_tokens: u64,
    /// Of the prompt's tokens, those of audio.
    pub input_audio_tokens: u64,
    /// Of the prompt's text tokens, those read from the cache.
    pub cached_tokens: u64,
    /// Of the prompt's text tokens, those written to the cache for 30 minutes.
    pub cache_write_tokens: u64,
    /// Of the prompt's text tokens, those written to the cache for 12 hours.
    pub cache_write_12h_tokens: u64,

    /// Tokens of output in all, billed and reported, whatever is visible of them.
    pub completion_tokens: Option<u64>,
    /// The same, drawn from this range (both ends included) by the request's number.
    pub completion_tokens_range: Option<(u64, u64)>,
    /// As many visible pieces as visible tokens, instead of the usual few.
    pub piece_per_token: bool,
    /// Of the output's tokens, those of hidden reasoning.
    pub reasoning_tokens: u64,
    /// Of the output's tokens, those of audio. Speech: all of them.
    pub audio_tokens: u64,
    /// Of the output's tokens, those of a prediction that were taken.
    pub accepted_prediction_tokens: u64,
    /// Of the output's tokens, those of a prediction that were thrown away.
    pub rejected_prediction_tokens: u64,
    /// Generate more than the request's cap allows, and more images and hosted calls than it asks for.
    pub ignore_cap: bool,
    /// Tokens generated, and billed, after the client left or the answer was cut.
    pub run_on_tokens: u64,
    /// Report so much more or less than is billed.
    pub lie_usage: Option<i64>,
    /// Bill in whole although the script answers with an error, with garbage or not at all.
    pub bill_failure: bool,
    /// Responses: end as `failed`, with usage.
    pub fail_response: bool,
    /// Service tier that serves the request, instead of the one it asks for.
    pub service_tier: Option<String>,
    /// Hosted tools called: `web_search_call`, `file_search_call`, `code_interpreter_call`, and how often.
    pub hosted_tool_calls: BTreeMap<String, u64>,

    /// Usage of a transcription: `tokens` or `duration`, instead of what its model has.
    pub usage_shape: Option<UsageShape>,
    /// Audio's length.
    pub audio_ms: Option<u64>,
    /// Images made, instead of what is asked for.
    pub images: Option<u64>,
    /// Their size, where the request leaves it open.
    pub image_size: Option<String>,
    /// Their quality, where the request leaves it open.
    pub image_quality: Option<String>,
    /// Tokens of one image.
    pub tokens_per_image: Option<u64>,

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

    /// What is reported where so much is billed.
    pub(crate) fn reported(&self, billed: u64) -> u64 {
        billed.saturating_add_signed(self.lie_usage.unwrap_or(0))
    }

    /// Where an answer breaks off, in tokens generated.
    pub(crate) fn break_after_tokens(&self) -> Option<u64> {
        [self.cut_after_tokens, self.reset_after_tokens, self.stall_after_tokens].into_iter().flatten().min()
    }
}
