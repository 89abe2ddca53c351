//! The configuration in force: an immutable snapshot behind one atomic pointer.
//!
//! Promises: readers never wait and never see half a change; a change copies one small shard, however many projects
//! there are; a key that is deleted, whose service account is deleted or whose project is archived is tripped before
//! [`Directory::apply`] returns, and with it every stream that waits on it, and so is one that is suspended, a secret
//! that a rotation put out of force, and, by [`Directory::expire`], one whose time is over; a page of a list costs the
//! same however long the list is.

mod order;
mod sharded;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use keys::Digest;
use tokio::sync::Notify;

use crate::alerts::{SpendAlert, Webhook};
use crate::incidents::KeyEnd;
use crate::money::PriceOverride;
use crate::ports::{Act, Records};
use crate::records::{Key, KeyId, Organization, Project, ProjectId, ServiceAccount, ServiceAccountId};
use crate::upstreams::UpstreamRecords;

use order::Order;
pub use order::Span;
pub use sharded::Sharded;

/// Whether a key was revoked, and a way to wait for it.
#[derive(Debug, Default)]
pub struct Revocation {
    revoked: AtomicBool,
    notify: Notify,
}

impl Revocation {
    /// Whether the key was revoked.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(SeqCst)
    }

    /// Waits until the key is revoked.
    pub async fn revoked(&self) {
        let mut waiting = std::pin::pin!(self.notify.notified());
        // Registered before the flag is read: a revocation in between is not lost.
        waiting.as_mut().enable();
        if !self.is_revoked() {
            waiting.await;
        }
    }

    fn trip(&self) {
        self.revoked.store(true, SeqCst);
        self.notify.notify_waiters();
    }
}

/// A secret in force, and the key that it belongs to.
#[derive(Debug)]
pub struct KeyEntry {
    /// The record.
    pub key: Key,
    /// What this secret is looked up by.
    pub digest: Digest,
    /// When this secret stops working: the key's own time, or that of its former secret.
    pub expires_at: Option<i64>,
    /// Tripped when the secret is revoked; shared by all entries that it has had since it was last in force.
    pub revocation: Arc<Revocation>,
    /// When it was last presented since this entry is in force; 0: not yet.
    used_at: AtomicI64,
}

impl KeyEntry {
    /// An entry of a key's secret.
    pub fn new(key: Key, digest: Digest, expires_at: Option<i64>, revocation: Arc<Revocation>) -> KeyEntry {
        KeyEntry { key, digest, expires_at, revocation, used_at: AtomicI64::new(0) }
    }

    /// Notes that the secret was presented.
    pub fn note_use(&self, now: i64) {
        self.used_at.store(now, Relaxed);
    }

    /// When the secret was last presented since this entry is in force.
    pub fn used_at(&self) -> Option<i64> {
        Some(self.used_at.load(Relaxed)).filter(|at| *at > 0)
    }

    /// Whether the secret's time is over.
    pub fn has_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

/// The configuration at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The organization.
    pub organization: Organization,
    projects: Sharded<ProjectId, Arc<Project>>,
    service_accounts: Sharded<ServiceAccountId, Arc<ServiceAccount>>,
    keys: Sharded<Digest, Arc<KeyEntry>>,
    digests: Sharded<KeyId, Digest>,
    /// Spend alerts by id.
    pub alerts: Arc<BTreeMap<String, SpendAlert>>,
    /// Webhooks by id.
    pub webhooks: Arc<BTreeMap<String, Webhook>>,
    /// The operator's prices by model.
    pub prices: Arc<BTreeMap<String, PriceOverride>>,
    /// Upstreams, their keys and policies.
    pub upstreams: Arc<UpstreamRecords>,
}

impl Snapshot {
    /// The key with this digest.
    pub fn key(&self, digest: &Digest) -> Option<&Arc<KeyEntry>> {
        self.keys.get(digest)
    }

    /// The key with this id, by its secret in force.
    pub fn key_by_id(&self, id: &KeyId) -> Option<&Arc<KeyEntry>> {
        self.digests.get(id).and_then(|digest| self.keys.get(digest))
    }

