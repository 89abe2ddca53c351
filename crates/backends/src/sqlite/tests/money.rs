//! The ledger, usage, reports and alerts on SQLite.

use std::time::Instant;

use async_trait::async_trait;
use ledger::conformance::Behind;
use ledger::{AccountKey, Batch, Epoch, LeaseTarget, LedgerStore};
use pricing::{Nano, Quantities, Tier, Unit};
use proptest::prelude::*;
use store::conformance::{Rows, reports_agree};
use store::{
    Certainty, CostLine, Grouping, KeyId, Period, ReportFilter, ReportQuery, Reports, Scope, SpendLimit, UsageKind,
    UsageRow, Width,
};

use super::*;
use crate::sqlite::figures::nano;
use crate::sqlite::tally::NameKind;

#[async_trait]
impl Rows for Sqlite {
    async fn write(&self, rows: &[UsageRow]) {
        let epoch = self.enter(1).await.expect("a life begins");
        let now = rows.iter().map(|row| row.settled_at).max().unwrap_or(0);
        let batch = Batch { epoch, now, rows: rows.to_vec(), targets: Vec::new(), formerly: None };
        LedgerStore::write(self, &batch).await.expect("written");
    }
}

#[async_trait]
impl Behind for Sqlite {
    async fn put_limit(&self, limit: &SpendLimit) {
        let mut connection = self.writer.acquire().await.expect("a connection");
        limits::put(&mut connection, limit).await.expect("written");
    }

    async fn remove_limit(&self, id: &str) {
        let mut connection = self.writer.acquire().await.expect("a connection");
        limits::delete(&mut connection, id).await.expect("deleted");
    }

    async fn balance(&self, account: &AccountKey) -> (Nano, Nano) {
        let query = sqlx::query_as::<_, (i64, i64)>(
            "SELECT settled, leased FROM spend_account WHERE limit_id = ? AND scope_kind = ? AND scope_id = ? \
             AND starts_at = ? AND ends_at = ?",
        );
        let query = query.bind(&account.limit).bind(account.scope.kind()).bind(account.scope.id());
        let query = query.bind(account.window.starts_at).bind(account.window.ends_at);
        let (settled, leased) = query.fetch_optional(&self.writer).await.expect("readable").unwrap_or_default();
        // What an account says is leased is what its leases come to.
        let leases = sqlx::query_scalar::<_, i64>(
            "SELECT coalesce(sum(lease.amount), 0) FROM lease JOIN spend_account ON spend_account.id = lease.account \
             WHERE limit_id = ? AND scope_kind = ? AND scope_id = ? AND starts_at = ? AND ends_at = ?",
        );
        let leases = leases.bind(&account.limit).bind(account.scope.kind()).bind(account.scope.id());
        let leases = leases.bind(account.window.starts_at).bind(account.window.ends_at);
        assert_eq!(leases.fetch_one(&self.writer).await.expect("readable"), leased);
        (nano(settled), nano(leased))
    }
}

macro_rules! ledger_conforms {
    ($($name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let (_folder, store) = fresh().await;
            ledger::conformance::$name(&store, &store).await;
        }
    )+};
}

ledger_conforms!(
    lives_are_numbered,
    leases_share_what_is_there,
    a_target_said_twice_changes_nothing,
    concurrent_writers_stay_within_the_limit,
    a_row_settles_once,
    a_settlement_above_the_limit_is_recorded,
    a_row_belongs_to_the_window_it_began_in,
    a_lowered_limit_calls_leases_back,
    a_raise_ends,
    without_a_limit_nothing_is_leased,
    a_fenced_writer_writes_nothing,
    fencing_frees_above_the_watermark,
    an_estimate_is_lowered_by_a_fact,
    rows_of_a_former_life_lower_its_estimate,
    a_new_account_knows_what_was_spent_before,
    a_row_charges_every_account_that_it_concerns,
);

macro_rules! reports_conform {
    ($($name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let (_folder, store) = fresh().await;
            conformance::$name(&store, &store).await;
        }
    )+};
}

reports_conform!(reports_are_the_sums_of_the_rows, rows_read_back, an_estimated_row_is_lowered_once);

#[tokio::test]
async fn alerts_fire_once_a_month() {
    let (_folder, store) = fresh().await;
    conformance::alerts_fire_once_a_month(&store, &store, &store).await;
}

