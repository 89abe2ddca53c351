//! A store in memory: what the port means, in the fewest lines. Tests hold the ledger against it, and the conformance
//! suite holds it, like every backend, against the port's promises.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pricing::Nano;
use store::{Scope, SpendLimit, StoreError, UsageRow};

use crate::port::{AccountKey, Batch, Epoch, Estimate, LeaseState, LeaseTarget, LedgerStore, WriteError};

#[derive(Debug, Clone, Copy, Default)]
struct Balance {
    settled: Nano,
    leased: Nano,
    calls: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    amount: Nano,
    watermark: Nano,
}

#[derive(Debug, Default)]
struct Books {
    limits: HashMap<String, SpendLimit>,
    balances: HashMap<AccountKey, Balance>,
    leases: HashMap<(AccountKey, Epoch), Lease>,
    rows: BTreeMap<String, UsageRow>,
    estimates: Vec<Estimate>,
    fenced: HashSet<Epoch>,
    last_epoch: i64,
}

/// The store.
#[derive(Debug, Default)]
pub struct MemoryStore {
    books: Mutex<Books>,
}

/// Whether a row is spending of a scope.
fn concerns(scope: &Scope, row: &UsageRow) -> bool {
    let named = |project: &store::ProjectId, name: &str, of: &Option<String>| {
        row.project == *project && of.as_deref() == Some(name)
    };
    match scope {
        Scope::Organization => true,
        Scope::Project(project) => row.project == *project,
        Scope::Key(key) => row.key == *key,
        Scope::EndUser(project, name) => named(project, name, &row.end_user),
        Scope::Run(project, name) => named(project, name, &row.run),
        Scope::Tag(project, name) => named(project, name, &row.tag),
    }
}

impl Books {
    fn settle(&mut self, row: &UsageRow, batch: &Batch) {
        let keys = self.balances.keys().filter(|key| concerns(&key.scope, row) && key.window.contains(row.began_at));
        for key in keys.cloned().collect::<Vec<_>>() {
            let balance = self.balances.entry(key.clone()).or_default();
            (balance.settled, balance.calls) = (balance.settled.plus(row.cost), balance.calls + 1);
            if let Some(lease) = self.leases.get_mut(&(key.clone(), batch.epoch)) {
                let from_lease = lease.amount.min(row.cost);
                balance.leased = balance.leased.minus(from_lease);
                lease.amount = lease.amount.minus(from_lease);
                lease.watermark = lease.watermark.minus(row.cost);
            }
            let theirs = |estimate: &&mut Estimate| estimate.account == key && Some(estimate.epoch) == batch.formerly;
            if let Some(estimate) = self.estimates.iter_mut().find(theirs) {
                let known = estimate.amount.min(row.cost);
                estimate.amount = estimate.amount.minus(known);
                balance.settled = balance.settled.minus(known);
            }
        }
    }

    fn lease(&mut self, target: &LeaseTarget, epoch: Epoch, now: i64) -> LeaseState {
        let key = &target.account;
        let Some(limit) = self.limits.get(&key.limit).map(|limit| limit.amount_at(now)) else {
            return LeaseState {
                amount: Nano::ZERO,
                watermark: Nano::ZERO,
                limit: None,
                settled: Nano::ZERO,
                leased: Nano::ZERO,
                calls: 0,
            };
        };
        if !self.balances.contains_key(key) {
            let spent = self.rows.values().filter(|row| concerns(&key.scope, row) && key.window.contains(row.began_at));
            let (settled, calls) = spent.fold((Nano::ZERO, 0), |sum, row| (sum.0.plus(row.cost), sum.1 + 1));
            self.balances.insert(key.clone(), Balance { settled, leased: Nano::ZERO, calls });
        }
        let balance = self.balances.entry(key.clone()).or_default();
        let lease = self.leases.entry((key.clone(), epoch)).or_default();
        let elsewhere = balance.leased.minus(lease.amount);
        let room = limit.minus(balance.settled).minus(elsewhere);
        let amount = target.amount.min(room).max(target.in_use.min(lease.amount));
        balance.leased = elsewhere.plus(amount);
        *lease = Lease { amount, watermark: target.watermark.min(amount) };
        LeaseState {
            amount,
            watermark: lease.watermark,
            limit: Some(limit),
            settled: balance.settled,
            leased: balance.leased,
            calls: balance.calls,
        }
    }

