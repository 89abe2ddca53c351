//! The keeper at work: turns of its plan against the store, for as long as the process runs.
//!
//! Promises: at most one write in [`PACE`] unless a request waits; a store that fails is asked again ever more slowly;
//! at the end everything that is settled is written and every lease returned, if the store can be written.

use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::keeper::Keeper;
use crate::ledger::Ledger;
use crate::port::{Estimate, LedgerStore, WriteError};

/// Time between two writes when nobody waits: what a crash can lose of settled requests' ends, all of it covered by
/// the watermark.
pub const PACE: Duration = Duration::from_millis(50);

/// First and longest pause after a write that failed.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// Writes tried at a stop.
const LAST_WRITES_MAX: u32 = 50;

/// Begins a life in the store; what earlier lives left is settled, and returned to be logged.
///
/// # Errors
/// When the store cannot be written.
pub async fn enter(ledger: &Arc<Ledger>, store: &dyn LedgerStore) -> Result<(Keeper, Vec<Estimate>), StoreError> {
    let now = ledger.clock.unix_seconds();
    let epoch = store.enter(now).await?;
    let estimates = store.fence_others(epoch, now).await?;
    Ok((Keeper::new(Arc::clone(ledger), epoch), estimates))
}

/// Keeps until `stop` says so, then writes what is left. Whether all of it was written is returned.
pub async fn keep(
    mut keeper: Keeper,
    store: Arc<dyn LedgerStore>,
    ledger: Arc<Ledger>,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let mut retry = RETRY_FIRST;
    loop {
        let pace = tokio::time::sleep(PACE);
        tokio::select! {
            () = pace => {}
            () = ledger.urgent.notified() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        if turn(&mut keeper, &*store, &ledger).await {
            retry = RETRY_FIRST;
        } else {
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_LAST);
        }
    }
    keeper.close();
    for _ in 0..LAST_WRITES_MAX {
        if !turn(&mut keeper, &*store, &ledger).await {
            tokio::time::sleep(RETRY_FIRST).await;
        }
        if keeper.is_at_rest() {
            return true;
        }
    }
    false
}

/// One turn; whether it was written.
async fn turn(keeper: &mut Keeper, store: &dyn LedgerStore, ledger: &Ledger) -> bool {
    let _turning = ledger.turning.lock().await;
    let Some(turn) = keeper.plan() else { return true };
    let began = Instant::now();
    match store.write(&turn.batch).await {
        Ok(states) => {
            keeper.written(turn, &states);
            if began.elapsed() > Duration::from_secs(1) {
                tracing::warn!(elapsed = ?began.elapsed(), "the ledger's store is slow");
            }
            true
        }
        Err(error) => {
            tracing::error!(%error, "the ledger's store cannot be written; requests go on as far as leased money covers them");
            keeper.not_written(turn, &error);
            if matches!(error, WriteError::Fenced)
                && let Ok(epoch) = store.enter(ledger.clock.unix_seconds()).await
            {
                keeper.reborn(epoch);
            }
            false
        }
    }
}
