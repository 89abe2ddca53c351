//! What a project says about money beside its limits: output caps, clients that leave, calls that nobody can bound.

use pricing::Nano;
use serde_json::{Map, Value, json};
use store::{Abandoned, Act, MoneySettings, Project};
use wire::endpoint::{Opens, rows};
use wire::refusal::Refusal;

use crate::input::Fields;
use crate::{Answer, Call, Console, Event, amounts};

/// Most output tokens of a default; beyond any model's.
const TOKENS_MAX: u64 = 100_000_000;

fn show(project: &Project) -> Value {
    let money = &project.money;
    let allowance = |(path, amount): (&String, &Nano)| (path.clone(), amounts::dollars(*amount).into());
    let allowances: Map<String, Value> = money.allowances.iter().map(allowance).collect();
    json!({
        "object": "sallyport.project.money",
        "project_id": project.id.as_str(),
        "output_tokens_default": money.output_tokens_default,
        "abandoned": money.abandoned.word(),
        "allowances": allowances,
    })
}

impl Console {
    pub(crate) fn retrieve_money(&self, call: &Call<'_>) -> Answer {
        self.project(call).map(|project| show(&project))
    }

    pub(crate) async fn update_money(&self, call: &Call<'_>) -> Answer {
        let mut project = Project::clone(&*self.active_project(call)?);
        let fields = Fields::of(call)?;
        fields.only(&["output_tokens_default", "abandoned", "allowances"])?;
        read(&mut project.money, &fields)?;
        let shown = show(&project);
        let payload = json!({"id": project.id.as_str(), "changes_requested": {"money": shown}});
        let event = Event { kind: "project.updated", project: Some(project.id.clone()), payload };
        self.commit(call.actor(), Act::UpdateProject(project), vec![event]).await?;
        Ok(shown)
    }
}

/// Takes over what a call names; null goes back to the default. `allowances` are merged: null takes one away.
fn read(money: &mut MoneySettings, fields: &Fields) -> Result<(), Refusal> {
    if fields.has("output_tokens_default") {
        money.output_tokens_default = fields.count("output_tokens_default", 1, TOKENS_MAX)?;
    }
    if fields.has("abandoned") {
        money.abandoned = match fields.text("abandoned")? {
            None => Abandoned::default(),
            Some(word) => {
                Abandoned::from_word(&word).ok_or_else(|| fields.wrong("abandoned", "must be read_on or cancel"))?
            }
        };
    }
    if fields.has("allowances") {
        let Some(given) = fields.object("allowances")? else {
            money.allowances.clear();
            return Ok(());
        };
        for path in given.names() {
            if !rows().any(|row| row.opens == Opens::ProjectKey && row.path == path) {
                return Err(given.wrong(&path, "is no path template of the endpoint table, like /v1/videos"));
            }
            match given.dollars(&path)? {
                Some(amount) => drop(money.allowances.insert(path, amount)),
                None => drop(money.allowances.remove(&path)),
            }
        }
    }
    Ok(())
}
