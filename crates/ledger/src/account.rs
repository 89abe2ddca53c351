//! One limit's money in one window, as this process sees it.
//!
//! Promise: `granted − available = held + unjournaled`, where `granted` is never more than the watermark that the store
//! keeps for this process. Requests take from the purse and put back; only the keeper changes `granted`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64};

use arc_swap::ArcSwap;
use pricing::Nano;
use store::{Clock, SpendLimit};
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
    /// The limit in force.
    terms: ArcSwap<SpendLimit>,
    /// Whether it only counts what it would refuse.
    is_shadow: AtomicBool,
    /// While a change of the limit is under way nothing is granted.
    is_frozen: AtomicBool,
    pub(crate) purse: Purse,
    /// Calls, settled ones included: one word, so that none is counted twice or not at all while it is journaled.
    calls: AtomicI64,
    /// The settled ones of them; the keeper's own.
    calls_settled: AtomicI64,
    granted: AtomicI64,
    unjournaled: AtomicI64,
    /// What waiting requests want to hold, together.
    wanted: AtomicI64,
    /// What a running stream wanted in vain since the keeper was here.
    asked: AtomicI64,
    waiting: AtomicU32,
    /// Largest hold lately.
    largest_hold: AtomicI64,
    limit: AtomicU64,
    settled: AtomicU64,
    leased_elsewhere: AtomicU64,
    /// What the store could still lease, when it was asked last.
    unleased: AtomicU64,
    contact: AtomicU8,
    /// Whether the store ever answered: what is settled is known.
    is_known: AtomicBool,
    /// How often the keeper was here.
    turn: AtomicU64,
    is_dirty: AtomicBool,
    /// What the last refused request wanted; 0 when none was.
    refused: AtomicU64,
    /// Wakes who waits for money, or for the keeper.
    pub(crate) changed: Notify,
}

