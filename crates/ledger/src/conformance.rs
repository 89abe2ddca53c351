//! What [`LedgerStore`] means, as a suite that every backend runs on an empty store of its own.
//!
//! Each function panics with words when the backend breaks the promise in its name. What lies behind the port (limits
//! are the console's, balances are shown elsewhere) the backend lends through [`Behind`].

use async_trait::async_trait;
use pricing::{Nano, Quantities, Tier};
use store::{Certainty, CostLine, KeyId, NearLimit, Period, ProjectId, Raise, Scope, SpendLimit, UsageKind, UsageRow};

use crate::port::{AccountKey, Batch, Epoch, Estimate, LeaseState, LeaseTarget, LedgerStore, WriteError};

/// What the suite does behind the port.
#[async_trait]
pub trait Behind: Send + Sync {
    /// Stores a limit, in place of the one with its id.
    async fn put_limit(&self, limit: &SpendLimit);

    /// Deletes a limit, its accounts with it.
    async fn remove_limit(&self, id: &str);

    /// Settled and leased of an account; nothing where there is none.
    async fn balance(&self, account: &AccountKey) -> (Nano, Nano);
}

/// 2026-11-24T12:30:00Z: in the middle of an hour, a day and a month.
const NOW: i64 = 1_795_523_400;

/// A row of a settled request: project `proj_a`, key `key_a`, nothing else named.
pub fn row(id: &str, cost: u64, began_at: i64) -> UsageRow {
    UsageRow {
        id: id.to_owned(),
        began_at,
        settled_at: began_at + 2,
        project: ProjectId::new("proj_a"),
        key: KeyId::new("key_a"),
        end_user: None,
        run: None,
        tag: None,
        kind: UsageKind::Completions,
        endpoint: "/v1/chat/completions",
        model: "gpt-5.4".to_owned(),
        tier: Tier::Standard,
        images: 0,
        quantities: Quantities::default(),
        cost: Nano(cost),
        lines: vec![CostLine { item: "gpt-5.4, text_output".into(), quantity: cost, amount: Nano(cost) }],
        certainty: Certainty::Settled,
    }
}

/// A limit that refuses, without a raise, for all calls.
pub fn limit(id: &str, scope: Scope, period: Period, amount: u64) -> SpendLimit {
    SpendLimit {
        id: id.to_owned(),
        scope,
        period,
        amount: Nano(amount),
        calls_max: None,
        is_shadow: false,
        near_limit: NearLimit::Reject,
        raise: None,
        created_at: 1_700_000_000,
    }
}

fn project() -> ProjectId {
    ProjectId::new("proj_a")
}

fn account(limit: &SpendLimit, at: i64) -> AccountKey {
    AccountKey { limit: limit.id.clone(), scope: limit.scope.clone(), window: limit.period.window(at) }
}

fn target(account: &AccountKey, amount: u64, watermark: u64, in_use: u64) -> LeaseTarget {
    let [amount, watermark, in_use] = [amount, watermark, in_use].map(Nano);
    LeaseTarget { account: account.clone(), amount, watermark, in_use }
}

fn batch(epoch: Epoch, rows: Vec<UsageRow>, targets: Vec<LeaseTarget>) -> Batch {
    Batch { epoch, now: NOW, rows, targets, formerly: None }
}

/// Settled, leased, lease, watermark.
fn figures(state: &LeaseState) -> [u64; 4] {
    [state.settled, state.leased, state.amount, state.watermark].map(|amount| amount.0)
}

async fn enter(store: &dyn LedgerStore) -> Epoch {
    store.enter(NOW).await.expect("a life begins")
}

async fn write(store: &dyn LedgerStore, batch: &Batch) -> Vec<LeaseState> {
    let states = store.write(batch).await.expect("written");
    assert_eq!(states.len(), batch.targets.len(), "a state for each target");
    states
}

/// Writes one target.
async fn lease(store: &dyn LedgerStore, epoch: Epoch, target: LeaseTarget) -> LeaseState {
    write(store, &batch(epoch, Vec::new(), vec![target])).await[0]
}

