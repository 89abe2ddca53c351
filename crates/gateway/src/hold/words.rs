//! Refusals of money, in words that say what is left and what would fit.

use ledger::{Exceeded, Nearness, Refused};
use metering::bound::{NoBound, cap_names};
use metering::request::Asked;
use pricing::{Nano, Unpriced};
use store::Scope;
use wire::endpoint::Meter;
use wire::refusal::{Reason, Refusal};

/// A scope in words. End users are hashes here; runs and tags are the caller's own names.
fn whose(scope: &Scope) -> String {
    match scope {
        Scope::Organization => "the organization".to_owned(),
        Scope::Project(project) => format!("project {project}"),
        Scope::Key(key) => format!("key {key}"),
        Scope::EndUser(..) => "this end user".to_owned(),
        Scope::Run(_, run) => format!("run {run}"),
        Scope::Tag(_, tag) => format!("tag {tag}"),
    }
}

/// The refusal's code for a scope: OpenAI's where it has one, in its style otherwise.
const fn code(scope: &Scope) -> &'static str {
    match scope {
        Scope::Organization => "organization_spend_limit_exceeded",
        Scope::Project(_) => "project_spend_limit_exceeded",
        Scope::Key(_) => "key_spend_limit_exceeded",
        Scope::EndUser(..) => "end_user_spend_limit_exceeded",
        Scope::Run(..) => "run_spend_limit_exceeded",
        Scope::Tag(..) => "tag_spend_limit_exceeded",
    }
}

/// The header that warns.
pub(super) fn nearness(near: &Nearness) -> String {
    format!("{}; used={}%", near.scope.kind(), near.percent)
}

pub(super) fn bad_name(header: &'static str, chars_max: usize) -> Refusal {
    let words = format!("The `{header}` header must be 1 to {chars_max} visible ASCII characters, and no key.");
    Refusal::new(Reason::InvalidHeaders, words).param(header)
}

pub(super) fn no_price(model: &str) -> String {
    if model.is_empty() {
        return "the request names no model, so nobody can say its price: send `model`".to_owned();
    }
    let model: String = model.chars().take(128).collect();
    format!(
        "the model '{model}' has no price here. The gate's operator can give it one: `sallyport price set`, or `POST \
         /v1/sallyport/prices/{model}`"
    )
}

pub(super) fn no_bound(error: &NoBound) -> String {
    match error {
        NoBound::NoCap(_) => error.to_string(),
        _ => format!(
            "{error}. The gate's operator can allow this endpoint for a fixed amount (`allowances` of the project's money settings)"
        ),
    }
}

pub(super) fn unpriced(model: &str, unpriced: &Unpriced) -> String {
    let model: String = model.chars().take(128).collect();
    let units = unpriced.units.join(", ");
    format!("the model '{model}' has no price for {units}. The gate's operator can give it one: `sallyport price set`")
}

/// A refusal of the ledger, other than one that a policy has dealt with.
pub(super) fn refusal(refused: &Refused, unbounded: Option<&str>) -> Refusal {
    match refused {
        Refused::Exceeded(exceeded) => self::exceeded(exceeded, (Meter::Nothing, &Asked::default(), None), None),
        Refused::Calls { scope, calls_max: 0, .. } => {
            Refusal::new(Reason::RunStopped, format!("{} was stopped: it may make no calls.", capital(&whose(scope))))
        }
        Refused::Calls { scope, calls_max, .. } => {
            let words = format!("{} may make {calls_max} calls, and has made them.", capital(&whose(scope)));
            Refusal::new(Reason::RunStopped, words)
        }
        Refused::Unbounded(scope) => {
            let what = unbounded.unwrap_or("nobody can say what this request may cost");
            let words = format!("A hard spending limit of {} applies, and {what}.", whose(scope));
            Refusal::new(Reason::NoBound, words)
        }
        Refused::Nameless(_) => {
            let words = "This project limits the spending of each end user, and the request names none. Send `safety_identifier`.";
            Refusal::new(Reason::NamelessEndUser, words).param("safety_identifier")
        }
        Refused::TooManyNames(scope) => {
            let words = format!("Too many different names of the kind '{}' are active. Retry later.", scope.kind());
            Refusal::new(Reason::TooManyNames, words)
        }
        Refused::StoreDown => Refusal::new(
            Reason::StoreUnavailable,
            "The gate cannot reach its database, and the money that it has in stock does not cover this request. Retry shortly.",
        )
        .retry_after_ms(1_000),
        Refused::JournalFull => Refusal::new(
            Reason::StoreUnavailable,
            "The gate cannot write down what was used: too much waits for its database. Retry shortly.",
        )
        .retry_after_ms(1_000),
    }
}

/// The refusal of a limit: how it stands, and what would fit. What the whole organization has spent is told to its
/// operator only: other projects' usage is in it.
pub(super) fn exceeded(
    exceeded: &Exceeded,
    (meter, asked_for, fits): (Meter, &Asked, Option<u64>),
    open_of_key: Option<usize>,
) -> Refusal {
    let Exceeded { scope, period, amount, settled, held, left, asked, .. } = exceeded;
    let mut words = format!(
        "This request may cost up to {asked}, and {left} of the {} spending limit of {} is left",
        period.word(),
        whose(scope),
    );
    if *scope != Scope::Organization {
        words.push_str(&format!(": limit {amount}, spent {settled}, held by running requests {held}"));
    }
    if let Some(count) = open_of_key.filter(|count| *held > Nano::ZERO && *count > 0) {
        words.push_str(&format!(" ({count} run with this key)"));
    }
    words.push_str(". ");
    match fits {
        Some(cap) => {
            let names: Vec<_> = cap_names(meter, asked_for).collect();
            words.push_str(&format!("It would fit with {} up to {cap}.", names.join(" and ")));
        }
        None if matches!(meter, Meter::Chat | Meter::Responses | Meter::Completions) => {
            words.push_str("Its input alone does not fit.");
        }
        None => words.push_str("Send less, or have the limit raised."),
    }
    Refusal { code: Some(code(scope)), ..Refusal::new(Reason::SpendLimit, words) }
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
