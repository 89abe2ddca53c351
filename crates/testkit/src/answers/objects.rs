//! Stored objects: made by POST, read, listed and deleted by path; and a plain answer for everything else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{CREATED, Reply, Request};
use crate::Shared;
use crate::billing::{Bill, Quantities, unit};
use crate::script::Script;
use crate::tokens;

/// Most objects kept.
const OBJECTS_MAX: usize = 10_000;

/// What was made so far, by id.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    values: BTreeMap<String, Value>,
    contents: BTreeMap<String, Vec<u8>>,
}

impl Objects {
    pub(crate) fn insert(&mut self, id: &str, value: Value) {
        if self.values.len() < OBJECTS_MAX {
            self.values.insert(id.to_owned(), value);
        }
    }

    /// Marks a response as one that was not finished: what it used is not told.
    pub(crate) fn cancel(&mut self, id: &str) {
        if let Some(value) = self.values.get_mut(id) {
            value["status"] = json!("cancelled");
            value["usage"] = Value::Null;
        }
    }
}

/// Bytes that depend on a seed, for answers that are no text.
pub(super) fn noise(seed: &str, count: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0x9e37_79b9_u32, |state, byte| state.rotate_left(5) ^ u32::from(byte));
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(count)
    .collect()
}

/// Families whose POST makes an object: name in the path, prefix of ids, object type.
const FAMILIES: &[(&str, &str, &str)] = &[
    ("files", "file-", "file"),
    ("uploads", "upload_", "upload"),
    ("batches", "batch_", "batch"),
    ("vector_stores", "vs_", "vector_store"),
    ("conversations", "conv_", "conversation"),
    ("containers", "cntr_", "container"),
    ("evals", "eval_", "eval"),
    ("videos", "video_", "video"),
    ("assistants", "asst_", "assistant"),
    ("threads", "thread_", "thread"),
    ("skills", "skill_", "skill"),
    ("jobs", "ftjob-", "fine_tuning.job"),
    ("items", "msg_", "list"),
    ("parts", "part_", "upload.part"),
    ("file_batches", "vsfb_", "vector_store.files_batch"),
    ("messages", "msg_", "thread.message"),
    ("runs", "run_", "thread.run"),
    ("client_secrets", "ek_", "realtime.client_secret"),
];

/// Serves whatever has no answer of its own.
pub(super) fn serve(request: &Request<'_>, script: &Script, shared: &Shared) -> Reply {
    let segments: Vec<&str> = request.path.trim_start_matches("/v1/").split('/').collect();
    let mut state = shared.state();
    let objects = &mut state.objects;
    match (request.method, segments.as_slice()) {
        ("GET", ["models"]) => {
            let names = ["gpt-4o", "gpt-4o-mini", "gpt-5"];
            Reply::json(200, &list(names.iter().map(|name| model(name)).collect()))
        }
        ("GET", ["models", name]) => Reply::json(200, &model(name)),
        ("POST", ["responses", "input_tokens"]) => {
            let used = script.prompt_tokens.unwrap_or_else(|| tokens(&request.json()["input"].to_string()));
            Reply::json(200, &json!({"object": "response.input_tokens", "input_tokens": used}))
        }
        ("GET", [.., "content"]) => {
            let id = segments.get(segments.len() - 2).copied().unwrap_or_default();
            let content = objects.contents.get(id).cloned().unwrap_or_else(|| noise(request.path, 3_000));
            Reply::bytes(200, "application/octet-stream", content)
        }
        ("GET", ["responses", id, "input_items"]) if objects.values.contains_key(*id) => {
            Reply::json(200, &list(Vec::new()))
        }
        ("GET", [.., last]) => match objects.values.get(*last) {
            Some(value) => Reply::json(200, value),
            None if last.contains(['-', '_']) && last.bytes().any(|byte| byte.is_ascii_digit()) => {
                let words = format!("No such object: {last}");
                Reply::error(404, "invalid_request_error", None, &words)
            }
            None => Reply::json(200, &listed(objects, last)),
        },
        ("DELETE", [.., last]) => {
            objects.values.remove(*last);
            let kind =
                FAMILIES.iter().find(|(_, prefix, _)| last.starts_with(prefix)).map_or("object", |(_, _, kind)| kind);
            Reply::json(200, &json!({"id": last, "object": format!("{kind}.deleted"), "deleted": true}))
        }
        ("POST", ["uploads", id, "complete"]) => complete(request, objects, id),
        ("POST", [.., id, _action]) if objects.values.contains_key(*id) && !is_family(segments.last()) => {
            let mut value = objects.values[*id].clone();
            value["status"] = json!("cancelled");
            Reply::json(200, &value)
        }
        ("POST", [.., id]) if objects.values.contains_key(*id) => Reply::json(200, &objects.values[*id]),
        ("POST", ["videos"]) => made(request, objects, "videos").billed(video(request)),
        ("POST", _) => made(request, objects, segments.last().copied().unwrap_or_default()),
        _ => Reply::error(405, "invalid_request_error", None, "Not allowed."),
    }
}

