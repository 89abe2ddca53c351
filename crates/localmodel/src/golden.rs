//! Holds the engine against references, on the real model: the ids of texts and conversations, and greedy answers.
//!
//! `golden/reference.json` was written with two independent implementations on the same model file: llama-cpp-python
//! 0.3.36 (ids, with the file's own template rendered by Jinja, and greedy answers) and a plain transformer in numpy on
//! the dequantised weights (`float`: the likeliest tokens at each step of llama.cpp's answer, each with its distance
//! from the first in logits). Engines with 8-bit activations, llama.cpp and this one, differ from it where tokens are
//! nearly tied, and only there.
//!
//! The tests here need the model: `SALLYPORT_MODEL` is its path; without it they say so on stderr and pass, unless
//! `SALLYPORT_MODEL_REQUIRED=1`.

use std::io::{self, Write};
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use crate::MODEL_SHA256;
use crate::forward::{BATCH_ROWS_MAX, Engine, Row};
use crate::kernels::Level;
use crate::local::read;
use crate::sampler::likeliest;
use crate::sequence::Language;
use crate::template::Message;
use crate::weights::Weights;

/// Context for these tests: the longest golden conversation has fewer tokens.
const CONTEXT_TOKENS: usize = 1024;

static GOLDEN: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../golden/reference.json")).expect("the golden file is JSON"));

/// The model, or `None` with a word on stderr.
fn model() -> Option<(Weights, Language)> {
    let Some(path) = std::env::var_os("SALLYPORT_MODEL") else {
        assert!(
            std::env::var("SALLYPORT_MODEL_REQUIRED").as_deref() != Ok("1"),
            "SALLYPORT_MODEL_REQUIRED=1, but SALLYPORT_MODEL is not set"
        );
        // Not by `eprintln!`, which the test harness swallows when a test passes.
        let _ = writeln!(io::stderr(), "skipped: SALLYPORT_MODEL does not name the model file");
        return None;
    };
    Some(read(Path::new(&path), MODEL_SHA256, CONTEXT_TOKENS).expect("the model loads"))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn messages(conversation: &Value) -> Vec<Message> {
    let role = |role: &str| ["system", "user", "assistant"].into_iter().find(|known| *known == role).unwrap();
    let messages = conversation["messages"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    messages
        .map(|message| Message { role: role(&text(&message["role"])), content: text(&message["content"]) })
        .collect()
}

#[test]
fn texts_and_conversations_have_the_reference_ids() {
    let Some((_, language)) = model() else { return };
    for golden in GOLDEN["texts"].as_array().unwrap() {
        let (text, mut own) = (golden["text"].as_str().unwrap(), Vec::new());
        language.tokenizer.encode(text, usize::MAX - 1, &mut own);
        assert_eq!(own, ids(&golden["ids"]), "{text:?}");
    }
    for golden in GOLDEN["conversations"].as_array().unwrap() {
        let own = language.template.encode(&language.tokenizer, &messages(golden), CONTEXT_TOKENS);
        assert_eq!(own, ids(&golden["prompt"]));
    }
}

/// Computes `prompt` in batches, then follows `answer`; gives what this engine would have said at each step.
fn follow(engine: &Engine, prompt: &[u32], answer: &[u32]) -> Vec<u32> {
    let caches = [engine.cache()];
    let all: Vec<u32> = prompt.iter().chain(&answer[..answer.len() - 1]).copied().collect();
    let rows: Vec<Row> = (0..)
        .zip(&all)
        .map(|(position, &token)| Row { slot: 0, position, token, wants_logits: position + 1 >= prompt.len() })
        .collect();
    rows.chunks(BATCH_ROWS_MAX)
        .flat_map(|rows| engine.forward(&caches, rows))
        .map(|logits| likeliest(&logits))
        .collect()
}

/// Logits that are closer than this count as a tie: twice the root mean square error that llama.cpp's logits have here.
const TIE: f64 = 0.5;
/// Ties that may fall the other way, of 427 tokens; llama.cpp has 8.
const TIES_MAX: usize = 8;

#[test]
fn greedy_answers_are_the_reference_token_for_token() {
    let Some((weights, _)) = model() else { return };
    let mut weights = Some(weights);
    for level in Level::all() {
        let engine = Engine::new(weights.take().expect("handed back"), level, CONTEXT_TOKENS, 2);
        let (mut tokens, mut ties) = (0, 0);
        // The portable kernels are slow, and equal to the others up to rounding: two conversations do.
        let count = if level == Level::PORTABLE { 2 } else { usize::MAX };
        for golden in GOLDEN["conversations"].as_array().unwrap().iter().take(count) {
            let own = follow(&engine, &ids(&golden["prompt"]), &ids(&golden["llama_cpp"]));
            for (at, token) in own.into_iter().enumerate() {
                let likely = golden["float"][at].as_array().unwrap();
                let own = likely.iter().find(|likely| likely[0] == token);
                let distance = own.map_or(f64::INFINITY, |likely| likely[1].as_f64().unwrap());
                assert!(distance < TIE, "{} kernels, token {at}: {token} among {likely:?}", level.name());
                tokens += 1;
                ties += usize::from(likely[0][0] != token);
            }
        }
        eprintln!("{} kernels: {ties} of {tokens} tokens differ, all of them ties", level.name());
        assert!(tokens > 100 && ties <= TIES_MAX, "{ties} of {tokens} tokens differ");
        weights = Some(engine.weights);
    }
}
