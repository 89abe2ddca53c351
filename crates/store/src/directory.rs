//! The configuration in force: an immutable snapshot behind one atomic pointer.
//!
//! Promises: readers never wait and never see half a change; a change copies one small shard, however many projects
//! there are; a key that is deleted, whose service account is deleted or whose project is archived is tripped before
//! [`Directory::apply`] returns, and with it every stream that waits on it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use keys::Digest;
use tokio::sync::Notify;

use crate::ports::{Act, Records};
use crate::records::{Key, KeyId, Organization, Project, ProjectId, ServiceAccount, ServiceAccountId};

/// Parts of a map; a change copies one. With 100,000 keys a part has about 400.
const SHARDS: usize = 256;

/// A map whose copy shares all parts but the changed one.
#[derive(Debug, Clone)]
struct Sharded<K, V> {
    shards: Vec<Arc<HashMap<K, V>>>,
    hasher: RandomState,
    count: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    fn new() -> Sharded<K, V> {
        let shards = std::iter::repeat_with(|| Arc::new(HashMap::new())).take(SHARDS).collect();
        Sharded { shards, hasher: RandomState::new(), count: 0 }
    }

    fn shard(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.shards[self.shard(key)].get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        if Arc::make_mut(&mut self.shards[shard]).insert(key, value).is_none() {
            self.count += 1;
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let shard = self.shard(key);
        let removed = Arc::make_mut(&mut self.shards[shard]).remove(key);
        self.count -= usize::from(removed.is_some());
        removed
    }

    fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }
}

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

/// A key in force.
#[derive(Debug)]
pub struct KeyEntry {
    /// The record.
    pub key: Key,
    /// Tripped when the key is revoked.
    pub revocation: Revocation,
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
}

impl Snapshot {
    /// The key with this digest.
    pub fn key(&self, digest: &Digest) -> Option<&Arc<KeyEntry>> {
        self.keys.get(digest)
    }

    /// The key with this id.
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

    /// All keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<KeyEntry>> {
        self.keys.values()
    }

    fn add_key(&mut self, key: Key) {
        self.digests.insert(key.id.clone(), key.digest);
        self.keys.insert(key.digest, Arc::new(KeyEntry { key, revocation: Revocation::default() }));
    }

    /// Takes a key out; the caller trips it once the snapshot without it is in force.
    fn remove_key(&mut self, id: &KeyId) -> Option<Arc<KeyEntry>> {
        let digest = self.digests.remove(id)?;
        self.keys.remove(&digest)
    }

    fn keys_where(&self, is_meant: impl Fn(&Key) -> bool) -> Vec<Arc<KeyEntry>> {
        self.keys().filter(|entry| is_meant(&entry.key)).cloned().collect()
    }
}

/// The pointer to the snapshot in force.
#[derive(Debug)]
pub struct Directory {
    current: ArcSwap<Snapshot>,
    /// Changes come one after the other.
    changing: Mutex<()>,
}

impl Directory {
    /// A directory of what was loaded.
    pub fn new(records: Records) -> Directory {
        let mut snapshot = Snapshot {
            organization: records.organization,
            projects: Sharded::new(),
            service_accounts: Sharded::new(),
            keys: Sharded::new(),
            digests: Sharded::new(),
        };
        for project in records.projects {
            snapshot.projects.insert(project.id.clone(), Arc::new(project));
        }
        for account in records.service_accounts {
            snapshot.service_accounts.insert(account.id.clone(), Arc::new(account));
        }
        records.keys.into_iter().for_each(|key| snapshot.add_key(key));
        Directory { current: ArcSwap::from_pointee(snapshot), changing: Mutex::new(()) }
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Puts a committed act in force.
    pub fn apply(&self, act: &Act) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        let mut tripped = Vec::new();
        match act.clone() {
            Act::Bootstrap { organization, project, keys } => {
                next.organization = organization;
                next.projects.insert(project.id.clone(), Arc::new(project));
                keys.into_iter().for_each(|key| next.add_key(key));
            }
            Act::CreateProject(project) => next.projects.insert(project.id.clone(), Arc::new(project)),
            Act::UpdateProject(project) => {
                if project.is_archived() {
                    // Its keys stay, so that their refusal can say why; their streams end.
                    tripped = next.keys_where(|key| key.project.as_ref() == Some(&project.id));
                }
                next.projects.insert(project.id.clone(), Arc::new(project));
            }
            Act::CreateServiceAccount(account, key) => {
                next.service_accounts.insert(account.id.clone(), Arc::new(account));
                key.into_iter().for_each(|key| next.add_key(key));
            }
            Act::UpdateServiceAccount(account) => next.service_accounts.insert(account.id.clone(), Arc::new(account)),
            Act::DeleteServiceAccount(id) => {
                next.service_accounts.remove(&id);
                tripped = next.keys_where(|key| key.service_account.as_ref() == Some(&id));
                for entry in &tripped {
                    next.remove_key(&entry.key.id);
                }
            }
            Act::CreateKey(key) => next.add_key(key),
            Act::DeleteKey(id) => tripped.extend(next.remove_key(&id)),
        }
        self.current.store(Arc::new(next));
        tripped.iter().for_each(|entry| entry.revocation.trip());
    }
}

