//! Settled amounts equal what an independent reader makes of the upstream's own books: difference 0, for every endpoint
//! family and shape of answer, over many random requests; with limits on, no request costs more than was held for it.
//!
//! `SALLYPORT_HEAVY=1` makes thousands of requests of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Billed, Billing, Script};

use crate::books::{Chance, row, sum, total};
use crate::client::request;
use crate::world::World;

/// Models whose prices differ in kind: no cache writes listed, both kinds listed, a long-context step, more tiers.
const CHAT: [&str; 9] = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.5",
    "gpt-5.6-luna",
    "gpt-6-astra",
    "gpt-6.1-terra",
];
/// Those that list what a web search costs.
const SEARCHING: [&str; 5] = ["gpt-4o-mini", "gpt-5", "gpt-5.5", "gpt-6-astra", "gpt-6.1-terra"];

/// A call and what the upstream does with it.
struct Case {
    target: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
    script: Value,
}

fn json_case(target: &'static str, body: &Value, script: Value) -> Case {
    Case { target, content_type: "application/json", body: body.to_string().into_bytes(), script }
}

fn form_case(target: &'static str, parts: &[(&str, Option<&str>, &[u8])], script: Value) -> Case {
    let mut body = Vec::new();
    for (name, file, data) in parts {
        let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        let head = format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XyZ--\r\n");
    Case { target, content_type: "multipart/form-data; boundary=XyZ", body, script }
}

/// What requests are made of. Under a limit the upstream must keep to what an upstream may do: read no more tokens than
/// the request has bytes, and write no more than its caps.
struct Maker {
    chance: Chance,
    is_bounded: bool,
}

impl Maker {
    fn text(&mut self) -> String {
        let words = ["alpha ", "straße ", "日本語 ", "\\\"quoted\\\" ", "x", "tab\tnewline\n"];
        let count = self.chance.within(1, 60);
        (0..count).map(|_| self.chance.of(&words)).collect()
    }

    /// A tier that the model has a price for: what the request says, and what the upstream serves.
    fn tiers(&mut self, model: &str, body: &mut Value, script: &mut Value) {
        let listed = row(model)["prices"].as_object().expect("prices");
        let served: Vec<&str> = ["standard", "flex", "priority", "ultrafast"]
            .into_iter()
            .filter(|tier| listed.contains_key(*tier))
            .map(|tier| if tier == "standard" { "default" } else { tier })
            .collect();
        let tier = self.chance.of(&served);
        match self.chance.within(0, 3) {
            0 => {}
            1 => body["service_tier"] = json!(tier),
            2 => {
                body["service_tier"] = json!("auto");
                script["service_tier"] = json!(tier);
            }
            _ => script["service_tier"] = json!(tier),
        }
    }

    /// Tokens in and out. `bytes` are those of the prompt.
    fn tokens(&mut self, model: &str, bytes: u64, script: &mut Value) {
        let has_step = row(model)["long_above"].is_u64() && !self.is_bounded;
        let step = [272_000, 272_001, 300_000];
        let tier = script["service_tier"].as_str().unwrap_or("default");
        // The long prices of tiers without a list of them are the gate's own, careful, guess.
        let has_long = row(model)["long"].get(if tier == "default" { "standard" } else { tier }).is_some();
        let prompt = match self.chance.within(0, 4) {
            0 if has_step && has_long => self.chance.of(&step),
            0 | 1 => self.chance.within(1, bytes.max(1)),
            2 if !self.is_bounded => self.chance.within(1, 200_000),
            _ => 0,
        };
        if prompt > 0 {
            script["prompt_tokens"] = json!(prompt);
        }
        let part = if prompt > 0 { prompt / 3 } else { bytes / 16 };
        for name in ["cached_tokens", "cache_write_tokens", "cache_write_12h_tokens"] {
            if self.chance.once_in(2) {
                script[name] = json!(self.chance.within(0, part));
            }
        }
        if self.chance.once_in(2) {
            script["completion_tokens"] = json!(self.chance.within(1, 3_000));
        }
        if self.chance.once_in(3) {
            script["reasoning_tokens"] = json!(self.chance.within(1, 900));
        }
        if self.chance.once_in(3) {
            script["pieces"] = json!(self.chance.within(1, 20));
        }
        if self.chance.once_in(3) {
            script["chunk_bytes"] = json!(self.chance.of(&[1_u64, 7, 500]));
        }
        // How the answer is put on the wire is nobody's money.
        match self.chance.within(0, 12) {
            0 => script["encoding"] = json!(self.chance.of(&["gzip", "deflate", "br"])),
            1 => script["crlf"] = json!(true),
            2 => script["comments"] = json!(true),
            3 => script["big_event_bytes"] = json!(30_000),
            4 => script["until_close"] = json!(true),
            5 => script["http10"] = json!(true),
            6 => script["informational"] = json!(true),
            7 => script["no_done"] = json!(true),
            _ => {}
        }
    }

    fn stream(&mut self, body: &mut Value) {
        if self.chance.once_in(2) {
            body["stream"] = json!(true);
            match self.chance.within(0, 2) {
                0 => body["stream_options"] = json!({"include_usage": true}),
                1 => body["stream_options"] = json!({"include_obfuscation": false}),
                _ => {}
            }
        }
    }

    fn chat(&mut self) -> Case {
        let always = ["gpt-4o-search-preview", "gpt-5-search-api"];
        let is_search = self.chance.once_in(6);
        let model = match self.chance.within(0, 9) {
            0 => self.chance.of(&always),
            _ if is_search => self.chance.of(&SEARCHING),
            _ => self.chance.of(&CHAT),
        };
        let text = self.text();
        let mut body = json!({"model": model, "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]});
        let mut script = json!({});
        self.stream(&mut body);
        self.tiers(model, &mut body, &mut script);
        if body["service_tier"].is_string() && body["service_tier"] != "auto" {
            script["service_tier"] = body["service_tier"].clone();
        }
        self.tokens(model, text.len() as u64, &mut script);
        if self.chance.once_in(3) {
            body["n"] = json!(self.chance.within(1, 4));
        }
        match self.chance.within(0, 3) {
            0 => body["max_completion_tokens"] = json!(self.chance.within(1, 2_000)),
            1 => body["max_tokens"] = json!(self.chance.within(1, 2_000)),
            _ => {}
        }
        if is_search {
            let size = self.chance.of(&["low", "medium", "high", ""]);
            body["web_search_options"] = if size.is_empty() { json!({}) } else { json!({"search_context_size": size}) };
        }
        json_case("/v1/chat/completions", &body, script)
    }

    fn audio_chat(&mut self) -> Case {
        let mut body = json!({"model": "gpt-audio", "modalities": ["text", "audio"],
            "audio": {"voice": "alloy", "format": "wav"}, "messages": [{"role": "user", "content": self.text()}]});
        self.stream(&mut body);
        let audio_out = self.chance.within(0, 400);
        let mut script = json!({"completion_tokens": 400 + self.chance.within(0, 400), "audio_tokens": audio_out});
        if !self.is_bounded {
            script["prompt_tokens"] = json!(5_000);
            script["input_audio_tokens"] = json!(self.chance.within(0, 4_000));
        }
        json_case("/v1/chat/completions", &body, script)
    }

    fn response(&mut self) -> Case {
        let has_tools = self.chance.once_in(3);
        let model = if has_tools { self.chance.of(&SEARCHING) } else { self.chance.of(&CHAT) };
        let text = self.text();
        let mut body = json!({"model": model, "input": text, "instructions": "Be brief.", "store": false});
        let mut script = json!({});
        if self.chance.once_in(2) {
            body["stream"] = json!(true);
        }
        self.tiers(model, &mut body, &mut script);
        if body["service_tier"].is_string() && body["service_tier"] != "auto" {
            script["service_tier"] = body["service_tier"].clone();
        }
        self.tokens(model, text.len() as u64, &mut script);
        if self.chance.once_in(3) {
            body["max_output_tokens"] = json!(self.chance.within(16, 2_000));
        }
        if self.chance.once_in(8) {
            script["fail_response"] = json!(true);
        }
        if has_tools {
            let size = self.chance.of(&["low", "medium", "high"]);
            body["tools"] = json!([
                {"type": "web_search", "search_context_size": size},
                {"type": "file_search", "vector_store_ids": ["vs_1"]},
                {"type": "code_interpreter", "container": {"type": "auto"}}]);
            if self.chance.once_in(2) {
                body["max_tool_calls"] = json!(self.chance.within(1, 5));
            }
            script["hosted_tool_calls"] = json!({
                "web_search_call": self.chance.within(0, 4), "file_search_call": self.chance.within(0, 3),
                "code_interpreter_call": self.chance.within(0, 3)});
        }
        json_case("/v1/responses", &body, script)
    }

    fn compact(&mut self) -> Case {
        let model = self.chance.of(&CHAT);
        let text = self.text();
        let mut script = json!({});
        self.tokens(model, text.len() as u64, &mut script);
        json_case("/v1/responses/compact", &json!({"model": model, "input": text}), script)
    }

    fn legacy(&mut self) -> Case {
        let model = self.chance.of(&["gpt-3.5-turbo-instruct", "davinci-002"]);
        let prompt = match self.chance.within(0, 3) {
            0 => json!(self.text()),
            1 => json!([self.text(), self.text(), self.text()]),
            2 => json!([1, 2, 3, 400, 5]),
            _ => json!([[1, 2, 3], [4, 5]]),
        };
        let mut body = json!({"model": model, "prompt": prompt});
        let mut script = json!({});
        self.stream(&mut body);
        if self.chance.once_in(2) {
            body["max_tokens"] = json!(self.chance.within(1, 300));
        }
        if self.chance.once_in(2) {
            body["n"] = json!(self.chance.within(1, 3));
            body["best_of"] = json!(self.chance.within(3, 5));
        }
        if self.chance.once_in(2) {
            script["completion_tokens"] = json!(self.chance.within(1, 6_000));
        }
        json_case("/v1/completions", &body, script)
    }

    fn embedding(&mut self) -> Case {
        let long = "word ".repeat(5_000);
        let input = match self.chance.within(0, 4) {
            0 => json!(self.text()),
            1 => json!([self.text(), self.text()]),
            2 => json!([1, 2, 3, 400, 5]),
            3 => json!([long, long, long, long, long]),
            _ => json!([[1, 2, 3], [4, 5]]),
        };
        let model = self.chance.of(&["text-embedding-3-small", "text-embedding-3-large"]);
        let format = self.chance.of(&["float", "base64"]);
        json_case("/v1/embeddings", &json!({"model": model, "input": input, "encoding_format": format}), json!({}))
    }

    fn image(&mut self) -> Case {
        if self.chance.once_in(3) {
            let (model, sizes, qualities): (_, &[&str], &[&str]) = self.chance.of(&[
                ("dall-e-2", &["256x256", "512x512", "1024x1024"][..], &["standard"][..]),
                ("dall-e-3", &["1024x1024", "1792x1024", "1024x1792"][..], &["standard", "hd"][..]),
            ]);
            let mut body = json!({"model": model, "prompt": self.text(), "n": self.chance.within(1, 3)});
            if self.chance.once_in(2) {
                body["size"] = json!(self.chance.of(sizes));
            }
            if self.chance.once_in(2) {
                body["quality"] = json!(self.chance.of(qualities));
            }
            return json_case("/v1/images/generations", &body, json!({}));
        }
        let model = self.chance.of(&["gpt-image-1", "gpt-image-1.5"]);
        let mut body = json!({"model": model, "prompt": self.text()});
        let mut script = json!({});
        if self.chance.once_in(2) {
            body["n"] = json!(self.chance.within(1, 3));
        }
        if self.chance.once_in(2) {
            body["quality"] = json!(self.chance.of(&["low", "medium", "high", "auto"]));
        }
        if self.chance.once_in(2) {
            body["size"] = json!(self.chance.of(&["1024x1024", "1024x1536", "1536x1024", "auto"]));
        }
        if self.chance.once_in(3) {
            body["stream"] = json!(true);
            body["partial_images"] = json!(self.chance.within(0, 3));
        }
        if !self.is_bounded && model == "gpt-image-1.5" {
            script["reasoning_tokens"] = json!(self.chance.within(0, 200));
        }
        json_case("/v1/images/generations", &body, script)
    }

    fn image_edit(&mut self) -> Case {
        let text = self.text();
        if self.chance.once_in(4) {
            let parts: &[(&str, Option<&str>, &[u8])] = &[("model", None, b"dall-e-2"), ("image", Some("a.png"), PNG)];
            return form_case("/v1/images/variations", parts, json!({}));
        }
        let model = self.chance.of(&["gpt-image-1", "gpt-image-1.5"]);
        if self.chance.once_in(3) {
            let body = json!({"model": model, "prompt": text,
                "images": [{"image_url": "https://example.com/a.png"}, {"file_id": "file-1"}]});
            return json_case("/v1/images/edits", &body, json!({}));
        }
        let parts: &[(&str, Option<&str>, &[u8])] = &[
            ("model", None, model.as_bytes()),
            ("prompt", None, text.as_bytes()),
            ("n", None, b"2"),
            ("image[]", Some("a.png"), PNG),
            ("image[]", Some("b.png"), PNG),
        ];
        form_case("/v1/images/edits", parts, json!({}))
    }

    fn speech(&mut self) -> Case {
        let said = format!("{}\u{1f600}e\u{301}", self.text());
        if self.chance.once_in(2) {
            let model = self.chance.of(&["tts-1", "tts-1-hd"]);
            return json_case("/v1/audio/speech", &json!({"model": model, "input": said, "voice": "alloy"}), json!({}));
        }
        let body = json!({"model": "gpt-4o-mini-tts", "input": said, "voice": "alloy", "stream_format": "sse",
            "instructions": "Whisper."});
        json_case("/v1/audio/speech", &body, json!({"audio_tokens": self.chance.within(1, 9_000)}))
    }

    fn transcription(&mut self) -> Case {
        let sound = wav(self.chance.within(1, 4_000));
        if self.chance.once_in(2) {
            let format = self.chance.of(&["json", "text", "srt", "vtt", "verbose_json"]);
            let target =
                self.chance.of(&["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/transcriptions"]);
            let parts: &[(&str, Option<&str>, &[u8])] = &[
                ("model", None, b"whisper-1"),
                ("response_format", None, format.as_bytes()),
                ("file", Some("a.wav"), &sound),
            ];
            return form_case(target, parts, json!({}));
        }
        let model = self.chance.of(&["gpt-4o-transcribe", "gpt-4o-mini-transcribe"]);
        let mut parts: Vec<(&str, Option<&str>, &[u8])> =
            vec![("model", None, model.as_bytes()), ("file", Some("a.wav"), &sound), ("prompt", None, b"names")];
        if self.chance.once_in(2) {
            parts.push(("stream", None, b"true"));
        }
        form_case("/v1/audio/transcriptions", &parts, json!({}))
    }

    fn decision(&mut self) -> Case {
        let body = json!({"model": "gpt-6-luna", "input": self.text(),
            "questions": [{"type": "predicate", "name": "is_spam", "question": "Is it spam?"}]});
        let mut script = json!({});
        if self.chance.once_in(2) {
            script["cached_tokens"] = json!(3);
            script["cache_write_tokens"] = json!(2);
        }
        json_case("/v1/decisions", &body, script)
    }

    fn moderation(&mut self) -> Case {
        let mut body = json!({"input": self.text()});
        if self.chance.once_in(2) {
            body["model"] = json!("omni-moderation-latest");
        }
        json_case("/v1/moderations", &body, json!({}))
    }

    fn case(&mut self) -> Case {
        match self.chance.within(0, 19) {
            0..=4 => self.chat(),
            5 => self.audio_chat(),
            6..=9 => self.response(),
            10 => self.compact(),
            11 => self.legacy(),
            12 => self.embedding(),
            13 | 14 => self.image(),
            15 => self.image_edit(),
            16 => self.speech(),
            17 => self.transcription(),
            18 => self.decision(),
            _ => self.moderation(),
        }
    }
}

/// A picture of one pixel, as far as anybody looks at it.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89";

/// A recording of silence: 8 bits at 8 kHz.
fn wav(ms: u64) -> Vec<u8> {
    let bytes = u32::try_from(ms * 8).expect("short");
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend([8_000_u32.to_le_bytes(), 8_000_u32.to_le_bytes()].concat());
    wav.extend(b"\x01\0\x08\0data");
    wav.extend(bytes.to_le_bytes());
    wav.resize(wav.len() + bytes as usize, 0x80);
    wav
}

/// How many requests.
fn rounds(usual: u64) -> u64 {
    if std::env::var("SALLYPORT_HEAVY").is_ok_and(|heavy| heavy == "1") { usual * 20 } else { usual }
}

/// Makes the calls of one maker, over one connection.
fn play(world: &World, maker: &mut Maker, count: u64) {
    let bearer = format!("Bearer {}", world.project_key);
    let mut connection = world.connect();
    let mut before = String::new();
    for _ in 0..count {
        let case = maker.case();
        let script = case.script.to_string();
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", case.content_type), ("X-Script", script.as_str())];
        connection.send(&request("POST", case.target, &headers, &case.body));
        let answer =
            connection.answer().unwrap_or_else(|| panic!("no answer to {}: {} after {before}", case.target, script));
        before = format!("{script} {:?}", answer.headers);
        let sent = String::from_utf8_lossy(&case.body[..case.body.len().min(600)]).into_owned();
        assert_eq!(answer.status, 200, "{} {sent} {script}: {}", case.target, answer.text());
        assert!(answer.is_whole, "{} {sent} {script}", case.target);
    }
}

/// Compares the usage reports with the upstream's books.
fn expect_usage(world: &World, billing: &Billing, moderations: u64) {
    let report = |name: &str| world.usage(name, &world.project_id);
    let bills = |paths: &[&str]| -> Vec<&Billed> {
        billing.billed.iter().filter(|billed| paths.iter().any(|path| billed.path.starts_with(path))).collect()
    };
    let count = |bills: &[&Billed], is_one: &dyn Fn(&str) -> bool| -> u64 {
        bills.iter().flat_map(|billed| &billed.quantities).filter(|(unit, _)| is_one(unit)).map(|(_, n)| n).sum()
    };
    let is_input = |unit: &str| unit.ends_with("_input") || unit.starts_with("text_c");
    let is_output = |unit: &str| unit.ends_with("_output");
    let expect = |name: &str, figures: &[(&str, u64)]| {
        let got = report(name);
        for (figure, expected) in figures {
            assert_eq!(got.get(*figure).copied().unwrap_or(0), *expected, "{name} {figure}: {got:?}");
        }
    };
    let text = bills(&["/v1/chat", "/v1/responses", "/v1/completions"]);
    expect(
        "completions",
        &[
            ("input_tokens", count(&text, &is_input)),
            ("output_tokens", count(&text, &is_output)),
            ("input_cached_tokens", count(&text, &|unit| unit == "text_cached_input")),
            ("input_cache_write_tokens", count(&text, &|unit| unit.starts_with("text_cache_write"))),
            ("input_audio_tokens", count(&text, &|unit| unit == "audio_input")),
            ("output_audio_tokens", count(&text, &|unit| unit == "audio_output")),
            ("num_model_requests", text.len() as u64),
        ],
    );
    let decisions = bills(&["/v1/decisions"]);
    expect(
        "decisions",
        &[("input_tokens", count(&decisions, &is_input)), ("num_model_requests", decisions.len() as u64)],
    );
    let embeddings = bills(&["/v1/embeddings"]);
    expect(
        "embeddings",
        &[("input_tokens", count(&embeddings, &is_input)), ("num_model_requests", embeddings.len() as u64)],
    );
    expect("images", &[("num_model_requests", bills(&["/v1/images"]).len() as u64)]);
    let speeches = bills(&["/v1/audio/speech"]);
    expect(
        "audio_speeches",
        &[
            ("characters", count(&speeches, &|unit| unit == "characters")),
            ("num_model_requests", speeches.len() as u64),
        ],
    );
    let heard = bills(&["/v1/audio/trans"]);
    expect(
        "audio_transcriptions",
        &[("seconds", count(&heard, &|unit| unit == "audio_ms") / 1_000), ("num_model_requests", heard.len() as u64)],
    );
    expect("moderations", &[("num_model_requests", moderations)]);
    let all: Vec<&Billed> = billing.billed.iter().collect();
    expect("web_search_calls", &[("num_requests", count(&all, &|unit| unit.starts_with("web_search")))]);
    expect("file_search_calls", &[("num_requests", count(&all, &|unit| unit == "file_search"))]);
    expect("code_interpreter_sessions", &[("num_sessions", count(&all, &|unit| unit == "container_session"))]);
}

/// Runs the random calls and compares the books.
fn compare(world: &World, is_bounded: bool, seed: u64, count: u64) -> u128 {
    world.price_file_searches();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let chance = Chance(seed + thread);
            scope.spawn(move || play(world, &mut Maker { chance, is_bounded }, count / 2));
        }
    });
    let recorded = world.upstream.requests();
    let moderations = recorded.iter().filter(|recorded| recorded.target == "/v1/moderations").count() as u64;
    let wanted = count / 2 * 2 - moderations;
    let billing = world.upstream.wait_for_billing(|billing| billing.requests == wanted);
    let expected = sum(&billing.billed);
    world.expect_charged(&world.project_id, &expected);
    expect_usage(world, &billing, moderations);
    assert_eq!(world.estimates(), Vec::<Value>::new(), "everything said what it used");
    // Every family came, whatever chance did.
    let mut families: BTreeMap<&str, u64> = BTreeMap::new();
    billing.billed.iter().for_each(|billed| *families.entry(&billed.path).or_default() += 1);
    assert!(families.len() >= 11, "{families:?}");
    world.expect_no_defect();
    total(&expected)
}

