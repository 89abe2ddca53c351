//! Rows that are looked for one by one: estimated ones, until more is known and after. What is known from the beginning
//! goes into the journal; see [`super::journal`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use pricing::{ImageCount, Nano, Quantities, Tier, Unit};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite as Driver, SqliteConnection, SqlitePool};
use store::{Certainty, CostLine, KeyId, ProjectId, StoreError, UsageKind, UsageRow};

use super::figures::{count, nano, row_amount, row_figure, unsigned};
use super::pieces::{ManyRows, pieces};
use super::registry::{column, parse, text};
use super::series::{Known, Series};
use super::{accounts, alerts, journal, names, refused, sums};

/// Reads rows with the words that their numbers stand for.
pub(super) const SELECT: &str = "SELECT row.*, series.key_id, series.kind, series.endpoint, series.model, series.tier, \
                      report_project.id AS project_id FROM usage_row row \
                      JOIN usage_series series ON series.number = row.series \
                      JOIN report_project ON report_project.number = row.project";

static INSERT: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(
        "INSERT INTO usage_row (id, series, project, began_at, settled_at, end_user, run, tag, images, cost, certainty, \
         quantities, lines)",
        13,
        "",
    )
});

/// A line of a bill in a row's JSON: item, quantity, amount.
type StoredLine = (String, u64, u64);

/// Quantities in a row's JSON.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredQuantities {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    units: BTreeMap<String, u64>,
    /// Quality, size, count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<(String, String, u64)>,
}

/// Writes rows, of these series.
pub(super) async fn insert(connection: &mut SqliteConnection, rows: &[(&UsageRow, Series)]) -> Result<(), StoreError> {
    INSERT
        .run(connection, rows, |values, (row, series)| {
            values.push(&row.id).push(series.number).push(series.project).push(row.began_at).push(row.settled_at);
            values.push(&row.end_user).push(&row.run).push(&row.tag);
            values.push(count(row_figure(row.images))).push(count(row_amount(row.cost).0));
            values.push(row.certainty.word()).push(quantities_text(&row.quantities)).push(lines_text(&row.lines));
        })
        .await
}

/// Ids of those rows that are there, whoever wrote them.
pub(super) async fn already_there(
    connection: &mut SqliteConnection,
    rows: &[&UsageRow],
) -> Result<HashSet<String>, StoreError> {
    let mut found = HashSet::new();
    for piece in pieces(rows) {
        let mut query = QueryBuilder::<Driver>::new("SELECT id FROM usage_row WHERE id IN (");
        let mut ids = query.separated(", ");
        piece.iter().for_each(|row| {
            ids.push_bind(&row.id);
        });
        query.push(")");
        let ids = query.build_query_scalar::<String>().fetch_all(&mut *connection).await.map_err(refused)?;
        found.extend(ids);
    }
    Ok(found)
}

/// The row of a request: one that was estimated, or one of the last that were settled.
pub(super) async fn row(readers: &SqlitePool, id: &str) -> Result<Option<UsageRow>, StoreError> {
    let mut query = QueryBuilder::<Driver>::new(SELECT);
    query.push(" WHERE row.id = ").push_bind(id);
    match query.build().fetch_optional(readers).await.map_err(refused)? {
        Some(row) => read(&row).map(Some),
        None => journal::recent(readers, id).await,
    }
}

/// Estimated rows, the newest first, before the row with this id; none where there is no such row.
pub(super) async fn estimated(
    readers: &SqlitePool,
    before: Option<&str>,
    at_most: u32,
) -> Result<Vec<UsageRow>, StoreError> {
    let mut query = QueryBuilder::<Driver>::new(SELECT);
    query.push(" WHERE row.certainty = 'estimated'");
    if let Some(before) = before {
        query.push(" AND row.sequence < (SELECT sequence FROM usage_row WHERE id = ").push_bind(before).push(")");
    }
    query.push(" ORDER BY row.sequence DESC LIMIT ").push_bind(i64::from(at_most));
    query.build().fetch_all(readers).await.map_err(refused)?.iter().map(read).collect()
}

