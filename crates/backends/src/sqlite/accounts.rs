//! Accounts of limits within one transaction: read, settled, leased, written back.
//!
//! What each step means is said in [`ledger::LedgerStore`] and, in the fewest lines, in [`ledger::MemoryStore`]; the
//! conformance suite holds the two against each other.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use ledger::{AccountKey, Batch, Epoch, LeaseState, LeaseTarget};
use pricing::Nano;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection};
use store::{Scope, StoreError, UsageRow};

use super::figures::{amount, count, nano, unsigned};
use super::names::Tail;
use super::pieces::{ManyRows, pieces};
use super::registry::{column, text};
use super::tally::{Spent, Tally, hour};
use super::{refused, spent};

/// How long an account is kept after its window: settling is over by then, and a row that comes even later finds its
/// account gone, as it would find one that never was.
const KEPT_SECONDS: i64 = 7 * 86_400;

/// Accounts cleared away in one transaction, so that it stays short.
const CLEARED_MAX: i64 = 64;

/// A scope in columns.
type ScopeColumns = (&'static str, String);

#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    amount: Nano,
    watermark: Nano,
}

/// An account with the writer's lease, and with the estimate of the writer's earlier life.
#[derive(Debug)]
struct Account {
    starts_at: i64,
    ends_at: i64,
    settled: Nano,
    leased: Nano,
    calls: u64,
    lease: Lease,
    estimate: Option<Nano>,
    is_changed: bool,
}

/// The accounts that a transaction has to do with, by their number.
#[derive(Debug)]
pub(super) struct Accounts {
    epoch: Epoch,
    formerly: Option<Epoch>,
    by_number: BTreeMap<i64, Account>,
}

/// Columns of an account, the lease of one life and the estimate of another.
const COLUMNS: &str = "account.id AS account, account.starts_at, account.ends_at, account.settled, account.leased, \
                       account.calls, lease.amount AS lease, lease.watermark, estimate.amount AS estimate";

static WRITE_BALANCES: LazyLock<ManyRows> = LazyLock::new(|| {
    let head = "UPDATE spend_account SET settled = new.column2, leased = new.column3, calls = new.column4 FROM (";
    ManyRows::new(head, 4, ") new WHERE spend_account.id = new.column1")
});
static WRITE_LEASES: LazyLock<ManyRows> = LazyLock::new(|| {
    let tail = "ON CONFLICT DO UPDATE SET amount = excluded.amount, watermark = excluded.watermark";
    ManyRows::new("INSERT INTO lease (account, epoch, amount, watermark)", 4, tail)
});
static END_LEASES: LazyLock<ManyRows> =
    LazyLock::new(|| ManyRows::new("DELETE FROM lease WHERE (account, epoch) IN (", 2, ")"));

/// The scopes that a row is spending of, in columns.
fn scopes_of(row: &UsageRow) -> impl Iterator<Item = ScopeColumns> {
    let named = |scope: fn(store::ProjectId, String) -> Scope, name: &Option<String>| {
        name.as_ref().map(|name| scope(row.project.clone(), name.clone()))
    };
    let scopes = [
        Some(Scope::Organization),
        Some(Scope::Project(row.project.clone())),
        Some(Scope::Key(row.key.clone())),
        named(Scope::EndUser, &row.end_user),
        named(Scope::Run, &row.run),
        named(Scope::Tag, &row.tag),
    ];
    scopes.into_iter().flatten().map(|scope| (scope.kind(), scope.id()))
}

/// What a batch spends of each scope in each hour, for scopes of these kinds. Every window begins and ends with an hour,
/// so an hour's spending belongs to it as a whole or not at all.
fn spending(tally: &Tally<'_>, kinds: &BTreeSet<String>) -> BTreeMap<ScopeColumns, BTreeMap<i64, Spent>> {
    let mut spending: BTreeMap<ScopeColumns, BTreeMap<i64, Spent>> = BTreeMap::new();
    let mut add = |scope: Scope, at: i64, spent: Spent| {
        if kinds.contains(scope.kind()) {
            spending.entry((scope.kind(), scope.id())).or_default().entry(hour(at)).or_default().add(spent);
        }
    };
    for minute in &tally.minutes {
        let (project, key) = (minute.row.project.clone(), minute.row.key.clone());
        for scope in [Scope::Organization, Scope::Project(project), Scope::Key(key)] {
            add(scope, minute.starts_at, minute.spent());
        }
    }
    let names = tally.names.iter().chain(&tally.estimated_names);
    for (hour, (spent, row)) in names.filter(|(hour, _)| kinds.contains(hour.kind.word())) {
        add(hour.kind.scope(row.project.clone(), hour.name.to_owned()), hour.starts_at, *spent);
    }
    spending
}

