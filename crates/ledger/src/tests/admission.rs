//! Holding, waiting, refusing, settling: the ledger with its keeper at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use pricing::Nano;
use store::{Certainty, NearLimit, Period, Scope, UsageRow};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::desk::{BEGIN, Desk, Mode, exceeded, monthly, settle};
use super::{limit, project};
use crate::{Doing, Patience, Refused, UNJOURNALED_MAX};

#[tokio::test(start_paused = true)]
async fn a_hold_settles_or_is_released() {
    let desk = Desk::with(100).await;
    let (first, second) = (desk.held(30).await, desk.held(40).await);
    let standing = desk.standing().await;
    assert_eq!((standing.settled, standing.held, standing.left), (Nano(0), Nano(70), Nano(30)));
    let open = desk.ledger.open_holds();
    let seen: Vec<_> = open.iter().map(|hold| (hold.request_id.as_str(), hold.amount.0, hold.doing)).collect();
    assert_eq!(seen, [("req_1_0", 30, Doing::Running), ("req_1_1", 40, Doing::Running)]);
    settle(first, 12);
    second.release();
    assert!(desk.ledger.open_holds().is_empty());
    let standing = desk.standing().await;
    assert_eq!((standing.settled, standing.held, standing.left), (Nano(12), Nano(0), Nano(88)), "at once");
    assert!(!standing.is_enforcing);
    desk.until(|| desk.balance().0 == 12).await;
    assert_eq!(desk.spent(), 12);
    desk.held(88).await.release();
}

