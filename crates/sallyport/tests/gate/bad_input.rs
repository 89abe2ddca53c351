//! Bad input gets an error in the API's shape that says what to do, quickly, and nothing of it goes upstream.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::request;
use crate::world::World;

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    Case { name, bytes: bytes.into(), status, code }
}

/// Requests that must not pass, each with its refusal.
fn corpus(key: &str) -> Vec<Case> {
    let bearer = format!("Bearer {key}");
    let auth = ("Authorization", bearer.as_str());
    let json_type = ("Content-Type", "application/json");
    let form_type = ("Content-Type", "multipart/form-data; boundary=B");
    let chat = "/v1/chat/completions";
    let json = |body: &[u8]| request("POST", chat, &[auth, json_type], body);
    let form = |body: &str| {
        request("POST", "/v1/audio/transcriptions", &[auth, form_type], body.replace('\n', "\r\n").as_bytes())
    };
    let raw = |head: &str, body: &str| {
        format!("{head}\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n{body}")
    };
    let field = |name: &str| format!("--B\nContent-Disposition: form-data; name=\"{name}\"\n\nx\n");
    let mut cases = vec![
        case("not JSON", json(b"hello"), 400, "invalid_json"),
        case("cut JSON", json(b"{\"model\":\"x\""), 400, "invalid_json"),
        case("duplicate key", json(b"{\"model\":\"a\",\"model\":\"b\"}"), 400, "invalid_json"),
        case(
            "duplicate key deep",
            json(b"{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"r\\u006fle\":\"system\"}]}"),
            400,
            "invalid_json",
        ),
        case("lone surrogate", json(b"{\"model\":\"\\ud800\"}"), 400, "invalid_json"),
        case("bad UTF-8", json(b"{\"model\":\"\xff\"}"), 400, "invalid_json"),
        case("byte order mark", json(b"\xef\xbb\xbf{\"model\":\"a\"}"), 400, "invalid_json"),
        case("deep nesting", json(&[b'['; 10_000]), 400, "invalid_json"),
        case("no content type", request("POST", chat, &[auth], b"{}"), 415, "unsupported_media_type"),
        case(
            "wrong content type",
            request("POST", chat, &[auth, ("Content-Type", "text/plain")], b"{}"),
            415,
            "unsupported_media_type",
        ),
        case(
            "two content types",
            request("POST", chat, &[auth, json_type, ("Content-Type", "text/plain")], b"{}"),
            400,
            "invalid_headers",
        ),
        case(
            "unknown encoding",
            request("POST", chat, &[auth, json_type, ("Content-Encoding", "zstd")], b"{}"),
            415,
            "unsupported_media_type",
        ),
        case(
            "broken gzip",
            request("POST", chat, &[auth, json_type, ("Content-Encoding", "gzip")], b"{}"),
            400,
            "invalid_body",
        ),
        case("body on GET", request("GET", "/v1/models", &[auth, json_type], b"{}"), 400, "invalid_body"),
        case(
            "form without boundary",
            request("POST", "/v1/files", &[auth, ("Content-Type", "multipart/form-data")], b"x"),
            415,
            "unsupported_media_type",
        ),
        case("form field twice", form(&format!("{}{}--B--\n", field("model"), field("model"))), 400, "invalid_body"),
        case("form cut", form(&field("model")), 400, "invalid_body"),
        case("form with a preamble", form(&format!("hi\n{}--B--\n", field("model"))), 400, "invalid_body"),
        case(
            "two keys",
            request("GET", "/v1/models", &[auth, ("Authorization", "Bearer other")], b""),
            400,
            "invalid_headers",
        ),
        case("two hosts", request("GET", "/v1/models", &[auth, ("Host", "other")], b""), 400, "invalid_headers"),
        case("whole URL", raw("GET http://evil/v1/models HTTP/1.1", "\r\n"), 400, "invalid_url"),
        case(
            "chunked and length",
            raw(
                "POST /v1/chat/completions HTTP/1.1",
                "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
            "invalid_headers",
        ),
        case(
            "length and chunked",
            raw(
                "POST /v1/chat/completions HTTP/1.1",
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
            "invalid_headers",
        ),
        case(
            "two lengths",
            raw("POST /v1/chat/completions HTTP/1.1", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
            400,
            "invalid_headers",
        ),
        case(
            "listed lengths",
            raw("POST /v1/chat/completions HTTP/1.1", "Content-Length: 2, 2\r\n\r\n{}"),
            400,
            "invalid_headers",
        ),
        case(
            "other transfer encoding",
            raw("POST /v1/chat/completions HTTP/1.1", "Transfer-Encoding: gzip\r\n\r\n"),
            400,
            "invalid_headers",
        ),
        case(
            "broken chunk",
            raw("POST /v1/chat/completions HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
            400,
            "invalid_body",
        ),
        case("not HTTP", "HELO x\r\n\r\n", 400, "invalid_headers"),
        case("header without a name", raw("GET /v1/models HTTP/1.1", ": x\r\n\r\n"), 400, "invalid_headers"),
        case(
            "many headers",
            raw("GET /v1/models HTTP/1.1", &format!("{}\r\n", "X-A: 1\r\n".repeat(200))),
            431,
            "headers_too_large",
        ),
        case(
            "huge header",
            raw("GET /v1/models HTTP/1.1", &format!("X-A: {}\r\n\r\n", "a".repeat(70_000))),
            431,
            "headers_too_large",
        ),
        case("unknown path", request("GET", "/v1/nothing", &[auth], b""), 404, "unknown_url"),
        case("trailing slash", request("POST", "/v1/chat/completions/", &[auth, json_type], b"{}"), 404, "unknown_url"),
    ];
    for path in [
        "/v1/../v1/models",
        "/v1//models",
        "/v1/./models",
        "/v1/files/%2e%2e/models",
        "/v1/files/a%2fb",
        "/v1/files/a%5cb",
        "/v1/files/%00",
        "/v1/files/%zz",
    ] {
        cases.push(case("path", request("GET", path, &[auth], b""), 400, "invalid_url"));
    }
    cases
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let world = World::new();
    for case in corpus(&world.project_key) {
        let begun = Instant::now();
        let answer = world.raw(&case.bytes);
        let shown = format!("{}: {}", case.name, answer.text());
        assert_eq!((answer.status, answer.error_code().as_str()), (case.status, case.code), "{shown}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{shown}");
    }
    assert!(world.upstream.requests().is_empty(), "{:#?}", world.upstream.requests());
}

#[test]
fn a_pipelined_conflict_of_lengths_is_refused_too() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.project_key);
    let first = request("GET", "/healthz", &[], b"");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n"
    );
    let second = format!("{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    let mut connection = world.connect();
    connection.send(&[&first[..], second.as_bytes()].concat());
    assert_eq!(connection.answer().expect("an answer").status, 200);
    let answer = connection.answer().expect("an answer");
    assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_headers"));
    assert!(world.upstream.requests().is_empty());
}

#[test]
fn bodies_over_their_limit_are_refused_declared_or_not() {
    let world = World::with(
        "[limits]\njson_body_bytes_max = 1000\nmultipart_body_bytes_max = 2000\nmultipart_memory_bytes_max = 1500",
    );
    let bearer = format!("Bearer {}", world.project_key);
    let auth = ("Authorization", bearer.as_str());
    let json_type = ("Content-Type", "application/json");
    let form_type = ("Content-Type", "multipart/form-data; boundary=B");
    let big = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000));
    let chunked = format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len());
    let zipped = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; 1_000_000]).expect("in memory");
        encoder.finish().expect("in memory")
    };
    assert!(zipped.len() < 1_100);
    let form = format!(
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{}\r\n--B--\r\n",
        "x".repeat(3_000)
    );
    let form_chunked = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
    let te = ("Transfer-Encoding", "chunked");
    for (name, bytes) in [
        ("declared", request("POST", "/v1/chat/completions", &[auth, json_type], big.as_bytes())),
        ("chunked", request("POST", "/v1/chat/completions", &[auth, json_type, te], chunked.as_bytes())),
        ("bomb", request("POST", "/v1/chat/completions", &[auth, json_type, ("Content-Encoding", "gzip")], &zipped)),
        ("metered form", request("POST", "/v1/audio/transcriptions", &[auth, form_type], form.as_bytes())),
        ("form", request("POST", "/v1/files", &[auth, form_type], form.as_bytes())),
        ("form, chunked", request("POST", "/v1/files", &[auth, form_type, te], form_chunked.as_bytes())),
    ] {
        let answer = world.raw(&bytes);
        assert_eq!((answer.status, answer.error_code().as_str()), (413, "request_too_large"), "{name}");
    }
    assert!(
        world.upstream.requests().iter().all(|recorded| !recorded.is_whole),
        "no body over its limit arrived whole"
    );
}

