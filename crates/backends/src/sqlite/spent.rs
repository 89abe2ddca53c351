//! What a scope had spent in a window before its account was opened.

use pricing::Nano;
use sqlx::{QueryBuilder, Row, Sqlite as Driver, SqliteConnection};
use store::{ProjectId, ReportFilter, Scope, StoreError, Width, Window};

use super::figures::{nano, unsigned};
use super::names::Tail;
use super::refused;
use super::reports::{Buckets, push_source};
use super::tally::NameKind;

/// Cost and number of the rows of a scope in a window.
pub(super) async fn before(
    connection: &mut SqliteConnection,
    tail: &Tail,
    scope: &Scope,
    window: Window,
) -> Result<(Nano, u64), StoreError> {
    let all = ReportFilter::default();
    let (kind, project, name): (_, &ProjectId, &String) = match scope {
        Scope::Organization => return of_sums(connection, window, &all).await,
        Scope::Project(project) => {
            let filter = ReportFilter { projects: vec![project.clone()], ..all };
            return of_sums(connection, window, &filter).await;
        }
        Scope::Key(key) => {
            let filter = ReportFilter { keys: vec![key.clone()], ..all };
            return of_sums(connection, window, &filter).await;
        }
        Scope::EndUser(project, name) => (NameKind::EndUser, project, name),
        Scope::Run(project, name) => (NameKind::Run, project, name),
        Scope::Tag(project, name) => (NameKind::Tag, project, name),
    };
    let spent = tail.spent(connection, kind, project, name, window).await?;
    Ok((spent.amount, spent.calls))
}

async fn of_sums(
    connection: &mut SqliteConnection,
    window: Window,
    filter: &ReportFilter,
) -> Result<(Nano, u64), StoreError> {
    let mut query = QueryBuilder::<Driver>::new("SELECT sum(sum.cost), sum(sum.requests)");
    let buckets = Buckets { width: width(window), starts_at: window.starts_at, ends_at: window.ends_at };
    push_source(&mut query, "usage_sum", buckets, filter);
    let row = query.build().fetch_one(connection).await.map_err(refused)?;
    let figure = |place| row.try_get::<Option<i64>, _>(place).map_err(refused).map(Option::unwrap_or_default);
    Ok((nano(figure(0)?), unsigned(figure(1)?)))
}

/// The widest buckets that fill a window exactly: every window is whole hours.
fn width(window: Window) -> Width {
    let day = Width::Day.seconds();
    match window.starts_at % day == 0 && (window.ends_at % day == 0 || window.ends_at == i64::MAX) {
        true => Width::Day,
        false => Width::Hour,
    }
}
