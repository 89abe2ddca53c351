//! Places where a key is hidden.

use super::{Row, cut, each, file, halves};
use crate::make::{ALNUM, URL, base64, random, zip};

/// Where a key of the OpenAI API is hidden.
pub(super) fn hidden() -> Vec<Row<&'static str>> {
    vec![
        ("json escapes", |key, _| {
            file("a.json", format!("{{\"k\":\"{}\"}}", each(key, |b| format!("\\u{b:04x}"), "")))
        }),
        ("js hex escapes", |key, _| file("a.js", format!("k=\"{}\"", each(key, |b| format!("\\x{b:02x}"), "")))),
        ("some escapes", |key, _| {
            file("b.js", format!("k=\"{}\"", key.replace('k', "\\x6b").replace('-', "\\u002D").replace('B', "\\102")))
        }),
        ("percent", |key, _| file("a.txt", format!("?k={}", each(key, |b| format!("%{b:02X}"), "")))),
        ("base64", |key, _| file("secret.yaml", format!("kind: Secret\ndata:\n  key: {}\n", base64(key.as_bytes())))),
        ("base64 of json", |key, _| {
            file("config.b64", base64(format!("{{\"openai\":{{\"key\":\"{key}\",\"n\":1}}}}").as_bytes()))
        }),
        ("basic authentication", |key, _| {
            file("curl.sh", format!("-H 'Authorization: Basic {}'", base64(format!(":{key}").as_bytes())))
        }),
        ("base64 without padding, for urls", |key, _| {
            file(
                "a.url",
                format!(
                    "?t={}",
                    base64(format!("k={key}").as_bytes()).replace('+', "-").replace('/', "_").replace('=', "")
                ),
            )
        }),
        ("base64 wrapped", |key, _| {
            file("mail.eml", cut(&base64(format!("Hello,\r\nthe key is {key}\r\nBye").as_bytes()), 76, "\r\n"))
        }),
        ("base64 twice", |key, _| file("twice", base64(base64(key.as_bytes()).as_bytes()))),
        ("hex", |key, _| file("a.hex", each(key, |b| format!("{b:02x}"), ""))),
        ("entities", |key, _| file("a.html", each(key, |b| format!("&#{b};"), ""))),
        ("zero width", |key, _| file("zw.txt", cut(key, 3, "\u{200b}"))),
        ("split, plus", |key, _| {
            let (a, b) = halves(key);
            file("s.js", format!("k = \"{a}\" + \"{b}\""))
        }),
        ("split, adjacent", |key, _| {
            let (a, b) = halves(key);
            file("s.py", format!("k = ('{a}'\n     '{b}')"))
        }),
        ("split, concat", |key, _| {
            let (a, b) = halves(key);
            file("c.js", format!("k = '{a}'.concat('{b}')"))
        }),
        ("split, join", |key, _| file("j.js", format!("k=['{}'].join('')", cut(key, 8, "','")))),
        ("split, variables", |key, _| {
            let (a, b) = halves(key);
            file("v.py", format!("A = '{a}'\nB = '{b}'\nkey = A + B\n"))
        }),
        ("split, shell", |key, _| {
            let (a, b) = halves(key);
            file("k.sh", format!("K=\"{a}\"\"{b}\""))
        }),
        ("split, continuation", |key, _| {
            let (a, b) = halves(key);
            file("k.c", format!("char *k = \"{a}\\\n{b}\";"))
        }),
        ("split, template", |key, _| {
            let (a, b) = halves(key);
            file("t.js", format!("k = `{a}${{''}}{b}`"))
        }),
        ("utf-16 le", |key, _| {
            ("a.reg", format!("\u{feff}\"Key\"=\"{key}\"\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect())
        }),
        ("utf-16 be", |key, _| ("b.reg", format!("Key={key}").encode_utf16().flat_map(u16::to_be_bytes).collect())),
        ("stream", |key, _| {
            file("stream.log", cut(key, 3, "|").split('|').map(|p| format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{p}\"}},\"finish_reason\":null}}]}}\n\n")).collect::<String>())
        }),
        // Second generation.
        ("powershell", |key, _| {
            let wide: Vec<u8> =
                format!("$env:OPENAI_API_KEY='{key}'").encode_utf16().flat_map(u16::to_le_bytes).collect();
            file("run.ps1", format!("powershell -EncodedCommand {}", base64(&wide)))
        }),
        ("data url", |key, _| {
            file(
                "d.html",
                format!("<a href=\"data:application/json;base64,{}\">", base64(format!("[\"{key}\"]").as_bytes())),
            )
        }),
        ("token payload", |key, rng| {
            file(
                "jwt.txt",
                format!(
                    "eyJhbGciOiJIUzI1NiJ9.{}.{}",
                    base64(format!("{{\"sub\":\"1\",\"key\":\"{key}\"}}").as_bytes()).trim_end_matches('='),
                    random(rng, URL, 43)
                ),
            )
        }),
        ("base64 in pieces", |key, _| {
            let b = base64(key.as_bytes());
            let (x, y) = halves(&b);
            file("p.js", format!("atob(\"{x}\" + \"{y}\")"))
        }),
        ("yaml, folded", |key, _| {
            let (a, b) = halves(key);
            file("f.yaml", format!("key: >-\n  {a}\n  {b}\nnext: 1\n"))
        }),
        ("yaml, quoted over lines", |key, _| {
            let (a, b) = halves(key);
            file("g.yaml", format!("key: \"{a}\\\n      {b}\"\n"))
        }),
        ("c characters", |key, _| file("k.h", format!("{{{}}}", each(key, |b| format!("'{}'", char::from(b)), ", ")))),
        ("c bytes", |key, _| file("k2.h", format!("{{{}}}", each(key, |b| format!("0x{b:02x}"), ",")))),
        ("char codes", |key, _| file("cc.js", format!("String.fromCharCode({})", each(key, |b| b.to_string(), ", ")))),
        ("byte list over lines", |key, _| {
            file("bl.py", format!("bytes([\n    {},\n])", each(key, |b| b.to_string(), ",\n    ")))
        }),
        ("reversed", |key, _| {
            file("r.js", format!("'{}'.split('').reverse().join('')", key.chars().rev().collect::<String>()))
        }),
        ("hex literal of sql", |key, _| file("h.sql", format!("SELECT 0x{}", each(key, |b| format!("{b:02X}"), "")))),
        ("hex with spaces", |key, _| file("h.txt", each(key, |b| format!("{b:02x}"), " "))),
        ("hexdump", |key, _| {
            let lines = key.as_bytes().chunks(16).enumerate().map(|(at, row)| {
                let hex: Vec<String> = row.iter().map(|b| format!("{b:02x}")).collect();
                format!("{:08x}  {}  |{}|\n", at * 16, hex.join(" "), String::from_utf8_lossy(row))
            });
            file("dump.hex", lines.collect::<String>())
        }),
        ("markdown escapes", |key, _| file("e.md", key.replace('-', "\\-").replace('_', "\\_"))),
        ("quoted-printable", |key, _| file("q.eml", format!("KEY=3D{}=\r\n{}", &key[..40], &key[40..]))),
        ("shell octal", |key, _| file("o.sh", format!("K=$'{}'", each(key, |b| format!("\\{b:o}"), "")))),
        ("vb", |key, _| {
            let (a, b) = halves(key);
            file("m.bas", format!("k = \"{a}\" & _\r\n    \"{b}\""))
        }),
        ("php", |key, _| {
            let (a, b) = halves(key);
            file("k.php", format!("<?php $k = '{a}' . '{b}';"))
        }),
        ("lua", |key, _| {
            let (a, b) = halves(key);
            file("k.lua", format!("k = \"{a}\" .. \"{b}\""))
        }),
        ("java builder", |key, _| {
            let (a, b) = halves(key);
            file("K.java", format!("new StringBuilder(\"{a}\").append(\"{b}\").toString()"))
        }),
        ("plus equals", |key, _| {
            let (a, b) = halves(key);
            file("pe.py", format!("key = '{a}'\nkey += '{b}'\n"))
        }),
        ("python format", |key, _| file("fmt.py", format!("'sk-{{}}'.format('{}')", &key[3..]))),
        ("plus with comments", |key, _| {
            let (a, b) = halves(key);
            file("pc.js", format!("k = \"{a}\" + // first half\n    \"{b}\""))
        }),
        ("plus, parentheses", |key, _| {
            let (a, b) = halves(key);
            file("pp.js", format!("k = (\"{a}\") + (\"{b}\")"))
        }),
        ("nested plus", |key, _| file("np.js", format!("k = \"{}\"", cut(key, 2, "\"+\"")))),
        ("object members", |key, _| {
            let (a, b) = halves(key);
            file("om.js", format!("const k = {{a: \"{a}\", b: \"{b}\"}}; use(k.a + k.b)"))
        }),
        ("docx runs", |key, _| {
            let (a, b) = halves(key);
            (
                "runs.docx",
                zip(&[(
                    "word/document.xml",
                    format!("<w:r><w:t>{a}</w:t></w:r><w:r w:rsidR=\"00A1\"><w:t>{b}</w:t></w:r>").as_bytes(),
                )]),
            )
        }),
        ("highlighted html", |key, _| {
            let (a, b) = halves(key);
            file("hl.html", format!("<span class=\"s\">{a}</span><span class=\"s\">{b}</span>"))
        }),
        ("wrapped log", |key, _| file("w.log", cut(key, 50, "\n"))),
        ("numbered lines", |key, _| {
            let (a, b) = halves(key);
            file("nl.txt", format!("> > {a}\n> > {b}\n"))
        }),
        ("utf-16 without mark in binary", |key, rng| {
            let wide: Vec<u8> = key.encode_utf16().flat_map(u16::to_le_bytes).collect();
            ("w.exe", [random(rng, ALNUM, 33).into_bytes(), vec![0, 0, 0], wide, vec![0, 0, 1]].concat())
        }),
        ("utf-32", |key, _| ("u32.txt", key.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect())),
        ("percent of base64", |key, _| {
            file(
                "pb.txt",
                format!(
                    "state={}",
                    base64(format!("{{\"k\":\"{key}\"}}").as_bytes())
                        .replace('=', "%3D")
                        .replace('+', "%2B")
                        .replace('/', "%2F")
                ),
            )
        }),
        ("tool call stream", |key, _| {
            file("tool.sse", cut(key, 5, "|").split('|').map(|p| format!("event: response.function_call_arguments.delta\ndata: {{\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"fc_1\",\"delta\":\"{p}\",\"sequence_number\":3}}\n\n")).collect::<String>())
        }),
        ("other vendor's stream", |key, _| {
            file("other.sse", cut(key, 4, "|").split('|').map(|p| format!("event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{p}\"}}}}\n\n")).collect::<String>())
        }),
        ("chunked response", |key, _| file("http.txt", cut(key, 16, "\r\n10\r\n"))),
        ("stream of one character", |key, _| {
            file(
                "one.sse",
                cut(key, 1, "|")
                    .split('|')
                    .map(|p| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{p}\"}}}}]}}\n\n"))
                    .collect::<String>(),
            )
        }),
        ("stream in a json log", |key, _| {
            let stream: String = cut(key, 3, "|")
                .split('|')
                .map(|p| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{p}\"}}}}]}}\n\n"))
                .collect();
            file("log.jsonl", serde_json::json!({"body": stream}).to_string())
        }),
        ("json lines of deltas", |key, _| {
            file(
                "d.jsonl",
                cut(key, 6, "|").split('|').map(|p| format!("{{\"t\":1,\"delta\":\"{p}\"}}\n")).collect::<String>(),
            )
        }),
        ("css escapes", |key, _| file("c.css", format!("content: \"{}\"", each(key, |b| format!("\\{b:06x}"), "")))),
        ("rtf escapes", |key, _| file("a.rtf", format!("{{\\rtf1 {}}}", each(key, |b| format!("\\'{b:02x}"), "")))),
    ]
}
