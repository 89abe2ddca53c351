//! Whose limits, for how long, and what happens near them; live, and in words that say so.

use serde_json::{Value, json};
use testkit::Script;

use crate::books::{now, refused, sum, total};
use crate::client::Answer;
use crate::world::World;

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A request whose worst case is some 0.0005 dollars: the cap is its own.
pub(crate) fn small() -> Value {
    json!({"model": "gpt-4o-mini", "max_completion_tokens": 100, "messages": [{"role": "user", "content": "Hi."}]})
}

pub(crate) fn passes(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}

impl World {
    fn key_id(&self) -> String {
        let path = format!("/v1/organization/projects/{}/api_keys", self.project_id);
        self.admin("GET", &path, &Value::Null)["data"][0]["id"].as_str().expect("an id").to_owned()
    }

    fn of_project(&self, kind: &str, name: Value) -> Value {
        json!({"kind": kind, "project_id": self.project_id, "name": name})
    }
}

#[test]
fn the_most_specific_limit_is_named_in_the_code() {
    let world = World::new();
    let mut body = small();
    body["safety_identifier"] = json!("alice");
    let headers = [("X-Sallyport-Run", "run-1"), ("X-Sallyport-Tag", "team-a")];
    let call = || world.post_with(CHAT, &body, &headers);
    let scopes = [
        ("organization_spend_limit_exceeded", json!({"kind": "organization"}), "the organization".to_owned()),
        (
            "project_spend_limit_exceeded",
            json!({"kind": "project", "project_id": world.project_id}),
            format!("project {}", world.project_id),
        ),
        ("key_spend_limit_exceeded", json!({"kind": "key", "key_id": world.key_id()}), world.key_id()),
        ("tag_spend_limit_exceeded", world.of_project("tag", json!("team-a")), "tag team-a".to_owned()),
        ("end_user_spend_limit_exceeded", world.of_project("end_user", Value::Null), "end user".to_owned()),
        ("run_spend_limit_exceeded", world.of_project("run", Value::Null), "run run-1".to_owned()),
    ];
    let mut limits = Vec::new();
    for (period, (code, scope, whose)) in ["month", "day", "hour", "total", "day", "total"].into_iter().zip(scopes) {
        // Each is nearer to the request than those before it.
        limits.push((world.limit_of(scope, period, "0.000001", json!({})), code));
        let words = refused(&call(), code);
        assert!(words.contains(&whose) && words.contains(period) && words.contains("$0.000001 of"), "{words}");
        // What the organization has spent is other projects' usage, too.
        let is_own = code != "organization_spend_limit_exceeded";
        assert_eq!(words.contains("limit $0.000001, spent $0.00"), is_own, "{words}");
        assert!(!words.contains("alice"));
    }
    // Deleted, in any order: what is left refuses, and at last nothing does.
    while let Some((limit, code)) = limits.pop() {
        refused(&call(), code);
        world.admin("DELETE", &format!("/v1/sallyport/limits/{limit}"), &Value::Null);
    }
    passes(&call());
    assert_eq!(world.upstream.requests().len(), 1, "refusals went nowhere");
    // What was refused by one limit holds nothing under the others.
    assert_eq!(world.holds(), Vec::<Value>::new());
}

