//! Which limits apply to a request.
//!
//! Promises: readers never wait; a change copies one small part, however many projects and keys have limits; a limit
//! for each end user, run or tag makes an account at first use, and their number is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use store::{KeyId, ProjectId, Scope, Sharded, SpendLimit, UsageRow};

use crate::account::Account;
use crate::port::AccountKey;

/// Most end users, runs or tags with an account under one limit. Beyond it the gate refuses new ones until some have
/// been idle: an attacker who makes up names must not fill the memory. An account takes some 400 bytes.
pub const NAMES_MAX: usize = 100_000;

/// A limit with its accounts.
///
/// There is one account for each window that somebody still has, and never two for the same: about a period's end
/// requests of both windows come, and a stream that began before it runs on.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) scope: Scope,
    limit: ArcSwap<SpendLimit>,
    /// The latest window's.
    current: ArcSwapOption<Account>,
    /// Every one that may still be in use; those that are forgotten everywhere else die.
    accounts: Mutex<Vec<Weak<Account>>>,
}

impl Meter {
    fn new(scope: Scope, limit: Arc<SpendLimit>) -> Meter {
        let (current, accounts) = (ArcSwapOption::empty(), Mutex::default());
        Meter { scope, limit: ArcSwap::new(limit), current, accounts }
    }

    pub(crate) fn limit(&self) -> Arc<SpendLimit> {
        self.limit.load_full()
    }

    pub(crate) fn set_limit(&self, limit: &Arc<SpendLimit>) {
        let accounts = self.lock();
        self.limit.store(Arc::clone(limit));
        accounts.iter().filter_map(Weak::upgrade).for_each(|account| account.set_terms(Arc::clone(limit)));
    }

    /// Every account that is in use.
    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// The account of a moment's window.
    pub(crate) fn account(&self, at: i64) -> Arc<Account> {
        if let Some(account) = self.current.load().as_ref().filter(|account| account.key.window.contains(at)) {
            return Arc::clone(account);
        }
        self.account_of_another_window(at)
    }

    fn account_of_another_window(&self, at: i64) -> Arc<Account> {
        let mut accounts = self.lock();
        accounts.retain(|account| account.strong_count() > 0);
        let known = accounts.iter().filter_map(Weak::upgrade).find(|account| account.key.window.contains(at));
        if let Some(account) = known {
            return account;
        }
        let limit = self.limit.load_full();
        let key = AccountKey { limit: limit.id.clone(), scope: self.scope.clone(), window: limit.period.window(at) };
        let account = Arc::new(Account::new(key, limit));
        accounts.push(Arc::downgrade(&account));
        let is_later = |current: &Arc<Account>| current.key.window.starts_at < account.key.window.starts_at;
        if self.current.load().as_ref().is_none_or(is_later) {
            self.current.store(Some(Arc::clone(&account)));
        }
        account
    }

    /// Whether nobody but the meter has an account of it.
    fn is_unused(&self) -> bool {
        let current = usize::from(self.current.load().is_some());
        self.lock().iter().map(Weak::strong_count).sum::<usize>() <= current
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit for each end user, run or tag of a project.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) limit: ArcSwap<SpendLimit>,
    members: Mutex<HashMap<String, Arc<Meter>>>,
}

impl Family {
    fn new(limit: Arc<SpendLimit>) -> Family {
        Family { limit: ArcSwap::new(limit), members: Mutex::default() }
    }

    fn set_limit(&self, limit: &Arc<SpendLimit>) {
        // Under the lock, or a member that is made meanwhile would keep the limit before.
        let members = self.lock();
        self.limit.store(Arc::clone(limit));
        members.values().for_each(|meter| meter.set_limit(limit));
    }

    /// The meter of a name, made at first use; `None` when there are too many.
    fn member(&self, name: &str) -> Option<Arc<Meter>> {
        let mut members = self.lock();
        if let Some(meter) = members.get(name) {
            return Some(Arc::clone(meter));
        }
        if members.len() >= NAMES_MAX {
            return None;
        }
        let limit = self.limit.load_full();
        let meter = Arc::new(Meter::new(limit.scope.one(name), limit));
        members.insert(name.to_owned(), Arc::clone(&meter));
        Some(meter)
    }

    pub(crate) fn members(&self) -> Vec<Arc<Meter>> {
        self.lock().values().cloned().collect()
    }

    /// Forgets a member whose account came to rest, unless somebody has it, or an account of it.
    pub(crate) fn forget(&self, scope: &Scope) {
        let (Scope::EndUser(_, name) | Scope::Run(_, name) | Scope::Tag(_, name)) = scope else { return };
        let mut members = self.lock();
        if members.get(name).is_some_and(is_unused) {
            members.remove(name);
        }
    }

