//! A ledger with its keeper at work, over a store that can be made to fail. Tests that use it run in paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use pricing::Nano;
use store::{Period, Scope, SpendLimit, StoreError, UsageRow};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{TestClock, limit, project, row};
use crate::{
    AccountKey, Batch, Epoch, Estimate, Exceeded, Hold, LeaseState, Ledger, LedgerStore, MemoryStore, Patience,
    Refused, Standing, WriteError, enter, keep,
};

/// 2026-11-24T12:59:00Z: a minute before an hour ends.
pub(super) const BEGIN: i64 = 1_795_525_140;

/// What the store does with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Works,
    Fails,
    /// It writes, and says that it did not.
    LosesAnswers,
    Stalls,
}

/// The store in memory, and what can happen to one.
pub(super) struct Faulty {
    pub(super) memory: MemoryStore,
    mode: watch::Sender<Mode>,
}

impl Faulty {
    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

#[async_trait]
impl LedgerStore for Faulty {
    async fn enter(&self, now: i64) -> Result<Epoch, StoreError> {
        self.memory.enter(now).await
    }

    async fn fence_others(&self, epoch: Epoch, now: i64) -> Result<Vec<Estimate>, StoreError> {
        self.memory.fence_others(epoch, now).await
    }

    async fn write(&self, batch: &Batch) -> Result<Vec<LeaseState>, WriteError> {
        let mut modes = self.mode.subscribe();
        let mode = *modes.wait_for(|mode| *mode != Mode::Stalls).await.expect("the sender is there");
        let is_written = mode != Mode::Fails;
        let states = if is_written { self.memory.write(batch).await? } else { Vec::new() };
        match mode {
            Mode::Works => Ok(states),
            _ => Err(StoreError::Unavailable("the disk is full".into()).into()),
        }
    }

    async fn estimates(&self) -> Result<Vec<Estimate>, StoreError> {
        self.memory.estimates().await
    }

    async fn lower_estimate(&self, id: &str, to: Nano) -> Result<bool, StoreError> {
        self.memory.lower_estimate(id, to).await
    }
}

/// A ledger at work.
pub(super) struct Desk {
    pub(super) ledger: Arc<Ledger>,
    pub(super) store: Arc<Faulty>,
    pub(super) clock: Arc<TestClock>,
    life: Epoch,
    requests: AtomicUsize,
    stop: watch::Sender<bool>,
    keeper: JoinHandle<bool>,
}

impl Desk {
    pub(super) async fn open(limits: Vec<SpendLimit>) -> Desk {
        let store = Arc::new(Faulty { memory: MemoryStore::default(), mode: watch::channel(Mode::Works).0 });
        limits.iter().for_each(|limit| store.memory.put_limit(limit.clone()));
        Desk::again(store, TestClock::at(BEGIN), limits).await
    }

    /// The same store after a restart.
    pub(super) async fn again(store: Arc<Faulty>, clock: Arc<TestClock>, limits: Vec<SpendLimit>) -> Desk {
        let ledger = Ledger::new(limits, clock.clone(), Patience::default());
        let (keeper, _) = enter(&ledger, &*store).await.expect("a life begins");
        let life = keeper.epoch();
        let (stop, stopped) = watch::channel(false);
        let keeper = tokio::spawn(keep(keeper, store.clone(), Arc::clone(&ledger), stopped));
        Desk { ledger, store, clock, life, requests: AtomicUsize::new(0), stop, keeper }
    }

    /// With one limit on `proj_a`'s month.
    pub(super) async fn with(amount: u64) -> Desk {
        Desk::open(vec![monthly(amount)]).await
    }

    /// A request of `proj_a` that comes now.
    pub(super) fn row(&self) -> UsageRow {
        let number = self.requests.fetch_add(1, SeqCst);
        row(&format!("req_{}_{number}", self.life.0), &project("a"), None, store::Clock::unix_seconds(&*self.clock))
    }

    pub(super) async fn hold(&self, amount: u64) -> Result<Hold, Refused> {
        self.ledger.hold(self.row(), Some(Nano(amount))).await
    }

    /// A hold that must be granted.
    pub(super) async fn held(&self, amount: u64) -> Hold {
        self.hold(amount).await.expect("granted")
    }

    /// How the one account of the limit stands.
    pub(super) async fn standing(&self) -> Standing {
        self.ledger.standings("limit_month").await.remove(0)
    }

    pub(super) async fn set(&self, limit: SpendLimit) {
        let changing = self.ledger.begin_change(&limit.id).await;
        self.store.memory.put_limit(limit.clone());
        changing.put(limit).await;
    }

    pub(super) async fn delete(&self, id: &str) {
        let changing = self.ledger.begin_change(id).await;
        self.store.memory.remove_limit(id);
        changing.remove(id).await;
    }

    /// How many end users, runs or tags have an account under a limit.
    pub(super) fn names(&self, limit_id: &str) -> usize {
        self.ledger.book().entry(limit_id).expect("a limit").meters().len()
    }

    pub(super) fn spent(&self) -> u64 {
        self.store.memory.spent().0
    }

    /// Settled and leased in the month, as the store has them.
    pub(super) fn balance(&self) -> (u64, u64) {
        let window = Period::Month.window(BEGIN);
        let account = AccountKey { limit: "limit_month".into(), scope: Scope::Project(project("a")), window };
        let (settled, leased) = self.store.memory.balance(&account);
        (settled.0, leased.0)
    }

    /// Waits until something is so; time flies meanwhile.
    pub(super) async fn until(&self, mut is_so: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came about");
    }

    /// A stop; whether everything was written and returned.
    pub(super) async fn close(self) -> bool {
        self.stop.send_replace(true);
        self.keeper.await.expect("no panic")
    }
}

/// A limit on `proj_a`'s month.
pub(super) fn monthly(amount: u64) -> SpendLimit {
    limit("limit_month", Scope::Project(project("a")), Period::Month, amount)
}

/// Ends a hold with what it cost.
pub(super) fn settle(hold: Hold, cost: u64) {
    let row = UsageRow { cost: Nano(cost), ..hold.row().clone() };
    hold.settle(row);
}

/// A refusal for a limit.
pub(super) fn exceeded(result: Result<Hold, Refused>) -> Exceeded {
    match result {
        Err(Refused::Exceeded(exceeded)) => *exceeded,
        other => panic!("not exceeded: {other:?}"),
    }
}
