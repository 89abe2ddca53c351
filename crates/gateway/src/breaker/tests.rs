use proptest::prelude::*;

use super::*;

fn faults() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Failure),
        Just(Fault::Overloaded),
        Just(Fault::Refused),
        prop::option::of(0..10_000_000_u64).prop_map(|retry_after_ms| Fault::Limited { retry_after_ms }),
    ]
}

/// What happens to a breaker: time passes, a request asks to pass, one that passed ends.
#[derive(Debug, Clone)]
enum Step {
    After(u64),
    Ask,
    Succeed(prop::sample::Index),
    Fail(prop::sample::Index, Fault),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        (1_u64..20_000).prop_map(Step::After),
        Just(Step::Ask),
        index().prop_map(Step::Succeed),
        (index(), faults()).prop_map(|(at, fault)| Step::Fail(at, fault)),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens: it is never open for longer than its longest time, nobody passes while it is open but one a
    /// probe's time, and what was sent before it opened does not change it.
    #[test]
    fn nobody_passes_an_open_breaker_but_one_that_tries(steps in steps()) {
        let (mut state, mut now_ms, mut under_way) = (State::CLOSED, 1_000, Vec::new());
        let mut last_probe_ms = None;
        for step in steps {
            let before = state;
            match step {
                Step::After(ms) => now_ms += ms,
                Step::Ask => {
                    let (next, verdict) = state.admit(now_ms);
                    match verdict {
                        Verdict::Pass => prop_assert!(!before.is_open() && next == before),
                        Verdict::Wait => prop_assert!(before.is_open() && next == before && now_ms < before.until_ms()),
                        Verdict::Probe => {
                            prop_assert!(before.is_open() && now_ms >= before.until_ms());
                            prop_assert_eq!(next.admit(now_ms).1, Verdict::Wait, "one at a time");
                            // Two tries without an answer between them are a probe's time apart.
                            if let Some((at_ms, then)) = last_probe_ms && then == before {
                                prop_assert!(now_ms - at_ms >= PROBE_MS);
                            }
                            last_probe_ms = Some((now_ms, next));
                        }
                    }
                    if verdict != Verdict::Wait {
                        under_way.push(next);
                    }
                    state = next;
                }
                Step::Succeed(at) if !under_way.is_empty() => {
                    let admitted = under_way.remove(at.index(under_way.len()));
                    state = state.succeeded(admitted);
                    prop_assert_eq!(state, if before.is_open() && admitted != before { before } else { State::CLOSED });
                }
                Step::Fail(at, fault) if !under_way.is_empty() => {
                    let admitted = under_way.remove(at.index(under_way.len()));
                    state = state.failed(admitted, fault, now_ms);
                    if before.is_open() && admitted != before {
                        prop_assert_eq!(state, before);
                    } else if fault != Fault::Failure {
                        prop_assert!(state.is_open(), "it says that it does no work");
                    }
                    if before.is_open() && admitted == before {
                        prop_assert!(state.is_open() && state.level() > before.level().min(LEVEL_MAX - 1));
                    }
                }
                Step::Succeed(_) | Step::Fail(..) => {}
            }
            prop_assert!(state.until_ms() <= now_ms + OPEN_MS_MAX, "bounded");
        }
        // In the end, whatever was: after the longest time one passes, and its answer closes it.
        let (state, verdict) = state.admit(now_ms + OPEN_MS_MAX);
        prop_assert!(verdict != Verdict::Wait);
        prop_assert_eq!(state.succeeded(state), State::CLOSED);
    }
}

#[test]
fn failures_open_it_in_a_row_only_and_for_longer_each_time() {
    let mut state = State::CLOSED;
    for _ in 1..FAILURES_MAX {
        state = state.failed(state, Fault::Failure, 0);
    }
    assert!(!state.is_open());
    let interrupted = state.succeeded(state).failed(State::CLOSED, Fault::Failure, 0);
    assert!(!interrupted.is_open(), "not in a row");
    let mut now_ms = 0;
    let mut times = Vec::new();
    for _ in 0..12 {
        state = state.failed(state, Fault::Failure, now_ms);
        times.push(state.until_ms() - now_ms);
        now_ms = state.until_ms();
        state = state.admit(now_ms).0;
    }
    assert_eq!(times[..4], [1_000, 2_000, 4_000, 8_000]);
    assert_eq!(times[11], OPEN_MS_MAX);
}

#[test]
fn a_limit_lasts_as_long_as_it_says_within_bounds() {
    let until = |retry_after_ms| State::CLOSED.failed(State::CLOSED, Fault::Limited { retry_after_ms }, 0).until_ms();
    assert_eq!([until(Some(2_000)), until(None), until(Some(0)), until(Some(u64::MAX))], [2_000, 5_000, 250, 60_000]);
}

#[test]
fn of_many_threads_one_tries() {
    let breaker = Breaker::default();
    breaker.failed(State::CLOSED, Fault::Refused, 0);
    assert!(breaker.admit(|| 29_999).is_none());
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| usize::from(breaker.admit(|| 30_000).is_some()))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(passed, 1);
    assert!(breaker.would_admit(|| 30_000 + PROBE_MS), "a try that got lost is not waited for for ever");
}
