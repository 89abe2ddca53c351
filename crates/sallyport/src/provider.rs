//! The provider's own usage, for reports of incidents: of the upstream that a project uses first, with the admin key that
//! the vault has for it, or, of the configuration's upstream, the environment.

use std::sync::Arc;

use async_trait::async_trait;
use console::{ProviderReports, ProviderSide};
use exposure::provider::Whose;
use gateway::administration;
use gateway::settings::Upstream as Target;
use store::{ProjectId, Upstream, UpstreamKeyState};

use crate::keyring::Keyring;

/// Where the provider is asked.
pub(crate) struct Provider {
    pub(crate) keyring: Arc<Keyring>,
    /// The configuration's upstream; its key, where there is one, is an admin key.
    pub(crate) default: Option<Target>,
    /// The provider's id of the key that requests go to it with, where the operator named it.
    pub(crate) default_key_id: Option<String>,
}

impl Provider {
    /// The stored upstream that a project uses first; `None`: the configuration's.
    fn home(&self, project: Option<&str>) -> Option<Upstream> {
        let snapshot = self.keyring.directory.snapshot();
        let policy = snapshot.upstreams.policies.get(&ProjectId::new(project?))?;
        policy.members.first().and_then(|(id, _)| snapshot.upstreams.upstreams.get(id)).cloned()
    }
}

#[async_trait]
impl ProviderReports for Provider {
    fn side(&self, project: Option<&str>) -> ProviderSide {
        let Some(upstream) = self.home(project) else {
            let project_id = self.default.as_ref().and_then(|target| target.project.clone());
            let whose = Whose { key_ids: self.default_key_id.iter().cloned().collect(), project_id };
            let can_be_read = self.default.as_ref().is_some_and(|target| target.key.is_some());
            return ProviderSide { whose, can_be_read };
        };
        let snapshot = self.keyring.directory.snapshot();
        let is_used = |state| matches!(state, UpstreamKeyState::Enabled | UpstreamKeyState::Draining);
        let keys = snapshot.upstreams.keys_of(&upstream.id);
        let key_ids = keys.into_iter().filter(|key| is_used(key.state)).filter_map(|key| key.upstream_key_id.clone());
        let administered = upstream.administration.as_ref().map(|administration| administration.project.clone());
        let can_be_read = administered.is_some();
        let whose = Whose { key_ids: key_ids.collect(), project_id: administered.or(upstream.project) };
        ProviderSide { whose, can_be_read }
    }

    async fn get(&self, project: Option<&str>, path: &str) -> Result<Vec<u8>, String> {
        let answer = match self.home(project) {
            Some(upstream) => administration::read(&self.keyring.administrator(&upstream)?, path).await,
            None => administration::read(self.default.as_ref().ok_or("there is none")?, path).await,
        };
        answer.map(|body| body.to_vec()).map_err(|error| error.to_string())
    }
}
