//! `sallyport incident …`

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use keys::Secret;
use serde_json::{Map, Value, json};
use store::{Clock, SystemClock};

use crate::api::{Gate, encoded};
use crate::days;

const PATH: &str = "/v1/sallyport/incidents";

const EXAMPLES: &str = "\
Examples:
  sallyport incident open key_… --reason \"in a public repository\" --since 3h --replace --out ./incident
                                        ends the key now, cuts its streams, mints a replacement, and writes
                                        report.md, report.json and replacement.key (mode 0600) to the folder
  sallyport incident open - --reason \"in a gist\"   the leaked key itself is read from standard input
  sallyport incident report incident_… > report.md
  sallyport incident limit incident_…   sets the limit that follows from the key's ordinary use
  sallyport incident close incident_… --note \"rolled out\"";

/// Arguments of `incident`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Incident {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// A key leaked: end it, see what it did since, replace it.
    Open(Open),
    /// List incidents, the newest first.
    List {
        /// Open ones only.
        #[arg(long)]
        open: bool,
        /// Of one key.
        #[arg(long, value_name = "KEY_ID")]
        key: Option<String>,
    },
    /// Show an incident in short.
    Show {
        /// The incident's id.
        incident: String,
    },
    /// Print an incident's report, with what a provider's support asks for.
    Report {
        /// The incident's id.
        incident: String,
        /// In which form.
        #[arg(long, value_enum, default_value = "markdown")]
        format: Format,
    },
    /// End the key of an incident that left it in force.
    End {
        /// The incident's id.
        incident: String,
        /// Suspend it instead of revoking it.
        #[arg(long)]
        suspend: bool,
    },
    /// Add a note.
    Note {
        /// The incident's id.
        incident: String,
        /// The note.
        text: String,
    },
    /// Set the limit that follows from the key's ordinary use.
    Limit {
        /// The incident's id.
        incident: String,
    },
    /// Mint a key in the place of the exposed one. Its secret is printed once.
    Replace {
        /// The incident's id.
        incident: String,
    },
    /// Close an incident: its report stays as it is now.
    Close {
        /// The incident's id.
        incident: String,
        /// A last note.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Markdown,
    Json,
}

#[derive(Debug, Args)]
struct Open {
    /// The key's id (key_…), or `-`: then the leaked key itself is read from standard input. It may be gone already.
    key: String,
    /// What happened.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Since when it is exposed: how long ago (3h), a day, a time in UTC (2026-11-24T10:22Z). Without it: since it was made.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Who says so.
    #[arg(long, value_name = "NAME", default_value = "command line")]
    source: String,
    /// Mint a key in its place, with the same settings.
    #[arg(long)]
    replace: bool,
    /// Suspend it instead of revoking it: it can be resumed.
    #[arg(long, conflicts_with = "keep")]
    suspend: bool,
    /// Leave it in force.
    #[arg(long)]
    keep: bool,
    /// Write report.md, report.json and the replacement's secret (replacement.key) to this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Open {
    fn body(&self) -> Result<Value> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        match self.key.as_str() {
            "-" => put("key", leaked_key()?.expose().into()),
            id => put("key_id", id.into()),
        };
        put("reason", self.reason.as_str().into());
        put("source", self.source.as_str().into());
        put("replace", self.replace.into());
        if self.suspend || self.keep {
            put(if self.suspend { "suspend" } else { "revoke" }, self.suspend.into());
        }
        if let Some(since) = &self.since {
            let at = days::moment(since, SystemClock.unix_seconds()).context("--since")?;
            put("exposed_since", at.into());
        }
        Ok(Value::Object(body))
    }

    fn run(&self, gate: &Gate) -> Result<()> {
        let body = self.body()?;
        // Before the key ends: a folder that cannot be written would lose the replacement's secret.
        let out = self.out.as_deref().map(folder).transpose()?;
        let incident = gate.call(Method::POST, PATH, Some(&body))?;
        let secret = incident["replacement"]["value"].as_str();
        let mut told = in_short(&incident);
        match (secret, out) {
            (Some(secret), Some(out)) => {
                let path = out.join("replacement.key");
                write(&path, secret)?;
                told += &format!(
                    "\nreplacement   {} (its secret is in {})",
                    text(&incident, "/replacement/id"),
                    path.display()
                );
            }
            (Some(secret), None) => {
                let id = text(&incident, "/replacement/id");
                told += &format!("\nreplacement   {id}\n{secret}\nThis secret is not shown again.");
            }
            (None, _) => {}
        }
        if let Some(out) = out {
            for (name, format) in [("report.md", Format::Markdown), ("report.json", Format::Json)] {
                write(&out.join(name), &report(gate, &text(&incident, "/id"), format)?)?;
            }
            told += &format!("\nreport        {}", out.join("report.md").display());
        }
        gate.tell(&incident, &told);
        Ok(())
    }
}

