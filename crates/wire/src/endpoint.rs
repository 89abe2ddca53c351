//! The one table of endpoints: what the gate knows about each operation of the API, a row each.
//!
//! Promises: an operation without a row is refused, so nothing passes that nobody thought about; every stage reads
//! what it needs from the row instead of comparing paths. The rows are in `data_rows` and `admin_rows`; `cargo xtask
//! endpoints` holds them against the API's operation list. To add an endpoint, add its row, and a refusal or a
//! destination in the gateway's `resolve` if it is of a new kind.
//!
//! Left out: prices, text fields and retention, which come with the stages that use them.

mod admin_rows;
mod data_rows;
mod find;
mod references;
mod scopes;

pub use find::{Found, NotFound, Params, find, find_signed};
pub use references::{Form, NOT_REFERENCES, OWN_DATA, REFERENCES, Reference};
pub use scopes::{ALL as ALL_SCOPES, MODEL_REQUEST, known_scopes};

/// HTTP methods that the API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// DELETE
    Delete,
}

impl Method {
    /// The method's name in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// Which key opens an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opens {
    /// A project or service-account key: the data plane.
    ProjectKey,
    /// An admin key: the control plane.
    AdminKey,
    /// Either of the two: the gate answers by itself, and what it says is nobody's.
    AnyKey,
    /// No key: a signature over the body, from somebody outside whose public key the operator named.
    Signature,
}

/// What the request body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestBody {
    /// None; one that comes all the same is refused.
    Empty,
    /// `application/json`, or nothing at all.
    Json,
    /// `multipart/form-data`.
    Multipart,
    /// Either of the two.
    JsonOrMultipart,
    /// `application/sdp` or `multipart/form-data` (realtime calls).
    SdpOrMultipart,
}

/// What a successful answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerBody {
    /// `application/json`, or nothing (some deletions and session controls).
    Json,
    /// JSON (transcriptions: or text), or `text/event-stream` when the request asks to stream.
    JsonOrEvents,
    /// Bytes of any type: file contents, video, `application/sdp`.
    Bytes,
    /// Bytes of any type, or `text/event-stream` when the request asks to stream (speech).
    BytesOrEvents,
}

/// In which shape an error ends a stream of this endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorEvent {
    /// `data: {"error": {…}}`: chat and whatever else has no typed events.
    Data,
    /// `event: error` with `type`, `code`, `message`, `param`, `sequence_number` (responses).
    Typed,
}

/// When an answer makes objects that stay upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeps {
    /// Never, or nothing that has an id of its own.
    Nothing,
    /// Always: the ids found at [`Endpoint::makes`].
    Always,
    /// Unless the request says `"store": false` (responses).
    UnlessStoreFalse,
    /// Only if the request says `"store": true` (chat completions).
    IfStoreTrue,
}

/// How calls of an endpoint are metered: which reader bounds the request and finds the usage in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Nothing is billed.
    Nothing,
    /// Chat completions.
    Chat,
    /// Responses.
    Responses,
    /// Their compaction: tokens as with responses, but nothing in the request can cap what is written.
    Compactions,
    /// Legacy completions.
    Completions,
    /// Embeddings.
    Embeddings,
    /// Moderations: free, and counted.
    Moderations,
    /// Images made, edited and varied.
    Images,
    /// Speech.
    Speech,
    /// Transcriptions and translations.
    Transcriptions,
    /// Decisions.
    Decisions,
    /// Billed, and in no way that one request bounds: refused under a hard limit unless the operator allows it by name
    /// with an amount.
    Unbounded,
}

/// One operation of the API.
#[derive(Debug)]
pub struct Endpoint {
    /// Method.
    pub method: Method,
    /// Path template, `/v1/files/{file_id}`.
    pub path: &'static str,
    /// The API's family, `files`.
    pub family: &'static str,
    /// Which key opens it.
    pub opens: Opens,
    /// What the request carries.
    pub request: RequestBody,
    /// What the answer carries.
    pub answer: AnswerBody,
    /// The billing unit in words, `None` where the API bills nothing.
    pub billed_by: Option<&'static str>,
    /// How calls are metered.
    pub meter: Meter,
    /// How a stream of this endpoint ends in an error.
    pub error_event: ErrorEvent,
    /// When the answer's ids are kept.
    pub keeps: Keeps,
    /// Where ids of new objects stand in the answer: `id`, `file.id`, `data[].id`. In a stream the same places are
    /// looked for in each event and in its `response` member.
    ///
    /// Also on rows that only read: a batch's output files, a job's fine-tuned model and a background response's
    /// items are first seen there. Objects below the path's owner (runs, messages, versions) count where other
    /// requests can name them; ids that only repeat the caller's own (a file put into a vector store) do not.
    pub makes: &'static [&'static str],
    /// The path parameter that names a stored object whose owner is checked: the outermost one. `model` is special:
    /// reading a model whose name does not begin with `ft:` is open to all.
    pub owned_by: Option<&'static str>,
    /// Lists or reads stored objects of the whole upstream account.
    pub lists_account: bool,
    /// A WebSocket surface: known, and refused.
    pub websocket: bool,
    /// Hands out a secret of the provider's, or opens media that pass the gate by: known, and refused.
    pub leads_past_the_gate: bool,
    /// The gate answers it itself, with a client secret of its own.
    pub makes_client_secret: bool,
    /// Deprecated by the API document.
    pub deprecated: bool,
}

