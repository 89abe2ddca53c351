//! `sallyport limit …`

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use store::{Clock, SystemClock};

use crate::api::{Gate, encoded};
use crate::days;

const PATH: &str = "/v1/sallyport/limits";

const EXAMPLES: &str = "\
Examples:
  sallyport limit set 500                                 the organization: 500 dollars a month
  sallyport limit set 50 --project proj_…                 a project, likewise
  sallyport limit set 1.50 --project proj_… --end-user --period day
                                                          each of its end users: 1.50 dollars a day
  sallyport limit set 5 --project proj_… --run --calls-max 200 --period total
                                                          each agent's run: 5 dollars and 200 calls
  sallyport limit raise limit_… 800 --for 2h              more for two hours";

/// Arguments of `limit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Limit {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List limits.
    List {
        /// Of one project.
        #[arg(long, value_name = "PROJECT_ID")]
        project: Option<String>,
    },
    /// Show how a limit stands: settled, held, left.
    Show {
        /// The limit's id.
        limit: String,
    },
    /// Set a limit, or change the one that is there.
    Set(Box<Set>),
    /// Raise a limit for a time.
    Raise {
        /// The limit's id.
        limit: String,
        /// Dollars until then.
        amount: String,
        /// For how long, like 2h.
        #[arg(long = "for", value_name = "TIME")]
        time: String,
    },
    /// Remove a limit: nothing is held to it any more.
    Remove {
        /// The limit's id.
        limit: String,
    },
    /// Stop an agent's run: it makes no call any more.
    StopRun {
        /// The project's id.
        project: String,
        /// The run's name, as requests send it in x-sallyport-run.
        run: String,
    },
}

#[derive(Debug, Args)]
struct Set {
    /// Dollars, like 50 or 1.50.
    amount: String,
    /// A project's spending; without it and without a key, the organization's.
    #[arg(long, value_name = "PROJECT_ID")]
    project: Option<String>,
    /// A key's spending.
    #[arg(long, value_name = "KEY_ID", conflicts_with_all = ["project", "end_user", "run", "tag"])]
    key: Option<String>,
    /// One end user's spending; without a name, each one's.
    #[arg(long, value_name = "NAME", num_args = 0..=1, requires = "project", conflicts_with_all = ["run", "tag"])]
    end_user: Option<Option<String>>,
    /// One agent's run's spending; without a name, each one's.
    #[arg(long, value_name = "NAME", num_args = 0..=1, requires = "project", conflicts_with = "tag")]
    run: Option<Option<String>>,
    /// One tag's spending; without a name, each one's.
    #[arg(long, value_name = "NAME", num_args = 0..=1, requires = "project")]
    tag: Option<Option<String>>,
    /// month, day, hour or total.
    #[arg(long, default_value = "month")]
    period: String,
    /// Most calls.
    #[arg(long, value_name = "NUMBER")]
    calls_max: Option<u64>,
    /// Only count what it would refuse.
    #[arg(long)]
    shadow: bool,
    /// What happens when a worst case does not fit any more: reject, clamp, grow or alias.
    #[arg(long, value_name = "POLICY")]
    near_limit: Option<String>,
    /// With clamp: least output tokens that are worth an answer.
    #[arg(long, value_name = "TOKENS")]
    output_tokens_min: Option<u64>,
    /// With grow: how many tokens the upstream may run on after a cut.
    #[arg(long, value_name = "TOKENS")]
    margin_tokens: Option<u64>,
    /// With alias: the cheaper model.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
}

impl Set {
    fn scope(&self) -> Value {
        let named = |kind: &str, name: &Option<String>| json!({"kind": kind, "project_id": self.project, "name": name});
        match (&self.project, &self.key) {
            (_, Some(key)) => json!({"kind": "key", "key_id": key}),
            (None, None) => json!({"kind": "organization"}),
            (Some(project), None) => match (&self.end_user, &self.run, &self.tag) {
                (Some(name), _, _) => named("end_user", name),
                (_, Some(name), _) => named("run", name),
                (_, _, Some(name)) => named("tag", name),
                (None, None, None) => json!({"kind": "project", "project_id": project}),
            },
        }
    }

    /// What is set, beside whose and how long; what was not named stays as it is.
    fn terms(&self) -> Map<String, Value> {
        let mut terms = Map::from_iter([("amount".to_owned(), self.amount.as_str().into())]);
        terms.insert("is_shadow".to_owned(), self.shadow.into());
        if let Some(calls_max) = self.calls_max {
            terms.insert("calls_max".to_owned(), calls_max.into());
        }
        if let Some(policy) = &self.near_limit {
            let policy = [
                ("type", Some(policy.as_str().into())),
                ("output_tokens_min", self.output_tokens_min.map(Value::from)),
                ("margin_tokens", self.margin_tokens.map(Value::from)),
                ("model", self.model.as_deref().map(Value::from)),
            ];
            let policy = policy.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            terms.insert("near_limit".to_owned(), Value::Object(policy.collect()));
        }
        terms
    }

