//! Takes out of the answer what the gate put into the request.
//!
//! Promise: the client sees what the upstream would have sent without it: no usage that it did not ask for, and the caps
//! that it sent, not those that the gate set, in every event.

use std::ops::Range;

use metering::amend::{self, Edit};
use wire::endpoint::Meter;

/// What is to be undone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Undo {
    /// `include_usage` was added: the extra chunk goes, and so does `usage: null` in every other.
    pub(crate) usage: bool,
    /// Members that the answer echoes, with what the caller sent.
    pub(crate) echoes: Vec<Edit>,
}

/// What becomes of an event's data.
pub(crate) enum Change {
    /// It passes.
    None,
    /// The event is not sent.
    Drop,
    /// A part of the data is not sent.
    Cut(Range<usize>),
    /// Other data.
    To(Vec<u8>),
}

/// Members that the gate may set and that answers echo.
const ECHOED: [&str; 2] = ["max_output_tokens", "max_tool_calls"];

/// What the caller sent, as [`Undo::written`] wrote it down.
pub(crate) fn read(written: &str) -> Vec<Edit> {
    let Ok(members) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(written) else {
        return Vec::new();
    };
    let edit = |key: &'static str| Some(Edit { key, value: members.get(key)?.to_string() });
    ECHOED.into_iter().filter_map(edit).collect()
}

impl Undo {
    /// What answers echo, to be written down: a JSON object. `None` where there is nothing.
    pub(crate) fn written(&self) -> Option<String> {
        if self.echoes.is_empty() {
            return None;
        }
        let members: Vec<_> = self.echoes.iter().map(|edit| format!("\"{}\":{}", edit.key, edit.value)).collect();
        Some(format!("{{{}}}", members.join(",")))
    }

    /// Whether a whole answer may have to be changed.
    pub(crate) fn changes_answers(&self) -> bool {
        !self.echoes.is_empty()
    }

    /// Whether events may have to be changed.
    pub(crate) fn concerns_events(&self) -> bool {
        self.usage || !self.echoes.is_empty()
    }

    /// An answer as it would be; `None` where it is that already.
    pub(crate) fn answer(&self, json: &[u8]) -> Option<Vec<u8>> {
        if self.echoes.is_empty() { None } else { amend::put_back(json, &self.echoes) }
    }

    /// What becomes of an event.
    pub(crate) fn event(&self, meter: Meter, data: &[u8]) -> Change {
        if self.usage && memchr::memmem::find(data, b"\"usage\"").is_some() {
            return match amend::without_null(data, "usage") {
                Some(data) => Change::To(data),
                None if is_usage_chunk(data) => Change::Drop,
                None => Change::None,
            };
        }
        if meter == Meter::Responses && !self.echoes.is_empty() {
            return amend::put_back_inside(data, "response", &self.echoes).map_or(Change::None, Change::To);
        }
        Change::None
    }
}

/// The extra chunk: no choices, and usage.
fn is_usage_chunk(data: &[u8]) -> bool {
    use wire::json::{Kind, TopLevel};
    TopLevel::read(data).is_ok_and(|members| {
        matches!(members.member("choices"), Some((Kind::EmptyArray, _)))
            && matches!(members.member("usage"), Some((Kind::Object, _)))
    })
}
