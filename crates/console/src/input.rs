//! What a call brings: fields of its body, pages of a list.

use std::borrow::Cow;
use std::sync::Arc;

use pricing::Nano;
use serde_json::{Map, Value, json};
use store::{Page, Span};
use wire::key_like::holds_key;
use wire::refusal::{Reason, Refusal};
use wire::target::{self, QueryError};

use crate::amounts;
use crate::{Answer, Call};

/// Longest name of anything.
const NAME_CHARS_MAX: usize = 255;
/// Longest life that a key can be given: a year, as in the API.
const EXPIRY_SECONDS_MAX: i64 = 31_536_000;
/// Page sizes, as in the API.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

/// A body's fields, or those of an object in it.
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// What stands before a field's name in errors: `sallyport.raise.`.
    path: String,
}

pub(crate) fn invalid(param: impl Into<Cow<'static, str>>, words: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidValue, words.into()).param(param)
}

impl Fields {
    /// Reads the body; nothing at all counts as no fields.
    pub(crate) fn of(call: &Call<'_>) -> Result<Fields, Refusal> {
        if call.body.is_empty() {
            return Ok(Fields::none());
        }
        match serde_json::from_slice(call.body) {
            Ok(Value::Object(map)) => Ok(Fields { map, path: String::new() }),
            _ => Err(Refusal::new(Reason::InvalidJson, "The body must be a JSON object.")),
        }
    }

    /// No fields.
    pub(crate) fn none() -> Fields {
        Fields { map: Map::new(), path: String::new() }
    }

    /// Names of the fields.
    pub(crate) fn names(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    /// As they came.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.map
    }

    /// A field's name in errors, from the body's beginning.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// The refusal of a field. `words` follow its name: `must be a string`.
    pub(crate) fn wrong(&self, name: &str, words: &str) -> Refusal {
        let at = self.at(name);
        let words = format!("'{at}' {words}.");
        invalid(at, words)
    }

    /// A field that has to be there.
    pub(crate) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, Refusal> {
        let at = self.at(name);
        value.ok_or_else(|| invalid(at.clone(), format!("Missing required parameter: '{at}'.")))
    }

    /// Refuses fields that nobody reads: a misspelt one must not silently leave money unwatched.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.map.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let at = self.at(name);
                let words = format!("Unknown parameter: '{at}'. There are {}.", known.join(", "));
                Err(Refusal::new(Reason::UnsupportedParameter, words).param(at))
            }
        }
    }

    /// Whether the field stands there, null included: in a change null takes away.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A field that is there and not null.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// An object within, where it is there.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { map: map.clone(), path: format!("{}{name}.", self.path) })),
            Some(_) => Err(self.wrong(name, "must be an object")),
        }
    }

    /// A field that is text, where it is there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            // It would be stored, listed and audited.
            Some(Value::String(text)) if holds_key(text) => {
                Err(self.wrong(name, "looks like a secret key, and is kept and shown"))
            }
            Some(Value::String(text)) if text.chars().count() <= NAME_CHARS_MAX => Ok(Some(text.clone())),
            Some(Value::String(_)) => Err(self.wrong(name, &format!("is longer than {NAME_CHARS_MAX} characters"))),
            Some(_) => Err(self.wrong(name, "must be a string")),
        }
    }

    /// The name of something new.
    pub(crate) fn name(&self) -> Result<String, Refusal> {
        let name = self.required("name", self.text("name")?)?;
        if name.trim().is_empty() { Err(self.wrong("name", "must not be empty")) } else { Ok(name) }
    }

    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// A whole number from `min` to `max`.
    pub(crate) fn count(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(count) if (min..=max).contains(&count) => Ok(Some(count)),
                _ => Err(self.wrong(name, &format!("must be a whole number from {min} to {max}"))),
            },
        }
    }

    /// An amount in dollars, written as text so that no digit is lost.
    pub(crate) fn dollars(&self, name: &str) -> Result<Option<Nano>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                amounts::read(text).map(Some).map_err(|why| self.wrong(name, &format!("is {why}")))
            }
            Some(_) => Err(self.wrong(name, "must be dollars in quotes, like \"2.50\": they are read digit by digit")),
        }
    }

    /// An amount in cents, as the API writes it.
    pub(crate) fn cents(&self, name: &str, min: u64) -> Result<Option<Nano>, Refusal> {
        let cents = self.count(name, min, amounts::AMOUNT_MAX.0 / Nano::PER_CENT)?;
        Ok(cents.map(Nano::from_cents))
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

/// Bounds of `limit` of a list, where they are others than usual.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) min: usize,
    pub(crate) default: usize,
    pub(crate) max: usize,
}

impl Sizes {
    pub(crate) fn of(self, call: &Call<'_>) -> Result<usize, Refusal> {
        let Sizes { min, default, max } = self;
        match query_number(call, "limit")?.map(usize::try_from) {
            None => Ok(default),
            Some(Ok(limit)) if (min..=max).contains(&limit) => Ok(limit),
            Some(_) => Err(invalid("limit", format!("'limit' must be from {min} to {max}."))),
        }
    }
}

/// One page of a list that is in memory as a whole: behind `after`, or up to `before`, at most `limit`.
pub(crate) fn page_of<T>(
    call: &Call<'_>,
    sizes: Sizes,
    items: &[T],
    id: impl Fn(&T) -> &str,
    show: impl Fn(&T) -> Value,
) -> Answer {
    let limit = sizes.of(call)?;
    let place =
        |name: &'static str, of: &str| items.iter().position(|item| id(item) == of).ok_or_else(|| unknown_cursor(name));
    let (part, has_more) = match (query(call, "after")?, query(call, "before")?) {
        (Some(_), Some(_)) => return Err(invalid("before", "'after' and 'before' cannot be used together.")),
        (None, Some(before)) => {
            let ahead = &items[..place("before", &before)?];
            (&ahead[ahead.len().saturating_sub(limit)..], ahead.len() > limit)
        }
        (after, None) => {
            let from = after.map(|after| place("after", &after)).transpose()?.map_or(0, |place| place + 1);
            let rest = &items[from..];
            (&rest[..rest.len().min(limit)], rest.len() > limit)
        }
    };
    let data: Vec<Value> = part.iter().map(show).collect();
    let named = |item: Option<&T>| item.map_or(Value::Null, |item| id(item).into());
    Ok(json!({
        "object": "list", "first_id": named(part.first()), "last_id": named(part.last()), "has_more": has_more, "data": data,
    }))
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
