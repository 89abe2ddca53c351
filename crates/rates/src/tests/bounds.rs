//! Memory is bounded, however many come by.

use super::{DAY, KEY, MINUTE, concurrency, end_user, of, requests};
use crate::{Book, END_USERS_MAX, Limits, OVERFLOW_BUCKETS, Scope, Want};

fn is_in(book: &Book, now: u64, user: &str, limits: &Limits) -> bool {
    book.admit(now, &[of(end_user(user), limits)], &Want::default()).is_ok()
}

#[test]
fn subjects_without_limits_leave_nothing() {
    let book = Book::new();
    for number in 0..1_000 {
        let key = number.to_string();
        let admission = book.admit(0, &[of(Scope::Key { key: &key }, &Limits::NONE)], &Want::default());
        assert_eq!(admission.expect("no limit").headers().count(), 0);
    }
    assert_eq!(book.bucket_count(), 0);
}

#[test]
fn made_up_end_users_fill_no_more_than_their_bound() {
    let book = Book::new();
    let limits = Limits { requests_per_day: Some(10), ..Limits::NONE };
    for number in 0..END_USERS_MAX + 20_000 {
        // Two minutes long, so that room is looked for again and again; but nobody's bucket is full by then.
        is_in(&book, number as u64 * 1_000_000, &number.to_string(), &limits);
    }
    assert!(book.bucket_count() <= END_USERS_MAX + OVERFLOW_BUCKETS as usize, "{}", book.bucket_count());
    assert!(book.bucket_count() >= END_USERS_MAX);
    // Keys are not refused a bucket for that.
    assert!(book.admit(0, &[of(KEY, &limits)], &Want::default()).is_ok());
    // When the flood is over, those who come find room without waiting for a sweep, and the sweep gives memory back.
    assert!((0..1_000).all(|number| (0..10).all(|_| is_in(&book, 2 * DAY, &format!("after_{number}"), &limits))));
    book.sweep(2 * DAY);
    assert_eq!(book.bucket_count(), 1_000);
    book.sweep(3 * DAY);
    assert_eq!(book.bucket_count(), 0);
}

#[test]
fn end_users_beyond_the_bound_are_refused_sooner_never_later() {
    let (book, limits) = (Book::with_end_users_max(100), requests(5));
    for number in 0..100 {
        assert!(is_in(&book, 0, &number.to_string(), &limits));
    }
    // Those with a bucket keep it.
    for _ in 1..5 {
        assert!(is_in(&book, 0, "0", &limits));
    }
    assert!(!is_in(&book, 0, "0", &limits));
    // The others share: together they get no more than the shared buckets hold.
    let (mut most, mut together) = (0, 0);
    for number in 0..1_000 {
        let user = format!("late_{number}");
        let theirs = (0..20).filter(|_| is_in(&book, 0, &user, &limits)).count();
        (most, together) = (most.max(theirs), together + theirs);
    }
    assert!(most <= 5, "{most}");
    assert_eq!(together, 5 * OVERFLOW_BUCKETS as usize);
    assert_eq!(book.bucket_count(), 100 + OVERFLOW_BUCKETS as usize);
    // Another project's end users do not share with them.
    let elsewhere = Scope::EndUser { project: "proj_b", user: "late_1" };
    assert!(book.admit(0, &[of(elsewhere, &limits)], &Want::default()).is_ok());
    // When the early ones have gone there is room again, with a bucket of its own for each.
    book.sweep(2 * MINUTE);
    assert!((0..100).all(|number| (0..5).all(|_| is_in(&book, 2 * MINUTE, &format!("late_{number}"), &limits))));
}

#[test]
fn a_bucket_is_forgotten_only_when_a_new_one_would_be_the_same() {
    let (book, limits) = (Book::new(), Limits { concurrency: Some(1), ..requests(2) });
    let place = book.admit(0, &[of(KEY, &limits)], &Want::default()).expect("admitted");
    book.sweep(100 * MINUTE);
    assert_eq!(book.bucket_count(), 1, "somebody runs");
    assert!(book.admit(100 * MINUTE, &[of(KEY, &limits)], &Want::default()).is_err());
    drop(place);
    drop(book.admit(100 * MINUTE, &[of(KEY, &limits)], &Want::default()).expect("freed"));
    book.sweep(100 * MINUTE + MINUTE / 2 - 1);
    assert_eq!(book.bucket_count(), 1, "one of two has not flowed back");
    book.sweep(100 * MINUTE + MINUTE / 2);
    assert_eq!(book.bucket_count(), 0);
    // Keys that come once and never again are cleared away by those that come.
    for number in 0..100_000_u64 {
        let key = number.to_string();
        let limits = concurrency(1);
        drop(book.admit(number, &[of(Scope::Key { key: &key }, &limits)], &Want::default()));
    }
    assert!(book.bucket_count() < 10_000, "{}", book.bucket_count());
}

#[test]
#[should_panic(expected = "a request has a model, a project, a key and an end user")]
fn more_subjects_than_a_request_has_are_a_defect() {
    let limits = requests(1);
    let _ = Book::new().admit(0, &[of(KEY, &limits); 5], &Want::default());
}
