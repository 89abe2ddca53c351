//! The numbers that stand for projects, series of usage and lines of bills in rows and sums.
//!
//! A [`Known`] remembers them between batches. Whoever writes takes it out of the store, and puts it back once the
//! transaction is committed: numbers of a transaction that was rolled back are forgotten with it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use pricing::Tier;
use sqlx::SqliteConnection;
use store::{KeyId, ProjectId, StoreError, UsageKind, UsageRow};

use super::refused;

/// Most numbers of each kind that are remembered. Some 300 bytes each; beyond it they are asked for anew.
const KNOWN_MAX: usize = 20_000;

/// What usage is told apart by: a project's, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) project: i64,
    pub(super) number: i64,
}

/// What usage is told apart by, in words.
#[derive(Debug)]
struct Words {
    project: ProjectId,
    key: KeyId,
    model: String,
    endpoint: &'static str,
    kind: UsageKind,
    tier: Tier,
}

impl Words {
    fn of(row: &UsageRow) -> Words {
        Words {
            project: row.project.clone(),
            key: row.key.clone(),
            model: row.model.clone(),
            endpoint: row.endpoint,
            kind: row.kind,
            tier: row.tier,
        }
    }

    fn are_of(&self, row: &UsageRow) -> bool {
        self.key == row.key
            && self.model == row.model
            && self.tier == row.tier
            && self.kind == row.kind
            && self.endpoint == row.endpoint
            && self.project == row.project
    }
}

/// Numbers that were asked for before.
#[derive(Debug, Default)]
pub(super) struct Known {
    projects: HashMap<String, i64>,
    hasher: RandomState,
    /// By the hash of their words, so that a row finds its series without a copy of its words.
    series: HashMap<u64, Vec<(Words, Series)>>,
    items: HashMap<i64, HashMap<String, i64>>,
    item_count: usize,
}

impl Known {
    fn hash(&self, row: &UsageRow) -> u64 {
        self.hasher.hash_one((&row.project, &row.key, &row.model, row.endpoint, row.kind, row.tier))
    }

    /// The series of a row, if it was asked for before.
    fn find(&self, hash: u64, row: &UsageRow) -> Option<Series> {
        self.series.get(&hash)?.iter().find(|(words, _)| words.are_of(row)).map(|(_, series)| *series)
    }

    /// The series of a row; a new one where it has none yet.
    pub(super) async fn series(
        &mut self,
        connection: &mut SqliteConnection,
        row: &UsageRow,
    ) -> Result<Series, StoreError> {
        let hash = self.hash(row);
        if let Some(series) = self.find(hash, row) {
            return Ok(series);
        }
        let project = self.project(connection, row.project.as_str()).await?;
        // An update that changes nothing, because only a row that was written is returned.
        let query = sqlx::query_scalar::<_, i64>(
            "INSERT INTO usage_series (project, key_id, kind, endpoint, model, tier) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET model = model RETURNING number",
        );
        let query = query.bind(project).bind(row.key.as_str()).bind(row.kind.word()).bind(row.endpoint);
        let query = query.bind(&row.model).bind(row.tier.word());
        let number = query.fetch_one(connection).await.map_err(refused)?;
        if self.series.len() >= KNOWN_MAX {
            self.series.clear();
        }
        let series = Series { project, number };
        self.series.entry(hash).or_default().push((Words::of(row), series));
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