#[tokio::test]
async fn a_late_alert_fires_with_its_act() {
    let (_folder, store) = fresh().await;
    conformance::a_late_alert_fires_with_its_act(&store, &store, &store).await;
}

/// 2026-11-24T00:00:00Z.
pub(super) const DAY: i64 = 1_795_478_400;

/// A row whose figures all follow from a number.
pub(super) fn row(id: u64, number: u64) -> UsageRow {
    let pick = |salt: u64, of: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(salt as u32 * 7) % of;
    let mut quantities = Quantities::default();
    quantities.set(Unit::TextInput, pick(1, 1_000));
    quantities.set(Unit::ALL[pick(2, Unit::COUNT as u64) as usize], pick(3, 100_000));
    let lines: Vec<_> = quantities
        .some()
        .map(|(unit, quantity)| CostLine {
            item: format!("model-{}, {}", pick(4, 3), unit.word()),
            quantity,
            amount: Nano(quantity * (pick(5, 9) + 1)),
        })
        .collect();
    let project = pick(6, 3);
    UsageRow {
        id: format!("req_{id}"),
        // Three days around the end of a month.
        began_at: DAY + 6 * 86_400 - 3_600 + (pick(7, 3 * 86_400) as i64),
        settled_at: DAY + 10 * 86_400,
        project: ProjectId::new(format!("proj_{project}")),
        key: KeyId::new(format!("key_{project}_{}", pick(8, 2))),
        end_user: (pick(1, 3) == 0).then(|| format!("user-{}", pick(2, 2))),
        run: (pick(3, 3) == 0).then(|| format!("run-{}", pick(4, 2))),
        tag: None,
        kind: UsageKind::ALL[pick(5, 3) as usize],
        endpoint: ["/v1/chat/completions", "/v1/responses"][pick(6, 2) as usize],
        model: format!("model-{}", pick(4, 3)),
        tier: Tier::ALL[pick(8, 3) as usize],
        images: pick(7, 4),
        cost: lines.iter().map(|line| line.amount).sum(),
        lines,
        quantities,
        certainty: if pick(1, 4) == 1 { Certainty::Estimated } else { Certainty::Settled },
    }
}

/// Some groupings, out of all, by the bits of a number.
fn groupings(bits: u8) -> Vec<Grouping> {
    let all = [Grouping::Project, Grouping::Key, Grouping::Model, Grouping::Tier, Grouping::Endpoint, Grouping::Item];
    all.into_iter().zip(0..).filter(|(_, bit)| bits >> bit & 1 == 1).map(|(grouping, _)| grouping).collect()
}

fn filter(bits: u8) -> ReportFilter {
    let has = |bit: u8| bits >> bit & 1 == 1;
    ReportFilter {
        projects: has(0).then(|| ProjectId::new("proj_1")).into_iter().collect(),
        keys: has(1).then(|| [KeyId::new("key_1_0"), KeyId::new("key_2_1")]).into_iter().flatten().collect(),
        models: has(2).then(|| "model-1".to_owned()).into_iter().collect(),
        tiers: has(3).then_some(Tier::Standard).into_iter().collect(),
        kinds: has(4).then_some(UsageKind::Completions).into_iter().collect(),
    }
}

/// What happens to a store, in random order.
#[derive(Debug, Clone)]
enum Happening {
    /// A batch of rows, by the numbers of their ids; several of the same are repetitions.
    Batch(Vec<u64>),
    /// One of the estimated rows, or a row that may not be there where there are none, is lowered to so many per cent.
    Lower(usize, u64),
    /// A limit's account is opened and leased from.
    Lease(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => prop::collection::vec(0..60_u64, 0..40).prop_map(Happening::Batch),
        3 => (0..60_usize, 0..=100_u64).prop_map(|(place, per_cent)| Happening::Lower(place, per_cent)),
        3 => (0..5_usize).prop_map(Happening::Lease),
    ]
}

fn scopes() -> [Scope; 5] {
    let project = ProjectId::new("proj_1");
    [
        Scope::Organization,
        Scope::Project(project.clone()),
        Scope::Key(KeyId::new("key_1_0")),
        Scope::EndUser(project.clone(), "user-1".into()),
        Scope::Run(project, "run-0".into()),
    ]
}

