//! The journal: every settled request, in batches of bytes.
//!
//! Promise: what the sums say is what the journal says ([`super::Sqlite::check_sums`] holds one against the other).
//! What is known of a request from the beginning is in a batch for ever; what was estimated is a row of its own, which
//! changes when more is known. A row is in one of the two, once.

use std::collections::HashMap;

use ledger::Epoch;
use pricing::Tier;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection, SqlitePool};
use store::{Certainty, CostLine, KeyId, ProjectId, StoreError, UsageKind, UsageRow};

use super::figures::{amount, count};
use super::registry::{column, text};
use super::rows::{self, Journaled, Unreadable, Writer};
use super::series::Known;
use super::tally::Tally;
use super::usage::{self, known_word};
use super::{pieces, refused};

/// Batches that are looked through for one request: it was settled some seconds ago at most where the gate is busy, and
/// hours ago where it is not.
const RECENT_BATCHES: i64 = 64;

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> StoreError {
        StoreError::Corrupt(format!("usage_batch: {unreadable}"))
    }
}

/// What was added to the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// The batch's number.
    pub(super) sequence: i64,
    /// Rows in it: those that are not estimated.
    pub(super) rows: u64,
}

/// Writes new rows and adds them to the tally. Where there are any there is a batch, even if it is empty because they are
/// all estimated: it says that they were committed.
pub(super) async fn write<'a>(
    connection: &mut SqliteConnection,
    known: &mut Known,
    epoch: Epoch,
    rows: Vec<&'a UsageRow>,
    tally: &mut Tally<'a>,
) -> Result<Option<Written>, StoreError> {
    let (estimated, settled): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.certainty == Certainty::Estimated);
    let mut writer = Writer::with_capacity(settled.len());
    for row in settled {
        tally.add(connection, known, row, Some(&mut writer)).await?;
    }
    if !estimated.is_empty() {
        let there = usage::already_there(connection, &estimated).await?;
        let mut numbered = Vec::with_capacity(estimated.len());
        for row in estimated.into_iter().filter(|row| !there.contains(&row.id)) {
            numbered.push((row, tally.add(connection, known, row, None).await?));
        }
        usage::insert(connection, &numbered).await?;
    }
    let Some((began_min, began_max)) = tally.began else { return Ok(None) };
    let query = sqlx::query_scalar::<_, i64>(
        "INSERT INTO usage_batch (epoch, began_min, began_max, count, cost, rows) VALUES (?, ?, ?, ?, ?, ?) \
         RETURNING sequence",
    );
    let rows = writer.count();
    let query = query.bind(epoch.0).bind(began_min).bind(began_max).bind(count(rows));
    let query = query.bind(amount(tally.cost)).bind(writer.finish());
    let sequence = query.fetch_one(connection).await.map_err(refused)?;
    Ok(Some(Written { sequence, rows }))
}

/// The first batch behind another: its number and its rows.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    sequence: i64,
) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let query = sqlx::query_as("SELECT sequence, rows FROM usage_batch WHERE sequence > ? ORDER BY sequence LIMIT 1");
    query.bind(sequence).fetch_optional(connection).await.map_err(refused)
}

/// Reads the projects' numbers of the series behind another.
pub(super) async fn read_projects(
    connection: &mut SqliteConnection,
    after: i64,
    projects: &mut HashMap<i64, i64>,
) -> Result<(), StoreError> {
    let query = sqlx::query_as::<_, (i64, i64)>("SELECT number, project FROM usage_series WHERE number > ?");
    projects.extend(query.bind(after).fetch_all(connection).await.map_err(refused)?);
    Ok(())
}

/// What a row says whose series is not there.
pub(super) fn no_series(number: i64) -> StoreError {
    StoreError::Corrupt(format!("no series has the number {number}"))
}

/// Whether there is a batch of this number.
pub(super) async fn is_there(connection: &mut SqliteConnection, sequence: i64) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar::<_, i64>("SELECT 1 FROM usage_batch WHERE sequence = ?").bind(sequence);
    Ok(query.fetch_optional(connection).await.map_err(refused)?.is_some())
}