    fn run(&self, gate: &Gate) -> Result<()> {
        let scope = self.scope();
        let is_same = |limit: &&Value| {
            ["kind", "project_id", "key_id", "name"].iter().all(|name| limit["scope"][*name] == scope[*name])
                && limit["period"] == self.period.as_str()
                && limit["is_shadow"] == self.shadow
        };
        let limits = gate.list(PATH)?;
        let mut body = self.terms();
        let path = match limits.iter().find(is_same).and_then(|limit| limit["id"].as_str()) {
            Some(id) => format!("{PATH}/{id}"),
            None => {
                body.insert("scope".to_owned(), scope);
                body.insert("period".to_owned(), self.period.as_str().into());
                PATH.to_owned()
            }
        };
        let set = gate.call(Method::POST, &path, Some(&body.into()))?;
        let (id, amount) = (set["id"].as_str().unwrap_or_default(), set["amount"].as_str().unwrap_or_default());
        gate.tell(&set, &format!("{id}\n{amount} dollars ({}), in force now", self.period));
        Ok(())
    }
}

/// Adds how a limit stands, unless it is one for each end user, run or tag, which stand each for themselves.
fn with_standing(gate: &Gate, limit: &mut Value) -> Result<()> {
    let path = format!("{PATH}/{}/standings", encoded(limit["id"].as_str().unwrap_or_default()));
    let standings = gate.call(Method::GET, &path, None)?;
    if let Some([standing]) = standings["data"].as_array().map(Vec::as_slice)
        && standing["scope"] == limit["scope"]
    {
        limit["standing"] = standing.clone();
    }
    Ok(())
}

impl Limit {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List { project } => {
                let filter = project.as_ref().map_or_else(String::new, |id| format!("?project_id={}", encoded(id)));
                let mut limits = gate.list(&format!("{PATH}{filter}"))?;
                limits.iter_mut().try_for_each(|limit| with_standing(gate, limit))?;
                let columns = [
                    ("ID", "/id"),
                    ("SCOPE", "/scope/kind"),
                    ("PROJECT", "/scope/project_id"),
                    ("KEY", "/scope/key_id"),
                    ("NAME", "/scope/name"),
                    ("PERIOD", "/period"),
                    ("USD", "/amount"),
                    ("SETTLED", "/standing/settled"),
                    ("HELD", "/standing/held"),
                    ("LEFT", "/standing/left"),
                    ("CALLS", "/calls_max"),
                    ("NEAR LIMIT", "/near_limit/type"),
                    ("SHADOW", "/is_shadow"),
                ];
                gate.print(&limits, &columns);
            }
            Action::Show { limit } => {
                let standings = gate.call(Method::GET, &format!("{PATH}/{}/standings", encoded(limit)), None)?;
                let columns = [
                    ("SCOPE", "/scope/kind"),
                    ("NAME", "/scope/name"),
                    ("USD", "/amount"),
                    ("SETTLED", "/settled"),
                    ("HELD", "/held"),
                    ("LEFT", "/left"),
                    ("REFUSES", "/is_enforcing"),
                    ("RENEWS", "/ends_at"),
                ];
                gate.print(standings["data"].as_array().map_or(&[][..], Vec::as_slice), &columns);
            }
            Action::Set(set) => set.run(gate)?,
            Action::Raise { limit, amount, time } => {
                let until = SystemClock.unix_seconds().checked_add(days::seconds(time)?).context("--for: too long")?;
                let body = json!({"raise": {"amount": amount, "until": until}});
                let raised = gate.call(Method::POST, &format!("{PATH}/{}", encoded(limit)), Some(&body))?;
                ensure!(raised["raise"].is_object(), "the gate did not raise the limit");
                gate.tell(&raised, &format!("{limit} is {amount} dollars for {time}"));
            }
            Action::Remove { limit } => {
                let gone = gate.call(Method::DELETE, &format!("{PATH}/{}", encoded(limit)), None)?;
                gate.tell(&gone, &format!("{limit} is removed"));
            }
            Action::StopRun { project, run } => {
                let path = format!("/v1/sallyport/runs/{}/{}/stop", encoded(project), encoded(run));
                let stopped = gate.call(Method::POST, &path, None)?;
                let limit = stopped["limit_id"].as_str().unwrap_or_default();
                gate.tell(&stopped, &format!("{run} is stopped. To let it go on: sallyport limit remove {limit}"));
            }
        }
        Ok(())
    }
}
