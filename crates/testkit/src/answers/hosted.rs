//! Hosted tools: which calls an answer makes, how they show, and what they are billed.

use serde_json::{Value, json};

use super::Request;
use crate::billing::{Quantities, unit};
use crate::script::Script;

/// Kinds of call: the word that their tools' types begin with, the prefix of their ids, and the state that a stream
/// shows between the first and the last.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("web_search_call", "web_search", "ws_", "searching"),
    ("file_search_call", "file_search", "fs_", "searching"),
    ("code_interpreter_call", "code_interpreter", "ci_", "interpreting"),
];

/// The calls of one answer.
pub(super) struct Calls {
    /// Kind and number.
    made: Vec<(&'static str, u64)>,
    search_unit: &'static str,
    /// The container that the request names; else each call has a new one.
    container: Option<String>,
}

impl Calls {
    /// What the script wants, as far as the request offers the tool and allows the number.
    ///
    /// # Panics
    /// When the script names a kind that there is not: a test that bills nothing by a slip proves nothing.
    pub(super) fn new(script: &Script, body: &Value) -> Calls {
        // A chat completion that may search does so once, before it answers.
        let searches = body["messages"].is_array() && offered(body, "web_search").is_some();
        let cap = if searches { Some(1) } else { body["max_tool_calls"].as_u64() };
        let mut left = cap.filter(|_| !script.ignore_cap).unwrap_or(u64::MAX);
        let mut wanted = script.hosted_tool_calls.clone();
        if searches {
            wanted.entry("web_search_call".to_owned()).or_insert(1);
        }
        let mut made = Vec::new();
        for (name, count) in &wanted {
            let kind = KINDS.iter().find(|(kind, _, _, _)| kind == name);
            let (kind, tool, _, _) = kind.unwrap_or_else(|| panic!("a script names hosted calls of the kind {name}"));
            if script.ignore_cap || offered(body, tool).is_some() {
                made.push((*kind, (*count).min(left)));
                left -= (*count).min(left);
            }
        }
        let container = offered(body, "code_interpreter").and_then(|tool| tool["container"].as_str());
        Calls { made, search_unit: search_unit(body), container: container.map(str::to_owned) }
    }

    /// What they are billed: a search each, a session for each container.
    pub(super) fn units(&self) -> Quantities {
        let unit = |kind: &str, count: u64| match kind {
            "web_search_call" => (self.search_unit, count),
            "file_search_call" => (unit::FILE_SEARCH, count),
            _ => (unit::CONTAINER_SESSION, if self.container.is_some() { count.min(1) } else { count }),
        };
        self.made.iter().map(|(kind, count)| unit(kind, *count)).collect()
    }

    /// The items of a response's output.
    pub(super) fn items(&self, request: &Request<'_>) -> Vec<Value> {
        let each = self.made.iter().flat_map(|(kind, count)| (0..*count).map(move |at| (*kind, at)));
        each.map(|(kind, at)| self.item(request, kind, at)).collect()
    }

    fn item(&self, request: &Request<'_>, kind: &str, at: u64) -> Value {
        let prefix = KINDS.iter().find(|(known, _, _, _)| *known == kind).map_or("", |(_, _, prefix, _)| prefix);
        let mut item = json!({"type": kind, "id": request.id(&format!("{prefix}{at}_")), "status": "completed"});
        match kind {
            "web_search_call" => item["action"] = json!({"type": "search", "query": "alpha", "queries": ["alpha"]}),
            "file_search_call" => {
                item["queries"] = json!(["alpha"]);
                item["results"] = Value::Null;
            }
            _ => {
                let container = self.container.clone().unwrap_or_else(|| request.id(&format!("cntr_{at}_")));
                item["container_id"] = json!(container);
                item["code"] = json!("7");
                item["outputs"] = json!([]);
            }
        }
        item
    }
}

/// The events that tell of a call's progress.
pub(super) fn progress(item: &Value, output_index: usize) -> Vec<Value> {
    let Some((kind, _, _, state)) = KINDS.iter().find(|(kind, _, _, _)| item["type"] == *kind) else {
        return Vec::new();
    };
    let told = |state: &str| json!({"type": format!("response.{kind}.{state}"), "item_id": item["id"], "output_index": output_index});
    ["in_progress", state, "completed"].map(told).into()
}

/// The tool of the request with a type like this; chat completions offer searches by a member or by the model's name.
fn offered<'b>(body: &'b Value, kind: &str) -> Option<&'b Value> {
    let mut tools = body["tools"].as_array().into_iter().flatten();
    let tool = tools.find(|tool| tool["type"].as_str().is_some_and(|own| own.starts_with(kind)));
    let by_model = kind == "web_search" && body["model"].as_str().is_some_and(|model| model.contains("-search"));
    let options =
        Some(&body["web_search_options"]).filter(|options| kind == "web_search" && (options.is_object() || by_model));
    tool.or(options)
}

fn search_unit(body: &Value) -> &'static str {
    match offered(body, "web_search").and_then(|tool| tool["search_context_size"].as_str()) {
        Some("low") => unit::WEB_SEARCH_LOW,
        Some("high") => unit::WEB_SEARCH_HIGH,
        _ => unit::WEB_SEARCH_MEDIUM,
    }
}
