//! The text-bearing fields of request bodies, from the API's documents.
//!
//! Promises: every string, array of integers and free-form value that a request body of the data plane may hold by the
//! API document (or by the official SDK's types, for operations newer than the document) is a line under its
//! operation; the same documents give the same file. What a schema says that holds itself is written once, as a loop.
//!
//! Left out: what the fields mean. That is for the rules in `crates/extract`, whose tests fail on a field without one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use wire::endpoint::{Endpoint, Opens, RequestBody, rows};

/// The checked-in list, from the root of the repository.
const FILE: &str = "crates/extract/src/fields.txt";

const HEADER: &str = "\
# What request bodies may hold, by operation: written by `cargo xtask fields`, not by hand.
# path kind; [] is an element, * any member, ** anything below.
";

/// Deepest nesting of schemas that is followed. The document needs about 20.
const DEPTH_MAX: usize = 64;

/// Writes the list.
///
/// # Errors
/// When a document cannot be read or the file not be written.
pub(crate) fn write(root: &Path, document: &str, newer: &str) -> Result<()> {
    let path = root.join(FILE);
    std::fs::write(&path, list(document, newer)?).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Fails where the list differs from what would be written.
///
/// # Errors
/// When it does, or something cannot be read.
pub(crate) fn check(root: &Path, document: &str, newer: &str) -> Result<()> {
    let path = root.join(FILE);
    let present = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    if present == list(document, newer)? { Ok(()) } else { bail!("{FILE} differs: run `cargo xtask fields`") }
}

/// Fields by operation.
type Operations = BTreeMap<String, BTreeSet<(String, String)>>;

fn list(document: &str, newer: &str) -> Result<String> {
    let document: Value = serde_saphyr::from_str(document).context("the API document cannot be read")?;
    let newer: Value = serde_json::from_str(newer).context("the list of newer operations cannot be read")?;
    let mut operations = Operations::new();
    of_document(&document, &mut operations)?;
    of_newer(&newer, &mut operations)?;
    let mut text = HEADER.to_owned();
    for (operation, fields) in operations.iter().filter(|(_, fields)| !fields.is_empty()) {
        text.push_str(&format!("\n{operation}\n"));
        for (path, kind) in fields {
            text.push_str(&format!("  {path} {kind}\n"));
        }
    }
    Ok(text)
}

fn is_data(method: &str, path: &str) -> bool {
    let is_meant = |row: &Endpoint| row.path == path && row.method.as_str() == method;
    rows().any(|row| row.opens == Opens::ProjectKey && row.request != RequestBody::Empty && is_meant(row))
}

fn of_document(document: &Value, operations: &mut Operations) -> Result<()> {
    let paths = document["paths"].as_object().context("the API document has no paths")?;
    for (path, methods) in paths {
        // Beta variants of an operation share its path, and so its fields.
        let path = format!("/v1{}", path.split('?').next().unwrap_or_default());
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let method = method.to_ascii_uppercase();
            if !is_data(&method, &path) {
                continue;
            }
            let mut fields = Fields { document, found: BTreeSet::new() };
            let body = fields.resolve(&operation["requestBody"]).0;
            for content in body["content"].as_object().into_iter().flat_map(|content| content.values()) {
                fields.walk(&content["schema"], "", &BTreeMap::new(), 0);
            }
            operations.entry(format!("{method} {path}")).or_default().extend(fields.found);
        }
    }
    Ok(())
}

/// Operations that the document does not have, as far as the list tells their bodies.
fn of_newer(newer: &Value, operations: &mut Operations) -> Result<()> {
    for operation in newer["operations"].as_array().context("the list has no operations")? {
        let (method, path) = (operation["method"].as_str(), operation["path"].as_str());
        let (method, path) = (method.context("an operation has no method")?, path.context("an operation has no path")?);
        if !is_data(method, path) || operation["params"].is_null() {
            continue;
        }
        let schema = &operation["params"];
        let mut fields = Fields { document: schema, found: BTreeSet::new() };
        fields.walk(schema, "", &BTreeMap::new(), 0);
        // Parameters of the call that stand in its path.
        fields.found.retain(|(field, _)| !path.contains(&format!("{{{field}}}")));
        operations.entry(format!("{method} {path}")).or_default().extend(fields.found);
    }
    Ok(())
}

struct Fields<'d> {
    document: &'d Value,
    found: BTreeSet<(String, String)>,
}

