//! Sums of usage by minute, hour and day, and of costs by hour and day. There are several lines to a bill, and hardly
//! two bills of a series in a minute: costs by line and minute would be more than the rows themselves.
//!
//! Promise: they equal the rows. They change in the transaction that writes or lowers a row, and nowhere else.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pricing::Unit;
use sqlx::SqliteConnection;
use store::{StoreError, UsageRow, Width};

use super::figures::count;
use super::pieces::{ManyRows, Values};
use super::refused;
use super::series::Known;
use super::tally::{FIGURES, Minute};

/// Figures up to the last unit of text.
const TEXT_FIGURES: usize = 3 + Unit::TextOutput as usize + 1;

/// Widths of the buckets of costs.
const COST_WIDTHS: [Width; 2] = [Width::Hour, Width::Day];

/// Where a sum stands: width, beginning of the bucket, project, series (of usage or of costs).
pub(super) type Place = (i64, i64, i64, i64);

/// The sums of a batch.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) usage: BTreeMap<Place, [u64; FIGURES]>,
    /// Quantity and amount.
    pub(super) costs: BTreeMap<Place, [u64; 2]>,
}

/// The columns of `usage_sum` behind its key, in the order of a sum's figures.
pub(super) fn figure_columns() -> [&'static str; FIGURES] {
    std::array::from_fn(|place| match place {
        0 => "requests",
        1 => "images",
        2 => "cost",
        unit => Unit::ALL[unit - 3].word(),
    })
}

/// Adds to a row of `table`, or makes it: its key, then these columns.
fn adding(table: &str, columns: &[&str]) -> ManyRows {
    let names = columns.join(", ");
    // Stops at the largest integer rather than becoming a float, which the column would refuse.
    let sums: Vec<_> =
        columns.iter().map(|column| format!("{column} = min({column} + excluded.{column}, {})", i64::MAX)).collect();
    ManyRows::new(
        &format!("INSERT INTO {table} (width, starts_at, project, series, {names})"),
        4 + columns.len(),
        &format!("ON CONFLICT DO UPDATE SET {}", sums.join(", ")),
    )
}

static ADD_USAGE: LazyLock<ManyRows> = LazyLock::new(|| adding("usage_sum", &figure_columns()));
/// For sums of text alone, which are nearly all: a third of the values.
static ADD_TEXT_USAGE: LazyLock<ManyRows> = LazyLock::new(|| adding("usage_sum", &figure_columns()[..TEXT_FIGURES]));
static ADD_COSTS: LazyLock<ManyRows> = LazyLock::new(|| adding("cost_sum", &["quantity", "amount"]));

/// Where the buckets of a moment stand.
fn buckets(widths: &[Width], at: i64) -> impl Iterator<Item = (i64, i64)> {
    widths.iter().map(|width| width.seconds()).map(move |width| (width, at.div_euclid(width) * width))
}

/// Adds figures to a sum.
fn add<const N: usize>(sum: &mut [u64; N], figures: [u64; N]) {
    sum.iter_mut().zip(figures).for_each(|(sum, figure)| *sum = sum.saturating_add(figure));
}

impl Sums {
    /// Adds a series' minute to its buckets of every width.
    pub(super) fn add(&mut self, minute: &Minute<'_>) {
        let series = minute.series;
        for (width, starts_at) in buckets(&Width::ALL, minute.starts_at) {
            let place = (width, starts_at, series.project, series.number);
            add(self.usage.entry(place).or_insert([0; FIGURES]), minute.figures);
        }
        for line in &minute.lines {
            for (width, starts_at) in buckets(&COST_WIDTHS, minute.starts_at) {
                let place = (width, starts_at, series.project, line.number);
                add(self.costs.entry(place).or_default(), [line.quantity, line.amount]);
            }
        }
    }

    /// Writes them to what is there.
    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let is_text = |figures: &[u64; FIGURES]| figures[TEXT_FIGURES..].iter().all(|figure| *figure == 0);
        let (text, other): (Vec<_>, Vec<_>) = self.usage.into_iter().partition(|(_, figures)| is_text(figures));
        let bind = |values: &mut Values, place: &Place, figures: &[u64]| {
            values.push(place.0).push(place.1).push(place.2).push(place.3);
            figures.iter().for_each(|figure| {
                values.push(count(*figure));
            });
        };
        ADD_TEXT_USAGE
            .run(connection, &text, |values, (place, figures)| bind(values, place, &figures[..TEXT_FIGURES]))
            .await?;
        ADD_USAGE.run(connection, &other, |values, (place, figures)| bind(values, place, figures)).await?;
        let costs: Vec<_> = self.costs.into_iter().collect();
        ADD_COSTS.run(connection, &costs, |values, (place, sum)| bind(values, place, sum)).await
    }
}

/// Takes from the sums what a row cost too much: `less` of its cost, and of each line.
pub(super) async fn lower(
    connection: &mut SqliteConnection,
    known: &mut Known,
    row: &UsageRow,
    less: i64,
    lines: &[(String, i64)],
) -> Result<(), StoreError> {
    let series = known.series(connection, row).await?;
    for (width, starts_at) in buckets(&Width::ALL, row.began_at) {
        let query = sqlx::query(
            "UPDATE usage_sum SET cost = max(cost - ?, 0) WHERE width = ? AND starts_at = ? AND project = ? AND series = ?",
        );
        let query = query.bind(less).bind(width).bind(starts_at).bind(series.project).bind(series.number);
        query.execute(&mut *connection).await.map_err(refused)?;
    }
    for (item, less) in lines {
        let item = known.item(connection, series, item).await?;
        for (width, starts_at) in buckets(&COST_WIDTHS, row.began_at) {
            let query = sqlx::query(
                "UPDATE cost_sum SET amount = max(amount - ?, 0) WHERE width = ? AND starts_at = ? AND project = ? \
                 AND series = ?",
            );
            let query = query.bind(*less).bind(width).bind(starts_at).bind(series.project).bind(item);
            query.execute(&mut *connection).await.map_err(refused)?;
        }
    }
    Ok(())
}
