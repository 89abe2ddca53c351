//! In which order lists show things, and who claims which synonym.
//!
//! Lists are not on a request's path: this is changed in place, under the directory's lock, and a page costs the same
//! in a list of ten and of a hundred thousand.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use keys::Digest;

use crate::records::{Key, KeyId, Project, ProjectId, ServiceAccount, ServiceAccountId};

/// Deleted objects whose place is remembered, so that a list that deletes as it goes can go on behind them.
const GONE_MAX: usize = 10_000;

/// A place in a list: when the object was made, then its id.
pub(super) type Place = (i64, String);

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Begins behind the object with this id.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
    /// Newest first; otherwise oldest first.
    pub is_newest_first: bool,
}

/// Places of everything that is listed.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) projects: BTreeSet<Place>,
    pub(super) active_projects: BTreeSet<Place>,
    /// Keys of each project; admin keys under `None`.
    keys: HashMap<Option<ProjectId>, BTreeSet<Place>>,
    service_accounts: HashMap<ProjectId, BTreeSet<Place>>,
    account_keys: HashMap<ServiceAccountId, BTreeSet<Place>>,
    /// Real `proj_…` ids and the active project that lists them: each has one at most.
    claims: HashMap<String, ProjectId>,
    /// Secrets by the time at which they stop working. One that was given another time stands here twice, and is held
    /// against its entry when its turn comes.
    expiries: BTreeSet<(i64, [u8; 32])>,
    gone: HashMap<String, i64>,
    gone_in_order: VecDeque<String>,
}

fn place(created_at: i64, id: &str) -> Place {
    (created_at, id.to_owned())
}

/// An empty list for whoever has none.
static NOTHING: BTreeSet<Place> = BTreeSet::new();

impl Order {
    pub(super) fn put_project(&mut self, project: &Project, before: Option<&Project>) {
        let place = place(project.created_at, project.id.as_str());
        if project.is_archived() {
            self.active_projects.remove(&place);
        } else {
            self.active_projects.insert(place.clone());
        }
        self.projects.insert(place);
        for id in before.iter().flat_map(|before| &before.synonyms) {
            if self.claims.get(id) == Some(&project.id) {
                self.claims.remove(id);
            }
        }
        // An archived project opens nothing any more, and could not be told to let its synonyms go.
        if !project.is_archived() {
            for id in project.synonyms.iter().filter(|id| id.starts_with(ProjectId::PREFIX)) {
                self.claims.entry(id.clone()).or_insert_with(|| project.id.clone());
            }
        }
    }

    pub(super) fn claimed_by(&self, synonym: &str) -> Option<&ProjectId> {
        self.claims.get(synonym)
    }

    pub(super) fn put_service_account(&mut self, account: &ServiceAccount) {
        let accounts = self.service_accounts.entry(account.project.clone()).or_default();
        accounts.insert(place(account.created_at, account.id.as_str()));
    }

    pub(super) fn remove_service_account(&mut self, account: &ServiceAccount) {
        if let Some(accounts) = self.service_accounts.get_mut(&account.project) {
            accounts.remove(&place(account.created_at, account.id.as_str()));
        }
        self.account_keys.remove(&account.id);
        self.forget(account.created_at, account.id.as_str());
    }

    pub(super) fn service_accounts(&self, project: &ProjectId) -> &BTreeSet<Place> {
        self.service_accounts.get(project).unwrap_or(&NOTHING)
    }

    pub(super) fn put_key(&mut self, key: &Key) {
        let place = place(key.created_at, key.id.as_str());
        if let Some(account) = &key.service_account {
            self.account_keys.entry(account.clone()).or_default().insert(place.clone());
        }
        self.keys.entry(key.project.clone()).or_default().insert(place);
        let ends = key.secrets().filter_map(|(digest, expires_at)| Some((expires_at?, *digest.as_bytes())));
        self.expiries.extend(ends);
    }

    /// Takes out the secrets whose time is over.
    pub(super) fn take_expired(&mut self, now: i64) -> Vec<Digest> {
        let later = self.expiries.split_off(&(now.saturating_add(1), [0; 32]));
        std::mem::replace(&mut self.expiries, later).into_iter().map(|(_, digest)| Digest::from(digest)).collect()
    }

    pub(super) fn remove_key(&mut self, key: &Key) {
        let place = place(key.created_at, key.id.as_str());
        if let Some(keys) = self.keys.get_mut(&key.project) {
            keys.remove(&place);
        }
        if let Some(keys) = key.service_account.as_ref().and_then(|account| self.account_keys.get_mut(account)) {
            keys.remove(&place);
        }
        self.forget(key.created_at, key.id.as_str());
    }

    pub(super) fn keys(&self, project: Option<&ProjectId>) -> &BTreeSet<Place> {
        self.keys.get(&project.cloned()).unwrap_or(&NOTHING)
    }

    pub(super) fn account_keys(&self, account: &ServiceAccountId) -> Vec<KeyId> {
        let keys = self.account_keys.get(account).unwrap_or(&NOTHING);
        keys.iter().map(|(_, id)| KeyId::new(id.clone())).collect()
    }

    /// Remembers where a deleted object stood.
    fn forget(&mut self, created_at: i64, id: &str) {
        if self.gone_in_order.len() >= GONE_MAX
            && let Some(oldest) = self.gone_in_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
        self.gone.insert(id.to_owned(), created_at);
        self.gone_in_order.push_back(id.to_owned());
    }

    /// Ids of a part of `list`, and whether more follow; `None` when `after` never stood in any list.
    ///
    /// `known` says when an object that is still there was made.
    pub(super) fn part(
        &self,
        list: &BTreeSet<Place>,
        span: Span<'_>,
        known: impl Fn(&str) -> Option<i64>,
    ) -> Option<(Vec<String>, bool)> {
        let from = match span.after {
            None => Unbounded,
            Some(after) => {
                let created_at = known(after).or_else(|| self.gone.get(after).copied())?;
                Excluded(place(created_at, after))
            }
        };
        let ids = |places: &mut dyn Iterator<Item = &Place>| -> Vec<String> {
            places.take(span.limit.saturating_add(1)).map(|(_, id)| id.clone()).collect()
        };
        let mut found = if span.is_newest_first {
            ids(&mut list.range((Unbounded, from)).rev())
        } else {
            ids(&mut list.range((from, Unbounded)))
        };
        let has_more = found.len() > span.limit;
        found.truncate(span.limit);
        Some((found, has_more))
    }
}
