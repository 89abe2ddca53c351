//! What flows through buckets, against a model that knows nothing of levels: the list of all that was let through.

use proptest::prelude::*;

use super::{DAY, KEY, MINUTE, SECOND, of, requests, tokens};
use crate::{Admission, Book, Limits, Meter, Scope, Subject, Want};

/// Every meter that flows, its period, its limit and what a request wants of it.
fn meters(limits: &Limits, want: &Want) -> [(Option<u64>, u64, u64); 6] {
    [
        (limits.of(Meter::RequestsPerMinute), MINUTE, 1),
        (limits.of(Meter::TokensPerMinute), MINUTE, want.tokens),
        (limits.of(Meter::RequestsPerDay), DAY, 1),
        (limits.of(Meter::ImagesPerMinute), MINUTE, want.images),
        (limits.of(Meter::AudioBytesPerMinute), MINUTE, want.audio_bytes),
        (limits.of(Meter::BatchTokensPerDay), DAY, want.batch_tokens),
    ]
}

/// Whether, with what was let through before, a request would stay within limit + what flows back in any span of time
/// that ends now.
fn fits(let_through: &[(u64, Want)], now: u64, limits: &Limits, want: &Want) -> bool {
    (0..6).all(|meter| {
        let (limit, period, wanted) = meters(limits, want)[meter];
        let Some(limit) = limit.filter(|_| wanted > 0) else { return true };
        let mut sum = u128::from(wanted);
        let spans = let_through.iter().rev().all(|(at, want)| {
            sum += u128::from(meters(limits, want)[meter].2);
            sum * u128::from(period) <= u128::from(limit) * u128::from(period + now - at)
        });
        wanted <= limit && spans
    })
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let maybe = |strategy: std::ops::Range<u64>| proptest::option::of(strategy);
    (maybe(0..8), maybe(0..900), maybe(0..30), maybe(0..12), maybe(0..3), maybe(0..5_000)).prop_map(
        |(requests, tokens, daily, images, audio, batch)| Limits {
            requests_per_minute: requests,
            tokens_per_minute: tokens,
            requests_per_day: daily,
            images_per_minute: images,
            audio_megabytes_per_minute: audio,
            batch_tokens_per_day: batch,
            concurrency: None,
        },
    )
}

fn some_want() -> impl Strategy<Value = Want> {
    (0..400_u64, 0..5_u64, 0..1_000_000_u64, 0..900_u64).prop_map(|(tokens, images, audio_bytes, batch_tokens)| Want {
        tokens,
        images,
        audio_bytes,
        batch_tokens,
    })
}

fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..3 * SECOND, 0..2 * MINUTE, 0..DAY / 2]
}

fn more_cases(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.max(cases), failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(more_cases(1_000))]

    /// Neither more nor less than the list allows, over two subjects and every meter, all or nothing; and who is told
    /// when to come back passes then, and not a nanosecond before.
    #[test]
    fn exactly_what_flows_back_is_let_through(
        limits in [some_limits(), some_limits()],
        requests in proptest::collection::vec((pause(), some_want()), 1..60),
    ) {
        let book = Book::new();
        let scopes = [KEY, Scope::Project { project: "proj_a" }];
        let subjects: Vec<_> = scopes.into_iter().zip(&limits).map(|(scope, limits)| of(scope, limits)).collect();
        let mut let_through = Vec::new();
        let mut now = 5 * DAY;
        for (pause, want) in requests {
            now += pause;
            let expected = limits.iter().all(|limits| fits(&let_through, now, limits, &want));
            match book.admit(now, &subjects, &want) {
                Ok(_) => {
                    prop_assert!(expected, "let through against the list");
                    let_through.push((now, want));
                }
                Err(limited) => {
                    prop_assert!(!expected, "refused against the list: {limited}");
                    let Some(retry_after) = limited.retry_after_ns else {
                        let alone = |limits: &Limits| fits(&[], now, limits, &want);
                        prop_assert!(!limits.iter().all(alone), "it could pass alone");
                        continue;
                    };
                    let later = |at| limits.iter().all(|limits| fits(&let_through, at, limits, &want));
                    prop_assert!(later(now + retry_after) && !later(now + retry_after - 1), "{limited}");
                }
            }
        }
    }

    /// Once an estimate is corrected the bucket stands as if the request had asked for the right number, as long as
    /// that is less: nothing flows back twice, nothing is kept back.
    #[test]
    fn a_corrected_estimate_leaves_no_trace(
        limit in 100..1_000_u64,
        steps in proptest::collection::vec((0..20 * SECOND, 0..200_u64, proptest::option::of((0..8_usize, 0..=100_u64))), 1..40),
    ) {
        let (book, limits) = (Book::new(), tokens(limit));
        let mut let_through: Vec<(u64, Want)> = Vec::new();
        let mut running: Vec<(usize, Admission)> = Vec::new();
        let mut now = 0;
        for (pause, asked, correction) in steps {
            now += pause;
            if let Some((which, percent)) = correction && !running.is_empty() {
                let (number, mut admission) = running.swap_remove(which % running.len());
                let used = let_through[number].1.tokens * percent / 100;
                admission.correct(now, used);
                let_through[number].1.tokens = used;
            }
            let want = Want { tokens: asked, ..Want::default() };
            match book.admit(now, &[of(KEY, &limits)], &want) {
                Ok(admission) => {
                    prop_assert!(fits(&let_through, now, &limits, &want), "more than flowed back");
                    running.push((let_through.len(), admission));
                    let_through.push((now, want));
                }
                Err(limited) => prop_assert!(!fits(&let_through, now, &limits, &want), "{limited}"),
            }
        }
    }
}

