//! The legacy completions.

use serde_json::{Value, json};

use super::usage::{self, Input, Output};
use super::{CREATED, Event, Reply, Request, event, piece, text};
use crate::script::Script;
use crate::tokens;

/// Tokens that a completion has at most where the request has no cap: the API's default of `max_tokens`.
const CAP: u64 = 16;

/// Prompts, each as text to echo and in tokens: a string, an array of them, tokens, or arrays of tokens.
pub(super) fn inputs(value: &Value) -> Vec<(String, u64)> {
    let one = |value: &Value| match value {
        Value::Array(tokens) => (String::new(), tokens.len() as u64),
        other => (other.as_str().unwrap_or_default().to_owned(), tokens(&other.to_string())),
    };
    match value {
        Value::Array(items) if !items.first().is_some_and(Value::is_number) => items.iter().map(one).collect(),
        other => vec![one(other)],
    }
}

/// `POST /v1/completions`
pub(super) fn completion(request: &Request<'_>, script: &Script) -> Reply {
    let script = &usage::sums_only(script);
    let body = request.json();
    let prompts = inputs(&body["prompt"]);
    let each = body["n"].as_u64().unwrap_or(1).max(1);
    let drafts = body["best_of"].as_u64().unwrap_or(1).max(each) * prompts.len() as u64;
    let shown = each * prompts.len() as u64;
    let cap = body["max_tokens"].as_u64().unwrap_or(CAP);
    let input = Input::new(script, prompts.iter().map(|(_, tokens)| tokens).sum());
    let output = Output::new(request, script, (Some(cap), drafts), |pieces| drafts * tokens(&text(pieces)));
    let model = body["model"].as_str().unwrap_or_default();
    let bill = usage::bill(request, model, "default", &input, &output);
    let usage = usage::of_legacy(script, &input, &output);
    let answer = Answer { id: request.id("cmpl-"), model: body["model"].clone() };
    let echoed = |index: u64| match &body["echo"] {
        Value::Bool(true) => prompts[usize::try_from(index / each.max(1)).unwrap_or(0)].0.as_str(),
        _ => "",
    };
    let finish = if output.is_cut { json!("length") } else { json!("stop") };
    if body["stream"] == true {
        let usage = (body["stream_options"]["include_usage"] == true && !script.no_usage).then_some(usage);
        let echoes: Vec<String> = (0..shown).map(|index| echoed(index).to_owned()).collect();
        return streamed(answer, echoes, output, finish, usage).billed(bill);
    }
    let said = |index| format!("{}{}", echoed(index), text(output.pieces_of(index, drafts)));
    let choices = (0..shown).map(|index| choice(index, &said(index), &finish)).collect();
    Reply::json(200, &answer.around(choices, if script.no_usage { Value::Null } else { usage })).billed(bill)
}

fn choice(index: u64, text: &str, finish: &Value) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

struct Answer {
    id: String,
    model: Value,
}

impl Answer {
    fn around(&self, choices: Vec<Value>, usage: Value) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": CREATED, "model": self.model, "choices": choices,
            "usage": usage,
        })
    }
}

/// The events of a stream; the API streams no drafts, so every draft is shown.
fn streamed(answer: Answer, echoes: Vec<String>, output: Output, finish: Value, usage: Option<Value>) -> Reply {
    let choices = (echoes.len() as u64).max(1);
    let opening: Vec<Event> = (0_u64..)
        .zip(echoes.iter().filter(|echo| !echo.is_empty()))
        .map(|(index, echo)| event(None, &answer.around(vec![choice(index, echo, &Value::Null)], Value::Null)))
        .map(|text| Event::new(text, 0))
        .collect();
    let mut ending: Vec<String> =
        (0..choices).map(|index| event(None, &answer.around(vec![choice(index, "", &finish)], Value::Null))).collect();
    ending.extend(usage.map(|usage| event(None, &answer.around(Vec::new(), usage))));
    ending.push("data: [DONE]\n\n".to_owned());
    let said = (0..output.pieces).map(move |at| {
        let said = choice(at % choices, piece(at / choices), &Value::Null);
        Event::new(event(None, &answer.around(vec![said], Value::Null)), output.generated(at + 1))
    });
    let ending = ending.into_iter().map(move |text| Event::new(text, output.total()));
    Reply::stream(Box::new(opening.into_iter().chain(said).chain(ending)))
}
