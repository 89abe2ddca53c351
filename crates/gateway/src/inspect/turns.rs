//! Where a look runs: a short one where the request is, a long one on a thread where it keeps no other request waiting.
//!
//! Promises: at most so many long looks run at once, also when those who asked for them have left: what is behind them
//! waits its turn, whoever's it is, but only for a time; a look that panics costs its request the verdict, not the worker
//! its life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::pool::Failure;

/// Texts and bodies from this size on are looked at off the worker's thread: up to half a millisecond of its time.
pub(super) const OFF_THREAD_BYTES: usize = 8 * 1024;

/// Turns of the looks that leave the workers.
pub(super) struct Turns {
    free: Arc<Semaphore>,
    wait_max: Duration,
}

impl Turns {
    /// For so many looks at once, each of which waits so long for its turn at most.
    pub(super) fn new(at_once: usize, wait_max: Duration) -> Turns {
        Turns { free: Arc::new(Semaphore::new(at_once)), wait_max }
    }

    /// Looks at so many bytes.
    ///
    /// # Errors
    /// [`Failure::Late`] where its turn did not come in time, and nobody looks; [`Failure::Failed`] where it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        if bytes < OFF_THREAD_BYTES {
            return catch_unwind(AssertUnwindSafe(look)).map_err(|_| Failure::Failed);
        }
        let waiting = Arc::clone(&self.free).acquire_owned();
        // Kept by the look itself, which goes on when its caller leaves. Nobody closes it.
        let turn = tokio::time::timeout(self.wait_max, waiting).await.map_err(|_| Failure::Late)?;
        let look = move || {
            let _turn = turn;
            look()
        };
        tokio::task::spawn_blocking(look).await.map_err(|_| Failure::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use tokio::task::JoinHandle;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_look_leaves_the_worker_from_eight_kilobytes_on() {
        let (turns, here) = (Turns::new(1, LONG), thread::current().id());
        for (bytes, stays) in [(0, true), (8 * 1024 - 1, true), (8 * 1024, false), (1 << 20, false)] {
            let there = turns.run(bytes, || thread::current().id()).await.expect("it runs");
            assert_eq!(there == here, stays, "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_look_that_panics_has_failed_and_its_turn_is_free() {
        let turns = Turns::new(1, LONG);
        for bytes in [1, OFF_THREAD_BYTES, OFF_THREAD_BYTES] {
            assert_eq!(turns.run(bytes, || -> u8 { panic!("told to") }).await, Err(Failure::Failed));
            assert_eq!(turns.run(bytes, || 5).await, Ok(5));
        }
    }

    /// A long look that runs until the sender is dropped, and what says that it has begun.
    fn held(turns: &Arc<Turns>) -> (JoinHandle<Result<(), Failure>>, mpsc::Sender<()>, mpsc::Receiver<()>) {
        let ((go, goes), (began, begins)) = (mpsc::channel::<()>(), mpsc::channel());
        let turns = Arc::clone(turns);
        let look = move || {
            began.send(()).expect("somebody waits");
            let _ = goes.recv();
        };
        (tokio::spawn(async move { turns.run(OFF_THREAD_BYTES, look).await }), go, begins)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_looks_run_at_once_than_there_are_turns() {
        let turns = Arc::new(Turns::new(2, LONG));
        let running = [held(&turns), held(&turns)];
        for (_, _, begins) in &running {
            begins.recv_timeout(LONG).expect("there are two turns");
        }
        let (waiting, go, begins) = held(&turns);
        assert!(begins.recv_timeout(Duration::from_millis(100)).is_err(), "a third began");
        assert_eq!(turns.run(OFF_THREAD_BYTES - 1, || 5).await, Ok(5), "short ones need none");
        // One whose caller has left runs on, and keeps its turn.
        let [(left, left_go, _), (other, other_go, _)] = running;
        left.abort();
        assert!(left.await.is_err_and(|error| error.is_cancelled()));
        assert!(begins.recv_timeout(Duration::from_millis(100)).is_err(), "two looks still run");
        drop(left_go);
        begins.recv_timeout(LONG).expect("its turn is free once it is over");
        drop((other_go, go));
        for task in [other, waiting] {
            assert!(matches!(task.await, Ok(Ok(()))));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_look_whose_turn_does_not_come_in_time_is_late_and_keeps_nothing() {
        let turns = Arc::new(Turns::new(1, Duration::from_millis(1)));
        let (running, go, begins) = held(&turns);
        begins.recv_timeout(LONG).expect("there is a turn");
        let case = Arc::new(());
        let copy = Arc::clone(&case);
        assert_eq!(turns.run(OFF_THREAD_BYTES, move || drop(copy)).await, Err(Failure::Late));
        assert!(Arc::into_inner(case).is_some(), "what was to be looked at is its caller's again");
        assert_eq!(turns.run(OFF_THREAD_BYTES - 1, || 5).await, Ok(5), "short ones need none");
        // One that has begun takes what it takes; and who has given up is not in the way of the next.
        drop(go);
        assert!(matches!(running.await, Ok(Ok(()))));
        assert_eq!(turns.run(OFF_THREAD_BYTES, || 5).await, Ok(5));
    }
}