#[test]
fn what_was_used_beyond_the_estimate_delays_later_requests() {
    let (book, limits) = (Book::new(), tokens(100));
    let admit = |now, tokens| book.admit(now, &[of(KEY, &limits)], &Want { tokens, ..Want::default() });
    let mut admission = admit(0, 10).expect("admitted");
    admission.correct(0, 250);
    drop(admission);
    let limited = admit(0, 1).expect_err("in debt");
    assert_eq!((limited.used, limited.limit), (250, 100));
    assert_eq!(limited.retry_after_ns, Some(151 * MINUTE / 100));
    assert!(admit(151 * MINUTE / 100 - 1, 1).is_err());
    assert!(admit(151 * MINUTE / 100, 1).is_ok());
    // Known better, and better still: only the last counts.
    let mut admission = admit(10 * MINUTE, 100).expect("full again");
    for tokens in [400, 20, 30] {
        admission.correct(10 * MINUTE, tokens);
    }
    assert!(admit(10 * MINUTE, 71).is_err());
    assert!(admit(10 * MINUTE, 70).is_ok());
}

#[test]
fn an_estimate_is_given_back_once_though_the_limit_was_gone_meanwhile() {
    let book = Book::new();
    let admit = |limits: &Limits, tokens| book.admit(0, &[of(KEY, limits)], &Want { tokens, ..Want::default() });
    let mut first = admit(&tokens(100), 100).expect("admitted");
    let other = admit(&requests(9), 5).expect("tokens are not limited now");
    let second = admit(&tokens(100), 100).expect("nothing is remembered");
    first.correct(0, 0);
    drop((first, other));
    assert!(admit(&tokens(100), 1).is_err(), "what the second took is not the first's to give back");
    drop(second);
}

#[test]
fn a_limit_that_came_later_owes_nothing_for_requests_before_it() {
    let book = Book::new();
    let admit = |limits: &Limits, tokens| book.admit(0, &[of(KEY, limits)], &Want { tokens, ..Want::default() });
    let mut before = admit(&requests(9), 1_000).expect("tokens are not limited");
    let _taken = admit(&tokens(100), 60).expect("admitted");
    before.correct(0, 0);
    assert!(admit(&tokens(100), 41).is_err());
    before.correct(0, 5_000);
    assert!(admit(&tokens(100), 40).is_ok());
}

#[test]
fn a_changed_limit_keeps_what_is_used() {
    let book = Book::new();
    let admit = |now, limit| book.admit(now, &[of(KEY, &requests(limit))], &Want::default()).map(drop);
    for _ in 0..10 {
        admit(0, 10).expect("admitted");
    }
    assert!(admit(0, 10).is_err());
    admit(0, 11).expect("one more");
    let limited = admit(0, 5).expect_err("far over it now");
    assert_eq!((limited.limit, limited.used), (5, 11));
    // Time flows at the limit that was in force: eleven a minute until now, five from now on.
    let after = |halves: u64| halves * MINUTE / 2;
    assert!(admit(after(1), 5).is_err());
    // By then five of eleven had flowed back in half a minute… at five a minute, two and a half.
    assert_eq!(admit(after(1), 5).expect_err("over").used, 9);
    // A meter that is not limited any more forgets.
    book.admit(after(1), &[of(KEY, &tokens(5))], &Want::default()).map(drop).expect("no tokens wanted");
    for _ in 0..5 {
        admit(after(1), 5).expect("begun anew");
    }
    assert!(admit(after(1), 5).is_err());
}

#[test]
fn a_clock_that_is_read_late_changes_nothing() {
    let (book, limits) = (Book::new(), requests(60));
    let admit = |now| book.admit(now, &[of(KEY, &limits)], &Want::default()).is_ok();
    let admitted = (0..200_u64).filter(|number| admit(10 * MINUTE - number * SECOND)).count();
    assert_eq!(admitted, 60);
    assert!(!admit(10 * MINUTE + SECOND - 1));
    assert!(admit(10 * MINUTE + SECOND) && !admit(0));
}

#[test]
fn the_largest_numbers_do_not_wrap() {
    let book = Book::new();
    let limits = Limits {
        requests_per_minute: Some(u64::MAX),
        tokens_per_minute: Some(u64::MAX),
        audio_megabytes_per_minute: Some(u64::MAX),
        batch_tokens_per_day: Some(u64::MAX),
        ..Limits::NONE
    };
    let all = Want { tokens: u64::MAX, images: u64::MAX, audio_bytes: u64::MAX, batch_tokens: u64::MAX };
    let subject: Subject<'_> = of(KEY, &limits);
    let mut admission = book.admit(0, &[subject], &all).expect("all of it");
    assert!(book.admit(0, &[subject], &all).is_err());
    admission.correct(u64::MAX, u64::MAX);
    admission.correct(u64::MAX, 0);
    drop(admission);
    assert!(book.admit(u64::MAX, &[subject], &all).is_ok());
}
