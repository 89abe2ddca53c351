//! The loop, with an outbox in memory.

use std::collections::HashSet;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use keys::SystemRandom;
use store::{Channel, Clock as _, Delivery, DeliveryState, Outbox as _};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::mail_server::MailServer;
use super::memory::{Memory, RuntimeClock};
use super::receiver::{Answer, Receiver};
use super::{client_tls, notice, webhooks};
use crate::{DRAIN, Mail, MailSettings, Notifier, Sender, Waker, Webhooks};

struct Running {
    outbox: Arc<Memory>,
    clock: Arc<RuntimeClock>,
    waker: Waker,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn run(outbox: Memory, mail: Option<Mail>, webhooks: Webhooks) -> Running {
    let outbox = Arc::new(outbox);
    let clock = Arc::new(RuntimeClock::start());
    let sender = Arc::new(Sender::new(mail, webhooks));
    let notifier = Notifier::new(outbox.clone(), sender, clock.clone(), Arc::new(SystemRandom));
    let (stop, stopped) = watch::channel(false);
    Running { outbox, clock, waker: notifier.waker(), stop, task: tokio::spawn(notifier.run(stopped)) }
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("no panic");
    }
}

fn no_webhooks() -> Webhooks {
    Webhooks::new(client_tls(&[]), |_| None)
}

fn by_mail() -> Channel {
    Channel::Email { recipients: vec!["a@example.com".to_owned()], subject_prefix: None }
}

fn by_webhook() -> Channel {
    Channel::Webhook { id: "webhook_1".to_owned() }
}

fn all_are(state: DeliveryState) -> impl Fn(&[Delivery]) -> bool {
    move |deliveries| deliveries.iter().all(|delivery| delivery.state == state)
}

async fn filled(notices: usize, channel: Channel) -> Memory {
    let outbox = Memory::new();
    for number in 0..notices {
        outbox.enqueue(&notice(&format!("notice_{number}")), slice::from_ref(&channel)).await.expect("enqueued");
    }
    outbox
}

#[tokio::test]
async fn two_channels_of_a_notice_carry_the_same_id() {
    let receiver = Receiver::start([Answer::Status(204)]).await;
    let server = MailServer::start(&[]).await;
    let mail = Mail::new(MailSettings {
        url: server.url(),
        password: None,
        from: "gate@example.com".to_owned(),
        authorities: Vec::new(),
    });
    let outbox = Memory::new();
    outbox.enqueue(&notice("notice_7"), &[by_mail(), by_webhook()]).await.expect("enqueued");
    let running = run(outbox, Some(mail.expect("settings")), webhooks(receiver.url("/")));
    running.outbox.wait_until(all_are(DeliveryState::Delivered)).await;
    running.stop().await;
    let [request] = &receiver.requests()[..] else { panic!("one request") };
    let [letter] = &server.letters()[..] else { panic!("one mail") };
    assert_eq!(request.header("webhook-id"), "notice_7");
    assert!(letter.contains("Message-ID: <notice_7@example.com>\r\n"), "{letter}");
}

#[tokio::test(start_paused = true)]
async fn what_never_arrives_is_dead_after_nine_attempts_in_about_a_day_and_a_half() {
    let running = run(filled(1, by_mail()).await, None, no_webhooks());
    let mut tries = Vec::new();
    let clock = Arc::clone(&running.clock);
    running
        .outbox
        .wait_until(|deliveries| {
            if deliveries[0].attempts as usize > tries.len() {
                tries.push((clock.unix_seconds(), deliveries[0].next_at));
            }
            deliveries[0].state == DeliveryState::Dead
        })
        .await;
    let dead = running.outbox.all().remove(0);
    running.stop().await;
    assert_eq!((tries.len(), dead.attempts), (9, 9));
    for (wait, pair) in [5, 30, 120, 600, 3_600, 14_400, 43_200, 64_800].into_iter().zip(tries.windows(2)) {
        let [(earlier, promised), (later, _)] = pair else { panic!("pairs") };
        let (least, most) = (wait * 4 / 5, wait * 6 / 5 + 1);
        assert!((least..=most).contains(&(promised - earlier)), "{wait}: {earlier} to {promised}");
        assert!((0..=3).contains(&(later - promised)), "the poll is late: {later}");
    }
    assert!(dead.last_error.expect("words").contains("`mail.url`"));
}

#[tokio::test(start_paused = true)]
async fn it_looks_at_once_when_it_is_woken_and_else_soon() {
    let running = run(Memory::new(), None, no_webhooks());
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    for (is_woken, least_ms, most_ms) in [(true, 0, 0), (false, 1, 3_000)] {
        let begin = Instant::now();
        let known = running.outbox.all().len();
        running.outbox.enqueue(&notice("notice_1"), &[by_mail()]).await.expect("enqueued");
        if is_woken {
            running.waker.wake();
        }
        running.outbox.wait_until(|deliveries| deliveries[known].attempts == 1).await;
        let took_ms = begin.elapsed().as_millis();
        assert!((least_ms..=most_ms).contains(&took_ms), "woken {is_woken}: {took_ms} ms");
    }
    running.stop().await;
}

