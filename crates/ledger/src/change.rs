//! Limits that are set, changed and taken away while requests run.
//!
//! Promise: when a change returns it is in force: requests that already run are counted under a new limit, what was in
//! stock under a lowered one has been returned, and nothing is granted in between that the new limit would not allow.

use std::sync::Arc;
use std::time::Duration;

use pricing::Nano;
use store::{Scope, SpendLimit, UsageRow};

use crate::account::{Account, Contact};
use crate::book::{Book, Entry, Frozen};
use crate::ledger::Ledger;
use crate::open::State;
use crate::port::AccountKey;
use crate::purse::signed;

/// How long a change waits for the keeper before it says that it is in force all the same: the book is changed already,
/// and what the store does not know yet is not granted.
const KEEPER_WAIT: Duration = Duration::from_secs(5);

/// How a limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose: for a limit for each, one of its end users, runs or tags.
    pub scope: Scope,
    /// In which window, Unix seconds.
    pub starts_at: i64,
    /// When it begins anew.
    pub ends_at: i64,
    /// The amount in force.
    pub amount: Nano,
    /// Settled in it, estimates included.
    pub settled: Nano,
    /// Held by requests that run.
    pub held: Nano,
    /// What can still be held.
    pub left: Nano,
    /// Whether it refuses now.
    pub is_enforcing: bool,
}

/// A change under way: what it concerns grants nothing until it is done.
#[must_use = "the limit stays frozen until this is applied or dropped"]
pub struct Changing<'a> {
    ledger: &'a Ledger,
    _turn: tokio::sync::MutexGuard<'a, ()>,
    frozen: Frozen,
}

impl Ledger {
    /// Freezes a limit before its change is stored: what is in stock under it is taken out of reach.
    pub async fn begin_change(&self, limit_id: &str) -> Changing<'_> {
        let turn = self.turning.lock().await;
        let meters = self.book().entry(limit_id).map(Entry::meters).unwrap_or_default();
        let frozen = Frozen::new(meters.iter().flat_map(|meter| meter.accounts()).collect());
        Changing { ledger: self, _turn: turn, frozen }
    }

    /// Whether an account's limit is there.
    pub(crate) fn has_limit(&self, key: &AccountKey) -> bool {
        self.book().entry(&key.limit).is_some()
    }

    /// Forgets end users, runs and tags that nobody has.
    pub(crate) fn sweep(&self) {
        for entry in self.book().entries() {
            if let Entry::Each(family) = entry {
                family.sweep();
            }
        }
    }

    /// An account came to rest.
    pub(crate) fn forget(&self, key: &AccountKey) {
        if let Some(Entry::Each(family)) = self.book().entry(&key.limit) {
            family.forget(&key.scope);
        }
    }

    /// Counts requests that run, or ended and are not journaled yet, under limits that they were granted without.
    fn attach_running(&self) {
        let book = self.book();
        let attach = |row: &UsageRow, accounts: &mut Vec<Arc<Account>>, attach: &dyn Fn(&Account)| {
            for account in book.meters_of_running(row).iter().map(|meter| meter.account(row.began_at)) {
                if !accounts.iter().any(|known| known.key == account.key) {
                    attach(&account);
                    accounts.push(account);
                }
            }
        };
        self.open.each(|open| {
            let mut state = open.state();
            let State::Granted(accounts) = &mut *state else { return };
            attach(&open.row, accounts, &|account| account.attach(open.amount()));
        });
        // After the open ones: whatever was not open any more is here.
        for entry in self.queue().iter_mut() {
            attach(&entry.row, &mut entry.accounts, &|account| account.attach_ended(signed(entry.row.cost)));
        }
    }

    /// Waits until the keeper has had so many turns on each of these accounts.
    async fn settled_with_store(&self, accounts: &[Arc<Account>], turns: u64) {
        let mut waiting: Vec<_> = accounts.iter().map(|account| (account, account.turn() + turns)).collect();
        let wait = async {
            while let Some((first, _)) = waiting.first() {
                let mut changed = std::pin::pin!(first.changed.notified());
                changed.as_mut().enable();
                waiting.retain(|(account, turn)| account.turn() < *turn && account.contact() != Contact::Down);
                if waiting.is_empty() {
                    return;
                }
                waiting.iter().for_each(|(account, _)| self.touch(account));
                self.urgent.notify_one();
                changed.await;
            }
        };
        if tokio::time::timeout(KEEPER_WAIT, wait).await.is_err() {
            tracing::warn!("a changed limit is in force, but the store has not confirmed its accounts yet");
        }
    }

    /// How a limit stands now; an account is opened where none is in use.
    pub async fn standings(&self, limit_id: &str) -> Vec<Standing> {
        let Some(entry) = self.book().entry(limit_id).cloned() else { return Vec::new() };
        let now = self.clock.unix_seconds();
        let accounts: Vec<_> = entry.meters().iter().map(|meter| meter.account(now)).collect();
        let fresh: Vec<_> =
            accounts.iter().filter(|account| account.contact() == Contact::New).map(Arc::clone).collect();
        // The turn that is under way may not have seen them.
        self.settled_with_store(&fresh, 2).await;
        accounts.iter().map(|account| standing(account)).collect()
    }

    /// Limits in force, in the order of their ids.
    pub fn limits(&self) -> Vec<Arc<SpendLimit>> {
        let mut limits: Vec<_> = self.book().entries().map(Entry::limit).collect();
        limits.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        limits
    }
}

