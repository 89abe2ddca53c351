//! The keeper: what it wants of the store at each turn, and what the store's answer means. No I/O here, so that tests
//! can crash it anywhere.
//!
//! Promises: nothing is granted to requests before the store has written it down; what is returned is taken out of the
//! purses before it is written; ends of requests that could not be written stay in the queue, in their order; an answer
//! that was lost does no harm, because targets are absolute and rows have ids.
//!
//! How much is kept in stock: as much again as was in use at the last peak, what a second of spending takes (a disk that
//! stalls for less stops nobody), and at least two of the largest holds lately, but no more than an eighth of the room
//! under the limit. That is a *step* of the watermark, and bounds what a
//! crash leaves charged beyond the holds in flight. The lease itself is up to ten steps.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use store::UsageRow;

use crate::account::{Account, Contact};
use crate::book;
use crate::ledger::{Entry, Ledger};
use crate::port::{AccountKey, Batch, Epoch, LeaseState, LeaseTarget, WriteError};
use crate::purse::{amount, signed};

/// Most rows in a transaction: some 20 ms of writing, and 200,000 requests a second at [`crate::PACE`].
pub const ROWS_MAX: usize = 10_000;

/// Most accounts in a transaction that were marked for the keeper, or are returned at a stop.
const TARGETS_MAX: usize = 5_000;

/// Steps of a lease.
const STEPS: i64 = 10;

/// The part of the room under a limit that is kept in stock at most.
const STOCK_PART: i64 = 8;

/// Turns of a second.
const TURNS: i64 = 20;

/// Time without use after which a lease is returned. The next request then waits for one write; before that it does
/// not, however seldom the account is used.
const IDLE_SECONDS: i64 = 60;

/// Idle accounts looked at in each turn: all of 10,000 within eight seconds.
const IDLE_VISITS: usize = 64;

/// An account in the keeper's eyes.
struct Tracked {
    account: Arc<Account>,
    /// The lease, as the store has it.
    lease: i64,
    /// Most in use, fading by a sixteenth each turn.
    peak: i64,
    /// What was settled lately, fading by a part of [`TURNS`] each turn: a second's worth, more where turns are slow.
    settled_lately: i64,
    /// When it was used last, Unix seconds.
    used_at: i64,
}

/// The keeper of one process's leases.
pub struct Keeper {
    ledger: Arc<Ledger>,
    epoch: Epoch,
    /// The life before this one, if it was fenced while it still had holds.
    formerly: Option<Epoch>,
    tracked: HashMap<AccountKey, Tracked>,
    /// Where the walk over idle accounts is.
    idle_walk: Vec<AccountKey>,
    /// When names that nobody has were forgotten last, Unix seconds.
    swept_at: i64,
    /// Whether everything is to be returned.
    is_closing: bool,
}

/// One turn: the batch to be written, and what belongs to it.
pub struct Turn {
    /// What the store is asked.
    pub batch: Batch,
    /// The accounts of each of the batch's rows, in their order.
    of_rows: Vec<Vec<Arc<Account>>>,
    /// In the order of the batch's targets.
    accounts: Vec<Visited>,
}

/// An account in a turn.
struct Visited {
    account: Arc<Account>,
    /// Cost of its rows.
    journaled: i64,
    /// How many they are.
    calls: u64,
    /// What is in use when they are written, as it was planned.
    in_use: i64,
}

/// What each account spends of some rows, and how many they are. Accounts are told apart by where they are: a key is
/// words, and there is one to look at for each row and account.
fn spending<'a>(rows: &[UsageRow], of_rows: &'a [Vec<Arc<Account>>]) -> Vec<(&'a Arc<Account>, i64, u64)> {
    let mut spending: Vec<(&Arc<Account>, i64, u64)> = Vec::new();
    let mut places: HashMap<*const Account, usize> = HashMap::new();
    for (row, accounts) in rows.iter().zip(of_rows) {
        for account in accounts {
            let place = *places.entry(Arc::as_ptr(account)).or_insert_with(|| {
                spending.push((account, 0, 0));
                spending.len() - 1
            });
            let (_, journaled, calls) = &mut spending[place];
            (*journaled, *calls) = (journaled.saturating_add(signed(row.cost)), *calls + 1);
        }
    }
    spending
}

impl Keeper {
    /// A keeper for a life that the store has just begun.
    pub fn new(ledger: Arc<Ledger>, epoch: Epoch) -> Keeper {
        Keeper {
            ledger,
            epoch,
            formerly: None,
            tracked: HashMap::new(),
            idle_walk: Vec::new(),
            swept_at: 0,
            is_closing: false,
        }
    }

