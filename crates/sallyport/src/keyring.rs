//! From what is stored to what is in force: opens upstream keys, or reads them from their sources, and hands them to the
//! data path.
//!
//! Promises: a key that cannot be opened or read is not in force and says why; a stored upstream whose host the operator
//! does not allow any more gets no request; changes are put in force one after the other, the last one last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use console::{AdministrationFault, NewAccount, Standing, UpstreamAdministration, UpstreamsInForce};
use gateway::administration::{self, AdministrationError};
use gateway::settings::{Upstream as Target, parse_upstream_url};
use gateway::upstreams::{KeyInForce, PolicyInForce, UpstreamInForce, Upstreams};
use http::uri::{Authority, Scheme};
use keys::{DataKey, Secret};
use store::{Directory, Material, Upstream, UpstreamKey, UpstreamKeyState};

use crate::sources::Sources;

/// Hosts of the API, where a configuration names none.
const HOSTS_DEFAULT: [&str; 2] = ["api.openai.com", "*.api.openai.com"];

/// How often in a row a new key must be known: an upstream is many machines, each call is a connection of its own, and
/// requests will meet them all.
const KEY_TRIES: usize = 5;

/// Which hosts upstreams that are made over the API may name.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// The configured patterns (`host`, `host:port`, `*.domain`, with `http://` in front where TLS is not wanted), or
    /// the API's own; the configuration's upstream is allowed anyway.
    pub(crate) fn new(configured: Option<&[String]>, default: Option<&Target>) -> Hosts {
        let usual = || HOSTS_DEFAULT.map(str::to_owned).to_vec();
        let mut patterns = configured.map_or_else(usual, <[String]>::to_vec);
        patterns.extend(default.map(|target| match target.scheme == Scheme::HTTP {
            true => format!("http://{}", target.authority),
            false => target.authority.to_string(),
        }));
        Hosts(patterns)
    }

    fn allows(&self, scheme: &Scheme, authority: &Authority) -> bool {
        let (host, whole) = (authority.host().to_ascii_lowercase(), authority.as_str().to_ascii_lowercase());
        self.0.iter().any(|pattern| {
            let (is_plain, pattern) = match pattern.strip_prefix("http://") {
                Some(rest) => (true, rest.to_ascii_lowercase()),
                None => (false, pattern.to_ascii_lowercase()),
            };
            let is_host = match pattern.strip_prefix('*') {
                Some(domain) => domain.len() > 1 && host.len() > domain.len() && host.ends_with(domain),
                None => pattern == host || pattern == whole,
            };
            is_host && is_plain == (*scheme == Scheme::HTTP)
        })
    }
}

/// What stands between store and data path.
pub(crate) struct Keyring {
    pub(crate) directory: Arc<Directory>,
    pub(crate) data_key: Arc<DataKey>,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) tls: rustls::ClientConfig,
    pub(crate) hosts: Hosts,
    pub(crate) default_address: Option<String>,
    /// Why keys are not in force, by their id. Held while a change is put in force.
    pub(crate) problems: Mutex<HashMap<String, String>>,
}

