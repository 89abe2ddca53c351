//! The provider's own usage, for reports of incidents: the configured upstream, asked with an admin key of it.

use async_trait::async_trait;
use console::ProviderReports;
use exposure::provider::Whose;
use gateway::settings::Upstream;
use keys::Secret;

/// The configured upstream with an admin key.
pub(crate) struct Provider {
    pub(crate) upstream: Upstream,
    pub(crate) admin_key: Secret,
    /// The provider's id of the key that requests are sent with, where the operator named it.
    pub(crate) key_id: Option<String>,
}

#[async_trait]
impl ProviderReports for Provider {
    fn whose(&self, _project: Option<&str>) -> Whose {
        Whose { key_id: self.key_id.clone(), project_id: self.upstream.project.clone() }
    }

    async fn get(&self, _project: Option<&str>, path: &str) -> Result<Vec<u8>, String> {
        gateway::read_provider(&self.upstream, &self.admin_key, path).await.map(|body| body.to_vec())
    }
}