#[test]
fn openai_s_spend_limit_is_in_cents_and_says_whether_it_refuses() {
    let world = World::new();
    for path in [
        "/v1/organization/spend_limit".to_owned(),
        format!("/v1/organization/projects/{}/spend_limit", world.project_id),
    ] {
        let get = || world.call(&world.admin_key, "GET", &path, &Value::Null);
        let post = |body: Value| world.call(&world.admin_key, "POST", &path, &body);
        assert_eq!(get().status, 404);
        let missing = [
            json!({"threshold_amount": 5, "interval": "month"}),
            json!({"threshold_amount": 5, "currency": "USD"}),
            json!({"currency": "USD", "interval": "month"}),
            json!({"threshold_amount": 0, "currency": "USD", "interval": "month"}),
            json!({"threshold_amount": 5, "currency": "EUR", "interval": "month"}),
            json!({"threshold_amount": 5, "currency": "USD", "interval": "day"}),
            json!({"threshold_amount": 0.5, "currency": "USD", "interval": "month"}),
        ];
        for body in missing {
            assert_eq!(post(body.clone()).status, 400, "{body}");
        }
        let set = post(json!({"threshold_amount": 1, "currency": "USD", "interval": "month"})).json();
        assert_eq!(
            (&set["threshold_amount"], &set["interval"], &set["currency"]),
            (&json!(1), &json!("month"), &json!("USD"))
        );
        assert!(set["object"].as_str().is_some_and(|object| object.ends_with(".spend_limit")), "{set}");
        assert_eq!(get().json()["enforcement"]["status"], "inactive");
        passes(&world.post(CHAT, &small()));
        let mut large = small();
        large["max_completion_tokens"] = json!(16_000);
        assert_eq!(world.post(CHAT, &large).status, 429);
        assert_eq!(get().json()["enforcement"]["status"], "enforcing");
        // Raised it refuses nothing any more; what was spent stays counted.
        post(json!({"threshold_amount": 500, "currency": "USD", "interval": "month"}));
        assert_eq!(get().json()["enforcement"]["status"], "inactive");
        passes(&world.post(CHAT, &large));
        let cost = total(&world.charged_at_rest(&world.project_id));
        let shown = get().json();
        assert_eq!(shown["sallyport"]["settled_nano"].as_u64().map(u128::from), Some(cost), "{shown}");
        world.admin("DELETE", &path, &Value::Null);
        assert_eq!(get().status, 404);
    }
}

#[test]
fn limits_are_raised_for_a_time_lowered_and_lifted_while_requests_run() {
    let world = World::with("[money]\nhold_wait = 0.1");
    let limit = world.limit(&world.project_id, 1);
    let path = format!("/v1/sallyport/limits/{limit}");
    let mut large = small();
    large["max_completion_tokens"] = json!(16_000);
    refused(&world.post(CHAT, &large), "project_spend_limit_exceeded");
    // Raised, until it is over.
    let until = now() + 3;
    world.admin("POST", &path, &json!({"raise": {"amount": "1.00", "until": until}}));
    passes(&world.post(CHAT, &large));
    assert_eq!(world.figure(&limit, "amount"), 1_000_000_000);
    world.until("the raise is over", || now() > until && world.figure(&limit, "amount") == 10_000_000);
    refused(&world.post(CHAT, &large), "project_spend_limit_exceeded");
    // Lowered below what a running stream holds: the stream runs on, and is charged; nothing else comes in.
    world.admin("POST", &path, &json!({"amount": "1.00"}));
    let mut stream = large.clone();
    stream["stream"] = json!(true);
    world.upstream.script(Script { delay_chunk_ms: 60, completion_tokens: Some(9_000), ..Script::default() });
    let mut running = world.begin(CHAT, &stream, &[]);
    running.until(b"alpha").expect("a token");
    world.admin("POST", &path, &json!({"amount": "0.000001"}));
    assert!(world.figure(&limit, "held") > 1_000);
    refused(&world.post(CHAT, &small()), "project_spend_limit_exceeded");
    running.until(b"[DONE]").expect("the stream's own end");
    let cost = total(&sum(&world.upstream.wait_for_billing(|billing| billing.requests == 2).billed));
    world.until("it is charged", || world.figure(&limit, "settled") == cost && world.figure(&limit, "held") == 0);
    assert_eq!(world.figure(&limit, "left"), 0);
    refused(&world.post(CHAT, &small()), "project_spend_limit_exceeded");
    // Lifted.
    world.admin("DELETE", &path, &Value::Null);
    passes(&world.post(CHAT, &large));
    // Set while a request runs: what runs counts from its beginning.
    world.upstream.script(Script { delay_chunk_ms: 60, completion_tokens: Some(9_000), ..Script::default() });
    let mut running = world.begin(CHAT, &stream, &[]);
    running.until(b"alpha").expect("a token");
    let again = world.limit(&world.project_id, 1);
    assert!(world.figure(&again, "held") > 5_000_000, "the running stream is held under the new limit");
    running.until(b"[DONE]").expect("the end");
    let cost = total(&sum(&world.upstream.wait_for_billing(|billing| billing.requests == 4).billed));
    world.until("all of the month counts", || world.figure(&again, "settled") == cost);
    world.expect_no_defect();
}

