//! The stop button of an agent's run.

use serde_json::{Value, json};
use store::{Period, Scope, SpendLimit};

use crate::input::invalid;
use crate::{Answer, Call, Console, scopes};

impl Console {
    /// Stops a run: from now on it may make no call. A second time changes nothing; deleting the limit that the answer
    /// names lets it go on. Calls that run already end by themselves.
    pub(crate) async fn stop_run(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        let run = call.param("run");
        if !scopes::is_name(run) {
            return Err(invalid(
                "run",
                format!("'run' must be 1 to {} visible ASCII characters.", scopes::NAME_CHARS_MAX),
            ));
        }
        let scope = Scope::Run(project.id.clone(), run.to_owned());
        let limits = self.money.ledger.limits();
        let before = limits
            .iter()
            .find(|limit| limit.scope == scope && limit.period == Period::Total && !limit.is_shadow)
            .map(|limit| SpendLimit::clone(limit));
        let mut limit = before.clone().unwrap_or_else(|| self.new_limit(scope, Period::Total));
        (limit.amount, limit.calls_max, limit.raise) = (pricing::Nano::ZERO, Some(0), None);
        let id = limit.id.clone();
        if before.as_ref() != Some(&limit) {
            self.put_limit(call, limit).await?;
        }
        let stopped: Value = json!({
            "object": "sallyport.run.stopped", "project_id": project.id.as_str(), "run": run, "limit_id": id, "stopped": true,
        });
        Ok(stopped)
    }
}
