//! A key's life over HTTP: restricted, rotated, suspended, expired; and a machine that does all of it in any order.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::Script;

use crate::alerts::Receiver;
use crate::client::{Answer, request};
use crate::operation::command;
use crate::world::World;

fn keys(world: &World) -> String {
    format!("/v1/organization/projects/{}/api_keys", world.project_id)
}

fn act(world: &World, id: &str, act: &str, body: &Value) -> Answer {
    let path = format!("/v1/sallyport/projects/{}/api_keys/{id}/{act}", world.project_id);
    world.call(&world.admin_key, "POST", &path, body)
}

fn text<'v>(shown: &'v Value, name: &str) -> &'v str {
    shown[name].as_str().unwrap_or_else(|| panic!("{name} in {shown}"))
}

fn make(world: &World, body: Value) -> Value {
    let answer = world.call(&world.admin_key, "POST", &keys(world), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

/// A stream that stalls after its first events, on a key of its own.
fn stalled_stream(world: &World, secret: &str) -> crate::client::Connection {
    world.upstream.script(Script { stall_after: Some(900), ..Script::default() });
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
    let mut stream = world.connect();
    stream.send(&request("POST", "/v1/chat/completions", &headers, body.as_bytes()));
    stream.until(b"\n\n").expect("an event");
    stream
}

#[test]
fn a_restricted_key_opens_what_it_says_and_nothing_else() {
    let world = World::new();
    let key = |body: Value| make(&world, body)["value"].as_str().expect("a secret").to_owned();
    let scoped = key(json!({"name": "k", "scopes": ["model.request"]}));
    assert_eq!(world.call(&scoped, "POST", "/v1/chat/completions", &chat("gpt-4o")).status, 200);
    let answer = world.call(&scoped, "GET", "/v1/files", &Value::Null);
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "missing_scope"));
    assert!(answer.text().contains("Missing scopes: api.files.read."), "{}", answer.text());
    let modelled = key(json!({"name": "k", "sallyport": {"models": ["gpt-4o-mini", "gpt-5*"]}}));
    assert_eq!(world.call(&modelled, "POST", "/v1/chat/completions", &chat("gpt-5-mini")).status, 200);
    let answer = world.call(&modelled, "POST", "/v1/chat/completions", &chat("gpt-4o"));
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "model_not_found"));
    let nameless = world.call(&modelled, "POST", "/v1/responses", &json!({"input": "hi", "prompt": {"id": "pmpt_1"}}));
    assert_eq!(nameless.status, 403, "a stored prompt names its model where nobody sees it");
    let by_tool =
        json!({"model": "gpt-5", "input": "hi", "tools": [{"type": "image_generation", "model": "gpt-image-1"}]});
    let answer = world.call(&modelled, "POST", "/v1/responses", &by_tool);
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (403, "model_not_found"),
        "a tool's own model is one, too"
    );
    let narrow = key(json!({"name": "k", "sallyport": {"endpoints": ["/v1/embeddings"]}}));
    assert_eq!(world.call(&narrow, "POST", "/v1/chat/completions", &chat("gpt-4o")).error_code(), "missing_scope");
    let body = json!({"model": "text-embedding-3-small", "input": "hi"});
    assert_eq!(world.call(&narrow, "POST", "/v1/embeddings", &body).status, 200);
    let elsewhere = key(json!({"name": "k", "sallyport": {"ip_allowlist": ["192.0.2.0/24"]}}));
    let answer = world.call(&elsewhere, "GET", "/v1/models", &Value::Null);
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "ip_not_authorized"));
    let here = key(json!({"name": "k", "sallyport": {"ip_allowlist": ["127.0.0.0/8", "::1"]}}));
    assert_eq!(world.call(&here, "GET", "/v1/models", &Value::Null).status, 200);
    let poor = key(json!({"name": "k", "sallyport": {"budget": {"amount": "0.000001"}}}));
    assert_eq!(
        world.call(&poor, "POST", "/v1/chat/completions", &chat("gpt-4o")).error_code(),
        "key_spend_limit_exceeded"
    );
    let slow = key(json!({"name": "k", "sallyport": {"rate_limit": {"max_requests_per_1_minute": 1}}}));
    assert_eq!(world.call(&slow, "POST", "/v1/chat/completions", &chat("gpt-4o")).status, 200);
    assert_eq!(world.call(&slow, "POST", "/v1/chat/completions", &chat("gpt-4o")).error_code(), "rate_limit_exceeded");
    let reader = world
        .call(
            &world.admin_key,
            "POST",
            "/v1/organization/admin_api_keys",
            &json!({"name": "r", "scopes": ["api.management.read"]}),
        )
        .json();
    let reader = text(&reader, "value");
    assert_eq!(world.call(reader, "GET", "/v1/organization/projects", &Value::Null).status, 200);
    assert_eq!(
        world.call(reader, "POST", "/v1/organization/projects", &json!({"name": "x"})).error_code(),
        "missing_scope"
    );
}

