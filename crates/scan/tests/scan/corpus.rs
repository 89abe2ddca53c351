//! A corpus that is made anew in each run, from a seed: secrets in every place that is known, and as many look-alikes.
//! Scored by row; every secret must be found, and nothing else.
//!
//! The second generation of each list was written after the first version of the engine, without looking at it.

use std::fs;
use std::path::Path;

use crate::make::{ALNUM, HEX, URL, base64, gzip, openai, own, random, tar, zip};
use crate::tree;

/// Files of each row.
const EACH: usize = 12;

type Rng = fastrand::Rng;
/// A file's name and its bytes.
type File = (&'static str, Vec<u8>);

fn file(name: &'static str, text: impl Into<String>) -> File {
    (name, text.into().into_bytes())
}

fn each(key: &str, spell: impl Fn(u8) -> String, separator: &str) -> String {
    key.bytes().map(spell).collect::<Vec<_>>().join(separator)
}

fn cut(key: &str, size: usize, separator: &str) -> String {
    key.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect::<Vec<_>>().join(separator)
}

fn halves(key: &str) -> (&str, &str) {
    key.split_at(key.len() / 2)
}

type Row<I> = (&'static str, fn(I, &mut Rng) -> File);

/// Where a key of the OpenAI API or of the gate is, as it stands.
fn plain() -> Vec<Row<&'static str>> {
    vec![
        ("dotenv", |key, _| file(".env", format!("DEBUG=1\nOPENAI_API_KEY={key}\n"))),
        ("quoted dotenv", |key, _| file(".env.local", format!("OPENAI_API_KEY=\"{key}\"\n"))),
        ("python", |key, _| file("app.py", format!("client = OpenAI(api_key='{key}')\n"))),
        ("javascript", |key, _| file("app.js", format!("const openai=new OpenAI({{apiKey:`{key}`}})"))),
        ("minified bundle", |key, _| {
            file("main.3f2a.js", format!("{}n.apiKey=\"{key}\",{}", "e=t(12),".repeat(4000), "r(e);".repeat(3000)))
        }),
        ("source map", |key, _| {
            let source = format!("const a = 1;\nconst key = \"{key}\";\n");
            file(
                "main.js.map",
                serde_json::json!({"version": 3, "sourcesContent": [source], "mappings": "AAAA,CAAC"}).to_string(),
            )
        }),
        ("notebook", |key, _| {
            let cell =
                serde_json::json!({"cell_type": "code", "source": [format!("openai.api_key = \"{key}\"\n"), "x"]});
            file("n.ipynb", serde_json::json!({"cells": [cell], "nbformat": 4}).to_string())
        }),
        ("yaml", |key, _| file("compose.yml", format!("environment:\n  - OPENAI_API_KEY={key}\n"))),
        ("toml", |key, _| file("config.toml", format!("[openai]\nkey = \"{key}\"\n"))),
        ("shell history", |key, _| {
            file(
                ".bash_history",
                format!("ls\nexport OPENAI_API_KEY={key}\ncurl -H \"Authorization: Bearer {key}\" x\n"),
            )
        }),
        ("log", |key, _| {
            file("app.log", format!("2026-01-01T00:00:00Z ERROR Incorrect API key provided: {key}. You can find\n"))
        }),
        ("url", |key, _| file("urls.txt", format!("https://proxy.example.org/v1?key={key}&model=x#frag\n"))),
        ("html", |key, _| file("index.html", format!("<script>window.KEY='{key}'</script>\n"))),
        ("comment", |key, _| file("a.go", format!("// old key: {key}\nfunc main() {{}}\n"))),
        ("glued to text", |key, _| file("a.txt", format!("the key is{key}"))),
        ("end of file", |key, _| file("key", key)),
        ("csv", |key, _| file("a.csv", format!("1,bob,{key},x\n"))),
        ("sql dump", |key, _| file("dump.sql", format!("INSERT INTO t VALUES (1,'{key}\\n','x');\n"))),
        ("binary", |key, rng| {
            let noise = |rng: &mut Rng| (0..5000).map(|_| rng.u8(..)).collect::<Vec<u8>>();
            ("app.bin", [noise(rng), vec![0], key.as_bytes().to_vec(), vec![0], noise(rng)].concat())
        }),
        ("large file", |key, rng| {
            let line = format!("{}\n", random(rng, "abcdefghij klmnopqrstuv", 90));
            file("large.log", format!("{}{key}\n{}", line.repeat(7205), line.repeat(300)))
        }),
        ("plist", |key, _| file("Info.plist", format!("<key>OpenAIKey</key>\n<string>{key}</string>\n"))),
        ("apk", |key, _| {
            ("app.apk", zip(&[("res/values/strings.xml", format!("<string name=\"k\">{key}</string>").as_bytes())]))
        }),
        ("ipa", |key, _| {
            ("app.ipa", zip(&[("Payload/App.app/Info.plist", format!("<string>{key}</string>").as_bytes())]))
        }),
        ("jar", |key, _| ("app.jar", zip(&[("application.properties", format!("openai.key={key}\n").as_bytes())]))),
        ("wheel", |key, _| ("p.whl", zip(&[("p/__init__.py", format!("KEY = '{key}'").as_bytes())]))),
        ("tgz", |key, _| ("p.tgz", gzip(&tar(&[("package/index.js", format!("k='{key}'").as_bytes())])))),
        ("docx", |key, _| ("a.docx", zip(&[("word/document.xml", format!("<w:t>key: {key}</w:t>").as_bytes())]))),
        ("zip in tgz", |key, _| ("b.tgz", gzip(&tar(&[("a.zip", &zip(&[("x", key.as_bytes())]))])))),
        // Second generation.
        ("postman", |key, _| {
            file("postman.json", format!("{{\"values\":[{{\"key\":\"token\",\"value\":\"{key}\",\"enabled\":true}}]}}"))
        }),
        ("har", |key, _| {
            let inner = serde_json::json!({"headers": [{"name": "Authorization", "value": format!("Bearer {key}")}]})
                .to_string();
            file("a.har", serde_json::json!({"log": {"text": inner}}).to_string())
        }),
        ("json in json in json", |key, _| {
            let one = serde_json::json!({"k": format!("\n{key}\n")}).to_string();
            let two = serde_json::json!({"a": one}).to_string();
            file("deep.json", serde_json::json!({"b": two}).to_string())
        }),
        ("diff", |key, _| file("a.patch", format!("@@ -1 +1 @@\n-KEY=\n+KEY={key}\n"))),
        ("terraform state", |key, _| file("terraform.tfstate", format!("{{\"attributes\":{{\"value\":\"{key}\"}}}}"))),
        ("properties", |key, _| file("a.properties", format!("openai.key\\={key}\n"))),
        ("cdata", |key, _| file("a.xml", format!("<k><![CDATA[{key}]]></k>"))),
        ("ansi log", |key, _| file("ci.log", format!("\u{1b}[36m  OPENAI_API_KEY: \u{1b}[0m{key}\u{1b}[0m\r\n"))),
        ("markdown table", |key, _| file("notes.md", format!("| key | `{key}` |\n"))),
        ("git config", |key, _| file("config.ini", format!("[remote]\n\turl = https://x:{key}@example.org/a.git\n"))),
        ("r string", |key, _| file("a.R", format!("Sys.setenv(OPENAI_API_KEY = '{key}')"))),
        ("windows lines", |key, _| file("a.bat", format!("set OPENAI_API_KEY={key}\r\nrun\r\n"))),
        ("old mac lines", |key, _| file("mac.txt", format!("a\rkey {key}\rb"))),
        ("c strings", |key, _| ("lib.so", format!("abc\0{key}\0def\0").into_bytes())),
        ("pascal string", |key, _| ("x.dat", [&[key.len() as u8][..], key.as_bytes(), &[7, 8, 9]].concat())),
        ("underscore behind", |key, _| file("f.txt", format!("backup_{key}.json"))),
    ]
}

/// Where a key of the OpenAI API is hidden.
fn hidden() -> Vec<Row<&'static str>> {
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

/// Credentials of others, and signs.
fn others() -> Vec<(&'static str, fn(&mut Rng) -> File)> {
    const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    vec![
        ("aws", |rng| file("credentials", format!("aws_access_key_id = AKIA{}\n", random(rng, UPPER, 16)))),
        ("aws secret", |rng| {
            file(
                "s3.ini",
                format!(
                    "aws_secret_access_key = {}\n",
                    random(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40)
                ),
            )
        }),
        ("github", |rng| file("gh.sh", format!("git clone https://x:ghp_{}@github.com/a/b", random(rng, ALNUM, 36)))),
        ("github fine-grained", |rng| {
            file("gh.py", format!("T = 'github_pat_{}_{}'", random(rng, ALNUM, 22), random(rng, ALNUM, 59)))
        }),
        ("gitlab", |rng| file("ci.yml", format!("TOKEN: glpat-{}\n", random(rng, URL, 20)))),
        ("slack", |rng| {
            file(
                "slack.js",
                format!(
                    "token: 'xoxb-{}-{}-{}'",
                    random(rng, "123456789", 12),
                    random(rng, "123456789", 13),
                    random(rng, ALNUM, 24)
                ),
            )
        }),
        ("slack webhook", |rng| {
            file(
                "hook.txt",
                format!(
                    "https://hooks.slack.com/services/T{}/B{}/{}",
                    random(rng, "ABCDEF123456", 10),
                    random(rng, "ABCDEF123456", 10),
                    random(rng, ALNUM, 24)
                ),
            )
        }),
        ("stripe", |rng| file("pay.rb", format!("Stripe.api_key = 'sk_live_{}'", random(rng, ALNUM, 24)))),
        ("google", |rng| file("maps.xml", format!("<meta value=\"AIzaSy{}\"/>", random(rng, URL, 33)))),
        ("anthropic", |rng| file("claude.env", format!("ANTHROPIC_API_KEY=sk-ant-api03-{}AA\n", random(rng, URL, 93)))),
        ("hugging face", |rng| {
            file(
                "hf.py",
                format!("login('hf_{}')", random(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 34)),
            )
        }),
        ("groq", |rng| file("groq.env", format!("GROQ_API_KEY=gsk_{}", random(rng, ALNUM, 52)))),
        ("sendgrid", |rng| file("mail.env", format!("SG.{}.{}", random(rng, URL, 22), random(rng, URL, 43)))),
        ("npm", |rng| file(".npmrc", format!("//registry.npmjs.org/:_authToken=npm_{}\n", random(rng, ALNUM, 36)))),
        ("pypi", |rng| file(".pypirc", format!("password = pypi-AgEIcHlwaS5vcmc{}\n", random(rng, URL, 130)))),
        ("digitalocean", |rng| file("do.tf", format!("token = \"dop_v1_{}\"", random(rng, HEX, 64)))),
        ("shopify", |rng| file("shop.env", format!("shpat_{}", random(rng, HEX, 32)))),
        ("telegram", |rng| {
            file("bot.py", format!("TOKEN = '{}:AA{}'", random(rng, "123456789", 10), random(rng, URL, 33)))
        }),
        ("twilio", |rng| file("tw.env", format!("TWILIO_API_KEY=SK{}", random(rng, HEX, 32)))),
        ("azure storage", |rng| {
            file(
                "az.json",
                format!("\"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={}==;\"", random(rng, ALNUM, 86)),
            )
        }),
        ("databricks", |rng| file("db.cfg", format!("token = dapi{}", random(rng, HEX, 32)))),
        ("vault", |rng| file("v.env", format!("VAULT_TOKEN=hvs.{}", random(rng, URL, 95)))),
        ("private key", |rng| {
            file(
                "id_rsa",
                format!(
                    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
                    cut(&random(rng, ALNUM, 800), 64, "\n")
                ),
            )
        }),
        ("service account", |rng| {
            let pem = format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                cut(&random(rng, ALNUM, 1600), 64, "\n")
            );
            file("sa.json", serde_json::json!({"type": "service_account", "private_key": pem}).to_string())
        }),
        ("database", |rng| {
            file("database.yml", format!("url: postgres://app:{}@db.prod.internal:5432/app\n", random(rng, ALNUM, 16)))
        }),
        ("client secret", |rng| file("rt.log", format!("{{\"value\":\"ek_{}\"}}", random(rng, HEX, 32)))),
        ("webhook secret", |rng| file("wh.env", format!("WEBHOOK=whsec_{}", random(rng, ALNUM, 32)))),
        ("inlined variable", |rng| {
            file(".env.production", format!("NEXT_PUBLIC_OPENAI_API_KEY={}\n", random(rng, ALNUM, 40)))
        }),
        ("inlined variable, read", |_| file("page.tsx", "const k = process.env.NEXT_PUBLIC_OPENAI_API_KEY\n")),
        ("vite variable", |_| file("main.ts", "new OpenAI({ apiKey: import.meta.env.VITE_OPENAI_KEY })\n")),
        ("browser client", |_| {
            file("chat.jsx", "const c = new OpenAI({ apiKey: k, dangerouslyAllowBrowser: true })\n")
        }),
        ("browser client, minified", |_| file("chunk.js", "var c=new OpenAI({apiKey:k,dangerouslyAllowBrowser:!0});")),
        ("direct call", |_| {
            file(
                "index.html",
                "<script>fetch('https://api.openai.com/v1/responses', {method: 'POST', headers: {Authorization: `Bearer ${k}`}})</script>",
            )
        }),
        ("split aws", |rng| file("a.js", format!("id = 'AKIA' + '{}'", random(rng, UPPER, 16)))),
        ("aws in base64", |rng| {
            file("ud.txt", base64(format!("export AWS_ACCESS_KEY_ID=AKIA{}\n", random(rng, UPPER, 16)).as_bytes()))
        }),
        ("github in json escapes", |rng| file("t.json", format!("{{\"t\":\"\\u0067hp_{}\"}}", random(rng, ALNUM, 36)))),
    ]
}

