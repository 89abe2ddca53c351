//! Guards that take time: what is read in parallel, what nobody could read, and what waits for whom.

use std::time::{Duration, Instant};

use injection::{Channel, Detector, Glance, Level};
use serde_json::{Value, json};
use testkit::Script;

use crate::books::sum;
use crate::guards::{ATTACK, CHAT, HARMLESS, SUBTLE, conversation, expect_blocked, expect_read, subtle, verdict};
use crate::world::World;

#[test]
fn in_parallel_nothing_is_called_that_leaves_more_than_its_answer() {
    let world = World::new();
    expect_read(&world, SUBTLE, "untrusted");
    let every = json!({"untrusted": {"mode": "block"}, "user": {"mode": "block"}, "parallel": true});
    world.guard(&every);
    let made = world.post("/v1/conversations", &json!({}));
    assert_eq!(made.status, 200, "{}", made.text());
    let items = format!("/v1/conversations/{}/items", made.json()["id"].as_str().expect("an id"));
    world.upstream.clear();
    // What was found once is refused without anybody reading it: each is another text.
    let output = |number: usize| json!({"type": "function_call_output", "call_id": "c", "output": subtle(number)});
    expect_blocked(&world.post(&items, &json!({"items": [output(0)]})));
    let response = |number: usize, more: Value| {
        let mut body = json!({"model": "gpt-5", "store": false, "input": [output(number)]});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let conversation_id = made.json()["id"].clone();
    let calls = [
        json!({"store": true}),
        json!({"conversation": conversation_id}),
        json!({"background": true}),
        json!({"tools": [{"type": "web_search"}]}),
        json!({"tools": [{"type": "mcp", "server_label": "desk", "server_url": "https://desk.example/mcp"}]}),
    ];
    for (number, more) in calls.into_iter().enumerate() {
        expect_blocked(&world.post("/v1/responses", &response(number + 1, more)));
    }
    let mut stored = conversation(&subtle(10), HARMLESS);
    stored["store"] = json!(true);
    expect_blocked(&world.post(CHAT, &stored));
    std::thread::sleep(Duration::from_millis(200));
    assert!(world.upstream.requests().is_empty(), "what was refused has been done");
    // What only observes overlaps with any call.
    world.guard(&json!({"untrusted": {"mode": "observe"}}));
    let answer = world.post(&items, &json!({"items": [output(11)]}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn guards_that_are_overloaded_refuse_what_they_would_block() {
    // No room for a text of more than fifty bytes.
    let world = World::with("[guards]\nqueue_bytes_max = 100\n");
    let body = conversation(&"The museum opens at nine and closes at six. ".repeat(3), HARMLESS);
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass; failed=overloaded"), "nothing is blocked: it passes");
    world.guard(&json!({"untrusted": {"mode": "block"}}));
    world.upstream.clear();
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "guard_unavailable"));
    assert_eq!((verdict(&answer), answer.header("x-should-retry")), ("block; failed=overloaded", Some("true")));
    assert!(world.upstream.requests().is_empty());
    world.guard(&json!({"on_failure": "open"}));
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass; failed=overloaded"));
    assert_eq!(world.metric("sallyport_guard_failures_total{failure=\"overloaded\"}"), 3);
}

/// Waits until nothing is held, and holds what is charged against what the upstream billed.
fn expect_all_charged(world: &World) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !world.holds().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", world.holds());
        std::thread::sleep(Duration::from_millis(20));
    }
    let billing = world.upstream.wait_for_billing(|_| true);
    world.expect_charged(&world.project_id, &sum(&billing.billed));
    billing.requests
}