async fn balance(behind: &dyn Behind, account: &AccountKey) -> (u64, u64) {
    let (settled, leased) = behind.balance(account).await;
    (settled.0, leased.0)
}

/// A limit on `proj_a`'s month, stored, and its account.
async fn with_limit(behind: &dyn Behind, amount: u64) -> (SpendLimit, AccountKey) {
    let limit = limit("limit_project", Scope::Project(project()), Period::Month, amount);
    behind.put_limit(&limit).await;
    let account = account(&limit, NOW);
    (limit, account)
}

/// Each life has a number of its own, and a later one a higher one.
pub async fn lives_are_numbered(store: &dyn LedgerStore, _behind: &dyn Behind) {
    let (first, second, third) = (enter(store).await, enter(store).await, enter(store).await);
    assert!(first < second && second < third, "{first:?} {second:?} {third:?}");
}

/// A lease is granted as far as there is room, and what is asked less is returned.
pub async fn leases_share_what_is_there(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (limit, account) = with_limit(behind, 100).await;
    let (one, other) = (enter(store).await, enter(store).await);
    let state = lease(store, one, target(&account, 70, 20, 10)).await;
    assert_eq!((figures(&state), state.limit, state.calls), ([0, 70, 70, 20], Some(limit.amount), 0));
    let state = lease(store, other, target(&account, 70, 50, 0)).await;
    assert_eq!(figures(&state), [0, 100, 30, 30], "thirty were left, and the watermark is within the lease");
    let state = lease(store, one, target(&account, 15, 15, 10)).await;
    assert_eq!(figures(&state), [0, 45, 15, 15]);
    let state = lease(store, other, target(&account, 70, 50, 0)).await;
    assert_eq!(figures(&state), [0, 85, 70, 50]);
    assert_eq!(balance(behind, &account).await, (0, 85));
}

/// Targets are absolute: saying them twice changes nothing, as after an answer that was lost.
pub async fn a_target_said_twice_changes_nothing(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, account) = with_limit(behind, 100).await;
    let epoch = enter(store).await;
    lease(store, epoch, target(&account, 50, 40, 30)).await;
    let twice = batch(epoch, vec![row("req_1", 12, NOW)], vec![target(&account, 60, 30, 18)]);
    let first = write(store, &twice).await;
    assert_eq!(figures(&first[0]), [12, 60, 60, 30]);
    assert_eq!(write(store, &twice).await, first);
    assert_eq!(balance(behind, &account).await, (12, 60));
}

/// Settled and leased never pass the limit, whoever writes at the same time.
pub async fn concurrent_writers_stay_within_the_limit(store: &dyn LedgerStore, behind: &dyn Behind) {
    const LIMIT: u64 = 1_000;
    let (_, account) = with_limit(behind, LIMIT).await;
    let writer = async |name: u64| {
        let epoch = enter(store).await;
        let (mut leased, mut spent) = (0, 0);
        for round in 0..24 {
            // Some of what is leased is spent; then more or less is asked, by turns.
            let cost = leased / (2 + name % 2);
            let rows = vec![row(&format!("req_{name}_{round}"), cost, NOW)];
            let wanted = (name * 7 + round * 13) % 90;
            let states = write(store, &batch(epoch, rows, vec![target(&account, wanted, wanted / 2, 0)])).await;
            let [settled, all_leased, amount, watermark] = figures(&states[0]);
            assert!(settled + all_leased <= LIMIT, "{settled} settled and {all_leased} leased under {LIMIT}");
            assert!(amount <= wanted && watermark <= amount, "{amount} leased, {wanted} wanted");
            (leased, spent) = (amount, spent + cost);
        }
        lease(store, epoch, target(&account, 0, 0, 0)).await;
        spent
    };
    let spent = tokio::join!(writer(1), writer(2), writer(3), writer(4));
    let spent = spent.0 + spent.1 + spent.2 + spent.3;
    assert!(spent > LIMIT / 2, "the writers really spent: {spent}");
    assert_eq!(balance(behind, &account).await, (spent, 0));
}

