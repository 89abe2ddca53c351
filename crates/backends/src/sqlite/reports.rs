//! Usage and costs, read from the sums.
//!
//! Promise: a report that names its projects or keys reads those projects' part of each bucket and nothing else, however
//! many rows and projects there are.

use async_trait::async_trait;
use pricing::{Nano, Quantities, Tier, Unit};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver};
use store::{
    CostSum, Grouping, KeyId, ProjectId, ReportFilter, ReportQuery, Reports, StoreError, UsageRow, UsageSum, Width,
};

use super::figures::{nano, unsigned};
use super::registry::{column, text};
use super::usage::known_word;
use super::{Sqlite, refused, usage};

/// Most buckets that are looked up one by one. More (the API asks for 1,440 at most) are read as a range.
const BUCKETS_MAX: i64 = 10_000;

/// Buckets of a width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    pub(super) width: Width,
    pub(super) starts_at: i64,
    pub(super) ends_at: i64,
}

/// Pushes `FROM … WHERE …`: the sums of some buckets as `sum`, each with its `series` and, of costs, its `item`.
pub(super) fn push_source(query: &mut QueryBuilder<Driver>, table: &str, buckets: Buckets, filter: &ReportFilter) {
    let Buckets { width, starts_at, ends_at } = buckets;
    let seconds = width.seconds();
    let is_for_some = !filter.projects.is_empty() || !filter.keys.is_empty();
    let is_short = ends_at.saturating_sub(starts_at) / seconds <= BUCKETS_MAX;
    if is_for_some && is_short {
        // The order of the joins is ours: bucket by bucket, a project's part of each.
        let first = starts_at.div_euclid(seconds) * seconds + if starts_at % seconds == 0 { 0 } else { seconds };
        query.push(" FROM (WITH RECURSIVE bucket (at) AS (SELECT ").push_bind(first);
        query.push(" UNION ALL SELECT at + ").push_bind(seconds).push(" FROM bucket WHERE at + ").push_bind(seconds);
        query.push(" < ").push_bind(ends_at).push(") SELECT at FROM bucket WHERE at < ").push_bind(ends_at);
        query.push(") bucket CROSS JOIN ").push(table).push(" sum ON sum.width = ").push_bind(seconds);
        query.push(" AND sum.starts_at = bucket.at AND sum.project IN (");
        push_projects(query, filter);
        query.push(")");
        push_series(query, table);
        query.push(" WHERE 1");
    } else {
        query.push(" FROM ").push(table).push(" sum");
        push_series(query, table);
        query.push(" WHERE sum.width = ").push_bind(seconds).push(" AND sum.starts_at >= ").push_bind(starts_at);
        query.push(" AND sum.starts_at < ").push_bind(ends_at);
        if is_for_some {
            query.push(" AND sum.project IN (");
            push_projects(query, filter);
            query.push(")");
        }
    }
    push_filter(query, filter);
}

fn ids(projects: &[ProjectId]) -> impl Iterator<Item = &str> {
    projects.iter().map(ProjectId::as_str)
}

/// Pushes what a filter says of the series.
fn push_filter(query: &mut QueryBuilder<Driver>, filter: &ReportFilter) {
    push_list(query, "series.key_id", filter.keys.iter().map(KeyId::as_str));
    push_list(query, "series.model", filter.models.iter().map(String::as_str));
    push_list(query, "series.tier", filter.tiers.iter().map(|tier| tier.word()));
    push_list(query, "series.kind", filter.kinds.iter().map(|kind| kind.word()));
}

fn push_series(query: &mut QueryBuilder<Driver>, table: &str) {
    query.push(match table {
        "cost_sum" => {
            " CROSS JOIN cost_series line ON line.number = sum.series \
             CROSS JOIN usage_series series ON series.number = line.series"
        }
        _ => " CROSS JOIN usage_series series ON series.number = sum.series",
    });
}

/// Pushes a query for the numbers of the projects in question: those named, or those that the named keys spend for.
fn push_projects(query: &mut QueryBuilder<Driver>, filter: &ReportFilter) {
    if filter.projects.is_empty() {
        query.push("SELECT project FROM usage_series WHERE 1");
        push_list(query, "key_id", filter.keys.iter().map(KeyId::as_str));
    } else {
        query.push("SELECT number FROM report_project WHERE 1");
        push_list(query, "id", ids(&filter.projects));
    }
}

/// Pushes `AND column IN (…)`, unless the list is empty.
fn push_list<'a>(query: &mut QueryBuilder<Driver>, column: &str, values: impl Iterator<Item = &'a str>) {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return;
    }
    query.push(" AND ").push(column).push(" IN (");
    let mut list = query.separated(", ");
    values.for_each(|value| {
        list.push_bind(value);
    });
    query.push(")");
}

/// The name of a grouping's column, and what it is read from.
fn grouped(grouping: Grouping) -> (&'static str, &'static str) {
    match grouping {
        Grouping::Project => ("project_id", "(SELECT id FROM report_project WHERE number = sum.project)"),
        Grouping::Key => ("key_id", "series.key_id"),
        Grouping::Model => ("model", "series.model"),
        Grouping::Tier => ("tier", "series.tier"),
        Grouping::Endpoint => ("endpoint", "series.endpoint"),
        Grouping::Item => ("item", "item"),
    }
}

