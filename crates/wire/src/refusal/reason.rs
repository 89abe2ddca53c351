//! The table of reasons: status, type, code and whether SDKs may retry, and what the reference page says of each.
//!
//! Promise: each reason has exactly one row and one meaning, found by a `match` without a wildcard.

/// Why a request was refused. One row of the error table each: see [`Reason::row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No `Authorization: Bearer` header.
    MissingKey,
    /// The key does not have the shape or checksum of a Sallyport key.
    MalformedKey,
    /// Well-formed, but no such key.
    UnknownKey,
    /// The key was revoked, or has expired.
    RevokedKey,
    /// The key is suspended.
    SuspendedKey,
    /// An address that presents unknown keys again and again.
    TooManyUnknownKeys,
    /// A long-lived key that comes from a browser.
    BrowserKey,
    /// A client secret from another origin or device than the one that it is bound to.
    UnboundClient,
    /// The key does not take this address.
    AddressNotAllowed,
    /// The key's scopes or endpoints do not open this operation.
    MissingScope,
    /// The key does not take this model.
    ModelNotAllowed,
    /// A client secret has made its calls, or does not cover this one.
    ClientSecretSpent,
    /// `OpenAI-Organization` names another organization.
    MismatchedOrganization,
    /// `OpenAI-Project` names another project.
    MismatchedProject,
    /// A project key on the control plane, or an admin key on the data plane.
    WrongKeyKind,
    /// The key's project is archived.
    ProjectArchived,
    /// A report whose signature is missing or does not fit.
    InvalidSignature,
    /// The public keys that signatures are held against are not known at the moment.
    SigningKeysUnavailable,
    /// No row for this path.
    UnknownEndpoint,
    /// The path exists, this method does not.
    MethodNotAllowed,
    /// The path names an object that is not there, or not this project's.
    ObjectNotFound,
    /// No such model here.
    UnknownModel,
    /// Stored objects cannot be listed or referred to while projects share an upstream account.
    SharedUpstream,
    /// The body is not the JSON that every parser would read the same way.
    InvalidJson,
    /// A field has a wrong type or value (`param` names it).
    InvalidValue,
    /// A parameter that this model or endpoint does not take (`param` names it).
    UnsupportedParameter,
    /// Prompt and answer do not fit the model's context.
    ContextLengthExceeded,
    /// Path or query that two parsers could read differently.
    InvalidTarget,
    /// Headers that two parsers could read differently, or that are not HTTP.
    InvalidHeaders,
    /// A body where the endpoint takes none, or a broken multipart body.
    InvalidBody,
    /// A change that the object's state does not allow (an archived project, a duplicate).
    Conflict,
    /// Content type or encoding that the endpoint does not take.
    UnsupportedMediaType,
    /// Body over its limit.
    BodyTooLarge,
    /// Request line over its limit.
    TargetTooLong,
    /// Header block over its limit.
    HeadersTooLarge,
    /// The sender was too slow.
    SlowSender,
    /// A spending limit does not cover the request's worst case; the code says whose.
    SpendLimit,
    /// A run has made all the calls that it may, or was stopped.
    RunStopped,
    /// A hard limit applies, and what the request may cost has no bound or no price.
    NoBound,
    /// A limit for each end user applies, and the request names none.
    NamelessEndUser,
    /// Too many end users, runs or tags are active at once.
    TooManyNames,
    /// A rate limit that counts requests, images, audio or running calls.
    RequestsLimited,
    /// A rate limit that counts tokens.
    TokensLimited,
    /// The request alone is over a rate limit.
    OverRateLimit,
    /// The first call with this `Idempotency-Key` still runs.
    IdempotencyRunning,
    /// This `Idempotency-Key` came with another request before.
    IdempotencyMismatch,
    /// The project's guards refuse what is in the request.
    ContentFiltered,
    /// The project's guards cannot judge what is in the request.
    GuardUnavailable,
    /// The project's guards do not read a form of this length, now or later.
    FormUnread,
    /// A text is longer than the project's guards read of one, now or later.
    TextUnread,
    /// The embedded model's queue is full.
    LocalModelBusy,
    /// The process-wide budget for bodies in memory is used up.
    Overloaded,
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream's answer was not HTTP, was cut, or could not be decoded.
    UpstreamBroken,
    /// The upstream refused the gate's own key.
    UpstreamKeyRefused,
    /// The upstream's answer held the gate's own key and was withheld.
    UpstreamSecretWithheld,
    /// A surface that this gate does not serve (yet, or in this mode).
    NotServed,
    /// The embedded model is not there.
    LocalModelUnavailable,
    /// The gate is stopping.
    ShuttingDown,
    /// The store cannot be reached.
    StoreUnavailable,
    /// A defect of the gate.
    Internal,
}

