//! The body: read within its bounds, decoded, checked, and turned into the bytes that will be sent.
//!
//! Promises: bytes that nothing had to change are sent as they came; JSON is strict (see `wire::json`), multipart is
//! read along; what must be read whole is paid for from one budget; only unmetered multipart streams through.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use hyper::body::Incoming;
use metering::request::{self, Asked, JsonReader};
use wire::endpoint::{Meter, Opens, Reference, RequestBody};
use wire::json::{self, Kind, Member, TopLevel, Visit, Visitor};
use wire::key_like::holds_key;
use wire::refusal::{Reason, Refusal};

use crate::body::{self, Share, declared_length, too_large};
use crate::decode::{DecodeError, Decoder, Encoding};
use crate::form::{Form, MODEL_BYTES_MAX, reference};
use crate::gate::Gate;
use crate::headers::single;
use crate::inspect::QUESTION_BYTES_MAX;
use crate::record::{Record, client_text};
use crate::resolve::Resolved;
use crate::sending::{Sending, Through};

/// Bodies from this size on are checked off the worker's thread: a millisecond of its time serves many requests.
const OFF_THREAD_BYTES: usize = 512 * 1024;

/// Forms up to this size are read whole although nothing is metered in them: notes, manuals, lines of a batch. Larger
/// ones stream through unread, or are refused for that: see `inspect`.
pub(crate) const INSPECTED_FORM_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a body is, as far as the gate can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// There is none.
    Nothing,
    /// JSON, in memory.
    Json,
    /// A form, in memory; its content type.
    Form(String),
    /// A form that streams through.
    Through,
    /// A session description, which has no texts.
    Unread,
}

/// A body that is ready to be sent. Only [`prepare`] makes one.
pub(crate) struct Prepared {
    /// What goes upstream.
    pub(crate) body: Sending,
    /// The same bytes, where they are in memory.
    pub(crate) whole: Bytes,
    /// What it is.
    pub(crate) kind: BodyKind,
    /// The `model` that the body names.
    pub(crate) model: Option<String>,
    /// The `store` that the body asks for.
    pub(crate) store: Option<bool>,
    /// What the body says about its cost, where the endpoint is metered.
    pub(crate) asked: Option<Box<Asked>>,
    /// Whether a content encoding was taken off.
    pub(crate) decoded: bool,
    /// Whether the body may name stored objects. Known only where several upstreams are to choose from.
    pub(crate) may_refer: bool,
    /// The body's part of the memory budget.
    pub(crate) share: Share,
}

impl Prepared {
    /// The same request with another JSON body: what it may cost is read anew.
    ///
    /// # Errors
    /// 503 over the memory budget.
    pub(crate) fn with_json(mut self, body: Vec<u8>, meter: Meter) -> Result<Prepared, Refusal> {
        self.share.grow_by(body.len() as u64)?;
        let facts = scan(&body, meter, false)?;
        self.whole = body.into();
        self.body = Sending::Whole(self.whole.clone());
        Ok(Prepared { asked: facts.asked, ..self })
    }
}

impl Record {
    /// Takes what the body says into the record.
    pub(crate) fn learn(&mut self, prepared: &Prepared) {
        self.model = prepared.model.as_ref().map(|model| client_text(model.as_bytes()));
        self.request_bytes = prepared.whole.len() as u64;
    }
}

/// What kind of body came.
enum Came {
    Nothing,
    Json,
    Multipart(String),
    Sdp,
}