/// A row moves its cost from leased to settled once, whoever brings it again.
pub async fn a_row_settles_once(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, account) = with_limit(behind, 100).await;
    let (one, other) = (enter(store).await, enter(store).await);
    lease(store, one, target(&account, 50, 50, 50)).await;
    lease(store, other, target(&account, 20, 20, 0)).await;
    write(store, &batch(one, vec![row("req_1", 30, NOW)], Vec::new())).await;
    assert_eq!(balance(behind, &account).await, (30, 40), "out of its writer's lease");
    write(store, &batch(one, vec![row("req_1", 30, NOW), row("req_2", 5, NOW)], Vec::new())).await;
    write(store, &batch(other, vec![row("req_1", 30, NOW)], Vec::new())).await;
    // Another cost does not make it another request.
    write(store, &batch(one, vec![row("req_1", 31, NOW), row("req_2", 5, NOW), row("req_2", 5, NOW)], Vec::new()))
        .await;
    assert_eq!(balance(behind, &account).await, (35, 35));
    let state = lease(store, one, target(&account, 15, 15, 15)).await;
    assert_eq!((figures(&state), state.calls), ([35, 35, 15, 15], 2));
}

/// A row is always recorded, above its lease and above the limit too; then nothing is leased any more.
pub async fn a_settlement_above_the_limit_is_recorded(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, account) = with_limit(behind, 100).await;
    let (one, other) = (enter(store).await, enter(store).await);
    lease(store, one, target(&account, 40, 40, 40)).await;
    lease(store, other, target(&account, 20, 20, 0)).await;
    let states = write(store, &batch(one, vec![row("req_1", 130, NOW)], vec![target(&account, 40, 40, 0)])).await;
    assert_eq!(figures(&states[0]), [130, 20, 0, 0], "the other's lease stays as it was");
    assert_eq!(figures(&lease(store, other, target(&account, 20, 20, 20)).await), [130, 20, 20, 20], "it is in use");
    assert_eq!(figures(&lease(store, other, target(&account, 20, 20, 5)).await), [130, 5, 5, 5]);
    assert_eq!(
        figures(&lease(store, one, target(&account, 1, 1, 1)).await),
        [130, 5, 0, 0],
        "in use, but never leased"
    );
    assert_eq!(balance(behind, &account).await, (130, 5));
}

/// A row is settled from the lease of its writer in the window that it began in, however late it ends.
pub async fn a_row_belongs_to_the_window_it_began_in(store: &dyn LedgerStore, behind: &dyn Behind) {
    let limit = limit("limit_hour", Scope::Organization, Period::Hour, 100);
    behind.put_limit(&limit).await;
    let epoch = enter(store).await;
    let (before, after) = (account(&limit, NOW), account(&limit, NOW + 3_600));
    for account in [&before, &after] {
        lease(store, epoch, target(account, 50, 50, 30)).await;
    }
    let boundary = before.window.ends_at;
    let late = UsageRow { settled_at: boundary + 60, ..row("req_1", 30, boundary - 1) };
    write(store, &batch(epoch, vec![late, row("req_2", 7, boundary)], Vec::new())).await;
    assert_eq!(balance(behind, &before).await, (30, 20));
    assert_eq!(balance(behind, &after).await, (7, 43));
}

/// A lowered limit shrinks leases to the room that is left, but not below what is in use; a raised one makes room.
pub async fn a_lowered_limit_calls_leases_back(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (limit, account) = with_limit(behind, 100).await;
    let (one, other) = (enter(store).await, enter(store).await);
    lease(store, one, target(&account, 60, 30, 25)).await;
    lease(store, other, target(&account, 40, 40, 0)).await;
    behind.put_limit(&SpendLimit { amount: Nano(50), ..limit.clone() }).await;
    let state = lease(store, one, target(&account, 60, 30, 25)).await;
    assert_eq!((figures(&state), state.limit), ([0, 65, 25, 25], Some(Nano(50))));
    assert_eq!(figures(&lease(store, other, target(&account, 40, 40, 0)).await), [0, 50, 25, 25]);
    assert_eq!(figures(&lease(store, one, target(&account, 60, 30, 0)).await), [0, 50, 25, 25]);
    behind.put_limit(&SpendLimit { amount: Nano(200), ..limit }).await;
    assert_eq!(figures(&lease(store, one, target(&account, 60, 30, 0)).await), [0, 85, 60, 30]);
}

