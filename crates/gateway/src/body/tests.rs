use std::convert::Infallible;

use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

type Chunks = Vec<Result<Frame<Bytes>, Infallible>>;

fn chunks(sizes: &[usize]) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
    let frames: Chunks = sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size])))).collect();
    StreamBody::new(stream::iter(frames))
}

async fn read_with(
    sizes: &[usize],
    declared: Option<u64>,
    max: u64,
    budget: &Arc<BodyBudget>,
) -> Result<Bytes, Refusal> {
    read(chunks(sizes), declared, max, &Timeouts::default(), &mut budget.share()).await
}

#[tokio::test]
async fn pieces_are_joined_and_the_share_is_given_back() {
    let budget = BodyBudget::new(1_000);
    let body = read_with(&[3, 0, 4], None, 7, &budget).await.expect("within the limit");
    assert_eq!(&body[..], b"xxxxxxx");
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn one_byte_too_many_is_refused_declared_or_not() {
    let budget = BodyBudget::new(1_000);
    for declared in [None, Some(8), Some(2)] {
        let refusal = read_with(&[4, 4], declared, 7, &budget).await.expect_err("over the limit");
        assert_eq!(refusal.reason, Reason::BodyTooLarge);
    }
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn the_process_wide_budget_refuses_and_recovers() {
    let budget = BodyBudget::new(10);
    let mut held = budget.share();
    held.grow_to(6).expect("room for six");
    let refusal = read_with(&[5], None, 100, &budget).await.expect_err("over the budget");
    assert_eq!(refusal.reason, Reason::Overloaded);
    drop(held);
    assert_eq!(read_with(&[5], None, 100, &budget).await.expect("room again").len(), 5);
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_sender_is_told_so() {
    let budget = BodyBudget::new(1_000);
    let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let refusal =
        read(silent, Some(5), 10, &Timeouts::default(), &mut budget.share()).await.expect_err("no bytes came");
    assert_eq!(refusal.reason, Reason::SlowSender);
}
