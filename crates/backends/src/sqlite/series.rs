//! The numbers that stand for projects, series of usage and lines of bills in rows and sums.
//!
//! A [`Known`] remembers them between batches. Whoever writes takes it out of the store, and puts it back once the
//! transaction is committed: numbers of a transaction that was rolled back are forgotten with it.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use store::{StoreError, UsageRow};

use super::refused;

/// Most numbers of each kind that are remembered. Some 300 bytes each; beyond it they are asked for anew.
const KNOWN_MAX: usize = 20_000;

/// What usage is told apart by: a project's, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) project: i64,
    pub(super) number: i64,
}

/// What usage is told apart by, in words.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Words {
    project: String,
    key: String,
    model: String,
    endpoint: &'static str,
    kind: &'static str,
    tier: &'static str,
}

/// Numbers that were asked for before.
#[derive(Debug, Default)]
pub(super) struct Known {
    projects: HashMap<String, i64>,
    series: HashMap<Words, Series>,
    items: HashMap<i64, HashMap<String, i64>>,
    item_count: usize,
}

impl Known {
    /// The series of a row; a new one where it has none yet.
    pub(super) async fn series(
        &mut self,
        connection: &mut SqliteConnection,
        row: &UsageRow,
    ) -> Result<Series, StoreError> {
        let words = Words {
            project: row.project.as_str().to_owned(),
            key: row.key.as_str().to_owned(),
            model: row.model.clone(),
            endpoint: row.endpoint,
            kind: row.kind.word(),
            tier: row.tier.word(),
        };
        if let Some(series) = self.series.get(&words) {
            return Ok(*series);
        }
        let project = self.project(connection, &words.project).await?;
        // An update that changes nothing, because only a row that was written is returned.
        let query = sqlx::query_scalar::<_, i64>(
            "INSERT INTO usage_series (project, key_id, kind, endpoint, model, tier) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET model = model RETURNING number",
        );
        let query = query.bind(project).bind(&words.key).bind(words.kind).bind(words.endpoint);
        let query = query.bind(&words.model).bind(words.tier);
        let number = query.fetch_one(connection).await.map_err(refused)?;
        if self.series.len() >= KNOWN_MAX {
            self.series.clear();
        }
        let series = Series { project, number };
        self.series.insert(words, series);
        Ok(series)
    }

    async fn project(&mut self, connection: &mut SqliteConnection, id: &str) -> Result<i64, StoreError> {
        if let Some(number) = self.projects.get(id) {
            return Ok(*number);
        }
        let query = sqlx::query_scalar::<_, i64>(
            "INSERT INTO report_project (id) VALUES (?) ON CONFLICT DO UPDATE SET id = id RETURNING number",
        );
        let number = query.bind(id).fetch_one(connection).await.map_err(refused)?;
        if self.projects.len() >= KNOWN_MAX {
            self.projects.clear();
        }
        self.projects.insert(id.to_owned(), number);
        Ok(number)
    }

    /// The number of a line of a series' bills; a new one where it has none yet.
    pub(super) async fn item(
        &mut self,
        connection: &mut SqliteConnection,
        series: Series,
        item: &str,
    ) -> Result<i64, StoreError> {
        if let Some(number) = self.items.get(&series.number).and_then(|items| items.get(item)) {
            return Ok(*number);
        }
        let query = sqlx::query_scalar::<_, i64>(
            "INSERT INTO cost_series (series, item) VALUES (?, ?) ON CONFLICT DO UPDATE SET item = item RETURNING number",
        );
        let number = query.bind(series.number).bind(item).fetch_one(connection).await.map_err(refused)?;
        if self.item_count >= KNOWN_MAX {
            self.items.clear();
            self.item_count = 0;
        }
        self.items.entry(series.number).or_default().insert(item.to_owned(), number);
        self.item_count += 1;
        Ok(number)
    }
}
