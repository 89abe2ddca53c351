//! What extraction costs: `cargo run --release -p extract --example extract_speed`.
//!
//! Prints the median of several rounds, in nanoseconds; compare figures of one machine only.

#[path = "../../wire/examples/timing/mod.rs"]
mod timing;

use std::hint::black_box;
use std::time::Instant;

use extract::{Memory, Spotlight, extract, spotlight};
use timing::report;
use wire::channel::Channel;
use wire::endpoint::{Endpoint, find};

fn main() {
    let began = Instant::now();
    extract::prepare();
    println!("{:>12} ns  the table, once", began.elapsed().as_nanos());
    let chat = row("/v1/chat/completions");
    let small = conversation(3, 200);
    measure("chat", chat, &small, 20_000);
    measure("chat, 60 turns", chat, &conversation(60, 400), 1_000);
    measure("chat, 100,000 messages", chat, &conversation(100_000, 3), 3);
    measure("chat, tools with schemas", chat, &tools(20), 2_000);
    let escapes = format!(r#"{{"messages": [{{"role": "user", "content": "{}"}}]}}"#, r"\u00e9".repeat(170_000));
    measure("chat, 1 MB of escapes", chat, &escapes, 10);
    let picture = format!(
        r#"{{"messages": [{{"role": "user", "content": [{{"type": "image_url", "image_url": {{"url": "data:image/png;base64,iVBORw0KGgo{}"}}}}]}}]}}"#,
        "A".repeat(1_000_001)
    );
    measure("chat, 1 MB of picture", chat, &picture, 10);
    // Every digit as likely as any other, as in what is compressed.
    let digits: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(digits[(state >> 33) as usize % digits.len()])
    })
    .take(1_333_332)
    .collect();
    let file = format!(
        r#"{{"messages": [{{"role": "user", "content": [{{"type": "file", "file": {{"file_data": "{noise}"}}}}]}}]}}"#
    );
    measure("chat, 1 MB of a file that is no text", chat, &file, 10);

    let (memory, text) = (Memory::default(), "Please tell me about it. ".repeat(40));
    memory.note(memory.key(Channel::User, &text, 1), [1, 2]);
    report(&format!("memory, a text of {} bytes recalled", text.len()), 20_000, || {
        black_box(memory.recall(memory.key(Channel::User, black_box(&text), 1)));
    });
    let body = r#"{"model": "m", "messages": [{"role": "tool", "content": "TEXT"}]}"#.replace("TEXT", &text);
    let found = extract(chat, body.as_bytes()).expect("valid");
    report(&format!("spotlight, a body of {} bytes delimited", body.len()), 5_000, || {
        black_box(spotlight(chat, body.as_bytes(), &found.texts, Spotlight::Delimit, 7));
    });
}

fn row(path: &str) -> &'static Endpoint {
    find("POST", path).expect("a row").endpoint
}

/// A conversation of so many messages.
fn conversation(messages: usize, bytes_each: usize) -> String {
    let text = "Please tell me about it. ".repeat(bytes_each.div_ceil(25));
    let message = |at: usize| {
        let role = ["system", "user", "assistant"][at % 3];
        format!(r#"{{"role": "{role}", "content": "{}"}}"#, &text[..bytes_each])
    };
    let messages: Vec<String> = (0..messages).map(message).collect();
    format!(
        r#"{{"model": "gpt-4o-mini", "temperature": 0.7, "max_completion_tokens": 256, "stream": true, "user": "u-1", "messages": [{}], "metadata": {{"team": "search", "ticket": "A-17"}}, "response_format": {{"type": "text"}}}}"#,
        messages.join(", ")
    )
}

/// A request with so many tools.
fn tools(count: usize) -> String {
    let tool = |at: usize| {
        format!(
            r#"{{"type": "function", "function": {{"name": "tool_{at}", "description": "Looks something up in the store.", "parameters": {{"type": "object", "properties": {{"query": {{"type": "string", "description": "What to look for."}}, "limit": {{"type": "integer"}}}}, "required": ["query"], "additionalProperties": false}}}}}}"#
        )
    };
    let tools: Vec<String> = (0..count).map(tool).collect();
    format!(
        r#"{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "hi"}}], "tools": [{}]}}"#,
        tools.join(",")
    )
}

fn measure(what: &str, row: &Endpoint, body: &str, calls: u32) {
    let texts = extract(row, body.as_bytes()).expect("valid").texts.len();
    report(&format!("{what}: {} bytes, {texts} texts", body.len()), calls, || {
        black_box(extract(row, black_box(body.as_bytes())).expect("valid"));
    });
}
