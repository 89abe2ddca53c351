//! What is told: headers, refusals, when to come back.

use super::{DAY, KEY, MINUTE, SECOND, concurrency, end_user, of, requests, tokens};
use crate::{Book, Limited, Limits, Meter, Scope, Want};

fn headers(headers: impl Iterator<Item = (&'static str, String)>) -> String {
    headers
        .map(|(name, value)| format!("{}={value}", name.trim_start_matches("x-ratelimit-")))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn headers_tell_limit_rest_and_reset_as_the_api_does() {
    let book = Book::new();
    let limits = Limits { tokens_per_minute: Some(30_000), ..requests(500) };
    let admit = |now, tokens| book.admit(now, &[of(KEY, &limits)], &Want { tokens, ..Want::default() });
    let first = admit(0, 1_000).expect("admitted");
    assert_eq!(
        headers(first.headers()),
        "limit-requests=500 remaining-requests=499 reset-requests=120ms \
         limit-tokens=30000 remaining-tokens=29000 reset-tokens=2s"
    );
    let second = admit(SECOND, 20_500).expect("admitted");
    // 8⅓ requests flowed back in the second, and 500 tokens.
    assert_eq!(
        headers(second.headers()),
        "limit-requests=500 remaining-requests=499 reset-requests=120ms \
         limit-tokens=30000 remaining-tokens=9000 reset-tokens=42s"
    );
    let limited = admit(SECOND, 9_001).expect_err("one too many");
    assert_eq!(
        headers(limited.gauges.headers()),
        "limit-requests=500 remaining-requests=499 reset-requests=120ms \
         limit-tokens=30000 remaining-tokens=9000 reset-tokens=42s",
        "nothing was taken"
    );
}

#[test]
fn headers_tell_of_the_tightest_bucket() {
    let book = Book::new();
    let (key, project) = (requests(3), Limits { requests_per_day: Some(2_000), ..requests(100) });
    let subjects = [of(KEY, &key), of(Scope::Project { project: "proj_a" }, &project)];
    let admission = book.admit(0, &subjects, &Want::default()).expect("admitted");
    assert_eq!(headers(admission.headers()), "limit-requests=3 remaining-requests=2 reset-requests=20s");
    // Without the key the minute is tighter than the day; by the evening it is the other way round.
    let of_project = |now| book.admit(now, &subjects[1..], &Want::default()).expect("admitted").gauges().requests;
    assert_eq!(of_project(0).map(|gauge| (gauge.limit, gauge.remaining)), Some((100, 98)));
    for number in 0..1_960 {
        let _ = of_project(number * 700_000_000);
    }
    let daily = of_project(2_000 * SECOND).expect("limited");
    assert_eq!(daily.limit, 2_000);
    assert!(daily.remaining < 99 && daily.reset_ns > DAY / 2, "{daily:?}");
    // Nothing of images, audio and concurrency: the API has no headers for them.
    let others = Limits { images_per_minute: Some(5), audio_megabytes_per_minute: Some(1), ..concurrency(4) };
    let admission = book.admit(0, &[of(end_user("u"), &others)], &Want::default()).expect("admitted");
    assert_eq!(headers(admission.headers()), "");
}

#[test]
fn what_is_left_is_rounded_down_and_the_wait_up() {
    let (book, limits) = (Book::new(), requests(7));
    let admit = |now| book.admit(now, &[of(KEY, &limits)], &Want::default());
    drop(admit(0).expect("admitted"));
    let admission = admit(1).expect("admitted");
    let gauge = admission.gauges().requests.expect("limited");
    // A nanosecond's worth of the first has flowed back: not a whole request.
    assert_eq!((gauge.remaining, gauge.reset_ns), (5, (2 * MINUTE).div_ceil(7) - 1));
    assert_eq!(headers(admission.headers()), "limit-requests=7 remaining-requests=5 reset-requests=17.143s");
}

fn refused(scope: Scope<'_>, limits: &Limits, before: usize, want: &Want) -> Limited {
    let book = Book::new();
    let taken: Vec<_> = (0..before).map(|_| book.admit(0, &[of(scope, limits)], want).expect("admitted")).collect();
    let limited = book.admit(0, &[of(scope, limits)], want).expect_err("refused");
    drop(taken);
    limited
}

#[test]
fn refusals_speak_as_the_api_does() {
    let model = Scope::Model { project: "proj_a", model: "gpt-5.4" };
    let want = |tokens| Want { tokens, ..Want::default() };
    let limited = refused(model, &tokens(30_000), 1, &want(20_000));
    assert_eq!(
        limited.to_string(),
        "Rate limit reached for gpt-5.4 in project proj_a on tokens per min (TPM): Limit 30000, Used 20000, Requested \
         20000. Please try again in 20s."
    );
    assert_eq!((limited.which.error_type(), limited.retry_after_ms()), ("tokens", Some(20_000)));
    let limited = refused(model, &tokens(30_000), 0, &want(30_001));
    assert_eq!(
        limited.to_string(),
        "Request too large for gpt-5.4 in project proj_a on tokens per min (TPM): Limit 30000, Requested 30001. The \
         input or output tokens must be reduced in order to run successfully."
    );
    assert_eq!(limited.retry_after_ms(), None, "a retry is in vain");
    let limited = refused(KEY, &requests(3), 3, &want(5));
    assert_eq!(
        limited.to_string(),
        "Rate limit reached for API key key_1 on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again \
         in 20s."
    );
    assert_eq!(limited.which.error_type(), "requests");
    let daily = Limits { requests_per_day: Some(7), ..Limits::NONE };
    let limited = refused(Scope::Project { project: "proj_a" }, &daily, 7, &want(0));
    assert_eq!(
        limited.to_string(),
        "Rate limit reached for all models in project proj_a on requests per day (RPD): Limit 7, Used 7, Requested 1. \
         Please try again in 3h25m42.858s."
    );
    let limited = refused(end_user("alice@example.com"), &concurrency(1), 1, &want(0));
    assert_eq!(
        limited.to_string(),
        "Rate limit reached for this end user in project proj_a on concurrent requests: Limit 1, Used 1, Requested 1. \
         Please try again in 500ms."
    );
    let limited = refused(KEY, &requests(0), 0, &want(0));
    assert!(limited.to_string().ends_with("It cannot pass while this limit holds."), "{limited}");
}

#[test]
fn of_several_limits_the_one_that_takes_longest_is_told() {
    let book = Book::new();
    let (key, project) = (requests(1), Limits { requests_per_day: Some(1), concurrency: Some(1), ..Limits::NONE });
    let subjects = [of(KEY, &key), of(Scope::Project { project: "proj_a" }, &project)];
    let place = book.admit(0, &subjects, &Want::default()).expect("admitted");
    let limited = book.admit(0, &subjects, &Want::default()).expect_err("three limits");
    assert_eq!((limited.which, limited.retry_after_ns), (Meter::RequestsPerDay, Some(DAY)));
    drop(place);
    let place = book.admit(DAY, &subjects, &Want::default()).expect("all of it flowed back");
    // One that can never pass comes before all.
    let too_few = tokens(5);
    let never = [of(KEY, &too_few), subjects[1]];
    let limited = book.admit(DAY, &never, &Want { tokens: 6, ..Want::default() }).expect_err("too large");
    assert_eq!((limited.which, limited.retry_after_ns), (Meter::TokensPerMinute, None));
    drop(place);
}

#[test]
fn a_retry_is_told_in_whole_milliseconds_that_are_enough() {
    let (book, limits) = (Book::new(), requests(7));
    let admit = |now| book.admit(now, &[of(KEY, &limits)], &Want::default());
    (0..7).for_each(|_| drop(admit(0).expect("admitted")));
    let limited = admit(0).expect_err("full");
    assert_eq!(limited.retry_after_ns, Some(MINUTE.div_ceil(7)));
    let milliseconds = limited.retry_after_ms().expect("some time");
    assert_eq!(milliseconds, 8_572);
    assert!(limited.to_string().ends_with("Please try again in 8.572s."), "{limited}");
    assert!(admit(milliseconds * 1_000_000).is_ok());
}
