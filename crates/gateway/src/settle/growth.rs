//! A stream that holds a part of its worst case, and more of it as tokens pass.
//!
//! Promise: of what may be held for it, a margin always stays ahead of what has passed: as many tokens as the operator
//! says that an upstream may still make, and bill, after it was cut. When no more can be held the stream ends with
//! `length`, as at a cap of its own, and the upstream is cut. An upstream that is seen to be further than that is a
//! defect: what passed is charged above the hold, which is alarmed.
//!
//! Left out: output that nobody sees (reasoning, hosted tools), which is why only chat completions and legacy
//! completions of models that show all they bill can grow.

use std::collections::BTreeSet;

use ledger::Hold;
use metering::tokens;
use pricing::{Bound, Nano, Table};
use serde::Deserialize;
use serde_json::{Value, json};

/// Least tokens held ahead of the margin; at 100 tokens a second a third of one.
pub(crate) const AHEAD_TOKENS_MIN: u64 = 32;

/// A stream's growth.
#[derive(Debug)]
pub(crate) struct Growth {
    /// Of the whole request, at its own cap.
    pub(crate) bound: Bound,
    pub(crate) model: String,
    /// Tokens that are held for.
    pub(crate) held_tokens: u64,
    /// Tokens that an upstream may run on after a cut.
    pub(crate) margin_tokens: u64,
    /// The most that the request may make.
    pub(crate) tokens_max: u64,
    passed: u64,
    /// Choices that have not ended.
    open: BTreeSet<u64>,
    /// The last event's data: the end is made in its likeness.
    last: Vec<u8>,
    is_over: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    #[serde(default)]
    delta: Value,
    #[serde(default)]
    text: Value,
    #[serde(default)]
    finish_reason: Value,
}

impl Growth {
    pub(crate) fn new(bound: Bound, model: &str, held_tokens: u64, margin_tokens: u64, tokens_max: u64) -> Growth {
        Growth {
            bound,
            model: model.to_owned(),
            held_tokens,
            margin_tokens,
            tokens_max,
            passed: 0,
            open: BTreeSet::new(),
            last: Vec::new(),
            is_over: false,
        }
    }

    /// Whether the stream was ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// An event passes; whether the stream may go on.
    pub(crate) fn see(&mut self, data: &[u8], hold: &Hold, table: &Table) -> bool {
        let Ok(chunk) = serde_json::from_slice::<Chunk>(data) else { return true };
        for choice in &chunk.choices {
            if choice.finish_reason.is_null() {
                self.open.insert(choice.index);
            } else {
                self.open.remove(&choice.index);
            }
            self.passed += self.tokens(&choice.delta) + self.tokens(&choice.text);
        }
        if !chunk.choices.is_empty() {
            self.last = data.to_vec();
        }
        self.grow(hold, table);
        // All that may come has come, or the margin is still ahead.
        self.is_over = !self.open.is_empty()
            && self.held_tokens < self.tokens_max
            && self.passed.saturating_add(self.margin_tokens) >= self.held_tokens;
        !self.is_over
    }

    /// Tokens of all text in a value: each piece is at least one.
    fn tokens(&self, value: &Value) -> u64 {
        match value {
            Value::String(text) if !text.is_empty() => tokens::count(&self.model, text).max(1),
            Value::Array(values) => values.iter().map(|value| self.tokens(value)).sum(),
            Value::Object(members) => {
                let is_text = |name: &str| !matches!(name, "role" | "id" | "type" | "index");
                members.iter().filter(|(name, _)| is_text(name)).map(|(_, value)| self.tokens(value)).sum()
            }
            _ => 0,
        }
    }

    /// Holds for more while there is more: twice as much ahead as is left, or else half of it, down to the least.
    fn grow(&mut self, hold: &Hold, table: &Table) {
        let ahead = |growth: &Growth| growth.held_tokens.saturating_sub(growth.passed + growth.margin_tokens);
        if self.held_tokens >= self.tokens_max || ahead(self) > AHEAD_TOKENS_MIN.max(self.held_tokens / 4) {
            return;
        }
        let mut step = self.held_tokens.max(AHEAD_TOKENS_MIN);
        while step >= AHEAD_TOKENS_MIN / 4 {
            let tokens = self.held_tokens.saturating_add(step).min(self.tokens_max);
            let more = self.cost(tokens, table).minus(self.cost(self.held_tokens, table));
            if hold.try_grow(more) {
                self.held_tokens = tokens;
                return;
            }
            step /= 2;
        }
    }

    /// The worst case with so many tokens of output.
    fn cost(&self, tokens: u64, table: &Table) -> Nano {
        let bound = Bound { text_output_tokens: tokens, ..self.bound.clone() };
        let worst = table.find(&self.model).map(|prices| prices.worst(&bound));
        worst.and_then(Result::ok).unwrap_or(Nano(u64::MAX))
    }

    /// What a cut stream is charged, if that is more than its hold: the upstream was further than its margin allows.
    pub(crate) fn above(&self, hold: &Hold, table: &Table) -> Option<Nano> {
        let cost = self.cost(self.passed.saturating_add(self.margin_tokens), table);
        (self.passed > self.held_tokens).then_some(cost).filter(|cost| *cost > hold.amount())
    }

    /// The events that end the stream: `length` for each choice, and the end.
    pub(crate) fn last_events(&self) -> Vec<u8> {
        let Ok(mut chunk) = serde_json::from_slice::<Value>(&self.last) else { return b"data: [DONE]\n\n".to_vec() };
        let is_chat = chunk["object"] == "chat.completion.chunk";
        let choice = |index: &u64| match is_chat {
            true => json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": "length"}),
            false => json!({"index": index, "text": "", "logprobs": null, "finish_reason": "length"}),
        };
        chunk["choices"] = self.open.iter().map(choice).collect();
        if let Some(members) = chunk.as_object_mut() {
            members.remove("usage");
            members.remove("obfuscation");
        }
        format!("data: {chunk}\n\ndata: [DONE]\n\n").into_bytes()
    }
}