/// A settled request, if it is one of the last.
pub(super) async fn recent(readers: &SqlitePool, id: &str) -> Result<Option<UsageRow>, StoreError> {
    let mut connection = readers.acquire().await.map_err(refused)?;
    let last: Option<i64> = sqlx::query_scalar("SELECT max(sequence) FROM usage_batch")
        .fetch_one(&mut *connection)
        .await
        .map_err(refused)?;
    let last = last.unwrap_or_default();
    for sequence in (last.saturating_sub(RECENT_BATCHES)..=last).rev() {
        let query = sqlx::query_scalar::<_, Vec<u8>>("SELECT rows FROM usage_batch WHERE sequence = ?").bind(sequence);
        let Some(blob) = query.fetch_optional(&mut *connection).await.map_err(refused)? else { continue };
        if let Some(found) = rows::read(&blob)?.into_iter().find(|row| row.id == id) {
            return Ok(words(&mut connection, vec![found]).await?.pop());
        }
    }
    Ok(None)
}

/// What a series' number stands for.
struct Words {
    project: ProjectId,
    key: KeyId,
    kind: UsageKind,
    endpoint: &'static str,
    model: String,
    tier: Tier,
}

/// Rows with the words that their numbers stand for.
pub(super) async fn words(
    connection: &mut SqliteConnection,
    journaled: Vec<Journaled>,
) -> Result<Vec<UsageRow>, StoreError> {
    let numbers: Vec<i64> = sorted(journaled.iter().map(|row| row.series));
    let items: Vec<i64> = sorted(journaled.iter().flat_map(|row| &row.lines).map(|line| line.item));
    let mut series = HashMap::new();
    let select = "SELECT number, key_id, kind, endpoint, model, tier, (SELECT id FROM report_project \
                  WHERE report_project.number = usage_series.project) AS project_id FROM usage_series WHERE number IN (";
    for row in select_numbers(connection, select, &numbers).await? {
        series.insert(column::<i64>(&row, "number")?, read_words(&row)?);
    }
    let mut names = HashMap::new();
    for row in select_numbers(connection, "SELECT number, item FROM cost_series WHERE number IN (", &items).await? {
        names.insert(column::<i64>(&row, "number")?, text(&row, "item")?);
    }
    journaled.into_iter().map(|row| worded(row, &series, &names)).collect()
}

fn sorted(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

async fn select_numbers(
    connection: &mut SqliteConnection,
    select: &str,
    numbers: &[i64],
) -> Result<Vec<SqliteRow>, StoreError> {
    let mut found = Vec::with_capacity(numbers.len());
    for piece in pieces::pieces(numbers) {
        let mut query = QueryBuilder::<Driver>::new(select);
        let mut list = query.separated(", ");
        piece.iter().for_each(|number| {
            list.push_bind(*number);
        });
        query.push(")");
        found.extend(query.build().fetch_all(&mut *connection).await.map_err(refused)?);
    }
    Ok(found)
}

fn read_words(row: &SqliteRow) -> Result<Words, StoreError> {
    Ok(Words {
        project: ProjectId::new(text(row, "project_id")?),
        key: KeyId::new(text(row, "key_id")?),
        kind: known_word("kind of usage", &text(row, "kind")?, UsageKind::from_word)?,
        endpoint: usage::endpoint(&text(row, "endpoint")?),
        model: text(row, "model")?,
        tier: known_word("tier", &text(row, "tier")?, Tier::from_word)?,
    })
}

fn worded(row: Journaled, series: &HashMap<i64, Words>, items: &HashMap<i64, String>) -> Result<UsageRow, StoreError> {
    let words = series.get(&row.series).ok_or_else(|| no_series(row.series))?;
    let no_line = |number: i64| StoreError::Corrupt(format!("no line of bills has the number {number}"));
    let line = |line: &rows::Line| {
        let item = items.get(&line.item).ok_or_else(|| no_line(line.item))?.clone();
        Ok(CostLine { item, quantity: line.quantity, amount: line.amount })
    };
    Ok(UsageRow {
        id: row.id,
        began_at: row.began_at,
        settled_at: row.settled_at,
        project: words.project.clone(),
        key: words.key.clone(),
        end_user: row.end_user,
        run: row.run,
        tag: row.tag,
        kind: words.kind,
        endpoint: words.endpoint,
        model: words.model.clone(),
        tier: words.tier,
        images: row.images,
        quantities: row.quantities,
        cost: row.cost,
        lines: row.lines.iter().map(line).collect::<Result<_, StoreError>>()?,
        certainty: row.certainty,
    })
}
