//! Admission: all limits that apply, in one step, before anything is spent.
//!
//! Promises: a hold is granted by every account that applies or by none; a refusal says which limit, what is left and
//! what is held; a request waits a short named time for other holds to settle, and no longer; without limits, and with
//! money in stock, nothing is waited for and nothing is written.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use pricing::Nano;
use store::{Clock, NearLimit, Period, Scope, SpendLimit, UsageRow};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::account::{Account, Contact, Wanting};
use crate::book::{Book, Meter, NoMeter};
use crate::hold::Hold;
use crate::open::{Doing, Open, OpenHold, OpenHolds, State};
use crate::purse::signed;

mod queue;

/// How patient the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long a request waits for other holds to settle, where that could help.
    pub holds: Duration,
    /// How long a request waits for the store's first word on an account.
    pub store: Duration,
}

impl Default for Patience {
    /// A second and a half for holds: SDKs wait as long before their second retry. Two for the store: a disk that syncs
    /// slower than that serves nobody.
    fn default() -> Patience {
        Patience { holds: Duration::from_millis(1_500), store: Duration::from_secs(2) }
    }
}

/// Most requests whose end is not in the store yet, running ones included: some 1 kB each.
pub const UNJOURNALED_MAX: usize = 65_536;

/// Most requests that wait for the holds of one account to settle; the next is refused at once.
pub(crate) const WAITERS_MAX: u32 = 2_000;

/// Which limit refused, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The limit's id.
    pub limit: String,
    /// Whose.
    pub scope: Scope,
    /// For how long.
    pub period: Period,
    /// When it begins anew, Unix seconds.
    pub renews_at: i64,
    /// How much it is.
    pub amount: Nano,
    /// Settled.
    pub settled: Nano,
    /// Held by requests that run.
    pub held: Nano,
    /// What is left: the worst case that would fit now.
    pub left: Nano,
    /// The worst case that was asked for.
    pub asked: Nano,
    /// What the limit says is to be done.
    pub near_limit: NearLimit,
}

/// Why no hold was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It would pass a limit.
    Exceeded(Box<Exceeded>),
    /// A run has made all its calls.
    Calls {
        /// The limit's id.
        limit: String,
        /// The run.
        scope: Scope,
        /// Its cap.
        calls_max: u64,
    },
    /// A hard limit applies, and the request has no bound.
    Unbounded(Scope),
    /// A limit for each end user applies, and the request names none.
    Nameless(Scope),
    /// Too many end users, runs or tags are active.
    TooManyNames(Scope),
    /// The store cannot say what is left.
    StoreDown,
    /// Too many ends of requests wait for the store.
    JournalFull,
}

/// What happened that an operator should see, counted since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests refused for money.
    pub refused: AtomicU64,
    /// Requests that a limit in shadow would have refused.
    pub shadow_refused: AtomicU64,
    /// Requests that waited for other holds to settle.
    pub waited: AtomicU64,
    /// Settlements above their hold: defects of a bound.
    pub above_hold: AtomicU64,
    /// Holds that ended without usage, charged in full.
    pub estimated: AtomicU64,
    /// Writes that the store refused.
    pub writes_failed: AtomicU64,
    /// Writes.
    pub writes: AtomicU64,
}

/// The ledger.
pub struct Ledger {
    book: ArcSwap<Book>,
    /// Changes of the book and turns of the keeper come one after the other: an answer of the store that was given under
    /// the limit before must not be taken for one under the limit after.
    pub(crate) turning: tokio::sync::Mutex<()>,
    pub(crate) open: OpenHolds,
    queue: Mutex<Vec<Entry>>,
    /// Holds and queued ends.
    unjournaled: AtomicUsize,
    dirty: Mutex<Vec<Arc<Account>>>,
    /// Whether a name was refused because there are too many.
    is_crowded: AtomicBool,
    /// Wakes the keeper at once.
    pub(crate) urgent: Notify,
    pub(crate) clock: Arc<dyn Clock>,
    patience: Patience,
    /// What happened.
    pub counters: Counters,
}

/// The end of a request, on its way to the store.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) row: UsageRow,
    pub(crate) accounts: Vec<Arc<Account>>,
}

