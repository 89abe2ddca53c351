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
        row.lines = vec![CostLine { item: format!("{}, estimated", row.model), quantity: 0, amount: cost }];
        (row.cost, row.certainty, row.settled_at) = (cost, Certainty::Estimated, settled_at);
        self.ledger.end(&self.open, Some(row));
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
