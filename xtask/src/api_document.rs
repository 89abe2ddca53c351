//! Names in the API document's request bodies that look like references to stored objects.
//!
//! Promise: each such name of the data plane is in one of the two judged lists of [`wire::endpoint`], or it is named
//! here. Left out: names that do not look like references; those come up when an operation's row is written.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result};
use serde_json::Value;
use wire::endpoint::{Form, NOT_REFERENCES, OWN_DATA, Opens, REFERENCES, rows};

/// Ends of names that refer to something.
const ENDINGS: &[&str] = &["_id", "_ids", "_file", "_files"];

/// Whole names that do.
const NAMES: &[&str] = &["conversation", "container", "file", "files", "id"];

/// Deepest nesting of schemas that is followed. The document needs about 20.
const DEPTH_MAX: usize = 64;

/// The names that nobody has judged yet, each with an operation that has it.
///
/// # Errors
/// When the document is not YAML or has no paths.
pub(crate) fn unjudged_names(document: &str) -> Result<Vec<String>> {
    let document: Value = serde_saphyr::from_str(document).context("the API document cannot be read")?;
    let paths = document["paths"].as_object().context("the API document has no paths")?;
    let data_paths: HashSet<&str> = rows().filter(|row| row.opens == Opens::ProjectKey).map(|row| row.path).collect();
    let mut names = Names { document: &document, seen: HashSet::new(), found: BTreeMap::new() };
    for (path, operations) in paths {
        let path = format!("/v1{path}");
        if !data_paths.contains(path.as_str()) {
            continue;
        }
        for operation in operations.as_object().into_iter().flat_map(|operations| operations.values()) {
            let body = names.resolve(&operation["requestBody"]);
            for content in body["content"].as_object().into_iter().flat_map(|content| content.values()) {
                names.walk(&content["schema"], None, &path, 0);
            }
        }
    }
    Ok(names.found.into_iter().map(|(name, path)| format!("{path}: nobody has judged the member `{name}`")).collect())
}

struct Names<'d> {
    document: &'d Value,
    /// Schemas that were looked into, each once for every name that holds it.
    seen: HashSet<(&'d str, Option<&'d str>)>,
    found: BTreeMap<String, String>,
}

impl<'d> Names<'d> {
    fn resolve(&self, schema: &'d Value) -> &'d Value {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).unwrap_or(&Value::Null),
            None => schema,
        }
    }

    fn walk(&mut self, schema: &'d Value, holder: Option<&'d str>, path: &str, depth: usize) {
        if let Some(reference) = schema["$ref"].as_str()
            && !self.seen.insert((reference, holder))
        {
            return;
        }
        if depth > DEPTH_MAX {
            return;
        }
        let schema = self.resolve(schema);
        for key in ["allOf", "anyOf", "oneOf"] {
            for part in schema[key].as_array().into_iter().flatten() {
                self.walk(part, holder, path, depth + 1);
            }
        }
        for (name, value) in schema["properties"].as_object().into_iter().flatten() {
            if is_unjudged(name, holder) {
                // Other names mean the same wherever they stand.
                let holder = holder.filter(|_| name == "id");
                let shown = holder.map_or_else(|| name.clone(), |holder| format!("{holder}.{name}"));
                self.found.entry(shown).or_insert_with(|| path.to_owned());
            }
            if !OWN_DATA.contains(&name.as_str()) {
                self.walk(value, Some(name), path, depth + 1);
            }
        }
        if schema["items"].is_object() {
            self.walk(&schema["items"], holder, path, depth + 1);
        }
    }
}

/// Holders whose `id` was judged to be no reference: ids of tool calls and safety checks within the conversation.
const HOLDERS: &[&str] = &["acknowledged_safety_checks", "pending_safety_checks", "tool_calls"];

fn is_unjudged(name: &str, holder: Option<&str>) -> bool {
    let looks_like_one = NAMES.contains(&name) || ENDINGS.iter().any(|ending| name.ends_with(ending));
    if name == "id" {
        // An id refers to what its holder names.
        let is_judged = |holder: &str| {
            HOLDERS.contains(&holder) || REFERENCES.iter().any(|(known, form)| *known == holder && *form != Form::Text)
        };
        return !holder.is_some_and(is_judged);
    }
    looks_like_one && !NOT_REFERENCES.contains(&name) && !REFERENCES.iter().any(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_are_found_through_references_and_variants() {
        let document = r##"
paths:
  /files:
    post:
      requestBody:
        content:
          multipart/form-data:
            schema:
              properties:
                file_id: {type: string}
                gadget_id: {type: string}
                metadata:
                  properties:
                    gizmo_id: {type: string}
  /organization/projects:
    post:
      requestBody: {content: {application/json: {schema: {properties: {project_id: {type: string}}}}}}
  /responses:
    post:
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Body"}}}}
components:
  schemas:
    Body:
      anyOf:
        - properties:
            prompt: {properties: {id: {type: string}}}
            input: {type: array, items: {$ref: "#/components/schemas/Body"}}
        - properties:
            gizmo: {properties: {id: {type: string}}}
"##;
        assert_eq!(
            unjudged_names(document).unwrap(),
            [
                "/v1/files: nobody has judged the member `gadget_id`",
                "/v1/responses: nobody has judged the member `gizmo.id`",
            ]
        );
        assert!(unjudged_names("a: [").is_err());
        assert!(unjudged_names("a: b").is_err());
    }
}
