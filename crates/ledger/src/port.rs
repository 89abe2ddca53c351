//! What the ledger asks of a store, and what it must hold to.
//!
//! The store keeps, per account: limit, settled, leased; and per process and account a lease: amount and watermark.
//! What it must hold to, in every transaction and over all processes:
//!
//! - a lease grows only by what settled + leased ≤ limit leaves room for; one above that room, because the limit was
//!   lowered, shrinks to it, but not below what is in use;
//! - a usage row moves its cost from leased to settled in the transaction that writes it, and once: a writer that got no
//!   answer, or an error, sends its rows again, and what was written before is passed over by its id; for that a store
//!   remembers at least the last [`crate::UNJOURNALED_MAX`] rows of every writer that may still send some. A row is
//!   always recorded, also above the limit;
//! - a fenced process writes nothing any more; its leases end: above the watermark at once, below it as a charge that
//!   stays visible as an [`Estimate`] until a later fact lowers it.
//!
//! [`crate::conformance`] is the suite that says so to every backend.

use async_trait::async_trait;
use pricing::Nano;
use store::{Scope, StoreError, UsageRow, Window};

/// One life of a process, as the store numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// Which account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// The limit that it belongs to.
    pub limit: String,
    /// Whose: the limit's own scope, or one end user, run or tag of a limit for each.
    pub scope: Scope,
    /// When.
    pub window: Window,
}

/// What this process wants of an account: absolute figures, so that saying them twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseTarget {
    /// Which account; made with what was spent before if it is not there yet.
    pub account: AccountKey,
    /// The lease, after the batch's rows were settled from it: more is granted as far as there is room, less is
    /// returned.
    pub amount: Nano,
    /// How much of it may be in use before this process writes again.
    pub watermark: Nano,
    /// How much of it is in use: that much is not called back when the limit was lowered.
    pub in_use: Nano,
}

/// An account and this process's lease on it, after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseState {
    /// The lease.
    pub amount: Nano,
    /// How much of it may be in use.
    pub watermark: Nano,
    /// The limit in force; `None` when there is none any more.
    pub limit: Option<Nano>,
    /// Settled, estimates included.
    pub settled: Nano,
    /// Leased by all processes, this one included.
    pub leased: Nano,
    /// Calls settled.
    pub calls: u64,
}

/// What a process writes in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Who writes.
    pub epoch: Epoch,
    /// When, Unix seconds.
    pub now: i64,
    /// Settled requests.
    pub rows: Vec<UsageRow>,
    /// Leases.
    pub targets: Vec<LeaseTarget>,
    /// The writer's own earlier life, if it was fenced: the rows are its holds', and lower its estimates.
    pub formerly: Option<Epoch>,
}

/// Why a batch was not written. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The process was taken for dead, and its leases are gone: it must begin a new life.
    #[error("this process was fenced: its leases were taken back while it did not answer")]
    Fenced,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a dead process may have spent without anybody knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// Id, `estimate_…`.
    pub id: String,
    /// On which account.
    pub account: AccountKey,
    /// Charged until a later fact lowers it.
    pub amount: Nano,
    /// Whose.
    pub epoch: Epoch,
    /// Since when, Unix seconds.
    pub created_at: i64,
}

impl Estimate {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "estimate_";
}

/// The store, as the ledger sees it.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// Begins a life.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn enter(&self, now: i64) -> Result<Epoch, StoreError>;

    /// Ends every other life: for stores that one process has to itself. Returns what they may have spent.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn fence_others(&self, epoch: Epoch, now: i64) -> Result<Vec<Estimate>, StoreError>;

    /// Writes a batch, durably and at once; the states are in the targets' order.
    ///
    /// # Errors
    /// Then nothing of it was written.
    async fn write(&self, batch: &Batch) -> Result<Vec<LeaseState>, WriteError>;

    /// The estimates that still charge something.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn estimates(&self) -> Result<Vec<Estimate>, StoreError>;

    /// Lowers an estimate to what is known now; whether there was one that high. What is known is a fact from then on:
    /// it stays charged, and is no estimate any more.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn lower_estimate(&self, id: &str, to: Nano) -> Result<bool, StoreError>;
}
