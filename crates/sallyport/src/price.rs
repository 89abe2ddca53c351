//! `sallyport price …`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use http::Method;
use pricing::{Override, Table};
use serde_json::{Map, Value};

use crate::api::{Gate, encoded};
use crate::output::say;

const PATH: &str = "/v1/sallyport/prices";

const EXAMPLES: &str = "\
Examples:
  sallyport price list gpt-4o
  sallyport price set acme/tiny usd_per_1m_tokens.text_input=0.15 usd_per_1m_tokens.text_output=0.60
  sallyport price set my-alias alias=gpt-4o
  sallyport price set --file prices.toml
  sallyport price check prices.toml     without a gate
All fields: docs/reference/prices.md";

/// Arguments of `price`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Price {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List prices in force, in dollars a million tokens.
    List {
        /// A part of the models' names.
        model: Option<String>,
    },
    /// Set the prices of a model, in the place of those set before.
    Set {
        /// The model; `*` for calls of hosted tools of every model.
        #[arg(required_unless_present = "file")]
        model: Option<String>,
        /// Fields, as FIELD=VALUE.
        fields: Vec<String>,
        /// All models of a file of overrides.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "fields"])]
        file: Option<PathBuf>,
    },
    /// Take the prices set for a model away: what is shipped holds again.
    Remove {
        /// The model.
        model: String,
    },
    /// Check a file of overrides against the shipped list.
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// `a.b=c` put into fields. Token counts are numbers, everything else is text: dollars are read digit by digit.
fn put(fields: &mut Map<String, Value>, given: &str) -> Result<()> {
    let (path, value) = given.split_once('=').with_context(|| format!("`{given}`: write FIELD=VALUE"))?;
    let mut names: Vec<&str> = path.split('.').collect();
    let last = names.pop().unwrap_or_default();
    let mut place = fields;
    for name in names {
        let inner = place.entry(name).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = inner else { bail!("`{given}`: `{name}` has a value already") };
        place = inner;
    }
    let value = match last.ends_with("_tokens") {
        true => Value::from(value.parse::<u64>().with_context(|| format!("`{given}`: write a whole number"))?),
        false => Value::from(value),
    };
    ensure!(place.insert(last.to_owned(), value).is_none(), "`{given}`: named twice");
    Ok(())
}

/// A file of overrides as models and their fields, checked.
fn read(path: &Path) -> Result<Vec<(String, Map<String, Value>)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let overrides = Override::from_toml(&text)?;
    Table::shipped().with(&overrides)?;
    let file: toml::Table = text.parse()?;
    let mut models = Vec::new();
    if let Some(Value::Object(tools)) = file.get("tools").map(serde_json::to_value).transpose()? {
        models.push((pricing::EVERY_MODEL.to_owned(), tools));
    }
    if let Some(Value::Object(named)) = file.get("model").map(serde_json::to_value).transpose()? {
        // Aliases last: what they stand for may be in the same file.
        let (aliases, others): (Vec<_>, Vec<_>) =
            named.into_iter().partition(|(_, fields)| fields["alias"].is_string());
        for (model, fields) in others.into_iter().chain(aliases) {
            let Value::Object(fields) = fields else { bail!("`{model}` has no fields") };
            models.push((model, fields));
        }
    }
    Ok(models)
}

/// A model's path, and whether its name has to stand in the body because no path can hold it.
fn place(model: &str) -> (String, bool) {
    match model.contains(['/', '\\']) {
        true => (PATH.to_owned(), true),
        false => (format!("{PATH}/{}", encoded(model)), false),
    }
}

fn set(gate: &Gate, model: &str, mut fields: Map<String, Value>) -> Result<()> {
    let (path, is_in_body) = place(model);
    if is_in_body {
        fields.insert("model".to_owned(), model.into());
    }
    let set = gate.call(Method::POST, &path, Some(&fields.into()))?;
    gate.tell(&set, &format!("{model} is priced, from the next request on"));
    Ok(())
}

impl Price {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List { model } => list(gate, model.as_deref())?,
            Action::Set { file: Some(file), .. } => {
                for (model, fields) in read(file)? {
                    set(gate, &model, fields)?;
                }
            }
            Action::Set { model, fields, file: None } => {
                let mut given = Map::new();
                fields.iter().try_for_each(|field| put(&mut given, field))?;
                set(gate, model.as_deref().unwrap_or_default(), given)?;
            }
            Action::Remove { model } => {
                let (path, is_in_query) = place(model);
                let path = if is_in_query { format!("{path}?model={}", encoded(model)) } else { path };
                let gone = gate.call(Method::DELETE, &path, None)?;
                gate.tell(&gone, &format!("{model} costs what the shipped list or the configuration says"));
            }
            Action::Check { file } => {
                let models = read(file)?;
                say!("{} models, all as they should be", models.len());
            }
        }
        Ok(())
    }
}

fn list(gate: &Gate, part: Option<&str>) -> Result<()> {
    let filter = part.map_or_else(String::new, |part| format!("?model={}", encoded(part)));
    let path = format!("{PATH}{filter}");
    let columns = [
        ("MODEL", "/model"),
        ("INPUT", "/usd_per_1m_tokens/text_input"),
        ("CACHED", "/usd_per_1m_tokens/text_cached_input"),
        ("OUTPUT", "/usd_per_1m_tokens/text_output"),
        ("CONTEXT", "/context_window_tokens"),
        ("SOURCE", "/source"),
    ];
    gate.print(&gate.list(&path)?, &columns);
    if !gate.wants_json() {
        let separator = if path.contains('?') { '&' } else { '?' };
        let head = gate.call(Method::GET, &format!("{path}{separator}limit=1"), None)?;
        let (version, age) = (head["version"].as_str().unwrap_or_default(), &head["age_days"]);
        say!("\nDollars a million tokens. List {version}, {age} days old.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_put_together() {
        let mut fields = Map::new();
        for field in
            ["usd_per_1m_tokens.text_input=0.15", "usd_per_1m_tokens.batch.text_input=0.1", "max_output_tokens=4096"]
        {
            put(&mut fields, field).expect(field);
        }
        let whole = json!({"usd_per_1m_tokens": {"text_input": "0.15", "batch": {"text_input": "0.1"}}, "max_output_tokens": 4096});
        assert_eq!(Value::from(fields.clone()), whole);
        for wrong in ["x", "max_output_tokens=many", "max_output_tokens=1", "max_output_tokens.x=1"] {
            assert!(put(&mut fields, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_checked_and_aliases_come_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prices.toml");
        std::fs::write(&path, "[tools]\nusd_per_1k_file_searches = \"2.5\"\n[model.\"a\"]\nalias = \"z\"\n[model.\"z\"]\nusd_per_1m_tokens = { text_input = \"1\" }\n").expect("written");
        let models: Vec<String> = read(&path).expect("fine").into_iter().map(|(model, _)| model).collect();
        assert_eq!(models, ["*", "z", "a"]);
        std::fs::write(&path, "[model.\"z\"]\nusd_per_1m_tokens = { text_input = 1.5 }\n").expect("written");
        assert!(read(&path).expect_err("a float").to_string().contains("text_input"));
    }
}