impl Keyring {
    /// A secret that is stored for a row of a table.
    ///
    /// # Errors
    /// In words, why it cannot be had.
    fn secret(&self, material: &Material, (table, row): (&'static str, &str)) -> Result<Secret, String> {
        match material {
            Material::Source(name) => self.sources.value(name),
            Material::Sealed { sealed, .. } => self.data_key.open(table, row, sealed).map_err(|_| {
                "its sealed value does not open: the database was changed by another hand, or was sealed with another data key"
                    .to_owned()
            }),
        }
    }

    /// Where an upstream is, if the operator allows it.
    fn target(&self, upstream: &Upstream) -> Result<Target, String> {
        self.check_address(&upstream.url)?;
        let (scheme, authority, base_path) = parse_upstream_url(&upstream.url).map_err(|error| error.to_string())?;
        let (organization, project) = (upstream.organization.clone(), upstream.project.clone());
        let tls = self.tls.clone();
        Ok(Target { scheme, authority, base_path, key: None, organization, project, tls })
    }

    fn keys(
        &self,
        upstream: &Upstream,
        keys: &[&UpstreamKey],
        problems: &mut HashMap<String, String>,
    ) -> Vec<KeyInForce> {
        let mut in_force = Vec::with_capacity(keys.len());
        for key in keys {
            match key.state {
                UpstreamKeyState::Enabled | UpstreamKeyState::Draining => {}
                UpstreamKeyState::Pending | UpstreamKeyState::Disabled => continue,
            }
            match self.secret(&key.material, (UpstreamKey::TABLE, &UpstreamKey::place(&key.id, upstream))) {
                Ok(secret) => {
                    let takes_requests = upstream.is_enabled && key.state == UpstreamKeyState::Enabled;
                    in_force.push(KeyInForce { id: key.id.clone(), secret, takes_requests });
                }
                Err(words) => drop(problems.insert(key.id.clone(), words)),
            }
        }
        in_force
    }
}

impl UpstreamsInForce for Keyring {
    fn renew(&self) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *problems);
        let snapshot = Arc::clone(&self.directory.snapshot());
        let records = &snapshot.upstreams;
        let mut upstreams = Vec::with_capacity(records.upstreams.len());
        for upstream in records.upstreams.values() {
            let keys = records.keys_of(&upstream.id);
            match self.target(upstream) {
                Ok(target) => {
                    let keys = self.keys(upstream, &keys, &mut problems);
                    upstreams.push(UpstreamInForce { id: upstream.id.clone(), upstream: target, keys });
                }
                Err(words) => problems.extend(keys.into_iter().map(|key| (key.id.clone(), words.clone()))),
            }
        }
        let policy = |policy: &store::UpstreamPolicy| PolicyInForce {
            project: policy.project.clone(),
            is_weighted: policy.is_weighted,
            members: policy.members.clone(),
        };
        for (key, words) in problems.iter().filter(|(key, words)| before.get(*key) != Some(*words)) {
            tracing::error!(key, "an upstream key is not in force: {words}");
        }
        self.upstreams.install(upstreams, records.policies.values().map(policy).collect());
    }

    fn standing(&self, upstream: &str, key: &str) -> Result<Standing, String> {
        if let Some(standing) = self.upstreams.standing(upstream, key) {
            let gateway::upstreams::KeyStanding { is_healthy, open_ms, in_flight, last_used_at } = standing;
            return Ok(Standing { is_healthy, open_ms, in_flight, last_used_at });
        }
        let problem = self.problems.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        Err(problem.unwrap_or_else(|| "it is not in force".to_owned()))
    }

    fn check_address(&self, url: &str) -> Result<(), String> {
        let (scheme, authority, _) = parse_upstream_url(url).map_err(|error| error.to_string())?;
        if self.hosts.allows(&scheme, &authority) {
            return Ok(());
        }
        Err(format!(
            "{scheme}://{authority} is not among the hosts that the operator allows ({}): add it to vault.upstream_hosts in the configuration",
            self.hosts.0.join(", ")
        ))
    }

    fn sources(&self) -> Vec<String> {
        self.sources.names()
    }

    fn default_address(&self) -> Option<String> {
        self.default_address.clone()
    }
}

fn fault(error: &AdministrationError) -> AdministrationFault {
    AdministrationFault { words: error.to_string(), is_passing: error.is_passing() }
}

/// What can be mended: a source that is not there now may be there later.
fn no_key(words: String) -> AdministrationFault {
    AdministrationFault { words, is_passing: true }
}

impl Keyring {
    /// An upstream with its admin key.
    ///
    /// # Errors
    /// In words, why it cannot be had.
    pub(crate) fn administrator(&self, upstream: &Upstream) -> Result<Target, String> {
        self.administered(upstream).map(|(target, _)| target).map_err(|fault| fault.words)
    }

    /// An upstream with its admin key, and the project that is administered.
    fn administered<'u>(&self, upstream: &'u Upstream) -> Result<(Target, &'u str), AdministrationFault> {
        let gone = || no_key("the upstream has no administration any more".to_owned());
        let administration = upstream.administration.as_ref().ok_or_else(gone)?;
        let key = self.secret(&administration.key, (Upstream::TABLE, &upstream.place())).map_err(no_key)?;
        let target = self.target(upstream).map_err(no_key)?;
        Ok((Target { key: Some(key), ..target }, &administration.project))
    }
}

#[async_trait]
impl UpstreamAdministration for Keyring {
    async fn create_account(&self, upstream: &Upstream, name: &str) -> Result<NewAccount, AdministrationFault> {
        let (target, project) = self.administered(upstream)?;
        let made =
            administration::create_service_account(&target, project, name).await.map_err(|error| fault(&error))?;
        Ok(NewAccount { id: made.id, key_id: made.key_id, key: made.key })
    }

    async fn accounts_named(&self, upstream: &Upstream, name: &str) -> Result<Vec<String>, AdministrationFault> {
        let (target, project) = self.administered(upstream)?;
        administration::service_accounts_named(&target, project, name).await.map_err(|error| fault(&error))
    }

    async fn delete_account(&self, upstream: &Upstream, account: &str) -> Result<(), AdministrationFault> {
        let (target, project) = self.administered(upstream)?;
        administration::delete_service_account(&target, project, account).await.map_err(|error| fault(&error))
    }

    async fn expire_key(&self, upstream: &Upstream, key_id: &str, seconds: i64) -> Result<(), AdministrationFault> {
        let (target, project) = self.administered(upstream)?;
        let seconds = u64::try_from(seconds).unwrap_or_default();
        administration::expire_key(&target, project, key_id, seconds).await.map_err(|error| fault(&error))
    }

    async fn key_works(&self, upstream: &Upstream, key: &UpstreamKey) -> Result<bool, AdministrationFault> {
        let place = UpstreamKey::place(&key.id, upstream);
        let secret = self.secret(&key.material, (UpstreamKey::TABLE, &place)).map_err(no_key)?;
        let target = Target { key: Some(secret), ..self.target(upstream).map_err(no_key)? };
        for _ in 0..KEY_TRIES {
            if !administration::key_works(&target).await.map_err(|error| fault(&error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
