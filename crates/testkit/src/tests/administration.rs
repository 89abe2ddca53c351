//! Service accounts as the API document has them.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::client::{Answer, end};
use crate::{Options, Upstream};

const PATH: &str = "/v1/organization/projects/proj_1";

fn call(upstream: &Upstream, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let mut stream = TcpStream::connect(upstream.address()).expect("connects");
    let (body, script) = (if body.is_null() { String::new() } else { body.to_string() }, json!({"http10": true}));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nx-script: {script}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("writes");
    end(stream)
}

#[test]
fn a_service_account_s_key_lives_and_dies_with_it() {
    let upstream = Upstream::start(Options { key: Some("nobody".into()), ..Options::default() });
    upstream.administer("sk-admin");
    let admin =
        |method: &str, path: &str, body: Value| call(&upstream, "sk-admin", method, &format!("{PATH}{path}"), &body);
    let works = |key: &str| call(&upstream, key, "GET", "/v1/models", &Value::Null).status;
    assert_eq!(call(&upstream, "nobody", "GET", &format!("{PATH}/service_accounts"), &Value::Null).status, 401);
    assert_eq!(works("sk-admin"), 401, "an admin key opens no data plane");
    let made = admin("POST", "/service_accounts", json!({"name": "robot"})).json();
    let (id, key_id) = (made["id"].as_str().expect("an id"), made["api_key"]["id"].as_str().expect("an id"));
    let key = made["api_key"]["value"].as_str().expect("a key");
    assert_eq!(works(key), 200);
    let listed = admin("GET", "/service_accounts", Value::Null);
    assert!(listed.json()["data"][0]["name"] == "robot" && !listed.body.contains(key), "{}", listed.body);
    let refused = admin("DELETE", &format!("/api_keys/{key_id}"), Value::Null);
    assert_eq!(refused.status, 400, "it cannot be deleted by itself: {}", refused.body);
    assert_eq!(works(key), 200);
    admin("POST", &format!("/api_keys/{key_id}"), json!({"expires_in_seconds": 3_600}));
    assert!(upstream.expires_in("robot").is_some_and(|seconds| seconds > 3_500) && works(key) == 200);
    admin("POST", &format!("/api_keys/{key_id}"), json!({"expires_in_seconds": 0}));
    assert_eq!(works(key), 401, "it has expired");
    assert_eq!(admin("DELETE", &format!("/service_accounts/{id}"), Value::Null).json()["deleted"], true);
    assert_eq!(admin("DELETE", &format!("/service_accounts/{id}"), Value::Null).status, 404);
    assert_eq!((upstream.service_accounts(), works(key)), (Vec::new(), 401));
}
