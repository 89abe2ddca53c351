//! Exactness and all-or-nothing while threads race; places under concurrency limits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;

use super::{KEY, MINUTE, concurrency, end_user, of, requests, tokens};
use crate::{Admission, Book, Limits, Meter, Scope, Want};

const THREADS: u64 = 8;

#[test]
fn threads_together_get_the_limit_to_the_last_request() {
    let (book, limits, admitted) = (Book::new(), requests(1_000), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..400 {
                    let is_in = book.admit(0, &[of(KEY, &limits)], &Want::default()).is_ok();
                    admitted.fetch_add(u64::from(is_in), SeqCst);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1_000);
}

#[test]
fn a_refusal_by_one_subject_takes_nothing_from_the_others() {
    // The narrow key refuses most; what it refuses must not be missing in the project, whose last one counts.
    let (book, wide, narrow) = (Book::new(), requests(500), requests(30));
    let project = Scope::Project { project: "proj_a" };
    let keys: Vec<String> = (0..THREADS).map(|number| format!("key_{number}")).collect();
    let admitted = AtomicU64::new(0);
    let admit = |key: &str, is_turned: bool| {
        let mut subjects = [of(Scope::Key { key }, &narrow), of(project, &wide)];
        if is_turned {
            subjects.reverse();
        }
        let is_in = book.admit(0, &subjects, &Want::default()).is_ok();
        admitted.fetch_add(u64::from(is_in), SeqCst);
    };
    thread::scope(|scope| {
        for number in 0..THREADS as usize {
            let (keys, admit) = (&keys, &admit);
            // In either order, over keys that others use too: nobody waits for one who waits for him.
            scope.spawn(move || (0..400).for_each(|round| admit(&keys[(number + round) % keys.len()], round % 2 == 0)));
        }
    });
    assert_eq!(admitted.into_inner(), THREADS * 30);
    let left = (0..1_000).filter(|_| book.admit(0, &[of(project, &wide)], &Want::default()).is_ok()).count();
    assert_eq!(left as u64, 500 - THREADS * 30);
}

#[test]
fn a_refusal_by_one_meter_takes_nothing_from_the_others() {
    let book = Book::new();
    let limits =
        Limits { tokens_per_minute: Some(100), images_per_minute: Some(3), concurrency: Some(1), ..requests(2) };
    let admit = |tokens, images| book.admit(0, &[of(KEY, &limits)], &Want { tokens, images, ..Want::default() });
    for _ in 0..10 {
        assert_eq!(admit(101, 0).expect_err("tokens").which, Meter::TokensPerMinute);
        assert_eq!(admit(100, 4).expect_err("images").which, Meter::ImagesPerMinute);
    }
    drop(admit(50, 2).expect("nothing was taken"));
    assert_eq!(admit(50, 2).expect_err("images").which, Meter::ImagesPerMinute);
    drop(admit(50, 1).expect("nothing was taken"));
    assert_eq!(admit(0, 0).expect_err("requests").which, Meter::RequestsPerMinute);
}

#[test]
fn a_subject_that_stands_twice_counts_once() {
    let (book, limits) = (Book::new(), requests(2));
    for _ in 0..2 {
        assert!(book.admit(0, &[of(KEY, &limits), of(KEY, &limits)], &Want::default()).is_ok());
    }
    assert!(book.admit(0, &[of(KEY, &limits)], &Want::default()).is_err());
}

#[test]
fn places_are_held_until_they_are_dropped() {
    let (book, limits) = (Book::new(), concurrency(3));
    let admit = |now| book.admit(now, &[of(KEY, &limits)], &Want::default());
    let mut places: Vec<Admission> = (0..3).map(|now| admit(now).expect("a place")).collect();
    let limited = admit(1_000 * MINUTE).expect_err("no place, however long one waits");
    assert_eq!((limited.which, limited.used, limited.limit), (Meter::Concurrency, 3, 3));
    assert_eq!(limited.retry_after_ns, Some(crate::CONCURRENCY_RETRY_NS));
    places.pop();
    let fourth = admit(0).expect("freed");
    assert!(admit(0).is_err());
    // A panic in the request's task frees its place, too.
    let task = thread::spawn(move || {
        let _place = fourth;
        panic!("the request is lost");
    });
    assert!(task.join().is_err());
    places.push(admit(0).expect("freed"));
    // A lowered limit lets nobody in before enough have left.
    let lower = concurrency(1);
    for _ in 0..3 {
        assert!(book.admit(0, &[of(KEY, &lower)], &Want::default()).is_err());
        places.pop();
    }
    assert!(book.admit(0, &[of(KEY, &lower)], &Want::default()).is_ok());
    assert_eq!(book.admit(0, &[of(KEY, &concurrency(0))], &Want::default()).expect_err("none").retry_after_ns, None);
}

#[test]
fn threads_never_hold_more_places_than_there_are() {
    let (book, user_limits, key_limits) = (Book::new(), concurrency(5), concurrency(3));
    let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let subjects = [of(end_user("u"), &user_limits), of(KEY, &key_limits)];
                    let Ok(place) = book.admit(0, &subjects, &Want::default()) else { continue };
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::yield_now();
                    running.fetch_sub(1, SeqCst);
                    drop(place);
                }
            });
        }
    });
    assert!(most.load(SeqCst) <= 3, "{}", most.load(SeqCst));
    let subjects = [of(end_user("u"), &user_limits), of(KEY, &key_limits)];
    let places: Vec<_> = (0..5).filter_map(|_| book.admit(0, &subjects, &Want::default()).ok()).collect();
    assert_eq!(places.len(), 3, "every place was freed, in both buckets");
}

/// Threads take an estimate each, over and over, and correct it; what they leave of the limit, if `used` was used before.
fn left_after_corrections(used: u64) -> u64 {
    const LIMIT: u64 = 80_000;
    let (book, limits) = (Book::new(), tokens(LIMIT));
    let want = |tokens| Want { tokens, ..Want::default() };
    drop(book.admit(0, &[of(KEY, &limits)], &want(used)).expect("there is room"));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for number in 0..100 {
                    let mut place = book.admit(0, &[of(KEY, &limits)], &want(ESTIMATE)).expect("there is room");
                    place.correct(0, number);
                }
            });
        }
    });
    let is_left = |count| book.admit(0, &[of(KEY, &limits)], &want(count)).is_ok();
    (1..=LIMIT).rev().find(|count| is_left(*count)).unwrap_or(0)
}

const ESTIMATE: u64 = 90;
/// What threads use in `left_after_corrections`: each 0 + 1 + … + 99.
const USED: u64 = THREADS * 4_950;

#[test]
fn corrections_by_threads_add_up() {
    // No excess is ever larger than what is in use: nothing depends on how low the level was, nor on who was kept waiting.
    let before = THREADS * ESTIMATE;
    assert_eq!(left_after_corrections(before), 80_000 - before - USED);
}

#[test]
fn corrections_near_an_empty_bucket_never_give_back_too_much() {
    // One who is kept waiting while the level has more low points than are remembered gets less back, by his excess at most.
    let left = left_after_corrections(0);
    let exact = 80_000 - USED;
    assert!((exact - THREADS * ESTIMATE..=exact).contains(&left), "{left} of {exact}");
}
