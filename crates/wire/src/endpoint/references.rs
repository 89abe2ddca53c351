//! Members of request bodies that refer to objects stored upstream.
//!
//! Promises: every member of the API document's request bodies that can name a stored object is found, at any depth
//! and however its key is escaped; names that look like references and were judged not to be are written down in
//! [`NOT_REFERENCES`], so that the judgement stays visible. A name that stands in a place where only a reference makes
//! sense is one even if the value is odd: the safe side.
//!
//! Left out: the caller's own data ([`OWN_DATA`]), which is not looked into, and values: whose object it is, is for
//! the caller of this module to find out.

use std::borrow::Cow;

use crate::json::{Kind, Member, Visit, Visitor};

/// Which values make a member a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A string, a number, an object, or an array that is not empty.
    Any,
    /// A string; as an object it describes a new thing.
    Text,
    /// An object with an `id`; anything else is text or settings.
    ObjectWithId,
    /// An array of objects of which one has an `id` and not the content that it stands for, so that the service looks
    /// it up: an `item_reference`, with or without its `type`; reasoning without `encrypted_content`; a generated image
    /// without its bytes. An item with its content is a replay and no reference.
    ItemsById,
}

/// The members that refer to stored objects.
pub const REFERENCES: &[(&str, Form)] = &[
    ("agent_id", Form::Any),
    ("agent_ids", Form::Any),
    ("assistant_id", Form::Any),
    // Of an earlier spoken answer, in a chat message; the request's own `audio` holds settings.
    ("audio", Form::ObjectWithId),
    ("batch_id", Form::Any),
    ("comparison_response_id", Form::Any),
    ("consent", Form::Text),
    ("container", Form::Text),
    ("container_id", Form::Any),
    ("conversation", Form::Any),
    ("credential_id", Form::Any),
    ("environment_id", Form::Any),
    ("environment_template_id", Form::Any),
    ("eval_id", Form::Any),
    ("file_id", Form::Any),
    ("file_ids", Form::Any),
    ("input", Form::ItemsById),
    ("input_file_id", Form::Any),
    ("items", Form::ItemsById),
    ("previous_response_id", Form::Any),
    // A stored prompt; as text it is a prompt.
    ("prompt", Form::ObjectWithId),
    ("response_id", Form::Any),
    ("session_id", Form::Any),
    ("skill_id", Form::Any),
    // An eval run's data: a file; other sources carry content.
    ("source", Form::ObjectWithId),
    ("thread_id", Form::Any),
    ("training_file", Form::Any),
    ("tunnel_id", Form::Any),
    ("upload_id", Form::Any),
    ("validation_file", Form::Any),
    ("vault_id", Form::Any),
    ("vault_ids", Form::Any),
    ("vector_store_id", Form::Any),
    ("vector_store_ids", Form::Any),
    ("video", Form::ObjectWithId),
    ("video_id", Form::Any),
    // A custom voice; as text it is one of the service's.
    ("voice", Form::ObjectWithId),
    ("workflow", Form::ObjectWithId),
];

/// Names in request bodies that end like references and are none.
pub const NOT_REFERENCES: &[&str] = &[
    // Items of the same conversation, whose ids the body or the owned path brings along.
    "approval_request_id",
    "call_id",
    "caller_id",
    "field_id",
    "request_id",
    "tool_call_id",
    "turn_id",
    // The caller's own words: grouping and tracing.
    "client_id",
    "continuation_id",
    "group_id",
    // A fixed list of services.
    "connector_id",
    // A file's bytes, or objects that carry `file_id`.
    "file",
    "files",
    "image_file",
    // Judged by where it stands: see Form::ObjectWithId and Form::ItemsById.
    "id",
    // Parts of the upload in the path, whose owner is checked.
    "part_ids",
    // How many files a chat session may take.
    "max_files",
    // Projects of the organization, on a path whose owner is checked.
    "project_ids",
];

/// Members whose value is the caller's own: what stands inside is passed on and never looked up.
pub const OWN_DATA: &[&str] = &[
    "arguments",
    "attributes",
    "headers",
    "input_schema",
    "item_schema",
    "logit_bias",
    "metadata",
    "parameters",
    "schema",
];

/// Form fields that hold a JSON document. The form reader does not look into it, so it counts as a reference.
const DOCUMENT_FIELDS: &[&str] = &["session"];

/// Members that hold the content of an item.
const CONTENT: &[&str] = &[
    "action",
    "actions",
    "approve",
    "arguments",
    "code",
    "content",
    "encrypted_content",
    "input",
    "operation",
    "output",
    "outputs",
    "queries",
    "result",
    "results",
    "tools",
];

/// For each length of a name in [`REFERENCES`] and [`OWN_DATA`], the first letters that such names have, as bits. Most
/// members of most bodies (`type`, `text`, `role`, `content`) are neither, and are told so without a search.
const FIRST_LETTERS: [u32; 32] = {
    const fn bit(name: &str) -> u32 {
        1 << (name.as_bytes()[0] & 31)
    }
    let mut letters = [0; 32];
    let mut at = 0;
    while at < REFERENCES.len() {
        letters[REFERENCES[at].0.len()] |= bit(REFERENCES[at].0);
        at += 1;
    }
    at = 0;
    while at < OWN_DATA.len() {
        letters[OWN_DATA[at].len()] |= bit(OWN_DATA[at]);
        at += 1;
    }
    letters
};

fn may_be_listed(name: &str) -> bool {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    FIRST_LETTERS.get(name.len()).is_some_and(|letters| letters >> (first & 31) & 1 == 1)
}