/// The account that has too little for a request.
struct Short {
    account: Arc<Account>,
    meter: Arc<Meter>,
    /// Whether its limit is being changed, or it still stands as it did before that or before a raise ended.
    is_stale: bool,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// The store's word alone.
    Store,
    /// Other holds to settle, too.
    Holds,
}

enum Denied {
    Short(Short),
    Refused(Refused),
}

impl Ledger {
    /// A ledger with these limits. It grants under them once its keeper runs.
    pub fn new(limits: Vec<SpendLimit>, clock: Arc<dyn Clock>, patience: Patience) -> Arc<Ledger> {
        Arc::new(Ledger {
            book: ArcSwap::from_pointee(Book::new(limits)),
            turning: tokio::sync::Mutex::new(()),
            open: OpenHolds::new(),
            queue: Mutex::default(),
            unjournaled: AtomicUsize::new(0),
            dirty: Mutex::default(),
            is_crowded: AtomicBool::new(false),
            urgent: Notify::new(),
            clock,
            patience,
            counters: Counters::default(),
        })
    }

    /// Holds a request's worst case. `row` says whose and when; its end is filled in by the hold. `worst` is `None` for
    /// what has no bound: that passes only where no hard limit applies.
    ///
    /// # Errors
    /// When a limit refuses, or cannot be asked.
    pub async fn hold(self: &Arc<Self>, row: UsageRow, worst: Option<Nano>) -> Result<Hold, Refused> {
        let hold = self.open_hold(row, worst.unwrap_or_default())?;
        match self.try_grant(&hold.open, worst) {
            Ok(()) => Ok(hold),
            Err(Denied::Refused(refused)) => Err(self.refuse(refused)),
            // Boxed: this is the rare way.
            Err(Denied::Short(short)) => {
                let waited = Box::pin(self.wait(hold, worst, short, For::Holds)).await;
                // Whoever waits for holds is always told why not.
                waited.map_err(|refused| refused.unwrap_or(Refused::StoreDown))
            }
        }
    }

    /// As [`Ledger::hold`], but waits only until the store was asked for more, and not for other holds to settle.
    ///
    /// # Errors
    /// As there; `None` when waiting for other holds could help, or there is too little in any case.
    pub async fn hold_if_leased(self: &Arc<Self>, row: UsageRow, worst: Option<Nano>) -> Result<Hold, Option<Refused>> {
        let hold = self.open_hold(row, worst.unwrap_or_default()).map_err(Some)?;
        match self.try_grant(&hold.open, worst) {
            Ok(()) => Ok(hold),
            Err(Denied::Refused(refused)) => Err(Some(self.refuse(refused))),
            Err(Denied::Short(short)) => Box::pin(self.wait(hold, worst, short, For::Store)).await,
        }
    }

    /// As [`Ledger::hold`], but says at once when it would have to wait.
    ///
    /// # Errors
    /// As there; `None` when waiting could help.
    pub fn try_hold(self: &Arc<Self>, row: UsageRow, worst: Option<Nano>) -> Result<Hold, Option<Refused>> {
        let hold = self.open_hold(row, worst.unwrap_or_default()).map_err(Some)?;
        match self.try_grant(&hold.open, worst) {
            Ok(()) => Ok(hold),
            Err(Denied::Refused(refused)) => Err(Some(self.refuse(refused))),
            Err(Denied::Short(short)) => {
                self.touch(&short.account);
                Err(None)
            }
        }
    }

    fn open_hold(self: &Arc<Self>, row: UsageRow, worst: Nano) -> Result<Hold, Refused> {
        let place = |places: usize| (places < UNJOURNALED_MAX).then_some(places + 1);
        self.unjournaled.fetch_update(SeqCst, SeqCst, place).map_err(|_| Refused::JournalFull)?;
        Ok(Hold::new(Arc::clone(self), self.open.add(row, signed(worst))))
    }

    fn refuse(&self, refused: Refused) -> Refused {
        self.counters.refused.fetch_add(1, SeqCst);
        refused
    }