/// Lowers an estimated row, and with it all that it was added to; whether there was one that high.
pub(super) async fn lower(
    connection: &mut SqliteConnection,
    known: &mut Known,
    id: &str,
    to: Nano,
) -> Result<bool, StoreError> {
    let mut query = QueryBuilder::<Driver>::new(SELECT);
    query.push(" WHERE row.id = ").push_bind(id).push(" AND row.certainty = 'estimated'");
    let found = query.build().fetch_optional(&mut *connection).await.map_err(refused)?;
    let Some(before) = found.as_ref().map(read).transpose()?.filter(|row| row.cost >= to) else { return Ok(false) };
    let (lines, lowered) = lower_lines(&before.lines, to);
    let query = sqlx::query("UPDATE usage_row SET cost = ?, lines = ?, certainty = ? WHERE id = ?");
    let query = query.bind(count(to.0)).bind(lines_text(&lines)).bind(Certainty::Settled.word()).bind(id);
    query.execute(&mut *connection).await.map_err(refused)?;
    let less = before.cost.minus(to);
    let series = known.series(connection, &before).await?;
    sums::lower(connection, known, &before, count(less.0), &lowered).await?;
    names::lower(connection, &before, series.project, less).await?;
    alerts::lower(connection, &before, less).await?;
    accounts::lower(connection, &before, less).await?;
    Ok(true)
}

/// A bill that comes to `to`, the last lines giving way first; and what each line that gave way lost.
fn lower_lines(lines: &[CostLine], to: Nano) -> (Vec<CostLine>, Vec<(String, i64)>) {
    let mut less = lines.iter().map(|line| line.amount).sum::<Nano>().minus(to);
    let (mut lines, mut lowered) = (lines.to_vec(), Vec::new());
    for line in lines.iter_mut().rev() {
        let lost = row_amount(line.amount).0.min(less.0);
        if lost > 0 {
            line.amount = line.amount.minus(Nano(lost));
            less = less.minus(Nano(lost));
            lowered.push((line.item.clone(), count(lost)));
        }
    }
    (lines, lowered)
}

fn quantities_text(quantities: &Quantities) -> String {
    let stored = StoredQuantities {
        units: quantities.some().map(|(unit, quantity)| (unit.word().to_owned(), quantity)).collect(),
        images: quantities
            .images
            .iter()
            .map(|image| (image.quality.clone(), image.size.clone(), image.count))
            .collect(),
    };
    serde_json::to_string(&stored).expect("words and integers are JSON")
}

fn lines_text(lines: &[CostLine]) -> String {
    let stored: Vec<(&str, u64, u64)> =
        lines.iter().map(|line| (line.item.as_str(), line.quantity, line.amount.0)).collect();
    serde_json::to_string(&stored).expect("words and integers are JSON")
}

fn quantities(text: &str) -> Result<Quantities, StoreError> {
    let stored: StoredQuantities = parse(text)?;
    let mut quantities = Quantities::default();
    for (word, quantity) in stored.units {
        quantities.set(known_word("unit", &word, Unit::from_word)?, quantity);
    }
    let image = |(quality, size, count)| ImageCount { quality, size, count };
    quantities.images = stored.images.into_iter().map(image).collect();
    Ok(quantities)
}

/// What a word in a column stands for.
pub(super) fn known_word<T>(what: &str, word: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    read(word).ok_or_else(|| StoreError::Corrupt(format!("{what} `{word}`")))
}

/// A row of [`SELECT`].
pub(super) fn read(row: &SqliteRow) -> Result<UsageRow, StoreError> {
    let lines: Vec<StoredLine> = parse(&text(row, "lines")?)?;
    let line = |(item, quantity, amount)| CostLine { item, quantity, amount: Nano(amount) };
    Ok(UsageRow {
        id: text(row, "id")?,
        began_at: column(row, "began_at")?,
        settled_at: column(row, "settled_at")?,
        project: ProjectId::new(text(row, "project_id")?),
        key: KeyId::new(text(row, "key_id")?),
        end_user: column(row, "end_user")?,
        run: column(row, "run")?,
        tag: column(row, "tag")?,
        kind: known_word("kind of usage", &text(row, "kind")?, UsageKind::from_word)?,
        endpoint: endpoint(row.try_get("endpoint").map_err(refused)?),
        model: text(row, "model")?,
        tier: known_word("tier", &text(row, "tier")?, Tier::from_word)?,
        images: unsigned(column(row, "images")?),
        quantities: quantities(&text(row, "quantities")?)?,
        cost: nano(column(row, "cost")?),
        lines: lines.into_iter().map(line).collect(),
        certainty: known_word("certainty", &text(row, "certainty")?, Certainty::from_word)?,
    })
}

/// A path template of the endpoint table, which the records have by reference. What was stored is kept for as long as
/// the process lives, once each: as many as the table has had in all versions.
pub(super) fn endpoint(template: &str) -> &'static str {
    static TEMPLATES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(template) = templates.get(template) {
        return template;
    }
    let template: &'static str = Box::leak(template.to_owned().into_boxed_str());
    templates.insert(template);
    template
}