/// Reads and checks a request's body.
///
/// # Errors
/// 400, 408, 413, 415 for what is wrong with it, 403 for references of a shared account, 503 over the memory budget.
pub(crate) async fn prepare(
    gate: &Gate,
    resolved: &Resolved<'_>,
    headers: &HeaderMap,
    body: &mut Option<Incoming>,
) -> Result<Prepared, Refusal> {
    let endpoint = resolved.row.endpoint;
    let limits = &gate.settings.limits;
    let has_body = body.as_ref().is_some_and(|body| !body.is_end_stream());
    let came = what_came(endpoint.request, headers, has_body)?;
    let encoding = encoding(headers)?;
    // What is small enough is read before it is sent, where somebody wants to know what is in it.
    let is_small = declared_length(headers).is_some_and(|length| length <= INSPECTED_FORM_BYTES_MAX);
    let is_read = is_small && resolved.project().is_some_and(|project| !project.guards.are_off());
    let streams = matches!(came, Came::Multipart(_)) && !endpoint.is_metered() && encoding.is_none() && !is_read;
    let bytes_max = match &came {
        _ if endpoint.opens == Opens::AdminKey => limits.control_body_bytes_max,
        _ if endpoint.opens == Opens::AnyKey => limits.json_body_bytes_max.min(QUESTION_BYTES_MAX),
        Came::Multipart(_) if streams => limits.multipart_body_bytes_max,
        Came::Multipart(_) => limits.multipart_memory_bytes_max,
        Came::Nothing | Came::Json | Came::Sdp => limits.json_body_bytes_max,
    };
    let declared = declared_length(headers);
    let mut share = gate.bodies.share();
    if let (Came::Multipart(content_type), true) = (&came, streams) {
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let form = Form::new(content_type, Meter::Nothing, resolved.is_shared)?;
        let body = body.take().ok_or_else(needs_a_body)?;
        let through = Through::new(body, form, declared, bytes_max, gate.settings.timeouts.body_idle);
        let body = Sending::Through(Box::new(through));
        let whole = Bytes::new();
        let may_refer = true;
        let kind = BodyKind::Through;
        return Ok(Prepared {
            body,
            whole,
            kind,
            model: None,
            store: None,
            asked: None,
            decoded: false,
            may_refer,
            share,
        });
    }
    // What is refused stays with the caller, who reads the rest away.
    let body = body.as_mut().ok_or_else(needs_a_body)?;
    let mut whole = body::read(body, declared, bytes_max, &gate.settings.timeouts, &mut share).await?;
    if let Some(encoding) = encoding {
        whole = Box::pin(decode(encoding, whole, bytes_max, &mut share)).await?;
    }
    let kind = match &came {
        _ if whole.is_empty() => BodyKind::Nothing,
        Came::Json => BodyKind::Json,
        Came::Multipart(content_type) => BodyKind::Form(content_type.clone()),
        Came::Nothing | Came::Sdp => BodyKind::Unread,
    };
    let facts = match came {
        Came::Multipart(content_type) => {
            // A recording is put together once more to be walked.
            share.grow_to(whole.len() as u64 * 2)?;
            form_facts(&content_type, &whole, endpoint.meter, resolved.is_shared).await?
        }
        Came::Json if !whole.is_empty() => {
            let looks_for_references = resolved.looks_for_references();
            let facts = json_facts(&whole, endpoint.meter, looks_for_references).await?;
            match &facts.reference {
                Some(name) if resolved.is_shared => return Err(reference(name)),
                _ => facts,
            }
        }
        Came::Nothing if !whole.is_empty() => return Err(needs_no_body()),
        Came::Nothing | Came::Json | Came::Sdp => Facts::default(),
    };
    let body = Sending::Whole(whole.clone());
    let Facts { model, store, asked, reference, may_refer } = facts;
    if model.as_deref().is_some_and(holds_key) {
        // It would be in logs, sums and reports.
        let words = "The model's name looks like a secret key. Name a model there, and replace the key.";
        return Err(Refusal::new(Reason::InvalidValue, words).param("model"));
    }
    let may_refer = may_refer || reference.is_some();
    Ok(Prepared { body, whole, kind, model, store, asked, decoded: encoding.is_some(), may_refer, share })
}

fn needs_a_body() -> Refusal {
    Refusal::new(Reason::Internal, "The gate lost the request's body. Retry.").cause("the body was taken before")
}

fn needs_no_body() -> Refusal {
    Refusal::new(Reason::InvalidBody, "This endpoint takes no request body. Send none.")
}

/// Holds the content type against what the row takes.
fn what_came(takes: RequestBody, headers: &HeaderMap, has_body: bool) -> Result<Came, Refusal> {
    if takes == RequestBody::Empty {
        // SDKs send a content type with bodiless calls now and then.
        return if has_body && declared_length(headers) != Some(0) { Err(needs_no_body()) } else { Ok(Came::Nothing) };
    }
    let content_type = single(headers, "content-type")?;
    let Some(content_type) = content_type else {
        return if has_body { Err(unsupported(takes, "no Content-Type")) } else { Ok(Came::Nothing) };
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (essence.as_str(), takes) {
        ("application/json", RequestBody::Json | RequestBody::JsonOrMultipart) => Ok(Came::Json),
        (
            "multipart/form-data",
            RequestBody::Multipart | RequestBody::JsonOrMultipart | RequestBody::SdpOrMultipart,
        ) => Ok(Came::Multipart(content_type.to_owned())),
        ("application/sdp", RequestBody::SdpOrMultipart) => Ok(Came::Sdp),
        _ if !has_body => Ok(Came::Nothing),
        _ => Err(unsupported(takes, &format!("'{}'", client_text(essence.as_bytes())))),
    }
}

fn unsupported(takes: RequestBody, came: &str) -> Refusal {
    let wanted = match takes {
        RequestBody::Empty => "no body",
        RequestBody::Json => "application/json",
        RequestBody::Multipart => "multipart/form-data",
        RequestBody::JsonOrMultipart => "application/json or multipart/form-data",
        RequestBody::SdpOrMultipart => "application/sdp or multipart/form-data",
    };
    let words = format!("Unsupported content type: {came}. This endpoint takes {wanted}.");
    Refusal::new(Reason::UnsupportedMediaType, words).param("Content-Type")
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Refusal> {
    let Some(value) = single(headers, "content-encoding")? else { return Ok(None) };
    Encoding::parse(value).map_err(|()| {
        let words = format!("Unsupported content encoding. The gate reads {}.", Encoding::NAMES);
        Refusal::new(Reason::UnsupportedMediaType, words).param("Content-Encoding")
    })
}

/// Decodes a whole body, off the worker's thread when it is not small.
async fn decode(encoding: Encoding, bytes: Bytes, bytes_max: u64, share: &mut Share) -> Result<Bytes, Refusal> {
    // Paid for before it is made: a bomb is refused for memory before it takes any.
    share.grow_to(bytes_max.min(bytes.len() as u64 * 1_100) + bytes.len() as u64)?;
    let work = move || {
        let mut decoder = Decoder::new(encoding, bytes_max);
        let mut decoded = decoder.feed(&bytes)?;
        decoded.extend(decoder.finish()?);
        Ok(decoded)
    };
    let decoded: Result<Vec<u8>, DecodeError> = off_thread(work).await?;
    decoded.map(Bytes::from).map_err(|error| match error {
        DecodeError::TooLarge => too_large(bytes_max),
        DecodeError::Broken => {
            Refusal::new(Reason::InvalidBody, "The request body is not what its Content-Encoding says. Send it plain.")
        }
    })
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Refusal::new(Reason::Internal, "Reading the request body failed inside the gate.").cause(error)
    })
}

