//! Images: billed by tokens, the historical models by the image.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::usage::{self, Input};
use super::{CREATED, Event, Reply, Request, event};
use crate::billing::{Bill, Images, unit};
use crate::script::Script;
use crate::tokens;

/// A picture of one pixel.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89";

/// Tokens of an image that is sent along, where a script does not say.
const SENT_IMAGE_TOKENS: u64 = 49;
/// Tokens that each partial image costs on top, as the API documents it.
const PARTIAL_IMAGE_TOKENS: u64 = 100;

/// What is asked for, and what the answer makes of it.
struct Work {
    model: String,
    size: String,
    quality: String,
    count: u64,
    partial: u64,
    is_stream: bool,
    /// Billed by the image.
    is_historical: bool,
}

impl Work {
    fn of(request: &Request<'_>, body: &Value, script: &Script) -> Work {
        let field = |name: &str| request.field(body, name).filter(|value| value != "auto");
        let number = |name: &str| field(name).and_then(|value| value.parse::<u64>().ok());
        let default = if request.path.ends_with("edits") { "gpt-image-1.5" } else { "dall-e-2" };
        let model = field("model").unwrap_or_else(|| default.to_owned());
        let is_historical = model.starts_with("dall-e");
        let is_stream = field("stream").as_deref() == Some("true");
        // A stream shows one image.
        let asked = if is_stream { 1 } else { number("n").unwrap_or(1) };
        let made = script.images.unwrap_or(asked);
        let usual_quality = if is_historical { "standard" } else { "low" };
        Work {
            size: field("size").or(script.image_size.clone()).unwrap_or_else(|| "1024x1024".to_owned()),
            quality: field("quality").or(script.image_quality.clone()).unwrap_or_else(|| usual_quality.to_owned()),
            count: if script.ignore_cap && !is_stream { made } else { made.min(asked) },
            partial: if is_stream { number("partial_images").unwrap_or(0) } else { 0 },
            model,
            is_stream,
            is_historical,
        }
    }

    /// Tokens of one image, as the API lists them for quality and size.
    fn tokens_per_image(&self, script: &Script) -> u64 {
        script.tokens_per_image.unwrap_or(match (self.quality.as_str(), self.size.as_str()) {
            ("low", "1024x1536") => 408,
            ("low", "1536x1024") => 400,
            ("low", _) => 272,
            ("medium", "1024x1536") => 1_584,
            ("medium", "1536x1024") => 1_568,
            ("medium", _) => 1_056,
            (_, "1024x1536") => 6_240,
            (_, "1536x1024") => 6_208,
            _ => 4_160,
        })
    }
}

/// `POST /v1/images/generations`, `/edits` and `/variations`
pub(super) fn make(request: &Request<'_>, script: &Script) -> Reply {
    let body = request.json();
    let work = Work::of(request, &body, script);
    let bill = Bill {
        path: request.path.to_owned(),
        model: work.model.clone(),
        tier: "default".to_owned(),
        ..Bill::default()
    };
    if work.is_historical {
        let images = Images { quality: work.quality.clone(), size: work.size.clone(), count: work.count };
        let images = if work.count > 0 { vec![images] } else { Vec::new() };
        return answer(&work, Value::Null).billed(Bill { images, ..bill });
    }
    let prompt = request.field(&body, "prompt").map_or(0, |prompt| tokens(&prompt));
    let sent = match script.input_image_tokens {
        0 => SENT_IMAGE_TOKENS * images_sent(request, &body),
        scripted => scripted,
    };
    let input = Input::new(&Script { input_image_tokens: sent, ..usage::sums_only(script) }, prompt + sent);
    let usual = work.count * work.tokens_per_image(script) + work.partial * PARTIAL_IMAGE_TOKENS;
    let wanted = usage::scripted_total(request, script);
    let total = wanted.unwrap_or(usual + script.reasoning_tokens);
    let text = script.reasoning_tokens.min(total);
    let bill = Bill {
        input: input.quantities(),
        output: vec![(unit::TEXT_OUTPUT, text), (unit::IMAGE_OUTPUT, total - text)],
        ..bill
    };
    let reported = script.reported(total);
    let usage = json!({
        "input_tokens": input.total, "output_tokens": reported, "total_tokens": input.total + reported,
        "input_tokens_details": {"text_tokens": input.text, "image_tokens": input.image},
        "output_tokens_details": {"text_tokens": text, "image_tokens": reported.saturating_sub(text)},
    });
    let usage = if script.no_usage { Value::Null } else { usage };
    if work.is_stream { streamed(request, &work, &usage, total) } else { answer(&work, usage) }.billed(bill)
}

/// Images that the request sends along, a mask aside.
fn images_sent(request: &Request<'_>, body: &Value) -> u64 {
    let parts = memchr::memmem::find_iter(request.body, b"; name=\"image").count();
    let listed = body["images"].as_array().map_or(0, Vec::len);
    if body.is_null() { parts as u64 } else { listed as u64 }
}

fn answer(work: &Work, usage: Value) -> Reply {
    let data: Vec<Value> = (0..work.count).map(|_| json!({"b64_json": STANDARD.encode(PNG)})).collect();
    if work.is_historical {
        return Reply::json(200, &json!({"created": CREATED, "data": data}));
    }
    let answer = json!({
        "created": CREATED, "data": data, "usage": usage, "output_format": "png", "background": "opaque",
        "quality": work.quality, "size": work.size,
    });
    Reply::json(200, &answer)
}

/// Partial images and the whole one; what was generated grows evenly.
fn streamed(request: &Request<'_>, work: &Work, usage: &Value, total: u64) -> Reply {
    let base = if request.path.ends_with("edits") { "image_edit" } else { "image_generation" };
    let event = |kind: &str, member: &str, value: Value, generated: u64| {
        let mut data = json!({
            "type": format!("{base}.{kind}"), "b64_json": STANDARD.encode(PNG), "created_at": CREATED, "size": work.size,
            "quality": work.quality, "background": "opaque", "output_format": "png",
        });
        data[member] = value;
        Event::new(event(data["type"].as_str(), &data), generated)
    };
    let mut events: Vec<Event> = (0..work.partial)
        .map(|index| (index, total * (index + 1) / (work.partial + 1)))
        .map(|(index, generated)| event("partial_image", "partial_image_index", json!(index), generated))
        .collect();
    events.push(event("completed", "usage", usage.clone(), total));
    Reply::stream(Box::new(events.into_iter()))
}