    /// Asks every account that applies, once.
    fn try_grant(&self, open: &Open, worst: Option<Nano>) -> Result<(), Denied> {
        loop {
            let book = self.book.load();
            let (version, meters) = (book.version, book.meters(&open.row));
            drop(book);
            let meters = meters.map_err(|error| {
                Denied::Refused(match error {
                    NoMeter::Nameless(scope) => Refused::Nameless(scope),
                    NoMeter::TooManyNames(scope) => {
                        self.is_crowded.store(true, SeqCst);
                        Refused::TooManyNames(scope)
                    }
                })
            })?;
            let accounts = self.take_all(&meters, open, worst)?;
            let mut state = open.state();
            // A limit that was set meanwhile looks for holds that are granted; what was not granted yet begins anew.
            if self.book.load().version == version {
                *state = State::Granted(accounts);
                open.set_doing(Doing::Running);
                return Ok(());
            }
            drop(state);
            give_back(&accounts, signed(worst.unwrap_or_default()));
        }
    }

    fn take_all(&self, meters: &[Arc<Meter>], open: &Open, worst: Option<Nano>) -> Result<Vec<Arc<Account>>, Denied> {
        let held = signed(worst.unwrap_or_default());
        let mut taken = Vec::with_capacity(meters.len());
        for meter in meters {
            let account = meter.account(open.row.began_at);
            let limit = meter.limit();
            let is_unknown = limit.calls_max.is_some() && !account.is_known() && !account.is_shadow();
            let short = |account, is_stale| Denied::Short(Short { account, meter: Arc::clone(meter), is_stale });
            let denied = if worst.is_none() && !account.is_shadow() {
                Denied::Refused(Refused::Unbounded(meter.scope.clone()))
            } else if limit.calls_max == Some(0) && !account.is_shadow() {
                // Stopped: no money would help, and nothing has to be known to say so.
                Denied::Refused(Refused::Calls { limit: limit.id.clone(), scope: meter.scope.clone(), calls_max: 0 })
            } else if account.is_stale(&*self.clock) {
                short(account, true)
            } else if is_unknown || !account.take(held) {
                let is_frozen = account.is_frozen();
                short(account, is_frozen)
            } else if !account.take_call(limit.calls_max) {
                account.give(held);
                let calls_max = limit.calls_max.unwrap_or_default();
                Denied::Refused(Refused::Calls { limit: limit.id.clone(), scope: meter.scope.clone(), calls_max })
            } else {
                if account.is_low() {
                    self.touch(&account);
                }
                if account.would_refuse(limit.calls_max) {
                    self.counters.shadow_refused.fetch_add(1, SeqCst);
                }
                taken.push(account);
                continue;
            };
            give_back(&taken, held);
            return Err(denied);
        }
        Ok(taken)
    }

