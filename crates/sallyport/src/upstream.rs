//! `sallyport upstream …`

use std::io::Read;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::{Gate, encoded};

const PATH: &str = "/v1/sallyport/upstreams";
/// Most bytes read from standard input.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

/// Arguments of `upstream`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Upstream {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

const HELP: &str = "\
Examples:
  sallyport upstream add Europe https://eu.api.openai.com/v1
  sallyport upstream key add UPSTREAM_ID first < key.txt        the key is read from standard input
  sallyport upstream key add UPSTREAM_ID first --source NAME    a source of the configuration's [vault.sources]
  sallyport upstream use PROJECT_ID UPSTREAM_ID default         fail-over in this order; the first is its home
  sallyport upstream use PROJECT_ID UPSTREAM_ID=3 default=1 --weighted
  sallyport upstream administer UPSTREAM_ID proj_… < admin-key.txt
  sallyport upstream rotate UPSTREAM_ID";

#[derive(Debug, Subcommand)]
enum Action {
    /// List upstreams.
    List,
    /// Add an upstream.
    Add {
        /// Its name.
        name: String,
        /// Base URL, any /v1 included. It cannot be changed later.
        #[arg(value_name = "URL")]
        address: String,
        /// OpenAI-Organization towards it.
        #[arg(long, value_name = "ID")]
        organization: Option<String>,
        /// OpenAI-Project towards it.
        #[arg(long, value_name = "ID")]
        upstream_project: Option<String>,
    },
    /// Send no new requests to an upstream.
    Disable {
        /// Its id.
        upstream: String,
    },
    /// Send requests to an upstream again.
    Enable {
        /// Its id.
        upstream: String,
    },
    /// Remove an upstream with its keys.
    Remove {
        /// Its id.
        upstream: String,
    },
    /// Keys of an upstream.
    #[command(subcommand)]
    Key(KeyAction),
    /// Which upstreams a project uses, the first being where its stored objects are; without any: shows it.
    Use {
        /// The project's id.
        project: String,
        /// Ids of upstreams (`default` is the configuration's), with `=WEIGHT` behind them where they are weighted.
        upstreams: Vec<String>,
        /// Spread requests by weight, instead of fail-over in this order.
        #[arg(long)]
        weighted: bool,
        /// Use the configuration's upstream again.
        #[arg(long, conflicts_with_all = ["upstreams", "weighted"])]
        default: bool,
    },
    /// Let the gate rotate an upstream's keys: gives it an admin key of the upstream, read from standard input.
    Administer {
        /// Its id.
        upstream: String,
        /// The upstream's project (proj_…) in which service accounts are made.
        upstream_project: String,
        /// Take the admin key from this source of the configuration instead.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// Rotate a key by itself when it is so many days old.
        #[arg(long, value_name = "DAYS")]
        every: Option<u32>,
    },
    /// Rotate a key of an upstream: a new service account with its key comes, the old one goes.
    Rotate {
        /// The upstream's id.
        upstream: String,
        /// The key that goes; needed where there are several.
        #[arg(long, value_name = "ID")]
        key: Option<String>,
    },
    /// Rotations of an upstream, and how far they are.
    Rotations {
        /// The upstream's id.
        upstream: String,
    },
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// List keys: redacted, with health, requests under way and last use.
    List {
        /// The upstream's id.
        upstream: String,
    },
    /// Add a key, read from standard input: flags show in process lists.
    Add {
        /// The upstream's id.
        upstream: String,
        /// The key's name.
        name: String,
        /// Take it from this source of the configuration instead.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// The upstream's id of the service account whose key it is: with it a rotation can delete it.
        #[arg(long, value_name = "ID")]
        service_account: Option<String>,
        /// The upstream's id of the key: with it a rotation can give it an expiry.
        #[arg(long, value_name = "ID")]
        key_id: Option<String>,
    },
    /// Use a key for no new request.
    Disable {
        /// The upstream's id.
        upstream: String,
        /// The key's id (upkey_…).
        key: String,
    },
    /// Use a key again.
    Enable {
        /// The upstream's id.
        upstream: String,
        /// The key's id (upkey_…).
        key: String,
    },
    /// Take a key out of the vault.
    Remove {
        /// The upstream's id.
        upstream: String,
        /// The key's id (upkey_…).
        key: String,
    },
}

/// A secret from standard input.
fn read_secret() -> Result<Zeroizing<String>> {
    // Made as large as it may become: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(INPUT_BYTES_MAX)?));
    std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut text).context("cannot read the key")?;
    ensure!(!text.trim().is_empty(), "no key on standard input: give it with `< FILE`, or name a --source");
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Puts a secret from standard input into the field, or names its source.
fn add_secret(body: &mut Value, field: &str, source: Option<&str>) -> Result<()> {
    match source {
        Some(source) => body["source"] = source.into(),
        None => body[field] = read_secret()?.as_str().into(),
    }
    Ok(())
}

fn at(upstream: &str) -> String {
    format!("{PATH}/{}", encoded(upstream))
}

