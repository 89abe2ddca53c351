//! Memory holds no key that was revoked or rotated out: the gate's own is read and searched.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};

use crate::client::{Connection, request};
use crate::crowd::chat;
use crate::upstreams::{HOSTS, PATH, second};
use crate::world::{UPSTREAM_KEY, World};

/// Read at once of a region.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How often the middle of a secret is in a process's memory; `None` where the kernel does not let us read it.
fn copies(process: u32, secret: &str) -> Option<usize> {
    let middle = &secret.as_bytes()[12..36];
    let finder = Finder::new(middle);
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let memory = File::open(format!("/proc/{process}/mem")).ok()?;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().and_then(|span| span.split_once('-')).expect("a region");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, end) = (number(from), number(to));
        while at < end {
            let mut bytes = vec![0; usize::try_from(end - at).expect("fits").min(CHUNK_BYTES + middle.len())];
            let Ok(count) = memory.read_at(&mut bytes, at) else { break };
            if count == 0 {
                break;
            }
            found += finder.find_iter(&bytes[..count]).count();
            // Chunks overlap, so that nothing lies between two; what lies in both is counted twice.
            at += u64::try_from(count.min(CHUNK_BYTES)).expect("fits");
        }
    }
    Some(found)
}

impl World {
    /// Whether memory can be read here at all; says so loudly where it cannot.
    fn memory_can_be_read(&self) -> bool {
        let is_readable = copies(self.process_id(), &self.admin_key).is_some();
        if !is_readable {
            eprintln!(
                "\n*** NOT TESTED: this kernel does not let the test read the gate's memory (run it as root). ***\n"
            );
        }
        is_readable
    }

    fn copies(&self, secret: &str) -> usize {
        copies(self.process_id(), secret).expect("readable a moment ago")
    }

    /// Waits until a secret is in memory nowhere.
    fn expect_gone(&self, what: &str, secret: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let copies = self.copies(secret);
            if copies == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {copies} copies are still in memory");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Its middle is like nothing else in these tests.
const SECRET: &str = "sk-second-q7Zp4Xw9Lm2Kv8Tn5Rb3Yc6Hd1Gf0Js-of-an-upstream";

/// Requests of every kind with whatever key the project's upstream has.
fn traffic(world: &World) {
    for stream in [false, true] {
        for script in
            ["{}", r#"{"status": 500}"#, r#"{"garbage": true}"#, r#"{"chunk_bytes": 5}"#, r#"{"echo_key": true}"#]
        {
            let mut body = chat(20);
            body["stream"] = stream.into();
            world.post_with("/v1/chat/completions", &body, &[("x-script", script)]);
        }
    }
}

#[test]
fn an_upstream_key_that_was_removed_is_in_memory_nowhere() {
    let world = World::with(&format!("[vault]\n{HOSTS}"));
    if !world.memory_can_be_read() {
        return;
    }
    let other = second(SECRET);
    let id = world.add_upstream("Second", &other.url());
    // Given on a connection that its client keeps open, well and badly.
    let bearer = format!("Bearer {}", world.admin_key);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let (mut given, mut kept) = (Vec::new(), Vec::new());
    for name in [json!("key"), json!(7)] {
        let body = json!({"name": name, "value": SECRET}).to_string();
        let mut connection = world.connect();
        connection.send(&request("POST", &format!("{PATH}/{id}/keys"), &headers, body.as_bytes()));
        given.push(connection.answer().expect("an answer"));
        kept.push(connection);
    }
    assert_eq!((given[0].status, given[1].status), (200, 400));
    let key = given[0].json()["id"].as_str().expect("an id").to_owned();
    world.choose("failover", &json!([{"id": id}]));
    traffic(&world);
    assert!(world.copies(SECRET) > 0, "the search finds what is there");
    world.admin("DELETE", &format!("{PATH}/{id}/keys/{key}"), &Value::Null);
    world.expect_gone("an upstream key that was deleted", SECRET);
    drop(kept);
}

#[test]
fn a_key_that_was_rotated_out_is_in_memory_nowhere() {
    let upstream = Upstream::start(Options { key: Some("nobody".into()), ..Options::default() });
    upstream.administer("sk-admin-0123456789abcdefghijklmnopqrstuvwxyz-of-the-upstream");
    let (account, key_id) = upstream.add_service_account("proj_real", "first", SECRET);
    let url = upstream.url();
    let environment = [("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", url.as_str())];
    let world = World::start(upstream, &format!("[vault]\n{HOSTS}"), &environment);
    if !world.memory_can_be_read() {
        return;
    }
    let id = world.add_upstream("Managed", &url);
    let body = json!({"name": "first", "value": SECRET, "service_account_id": account, "key_id": key_id});
    world.admin("POST", &format!("{PATH}/{id}/keys"), &body);
    let administration =
        json!({"project_id": "proj_real", "key": "sk-admin-0123456789abcdefghijklmnopqrstuvwxyz-of-the-upstream"});
    world.admin("POST", &format!("{PATH}/{id}"), &json!({"administration": administration}));
    world.choose("failover", &json!([{"id": id}]));
    traffic(&world);
    world.admin("POST", &format!("{PATH}/{id}/rotate"), &json!({}));
    world.until("the rotation is done", || {
        let list = world.admin("GET", &format!("{PATH}/{id}/rotations"), &Value::Null);
        list["data"][0]["status"] == "completed"
    });
    traffic(&world);
    world.expect_gone("a key that was rotated out", SECRET);
}

#[test]
fn a_client_s_key_that_was_revoked_is_in_memory_nowhere() {
    let world = World::new();
    if !world.memory_can_be_read() {
        return;
    }
    let made = world.key(&world.project_id, "short-lived");
    let (id, secret) = (made["id"].as_str().expect("an id"), made["value"].as_str().expect("a secret"));
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = chat(20).to_string();
    let mut kept: Vec<Connection> = Vec::new();
    for _ in 0..4 {
        let mut connection = world.connect();
        connection.send(&request("POST", "/v1/chat/completions", &headers, body.as_bytes()));
        assert_eq!(connection.answer().expect("an answer").status, 200);
        kept.push(connection);
    }
    world.upstream.script(Script { stall_after: Some(300), ..Script::default() });
    let mut streaming = chat(20);
    streaming["stream"] = true.into();
    let mut connection = world.connect();
    connection.send(&request("POST", "/v1/chat/completions", &headers, streaming.to_string().as_bytes()));
    assert_eq!(connection.head().expect("a head").status, 200);
    // And one whose body does not come to its end.
    let mut unfinished = world.connect();
    let whole = request("POST", "/v1/chat/completions", &headers, body.as_bytes());
    unfinished.send(&whole[..whole.len() - 5]);
    world.until("the search finds what is there", || world.copies(secret) > 0);
    let path = format!("/v1/organization/projects/{}/api_keys/{id}", world.project_id);
    world.admin("DELETE", &path, &Value::Null);
    // Connections that stay open hold what came on them: those of a revoked key are closed, though nobody asks.
    world.expect_gone("a client's key that was revoked", secret);
    kept.push(unfinished);
    for mut connection in kept {
        connection.rest();
    }
}