    /// The slow way: the keeper leases more, or other holds settle.
    async fn wait(
        &self,
        hold: Hold,
        worst: Option<Nano>,
        first: Short,
        for_what: For,
    ) -> Result<Hold, Option<Refused>> {
        if for_what == For::Holds {
            self.counters.waited.fetch_add(1, SeqCst);
        }
        let began = Instant::now();
        let held = signed(worst.unwrap_or_default());
        let mut short = first;
        // Wanted of every account that was short, until the end: what one of them has got would be returned while the
        // request waits for another.
        let mut wanting: Vec<Wanting> = Vec::new();
        loop {
            let account = Arc::clone(&short.account);
            let mut changed = std::pin::pin!(account.changed.notified());
            changed.as_mut().enable();
            let known = wanting.iter().find(|wanting| Arc::ptr_eq(&wanting.account, &account));
            let asked_turn = known.map(|wanting| wanting.since_turn).unwrap_or_else(|| {
                let new = account.want(held);
                let turn = new.since_turn;
                wanting.push(new);
                turn
            });
            if account.can_lease_more() || short.is_stale {
                self.touch(&account);
                self.urgent.notify_one();
            }
            // Between the first look and the registration money may have come.
            match self.try_grant(&hold.open, worst) {
                Ok(()) => return Ok(hold),
                Err(Denied::Refused(refused)) => return Err(Some(self.refuse(refused))),
                Err(Denied::Short(now)) if !Arc::ptr_eq(&now.account, &account) => {
                    short = now;
                    continue;
                }
                Err(Denied::Short(now)) => short.is_stale = now.is_stale,
            }
            // The turn that was under way when the request asked may not have seen it; the one after it has. Where all
            // is leased already no turn can help.
            let is_answered = account.turn() >= asked_turn + 2 || !(account.can_lease_more() || short.is_stale);
            let deadline = match (account.contact(), is_answered) {
                (Contact::Down, true) => return Err(Some(self.refuse(Refused::StoreDown))),
                (Contact::Answered, true) if for_what == For::Store => return Err(None),
                (Contact::Answered, true) if account.room_at_best().0 < held.unsigned_abs() => {
                    return Err(Some(self.exceeded(&short.meter, &account, held)));
                }
                // A crowd that waits is in the way of everybody else's money.
                (Contact::Answered, true) if account.waiting() > WAITERS_MAX => {
                    return Err(Some(self.exceeded(&short.meter, &account, held)));
                }
                (Contact::Answered, true) => began + self.patience.holds,
                (_, false) | (Contact::New, true) => began + self.patience.store,
            };
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(Some(match is_answered {
                    true => self.exceeded(&short.meter, &account, held),
                    false => self.refuse(Refused::StoreDown),
                }));
            }
        }
    }

    fn exceeded(&self, meter: &Meter, account: &Account, held: i64) -> Refused {
        account.note_refused(held);
        let limit = meter.limit();
        self.refuse(Refused::Exceeded(Box::new(Exceeded {
            limit: limit.id.clone(),
            scope: meter.scope.clone(),
            period: limit.period,
            renews_at: account.key.window.ends_at,
            amount: account.limit(),
            settled: account.settled(),
            held: account.held(),
            left: account.left(),
            asked: Nano(held.unsigned_abs()),
            near_limit: limit.near_limit.clone(),
        })))
    }

    /// Takes more for a hold that is granted already, if every account has it in stock.
    pub(crate) fn try_grow(&self, open: &Open, more: i64) -> bool {
        let state = open.state();
        let State::Granted(accounts) = &*state else { return false };
        for (number, account) in accounts.iter().enumerate() {
            let is_stale = account.is_stale(&*self.clock);
            if is_stale || !account.take(more) {
                // Where all is leased already no turn of the keeper can help.
                if is_stale || account.can_lease_more() {
                    account.ask(more);
                    self.touch(account);
                    self.urgent.notify_one();
                }
                give_back_money(&accounts[..number], more);
                return false;
            }
            if account.is_low() {
                self.touch(account);
            }
        }
        open.set_amount(open.amount() + more);
        true
    }

    /// Ends a hold: its row goes to the journal, its accounts get back what was not used.
    pub(crate) fn end(&self, open: &Open, row: Option<UsageRow>) {
        // Under the lock until the row is in the queue: whoever looks for open holds sees this one open, or queued.
        let mut state = open.state();
        let before = std::mem::replace(&mut *state, State::Over);
        let held = open.amount();
        match (before, row) {
            (State::Granted(accounts), Some(row)) => {
                let charged = signed(row.cost);
                if charged > held && !accounts.is_empty() {
                    self.counters.above_hold.fetch_add(1, SeqCst);
                    tracing::error!(
                        request_id = row.id,
                        model = row.model,
                        held,
                        charged,
                        "settlement_above_hold: a request cost more than its worst case; this is a defect of a bound"
                    );
                }
                accounts.iter().for_each(|account| account.settle(held, charged));
                self.queue().push(Entry { row, accounts });
            }
            (before, _) => {
                if let State::Granted(accounts) = before {
                    give_back(&accounts, held);
                }
                self.unjournaled.fetch_sub(1, SeqCst);
            }
        }
        drop(state);
        self.open.remove(open);
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks an account for the keeper.
    pub(crate) fn touch(&self, account: &Arc<Account>) {
        if account.mark_dirty() {
            self.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(account));
        }
    }

    /// Holds that are open now, the oldest first.
    pub fn open_holds(&self) -> Vec<OpenHold> {
        self.open.list()
    }
}

/// Undoes what a request took of accounts.
fn give_back(accounts: &[Arc<Account>], held: i64) {
    for account in accounts {
        account.give(held);
        account.give_call();
    }
}

fn give_back_money(accounts: &[Arc<Account>], held: i64) {
    accounts.iter().for_each(|account| account.give(held));
}
