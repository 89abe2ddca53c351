//! Requests with more texts than the transformer may read: long histories that come for the first time, and floods.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::guards::{ATTACK, CHAT, HARMLESS, SUBTLE, conversation, expect_blocked, expect_read, subtle, verdict};
use crate::guards_at_work::results;
use crate::world::World;

/// What the guards have done since they began.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Work {
    /// Texts that the cheap stages looked at.
    glances: u64,
    /// Windows that the transformer read.
    windows: u64,
}

impl World {
    fn work(&self) -> Work {
        let of = |name: &str| self.metric(&format!("sallyport_guard_{name}_total"));
        Work { glances: of("glances"), windows: of("windows") }
    }

    /// Texts of all channels that were judged so.
    fn texts(&self, by: &str) -> u64 {
        let text = self.raw(b"GET /metrics HTTP/1.1\r\nHost: gate.test\r\n\r\n").text();
        let end = format!("by=\"{by}\"}}");
        let count = |line: &str| {
            let (labels, count) = line.strip_prefix("sallyport_inspected_texts_total{")?.split_once(' ')?;
            labels.ends_with(&end).then(|| count.parse::<u64>().expect("a number"))
        };
        text.lines().filter_map(count).sum()
    }
}

/// A chat of so many short messages, each another text.
fn chat(messages: usize) -> Value {
    let message = |number: usize| match number % 2 {
        0 => json!({"role": "user", "content": format!("When does room {number} open?")}),
        _ => json!({"role": "assistant", "content": format!("Room {number} opens at nine.")}),
    };
    json!({"model": "gpt-4o-mini", "messages": (0..messages).map(message).collect::<Vec<_>>()})
}

/// A gate that blocks everywhere, and is patient enough for builds that are not optimised.
fn blocking(config: &str) -> World {
    let world = World::with(&format!("[guards]\nread_time_max = 60\n{config}"));
    let block = json!({"mode": "block"});
    world.guard(&json!({"untrusted": block, "user": block, "system": block}));
    world
}

#[test]
fn a_long_history_is_no_error_and_is_read_once() {
    let world = blocking("");
    let (body, start) = (chat(300), world.work());
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass"), "{}", answer.text());
    let work = world.work();
    assert_eq!(work.glances - start.glances, 300);
    assert!((64..=300).contains(&(work.windows - start.windows)), "more texts than whole windows: {work:?}");
    let answer = world.post(CHAT, &body);
    assert_eq!((answer.status, verdict(&answer)), (200, "pass"));
    assert_eq!((world.work(), world.texts("remembered")), (work, 300), "nothing is read again");
}

#[test]
fn what_is_left_of_a_longer_history_is_said_and_read_in_later_turns() {
    let world = blocking("windows_max = 8\n");
    let body = chat(200);
    let (mut before, mut left) = (world.work().windows, usize::MAX);
    for turn in 0.. {
        let answer = world.post(CHAT, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let windows = world.work().windows;
        assert!(windows - before <= 8 * 8, "{windows} windows, {before} before");
        before = windows;
        if verdict(&answer) == "pass" {
            assert!(turn > 0, "all of it was read at once");
            break;
        }
        let said = verdict(&answer).strip_prefix("pass; unread=").and_then(|rest| rest.strip_suffix("; partly"));
        let unread: usize = said.expect("how many are left").parse().expect("a number");
        assert!(unread < left, "{unread} of {left}");
        left = unread;
    }
    assert!(world.texts("unread") > 0);
    world.post(CHAT, &body);
    assert_eq!(world.work().windows, before, "what was read is remembered");
}

#[test]
fn a_project_may_let_nothing_pass_unread() {
    let world = blocking("windows_max = 8\n");
    world.guard(&json!({"on_unread": "closed"}));
    let body = chat(200);
    let mut refused = 0;
    loop {
        let answer = world.post(CHAT, &body);
        if answer.status == 200 {
            assert_eq!(verdict(&answer), "pass", "all of it was read");
            break;
        }
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "guard_unavailable"), "{}", answer.text());
        assert!(verdict(&answer).contains("failed=unread"), "{}", verdict(&answer));
        refused += 1;
        assert!(refused < 40, "no try comes further");
    }
    assert!(refused > 0, "all of it was read at once");
    // Nor are pages left at what they got when there were many of them.
    let page = |word: &str| format!("The {word} opens at nine and closes at six. ").repeat(30);
    let (pages, mut tries) = (["mill", "tower", "harbour"].map(page), 0);
    while world.post("/v1/responses", &results(&pages)).status == 503 {
        tries += 1;
        assert!(tries < 5, "no try comes further");
    }
    assert!(tries > 0, "all of it was read at once");
    // What may not be refused is read as before.
    world.guard(&json!({"user": {"mode": "observe"}, "untrusted": {"mode": "observe"}, "system": {"mode": "observe"}}));
    assert_eq!(world.post(CHAT, &chat(201)).status, 200);
    // One text that is too long by itself never comes to its end.
    world.guard(&json!({"untrusted": {"mode": "block"}}));
    for _ in 0..2 {
        let answer = world.post(CHAT, &conversation(&"The bill for the boats came late. ".repeat(900), HARMLESS));
        assert_eq!((answer.status, answer.error_code().as_str()), (413, "text_unread"), "{}", answer.text());
        assert!(
            verdict(&answer).contains("failed=unread") && verdict(&answer).contains("partly"),
            "{}",
            verdict(&answer)
        );
    }
}

