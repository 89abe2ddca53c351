//! What each end user, run and tag spent in each hour: asked when a limit's account is made.
//!
//! Sums by name are written seldom and together: one name's sum shares its page of the database with hardly another
//! of the same batch, and a page costs as much as several rows. So names of settled rows wait in memory, in a [`Tail`],
//! until they are many; meanwhile the journal has them, and the tail is made of it again when it is lost. Estimated
//! rows, which are few and may be lowered, are added at once.
//!
//! Promise: `name_sum`, and the rows of the batches behind `name_fold`, are what all rows come to. The order of the
//! table is by day before name: what is written now falls into one part of it, however many names there have ever been.

use std::collections::HashMap;
use std::sync::LazyLock;

use pricing::Nano;
use sqlx::{QueryBuilder, Row, Sqlite as Driver, SqliteConnection};
use store::{ProjectId, StoreError, UsageRow, Window};

use super::figures::{amount, count, nano, unsigned};
use super::pieces::ManyRows;
use super::rows::{self, push_word};
use super::tally::{NameHour, NameKind, Spent};
use super::{journal, refused};

const HOUR_SECONDS: i64 = 3_600;
const DAY_HOURS: i64 = 24;

/// Sums that wait at most: some 5 MB. With ten times as many names in a day, three share each page that is written.
const WAITING_MAX: usize = if cfg!(test) { 8 } else { 32_768 };

/// Rows and batches behind the last fold at most: so many are read again after a restart, in some tenths of a second.
const ROWS_MAX: u64 = if cfg!(test) { 100 } else { 262_144 };
const BATCHES_MAX: u64 = if cfg!(test) { 30 } else { 4_096 };

static ADD: LazyLock<ManyRows> = LazyLock::new(|| {
    let most = i64::MAX;
    ManyRows::new(
        "INSERT INTO name_sum (day, project, kind, name, hour, amount, calls)",
        7,
        &format!(
            "ON CONFLICT DO UPDATE SET amount = min(amount + excluded.amount, {most}), \
             calls = min(calls + excluded.calls, {most})"
        ),
    )
});

/// Where the sum of a name and hour stands: day, project, kind, name, hour of the day.
pub(super) type Place = (i64, i64, i64, Vec<u8>, i64);

/// The place of a name's sum at a moment.
pub(super) fn place(at: i64, project: i64, kind: NameKind, name: &str) -> Place {
    place_of(at.div_euclid(HOUR_SECONDS), &Name { project, kind, packed: packed(name) })
}

fn place_of(hour: i64, name: &Name) -> Place {
    let Name { project, kind, packed } = name;
    (hour.div_euclid(DAY_HOURS), *project, *kind as i64, packed.clone(), hour.rem_euclid(DAY_HOURS))
}

/// A name as it stands in its column: names under a keyed hash take half the room.
fn packed(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    push_word(&mut bytes, name);
    bytes
}

/// Whose sums.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    project: i64,
    kind: NameKind,
    packed: Vec<u8>,
}

/// Sums of the names of settled rows that are not in `name_sum` yet: of all batches behind `name_fold`.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// By hour, counted from 1970.
    by_name: HashMap<Name, Vec<(i64, Spent)>>,
    sums: usize,
    rows: u64,
    batches: u64,
}

impl Tail {
    /// What the journal has behind the last fold.
    pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Tail, StoreError> {
        let mut tail = Tail::default();
        let mut projects = HashMap::new();
        let (mut sequence, mut series) = (folded_until(connection).await?, 0);
        while let Some((next, blob)) = journal::after(connection, sequence).await? {
            let rows = rows::read(&blob)?;
            // Series are numbered as they come, so those that are not known yet are behind the last.
            if rows.iter().any(|row| !projects.contains_key(&row.series)) {
                journal::read_projects(connection, series, &mut projects).await?;
                series = projects.keys().copied().max().unwrap_or(0);
            }
            for row in &rows {
                let project = *projects.get(&row.series).ok_or_else(|| journal::no_series(row.series))?;
                let names = [(NameKind::EndUser, &row.end_user), (NameKind::Run, &row.run), (NameKind::Tag, &row.tag)];
                for (kind, name) in names {
                    let Some(name) = name else { continue };
                    tail.add(row.began_at, project, kind, name, Spent::of(row.cost));
                }
            }
            tail.rows += rows.len() as u64;
            tail.batches += 1;
            sequence = next;
        }
        Ok(tail)
    }

    /// Adds what the journaled rows of a batch come to, and writes all that waits when it is much. `sequence` is the
    /// batch's.
    pub(super) async fn count(
        &mut self,
        connection: &mut SqliteConnection,
        names: &HashMap<NameHour<'_>, (Spent, &UsageRow)>,
        rows: u64,
        sequence: i64,
    ) -> Result<(), StoreError> {
        for (hour, (spent, _)) in names {
            self.add(hour.starts_at, hour.project, hour.kind, hour.name, *spent);
        }
        self.rows += rows;
        self.batches += 1;
        if self.sums < WAITING_MAX && self.rows < ROWS_MAX && self.batches < BATCHES_MAX {
            return Ok(());
        }
        let waiting = std::mem::take(self).by_name;
        let places = |(name, hours): (Name, Vec<(i64, Spent)>)| {
            hours.into_iter().map(move |(hour, spent)| (place_of(hour, &name), spent))
        };
        add(connection, waiting.into_iter().flat_map(places).collect()).await?;
        let query = sqlx::query("UPDATE name_fold SET until = ?").bind(sequence);
        query.execute(connection).await.map_err(refused)?;
        Ok(())
    }

