//! What a scope had spent in a window before its account was opened.

use pricing::Nano;
use sqlx::{QueryBuilder, Row, Sqlite as Driver, SqliteConnection};
use store::{ReportFilter, Scope, StoreError, Width, Window};

use super::figures::{nano, unsigned};
use super::refused;
use super::reports::{Buckets, push_source};

/// Cost and number of the rows of a scope in a window.
///
/// The sums tell it for the organization, a project and a key, where buckets fill the window: every period's do. End
/// users, runs and tags are in no sum; their rows have an index each.
pub(super) async fn before(
    connection: &mut SqliteConnection,
    scope: &Scope,
    window: Window,
) -> Result<(Nano, u64), StoreError> {
    let mut query = match (of_sums(scope), width(window)) {
        (Some(filter), Some(width)) => {
            let mut query = QueryBuilder::<Driver>::new("SELECT sum(sum.cost), sum(sum.requests)");
            let buckets = Buckets { width, starts_at: window.starts_at, ends_at: window.ends_at };
            push_source(&mut query, "usage_sum", buckets, &filter);
            query
        }
        _ => of_rows(scope, window),
    };
    let row = query.build().fetch_one(connection).await.map_err(refused)?;
    let figure = |place| row.try_get::<Option<i64>, _>(place).map_err(refused).map(Option::unwrap_or_default);
    Ok((nano(figure(0)?), unsigned(figure(1)?)))
}

fn of_sums(scope: &Scope) -> Option<ReportFilter> {
    match scope {
        Scope::Organization => Some(ReportFilter::default()),
        Scope::Project(project) => Some(ReportFilter { projects: vec![project.clone()], ..ReportFilter::default() }),
        Scope::Key(key) => Some(ReportFilter { keys: vec![key.clone()], ..ReportFilter::default() }),
        Scope::EndUser(..) | Scope::Run(..) | Scope::Tag(..) => None,
    }
}

/// The widest buckets that fill a window exactly.
fn width(window: Window) -> Option<Width> {
    let fills = |width: &Width| {
        let seconds = width.seconds();
        window.starts_at % seconds == 0 && (window.ends_at % seconds == 0 || window.ends_at == i64::MAX)
    };
    [Width::Day, Width::Hour, Width::Minute].into_iter().find(fills)
}

pub(super) fn of_rows(scope: &Scope, window: Window) -> QueryBuilder<Driver> {
    let mut query = QueryBuilder::new("SELECT sum(cost), count(*) FROM usage_row WHERE began_at >= ");
    query.push_bind(window.starts_at).push(" AND began_at < ").push_bind(window.ends_at);
    let mut in_project = |column: &str, project: &store::ProjectId, name: &str| {
        query.push(" AND project = (SELECT number FROM report_project WHERE id = ").push_bind(project.as_str());
        query.push(") AND ").push(column).push(" = ").push_bind(name);
    };
    match scope {
        Scope::Organization => {}
        Scope::Project(project) => {
            query.push(" AND project = (SELECT number FROM report_project WHERE id = ");
            query.push_bind(project.as_str()).push(")");
        }
        Scope::Key(key) => {
            query.push(" AND series IN (SELECT number FROM usage_series WHERE key_id = ");
            query.push_bind(key.as_str()).push(")");
        }
        Scope::EndUser(project, name) => in_project("end_user", project, name),
        Scope::Run(project, name) => in_project("run", project, name),
        Scope::Tag(project, name) => in_project("tag", project, name),
    }
    query
}
