//! The ledger's store: lives of processes, leases, estimates, and the one transaction that settles.

use std::sync::{MutexGuard, PoisonError};

use async_trait::async_trait;
use ledger::{Batch, Epoch, Estimate, LeaseState, LedgerStore, WriteError};
use pricing::Nano;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use store::{StoreError, UsageRow};

use super::accounts::Accounts;
use super::figures::{amount, nano};
use super::ids::Ids;
use super::journal::Written;
use super::names::Tail;
use super::registry::{column, text};
use super::series::Known;
use super::sums::Sums;
use super::tally::Tally;
use super::{Sqlite, accounts, alerts, journal, names, refused};

/// Reads estimates with the accounts that they are on.
const ESTIMATES: &str = "SELECT estimate.id, estimate.epoch, estimate.amount, estimate.created_at, account.limit_id, \
                         account.scope_kind, account.scope_id, account.starts_at, account.ends_at FROM estimate \
                         JOIN spend_account account ON account.id = estimate.account";

impl Sqlite {
    /// Takes the remembered numbers out for a transaction; see [`super::series`].
    pub(super) fn take_known(&self) -> Known {
        std::mem::take(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_tail(&self) -> Option<Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The ids of what was written.
    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out whether the last batch was committed, where nobody was told.
    async fn look_for_last(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let Some(sequence) = self.ids().unsure() else { return Ok(()) };
        let is_there = journal::is_there(connection, sequence).await?;
        self.ids().committed(is_there);
        Ok(())
    }

    /// Puts them back, once the transaction is committed.
    pub(super) fn put_known(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

#[async_trait]
impl LedgerStore for Sqlite {
    async fn enter(&self, now: i64) -> Result<Epoch, StoreError> {
        let query = sqlx::query_scalar::<_, i64>(
            "INSERT INTO ledger_epoch (entered_at, is_fenced) VALUES (?, 0) RETURNING epoch",
        );
        query.bind(now).fetch_one(&self.writer).await.map(Epoch).map_err(refused)
    }

    async fn fence_others(&self, epoch: Epoch, now: i64) -> Result<Vec<Estimate>, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        let estimates = fence_others(&mut transaction, epoch, now).await?;
        transaction.commit().await.map_err(refused)?;
        Ok(estimates)
    }

    async fn write(&self, batch: &Batch) -> Result<Vec<LeaseState>, WriteError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        if is_fenced(&mut transaction, batch.epoch).await? {
            return Err(WriteError::Fenced);
        }
        self.look_for_last(&mut transaction).await?;
        let (marks, rows) = self.ids().unwritten(&batch.rows, |row| &row.id);
        // Taken out, and put back once everything is committed: what was made of a batch that was not is forgotten.
        let mut known = self.take_known();
        let mut tail = match self.take_tail() {
            Some(tail) => tail,
            None => Tail::load(&mut transaction).await?,
        };
        let (states, sequence) = write(&mut transaction, &mut known, &mut tail, batch, rows).await?;
        if let Some(sequence) = sequence {
            self.ids().committing(sequence, marks);
        }
        transaction.commit().await.map_err(refused)?;
        self.ids().committed(true);
        self.put_known(known);
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = Some(tail);
        Ok(states)
    }

    async fn estimates(&self) -> Result<Vec<Estimate>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{ESTIMATES} ORDER BY estimate.created_at, estimate.id"));
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(refused)?;
        rows.iter().map(estimate).collect()
    }

    async fn lower_estimate(&self, id: &str, to: Nano) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        let is_lowered = lower_estimate(&mut transaction, id, to).await?;
        transaction.commit().await.map_err(refused)?;
        Ok(is_lowered)
    }
}

/// Lowers a crash estimate; whether there was one that high.
pub(super) async fn lower_estimate(connection: &mut SqliteConnection, id: &str, to: Nano) -> Result<bool, StoreError> {
    let query = sqlx::query(
        "UPDATE spend_account SET settled = max(settled - (estimate.amount - ?1), 0) FROM estimate \
         WHERE estimate.id = ?2 AND estimate.amount >= ?1 AND spend_account.id = estimate.account",
    );
    let result = query.bind(amount(to)).bind(id).execute(&mut *connection).await.map_err(refused)?;
    if result.rows_affected() == 0 {
        return Ok(false);
    }
    // What is known now is a fact, and no estimate any more.
    sqlx::query("DELETE FROM estimate WHERE id = ?").bind(id).execute(connection).await.map_err(refused)?;
    Ok(true)
}