/// A raise is in force until the second before its end.
pub async fn a_raise_ends(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (limit, account) = with_limit(behind, 50).await;
    behind.put_limit(&SpendLimit { raise: Some(Raise { amount: Nano(80), until: NOW + 10 }), ..limit }).await;
    let epoch = enter(store).await;
    for (now, granted) in [(NOW, 80), (NOW + 9, 80), (NOW + 10, 50), (NOW + 11, 50)] {
        let batch = Batch { now, ..batch(epoch, Vec::new(), vec![target(&account, 100, 100, 0)]) };
        let state = write(store, &batch).await[0];
        assert_eq!((state.amount, state.limit), (Nano(granted), Some(Nano(granted))), "{} s", now - NOW);
    }
}

/// Without a limit nothing is leased, and that is said; rows are recorded all the same. A deleted limit takes its
/// accounts and their estimates with it.
pub async fn without_a_limit_nothing_is_leased(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (limit, account) = with_limit(behind, 100).await;
    let (dead, epoch) = (enter(store).await, enter(store).await);
    lease(store, dead, target(&account, 10, 10, 10)).await;
    assert_eq!(store.fence_others(epoch, NOW).await.expect("fenced").len(), 1);
    lease(store, epoch, target(&account, 50, 50, 20)).await;
    behind.remove_limit(&limit.id).await;
    let rows = vec![row("req_1", 20, NOW)];
    let states = write(store, &batch(epoch, rows, vec![target(&account, 50, 50, 0)])).await;
    assert_eq!((figures(&states[0]), states[0].limit), ([0, 0, 0, 0], None));
    assert_eq!(balance(behind, &account).await, (0, 0));
    assert_eq!(store.estimates().await.expect("readable"), []);
    // Set again, it counts what was spent without it.
    behind.put_limit(&limit).await;
    assert_eq!(figures(&lease(store, epoch, target(&account, 50, 50, 0)).await), [20, 50, 50, 50]);
}

/// Nothing of a fenced process's batch is written.
pub async fn a_fenced_writer_writes_nothing(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, account) = with_limit(behind, 100).await;
    let (dead, epoch) = (enter(store).await, enter(store).await);
    lease(store, dead, target(&account, 40, 0, 0)).await;
    store.fence_others(epoch, NOW).await.expect("fenced");
    let late = batch(dead, vec![row("req_1", 30, NOW)], vec![target(&account, 40, 40, 40)]);
    for _ in 0..2 {
        let result = store.write(&late).await;
        assert!(matches!(result, Err(WriteError::Fenced)), "{result:?}");
    }
    assert_eq!(balance(behind, &account).await, (0, 0));
    // The row was not written: it settles when somebody brings it who may.
    write(store, &batch(epoch, late.rows, Vec::new())).await;
    assert_eq!(balance(behind, &account).await, (30, 0));
}

