//! `POST /v1/sallyport/inspect`: what the guards would say about a text.

use injection::{Budget, Channel, Detector, Level};
use serde_json::{Value, json};

use crate::client::{Answer, request};
use crate::findings::hash;
use crate::guards::ATTACK;
use crate::world::World;

const INSPECT: &str = "/v1/sallyport/inspect";

fn ask(world: &World, key: &str, body: &Value) -> Answer {
    world.call(key, "POST", INSPECT, body)
}

#[test]
fn either_key_learns_what_the_guards_say() {
    let world = World::new();
    for key in [&world.project_key, &world.admin_key] {
        let said = ask(&world, key, &json!({"text": "What is the capital of France?", "channel": "user"})).json();
        assert_eq!((&said["verdict"], &said["findings"]), (&json!("pass"), &json!([])));
        let score = said["score"].as_f64().expect("a score");
        assert!((0.0..0.5).contains(&score) && said["micros"].is_u64(), "{said}");
        let text = format!("Ünïcödé 👋🏽 {ATTACK}");
        for channel in ["user", "untrusted", "system"] {
            let answer = ask(&world, key, &json!({"text": text, "channel": channel, "id": 7, "label": 1}));
            let said = answer.json();
            assert_eq!((answer.status, &said["verdict"]), (200, &json!("block")), "{said}");
            let members: Vec<&String> = said.as_object().expect("an object").keys().collect();
            assert_eq!(members, ["findings", "micros", "score", "verdict"]);
            let found = &said["findings"][0];
            let (start, end) = (found["start"].as_u64().expect("a place"), found["end"].as_u64().expect("a place"));
            assert!(start < end && end <= text.chars().count() as u64, "{found}");
            assert!(
                ["direct", "indirect", "jailbreak", "extraction"].contains(&found["kind"].as_str().expect("a kind"))
            );
            assert!(!answer.text().contains("developer mode"));
        }
    }
    // Without a channel it is what a user says.
    assert_eq!(ask(&world, &world.project_key, &json!({"text": ATTACK})).json()["verdict"], "block");
    assert_eq!(ask(&world, &world.project_key, &json!({"text": "", "channel": "output"})).json()["verdict"], "pass");
    assert!(world.upstream.requests().is_empty(), "it is nobody else's business");
    let findings = world.call(&world.admin_key, "GET", "/v1/sallyport/findings", &Value::Null).json();
    assert_eq!(findings["data"], json!([]), "a question is no finding");
    // The project's threshold is the one that is asked about.
    world.guard(&json!({"user": {"threshold": 0.0}}));
    assert_eq!(ask(&world, &world.project_key, &json!({"text": "Hello."})).json()["verdict"], "block");
    assert_eq!(ask(&world, &world.admin_key, &json!({"text": "Hello."})).json()["verdict"], "pass");
}

#[test]
fn a_score_is_that_of_all_stages_together_as_on_the_command_line() {
    let world = World::new();
    let detector = Detector::embedded();
    for name in ["user", "untrusted"] {
        let channel = Channel::from_name(name).expect("a channel");
        let threshold = detector.threshold(Level::Shipped, channel);
        let whole = detector.inspect(ATTACK, channel, threshold, Budget { windows: 64 });
        assert!(whole.findings[0].rule.is_some(), "a rule convicts it: {whole:?}");
        let said = ask(&world, &world.admin_key, &json!({"text": ATTACK, "channel": name})).json();
        let score = said["score"].as_f64().expect("a score");
        assert!((score - f64::from(whole.score)).abs() < 1e-6, "{said} and not {whole:?}");
    }
}

#[test]
fn what_the_project_lets_through_passes_and_is_scored_all_the_same() {
    let world = World::new();
    let question = json!({"text": ATTACK, "channel": "untrusted"});
    let before = ask(&world, &world.project_key, &question).json();
    assert_eq!((&before["verdict"], &before["allowed"]), (&json!("block"), &Value::Null));
    world.guard(&json!({"allow": [format!("untrusted:{}", hash(ATTACK))]}));
    let said = ask(&world, &world.project_key, &question).json();
    assert_eq!((&said["verdict"], &said["allowed"]), (&json!("pass"), &json!(true)), "{said}");
    assert_eq!((&said["score"], &said["findings"]), (&before["score"], &before["findings"]));
    // No other text, not in another channel, and for no other project's key.
    let (_, other) = world.project("other");
    for (key, text, channel) in [
        (&world.project_key, format!("{ATTACK} "), "untrusted"),
        (&world.project_key, ATTACK.to_owned(), "user"),
        (&world.admin_key, ATTACK.to_owned(), "untrusted"),
        (&other, ATTACK.to_owned(), "untrusted"),
    ] {
        let said = ask(&world, key, &json!({"text": text, "channel": channel})).json();
        assert_eq!((&said["verdict"], &said["allowed"]), (&json!("block"), &Value::Null), "{said}");
    }
    // Listed without a channel, it passes in each.
    world.guard(&json!({"allow": [hash(ATTACK)]}));
    for channel in ["user", "untrusted", "system"] {
        let said = ask(&world, &world.project_key, &json!({"text": ATTACK, "channel": channel})).json();
        assert_eq!((&said["verdict"], &said["allowed"]), (&json!("pass"), &json!(true)), "{said}");
    }
}

#[test]
fn what_is_no_question_is_refused() {
    let world = World::new();
    for (body, param) in [
        (json!({}), json!("text")),
        (json!({"text": 5}), json!("text")),
        (json!({"text": "x", "channel": "everybody"}), json!("channel")),
        (json!({"text": "x", "channel": 1}), json!("channel")),
        (json!(["text"]), json!("text")),
    ] {
        let answer = ask(&world, &world.project_key, &body);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &param), "{body}");
    }
    assert_eq!(ask(&world, "sp-proj_wrong", &json!({"text": "x"})).status, 401);
    let answer = world.raw(&request("POST", INSPECT, &[("Content-Type", "application/json")], b"{\"text\":\"x\"}"));
    assert_eq!(answer.status, 401);
    let answer = world.call(&world.project_key, "GET", INSPECT, &Value::Null);
    assert_eq!((answer.status, answer.error_code().as_str()), (405, "method_not_supported"));
}

#[test]
fn a_question_waits_in_the_same_queue() {
    let world = World::with("[guards]\nqueue_bytes_max = 100\n");
    let long = "The museum opens at nine and closes at six. ".repeat(3);
    let answer = ask(&world, &world.project_key, &json!({"text": long, "channel": "untrusted"}));
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "guard_unavailable"));
}

#[test]
fn a_question_is_bounded_and_says_what_was_not_read() {
    let world = World::with("[guards]\nwindows_max = 1\n");
    let long = "The museum opens at nine and closes at six. ".repeat(2_000);
    // What is beside the question is read past.
    let body = json!({"text": long, "channel": "untrusted", "meta": {"text": [5], "pages": [1, 2, {"a": "b"}]}});
    let said = ask(&world, &world.project_key, &body).json();
    assert_eq!((&said["verdict"], &said["partly"]), (&json!("pass"), &json!(true)), "{said}");
    for key in [&world.project_key, &world.admin_key] {
        let answer = ask(&world, key, &json!({"text": "x".repeat(1024 * 1024)}));
        assert_eq!((answer.status, answer.error_code().as_str()), (413, "request_too_large"));
        assert!(answer.text().contains("limit of 1 MB"), "{}", answer.text());
    }
}