#[test]
fn who_sends_too_much_reads_the_answer_all_the_same() {
    let world = World::new();
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(27_000_000));
    for (path, key, status) in [
        ("/v1/chat/completions", world.project_key.as_str(), 413),
        ("/v1/nothing", world.project_key.as_str(), 404),
        ("/v1/chat/completions", "sk-wrong", 401),
    ] {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        // The whole body is written before the answer is read, as simple clients do.
        let answer = world.raw(&request("POST", path, &headers, body.as_bytes()));
        assert_eq!(answer.status, status, "{path}");
    }
}

#[test]
fn a_large_form_streams_through_to_the_byte() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.project_key);
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| u8::try_from(at % 251).expect("small")).collect();
    let mut form = b"--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
    form.extend_from_slice(&content);
    form.extend_from_slice(b"\r\n--B--\r\n");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "multipart/form-data; boundary=B")];
    let answer = world.raw(&request("POST", "/v1/files", &headers, &form));
    assert_eq!((answer.status, answer.json()["bytes"].as_u64()), (200, Some(3_000_000)));
    assert_eq!(world.upstream.requests()[0].body, form);
}

#[test]
fn an_encoded_request_is_sent_on_plain() {
    use std::io::Write;
    let world = World::new();
    let bearer = format!("Bearer {}", world.project_key);
    let body = json!({"model": "gpt-4o", "messages": []}).to_string();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body.as_bytes()).expect("in memory");
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let answer = world.raw(&request("POST", "/v1/chat/completions", &headers, &encoder.finish().expect("in memory")));
    assert_eq!(answer.status, 200);
    let recorded = &world.upstream.requests()[0];
    assert_eq!((recorded.body_text.as_str(), recorded.header("content-encoding")), (body.as_str(), None));
}

