//! Random calls of every endpoint family, and what the upstream does with each.

use serde_json::{Value, json};

use crate::books::{Chance, row};

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
pub(crate) struct Case {
    pub(crate) target: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) script: Value,
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
pub(crate) struct Maker {
    pub(crate) chance: Chance,
    pub(crate) is_bounded: bool,
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

    pub(crate) fn case(&mut self) -> Case {
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
