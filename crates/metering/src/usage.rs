//! What an answer says that it used.
//!
//! Promises: usage in every shape of the API becomes quantities of the units that are billed; parts of a sum (cached,
//! written, audio, image) are taken out of it once; what cannot be read is no usage, never a smaller one; in a stream
//! the last usage counts, as in the API.
//!
//! Left out: what was used where the answer does not say (speech by the character, recordings by their length): the
//! request knows that.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use pricing::{ImageCount, Quantities, Tier, Unit};
use serde::Deserialize;
use serde_json::value::RawValue;
use wire::endpoint::Meter;

use crate::last_member;

/// What was used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// Units, images aside.
    pub quantities: Quantities,
    /// Images made.
    pub images: u64,
    /// The tier that decides the price.
    pub tier: Option<Tier>,
    /// Whether the answer said what was used. Hosted calls may be counted although it did not.
    pub has_usage: bool,
    /// Whether nothing can be used after it: the usage came with the last event.
    pub is_final: bool,
    /// The id of a response, which later requests can go on from.
    pub response_id: Option<String>,
    /// How many tokens went in and came out.
    pub tokens: u64,
    /// Quality of the images made, where the answer says it.
    pub image_quality: Option<String>,
    /// Their size, likewise.
    pub image_size: Option<String>,
}