/// Makes a report's query: `figures` of `table`, by bucket and by each of `groupings`.
fn report(query: &ReportQuery, table: &str, figures: &str, groupings: &[Grouping]) -> QueryBuilder<Driver> {
    let mut sql = QueryBuilder::new("SELECT sum.starts_at AS starts_at, ");
    for grouping in groupings {
        let (name, source) = grouped(*grouping);
        sql.push(source).push(" AS ").push(name).push(", ");
    }
    sql.push(figures);
    let buckets = Buckets { width: query.width, starts_at: query.starts_at, ends_at: query.ends_at };
    push_source(&mut sql, table, buckets, &query.filter);
    // Where the buckets are read in their order, this sorts each of them alone.
    let names = groupings.iter().map(|grouping| grouped(*grouping).0);
    let columns = ["sum.starts_at"].into_iter().chain(names).collect::<Vec<_>>().join(", ");
    sql.push(" GROUP BY ").push(&columns).push(" ORDER BY ").push(&columns);
    sql
}

/// What a query groups by, each once, of what a report can tell apart.
fn groupings(query: &ReportQuery, known: &[Grouping]) -> Vec<Grouping> {
    known.iter().copied().filter(|grouping| query.group_by.contains(grouping)).collect()
}

/// A row of a report.
struct Group<'a> {
    row: &'a SqliteRow,
    groupings: &'a [Grouping],
}

impl Group<'_> {
    /// A member that is told apart, or `None`.
    fn member(&self, grouping: Grouping) -> Result<Option<String>, StoreError> {
        self.groupings.contains(&grouping).then(|| text(self.row, grouped(grouping).0)).transpose()
    }

    fn figure(&self, name: &str) -> Result<u64, StoreError> {
        Ok(unsigned(column(self.row, name)?))
    }

    fn usage(&self) -> Result<UsageSum, StoreError> {
        let mut quantities = Quantities::default();
        for unit in Unit::ALL {
            quantities.set(unit, self.figure(unit.word())?);
        }
        let tier = self.member(Grouping::Tier)?;
        Ok(UsageSum {
            starts_at: column(self.row, "starts_at")?,
            project: self.member(Grouping::Project)?.map(ProjectId::new),
            key: self.member(Grouping::Key)?.map(KeyId::new),
            model: self.member(Grouping::Model)?,
            tier: tier.map(|word| known_word("tier", &word, Tier::from_word)).transpose()?,
            endpoint: self.member(Grouping::Endpoint)?,
            requests: self.figure("requests")?,
            images: self.figure("images")?,
            cost: nano(column(self.row, "cost")?),
            quantities,
        })
    }

    fn costs(&self) -> Result<CostSum, StoreError> {
        let item = self.member(Grouping::Item)?;
        Ok(CostSum {
            starts_at: column(self.row, "starts_at")?,
            project: self.member(Grouping::Project)?.map(ProjectId::new),
            key: self.member(Grouping::Key)?.map(KeyId::new),
            quantity: item.is_some().then(|| self.figure("quantity")).transpose()?,
            item,
            amount: nano(column(self.row, "amount")?),
        })
    }
}

#[async_trait]
impl Reports for Sqlite {
    async fn usage(&self, query: &ReportQuery) -> Result<Vec<UsageSum>, StoreError> {
        let known = [Grouping::Project, Grouping::Key, Grouping::Model, Grouping::Tier, Grouping::Endpoint];
        let groupings = groupings(query, &known);
        let figures = ["requests", "images", "cost"].into_iter().chain(Unit::ALL.into_iter().map(Unit::word));
        let figures = figures.map(|name| format!("sum(sum.{name}) AS {name}")).collect::<Vec<_>>().join(", ");
        let mut sql = report(query, "usage_sum", &figures, &groupings);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(refused)?;
        rows.iter().map(|row| Group { row, groupings: &groupings }.usage()).collect()
    }

    async fn costs(&self, query: &ReportQuery) -> Result<Vec<CostSum>, StoreError> {
        let groupings = groupings(query, &[Grouping::Project, Grouping::Key, Grouping::Item]);
        if query.width == Width::Minute && groupings.contains(&Grouping::Item) {
            return Err(StoreError::Unavailable("costs by line are summed by hour and day, not by minute".into()));
        }
        // Whole rows' costs stand in the usage sums, which are fewer than those of lines.
        let (table, figures) = match groupings.contains(&Grouping::Item) {
            true => ("cost_sum", "sum(sum.quantity) AS quantity, sum(sum.amount) AS amount"),
            false => ("usage_sum", "sum(sum.cost) AS amount"),
        };
        let mut sql = report(query, table, figures, &groupings);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(refused)?;
        rows.iter().map(|row| Group { row, groupings: &groupings }.costs()).collect()
    }

    async fn estimated_rows(&self, before: Option<&str>, at_most: u32) -> Result<Vec<UsageRow>, StoreError> {
        usage::estimated(&self.readers, before, at_most).await
    }

    async fn row(&self, id: &str) -> Result<Option<UsageRow>, StoreError> {
        usage::row(&self.readers, id).await
    }

    async fn lower_row(&self, id: &str, to: Nano) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        let mut known = self.take_known();
        let is_lowered = usage::lower(&mut transaction, &mut known, id, to).await?;
        transaction.commit().await.map_err(refused)?;
        self.put_known(known);
        Ok(is_lowered)
    }
}
