//! Attempts of webhooks.

use std::time::Duration;

use keys::Secret;
use serde_json::json;
use store::Channel;
use tokio::time::Instant;

use super::receiver::{Answer, Receiver};
use super::{NOW, SECRET, client_tls, notice, server_tls, webhooks, webhooks_with};
use crate::{SendError, Sender, SigningKey, Target, Webhooks};

async fn send(webhooks: Webhooks) -> Result<(), SendError> {
    let channel = Channel::Webhook { id: "webhook_1".to_owned() };
    Sender::new(None, webhooks).send(&notice("notice_1"), &channel, NOW).await
}

/// Sends to a receiver with this answer, and gives back what an operator would read.
async fn words(answer: Answer) -> String {
    let receiver = Receiver::start([answer]).await;
    let result = send(webhooks(receiver.url("/path-token?query-token"))).await;
    assert_eq!(receiver.requests().len(), 1, "one attempt is one request");
    result.expect_err("a failure").words()
}

#[tokio::test]
async fn the_request_is_a_signed_event() {
    let receiver = Receiver::start([Answer::Status(200)]).await;
    send(webhooks(receiver.url("/hook?a=b"))).await.expect("delivered");
    let [request] = &receiver.requests()[..] else { panic!("one request") };
    assert!(request.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id"), "notice_1");
    assert_eq!(
        request.json(),
        json!({
            "id": "notice_1",
            "object": "event",
            "type": "spend_alert.triggered",
            "created_at": 1_789_381_000,
            "data": {"alert_id": "alert_1", "spent_nanousd": 52_000_000_000_u64},
        })
    );
    let timestamp = request.header("webhook-timestamp");
    assert_eq!(timestamp, NOW.to_string());
    let key = SigningKey::read(&Secret::new(SECRET)).expect("a secret");
    assert_eq!(key.verify("notice_1", timestamp, request.header("webhook-signature"), &request.body, NOW), Ok(()));
}

#[tokio::test]
async fn only_2xx_is_success() {
    for status in [200, 202, 204, 299] {
        let receiver = Receiver::start([Answer::Status(status)]).await;
        assert!(send(webhooks(receiver.url("/"))).await.is_ok(), "{status}");
    }
    for status in [304, 400, 401, 404, 410, 429, 500, 503] {
        let words = words(Answer::Status(status)).await;
        assert!(words.contains(&status.to_string()) && !words.contains("secretive"), "{words}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Receiver::start([Answer::Status(200)]).await;
    for status in [301, 302, 303, 307, 308] {
        let words = words(Answer::Elsewhere(status, elsewhere.url("/"))).await;
        assert!(words.contains(&status.to_string()) && words.contains("redirect"), "{words}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_receiver_that_stalls_is_left() {
    assert_eq!(words(Answer::Stall).await, "no answer within 15 seconds");
}

#[tokio::test]
async fn what_comes_after_the_status_changes_nothing() {
    let endless = Receiver::start([Answer::Endless]).await;
    let begin = Instant::now();
    send(webhooks(endless.url("/"))).await.expect("delivered");
    assert!(begin.elapsed() < Duration::from_secs(2), "a few kilobytes are read, not for two seconds");
    let stalled = Receiver::start([Answer::StallInBody]).await;
    tokio::time::timeout(Duration::from_secs(60), send(webhooks(stalled.url("/")))).await.expect("soon").expect("sent");
}

#[tokio::test]
async fn failures_hold_neither_address_nor_secret_nor_answer() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = format!("http://{}/path-token?query-token", free.local_addr().expect("an address"));
    drop(free);
    let mut all = vec![send(webhooks(closed)).await.expect_err("nobody is there").words()];
    for answer in [Answer::HangUp, Answer::Garbage("secretive\r\n\r\n"), Answer::Status(500)] {
        all.push(words(answer).await);
    }
    for bad in ["ftp://host/path-token", "path-token", "https://user:query-token@host/"] {
        all.push(send(webhooks(bad.to_owned())).await.expect_err("no address").words());
    }
    let no_secret =
        Webhooks::new(client_tls(&[]), |_| Some(Target { url: "http://host".into(), secret: Secret::new("hunter2") }));
    all.push(send(no_secret).await.expect_err("no secret").words());
    for words in all {
        for secret in ["token", "secretive", "hunter2", "MfKQ"] {
            assert!(!words.contains(secret), "{words}");
        }
        assert!(words.len() > 20, "{words}");
    }
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_named() {
    let channel = Channel::Webhook { id: "webhook_2".to_owned() };
    let sender = Sender::new(None, webhooks("http://127.0.0.1:1/".to_owned()));
    let error = sender.send(&notice("notice_1"), &channel, NOW).await.expect_err("unknown");
    assert!(error.words().contains("`webhook_2`"), "{error}");
}

#[tokio::test]
async fn tls_trusts_whom_the_operator_trusts() {
    let (certificate, acceptor) = server_tls();
    let receiver = Receiver::start_with([Answer::Status(200)], Some(acceptor)).await;
    let url = receiver.url("/").replace("http://", "https://");
    let error = send(webhooks_with(client_tls(&[]), url.clone())).await.expect_err("a stranger").words();
    assert!(error.contains("certificate"), "{error}");
    assert!(receiver.requests().is_empty());
    let mut tls = client_tls(&[certificate]);
    // What a caller may have set for clients of its own.
    tls.alpn_protocols = vec![b"h2".to_vec()];
    send(webhooks_with(tls, url)).await.expect("delivered");
    assert_eq!(receiver.requests().len(), 1);
}
