use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn accepts(text: &[u8]) -> bool {
    TopLevel::read(text).is_ok()
}

/// Bodies that parsers read differently, or not at all.
const HOSTILE: &[&[u8]] = &[
    b"",
    b" ",
    b"{",
    b"{\"a\":1,}",
    b"[1,]",
    b"{\"a\":1}{\"b\":2}",
    b"{\"a\":1} x",
    b"\xef\xbb\xbf{}",
    b"{'a':1}",
    b"{a:1}",
    b"{\"a\":NaN}",
    b"{\"a\":Infinity}",
    b"{\"a\":01}",
    b"{\"a\":+1}",
    b"{\"a\":.5}",
    b"{\"a\":1.}",
    b"{\"a\":1e}",
    b"{\"a\":0x10}",
    b"{\"a\":\"\t\"}",
    b"{\"a\":\"\\x41\"}",
    b"{\"a\":\"\\u12\"}",
    b"{\"a\":\"\\ud800\"}",
    b"{\"a\":\"\\udc00\"}",
    b"{\"\\udfff\":1}",
    b"{\"a\":\"\\udc00\\ud800\"}",
    b"{\"a\":\"\\ud800\\u0041\"}",
    b"{\"\\ud800\":1}",
    b"{\"a\":\"\xff\"}",
    b"{\"a\":\"\xed\xa0\x80\"}",
    b"{\"a\":1,\"a\":2}",
    b"{\"a\":1,\"\\u0061\":2}",
    b"{\"m\":[{\"x\":{\"role\":1,\"r\\u006fle\":2}}]}",
    b"/* c */{}",
    b"{\"a\":1 \"b\":2}",
    b"{\"a\" 1}",
    b"tru",
    b"nul",
    b"{\"a\":\"",
    b"\"\\",
];

/// Bodies that look odd and mean one thing.
const ODD: &[&[u8]] = &[
    b"{}",
    b" \r\n\t{ } ",
    b"[]",
    b"null",
    b"\"\"",
    b"-0",
    b"1E+10",
    b"{\"\":1}",
    b"{\"a\":{\"a\":{\"a\":1}}}",
    b"[{\"a\":1},{\"a\":2}]",
    b"{\"a\":\"\\ud83d\\ude00\\u0000\\/\"}",
    "{\"ключ\":\"значение 😀\"}".as_bytes(),
    b"{\"A\":1,\"a\":2}",
    b"{\"a\":1.0000000000000000000000000000000000001}",
];

#[test]
fn hostile_bodies_are_refused() {
    for body in HOSTILE {
        assert!(!accepts(body), "{}", String::from_utf8_lossy(body));
    }
    let mut deep = vec![b'['; DEPTH_MAX + 1];
    deep.extend(vec![b']'; DEPTH_MAX + 1]);
    assert!(!accepts(&deep));
    assert!(accepts(&deep[1..deep.len() - 1]));
    assert!(serde_json::from_slice::<Value>(&deep[1..deep.len() - 1]).is_ok(), "what passes, the library reads");
    assert!(!accepts("9".repeat(NUMBER_CHARS_MAX + 1).as_bytes()));
    assert!(!accepts(&vec![b'['; 1 << 20]), "no stack is deep enough for this");
}

