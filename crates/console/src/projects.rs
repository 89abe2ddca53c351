//! Projects.

use std::sync::Arc;

use serde_json::{Value, json};
use store::{Act, Project, ProjectId};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, invalid, page, query_flag};
use crate::{Answer, Call, Console, Event, no_such};

/// Most synonyms of one project.
const SYNONYMS_MAX: usize = 32;

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
        let snapshot = self.snapshot();
        let mut projects: Vec<_> =
            snapshot.projects().filter(|project| with_archived || !project.is_archived()).collect();
        projects.sort_by(|one, two| (one.created_at, &one.id).cmp(&(two.created_at, &two.id)));
        page(call, &projects, |project| project.id.as_str(), |project| show(project))
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
        };
        self.refuse_taken(&project)?;
        let payload = json!({"id": project.id.as_str(), "data": changes(&project)});
        let event = Event { kind: "project.created", project: Some(project.id.clone()), payload };
        self.commit(call.actor(), Act::CreateProject(project.clone()), event).await?;
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
        self.commit(call.actor(), Act::UpdateProject(project.clone()), event).await?;
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
            self.commit(call.actor(), Act::UpdateProject(project.clone()), event).await?;
        }
        Ok(show(&project))
    }

    /// A real project id can be one project's synonym only: keys are told apart by it.
    fn refuse_taken(&self, project: &Project) -> Result<(), Refusal> {
        let snapshot = self.snapshot();
        let mut others = snapshot.projects().filter(|other| other.id != project.id);
        let taken = others.find_map(|other| {
            other.synonyms.iter().find(|id| id.starts_with("proj_") && project.synonyms.contains(id)).cloned()
        });
        taken.map_or(Ok(()), |id| {
            Err(invalid("sallyport.synonyms", format!("'{id}' is a synonym of another project already.")))
        })
    }
}

/// `{"sallyport": {"synonyms": […]}}`: real ids that clients of this project may send.
fn synonyms(fields: &Fields) -> Result<Option<Vec<String>>, Refusal> {
    let Some(value) = fields.value("sallyport").and_then(|ours| ours.get("synonyms")) else { return Ok(None) };
    let wrong = || {
        let words =
            format!("'sallyport.synonyms' must be a list of at most {SYNONYMS_MAX} ids beginning with org- or proj_.");
        invalid("sallyport.synonyms", words)
    };
    let list = value.as_array().filter(|list| list.len() <= SYNONYMS_MAX).ok_or_else(wrong)?;
    let id = |value: &Value| {
        let id = value.as_str()?;
        let is_id = (id.starts_with("org-") || id.starts_with("proj_")) && id.len() <= 128;
        is_id.then(|| id.to_owned())
    };
    list.iter().map(|value| id(value).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>().map(Some)
}

fn residency(fields: &Fields) -> Result<Option<String>, Refusal> {
    match fields.text("residency")? {
        Some(residency) if !RESIDENCIES.contains(&residency.as_str()) => {
            Err(invalid("residency", format!("'residency' must be one of {}.", RESIDENCIES.join(", "))))
        }
        residency => Ok(residency),
    }
}
