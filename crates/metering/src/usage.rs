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
mod tests;