impl Account {
    pub(crate) fn new(key: AccountKey, terms: Arc<SpendLimit>) -> Account {
        Account {
            key,
            is_shadow: AtomicBool::new(terms.is_shadow),
            terms: ArcSwap::new(terms),
            is_frozen: AtomicBool::new(false),
            purse: Purse::default(),
            calls: AtomicI64::new(0),
            calls_settled: AtomicI64::new(0),
            granted: AtomicI64::new(0),
            unjournaled: AtomicI64::new(0),
            wanted: AtomicI64::new(0),
            asked: AtomicI64::new(0),
            waiting: AtomicU32::new(0),
            largest_hold: AtomicI64::new(0),
            limit: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            leased_elsewhere: AtomicU64::new(0),
            unleased: AtomicU64::new(0),
            contact: AtomicU8::new(Contact::New as u8),
            is_known: AtomicBool::new(false),
            turn: AtomicU64::new(0),
            is_dirty: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Takes a request's worst case; whether it was there.
    pub(crate) fn take(&self, held: i64) -> bool {
        if self.is_shadow() {
            self.purse.put(-held);
        } else if self.purse.take(held).is_err() {
            return false;
        } else if self.is_frozen() {
            // Looked at after taking: a change freezes first and empties the purse then, so that what was taken without
            // seeing it frozen was taken before.
            self.purse.put(held);
            return false;
        }
        self.largest_hold.fetch_max(held, SeqCst);
        true
    }

    /// Counts a call, unless as many are made already as may be.
    pub(crate) fn take_call(&self, calls_max: Option<u64>) -> bool {
        let calls_max = calls_max.filter(|_| !self.is_shadow()).and_then(|max| i64::try_from(max).ok());
        let one_more = |calls| calls_max.is_none_or(|max| calls < max).then_some(calls + 1);
        self.calls.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    /// A call that was not made.
    pub(crate) fn give_call(&self) {
        self.calls.fetch_sub(1, SeqCst);
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.is_shadow.load(SeqCst)
    }

    /// Whether a limit in shadow would refuse what it just counted.
    pub(crate) fn would_refuse(&self, calls_max: Option<u64>) -> bool {
        let is_over = |max: u64| u64::try_from(self.calls.load(SeqCst)).is_ok_and(|calls| calls > max);
        self.is_shadow() && self.is_known() && (self.purse.available() < 0 || calls_max.is_some_and(is_over))
    }

    /// Whether the account still stands as it did before its limit was lowered, or before a raise of it ended.
    pub(crate) fn is_stale(&self, clock: &dyn Clock) -> bool {
        let terms = self.terms.load();
        let amount = if terms.raise.is_some() { terms.amount_at(clock.unix_seconds()) } else { terms.amount };
        self.limit() > amount && !self.is_shadow()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen.load(SeqCst)
    }

    // What only changes of limits call, in the keeper's stead.

    /// Other terms. What is granted is the keeper's next concern; what was granted in shadow was never leased.
    pub(crate) fn set_terms(&self, terms: Arc<SpendLimit>) {
        let was_shadow = self.is_shadow.swap(terms.is_shadow, SeqCst);
        if was_shadow && !terms.is_shadow {
            self.fenced();
        }
        self.terms.store(terms);
    }

    /// Takes what is in stock out of reach until [`Account::thaw`].
    pub(crate) fn freeze(&self) {
        self.is_frozen.store(true, SeqCst);
        if !self.is_shadow() {
            self.withdraw(i64::MAX);
        }
    }

    /// Ends a freeze, and wakes who waits: the limit may be higher, or gone.
    pub(crate) fn thaw(&self) {
        self.is_frozen.store(false, SeqCst);
        self.changed.notify_waiters();
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

    /// Whether less is left than the keeper wants in stock, or nobody has asked the store yet.
    pub(crate) fn is_low(&self) -> bool {
        match self.is_shadow() {
            true => self.contact() == Contact::New,
            false => self.purse.available() < self.largest_hold.load(SeqCst),
        }
    }

    /// Attaches a hold that was granted before the account was there: whatever it is, it is in use.
    pub(crate) fn attach(&self, held: i64) {
        self.purse.put(-held);
        self.calls.fetch_add(1, SeqCst);
    }

    /// Attaches a request that ended before the account was there, and is not journaled yet.
    pub(crate) fn attach_ended(&self, charged: i64) {
        self.unjournaled.fetch_add(charged, SeqCst);
        self.attach(charged);
    }

    /// Begins to wait for an amount: all of it, since what is there now may be gone when the keeper comes.
    pub(crate) fn want(self: &Arc<Self>, amount: i64) -> Wanting {
        self.wanted.fetch_add(amount, SeqCst);
        self.waiting.fetch_add(1, SeqCst);
        Wanting { account: Arc::clone(self), amount, since_turn: self.turn() }
    }

    /// How many requests wait for it.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    /// Asks the keeper for what a stream wanted in vain, without waiting for it.
    pub(crate) fn ask(&self, more: i64) {
        self.asked.fetch_max(more, SeqCst);
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

    /// Whether what is settled is known.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(SeqCst)
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

    /// Whether nobody has or wants anything of it, and all is journaled.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.used() == 0 && self.wanted() == 0 && self.calls.load(SeqCst) == self.calls_settled.load(SeqCst)
    }

    /// What streams asked for since the last time.
    pub(crate) fn take_asked(&self) -> i64 {
        self.asked.swap(0, SeqCst)
    }

    /// The largest hold since it was asked last, which then counts a sixteenth less.
    pub(crate) fn fading_largest_hold(&self) -> i64 {
        let largest = self.largest_hold.load(SeqCst);
        // Unless a larger one came meanwhile.
        let _ = self.largest_hold.compare_exchange(largest, largest - largest / 16, SeqCst, SeqCst);
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
        let [calls, settled] = [calls, state.calls].map(|calls| i64::try_from(calls).unwrap_or(i64::MAX / 2));
        let settled_before = self.calls_settled.swap(settled, SeqCst);
        self.calls.fetch_add(settled - settled_before - calls, SeqCst);
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
        self.is_known.store(true, SeqCst);
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
pub(crate) struct Wanting {
    pub(crate) account: Arc<Account>,
    amount: i64,
    /// The account's turn when it began.
    pub(crate) since_turn: u64,
}

impl Drop for Wanting {
    fn drop(&mut self) {
        self.account.wanted.fetch_sub(self.amount, SeqCst);
        self.account.waiting.fetch_sub(1, SeqCst);
    }
}