#[test]
fn without_limits_every_nano_dollar_is_the_upstream_s() {
    compare(&World::new(), false, 1, rounds(260));
}

/// The same with money held for each: caps are put in and taken out, and no bound is too small.
#[test]
fn under_limits_every_nano_dollar_is_the_upstream_s() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 100_000_000);
    let scopes = [json!({"kind": "organization"}), json!({"kind": "tag", "project_id": world.project_id})];
    let organization = world.limit_of(scopes[0].clone(), "day", "1000000.00", json!({}));
    // Nobody can say how long what such a model speaks will be.
    world.money(&world.project_id, &json!({"allowances": {"/v1/audio/speech": "1.00"}}));
    let spent = compare(&world, true, 100, rounds(260));
    for limit in [&limit, &organization] {
        assert_eq!((world.figure(limit, "settled"), world.figure(limit, "held")), (spent, 0));
        assert_eq!(world.figure(limit, "left"), world.figure(limit, "amount") - spent);
    }
}

/// A short answer comes in one go, a long one in crumbs; compressed, with other line ends, without a length.
#[test]
fn however_an_answer_comes_what_it_says_is_read() {
    let world = World::new();
    let manners = [
        json!({}),
        json!({"encoding": "gzip"}),
        json!({"encoding": "deflate"}),
        json!({"encoding": "br"}),
        json!({"crlf": true}),
        json!({"comments": true}),
        json!({"big_event_bytes": 30_000}),
        json!({"until_close": true}),
        json!({"http10": true}),
        json!({"informational": true}),
        json!({"no_done": true}),
    ];
    for mut script in manners {
        for (chunk_bytes, stream) in [(0, true), (1, true), (70, true), (100_000, true), (0, false), (9, false)] {
            script["chunk_bytes"] = json!(chunk_bytes);
            for (target, mut body) in [
                ("/v1/chat/completions", json!({"model": "gpt-4o", "messages": [], "stream": stream})),
                ("/v1/responses", json!({"model": "gpt-4o", "input": "x", "stream": stream})),
                ("/v1/completions", json!({"model": "davinci-002", "prompt": "x", "stream": stream})),
                ("/v1/images/generations", json!({"model": "gpt-image-1", "prompt": "x", "stream": stream})),
            ] {
                if chunk_bytes == 70 && target.contains("completions") {
                    body["stream_options"] = json!({"include_usage": true});
                }
                let answer = world.post_with(target, &body, &[("X-Script", &script.to_string())]);
                assert_eq!(answer.status, 200, "{target} {script}: {}", answer.text());
            }
        }
    }
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 11 * 6 * 4).billed;
    assert!(billed.iter().all(|billed| billed.complete));
    world.expect_charged(&world.project_id, &sum(&billed));
}