/// Kinds of scopes that have accounts at all: most gates have no limits for end users, runs or tags.
async fn kinds_in_use(connection: &mut SqliteConnection) -> Result<BTreeSet<String>, StoreError> {
    let query = sqlx::query_scalar::<_, String>(
        "SELECT column1 FROM (VALUES ('organization'), ('project'), ('key'), ('end_user'), ('run'), ('tag')) \
         WHERE EXISTS (SELECT 1 FROM spend_account WHERE scope_kind = column1)",
    );
    Ok(query.fetch_all(connection).await.map_err(refused)?.into_iter().collect())
}

impl Accounts {
    /// Settles what a batch comes to in every account that it is spending of.
    pub(super) async fn settle(
        connection: &mut SqliteConnection,
        batch: &Batch,
        tally: &Tally<'_>,
    ) -> Result<Accounts, StoreError> {
        let mut accounts = Accounts { epoch: batch.epoch, formerly: batch.formerly, by_number: BTreeMap::new() };
        let Some((first, last)) = tally.began else { return Ok(accounts) };
        let spending = spending(tally, &kinds_in_use(connection).await?);
        let scopes: Vec<_> = spending.keys().cloned().collect();
        let by_scope = accounts.read_scopes(connection, &scopes, first, last).await?;
        for (scope, numbers) in by_scope {
            let Some(hours) = spending.get(&scope) else { continue };
            for number in numbers {
                let Some(account) = accounts.by_number.get_mut(&number) else { continue };
                let is_inside = |hour: i64| account.starts_at <= hour && hour < account.ends_at;
                let inside: Vec<_> = hours.iter().filter(|(hour, _)| is_inside(**hour)).collect();
                inside.into_iter().for_each(|(_, spent)| account.settle(*spent));
            }
        }
        Ok(accounts)
    }

    /// Reads the accounts of scopes, and says which scope has which.
    async fn read_scopes(
        &mut self,
        connection: &mut SqliteConnection,
        scopes: &[ScopeColumns],
        first: i64,
        last: i64,
    ) -> Result<HashMap<ScopeColumns, Vec<i64>>, StoreError> {
        let mut by_scope: HashMap<_, Vec<i64>> = HashMap::new();
        for piece in pieces(scopes) {
            let mut query = QueryBuilder::<Driver>::new("SELECT wanted.column1 AS place, ");
            query.push(COLUMNS).push(" FROM (");
            query.push_values(piece.iter().zip(0_i64..), |mut tuple, ((kind, id), place)| {
                tuple.push_bind(place).push_bind(*kind).push_bind(id);
            });
            query.push(
                ") wanted CROSS JOIN spend_account account ON account.scope_kind = wanted.column2 \
                 AND account.scope_id = wanted.column3 AND account.ends_at > ",
            );
            query.push_bind(first).push(" AND account.starts_at <= ").push_bind(last);
            self.push_joins(&mut query);
            for row in query.build().fetch_all(&mut *connection).await.map_err(refused)? {
                let place: i64 = column(&row, "place")?;
                let scope = usize::try_from(place).ok().and_then(|place| piece.get(place)).cloned();
                let number = self.read(&row)?;
                by_scope.entry(scope.unwrap_or_default()).or_default().push(number);
            }
        }
        Ok(by_scope)
    }

    fn push_joins(&self, query: &mut QueryBuilder<Driver>) {
        query.push(" LEFT JOIN lease ON lease.account = account.id AND lease.epoch = ").push_bind(self.epoch.0);
        query.push(" LEFT JOIN estimate ON estimate.account = account.id AND estimate.epoch = ");
        query.push_bind(self.formerly.map(|epoch| epoch.0));
    }

    /// Takes an account from a row, unless it was taken before; returns its number.
    fn read(&mut self, row: &SqliteRow) -> Result<i64, StoreError> {
        let number = column(row, "account")?;
        if let Entry::Vacant(place) = self.by_number.entry(number) {
            place.insert(read_account(row)?);
        }
        Ok(number)
    }

    /// Grants what the targets ask for, as far as there is room.
    pub(super) async fn lease(
        &mut self,
        connection: &mut SqliteConnection,
        tail: &Tail,
        targets: &[LeaseTarget],
        now: i64,
    ) -> Result<Vec<LeaseState>, StoreError> {
        let mut states = Vec::with_capacity(targets.len());
        for piece in pieces(targets) {
            for (target, (limit, number)) in piece.iter().zip(self.read_targets(connection, piece, now).await?) {
                let Some(limit) = limit else {
                    states.push(NO_LIMIT);
                    continue;
                };
                let number = match number {
                    Some(number) => number,
                    None => self.open(connection, tail, &target.account).await?,
                };
                let account = self.by_number.get_mut(&number).expect("it was read or opened just now");
                states.push(account.lease(target, limit));
            }
        }
        Ok(states)
    }