#[test]
fn a_limit_in_shadow_counts_and_refuses_nobody() {
    let world = World::new();
    let scope = json!({"kind": "project", "project_id": world.project_id});
    let shadow = world.limit_of(scope.clone(), "month", "0.000001", json!({"is_shadow": true}));
    let answer = world.post(CHAT, &small());
    passes(&answer);
    // What has no bound passes, too.
    passes(&world.post("/v1/videos", &json!({"model": "sora-2", "prompt": "A cat."})));
    let cost = total(&sum(&world.upstream.wait_for_billing(|billing| billing.requests >= 1).billed[..1]));
    world.until("it counts", || world.figure(&shadow, "settled") >= cost);
    // One in force beside it, and then itself.
    let hard = world.limit_of(scope, "month", "100.00", json!({}));
    passes(&world.post(CHAT, &small()));
    world.admin("DELETE", &format!("/v1/sallyport/limits/{hard}"), &Value::Null);
    world.admin("POST", &format!("/v1/sallyport/limits/{shadow}"), &json!({"is_shadow": false}));
    refused(&world.post(CHAT, &small()), "project_spend_limit_exceeded");
    world.admin("POST", &format!("/v1/sallyport/limits/{shadow}"), &json!({"is_shadow": true}));
    passes(&world.post(CHAT, &small()));
}

#[test]
fn near_the_limit_outputs_are_clamped_or_another_model_answers() {
    let world = World::new();
    let scope = json!({"kind": "project", "project_id": world.project_id});
    let clamp = json!({"near_limit": {"type": "clamp", "output_tokens_min": 300}});
    let limit = world.limit_of(scope, "month", "0.05", clamp);
    let mut body =
        json!({"model": "gpt-4o", "service_tier": "default", "messages": [{"role": "user", "content": "Hi."}]});
    // 16,384 tokens of output would be 0.16 dollars.
    world.upstream.script(Script { completion_tokens: Some(50_000), pieces: Some(4), ..Script::default() });
    let answer = world.post(CHAT, &body);
    passes(&answer);
    let clamped = answer.header("x-sallyport-clamped").expect("it says so").to_owned();
    let cap: u64 = clamped.strip_prefix("max_completion_tokens=").and_then(|cap| cap.parse().ok()).expect("a cap");
    assert!((4_500..5_000).contains(&cap), "{cap}");
    let sent: Value = serde_json::from_str(&world.upstream.requests()[0].body_text).expect("JSON");
    assert_eq!(sent["max_completion_tokens"], cap);
    assert_eq!(answer.json()["usage"]["completion_tokens"], cap);
    // Less than the least is refused.
    refused(&world.post(CHAT, &body), "project_spend_limit_exceeded");
    // A caller with the old name of the cap keeps it: the two together are refused upstream.
    world.admin("POST", &format!("/v1/sallyport/limits/{limit}"), &json!({"amount": "0.07"}));
    body["max_tokens"] = json!(9_000);
    let answer = world.post(CHAT, &body);
    passes(&answer);
    assert!(answer.header("x-sallyport-clamped").is_some_and(|clamped| clamped.starts_with("max_tokens=")));
    let sent: Value = serde_json::from_str(&world.upstream.requests().last().expect("sent").body_text).expect("JSON");
    assert!(sent["max_tokens"].as_u64().is_some_and(|cap| cap < 9_000) && sent["max_completion_tokens"].is_null());
    body.as_object_mut().expect("an object").remove("max_tokens");
    // A response shows what its caller sent.
    world.admin("POST", &format!("/v1/sallyport/limits/{limit}"), &json!({"amount": "0.08"}));
    let answer = world.post(
        "/v1/responses",
        &json!({"model": "gpt-4o", "service_tier": "default", "input": "Hi.",
        "max_output_tokens": 9_000, "store": false}),
    );
    passes(&answer);
    assert!(answer.header("x-sallyport-clamped").is_some_and(|clamped| clamped.starts_with("max_output_tokens=")));
    assert_eq!(answer.json()["max_output_tokens"], 9_000);
    // A cheaper model.
    let alias = json!({"amount": "0.12", "near_limit": {"type": "alias", "model": "gpt-4o-mini"}});
    world.admin("POST", &format!("/v1/sallyport/limits/{limit}"), &alias);
    world.upstream.clear();
    let answer = world.post(CHAT, &body);
    passes(&answer);
    assert_eq!(answer.header("x-sallyport-model-alias"), Some("gpt-4o-mini"));
    assert_eq!(answer.json()["model"], "gpt-4o-mini");
    let sent: Value = serde_json::from_str(&world.upstream.requests()[0].body_text).expect("JSON");
    assert_eq!(sent["model"], "gpt-4o-mini");
    body["max_completion_tokens"] = json!(10);
    let plain = world.post(CHAT, &body);
    passes(&plain);
    assert_eq!((plain.header("x-sallyport-model-alias"), plain.header("x-sallyport-clamped")), (None, None));
    world.expect_charged(&world.project_id, &sum(&world.upstream.billing().billed));
    world.expect_no_defect();
}

