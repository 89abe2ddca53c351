//! What the parsers on every request's path cost: `cargo run --release -p wire --example json_speed`.
//!
//! Prints the median of several rounds, in nanoseconds; compare figures of one machine only.

mod timing;

use std::hint::black_box;

use bytes::Bytes;
use timing::report;
use wire::endpoint::Reference;
use wire::framing::LengthConflict;
use wire::json::{TopLevel, scan};
use wire::multipart::{Event, Parser};
use wire::sse::Boundary;
use wire::target::Path;

fn main() {
    let chat = chat_body();
    report(&format!("json, chat body of {} bytes, outermost members", chat.len()), 20_000, || {
        let members = TopLevel::read(black_box(&chat)).expect("valid");
        black_box((members.member("model"), members.bool("stream")));
    });

    report("json, the same body, looked through for references", 20_000, || {
        let mut reference = Reference::default();
        scan(black_box(&chat), &mut reference).expect("valid");
        black_box(reference.found());
    });

    let event =
        Bytes::from(format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(100)));
    let mut boundary = Boundary::new(1 << 20);
    report(&format!("sse, an event of {} bytes in a chunk of its own", event.len()), 100_000, || {
        black_box(boundary.push(black_box(event.clone())).expect("within the bound"));
    });

    let (first, second) = (event.slice(..60), event.slice(60..));
    report("sse, the same event in two chunks", 100_000, || {
        black_box(boundary.push(black_box(first.clone())).expect("within the bound"));
        black_box(boundary.push(black_box(second.clone())).expect("within the bound"));
    });

    let head = request_head();
    let mut watcher = LengthConflict::new();
    report(&format!("framing, a read of {} bytes with its head", head.len()), 100_000, || {
        watcher.reset();
        watcher.observe(black_box(&head));
        black_box(watcher.conflicting());
    });

    report("target, /v1/chat/completions", 100_000, || {
        black_box(Path::parse(black_box("/v1/chat/completions")).expect("plain"));
    });

    for (fields, calls) in [(1, 1_000), (1_000, 100)] {
        let form = form_body(fields, 1 << 20);
        report(&format!("multipart, {fields} fields and 1 MiB of file in one chunk"), calls, || {
            let mut events: Vec<Event> = Vec::new();
            let mut parser = Parser::new("B");
            parser.push(black_box(&form), &mut events).expect("valid");
            parser.finish().expect("whole");
            black_box(events);
        });
    }
}

/// A request as chat clients send it: a few settings, a few messages with an escape here and there.
fn chat_body() -> Vec<u8> {
    let text = "The quick brown fox jumps over the lazy dog.\\nIt is \\\"quick\\\" indeed; the dog sleeps on. ";
    let message =
        |role: &str, count: usize| format!("{{\"role\": \"{role}\", \"content\": \"{}\"}}", text.repeat(count));
    let messages = [message("system", 2), message("user", 3), message("assistant", 2), message("user", 1)].join(", ");
    format!(
        "{{\"model\": \"gpt-4o-mini\", \"messages\": [{messages}], \"temperature\": 0.7, \"max_completion_tokens\": 256, \
         \"stream\": true, \"stream_options\": {{\"include_usage\": true}}, \"store\": false}}"
    )
    .into_bytes()
}

/// A request head and the beginning of its body, as one read from the socket.
fn request_head() -> Vec<u8> {
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: gzip, deflate\r\n\
        Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
        User-Agent: OpenAI/Python 1.99.0\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 1.99.0\r\n\
        X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n\
        X-Stainless-Runtime-Version: 3.12.3\r\nAuthorization: Bearer 0123456789012345678901234567890123456789\r\n\
        X-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n\
        Content-Length: 733\r\n\r\n";
    let mut read = head.as_bytes().to_vec();
    read.resize(1_300, b'x');
    read
}

fn form_body(fields: usize, file_bytes: usize) -> Bytes {
    let mut body = b"--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n".repeat(fields);
    body.extend_from_slice(
        b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\
          Content-Type: application/octet-stream\r\n\r\n",
    );
    body.resize(body.len() + file_bytes, b'x');
    body.extend_from_slice(b"\r\n--B--\r\n");
    Bytes::from(body)
}
