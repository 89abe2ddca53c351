//! Whose spending a call means, and how that is shown.
//!
//! Promise: what applications call their end users is never stored: a limit for one of them is kept under the same
//! keyed hash as the rows of usage.

use serde_json::{Value, json};
use store::{KeyId, ProjectId, Scope, Snapshot};
use wire::refusal::Refusal;

use crate::input::Fields;
use crate::{Console, no_such};

/// Longest name of a run or tag, as requests may have them in their headers.
pub(crate) const NAME_CHARS_MAX: usize = 128;
/// Longest name of an end user.
const END_USER_BYTES_MAX: usize = 512;

/// A scope in answers. The name of an end user is its hash; no name: each one's.
pub(crate) fn show(scope: &Scope) -> Value {
    let (mut project_id, mut key_id, mut name) = (None, None, None);
    match scope {
        Scope::Organization => {}
        Scope::Project(project) => project_id = Some(project.as_str()),
        Scope::Key(key) => key_id = Some(key.as_str()),
        Scope::EndUser(project, of) | Scope::Run(project, of) | Scope::Tag(project, of) => {
            (project_id, name) = (Some(project.as_str()), Some(of.as_str()).filter(|of| !of.is_empty()));
        }
    }
    json!({"kind": scope.kind(), "project_id": project_id, "key_id": key_id, "name": name, "is_each": scope.is_each()})
}

/// The project of a scope, for audit events and filters.
pub(crate) fn project_of(snapshot: &Snapshot, scope: &Scope) -> Option<ProjectId> {
    match scope {
        Scope::Organization => None,
        Scope::Key(key) => snapshot.key_by_id(key).and_then(|entry| entry.key.project.clone()),
        Scope::Project(project) | Scope::EndUser(project, _) | Scope::Run(project, _) | Scope::Tag(project, _) => {
            Some(project.clone())
        }
    }
}

/// A name of a run or tag as requests may bring it.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Console {
    /// Reads `scope`: `{kind, project_id, key_id, name}`. What it names must be there.
    pub(crate) fn scope(&self, fields: &Fields) -> Result<Scope, Refusal> {
        let scope = fields.required("scope", fields.object("scope")?)?;
        scope.only(&["kind", "project_id", "key_id", "name"])?;
        let kind = scope.required("kind", scope.text("kind")?)?;
        let wanted: &[&str] = match kind.as_str() {
            "organization" => &[],
            "project" => &["project_id"],
            "key" => &["key_id"],
            "end_user" | "run" | "tag" => &["project_id", "name"],
            _ => return Err(scope.wrong("kind", "must be organization, project, key, end_user, run or tag")),
        };
        let needless = ["project_id", "key_id", "name"].into_iter().find(|name| {
            // A key's project may be named, too; it is known from the key.
            scope.value(name).is_some() && !wanted.contains(name) && (kind.as_str(), *name) != ("key", "project_id")
        });
        if let Some(name) = needless {
            return Err(scope.wrong(name, &format!("does not belong to a scope of kind {kind}")));
        }
        Ok(match kind.as_str() {
            "organization" => Scope::Organization,
            "project" => Scope::Project(self.named_project(&scope)?),
            "key" => Scope::Key(self.named_key(&scope)?),
            _ => {
                let (project, name) = (self.named_project(&scope)?, scope.text("name")?);
                let is_fine = |name: &str| match kind.as_str() {
                    "end_user" => (1..=END_USER_BYTES_MAX).contains(&name.len()),
                    _ => is_name(name),
                };
                if name.as_deref().is_some_and(|name| !is_fine(name)) {
                    let words = format!("must be 1 to {NAME_CHARS_MAX} visible ASCII characters, as in a header");
                    return Err(scope.wrong("name", &words));
                }
                match kind.as_str() {
                    "end_user" => {
                        let hashed = name.map(|name| self.pepper.end_user(project.as_str(), &name));
                        Scope::EndUser(project, hashed.unwrap_or_default())
                    }
                    "run" => Scope::Run(project, name.unwrap_or_default()),
                    _ => Scope::Tag(project, name.unwrap_or_default()),
                }
            }
        })
    }

    fn named_project(&self, scope: &Fields) -> Result<ProjectId, Refusal> {
        let id = ProjectId::new(scope.required("project_id", scope.text("project_id")?)?);
        match self.snapshot().project(&id) {
            Some(project) if !project.is_archived() => Ok(id),
            Some(_) => Err(scope.wrong("project_id", "is an archived project's: it spends nothing")),
            None => Err(no_such("project", id.as_str()).param(scope.at("project_id"))),
        }
    }

    fn named_key(&self, scope: &Fields) -> Result<KeyId, Refusal> {
        let id = KeyId::new(scope.required("key_id", scope.text("key_id")?)?);
        match self.snapshot().key_by_id(&id) {
            Some(entry) if entry.key.project.is_some() => Ok(id),
            Some(_) => Err(scope.wrong("key_id", "is an admin key: it spends nothing")),
            None => Err(no_such("API key", id.as_str()).param(scope.at("key_id"))),
        }
    }
}
