//! Keys in every place that the crate knows are found, with the right secret.

use super::*;

fn base64(bytes: &[u8], digits: &str) -> String {
    let digits = digits.as_bytes();
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let value = three.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            out.push(char::from(digits[(value >> (18 - 6 * at) & 63) as usize]));
        }
        out.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    out
}

const STANDARD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_URLS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn wrapped(text: &str, width: usize, end: &str) -> String {
    text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join(end)
}

fn each(key: &str, spell: impl Fn(u8) -> String) -> String {
    key.bytes().map(spell).collect()
}

type Hiding = (&'static str, fn(&str) -> Vec<u8>);

fn places() -> Vec<Hiding> {
    fn text(text: String) -> Vec<u8> {
        text.into_bytes()
    }
    vec![
        ("plain", |key| text(format!("OPENAI_API_KEY={key}\n"))),
        ("glued", |key| text(format!("xxx{key}."))),
        ("json unicode escapes", |key| text(format!("{{\"k\":\"{}\"}}", each(key, |byte| format!("\\u{byte:04x}"))))),
        ("one json escape", |key| text(format!("\"{}\"", key.replacen('-', "\\u002d", 1)))),
        ("js hex escapes", |key| text(format!("'{}'", each(key, |byte| format!("\\x{byte:02X}"))))),
        ("octal escapes", |key| text(format!("\"{}\"", each(key, |byte| format!("\\{byte:03o}"))))),
        ("braced escapes", |key| text(format!("\"{}\"", each(key, |byte| format!("\\u{{{byte:x}}}"))))),
        ("percent", |key| text(format!("?k={}&x", each(key, |byte| format!("%{byte:02x}"))))),
        ("percent twice", |key| text(format!("?k={}&x", each(key, |byte| format!("%25{byte:02x}"))))),
        ("entities", |key| text(format!("<p>{}</p>", each(key, |byte| format!("&#{byte};"))))),
        ("hex entities", |key| text(format!("<p>{}</p>", each(key, |byte| format!("&#x{byte:x};"))))),
        ("zero width", |key| text(each(key, |byte| format!("{}\u{200b}", char::from(byte))))),
        ("soft hyphens", |key| text(wrapped(key, 7, "\u{ad}"))),
        ("full width", |key| text(key.bytes().map(|b| char::from_u32(u32::from(b) + 0xfee0).unwrap()).collect())),
        ("non-breaking hyphens", |key| text(key.replace('-', "\u{2011}"))),
        ("base64", |key| text(format!("data: {}\n", base64(key.as_bytes(), STANDARD)))),
        ("base64 shifted by one", |key| text(base64(format!("x{key}yz").as_bytes(), STANDARD))),
        ("base64 shifted by two", |key| text(base64(format!("xy{key}").as_bytes(), FOR_URLS))),
        ("base64 in a run", |key| text(format!("abc/{}", base64(format!("key={key}").as_bytes(), STANDARD)))),
        ("base64 wrapped", |key| {
            text(wrapped(&base64(format!("{{\"k\":\"{key}\"}}").as_bytes(), STANDARD), 64, "\r\n    "))
        }),
        ("base64 in json, wrapped", |key| text(wrapped(&base64(key.as_bytes(), STANDARD), 76, "\\n"))),
        ("base64 twice", |key| text(base64(base64(key.as_bytes(), STANDARD).as_bytes(), STANDARD))),
        ("base64 of json of escapes", |key| {
            let inner = format!("{{\"a\":\"{}\"}}", each(key, |byte| format!("\\u{byte:04x}")));
            text(base64(inner.as_bytes(), STANDARD))
        }),
        ("base64 of utf-16", |key| {
            let wide: Vec<u8> = key.encode_utf16().flat_map(u16::to_le_bytes).collect();
            text(base64(&wide, STANDARD))
        }),
        ("hex", |key| text(each(key, |byte| format!("{byte:02x}")))),
        ("hex shifted", |key| text(format!("0{}", each(key, |byte| format!("{byte:02X}"))))),
        ("hex dump", |key| text(each(key, |byte| format!("{byte:02x} ")))),
        ("hex with colons", |key| text(key.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"))),
        ("char codes", |key| {
            text(format!("String.fromCharCode({})", key.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(",")))
        }),
        ("byte array", |key| {
            text(format!("[{}]", key.bytes().map(|b| format!("0x{b:02x}")).collect::<Vec<_>>().join(", ")))
        }),
        ("rot13", |key| {
            text(format!(
                "\"{}\"",
                key.bytes()
                    .map(|b| char::from(match b {
                        b'a'..=b'z' => (b - b'a' + 13) % 26 + b'a',
                        b'A'..=b'Z' => (b - b'A' + 13) % 26 + b'A',
                        b => b,
                    }))
                    .collect::<String>()
            ))
        }),
        ("utf-16 le", |key| key.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16 be with mark", |key| format!("\u{feff}k = {key}").encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("plus", |key| text(format!("const k = \"{}\" + \"{}\";", &key[..12], &key[12..]))),
        ("plus over lines", |key| text(format!("k = '{}' +\n      '{}'", &key[..30], &key[30..]))),
        ("plus within the anchor", |key| text(format!("k = 's' + \"{}\"", &key[1..]))),
        ("plus, many", |key| text(format!("k = \"{}\"", wrapped(key, 5, "\" + \"")))),
        ("dot", |key| text(format!("$k = '{}' . '{}';", &key[..12], &key[12..]))),
        ("concat", |key| text(format!("'{}'.concat('{}')", &key[..12], &key[12..]))),
        ("adjacent", |key| text(format!("k = (\"{}\"\n     f\"{}\")", &key[..12], &key[12..]))),
        ("shell", |key| text(format!("K=\"{}\"'{}'", &key[..12], &key[12..]))),
        ("shell, half quoted", |key| text(format!("K={}\"{}\"{}", &key[..9], &key[9..20], &key[20..]))),
        ("template", |key| text(format!("`{}${{\"{}\"}}{}`", &key[..9], &key[9..20], &key[20..]))),
        ("join", |key| text(format!("[\"{}\"].join(\"\")", wrapped(key, 10, "\",\"")))),
        ("join of characters", |key| text(format!("['{}'].join('')", wrapped(key, 1, "', '")))),
        ("two variables", |key| text(format!("const a = \"{}\";\nconst b = \"{}\";", &key[..20], &key[20..]))),
        ("builder", |key| text(format!("b.append(\"{}\").append(\"{}\")", &key[..20], &key[20..]))),
        ("continuation", |key| text(format!("k = \"{}\\\n{}\"", &key[..20], &key[20..]))),
        ("escaped quotes", |key| text(format!("\"const k = \\\"{}\\\" + \\\"{}\\\"\"", &key[..20], &key[20..]))),
        ("wrapped", |key| text(wrapped(key, 40, "\n"))),
        ("quoted in mail", |key| text(format!("> {}\n> {}", &key[..30], &key[30..]))),
        ("quoted-printable", |key| text(format!("KEY=3D{}=\r\n{}", &key[..30], &key[30..]))),
        ("mark-up", |key| {
            text(format!("<w:t>{}</w:t></w:r><w:r><w:t xml:space=\"preserve\">{}</w:t>", &key[..20], &key[20..]))
        }),
        ("chunked", |key| text(format!("1c\r\n{}\r\n2f\r\n{}", &key[..20], &key[20..]))),
        ("chat stream", |key| {
            text(events(key, 3, |piece| {
                format!(
                    "{{\"id\":\"chatcmpl-9\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}"
                )
            }))
        }),
        ("responses stream", |key| {
            text(events(key, 2, |piece| {
                format!(
                    "{{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":0,\"delta\":\"{piece}\",\"obfuscation\":\"a1b2\"}}"
                )
            }))
        }),
        ("tool call stream", |key| {
            text(events(key, 4, |piece| {
                format!(
                    "{{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":\"{piece}\"}}}}]}}}}]}}"
                )
            }))
        }),
        ("plain stream", |key| text(format!("data: {}\n\n", wrapped(key, 9, "\n\ndata: ")))),
        ("stream in json", |key| {
            let stream = events(key, 3, |piece| format!("{{\"delta\":{{\"content\":\"{piece}\"}}}}"));
            text(format!("{{\"log\":\"{}\"}}", stream.replace('"', "\\\"").replace('\n', "\\n")))
        }),
        ("reversed", |key| text(format!("\"{}\".split(\"\").reverse()", key.chars().rev().collect::<String>()))),
        ("coloured", |key| text(format!("\u{1b}[31m{}\u{1b}[0m{}", &key[..15], &key[15..]))),
    ]
}

fn events(key: &str, size: usize, event: impl Fn(&str) -> String) -> String {
    key.as_bytes()
        .chunks(size)
        .map(|piece| format!("data: {}\n\n", event(std::str::from_utf8(piece).unwrap())))
        .collect::<String>()
        + "data: [DONE]\n\n"
}

#[test]
fn found_in_every_place() {
    let engine = Engine::new(Config { finds_reversed: true, ..Config::default() });
    let mut rng = fastrand::Rng::with_seed(3);
    let mut missed = Vec::new();
    let mut wrong = 0;
    for (name, hide) in places() {
        for _ in 0..6 {
            let own = keys::Kind::ALL.map(|kind| own_key(&mut rng, kind));
            for key in openai_keys(&mut rng).into_iter().chain(own) {
                if name == "reversed" && !key.starts_with("sk-") {
                    continue;
                }
                let hidden = hide(&key);
                let mut around = b"some words before\n".to_vec();
                around.extend_from_slice(&hidden);
                around.extend_from_slice(b"\nand behind\n");
                let findings = engine.scan(&around);
                let end = 18 + hidden.len() as u64;
                if !findings.iter().any(|finding| finding.span.start >= 17 && finding.span.end <= end) {
                    missed.push(format!("{name}: {key}"));
                } else if !secrets(&findings).contains(&key.as_str()) {
                    wrong += 1;
                    println!("{name}: {key} read as {:?}", secrets(&findings));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
    // Where nothing but a wrapped line or a quote ends a key whose length is not known, what follows may be read along.
    assert_eq!(wrong, 0);
}