/// What looks like a secret and is none.
fn look_alikes() -> Vec<(&'static str, fn(&mut Rng) -> File)> {
    vec![
        ("checksum of ours is wrong", |rng| {
            let mut key = own(rng);
            let last = key.pop().unwrap();
            key.push(if last == 'a' { 'b' } else { 'a' });
            file("a.env", key)
        }),
        ("x for a key", |_| file("a.env", "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxT3BlbkFJxxxxxxxxxxxxxxxxxxxx")),
        ("dots", |_| file("a.md", "Set `OPENAI_API_KEY=sk-...` or `sk-proj-...`")),
        ("your key", |_| {
            file("env.example", "OPENAI_API_KEY=sk-your-api-key-here\nNEXT_PUBLIC_OPENAI_API_KEY=your_key\n")
        }),
        ("angle brackets", |_| file("a.md", "export OPENAI_API_KEY=<your OpenAI key>")),
        ("variable", |_| file("a.yml", "key: ${OPENAI_API_KEY}\nother: ${{ secrets.OPENAI_API_KEY }}\n")),
        ("sequence", |_| file("a.py", "k = 'sk-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst'")),
        ("words", |_| file("a.py", "k = 'sk-this-is-a-fake-key-for-testsT3BlbkFJand-so-is-this-second-half'")),
        ("marker alone", |rng| file("a.txt", format!("{}T3BlbkFJ{}", random(rng, ALNUM, 20), random(rng, ALNUM, 20)))),
        ("rule of a scanner", |_| {
            file(
                "rules.toml",
                "regex = '''sk-[a-zA-Z0-9]{20}T3BlbkFJ[a-zA-Z0-9]{20}'''\nkeywords = [\"sk-\", \"T3BlbkFJ\"]",
            )
        }),
        ("published example", |_| {
            file(
                "a.ini",
                "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
            )
        }),
        ("short", |rng| file("a.env", format!("KEY=sk-{}", random(rng, ALNUM, 12)))),
        ("hashes", |rng| {
            file("sums.txt", (0..50).map(|_| format!("{}  file\n", random(rng, HEX, 64))).collect::<String>())
        }),
        ("object ids", |rng| {
            file(
                "refs",
                (0..50).map(|_| format!("{} refs/heads/task-list\n", random(rng, HEX, 40))).collect::<String>(),
            )
        }),
        ("uuids", |rng| {
            file(
                "ids.csv",
                (0..50)
                    .map(|_| {
                        format!(
                            "{}-{}-4{}-a{}-{}\n",
                            random(rng, HEX, 8),
                            random(rng, HEX, 4),
                            random(rng, HEX, 3),
                            random(rng, HEX, 3),
                            random(rng, HEX, 12)
                        )
                    })
                    .collect::<String>(),
            )
        }),
        ("lock file", |rng| {
            file(
                "package-lock.json",
                (0..40)
                    .map(|_| {
                        format!(
                            "\"integrity\": \"sha512-{}==\",\n",
                            random(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 86)
                        )
                    })
                    .collect::<String>(),
            )
        }),
        ("cargo lock", |rng| {
            file(
                "Cargo.lock",
                (0..40).map(|_| format!("checksum = \"{}\"\n", random(rng, HEX, 64))).collect::<String>(),
            )
        }),
        ("picture in base64", |rng| {
            file(
                "a.css",
                format!("url(data:image/png;base64,{})", base64(&(0..9000).map(|_| rng.u8(..)).collect::<Vec<_>>())),
            )
        }),
        ("random binary", |rng| ("a.bin", (0..60_000).map(|_| rng.u8(..)).collect())),
        ("public key", |rng| {
            file(
                "a.pem",
                format!(
                    "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                    cut(&random(rng, ALNUM, 390), 64, "\n")
                ),
            )
        }),
        ("certificate", |rng| {
            file(
                "a.crt",
                format!(
                    "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                    cut(&random(rng, ALNUM, 1200), 64, "\n")
                ),
            )
        }),
        ("ssh public key", |rng| {
            file("id.pub", format!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB{} a@b\n", random(rng, ALNUM, 340)))
        }),
        ("pem header in code", |_| {
            file("a.go", "if strings.HasPrefix(s, \"-----BEGIN RSA PRIVATE KEY-----\") { return }\n")
        }),
        ("pem placeholder", |_| {
            file("b.env", "KEY=\"-----BEGIN PRIVATE KEY-----\\nYOUR KEY HERE\\n-----END PRIVATE KEY-----\\n\"")
        }),
        ("allowed", |rng| file("t.py", format!("k = '{}'  # sallyport:allow\n", openai(rng)))),
        ("prose about signs", |_| {
            file("README.md", "Never set `NEXT_PUBLIC_OPENAI_API_KEY`, and never `dangerouslyAllowBrowser: true`.\n")
        }),
        ("public variables", |rng| {
            file(
                "f.env",
                format!(
                    "VITE_FIREBASE_API_KEY=\"{}\"\nNEXT_PUBLIC_STRIPE_PUBLISHABLE_KEY=pk_live_{}\nNEXT_PUBLIC_SUPABASE_ANON_KEY={}\n",
                    random(rng, ALNUM, 30),
                    random(rng, ALNUM, 24),
                    random(rng, ALNUM, 30)
                ),
            )
        }),
        ("server call", |_| {
            file(
                "server.py",
                "requests.post('https://api.openai.com/v1/responses', headers={'Authorization': f'Bearer {key}'})\n",
            )
        }),
        ("client's own message", |_| {
            file(
                "index.mjs",
                "throw new Error(\"set `dangerouslyAllowBrowser` option to `true`, e.g.,\\n\\nnew OpenAI({ apiKey, dangerouslyAllowBrowser: true });\\n\\nhttps://help.openai.com/en/articles/5112595\\n\")",
            )
        }),
        ("css classes", |_| {
            file("a.css", ".task-list-item-checkbox-with-a-long-name, .disk-usage-indicator-large-and-wide {}")
        }),
        ("database example", |_| {
            file(
                "d.md",
                "postgres://user:password@localhost:5432/mydb mysql://root:root@127.0.0.1/test redis://:${REDIS_PASSWORD}@redis:6379",
            )
        }),
        ("identifiers", |_| {
            file(
                "a.rs",
                "fn week_number_of_the_month_and_the_year_1234() { let hf_model_name_for_the_longest_of_them = 1; }",
            )
        }),
        // Second generation.
        ("minified code", |rng| {
            file(
                "m.js",
                (0..2000)
                    .map(|_| {
                        format!(
                            "{}({},\"{}\"),",
                            random(rng, ALNUM, 2),
                            random(rng, ALNUM, 3),
                            random(rng, "abcdefghij-_", 14)
                        )
                    })
                    .collect::<String>(),
            )
        }),
        ("jwt sample", |_| {
            file(
                "jwt.md",
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
            )
        }),
        ("source map mappings", |rng| {
            file(
                "x.map",
                format!(
                    "{{\"mappings\":\"{}\"}}",
                    (0..3000).map(|_| random(rng, "ABCDEFGHIKMOQSTUacegikmo", 4)).collect::<Vec<_>>().join(",")
                ),
            )
        }),
        ("html prose with entities", |_| {
            file(
                "p.html",
                "<p>Ask&nbsp;for the task&#45;list &amp; the disk&ndash;usage of sk&#8209;learn&#8209;models</p>"
                    .repeat(50),
            )
        }),
        ("sklearn", |_| {
            file("req.txt", "sk-learn-contrib-package-with-long-name==1.2\nsk-video-processing-tools-and-more\n")
        }),
        ("locales", |_| {
            file("sk-SK.json", "{\"sk-SK\": \"sk-SK\", \"lang\": \"sk\", \"x\": [\"s\", \"k\", \"-\", \"proj\"]}")
        }),
        ("char tables", |_| {
            file("t.c", "int t[] = {115, 107, 45, 112, 114, 111, 106, 45, 1, 2, 3, 4, 5, 6, 7, 8, 9};")
        }),
        ("redacted", |_| {
            file(
                "r.json",
                "{\"redacted_value\": \"sk-proj-****************************abcd\", \"k\": \"sp-proj_****abcd\"}",
            )
        }),
        ("star key", |_| {
            file("s.log", "Incorrect API key provided: sk-proj-********************************************T3Bl.")
        }),
        ("test fixture of zeros", |_| {
            file(
                "z.env",
                "K=sk-proj-00000000000000000000T3BlbkFJ00000000000000000000\nG=ghp_000000000000000000000000000000000000\n",
            )
        }),
        ("etags", |rng| {
            file(
                "h.txt",
                (0..30)
                    .map(|_| {
                        format!("ETag: W/\"{}\"\nx-request-id: req_{}\n", random(rng, HEX, 32), random(rng, HEX, 32))
                    })
                    .collect::<String>(),
            )
        }),
        ("openai ids", |rng| {
            file(
                "i.json",
                format!(
                    "{{\"id\":\"chatcmpl-{}\",\"o\":\"org-{}\",\"p\":\"proj_{}\",\"f\":\"file-{}\",\"r\":\"resp_{}\"}}",
                    random(rng, ALNUM, 29),
                    random(rng, ALNUM, 24),
                    random(rng, ALNUM, 24),
                    random(rng, ALNUM, 24),
                    random(rng, HEX, 48)
                ),
            )
        }),
        ("stripe test and publishable", |rng| {
            file("p.env", format!("pk_live_{} sk_test_{}", random(rng, ALNUM, 24), random(rng, ALNUM, 24)))
        }),
        ("tailwind", |_| {
            file(
                "tw.html",
                "<div class=\"mask-image-[linear-gradient(black,transparent)] ask-ai-button-primary-large\">"
                    .repeat(40),
            )
        }),
        ("go sum", |rng| {
            file(
                "go.sum",
                (0..40).map(|_| format!("github.com/a/b v1.2.3 h1:{}=\n", random(rng, ALNUM, 43))).collect::<String>(),
            )
        }),
        ("ansible vault", |rng| {
            file("v.yml", format!("$ANSIBLE_VAULT;1.1;AES256\n{}\n", cut(&random(rng, HEX, 800), 80, "\n")))
        }),
        ("commented switch", |_| {
            file("c.ts", "const o = {\n  // dangerouslyAllowBrowser: true, never\n  maxRetries: 2,\n}\n")
        }),
    ]
}

struct Score {
    name: &'static str,
    right: usize,
    wrong: Vec<String>,
}

/// Writes files of a row, each in a folder of its own, and counts those with a finding.
fn score(name: &'static str, is_secret: bool, make: &mut dyn FnMut(&mut Rng) -> File) -> Score {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = Rng::with_seed(name.bytes().map(u64::from).sum());
    for at in 0..EACH {
        let (file, bytes) = make(&mut rng);
        let place = folder.path().join(format!("{at}"));
        fs::create_dir(&place).unwrap();
        fs::write(place.join(file), bytes).unwrap();
    }
    let hits = tree(folder.path()).hits;
    let has_hit = |at: usize| {
        let place = format!("{}/", folder.path().join(format!("{at}")).display());
        hits.iter().find(|hit| hit.file.starts_with(&place))
    };
    let mut score = Score { name, right: 0, wrong: Vec::new() };
    for at in 0..EACH {
        match has_hit(at) {
            hit if hit.is_some() == is_secret => score.right += 1,
            Some(hit) => score.wrong.push(format!("{} {}", hit.rule.kind, hit.redacted)),
            None => score.wrong.push(read_back(folder.path(), at)),
        }
    }
    score
}

fn read_back(folder: &Path, at: usize) -> String {
    let entry = fs::read_dir(folder.join(format!("{at}"))).unwrap().next().unwrap().unwrap();
    let bytes = fs::read(entry.path()).unwrap();
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

fn keyed(rows: Vec<Row<&'static str>>, key: fn(&mut Rng) -> String) -> Vec<Score> {
    rows.into_iter()
        .map(|(name, place)| {
            score(name, true, &mut |rng| {
                let key = key(rng);
                // The rows borrow the key for as long as the test runs: a few kilobytes.
                place(Box::leak(key.into_boxed_str()), rng)
            })
        })
        .collect()
}

fn table(title: &str, scores: &[Score]) -> usize {
    let wrong: usize = scores.iter().map(|score| score.wrong.len()).sum();
    println!("{title}: {} of {} right", scores.len() * EACH - wrong, scores.len() * EACH);
    for score in scores {
        println!("  {:<36} {:>2} of {EACH}", score.name, score.right);
        score.wrong.iter().take(2).for_each(|wrong| println!("      wrong: {wrong}"));
    }
    wrong
}

#[test]
fn every_secret_and_nothing_else() {
    let missed = table("keys of the OpenAI API", &keyed(plain(), openai))
        + table("keys of the gate", &keyed(plain(), own))
        + table("hidden keys", &keyed(hidden(), openai))
        + table(
            "other credentials and signs",
            &others().into_iter().map(|(name, mut make)| score(name, true, &mut make)).collect::<Vec<_>>(),
        );
    let alarms = table(
        "look-alikes",
        &look_alikes().into_iter().map(|(name, mut make)| score(name, false, &mut make)).collect::<Vec<_>>(),
    );
    println!("missed: {missed}, false alarms: {alarms}");
    assert_eq!((missed, alarms), (0, 0));
}
