//! A store that fails, stalls, loses answers, or takes the process for dead.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use pricing::Nano;
use tokio::time::Instant;

use super::desk::{BEGIN, Desk, Mode, exceeded, monthly, settle};
use crate::{LedgerStore, Patience, Refused};

/// Requests that come while the store is in trouble: what is leased covers some, then it is said that the store is
/// down, and when it is back nothing was lost.
async fn goes_on_until_the_lease_is_used(mode: Mode) {
    let desk = Desk::with(10_000).await;
    settle(desk.held(100).await, 100);
    desk.until(|| desk.balance().0 == 100).await;
    desk.store.set(mode);
    let mut spent = 100;
    let refused = loop {
        match desk.hold(100).await {
            Ok(hold) => settle(hold, 90),
            Err(refused) => break refused,
        }
        spent += 90;
    };
    assert_eq!(refused, Refused::StoreDown);
    assert!(spent >= 100 + 90, "not one request was covered");
    assert!(spent < 10_000 / 2, "only what was leased is covered: {spent}");
    assert_eq!(desk.standing().await.settled, Nano(spent));
    desk.store.set(Mode::Works);
    desk.until(|| desk.spent() == spent && desk.balance().0 == spent).await;
    settle(desk.held(100).await, 10);
    desk.until(|| desk.balance().0 == spent + 10).await;
    let left = 10_000 - spent - 10;
    assert_eq!(exceeded(desk.hold(left + 1).await).left, Nano(left));
    desk.held(left).await.release();
    let store = Arc::clone(&desk.store);
    assert!(desk.close().await);
    assert_eq!(store.memory.spent(), Nano(spent + 10));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails() {
    goes_on_until_the_lease_is_used(Mode::Fails).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stalls() {
    goes_on_until_the_lease_is_used(Mode::Stalls).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_loses_answers() {
    goes_on_until_the_lease_is_used(Mode::LosesAnswers).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_nothing_is_waited_for_a_named_time() {
    let desk = Desk::with(100).await;
    desk.store.set(Mode::Stalls);
    let began = Instant::now();
    assert_eq!(desk.hold(10).await.err(), Some(Refused::StoreDown));
    assert_eq!(began.elapsed(), Patience::default().store);
    desk.store.set(Mode::Works);
    desk.held(100).await.release();
}

#[tokio::test(start_paused = true)]
async fn a_fenced_process_begins_a_new_life_and_loses_nothing() {
    let desk = Desk::with(1_000).await;
    let (running, spent) = (desk.held(300).await, desk.held(100).await);
    desk.until(|| desk.balance().1 >= 400).await;
    // Another process takes this one for dead while an end is on its way.
    settle(spent, 40);
    let other = desk.store.memory.enter_now();
    let estimates = desk.store.fence_others(other, BEGIN).await.expect("fenced");
    let charged: u64 = estimates.iter().map(|estimate| estimate.amount.0).sum();
    assert!(charged >= 400, "{charged}");
    // What is in use stays in use; nothing is granted above the limit, and what is left is.
    desk.until(|| desk.spent() == 40).await;
    let left = desk.standing().await.left;
    assert!(left <= Nano(1_000 - 340), "{left}");
    desk.held(left.0).await.release();
    exceeded(desk.hold(left.0 + 1).await);
    settle(running, 250);
    desk.until(|| desk.spent() == 290).await;
    let estimates = desk.store.estimates().await.expect("readable");
    let later: u64 = estimates.iter().map(|estimate| estimate.amount.0).sum();
    assert_eq!(later, charged - 290, "its rows lower its own estimate");
    assert_eq!(desk.balance().0, 290 + later);
    assert!(desk.ledger.counters.writes_failed.load(SeqCst) >= 1);
    assert!(desk.close().await);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_stored_leaves_everything_as_it_was() {
    let desk = Desk::with(100).await;
    let running = desk.held(30).await;
    let changing = desk.ledger.begin_change("limit_month").await;
    let began = Instant::now();
    let drop_it = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        drop(changing);
    };
    let (hold, ()) = tokio::join!(desk.hold(70), drop_it);
    hold.expect("granted as soon as the change is off").release();
    assert!(began.elapsed() < Patience::default().holds);
    running.release();
    desk.set(monthly(20)).await;
    assert_eq!(exceeded(desk.hold(21).await).amount, Nano(20));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_stock_stays_in_stock_while_nothing_can_be_written() {
    let desk = Desk::with(100_000).await;
    settle(desk.held(100).await, 10);
    settle(desk.held(100).await, 10);
    desk.until(|| desk.spent() == 20).await;
    desk.store.set(Mode::Fails);
    settle(desk.held(50).await, 10);
    // The keeper tries again and again, for ten minutes; what it has leased does not wither.
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    settle(desk.held(100).await, 10);
    desk.store.set(Mode::Works);
    desk.until(|| desk.spent() == 40).await;
}