fn is_family(name: Option<&&str>) -> bool {
    name.is_some_and(|name| FAMILIES.iter().any(|(family, _, _)| family == name))
}

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": CREATED, "owned_by": "system"})
}

fn list(data: Vec<Value>) -> Value {
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    json!({"object": "list", "first_id": id(data.first()), "last_id": id(data.last()), "has_more": false, "data": data})
}

fn listed(objects: &Objects, family: &str) -> Value {
    let prefix = FAMILIES.iter().find(|(name, _, _)| *name == family).map(|(_, prefix, _)| *prefix);
    let mine = objects.values.iter().filter(|(id, _)| prefix.is_some_and(|prefix| id.starts_with(prefix)));
    list(mine.map(|(_, value)| value.clone()).collect())
}

/// A new object of the path's family, with the members that the SDKs' types require.
fn made(request: &Request<'_>, objects: &mut Objects, family: &str) -> Reply {
    let (prefix, kind) = FAMILIES
        .iter()
        .find(|(name, _, _)| *name == family)
        .map_or(("obj_", "object"), |(_, prefix, kind)| (prefix, kind));
    let body = request.json();
    let id = request.id(prefix);
    let mut value = json!({"id": id, "object": kind, "created_at": CREATED, "status": "completed", "name": body["name"], "metadata": {}});
    let more = match family {
        "files" => {
            let content = file_part(request.body);
            let more = json!({"bytes": content.len(), "filename": "input.jsonl", "purpose": "assistants", "status": "processed"});
            objects.contents.insert(id.clone(), content);
            more
        }
        "uploads" => {
            json!({"bytes": body["bytes"], "filename": body["filename"], "purpose": body["purpose"], "status": "pending", "expires_at": CREATED + 3600})
        }
        "parts" => json!({"upload_id": request.path.split('/').nth(3)}),
        "batches" => json!({
            "endpoint": body["endpoint"], "input_file_id": body["input_file_id"], "completion_window": "24h", "status": "validating",
            "output_file_id": null, "error_file_id": null,
        }),
        "vector_stores" | "file_batches" => json!({
            "usage_bytes": 0, "last_active_at": CREATED, "vector_store_id": request.path.split('/').nth(3),
            "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0},
        }),
        "jobs" => {
            json!({"model": body["model"], "training_file": body["training_file"], "status": "queued", "result_files": [], "hyperparameters": {}})
        }
        "client_secrets" => {
            json!({"value": id, "expires_at": CREATED + 60, "session": {"type": "realtime", "id": request.id("sess_"), "object": "realtime.session"}})
        }
        "items" => {
            list(vec![json!({"id": id, "type": "message", "role": "user", "content": [], "status": "completed"})])
        }
        _ => json!({}),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    objects.insert(&id, value.clone());
    Reply::json(200, &value)
}

fn complete(request: &Request<'_>, objects: &mut Objects, id: &str) -> Reply {
    let Some(mut upload) = objects.values.get(id).cloned() else {
        return Reply::error(404, "invalid_request_error", None, "No such upload.");
    };
    let file = json!({
        "id": request.id("file-"), "object": "file", "bytes": upload["bytes"], "created_at": CREATED,
        "filename": upload["filename"], "purpose": upload["purpose"], "status": "processed",
    });
    objects.insert(file["id"].as_str().unwrap_or_default(), file.clone());
    upload["status"] = json!("completed");
    upload["file"] = file;
    objects.insert(id, upload.clone());
    Reply::json(200, &upload)
}

/// The bill of a video: by its seconds, 4 where the request does not say.
fn video(request: &Request<'_>) -> Bill {
    let body = request.json();
    let field = |name: &str| request.field(&body, name);
    let seconds = field("seconds").and_then(|seconds| seconds.parse::<u64>().ok()).unwrap_or(4);
    Bill {
        path: request.path.to_owned(),
        model: field("model").unwrap_or_else(|| "sora-2".to_owned()),
        tier: "default".to_owned(),
        input: Quantities::from([(unit::VIDEO_MS, seconds.saturating_mul(1_000))]),
        ..Bill::default()
    }
}

/// The content of the part that has a file name.
pub(super) fn file_part(body: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memmem::find(body, b"filename=") else { return Vec::new() };
    let Some(start) = memchr::memmem::find(&body[at..], b"\r\n\r\n").map(|start| at + start + 4) else {
        return Vec::new();
    };
    let boundary = body.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let end = memchr::memmem::find(&body[start..], boundary).map_or(body.len(), |end| start + end.saturating_sub(2));
    body[start..end].to_vec()
}
