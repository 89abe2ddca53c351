//! Whether the sums say what the journal says: all of both is read, day by day.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use pricing::Unit;
use sqlx::{Row, SqliteConnection};
use store::{StoreError, Width};

use super::figures::{nano, row_amount, row_figure, unsigned};
use super::names::{self, Place as NamePlace, folded_until};
use super::registry::column;
use super::rows::{self, Journaled, Line};
use super::sums::{Place, figure_columns};
use super::tally::{FIGURES, NameKind, Spent};
use super::{Sqlite, journal, refused, usage};

/// Differences that are told; where there are more, the first ones say enough.
const DIFFERENCES_MAX: usize = 100;

const DAY_SECONDS: i64 = Width::Day.seconds();

type Names = BTreeMap<NamePlace, Spent>;

impl Sqlite {
    /// Holds the sums by series, by line and by name against the journal, each day of it. Returns the differences in
    /// words, a hundred at most; none is what there should be. Waits for nobody and nobody waits for it; what is
    /// written meanwhile is not looked at.
    ///
    /// # Errors
    /// When something cannot be read: a damaged batch is an error that says so.
    pub async fn check_sums(&self) -> Result<Vec<String>, StoreError> {
        // One transaction: everything at the same moment.
        let mut read = self.readers.begin().await.map_err(refused)?;
        let mut differences = Vec::new();
        for day in days(&mut read).await? {
            compare_day(&mut read, day, &mut differences).await?;
            if differences.len() >= DIFFERENCES_MAX {
                differences.truncate(DIFFERENCES_MAX);
                break;
            }
        }
        Ok(differences)
    }
}

/// The days, counted from 1970-01-01, that there is something of, on either side.
async fn days(connection: &mut SqliteConnection) -> Result<Vec<i64>, StoreError> {
    let query = sqlx::query_scalar::<_, i64>(
        "WITH RECURSIVE span (first, last) AS (SELECT min(first), max(last) FROM (\
         SELECT min(began_min) AS first, max(began_max) AS last FROM usage_batch \
         UNION ALL SELECT min(starts_at), max(starts_at) FROM usage_sum \
         UNION ALL SELECT min(starts_at), max(starts_at) FROM cost_sum \
         UNION ALL SELECT min(day) * 86400, max(day) * 86400 FROM name_sum)), \
         day (at) AS (SELECT first / 86400 FROM span WHERE first IS NOT NULL \
         UNION ALL SELECT at + 1 FROM day, span WHERE at < last / 86400) SELECT at FROM day",
    );
    query.fetch_all(connection).await.map_err(refused)
}

async fn compare_day(
    connection: &mut SqliteConnection,
    day: i64,
    differences: &mut Vec<String>,
) -> Result<(), StoreError> {
    let mut expected = Expected::default();
    journal::read_projects(connection, 0, &mut expected.projects).await?;
    add_journaled(connection, day, &mut expected).await?;
    for row in estimated(connection, day).await? {
        expected.add(&row)?;
        expected.add_names(&row)?;
    }
    tell("usage_sum", &expected.usage, &of_day(connection, "usage_sum", figure_columns(), day).await?, differences);
    tell("cost_sum", &expected.costs, &of_day(connection, "cost_sum", ["quantity", "amount"], day).await?, differences);
    tell("name_sum", &expected.names, &name_sums(connection, day).await?, differences);
    Ok(())
}

/// What the rows come to, added up in the plainest way: nothing here is shared with what wrote the sums.
#[derive(Default)]
struct Expected {
    projects: HashMap<i64, i64>,
    usage: BTreeMap<Place, [u64; FIGURES]>,
    costs: BTreeMap<Place, [u64; 2]>,
    names: Names,
}

impl Expected {
    fn project(&self, row: &Journaled) -> Result<i64, StoreError> {
        self.projects.get(&row.series).copied().ok_or_else(|| journal::no_series(row.series))
    }

    fn add(&mut self, row: &Journaled) -> Result<(), StoreError> {
        let project = self.project(row)?;
        for width in Width::ALL.map(Width::seconds) {
            let starts_at = row.began_at.div_euclid(width) * width;
            let sum = self.usage.entry((width, starts_at, project, row.series)).or_insert([0; FIGURES]);
            let first = [1, row_figure(row.images), row_amount(row.cost).0];
            let units = Unit::ALL.into_iter().map(|unit| row_figure(row.quantities.of(unit)));
            sum.iter_mut().zip(first.into_iter().chain(units)).for_each(|(sum, figure)| *sum += figure);
            for line in row.lines.iter().filter(|_| width > Width::Minute.seconds()) {
                let sum = self.costs.entry((width, starts_at, project, line.item)).or_default();
                sum[0] += row_figure(line.quantity);
                sum[1] += row_amount(line.amount).0;
            }
        }
        Ok(())
    }