impl<'d> Fields<'d> {
    /// What a schema stands for, and the reference that it was.
    fn resolve(&self, schema: &'d Value) -> (&'d Value, Option<&'d str>) {
        match schema["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap_or_default();
                (self.document.pointer(pointer).unwrap_or(&Value::Null), Some(reference))
            }
            None => (schema, None),
        }
    }

    /// `open` has the references that led here, each with the path at which it stood.
    fn walk(&mut self, schema: &'d Value, path: &str, open: &BTreeMap<&'d str, String>, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let (schema, reference) = self.resolve(schema);
        let mut open = open.clone();
        if let Some(reference) = reference {
            if let Some(above) = open.get(reference) {
                if above != path {
                    self.found.insert((format!("{path}.**"), "any".to_owned()));
                }
                return;
            }
            open.insert(reference, path.to_owned());
        }
        if !path.is_empty() {
            self.note(schema, path);
        }
        for part in ["allOf", "anyOf", "oneOf"].iter().flat_map(|key| schema[*key].as_array().into_iter().flatten()) {
            self.walk(part, path, &open, depth + 1);
        }
        if schema["items"].is_object() {
            self.walk(&schema["items"], &format!("{path}[]"), &open, depth + 1);
        }
        let dot = if path.is_empty() { "" } else { "." };
        for (name, value) in schema["properties"].as_object().into_iter().flatten() {
            self.walk(value, &format!("{path}{dot}{name}"), &open, depth + 1);
        }
        let more = &schema["additionalProperties"];
        if more.as_object().is_some_and(|more| !more.is_empty()) {
            self.walk(more, &format!("{path}{dot}*"), &open, depth + 1);
        } else if is_free(schema) {
            self.found.insert((format!("{path}{dot}**"), "any".to_owned()));
        }
    }

    /// What a schema itself is, not what is inside.
    fn note(&mut self, schema: &Value, path: &str) {
        let kind = if schema["enum"].is_array() || schema["const"].is_string() {
            let is_text = |value: &Value| value.is_string();
            let mut values = schema["enum"].as_array().into_iter().flatten();
            if schema["const"].is_string() || values.any(is_text) { "choice" } else { return }
        } else if has_type(schema, "string") {
            schema["format"].as_str().map_or("string", |format| match format {
                "binary" | "uri" | "byte" => format,
                _ => "string",
            })
        } else if has_type(schema, "array") && has_type(&schema["items"], "integer") {
            "integers"
        } else {
            return;
        };
        self.found.insert((path.to_owned(), kind.to_owned()));
    }
}

fn has_type(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::String(only) => only == name,
        Value::Array(several) => several.iter().any(|one| one == name),
        _ => false,
    }
}

/// Whether a schema allows members, or values, of which it says nothing.
fn is_free(schema: &Value) -> bool {
    let more = &schema["additionalProperties"];
    if more == &Value::Bool(true) || more.as_object().is_some_and(serde_json::Map::is_empty) {
        return true;
    }
    let says_nothing = |keys: &[&str]| keys.iter().all(|key| schema[*key].is_null());
    let members = ["properties", "allOf", "anyOf", "oneOf", "additionalProperties"];
    (has_type(schema, "object") && says_nothing(&members))
        || (schema.is_object() && says_nothing(&members) && says_nothing(&["type", "items", "enum", "const"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_listed() {
        let document = r##"
paths:
  /responses?beta=true:
    post:
      requestBody: {content: {application/json: {schema: {properties: {beta: {type: string}}}}}}
  /responses:
    post:
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Body"}}}}
  /organization/projects:
    post:
      requestBody: {content: {application/json: {schema: {properties: {name: {type: string}}}}}}
components:
  schemas:
    Body:
      properties:
        temperature: {type: number}
        input:
          anyOf:
            - {type: string}
            - {type: array, items: {$ref: "#/components/schemas/Item"}}
            - {type: array, items: {type: integer}}
        metadata: {type: object, additionalProperties: {type: string}}
        schema: {type: object}
        url: {type: [string, "null"], format: uri}
    Item:
      properties:
        type: {const: item}
        size: {enum: [1, 2]}
        items: {type: array, items: {$ref: "#/components/schemas/Item"}}
"##;
        let newer = r#"{"operations": [
            {"method": "POST", "path": "/v1/decisions", "params": {"properties": {"input": {"type": "string"}}}},
            {"method": "POST", "path": "/v1/webhook_endpoints/{webhook_endpoint_id}", "params": null},
            {"method": "POST", "path": "/v1/organization/external_keys", "params": {"properties": {"a": {"type": "string"}}}}
        ]}"#;
        let expected = "
POST /v1/decisions
  input string

POST /v1/responses
  beta string
  input integers
  input string
  input[].items[].** any
  input[].type choice
  metadata.* string
  schema.** any
  url uri
";
        assert_eq!(list(document, newer).unwrap().strip_prefix(HEADER), Some(expected));
        assert!(list("a: [", "{}").is_err());
        assert!(list("a: b", "{}").is_err());
        assert!(list(document, "{}").is_err());
    }
}
