//! One limit's money in one window, as this process sees it.
//!
//! Promise: `granted − available = held + unjournaled`, where `granted` is never more than the watermark that the store
//! keeps for this process. Requests take from the purse and put back; only the keeper changes `granted`.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64};

use pricing::Nano;
use tokio::sync::Notify;

use crate::port::{AccountKey, LeaseState};
use crate::purse::{Purse, amount, signed};

/// What the store last said of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Contact {
    /// Nothing yet.
    New = 0,
    /// It answered.
    Answered = 1,
    /// It could not be written.
    Down = 2,
}

/// An account. One for each limit, scope and window that this process has seen in use.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) key: AccountKey,
    /// Whether it only counts what it would refuse.
    is_shadow: AtomicBool,
    pub(crate) purse: Purse,
    /// Calls that run or are not journaled yet, and those journaled.
    calls_open: AtomicU64,
    calls_settled: AtomicU64,
    granted: AtomicI64,
    unjournaled: AtomicI64,
    /// What waiting requests lack, together.
    wanted: AtomicI64,
    waiting: AtomicU32,
    /// Largest hold lately.
    largest_hold: AtomicI64,
    limit: AtomicU64,
    settled: AtomicU64,
    leased_elsewhere: AtomicU64,
    /// What the store could still lease, when it was asked last.
    unleased: AtomicU64,
    contact: AtomicU8,
    /// How often the keeper was here.
    turn: AtomicU64,
    is_dirty: AtomicBool,
    /// What the last refused request wanted; 0 when none was.
    refused: AtomicU64,
    /// Wakes who waits for money, or for the keeper.
    pub(crate) changed: Notify,
}