/// A fenced process's leases end: above the watermark at once, below it as one estimate an account.
pub async fn fencing_frees_above_the_watermark(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, project_account) = with_limit(behind, 100).await;
    let hour = limit("limit_hour", Scope::Organization, Period::Hour, 500);
    let key = limit("limit_key", Scope::Key(KeyId::new("key_a")), Period::Total, 500);
    behind.put_limit(&hour).await;
    behind.put_limit(&key).await;
    let (hour, key) = (account(&hour, NOW), account(&key, NOW));
    let (dead, epoch) = (enter(store).await, enter(store).await);
    let targets = vec![target(&project_account, 60, 25, 10), target(&hour, 300, 100, 100), target(&key, 50, 0, 0)];
    write(store, &batch(dead, Vec::new(), targets)).await;
    // What was settled before is not charged twice: it left the watermark, too.
    write(store, &batch(dead, vec![row("req_1", 10, NOW)], Vec::new())).await;
    lease(store, epoch, target(&project_account, 20, 20, 0)).await;
    let mut fenced = store.fence_others(epoch, NOW + 5).await.expect("fenced");
    fenced.sort_by_key(|estimate| estimate.amount);
    let charged =
        |estimate: &Estimate| (estimate.account.clone(), estimate.amount.0, estimate.epoch, estimate.created_at);
    let expected = [(project_account.clone(), 15, dead, NOW + 5), (hour.clone(), 90, dead, NOW + 5)];
    assert_eq!(fenced.iter().map(charged).collect::<Vec<_>>(), expected);
    assert!(fenced.iter().all(|estimate| estimate.id.starts_with("estimate_")) && fenced[0].id != fenced[1].id);
    let mut listed = store.estimates().await.expect("readable");
    listed.sort_by_key(|estimate| estimate.amount);
    assert_eq!(listed, fenced);
    assert_eq!(balance(behind, &project_account).await, (25, 20), "the living keep their leases");
    assert_eq!(balance(behind, &hour).await, (100, 0));
    assert_eq!(balance(behind, &key).await, (10, 0));
    assert_eq!(store.fence_others(epoch, NOW + 6).await.expect("fenced"), [], "once");
    write(store, &batch(epoch, Vec::new(), vec![target(&project_account, 20, 20, 0)])).await;
}

/// A later fact lowers an estimate, never raises it; then it is a fact, and no estimate any more.
pub async fn an_estimate_is_lowered_by_a_fact(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, account) = with_limit(behind, 100).await;
    let (dead, epoch) = (enter(store).await, enter(store).await);
    lease(store, dead, target(&account, 60, 40, 40)).await;
    let id = store.fence_others(epoch, NOW).await.expect("fenced")[0].id.clone();
    assert!(!store.lower_estimate(&id, Nano(41)).await.expect("written"), "that would be more");
    assert!(!store.lower_estimate("estimate_none", Nano(0)).await.expect("written"));
    assert_eq!(balance(behind, &account).await, (40, 0));
    assert!(store.lower_estimate(&id, Nano(15)).await.expect("written"));
    assert_eq!(balance(behind, &account).await, (15, 0));
    assert_eq!(store.estimates().await.expect("readable"), []);
    assert!(!store.lower_estimate(&id, Nano(0)).await.expect("written"), "it is known already");
    assert_eq!(figures(&lease(store, epoch, target(&account, 100, 100, 0)).await), [15, 85, 85, 85]);
}

/// A process that was fenced and lives brings its holds' rows in its new life: they lower the estimate of the old.
pub async fn rows_of_a_former_life_lower_its_estimate(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, account) = with_limit(behind, 100).await;
    let (first, stranger) = (enter(store).await, enter(store).await);
    lease(store, first, target(&account, 60, 40, 40)).await;
    store.fence_others(stranger, NOW).await.expect("fenced");
    let second = enter(store).await;
    let estimated = async || -> Vec<u64> {
        store.estimates().await.expect("readable").iter().map(|estimate| estimate.amount.0).collect()
    };
    let later = |rows| Batch { formerly: Some(first), ..batch(second, rows, Vec::new()) };
    write(store, &later(vec![row("req_1", 30, NOW)])).await;
    assert_eq!((balance(behind, &account).await, estimated().await), ((40, 0), vec![10]));
    write(store, &later(vec![row("req_1", 30, NOW)])).await;
    assert_eq!((balance(behind, &account).await, estimated().await), ((40, 0), vec![10]), "a row counts once");
    write(store, &batch(stranger, vec![row("req_2", 5, NOW)], Vec::new())).await;
    assert_eq!((balance(behind, &account).await, estimated().await), ((45, 0), vec![10]), "not one of its own");
    write(store, &later(vec![row("req_3", 12, NOW)])).await;
    assert_eq!((balance(behind, &account).await, estimated().await), ((47, 0), vec![]), "the rest is charged anew");
}

