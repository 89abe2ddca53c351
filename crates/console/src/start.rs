//! The first start, and the way back in when every admin key is lost.

use keys::{Kind, Pepper, Random, Secret, Shape};
use serde_json::json;
use store::{Act, Clock, Organization, OrganizationId, Project, ProjectId, RecordedAct, Records, Registry, StoreError};

use crate::new::{KeyFor, Maker};
use crate::project_keys::key_created;
use crate::{Console, Event};

/// What the first start made. The secrets are shown once.
#[derive(Debug)]
pub struct Started {
    /// The default project.
    pub project: ProjectId,
    /// The first admin key.
    pub admin_key: Secret,
    /// The default project's first key.
    pub project_key: Secret,
}

impl Console {
    /// Makes organization, default project and first keys in an empty store, in one transaction with their events,
    /// and gives the records to build a directory from.
    ///
    /// # Errors
    /// When nothing can be written; then nothing was.
    pub async fn start(
        registry: &dyn Registry,
        pepper: &Pepper,
        shape: &Shape,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<(Records, Started), StoreError> {
        let maker = Maker { pepper, shape, clock, random };
        let now = clock.unix_seconds();
        let organization = Organization {
            id: OrganizationId::new(maker.id(OrganizationId::PREFIX)),
            name: "Sallyport".into(),
            created_at: now,
            key_policy: Default::default(),
        };
        let project = Project {
            id: ProjectId::new(maker.id(ProjectId::PREFIX)),
            name: "Default project".into(),
            created_at: now,
            archived_at: None,
            is_default: true,
            synonyms: Vec::new(),
            external_key_id: None,
            residency: None,
            money: Default::default(),
            rates: Default::default(),
            key_policy: Default::default(),
            guards: Default::default(),
        };
        let key = |kind, name, project| {
            maker.key(&KeyFor { kind, name, project, service_account: None, created_by: None, expires_at: None })
        };
        let admin = key(Kind::Admin, "First admin key", None);
        let first = key(Kind::Project, "First project key", Some(&project.id));
        let keys = vec![admin.record.clone(), first.record.clone()];
        let act = Act::Bootstrap { organization: organization.clone(), project: project.clone(), keys: keys.clone() };
        let payload = json!({"id": project.id.as_str(), "data": {"name": project.name, "title": project.name}});
        let created = Event { kind: "project.created", project: Some(project.id.clone()), payload };
        let payload = json!({"id": organization.id.as_str(), "data": {"name": organization.name}});
        let bootstrapped = Event { kind: "sallyport.bootstrapped", project: None, payload };
        let events = [bootstrapped, created, key_created(&admin.record), key_created(&first.record)];
        let events = events.into_iter().map(|event| maker.event(event)).collect();
        registry.commit(&RecordedAct::new(act, events)?).await?;
        let started = Started { project: project.id.clone(), admin_key: admin.secret, project_key: first.secret };
        let records = Records {
            organization,
            projects: vec![project],
            service_accounts: Vec::new(),
            keys,
            limits: Vec::new(),
            alerts: Vec::new(),
            webhooks: Vec::new(),
            prices: Vec::new(),
            upstreams: Default::default(),
        };
        Ok((records, started))
    }

    /// Makes a new admin key offline, audited as done on the machine itself.
    ///
    /// # Errors
    /// When nothing can be written.
    pub async fn recover(
        registry: &dyn Registry,
        pepper: &Pepper,
        shape: &Shape,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Secret, StoreError> {
        let maker = Maker { pepper, shape, clock, random };
        let key = maker.key(&KeyFor {
            kind: Kind::Admin,
            name: "Recovered admin key",
            project: None,
            service_account: None,
            created_by: None,
            expires_at: None,
        });
        let payload = json!({"id": key.record.id.as_str(), "data": {"name": key.record.name}});
        let recovered = maker.event(Event { kind: "sallyport.admin.recovered", project: None, payload });
        let mut created = maker.event(key_created(&key.record));
        created.payload["data"]["recovered"] = json!(true);
        let recorded = RecordedAct::new(Act::CreateKey(key.record), vec![recovered, created])?;
        registry.commit(&recorded).await?;
        Ok(key.secret)
    }
}
