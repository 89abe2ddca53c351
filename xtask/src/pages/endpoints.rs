//! The page of the data plane's endpoints.

use wire::endpoint::{AnswerBody, Endpoint, Keeps, Opens, RequestBody, rows};

use super::{table_head, table_row};

const INTRODUCTION: &str = "\
# Endpoints

What a project key opens: the OpenAI API's paths, a row each. A path without a row is a 404 (`unknown_url`), a method
without a row a 405. Paths under `/v1/organization`, `/v1/projects` and `/v1/sallyport` take an admin key and are
not listed here.

- **Request**: *JSON* may be absent; *form* is `multipart/form-data`; where nothing is named a body is refused.
- **Answer**: *events* is `text/event-stream`, where the request asks to stream; *bytes* is any content type.
- **Billed by**: the unit in which the API bills a call. Empty: it bills nothing.
- **Makes**: where the answer names objects that stay upstream. The gate writes down which project made them.
- **Owner of**: the object in the path that must be the caller's own while projects share one upstream account; another
  project's, or one that was not made through the gate, is a 404. *The account*: the answer shows stored objects of the
  whole account, so it is refused (`shared_upstream_account`) while projects share it. Reading a model is open to all
  unless its name begins with `ft:`.

";

/// The page's text.
pub(super) fn text() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut family = None;
    for row in rows().filter(|row| row.opens == Opens::ProjectKey && !row.websocket) {
        if family != Some(row.family) {
            text += if family.is_some() { "\n" } else { "" };
            text += &format!("## {}\n\n", row.family);
            text += &table_head(&["Method", "Path", "Request", "Answer", "Billed by", "Makes", "Owner of"]);
            family = Some(row.family);
        }
        text += &table_row(&[
            row.method.as_str(),
            &path(row),
            request(row.request),
            answer(row.answer),
            row.billed_by.unwrap_or_default(),
            &makes(row),
            &owner(row),
        ]);
    }
    text += "\n## WebSocket surfaces\n\nKnown and refused (`not_served`): ";
    let sockets: Vec<String> = rows().filter(|row| row.websocket).map(|row| format!("`{}`", row.path)).collect();
    text += &(sockets.join(", ") + ".\n");
    text += "\n## For either kind of key\n\nThe gate answers these by itself, to a project key or an admin key (`docs/guards.md`): ";
    let either: Vec<String> = rows()
        .filter(|row| row.opens == Opens::AnyKey)
        .map(|row| format!("`{} {}`", row.method.as_str(), row.path))
        .collect();
    text += &(either.join(", ") + ".\n");
    text += "\n## Signed receivers\n\nOpened by a signature over the body instead of a key (`docs/incidents.md`): ";
    let receivers: Vec<String> = rows()
        .filter(|row| row.opens == Opens::Signature)
        .map(|row| format!("`{} {}`", row.method.as_str(), row.path))
        .collect();
    text + &receivers.join(", ") + ".\n"
}

fn path(row: &Endpoint) -> String {
    format!("`{}`{}", row.path, if row.deprecated { " (deprecated)" } else { "" })
}

fn request(body: RequestBody) -> &'static str {
    match body {
        RequestBody::Empty => "",
        RequestBody::Json => "JSON",
        RequestBody::Multipart => "form",
        RequestBody::JsonOrMultipart => "JSON or form",
        RequestBody::SdpOrMultipart => "`application/sdp` or form",
    }
}

fn answer(body: AnswerBody) -> &'static str {
    match body {
        AnswerBody::Json => "JSON",
        AnswerBody::JsonOrEvents => "JSON or events",
        AnswerBody::Bytes => "bytes",
        AnswerBody::BytesOrEvents => "bytes or events",
    }
}

fn makes(row: &Endpoint) -> String {
    let places: Vec<String> = row.makes.iter().map(|place| format!("`{place}`")).collect();
    let condition = match row.keeps {
        Keeps::Nothing | Keeps::Always => "",
        Keeps::UnlessStoreFalse => ", unless `store` is `false`",
        Keeps::IfStoreTrue => ", if `store` is `true`",
    };
    places.join(", ") + condition
}

fn owner(row: &Endpoint) -> String {
    let account = if row.lists_account { "the account" } else { "" };
    let object = row.owned_by.map(|param| format!("`{{{param}}}`")).unwrap_or_default();
    let comma = if account.is_empty() || object.is_empty() { "" } else { ", " };
    object + comma + account
}