#[test]
fn in_parallel_the_answer_waits_for_the_verdict_and_so_does_the_money() {
    let world = World::new();
    expect_read(&world, SUBTLE, "untrusted");
    world.limit(&world.project_id, 10_000);
    world.guard(&json!({"untrusted": {"mode": "block"}, "parallel": true}));
    let calls = [(false, 0), (false, 300), (true, 0), (true, 300)];
    for (number, (stream, delay_head_ms)) in calls.into_iter().enumerate() {
        let script = || world.upstream.script(Script { delay_head_ms, ..Script::default() });
        let key = format!("{stream}{delay_head_ms}");
        let (mut harmless, mut attacked) =
            (conversation(&key, HARMLESS), conversation(&subtle(number), &format!("{HARMLESS} {key}")));
        (harmless["stream"], attacked["stream"]) = (json!(stream), json!(stream));
        for _ in 0..2 {
            script();
            let answer = world.post_with(CHAT, &harmless, &[("Idempotency-Key", &key)]);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.is_whole && !answer.body.is_empty());
        }
        // What was refused is not kept: the same call again is refused again.
        for _ in 0..2 {
            script();
            expect_blocked(&world.post_with(CHAT, &attacked, &[("Idempotency-Key", &format!("{key} attacked"))]));
        }
    }
    let called = |text: &str| {
        world.upstream.requests().iter().filter(|sent| String::from_utf8_lossy(&sent.body).contains(text)).count()
    };
    assert!(called("password list") > 0, "it was called while the guards read");
    assert!(expect_all_charged(&world) >= 4, "the harmless ones, each once");
    // Without it, nothing is called for what is refused.
    world.guard(&json!({"parallel": false}));
    let before = world.upstream.billing().requests;
    expect_blocked(&world.post(CHAT, &conversation(ATTACK, HARMLESS)));
    assert_eq!(world.upstream.billing().requests, before);
}

#[test]
fn in_parallel_an_answer_that_is_there_already_is_not_given_to_who_is_refused() {
    // So much that nobody can read it in that time.
    let body = conversation(&"The museum opens at nine and closes at six. ".repeat(100_000), HARMLESS);
    // Without a limit: what waits for one may have its verdict first, and is not called at all.
    let world = World::with("[guards]\nread_time_max = 0.002\n");
    world.guard(&json!({"untrusted": {"mode": "block"}, "parallel": true}));
    for stream in [false, true] {
        let mut body = body.clone();
        body["stream"] = json!(stream);
        let answer = world.post(CHAT, &body);
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "guard_unavailable"));
        assert_eq!(verdict(&answer), "block; failed=late");
    }
    // A call that was under way by then is charged for what it cost.
    expect_all_charged(&world);
    // What nobody would refuse goes the same way, and gets its answer.
    world.guard(&json!({"untrusted": {"mode": "observe"}, "parallel": false}));
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass; failed=late"));
}

/// A response that has called for these results.
pub(crate) fn results(texts: &[String]) -> Value {
    let item = |(at, text)| json!({"type": "function_call_output", "call_id": format!("call_{at}"), "output": text});
    json!({"model": "gpt-5", "store": false, "input": texts.iter().enumerate().map(item).collect::<Vec<_>>()})
}

