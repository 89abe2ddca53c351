//! Sums of usage by minute, hour and day, and of costs by hour and day. There are several lines to a bill, and hardly
//! two bills of a series in a minute: costs by line and minute are read from the rows.
//!
//! Promise: they equal the rows. They change in the transaction that writes or lowers a row, and nowhere else.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pricing::Unit;
use sqlx::SqliteConnection;
use store::{StoreError, UsageRow, Width};

use super::figures::{count, row_amount, row_figure};
use super::pieces::{ManyRows, Values};
use super::refused;
use super::series::{Known, Series};

/// Figures of a sum: requests, images, cost, then each unit.
const FIGURES: usize = 3 + Unit::COUNT;

/// Those up to the last unit of text.
const TEXT_FIGURES: usize = 3 + Unit::TextOutput as usize + 1;

/// Widths of the buckets of costs.
const COST_WIDTHS: [Width; 2] = [Width::Hour, Width::Day];

/// Where a sum stands: width, beginning of the bucket, project, series (of usage or of costs).
type Place = (i64, i64, i64, i64);

/// The sums of a batch.
#[derive(Debug, Default)]
pub(super) struct Sums {
    usage: BTreeMap<Place, [u64; FIGURES]>,
    /// Quantity and amount.
    costs: BTreeMap<Place, (u64, u64)>,
}

/// The columns of `usage_sum` behind its key, in the order of [`FIGURES`].
fn figure_columns() -> impl Iterator<Item = &'static str> {
    ["requests", "images", "cost"].into_iter().chain(Unit::ALL.into_iter().map(Unit::word))
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

static ADD_USAGE: LazyLock<ManyRows> = LazyLock::new(|| adding("usage_sum", &figure_columns().collect::<Vec<_>>()));
/// For sums of text alone, which are nearly all: a third of the values.
static ADD_TEXT_USAGE: LazyLock<ManyRows> =
    LazyLock::new(|| adding("usage_sum", &figure_columns().take(TEXT_FIGURES).collect::<Vec<_>>()));
static ADD_COSTS: LazyLock<ManyRows> = LazyLock::new(|| adding("cost_sum", &["quantity", "amount"]));

/// Where the buckets of a moment stand.
fn buckets(widths: &[Width], at: i64) -> impl Iterator<Item = (i64, i64)> {
    widths.iter().map(|width| width.seconds()).map(move |width| (width, at.div_euclid(width) * width))
}

impl Sums {
    /// Adds a row.
    pub(super) async fn add(
        &mut self,
        connection: &mut SqliteConnection,
        known: &mut Known,
        row: &UsageRow,
        series: Series,
    ) -> Result<(), StoreError> {
        let mut figures = [0; FIGURES];
        figures[..3].copy_from_slice(&[1, row_figure(row.images), row_amount(row.cost).0]);
        for (unit, quantity) in row.quantities.some() {
            figures[3 + unit as usize] = row_figure(quantity);
        }
        for (width, starts_at) in buckets(&Width::ALL, row.began_at) {
            let sum = self.usage.entry((width, starts_at, series.project, series.number)).or_insert([0; FIGURES]);
            sum.iter_mut().zip(figures).for_each(|(sum, figure)| *sum = sum.saturating_add(figure));
        }
        for line in &row.lines {
            let item = known.item(connection, series, &line.item).await?;
            for (width, starts_at) in buckets(&COST_WIDTHS, row.began_at) {
                let sum = self.costs.entry((width, starts_at, series.project, item)).or_default();
                sum.0 = sum.0.saturating_add(row_figure(line.quantity));
                sum.1 = sum.1.saturating_add(row_amount(line.amount).0);
            }
        }
        Ok(())
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
        ADD_COSTS.run(connection, &costs, |values, (place, sum)| bind(values, place, &[sum.0, sum.1])).await
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
