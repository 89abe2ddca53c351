//! Rate limits: how many, how much, how many at once; by model, project, key and end user; and what headers tell.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Script;

use crate::client::Answer;
use crate::client::request;
use crate::world::World;

const CHAT: &str = "/v1/chat/completions";

fn body(model: &str) -> Value {
    json!({"model": model, "max_completion_tokens": 50, "messages": [{"role": "user", "content": "Hi."}]})
}

/// A refusal: status, type, code, when to come back, in milliseconds and in seconds rounded up. Its words.
fn limited(answer: &Answer, kind: &str) -> String {
    assert_eq!((answer.status, answer.error_code().as_str()), (429, "rate_limit_exceeded"), "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], kind);
    let wait_ms: u64 = answer.header("retry-after-ms").and_then(|ms| ms.parse().ok()).expect("retry-after-ms");
    let wait: u64 = answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("retry-after");
    assert_eq!(wait, wait_ms.div_ceil(1_000));
    assert!(answer.header("x-should-retry").is_none_or(|should| should == "true"));
    answer.json()["error"]["message"].as_str().expect("words").to_owned()
}

/// A duration as Go writes it, in milliseconds; panics at anything else.
fn go_ms(text: &str) -> u64 {
    let (mut ms, mut number) = (0, String::new());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '0'..='9' | '.' => number.push(char),
            'h' => ms += std::mem::take(&mut number).parse::<u64>().expect("hours") * 3_600_000,
            'm' if chars.peek() == Some(&'s') => {
                chars.next();
                ms += std::mem::take(&mut number).parse::<u64>().expect("whole milliseconds");
            }
            'm' => ms += std::mem::take(&mut number).parse::<u64>().expect("minutes") * 60_000,
            's' => {
                let (whole, rest) = number.split_once('.').unwrap_or((&number, ""));
                assert!(rest.len() <= 3, "{text}");
                ms += whole.parse::<u64>().expect("seconds") * 1_000;
                ms += format!("{rest:0<3}").parse::<u64>().expect("milliseconds");
                number.clear();
            }
            other => panic!("{other} in {text}"),
        }
    }
    assert!(number.is_empty(), "{text}");
    ms
}

fn gauge(answer: &Answer, of: &str) -> (u64, u64, u64) {
    let header = |what: &str| {
        let name = format!("x-ratelimit-{what}-{of}");
        answer.header(&name).unwrap_or_else(|| panic!("{name}: {:?}", answer.headers)).to_owned()
    };
    let number = |what: &str| header(what).parse().expect("a number");
    (number("limit"), number("remaining"), go_ms(&header("reset")))
}

impl World {
    fn rate(&self, model: &str, limits: Value) {
        let path = format!("/v1/organization/projects/{}/rate_limits/rl-{model}", self.project_id);
        let shown = self.admin("POST", &path, &limits);
        assert_eq!((&shown["object"], &shown["model"]), (&json!("project.rate_limit"), &json!(model)), "{shown}");
    }
}

#[test]
fn requests_of_a_model_and_of_all_are_counted_apart() {
    let world = World::new();
    world.rate("gpt-4o", json!({"max_requests_per_1_minute": 3}));
    for left in [2, 1, 0] {
        let answer = world.post(CHAT, &body("gpt-4o"));
        assert_eq!(answer.status, 200);
        let (limit, remaining, reset_ms) = gauge(&answer, "requests");
        assert_eq!((limit, remaining), (3, left));
        // A third of a minute each, less what has passed.
        let most = (3 - left) * 20_000;
        assert!(reset_ms <= most && reset_ms + 5_000 > most, "{reset_ms}");
        assert_eq!(answer.header("x-ratelimit-limit-tokens"), None, "tokens are not limited");
    }
    let answer = world.post(CHAT, &body("gpt-4o"));
    let words = limited(&answer, "requests");
    assert!(
        words.contains("gpt-4o in project") && words.contains("requests per min (RPM): Limit 3, Used 3"),
        "{words}"
    );
    assert!(words.contains("Please try again in "), "{words}");
    let wait_ms: u64 = answer.header("retry-after-ms").expect("there").parse().expect("a number");
    assert!((10_000..=20_000).contains(&wait_ms), "{wait_ms}");
    assert_eq!(gauge(&answer, "requests").1, 0);
    // A dated snapshot counts under its family's limit; another model does not.
    limited(&world.post(CHAT, &body("gpt-4o-2024-08-06")), "requests");
    assert_eq!(world.post(CHAT, &body("gpt-4o-mini")).status, 200);
    // All models together.
    world.rate("*", json!({"max_requests_per_1_minute": 2}));
    assert_eq!(world.post(CHAT, &body("gpt-4o-mini")).status, 200);
    assert_eq!(world.post(CHAT, &body("gpt-5")).status, 200);
    assert!(limited(&world.post(CHAT, &body("gpt-5")), "requests").contains("all models in project"));
    // Reading lists is no request to a model.
    (0..3).for_each(|_| {
        let answer = world.call(&world.project_key, "GET", "/v1/models", &Value::Null);
        assert_eq!((answer.status, gauge(&answer, "requests").0), (200, 10_000));
    });
    // Lifted, it is as if it had never been: the upstream's own headers pass.
    world.rate("*", json!({"max_requests_per_1_minute": null}));
    world.rate("gpt-4o", json!({"max_requests_per_1_minute": null}));
    let answer = world.post(CHAT, &body("gpt-4o"));
    assert_eq!(gauge(&answer, "requests"), (10_000, 9_999, 6));
    // A day's requests.
    world.rate("gpt-4o", json!({"max_requests_per_1_day": 1}));
    let answer = world.post(CHAT, &body("gpt-4o"));
    let (limit, remaining, reset_ms) = gauge(&answer, "requests");
    assert!((limit, remaining) == (1, 0) && reset_ms > 86_000_000, "{reset_ms}");
    assert!(
        answer
            .header("x-ratelimit-reset-requests")
            .is_some_and(|reset| reset.starts_with("23h59m") || reset == "24h0m0s")
    );
    limited(&world.post(CHAT, &body("gpt-4o")), "requests");
    assert_eq!(world.holds(), Vec::<Value>::new());
}