    fn add_names(&mut self, row: &Journaled) -> Result<(), StoreError> {
        let project = self.project(row)?;
        let names = [(NameKind::EndUser, &row.end_user), (NameKind::Run, &row.run), (NameKind::Tag, &row.tag)];
        for (kind, name) in names {
            let Some(name) = name else { continue };
            let sum = self.names.entry(names::place(row.began_at, project, kind, name)).or_default();
            sum.add(Spent::of(row.cost));
        }
        Ok(())
    }
}

/// Adds the rows of batches that began on a day, one batch after the other: a day may have more rows than memory.
async fn add_journaled(connection: &mut SqliteConnection, day: i64, expected: &mut Expected) -> Result<(), StoreError> {
    let (begin, end) = (day * DAY_SECONDS, (day + 1) * DAY_SECONDS);
    // Names of later batches wait to be added.
    let folded = folded_until(connection).await?;
    let query = sqlx::query_scalar::<_, i64>("SELECT sequence FROM usage_batch WHERE began_min < ? AND began_max >= ?");
    let sequences = query.bind(end).bind(begin).fetch_all(&mut *connection).await.map_err(refused)?;
    for sequence in sequences {
        let query = sqlx::query_scalar::<_, Vec<u8>>("SELECT rows FROM usage_batch WHERE sequence = ?").bind(sequence);
        let blob = query.fetch_one(&mut *connection).await.map_err(refused)?;
        for row in rows::read(&blob)?.iter().filter(|row| (begin..end).contains(&row.began_at)) {
            expected.add(row)?;
            if sequence <= folded {
                expected.add_names(row)?;
            }
        }
    }
    Ok(())
}

/// Rows of their own that began on a day.
async fn estimated(connection: &mut SqliteConnection, day: i64) -> Result<Vec<Journaled>, StoreError> {
    let sql = format!("{} WHERE row.began_at >= ? AND row.began_at < ?", usage::SELECT);
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(day * DAY_SECONDS).bind((day + 1) * DAY_SECONDS);
    let mut found = Vec::new();
    for row in query.fetch_all(&mut *connection).await.map_err(refused)? {
        let (series, row) = (column(&row, "series")?, usage::read(&row)?);
        let mut lines = Vec::with_capacity(row.lines.len());
        for line in &row.lines {
            let query = sqlx::query_scalar("SELECT number FROM cost_series WHERE series = ? AND item = ?");
            let query = query.bind(series).bind(&line.item);
            let item = query.fetch_one(&mut *connection).await.map_err(refused)?;
            lines.push(Line { item, quantity: line.quantity, amount: line.amount });
        }
        found.push(Journaled::of(row, series, lines));
    }
    Ok(found)
}

/// A table's sums whose buckets begin on a day: these columns, read by their place, as there are many.
async fn of_day<const N: usize>(
    connection: &mut SqliteConnection,
    table: &str,
    columns: [&str; N],
    day: i64,
) -> Result<BTreeMap<Place, [u64; N]>, StoreError> {
    let columns = columns.join(", ");
    let sql = format!(
        "SELECT width, starts_at, project, series, {columns} FROM {table} WHERE width = ? AND starts_at >= ? \
         AND starts_at < ?"
    );
    let mut sums = BTreeMap::new();
    for width in Width::ALL {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str())).bind(width.seconds());
        let query = query.bind(day * DAY_SECONDS).bind((day + 1) * DAY_SECONDS);
        for row in query.fetch_all(&mut *connection).await.map_err(refused)? {
            let at = |place: usize| row.try_get::<i64, _>(place).map_err(refused);
            let mut figures = [0; N];
            for (place, figure) in figures.iter_mut().enumerate() {
                *figure = unsigned(at(4 + place)?);
            }
            sums.insert((at(0)?, at(1)?, at(2)?, at(3)?), figures);
        }
    }
    Ok(sums)
}

async fn name_sums(connection: &mut SqliteConnection, day: i64) -> Result<Names, StoreError> {
    let rows = sqlx::query("SELECT * FROM name_sum WHERE day = ?").bind(day).fetch_all(connection).await;
    let mut sums = Names::new();
    for row in rows.map_err(refused)? {
        let place =
            (day, column(&row, "project")?, column(&row, "kind")?, column(&row, "name")?, column(&row, "hour")?);
        let amount = nano(column(&row, "amount")?);
        sums.insert(place, Spent { amount, calls: unsigned(column(&row, "calls")?) });
    }
    Ok(sums)
}

/// Tells where two sides differ.
fn tell<K: Ord + Debug, V: PartialEq + Debug>(
    table: &str,
    journal: &BTreeMap<K, V>,
    sums: &BTreeMap<K, V>,
    differences: &mut Vec<String>,
) {
    let differ = journal.iter().filter(|(place, figures)| sums.get(place) != Some(figures));
    differences.extend(differ.map(|(place, figures)| {
        format!("{table} {place:?}: the journal says {figures:?}, the sums {:?}", sums.get(place))
    }));
    let alone = sums.iter().filter(|(place, _)| !journal.contains_key(place));
    differences.extend(
        alone.map(|(place, figures)| format!("{table} {place:?}: the sums say {figures:?}, the journal nothing")),
    );
}
