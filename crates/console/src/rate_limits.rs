//! Rate limits: OpenAI's object for each model of a project, and ours for a project's end users and for keys.
//!
//! What is not limited is null. Concurrency, which the API does not know, stands under `sallyport`.

use std::collections::BTreeSet;
use std::sync::Arc;

use rates::Limits;
use serde_json::{Value, json};
use store::{ALL_MODELS, Act, Key, KeyEntry, KeyId, Project};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, Sizes, page_of};
use crate::{Answer, Call, Console, Event, no_such};

/// What ids of rate limits begin with; the model's name follows.
const ID_PREFIX: &str = "rl-";
/// Largest number of anything in a minute or a day.
const NUMBER_MAX: u64 = 1_000_000_000_000;
/// Most models that a project has limits of its own for.
const MODELS_MAX: usize = 1_000;
/// Page sizes as in the API, which names no maximum; the price list fits whole.
const PAGES: Sizes = Sizes { min: 1, default: 100, max: 1_000 };

/// Where a field of a limit stands.
type Field = fn(&mut Limits) -> &mut Option<u64>;

/// Fields of a limit by the API's names.
const FIELDS: [(&str, Field); 6] = [
    ("max_requests_per_1_minute", |limits| &mut limits.requests_per_minute),
    ("max_tokens_per_1_minute", |limits| &mut limits.tokens_per_minute),
    ("max_images_per_1_minute", |limits| &mut limits.images_per_minute),
    ("max_audio_megabytes_per_1_minute", |limits| &mut limits.audio_megabytes_per_minute),
    ("max_requests_per_1_day", |limits| &mut limits.requests_per_day),
    ("batch_1_day_max_input_tokens", |limits| &mut limits.batch_tokens_per_day),
];

/// Puts the figures of a limit into an answer.
fn with_figures(mut shown: Value, limits: &Limits) -> Value {
    let mut limits = *limits;
    for (name, field) in FIELDS {
        shown[name] = json!(field(&mut limits));
    }
    shown["sallyport"] = json!({"concurrency": limits.concurrency});
    shown
}

/// The figures of a key's limits, flat: those that are set.
pub(crate) fn figures(limits: &Limits) -> Value {
    let mut limits = *limits;
    let mut shown = serde_json::Map::new();
    for (name, field) in FIELDS {
        if let Some(figure) = field(&mut limits) {
            shown.insert(name.to_owned(), json!(figure));
        }
    }
    if let Some(concurrency) = limits.concurrency {
        shown.insert("concurrency".to_owned(), json!(concurrency));
    }
    Value::Object(shown)
}

/// Takes over limits that are written flat, as in a key's own terms.
pub(crate) fn read_flat(limits: &mut Limits, fields: &Fields) -> Result<(), Refusal> {
    let names = FIELDS.map(|(name, _)| name);
    fields.only(&[&names[..], &["concurrency"]].concat())?;
    read_figures(limits, fields)?;
    read_concurrency(limits, fields)
}

fn show_model(model: &str, limits: &Limits) -> Value {
    with_figures(json!({"object": "project.rate_limit", "id": id_of(model), "model": model}), limits)
}

/// The id of a model's limit. An id has to pass as one segment of a path, so a slash is written as a tilde.
fn id_of(model: &str) -> String {
    format!("{ID_PREFIX}{}", model.replace('/', "~"))
}

/// Takes over what a call names; null takes a limit away.
fn read(limits: &mut Limits, fields: &Fields) -> Result<(), Refusal> {
    read_figures(limits, fields)?;
    let Some(ours) = fields.object("sallyport")? else { return Ok(()) };
    ours.only(&["concurrency"])?;
    read_concurrency(limits, &ours)
}

fn read_figures(limits: &mut Limits, fields: &Fields) -> Result<(), Refusal> {
    for (name, field) in FIELDS {
        if fields.has(name) {
            *field(limits) = fields.count(name, 0, NUMBER_MAX)?;
        }
    }
    Ok(())
}

fn read_concurrency(limits: &mut Limits, fields: &Fields) -> Result<(), Refusal> {
    if fields.has("concurrency") {
        let given = fields.count("concurrency", 0, u64::from(u32::MAX))?;
        limits.concurrency = given.and_then(|given| u32::try_from(given).ok());
    }
    Ok(())
}

/// What an audit event says of a limit.
fn changes(limits: &Limits) -> Value {
    with_figures(json!({}), limits)
}