#[test]
fn tokens_are_estimated_and_corrected_when_they_are_known() {
    let world = World::new();
    world.rate("gpt-4o", json!({"max_tokens_per_1_minute": 10_000}));
    let call = |cap: u64, used: u64, stream: bool| {
        world.upstream.script(Script {
            prompt_tokens: Some(10),
            completion_tokens: Some(used),
            ignore_cap: true,
            ..Script::default()
        });
        let mut body = body("gpt-4o");
        (body["max_completion_tokens"], body["stream"]) = (json!(cap), json!(stream));
        let answer = world.post(CHAT, &body);
        world.until("it ends", || world.holds().is_empty());
        answer
    };
    let remaining = |answer: &Answer| gauge(answer, "tokens").1;
    // The cap is estimated: some 9,000 of 10,000 are gone; 100 were used.
    let answer = call(9_000, 100, false);
    assert_eq!((answer.status, gauge(&answer, "tokens").0), (200, 10_000));
    assert!((900..1_000).contains(&remaining(&answer)), "{}", remaining(&answer));
    for stream in [true, false] {
        let answer = call(9_000, 100, stream);
        assert_eq!(answer.status, 200, "what was not used came back: {}", answer.text());
    }
    // More than was estimated is taken, too, into debt.
    assert_eq!(call(50, 25_000, true).status, 200);
    let answer = world.post(CHAT, &body("gpt-4o"));
    let words = limited(&answer, "tokens");
    assert!(words.contains("tokens per min (TPM): Limit 10000, Used 2"), "{words}");
    let wait_ms: u64 = answer.header("retry-after-ms").expect("there").parse().expect("a number");
    assert!(wait_ms > 80_000, "25,000 tokens take two minutes and a half: {wait_ms}");
    // What can never pass says so.
    world.rate("gpt-4o-mini", json!({"max_tokens_per_1_minute": 1_000}));
    let mut large = body("gpt-4o-mini");
    large["max_completion_tokens"] = json!(2_000);
    let answer = world.post(CHAT, &large);
    assert_eq!((answer.status, answer.error_code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!((answer.header("x-should-retry"), answer.header("retry-after-ms")), (Some("false"), None));
    assert!(answer.text().contains("Request too large for gpt-4o-mini"), "{}", answer.text());
    // An error of the upstream gives back what was estimated.
    world.upstream.script(Script { status: Some(400), ..Script::default() });
    large["max_completion_tokens"] = json!(900);
    assert_eq!(world.post(CHAT, &large).status, 400);
    assert_eq!(world.post(CHAT, &large).status, 200);
}

/// What money refuses has used no pace: nobody else is refused for it.
#[test]
fn a_refusal_of_money_gives_its_pace_back() {
    let world = World::with("[money]\nhold_wait = 0.0");
    world.rate("gpt-4o", json!({"max_tokens_per_1_minute": 10_000, "sallyport": {"concurrency": 1}}));
    world.limit(&world.project_id, 1);
    let mut large = body("gpt-4o");
    large["max_completion_tokens"] = json!(8_000);
    for _ in 0..3 {
        assert_eq!(world.post(CHAT, &large).error_code(), "project_spend_limit_exceeded");
    }
    let answer = world.post(CHAT, &body("gpt-4o"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(gauge(&answer, "tokens").1 > 9_000, "{:?}", answer.headers);
}

#[test]
fn images_and_sound_are_counted() {
    let world = World::new();
    world.rate("dall-e-2", json!({"max_images_per_1_minute": 5}));
    let images =
        |count: u64| world.post("/v1/images/generations", &json!({"model": "dall-e-2", "prompt": "x", "n": count}));
    assert_eq!(images(3).status, 200);
    assert!(limited(&images(3), "requests").contains("images per min (IPM): Limit 5, Used 3, Requested 3"));
    assert_eq!(images(2).status, 200);
    world.rate("whisper-1", json!({"max_audio_megabytes_per_1_minute": 1}));
    let bearer = format!("Bearer {}", world.project_key);
    let hear = |bytes: usize| {
        let mut form = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n".to_vec();
        form.resize(form.len() + bytes, 0);
        form.extend_from_slice(b"\r\n--b--\r\n");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "multipart/form-data; boundary=b")];
        world.raw(&request("POST", "/v1/audio/transcriptions", &headers, &form))
    };
    assert_eq!(hear(600_000).status, 200);
    limited(&hear(600_000), "requests");
    assert_eq!(hear(300_000).status, 200);
}

#[test]
fn keys_and_end_users_have_limits_of_their_own() {
    let world = World::new();
    let keys = world.admin("GET", &format!("/v1/organization/projects/{}/api_keys", world.project_id), &Value::Null);
    let id = keys["data"][0]["id"].as_str().expect("an id");
    let path = format!("/v1/sallyport/projects/{}/api_keys/{id}/rate_limit", world.project_id);
    world.admin("POST", &path, &json!({"max_requests_per_1_minute": 2}));
    let second = world.key(&world.project_id, "second")["value"].as_str().expect("a secret").to_owned();
    for _ in 0..2 {
        assert_eq!(world.post(CHAT, &body("gpt-4o")).status, 200);
    }
    assert!(limited(&world.post(CHAT, &body("gpt-4o")), "requests").contains(id));
    assert_eq!(world.call(&second, "POST", CHAT, &body("gpt-4o")).status, 200, "another key of the same project");
    world.admin("POST", &path, &json!({"max_requests_per_1_minute": null}));
    let path = format!("/v1/sallyport/projects/{}/end_user_rate_limit", world.project_id);
    world.admin("POST", &path, &json!({"max_requests_per_1_minute": 1}));
    let of = |user: &str| {
        let mut body = body("gpt-4o");
        body["safety_identifier"] = json!(user);
        world.post(CHAT, &body)
    };
    assert_eq!(of("alice").status, 200);
    let words = limited(&of("alice"), "requests");
    assert!(words.contains("this end user") && !words.contains("alice"), "{words}");
    assert_eq!(of("bob").status, 200);
    // What one limit refuses takes nothing of another.
    world.rate("gpt-4o", json!({"max_requests_per_1_minute": 3}));
    (0..5).for_each(|_| drop(limited(&of("alice"), "requests")));
    assert_eq!((of("carol").status, of("dave").status, of("erin").status), (200, 200, 200));
    limited(&of("frank"), "requests");
}

#[test]
fn a_place_is_taken_until_the_stream_ends() {
    let world = World::new();
    world.rate("*", json!({"sallyport": {"concurrency": 2}}));
    let mut stream = body("gpt-4o");
    stream["stream"] = json!(true);
    let open = || {
        world.upstream.script(Script { delay_chunk_ms: 120, pieces: Some(12), ..Script::default() });
        let mut connection = world.begin(CHAT, &stream, &[]);
        connection.until(b"alpha").expect("a token");
        connection
    };
    let (mut first, second) = (open(), open());
    let answer = world.post(CHAT, &body("gpt-4o"));
    assert!(limited(&answer, "requests").contains("concurrent requests: Limit 2, Used 2"), "{}", answer.text());
    assert_eq!(answer.header("retry-after-ms"), Some("500"));
    first.until(b"[DONE]").expect("the end");
    let begun = Instant::now();
    world.until("a place is free", || world.post(CHAT, &body("gpt-4o")).status == 200);
    assert!(begun.elapsed() < Duration::from_secs(2));
    // A client that left is read on, and keeps its place till then.
    drop(second);
    world.until("nothing runs", || world.holds().is_empty());
    let (_third, _fourth) = (open(), open());
    limited(&world.post(CHAT, &body("gpt-4o")), "requests");
    // None at all.
    world.rate("gpt-5", json!({"sallyport": {"concurrency": 0}}));
    world.rate("*", json!({"sallyport": {"concurrency": null}}));
    let answer = world.post(CHAT, &body("gpt-5"));
    assert_eq!((answer.status, answer.header("x-should-retry")), (429, Some("false")), "{}", answer.text());
}