#[test]
fn odd_bodies_pass() {
    for body in ODD {
        assert!(accepts(body), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn errors_say_where() {
    let error = TopLevel::read("{\n \"ä\": 1,\n \"ä\": 2}".as_bytes()).expect_err("twice");
    assert_eq!(error.fault, Fault::DuplicateKey("ä".into()));
    assert_eq!(error.line, 3);
    assert!(error.to_string().contains("'ä' stands twice"), "{error}");
}

#[test]
fn the_outermost_members_are_found() {
    let body = br#"{"model":"gpt-\u0034o","stream":true,"store":null,"n":3,"messages":[{"model":"no"}],"x":[ ]}"#;
    let members = TopLevel::read(body).expect("valid");
    assert_eq!(members.string("model").as_deref(), Some("gpt-4o"));
    assert_eq!(members.bool("stream"), Some(true));
    assert_eq!(members.bool("store"), None);
    assert_eq!(members.member("n"), Some((Kind::Number, "3")));
    assert_eq!(members.member("x"), Some((Kind::EmptyArray, "[ ]")));
    assert_eq!(members.string("absent"), None);
}

#[test]
fn a_million_keys_are_linear_and_the_last_duplicate_is_found() {
    let mut body: String = "{\"in\":{".into();
    for number in 0..300_000 {
        body.push_str(&format!("\"k{number}\":0,"));
    }
    let (unique, twice) = (format!("{body}\"z\":0}}}}"), format!("{body}\"k7\":0}}}}"));
    assert!(accepts(unique.as_bytes()));
    assert!(!accepts(twice.as_bytes()));
}

#[test]
fn no_outermost_member_can_hide_behind_others() {
    let fill = |count: usize| (0..count).map(|at| format!("\"x{at}\":0,")).collect::<String>();
    let most = format!("{{{}\"model\":\"m\"}}", fill(TOP_LEVEL_MAX - 1));
    assert_eq!(TopLevel::read(most.as_bytes()).expect("as many as fit").string("model").as_deref(), Some("m"));
    let over = format!("{{{}\"model\":\"m\"}}", fill(TOP_LEVEL_MAX));
    assert_eq!(TopLevel::read(over.as_bytes()).expect_err("one more").fault, Fault::TooManyMembers);
    let inside = format!("[{{\"metadata\":{over}}},{over}]");
    assert!(accepts(inside.as_bytes()), "only the outermost object is bounded");
}

#[test]
fn keys_are_compared_unescaped_on_both_sides_of_the_set() {
    // As many members as compare one by one, one more, and so many that a set takes over; each key escaped.
    for count in [LINEAR_KEYS_MAX - 1, LINEAR_KEYS_MAX, LINEAR_KEYS_MAX + 1, 40] {
        let keys: Vec<String> = (0..count).map(|at| format!("k{at}é")).collect();
        let members: Vec<String> = keys.iter().map(|key| format!("\"{}\":0", escaped(key, 0xFF))).collect();
        assert!(accepts(format!("{{{}}}", members.join(",")).as_bytes()));
        for key in &keys {
            let twice = format!("{{{},\"{key}\":0}}", members.join(","));
            assert!(!accepts(twice.as_bytes()), "{twice}");
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::hash_map("[a-f\"\\\\ü]{0,3}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Writes down all that a visitor is shown, as a library would read it.
struct Everything<'a> {
    body: &'a str,
    shown: Vec<String>,
}

impl<'a> Visitor<'a> for Everything<'a> {
    fn enter(&mut self, member: Member<'a>) -> Visit {
        let literal: String = serde_json::from_str(&self.body[member.key_literal.span()]).expect("a literal");
        assert_eq!(literal, member.key);
        self.shown.push(format!("{literal}:"));
        Visit::Into
    }

    fn element(&mut self, element: Element<'a>) {
        assert!(self.body.ends_with(element.ahead));
        self.shown.push("-".to_owned());
    }

    fn string(&mut self, literal: Literal<'a>) {
        let text: String = serde_json::from_str(&self.body[literal.span()]).expect("a literal");
        assert_eq!(text, literal.text());
        self.shown.push(format!("'{text}'"));
    }

    fn leave(&mut self) {
        self.shown.push(".".to_owned());
    }
}

/// What a visitor should be shown of a value.
fn everything(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(format!("'{text}'")),
        Value::Array(values) => {
            for value in values {
                into.push("-".to_owned());
                everything(value, into);
            }
            into.push(".".to_owned());
        }
        Value::Object(members) => {
            for (key, value) in members {
                into.push(format!("{key}:"));
                everything(value, into);
            }
            into.push(".".to_owned());
        }
        _ => {}
    }
}

/// Writes a key with some of its characters escaped.
fn escaped(key: &str, mask: u8) -> String {
    let chars = key.chars().enumerate().map(|(at, char)| {
        if mask >> (at % 8) & 1 == 1 || matches!(char, '"' | '\\') {
            let mut units = [0; 2];
            char.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")).collect::<String>()
        } else {
            char.to_string()
        }
    });
    chars.collect()
}

proptest! {
    #[test]
    fn what_a_serializer_writes_is_accepted(value in json()) {
        prop_assert!(accepts(value.to_string().as_bytes()));
        prop_assert!(accepts(serde_json::to_string_pretty(&value).expect("serialises").as_bytes()));
    }

    #[test]
    fn a_visitor_is_shown_everything_in_order(value in json(), pretty: bool) {
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let body = body.expect("serialises");
        let mut seen = Everything { body: &body, shown: Vec::new() };
        scan(body.as_bytes(), &mut seen).expect("accepted");
        let mut expected = Vec::new();
        everything(&value, &mut expected);
        prop_assert_eq!(seen.shown, expected);
    }

    /// Mutated documents: accepted here implies accepted by the library, and never the other way with another reading.
    #[test]
    fn what_is_accepted_the_library_accepts(value in json(), at: prop::sample::Index, byte: u8) {
        let mut text = value.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if accepts(&text) {
            // Numbers that overflow f64 are the library's own limit.
            let parsed = serde_json::from_slice::<Value>(&text);
            prop_assert!(parsed.is_ok() || text.iter().any(|byte| matches!(byte, b'e' | b'E')), "{parsed:?}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = accepts(&bytes);
    }

    #[test]
    fn a_duplicate_is_found_at_any_depth_under_any_escape(
        depth in 0_usize..40, others in prop::collection::hash_set("[a-e]{2,3}", 0..30), key in "[a-zé😀]{1,1}", one: u8, two: u8
    ) {
        let filler: String = others.iter().map(|other| format!("\"{other}\":[],")).collect();
        let twice = format!("{{\"{}\":1,{filler}\"{}\":2}}", escaped(&key, one), escaped(&key, two));
        let once = format!("{{{filler}\"{}\":2}}", escaped(&key, two));
        let wrap = |inner: &str| format!("{}{inner}{}", "{\"w\":[".repeat(depth), "]}".repeat(depth));
        prop_assert!(accepts(wrap(&once).as_bytes()));
        prop_assert!(!accepts(wrap(&twice).as_bytes()));
    }

    #[test]
    fn runs_stop_at_the_first_special_byte(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let expected = bytes.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len());
        prop_assert_eq!(plain_run(&bytes), expected);
    }
}
