//! An outbox in memory, and a clock that goes with the runtime's.

use std::sync::Mutex;

use async_trait::async_trait;
use store::{Channel, Clock, Delivery, DeliveryState, Notice, Outbox, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::NOW;

/// The time of day by the runtime's clock, which tests can pause and which then skips waits.
pub(super) struct RuntimeClock(Instant);

impl RuntimeClock {
    pub(super) fn start() -> RuntimeClock {
        RuntimeClock(Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn unix_seconds(&self) -> i64 {
        NOW + i64::try_from(self.0.elapsed().as_secs()).expect("a test's time")
    }
}

/// The outbox. Every change is announced.
pub(super) struct Memory {
    deliveries: Mutex<Vec<Delivery>>,
    changes: watch::Sender<usize>,
    /// How many of the next notes fail.
    failing_notes: Mutex<usize>,
    is_unreadable: Mutex<bool>,
}

impl Memory {
    pub(super) fn new() -> Memory {
        Memory {
            deliveries: Mutex::default(),
            changes: watch::channel(0).0,
            failing_notes: Mutex::default(),
            is_unreadable: Mutex::default(),
        }
    }

    pub(super) fn fail_notes(&self, count: usize) {
        *self.failing_notes.lock().expect("unpoisoned") = count;
    }

    pub(super) fn failing_notes(&self) -> usize {
        *self.failing_notes.lock().expect("unpoisoned")
    }

    pub(super) fn set_unreadable(&self, is_unreadable: bool) {
        *self.is_unreadable.lock().expect("unpoisoned") = is_unreadable;
    }

    pub(super) fn all(&self) -> Vec<Delivery> {
        self.deliveries.lock().expect("unpoisoned").clone()
    }

    /// Waits until the deliveries are so.
    pub(super) async fn wait_until(&self, mut is_so: impl FnMut(&[Delivery]) -> bool) {
        let mut changes = self.changes.subscribe();
        changes.wait_for(|_| is_so(&self.all())).await.expect("the outbox lives");
    }

    fn note(&self, id: i64, change: impl FnOnce(&mut Delivery)) -> Result<(), StoreError> {
        {
            let mut failing = self.failing_notes.lock().expect("unpoisoned");
            if *failing > 0 {
                *failing -= 1;
                return Err(down());
            }
        }
        let mut deliveries = self.deliveries.lock().expect("unpoisoned");
        let delivery = deliveries.iter_mut().find(|delivery| delivery.id == id).expect("a known delivery");
        assert_eq!(delivery.state, DeliveryState::Pending, "a result is noted once");
        delivery.attempts += 1;
        change(delivery);
        drop(deliveries);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

fn down() -> StoreError {
    StoreError::Unavailable("a test".into())
}

#[async_trait]
impl Outbox for Memory {
    async fn enqueue(&self, notice: &Notice, channels: &[Channel]) -> Result<(), StoreError> {
        let mut deliveries = self.deliveries.lock().expect("unpoisoned");
        for channel in channels {
            let id = i64::try_from(deliveries.len()).expect("few");
            deliveries.push(Delivery {
                id,
                notice: notice.clone(),
                channel: channel.clone(),
                state: DeliveryState::Pending,
                attempts: 0,
                next_at: notice.created_at,
                last_error: None,
            });
        }
        Ok(())
    }

    async fn due(&self, now: i64, at_most: u32) -> Result<Vec<Delivery>, StoreError> {
        if *self.is_unreadable.lock().expect("unpoisoned") {
            return Err(down());
        }
        let is_due = |delivery: &Delivery| delivery.state == DeliveryState::Pending && delivery.next_at <= now;
        let mut due: Vec<Delivery> = self.all().into_iter().filter(is_due).collect();
        due.sort_by_key(|delivery| (delivery.next_at, delivery.id));
        due.truncate(at_most as usize);
        Ok(due)
    }

    async fn delivered(&self, delivery: i64) -> Result<(), StoreError> {
        self.note(delivery, |delivery| delivery.state = DeliveryState::Delivered)
    }

    async fn failed(&self, delivery: i64, error: &str, next_at: Option<i64>) -> Result<(), StoreError> {
        self.note(delivery, |delivery| {
            delivery.last_error = Some(error.to_owned());
            match next_at {
                Some(next_at) => delivery.next_at = next_at,
                None => delivery.state = DeliveryState::Dead,
            }
        })
    }

    async fn deliveries(
        &self,
        _state: Option<DeliveryState>,
        _before: Option<i64>,
        _at_most: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        unreachable!("the notifier lists nothing")
    }

    async fn revive(&self, _delivery: i64, _now: i64) -> Result<bool, StoreError> {
        unreachable!("the notifier revives nothing")
    }
}