fn form(name: &str) -> Option<(&'static str, Form)> {
    REFERENCES.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|at| REFERENCES[at])
}

/// Looks for the first reference in a body.
#[derive(Debug, Default)]
pub struct Reference<'a> {
    found: Option<Cow<'a, str>>,
    /// The open objects, the innermost last; at most [`crate::json::DEPTH_MAX`].
    open: Vec<Object>,
}

/// An object that is being read.
#[derive(Debug)]
struct Object {
    depth: usize,
    /// What the member that holds it would make of it.
    held_by: Option<(&'static str, Form)>,
    /// The same for what its latest member holds.
    holds: Option<(&'static str, Form)>,
    item: Item,
    has_id: bool,
    has_content: bool,
    has_result: bool,
    has_encrypted: bool,
}

/// What an item's `type` says about where its content is.
#[derive(Debug, Clone, Copy)]
enum Item {
    /// `item_reference`: nowhere.
    Bare,
    /// `reasoning`: in `encrypted_content`; the summary is not what the model thought.
    Reasoning,
    /// `image_generation_call`: in `result`.
    Image,
    /// In one of [`CONTENT`].
    Other,
}

impl Object {
    /// The name of the member that holds this object, if the object is a reference.
    fn reference(&self) -> Option<&'static str> {
        let (name, form) = self.held_by?;
        let is_replay = match self.item {
            Item::Bare => false,
            Item::Reasoning => self.has_encrypted,
            Item::Image => self.has_result,
            Item::Other => self.has_content,
        };
        let is_reference = match form {
            Form::Any | Form::Text => false,
            Form::ObjectWithId => self.has_id,
            Form::ItemsById => self.has_id && !is_replay,
        };
        is_reference.then_some(name)
    }

    fn note(&mut self, member: &Member<'_>) {
        let has_value = is_value(member.kind);
        match &*member.key {
            "id" => self.has_id = has_value,
            "type" => {
                self.item = match text(member).as_deref() {
                    Some("item_reference") => Item::Bare,
                    Some("reasoning") => Item::Reasoning,
                    Some("image_generation_call") => Item::Image,
                    _ => Item::Other,
                }
            }
            "result" => self.has_result = has_value,
            "encrypted_content" => self.has_encrypted = has_value,
            _ => {}
        }
        self.has_content |= (has_value || member.kind == Kind::Bool) && CONTENT.contains(&&*member.key);
    }
}

fn is_value(kind: Kind) -> bool {
    matches!(kind, Kind::String | Kind::Number | Kind::Array | Kind::Object)
}

/// The member's string with its escapes resolved: `"r\u0065asoning"` is `reasoning`, too.
fn text<'a>(member: &Member<'a>) -> Option<Cow<'a, str>> {
    if member.kind != Kind::String {
        return None;
    }
    serde_json::Deserializer::from_str(member.ahead).into_iter().next()?.ok()
}

impl<'a> Reference<'a> {
    /// The name of the first member that refers to a stored object.
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref().or_else(|| self.open.iter().find_map(Object::reference))
    }

    /// Whether a multipart field of this name refers to a stored object: `file_id`, `file_ids[]`,
    /// `input_reference[file_id]`, `video[id]`.
    pub fn is_form_field(name: &str) -> bool {
        let mut holder = None;
        for segment in name.split(['[', ']', '.']).filter(|segment| !segment.is_empty()) {
            if OWN_DATA.contains(&segment) {
                return false;
            }
            let is_held_id = segment == "id" && matches!(holder, Some((_, Form::ObjectWithId | Form::ItemsById)));
            let form = form(segment);
            if is_held_id || matches!(form, Some((_, Form::Any | Form::Text))) {
                return true;
            }
            holder = form.or(holder.filter(|_| segment.bytes().all(|byte| byte.is_ascii_digit())));
        }
        DOCUMENT_FIELDS.contains(&name)
    }

    /// Closes the objects that end before this member.
    fn close(&mut self, depth: usize, is_first: bool) {
        while let Some(object) = self.open.last()
            && (object.depth > depth || object.depth == depth && is_first)
        {
            let reference = object.reference();
            self.open.pop();
            if self.found.is_none() {
                self.found = reference.map(Cow::Borrowed);
            }
        }
    }
}

impl<'a> Visitor<'a> for Reference<'a> {
    fn enter(&mut self, member: Member<'a>) -> Visit {
        self.close(member.depth, member.is_first);
        if member.is_first {
            self.open.push(Object {
                depth: member.depth,
                held_by: self.open.last().and_then(|parent| parent.holds),
                holds: None,
                item: Item::Other,
                has_id: false,
                has_content: false,
                has_result: false,
                has_encrypted: false,
            });
        }
        let is_listed = may_be_listed(&member.key);
        let form = if is_listed { form(&member.key) } else { None };
        if let Some(object) = self.open.last_mut() {
            if object.held_by.is_some() {
                object.note(&member);
            }
            // An object with an id is one object; items are those of a list.
            object.holds = form.filter(|(_, form)| match form {
                Form::ObjectWithId => matches!(member.kind, Kind::Object | Kind::Array),
                Form::ItemsById => member.kind == Kind::Array,
                Form::Any | Form::Text => false,
            });
        }
        let is_reference = match form {
            Some((_, Form::Any)) => is_value(member.kind),
            Some((_, Form::Text)) => member.kind == Kind::String,
            _ => false,
        };
        let visit = if is_listed && OWN_DATA.contains(&&*member.key) { Visit::Past } else { Visit::Into };
        if is_reference && self.found.is_none() {
            self.found = Some(member.key);
        }
        visit
    }

    fn top_level_value(&mut self, _text: &'a str) {}
}