    /// Forgets every member that nobody has: those of requests that were refused before they took anything, too.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|_, meter| !is_unused(meter));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Meter>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether only its family has a member. Whoever wants one needs the family's lock first, so this stays true under it.
fn is_unused(meter: &Arc<Meter>) -> bool {
    Arc::strong_count(meter) == 1 && meter.is_unused()
}

/// A project's limits.
#[derive(Debug, Clone, Default)]
struct ProjectMeters {
    own: Vec<Arc<Meter>>,
    /// Limits of one end user, run or tag; they stand in for those for each of the same period.
    named: HashMap<Scope, Vec<Arc<Meter>>>,
    families: Vec<Arc<Family>>,
}

impl ProjectMeters {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.named.is_empty() && self.families.is_empty()
    }
}

/// All limits in force.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    /// Counts changes.
    pub(crate) version: u64,
    organization: Vec<Arc<Meter>>,
    projects: Sharded<ProjectId, Arc<ProjectMeters>>,
    keys: Sharded<KeyId, Arc<Vec<Arc<Meter>>>>,
    by_id: Sharded<String, Entry>,
    /// The few with a raise, whose end has to be seen.
    raised: Vec<Arc<SpendLimit>>,
}

/// What a limit's id leads to.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    One(Arc<Meter>),
    Each(Arc<Family>),
}

impl Entry {
    pub(crate) fn limit(&self) -> Arc<SpendLimit> {
        match self {
            Entry::One(meter) => meter.limit(),
            Entry::Each(family) => family.limit.load_full(),
        }
    }

    /// The meters that exist now.
    pub(crate) fn meters(&self) -> Vec<Arc<Meter>> {
        match self {
            Entry::One(meter) => vec![Arc::clone(meter)],
            Entry::Each(family) => family.members(),
        }
    }
}

/// Why the meters of a request cannot be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoMeter {
    /// A limit for each end user is set, and the request names none.
    Nameless(Scope),
    /// Too many names under one limit.
    TooManyNames(Scope),
}

impl Book {
    pub(crate) fn new(limits: Vec<SpendLimit>) -> Book {
        let mut book = Book {
            version: 0,
            organization: Vec::new(),
            projects: Sharded::new(),
            keys: Sharded::new(),
            by_id: Sharded::new(),
            raised: Vec::new(),
        };
        limits.into_iter().for_each(|limit| book.put(Arc::new(limit)));
        book
    }

    pub(crate) fn entry(&self, limit_id: &str) -> Option<&Entry> {
        self.by_id.get(limit_id)
    }

    /// Limits that are or were raised for a time.
    pub(crate) fn raised(&self) -> impl Iterator<Item = &Arc<SpendLimit>> {
        self.raised.iter()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_id.values()
    }

    /// Puts a limit in force, in place of the one with its id.
    pub(crate) fn put(&mut self, limit: Arc<SpendLimit>) {
        self.version += 1;
        self.raised.retain(|raised| raised.id != limit.id);
        self.raised.extend(limit.raise.map(|_| Arc::clone(&limit)));
        match self.by_id.get(&limit.id) {
            // Same scope and period: only figures changed. Anything else is another limit.
            Some(Entry::One(meter)) if same_place(&meter.limit(), &limit) => return meter.set_limit(&limit),
            Some(Entry::Each(family)) if same_place(&family.limit.load(), &limit) => return family.set_limit(&limit),
            Some(_) => self.remove(&limit.id),
            None => {}
        }
        let entry = if limit.scope.is_each() {
            Entry::Each(Arc::new(Family::new(Arc::clone(&limit))))
        } else {
            Entry::One(Arc::new(Meter::new(limit.scope.clone(), Arc::clone(&limit))))
        };
        self.by_id.insert(limit.id.clone(), entry.clone());
        match (&limit.scope, entry) {
            (Scope::Organization, Entry::One(meter)) => self.organization.push(meter),
            (Scope::Key(key), Entry::One(meter)) => {
                let mut meters = self.keys.get(key).map(|meters| Vec::clone(meters)).unwrap_or_default();
                meters.push(meter);
                self.keys.insert(key.clone(), Arc::new(meters));
            }
            (scope, entry) => {
                let Some(project) = project_of(scope) else { return };
                let mut meters = self.projects.get(project).map(|meters| (**meters).clone()).unwrap_or_default();
                match entry {
                    Entry::Each(family) => meters.families.push(family),
                    Entry::One(meter) if matches!(scope, Scope::Project(_)) => meters.own.push(meter),
                    Entry::One(meter) => meters.named.entry(scope.clone()).or_default().push(meter),
                }
                self.projects.insert(project.clone(), Arc::new(meters));
            }
        }
    }

