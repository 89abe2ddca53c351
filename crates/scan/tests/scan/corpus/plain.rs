//! Places where a key stands as it is.

use super::{Rng, Row, file};
use crate::make::{gzip, random, tar, zip};

/// Where a key of the OpenAI API or of the gate is, as it stands.
pub(super) fn plain() -> Vec<Row<&'static str>> {
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
