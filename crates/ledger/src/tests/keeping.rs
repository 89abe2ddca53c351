//! Periods that end, accounts that come to rest, and the stop.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use pricing::Nano;
use store::{KeyId, Period, Scope, UsageRow};

use super::desk::{BEGIN, Desk, Mode, exceeded, monthly, settle};
use super::{limit, project};
use crate::{AccountKey, Hold, Refused};

/// `BEGIN` is a minute before an hour ends.
const TO_THE_HOUR: i64 = 60;

async fn hourly(amount: u64) -> Desk {
    Desk::open(vec![limit("limit_hour", Scope::Project(project("a")), Period::Hour, amount)]).await
}

fn account(at: i64) -> AccountKey {
    let scope = Scope::Project(project("a"));
    AccountKey { limit: "limit_hour".into(), scope, window: Period::Hour.window(at) }
}

async fn hold_at(desk: &Desk, began_at: i64, amount: u64) -> Result<Hold, Refused> {
    desk.ledger.hold(UsageRow { began_at, ..desk.row() }, Some(Nano(amount))).await
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_spans_the_periods_end_belongs_to_the_first() {
    let desk = hourly(100).await;
    let spanning = desk.held(80).await;
    desk.clock.advance(TO_THE_HOUR);
    let next = desk.held(100).await;
    assert!(!next.try_grow(Nano(1)));
    assert!(spanning.try_grow(Nano(5)), "a stream goes on within its own hour's limit");
    settle(spanning, 75);
    settle(next, 40);
    desk.until(|| desk.spent() == 115).await;
    let settled = |at| desk.store.memory.balance(&account(at)).0;
    assert_eq!((settled(BEGIN), settled(BEGIN + TO_THE_HOUR)), (Nano(75), Nano(40)));
}

#[tokio::test(start_paused = true)]
async fn requests_of_two_windows_by_turns_share_one_account_each() {
    let desk = hourly(100).await;
    desk.clock.advance(TO_THE_HOUR);
    let moments = [BEGIN + TO_THE_HOUR - 1, BEGIN + TO_THE_HOUR];
    // Clocks are read in one order, and accounts are asked in another.
    let mut held = [0, 0];
    let mut holds = Vec::new();
    for round in 0..40 {
        let which = round % 2;
        match hold_at(&desk, moments[which], 15).await {
            Ok(hold) => {
                held[which] += 15;
                holds.push(hold);
            }
            Err(Refused::Exceeded(refused)) => assert_eq!(refused.left, Nano(10)),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(held, [90, 90]);
    holds.into_iter().for_each(|hold| settle(hold, 15));
    desk.until(|| desk.spent() == 180).await;
    for at in moments {
        hold_at(&desk, at, 10).await.expect("granted").release();
        assert_eq!(exceeded(hold_at(&desk, at, 11).await).left, Nano(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_over_the_periods_end_is_granted_in_its_window() {
    let desk = hourly(100).await;
    desk.store.set(Mode::Stalls);
    let pass = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        desk.clock.advance(TO_THE_HOUR);
        desk.store.set(Mode::Works);
    };
    let (hold, ()) = tokio::join!(desk.hold(60), pass);
    settle(hold.expect("granted"), 60);
    desk.until(|| desk.store.memory.balance(&account(BEGIN)).0 == Nano(60)).await;
    assert_eq!(exceeded(hold_at(&desk, BEGIN, 41).await).left, Nano(40));
}

#[tokio::test(start_paused = true)]
async fn an_end_users_next_day_is_not_forgotten_with_the_day_before() {
    let users = limit("limit_users", Scope::EndUser(project("a"), String::new()), Period::Hour, 100);
    let desk = Desk::open(vec![users]).await;
    let hold = async |amount| {
        desk.ledger.hold(UsageRow { end_user: Some("u".into()), ..desk.row() }, Some(Nano(amount))).await
    };
    settle(hold(50).await.expect("granted"), 50);
    desk.clock.advance(TO_THE_HOUR);
    let running = hold(70).await.expect("a new hour");
    // The account of the hour before comes to rest and goes, the new one is in use.
    for _ in 0..10 {
        desk.clock.advance(30);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(desk.names("limit_users"), 1);
    let refused = exceeded(hold(40).await);
    assert_eq!((refused.held, refused.left), (Nano(70), Nano(30)));
    settle(running, 70);
    desk.until(|| desk.spent() == 120).await;
    desk.clock.advance(120);
    desk.until(|| desk.names("limit_users") == 0).await;
    assert_eq!(exceeded(hold(31).await).left, Nano(30), "and what was spent in the hour is known again");
}

#[tokio::test(start_paused = true)]
async fn an_idle_account_returns_its_lease_and_is_not_written_again() {
    let desk = Desk::with(100_000).await;
    for _ in 0..20 {
        settle(desk.held(100).await, 60);
    }
    desk.until(|| desk.balance().0 == 1_200).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(desk.balance().1 > 0, "the next request need not wait");
    let writes = || desk.ledger.counters.writes.load(SeqCst);
    let before = writes();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(writes(), before, "nobody used it");
    desk.clock.advance(61);
    desk.until(|| desk.balance().1 == 0).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(writes() <= before + 2, "{}", writes() - before);
    desk.held(98_800).await.release();
}

#[tokio::test(start_paused = true)]
async fn what_little_is_left_is_not_asked_for_again_and_again() {
    let desk = Desk::with(1_000).await;
    settle(desk.held(995).await, 995);
    desk.until(|| desk.balance().0 == 995).await;
    desk.held(3).await.release();
    // A request that runs without costing anything.
    let free = desk.held(0).await;
    desk.until(|| !desk.ledger.has_work()).await;
    desk.clock.advance(120);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = desk.ledger.counters.writes.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(desk.ledger.counters.writes.load(SeqCst), before);
    free.release();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_while_its_account_is_returned_as_idle_is_granted() {
    let desk = Desk::with(1_000).await;
    for _ in 0..30 {
        settle(desk.held(10).await, 10);
        desk.until(|| !desk.ledger.has_work()).await;
        desk.clock.advance(61);
        // The turn that returns the lease is under way when the request comes.
        desk.store.set(Mode::Stalls);
        tokio::time::sleep(Duration::from_millis(60)).await;
        let work = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            desk.store.set(Mode::Works);
        };
        let (hold, ()) = tokio::join!(desk.hold(500), work);
        hold.expect("granted").release();
    }
    assert_eq!(desk.ledger.counters.refused.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_everything_and_returns_every_lease() {
    let keys = 9_000;
    let key = |number: usize| KeyId::new(format!("key_{number}"));
    let limits: Vec<_> = (0..keys)
        .map(|number| limit(&format!("limit_{number}"), Scope::Key(key(number)), Period::Month, 1_000))
        .chain([monthly(1_000_000_000)])
        .collect();
    let desk = Desk::open(limits.clone()).await;
    let mut holds = tokio::task::JoinSet::new();
    for number in 0..keys {
        let row = UsageRow { key: key(number), ..desk.row() };
        let ledger = Arc::clone(&desk.ledger);
        holds.spawn(async move { ledger.hold(row, Some(Nano(50))).await });
    }
    holds.join_all().await.into_iter().for_each(|hold| settle(hold.expect("granted"), 7));
    // Some stock is left with every one of them, and some ends are not written yet.
    desk.until(|| desk.spent() == 7 * keys as u64).await;
    let end = async |number: usize| {
        let row = UsageRow { key: key(number), ..desk.row() };
        settle(desk.ledger.hold(row, Some(Nano(50))).await.expect("granted"), 0);
    };
    for number in 0..5 {
        end(number).await;
    }
    let (store, clock) = (Arc::clone(&desk.store), Arc::clone(&desk.clock));
    assert!(desk.close().await);
    assert_eq!(store.memory.spent(), Nano(7 * keys as u64));
    for number in 0..keys {
        let window = Period::Month.window(BEGIN);
        let account = AccountKey { limit: format!("limit_{number}"), scope: Scope::Key(key(number)), window };
        assert_eq!(store.memory.balance(&account), (Nano(7), Nano(0)), "{number}");
    }
    // The next life finds nothing to estimate.
    let desk = Desk::again(store, clock, limits).await;
    assert_eq!(desk.balance(), (7 * keys as u64, 0));
    desk.held(1).await.release();
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_when_something_is_left() {
    let desk = Desk::with(1_000).await;
    let running = desk.held(300).await;
    let (store, clock) = (Arc::clone(&desk.store), Arc::clone(&desk.clock));
    assert!(!desk.close().await, "a request still runs");
    // Its process is gone; the next one charges what it may have spent, visibly.
    std::mem::forget(running);
    let desk = Desk::again(Arc::clone(&store), clock, vec![monthly(1_000)]).await;
    assert_eq!(desk.standing().await.settled, Nano(300));
    let estimates = crate::LedgerStore::estimates(&*store).await.expect("readable");
    assert_eq!(estimates.iter().map(|estimate| estimate.amount.0).collect::<Vec<_>>(), [300]);
    desk.store.set(Mode::Fails);
    settle(desk.ledger.try_hold(UsageRow { project: project("b"), ..desk.row() }, None).expect("no limit"), 9);
    assert!(!desk.close().await, "the store cannot be written");
    assert_eq!(store.memory.spent(), Nano(0));
}

#[tokio::test(start_paused = true)]
async fn at_rest_a_crash_leaves_one_step_charged_and_no_more() {
    let desk = Desk::with(100_000).await;
    let mut holds = Vec::new();
    for _ in 0..50 {
        holds.push(desk.held(100).await);
    }
    holds.into_iter().for_each(|hold| settle(hold, 40));
    desk.until(|| desk.spent() == 2_000).await;
    // What was in use at the peak, or less, and nothing for what the keeper no longer needs.
    let store = Arc::clone(&desk.store);
    let estimates = store.memory.fence(crate::Epoch(1), BEGIN);
    let charged: u64 = estimates.iter().map(|estimate| estimate.amount.0).sum();
    assert!(charged <= 50 * 100, "{charged}");
}
