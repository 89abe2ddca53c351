//! The invariants of the parsers on inputs made of telling pieces: what the fuzz targets run large, run small.

pub mod invariants;

use proptest::prelude::*;
use proptest::sample::select;

/// Inputs that are a row of these pieces.
fn made_of(pieces: &'static [&'static str], count_max: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(pieces), 0..count_max).prop_map(|pieces| pieces.concat())
}

fn cuts() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..12, 0..60)
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\":",
    "\"\\u0061\":",
    "\"model\":",
    "\"b\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\udc00\"",
    "0",
    "-1.5e3",
    "1e400",
    "01",
    "true",
    "null",
    " ",
    "\n",
    "\"\t\"",
    "\u{feff}",
    "é",
    "\"é\":",
    "\"",
    "\\",
];

/// Documents that are mostly valid: objects with few and repeated keys, arrays, and an odd piece at one place.
fn document() -> impl Strategy<Value = String> {
    let key = select(&["a", "b", "\\u0061", "\\u0062", "é", "\\u00e9", "model", "m\\u006fdel", "", "\\\\"][..]);
    let leaf = select(&["0", "-0", "1.5", "\"x\"", "\"\\n\"", "true", "null", "[]", "{ }", "1e999", "\"\\ud800\""][..]);
    let value = leaf.prop_map(str::to_owned).prop_recursive(4, 40, 16, move |inner| {
        let members = prop::collection::vec((key.clone(), inner.clone()), 0..16);
        let object = members.prop_map(|members| {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
            format!("{{{}}}", members.join(" ,"))
        });
        let array = prop::collection::vec(inner, 0..5).prop_map(|elements| format!("[{}]", elements.join(",\n")));
        prop_oneof![3 => object, 1 => array]
    });
    (value, any::<prop::sample::Index>(), select(JSON), prop::bool::weighted(0.3)).prop_map(|(text, at, piece, odd)| {
        let at = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).nth(at.index(text.chars().count() + 1));
        let (before, after) = text.split_at(at.expect("a place"));
        if odd { format!("{before}{piece}{after}") } else { text }
    })
}

const SSE: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r",
    "\r\n\r\n",
    "data: a",
    "data:{\"x\":1}",
    "data",
    "data:",
    ": note",
    "event: e",
    "id: 7",
    "retry: 1",
    "ü",
    "\u{feff}",
    "data: [DONE]",
];

const TARGET: &[&str] = &[
    "/",
    "//",
    "v1",
    "models",
    ".",
    "..",
    "%2e",
    "%2E",
    "%252e",
    "%2f",
    "%5c",
    "\\",
    "%00",
    "%c0%ae",
    "%ff",
    "%",
    "%C3%A4",
    "#",
    "?",
    "ft:gpt-4o:org::id",
    "limit=1",
    "li%6dit=2",
    "&",
    "=",
    "+",
    "limit[]=3",
    "ä",
];

const FORM: &[&str] = &[
    "--B\r\n",
    "\r\n--B\r\n",
    "\r\n--B--",
    "--B",
    "--B--\r\n",
    "\r\n\r\n",
    "\r\n",
    "\r",
    "\n",
    "-",
    "x",
    "content",
    "Content-Disposition: form-data; name=\"a\"",
    "Content-Disposition: form-data; name=\"model\"; filename=\"f\"",
    "\r\nContent-Type: text/plain",
    "\r\nContent-Transfer-Encoding: base64",
    "; filename=\"\\\"\"",
    "; name=b",
    "--B: x\r\n",
    "\r\n--B: x",
    ": ",
    "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
    "\r\n--B\r\nContent-Disposition: form-data; name=b\r\n\r\n",
];

const HEAD: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "POST / HTTP/1.1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\ntransfer-encoding:chunked",
    "content-length: 3\r\n",
    "Content-Length : 3\n",
    "Transfer-Encoding: gzip\r\n",
    "Host: a\r\n",
    "Te: x\r\n",
    " ",
    ":",
    "Traceparent: 00-1-2-01\r\n",
    "Transfer-Encoding:                                                   chunked\r\n",
    "x",
    "Transfer-Encoding: chunked                                         , gzip\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_documents(body in document()) {
        invariants::json(body.as_bytes());
    }

    #[test]
    fn json_pieces(body in made_of(JSON, 12)) {
        invariants::json(body.as_bytes());
    }

    #[test]
    fn sse_pieces(text in made_of(SSE, 40), cuts in cuts()) {
        invariants::sse(text.as_bytes(), &cuts);
    }

    #[test]
    fn target_pieces(text in made_of(TARGET, 12)) {
        invariants::target(&text);
        invariants::target(&format!("/{text}"));
    }

    #[test]
    fn multipart_pieces(text in made_of(FORM, 14), cuts in cuts()) {
        invariants::multipart(text.as_bytes(), &cuts);
        let form = format!("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{text}\r\n--B--\r\n");
        invariants::multipart(form.as_bytes(), &cuts);
    }

    #[test]
    fn framing_pieces(text in made_of(HEAD, 14), cuts in cuts()) {
        invariants::framing(text.as_bytes(), &cuts);
        invariants::framing(format!("POST / HTTP/1.1\r\n{text}").as_bytes(), &cuts);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in cuts()) {
        invariants::json(&bytes);
        invariants::sse(&bytes, &cuts);
        invariants::target(&String::from_utf8_lossy(&bytes));
        invariants::multipart(&bytes, &cuts);
        invariants::framing(&bytes, &cuts);
    }
}