impl Console {
    /// Models that a project has, or could have, a limit for: of the price table, and those that it has set.
    fn limited_models(&self, project: &Project) -> Vec<(String, String)> {
        let table = self.money.prices.table();
        let listed = table.models().filter(|model| !model.retired).map(|model| model.name.as_str());
        let mut models: BTreeSet<&str> = listed.collect();
        models.extend(project.rates.by_model.keys().map(String::as_str));
        // All models together come first.
        models.remove(ALL_MODELS);
        std::iter::once(ALL_MODELS).chain(models).map(|model| (id_of(model), model.to_owned())).collect()
    }

    pub(crate) fn list_rate_limits(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        let models = self.limited_models(&project);
        let limits = |model: &str| project.rates.by_model.get(model).copied().unwrap_or_default();
        page_of(call, PAGES, &models, |(id, _)| id, |(_, model)| show_model(model, &limits(model)))
    }

    pub(crate) async fn update_rate_limit(&self, call: &Call<'_>) -> Answer {
        let mut project = Project::clone(&*self.active_project(call)?);
        let id = call.param("rate_limit_id");
        let listed = self.limited_models(&project).into_iter().find(|(listed, _)| listed == id);
        // A model that no list names yet may be limited before it comes.
        let named = || id.strip_prefix(ID_PREFIX).map(|name| name.replace('~', "/"));
        let model = listed.map(|(_, model)| model).or_else(named);
        let is_name = |model: &String| !model.is_empty() && model.len() <= pricing::NAME_BYTES_MAX;
        let model = model.filter(is_name).ok_or_else(|| no_such("rate limit", id))?;
        let fields = Fields::of(call)?;
        let mut limits = project.rates.by_model.get(&model).copied().unwrap_or_default();
        read(&mut limits, &fields)?;
        if limits.is_none() {
            project.rates.by_model.remove(&model);
        } else {
            project.rates.by_model.insert(model.clone(), limits);
        }
        if project.rates.by_model.len() > MODELS_MAX {
            let words =
                format!("A project has limits for at most {MODELS_MAX} models. '{ALL_MODELS}' limits all together.");
            return Err(Refusal::new(Reason::Conflict, words));
        }
        self.store_rates(call, project, id.to_owned(), &limits).await?;
        Ok(show_model(&model, &limits))
    }

    pub(crate) fn retrieve_end_user_rate_limit(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        Ok(show_end_users(&project))
    }

    pub(crate) async fn update_end_user_rate_limit(&self, call: &Call<'_>) -> Answer {
        let mut project = Project::clone(&*self.active_project(call)?);
        read(&mut project.rates.end_user, &Fields::of(call)?)?;
        let (shown, limits) = (show_end_users(&project), project.rates.end_user);
        self.store_rates(call, project, "end_user".to_owned(), &limits).await?;
        Ok(shown)
    }

    async fn store_rates(
        &self,
        call: &Call<'_>,
        project: Project,
        limit_id: String,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let id = project.id.clone();
        let event = |kind, payload| Event { kind, project: Some(id.clone()), payload };
        let events = vec![
            event("rate_limit.updated", json!({"id": limit_id, "changes_requested": changes(limits)})),
            event("project.updated", json!({"id": id.as_str(), "changes_requested": {"rate_limit": limit_id}})),
        ];
        self.commit(call.actor(), Act::UpdateProject(project), events).await
    }

    /// The key in the path, if it is a key of the project in the path.
    fn limited_key(&self, call: &Call<'_>, project: &Project) -> Result<Arc<KeyEntry>, Refusal> {
        let id = call.param("api_key_id");
        let entry = self.snapshot().key_by_id(&KeyId::new(id)).cloned();
        entry.filter(|entry| entry.key.project.as_ref() == Some(&project.id)).ok_or_else(|| no_such("API key", id))
    }

    pub(crate) fn retrieve_key_rate_limit(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        Ok(show_key(&self.limited_key(call, &project)?.key))
    }

    pub(crate) async fn update_key_rate_limit(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let mut key = self.limited_key(call, &project)?.key.clone();
        read(&mut key.rates, &Fields::of(call)?)?;
        let shown = show_key(&key);
        let payload = json!({"id": key.id.as_str(), "changes_requested": {"rate_limit": changes(&key.rates)}});
        let event = Event { kind: "api_key.updated", project: key.project.clone(), payload };
        self.commit(call.actor(), Act::UpdateKey(key), vec![event]).await?;
        Ok(shown)
    }
}

fn show_end_users(project: &Project) -> Value {
    let shown = json!({"object": "sallyport.end_user_rate_limit", "project_id": project.id.as_str()});
    with_figures(shown, &project.rates.end_user)
}

fn show_key(key: &Key) -> Value {
    let project = key.project.as_ref().map(|project| project.as_str());
    let shown = json!({"object": "sallyport.api_key.rate_limit", "api_key_id": key.id.as_str(), "project_id": project});
    with_figures(shown, &key.rates)
}
