//! The control plane: OpenAI's Administration API over projects, service accounts and keys, and our few extensions.
//!
//! Promises: every write of a call goes through one function, `commit`, which stores the act and its audit events in one
//! transaction and puts it in force before it returns; calls that write come one after the other, each deciding on
//! what the one before it left; a secret is in the one answer that creates it and nowhere else; whatever the store
//! refuses changes nothing; no amount of money passes through a float. Lists are served from the directory, limits and
//! holds from the ledger, audit events, usage and costs from the store.
//!
//! To add an operation: its row in the table of endpoints, its line in [`Console::perform`] or, for those of ours that
//! the API lacks, in `ours`, a function in the file of its object, a test.
//!
//! Left out: HTTP, authentication and JSON strictness, which the gateway has seen to. A writing call must be run to
//! its end, whether or not its client still waits: one that is dropped between store and directory would be in force
//! only after a restart.

mod admin_keys;
mod alerts;
mod amounts;
mod audit;
mod buckets;
mod costs;
mod estimates;
mod evidence;
mod findings;
mod forecast;
mod guards;
mod holds;
mod housekeeping;
mod incident_input;
mod incident_limits;
mod incident_steps;
mod incidents;
mod input;
mod key_life;
mod key_policy;
mod key_terms;
mod leaks;
mod limits;
mod money_settings;
mod new;
mod notices;
mod ours;
mod prices;
mod project_keys;
mod projects;
mod provider_usage;
mod rate_limits;
mod rotation;
mod runs;
mod scopes;
mod service_accounts;
mod spend_limits;
mod start;
mod terms;
mod triage;
mod upstream_keys;
mod upstream_policies;
mod upstreams;
mod usage;
mod webhooks;

pub use alerts::is_address;
pub use findings::{Noticed, NoticedText};
pub use housekeeping::Keeping;
pub use key_life::{Deliveries, NewSecret};
pub use prices::table_in_force;
pub use provider_usage::{ProviderReports, ProviderSide};
pub use rotation::{AdministrationFault, DRAIN_SECONDS_MAX, NewAccount, RotationNews, UpstreamAdministration};
pub use start::Started;
pub use triage::Evaluation;
pub use upstreams::{Standing, UpstreamsInForce, Vault};

use std::fmt;
use std::sync::Arc;

use keys::{MasterKey, Pepper, Random, Shape};
use ledger::{Ledger, LedgerStore};
use pricing::Prices;
use serde_json::Value;
use store::{
    Act, Actor, AuditEvent, Clock, Directory, Incidents, KeyEntry, Outbox, ProjectId, RecordedAct, Registry, Reports,
    Snapshot, StoreError,
};
use tokio::sync::Mutex;
use wire::endpoint::{Endpoint, Method};
use wire::refusal::{Reason, Refusal};

use crate::new::{KeyFor, Maker, NewKey};

/// A call, authenticated.
#[derive(Debug)]
pub struct Call<'a> {
    /// The row.
    pub endpoint: &'static Endpoint,
    /// Path parameters, decoded.
    pub params: &'a [(&'static str, String)],
    /// Query as it came.
    pub query: &'a str,
    /// Body: strict JSON, or empty.
    pub body: &'a [u8],
    /// The admin key that calls.
    pub caller: &'a Arc<KeyEntry>,
    /// Where it calls from.
    pub address: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
}

impl Call<'_> {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Refuses what gives its caller an admin key, or another's new secret: a restricted one could make itself one that is
    /// not.
    fn refuse_if_restricted(&self) -> Result<(), Refusal> {
        if self.caller.key.bounds.is_open() {
            return Ok(());
        }
        let words = "A restricted admin key makes and changes no admin keys. Use one without restrictions.";
        Err(Refusal::new(Reason::MissingScope, words))
    }

    fn actor(&self) -> Actor {
        Actor::Key {
            id: self.caller.key.id.clone(),
            address: self.address.clone(),
            user_agent: self.user_agent.clone(),
        }
    }
}

/// What an operation answers with.
type Answer = Result<Value, Refusal>;

/// What the control plane reads and changes of money.
pub struct Money {
    /// Limits in force and open holds.
    pub ledger: Arc<Ledger>,
    /// Crash estimates.
    pub ledger_store: Arc<dyn LedgerStore>,
    /// Usage and costs.
    pub reports: Arc<dyn Reports>,
    /// Notices on their way.
    pub outbox: Arc<dyn Outbox>,
    /// The price table in force.
    pub prices: Arc<Prices>,
    /// Seals the signing secrets of webhooks.
    pub master_key: Arc<MasterKey>,
    /// Tells the notifier that something waits in the outbox.
    pub wake_notifier: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Money").finish_non_exhaustive()
    }
}