#[test]
fn an_answer_that_nobody_may_refuse_does_not_wait_long() {
    let world = World::with("[guards]\nanswer_wait_max = 0.001\nread_time_max = 60\n");
    expect_read(&world, SUBTLE, "untrusted");
    let page = "The museum opens at nine and closes at six. The last tour leaves an hour before that. ".repeat(300);
    let mut body = results(&[page.clone(), SUBTLE.to_owned()]);
    body["tools"] = json!([{"type": "web_search"}]);
    let answer = world.post("/v1/responses", &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass; unseen=web_search; pending"));
    let held = world.metric("sallyport_body_memory_bytes");
    assert!(held >= 2 * page.len() as u64, "what the guards still read is paid for: {held}");
    let findings = || world.call(&world.admin_key, "GET", "/v1/sallyport/findings", &Value::Null).json();
    let deadline = Instant::now() + Duration::from_secs(60);
    while findings()["data"].as_array().is_none_or(Vec::is_empty) {
        assert!(Instant::now() < deadline, "what is found later is told");
        std::thread::sleep(Duration::from_millis(50));
    }
    while world.metric("sallyport_body_memory_bytes") > 0 {
        assert!(Instant::now() < deadline, "and then it is given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a user asks and the cheap stages are sure of.
fn sure() -> &'static str {
    let detector = Detector::embedded();
    let threshold = detector.threshold(Level::default(), Channel::User);
    let texts = [
        "How do I boil an egg?",
        "What is 17 times 23?",
        "When does the next train to Leeds leave?",
        "Which rooms of the museum are open on Sunday?",
    ];
    let is_sure = |text: &&str| matches!(detector.glance(text, Channel::User, threshold), Glance::Sure(_));
    texts.into_iter().find(is_sure).expect("the linear stage is sure of none of these: the test needs another text")
}

#[test]
fn what_needs_no_transformer_is_answered_while_long_pages_wait_for_it() {
    const PAGES: [&str; 4] = ["library", "theatre", "garden", "castle"];
    // Each of the pages takes the only thread seconds.
    let world = World::with("[guards]\nthreads = 1\nwindows_max = 400\nread_time_max = 600\n");
    let block = json!({"mode": "block"});
    world.guard(&json!({"untrusted": block, "user": block, "system": block}));
    let page = |word: &str| format!("The {word} opens at nine and closes at six, on Sundays at two. ").repeat(2_000);
    // Held until the end: what nobody waits for is not read.
    let pages = PAGES.map(|word| world.begin("/v1/responses", &results(&[page(word)]), &[]));
    let waiting = || world.metric("sallyport_guard_queue");
    let deadline = Instant::now() + Duration::from_secs(60);
    // The thread reads one, and the others wait.
    while waiting() < PAGES.len() as u64 - 1 {
        assert!(Instant::now() < deadline, "{}", world.diagnostics());
        std::thread::sleep(Duration::from_millis(5));
    }
    let chat = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": sure()}]});
    let answer = world.post(CHAT, &chat);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass"), "{}", answer.text());
    assert!(waiting() > 0, "the pages still wait");
    assert_eq!(world.metric("sallyport_inspections_total{verdict=\"pass\"}"), 1, "none of the pages is done");
    assert_eq!(world.metric("sallyport_inspected_texts_total{channel=\"user\",by=\"glanced\"}"), 1);
    drop(pages);
}

#[test]
fn a_page_is_read_whole_and_once() {
    // Builds that are not optimised take seconds for it.
    let world = World::with("[guards]\nread_time_max = 60\n");
    let page = "The museum opens at nine and closes at six. The last tour leaves an hour before that. ".repeat(60);
    let body = conversation(&page, HARMLESS);
    let count =
        |by: &str| world.metric(&format!("sallyport_inspected_texts_total{{channel=\"untrusted\",by=\"{by}\"}}"));
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass"));
    let read = count("read");
    assert!(read > 0);
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass"));
    assert_eq!(count("read"), read, "what was read whole is remembered");
    assert_eq!(count("remembered"), 2, "the page, and the arguments of the call");
}

#[test]
fn earlier_turns_are_not_read_again() {
    let world = World::new();
    let mut body = conversation("It is sunny in Paris, and 24 degrees.", HARMLESS);
    world.post(CHAT, &body);
    world.post(CHAT, &body);
    let remembered = |channel: &str| {
        world.metric(&format!("sallyport_inspected_texts_total{{channel=\"{channel}\",by=\"remembered\"}}"))
    };
    let (user, untrusted) = (remembered("user"), remembered("untrusted"));
    let more = [json!({"role": "assistant", "content": "Paris."}), json!({"role": "user", "content": "And of Spain?"})];
    body["messages"].as_array_mut().expect("a list").extend(more);
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass"));
    assert_eq!(remembered("user") - user, 2, "both of the user's turns");
    assert!(remembered("untrusted") > untrusted, "what the tool said");
    // What was found is found again, and is the same finding; nobody reads it again.
    expect_read(&world, SUBTLE, "untrusted");
    let windows = || world.metric("sallyport_guard_windows_total");
    let body = conversation(SUBTLE, HARMLESS);
    let answer = world.post(CHAT, &body);
    assert!(verdict(&answer).starts_with("observe; found="), "{}", verdict(&answer));
    let (said, read) = (verdict(&answer).to_owned(), windows());
    for _ in 0..3 {
        assert_eq!(verdict(&world.post(CHAT, &body)), said);
    }
    assert_eq!(windows(), read);
}
