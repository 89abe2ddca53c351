//! Ours: `/v1/sallyport/projects/{project_id}/upstreams`, which upstreams a project uses.
//!
//! The body is `{"strategy": "failover" | "weighted", "upstreams": [{"id", "weight"}]}`. The first upstream is the
//! project's home: whatever makes, names or lists stored objects goes there alone, because objects belong to an account;
//! everything else goes to the first that is well, or to each in proportion to its weight. A project without a policy
//! uses the configuration's upstream. Another home does not bring objects along that were stored at the one before.

use serde_json::{Value, json};
use store::{Act, ProjectId, Upstream, UpstreamAct, UpstreamPolicy};
use wire::refusal::Refusal;

use crate::input::{Fields, deleted};
use crate::{Answer, Call, Console, Event};

/// Most upstreams of a policy: each request may look at all of them.
const MEMBERS_MAX: usize = 8;
/// Largest weight.
const WEIGHT_MAX: u64 = 1_000;

fn show(project: &ProjectId, policy: Option<&UpstreamPolicy>) -> Value {
    let default = [(Upstream::DEFAULT.to_owned(), 1)];
    let members = policy.map_or(&default[..], |policy| &policy.members);
    let is_weighted = policy.is_some_and(|policy| policy.is_weighted);
    json!({
        "object": "sallyport.project.upstreams",
        "project_id": project.as_str(),
        "strategy": if is_weighted { "weighted" } else { "failover" },
        "upstreams": members.iter().map(|(id, weight)| json!({"id": id, "weight": weight})).collect::<Vec<_>>(),
        "is_default": policy.is_none(),
    })
}

impl Console {
    pub(crate) fn retrieve_upstream_policy(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        Ok(show(&project.id, self.snapshot().upstreams.policies.get(&project.id)))
    }

    pub(crate) async fn put_upstream_policy(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let fields = Fields::of(call)?;
        fields.only(&["strategy", "upstreams"])?;
        let is_weighted = match fields.text("strategy")?.as_deref() {
            None | Some("failover") => false,
            Some("weighted") => true,
            Some(_) => return Err(fields.wrong("strategy", "must be failover or weighted")),
        };
        let members = self.members(&fields)?;
        let policy = UpstreamPolicy { project: project.id.clone(), is_weighted, members };
        let shown = show(&project.id, Some(&policy));
        let payload = json!({
            "id": project.id.as_str(),
            "changes_requested": {"strategy": shown["strategy"], "upstreams": shown["upstreams"]},
        });
        let event = Event { kind: "upstream_policy.updated", project: Some(project.id.clone()), payload };
        self.commit(call.actor(), Act::Upstream(UpstreamAct::PutPolicy(policy)), vec![event]).await?;
        Ok(shown)
    }

    fn members(&self, fields: &Fields) -> Result<Vec<(String, u32)>, Refusal> {
        let wrong = || {
            let words = format!(
                "must be a list of 1 to {MEMBERS_MAX} objects with 'id' and, if you like, 'weight' from 1 to {WEIGHT_MAX}"
            );
            fields.wrong("upstreams", &words)
        };
        let given = fields.required("upstreams", fields.value("upstreams"))?;
        let list = given.as_array().filter(|list| (1..=MEMBERS_MAX).contains(&list.len())).ok_or_else(wrong)?;
        let (snapshot, in_force) = (self.snapshot(), &self.vault()?.in_force);
        let mut members: Vec<(String, u32)> = Vec::with_capacity(list.len());
        for member in list {
            let id = member["id"].as_str().ok_or_else(wrong)?;
            let weight = if member["weight"].is_null() { Some(1) } else { member["weight"].as_u64() };
            let weight = weight.filter(|weight| (1..=WEIGHT_MAX).contains(weight)).ok_or_else(wrong)?;
            let is_default = id == Upstream::DEFAULT && in_force.default_address().is_some();
            if !is_default && !snapshot.upstreams.upstreams.contains_key(id) {
                let shown: String = id.chars().take(128).collect();
                return Err(fields.wrong("upstreams", &format!("names '{shown}', which is no upstream of this gate")));
            }
            if members.iter().any(|(known, _)| known == id) {
                return Err(fields.wrong("upstreams", "names an upstream twice"));
            }
            members.push((id.to_owned(), u32::try_from(weight).map_err(|_| wrong())?));
        }
        Ok(members)
    }

    pub(crate) async fn delete_upstream_policy(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        if self.snapshot().upstreams.policies.contains_key(&project.id) {
            let payload = json!({"id": project.id.as_str()});
            let event = Event { kind: "upstream_policy.deleted", project: Some(project.id.clone()), payload };
            let act = Act::Upstream(UpstreamAct::DeletePolicy(project.id.clone()));
            self.commit(call.actor(), act, vec![event]).await?;
        }
        Ok(deleted("sallyport.project.upstreams.deleted", project.id.as_str()))
    }
}
