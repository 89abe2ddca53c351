//! Limits that are set, lowered, raised, deleted and tried in shadow while requests run.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use pricing::Nano;
use store::{NearLimit, Period, Raise, Scope, SpendLimit, UsageRow};
use tokio::time::Instant;

use super::desk::{BEGIN, Desk, Mode, exceeded, monthly, settle};
use super::{limit, project};
use crate::{ROWS_MAX, Refused};

fn shadow(amount: u64) -> SpendLimit {
    SpendLimit { is_shadow: true, ..monthly(amount) }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_set_while_requests_run_counts_them() {
    let desk = Desk::open(Vec::new()).await;
    let (running, ended) = (desk.held(60).await, desk.held(500).await);
    settle(ended, 15);
    desk.set(monthly(100)).await;
    let standing = desk.standing().await;
    assert_eq!((standing.settled, standing.held, standing.left), (Nano(15), Nano(60), Nano(25)));
    assert_eq!(exceeded(desk.hold(26).await).held, Nano(60));
    desk.held(25).await.release();
    settle(running, 20);
    desk.held(65).await.release();
    desk.until(|| desk.balance().0 == 35).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_ends_that_still_wait_for_the_store() {
    let desk = Desk::open(Vec::new()).await;
    desk.store.set(Mode::Fails);
    // More than one write takes: the dear one comes in the second.
    for _ in 0..ROWS_MAX {
        settle(desk.held(0).await, 0);
    }
    settle(desk.held(80).await, 80);
    desk.until(|| desk.ledger.counters.writes_failed.load(SeqCst) > 0).await;
    let changing = desk.ledger.begin_change("limit_month").await;
    desk.store.memory.put_limit(monthly(100));
    desk.store.set(Mode::Works);
    let put = changing.put(monthly(100));
    let ((), hold) = tokio::join!(put, async {
        desk.until(|| desk.ledger.limits().len() == 1).await;
        desk.hold(30).await
    });
    assert_eq!(exceeded(hold).left, Nano(20));
    desk.held(20).await.release();
    desk.until(|| desk.balance().0 == 80).await;
    assert_eq!(desk.standing().await.settled, Nano(80), "counted once");
}

#[tokio::test(start_paused = true)]
async fn a_running_request_without_a_name_counts_under_other_limits() {
    let desk = Desk::open(Vec::new()).await;
    let nameless = desk.held(60).await;
    desk.set(limit("limit_users", Scope::EndUser(project("a"), String::new()), Period::Month, 50)).await;
    desk.set(monthly(100)).await;
    assert_eq!(desk.standing().await.held, Nano(60));
    let named = UsageRow { end_user: Some("u".into()), ..desk.row() };
    assert_eq!(exceeded(desk.ledger.hold(named, Some(Nano(41))).await).held, Nano(60));
    nameless.release();
}

#[tokio::test(start_paused = true)]
async fn a_lowered_limit_is_in_force_when_its_change_returns() {
    let desk = Desk::with(1_000).await;
    let running = desk.held(300).await;
    desk.held(100).await.release();
    desk.set(monthly(350)).await;
    assert_eq!(exceeded(desk.hold(51).await).left, Nano(50), "what was in stock is out of reach");
    assert_eq!(desk.balance(), (0, 350));
    let fits = desk.held(50).await;
    assert!(!running.try_grow(Nano(1)));
    desk.set(monthly(200)).await;
    assert!(exceeded(desk.hold(1).await).left == Nano(0));
    fits.release();
    assert!(exceeded(desk.hold(1).await).held == Nano(300), "what is given back is not granted anew");
    settle(running, 190);
    desk.held(10).await.release();
    assert_eq!(exceeded(desk.hold(11).await).amount, Nano(200));
    desk.until(|| desk.balance().0 == 190).await;
    assert!(desk.balance().1 <= 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_granted_while_a_change_is_under_way() {
    let desk = Desk::with(100).await;
    let running = desk.held(60).await;
    let changing = desk.ledger.begin_change("limit_month").await;
    desk.store.memory.put_limit(monthly(50));
    // Under the limit before, this would be free again.
    running.release();
    let result = desk.ledger.try_hold(desk.row(), Some(Nano(60)));
    assert!(matches!(result, Err(None)), "{result:?}");
    changing.put(monthly(50)).await;
    assert_eq!(exceeded(desk.hold(60).await).amount, Nano(50));
    desk.held(50).await.release();
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_let_through_at_once_when_the_limit_is_raised_or_deleted() {
    let desk = Desk::with(100).await;
    let running = desk.held(100).await;
    let some_time = || tokio::time::sleep(Duration::from_millis(300));
    let raise = async {
        some_time().await;
        desk.set(monthly(150)).await;
    };
    let began = Instant::now();
    let (hold, ()) = tokio::join!(desk.hold(50), raise);
    let hold = hold.expect("granted");
    assert_eq!(began.elapsed(), Duration::from_millis(300));
    let delete = async {
        some_time().await;
        desk.delete("limit_month").await;
    };
    let began = Instant::now();
    let (free, ()) = tokio::join!(desk.hold(90), delete);
    settle(free.expect("granted"), 70);
    assert_eq!(began.elapsed(), Duration::from_millis(300));
    assert!(desk.ledger.limits().is_empty() && desk.ledger.standings("limit_month").await.is_empty());
    desk.held(1_000_000).await.release();
    settle(running, 100);
    settle(hold, 50);
    desk.until(|| desk.spent() == 220).await;
    // Set again it has an id of its own, and counts all of it.
    desk.set(SpendLimit { id: "limit_later".into(), ..monthly(250) }).await;
    assert_eq!(exceeded(desk.hold(31).await).left, Nano(30));
    assert!(desk.close().await);
}

#[tokio::test(start_paused = true)]
async fn a_raise_ends_by_itself() {
    let raised = SpendLimit { raise: Some(Raise { amount: Nano(300), until: BEGIN + 10 }), ..monthly(100) };
    let desk = Desk::with(100).await;
    desk.set(raised).await;
    let (one, other) = (desk.held(200).await, desk.held(50).await);
    assert!(one.try_grow(Nano(10)));
    desk.clock.advance(9);
    desk.held(40).await.release();
    desk.clock.advance(1);
    // At the very second, before any turn of the keeper.
    assert!(!one.try_grow(Nano(1)));
    let result = desk.ledger.try_hold(desk.row(), Some(Nano(1)));
    assert!(matches!(result, Err(None)), "{result:?}");
    assert_eq!(exceeded(desk.hold(1).await).amount, Nano(100));
    settle(one, 20);
    settle(other, 30);
    desk.held(50).await.release();
    assert_eq!(exceeded(desk.hold(51).await).left, Nano(50));
}

#[tokio::test(start_paused = true)]
async fn a_limit_in_shadow_counts_what_it_would_refuse_and_refuses_nothing() {
    let desk = Desk::open(vec![shadow(100)]).await;
    settle(desk.held(60).await, 60);
    desk.until(|| desk.balance().0 == 60).await;
    let counted = || desk.ledger.counters.shadow_refused.load(SeqCst);
    let fits = desk.held(40).await;
    assert_eq!(counted(), 0);
    let over = desk.held(1).await;
    assert_eq!(counted(), 1);
    assert!(over.try_grow(Nano(1_000)));
    desk.ledger.hold(desk.row(), None).await.expect("what has no bound passes, too").release();
    assert_eq!(desk.balance().1, 0, "nothing is leased");
    assert_eq!(desk.standing().await.held, Nano(1_041));
    settle(over, 1);
    fits.release();
    desk.until(|| desk.balance().0 == 61).await;
    assert_eq!(desk.ledger.counters.refused.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn shadow_counts_from_the_first_request_that_the_store_can_be_asked_about() {
    let desk = Desk::open(vec![shadow(100)]).await;
    let first = desk.held(70).await;
    desk.until(|| desk.ledger.counters.writes.load(SeqCst) > 0).await;
    let second = desk.held(70).await;
    assert_eq!(desk.ledger.counters.shadow_refused.load(SeqCst), 1);
    [first, second].into_iter().for_each(crate::Hold::release);
}

#[tokio::test(start_paused = true)]
async fn what_was_free_in_shadow_is_not_granted_before_it_is_leased() {
    let desk = Desk::open(vec![shadow(100)]).await;
    let running = desk.held(20).await;
    assert_eq!(desk.standing().await.left, Nano(80));
    desk.store.set(Mode::Stalls);
    desk.set(monthly(100)).await;
    assert_eq!(desk.hold(10).await.err(), Some(Refused::StoreDown));
    desk.store.set(Mode::Works);
    let hold = desk.held(80).await;
    assert_eq!(desk.balance(), (0, 100));
    [running, hold].into_iter().for_each(crate::Hold::release);
}

#[tokio::test(start_paused = true)]
async fn shadow_is_switched_off_and_on_while_requests_run() {
    let desk = Desk::open(vec![shadow(100)]).await;
    let (first, second) = (desk.held(70).await, desk.held(60).await);
    desk.standing().await;
    // Hard from now on: what runs counts, and what it gives back was never leased.
    desk.set(monthly(100)).await;
    assert_eq!(exceeded(desk.hold(1).await).held, Nano(130));
    settle(first, 10);
    assert_eq!(exceeded(desk.hold(31).await).left, Nano(30));
    let third = desk.held(30).await;
    desk.until(|| desk.balance() == (10, 90)).await;
    // And back, while somebody waits.
    let soften = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        desk.set(shadow(100)).await;
    };
    let began = Instant::now();
    let (fourth, ()) = tokio::join!(desk.hold(50), soften);
    assert_eq!(began.elapsed(), Duration::from_millis(200));
    desk.until(|| desk.balance() == (10, 0)).await;
    assert_eq!(desk.standing().await.held, Nano(140));
    [second, third, fourth.expect("granted")].into_iter().for_each(|hold| settle(hold, 20));
    desk.until(|| desk.balance() == (70, 0)).await;
    desk.set(monthly(100)).await;
    desk.held(30).await.release();
    assert_eq!(exceeded(desk.hold(31).await).left, Nano(30));
}

#[tokio::test(start_paused = true)]
async fn a_change_for_many_takes_few_writes() {
    let scope = Scope::EndUser(project("a"), String::new());
    let each = |amount| limit("limit_users", scope.clone(), Period::Day, amount);
    let desk = Desk::open(vec![each(100)]).await;
    for user in 0..500 {
        let row = UsageRow { end_user: Some(user.to_string()), ..desk.row() };
        settle(desk.ledger.hold(row, Some(Nano(10))).await.expect("granted"), 10);
    }
    let writes = || desk.ledger.counters.writes.load(SeqCst);
    let (before, began) = (writes(), Instant::now());
    let near_limit = NearLimit::Alias { model: "gpt-5.4-nano".into() };
    desk.set(SpendLimit { near_limit: near_limit.clone(), ..each(20) }).await;
    assert!(writes() - before <= 3 && began.elapsed() < Duration::from_secs(1), "{} writes", writes() - before);
    for user in [0, 499] {
        let row = |amount| (UsageRow { end_user: Some(user.to_string()), ..desk.row() }, Some(Nano(amount)));
        let (too_much, worst) = row(11);
        let refused = exceeded(desk.ledger.hold(too_much, worst).await);
        assert_eq!((refused.left, refused.scope), (Nano(10), Scope::EndUser(project("a"), user.to_string())));
        assert_eq!(refused.near_limit, near_limit);
        let (fits, worst) = row(10);
        desk.ledger.hold(fits, worst).await.expect("granted").release();
    }
    let unknown = UsageRow { end_user: Some("new".into()), ..desk.row() };
    assert!(matches!(desk.ledger.hold(unknown, Some(Nano(21))).await, Err(Refused::Exceeded(_))));
}
