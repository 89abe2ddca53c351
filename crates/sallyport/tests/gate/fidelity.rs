//! Promise 7: what nothing had to change passes to the byte, in both directions, for every row of the table.

use testkit::Script;
use wire::endpoint::{AnswerBody, Endpoint, Meter, Method, Opens, RequestBody, rows};

use crate::client::request;
use crate::world::{UPSTREAM_KEY, World};

/// A body that says nothing that matters and is spelt unusually.
const JSON: &[u8] = b" {\"model\" : \"gpt-4o\", \"unknown\\u0020field\":[1.50, 1E3,-0,{\"b\":1,\"a\":2}],\n \"text\":\"\xc3\xa4\\u00e4\\/\", \"store\":false}\t";

const MULTIPART: &[u8] = b"--bound\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--bound\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: audio/wav\r\n\r\n\x00\xff\r\n--boun\r\n\r\n--bound--\r\n";

/// Header names that the gate sets, takes away or leaves to HTTP, on requests and on answers.
const REQUEST_EXCEPTIONS: &[&str] = &[
    "authorization",
    "host",
    "content-length",
    "accept-encoding",
    "x-stainless-lang",
    "openai-organization",
    "connection",
];
const ANSWER_EXCEPTIONS: &[&str] = &[
    "x-request-id",
    "openai-organization",
    "openai-project",
    "set-cookie",
    "x-sallyport-upstream-request-id",
    "x-sallyport-verdict",
    "transfer-encoding",
    "content-length",
    "date",
    "connection",
];

fn sample(path: &str) -> String {
    let segment = |segment: &str| {
        if segment.starts_with('{') { "obj_0000000000000000000000ab".to_owned() } else { segment.to_owned() }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn others<'h>(headers: &'h [(String, String)], exceptions: &[&str]) -> Vec<(String, &'h str)> {
    let mut kept: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .filter(|(name, _)| !exceptions.contains(&name.as_str()))
        .collect();
    kept.sort();
    kept
}

fn body_of(endpoint: &Endpoint) -> (Option<&'static str>, &'static [u8]) {
    match endpoint.request {
        RequestBody::Empty => (None, b""),
        RequestBody::Json | RequestBody::JsonOrMultipart => (Some("application/json"), JSON),
        RequestBody::Multipart | RequestBody::SdpOrMultipart => {
            (Some("multipart/form-data; boundary=bound"), MULTIPART)
        }
    }
}

/// What the upstream answers, as wrong as an answer may be without being broken.
fn odd_answer(endpoint: &Endpoint) -> Script {
    let body = match endpoint.answer {
        AnswerBody::Bytes | AnswerBody::BytesOrEvents => "\u{0}\u{1}binary\r\n".to_owned(),
        AnswerBody::Json | AnswerBody::JsonOrEvents => {
            " {\"id\":\"obj_1\", \"z\":1.50,\"a\":[ ],\"\\u00e4\":\"ä\"}\n".to_owned()
        }
    };
    let headers = [("x-custom", "kept as it is"), ("openai-processing-ms", "77"), ("retry-after", "1")];
    Script {
        body: Some(body.into()),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..Script::default()
    }
}

/// Whether calls of a row go upstream.
fn passes(row: &&'static Endpoint) -> bool {
    let stays = row.websocket || row.leads_past_the_gate || row.makes_client_secret;
    row.opens == Opens::ProjectKey && !stays
}

#[test]
fn every_row_of_the_data_plane_passes_to_the_byte() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.project_key);
    for (number, endpoint) in rows().filter(passes).enumerate() {
        let idempotency_key = format!("k-{number}");
        world.upstream.clear();
        world.upstream.script(odd_answer(endpoint));
        let method = endpoint.method.as_str();
        let target = format!("{}?include[]=a&x=%20%2B+&empty", sample(endpoint.path));
        let (content_type, body) = body_of(endpoint);
        let mut headers = vec![
            ("Authorization", bearer.as_str()),
            ("OpenAI-Beta", "assistants=v2"),
            ("X-Client-Request-Id", "mine-1"),
            ("Idempotency-Key", idempotency_key.as_str()),
            ("X-Stainless-Lang", "python"),
            ("User-Agent", "OpenAI/Python 9"),
            ("X-Custom", "a, b;c=\"d\""),
        ];
        headers.extend(content_type.map(|value| ("Content-Type", value)));
        let answer = world.raw(&request(method, &target, &headers, body));
        let shown = format!("{method} {target}");
        let recorded =
            world.upstream.wait_for(|all| all.first().is_some_and(|recorded| recorded.is_answered)).remove(0);
        assert_eq!((recorded.method.as_str(), recorded.target.as_str()), (method, target.as_str()));
        assert_eq!(recorded.body, body, "{shown}");
        let sent: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(others(&recorded.headers, REQUEST_EXCEPTIONS), others(&sent, REQUEST_EXCEPTIONS), "{shown}");
        assert_eq!(recorded.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()), "{shown}");
        let is_read = endpoint.meter != Meter::Nothing || makes(endpoint);
        assert_eq!(recorded.header("accept-encoding").is_some(), is_read, "{shown}");
        assert_eq!(answer.status, recorded.status, "{shown}");
        assert_eq!(answer.body, recorded.sent_body, "{shown}");
        assert_eq!(
            others(&answer.headers, ANSWER_EXCEPTIONS),
            others(&recorded.sent_headers, ANSWER_EXCEPTIONS),
            "{shown}"
        );
        assert_eq!(answer.header("openai-project"), Some(world.project_id.as_str()), "{shown}");
        assert!(
            answer.header("x-sallyport-upstream-request-id").is_some_and(|id| id.starts_with("req_upstream")),
            "{shown}"
        );
    }
}

/// Whether the gate reads the answer for new ids: the body of this test says `"store": false`.
fn makes(endpoint: &Endpoint) -> bool {
    use wire::endpoint::Keeps;
    endpoint.keeps == Keeps::Always || (endpoint.keeps == Keeps::UnlessStoreFalse && endpoint.method == Method::Get)
}

#[test]
fn every_method_without_a_row_and_every_socket_is_refused() {
    let world = World::new();
    for endpoint in rows().filter(|row| row.opens == Opens::ProjectKey) {
        let answer = world.call(&world.project_key, "PUT", &sample(endpoint.path), &serde_json::Value::Null);
        assert_eq!((answer.status, answer.error_code().as_str()), (405, "method_not_supported"), "{}", endpoint.path);
        let answer =
            world.call(&world.admin_key, endpoint.method.as_str(), &sample(endpoint.path), &serde_json::Value::Null);
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "missing_scope"), "{}", endpoint.path);
    }
    for path in ["/v1/realtime?model=gpt-realtime", "/v1/responses", "/v1/live"] {
        let bearer = format!("Bearer {}", world.project_key);
        let headers = [("Authorization", bearer.as_str()), ("Connection", "Upgrade"), ("Upgrade", "websocket")];
        let answer = world.raw(&request("GET", path, &headers, b""));
        assert_eq!((answer.status, answer.error_code().as_str()), (501, "not_served"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    for endpoint in rows().filter(|row| row.opens == Opens::AdminKey) {
        let answer =
            world.call(&world.project_key, endpoint.method.as_str(), &sample(endpoint.path), &serde_json::Value::Null);
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "missing_scope"), "{}", endpoint.path);
    }
    assert!(world.upstream.requests().is_empty(), "nothing refused went upstream");
}