fn concerns(scope: &Scope, row: &UsageRow) -> bool {
    match scope {
        Scope::Organization => true,
        Scope::Project(project) => row.project == *project,
        Scope::Key(key) => row.key == *key,
        Scope::EndUser(project, name) => row.project == *project && row.end_user.as_ref() == Some(name),
        Scope::Run(project, name) => row.project == *project && row.run.as_ref() == Some(name),
        Scope::Tag(project, name) => row.project == *project && row.tag.as_ref() == Some(name),
    }
}

/// A world in which everything is kept twice: in the store, and as plain rows.
struct World {
    store: Sqlite,
    epoch: Epoch,
    rows: Vec<UsageRow>,
    accounts: Vec<AccountKey>,
}

impl World {
    async fn happens(&mut self, seed: u64, happening: &Happening) {
        let batch = |rows, targets| Batch { epoch: self.epoch, now: DAY, rows, targets, formerly: None };
        match happening {
            Happening::Batch(ids) => {
                let rows: Vec<_> = ids.iter().map(|id| row(*id, seed ^ id)).collect();
                LedgerStore::write(&self.store, &batch(rows.clone(), Vec::new())).await.expect("written");
                for row in rows {
                    if self.rows.iter().all(|known| known.id != row.id) {
                        self.rows.push(row);
                    }
                }
            }
            Happening::Lower(place, per_cent) => {
                let estimated = self.rows.iter().filter(|row| row.certainty == Certainty::Estimated);
                let ids: Vec<_> = estimated.map(|row| row.id.clone()).collect();
                let id = ids.get(place % ids.len().max(1)).cloned().unwrap_or_else(|| format!("req_{place}"));
                let known = self.rows.iter_mut().find(|row| row.id == id);
                let to = Nano(known.as_ref().map_or(0, |row| row.cost.0) * per_cent / 100);
                let is_lowered = self.store.lower_row(&id, to).await.expect("written");
                let known = known.filter(|row| row.certainty == Certainty::Estimated);
                assert_eq!(is_lowered, known.is_some());
                if let Some(known) = known {
                    let stored = self.store.row(&id).await.expect("readable").expect("there");
                    assert_eq!(stored.cost, to);
                    assert_eq!(stored.lines.iter().map(|line| line.amount).sum::<Nano>(), to);
                    *known = stored;
                }
            }
            Happening::Lease(number) => {
                let scope = scopes()[*number].clone();
                // The widest twice as often: most rows are in it.
                let period = [Period::Total, Period::Month, Period::Day, Period::Total, Period::Hour][*number];
                let id = format!("limit_{number}");
                self.store.put_limit(&ledger::conformance::limit(&id, scope.clone(), period, 1 << 50)).await;
                let account = AccountKey { limit: id, scope, window: period.window(DAY + 7 * 86_400) };
                let target = LeaseTarget {
                    account: account.clone(),
                    amount: Nano(1 << 40),
                    watermark: Nano(1 << 30),
                    in_use: Nano::ZERO,
                };
                let states = LedgerStore::write(&self.store, &batch(Vec::new(), vec![target])).await.expect("written");
                assert_eq!(states.len(), 1);
                if !self.accounts.contains(&account) {
                    self.accounts.push(account);
                }
            }
        }
    }