    /// For each target its limit in force, if there is one, and its account, if there is one.
    async fn read_targets(
        &mut self,
        connection: &mut SqliteConnection,
        piece: &[LeaseTarget],
        now: i64,
    ) -> Result<Vec<(Option<Nano>, Option<i64>)>, StoreError> {
        let mut query =
            QueryBuilder::<Driver>::new("SELECT wanted.column1 AS place, CASE WHEN spend_limit.raise_until > ");
        query.push_bind(now);
        query.push(" THEN max(raise_amount, spend_limit.amount) ELSE spend_limit.amount END AS in_force, ");
        query.push(COLUMNS).push(" FROM (");
        query.push_values(piece.iter().zip(0_i64..), |mut tuple, (LeaseTarget { account, .. }, place)| {
            tuple.push_bind(place).push_bind(&account.limit);
            tuple.push_bind(account.scope.kind()).push_bind(account.scope.id());
            tuple.push_bind(account.window.starts_at).push_bind(account.window.ends_at);
        });
        query.push(
            ") wanted LEFT JOIN spend_limit ON spend_limit.id = wanted.column2 \
             LEFT JOIN spend_account account ON account.limit_id = wanted.column2 \
             AND account.scope_kind = wanted.column3 AND account.scope_id = wanted.column4 \
             AND account.starts_at = wanted.column5 AND account.ends_at = wanted.column6",
        );
        self.push_joins(&mut query);
        query.push(" ORDER BY place");
        let mut found = Vec::with_capacity(piece.len());
        for row in query.build().fetch_all(&mut *connection).await.map_err(refused)? {
            let is_there = column::<Option<i64>>(&row, "account")?.is_some();
            let number = is_there.then(|| self.read(&row)).transpose()?;
            found.push((column::<Option<i64>>(&row, "in_force")?.map(nano), number));
        }
        Ok(found)
    }

    /// Opens an account with what was spent before. Asked twice in one batch, it is opened once.
    async fn open(
        &mut self,
        connection: &mut SqliteConnection,
        tail: &Tail,
        key: &AccountKey,
    ) -> Result<i64, StoreError> {
        let (kind, id, window) = (key.scope.kind(), key.scope.id(), key.window);
        let (settled, calls) = spent::before(connection, tail, &key.scope, window).await?;
        let query = sqlx::query_scalar::<_, i64>(
            "INSERT INTO spend_account (limit_id, scope_kind, scope_id, starts_at, ends_at, settled, leased, calls) \
             VALUES (?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE SET calls = calls RETURNING id",
        );
        let query = query.bind(&key.limit).bind(kind).bind(id).bind(window.starts_at).bind(window.ends_at);
        let query = query.bind(amount(settled)).bind(count(calls));
        let number = query.fetch_one(connection).await.map_err(refused)?;
        self.by_number.entry(number).or_insert(Account {
            starts_at: window.starts_at,
            ends_at: window.ends_at,
            settled,
            leased: Nano::ZERO,
            calls,
            lease: Lease::default(),
            estimate: None,
            is_changed: true,
        });
        Ok(number)
    }

    /// Writes back what changed.
    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let changed: Vec<_> = self.by_number.into_iter().filter(|(_, account)| account.is_changed).collect();
        WRITE_BALANCES
            .run(connection, &changed, |values, (number, account)| {
                values.push(*number).push(amount(account.settled)).push(amount(account.leased));
                values.push(count(account.calls));
            })
            .await?;
        let (held, returned): (Vec<_>, Vec<_>) =
            changed.iter().partition(|(_, account)| account.lease.amount > Nano::ZERO);
        WRITE_LEASES
            .run(connection, &held, |values, (number, account)| {
                values.push(*number).push(self.epoch.0);
                values.push(amount(account.lease.amount)).push(amount(account.lease.watermark));
            })
            .await?;
        // A lease of nothing is none.
        END_LEASES
            .run(connection, &returned, |values, (number, _)| {
                values.push(*number).push(self.epoch.0);
            })
            .await?;
        for (number, account) in &changed {
            if let (Some(estimate), Some(formerly)) = (account.estimate, self.formerly) {
                write_estimate(connection, *number, formerly, estimate).await?;
            }
        }
        Ok(())
    }
}