/// The key on standard input: arguments show in process lists, to those who do not have it yet.
fn leaked_key() -> Result<Secret> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("standard input: no key can be read")?;
    ensure!(!line.trim().is_empty(), "standard input: the leaked key is expected on one line");
    Ok(Secret::new(line.trim()))
}

/// Makes the folder, and makes sure that its files can be written.
fn folder(path: &Path) -> Result<&Path> {
    let failed = || format!("--out: cannot write to {}", path.display());
    std::fs::create_dir_all(path).with_context(failed)?;
    for name in ["report.md", "report.json", "replacement.key"] {
        let there = path.join(name);
        ensure!(!there.exists(), "--out: {} is there already: name another folder", there.display());
    }
    let probe = path.join("replacement.key");
    write(&probe, "").and_then(|()| Ok(std::fs::remove_file(&probe)?)).with_context(failed)?;
    Ok(path)
}

/// A file for its owner alone.
fn write(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let text = if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    file.with_context(failed)?.write_all(text.as_bytes()).with_context(failed)
}

fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// What somebody wants to know first.
fn in_short(incident: &Value) -> String {
    let evidence = "/evidence/since_exposure";
    let figures = |at: &str| {
        format!("{} calls, {} dollars", text(incident, &format!("{at}/calls")), text(incident, &format!("{at}/cost")))
    };
    let proposal = incident["evidence"]["proposed_limit"]["day"].as_str().map_or_else(
        || "none: nothing was spent before".to_owned(),
        |day| format!("{day} dollars a day, {} a month", text(incident, "/evidence/proposed_limit/month")),
    );
    format!(
        "{}\nkey           {} ({}), {}\nsince         {}\nused since    {}\nunexpected    {}\nproposed      {proposal}",
        text(incident, "/id"),
        text(incident, "/key/id"),
        text(incident, "/key/name"),
        text(incident, "/ending"),
        incident["evidence"]["since_exposure"]["since"].as_i64().map_or_else(|| "-".to_owned(), exposure::utc),
        figures(evidence),
        figures(&format!("{evidence}/unexpected")),
    )
}

fn report(gate: &Gate, id: &str, format: Format) -> Result<String> {
    let path = format!("{PATH}/{}/report", encoded(id));
    match format {
        Format::Json => Ok(format!("{:#}\n", gate.call(Method::GET, &path, None)?)),
        Format::Markdown => {
            let report = gate.call(Method::GET, &format!("{path}?format=markdown"), None)?;
            Ok(report["content"].as_str().context("the gate's answer has no report")?.to_owned())
        }
    }
}

impl Incident {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        let post = |incident: &str, more: &str, body: Option<Value>| {
            gate.call(Method::POST, &format!("{PATH}/{}{more}", encoded(incident)), body.as_ref())
        };
        match &self.action {
            Action::Open(open) => open.run(gate)?,
            Action::List { open, key } => {
                let key = key.as_ref().map(|key| format!("key_id={}", encoded(key)));
                let filters: Vec<String> = open.then(|| "status=open".to_owned()).into_iter().chain(key).collect();
                let columns = [
                    ("ID", "/id"),
                    ("STATUS", "/status"),
                    ("KEY", "/key/id"),
                    ("NAME", "/key/name"),
                    ("SOURCE", "/source"),
                    ("FOUND", "/found_at"),
                    ("ENDING", "/ending"),
                    ("REPLACED BY", "/replacement_key_id"),
                ];
                gate.print(&gate.list(&format!("{PATH}?{}", filters.join("&")))?, &columns);
            }
            Action::Show { incident } => {
                let shown = gate.call(Method::GET, &format!("{PATH}/{}", encoded(incident)), None)?;
                gate.tell(&shown, &in_short(&shown));
            }
            Action::Report { incident, format } => print!("{}", report(gate, incident, *format)?),
            Action::End { incident, suspend } => {
                let how = if *suspend { "suspend" } else { "revoke" };
                let ended = post(incident, "", Some(json!({how: true})))?;
                gate.tell(&ended, &format!("{} is {}", text(&ended, "/key/id"), text(&ended, "/ending")));
            }
            Action::Note { incident, text } => {
                let noted = post(incident, "", Some(json!({"note": text})))?;
                gate.tell(&noted, &format!("noted with {incident}"));
            }
            Action::Limit { incident } => {
                let set = post(incident, "/limit", None)?;
                let columns = [("ID", "/id"), ("SCOPE", "/scope/kind"), ("PERIOD", "/period"), ("USD", "/amount")];
                gate.print(set["data"].as_array().map_or(&[][..], Vec::as_slice), &columns);
            }
            Action::Replace { incident } => gate.tell_key(&post(incident, "/replacement", None)?["replacement"]),
            Action::Close { incident, note } => {
                let mut body = json!({"close": true});
                if let Some(note) = note {
                    body["note"] = note.as_str().into();
                }
                let closed = post(incident, "", Some(body))?;
                gate.tell(&closed, &format!("{incident} is closed; its report stays as it is"));
            }
        }
        Ok(())
    }
}