#[tokio::test]
async fn eight_are_under_way_at_once_and_each_goes_out_once() {
    let permits = Arc::new(Semaphore::new(0));
    let mut receiver = Receiver::start([Answer::Held(Arc::clone(&permits))]).await;
    let running = run(filled(30, by_webhook()).await, None, webhooks(receiver.url("/")));
    receiver.wait_for(8).await;
    // Looking again while eight are under way must not start them, or others, again.
    running.waker.wake();
    for _ in 0..30 {
        permits.add_permits(1);
        running.waker.wake();
        tokio::task::yield_now().await;
    }
    running.outbox.wait_until(all_are(DeliveryState::Delivered)).await;
    running.stop().await;
    assert_eq!(receiver.most_at_once(), 8);
    let ids: HashSet<String> = receiver.requests().iter().map(|got| got.header("webhook-id").to_owned()).collect();
    assert_eq!((ids.len(), receiver.requests().len()), (30, 30));
}

#[tokio::test(start_paused = true)]
async fn a_free_place_is_taken_at_once() {
    let running = run(filled(100, by_mail()).await, None, no_webhooks());
    let begin = Instant::now();
    running.outbox.wait_until(|deliveries| deliveries.iter().all(|delivery| delivery.attempts >= 1)).await;
    assert_eq!(begin.elapsed().as_millis(), 0, "nobody waited for the next poll");
    running.stop().await;
}

#[tokio::test]
async fn a_failure_is_followed_by_success_under_the_same_id() {
    let receiver = Receiver::start([Answer::Status(500), Answer::HangUp, Answer::Status(200)]).await;
    let running = run(filled(1, by_webhook()).await, None, webhooks(receiver.url("/")));
    running.outbox.wait_until(|deliveries| deliveries[0].attempts == 1).await;
    let failed = running.outbox.all().remove(0);
    assert_eq!(failed.last_error.as_deref(), Some("the webhook answered with status 500"));
    // From here on waits are skipped.
    tokio::time::pause();
    running.outbox.wait_until(all_are(DeliveryState::Delivered)).await;
    running.stop().await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.header("webhook-id") == "notice_0"));
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    let signed_at = |index: usize| requests[index].header("webhook-timestamp").parse::<i64>().expect("a time");
    assert!(signed_at(1) >= signed_at(0) + 4 && signed_at(2) >= signed_at(1) + 24, "each signed anew");
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_begins_nothing() {
    let permits = Arc::new(Semaphore::new(0));
    let mut receiver = Receiver::start([Answer::Held(Arc::clone(&permits))]).await;
    let running = run(filled(12, by_webhook()).await, None, webhooks(receiver.url("/")));
    receiver.wait_for(8).await;
    running.stop.send_replace(true);
    permits.add_permits(100);
    running.task.await.expect("no panic");
    let delivered = running.outbox.all().into_iter().filter(|delivery| delivery.state == DeliveryState::Delivered);
    assert_eq!((delivered.count(), receiver.requests().len()), (8, 8));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_receiver_that_stalls() {
    let mut receiver = Receiver::start([Answer::Held(Arc::new(Semaphore::new(0)))]).await;
    let running = run(filled(1, by_webhook()).await, None, webhooks(receiver.url("/")));
    receiver.wait_for(1).await;
    tokio::time::pause();
    let begin = Instant::now();
    drop(running.stop);
    running.task.await.expect("no panic");
    assert_eq!(begin.elapsed().as_secs(), DRAIN.as_secs());
    let delivery = running.outbox.all().remove(0);
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 0), "the next process sends it");
}

#[tokio::test]
async fn a_store_that_cannot_note_does_not_make_it_send_again() {
    let permits = Arc::new(Semaphore::new(0));
    let mut receiver = Receiver::start([Answer::Held(Arc::clone(&permits))]).await;
    let running = run(filled(1, by_webhook()).await, None, webhooks(receiver.url("/")));
    receiver.wait_for(1).await;
    running.outbox.fail_notes(10);
    permits.add_permits(100);
    // The answer goes on its way first: with paused time, the attempt could be over before it arrives.
    while running.outbox.failing_notes() == 10 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    let begin = Instant::now();
    running.outbox.wait_until(all_are(DeliveryState::Delivered)).await;
    assert!(begin.elapsed() > Duration::from_secs(100), "ten tries, ever slower: {:?}", begin.elapsed());
    running.stop().await;
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_asked_again() {
    let outbox = filled(1, by_mail()).await;
    outbox.set_unreadable(true);
    let running = run(outbox, None, no_webhooks());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.outbox.all()[0].attempts, 0);
    running.outbox.set_unreadable(false);
    running.outbox.wait_until(|deliveries| deliveries[0].attempts == 1).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_defect_counts_as_a_failed_attempt() {
    let broken = Webhooks::new(client_tls(&[]), |_| panic!("a defect, on purpose"));
    let running = run(filled(1, by_webhook()).await, None, broken);
    running.outbox.wait_until(all_are(DeliveryState::Dead)).await;
    let dead = running.outbox.all().remove(0);
    assert_eq!(dead.attempts, 9);
    assert!(dead.last_error.expect("words").contains("defect"));
    running.stop().await;
}
