//! Speech, and its transcription and translation: billed by characters, tokens or seconds, as the model has it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::usage::{self, Input, Output};
use super::{Event, Reply, Request, event, objects, piece, text};
use crate::billing::{Bill, Quantities, unit};
use crate::script::{Script, UsageShape};
use crate::tokens;

/// Tokens of a speech, where a script does not say.
const SPEECH_TOKENS: u64 = 40;
/// Words of a transcription, where a script does not say.
const HEARD_PIECES: usize = 3;
/// Milliseconds of audio in a token.
const TOKEN_MS: u64 = 100;
/// Bytes of a millisecond of audio that is no WAV: 128 kbit/s.
const BYTES_PER_MS: u64 = 16;

/// `POST /v1/audio/speech`
pub(super) fn speech(request: &Request<'_>, script: &Script) -> Reply {
    let body = request.json();
    let (model, said) = (body["model"].as_str().unwrap_or_default(), body["input"].as_str().unwrap_or_default());
    let is_sse = body["stream_format"] == "sse";
    let bill =
        Bill { path: request.path.to_owned(), model: model.to_owned(), tier: "default".to_owned(), ..Bill::default() };
    if model.starts_with("tts-1") {
        if is_sse {
            let words = format!("stream_format `sse` is not supported for {model}.");
            return Reply::error(400, "invalid_request_error", None, &words);
        }
        let input = Quantities::from([(unit::CHARACTERS, said.chars().count() as u64)]);
        return spoken().billed(Bill { input, ..bill });
    }
    let instructions = body["instructions"].as_str().map_or(0, tokens);
    let input = Input::new(&usage::sums_only(script), tokens(said) + instructions);
    let usual = if script.audio_tokens > 0 { script.audio_tokens } else { SPEECH_TOKENS };
    let total = usage::scripted_total(request, script).unwrap_or(usual);
    let bill = Bill { input: input.quantities(), output: vec![(unit::AUDIO_OUTPUT, total)], ..bill };
    if !is_sse {
        return spoken().billed(bill);
    }
    let count = script.pieces.unwrap_or(1).max(1) as u64;
    let delta = json!({"type": "speech.audio.delta", "audio": STANDARD.encode(objects::noise("speech", 300))});
    let delta = event(None, &delta);
    let deltas = (1..=count).map(move |at| Event::new(delta.clone(), total * at / count));
    let reported = script.reported(total);
    let mut done = json!({"type": "speech.audio.done"});
    if !script.no_usage {
        let all = input.total + reported;
        done["usage"] = json!({"input_tokens": input.total, "output_tokens": reported, "total_tokens": all});
    }
    Reply::stream(Box::new(deltas.chain([Event::new(event(None, &done), total)]))).billed(bill)
}

/// A speech as bytes: nothing in them says what it costs.
fn spoken() -> Reply {
    Reply::bytes(200, "audio/mpeg", objects::noise("speech", 5_000))
}

/// `POST /v1/audio/transcriptions` and `/translations`
pub(super) fn transcription(request: &Request<'_>, script: &Script) -> Reply {
    let model = request.part("model").unwrap_or_default();
    let by_tokens = model.starts_with("gpt-4o");
    let usual = if by_tokens { UsageShape::Tokens } else { UsageShape::Duration };
    let length_ms = script.audio_ms.unwrap_or_else(|| length_ms(&objects::file_part(request.body)));
    let heard = Heard::new(request, script, length_ms);
    let (bill, usage) = match script.usage_shape.unwrap_or(usual) {
        UsageShape::Tokens => heard.by_tokens(request, script, &model),
        UsageShape::Duration => heard.by_duration(request, script, &model),
    };
    // The oldest model has no streams: it ignores that one is asked for.
    let is_stream = request.part("stream").as_deref() == Some("true") && model != "whisper-1";
    let usage = Some(usage).filter(|_| !script.no_usage);
    if is_stream { heard.streamed(script, usage) } else { heard.whole(request, usage) }.billed(bill)
}

/// What a transcription hears.
struct Heard {
    text: String,
    length_ms: u64,
    input: Input,
    output: Output,
}