fn standing(account: &Account) -> Standing {
    Standing {
        scope: account.key.scope.clone(),
        starts_at: account.key.window.starts_at,
        ends_at: account.key.window.ends_at,
        amount: account.limit(),
        settled: account.settled(),
        held: account.held(),
        left: account.left(),
        is_enforcing: account.is_enforcing(),
    }
}

impl Changing<'_> {
    /// The limit is stored: it is in force when this returns.
    pub async fn put(self, limit: SpendLimit) {
        let ledger = self.ledger;
        // The keeper's turn is free again before it is waited for; none was under way.
        let accounts = self.put_now(limit);
        ledger.settled_with_store(&accounts, 1).await;
    }

    /// The limit is gone from the store.
    pub async fn remove(self, limit_id: &str) {
        let ledger = self.ledger;
        let accounts = self.remove_now(limit_id);
        ledger.settled_with_store(&accounts, 1).await;
    }

    /// As [`Changing::put`], up to where the keeper has to be waited for; its accounts are returned.
    pub(crate) fn put_now(self, limit: SpendLimit) -> Vec<Arc<Account>> {
        let (id, amount) = (limit.id.clone(), limit.amount_at(self.ledger.clock.unix_seconds()));
        self.frozen.accounts().iter().for_each(|account| account.cap(amount));
        self.apply(&id, |book| book.put(Arc::new(limit)))
    }

    /// As [`Changing::remove`], likewise.
    pub(crate) fn remove_now(self, limit_id: &str) -> Vec<Arc<Account>> {
        self.apply(limit_id, |book| book.remove(limit_id))
    }

    fn apply(self, limit_id: &str, change: impl FnOnce(&mut Book)) -> Vec<Arc<Account>> {
        let ledger = self.ledger;
        let mut book = Book::clone(&ledger.book());
        let before = book.version;
        change(&mut book);
        // Figures of a limit change in place; the version counts them, too, so that requests under way ask again.
        book.version = before + 1;
        ledger.store_book(book);
        ledger.attach_running();
        drop(self.frozen);
        let meters = ledger.book().entry(limit_id).map(Entry::meters).unwrap_or_default();
        let accounts: Vec<_> = meters.iter().flat_map(|meter| meter.accounts()).collect();
        accounts.iter().for_each(|account| ledger.touch(account));
        accounts
    }
}