impl Used {
    /// Adds images that are billed by the image.
    pub fn bill_images(&mut self, quality: &str, size: &str) {
        let quality = self.image_quality.clone().unwrap_or_else(|| quality.to_owned());
        let size = self.image_size.clone().unwrap_or_else(|| size.to_owned());
        self.quantities.images = vec![ImageCount { quality, size, count: self.images }];
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    service_tier: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    usage: Option<Usage<'a>>,
    #[serde(borrow, default)]
    output: Option<Vec<Item<'a>>>,
    #[serde(borrow, default)]
    response: Option<Box<Answer<'a>>>,
    #[serde(default)]
    data: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    choices: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(borrow, default)]
    quality: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    size: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Usage<'a> {
    // The two families of names; some upstreams give both.
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<InputDetails>,
    #[serde(default, alias = "input_token_details")]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    completion_tokens_details: Option<OutputDetails>,
    #[serde(default, alias = "output_token_details")]
    output_tokens_details: Option<OutputDetails>,
    /// Of a transcription by the minute.
    #[serde(borrow, default)]
    seconds: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_write_tokens_details: Option<Writes>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Writes {
    ttl_12h: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutputDetails {
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
    text_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    action: Option<Action<'a>>,
    #[serde(borrow, default)]
    container_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// What the data of an event says about usage, told from its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// `null`; the member lies there, with the comma in front of it.
    Null(Range<usize>),
    /// What was used.
    Used,
    /// It has to be read as a whole.
    Unclear,
}

/// What the data of a chat completion's event says about usage.
pub fn said(data: &[u8]) -> Said {
    let Some((_, value)) = last_member::last(data, "usage") else { return Said::Nothing };
    match data.get(value) {
        Some(b'{') => Said::Used,
        _ => last_member::null(data, "usage").map_or(Said::Unclear, Said::Null),
    }
}

/// Reads a whole JSON answer.
pub fn of_answer(meter: Meter, json: &[u8], search: Unit) -> Used {
    let mut reader = UsageReader::new(meter, search);
    reader.read_whole(json);
    reader.used
}

/// Reads the events of a stream.
#[derive(Debug)]
pub struct UsageReader {
    meter: Meter,
    /// The unit of web searches: their size is the request's.
    search: Unit,
    used: Used,
}

impl UsageReader {
    /// A reader for answers of an endpoint.
    pub fn new(meter: Meter, search: Unit) -> UsageReader {
        UsageReader { meter, search, used: Used::default() }
    }

    /// Whether events, one or many, may say something about usage: worth reading.
    pub fn concerns(&self, data: &[u8]) -> bool {
        let has = |word: &[u8]| memchr::memmem::find(data, word).is_some();
        match self.meter {
            // Only the last events of a response carry what was used; those before may come along in one go.
            Meter::Responses => has(b"\"response\"") && has_usage(data),
            Meter::Chat | Meter::Completions => has_usage(data),
            _ => has(USAGE) || has(b"_generation.completed\"") || has(b"_edit.completed\""),
        }
    }

    /// Reads a whole answer, from its end where that is enough.
    pub fn read_whole(&mut self, json: &[u8]) {
        let is_plain = matches!(self.meter, Meter::Chat | Meter::Completions | Meter::Embeddings);
        if !is_plain || self.read_end(json).is_none() {
            self.read(json);
        }
    }

    /// Reads usage and tier without what stands before them; `None` where that cannot be done for sure.
    fn read_end(&mut self, json: &[u8]) -> Option<()> {
        let (_, value) = last_member::last(json, "usage")?;
        let mut values = serde_json::Deserializer::from_slice(&json[value..]).into_iter::<Usage<'_>>();
        let usage = values.next()?.ok()?;
        if !last_member::is_outermost(json, value + values.byte_offset()) {
            return None;
        }
        if let Some((_, at)) = last_member::last(json, "service_tier") {
            let mut words = serde_json::Deserializer::from_slice(&json[at..]).into_iter::<Option<Cow<'_, str>>>();
            let word = words.next()?.ok()?;
            self.used.tier = word.as_deref().and_then(Tier::from_service_tier).or(self.used.tier);
        }
        usage.read(self.meter, &mut self.used);
        Some(())
    }

    /// Reads a document: a whole answer, or the data of an event.
    pub fn read(&mut self, json: &[u8]) {
        let Ok(mut answer) = serde_json::from_slice::<Answer<'_>>(json) else { return };
        if let Some(response) = answer.response.take() {
            answer = Answer { kind: answer.kind, ..*response };
        }
        let used = &mut self.used;
        if let Some(tier) = answer.service_tier.as_deref().and_then(Tier::from_service_tier) {
            used.tier = Some(tier);
        }
        if matches!(self.meter, Meter::Responses | Meter::Compactions) {
            if let Some(id) = answer.id {
                used.response_id = Some(id.into_owned());
            }
            if let Some(items) = &answer.output {
                hosted_calls(items, self.search, &mut used.quantities);
            }
        }
        if self.meter == Meter::Images {
            let is_one = answer.kind.as_deref().is_some_and(|kind| kind.ends_with(".completed"));
            used.images += answer.data.map_or(u64::from(is_one), |data| data.len() as u64);
            used.image_quality = answer.quality.map(Cow::into_owned).or(used.image_quality.take());
            used.image_size = answer.size.map(Cow::into_owned).or(used.image_size.take());
        }
        if let Some(usage) = answer.usage {
            usage.read(self.meter, used);
            used.is_final = used.has_usage
                && match self.meter {
                    // Some upstreams tell what was used so far with every chunk.
                    Meter::Chat | Meter::Completions => answer.choices.is_some_and(|choices| choices.is_empty()),
                    Meter::Images => false,
                    // Typed events end with one of these; a document without a type is a whole answer.
                    _ => answer.kind.as_deref().is_none_or(is_last),
                };
        }
    }

    /// What was read.
    pub fn used(&self) -> &Used {
        &self.used
    }
}

impl Usage<'_> {
    fn read(&self, meter: Meter, used: &mut Used) {
        if let Some(ms) = self.seconds.and_then(|seconds| milliseconds(seconds.get())) {
            used.quantities.set(Unit::AudioMilliseconds, ms);
            used.has_usage = true;
            return;
        }
        let Some(input) = self.prompt_tokens.max(self.input_tokens).or(self.total_tokens) else { return };
        let output = self.completion_tokens.max(self.output_tokens).unwrap_or(0);
        used.has_usage = true;
        used.tokens = input.saturating_add(output);
        // Each image of a stream comes with its own usage; a repeated sum of all others replaces the one before.
        let adds = meter == Meter::Images;
        let mut put = |unit: Unit, quantity: u64| match adds {
            true => used.quantities.add(unit, quantity),
            false => used.quantities.set(unit, quantity),
        };
        let none = InputDetails::default();
        let details = self.prompt_tokens_details.as_ref().or(self.input_tokens_details.as_ref()).unwrap_or(&none);
        let mut left = input;
        let mut take = |tokens: Option<u64>| {
            let taken = tokens.unwrap_or(0).min(left);
            left -= taken;
            taken
        };
        let (audio, image) = (take(details.audio_tokens), take(details.image_tokens));
        let cached = take(details.cached_tokens);
        let writes_12h = take(details.cache_write_tokens_details.as_ref().and_then(|writes| writes.ttl_12h));
        let writes_30m = take(details.cache_write_tokens.map(|writes| writes.saturating_sub(writes_12h)));
        put(Unit::AudioInput, audio);
        put(Unit::ImageInput, image);
        put(Unit::TextCachedInput, cached);
        put(Unit::TextCacheWrite12h, writes_12h);
        put(Unit::TextCacheWrite30m, writes_30m);
        put(Unit::TextInput, left);
        let none = OutputDetails::default();
        let details = self.completion_tokens_details.as_ref().or(self.output_tokens_details.as_ref()).unwrap_or(&none);
        match meter {
            Meter::Embeddings | Meter::Decisions | Meter::Moderations => {}
            // What is made is an image unless the answer tells its text apart.
            Meter::Images => {
                let text = details.text_tokens.unwrap_or(0).min(output);
                let image = details.image_tokens.unwrap_or(output - text).min(output);
                put(Unit::ImageOutput, image);
                put(Unit::TextOutput, output - image);
            }
            Meter::Speech => put(Unit::AudioOutput, output),
            _ => {
                let audio = details.audio_tokens.unwrap_or(0).min(output);
                put(Unit::AudioOutput, audio);
                put(Unit::TextOutput, output - audio);
            }
        }
    }
}

/// The member that says what was used.
const USAGE: &[u8] = b"\"usage\"";

/// Whether a typed event is the last of its stream.
fn is_last(kind: &str) -> bool {
    matches!(
        kind,
        "response.completed" | "response.incomplete" | "response.failed" | "transcript.text.done" | "speech.audio.done"
    )
}

/// Whether something says what was used: every chunk may have the member, and it is null in all but the last.
fn has_usage(data: &[u8]) -> bool {
    memchr::memmem::find_iter(data, USAGE).any(|at| !is_null(&data[at..]))
}

/// Whether the member that begins here is null.
fn is_null(member: &[u8]) -> bool {
    let after = member[USAGE.len()..].trim_ascii_start();
    after.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
}

/// Calls of hosted tools: each search, and each container once.
fn hosted_calls(items: &[Item<'_>], search: Unit, quantities: &mut Quantities) {
    let (mut searches, mut files, mut containers) = (0, 0, HashSet::new());
    let mut nameless = 0;
    for item in items {
        match item.kind.as_deref() {
            Some("web_search_call") => {
                // Opening a page that was found, and looking for words in it, are part of the search.
                let action = item.action.as_ref().and_then(|action| action.kind.as_deref());
                searches += u64::from(action.is_none_or(|action| action == "search"));
            }
            Some("file_search_call") => files += 1,
            Some("code_interpreter_call") => match item.container_id.as_deref() {
                Some(id) => drop(containers.insert(id)),
                None => nameless += 1,
            },
            _ => {}
        }
    }
    quantities.set(search, searches);
    quantities.set(Unit::FileSearch, files);
    quantities.set(Unit::ContainerSession, nameless + containers.len() as u64);
}

/// Seconds as JSON writes them, in milliseconds, rounded up. Exponents are not read: no answer has them.
fn milliseconds(seconds: &str) -> Option<u64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let whole: u64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |byte| u64::from(byte - b'0'));
    let rest = fraction.bytes().skip(3).any(|byte| byte != b'0');
    let ms = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(rest);
    whole.checked_mul(1_000)?.checked_add(ms)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(meter: Meter, answer: &Value) -> Used {
        of_answer(meter, answer.to_string().as_bytes(), Unit::WebSearchMedium)
    }