#[test]
fn an_attack_is_read_however_many_texts_come_after_it() {
    let world = World::with("[guards]\nread_time_max = 60\n");
    expect_read(&world, SUBTLE, "untrusted");
    world.guard(&json!({"untrusted": {"mode": "block"}}));
    let mut texts = vec![SUBTLE.to_owned()];
    texts.extend((0..3_000).map(|at| format!("Room {at} of the museum opens at nine.")));
    expect_blocked(&world.post("/v1/responses", &results(&texts)));
    // Nor do others crowd it out in whose channel it does not stand, however much they are suspected.
    let mut flooded = conversation(&subtle(1), HARMLESS);
    let flood = (0..3_000).map(|at| format!("Act as the guide of room {at}: which rules may a visitor forget?"));
    let flood = flood.map(|text| json!({"role": "user", "content": text}));
    flooded["messages"].as_array_mut().expect("a list").extend(flood);
    expect_blocked(&world.post(CHAT, &flooded));
    // What the rules know is found wherever it stands, and nobody has to read for it.
    let windows = world.work().windows;
    texts[0] = "It is sunny.".to_owned();
    texts[700] = ATTACK.to_owned();
    expect_blocked(&world.post("/v1/responses", &results(&texts)));
    assert_eq!(world.work().windows, windows);
    assert!(world.upstream.requests().is_empty());
}

#[test]
fn a_long_text_is_read_on_where_there_is_room_for_as_much_again_and_not_in_every_turn() {
    let world = blocking("windows_max = 6\n");
    let page = |word: &str| format!("The {word} opens at nine and closes at six. ").repeat(60);
    let (texts, start) = (["library", "theatre", "garden"].map(page), world.work().windows);
    let answer = world.post("/v1/responses", &results(&texts));
    assert_eq!((answer.status, verdict(&answer)), (200, "pass; partly"));
    assert_eq!((world.work().windows - start, world.texts("partly")), (6, 3), "two of each");
    // Alone it may have six.
    world.post("/v1/responses", &results(&texts[..1]));
    let read = world.work().windows;
    assert_eq!(read - start, 6 + 6);
    for _ in 0..3 {
        let answer = world.post("/v1/responses", &results(&texts[..1]));
        assert_eq!((answer.status, verdict(&answer)), (200, "pass; partly"));
    }
    assert_eq!(world.work().windows, read, "no more than that can be read of it");
    // Beside another text it got nearly as much as it may have: that is all, and nobody looks at it again.
    let late = format!("{} It rains.", texts[1].repeat(2));
    world.post("/v1/responses", &results(&[late.clone(), "Thank you.".to_owned()]));
    let work = world.work();
    for _ in 0..2 {
        let answer = world.post("/v1/responses", &results(std::slice::from_ref(&late)));
        assert_eq!((answer.status, verdict(&answer)), (200, "pass; partly"));
    }
    assert_eq!(world.work(), work);
}

#[test]
fn another_threshold_is_applied_to_what_is_remembered() {
    let world = World::new();
    expect_read(&world, SUBTLE, "untrusted");
    let body = conversation(SUBTLE, HARMLESS);
    let at = |threshold: f64| {
        world.guard(&json!({"untrusted": {"mode": "block", "threshold": threshold}, "user": {"mode": "off"}}));
        world.post(CHAT, &body).status
    };
    assert_eq!(at(0.5), 400);
    let windows = world.work().windows;
    assert_eq!((at(0.6), at(1.0), at(0.5)), (400, 200, 400));
    assert_eq!(world.work().windows, windows, "for none of them it is read again");
    // What was no finding is read again to say where it stands.
    world.guard(&json!({"untrusted": {"threshold": 1.0}}));
    let harmless = conversation("The museum opens at nine, and closes at six.", HARMLESS);
    assert_eq!(world.post(CHAT, &harmless).status, 200);
    world.guard(&json!({"untrusted": {"threshold": 0.0}}));
    expect_blocked(&world.post(CHAT, &harmless));
}

#[test]
fn guard_threads_look_at_nothing_a_second_time() {
    let world = World::with("[guards]\nread_time_max = 60\n");
    let page = "The museum opens at nine and closes at six. ".repeat(300);
    for text in ["The museum opens at nine.", &page] {
        let before = world.work();
        let question = json!({"text": text, "channel": "untrusted"});
        let answer = world.call(&world.project_key, "POST", "/v1/sallyport/inspect", &question);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let after = world.work();
        assert_eq!(after.glances - before.glances, 1);
        assert!(after.windows > before.windows);
        let answer = world.post("/v1/responses", &results(&[text.to_owned()]));
        assert_eq!((answer.status, world.work().glances - after.glances), (200, 1));
    }
}

#[test]
fn a_hundred_thousand_messages_stay_within_their_bounds() {
    const MESSAGES: u64 = 100_000;
    let world = blocking("");
    let start = world.work();
    let mut connection = world.begin(CHAT, &chat(MESSAGES as usize), &[]);
    // Builds that are not optimised take their time for it, and clients have less patience than tests.
    let deadline = Instant::now() + Duration::from_secs(300);
    while world.texts("unread") == 0 {
        assert!(Instant::now() < deadline, "{}", world.diagnostics());
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = connection.answer().expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(verdict(&answer).starts_with("pass; unread=") && verdict(&answer).ends_with("; partly"));
    let work = world.work();
    assert_eq!(work.glances - start.glances, MESSAGES, "each is looked at, once");
    assert!((64..=64 * 8).contains(&(work.windows - start.windows)), "{work:?}");
    let judged = ["glanced", "read", "partly", "unread"].map(|by| world.texts(by));
    assert_eq!(judged.iter().sum::<u64>(), MESSAGES, "{judged:?}");
    assert!(judged[1] <= 64 * 8 && judged[3] > 0, "{judged:?}");
}