    fn fence(&mut self, epoch: Epoch, now: i64) -> Vec<Estimate> {
        self.fenced.insert(epoch);
        let theirs: Vec<_> = self.leases.keys().filter(|(_, owner)| *owner == epoch).cloned().collect();
        let mut estimates = Vec::new();
        for place in theirs {
            let Some(lease) = self.leases.remove(&place) else { continue };
            let balance = self.balances.entry(place.0.clone()).or_default();
            balance.leased = balance.leased.minus(lease.amount);
            balance.settled = balance.settled.plus(lease.watermark);
            if lease.watermark > Nano::ZERO {
                let id = format!("estimate_{}_{}", epoch.0, self.estimates.len() + estimates.len());
                let estimate = Estimate { id, account: place.0, amount: lease.watermark, epoch, created_at: now };
                estimates.push(estimate);
            }
        }
        self.estimates.extend(estimates.iter().cloned());
        estimates
    }
}

impl MemoryStore {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a limit.
    pub fn put_limit(&self, limit: SpendLimit) {
        self.books().limits.insert(limit.id.clone(), limit);
    }

    /// Deletes a limit and its accounts.
    pub fn remove_limit(&self, id: &str) {
        let mut books = self.books();
        books.limits.remove(id);
        books.balances.retain(|key, _| key.limit != id);
        books.leases.retain(|(key, _), _| key.limit != id);
        books.estimates.retain(|estimate| estimate.account.limit != id);
    }

    /// Settled and leased of an account.
    pub fn balance(&self, key: &AccountKey) -> (Nano, Nano) {
        let balance = self.books().balances.get(key).copied().unwrap_or_default();
        (balance.settled, balance.leased)
    }

    /// The sum of all rows.
    pub fn spent(&self) -> Nano {
        self.books().rows.values().map(|row| row.cost).sum()
    }

    /// Ends a life from outside, as another process would.
    pub fn fence(&self, epoch: Epoch, now: i64) -> Vec<Estimate> {
        self.books().fence(epoch, now)
    }

    /// Writes a batch; the port's method without the future.
    ///
    /// # Errors
    /// When the writer was fenced.
    pub fn write_now(&self, batch: &Batch) -> Result<Vec<LeaseState>, WriteError> {
        let mut books = self.books();
        if books.fenced.contains(&batch.epoch) {
            return Err(WriteError::Fenced);
        }
        for row in &batch.rows {
            if !books.rows.contains_key(&row.id) {
                books.settle(row, batch);
                books.rows.insert(row.id.clone(), row.clone());
            }
        }
        books.estimates.retain(|estimate| estimate.amount > Nano::ZERO);
        Ok(batch.targets.iter().map(|target| books.lease(target, batch.epoch, batch.now)).collect())
    }

    /// Begins a life; the port's method without the future.
    pub fn enter_now(&self) -> Epoch {
        let mut books = self.books();
        books.last_epoch += 1;
        Epoch(books.last_epoch)
    }
}

#[async_trait]
impl LedgerStore for MemoryStore {
    async fn enter(&self, _now: i64) -> Result<Epoch, StoreError> {
        Ok(self.enter_now())
    }

    async fn fence_others(&self, epoch: Epoch, now: i64) -> Result<Vec<Estimate>, StoreError> {
        let mut books = self.books();
        let mut others: Vec<_> = (1..=books.last_epoch).map(Epoch).filter(|other| *other != epoch).collect();
        others.retain(|other| !books.fenced.contains(other));
        Ok(others.into_iter().flat_map(|other| books.fence(other, now)).collect())
    }

    async fn write(&self, batch: &Batch) -> Result<Vec<LeaseState>, WriteError> {
        self.write_now(batch)
    }

    async fn estimates(&self) -> Result<Vec<Estimate>, StoreError> {
        Ok(self.books().estimates.clone())
    }

    async fn lower_estimate(&self, id: &str, to: Nano) -> Result<bool, StoreError> {
        let mut books = self.books();
        let Some(at) = books.estimates.iter().position(|estimate| estimate.id == id && estimate.amount >= to) else {
            return Ok(false);
        };
        let estimate = books.estimates[at].clone();
        let less = estimate.amount.minus(to);
        if let Some(balance) = books.balances.get_mut(&estimate.account) {
            balance.settled = balance.settled.minus(less);
        }
        // What is known now is a fact, and no estimate any more.
        books.estimates.remove(at);
        Ok(true)
    }
}
