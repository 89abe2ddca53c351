use std::sync::mpsc;

use super::*;

const ROOM: Room = Room { texts_max: 8, bytes_max: 8_000 };
const LONG: Duration = Duration::from_secs(20);

fn project(name: &str) -> ProjectId {
    ProjectId::new(name)
}

/// A text that is read to this score.
fn task(bytes: usize, score: f32) -> Task {
    Task { bytes, read: Box::new(move || vec![Reading { score, ..Reading::default() }]) }
}

/// Keeps the only thread busy until the sender is dropped.
fn occupy(pool: &Pool) -> (mpsc::Sender<()>, Awaited) {
    let (sender, receiver) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    let read = Box::new(move || {
        began.send(()).expect("somebody waits");
        let _ = receiver.recv();
        vec![Reading::default()]
    });
    let awaited = pool.submit(&project("busy"), vec![Task { bytes: 0, read }]).expect("room");
    begins.recv_timeout(LONG).expect("it begins");
    (sender, awaited)
}

#[tokio::test]
async fn readings_come_in_the_order_of_the_texts() {
    let pool = Pool::start(3, Room { texts_max: 1_000, bytes_max: 1_000_000 }).expect("threads");
    let tasks = (0..100u16).map(|number| task(10, f32::from(number))).collect();
    let readings = pool.submit(&project("a"), tasks).expect("room").within(LONG).await.whole().expect("read");
    let scores: Vec<f32> = readings.iter().map(|reading| reading.score).collect();
    assert_eq!(scores, (0..100u16).map(f32::from).collect::<Vec<_>>());
    assert_eq!(pool.submit(&project("a"), Vec::new()).expect("room").within(LONG).await, Readings::default());
}

#[tokio::test]
async fn one_project_fills_half_and_no_more() {
    let pool = Pool::start(1, ROOM).expect("a thread");
    let (go, busy) = occupy(&pool);
    let submit =
        |name: &str, count: usize, bytes| pool.submit(&project(name), (0..count).map(|_| task(bytes, 0.5)).collect());
    let (first, refused) = (submit("a", 4, 1), submit("a", 1, 1));
    assert!(first.is_ok());
    assert_eq!(refused.err(), Some(Failure::Overloaded), "more than half of the texts");
    assert_eq!(submit("b", 1, 4_001).err(), Some(Failure::Overloaded), "more than half of the bytes");
    let second = submit("b", 3, 1_000).expect("room for another");
    assert_eq!(submit("c", 2, 1).err(), Some(Failure::Overloaded), "all or none");
    let third = submit("c", 1, 1).expect("room for one");
    assert_eq!((pool.waiting(), submit("d", 1, 1).err()), (8, Some(Failure::Overloaded)));
    drop(go);
    for awaited in [first.expect("room"), second, third, busy] {
        assert_eq!(awaited.within(LONG).await.failure, None);
    }
    assert_eq!(pool.waiting(), 0);
    assert_eq!(submit("a", 4, 1_000).expect("room again").within(LONG).await.failure, None);
}

#[tokio::test]
async fn projects_take_turns() {
    let pool = Pool::start(1, ROOM).expect("a thread");
    let (go, _busy) = occupy(&pool);
    let (order, read) = mpsc::channel();
    let submit = |name: &'static str, count: usize| {
        let task = |_| {
            let order = order.clone();
            let read = Box::new(move || {
                order.send(name).expect("somebody listens");
                vec![Reading::default()]
            });
            Task { bytes: 1, read }
        };
        pool.submit(&project(name), (0..count).map(task).collect()).expect("room")
    };
    let waits = [submit("flood", 4), submit("quiet", 1), submit("other", 2)];
    drop(go);
    for awaited in waits {
        awaited.within(LONG).await.whole().expect("read");
    }
    assert_eq!(read.try_iter().collect::<Vec<_>>(), ["flood", "quiet", "other", "flood", "other", "flood", "flood"]);
}

#[tokio::test]
async fn a_panic_costs_its_request_the_verdict_and_nobody_else_anything() {
    let pool = Pool::start(1, ROOM).expect("a thread");
    let bad = Task { bytes: 1, read: Box::new(|| panic!("told to")) };
    let broken = pool.submit(&project("a"), vec![task(1, 0.1), bad, task(1, 0.2)]).expect("room");
    let whole = pool.submit(&project("b"), vec![task(1, 0.3)]).expect("room");
    let broken = broken.within(LONG).await;
    assert_eq!((broken.failure, broken.read[0].len(), broken.read[2].len()), (Some(Failure::Failed), 1, 0));
    assert_eq!(broken.whole(), Err(Failure::Failed));
    assert_eq!(whole.within(LONG).await.failure, None);
}

#[tokio::test]
async fn what_takes_too_long_is_late_and_what_nobody_waits_for_is_not_read() {
    let pool = Pool::start(1, ROOM).expect("a thread");
    let (go, _busy) = occupy(&pool);
    let late = pool.submit(&project("a"), vec![task(1, 0.1)]).expect("room");
    assert_eq!(late.within(Duration::from_millis(1)).await.failure, Some(Failure::Late));
    let (touched, touches) = mpsc::channel();
    let read = Box::new(move || {
        let _ = touched.send(());
        vec![Reading::default()]
    });
    drop(pool.submit(&project("a"), vec![Task { bytes: 1, read }]).expect("room"));
    let after = pool.submit(&project("a"), vec![task(1, 0.1)]).expect("room");
    drop(go);
    after.within(LONG).await.whole().expect("read");
    assert!(touches.try_recv().is_err(), "nobody waited for it");
}

#[tokio::test]
async fn what_was_read_in_time_is_given_where_not_all_was() {
    let pool = Pool::start(1, ROOM).expect("a thread");
    let (_go, goes) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    let stuck = move || {
        began.send(()).expect("somebody waits");
        let _ = goes.recv();
        vec![Reading::default()]
    };
    let tasks = vec![task(1, 0.1), Task { bytes: 1, read: Box::new(stuck) }, task(1, 0.2)];
    let awaited = pool.submit(&project("a"), tasks).expect("room");
    begins.recv_timeout(LONG).expect("it begins");
    let readings = awaited.within(Duration::from_millis(1)).await;
    let scores: Vec<Vec<f32>> =
        readings.read.iter().map(|read| read.iter().map(|reading| reading.score).collect()).collect();
    assert_eq!((scores, readings.failure), (vec![vec![0.1], vec![], vec![]], Some(Failure::Late)));
}
