//! Members of request bodies that refer to objects stored upstream.
//!
//! Promise: every member of the API document's request bodies that can name a stored object is here; a test of the
//! names that were judged not to be references keeps the judgement visible. The caller's own data (metadata, JSON
//! schemas, tool arguments) is not looked into.

use std::borrow::Cow;

use crate::json::{Kind, Member, Visit, Visitor};

/// Members whose string, non-empty array or object value names a stored object.
const ANY_VALUE: &[&str] = &[
    "previous_response_id",
    "conversation",
    "file_id",
    "file_ids",
    "input_file_id",
    "training_file",
    "validation_file",
    "vector_store_id",
    "vector_store_ids",
    "container_id",
    "skill_id",
    "assistant_id",
    "thread_id",
    "agent_id",
    "agent_ids",
    "environment_id",
    "environment_template_id",
    "session_id",
    "vault_id",
    "vault_ids",
    "credential_id",
    "response_id",
    "batch_id",
    "upload_id",
    "eval_id",
    "video_id",
    "tunnel_id",
];

/// Members that name a stored object only as a string; as an object they describe a new one.
const STRINGS: &[&str] = &["container"];

/// Members that name a stored object only as an object with an id; as a string they are text.
const OBJECTS: &[&str] = &["prompt", "voice"];

/// Values of `type` that make the object around them a reference.
const TYPES: &[&str] = &["\"item_reference\"", "\"file_id\"", "\"skill_reference\""];

/// The caller's own data.
const OWN_DATA: &[&str] = &["metadata", "parameters", "schema", "arguments", "headers", "variables", "logit_bias"];

/// Looks for the first reference in a body.
#[derive(Debug, Default)]
pub struct Reference<'a> {
    found: Option<Cow<'a, str>>,
}

impl<'a> Reference<'a> {
    /// The name of the first member that refers to a stored object.
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// Whether a multipart field of this name refers to a stored object.
    pub fn is_form_field(name: &str) -> bool {
        ANY_VALUE.contains(&name.strip_suffix("[]").unwrap_or(name))
    }
}

impl<'a> Visitor<'a> for Reference<'a> {
    fn enter(&mut self, member: Member<'a>) -> Visit {
        let key = &*member.key;
        let has_value = matches!(member.kind, Kind::String | Kind::Array | Kind::Object | Kind::Number);
        let is_reference = has_value && ANY_VALUE.contains(&key)
            || member.kind == Kind::String && STRINGS.contains(&key)
            || member.kind == Kind::Object && OBJECTS.contains(&key)
            || member.kind == Kind::String
                && key == "type"
                && TYPES.iter().any(|value| member.ahead.starts_with(value));
        let visit = if OWN_DATA.contains(&key) { Visit::Past } else { Visit::Into };
        if is_reference && self.found.is_none() {
            self.found = Some(member.key);
        }
        visit
    }

    fn top_level_value(&mut self, _text: &'a str) {}
}
