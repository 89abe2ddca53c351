//! What an answer says, where the request gives its shape: structured outputs and tool calls.

use serde_json::{Value, json};

use super::text;
use super::usage::Output;
use crate::tokens;

/// What an answer says.
pub(super) enum Content {
    /// Pieces of text.
    Words,
    /// This text.
    Fixed(String),
    /// A call of the caller's function.
    Call {
        /// The function.
        name: String,
        /// Its arguments, as JSON in a text.
        arguments: String,
    },
}

impl Content {
    /// What a request with this schema for its answer gets.
    pub(super) fn new(body: &Value, schema: &Value, is_json: bool) -> Content {
        match tool_call(body) {
            Some((name, arguments)) => Content::Call { name, arguments },
            None if schema.is_object() => Content::Fixed(instance(schema, schema).to_string()),
            None if is_json => Content::Fixed("{}".to_owned()),
            None => Content::Words,
        }
    }

    /// Tokens of one choice with so many pieces.
    pub(super) fn tokens(&self, pieces: usize) -> u64 {
        match self {
            Content::Words => tokens(&text(pieces)),
            Content::Fixed(text) => tokens(text),
            Content::Call { arguments, .. } => tokens(arguments),
        }
    }

    /// The reason for a choice's end.
    pub(super) fn finish(&self, output: &Output) -> &'static str {
        match self {
            _ if output.is_cut => "length",
            Content::Call { .. } => "tool_calls",
            _ => "stop",
        }
    }
}

/// The smallest instance of a JSON schema, as far as structured outputs use them.
fn instance(schema: &Value, root: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).cloned().unwrap_or(Value::Null);
        return instance(&target, root);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema["anyOf"].as_array().and_then(|schemas| schemas.first()) {
        return instance(first, root);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            members
                .map(|(name, schema)| (name.clone(), instance(schema, root)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        "array" => json!([instance(&schema["items"], root)]),
        "string" => json!("alpha"),
        "integer" | "number" => json!(7),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

/// The tool call that a request insists on, or that its only tool suggests.
fn tool_call(body: &Value) -> Option<(String, String)> {
    let tools = body["tools"].as_array()?;
    let wanted = body["tool_choice"]["function"]["name"].as_str().or_else(|| body["tool_choice"]["name"].as_str());
    if wanted.is_none() && body["tool_choice"] != "required" {
        return None;
    }
    let function = |tool: &Value| if tool["function"].is_object() { tool["function"].clone() } else { tool.clone() };
    let tool = tools.iter().map(function).find(|tool| wanted.is_none_or(|name| tool["name"] == name))?;
    let arguments = instance(&tool["parameters"], &tool["parameters"]).to_string();
    Some((tool["name"].as_str().unwrap_or_default().to_owned(), arguments))
}