#[test]
fn a_header_warns_from_eighty_percent() {
    let world = World::new();
    let scope = json!({"kind": "project", "project_id": world.project_id});
    let limit = world.limit_of(scope, "month", "1.00", json!({}));
    let warning = |answer: &Answer| answer.header("x-sallyport-spend-warning").map(str::to_owned);
    let body = |cap: u64| {
        let mut body = small();
        (body["model"], body["max_completion_tokens"]) = (json!("gpt-4o"), json!(cap));
        body["service_tier"] = json!("default");
        body
    };
    let call = |cap: u64| {
        world.upstream.script(Script { completion_tokens: Some(1_000_000), pieces: Some(2), ..Script::default() });
        let answer = world.post(CHAT, &body(cap));
        passes(&answer);
        world.until("it is settled", || world.holds().is_empty());
        warning(&answer)
    };
    // 10 dollars a million: 79,000 tokens are 79 cents, and its own hold counts.
    assert_eq!(call(78_900), None);
    assert_eq!(call(1_500).as_deref(), Some("project; used=80%"));
    assert_eq!(call(11_000).as_deref(), Some("project; used=91%"));
    world.admin("POST", &format!("/v1/sallyport/limits/{limit}"), &json!({"amount": "100.00"}));
    assert_eq!(call(10), None);
}

#[test]
fn holds_say_who_what_and_since_when() {
    let world = World::new();
    world.limit(&world.project_id, 1_000);
    let mut body = small();
    (body["stream"], body["user"]) = (json!(true), json!("alice@example.com"));
    world.upstream.script(Script { stall_after_tokens: Some(3), ..Script::default() });
    let mut connection = world.begin(CHAT, &body, &[("X-Sallyport-Run", "nightly"), ("X-Sallyport-Tag", "batch-7")]);
    connection.until(b"alpha").expect("a token");
    world.until("it has aged", || world.holds()[0]["age_seconds"].as_u64().is_some_and(|age| age >= 1));
    let list = world.admin("GET", "/v1/sallyport/holds", &Value::Null);
    let hold = &list["data"][0];
    for (name, value) in [
        ("object", "sallyport.hold"),
        ("project_id", &world.project_id),
        ("run", "nightly"),
        ("tag", "batch-7"),
        ("endpoint", CHAT),
        ("model", "gpt-4o-mini"),
        ("doing", "running"),
        ("api_key_id", &world.key_id()),
    ] {
        assert_eq!(hold[name], value, "{hold}");
    }
    assert!(hold["id"].as_str().is_some_and(|id| id.starts_with("req_")), "{hold}");
    assert!(hold["end_user"].as_str().is_some_and(|user| user.len() == 32) && !list.to_string().contains("alice"));
    assert_eq!((&list["held"], &list["count"]), (&hold["amount"], &json!(1)));
    let other = world.admin("GET", "/v1/sallyport/holds?project_id=proj_other", &Value::Null);
    assert_eq!(other["count"], 0);
    // A client that leaves: its hold says that it is read on; the key's end ends it.
    drop(connection);
    world.until("it is read on", || world.holds()[0]["doing"] == "reading_on");
    let path = format!("/v1/organization/projects/{}/api_keys/{}", world.project_id, world.key_id());
    world.admin("DELETE", &path, &Value::Null);
    world.until("it is cut", || world.holds().is_empty());
    world.until("it stays charged", || world.estimates().len() == 1);
}