/// What stands at the beginning of an answer counts, however long it is: hosted calls, the tier, pictures.
#[test]
fn long_answers_are_read_from_their_beginning() {
    let world = World::new();
    let long = "x".repeat(1_500_000);
    let call = |kind: &str| json!({"type": kind, "id": "call_1", "status": "completed"});
    let text = json!({"type": "message", "content": [{"type": "output_text", "text": long}]});
    let answers = [
        (
            "/v1/chat/completions",
            json!({"model": "gpt-4o", "messages": []}),
            json!({"service_tier": "priority", "choices": [{"message": {"content": long}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 20}}),
        ),
        (
            "/v1/responses",
            json!({"model": "gpt-5", "input": "x", "tools": [{"type": "web_search"}], "store": false}),
            json!({"id": "resp_1", "service_tier": "priority", "usage": {"input_tokens": 10, "output_tokens": 20},
                "output": [call("web_search_call"), call("web_search_call"), call("web_search_call"), text]}),
        ),
        (
            "/v1/images/generations",
            json!({"model": "dall-e-3", "prompt": "x", "n": 2, "quality": "hd", "size": "1024x1792"}),
            json!({"created": 1, "data": [{"b64_json": long}, {"revised_prompt": "x", "b64_json": long}]}),
        ),
    ];
    for (target, body, answer) in answers {
        world.upstream.script(Script {
            body: Some(answer.clone()),
            prompt_tokens: Some(10),
            completion_tokens: Some(20),
            service_tier: Some("priority".into()),
            hosted_tool_calls: [("web_search_call".to_owned(), 3)].into(),
            ..Script::default()
        });
        let given = world.post(target, &body);
        assert!(given.status == 200 && given.json() == answer, "{target}");
    }
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 3).billed;
    assert_eq!(billed[1].quantities["web_search_medium"], 3);
    world.expect_charged(&world.project_id, &sum(&billed));
    assert_eq!(world.usage("images", &world.project_id)["images"], 2);
}