/// What the gate reads in a body.
#[derive(Debug, Default)]
struct Facts {
    model: Option<String>,
    store: Option<bool>,
    asked: Option<Box<Asked>>,
    /// A reference to a stored object that was found.
    reference: Option<String>,
    /// Whether there may be one that was not looked for.
    may_refer: bool,
}

async fn form_facts(content_type: &str, body: &Bytes, meter: Meter, is_shared: bool) -> Result<Facts, Refusal> {
    let mut form = Form::new(content_type, meter, is_shared)?;
    let body = body.clone();
    let read = move || {
        form.read(&body)?;
        form.end()?;
        Ok(form)
    };
    // Only metered forms come here, and they carry recordings and pictures.
    let form = Box::pin(off_thread(read)).await??;
    let (model, asked) = (form.model(), form.asked().map(Box::new));
    Ok(Facts { model, asked, may_refer: !is_shared, ..Facts::default() })
}

async fn json_facts(body: &Bytes, meter: Meter, looks_for_references: bool) -> Result<Facts, Refusal> {
    if body.len() < OFF_THREAD_BYTES {
        return scan(body, meter, looks_for_references);
    }
    let body = body.clone();
    Box::pin(off_thread(move || scan(&body, meter, looks_for_references))).await?
}

fn scan(body: &[u8], meter: Meter, looks_for_references: bool) -> Result<Facts, Refusal> {
    let mut reading = Reading {
        members: TopLevel::default(),
        reference: looks_for_references.then(Reference::default),
        left_out: None,
        cost: request::reads(meter).then(|| JsonReader::new(meter)),
    };
    json::scan(body, &mut reading).map_err(|error| {
        Refusal::new(Reason::InvalidJson, format!("We could not parse the JSON body of your request: {error}."))
    })?;
    let reference = reading.reference.as_ref().and_then(Reference::found).map(str::to_owned);
    let model = reading.members.string("model");
    if model.as_ref().is_some_and(|model| model.len() > MODEL_BYTES_MAX) {
        let words = format!("The model's name is longer than {MODEL_BYTES_MAX} bytes.");
        return Err(Refusal::new(Reason::InvalidValue, words).param("model"));
    }
    Ok(Facts {
        model,
        store: reading.members.bool("store"),
        asked: reading.cost.map(|cost| Box::new(cost.finish(body.len()))),
        reference,
        may_refer: false,
    })
}

/// Reads the outermost members, what the request may cost and, where they matter, references, in one pass.
struct Reading<'a> {
    members: TopLevel<'a>,
    reference: Option<Reference<'a>>,
    /// The depth of the member that the search for references leaves out, with all that is in it.
    left_out: Option<usize>,
    cost: Option<JsonReader<'a>>,
}

impl<'a> Visitor<'a> for Reading<'a> {
    fn enter(&mut self, member: Member<'a>) -> Visit {
        let mut visit = Visit::Past;
        if let Some(cost) = &mut self.cost {
            cost.member(&member);
            visit = Visit::Into;
        }
        let Some(reference) = &mut self.reference else {
            if member.depth == 1 {
                self.members.enter(member);
            }
            return visit;
        };
        if member.depth == 1 && matches!(member.kind, Kind::String | Kind::Bool | Kind::Number) {
            let copy = Member { key: member.key.clone(), ..member };
            self.members.enter(copy);
        }
        if self.left_out.is_some_and(|depth| member.depth > depth) {
            return visit;
        }
        let depth = member.depth;
        self.left_out = match reference.enter(member) {
            Visit::Into => None,
            Visit::Past => Some(depth),
        };
        if self.left_out.is_none() { Visit::Into } else { visit }
    }

    fn top_level_value(&mut self, text: &'a str) {
        if let Some(cost) = &mut self.cost {
            cost.outermost_value(text);
        }
        self.members.top_level_value(text);
    }
}
