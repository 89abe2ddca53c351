//! Reads fields of a request's body, and says which one is wrong.
//!
//! Promises: `null` means absent; a wrong type is `invalid_type` and a wrong value `invalid_value`, with the field's
//! name as `param`; fields that nobody asks for are ignored.

use serde_json::{Map, Value};

use crate::refusal::LocalRefusal;
use crate::sampler::Sampling;
use crate::template::Message;

/// A JSON object with the path that leads to it.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a, 'p> {
    map: &'a Map<String, Value>,
    path: &'p str,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// The body itself.
    pub(crate) fn body(map: &'a Map<String, Value>) -> Fields<'a, 'p> {
        Fields { map, path: "" }
    }

    /// A nested object.
    pub(crate) fn object(value: &'a Value, path: &'p str) -> Result<Fields<'a, 'p>, LocalRefusal> {
        let map = value.as_object().ok_or_else(|| LocalRefusal::wrong_type(path, "an object"))?;
        Ok(Fields { map, path })
    }

    /// The full name of a field.
    pub(crate) fn param(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// The field, if it is there and not null.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, LocalRefusal> {
        let Some(value) = self.value(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| LocalRefusal::wrong_type(&self.param(name), wanted))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, LocalRefusal> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, LocalRefusal> {
        Ok(self.typed(name, "a boolean", Value::as_bool)?.unwrap_or(false))
    }

    pub(crate) fn array(&self, name: &str) -> Result<Option<&'a Vec<Value>>, LocalRefusal> {
        self.typed(name, "an array", Value::as_array)
    }

    pub(crate) fn map(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, LocalRefusal> {
        self.typed(name, "an object", Value::as_object)
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, LocalRefusal> {
        self.typed(name, "an integer", Value::as_i64)
    }

    /// An integer from `min` to `max`.
    pub(crate) fn count(&self, name: &str, min: usize, max: usize) -> Result<Option<usize>, LocalRefusal> {
        let Some(integer) = self.integer(name)? else { return Ok(None) };
        match usize::try_from(integer) {
            Ok(count) if (min..=max).contains(&count) => Ok(Some(count)),
            _ if max == usize::MAX => {
                Err(LocalRefusal::wrong_value(&self.param(name), &format!("an integer from {min} on")))
            }
            _ => Err(LocalRefusal::wrong_value(&self.param(name), &format!("an integer from {min} to {max}"))),
        }
    }

    /// A number from `min` to `max`.
    pub(crate) fn number(&self, name: &str, min: f64, max: f64) -> Result<Option<f64>, LocalRefusal> {
        let number = self.typed(name, "a number", Value::as_f64)?;
        match number {
            Some(number) if !(min..=max).contains(&number) => {
                Err(LocalRefusal::wrong_value(&self.param(name), &format!("a number from {min} to {max}")))
            }
            number => Ok(number),
        }
    }

    /// What both endpoints call alike; the penalties exist in chat only.
    pub(crate) fn sampling(&self) -> Result<Sampling, LocalRefusal> {
        Ok(Sampling {
            temperature: self.number("temperature", 0.0, 2.0)?.unwrap_or(1.0) as f32,
            top_p: self.number("top_p", 0.0, 1.0)?.unwrap_or(1.0) as f32,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            bias: Vec::new(),
        })
    }

    /// Tools may be there, but nothing may demand that one is called: the model is too small to be trusted with it.
    pub(crate) fn refuse_forced_tools(&self) -> Result<(), LocalRefusal> {
        self.array("tools")?;
        match self.value("tool_choice") {
            None => Ok(()),
            Some(Value::String(choice)) if choice == "auto" || choice == "none" => Ok(()),
            Some(Value::String(choice)) if choice != "required" => {
                Err(LocalRefusal::wrong_value("tool_choice", "`none`, `auto` or `required`"))
            }
            Some(Value::String(_) | Value::Object(_)) => Err(LocalRefusal::unsupported(
                "tool_choice",
                "it calls no tools; leave it out, or use `auto` or `none`",
            )),
            Some(_) => Err(LocalRefusal::wrong_type("tool_choice", "a string or an object")),
        }
    }

    /// Refuses an answer in any format but text. `self` is the object that holds `name`.
    pub(crate) fn refuse_formats(&self, name: &str) -> Result<(), LocalRefusal> {
        let Some(format) = self.value(name) else { return Ok(()) };
        let param = self.param(name);
        match Fields::object(format, &param)?.text("type")? {
            Some("text") => Ok(()),
            Some("json_object" | "json_schema" | "grammar" | "python") => {
                Err(LocalRefusal::unsupported(&param, "it cannot be held to a format"))
            }
            _ => Err(LocalRefusal::wrong_value(&format!("{param}.type"), "`text`")),
        }
    }
}

/// Reads a message's content: a string, or parts of text. `text_parts` names the kinds of parts that are text.
pub(crate) fn content(value: &Value, path: &str, text_parts: &[&str]) -> Result<String, LocalRefusal> {
    let parts = match value {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        _ => return Err(LocalRefusal::wrong_type(path, "a string or an array of content parts")),
    };
    let mut texts = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let part = Fields::object(part, &path)?;
        let Some(kind) = part.text("type")? else {
            return Err(LocalRefusal::wrong_value(&part.param("type"), "a kind of content part"));
        };
        let field = if kind == "refusal" { "refusal" } else { "text" };
        if !text_parts.contains(&kind) && kind != "refusal" {
            let message = format!(
                "Invalid value for '{}': the embedded demo model reads text only, one of {}.",
                part.param("type"),
                text_parts.join(", ")
            );
            return Err(LocalRefusal::request("invalid_value", part.param("type"), message));
        }
        texts.push(part.text(field)?.ok_or_else(|| LocalRefusal::wrong_type(&part.param(field), "a string"))?);
    }
    Ok(texts.join("\n"))
}

/// The template's role for one of the API's: what a developer says is what the template calls system.
pub(crate) fn message(role: &str, content: String, param: &str) -> Result<Message, LocalRefusal> {
    let role = match role {
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" | "function" => "tool",
        _ => return Err(LocalRefusal::wrong_value(param, "`developer`, `system`, `user`, `assistant` or `tool`")),
    };
    Ok(Message { role, content })
}
