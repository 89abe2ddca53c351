//! What all keys of the organization or a project are held to, and which of them nobody uses.

use serde_json::{Value, json};
use store::{Act, KeyEntry, KeyPolicy, Organization, Project};
use wire::refusal::Refusal;

use crate::input::{Fields, Sizes, list, page_of, query_number};
use crate::key_terms::last_used_at;
use crate::{Answer, Call, Console, Event};

/// Longest life that a policy may name: as long as the API lets any key live.
const LIFETIME_SECONDS_MAX: u64 = 31_536_000;
/// Longest time without use: ten years.
const STALE_DAYS_MAX: u64 = 3_650;
/// A key is stale after so many days where no policy says: as access reviews have it.
const STALE_DAYS_DEFAULT: u32 = 90;
const PAGES: Sizes = Sizes { min: 1, default: 100, max: 1_000 };

fn show(policy: &KeyPolicy, project: Option<&Project>) -> Value {
    json!({
        "object": "sallyport.key_policy",
        "project_id": project.map(|project| project.id.as_str()),
        "lifetime_seconds_max": policy.lifetime_seconds_max,
        "stale_after_days": policy.stale_after_days,
    })
}

fn read(policy: &mut KeyPolicy, fields: &Fields) -> Result<(), Refusal> {
    fields.only(&["lifetime_seconds_max", "stale_after_days"])?;
    if fields.has("lifetime_seconds_max") {
        let given = fields.count("lifetime_seconds_max", 60, LIFETIME_SECONDS_MAX)?;
        policy.lifetime_seconds_max = given.and_then(|given| i64::try_from(given).ok());
    }
    if fields.has("stale_after_days") {
        let given = fields.count("stale_after_days", 1, STALE_DAYS_MAX)?;
        policy.stale_after_days = given.and_then(|given| u32::try_from(given).ok());
    }
    Ok(())
}

impl Console {
    pub(crate) fn retrieve_key_policy(&self, call: &Call<'_>) -> Answer {
        match call.endpoint.path.contains("{project_id}") {
            true => self.project(call).map(|project| show(&project.key_policy, Some(&project))),
            false => Ok(show(&self.snapshot().organization.key_policy, None)),
        }
    }

    /// Changes a policy. Keys that are there keep their end; the stale report names those that live longer.
    pub(crate) async fn update_key_policy(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        if call.endpoint.path.contains("{project_id}") {
            let mut project = Project::clone(&*self.active_project(call)?);
            read(&mut project.key_policy, &fields)?;
            let shown = show(&project.key_policy, Some(&project));
            let payload = json!({"id": project.id.as_str(), "changes_requested": {"key_policy": shown}});
            let event = Event { kind: "project.updated", project: Some(project.id.clone()), payload };
            self.commit(call.actor(), Act::UpdateProject(project), vec![event]).await?;
            return Ok(shown);
        }
        let mut organization = Organization::clone(&self.snapshot().organization);
        read(&mut organization.key_policy, &fields)?;
        let shown = show(&organization.key_policy, None);
        let payload = json!({"id": organization.id.as_str(), "changes_requested": {"key_policy": shown}});
        let event = Event { kind: "organization.updated", project: None, payload };
        self.commit(call.actor(), Act::UpdateOrganization(organization), vec![event]).await?;
        Ok(shown)
    }

    /// Keys that somebody should look at: unused for long, without an end, older than the policy, of an archived
    /// project, suspended for long.
    pub(crate) fn list_stale_keys(&self, call: &Call<'_>) -> Answer {
        let days = query_number(call, "days")?;
        let snapshot = self.snapshot();
        let mut stale: Vec<(String, Value)> = snapshot
            .keys()
            .filter(|entry| !entry.key.is_decoy)
            .filter_map(|entry| Some((entry.key.id.to_string(), self.staleness(entry, days)?)))
            .collect();
        // The longest unused first, and the order is the same on every page.
        stale.sort_by_cached_key(|(id, shown)| (shown["last_used_at"].as_i64().unwrap_or_default(), id.clone()));
        page_of(call, PAGES, &stale, |(id, _)| id, |(_, shown)| shown.clone())
    }

    /// Where new secrets can go.
    pub(crate) fn list_key_deliveries(&self) -> Value {
        let names = self.keeping.deliveries.names();
        let data = names.iter().map(|name| json!({"object": "sallyport.key_delivery", "id": name})).collect();
        list(data, false)
    }

    fn staleness(&self, entry: &KeyEntry, days: Option<i64>) -> Option<Value> {
        let (now, snapshot, key) = (self.now(), self.snapshot(), &entry.key);
        let project = key.project.as_ref().and_then(|id| snapshot.project(id));
        let policies = [project.map(|project| &project.key_policy), Some(&snapshot.organization.key_policy)];
        let stale_after = policies.iter().flatten().find_map(|policy| policy.stale_after_days);
        let days = days.unwrap_or(i64::from(stale_after.unwrap_or(STALE_DAYS_DEFAULT)));
        let used = self.keeping.last_use(&key.id);
        let last_used_at = last_used_at(entry, used.as_ref());
        let idle_days = (now - last_used_at.unwrap_or(key.secret_created_at)) / 86_400;
        let lifetime_max = self.lifetime_seconds_max(project.map(|project| &**project));
        let life = key.expires_at.map(|end| end - key.secret_created_at);
        let reasons = [
            (idle_days >= days, if last_used_at.is_some() { "unused" } else { "never_used" }),
            (entry.has_expired(now), "expired"),
            (lifetime_max.is_some_and(|max| life.is_none_or(|life| life > max)), "over_lifetime_max"),
            (project.is_some_and(|project| project.is_archived()), "project_archived"),
            (key.suspension.as_ref().is_some_and(|since| (now - since.at) / 86_400 >= days), "suspended"),
        ];
        let reasons: Vec<&str> = reasons.iter().filter(|(is_so, _)| *is_so).map(|(_, reason)| *reason).collect();
        (!reasons.is_empty()).then(|| {
            json!({
                "object": "sallyport.stale_key", "id": key.id.as_str(), "name": key.name, "kind": key.kind.word(),
                "redacted_value": key.redacted, "project_id": key.project.as_ref().map(|id| id.as_str()),
                "created_at": key.created_at, "last_used_at": last_used_at, "expires_at": key.expires_at,
                "idle_days": idle_days, "reasons": reasons,
            })
        })
    }
}