impl Upstream {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List => {
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("URL", "/url"),
                    ("STATUS", "/status"),
                    ("ROTATION", "/rotation/status"),
                ];
                gate.print(&gate.list(PATH)?, &columns);
            }
            Action::Add { name, address, organization, upstream_project } => {
                let body = json!({
                    "name": name, "url": address, "organization": organization, "project": upstream_project,
                });
                let made = gate.call(Method::POST, PATH, Some(&body))?;
                let id = made["id"].as_str().unwrap_or_default();
                gate.tell(&made, &format!("{id}\nAdd a key: sallyport upstream key add {id} first < key.txt"));
            }
            Action::Disable { upstream } => self.set_status(&at(upstream), upstream, "disabled")?,
            Action::Enable { upstream } => self.set_status(&at(upstream), upstream, "enabled")?,
            Action::Remove { upstream } => {
                let gone = gate.call(Method::DELETE, &at(upstream), None)?;
                gate.tell(&gone, &format!("{upstream} is removed"));
            }
            Action::Key(action) => self.key(action)?,
            Action::Use { project, upstreams, weighted, default } => {
                self.choose(project, upstreams, *weighted, *default)?;
            }
            Action::Administer { upstream, upstream_project, source, every } => {
                let mut administration = json!({"project_id": upstream_project});
                add_secret(&mut administration, "key", source.as_deref())?;
                let mut body = json!({"administration": administration});
                if let Some(days) = every {
                    body["rotate_every_days"] = (*days).into();
                }
                let changed = gate.call(Method::POST, &at(upstream), Some(&body))?;
                gate.tell(
                    &changed,
                    &format!("the keys of {upstream} can be rotated: sallyport upstream rotate {upstream}"),
                );
            }
            Action::Rotate { upstream, key } => {
                let body = key.as_ref().map_or(json!({}), |key| json!({"key_id": key}));
                let begun = gate.call(Method::POST, &format!("{}/rotate", at(upstream)), Some(&body))?;
                let id = begun["id"].as_str().unwrap_or_default();
                gate.tell(&begun, &format!("{id}\nFollow it: sallyport upstream rotations {upstream}"));
            }
            Action::Rotations { upstream } => {
                let columns = [
                    ("ID", "/id"),
                    ("STATUS", "/status"),
                    ("OLD KEY", "/old_key_id"),
                    ("NEW KEY", "/new_key_id"),
                    ("SINCE", "/changed_at"),
                    ("MESSAGE", "/message"),
                ];
                gate.print(&gate.list(&format!("{}/rotations", at(upstream)))?, &columns);
            }
        }
        Ok(())
    }

    fn set_status(&self, path: &str, what: &str, status: &str) -> Result<()> {
        let changed = self.gate.call(Method::POST, path, Some(&json!({"status": status})))?;
        self.gate.tell(&changed, &format!("{what} is {status}"));
        Ok(())
    }

    fn key(&self, action: &KeyAction) -> Result<()> {
        let gate = &self.gate;
        let key_at = |upstream: &str, key: &str| format!("{}/keys/{}", at(upstream), encoded(key));
        match action {
            KeyAction::List { upstream } => {
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("KEY", "/redacted_value"),
                    ("SOURCE", "/source"),
                    ("STATUS", "/status"),
                    ("HEALTH", "/health"),
                    ("IN FLIGHT", "/in_flight"),
                    ("LAST USED", "/last_used_at"),
                    ("PROBLEM", "/problem"),
                ];
                gate.print(&gate.list(&format!("{}/keys", at(upstream)))?, &columns);
            }
            KeyAction::Add { upstream, name, source, service_account, key_id } => {
                let mut body = json!({"name": name});
                if let Some(id) = service_account {
                    body["service_account_id"] = id.as_str().into();
                }
                if let Some(id) = key_id {
                    body["key_id"] = id.as_str().into();
                }
                add_secret(&mut body, "value", source.as_deref())?;
                let made = gate.call(Method::POST, &format!("{}/keys", at(upstream)), Some(&body))?;
                let id = made["id"].as_str().unwrap_or_default();
                gate.tell(&made, &format!("{id}\nIn force, and sealed: it is not shown again."));
            }
            KeyAction::Disable { upstream, key } => self.set_status(&key_at(upstream, key), key, "disabled")?,
            KeyAction::Enable { upstream, key } => self.set_status(&key_at(upstream, key), key, "enabled")?,
            KeyAction::Remove { upstream, key } => {
                let gone = gate.call(Method::DELETE, &key_at(upstream, key), None)?;
                gate.tell(&gone, &format!("{key} is removed"));
            }
        }
        Ok(())
    }

    fn choose(&self, project: &str, upstreams: &[String], is_weighted: bool, is_default: bool) -> Result<()> {
        let gate = &self.gate;
        let path = format!("/v1/sallyport/projects/{}/upstreams", encoded(project));
        if is_default {
            let gone = gate.call(Method::DELETE, &path, None)?;
            gate.tell(&gone, &format!("{project} uses the configuration's upstream"));
            return Ok(());
        }
        let policy = if upstreams.is_empty() {
            gate.call(Method::GET, &path, None)?
        } else {
            let member = |text: &String| {
                let (id, weight) = text.split_once('=').unwrap_or((text, "1"));
                let weight: u32 = weight.parse().with_context(|| format!("`{text}`: a weight is a whole number"))?;
                Ok(json!({"id": id, "weight": weight}))
            };
            let members = upstreams.iter().map(member).collect::<Result<Vec<Value>>>()?;
            let strategy = if is_weighted { "weighted" } else { "failover" };
            gate.call(Method::POST, &path, Some(&json!({"strategy": strategy, "upstreams": members})))?
        };
        let strategy = policy["strategy"].as_str().unwrap_or_default();
        let names = policy["upstreams"].as_array().into_iter().flatten().map(|member| {
            let id = member["id"].as_str().unwrap_or_default();
            if strategy == "weighted" { format!("{id}={}", member["weight"]) } else { id.to_owned() }
        });
        let names = names.collect::<Vec<_>>().join(" ");
        gate.tell(&policy, &format!("{project} uses {names} ({strategy})"));
        Ok(())
    }
}