    fn units(used: &Used) -> Vec<(Unit, u64)> {
        used.quantities.some().collect()
    }

    #[test]
    fn chat_takes_each_part_out_of_its_sum_once() {
        let used = read(
            Meter::Chat,
            &json!({"service_tier": "priority", "usage": {
                "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 15, "audio_tokens": 10,
                    "cache_write_tokens_details": {"ttl_30m": 10, "ttl_12h": 5}},
                "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5}}}),
        );
        assert_eq!(used.tier, Some(Tier::Priority));
        assert_eq!(
            units(&used),
            [
                (Unit::TextInput, 55),
                (Unit::TextCachedInput, 20),
                (Unit::TextCacheWrite30m, 10),
                (Unit::TextCacheWrite12h, 5),
                (Unit::TextOutput, 45),
                (Unit::AudioInput, 10),
                (Unit::AudioOutput, 5),
            ]
        );
        assert!(used.has_usage && used.tokens == 150);
    }

    #[test]
    fn a_response_counts_its_hosted_calls() {
        let used = read(
            Meter::Responses,
            &json!({"type": "response.completed", "response": {"id": "resp_1", "service_tier": "default",
                "output": [
                    {"type": "web_search_call", "action": {"type": "search", "query": "x"}},
                    {"type": "web_search_call", "action": {"type": "open_page"}},
                    {"type": "web_search_call"},
                    {"type": "file_search_call"},
                    {"type": "code_interpreter_call", "container_id": "a"},
                    {"type": "code_interpreter_call", "container_id": "a"},
                    {"type": "message", "content": []}],
                "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
                    "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 1}}}}),
        );
        assert_eq!(used.response_id.as_deref(), Some("resp_1"));
        assert_eq!(
            units(&used),
            [
                (Unit::TextInput, 7),
                (Unit::TextOutput, 3),
                (Unit::WebSearchMedium, 2),
                (Unit::FileSearch, 1),
                (Unit::ContainerSession, 1)
            ]
        );
    }

    /// A short answer comes in one go, its beginning with its end.
    #[test]
    fn usage_is_found_among_events_that_have_none_yet() {
        let reader = UsageReader::new(Meter::Responses, Unit::WebSearchMedium);
        let begun = r#"data: {"type":"response.created","response":{"id":"r","usage" : null}}"#;
        let ended = r#"data: {"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1}}}"#;
        assert!(!reader.concerns(begun.as_bytes()) && reader.concerns(ended.as_bytes()));
        assert!(reader.concerns(format!("{begun}\n\n{ended}\n\n").as_bytes()));
        assert!(!reader.concerns(br#"data: {"type":"x","delta":"\"response\" \"usage\":{}"}"#));
    }

    #[test]
    fn images_transcriptions_and_embeddings_have_their_own_shapes() {
        let image = json!({"data": [{}, {}], "quality": "low", "size": "1024x1024", "usage": {"input_tokens": 5,
            "output_tokens": 9, "total_tokens": 14, "input_tokens_details": {"text_tokens": 2, "image_tokens": 3}}});
        let used = read(Meter::Images, &image);
        assert_eq!(units(&used), [(Unit::TextInput, 2), (Unit::ImageInput, 3), (Unit::ImageOutput, 9)]);
        assert_eq!((used.images, used.image_quality.as_deref()), (2, Some("low")));

        let minutes = json!({"text": "x", "usage": {"type": "duration", "seconds": 12.0005}});
        assert_eq!(units(&read(Meter::Transcriptions, &minutes)), [(Unit::AudioMilliseconds, 12_001)]);
        let tokens = json!({"usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 4, "total_tokens": 18,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}});
        assert_eq!(
            units(&read(Meter::Transcriptions, &tokens)),
            [(Unit::TextInput, 4), (Unit::TextOutput, 4), (Unit::AudioInput, 10)]
        );
        let embedded = json!({"data": [{}], "usage": {"prompt_tokens": 8, "total_tokens": 8}});
        assert_eq!(units(&read(Meter::Embeddings, &embedded)), [(Unit::TextInput, 8)]);
    }

    #[test]
    fn both_families_of_names_at_once_are_read() {
        let usage = json!({"prompt_tokens": 9, "input_tokens": 9, "completion_tokens": 2, "output_tokens": 2,
            "input_tokens_details": {"cached_tokens": 4}});
        let used = read(Meter::Chat, &json!({"usage": usage}));
        assert_eq!(units(&used), [(Unit::TextInput, 5), (Unit::TextCachedInput, 4), (Unit::TextOutput, 2)]);
    }

    #[test]
    fn what_cannot_be_read_is_no_usage() {
        for answer in [
            json!({}),
            json!({"usage": null}),
            json!({"usage": {"prompt_tokens": -1}}),
            json!({"usage": {"prompt_tokens": "5"}}),
            json!({"usage": {"prompt_tokens": 1.5}}),
            json!([1]),
        ] {
            assert!(!read(Meter::Chat, &answer).has_usage, "{answer}");
        }
    }

    /// Read from the end, an answer says what it says as a whole, or is read as a whole.
    #[test]
    fn the_end_alone_says_the_same() {
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}});
        let fake = json!({"prompt_tokens": 1, "completion_tokens": 1});
        for text in [
            format!(r#"{{"choices":[{{"x":"\"usage\":{{"}}],"usage":{usage},"service_tier":"flex","y":null}}"#),
            format!(r#"{{"service_tier":"flex","usage" : {usage} }}"#),
            // Another object's usage, or one that is not the last word, makes the whole be read.
            format!(r#"{{"usage":{usage},"service_tier":"flex","choices":[{{"usage":{fake}}}]}}"#),
            format!(r#"{{"usage":{usage},"z":{{"usage":{fake}}},"service_tier":"flex"}}"#),
            format!(r#"{{"usage":{usage},"service_tier":"flex","fingerprint":"{{"}}"#),
        ] {
            let mut whole = UsageReader::new(Meter::Chat, Unit::WebSearchMedium);
            whole.read(text.as_bytes());
            let used = of_answer(Meter::Chat, text.as_bytes(), Unit::WebSearchMedium);
            assert_eq!((used.tokens, used.tier), (11, Some(Tier::Flex)), "{text}");
            assert_eq!((&used.quantities, used.tier), (&whole.used().quantities, whole.used().tier), "{text}");
        }
    }

    #[test]
    fn parts_over_their_sum_take_no_more_than_it() {
        let used = read(
            Meter::Chat,
            &json!({"usage": {"prompt_tokens": 10, "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 99, "audio_tokens": 4}}}),
        );
        assert_eq!(used.quantities.input_tokens(), 10);
    }
}