    /// The project with this id.
    pub fn project(&self, id: &ProjectId) -> Option<&Arc<Project>> {
        self.projects.get(id)
    }

    /// The service account with this id.
    pub fn service_account(&self, id: &ServiceAccountId) -> Option<&Arc<ServiceAccount>> {
        self.service_accounts.get(id)
    }

    /// How many projects there are, archived ones included: their objects are still stored upstream.
    pub fn project_count(&self) -> usize {
        self.projects.count
    }

    /// All projects, in no order.
    pub fn projects(&self) -> impl Iterator<Item = &Arc<Project>> {
        self.projects.values()
    }

    /// All service accounts, in no order.
    pub fn service_accounts(&self) -> impl Iterator<Item = &Arc<ServiceAccount>> {
        self.service_accounts.values()
    }

    /// All keys, each by its secret in force, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<KeyEntry>> {
        self.keys.values().filter(|entry| entry.digest == entry.key.digest)
    }

    /// Puts a key's secrets in; each keeps the revocation that `kept` has for it.
    fn add_key(&mut self, key: &Key, kept: impl Fn(&Digest) -> Option<Arc<Revocation>>) {
        self.digests.insert(key.id.clone(), key.digest);
        for (digest, expires_at) in key.secrets() {
            let revocation = kept(&digest).unwrap_or_default();
            self.keys.insert(digest, Arc::new(KeyEntry::new(key.clone(), digest, expires_at, revocation)));
        }
    }

    /// Takes a key's secrets out.
    fn take_key(&mut self, id: &KeyId) -> Vec<Arc<KeyEntry>> {
        let Some(entry) = self.key_by_id(id).cloned() else { return Vec::new() };
        self.digests.remove(id);
        entry.key.secrets().filter_map(|(digest, _)| self.keys.remove(&digest)).collect()
    }
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What is in it, in the list's order.
    pub items: Vec<Arc<T>>,
    /// Whether more follow.
    pub has_more: bool,
}

/// The pointer to the snapshot in force.
#[derive(Debug)]
pub struct Directory {
    current: ArcSwap<Snapshot>,
    /// Changes come one after the other; lists are read between them.
    order: Mutex<Order>,
}