impl Heard {
    fn new(request: &Request<'_>, script: &Script, length_ms: u64) -> Heard {
        let prompt = request.part("prompt").map_or(0, |prompt| tokens(&prompt));
        let measured = length_ms.div_ceil(TOKEN_MS).max(1);
        let audio = match (script.input_audio_tokens, script.prompt_tokens) {
            (0, None) => measured,
            (0, Some(total)) => total.saturating_sub(prompt),
            (scripted, _) => scripted,
        };
        let script = Script {
            input_audio_tokens: audio,
            pieces: Some(script.pieces.unwrap_or(HEARD_PIECES)),
            ..usage::sums_only(script)
        };
        let output = Output::new(request, &script, (None, 1), |_| 0);
        let text = text(output.pieces_of(0, 1));
        Heard { text, length_ms, input: Input::new(&script, prompt + audio), output }
    }

    fn by_tokens(&self, request: &Request<'_>, script: &Script, model: &str) -> (Bill, Value) {
        let Heard { input, output, .. } = self;
        let reported = script.reported(output.total());
        let usage = json!({
            "type": "tokens", "input_tokens": input.total, "output_tokens": reported,
            "total_tokens": input.total + reported,
            "input_token_details": {"text_tokens": input.text, "audio_tokens": input.audio},
        });
        (usage::bill(request, model, "default", input, output), usage)
    }

    /// Seconds are billed whole, as the API's own example reports them: 9 for 8.47.
    fn by_duration(&self, request: &Request<'_>, script: &Script, model: &str) -> (Bill, Value) {
        let seconds = self.length_ms.div_ceil(1_000).max(1);
        let bill = Bill {
            path: request.path.to_owned(),
            model: model.to_owned(),
            tier: "default".to_owned(),
            input: Quantities::from([(unit::AUDIO_MS, seconds * 1_000)]),
            ..Bill::default()
        };
        (bill, json!({"type": "duration", "seconds": script.reported(seconds)}))
    }

    fn whole(&self, request: &Request<'_>, usage: Option<Value>) -> Reply {
        let format = request.part("response_format").unwrap_or_default();
        let text = &self.text;
        let plain = match format.as_str() {
            "text" => format!("{text}\n"),
            "srt" => format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n"),
            "vtt" => format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n"),
            _ => String::new(),
        };
        if !plain.is_empty() {
            return Reply::bytes(200, "text/plain; charset=utf-8", plain.into_bytes());
        }
        let mut answer = json!({"text": text});
        if format == "verbose_json" || format == "diarized_json" {
            answer["task"] = json!(if request.path.ends_with("translations") { "translate" } else { "transcribe" });
            answer["language"] = json!("english");
            answer["duration"] = seconds(self.length_ms);
            answer["segments"] = json!([]);
        }
        if let Some(usage) = usage {
            answer["usage"] = usage;
        }
        Reply::json(200, &answer)
    }

    /// One delta with everything; by pieces where the script asks for them.
    fn streamed(self, script: &Script, usage: Option<Value>) -> Reply {
        let by_piece = script.pieces.is_some() || script.piece_per_token;
        let output = self.output;
        let count = if by_piece { output.pieces } else { 1 };
        let mut done = json!({"type": "transcript.text.done", "text": self.text});
        if let Some(usage) = usage {
            done["usage"] = usage;
        }
        let deltas = (0..count).map(move |at| {
            let (said, generated) =
                if by_piece { (piece(at), output.generated(at + 1)) } else { (self.text.as_str(), output.total()) };
            Event::new(event(None, &json!({"type": "transcript.text.delta", "delta": said})), generated)
        });
        Reply::stream(Box::new(deltas.chain([Event::new(event(None, &done), output.total())])))
    }
}

/// Seconds as JSON writes them, made without a float.
fn seconds(length_ms: u64) -> Value {
    serde_json::from_str(&format!("{}.{:03}", length_ms / 1_000, length_ms % 1_000)).unwrap_or(Value::Null)
}

/// The length of a WAV by its header, of anything else by its bytes.
fn length_ms(file: &[u8]) -> u64 {
    let number = |at: usize| file.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let bytes = file.len() as u64;
    match (file.starts_with(b"RIFF") && file.get(8..16) == Some(b"WAVEfmt "), number(28)) {
        (true, Some(rate)) if rate > 0 => bytes.saturating_sub(44) * 1_000 / u64::from(rate),
        _ => bytes / BYTES_PER_MS,
    }
}
