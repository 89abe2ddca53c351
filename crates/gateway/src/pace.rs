//! When an answer moves: how long it may stand still, and what leaves in one write.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

/// Events on their way to one write.
///
/// The upstream's connection hands over chunk by chunk, also what it has read in one go. Written as they come, twenty
/// events cost twenty system calls; so a chunk lets the other tasks of the worker run once, the connection's among
/// them, and takes along what they brought. An event that comes alone waits for nothing but that.
#[derive(Default)]
pub(crate) struct Gathered {
    parts: Vec<Bytes>,
    bytes: usize,
    waits: u8,
}

/// What there is to do when the upstream has nothing more right now.
pub(crate) enum Wait {
    /// Nothing is gathered.
    Nothing,
    /// Let the other tasks run once.
    Once,
    /// They ran, and brought nothing.
    NoMore,
}

impl Gathered {
    /// Written at this size at the latest: a page of the socket's buffer.
    const BYTES_MAX: usize = 16 * 1024;

    /// Polls without anything new before what is there goes out. The HTTP library asks a body twice in one turn of its
    /// task; the third time, the other tasks have had theirs.
    const WAITS_MAX: u8 = 2;

    pub(crate) fn takes(&self, bytes: &Bytes) -> bool {
        self.bytes + bytes.len() < Gathered::BYTES_MAX
    }

    pub(crate) fn add(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.parts.push(bytes);
        self.waits = 0;
    }

    pub(crate) fn wait(&mut self, cx: &Context<'_>) -> Wait {
        if self.parts.is_empty() {
            return Wait::Nothing;
        }
        if self.waits >= Gathered::WAITS_MAX {
            return Wait::NoMore;
        }
        self.waits += 1;
        cx.waker().wake_by_ref();
        Wait::Once
    }

    pub(crate) fn take_with(&mut self, last: Bytes) -> Bytes {
        self.bytes = 0;
        let mut parts = std::mem::take(&mut self.parts);
        if !last.is_empty() {
            parts.push(last);
        }
        if parts.len() == 1 { parts.remove(0) } else { Bytes::from(parts.concat()) }
    }
}

/// A limit on the time between two chunks, without a timer for answers that do not wait.
pub(crate) struct Idle {
    pub(crate) limit: Duration,
    last: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Idle {
        Idle { limit, last: Instant::now(), sleep: None }
    }

    pub(crate) fn progress(&mut self) {
        // The time matters only once a timer runs.
        if self.sleep.is_some() {
            self.last = Instant::now();
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() {
            self.last = Instant::now();
        }
        loop {
            let due = self.last + self.limit;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            std::task::ready!(sleep.as_mut().poll(cx));
            // Chunks came since the timer was set: it moves on rather than being reset for each.
            if self.last + self.limit <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.last + self.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_time_counts_from_the_last_chunk() {
        let mut idle = Idle::new(Duration::from_secs(10));
        let begun = Instant::now();
        assert!(std::future::poll_fn(|cx| Poll::Ready(idle.poll(cx).is_pending())).await);
        tokio::time::advance(Duration::from_secs(8)).await;
        idle.progress();
        std::future::poll_fn(|cx| idle.poll(cx)).await;
        assert!(begun.elapsed() >= Duration::from_secs(18));
    }
}