impl Account {
    pub(crate) fn new(key: AccountKey, is_shadow: bool) -> Account {
        Account {
            key,
            is_shadow: AtomicBool::new(is_shadow),
            purse: Purse::default(),
            calls_open: AtomicU64::new(0),
            calls_settled: AtomicU64::new(0),
            granted: AtomicI64::new(0),
            unjournaled: AtomicI64::new(0),
            wanted: AtomicI64::new(0),
            waiting: AtomicU32::new(0),
            largest_hold: AtomicI64::new(0),
            limit: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            leased_elsewhere: AtomicU64::new(0),
            unleased: AtomicU64::new(0),
            contact: AtomicU8::new(Contact::New as u8),
            turn: AtomicU64::new(0),
            is_dirty: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Takes a request's worst case.
    ///
    /// # Errors
    /// With what is lacking.
    pub(crate) fn take(&self, held: i64) -> Result<(), i64> {
        if self.is_shadow() {
            self.purse.put(-held);
        } else {
            self.purse.take(held).map_err(|there| held.saturating_sub(there))?;
        }
        if held > self.largest_hold.load(SeqCst) {
            self.largest_hold.store(held, SeqCst);
        }
        Ok(())
    }

    /// Counts a call, unless as many are made already as may be.
    pub(crate) fn take_call(&self, calls_max: Option<u64>) -> bool {
        let calls_max = calls_max.filter(|_| !self.is_shadow()).unwrap_or(u64::MAX);
        // Journaling adds to the settled ones before it takes from the open ones: a call may count twice for a moment,
        // never not at all.
        let may = |open: u64| calls_max == u64::MAX || self.calls_settled.load(SeqCst) + open < calls_max;
        let open = |open| may(open).then_some(open + 1);
        self.calls_open.fetch_update(SeqCst, SeqCst, open).is_ok()
    }

    /// A call that was not made.
    pub(crate) fn give_call(&self) {
        self.calls_open.fetch_sub(1, SeqCst);
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.is_shadow.load(SeqCst)
    }

    /// Another mode. What is granted is the keeper's next concern.
    pub(crate) fn set_shadow(&self, is_shadow: bool) {
        self.is_shadow.store(is_shadow, SeqCst);
    }

    /// Ends a hold: `charged` of it was used. More than it held makes a debt.
    pub(crate) fn settle(&self, held: i64, charged: i64) {
        self.unjournaled.fetch_add(charged, SeqCst);
        self.give(held.saturating_sub(charged));
    }

    /// Puts money back, and wakes who waits for it.
    pub(crate) fn give(&self, back: i64) {
        self.purse.put(back);
        if back > 0 && self.waiting.load(SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Marks it for the keeper; whether nobody had.
    pub(crate) fn mark_dirty(&self) -> bool {
        !self.is_dirty.swap(true, SeqCst)
    }

    pub(crate) fn clear_dirty(&self) {
        self.is_dirty.store(false, SeqCst);
    }

    /// Whether less is left than the keeper wants in stock.
    pub(crate) fn is_low(&self) -> bool {
        !self.is_shadow() && self.purse.available() < self.largest_hold.load(SeqCst)
    }

    /// Attaches a hold that was granted before the account was there: whatever it is, it is in use.
    pub(crate) fn attach(&self, held: i64) {
        self.purse.put(-held);
        self.calls_open.fetch_add(1, SeqCst);
    }

    /// Begins to wait for `lack`.
    pub(crate) fn want(&self, lack: i64) -> Wanting<'_> {
        self.wanted.fetch_add(lack, SeqCst);
        self.waiting.fetch_add(1, SeqCst);
        Wanting { account: self, lack }
    }

    pub(crate) fn wanted(&self) -> i64 {
        self.wanted.load(SeqCst)
    }

    pub(crate) fn contact(&self) -> Contact {
        match self.contact.load(SeqCst) {
            0 => Contact::New,
            1 => Contact::Answered,
            _ => Contact::Down,
        }
    }

    /// Whether asking the store could bring more: it has not answered, or has something left, or this process returns
    /// some itself.
    pub(crate) fn can_lease_more(&self) -> bool {
        self.contact() != Contact::Answered || self.unleased.load(SeqCst) > 0
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(SeqCst)
    }

    pub(crate) fn limit(&self) -> Nano {
        Nano(self.limit.load(SeqCst))
    }

    /// Settled in this window, what is not journaled yet included.
    pub(crate) fn settled(&self) -> Nano {
        Nano(self.settled.load(SeqCst)).plus(amount(self.unjournaled.load(SeqCst)))
    }

    /// Held by requests of this process.
    pub(crate) fn held(&self) -> Nano {
        let used = self.granted.load(SeqCst).saturating_sub(self.purse.available());
        amount(used.saturating_sub(self.unjournaled.load(SeqCst)))
    }

    /// What could still be held if every other hold of this process cost nothing.
    pub(crate) fn room_at_best(&self) -> Nano {
        self.limit().minus(self.settled()).minus(Nano(self.leased_elsewhere.load(SeqCst)))
    }

    /// What can be held now.
    pub(crate) fn left(&self) -> Nano {
        self.room_at_best().minus(self.held())
    }

    /// Whether it refuses now: something is refused that still would not fit, or nothing is left at all.
    pub(crate) fn is_enforcing(&self) -> bool {
        let refused = self.refused.load(SeqCst);
        self.contact() == Contact::Answered && (self.left() == Nano::ZERO || refused > self.left().0)
    }

    pub(crate) fn note_refused(&self, wanted: i64) {
        self.refused.store(amount(wanted).0, SeqCst);
    }

    // What only the keeper calls.

    pub(crate) fn granted(&self) -> i64 {
        self.granted.load(SeqCst)
    }

    /// Held and unjournaled.
    pub(crate) fn used(&self) -> i64 {
        self.granted.load(SeqCst).saturating_sub(self.purse.available())
    }

    /// The largest hold since it was asked last, which then counts a sixteenth less.
    pub(crate) fn fading_largest_hold(&self) -> i64 {
        let largest = self.largest_hold.load(SeqCst);
        self.largest_hold.store(largest - largest / 16, SeqCst);
        largest
    }

    /// Takes up to `excess` out of the purse, to be returned.
    pub(crate) fn withdraw(&self, excess: i64) -> i64 {
        let taken = self.purse.take_up_to(excess);
        self.granted.fetch_sub(taken, SeqCst);
        taken
    }

    /// The limit is lower from now on: what runs may end, but what it gives back is not granted anew above the limit.
    pub(crate) fn cap(&self, limit: Nano) {
        let room = limit.minus(Nano(self.settled.load(SeqCst))).minus(Nano(self.leased_elsewhere.load(SeqCst)));
        let excess = self.granted.load(SeqCst) - signed(room);
        if excess > 0 && !self.is_shadow() {
            self.granted.fetch_sub(excess, SeqCst);
            self.purse.put(-excess);
        }
    }

    /// What a write has made of it: `journaled`, in so many `calls`, was settled from the lease.
    pub(crate) fn written(&self, journaled: i64, calls: u64, state: &LeaseState) {
        self.calls_settled.store(state.calls, SeqCst);
        self.calls_open.fetch_sub(calls, SeqCst);
        self.unjournaled.fetch_sub(journaled, SeqCst);
        let before = self.granted.fetch_sub(journaled, SeqCst) - journaled;
        let granted = if self.is_shadow() {
            signed(state.limit.unwrap_or_default()) - signed(state.settled)
        } else {
            // What is in use is not called back from the store when the limit was lowered, but it is not granted anew.
            let elsewhere = state.leased.minus(state.amount);
            let room = state.limit.unwrap_or_default().minus(state.settled).minus(elsewhere);
            signed(state.watermark.min(room))
        };
        self.granted.fetch_add(granted - before, SeqCst);
        self.purse.put(granted - before);
        self.limit.store(state.limit.unwrap_or_default().0, SeqCst);
        self.settled.store(state.settled.0, SeqCst);
        self.leased_elsewhere.store(state.leased.minus(state.amount).0, SeqCst);
        let unleased = state.limit.unwrap_or_default().minus(state.settled).minus(state.leased);
        // The lease above the watermark is as good as unleased: one more write brings it.
        self.unleased.store(unleased.plus(state.amount.minus(state.watermark)).0, SeqCst);
        self.contact.store(Contact::Answered as u8, SeqCst);
        self.turn.fetch_add(1, SeqCst);
        self.changed.notify_waiters();
    }

    /// A write failed.
    pub(crate) fn not_written(&self) {
        self.contact.store(Contact::Down as u8, SeqCst);
        self.turn.fetch_add(1, SeqCst);
        self.changed.notify_waiters();
    }

    /// The lease is gone: nothing is granted any more, and what is in use is a debt.
    pub(crate) fn fenced(&self) {
        let granted = self.granted.swap(0, SeqCst);
        self.purse.put(-granted);
    }
}

/// A request waits while this lives.
pub(crate) struct Wanting<'a> {
    account: &'a Account,
    lack: i64,
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.account.wanted.fetch_sub(self.lack, SeqCst);
        self.account.waiting.fetch_sub(1, SeqCst);
    }
}