/// Where incidents of exposed keys are, and who is told of one.
pub struct Exposure {
    /// Incidents, and keys that are gone.
    pub incidents: Arc<dyn Incidents>,
    /// Mail addresses that are told; webhooks are told in any case.
    pub recipients: Vec<String>,
    /// The provider's own usage.
    pub provider: Arc<dyn ProviderReports>,
}

impl fmt::Debug for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposure").finish_non_exhaustive()
    }
}

/// The control plane.
pub struct Console {
    registry: Arc<dyn Registry>,
    directory: Arc<Directory>,
    pepper: Pepper,
    shape: Shape,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    money: Money,
    exposure: Exposure,
    keeping: Keeping,
    /// `None` where there is none but the configuration's upstream.
    vault: Option<Vault>,
    /// `None` where texts of triaged findings are not kept.
    evaluation: Option<Arc<dyn Evaluation>>,
    attempts: rotation::Attempts,
    /// Held by the call that writes, from its first look at the directory to its change in force. Without it a rename
    /// could undo an archive, a key could outlive its service account in memory, and the last two admin keys could
    /// delete each other.
    writing: Mutex<()>,
}

/// What an act is recorded as.
struct Event {
    kind: &'static str,
    project: Option<ProjectId>,
    payload: Value,
}

impl Console {
    /// A control plane over a store and the directory loaded from it.
    #[expect(clippy::too_many_arguments, reason = "each is one thing that the binary wires, named once")]
    pub fn new(
        registry: Arc<dyn Registry>,
        directory: Arc<Directory>,
        pepper: Pepper,
        shape: Shape,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        money: Money,
        keeping: Keeping,
        exposure: Exposure,
    ) -> Console {
        Console {
            registry,
            directory,
            pepper,
            shape,
            clock,
            random,
            money,
            keeping,
            exposure,
            vault: None,
            evaluation: None,
            attempts: Default::default(),
            writing: Mutex::new(()),
        }
    }

    /// The same, with upstreams that can be administered.
    pub fn with_vault(self, vault: Vault) -> Console {
        Console { vault: Some(vault), ..self }
    }

    /// The same, with a place for texts of triaged findings.
    pub fn with_evaluation(self, evaluation: Arc<dyn Evaluation>) -> Console {
        Console { evaluation: Some(evaluation), ..self }
    }

    /// Serves a call; the answer is JSON. Its status is 200, as everywhere in the Administration API.
    ///
    /// # Errors
    /// In the API's shape: what is wrong with the call, or that the store cannot be written.
    pub async fn serve(&self, call: &Call<'_>) -> Result<String, Refusal> {
        if call.endpoint.path == costs::PATH {
            // Amounts in it are exact decimal numbers, which a JSON value cannot hold.
            return self.report_costs(call).await;
        }
        self.answer(call).await.map(|answer| answer.to_string())
    }

    async fn answer(&self, call: &Call<'_>) -> Answer {
        if call.endpoint.method == Method::Get {
            return self.perform(call).await;
        }
        if call.endpoint.path.contains("/admin_api_keys") {
            call.refuse_if_restricted()?;
        }
        if key_life::ROTATIONS.contains(&call.endpoint.path) || call.endpoint.path == incidents::UPDATE {
            // They wait for their turn by themselves, and not while a secret is delivered or a provider is asked.
            return self.perform(call).await;
        }
        let _one_at_a_time = self.writing.lock().await;
        if call.caller.revocation.is_revoked() {
            // While it waited for its turn.
            return Err(Refusal::new(Reason::RevokedKey, "This API key was revoked. Nothing was changed."));
        }
        self.perform(call).await
    }