    /// The life that it writes in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What is to be written now; `None` when there is nothing.
    pub fn plan(&mut self) -> Option<Turn> {
        let now = self.ledger.clock.unix_seconds();
        self.sweep(now);
        let (rows, of_rows): (Vec<_>, Vec<_>) =
            self.ledger.take_queue(ROWS_MAX).into_iter().map(|entry| (entry.row, entry.accounts)).unzip();
        let mut dirty = self.ledger.take_dirty(TARGETS_MAX);
        dirty.iter().for_each(|account| account.clear_dirty());
        let mut touched: HashMap<AccountKey, (Arc<Account>, i64, u64)> = HashMap::new();
        for account in dirty.drain(..) {
            touched.insert(account.key.clone(), (account, 0, 0));
        }
        for (account, journaled, calls) in spending(&rows, &of_rows) {
            let place = touched.entry(account.key.clone()).or_insert_with(|| (Arc::clone(account), 0, 0));
            (place.1, place.2) = (place.1.saturating_add(journaled), place.2 + calls);
        }
        for account in self.ended_raises(now) {
            touched.entry(account.key.clone()).or_insert((account, 0, 0));
        }
        let mut idle = HashSet::new();
        self.visit_idle(now, &mut touched, &mut idle);
        if rows.is_empty() && touched.is_empty() {
            return None;
        }
        let mut targets = Vec::with_capacity(touched.len());
        let mut accounts = Vec::with_capacity(touched.len());
        for (key, (account, journaled, calls)) in touched {
            let is_idle = idle.contains(&key);
            let target = self.target(&account, journaled, now, is_idle);
            let in_use = signed(target.in_use);
            targets.push(target);
            accounts.push(Visited { account, journaled, calls, in_use });
        }
        let batch = Batch { epoch: self.epoch, now, rows, targets, formerly: self.formerly };
        Some(Turn { batch, of_rows, accounts })
    }

    /// What is wanted of one account; what is returned is taken out of its purse here.
    fn target(&mut self, account: &Arc<Account>, journaled: i64, now: i64, is_idle: bool) -> LeaseTarget {
        let tracked = self.tracked.entry(account.key.clone()).or_insert_with(|| Tracked {
            account: Arc::clone(account),
            lease: 0,
            peak: 0,
            settled_lately: 0,
            used_at: now,
        });
        let used = account.used().saturating_sub(journaled).max(0);
        // What was settled since the last turn counts too: as much will be, until the next one is written.
        tracked.peak = account.used().max(tracked.peak - tracked.peak / 16);
        tracked.settled_lately = (tracked.settled_lately - tracked.settled_lately / TURNS).saturating_add(journaled);
        let stock = tracked.peak.max(tracked.settled_lately).max(2 * account.fading_largest_hold());
        if !is_idle {
            tracked.used_at = now;
        }
        let is_closed = is_idle || !self.ledger.has_limit(&account.key);
        // Nobody new comes to a window that is over, but streams that began in it may still grow.
        let is_over = self.is_closing || now >= account.key.window.ends_at && used == 0;
        let room = signed(account.room_at_best());
        let asked = account.take_asked();
        let step = match is_closed || is_over || account.is_shadow() {
            true => 0,
            false => stock.min(room / STOCK_PART).max(asked.min(room)),
        };
        let in_use = amount(used);
        if account.is_shadow() {
            let nothing = amount(0);
            return LeaseTarget { account: account.key.clone(), amount: nothing, watermark: nothing, in_use: nothing };
        }
        let wanted = if is_closed { 0 } else { account.wanted() };
        let keep = used.saturating_add(wanted).saturating_add(step);
        // What is above is taken out of reach at once, so that a crash while nothing runs charges one step. But while
        // the store cannot write it down, it had better be used.
        let excess = account.granted() - journaled - keep;
        if excess > 0 && (is_closed || account.contact() != Contact::Down) {
            account.withdraw(excess);
        }
        let watermark = keep.max(account.granted() - journaled);
        let lease = watermark.saturating_add((STEPS - 1) * step.min(room / (STOCK_PART * STEPS)));
        LeaseTarget { account: account.key.clone(), amount: amount(lease), watermark: amount(watermark), in_use }
    }