#[test]
fn a_rotation_cuts_what_it_puts_out_of_force_and_nothing_else() {
    let world = World::new();
    let made = make(&world, json!({"name": "k"}));
    let (id, first) = (text(&made, "id"), text(&made, "value"));
    let mut stream = stalled_stream(&world, first);
    let second = act(&world, id, "rotate", &json!({"overlap_seconds": 3_600})).json();
    let second = text(&second, "value").to_owned();
    for secret in [first, &second] {
        assert_eq!(world.call(secret, "GET", "/v1/models", &Value::Null).status, 200);
    }
    let begun = Instant::now();
    let third = act(&world, id, "rotate", &json!({"overlap_seconds": 0})).json();
    let rest = stream.until(b"0\r\n\r\n").expect("the stream ends in order");
    assert!(String::from_utf8_lossy(&rest).contains("was revoked while the answer was running"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for (secret, status) in [(first, 401), (second.as_str(), 401), (text(&third, "value"), 200)] {
        assert_eq!(world.call(secret, "GET", "/v1/models", &Value::Null).status, status);
    }
}

#[test]
fn a_secret_that_expires_is_refused_and_its_streams_are_cut() {
    let world = World::new();
    let made = make(&world, json!({"name": "k"}));
    let (id, first) = (text(&made, "id"), text(&made, "value"));
    let mut former = stalled_stream(&world, first);
    let second = act(&world, id, "rotate", &json!({"overlap_seconds": 2})).json();
    let short = make(&world, json!({"name": "k", "expires_in_seconds": 2}));
    let mut ending = stalled_stream(&world, text(&short, "value"));
    for stream in [&mut former, &mut ending] {
        let rest = stream.until(b"0\r\n\r\n").expect("the stream ends in order");
        assert!(String::from_utf8_lossy(&rest).contains("revoked"), "{}", String::from_utf8_lossy(&rest));
    }
    for secret in [first, text(&short, "value")] {
        let answer = world.call(secret, "GET", "/v1/models", &Value::Null);
        assert!(answer.status == 401 && answer.text().contains("expired"), "{}", answer.text());
    }
    assert_eq!(world.call(text(&second, "value"), "GET", "/v1/models", &Value::Null).status, 200);
}

#[test]
fn a_suspension_cuts_and_says_why_and_a_resumption_opens() {
    let world = World::new();
    let made = make(&world, json!({"name": "k"}));
    let (id, secret) = (text(&made, "id"), text(&made, "value"));
    let mut stream = stalled_stream(&world, secret);
    let begun = Instant::now();
    assert_eq!(act(&world, id, "suspend", &json!({"reason": "seen on a slide"})).status, 200);
    stream.until(b"0\r\n\r\n").expect("the stream ends in order");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let answer = world.call(secret, "GET", "/v1/models", &Value::Null);
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "api_key_suspended"));
    assert!(answer.text().contains("seen on a slide"));
    assert_eq!(act(&world, id, "resume", &json!({})).status, 200);
    assert_eq!(world.call(secret, "GET", "/v1/models", &Value::Null).status, 200);
}

#[test]
fn a_key_knows_when_and_from_where_it_was_last_used() {
    let mut world = World::new();
    let made = make(&world, json!({"name": "k"}));
    let bearer = format!("Bearer {}", text(&made, "value"));
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("User-Agent", "my-sdk/1")];
    world.raw(&request("POST", "/v1/chat/completions", &headers, chat("gpt-4o").to_string().as_bytes()));
    let path = format!("{}/{}", keys(&world), text(&made, "id"));
    let show = |world: &World| world.call(&world.admin_key, "GET", &path, &Value::Null).json();
    assert!(show(&world)["last_used_at"].as_i64().is_some(), "at once");
    // What the data path counted is taken over at a stop, and on disk after it.
    world.restart("-TERM");
    let shown = show(&world);
    let used = &shown["sallyport"]["last_used"];
    assert_eq!(
        (used["address"].as_str(), used["user_agent"].as_str(), used["model"].as_str()),
        (Some("127.0.0.1"), Some("my-sdk/1"), Some("gpt-4o"))
    );
    assert_eq!(shown["last_used_at"], used["at"]);
}

