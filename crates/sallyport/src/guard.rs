//! `sallyport guard …`

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use crate::api::{Gate, encoded};

const EXAMPLES: &str = "\
Examples:
  sallyport guard set proj_… --channel untrusted --mode block --threshold 1%
                                              documents and tool results with an injection are refused
  sallyport guard set proj_… --mode off       nothing is looked at
  sallyport guard set proj_… --spotlight delimit --parallel true
  sallyport guard set proj_… --allow untrusted:SHA256   this text is let through unread";

/// Arguments of `guard`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Guard {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what a project's guards do.
    Get {
        /// The project's id.
        project: String,
    },
    /// Change what a project's guards do; what is not named stays.
    Set(Box<Set>),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Channel {
    System,
    User,
    Untrusted,
}

impl Channel {
    const ALL: [Channel; 3] = [Channel::System, Channel::User, Channel::Untrusted];

    const fn word(self) -> &'static str {
        match self {
            Channel::System => "system",
            Channel::User => "user",
            Channel::Untrusted => "untrusted",
        }
    }
}

#[derive(Debug, Args)]
struct Set {
    /// The project's id.
    project: String,
    /// The channels that --mode and --threshold are for [default: all].
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<Channel>,
    /// What is done with what is found: off, observe or block.
    #[arg(long)]
    mode: Option<String>,
    /// What counts as found: 0.1%, 1% or 5% (of harmless texts that are taken for attacks), default, or a score from 0 to 1.
    #[arg(long)]
    threshold: Option<String>,
    /// How untrusted text is marked on its way to the model: off, delimit or datamark.
    #[arg(long)]
    spotlight: Option<String>,
    /// Whether the upstream is called while the guards read; its answer is held until they have.
    #[arg(long, value_name = "BOOL")]
    parallel: Option<bool>,
    /// What happens when the guards cannot judge: closed or open.
    #[arg(long)]
    on_failure: Option<String>,
    /// What happens when a request has more text than may be read of one: open or closed.
    #[arg(long)]
    on_unread: Option<String>,
    /// Let a text through unread, by the SHA-256 of its bytes; user:SHA256 in that channel only.
    #[arg(long, value_name = "[CHANNEL:]SHA256")]
    allow: Vec<String>,
    /// Read a text again that was let through.
    #[arg(long, value_name = "[CHANNEL:]SHA256")]
    disallow: Vec<String>,
}

impl Set {
    fn body(&self, before: &Value) -> Value {
        let mut body = json!({});
        let mut guard = json!({});
        if let Some(mode) = &self.mode {
            guard["mode"] = mode.as_str().into();
        }
        if let Some(threshold) = &self.threshold {
            // A score is a number in the API, a level a word.
            let number = threshold.parse::<f64>().ok().filter(|number| number.is_finite());
            guard["threshold"] = number.map_or_else(|| threshold.as_str().into(), Value::from);
        }
        if guard != json!({}) {
            let channels = if self.channel.is_empty() { &Channel::ALL[..] } else { &self.channel };
            channels.iter().for_each(|channel| body[channel.word()] = guard.clone());
        }
        let words = [("spotlight", &self.spotlight), ("on_failure", &self.on_failure), ("on_unread", &self.on_unread)];
        for (name, value) in words {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        if let Some(parallel) = self.parallel {
            body["parallel"] = parallel.into();
        }
        if !self.allow.is_empty() || !self.disallow.is_empty() {
            let listed = before["allow"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut allow: BTreeSet<String> = listed.map(str::to_owned).collect();
            allow.extend(self.allow.iter().map(|hash| hash.to_ascii_lowercase()));
            allow.retain(|hash| !self.disallow.iter().any(|gone| gone.eq_ignore_ascii_case(hash)));
            body["allow"] = json!(allow);
        }
        body
    }
}

fn path(project: &str) -> String {
    format!("/v1/sallyport/projects/{}/guards", encoded(project))
}

/// What holds, a line a channel.
fn words(guards: &Value) -> String {
    let channel = |channel: Channel| {
        let (mode, threshold) = (&guards[channel.word()]["mode"], &guards[channel.word()]["threshold"]);
        let threshold = threshold.as_str().map_or_else(|| threshold.to_string(), str::to_owned);
        format!("{:<10} {:<8} threshold {threshold}", channel.word(), mode.as_str().unwrap_or_default())
    };
    let mut lines: Vec<String> = Channel::ALL.map(channel).into();
    let rest = ["spotlight", "parallel", "on_failure", "on_unread"];
    let rest = rest.map(|name| {
        let value = &guards[name];
        format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    lines.push(rest.join(", "));
    lines.push(format!("{} texts are let through unread", guards["allow"].as_array().map_or(0, Vec::len)));
    lines.join("\n")
}

impl Guard {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        let guards = match &self.action {
            Action::Get { project } => gate.call(Method::GET, &path(project), None)?,
            Action::Set(set) => {
                let before = match set.allow.is_empty() && set.disallow.is_empty() {
                    true => Value::Null,
                    false => {
                        let before = gate.call(Method::GET, &path(&set.project), None);
                        before.context("the list of texts that are let through cannot be read")?
                    }
                };
                gate.call(Method::POST, &path(&set.project), Some(&set.body(&before)))?
            }
        };
        gate.tell(&guards, &words(&guards));
        Ok(())
    }
}
