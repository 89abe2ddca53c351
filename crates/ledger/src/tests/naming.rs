//! Limits for each end user, run or tag: accounts at first use, names that are made up, calls.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use pricing::Nano;
use store::{Period, Scope, SpendLimit, UsageRow};

use super::desk::{Desk, exceeded, settle};
use super::{limit, project};
use crate::{Hold, NAMES_MAX, Refused};

fn for_each_user(amount: u64) -> SpendLimit {
    limit("limit_users", Scope::EndUser(project("a"), String::new()), Period::Total, amount)
}

fn for_each_run(calls_max: u64) -> SpendLimit {
    let runs = limit("limit_runs", Scope::Run(project("a"), String::new()), Period::Total, 1_000_000);
    SpendLimit { calls_max: Some(calls_max), ..runs }
}

async fn hold_as(desk: &Desk, user: &str, amount: u64) -> Result<Hold, Refused> {
    desk.ledger.hold(UsageRow { end_user: Some(user.to_owned()), ..desk.row() }, Some(Nano(amount))).await
}

async fn call(desk: &Desk, run: &str, amount: u64) -> Result<Hold, Refused> {
    desk.ledger.hold(UsageRow { run: Some(run.to_owned()), ..desk.row() }, Some(Nano(amount))).await
}

#[tokio::test(start_paused = true)]
async fn a_request_that_names_no_end_user_is_refused_where_each_has_a_limit() {
    let desk = Desk::open(vec![for_each_user(100), for_each_run(5)]).await;
    let result = desk.hold(10).await;
    assert!(matches!(result, Err(Refused::Nameless(Scope::EndUser(..)))), "{result:?}");
    // One that is in no run passes a limit for runs.
    hold_as(&desk, "u", 10).await.expect("granted").release();
}

#[tokio::test(start_paused = true)]
async fn each_end_user_has_an_account_of_its_own_and_a_named_limit_stands_in() {
    let named = limit("limit_u", Scope::EndUser(project("a"), "u".into()), Period::Total, 300);
    let desk = Desk::open(vec![for_each_user(100), named]).await;
    let (u, v) = (hold_as(&desk, "u", 300).await, hold_as(&desk, "v", 100).await);
    let (u, v) = (u.expect("granted"), v.expect("granted"));
    assert_eq!(exceeded(hold_as(&desk, "u", 1).await).limit, "limit_u");
    let refused = exceeded(hold_as(&desk, "v", 1).await);
    assert_eq!((refused.limit.as_str(), refused.scope), ("limit_users", Scope::EndUser(project("a"), "v".into())));
    hold_as(&desk, "w", 100).await.expect("granted").release();
    [u, v].into_iter().for_each(Hold::release);
}

#[tokio::test(start_paused = true)]
async fn eight_first_calls_of_an_unknown_end_user_at_once() {
    let desk = Arc::new(Desk::open(vec![for_each_user(100)]).await);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let desk = Arc::clone(&desk);
        calls.spawn(async move { hold_as(&desk, "unknown", 30).await });
    }
    let results = calls.join_all().await;
    let (granted, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((granted.len(), refused.len()), (3, 5));
    for refused in refused {
        assert_eq!(exceeded(refused).left, Nano(10));
    }
    let standing = desk.ledger.standings("limit_users").await;
    assert_eq!(standing.iter().map(|standing| standing.held.0).collect::<Vec<_>>(), [90], "one account");
    granted.into_iter().flatten().for_each(|hold| settle(hold, 30));
    hold_as(&desk, "unknown", 10).await.expect("granted").release();
}

#[tokio::test(start_paused = true)]
async fn made_up_names_are_bounded_and_forgotten() {
    let desk = Desk::open(vec![for_each_user(100)]).await;
    let active = hold_as(&desk, "active", 10).await.expect("granted");
    let refused = |user: String| {
        let row = UsageRow { end_user: Some(user), ..desk.row() };
        desk.ledger.try_hold(row, None).expect_err("it has no bound").expect("waiting is in vain")
    };
    for number in 1..NAMES_MAX {
        assert!(matches!(refused(number.to_string()), Refused::Unbounded(_)), "{number}");
    }
    assert!(matches!(refused("one more".into()), Refused::TooManyNames(Scope::EndUser(..))));
    hold_as(&desk, "active", 10).await.expect("who has an account is not concerned").release();
    // Nobody has them: the keeper soon makes room.
    desk.clock.advance(2);
    desk.until(|| matches!(refused("one more".into()), Refused::Unbounded(_))).await;
    let standing = desk.ledger.standings("limit_users").await;
    assert_eq!(
        standing.iter().find(|standing| standing.held == Nano(10)).map(|standing| standing.scope.id()),
        Some("proj_a/active".into())
    );
    settle(active, 10);
}

#[tokio::test(start_paused = true)]
async fn a_run_makes_exactly_as_many_calls_as_it_may() {
    for amount in [0, 5] {
        let desk = Arc::new(Desk::open(vec![for_each_run(7)]).await);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let desk = Arc::clone(&desk);
            calls.spawn(async move { call(&desk, "r", amount).await });
        }
        let (granted, refused): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((granted.len(), refused.len()), (7, 43));
        let scope = Scope::Run(project("a"), "r".into());
        let expected = Refused::Calls { limit: "limit_runs".into(), scope, calls_max: 7 };
        assert!(refused.into_iter().all(|result| result.err() == Some(expected.clone())));
        // One of them was never made; the others count, running or written.
        let mut granted: Vec<_> = granted.into_iter().flatten().collect();
        granted.pop().expect("seven").release();
        settle(call(&desk, "r", amount).await.expect("that one was given back"), 0);
        for _ in 0..4 {
            assert_eq!(call(&desk, "r", amount).await.err(), Some(expected.clone()));
            let writes = desk.ledger.counters.writes.load(SeqCst);
            settle(call(&desk, "another", amount).await.expect("granted"), 0);
            desk.until(|| desk.ledger.counters.writes.load(SeqCst) > writes).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_remembered_over_idleness_and_restarts() {
    let limits = vec![for_each_run(3)];
    let desk = Desk::open(limits.clone()).await;
    for _ in 0..2 {
        settle(call(&desk, "r", 5).await.expect("granted"), 5);
    }
    desk.until(|| desk.spent() == 10).await;
    // Long idle: the account goes, and comes again.
    desk.clock.advance(3_600);
    desk.until(|| desk.names("limit_runs") == 0).await;
    let (store, clock) = (Arc::clone(&desk.store), Arc::clone(&desk.clock));
    let third = call(&desk, "r", 0).await.expect("granted");
    assert!(matches!(call(&desk, "r", 0).await, Err(Refused::Calls { .. })));
    settle(third, 0);
    assert!(desk.close().await);
    let desk = Desk::again(store, clock, limits).await;
    assert!(
        matches!(call(&desk, "r", 0).await, Err(Refused::Calls { .. })),
        "nothing is free before the store says so"
    );
}