/// One row of the error table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`; `None` is JSON `null`.
    pub code: Option<&'static str>,
    /// `x-should-retry`; SDKs retry 408, 409, 429 and every 5xx when it is absent.
    pub should_retry: Option<bool>,
}

const fn row(status: u16, kind: &'static str, code: &'static str) -> Row {
    Row { status, kind, code: Some(code), should_retry: None }
}

const fn last_word(row: Row) -> Row {
    Row { should_retry: Some(false), ..row }
}

const fn try_again(row: Row) -> Row {
    Row { should_retry: Some(true), ..row }
}

const QUOTA: &str = "insufficient_quota";
const REQUEST: &str = "invalid_request_error";
const SERVER: &str = "server_error";
const UNAVAILABLE: &str = "service_unavailable_error";
const RATE: &str = "rate_limit_error";

impl Reason {
    /// All reasons, in the order of the reference page.
    pub const ALL: &'static [Reason] = &[
        Reason::MissingKey,
        Reason::MalformedKey,
        Reason::UnknownKey,
        Reason::RevokedKey,
        Reason::SuspendedKey,
        Reason::TooManyUnknownKeys,
        Reason::BrowserKey,
        Reason::UnboundClient,
        Reason::AddressNotAllowed,
        Reason::MissingScope,
        Reason::ModelNotAllowed,
        Reason::ClientSecretSpent,
        Reason::MismatchedOrganization,
        Reason::MismatchedProject,
        Reason::WrongKeyKind,
        Reason::ProjectArchived,
        Reason::InvalidSignature,
        Reason::SigningKeysUnavailable,
        Reason::UnknownEndpoint,
        Reason::MethodNotAllowed,
        Reason::ObjectNotFound,
        Reason::UnknownModel,
        Reason::SharedUpstream,
        Reason::InvalidJson,
        Reason::InvalidValue,
        Reason::UnsupportedParameter,
        Reason::ContextLengthExceeded,
        Reason::InvalidTarget,
        Reason::InvalidHeaders,
        Reason::InvalidBody,
        Reason::Conflict,
        Reason::UnsupportedMediaType,
        Reason::BodyTooLarge,
        Reason::TargetTooLong,
        Reason::HeadersTooLarge,
        Reason::SlowSender,
        Reason::SpendLimit,
        Reason::RunStopped,
        Reason::NoBound,
        Reason::NamelessEndUser,
        Reason::TooManyNames,
        Reason::RequestsLimited,
        Reason::TokensLimited,
        Reason::OverRateLimit,
        Reason::IdempotencyRunning,
        Reason::IdempotencyMismatch,
        Reason::ContentFiltered,
        Reason::GuardUnavailable,
        Reason::FormUnread,
        Reason::TextUnread,
        Reason::LocalModelBusy,
        Reason::Overloaded,
        Reason::UpstreamUnreachable,
        Reason::UpstreamTimeout,
        Reason::UpstreamBroken,
        Reason::UpstreamKeyRefused,
        Reason::UpstreamSecretWithheld,
        Reason::NotServed,
        Reason::LocalModelUnavailable,
        Reason::ShuttingDown,
        Reason::StoreUnavailable,
        Reason::Internal,
    ];

    /// The reason's row. Statuses, types and codes follow the OpenAI API where it has the case.
    pub const fn row(self) -> Row {
        match self {
            // OpenAI answers a missing key with a null code.
            Reason::MissingKey => Row { status: 401, kind: REQUEST, code: None, should_retry: None },
            Reason::MalformedKey | Reason::UnknownKey | Reason::RevokedKey => row(401, REQUEST, "invalid_api_key"),
            Reason::SuspendedKey => row(401, REQUEST, "api_key_suspended"),
            Reason::TooManyUnknownKeys => row(429, RATE, "too_many_unknown_keys"),
            Reason::BrowserKey => row(403, REQUEST, "key_used_in_browser"),
            Reason::UnboundClient => row(401, REQUEST, "client_secret_not_bound_here"),
            Reason::AddressNotAllowed => row(401, REQUEST, "ip_not_authorized"),
            Reason::MissingScope => row(401, REQUEST, "missing_scope"),
            Reason::ModelNotAllowed => row(403, REQUEST, "model_not_found"),
            Reason::ClientSecretSpent => last_word(row(429, QUOTA, "client_secret_limit_exceeded")),
            Reason::MismatchedOrganization => row(401, REQUEST, "mismatched_organization"),
            Reason::MismatchedProject => row(401, REQUEST, "mismatched_project"),
            Reason::WrongKeyKind => row(401, REQUEST, "missing_scope"),
            Reason::ProjectArchived => row(401, REQUEST, "project_archived"),
            Reason::InvalidSignature => row(401, REQUEST, "invalid_signature"),
            Reason::SigningKeysUnavailable => try_again(row(503, UNAVAILABLE, "signing_keys_unavailable")),
            Reason::UnknownEndpoint => row(404, REQUEST, "unknown_url"),
            Reason::MethodNotAllowed => row(405, REQUEST, "method_not_supported"),
            Reason::ObjectNotFound => Row { status: 404, kind: REQUEST, code: None, should_retry: None },
            Reason::UnknownModel => row(404, REQUEST, "model_not_found"),
            Reason::SharedUpstream => row(403, REQUEST, "shared_upstream_account"),
            Reason::InvalidJson => row(400, REQUEST, "invalid_json"),
            Reason::InvalidValue => row(400, REQUEST, "invalid_value"),
            Reason::UnsupportedParameter => row(400, REQUEST, "unsupported_parameter"),
            Reason::ContextLengthExceeded => row(400, REQUEST, "context_length_exceeded"),
            Reason::InvalidTarget => row(400, REQUEST, "invalid_url"),
            Reason::InvalidHeaders => row(400, REQUEST, "invalid_headers"),
            Reason::InvalidBody => row(400, REQUEST, "invalid_body"),
            Reason::Conflict => row(400, REQUEST, "conflict"),
            Reason::UnsupportedMediaType => row(415, REQUEST, "unsupported_media_type"),
            Reason::BodyTooLarge => row(413, REQUEST, "request_too_large"),
            Reason::TargetTooLong => row(414, REQUEST, "url_too_long"),
            Reason::HeadersTooLarge => row(431, REQUEST, "headers_too_large"),
            Reason::SlowSender => row(408, REQUEST, "request_timeout"),
            Reason::SpendLimit => last_word(row(429, QUOTA, "spend_limit_exceeded")),
            Reason::RunStopped => last_word(row(429, QUOTA, "run_call_limit_exceeded")),
            Reason::NoBound => last_word(row(429, QUOTA, "unbounded_under_spend_limit")),
            Reason::NamelessEndUser => row(400, REQUEST, "missing_end_user"),
            Reason::TooManyNames => last_word(row(429, QUOTA, "too_many_active_names")),
            Reason::RequestsLimited => row(429, "requests", "rate_limit_exceeded"),
            Reason::TokensLimited => row(429, "tokens", "rate_limit_exceeded"),
            Reason::OverRateLimit => last_word(row(429, "tokens", "rate_limit_exceeded")),
            // SDKs retry a 409: by then the first call may be over.
            Reason::IdempotencyRunning => row(409, REQUEST, "idempotency_key_in_use"),
            Reason::IdempotencyMismatch => row(400, REQUEST, "idempotency_key_mismatch"),
            Reason::ContentFiltered => row(400, REQUEST, "content_filter"),
            Reason::GuardUnavailable => try_again(row(503, UNAVAILABLE, "guard_unavailable")),
            Reason::FormUnread => row(413, REQUEST, "form_unread"),
            Reason::TextUnread => row(413, REQUEST, "text_unread"),
            Reason::LocalModelBusy => row(429, RATE, "local_model_queue_full"),
            Reason::Overloaded => try_again(row(503, UNAVAILABLE, "server_is_overloaded")),
            Reason::UpstreamUnreachable => row(502, SERVER, "upstream_unreachable"),
            Reason::UpstreamTimeout => row(504, SERVER, "upstream_timeout"),
            Reason::UpstreamBroken => row(502, SERVER, "upstream_broken"),
            // The status stays 401: the SDK's exception class is right, and it does not retry.
            Reason::UpstreamKeyRefused => row(401, REQUEST, "upstream_key_refused"),
            Reason::UpstreamSecretWithheld => last_word(row(502, SERVER, "upstream_secret_withheld")),
            Reason::NotServed => last_word(row(501, REQUEST, "not_served")),
            Reason::LocalModelUnavailable => last_word(row(503, UNAVAILABLE, "local_model_unavailable")),
            Reason::ShuttingDown => try_again(row(503, UNAVAILABLE, "shutting_down")),
            Reason::StoreUnavailable => try_again(row(503, UNAVAILABLE, "store_unavailable")),
            Reason::Internal => row(500, SERVER, "internal_error"),
        }
    }

    /// What the reason means and what mends it, in a sentence or two: the words of the reference page.
    pub const fn meaning(self) -> &'static str {
        match self {
            Reason::MissingKey => "The request has no key. Send `Authorization: Bearer` and a key of this gate.",
            Reason::MalformedKey => {
                "The key is not one of this gate's: its shape or its checksum is wrong. A key of the provider is not accepted here."
            }
            Reason::UnknownKey => "The key has the right shape, and this gate does not know it.",
            Reason::RevokedKey => "The key was revoked or deleted, or has expired. Ask for a new one.",
            Reason::SuspendedKey => "The key is suspended until somebody with an admin key resumes it.",
            Reason::TooManyUnknownKeys => {
                "This address has sent many keys that the gate does not know. Keys that it knows are served from there all the same."
            }
            Reason::BrowserKey => {
                "A long-lived key came from a browser, where every visitor can read it. Have your server make a client secret (`POST /v1/sallyport/client_secrets`) and hand that to the page."
            }
            Reason::UnboundClient => {
                "A client secret was used from another web origin or device than the one that it is bound to."
            }
            Reason::AddressNotAllowed => "The key may be used from other addresses only.",
            Reason::MissingScope => "The key does not open this operation; the message says which scope would.",
            Reason::ModelNotAllowed => "The key may not use this model.",
            Reason::ClientSecretSpent => {
                "The client secret has made all the calls that it may, or its budget does not cover this one. Make a new one."
            }
            Reason::MismatchedOrganization => {
                "`OpenAI-Organization` names an organization that the key does not belong to. Leave it out."
            }
            Reason::MismatchedProject => {
                "`OpenAI-Project` names a project that the key does not belong to. Leave it out."
            }
            Reason::WrongKeyKind => "An admin key was used for the API, or a project key for administration.",
            Reason::ProjectArchived => "The key's project is archived, for good.",
            Reason::InvalidSignature => {
                "The endpoint takes reports that are signed by a key which the operator's configuration names; this one is not."
            }
            Reason::SigningKeysUnavailable => {
                "The public keys that reports are held against could not be read. Send the report again; the gate's log says why."
            }
            Reason::UnknownEndpoint => "The gate has no such path.",
            Reason::MethodNotAllowed => "The path is known, and takes other methods; the message lists them.",
            Reason::ObjectNotFound => {
                "No object with this id was made by this project through this gate; another project's objects look the same as none."
            }
            Reason::UnknownModel => "No such model is served here.",
            Reason::SharedUpstream => {
                "Several projects share one upstream account, so stored objects cannot be listed, nor be referred to in a body. Send the content itself."
            }
            Reason::InvalidJson => {
                "The body is not JSON, or is JSON that parsers read differently (duplicate keys, lone surrogates); the message says where."
            }
            Reason::InvalidValue => "A field has a wrong type or value.",
            Reason::UnsupportedParameter => "The model or endpoint does not take this parameter.",
            Reason::ContextLengthExceeded => {
                "Prompt and answer do not fit the model's context. Shorten the prompt, or ask for fewer tokens."
            }
            Reason::InvalidTarget => "The path or the query could be read in more than one way.",
            Reason::InvalidHeaders => "The headers could be read in more than one way, or are not HTTP.",
            Reason::InvalidBody => "The multipart form is broken, or there is a body where the endpoint takes none.",
            Reason::Conflict => "The object's state does not allow the change.",
            Reason::UnsupportedMediaType => "The endpoint does not take this content type or content encoding.",
            Reason::BodyTooLarge => "The body is over the gate's limit for this kind of endpoint.",
            Reason::TargetTooLong => "The request line is over the gate's limit.",
            Reason::HeadersTooLarge => "The header block is over the gate's limit.",
            Reason::SlowSender => "The request did not arrive in time.",
            Reason::SpendLimit => {
                "What the request may cost at most does not fit under a spending limit. The code says whose: `organization_`, `project_`, `key_`, `end_user_`, `run_` or `tag_spend_limit_exceeded`; the message says what is left, what is held, and what would fit."
            }
            Reason::RunStopped => {
                "The run has made all its calls, or was stopped. Begin a new run, or have its limit raised."
            }
            Reason::NoBound => {
                "A hard spending limit applies, and the request's worst case cannot be said: something in it has no bound or no price. The message says what, and the mend."
            }
            Reason::NamelessEndUser => {
                "A spending limit for each end user applies. Name the end user in `safety_identifier`."
            }
            Reason::TooManyNames => {
                "More end users, runs or tags are active under one limit than the gate keeps account of. Retry when some have been idle."
            }
            Reason::RequestsLimited => {
                "A rate or concurrency limit is reached; `retry-after-ms` says when to come back."
            }
            Reason::TokensLimited => "A rate limit on tokens is reached; `retry-after-ms` says when to come back.",
            Reason::OverRateLimit => "The request alone is over a rate limit: it will never pass as it is.",
            Reason::IdempotencyRunning => "The first call with this `Idempotency-Key` still runs. Wait for its answer.",
            Reason::IdempotencyMismatch => "This `Idempotency-Key` was used with another request. Use a new one.",
            Reason::ContentFiltered => {
                "The project's guards found a prompt injection in a text of the request, and block it; the message says of which kind and where. Take it out; if it is harmless, the finding can be marked as wrong (`sallyport finding triage`)."
            }
            Reason::GuardUnavailable => {
                "The guards could not read the request: too much waits, it took too long, they failed, or it has more text than may be read of one request. A project may let such requests pass (`on_failure`, `on_unread`). Retry shortly."
            }
            Reason::FormUnread => {
                "The project's guards let nothing pass unread, and the form is too long to be read before it is sent or does not announce its length. Send it with `Content-Length`, in parts if need be; a project may let such forms pass (`on_failure`, `on_unread`)."
            }
            Reason::TextUnread => {
                "The project's guards let nothing pass unread (`on_unread`), and one text of the request is longer than they read of one. Send it in parts."
            }
            Reason::LocalModelBusy => "The embedded model's queue is full. Retry later.",
            Reason::Overloaded => "The gate holds as many bodies in memory as it may. Retry shortly.",
            Reason::UpstreamUnreachable => "The gate cannot connect to the upstream. The log says why.",
            Reason::UpstreamTimeout => "The upstream did not answer in time.",
            Reason::UpstreamBroken => "The upstream's answer was cut short or is not valid.",
            Reason::UpstreamKeyRefused => {
                "The upstream refused the gate's own key: not the caller's fault, and only the gate's operator can mend it."
            }
            Reason::UpstreamSecretWithheld => "The upstream's answer held the gate's own key, so it was not passed on.",
            Reason::NotServed => "The gate knows this surface and does not serve it, or not in this mode.",
            Reason::LocalModelUnavailable => "The embedded model is asked for and its files are not there.",
            Reason::ShuttingDown => "The gate is stopping. Retry: another one, or the next, will answer.",
            Reason::StoreUnavailable => {
                "The gate's database cannot be reached, so it cannot check or write down what it must."
            }
            Reason::Internal => "A defect of the gate. The log has the request's id.",
        }
    }
}
