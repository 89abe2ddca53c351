//! Limits that are set, changed and taken away while requests run.
//!
//! Promise: when a change returns it is in force: requests that already run are counted under a new limit, what was in
//! stock under a lowered one has been returned, and nothing is granted in between that the new limit would not allow.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use pricing::Nano;
use store::{Scope, SpendLimit};

use crate::account::{Account, Contact};
use crate::book::{Book, Entry, Frozen};
use crate::ledger::Ledger;
use crate::open::State;
use crate::port::AccountKey;

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
        let frozen = Frozen::new(self.book().entry(limit_id).map(Entry::meters).unwrap_or_default());
        for account in frozen.meters().iter().filter_map(|meter| meter.current()) {
            account.withdraw(i64::MAX);
        }
        Changing { ledger: self, _turn: turn, frozen }
    }

    /// Whether an account's limit is being changed.
    pub(crate) fn is_frozen(&self, key: &AccountKey) -> bool {
        let book = self.book();
        match book.entry(&key.limit) {
            Some(Entry::One(meter)) => meter.is_frozen.load(SeqCst),
            Some(Entry::Each(family)) => {
                family.member_if_there(&key.scope).is_some_and(|meter| meter.is_frozen.load(SeqCst))
            }
            None => true,
        }
    }

    /// An account came to rest.
    pub(crate) fn forget(&self, key: &AccountKey) {
        if let Some(Entry::Each(family)) = self.book().entry(&key.limit) {
            family.forget(&key.scope);
        }
    }

    /// Counts requests that run under limits that they were granted without.
    fn attach_running(&self) {
        let book = self.book();
        self.open.each(|open| {
            let mut state = open.state();
            let State::Granted(accounts) = &mut *state else { return };
            // Who names no end user was let through before the limit was there.
            let Ok(meters) = book.meters(&open.row) else { return };
            for account in meters.iter().map(|meter| meter.account(open.row.began_at)) {
                if !accounts.iter().any(|known| known.key == account.key) {
                    account.attach(open.amount());
                    accounts.push(account);
                }
            }
        });
    }

    /// Waits until the keeper has settled these accounts with the store.
    async fn settled_with_store(&self, accounts: &[Arc<Account>]) {
        for account in accounts {
            let before = account.turn();
            let wait = async {
                while account.turn() < before + 2 && account.contact() != Contact::Down {
                    let mut changed = std::pin::pin!(account.changed.notified());
                    changed.as_mut().enable();
                    self.touch(account);
                    self.urgent.notify_one();
                    if account.turn() < before + 2 {
                        changed.await;
                    }
                }
            };
            if tokio::time::timeout(KEEPER_WAIT, wait).await.is_err() {
                tracing::warn!("a changed limit is in force, but the store has not confirmed its accounts yet");
            }
        }
    }

    /// How a limit stands now; an account is opened where none is in use.
    pub async fn standings(&self, limit_id: &str) -> Vec<Standing> {
        let Some(entry) = self.book().entry(limit_id).cloned() else { return Vec::new() };
        let now = self.clock.unix_seconds();
        let accounts: Vec<_> = entry.meters().iter().map(|meter| meter.account(now)).collect();
        let fresh: Vec<_> =
            accounts.iter().filter(|account| account.contact() == Contact::New).map(Arc::clone).collect();
        self.settled_with_store(&fresh).await;
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
        // The keeper's turn is free again before it is waited for.
        let accounts = self.put_now(limit);
        ledger.settled_with_store(&accounts).await;
    }

    /// The limit is gone from the store.
    pub async fn remove(self, limit_id: &str) {
        let ledger = self.ledger;
        let accounts = self.apply(limit_id, |book| book.remove(limit_id));
        ledger.settled_with_store(&accounts).await;
    }

    /// As [`Changing::put`], up to where the keeper has to be waited for; its accounts are returned.
    pub(crate) fn put_now(self, limit: SpendLimit) -> Vec<Arc<Account>> {
        let (id, amount) = (limit.id.clone(), limit.amount_at(self.ledger.clock.unix_seconds()));
        for account in self.frozen.meters().iter().filter_map(|meter| meter.current()) {
            account.cap(amount);
        }
        self.apply(&id, |book| book.put(Arc::new(limit)))
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
        let accounts: Vec<_> = meters.iter().filter_map(|meter| meter.current()).collect();
        accounts.iter().for_each(|account| ledger.touch(account));
        accounts
    }
}