/// The first lease of an account begins with what its scope spent before in its window, the batch's own rows included;
/// nothing of others, and nothing of other windows.
pub async fn a_new_account_knows_what_was_spent_before(store: &dyn LedgerStore, behind: &dyn Behind) {
    let epoch = enter(store).await;
    let named = |id: &str, cost: u64| UsageRow {
        end_user: Some("u".into()),
        run: Some("r".into()),
        tag: Some("t".into()),
        ..row(id, cost, NOW - 60)
    };
    let other = |id: &str, cost: u64| UsageRow {
        end_user: Some("u2".into()),
        run: Some("r2".into()),
        tag: Some("t2".into()),
        key: KeyId::new("key_a2"),
        ..row(id, cost, NOW - 60)
    };
    let elsewhere =
        UsageRow { project: ProjectId::new("proj_b"), key: KeyId::new("key_b"), ..named("req_elsewhere", 10_000) };
    let month = Period::Month.window(NOW);
    let rows = vec![
        named("req_1", 1),
        named("req_2", 10),
        other("req_3", 100),
        row("req_4", 1_000, month.starts_at),
        elsewhere,
        UsageRow { began_at: month.starts_at - 1, ..named("req_before", 100_000) },
        UsageRow { began_at: month.ends_at, ..named("req_after", 1_000_000) },
    ];
    write(store, &batch(epoch, rows, Vec::new())).await;
    let scopes = [
        (Scope::Organization, 11_111, 5),
        (Scope::Project(project()), 1_111, 4),
        (Scope::Key(KeyId::new("key_a")), 1_011, 3),
        (Scope::EndUser(project(), "u".into()), 11, 2),
        (Scope::Run(project(), "r".into()), 11, 2),
        (Scope::Tag(project(), "t".into()), 11, 2),
    ];
    for (number, (scope, spent, calls)) in (0..).zip(scopes) {
        // A limit for each has its accounts under the name of one.
        let each = match &scope {
            Scope::EndUser(..) | Scope::Run(..) | Scope::Tag(..) => scope.one(""),
            _ => scope.clone(),
        };
        let limit = limit(&format!("limit_{number}"), each, Period::Month, 2_000_000);
        behind.put_limit(&limit).await;
        let account = AccountKey { scope: scope.clone(), ..account(&limit, NOW) };
        let state = lease(store, epoch, target(&account, 5, 5, 0)).await;
        assert_eq!((figures(&state), state.calls), ([spent, 5, 5, 5], calls), "{scope:?}");
    }
    // A row that comes with the first lease counts once.
    let limit = limit("limit_later", Scope::EndUser(project(), String::new()), Period::Day, 100);
    behind.put_limit(&limit).await;
    let account = AccountKey { scope: limit.scope.one("u"), ..account(&limit, NOW) };
    let states = write(store, &batch(epoch, vec![named("req_5", 30)], vec![target(&account, 80, 80, 0)])).await;
    assert_eq!((figures(&states[0]), states[0].calls), ([41, 59, 59, 59], 3));
}

/// Every account that a row concerns is charged, each from its own lease; an end user's not from another's.
pub async fn a_row_charges_every_account_that_it_concerns(store: &dyn LedgerStore, behind: &dyn Behind) {
    let (_, project_account) = with_limit(behind, 100).await;
    let users = limit("limit_users", Scope::EndUser(project(), String::new()), Period::Day, 50);
    behind.put_limit(&users).await;
    let user = |name: &str| AccountKey { scope: users.scope.one(name), ..account(&users, NOW) };
    let epoch = enter(store).await;
    let targets =
        vec![target(&project_account, 40, 40, 0), target(&user("u"), 20, 20, 0), target(&user("v"), 20, 20, 0)];
    write(store, &batch(epoch, Vec::new(), targets)).await;
    let theirs = |id: &str, name: Option<&str>| UsageRow { end_user: name.map(str::to_owned), ..row(id, 6, NOW) };
    let rows =
        vec![theirs("req_1", Some("u")), theirs("req_2", Some("v")), theirs("req_3", Some("u")), theirs("req_4", None)];
    write(store, &batch(epoch, rows, Vec::new())).await;
    assert_eq!(balance(behind, &project_account).await, (24, 16));
    assert_eq!(balance(behind, &user("u")).await, (12, 8));
    assert_eq!(balance(behind, &user("v")).await, (6, 14));
}
