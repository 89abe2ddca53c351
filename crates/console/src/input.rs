//! What a call brings: fields of its body, pages of a list.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use store::{Page, Span};
use wire::refusal::{Reason, Refusal};
use wire::target::{self, QueryError};

use crate::{Answer, Call};

/// Longest name of anything.
const NAME_CHARS_MAX: usize = 255;
/// Longest life that a key can be given: a year, as in the API.
const EXPIRY_SECONDS_MAX: i64 = 31_536_000;
/// Page sizes, as in the API.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

/// A body's fields.
pub(crate) struct Fields(Map<String, Value>);

pub(crate) fn invalid(param: &'static str, words: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidValue, words.into()).param(param)
}

impl Fields {
    /// Reads the body; nothing at all counts as no fields.
    pub(crate) fn of(call: &Call<'_>) -> Result<Fields, Refusal> {
        if call.body.is_empty() {
            return Ok(Fields(Map::new()));
        }
        match serde_json::from_slice(call.body) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            _ => Err(Refusal::new(Reason::InvalidJson, "The body must be a JSON object.")),
        }
    }

    /// A field that is there and not null.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A field that is text, where it is there.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= NAME_CHARS_MAX => Ok(Some(text.clone())),
            Some(Value::String(_)) => {
                Err(invalid(name, format!("'{name}' is longer than {NAME_CHARS_MAX} characters.")))
            }
            Some(_) => Err(invalid(name, format!("'{name}' must be a string."))),
        }
    }

    /// The name of something new.
    pub(crate) fn name(&self) -> Result<String, Refusal> {
        let name = self.text("name")?.ok_or_else(|| invalid("name", "Missing required parameter: 'name'."))?;
        if name.trim().is_empty() { Err(invalid("name", "'name' must not be empty.")) } else { Ok(name) }
    }

    pub(crate) fn bool(&self, name: &'static str) -> Result<Option<bool>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(invalid(name, format!("'{name}' must be true or false."))),
        }
    }

    /// `expires_in_seconds` as a time.
    pub(crate) fn expires_at(&self, now: i64) -> Result<Option<i64>, Refusal> {
        match self.value("expires_in_seconds") {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(seconds) if (1..=EXPIRY_SECONDS_MAX).contains(&seconds) => Ok(Some(now + seconds)),
                _ => Err(invalid(
                    "expires_in_seconds",
                    format!("'expires_in_seconds' must be a whole number from 1 to {EXPIRY_SECONDS_MAX}."),
                )),
            },
        }
    }

    /// Refuses fields that would restrict a key and that this version cannot hold a key to: a key that is wider than
    /// its maker believes is worse than none.
    pub(crate) fn refuse_restrictions(&self) -> Result<(), Refusal> {
        for name in ["scopes", "ip_allowlist", "models", "endpoints", "budget", "rate_limit", "permissions"] {
            if self.value(name).is_some() {
                let words = format!("This version of Sallyport cannot restrict keys by '{name}'. Leave it out.");
                return Err(Refusal::new(Reason::UnsupportedParameter, words).param(name));
            }
        }
        Ok(())
    }
}

/// A query parameter that may stand once.
pub(crate) fn query(call: &Call<'_>, name: &'static str) -> Result<Option<String>, Refusal> {
    let value = target::unique(call.query, name).map_err(|error| bad_query(&error))?;
    Ok(value.map(std::borrow::Cow::into_owned).filter(|value| !value.is_empty()))
}

/// A query parameter that may repeat, written `name=` or `name[]=`.
pub(crate) fn query_all(call: &Call<'_>, name: &str) -> Result<Vec<String>, Refusal> {
    let values = target::all(call.query, name).map_err(|error| bad_query(&error))?;
    Ok(values.into_iter().map(std::borrow::Cow::into_owned).collect())
}

fn bad_query(error: &QueryError) -> Refusal {
    Refusal::new(Reason::InvalidTarget, format!("The request's query cannot be accepted: {error}."))
}

/// `true` or `false` in a query.
pub(crate) fn query_flag(call: &Call<'_>, name: &'static str) -> Result<bool, Refusal> {
    match query(call, name)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid(name, format!("'{name}' must be true or false."))),
    }
}

/// A number in a query.
pub(crate) fn query_number(call: &Call<'_>, name: &'static str) -> Result<Option<i64>, Refusal> {
    let number = |text: String| text.parse().map_err(|_| invalid(name, format!("'{name}' must be a whole number.")));
    query(call, name)?.map(number).transpose()
}

/// `limit`, within its bounds.
pub(crate) fn limit(call: &Call<'_>) -> Result<usize, Refusal> {
    match query_number(call, "limit")? {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) => match usize::try_from(limit) {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(invalid("limit", format!("'limit' must be from 1 to {LIMIT_MAX}."))),
        },
    }
}

/// One page of a list, oldest first unless told otherwise: `after` an id, at most `limit`.
pub(crate) fn page<T>(
    call: &Call<'_>,
    is_newest_first: bool,
    read: impl FnOnce(Span<'_>) -> Option<Page<T>>,
    show: impl Fn(&Arc<T>) -> Value,
) -> Answer {
    let limit = limit(call)?;
    let after = query(call, "after")?;
    let page = read(Span { after: after.as_deref(), limit, is_newest_first }).ok_or_else(|| unknown_cursor("after"))?;
    Ok(list(page.items.iter().map(show).collect(), page.has_more))
}

/// The refusal of an id that a page was to begin at.
pub(crate) fn unknown_cursor(name: &'static str) -> Refusal {
    invalid(name, format!("No object of this list has the id in '{name}'."))
}

/// A list in the API's shape.
pub(crate) fn list(data: Vec<Value>, has_more: bool) -> Value {
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    json!({"object": "list", "first_id": id(data.first()), "last_id": id(data.last()), "has_more": has_more, "data": data})
}

/// The API's answer to a deletion.
pub(crate) fn deleted(object: &str, id: &str) -> Value {
    json!({"object": object, "id": id, "deleted": true})
}
