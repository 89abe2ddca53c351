//! The loop that empties the outbox.
//!
//! Promises: at most [`AT_ONCE`] attempts are under way; a delivery is under way once; what was sent is noted, however
//! often the store has to be asked, before its place is given to another; a stop ends the loop within [`DRAIN`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keys::Random;
use store::{Clock, Delivery, Outbox, StoreError};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::backoff::next_wait;
use crate::failure::SendError;
use crate::sender::Sender;

/// How often the outbox is looked at when nobody wakes the loop.
const POLL: Duration = Duration::from_secs(3);
/// Attempts under way at once: enough that some receivers that stall do not hold up the others.
const AT_ONCE: usize = 8;
/// Waits between tries to note a result in a store that is down: doubling from the first to the last.
const NOTE_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a stop waits for what is under way. What is broken off then is sent again by the next process.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Empties an outbox.
pub struct Notifier {
    carrier: Arc<Carrier>,
    wake: Arc<Notify>,
}

/// Tells a [`Notifier`] that there is something new.
#[derive(Clone)]
pub struct Waker(Arc<Notify>);

impl Waker {
    /// Makes it look at once. Costs next to nothing and never blocks.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl Notifier {
    /// A notifier; it works once it [runs](Notifier::run).
    pub fn new(
        outbox: Arc<dyn Outbox>,
        sender: Arc<Sender>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Notifier {
        Notifier { carrier: Arc::new(Carrier { outbox, sender, clock, random }), wake: Arc::default() }
    }

    /// Wakes it.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    /// Delivers what is due until `stop` turns true or its sender goes, then finishes what is under way.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = UnderWay::default();
        let mut is_store_down = false;
        // Whether the last look filled all places, so that there may be more.
        let mut has_backlog = false;
        loop {
            let looks = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                broken = under_way.ended() => {
                    if let Some(delivery) = broken {
                        under_way.add(delivery, |delivery| Arc::clone(&self.carrier).note_defect(delivery));
                    }
                    has_backlog
                }
                () = self.wake.notified() => true,
                _ = poll.tick() => true,
            };
            let places = AT_ONCE.saturating_sub(under_way.len());
            if !looks || places == 0 {
                continue;
            }
            let due = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                // What is under way is still due and comes along: the rest is enough for the places.
                due = self.carrier.due(AT_ONCE) => due,
            };
            log_store(due.as_ref().err(), &mut is_store_down);
            let fresh: Vec<Delivery> =
                due.unwrap_or_default().into_iter().filter(|delivery| !under_way.has(delivery.id)).collect();
            has_backlog = fresh.len() >= places;
            for delivery in fresh.into_iter().take(places) {
                under_way.add(delivery, |delivery| Arc::clone(&self.carrier).carry(delivery));
            }
        }
        under_way.finish_until(Instant::now() + DRAIN).await;
    }
}

/// Ends when the signal says stop, or nobody is left who could.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    drop(stop.wait_for(|&is_stopped| is_stopped).await);
}

/// Logs a store's going down and its coming back once each.
fn log_store(error: Option<&StoreError>, is_down: &mut bool) {
    match error {
        Some(error) if !*is_down => tracing::warn!(%error, "the outbox cannot be read; notices wait"),
        None if *is_down => tracing::info!("the outbox can be read again"),
        _ => {}
    }
    *is_down = error.is_some();
}

/// Attempts under way. Dropped, they are broken off.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    deliveries: HashMap<Id, Delivery>,
}

impl UnderWay {
    fn len(&self) -> usize {
        self.deliveries.len()
    }

    fn has(&self, delivery_id: i64) -> bool {
        self.deliveries.values().any(|delivery| delivery.id == delivery_id)
    }

    fn add<F: Future<Output = ()> + Send + 'static>(&mut self, delivery: Delivery, work: impl FnOnce(Delivery) -> F) {
        let task = self.tasks.spawn(work(delivery.clone()));
        self.deliveries.insert(task.id(), delivery);
    }

    /// Waits until one has ended, for ever if there is none; its delivery, if it ended by a panic.
    async fn ended(&mut self) -> Option<Delivery> {
        match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((id, ()))) => {
                self.deliveries.remove(&id);
                None
            }
            Some(Err(error)) => self.deliveries.remove(&error.id()).filter(|_| error.is_panic()),
        }
    }

    async fn finish_until(mut self, deadline: Instant) {
        while self.len() > 0 {
            if tokio::time::timeout_at(deadline, self.ended()).await.is_err() {
                tracing::warn!(count = self.len(), "attempts to deliver notices were broken off by the stop");
                return;
            }
        }
    }
}

/// Carries one delivery from the outbox to its receiver, and the result back.
struct Carrier {
    outbox: Arc<dyn Outbox>,
    sender: Arc<Sender>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Carrier {
    async fn due(&self, at_most: usize) -> Result<Vec<Delivery>, StoreError> {
        self.outbox.due(self.clock.unix_seconds(), u32::try_from(at_most).unwrap_or(u32::MAX)).await
    }

    async fn carry(self: Arc<Self>, delivery: Delivery) {
        let sent = self.sender.send(&delivery.notice, &delivery.channel, self.clock.unix_seconds()).await;
        match sent {
            Ok(()) => self.note(&delivery, &Outcome::Delivered).await,
            Err(error) => self.note_failed(&delivery, &error).await,
        }
    }

    async fn note_defect(self: Arc<Self>, delivery: Delivery) {
        self.note_failed(&delivery, &SendError::Defect).await;
    }

    async fn note_failed(&self, delivery: &Delivery, error: &SendError) {
        let attempt = delivery.attempts.saturating_add(1);
        let wait = next_wait(attempt, &*self.random);
        let words = error.words();
        let notice = &delivery.notice.id;
        match wait {
            Some(_) => {
                tracing::warn!(notice, delivery = delivery.id, attempt, error = words, "a notice did not arrive")
            }
            None => tracing::error!(notice, delivery = delivery.id, attempt, error = words, "a notice is given up"),
        }
        // A second is the store's grain; rounded up, so that a wait is never shorter than it was chosen.
        let wait_seconds = |wait: Duration| i64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
        let next_at = wait.map(|wait| self.clock.unix_seconds().saturating_add(wait_seconds(wait)));
        self.note(delivery, &Outcome::Failed { words, next_at }).await;
    }

    /// Notes a result until it is noted: to give up would be to send again.
    async fn note(&self, delivery: &Delivery, outcome: &Outcome) {
        let (mut wait, longest_wait) = NOTE_WAITS;
        loop {
            let noted = match outcome {
                Outcome::Delivered => self.outbox.delivered(delivery.id).await,
                Outcome::Failed { words, next_at } => self.outbox.failed(delivery.id, words, *next_at).await,
            };
            let error = match noted {
                // Without the delivery there is nothing to note and nothing that could be sent again.
                Ok(()) | Err(StoreError::Conflict(_)) => return,
                Err(error) => error,
            };
            if wait == NOTE_WAITS.0 {
                tracing::warn!(%error, delivery = delivery.id, "a delivery's result cannot be noted; trying on");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest_wait);
        }
    }
}

/// How an attempt ended.
enum Outcome {
    Delivered,
    Failed { words: String, next_at: Option<i64> },
}