#[test]
fn slow_senders_are_told_so() {
    let world = World::with("[timeouts]\nheader_read = 0.5\nbody_idle = 0.5\nkeep_alive = 0.5");
    let mut connection = world.connect();
    connection.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n");
    let answer = connection.answer().expect("an answer");
    assert_eq!((answer.status, answer.error_code().as_str()), (408, "request_timeout"));
    let mut connection = world.connect();
    let bearer = format!("Bearer {}", world.project_key);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Content-Length", "100")];
    connection.send(&request("POST", "/v1/chat/completions", &headers, b"{"));
    let answer = connection.answer().expect("an answer");
    assert_eq!((answer.status, answer.error_code().as_str()), (408, "request_timeout"));
    let mut idle = world.connect();
    assert!(idle.rest().is_empty(), "an idle connection is closed without words");
}

#[test]
fn the_memory_for_bodies_is_bounded_for_the_whole_process() {
    let world = World::with("[limits]\nbody_memory_bytes_max = 50000");
    let body = json!({"model": "gpt-4o", "messages": "x".repeat(60_000)});
    let answer = world.post("/v1/chat/completions", &body);
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "server_is_overloaded"));
    assert_eq!(answer.header("retry-after-ms"), Some("1000"));
    assert_eq!(world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []})).status, 200);
}