    async fn perform(&self, call: &Call<'_>) -> Answer {
        use Method::{Delete, Get, Post};
        if let Some(path) = call.endpoint.path.strip_prefix("/v1/sallyport") {
            return self.perform_ours(call, path).await;
        }
        let path = call.endpoint.path.strip_prefix("/v1/organization").unwrap_or(call.endpoint.path);
        match (call.endpoint.method, path) {
            (Get, "/projects") => self.list_projects(call),
            (Post, "/projects") => self.create_project(call).await,
            (Get, "/projects/{project_id}") => self.retrieve_project(call),
            (Post, "/projects/{project_id}") => self.update_project(call).await,
            (Post, "/projects/{project_id}/archive") => self.archive_project(call).await,
            (Get, "/projects/{project_id}/api_keys") => self.list_project_keys(call),
            (Post, "/projects/{project_id}/api_keys") => self.create_project_key(call).await,
            (Get, "/projects/{project_id}/api_keys/{api_key_id}") => self.retrieve_project_key(call),
            (Post, "/projects/{project_id}/api_keys/{api_key_id}") => self.update_key(call).await,
            (Delete, "/projects/{project_id}/api_keys/{api_key_id}") => self.delete_project_key(call).await,
            (Get, "/projects/{project_id}/service_accounts") => self.list_service_accounts(call),
            (Post, "/projects/{project_id}/service_accounts") => self.create_service_account(call).await,
            (Get, "/projects/{project_id}/service_accounts/{service_account_id}") => {
                self.retrieve_service_account(call)
            }
            (Post, "/projects/{project_id}/service_accounts/{service_account_id}") => {
                self.update_service_account(call).await
            }
            (Delete, "/projects/{project_id}/service_accounts/{service_account_id}") => {
                self.delete_service_account(call).await
            }
            (Post, "/projects/{project_id}/service_accounts/{service_account_id}/api_keys") => {
                self.create_service_account_key(call).await
            }
            (Get, "/admin_api_keys") => self.list_admin_keys(call),
            (Post, "/admin_api_keys") => self.create_admin_key(call).await,
            (Get, "/admin_api_keys/{key_id}") => self.retrieve_admin_key(call),
            (Delete, "/admin_api_keys/{key_id}") => self.delete_admin_key(call).await,
            (Get, "/audit_logs") => self.list_audit_events(call).await,
            (Get, "/spend_limit" | "/projects/{project_id}/spend_limit") => self.retrieve_spend_limit(call).await,
            (Post, "/spend_limit" | "/projects/{project_id}/spend_limit") => self.put_spend_limit(call).await,
            (Delete, "/spend_limit" | "/projects/{project_id}/spend_limit") => self.delete_spend_limit(call).await,
            (Get, "/spend_alerts" | "/projects/{project_id}/spend_alerts") => self.list_alerts(call),
            (Post, "/spend_alerts" | "/projects/{project_id}/spend_alerts") => self.create_alert(call).await,
            (Get, "/spend_alerts/{alert_id}" | "/projects/{project_id}/spend_alerts/{alert_id}") => {
                self.retrieve_alert(call)
            }
            (Post, "/spend_alerts/{alert_id}" | "/projects/{project_id}/spend_alerts/{alert_id}") => {
                self.update_alert(call).await
            }
            (Delete, "/spend_alerts/{alert_id}" | "/projects/{project_id}/spend_alerts/{alert_id}") => {
                self.delete_alert(call).await
            }
            (Get, "/projects/{project_id}/rate_limits") => self.list_rate_limits(call),
            (Post, "/projects/{project_id}/rate_limits/{rate_limit_id}") => self.update_rate_limit(call).await,
            (Get, path) if path.starts_with("/usage/") => self.report_usage(call, &path["/usage/".len()..]).await,
            _ => Err(Refusal::new(
                Reason::NotServed,
                "This operation of the Administration API is not served by this version of Sallyport.",
            )),
        }
    }

    fn now(&self) -> i64 {
        self.clock.unix_seconds()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.directory.snapshot())
    }

    fn maker(&self) -> Maker<'_> {
        Maker { pepper: &self.pepper, shape: &self.shape, clock: &*self.clock, random: &*self.random }
    }

    fn new_id(&self, prefix: &str) -> String {
        self.maker().id(prefix)
    }

    fn new_key(&self, meant: &KeyFor<'_>) -> NewKey {
        self.maker().key(meant)
    }

    /// Does an act: stored with its events, then in force. The only way for a call to write anything.
    async fn commit(&self, actor: Actor, act: Act, events: Vec<Event>) -> Result<(), Refusal> {
        let maker = self.maker();
        let event = |event| AuditEvent { actor: actor.clone(), ..maker.event(event) };
        let recorded = RecordedAct::new(act, events.into_iter().map(event).collect());
        let recorded = recorded.map_err(|error| unavailable(&error))?;
        self.registry.commit(&recorded).await.map_err(|error| unavailable(&error))?;
        self.directory.apply(recorded.act());
        if let (Act::Upstream(_), Some(vault)) = (recorded.act(), &self.vault) {
            vault.in_force.renew();
        }
        Ok(())
    }
}

/// The store's refusal in the API's words.
fn unavailable(error: &StoreError) -> Refusal {
    match error {
        StoreError::Conflict(_) => Refusal::new(
            Reason::Conflict,
            "Something else changed this object at the same time. Read it again and retry.",
        ),
        StoreError::Unavailable(_) | StoreError::Corrupt(_) => Refusal::new(
            Reason::StoreUnavailable,
            "The gate cannot use its database right now; nothing was changed. Check the disk, then retry.",
        ),
        StoreError::Unrecorded { .. } => Refusal::new(
            Reason::Internal,
            "The gate has no audit event for this act, so it was not done. This is a defect: report it.",
        ),
    }
    .cause(error)
}

/// 404 in the API's words.
fn no_such(what: &str, id: &str) -> Refusal {
    let shown: String = id.chars().take(128).collect();
    Refusal::new(Reason::ObjectNotFound, format!("No {what} found with id '{shown}'."))
}

#[cfg(test)]
mod tests;