impl Endpoint {
    /// Whether calls are billed, so that the answer must be readable to the gate.
    pub fn is_metered(&self) -> bool {
        self.billed_by.is_some()
    }

    /// Whether the answer may be a stream of events.
    pub fn can_stream(&self) -> bool {
        matches!(self.answer, AnswerBody::JsonOrEvents | AnswerBody::BytesOrEvents)
    }

    /// Whether the request may be a multipart form.
    pub fn takes_multipart(&self) -> bool {
        matches!(self.request, RequestBody::Multipart | RequestBody::JsonOrMultipart | RequestBody::SdpOrMultipart)
    }
}

/// How many rows there are. Row numbers are below it.
pub fn count() -> usize {
    data_rows::DATA_ROWS.len() + admin_rows::ADMIN_ROWS.len()
}

/// All rows, in the order of their numbers.
pub fn rows() -> impl Iterator<Item = &'static Endpoint> {
    data_rows::DATA_ROWS.iter().chain(admin_rows::ADMIN_ROWS)
}

/// A row in its plainest form: JSON or nothing in, JSON out, not billed, making and listing nothing.
const fn plain(method: Method, path: &'static str, family: &'static str, opens: Opens) -> Endpoint {
    Endpoint {
        method,
        path,
        family,
        opens,
        request: if matches!(method, Method::Post) { RequestBody::Json } else { RequestBody::Empty },
        answer: AnswerBody::Json,
        billed_by: None,
        meter: Meter::Nothing,
        error_event: ErrorEvent::Data,
        keeps: Keeps::Nothing,
        makes: &[],
        owned_by: None,
        lists_account: false,
        websocket: false,
        leads_past_the_gate: false,
        makes_client_secret: false,
        deprecated: false,
    }
}

const fn data(method: Method, path: &'static str, family: &'static str) -> Endpoint {
    plain(method, path, family, Opens::ProjectKey)
}

const fn admin(method: Method, path: &'static str, family: &'static str) -> Endpoint {
    plain(method, path, family, Opens::AdminKey)
}

/// What a row says beyond the plainest form.
impl Endpoint {
    const fn takes(self, request: RequestBody) -> Endpoint {
        Endpoint { request, ..self }
    }

    const fn events(self) -> Endpoint {
        Endpoint { answer: AnswerBody::JsonOrEvents, ..self }
    }

    const fn bytes(self) -> Endpoint {
        Endpoint { answer: AnswerBody::Bytes, ..self }
    }

    const fn bytes_or_events(self) -> Endpoint {
        Endpoint { answer: AnswerBody::BytesOrEvents, ..self }
    }

    const fn billed(self, unit: &'static str) -> Endpoint {
        Endpoint { billed_by: Some(unit), meter: Meter::Unbounded, ..self }
    }

    /// The API's list names no unit for it, and calls are free, or begin or go on with spending all the same.
    const fn counted(self, meter: Meter) -> Endpoint {
        Endpoint { meter, ..self }
    }

    const fn metered(self, unit: &'static str, meter: Meter) -> Endpoint {
        Endpoint { billed_by: Some(unit), meter, ..self }
    }

    const fn past_the_gate(self) -> Endpoint {
        Endpoint { leads_past_the_gate: true, ..self }
    }

    const fn client_secret(self) -> Endpoint {
        Endpoint { makes_client_secret: true, meter: Meter::Nothing, ..self }
    }

    const fn any_key(self) -> Endpoint {
        Endpoint { opens: Opens::AnyKey, ..self }
    }

    const fn typed_errors(self) -> Endpoint {
        Endpoint { error_event: ErrorEvent::Typed, ..self }
    }

    const fn keeps(self, keeps: Keeps, makes: &'static [&'static str]) -> Endpoint {
        Endpoint { keeps, makes, ..self }
    }

    const fn owned(self, param: &'static str) -> Endpoint {
        Endpoint { owned_by: Some(param), ..self }
    }

    const fn lists(self) -> Endpoint {
        Endpoint { lists_account: true, ..self }
    }

    const fn websocket(self) -> Endpoint {
        Endpoint { websocket: true, ..self }
    }

    const fn deprecated(self) -> Endpoint {
        Endpoint { deprecated: true, ..self }
    }
}

#[cfg(test)]
mod tests;