impl Directory {
    /// A directory of what was loaded.
    pub fn new(records: Records) -> Directory {
        let mut order = Order::default();
        let mut snapshot = Snapshot {
            organization: records.organization,
            projects: Sharded::new(),
            service_accounts: Sharded::new(),
            keys: Sharded::new(),
            digests: Sharded::new(),
            alerts: Arc::new(records.alerts.into_iter().map(|alert| (alert.id.clone(), alert)).collect()),
            webhooks: Arc::new(records.webhooks.into_iter().map(|webhook| (webhook.id.clone(), webhook)).collect()),
            prices: Arc::new(records.prices.into_iter().map(|prices| (prices.model.clone(), prices)).collect()),
            upstreams: Arc::new(records.upstreams),
        };
        for project in records.projects {
            put_project(&mut snapshot, &mut order, project);
        }
        for account in records.service_accounts {
            put_service_account(&mut snapshot, &mut order, account);
        }
        for key in records.keys {
            put_key(&mut snapshot, &mut order, &key);
        }
        Directory { current: ArcSwap::from_pointee(snapshot), order: Mutex::new(order) }
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// A part of the list of projects; `None` when nothing with the id in `after` is known.
    pub fn projects(&self, with_archived: bool, span: Span<'_>) -> Option<Page<Project>> {
        let (order, snapshot) = (self.order(), self.snapshot());
        let list = if with_archived { &order.projects } else { &order.active_projects };
        let project = |id: &str| snapshot.project(&ProjectId::new(id));
        let (ids, has_more) = order.part(list, span, |id| project(id).map(|project| project.created_at))?;
        Some(Page { items: ids.iter().filter_map(|id| project(id).cloned()).collect(), has_more })
    }

    /// A part of the list of a project's keys, or of the admin keys (`None`); `None` as for projects.
    pub fn keys_of(&self, project: Option<&ProjectId>, span: Span<'_>) -> Option<Page<KeyEntry>> {
        let (order, snapshot) = (self.order(), self.snapshot());
        let entry =
            |id: &str| snapshot.key_by_id(&KeyId::new(id)).filter(|entry| entry.key.project.as_ref() == project);
        let (ids, has_more) =
            order.part(order.keys(project), span, |id| entry(id).map(|entry| entry.key.created_at))?;
        Some(Page { items: ids.iter().filter_map(|id| entry(id).cloned()).collect(), has_more })
    }

    /// A part of the list of a project's service accounts; `None` as for projects.
    pub fn service_accounts_of(&self, project: &ProjectId, span: Span<'_>) -> Option<Page<ServiceAccount>> {
        let (order, snapshot) = (self.order(), self.snapshot());
        let account = |id: &str| {
            snapshot.service_account(&ServiceAccountId::new(id)).filter(|account| account.project == *project)
        };
        let list = order.service_accounts(project);
        let (ids, has_more) = order.part(list, span, |id| account(id).map(|account| account.created_at))?;
        Some(Page { items: ids.iter().filter_map(|id| account(id).cloned()).collect(), has_more })
    }

    /// The keys of a service account.
    pub fn keys_of_service_account(&self, account: &ServiceAccountId) -> Vec<Arc<KeyEntry>> {
        let (order, snapshot) = (self.order(), self.snapshot());
        order.account_keys(account).iter().filter_map(|id| snapshot.key_by_id(id).cloned()).collect()
    }

    /// The active project that lists this real `proj_…` id as its synonym.
    pub fn claimed_by(&self, synonym: &str) -> Option<ProjectId> {
        self.order().claimed_by(synonym).cloned()
    }

    /// Puts a committed act in force.
    pub fn apply(&self, act: &Act) {
        let mut order = self.order();
        let mut next = Snapshot::clone(&self.current.load());
        let mut tripped = Vec::new();
        match act.clone() {
            Act::Bootstrap { organization, project, keys } => {
                next.organization = organization;
                put_project(&mut next, &mut order, project);
                keys.iter().for_each(|key| put_key(&mut next, &mut order, key));
            }
            Act::CreateProject(project) => put_project(&mut next, &mut order, project),
            Act::UpdateProject(project) => {
                if project.is_archived() {
                    tripped = renew_keys(&mut next, &order, &project.id);
                }
                put_project(&mut next, &mut order, project);
            }
            Act::CreateServiceAccount(account, key) => {
                put_service_account(&mut next, &mut order, account);
                key.iter().for_each(|key| put_key(&mut next, &mut order, key));
            }
            Act::UpdateServiceAccount(account) => put_service_account(&mut next, &mut order, account),
            Act::DeleteServiceAccount(id) => {
                for key in order.account_keys(&id) {
                    tripped.extend(remove_key(&mut next, &mut order, &key));
                }
                if let Some(account) = next.service_accounts.remove(&id) {
                    order.remove_service_account(&account);
                }
            }
            Act::CreateKey(key) => put_key(&mut next, &mut order, &key),
            Act::DeleteKey(id) => tripped.extend(remove_key(&mut next, &mut order, &id)),
            Act::UpdateKey(key) => tripped = update_key(&mut next, &mut order, &key),
            Act::UpdateOrganization(organization) => next.organization = organization,
            Act::PutIncident(change) => {
                tripped = match &change.end {
                    Some(KeyEnd::Revoke(id)) => remove_key(&mut next, &mut order, id),
                    Some(KeyEnd::Suspend(key)) => update_key(&mut next, &mut order, key),
                    None => Vec::new(),
                };
                change.replacement.iter().for_each(|key| put_key(&mut next, &mut order, key));
            }
            // Limits and what was spent are the ledger's.
            Act::PutLimit(_) | Act::DeleteLimit(_) | Act::LowerEstimate { .. } => {}
            Act::PutAlert(alert) => drop(Arc::make_mut(&mut next.alerts).insert(alert.id.clone(), alert)),
            Act::DeleteAlert(alert) => drop(Arc::make_mut(&mut next.alerts).remove(&alert.id)),
            Act::CreateWebhook(webhook) => drop(Arc::make_mut(&mut next.webhooks).insert(webhook.id.clone(), webhook)),
            Act::DeleteWebhook(id) => drop(Arc::make_mut(&mut next.webhooks).remove(&id)),
            Act::PutPrices(prices) => drop(Arc::make_mut(&mut next.prices).insert(prices.model.clone(), prices)),
            Act::DeletePrices(model) => drop(Arc::make_mut(&mut next.prices).remove(&model)),
            Act::Upstream(act) => Arc::make_mut(&mut next.upstreams).apply(act),
            Act::TriageFinding(said) => {
                said.project.into_iter().for_each(|project| put_project(&mut next, &mut order, project));
            }
        }
        self.current.store(Arc::new(next));
        tripped.iter().for_each(|entry| entry.revocation.trip());
    }

    /// Trips every secret whose time is over, so that what runs on it ends; how many. Asked every second: it costs what
    /// it finds.
    pub fn expire(&self, now: i64) -> usize {
        let due = self.order().take_expired(now);
        let snapshot = self.snapshot();
        let over = due.iter().filter_map(|digest| snapshot.key(digest)).filter(|entry| entry.has_expired(now));
        over.map(|entry| entry.revocation.trip()).count()
    }

    /// The order of lists. A panic elsewhere leaves it whole: each change to it is one insertion or removal.
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put_project(snapshot: &mut Snapshot, order: &mut Order, project: Project) {
    order.put_project(&project, snapshot.project(&project.id).map(|before| &**before));
    snapshot.projects.insert(project.id.clone(), Arc::new(project));
}

fn put_service_account(snapshot: &mut Snapshot, order: &mut Order, account: ServiceAccount) {
    order.put_service_account(&account);
    snapshot.service_accounts.insert(account.id.clone(), Arc::new(account));
}

fn put_key(snapshot: &mut Snapshot, order: &mut Order, key: &Key) {
    order.put_key(key);
    snapshot.add_key(key, |_| None);
}

/// Puts another record of a key in force, and hands out what is to be tripped: secrets that it no longer has, and all of
/// a key that is suspended. What runs on the others goes on, and is cut with them.
fn update_key(snapshot: &mut Snapshot, order: &mut Order, key: &Key) -> Vec<Arc<KeyEntry>> {
    let before = snapshot.take_key(&key.id);
    if before.is_empty() {
        return before;
    }
    let goes_on = |entry: &Arc<KeyEntry>, digest: &Digest| {
        key.suspension.is_none() && entry.digest == *digest && !entry.revocation.is_revoked()
    };
    let kept = |digest: &Digest| {
        let entry = before.iter().find(|entry| goes_on(entry, digest))?;
        Some(Arc::clone(&entry.revocation))
    };
    order.put_key(key);
    snapshot.add_key(key, kept);
    for entry in &before {
        if let (Some(at), Some(after)) = (entry.used_at(), snapshot.keys.get(&entry.digest)) {
            after.note_use(at);
        }
    }
    let is_kept = |entry: &Arc<KeyEntry>| key.secrets().any(|(digest, _)| goes_on(entry, &digest));
    before.into_iter().filter(|entry| !is_kept(entry)).collect()
}

/// Takes a key out; its secrets are tripped once the snapshot without them is in force.
fn remove_key(snapshot: &mut Snapshot, order: &mut Order, id: &KeyId) -> Vec<Arc<KeyEntry>> {
    let entries = snapshot.take_key(id);
    if let Some(entry) = entries.first() {
        order.remove_key(&entry.key);
    }
    entries
}

/// Gives an archived project's keys new entries and hands out the old ones to be tripped: what runs on them ends, and
/// who comes with them later is told that the project is archived, as after a restart.
fn renew_keys(snapshot: &mut Snapshot, order: &Order, project: &ProjectId) -> Vec<Arc<KeyEntry>> {
    let ids = order.keys(Some(project)).iter().map(|(_, id)| KeyId::new(id.clone()));
    let old: Vec<_> = ids.flat_map(|id| snapshot.take_key(&id)).collect();
    old.iter().for_each(|entry| snapshot.add_key(&entry.key, |_| None));
    old
}

#[cfg(test)]
mod tests;
