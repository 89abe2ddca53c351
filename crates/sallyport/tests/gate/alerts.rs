//! Spend alerts are created once a period and delivered at least once, whatever restarts and whoever is away.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keys::Secret;
use notify::SigningKey;
use serde_json::{Value, json};
use testkit::Script;

use crate::books::{now, total};
use crate::limits::{CHAT, passes};
use crate::world::World;

/// A request's head and body.
type Got = (String, Vec<u8>);

/// A receiver of webhooks that answers as it is told: a status each, the last one for all others.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    pub(crate) fn start(statuses: &[u16]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (shared, mut statuses) = (Arc::clone(&got), VecDeque::from(statuses.to_vec()));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut bytes = Vec::new();
                let mut chunk = [0; 4096];
                let whole = loop {
                    let Ok(count @ 1..) = stream.read(&mut chunk) else { break None };
                    bytes.extend_from_slice(&chunk[..count]);
                    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
                    let length: usize = value(&text, "content-length").parse().expect("a length");
                    if bytes.len() >= head + 4 + length {
                        break Some((text, bytes[head + 4..].to_vec()));
                    }
                };
                let status = if statuses.len() > 1 { statuses.pop_front() } else { statuses.front().copied() };
                if let Some(whole) = whole {
                    shared.lock().expect("unpoisoned").push(whole);
                    let status = status.unwrap_or(200);
                    let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").as_bytes());
                }
            }
        });
        Receiver { url, got }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().expect("unpoisoned").clone()
    }

    /// The notices, each with its id, after checking its signature.
    pub(crate) fn notices(&self, secret: &str) -> Vec<(String, Value)> {
        let key = SigningKey::read(&Secret::new(secret)).expect("a secret");
        let read = |(head, body): &Got| {
            let (id, time) = (value(head, "webhook-id"), value(head, "webhook-timestamp"));
            let signed =
                key.verify(&id, &time, &value(head, "webhook-signature"), body, i64::try_from(now()).expect("near"));
            assert_eq!(signed, Ok(()), "{head}");
            let body: Value = serde_json::from_slice(body).expect("JSON");
            (id, body)
        };
        self.got().iter().map(read).collect()
    }
}

fn value(head: &str, name: &str) -> String {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    values.next().unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
}

