//! What a request holds, from before it is sent until its usage is known.
//!
//! Promise: a hold ends exactly once. It settles, or it is released because nothing can be charged, or, if it is
//! dropped on the way (a panic, a lost task), it is charged in full as an estimate: the safe side.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use pricing::Nano;
use store::{Certainty, CostLine, UsageRow};

use crate::ledger::Ledger;
use crate::open::{Doing, Open};
use crate::purse::{amount, signed};

/// A hold that was granted.
#[must_use = "a hold that is dropped is charged in full"]
pub struct Hold {
    ledger: Arc<Ledger>,
    pub(crate) open: Arc<Open>,
    is_over: bool,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").field("request_id", &self.open.row.id).field("amount", &self.amount()).finish()
    }
}

impl Hold {
    pub(crate) fn new(ledger: Arc<Ledger>, open: Arc<Open>) -> Hold {
        Hold { ledger, open, is_over: false }
    }

    /// How much is held.
    pub fn amount(&self) -> Nano {
        amount(self.open.amount())
    }

    /// The row that its end will write, as it was begun.
    pub fn row(&self) -> &UsageRow {
        &self.open.row
    }

    /// Says what the hold is open for.
    pub fn set_doing(&self, doing: Doing) {
        self.open.set_doing(doing);
    }

    /// Holds more, if there is enough in stock right now. If not, the keeper is asked for it: try again soon.
    pub fn try_grow(&self, more: Nano) -> bool {
        self.ledger.try_grow(&self.open, signed(more))
    }

    /// Settles with what was used. `row` is the begun row with its end filled in; a cost above the hold is recorded
    /// all the same, and alarmed.
    pub fn settle(mut self, row: UsageRow) {
        self.is_over = true;
        self.ledger.end(&self.open, Some(row));
    }

    /// Settles at the full hold, because nobody can say what was used: the upstream may charge all of it.
    pub fn estimate(mut self, settled_at: i64) {
        self.is_over = true;
        self.charge_in_full(settled_at);
    }

    /// Lets go: the upstream charges nothing.
    pub fn release(mut self) {
        self.is_over = true;
        self.ledger.end(&self.open, None);
    }

    fn charge_in_full(&self, settled_at: i64) {
        self.ledger.counters.estimated.fetch_add(1, SeqCst);
        let (cost, mut row) = (self.amount(), self.open.row.clone());
        // Batches and the like name no model.
        let of = if row.model.is_empty() { row.endpoint } else { &row.model };
        row.lines = vec![CostLine { item: format!("{of}, estimated"), quantity: 0, amount: cost }];
        (row.cost, row.certainty, row.settled_at) = (cost, Certainty::Estimated, settled_at);
        self.ledger.end(&self.open, Some(row));
    }
}

impl Ledger {
    /// Whether any limit applies to a request, one in shadow included. A request that a limit for each end user would
    /// refuse for naming none counts, too.
    pub fn limits_apply(&self, row: &UsageRow) -> bool {
        self.book().meters(row).map_or(true, |meters| !meters.is_empty())
    }
}

/// Holds that are looked at for one refusal.
const COUNTED_MAX: usize = 2_000;

impl Ledger {
    /// How many holds are open in this process.
    pub fn open_holds_count(&self) -> usize {
        self.open.count()
    }

    /// How many holds a key has open in this process, for refusals that say who holds the money; `None` where there are
    /// too many to look at each.
    pub fn open_of_key(&self, key: &store::KeyId) -> Option<usize> {
        if self.open.count() > COUNTED_MAX {
            return None;
        }
        let mut of_key = 0;
        self.open.each(|open| of_key += usize::from(open.row.key == *key));
        Some(of_key)
    }
}

/// How near the tightest of a hold's limits is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearness {
    /// Whose limit.
    pub scope: store::Scope,
    /// Settled and held, in per cent of the limit, rounded down.
    pub percent: u64,
}

impl Hold {
    /// The tightest of its limits, itself included; `None` without limits.
    pub fn nearness(&self) -> Option<Nearness> {
        let state = self.open.state();
        let crate::open::State::Granted(accounts) = &*state else { return None };
        let percent = |account: &crate::account::Account| {
            let used = account.settled().plus(account.held()).0;
            u64::try_from(u128::from(used) * 100 / u128::from(account.limit().0.max(1))).unwrap_or(u64::MAX)
        };
        let nearest = accounts.iter().map(|account| (percent(account), account)).max_by_key(|(percent, _)| *percent)?;
        Some(Nearness { scope: nearest.1.key.scope.clone(), percent: nearest.0 })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if self.open.is_granted() {
            let now = self.ledger.clock.unix_seconds();
            self.charge_in_full(now);
        } else {
            // It never was: a refusal, or a client that left while it waited.
            self.ledger.end(&self.open, None);
        }
    }
}