    fn add(&mut self, at: i64, project: i64, kind: NameKind, name: &str, spent: Spent) {
        let hour = at.div_euclid(HOUR_SECONDS);
        let hours = self.by_name.entry(Name { project, kind, packed: packed(name) }).or_default();
        match hours.iter_mut().find(|(known, _)| *known == hour) {
            Some((_, sum)) => sum.add(spent),
            None => {
                hours.push((hour, spent));
                self.sums += 1;
            }
        }
    }

    /// What a name spent in a window, what waits included.
    pub(super) async fn spent(
        &self,
        connection: &mut SqliteConnection,
        kind: NameKind,
        project: &ProjectId,
        name: &str,
        window: Window,
    ) -> Result<Spent, StoreError> {
        let row = stored(kind, project, name, window).build().fetch_one(&mut *connection).await.map_err(refused)?;
        let figure = |place| row.try_get::<Option<i64>, _>(place).map_err(refused).map(Option::unwrap_or_default);
        let mut spent = Spent { amount: nano(figure(0)?), calls: unsigned(figure(1)?) };
        let query = sqlx::query_scalar::<_, i64>("SELECT number FROM report_project WHERE id = ?");
        let number = query.bind(project.as_str()).fetch_optional(connection).await.map_err(refused)?;
        let name = number.map(|project| Name { project, kind, packed: packed(name) });
        for (hour, waiting) in name.and_then(|name| self.by_name.get(&name)).into_iter().flatten() {
            if window.contains(hour * HOUR_SECONDS) {
                spent.add(*waiting);
            }
        }
        Ok(spent)
    }
}

/// The last batch whose names are in `name_sum`.
pub(super) async fn folded_until(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT until FROM name_fold").fetch_one(connection).await.map_err(refused)
}

/// Adds what the estimated rows of a batch come to.
pub(super) async fn count_estimated(
    connection: &mut SqliteConnection,
    names: &HashMap<NameHour<'_>, (Spent, &UsageRow)>,
) -> Result<(), StoreError> {
    let sum = |(hour, (spent, _)): (&NameHour<'_>, &(Spent, _))| {
        (place(hour.starts_at, hour.project, hour.kind, hour.name), *spent)
    };
    add(connection, names.iter().map(sum).collect()).await
}

async fn add(connection: &mut SqliteConnection, mut sums: Vec<(Place, Spent)>) -> Result<(), StoreError> {
    // In the table's order, so that neighbours are written together.
    sums.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    ADD.run(connection, &sums, |values, ((day, project, kind, name, hour), spent)| {
        values.push(*day).push(*project).push(*kind).push(name.as_slice()).push(*hour);
        values.push(amount(spent.amount)).push(count(spent.calls));
    })
    .await
}

/// Takes from the sums of an estimated row's names what it cost too much.
pub(super) async fn lower(
    connection: &mut SqliteConnection,
    row: &UsageRow,
    project: i64,
    less: Nano,
) -> Result<(), StoreError> {
    for kind in NameKind::ALL {
        let Some(name) = kind.of(row) else { continue };
        let (day, project, kind, name, hour) = place(row.began_at, project, kind, name);
        let query = sqlx::query(
            "UPDATE name_sum SET amount = max(amount - ?, 0) WHERE day = ? AND project = ? AND kind = ? AND name = ? \
             AND hour = ?",
        );
        let query = query.bind(amount(less)).bind(day).bind(project).bind(kind).bind(name).bind(hour);
        query.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

/// The stored sums of a name, looked up in each day of a window, from the first of which there is something to the
/// last.
pub(super) fn stored(kind: NameKind, project: &ProjectId, name: &str, window: Window) -> QueryBuilder<Driver> {
    let first = window.starts_at.div_euclid(HOUR_SECONDS);
    let end = window.ends_at.div_euclid(HOUR_SECONDS);
    let mut query = QueryBuilder::new("WITH RECURSIVE day (at) AS (SELECT max(");
    query.push_bind(first.div_euclid(DAY_HOURS)).push(", (SELECT min(day) FROM name_sum)) UNION ALL ");
    query.push("SELECT at + 1 FROM day WHERE at < min(").push_bind(end.div_euclid(DAY_HOURS));
    query.push(", (SELECT max(day) FROM name_sum))) SELECT sum(sum.amount), sum(sum.calls) FROM day ");
    query.push("CROSS JOIN name_sum sum ON sum.day = day.at AND sum.project = (SELECT number FROM report_project ");
    query.push("WHERE id = ").push_bind(project.as_str()).push(") AND sum.kind = ").push_bind(kind as i64);
    query.push(" AND sum.name = ").push_bind(packed(name));
    query.push(" WHERE sum.day * ").push_bind(DAY_HOURS).push(" + sum.hour >= ").push_bind(first);
    query.push(" AND sum.day * ").push_bind(DAY_HOURS).push(" + sum.hour < ").push_bind(end);
    query
}