    /// Accounts, opened before the rows or after, have settled what their rows come to.
    async fn accounts_agree(&self) {
        for account in &self.accounts {
            let rows =
                self.rows.iter().filter(|row| concerns(&account.scope, row) && account.window.contains(row.began_at));
            let expected: Nano = rows.map(|row| row.cost).sum();
            assert_eq!(self.store.balance(account).await.0, expected, "{account:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Reports and accounts equal sums over the rows, whatever came twice, in whatever batches, and was lowered.
    #[test]
    fn sums_and_accounts_equal_the_rows(
        seed in any::<u64>(),
        happenings in prop::collection::vec(happening(), 4..24),
        queries in prop::collection::vec((0..3_usize, any::<u8>(), any::<u8>(), 0..5_i64, 0..80_i64), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (_folder, store) = fresh().await;
            let epoch = store.enter(1).await.expect("a life begins");
            let mut world = World { store, epoch, rows: Vec::new(), accounts: Vec::new() };
            for happening in &happenings {
                world.happens(seed, happening).await;
            }
            world.accounts_agree().await;
            assert_eq!(world.store.check_sums().await.expect("readable"), Vec::<String>::new());
            for (width, groups, filters, from, hours) in queries {
                let starts_at = DAY + (4 + from) * 86_400;
                let query = ReportQuery {
                    starts_at,
                    ends_at: starts_at + hours * 3_600,
                    width: Width::ALL[width],
                    // Half of the bits, so that reports are not all empty.
                    filter: filter(filters & (filters >> 3)),
                    group_by: groupings(groups),
                };
                reports_agree(&world.store, &world.rows, &query).await;
            }
        });
    }
}

/// A batch that could not be written leaves nothing behind, and the next one does not trip over numbers that were
/// given out for it.
#[tokio::test]
async fn a_batch_that_failed_is_forgotten_whole() {
    let (_folder, store) = fresh().await;
    let epoch = store.enter(1).await.expect("a life begins");
    let batch = |ids: std::ops::Range<u64>| Batch {
        epoch,
        now: DAY,
        rows: ids.map(|id| row(id, id)).collect(),
        targets: Vec::new(),
        formerly: None,
    };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.writer).await.expect("counted");
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 8));
    sqlx::raw_sql(limit).execute(&store.writer).await.expect("set");
    let error = LedgerStore::write(&store, &batch(0..2_000)).await.expect_err("no room");
    assert!(error.to_string().contains("full"), "{error}");
    sqlx::raw_sql("PRAGMA max_page_count = 1000000").execute(&store.writer).await.expect("set");
    LedgerStore::write(&store, &batch(0..300)).await.expect("goes on once there is room");
    let query = ReportQuery {
        starts_at: DAY,
        ends_at: DAY + 30 * 86_400,
        width: Width::Day,
        filter: ReportFilter::default(),
        group_by: groupings(0xff),
    };
    reports_agree(&store, &batch(0..300).rows, &query).await;
    assert_eq!(store.check_sums().await.expect("readable"), Vec::<String>::new());
}

/// A full batch stays far below the keeper's pace; the bound is wide, because tests run unoptimised and side by side.
#[tokio::test]
async fn a_full_batch_is_short() {
    let (_folder, store) = fresh().await;
    let epoch = store.enter(1).await.expect("a life begins");
    let mut best = u128::MAX;
    for round in 0..5_u64 {
        let ids = round * 2_000..(round + 1) * 2_000;
        let batch =
            Batch { epoch, now: DAY, rows: ids.map(|id| row(id, id)).collect(), targets: Vec::new(), formerly: None };
        let started = Instant::now();
        LedgerStore::write(&store, &batch).await.expect("written");
        best = best.min(started.elapsed().as_millis());
    }
    assert!(best < 1_500, "{best} ms for 2,000 rows");
}

/// A report on one project seeks its part of each bucket; what a name spent is looked up day by day.
#[tokio::test]
async fn reports_and_first_leases_use_indices() {
    let (_folder, store) = fresh().await;
    let plan = async |query: sqlx::QueryBuilder<sqlx::Sqlite>| -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&store.readers).await.expect("a plan");
        rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail") + "; ").collect()
    };
    let buckets = reports::Buckets { width: Width::Day, starts_at: DAY, ends_at: DAY + 86_400 };
    for table in ["usage_sum", "cost_sum"] {
        let filter = ReportFilter { projects: vec![ProjectId::new("proj_1")], ..Default::default() };
        let mut query = sqlx::QueryBuilder::new("SELECT count(*)");
        reports::push_source(&mut query, table, buckets, &filter);
        let plan = plan(query).await;
        assert!(plan.contains("SEARCH sum USING PRIMARY KEY (width=? AND starts_at=? AND project=?)"), "{plan}");
    }
    let project = ProjectId::new("proj_1");
    let by_name = plan(names::stored(NameKind::Run, &project, "x", Period::Month.window(DAY))).await;
    let seek = "SEARCH sum USING PRIMARY KEY (day=? AND project=? AND kind=? AND name=?)";
    assert!(by_name.contains(seek) && !by_name.contains("SCAN name_sum"), "{by_name}");
}