#[test]
fn every_end_user_has_an_account_of_their_own() {
    let world = World::new();
    let scope = world.of_project("end_user", Value::Null);
    let limit = world.limit_of(scope, "day", "0.01", json!({}));
    let nameless = world.post(CHAT, &small());
    assert_eq!((nameless.status, nameless.error_code().as_str()), (400, "missing_end_user"));
    assert_eq!(nameless.json()["error"]["param"], "safety_identifier");
    let of = |user: &str, member: &str, cap: u64| {
        let mut body = small();
        (body[member], body["max_completion_tokens"]) = (json!(user), json!(cap));
        body
    };
    // Eight first calls of an unknown one at once: each is asked of the same new account.
    world.upstream.script(Script { delay_head_ms: 200, times: 8, ..Script::default() });
    std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| world.post(CHAT, &of("alice", "safety_identifier", 500)))).collect();
        calls.into_iter().for_each(|call| passes(&call.join().expect("no panic")));
    });
    world.upstream.clear();
    // Too much for one; the other has their own, by either name of the member.
    refused(&world.post(CHAT, &of("alice", "user", 12_000)), "end_user_spend_limit_exceeded");
    passes(&world.post(CHAT, &of("bob", "user", 8_000)));
    passes(&world.post(CHAT, &of("alice", "safety_identifier", 500)));
    world.until("all is settled", || world.holds().is_empty());
    let list = world.admin("GET", &format!("/v1/sallyport/limits/{limit}/standings"), &Value::Null);
    let standings = list["data"].as_array().expect("a list");
    assert_eq!(standings.len(), 2, "{list}");
    let settled: u64 = standings.iter().map(|standing| standing["settled_nano"].as_u64().expect("settled")).sum();
    let cost = total(&sum(&world.upstream.wait_for_billing(|billing| billing.requests == 10).billed));
    assert_eq!(u128::from(settled), cost);
    assert!(!list.to_string().contains("alice"), "names are hashes");
    // One of them gets more.
    world.limit_of(world.of_project("end_user", json!("alice")), "day", "5.00", json!({}));
    passes(&world.post(CHAT, &of("alice", "safety_identifier", 12_000)));
    refused(&world.post(CHAT, &of("bob", "safety_identifier", 16_000)), "end_user_spend_limit_exceeded");
    world.expect_no_defect();
}

#[test]
fn a_run_has_a_cap_on_calls_and_a_stop_button() {
    let world = World::new();
    let scope = world.of_project("run", Value::Null);
    let limit = world.limit_of(scope, "total", "5.00", json!({"calls_max": 3}));
    let call = |run: &str| world.post_with(CHAT, &small(), &[("X-Sallyport-Run", run)]);
    (0..3).for_each(|_| passes(&call("one")));
    let words = refused(&call("one"), "run_call_limit_exceeded");
    assert!(words.contains("run one") || words.contains("Run one"), "{words}");
    assert!(words.contains('3'), "{words}");
    passes(&call("two"));
    // Without a run there is nothing to count.
    (0..4).for_each(|_| passes(&world.post(CHAT, &small())));
    // A conversation belongs to the run that it began in.
    let mut body = json!({"model": "gpt-4o-mini", "input": "Hi.", "max_output_tokens": 100});
    let first = world.post_with("/v1/responses", &body, &[("X-Sallyport-Run", "three")]);
    passes(&first);
    for answered in 1..3 {
        body["previous_response_id"] = first.json()["id"].clone();
        let next = world.post("/v1/responses", &body);
        assert_eq!(next.status, 200, "call {answered}: {}", next.text());
    }
    refused(&world.post("/v1/responses", &body), "run_call_limit_exceeded");
    // Stopped, twice, and let go on.
    let path = format!("/v1/sallyport/runs/{}/two/stop", world.project_id);
    let stopped = world.admin("POST", &path, &Value::Null);
    assert_eq!(world.admin("POST", &path, &Value::Null), stopped);
    refused(&call("two"), "run_call_limit_exceeded");
    passes(&call("four"));
    let stop = stopped["limit_id"].as_str().expect("an id");
    world.admin("DELETE", &format!("/v1/sallyport/limits/{stop}"), &Value::Null);
    passes(&call("two"));
    // Calls that the cap refused are not counted, and a restart forgets none.
    let mut world = world;
    world.restart("-TERM");
    let call = |run: &str| world.post_with(CHAT, &small(), &[("X-Sallyport-Run", run)]);
    refused(&call("one"), "run_call_limit_exceeded");
    passes(&call("two"));
    refused(&call("two"), "run_call_limit_exceeded");
    world.admin("DELETE", &format!("/v1/sallyport/limits/{limit}"), &Value::Null);
    passes(&call("one"));
    // Names are bounded, and stand once.
    for bad in ["", " ", "two words", "\u{e9}", &"x".repeat(129)] {
        let answer = call(bad);
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_headers"), "{bad:?}");
    }
}