fn read_account(row: &SqliteRow) -> Result<Account, StoreError> {
    let optional = |name| Ok::<_, StoreError>(column::<Option<i64>>(row, name)?.map(nano));
    let (amount, watermark) = (optional("lease")?.unwrap_or_default(), optional("watermark")?.unwrap_or_default());
    Ok(Account {
        starts_at: column(row, "starts_at")?,
        ends_at: column(row, "ends_at")?,
        settled: nano(column(row, "settled")?),
        leased: nano(column(row, "leased")?),
        calls: unsigned(column(row, "calls")?),
        lease: Lease { amount, watermark },
        estimate: optional("estimate")?,
        is_changed: false,
    })
}

impl Account {
    /// Moves what rows cost from leased to settled. The part that the writer's earlier life is charged with already, as
    /// an estimate, is known now and no estimate any more. Rows settled together come to the same as one by one.
    fn settle(&mut self, spent: Spent) {
        let cost = spent.amount;
        self.is_changed = true;
        (self.settled, self.calls) = (self.settled.plus(cost), self.calls.saturating_add(spent.calls));
        let from_lease = self.lease.amount.min(cost);
        self.leased = self.leased.minus(from_lease);
        self.lease.amount = self.lease.amount.minus(from_lease);
        self.lease.watermark = self.lease.watermark.minus(cost);
        if let Some(estimate) = &mut self.estimate {
            let known = (*estimate).min(cost);
            *estimate = estimate.minus(known);
            self.settled = self.settled.minus(known);
        }
    }

    fn lease(&mut self, target: &LeaseTarget, limit: Nano) -> LeaseState {
        let elsewhere = self.leased.minus(self.lease.amount);
        let room = limit.minus(self.settled).minus(elsewhere);
        let granted = target.amount.min(room).max(target.in_use.min(self.lease.amount));
        self.is_changed = true;
        self.leased = elsewhere.plus(granted);
        self.lease = Lease { amount: granted, watermark: target.watermark.min(granted) };
        LeaseState {
            amount: granted,
            watermark: self.lease.watermark,
            limit: Some(limit),
            settled: self.settled,
            leased: self.leased,
            calls: self.calls,
        }
    }
}

/// What a target is told whose limit is gone.
const NO_LIMIT: LeaseState = LeaseState {
    amount: Nano::ZERO,
    watermark: Nano::ZERO,
    limit: None,
    settled: Nano::ZERO,
    leased: Nano::ZERO,
    calls: 0,
};

async fn write_estimate(
    connection: &mut SqliteConnection,
    number: i64,
    epoch: Epoch,
    left: Nano,
) -> Result<(), StoreError> {
    let (delete, update) = (
        "DELETE FROM estimate WHERE account = ? AND epoch = ?",
        "UPDATE estimate SET amount = ?3 WHERE account = ?1 AND epoch = ?2",
    );
    let query = match left {
        Nano::ZERO => sqlx::query(delete).bind(number).bind(epoch.0),
        left => sqlx::query(update).bind(number).bind(epoch.0).bind(amount(left)),
    };
    query.execute(connection).await.map_err(refused)?;
    Ok(())
}

/// Takes from every account that a row was settled in what it cost too much.
pub(super) async fn lower(connection: &mut SqliteConnection, row: &UsageRow, less: Nano) -> Result<(), StoreError> {
    for (kind, id) in scopes_of(row) {
        let query = sqlx::query(
            "UPDATE spend_account SET settled = max(settled - ?, 0) WHERE scope_kind = ? AND scope_id = ? \
             AND ends_at > ? AND starts_at <= ?",
        );
        let query = query.bind(amount(less)).bind(kind).bind(id).bind(row.began_at).bind(row.began_at);
        query.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

/// Clears away accounts of windows long past on which nothing is leased or estimated.
pub(super) async fn clear(connection: &mut SqliteConnection, now: i64) -> Result<(), StoreError> {
    let query = sqlx::query(
        "DELETE FROM spend_account WHERE id IN (SELECT id FROM spend_account account WHERE ends_at < ? AND leased = 0 \
         AND NOT EXISTS (SELECT 1 FROM estimate WHERE estimate.account = account.id) LIMIT ?)",
    );
    query.bind(now.saturating_sub(KEPT_SECONDS)).bind(CLEARED_MAX).execute(connection).await.map_err(refused)?;
    Ok(())
}

/// The account that a row of the estimates' list is about.
pub(super) fn key(row: &SqliteRow) -> Result<AccountKey, StoreError> {
    let (kind, id) = (text(row, "scope_kind")?, text(row, "scope_id")?);
    let scope = Scope::read(&kind, &id).ok_or_else(|| StoreError::Corrupt(format!("scope `{kind}` `{id}`")))?;
    let window = store::Window { starts_at: column(row, "starts_at")?, ends_at: column(row, "ends_at")? };
    Ok(AccountKey { limit: text(row, "limit_id")?, scope, window })
}