#[test]
fn a_decoy_looks_like_a_key_that_nobody_knows_and_alarms() {
    let world = World::new();
    let made = make(&world, json!({"name": "in the wiki", "sallyport": {"is_decoy": true}}));
    let unknown = ::keys::Shape::default().mint(::keys::Kind::Project, &::keys::SystemRandom);
    let decoy = world.call(text(&made, "value"), "GET", "/v1/models", &Value::Null);
    let stranger = world.call(unknown.expose(), "GET", "/v1/models", &Value::Null);
    let shape = |answer: &Answer| {
        let message = answer.json()["error"]["message"].as_str().expect("words").to_owned();
        let mut names: Vec<String> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        (
            answer.status,
            answer.error_code(),
            message.split("****").count(),
            message.rsplit("This gate").next().map(str::to_owned),
            names,
        )
    };
    assert_eq!(shape(&decoy), shape(&stranger));
    let found = findings(&world, "key.decoy_used", 1);
    assert_eq!((text(&found[0], "key_id"), text(&found[0], "severity")), (text(&made, "id"), "critical"));
    assert!(world.upstream.requests().is_empty());
}

/// Findings of a type, once there are so many.
pub(crate) fn findings(world: &World, kind: &str, at_least: usize) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found =
            world.call(&world.admin_key, "GET", &format!("/v1/sallyport/findings?type={kind}"), &Value::Null).json();
        let found = found["data"].as_array().expect("a list").clone();
        if found.len() >= at_least || Instant::now() > until {
            assert!(found.len() >= at_least, "{kind}: {found:?}");
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_tries_unknown_keys_is_noticed_and_locks_nobody_out() {
    let world = World::new();
    let mut last = None;
    for _ in 0..30 {
        let key = ::keys::Shape::default().mint(::keys::Kind::Project, &::keys::SystemRandom);
        last = Some(world.call(key.expose(), "GET", "/v1/models", &Value::Null));
        assert_eq!(
            world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status,
            200,
            "a right key is served"
        );
    }
    let last = last.expect("an answer");
    assert_eq!((last.status, last.error_code().as_str()), (429, "too_many_unknown_keys"));
    assert!(last.header("retry-after").is_some());
    assert_eq!(text(&findings(&world, "key.unknown_keys", 1)[0], "address"), "127.0.0.1");
}

#[test]
fn a_rotated_secret_goes_where_the_operator_said_and_webhooks_hear_of_it_without_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, got) = (folder.path().join("search-key"), folder.path().join("got"));
    let config = format!(
        "[[key_delivery]]\nname = \"search\"\nfile = {file:?}\n[[key_delivery]]\nname = \"tool\"\ncommand = [\"sh\", \"-c\", \"cat > {}\"]\n\
         [[key_delivery]]\nname = \"broken\"\ncommand = [\"false\"]\n",
        got.display()
    );
    let world = World::with(&config);
    let receiver = Receiver::start(&[204]);
    let webhook = world
        .call(&world.admin_key, "POST", "/v1/sallyport/webhooks", &json!({"name": "w", "url": receiver.url}))
        .json();
    let made = make(&world, json!({"name": "k"}));
    let id = text(&made, "id");
    for (name, path) in [("search", &file), ("tool", &got)] {
        let shown = act(&world, id, "rotate", &json!({"deliver_to": name, "overlap_seconds": 60})).json();
        assert!(shown.get("value").is_none() && shown["sallyport"]["former_secret"].is_object(), "{shown}");
        let secret = std::fs::read_to_string(path).expect("delivered");
        assert_eq!(world.call(secret.trim(), "GET", "/v1/models", &Value::Null).status, 200);
    }
    let failed = act(&world, id, "rotate", &json!({"deliver_to": "broken"}));
    assert!(failed.status == 400 && failed.text().contains("stays in force"), "{}", failed.text());
    let secret = std::fs::read_to_string(&got).expect("delivered");
    assert_eq!(world.call(secret.trim(), "GET", "/v1/models", &Value::Null).status, 200);
    let refused = act(&world, id, "rotate", &json!({"deliver_to": "/tmp/elsewhere"}));
    assert!(refused.status == 400 && refused.text().contains("broken, search, tool"), "{}", refused.text());
    world.until("three notices", || receiver.notices(text(&webhook, "secret")).len() == 3);
    let notices = receiver.notices(text(&webhook, "secret"));
    let kinds: Vec<&str> = notices.iter().filter_map(|(_, notice)| notice["type"].as_str()).collect();
    assert_eq!(kinds, ["api_key.rotated", "api_key.rotated", "api_key.rotation_failed"]);
    let told: String = notices.iter().map(|(_, notice)| notice.to_string()).collect();
    assert!(!told.contains(secret.trim()) && told.contains(id), "{told}");
}