/// Writes a batch, with those of its rows that are new; returns the number of what it added to the journal. The order
/// matters: an account that a target opens begins with what the sums have, this batch's rows included, and so must not
/// be there yet when the rows are settled.
async fn write(
    connection: &mut SqliteConnection,
    known: &mut Known,
    tail: &mut Tail,
    batch: &Batch,
    rows: Vec<&UsageRow>,
) -> Result<(Vec<LeaseState>, Option<i64>), StoreError> {
    let mut tally = Tally::default();
    let written = journal::write(connection, known, batch.epoch, rows, &mut tally).await?;
    if let Some(Written { sequence, rows }) = written {
        let mut sums = Sums::default();
        tally.minutes.iter().for_each(|minute| sums.add(minute));
        sums.write(connection).await?;
        tail.count(connection, &tally.names, rows, sequence).await?;
        names::count_estimated(connection, &tally.estimated_names).await?;
        alerts::count(connection, &tally.minutes, batch.now).await?;
    }
    let mut accounts = Accounts::settle(connection, batch, &tally).await?;
    let states = accounts.lease(connection, tail, &batch.targets, batch.now).await?;
    accounts.write(connection).await?;
    accounts::clear(connection, batch.now).await?;
    Ok((states, written.map(|written| written.sequence)))
}

/// Whether a life has ended. One that never began in this database has none of its leases either.
async fn is_fenced(connection: &mut SqliteConnection, epoch: Epoch) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar::<_, bool>("SELECT is_fenced FROM ledger_epoch WHERE epoch = ?").bind(epoch.0);
    Ok(query.fetch_optional(connection).await.map_err(refused)?.unwrap_or(true))
}

/// Ends every life but one: what is above the watermarks is free again, what is below stays charged as estimates.
async fn fence_others(connection: &mut SqliteConnection, epoch: Epoch, now: i64) -> Result<Vec<Estimate>, StoreError> {
    let query = sqlx::query_scalar::<_, String>(
        "INSERT INTO estimate (id, account, epoch, amount, created_at) \
         SELECT 'estimate_' || epoch || '_' || account, account, epoch, watermark, ? FROM lease \
         WHERE epoch <> ? AND watermark > 0 RETURNING id",
    );
    let ids = query.bind(now).bind(epoch.0).fetch_all(&mut *connection).await.map_err(refused)?;
    let returned = format!(
        "UPDATE spend_account SET leased = max(leased - ended.amount, 0), \
         settled = min(settled + ended.watermark, {}) FROM (SELECT account, sum(amount) AS amount, \
         sum(watermark) AS watermark FROM lease WHERE epoch <> ? GROUP BY account) ended \
         WHERE spend_account.id = ended.account",
        i64::MAX
    );
    let statements =
        [&returned, "DELETE FROM lease WHERE epoch <> ?", "UPDATE ledger_epoch SET is_fenced = 1 WHERE epoch <> ?"];
    for statement in statements {
        let query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(epoch.0);
        query.execute(&mut *connection).await.map_err(refused)?;
    }
    let mut estimates = Vec::with_capacity(ids.len());
    for id in ids {
        let sql = sqlx::AssertSqlSafe(format!("{ESTIMATES} WHERE estimate.id = ?"));
        let row = sqlx::query(sql).bind(id).fetch_one(&mut *connection).await.map_err(refused)?;
        estimates.push(estimate(&row)?);
    }
    Ok(estimates)
}

fn estimate(row: &SqliteRow) -> Result<Estimate, StoreError> {
    Ok(Estimate {
        id: text(row, "id")?,
        account: accounts::key(row)?,
        amount: nano(column(row, "amount")?),
        epoch: Epoch(column(row, "epoch")?),
        created_at: column(row, "created_at")?,
    })
}