#[test]
fn an_alert_fires_once_a_month_whatever_restarts() {
    let mut world = World::new();
    // The receiver is away at first: the notice waits and comes again, under the same id.
    let receiver = Receiver::start(&[503, 204]);
    let hook = world.admin("POST", "/v1/sallyport/webhooks", &json!({"name": "pager", "url": receiver.url}));
    let secret = hook["secret"].as_str().expect("a secret").to_owned();
    let channel = json!({"type": "email", "recipients": ["owner@example.com"], "subject_prefix": null});
    let alert = |cents: u64| json!({"threshold_amount": cents, "currency": "USD", "interval": "month", "notification_channel": channel});
    let of_project =
        world.admin("POST", &format!("/v1/organization/projects/{}/spend_alerts", world.project_id), &alert(1));
    let far = world.admin("POST", "/v1/organization/spend_alerts", &alert(100_000));
    let spend = |world: &World| {
        world.upstream.script(Script { completion_tokens: Some(16_000), pieces: Some(2), ..Script::default() });
        passes(&world.post(CHAT, &json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi."}]})));
    };
    spend(&world);
    world.until("the first attempt", || receiver.got().len() == 1);
    spend(&world);
    // Killed between attempts, once the journal has both: without a limit the last 50 ms may be lost.
    world.until("both are written", || total(&world.charged(&world.project_id)) >= 320_000_000);
    world.restart("-KILL");
    spend(&world);
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    while receiver.got().len() < 2 {
        assert!(std::time::Instant::now() < deadline, "the notice comes again: {}", world.diagnostics());
        std::thread::sleep(Duration::from_millis(20));
    }
    world.restart("-TERM");
    spend(&world);
    assert!(total(&world.charged_at_rest(&world.project_id)) >= 640_000_000);
    let notices = receiver.notices(&secret);
    assert_eq!(notices.len(), 2, "one alert, two attempts, and none for what came after: {notices:?}");
    assert_eq!(notices[0], notices[1], "the same notice under the same id");
    let data = &notices[0].1["data"];
    assert_eq!(notices[0].1["type"], "spend_alert.triggered");
    assert_eq!((&data["alert_id"], &data["project_id"]), (&of_project["id"], &json!(world.project_id)));
    assert_eq!((&data["threshold_amount"], &data["currency"]), (&json!(1), &json!("USD")));
    assert!(data["spent_nanousd"].as_u64().is_some_and(|spent| spent >= 160_000_000), "{data}");
    let delivered = world.admin("GET", "/v1/sallyport/notices?state=delivered", &Value::Null);
    assert_eq!(delivered["data"].as_array().map(Vec::len), Some(1), "{delivered}");
    assert_eq!(delivered["data"][0]["attempts"], 2);
    // Another alert, lowered below what is spent already, fires with the next spending.
    let mut lowered = alert(2);
    lowered["notification_channel"]["recipients"] = json!([]);
    world.admin("POST", &format!("/v1/organization/spend_alerts/{}", far["id"].as_str().expect("an id")), &lowered);
    spend(&world);
    world.until("the organization's alert", || receiver.got().len() == 3);
    assert_eq!(receiver.notices(&secret)[2].1["data"]["project_id"], Value::Null);
}

#[test]
fn what_cannot_be_delivered_is_listed_and_taken_up_again() {
    let world = World::new();
    let receiver = Receiver::start(&[200]);
    let hook = world.admin("POST", "/v1/sallyport/webhooks", &json!({"name": "pager", "url": receiver.url}));
    let (id, secret) = (hook["id"].as_str().expect("an id"), hook["secret"].as_str().expect("a secret"));
    let test = world.admin("POST", "/v1/sallyport/notices/test", &json!({"webhook_id": id}));
    world.until("a test arrives", || receiver.got().len() == 1);
    let notices = receiver.notices(secret);
    assert_eq!((&notices[0].1["type"], json!(notices[0].0)), (&json!("sallyport.test"), test["id"].clone()));
    // No mail server is configured: nothing can ever deliver this.
    world.admin("POST", "/v1/sallyport/notices/test", &json!({"email": "owner@example.com"}));
    let list = |state: &str| {
        let list = world.admin("GET", &format!("/v1/sallyport/notices?state={state}"), &Value::Null);
        list["data"].as_array().expect("a list").clone()
    };
    world.until("it was tried", || {
        list("dead").iter().chain(&list("pending")).any(|delivery| delivery["last_error"].is_string())
    });
    let tried: Vec<Value> = list("dead").into_iter().chain(list("pending")).collect();
    assert_eq!(tried.len(), 1, "{tried:?}");
    assert_eq!(tried[0]["channel"]["type"], "email");
    assert!(tried[0]["last_error"].as_str().is_some_and(|error| error.contains("mail")), "{tried:?}");
    if let Some(dead) = list("dead").first() {
        let path = format!("/v1/sallyport/notices/{}/retry", dead["id"]);
        assert_eq!(world.admin("POST", &path, &Value::Null)["state"], "pending");
    }
    let unknown = world.call(&world.admin_key, "POST", "/v1/sallyport/notices/999/retry", &Value::Null);
    assert_eq!(unknown.status, 404);
    // A webhook that is gone gets nothing more.
    world.admin("DELETE", &format!("/v1/sallyport/webhooks/{id}"), &Value::Null);
    let gone = world.call(&world.admin_key, "POST", "/v1/sallyport/notices/test", &json!({"webhook_id": id}));
    assert_eq!(gone.status, 404);
}
