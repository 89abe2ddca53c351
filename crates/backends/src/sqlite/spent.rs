//! What a scope had spent in a window before its account was opened; and the sums by end user, run and tag, which say
//! so for these.
//!
//! The names' sums are by hour, because every period is whole hours, and ordered by day before name: what is written
//! now falls into one part of the table, however many names there have ever been, and a window is looked up day by day.

use std::sync::LazyLock;

use pricing::Nano;
use sqlx::{QueryBuilder, Row, Sqlite as Driver, SqliteConnection};
use store::{ProjectId, ReportFilter, Scope, StoreError, UsageRow, Width, Window};

use super::figures::{amount, count, nano, unsigned};
use super::pieces::ManyRows;
use super::refused;
use super::reports::{Buckets, push_source};
use super::rows::push_word;
use super::tally::{NameKind, Spent, Tally};

const HOUR_SECONDS: i64 = 3_600;
const DAY_HOURS: i64 = 24;

static ADD_NAMES: LazyLock<ManyRows> = LazyLock::new(|| {
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
pub(super) type NamePlace = (i64, i64, i64, Vec<u8>, i64);

pub(super) fn name_place(at: i64, project: i64, kind: NameKind, name: &str) -> NamePlace {
    let hours = at.div_euclid(HOUR_SECONDS);
    (hours.div_euclid(DAY_HOURS), project, kind as i64, packed(name), hours.rem_euclid(DAY_HOURS))
}

/// A name as it stands in its column: names under a keyed hash take half the room.
fn packed(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    push_word(&mut bytes, name);
    bytes
}

/// Adds a batch's names to their sums.
pub(super) async fn write_names(connection: &mut SqliteConnection, tally: &Tally<'_>) -> Result<(), StoreError> {
    let place = |(hour, (spent, _)): (&super::tally::NameHour<'_>, &(Spent, _))| {
        (name_place(hour.starts_at, hour.project, hour.kind, hour.name), *spent)
    };
    let mut names: Vec<(NamePlace, Spent)> = tally.names.iter().map(place).collect();
    // In the table's order, so that neighbours are written together.
    names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    ADD_NAMES
        .run(connection, &names, |values, ((day, project, kind, name, hour), spent)| {
            values.push(*day).push(*project).push(*kind).push(name.as_slice()).push(*hour);
            values.push(amount(spent.amount)).push(count(spent.calls));
        })
        .await
}

/// Takes from the sums of a row's names what it cost too much.
pub(super) async fn lower_names(
    connection: &mut SqliteConnection,
    row: &UsageRow,
    project: i64,
    less: Nano,
) -> Result<(), StoreError> {
    for kind in NameKind::ALL {
        let Some(name) = kind.of(row) else { continue };
        let (day, project, kind, name, hour) = name_place(row.began_at, project, kind, name);
        let query = sqlx::query(
            "UPDATE name_sum SET amount = max(amount - ?, 0) WHERE day = ? AND project = ? AND kind = ? AND name = ? \
             AND hour = ?",
        );
        let query = query.bind(amount(less)).bind(day).bind(project).bind(kind).bind(name).bind(hour);
        query.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

/// Cost and number of the rows of a scope in a window.
pub(super) async fn before(
    connection: &mut SqliteConnection,
    scope: &Scope,
    window: Window,
) -> Result<(Nano, u64), StoreError> {
    let named = |kind, project, name| of_names(kind, project, name, window);
    let all = ReportFilter::default();
    let mut query = match scope {
        Scope::Organization => of_sums(window, &all),
        Scope::Project(project) => of_sums(window, &ReportFilter { projects: vec![project.clone()], ..all }),
        Scope::Key(key) => of_sums(window, &ReportFilter { keys: vec![key.clone()], ..all }),
        Scope::EndUser(project, name) => named(NameKind::EndUser, project, name),
        Scope::Run(project, name) => named(NameKind::Run, project, name),
        Scope::Tag(project, name) => named(NameKind::Tag, project, name),
    };
    let row = query.build().fetch_one(connection).await.map_err(refused)?;
    let figure = |place| row.try_get::<Option<i64>, _>(place).map_err(refused).map(Option::unwrap_or_default);
    Ok((nano(figure(0)?), unsigned(figure(1)?)))
}

fn of_sums(window: Window, filter: &ReportFilter) -> QueryBuilder<Driver> {
    let mut query = QueryBuilder::new("SELECT sum(sum.cost), sum(sum.requests)");
    let buckets = Buckets { width: width(window), starts_at: window.starts_at, ends_at: window.ends_at };
    push_source(&mut query, "usage_sum", buckets, filter);
    query
}

/// The widest buckets that fill a window exactly: every window is whole hours.
fn width(window: Window) -> Width {
    let day = Width::Day.seconds();
    match window.starts_at % day == 0 && (window.ends_at % day == 0 || window.ends_at == i64::MAX) {
        true => Width::Day,
        false => Width::Hour,
    }
}

/// The sums of a name, looked up in each day of a window, from the first of which there is something to the last.
pub(super) fn of_names(kind: NameKind, project: &ProjectId, name: &str, window: Window) -> QueryBuilder<Driver> {
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
