//! Projects.

use std::sync::Arc;

use serde_json::{Value, json};
use store::{Act, Project, ProjectId};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, invalid, page, query_flag};
use crate::{Answer, Call, Console, Event, no_such};

/// Most synonyms of one project.
const SYNONYMS_MAX: usize = 32;
/// Longest real id; OpenAI's have about 30 characters.
const UPSTREAM_ID_CHARS_MAX: usize = 128;

/// Values of `residency` in the API document.
const RESIDENCIES: &[&str] = &[
    "GLOBAL",
    "US_STORAGE_PROCESSING",
    "EU_STORAGE_PROCESSING",
    "AE_STORAGE_PROCESSING",
    "JP_STORAGE",
    "KR_STORAGE",
    "CA_STORAGE",
    "SG_STORAGE",
    "IN_STORAGE",
    "AU_STORAGE",
    "GB_STORAGE",
    "AE_STORAGE",
];

fn show(project: &Project) -> Value {
    json!({
        "id": project.id.as_str(),
        "object": "organization.project",
        "name": project.name,
        "created_at": project.created_at,
        "archived_at": project.archived_at,
        "status": if project.is_archived() { "archived" } else { "active" },
        "external_key_id": project.external_key_id,
        "residency": project.residency,
        "sallyport": {"synonyms": project.synonyms, "is_default": project.is_default},
    })
}

/// `{"name": …}` of what changed, as the API's audit events have it.
fn changes(project: &Project) -> Value {
    json!({"name": project.name, "title": project.name, "synonyms": project.synonyms})
}

impl Console {
    /// The project in the path.
    pub(crate) fn project(&self, call: &Call<'_>) -> Result<Arc<Project>, Refusal> {
        let id = call.param("project_id");
        self.snapshot().project(&ProjectId::new(id)).cloned().ok_or_else(|| no_such("project", id))
    }

    /// The project in the path, which must not be archived.
    pub(crate) fn active_project(&self, call: &Call<'_>) -> Result<Arc<Project>, Refusal> {
        let project = self.project(call)?;
        if project.is_archived() {
            let words = format!("Project '{}' is archived: nothing of it can be changed.", project.id);
            return Err(Refusal::new(Reason::Conflict, words).param("project_id"));
        }
        Ok(project)
    }

    pub(crate) fn list_projects(&self, call: &Call<'_>) -> Answer {
        let with_archived = query_flag(call, "include_archived")?;
        page(call, false, |span| self.directory.projects(with_archived, span), |project| show(project))
    }

    pub(crate) fn retrieve_project(&self, call: &Call<'_>) -> Answer {
        self.project(call).map(|project| show(&project))
    }

    pub(crate) async fn create_project(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        let project = Project {
            id: ProjectId::new(self.new_id(ProjectId::PREFIX)),
            name: fields.name()?,
            created_at: self.clock.unix_seconds(),
            archived_at: None,
            is_default: false,
            synonyms: synonyms(&fields)?.unwrap_or_default(),
            external_key_id: fields.text("external_key_id")?,
            residency: residency(&fields)?,
            money: Default::default(),
            rates: Default::default(),
            key_policy: Default::default(),
            guards: Default::default(),
        };
        self.refuse_taken(&project)?;
        let payload = json!({"id": project.id.as_str(), "data": changes(&project)});
        let event = Event { kind: "project.created", project: Some(project.id.clone()), payload };
        self.commit(call.actor(), Act::CreateProject(project.clone()), vec![event]).await?;
        Ok(show(&project))
    }

    pub(crate) async fn update_project(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        let mut project = Project::clone(&*self.active_project(call)?);
        if fields.value("name").is_some() {
            project.name = fields.name()?;
        }
        if let Some(id) = fields.text("external_key_id")? {
            project.external_key_id = Some(id);
        }
        if let Some(synonyms) = synonyms(&fields)? {
            project.synonyms = synonyms;
        }
        self.refuse_taken(&project)?;
        let payload = json!({"id": project.id.as_str(), "changes_requested": changes(&project)});
        let event = Event { kind: "project.updated", project: Some(project.id.clone()), payload };
        self.commit(call.actor(), Act::UpdateProject(project.clone()), vec![event]).await?;
        Ok(show(&project))
    }

    pub(crate) async fn archive_project(&self, call: &Call<'_>) -> Answer {
        let mut project = Project::clone(&*self.project(call)?);
        if project.is_default {
            return Err(Refusal::new(Reason::Conflict, "The default project cannot be archived.").param("project_id"));
        }
        if !project.is_archived() {
            project.archived_at = Some(self.clock.unix_seconds());
            let payload = json!({"id": project.id.as_str()});
            let event = Event { kind: "project.archived", project: Some(project.id.clone()), payload };
            self.commit(call.actor(), Act::UpdateProject(project.clone()), vec![event]).await?;
        }
        Ok(show(&project))
    }

    /// A real project id can be one project's synonym only, and no project of this gate: a client must never be able to
    /// say one project and be taken for another.
    fn refuse_taken(&self, project: &Project) -> Result<(), Refusal> {
        let snapshot = self.snapshot();
        let is_ours = |id: &str| snapshot.project(&ProjectId::new(id)).is_some();
        let is_taken = |id: &str| self.directory.claimed_by(id).is_some_and(|owner| owner != project.id);
        let refused = |id: &str, why| Err(invalid(SYNONYMS, format!("'{id}' is {why}.")));
        for id in &project.synonyms {
            if is_ours(id) {
                return refused(id, "a project of this gate; synonyms are ids of the upstream");
            }
            if is_taken(id) {
                return refused(id, "a synonym of another project already");
            }
        }
        Ok(())
    }
}

/// The field as errors name it.
const SYNONYMS: &str = "sallyport.synonyms";

/// `{"sallyport": {"synonyms": […]}}`: real ids that clients of this project may send.
fn synonyms(fields: &Fields) -> Result<Option<Vec<String>>, Refusal> {
    let Some(ours) = fields.value("sallyport") else { return Ok(None) };
    let ours = ours.as_object().ok_or_else(|| invalid("sallyport", "'sallyport' must be an object."))?;
    let Some(value) = ours.get("synonyms").filter(|value| !value.is_null()) else { return Ok(None) };
    let wrong = || {
        let words = format!("'{SYNONYMS}' must be a list of at most {SYNONYMS_MAX} ids beginning with org- or proj_.");
        invalid(SYNONYMS, words)
    };
    let list = value.as_array().filter(|list| list.len() <= SYNONYMS_MAX).ok_or_else(wrong)?;
    let mut ids = Vec::with_capacity(list.len());
    for value in list {
        let id = value.as_str().filter(|id| is_upstream_id(id)).ok_or_else(wrong)?.to_owned();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(Some(ids))
}

/// Whether this can be a real id of an organization or a project, and can stand in a header.
fn is_upstream_id(id: &str) -> bool {
    let rest = id.strip_prefix("org-").or_else(|| id.strip_prefix("proj_"));
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    id.len() <= UPSTREAM_ID_CHARS_MAX && rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_id))
}

fn residency(fields: &Fields) -> Result<Option<String>, Refusal> {
    match fields.text("residency")? {
        Some(residency) if !RESIDENCIES.contains(&residency.as_str()) => {
            Err(invalid("residency", format!("'residency' must be one of {}.", RESIDENCIES.join(", "))))
        }
        residency => Ok(residency),
    }
}