    /// Forgets names that nobody has: now and then, or soon where they are too many.
    fn sweep(&mut self, now: i64) {
        let is_crowded = self.ledger.take_crowded();
        if now >= self.swept_at.saturating_add(if is_crowded { 1 } else { IDLE_SECONDS }) {
            self.ledger.sweep();
            self.swept_at = now;
        }
    }

    /// Accounts that still stand as they did before a raise of their limit ended.
    fn ended_raises(&self, now: i64) -> Vec<Arc<Account>> {
        let book = self.ledger.book();
        let ended = book.raised().filter(|limit| limit.raise.is_some_and(|raise| raise.until <= now));
        let meters = ended.filter_map(|limit| book.entry(&limit.id)).flat_map(book::Entry::meters);
        meters.flat_map(|meter| meter.accounts()).filter(|account| account.is_stale(&*self.ledger.clock)).collect()
    }

    /// Looks at some accounts that nobody touched: those long idle return their lease and are forgotten.
    fn visit_idle(
        &mut self,
        now: i64,
        touched: &mut HashMap<AccountKey, (Arc<Account>, i64, u64)>,
        idle: &mut HashSet<AccountKey>,
    ) {
        if self.idle_walk.is_empty() {
            self.idle_walk = self.tracked.keys().cloned().collect();
        }
        for _ in 0..if self.is_closing { TARGETS_MAX } else { IDLE_VISITS } {
            let Some(key) = self.idle_walk.pop() else { break };
            if touched.contains_key(&key) {
                continue;
            }
            let Some(tracked) = self.tracked.get_mut(&key) else { continue };
            let needed = || tracked.account.used().max(0).saturating_add(tracked.account.wanted());
            let is_idle = tracked.account.is_at_rest() && now >= tracked.used_at.saturating_add(IDLE_SECONDS);
            if is_idle || self.is_closing && (tracked.account.is_at_rest() || tracked.lease > needed()) {
                touched.insert(key.clone(), (Arc::clone(&tracked.account), 0, 0));
                idle.insert(key);
            }
        }
    }

    /// The store has written the turn.
    pub fn written(&mut self, turn: Turn, states: &[LeaseState]) {
        self.ledger.counters.writes.fetch_add(1, SeqCst);
        let mut at_rest = Vec::new();
        for (Visited { account, journaled, calls, in_use }, state) in turn.accounts.iter().zip(states) {
            account.written(*journaled, *calls, state);
            let Some(tracked) = self.tracked.get_mut(&account.key) else { continue };
            tracked.lease = signed(state.amount);
            let is_old = self.is_closing || turn.batch.now >= tracked.used_at.saturating_add(IDLE_SECONDS);
            if account.is_at_rest() && tracked.lease == 0 && (is_old || state.limit.is_none()) {
                self.tracked.remove(&account.key);
                at_rest.push(account.key.clone());
            } else if account.used() > *in_use && account.is_low() && account.can_lease_more() {
                // More was used while the turn was written. Without that another turn would bring no more than this one.
                self.ledger.touch(account);
            }
        }
        self.ledger.journaled(turn.batch.rows.len());
        // They can be forgotten when this turn has let go of them, too.
        drop(turn);
        at_rest.iter().for_each(|key| self.ledger.forget(key));
    }

    /// The store has written nothing of the turn.
    pub fn not_written(&mut self, turn: Turn, error: &WriteError) {
        self.ledger.counters.writes_failed.fetch_add(1, SeqCst);
        for Visited { account, .. } in &turn.accounts {
            account.not_written();
            self.ledger.touch(account);
        }
        let entries = turn.batch.rows.into_iter().zip(turn.of_rows);
        self.ledger.put_back(entries.map(|(row, accounts)| Entry { row, accounts }).collect());
        if matches!(error, WriteError::Fenced) {
            self.tracked.values().for_each(|tracked| tracked.account.fenced());
        }
    }

    /// Goes on in a new life, after [`WriteError::Fenced`].
    pub fn reborn(&mut self, epoch: Epoch) {
        self.formerly = Some(self.epoch);
        self.epoch = epoch;
        for tracked in self.tracked.values_mut() {
            tracked.lease = 0;
            self.ledger.touch(&tracked.account);
        }
    }

    /// From now on every lease that is not in use is returned: at a stop.
    pub fn close(&mut self) {
        self.is_closing = true;
    }

    /// Whether leases are left.
    pub fn is_at_rest(&self) -> bool {
        self.tracked.values().all(|tracked| tracked.lease == 0) && !self.ledger.has_work()
    }
}