#[cfg(test)]
mod tests {
    use keys::{Kind, Pepper};

    use super::*;

    fn key(number: usize, project: &str) -> Key {
        Key {
            id: KeyId::new(format!("key_{number}")),
            kind: Kind::Project,
            project: Some(ProjectId::new(project)),
            service_account: None,
            name: "a key".into(),
            digest: Pepper::new(&[1; 32]).digest(&number.to_string()),
            redacted: "sp-proj_****".into(),
            created_at: 1,
            created_by: None,
            expires_at: None,
        }
    }

    fn project(id: &str) -> Project {
        Project {
            id: ProjectId::new(id),
            name: "a project".into(),
            created_at: 1,
            archived_at: None,
            is_default: false,
            synonyms: Vec::new(),
            external_key_id: None,
            residency: None,
        }
    }

    fn directory(keys: usize) -> Directory {
        let organization = Organization { id: OrganizationId::new("org-1"), name: "o".into(), created_at: 1 };
        let keys = (0..keys).map(|number| key(number, "proj_1")).collect();
        Directory::new(Records { organization, projects: vec![project("proj_1")], service_accounts: Vec::new(), keys })
    }

    use crate::records::OrganizationId;

    #[test]
    fn every_key_of_many_is_found_and_a_change_copies_one_shard() {
        let directory = directory(20_000);
        let before = Arc::clone(&directory.snapshot());
        assert!((0..20_000).all(|number| before.key(&key(number, "proj_1").digest).is_some()));
        directory.apply(&Act::DeleteKey(KeyId::new("key_7")));
        let after = Arc::clone(&directory.snapshot());
        assert!(after.key(&key(7, "proj_1").digest).is_none() && before.key(&key(7, "proj_1").digest).is_some());
        let same = before.keys.shards.iter().zip(&after.keys.shards).filter(|(one, two)| Arc::ptr_eq(one, two)).count();
        assert_eq!(same, SHARDS - 1);
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_who_comes_late_does_not_wait() {
        let directory = Arc::new(directory(1));
        let entry = Arc::clone(directory.snapshot().key_by_id(&KeyId::new("key_0")).expect("there"));
        let waiting = tokio::spawn({
            let entry = Arc::clone(&entry);
            async move { entry.revocation.revoked().await }
        });
        tokio::task::yield_now().await;
        assert!(!entry.revocation.is_revoked());
        directory.apply(&Act::DeleteKey(KeyId::new("key_0")));
        waiting.await.expect("woken");
        entry.revocation.revoked().await;
    }

    #[test]
    fn archiving_trips_the_project_s_keys_and_no_other() {
        let directory = directory(2);
        directory.apply(&Act::CreateProject(project("proj_2")));
        directory.apply(&Act::CreateKey(key(9, "proj_2")));
        let is_revoked = |id: &str| {
            let snapshot = directory.snapshot();
            snapshot.key_by_id(&KeyId::new(id)).map(|entry| entry.revocation.is_revoked())
        };
        directory.apply(&Act::UpdateProject(Project { archived_at: Some(2), ..project("proj_2") }));
        assert_eq!((is_revoked("key_9"), is_revoked("key_0")), (Some(true), Some(false)));
        assert_eq!(directory.snapshot().project_count(), 2);
    }
}
