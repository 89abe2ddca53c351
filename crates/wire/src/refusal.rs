//! Every way to say no, in the shape of the OpenAI API: a [`Reason`], of which there is one table, and the words with it.
//!
//! Promises: a new reason asks for its row in the table. What a client reads (`message`) and what an operator reads
//! (`cause`) are separate fields: internal words reach a client only if somebody writes them there on purpose.
//! Secrets are never in either; [`masked_key`] is the only way a key is shown, and what quotes a client's words is freed
//! of whatever looks like one.
//!
//! Left out: what HTTP library carries the answer.

mod reason;

use std::borrow::Cow;
use std::fmt;

use serde_json::json;

pub use reason::{Reason, Row};

use crate::key_like::without_keys;

/// A refusal: the reason's row, with words for the client and, apart from them, words for the operator.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Which row of the table.
    pub reason: Reason,
    /// Public words. They name the mend.
    pub message: Cow<'static, str>,
    /// `error.param`: the field or header at fault.
    pub param: Option<Cow<'static, str>>,
    /// When a retry makes sense, in milliseconds: `retry-after-ms` and, rounded up, `retry-after`.
    pub retry_after_ms: Option<u64>,
    /// Another `error.code` than the row's, where one reason has finer codes (the embedded model's).
    pub code: Option<&'static str>,
    /// Words for the log only.
    pub cause: Option<String>,
}

/// Words that may quote a client's: what looks like a key in them is masked. The table's own are as they are.
fn masked(words: Cow<'static, str>) -> Cow<'static, str> {
    match words {
        Cow::Borrowed(words) => Cow::Borrowed(words),
        Cow::Owned(words) => match without_keys(&words) {
            Cow::Borrowed(_) => Cow::Owned(words),
            Cow::Owned(masked) => Cow::Owned(masked),
        },
    }
}

impl Refusal {
    /// A refusal for `reason` that tells the client `message`.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Refusal {
        let message = masked(message.into());
        Refusal { reason, message, param: None, retry_after_ms: None, code: None, cause: None }
    }

    /// Names the field or header at fault.
    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Refusal {
        self.param = Some(masked(param.into()));
        self
    }

    /// Adds words for the log.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Refusal {
        self.cause = Some(without_keys(&cause.to_string()).into_owned());
        self
    }

    /// Says when a retry makes sense.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Refusal {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.reason.row().status
    }

    /// `error.code` as sent.
    pub fn code(&self) -> Option<&'static str> {
        self.code.or(self.reason.row().code)
    }

    /// The body: `{"error":{"message","type","param","code"}}`, all four always present.
    pub fn body(&self) -> String {
        let row = self.reason.row();
        json!({"error": {"message": self.message, "type": row.kind, "param": self.param, "code": self.code()}})
            .to_string()
    }

    /// The error as the last event of a chat stream: `data: {"error":{…}}`.
    pub fn chat_event(&self) -> String {
        format!("data: {}\n\n", self.body())
    }

    /// The error as the last event of a responses stream (`ResponseErrorEvent` of the API document).
    ///
    /// `sequence_number` is the one after the last that was passed on, or 0 where it is not known.
    pub fn responses_event(&self, sequence_number: u64) -> String {
        let data = json!({
            "type": "error",
            "code": self.code(),
            "message": self.message,
            "param": self.param,
            "sequence_number": sequence_number,
        });
        format!("event: error\ndata: {data}\n\n")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// A key as it may be shown: at most its first eight and last four characters, as OpenAI's own errors do.
///
/// Anything shorter than 32 characters is not shown at all, because twelve could be half of it.
pub fn masked_key(key: &str) -> String {
    let chars: Vec<char> = key.chars().take(512).collect();
    let visible = |c: &char| if c.is_ascii_graphic() { *c } else { '?' };
    if chars.len() < 32 {
        return "*".repeat(chars.len());
    }
    let head: String = chars[..8].iter().map(visible).collect();
    let tail: String = chars[chars.len() - 4..].iter().map(visible).collect();
    format!("{head}{}{tail}", "*".repeat(12))
}