#[tokio::test(start_paused = true)]
async fn without_limits_nothing_is_waited_for_but_everything_is_journaled() {
    let desk = Desk::open(Vec::new()).await;
    desk.store.set(Mode::Stalls);
    for cost in [5, 7] {
        settle(desk.ledger.try_hold(desk.row(), None).expect("granted"), cost);
    }
    desk.store.set(Mode::Works);
    desk.until(|| desk.spent() == 12).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_other_holds_to_settle() {
    let desk = Desk::with(100).await;
    let first = desk.held(80).await;
    let began = Instant::now();
    let end = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let waiting = desk.ledger.open_holds();
        assert_eq!(waiting.last().map(|hold| (hold.amount, hold.doing)), Some((Nano(60), Doing::Waiting)));
        settle(first, 10);
    };
    let (second, ()) = tokio::join!(desk.hold(60), end);
    assert_eq!(second.expect("granted").amount(), Nano(60));
    assert_eq!(began.elapsed(), Duration::from_millis(700), "it was woken, not late");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_is_left_and_held_and_asked() {
    let limit = crate::conformance::limit("limit_month", Scope::Project(project("a")), Period::Month, 100);
    let limit = store::SpendLimit { near_limit: NearLimit::Clamp { output_tokens_min: 9 }, ..limit };
    let desk = Desk::open(vec![limit]).await;
    settle(desk.held(10).await, 10);
    let running = desk.held(65).await;
    let began = Instant::now();
    let refused = exceeded(desk.hold(50).await);
    assert_eq!(began.elapsed(), Patience::default().holds, "it could have settled meanwhile");
    assert_eq!((refused.amount, refused.settled, refused.held), (Nano(100), Nano(10), Nano(65)));
    assert_eq!((refused.left, refused.asked), (Nano(25), Nano(50)));
    assert_eq!(
        (refused.limit.as_str(), refused.scope, refused.period),
        ("limit_month", Scope::Project(project("a")), Period::Month)
    );
    assert_eq!(refused.renews_at, Period::Month.window(BEGIN).ends_at);
    assert_eq!(refused.near_limit, NearLimit::Clamp { output_tokens_min: 9 });
    assert!(desk.standing().await.is_enforcing);
    // What would fit fits, to the last nano-dollar.
    desk.held(25).await.release();
    // Ninety are left at best: more is refused without waiting.
    let began = Instant::now();
    assert_eq!(exceeded(desk.hold(91).await).left, Nano(25));
    assert_eq!(began.elapsed(), Duration::ZERO);
    running.release();
    desk.held(90).await.release();
}

#[tokio::test(start_paused = true)]
async fn the_most_specific_limit_is_reported_and_a_refusal_takes_nothing() {
    let organization = limit("limit_org", Scope::Organization, Period::Total, 200);
    let desk = Desk::open(vec![organization, monthly(100)]).await;
    let running = desk.held(60).await;
    for _ in 0..20 {
        assert_eq!(exceeded(desk.hold(201).await).limit, "limit_month");
    }
    assert_eq!(desk.standing().await.held, Nano(60));
    assert_eq!(desk.ledger.standings("limit_org").await[0].held, Nano(60));
    settle(running, 60);
    desk.set(monthly(1_000)).await;
    assert_eq!(exceeded(desk.hold(141).await).limit, "limit_org");
    assert_eq!(desk.standing().await.left, Nano(940));
    desk.held(140).await.release();
}

#[tokio::test(start_paused = true)]
async fn what_fits_is_granted_however_little_is_in_stock() {
    // All but the last sixth is spent, so that a step of the keeper is smaller than any request.
    let desk = Desk::with(1_200).await;
    settle(desk.held(1_000).await, 1_000);
    for _ in 0..40 {
        desk.held(7).await.release();
        let hold = desk.held(190).await;
        assert!(hold.try_grow(Nano(3)) || desk.standing().await.left == Nano(10));
        hold.release();
    }
    assert_eq!(desk.ledger.counters.refused.load(SeqCst), 0);
}

/// Five hundred at once against a dollar, each asking for three cents and using some part of that.
async fn five_hundred(desk: Arc<Desk>, limit: u64, worst: u64) -> u64 {
    let committed = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..500_u64 {
        let (desk, committed) = (Arc::clone(&desk), Arc::clone(&committed));
        tasks.spawn(async move {
            let mut seed = number;
            loop {
                let hold = match desk.hold(worst).await {
                    Ok(hold) => hold,
                    Err(Refused::Exceeded(exceeded)) => return assert!(exceeded.asked > exceeded.left),
                    Err(other) => panic!("{other:?}"),
                };
                // Counted after it was granted and before it is given back: never more than really is committed.
                let sum = committed.fetch_add(worst, SeqCst) + worst;
                assert!(sum <= limit, "{sum} committed under {limit}");
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let cost = worst * (seed >> 33) % (worst + 1);
                for _ in 0..seed >> 61 {
                    tokio::task::yield_now().await;
                }
                tokio::time::sleep(Duration::from_millis(seed >> 58)).await;
                committed.fetch_sub(worst - cost, SeqCst);
                settle(hold, cost);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
    committed.load(SeqCst)
}

const DOLLAR: u64 = 1_000_000_000;
const WORST: u64 = DOLLAR * 3 / 100;

#[tokio::test(start_paused = true)]
async fn five_hundred_at_once_use_a_dollar_and_no_more() {
    let desk = Arc::new(Desk::with(DOLLAR).await);
    let spent = five_hundred(Arc::clone(&desk), DOLLAR, WORST).await;
    assert!((DOLLAR * 95 / 100..=DOLLAR).contains(&spent), "{spent}");
    let desk = Arc::into_inner(desk).expect("the tasks have ended");
    let store = Arc::clone(&desk.store);
    assert!(desk.close().await);
    assert_eq!(store.memory.spent().0, spent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_at_once_on_several_threads() {
    let desk = Arc::new(Desk::with(DOLLAR).await);
    let spent = five_hundred(Arc::clone(&desk), DOLLAR, WORST).await;
    assert!((DOLLAR * 95 / 100..=DOLLAR).contains(&spent), "{spent}");
    let desk = Arc::into_inner(desk).expect("the tasks have ended");
    let store = Arc::clone(&desk.store);
    assert!(desk.close().await);
    assert_eq!(store.memory.spent().0, spent);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_hold_is_charged_in_full_as_an_estimate() {
    let desk = Desk::with(100).await;
    let hold = desk.held(30).await;
    let task = tokio::spawn(async move {
        let _hold = hold;
        panic!("the request's task is lost");
    });
    assert!(task.await.is_err());
    assert_eq!(desk.ledger.counters.estimated.load(SeqCst), 1);
    assert_eq!(desk.standing().await.settled, Nano(30));
    desk.held(20).await.estimate(BEGIN + 9);
    desk.until(|| desk.spent() == 50).await;
    // One that waits is not charged: it never was granted.
    let running = desk.held(40).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), desk.hold(20)).await.is_err(), "it waits");
    assert_eq!(desk.ledger.open_holds().len(), 1);
    running.release();
    desk.held(50).await.release();
    assert_eq!(desk.ledger.counters.estimated.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_above_its_hold_is_recorded_and_stops_new_holds() {
    let desk = Desk::with(100).await;
    settle(desk.held(30).await, 130);
    assert_eq!(desk.ledger.counters.above_hold.load(SeqCst), 1);
    assert!(exceeded(desk.hold(1).await).settled == Nano(130));
    desk.until(|| desk.balance().0 == 130).await;
    assert_eq!(exceeded(desk.hold(1).await).left, Nano(0));
    assert_eq!(desk.ledger.counters.above_hold.load(SeqCst), 1);
    desk.set(monthly(200)).await;
    desk.held(70).await.release();
    assert_eq!(exceeded(desk.hold(71).await).left, Nano(70));
}

#[tokio::test(start_paused = true)]
async fn what_has_no_bound_passes_no_hard_limit() {
    let desk = Desk::with(100).await;
    let result = desk.ledger.hold(desk.row(), None).await;
    assert!(matches!(result, Err(Refused::Unbounded(Scope::Project(_)))), "{result:?}");
    let elsewhere = UsageRow { project: project("b"), ..desk.row() };
    settle(desk.ledger.hold(elsewhere, None).await.expect("no limit there"), 5);
    desk.until(|| desk.spent() == 5).await;
    assert_eq!(desk.balance().0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_grows_as_far_as_the_limit_allows() {
    let desk = Desk::with(1_000).await;
    let (one, other) = (desk.held(10).await, desk.held(10).await);
    let mut grown = 20;
    for number in 0..500 {
        let hold = if number % 3 == 0 { &one } else { &other };
        if hold.try_grow(Nano(10)) {
            grown += 10;
        } else {
            // The next part of the stream is some milliseconds away.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(grown, 1_000, "all of it, and no more");
    assert_eq!(one.amount().plus(other.amount()), Nano(1_000));
    let writes = desk.ledger.counters.writes.load(SeqCst);
    for _ in 0..50 {
        assert!(!one.try_grow(Nano(10)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(desk.ledger.counters.writes.load(SeqCst), writes, "what cannot help is not written");
    one.release();
    assert!(other.try_grow(Nano(10)));
    settle(other, 500);
    desk.until(|| desk.balance().0 == 500).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_grows_by_more_than_a_step() {
    let desk = Desk::with(1_000).await;
    settle(desk.held(960).await, 960);
    let hold = desk.held(5).await;
    // An eighth of what is left is five.
    for _ in 0..100 {
        hold.try_grow(Nano(15));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(hold.amount(), Nano(35));
    hold.release();
}

#[tokio::test(start_paused = true)]
async fn ends_that_wait_for_the_store_are_bounded() {
    let desk = Desk::open(Vec::new()).await;
    let mut holds: Vec<_> =
        (0..UNJOURNALED_MAX).map(|_| desk.ledger.try_hold(desk.row(), None).expect("granted")).collect();
    let refused = || matches!(desk.ledger.try_hold(desk.row(), None), Err(Some(Refused::JournalFull)));
    assert!(refused());
    desk.store.set(Mode::Fails);
    settle(holds.pop().expect("one"), 1);
    desk.until(|| desk.ledger.counters.writes_failed.load(SeqCst) > 1).await;
    assert!(refused(), "its end is not written yet");
    desk.store.set(Mode::Works);
    desk.until(|| desk.spent() == 1).await;
    desk.until(|| !refused()).await;
    holds.into_iter().for_each(crate::Hold::release);
    let hold = desk.ledger.try_hold(desk.row(), None).expect("there is room again");
    assert_eq!(hold.row().certainty, Certainty::Settled);
    hold.release();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_only_wants_what_can_be_leased_waits_for_no_other() {
    let desk = Desk::with(100).await;
    let began = Instant::now();
    let first = desk.ledger.hold_if_leased(desk.row(), Some(Nano(60))).await.expect("the store leases it");
    assert!(matches!(desk.ledger.hold_if_leased(desk.row(), Some(Nano(60))).await, Err(None)), "others could settle");
    assert!(matches!(desk.ledger.hold_if_leased(desk.row(), Some(Nano(200))).await, Err(None)), "it never fits");
    assert!(began.elapsed() < Patience::default().holds);
    assert_eq!(desk.ledger.counters.waited.load(SeqCst), 0);
    settle(first, 60);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_wants_what_can_be_leased_is_told_when_nobody_can_say() {
    let desk = Desk::with(100).await;
    desk.store.set(Mode::Fails);
    let refused = desk.ledger.hold_if_leased(desk.row(), Some(Nano(60))).await.map(drop);
    assert_eq!(refused, Err(Some(Refused::StoreDown)));
}