    /// Takes a limit out.
    pub(crate) fn remove(&mut self, limit_id: &str) {
        let Some(entry) = self.by_id.remove(limit_id) else { return };
        self.version += 1;
        self.raised.retain(|raised| raised.id != limit_id);
        let stays = |meter: &Arc<Meter>| meter.limit().id != limit_id;
        match &entry.limit().scope {
            Scope::Organization => self.organization.retain(stays),
            Scope::Key(key) => {
                let mut meters = self.keys.get(key).map(|meters| Vec::clone(meters)).unwrap_or_default();
                meters.retain(stays);
                if meters.is_empty() {
                    self.keys.remove(key);
                } else {
                    self.keys.insert(key.clone(), Arc::new(meters));
                }
            }
            scope => {
                let Some(project) = project_of(scope) else { return };
                let mut meters = self.projects.get(project).map(|meters| (**meters).clone()).unwrap_or_default();
                meters.own.retain(stays);
                meters.named.values_mut().for_each(|named| named.retain(stays));
                meters.named.retain(|_, named| !named.is_empty());
                meters.families.retain(|family| family.limit.load().id != limit_id);
                if meters.is_empty() {
                    self.projects.remove(project);
                } else {
                    self.projects.insert(project.clone(), Arc::new(meters));
                }
            }
        }
    }

    /// The meters that apply to a request, the most specific first: its refusal is the one that is reported.
    pub(crate) fn meters(&self, row: &UsageRow) -> Result<Vec<Arc<Meter>>, NoMeter> {
        let (found, missing) = self.find_meters(row);
        missing.map_or(Ok(found), Err)
    }

    /// The meters that apply to a request that was let through: a name that it lacks was not asked for then.
    pub(crate) fn meters_of_running(&self, row: &UsageRow) -> Vec<Arc<Meter>> {
        self.find_meters(row).0
    }

    fn find_meters(&self, row: &UsageRow) -> (Vec<Arc<Meter>>, Option<NoMeter>) {
        let mut found = Vec::new();
        let project = self.projects.get(&row.project);
        let has_names = |project: &&Arc<ProjectMeters>| !project.families.is_empty() || !project.named.is_empty();
        let missing = project.filter(has_names).and_then(|project| named_meters(project, row, &mut found));
        found.extend(self.keys.get(&row.key).into_iter().flat_map(|meters| meters.iter().cloned()));
        found.extend(project.into_iter().flat_map(|project| project.own.iter().cloned()));
        found.extend(self.organization.iter().cloned());
        (found, missing)
    }
}

/// Adds the meters of the request's run, end user and tag; the first that cannot be said is returned.
fn named_meters(project: &ProjectMeters, row: &UsageRow, found: &mut Vec<Arc<Meter>>) -> Option<NoMeter> {
    let scopes = [
        (row.run.as_ref(), Scope::Run(row.project.clone(), String::new()), false),
        (row.end_user.as_ref(), Scope::EndUser(row.project.clone(), String::new()), true),
        (row.tag.as_ref(), Scope::Tag(row.project.clone(), String::new()), false),
    ];
    let mut missing = None;
    for (name, each, is_required) in scopes {
        let families = project.families.iter().filter(|family| family.limit.load().scope == each);
        let Some(name) = name else {
            if is_required && families.clone().next().is_some() {
                missing = missing.or(Some(NoMeter::Nameless(each)));
            }
            continue;
        };
        let own = project.named.get(&each.one(name)).map(Vec::as_slice).unwrap_or_default();
        found.extend(own.iter().cloned());
        for family in families {
            let period = family.limit.load().period;
            if own.iter().any(|meter| meter.limit().period == period) {
                continue;
            }
            match family.member(name) {
                Some(meter) => found.push(meter),
                None => missing = missing.or_else(|| Some(NoMeter::TooManyNames(each.clone()))),
            }
        }
    }
    missing
}

fn same_place(before: &SpendLimit, after: &SpendLimit) -> bool {
    before.scope == after.scope && before.period == after.period
}

fn project_of(scope: &Scope) -> Option<&ProjectId> {
    match scope {
        Scope::Organization | Scope::Key(_) => None,
        Scope::Project(project) | Scope::EndUser(project, _) | Scope::Run(project, _) | Scope::Tag(project, _) => {
            Some(project)
        }
    }
}

/// Freezes accounts while this lives.
pub(crate) struct Frozen(Vec<Arc<Account>>);

impl Frozen {
    pub(crate) fn new(accounts: Vec<Arc<Account>>) -> Frozen {
        accounts.iter().for_each(|account| account.freeze());
        Frozen(accounts)
    }

    pub(crate) fn accounts(&self) -> &[Arc<Account>] {
        &self.0
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|account| account.thaw());
    }
}