#[test]
fn the_command_line_leads_a_key_through_its_life() {
    let world = World::new();
    let project = world.project_id.clone();
    let said = |arguments: &[&str]| command(&world, arguments);
    let (ok, made) = said(&[
        "key",
        "create",
        &project,
        "ci",
        "--scope",
        "model.request",
        "--model",
        "gpt-4o*",
        "--from",
        "127.0.0.1",
        "--budget",
        "5",
        "--requests-per-minute",
        "100",
    ]);
    assert!(ok, "{made}");
    let first = made.lines().next().expect("a secret").to_owned();
    let (_, listed) = said(&["key", "list", &project, "--json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let key = listed.as_array().and_then(|keys| keys.iter().find(|key| key["name"] == "ci")).expect("listed");
    let id = text(key, "id").to_owned();
    assert_eq!(world.call(&first, "POST", "/v1/chat/completions", &chat("gpt-4o")).status, 200);
    assert_eq!(world.call(&first, "POST", "/v1/chat/completions", &chat("gpt-5")).status, 403);
    assert!(said(&["key", "update", &project, &id, "--model", "gpt-5*"]).1.contains("is changed"));
    assert_eq!(world.call(&first, "POST", "/v1/chat/completions", &chat("gpt-5")).status, 200);
    let (_, rotated) = said(&["key", "rotate", &project, &id, "--overlap-seconds", "0"]);
    let second = rotated.lines().next().expect("a secret");
    assert_eq!(world.call(&first, "GET", "/v1/models", &Value::Null).status, 401);
    assert_eq!(world.call(second, "GET", "/v1/models", &Value::Null).status, 200);
    assert!(said(&["key", "suspend", &project, &id, "--reason", "a test"]).1.contains("is suspended"));
    assert_eq!(world.call(second, "GET", "/v1/models", &Value::Null).error_code(), "api_key_suspended");
    assert!(said(&["key", "resume", &project, &id]).1.contains("in force again"));
    let (_, shown) = said(&["key", "show", &project, &id]);
    assert!(shown.contains("\"last_used_at\"") && !shown.contains(second), "{shown}");
    assert!(said(&["key", "policy", "--lifetime-seconds-max", "3600"]).1.contains("3600"));
    assert!(said(&["key", "stale", "--days", "1"]).1.contains("over_lifetime_max"));
    world.raw(&request(
        "GET",
        "/v1/models",
        &[("Authorization", &format!("Bearer {second}")), ("Origin", "https://a.example")],
        b"",
    ));
    findings(&world, "key.browser_use", 1);
    assert!(said(&["finding", "list"]).1.contains("key.browser_use"));
    assert!(said(&["key", "revoke", &project, &id]).1.contains("is revoked"));
}

/// What the machine does to one of its keys.
#[derive(Debug, Clone)]
enum Step {
    Create { expires: bool },
    Rotate { which: usize, overlaps: bool },
    Suspend { which: usize },
    Resume { which: usize },
    Delete { which: usize },
    Rename { which: usize },
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..4_usize;
    prop_oneof![
        3 => any::<bool>().prop_map(|expires| Step::Create { expires }),
        4 => (which.clone(), any::<bool>()).prop_map(|(which, overlaps)| Step::Rotate { which, overlaps }),
        2 => which.clone().prop_map(|which| Step::Suspend { which }),
        2 => which.clone().prop_map(|which| Step::Resume { which }),
        1 => which.clone().prop_map(|which| Step::Delete { which }),
        1 => which.prop_map(|which| Step::Rename { which }),
        1 => Just(Step::Kill),
    ]
}

/// What the model knows of a key.
struct Modelled {
    id: String,
    /// The secret in force, then the one before as long as it is valid.
    valid: Vec<String>,
    void: Vec<String>,
    is_suspended: bool,
    is_gone: bool,
}

impl Modelled {
    fn check(&self, world: &World) {
        let is_open = !self.is_suspended && !self.is_gone;
        let status = |secret: &String| world.call(secret, "GET", "/v1/models", &Value::Null);
        for secret in &self.valid {
            let answer = status(secret);
            assert_eq!(answer.status == 200, is_open, "{}: {}", self.id, answer.text());
        }
        for secret in &self.void {
            assert!(matches!(status(secret).status, 401 | 429), "a void secret of {} opens", self.id);
        }
    }

    fn rotated(&mut self, secret: String, overlaps: bool) {
        self.valid.insert(0, secret);
        let kept = if overlaps { 2 } else { 1 };
        self.void.extend(self.valid.drain(kept.min(self.valid.len())..));
    }
}

fn run(world: &mut World, steps: Vec<Step>) {
    let mut all: Vec<Modelled> = Vec::new();
    for step in steps {
        let which = |which: usize, all: &[Modelled]| (!all.is_empty()).then(|| which % all.len());
        match step {
            Step::Create { expires } => {
                let made = make(world, json!({"name": "k", "expires_in_seconds": expires.then_some(3_600)}));
                let (id, valid) = (text(&made, "id").to_owned(), vec![text(&made, "value").to_owned()]);
                all.push(Modelled { id, valid, void: Vec::new(), is_suspended: false, is_gone: false });
            }
            Step::Rotate { which: at, overlaps } => {
                let Some(at) = which(at, &all) else { continue };
                let key = &mut all[at];
                let answer =
                    act(world, &key.id, "rotate", &json!({"overlap_seconds": if overlaps { 3_600 } else { 0 }}));
                assert_eq!(answer.status, if key.is_gone { 404 } else { 200 }, "{}", answer.text());
                if !key.is_gone {
                    key.rotated(text(&answer.json(), "value").to_owned(), overlaps);
                }
            }
            Step::Suspend { which: at } | Step::Resume { which: at } => {
                let suspends = matches!(step, Step::Suspend { .. });
                let Some(at) = which(at, &all) else { continue };
                let key = &mut all[at];
                let answer = act(world, &key.id, if suspends { "suspend" } else { "resume" }, &json!({}));
                assert_eq!(answer.status, if key.is_gone { 404 } else { 200 }, "{}", answer.text());
                key.is_suspended = suspends && !key.is_gone;
            }
            Step::Delete { which: at } => {
                let Some(at) = which(at, &all) else { continue };
                let key = &mut all[at];
                let path = format!("{}/{}", keys(world), key.id);
                let answer = world.call(&world.admin_key, "DELETE", &path, &Value::Null);
                assert_eq!(answer.status, if key.is_gone { 404 } else { 200 });
                key.is_gone = true;
            }
            Step::Rename { which: at } => {
                let Some(at) = which(at, &all) else { continue };
                let path = format!("{}/{}", keys(world), all[at].id);
                let answer = world.call(&world.admin_key, "POST", &path, &json!({"name": "renamed"}));
                assert_eq!(answer.status, if all[at].is_gone { 404 } else { 200 });
            }
            Step::Kill => world.restart("-KILL"),
        }
        all.iter().for_each(|key| key.check(world));
    }
    let listed = world.call(&world.admin_key, "GET", &format!("{}?limit=100", keys(world)), &Value::Null).json();
    let listed = listed["data"].as_array().expect("a list").len();
    assert_eq!(listed, all.iter().filter(|key| !key.is_gone).count() + 1, "and the first key");
    let logs = [world.diagnostics(), world.log_lines(0).iter().map(Value::to_string).collect()];
    for secret in all.iter().flat_map(|key| key.valid.iter().chain(&key.void)) {
        assert!(logs.iter().all(|log| !log.contains(&secret[8..])), "a secret in a log");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Whatever is done to keys in whatever order, kills included: exactly the secrets that should open do.
    #[test]
    fn a_key_s_life_is_what_was_done_to_it(steps in prop::collection::vec(step(), 12..24)) {
        run(&mut World::new(), steps);
    }
}
