mod administration;
mod answers;
mod billing;
mod client;
mod families;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Sends one request and reads until the connection ends or falls silent for half a second.
async fn exchange(upstream: &Upstream, request: &str) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(upstream.address()).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(500), stream.read_buf(&mut answer)).await {
            Ok(Ok(0)) => return (answer, true),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return (answer, true),
            Err(_) => return (answer, false),
        }
    }
}

fn post(path: &str, body: &Value, more: &str) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{more}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn chat(stream: bool) -> String {
    post(
        "/v1/chat/completions",
        &json!({"model": "m", "messages": [], "stream": stream, "stream_options": {"include_usage": true}}),
        "",
    )
}

fn text(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}

fn usages(answer: &str) -> Vec<Value> {
    let documents =
        answer.split("\r\n").flat_map(|line| line.split('\n')).map(|line| line.trim_start_matches("data: "));
    documents
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|value| value["usage"].clone())
        .filter(Value::is_object)
        .collect()
}

#[tokio::test]
async fn a_stream_and_a_whole_answer_have_the_same_usage() {
    let upstream = Upstream::start(Options::default());
    let (whole, _) = exchange(&upstream, &chat(false)).await;
    let (stream, _) = exchange(&upstream, &chat(true)).await;
    let (whole, stream) = (usages(&text(&whole)), usages(&text(&stream)));
    assert_eq!(whole.len(), 1);
    assert_eq!(whole, stream);
}

#[tokio::test]
async fn what_was_received_and_sent_is_recorded() {
    let upstream = Upstream::start(Options::default());
    exchange(&upstream, "GET /v1/models?a=1&b HTTP/1.1\r\nX-Odd: v\r\n\r\n").await;
    let recorded = upstream.wait_for(|all| all.len() == 1 && all[0].is_answered).remove(0);
    assert_eq!(
        (recorded.method.as_str(), recorded.target.as_str(), recorded.header("x-odd")),
        ("GET", "/v1/models?a=1&b", Some("v"))
    );
    assert!(serde_json::from_slice::<Value>(&recorded.sent_body).is_ok_and(|value| value["object"] == "list"));
}

#[tokio::test]
async fn faults_really_happen_on_the_wire() {
    let upstream = Upstream::start(Options::default());
    let script = |script: Script| upstream.script(script);
    script(Script { status: Some(429), ..Script::default() });
    assert!(text(&exchange(&upstream, &chat(false)).await.0).starts_with("HTTP/1.1 429"));
    script(Script { disconnect: true, ..Script::default() });
    assert_eq!(exchange(&upstream, &chat(false)).await, (Vec::new(), true));
    script(Script { garbage: true, ..Script::default() });
    assert!(exchange(&upstream, &chat(false)).await.0.starts_with(b"\0"));
    script(Script { cut_after: Some(10), ..Script::default() });
    let (answer, closed) = exchange(&upstream, &chat(false)).await;
    assert!(closed && answer.ends_with(b"\r\n\r\n{\"choices\""), "{}", text(&answer));
    script(Script { stall_after: Some(10), ..Script::default() });
    assert!(!exchange(&upstream, &chat(true)).await.1);
    script(Script { crlf: true, comments: true, no_done: true, ..Script::default() });
    let answer = text(&exchange(&upstream, &chat(true)).await.0);
    assert!(answer.contains(": keep-alive\r\n\r\ndata:") && !answer.contains("[DONE]"));
    script(Script { until_close: true, ..Script::default() });
    let (answer, closed) = exchange(&upstream, &chat(true)).await;
    assert!(closed && !text(&answer).contains("transfer-encoding") && text(&answer).ends_with("[DONE]\n\n"));
    assert!(!exchange(&upstream, &chat(false)).await.1, "without a script everything is well");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let upstream = Upstream::start(Options::default());
    upstream.script(Script { stall_after: Some(50), ..Script::default() });
    let mut stream = TcpStream::connect(upstream.address()).await.expect("connects");
    stream.write_all(chat(true).as_bytes()).await.expect("writes");
    stream.read_buf(&mut Vec::new()).await.expect("a beginning");
    drop(stream);
    upstream.wait_for(|all| all.iter().any(|recorded| recorded.client_left));
}
