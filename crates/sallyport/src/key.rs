//! `sallyport key …`

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Map, Value, json};

use crate::api::Gate;

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List a project's keys.
    List {
        /// The project's id.
        project: String,
    },
    /// Show a key: restrictions, secrets, when and from where it was last used.
    Show(Named),
    /// Make a key. Its secret is printed once.
    Create {
        /// The project's id.
        project: String,
        /// The key's name.
        name: String,
        #[command(flatten)]
        terms: Terms,
        /// Most that it may spend, in dollars.
        #[arg(long, value_name = "USD")]
        budget: Option<String>,
        /// In which period: month, day, hour or total.
        #[arg(long, requires = "budget", default_value = "month")]
        period: String,
        /// A decoy: looks real, opens nothing, and alarms when it is used. Leave it where thieves look.
        #[arg(long)]
        decoy: bool,
    },
    /// Change what a key may do, or its end.
    Update {
        #[command(flatten)]
        key: Named,
        #[command(flatten)]
        terms: Terms,
    },
    /// Give a key a new secret; the one before stays valid for a time.
    Rotate {
        #[command(flatten)]
        key: Named,
        /// Seconds that the secret before stays valid: 0 (for a leak) to 604800.
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        overlap_seconds: u32,
        /// Take the new secret to this delivery of the gate's configuration, instead of printing it.
        #[arg(long, value_name = "NAME")]
        deliver_to: Option<String>,
    },
    /// Refuse a key, and cut what runs on it, until it is resumed.
    Suspend {
        #[command(flatten)]
        key: Named,
        /// Why; its users read it.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take a suspended key again.
    Resume(Named),
    /// Revoke a key: refused from now on, its open streams are cut.
    Revoke(Named),
    /// Keys that nobody uses, or that live longer than the policy allows.
    Stale {
        /// Days without use from which on a key is stale [default: the policy's, or 90].
        #[arg(long)]
        days: Option<u32>,
    },
    /// Show or set what all keys are held to.
    Policy {
        /// Of this project; without it, of the organization.
        #[arg(long, value_name = "ID")]
        project: Option<String>,
        /// Longest life of a secret, seconds; keys made without an end get this one.
        #[arg(long, value_name = "SECONDS")]
        lifetime_seconds_max: Option<u32>,
        /// Days without use from which on a key is stale.
        #[arg(long, value_name = "DAYS")]
        stale_after_days: Option<u32>,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// The project's id.
    project: String,
    /// The key's id (key_…), not the key.
    key: String,
}

/// What a key may do and from where.
#[derive(Debug, Args)]
struct Terms {
    /// Seconds until it stops working; without it, never, or as the policy says.
    #[arg(long, value_name = "SECONDS")]
    expires_in_seconds: Option<u32>,
    /// A scope that it has, model.request for instance; may repeat. Without any: all.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A model that it may use, with * at the end for many; may repeat. Without any: all.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// A path that it may call, with * at the end for many; may repeat. Without any: all.
    #[arg(long = "endpoint", value_name = "PATH")]
    endpoints: Vec<String>,
    /// An address or network that it may come from; may repeat. Without any: all.
    #[arg(long = "from", value_name = "CIDR")]
    from: Vec<String>,
    /// A web origin that its client secrets may be bound to; may repeat. Without any: all.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// What happens when it is used in a browser, beside that it is refused.
    #[arg(long, value_name = "WHAT")]
    browser_use: Option<BrowserUse>,
    /// Most requests a minute.
    #[arg(long, value_name = "COUNT")]
    requests_per_minute: Option<u64>,
    /// Most tokens a minute.
    #[arg(long, value_name = "COUNT")]
    tokens_per_minute: Option<u64>,
    /// Rotate it by itself every so many days.
    #[arg(long, value_name = "DAYS", requires = "deliver_to")]
    rotate_every_days: Option<u32>,
    /// Where its new secrets go: a delivery of the gate's configuration.
    #[arg(long, value_name = "NAME", requires = "rotate_every_days")]
    deliver_to: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BrowserUse {
    /// Nothing more.
    Refuse,
    /// It is suspended.
    Suspend,
}

impl Terms {
    /// As the API's body; what was not named is not in it.
    fn body(&self) -> Map<String, Value> {
        let mut ours = Map::new();
        let lists = [
            ("models", &self.models),
            ("endpoints", &self.endpoints),
            ("ip_allowlist", &self.from),
            ("client_secret_origins", &self.origins),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            ours.insert(name.to_owned(), json!(list));
        }
        if let Some(what) = self.browser_use {
            let word = if matches!(what, BrowserUse::Refuse) { "refuse" } else { "suspend" };
            ours.insert("browser_use".to_owned(), word.into());
        }
        let mut rates = Map::new();
        let figures = [
            ("max_requests_per_1_minute", self.requests_per_minute),
            ("max_tokens_per_1_minute", self.tokens_per_minute),
        ];
        for (name, figure) in figures {
            rates.extend(figure.map(|figure| (name.to_owned(), figure.into())));
        }
        if !rates.is_empty() {
            ours.insert("rate_limit".to_owned(), rates.into());
        }
        if let (Some(days), Some(to)) = (self.rotate_every_days, &self.deliver_to) {
            let plan = json!({"every_seconds": u64::from(days) * 86_400, "deliver_to": to});
            ours.insert("rotation".to_owned(), plan);
        }
        let mut body = Map::new();
        body.extend(self.expires_in_seconds.map(|seconds| ("expires_in_seconds".to_owned(), seconds.into())));
        if !self.scopes.is_empty() {
            body.insert("scopes".to_owned(), json!(self.scopes));
        }
        if !ours.is_empty() {
            body.insert("sallyport".to_owned(), ours.into());
        }
        body
    }
}

impl Named {
    fn path(&self) -> String {
        format!("/projects/{}/api_keys/{}", self.project, self.key)
    }

    fn act(&self, act: &str) -> String {
        format!("/v1/sallyport/projects/{}/api_keys/{}/{act}", self.project, self.key)
    }
}

const COLUMNS: [(&str, &str); 7] = [
    ("ID", "/id"),
    ("NAME", "/name"),
    ("KEY", "/redacted_value"),
    ("OWNER", "/owner/type"),
    ("CREATED", "/created_at"),
    ("LAST USED", "/last_used_at"),
    ("EXPIRES", "/expires_at"),
];

impl Key {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List { project } => {
                let keys = gate.list(&format!("/projects/{project}/api_keys?owner_project_access=any"))?;
                gate.print(&keys, &COLUMNS);
            }
            Action::Show(key) => gate.show(&gate.call(Method::GET, &key.path(), None)?),
            Action::Create { project, name, terms, budget, period, decoy } => {
                let mut body = terms.body();
                body.insert("name".to_owned(), name.as_str().into());
                let ours = body.entry("sallyport").or_insert_with(|| json!({}));
                if let Some(budget) = budget {
                    ours["budget"] = json!({"amount": budget, "period": period});
                }
                if *decoy {
                    ours["is_decoy"] = true.into();
                }
                let made = gate.call(Method::POST, &format!("/projects/{project}/api_keys"), Some(&body.into()))?;
                gate.tell_key(&made);
            }
            Action::Update { key, terms } => {
                let changed = gate.call(Method::POST, &key.path(), Some(&terms.body().into()))?;
                gate.tell(&changed, &format!("{} is changed", key.key));
            }
            Action::Rotate { key, overlap_seconds, deliver_to } => {
                let body = json!({"overlap_seconds": overlap_seconds, "deliver_to": deliver_to});
                let made = gate.call(Method::POST, &key.act("rotate"), Some(&body))?;
                match deliver_to {
                    None => gate.tell_key(&made),
                    Some(to) => gate.tell(&made, &format!("{} has a new secret, taken to {to}", key.key)),
                }
            }
            Action::Suspend { key, reason } => {
                let body = reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
                let shown = gate.call(Method::POST, &key.act("suspend"), Some(&body))?;
                gate.tell(&shown, &format!("{} is suspended", key.key));
            }
            Action::Resume(key) => {
                let shown = gate.call(Method::POST, &key.act("resume"), None)?;
                gate.tell(&shown, &format!("{} is in force again", key.key));
            }
            Action::Revoke(key) => {
                let gone = gate.call(Method::DELETE, &key.path(), None)?;
                gate.tell(&gone, &format!("{} is revoked", key.key));
            }
            Action::Stale { days } => {
                let query = days.map_or_else(String::new, |days| format!("?days={days}"));
                let keys = gate.list(&format!("/v1/sallyport/stale_keys{query}"))?;
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("PROJECT", "/project_id"),
                    ("IDLE DAYS", "/idle_days"),
                    ("LAST USED", "/last_used_at"),
                    ("EXPIRES", "/expires_at"),
                    ("WHY", "/reasons"),
                ];
                gate.print(&keys, &columns);
            }
            Action::Policy { project, lifetime_seconds_max, stale_after_days } => {
                let path = match project {
                    Some(project) => format!("/v1/sallyport/projects/{project}/key_policy"),
                    None => "/v1/sallyport/key_policy".to_owned(),
                };
                let mut body = Map::new();
                let figures = [("lifetime_seconds_max", lifetime_seconds_max), ("stale_after_days", stale_after_days)];
                for (name, figure) in figures {
                    body.extend(figure.map(|figure| (name.to_owned(), figure.into())));
                }
                let shown = match body.is_empty() {
                    true => gate.call(Method::GET, &path, None)?,
                    false => gate.call(Method::POST, &path, Some(&body.into()))?,
                };
                gate.show(&shown);
            }
        }
        Ok(())
    }
}
