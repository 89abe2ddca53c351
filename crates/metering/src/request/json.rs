//! JSON bodies.

use wire::endpoint::Meter;
use wire::json::{Kind, Member, Visit, Visitor};

use super::parts::{self, Number};
use super::{Asked, Cap, IMAGES_MAX, ImageIn, Search, TierAsked, partial_images};
use crate::audio;
use crate::image::{Detail, data_url};
use pricing::Tier;

/// Holders are told apart down to this depth; deeper ones are text like any other.
const DEPTH_MAX: usize = 16;

/// Pictures stand no deeper: `messages[].content[].image_url.url`, `input[].content[].image_url`,
/// `input[].output.image_url`.
const PICTURE_DEPTH_MAX: usize = 6;

/// Members whose place decides what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Name {
    #[default]
    Other,
    /// `messages` of chat, `input` of responses: conversations.
    Conversation,
    /// `tools` and `functions`.
    Tools,
    ImageUrl,
    InputAudio,
    Audio,
    /// `content` and `output` of an item: its parts are within.
    Content,
    StreamOptions,
    SearchOptions,
    Text,
}

/// Outermost members that are measured as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measured {
    Prediction,
    /// The prompts of a legacy completion, the inputs of an embedding.
    Inputs,
}

/// An item of a conversation, or a tool, while it is read.
#[derive(Debug, Default)]
struct Item {
    is_open: bool,
    has_role: bool,
    has_type: bool,
}

/// Reads what a JSON body says about its cost. A visitor of [`wire::json::scan`], or fed by one.
#[derive(Debug)]
pub struct JsonReader<'a> {
    meter: Meter,
    asked: Asked,
    holders: [Name; DEPTH_MAX],
    item: Item,
    /// Bytes of media, which are no text.
    media_bytes: usize,
    has_stored_prompt: bool,
    has_tools: bool,
    /// Objects begun so far, and the one open at each depth.
    objects: usize,
    object_at: [usize; DEPTH_MAX],
    /// The object that the last image stood in, and the object and word of the last `detail`: the two may come in
    /// either order, and belong together in one object only.
    image_object: usize,
    detail: (usize, Detail),
    user: Option<&'a str>,
    safety_identifier: Option<&'a str>,
    top_level: Option<Measured>,
}

impl<'a> JsonReader<'a> {
    /// A reader for bodies of an endpoint.
    pub fn new(meter: Meter) -> JsonReader<'a> {
        JsonReader {
            meter,
            asked: Asked::default(),
            holders: [Name::Other; DEPTH_MAX],
            item: Item::default(),
            media_bytes: 0,
            has_stored_prompt: false,
            has_tools: false,
            objects: 0,
            object_at: [0; DEPTH_MAX],
            image_object: 0,
            detail: (0, Detail::Auto),
            user: None,
            safety_identifier: None,
            top_level: None,
        }
    }

    /// What the body said, once it was read. `body_bytes` is its length.
    pub fn finish(mut self, body_bytes: usize) -> Asked {
        self.close_item();
        let asked = &mut self.asked;
        asked.text_bytes = body_bytes.saturating_sub(self.media_bytes) as u64;
        // A stored prompt may bring tools of its own, unless the request says which.
        if self.has_stored_prompt && !self.has_tools {
            asked.unbounded.get_or_insert_with(|| "a stored prompt, unless the request sends its `tools`,".to_owned());
        }
        let text = |raw: Option<&str>| raw.and_then(parts::string).filter(|text| !text.is_empty());
        asked.end_user = text(self.safety_identifier).or_else(|| text(self.user));
        self.asked
    }

    /// A member begins; members inside are wanted as well.
    pub fn member(&mut self, member: &Member<'a>) {
        let depth = member.depth;
        if depth == 1 {
            self.close_item();
        }
        if member.is_first && depth < DEPTH_MAX {
            self.objects += 1;
            self.object_at[depth] = self.objects;
        }
        let holder = self.holder(depth);
        let section = self.holders[1];
        if depth == 1 {
            self.outermost(member);
        } else if depth == 2 && section == Name::StreamOptions {
            if member.key == "include_usage" {
                self.asked.includes_usage = member.ahead.starts_with("true");
            }
        } else if depth == 2 && section == Name::SearchOptions {
            self.search_size(member);
        } else if section == Name::Conversation {
            self.in_conversation(member, holder);
        } else if section == Name::Tools && depth == 3 {
            self.in_tool(member);
        } else if self.meter == Meter::Images && member.key == "image_url" && member.kind == Kind::String {
            self.image(member);
        }
        let name = if depth == 1 { self.section(member) } else { held(member) };
        if depth + 2 < DEPTH_MAX {
            self.holders[depth] = name;
            self.holders[depth + 1] = Name::Other;
            self.holders[depth + 2] = Name::Other;
        }
    }

    /// The member whose value holds the object that a member at this depth is in: one level up, or two through an array.
    fn holder(&self, depth: usize) -> Name {
        if !(2..DEPTH_MAX).contains(&depth) {
            return Name::Other;
        }
        match self.holders[depth - 1] {
            Name::Other => self.holders[depth - 2],
            name => name,
        }
    }

    fn section(&self, member: &Member<'_>) -> Name {
        match &*member.key {
            "messages" if self.meter == Meter::Chat => Name::Conversation,
            "input" if matches!(self.meter, Meter::Responses | Meter::Compactions) => Name::Conversation,
            "tools" | "functions" => Name::Tools,
            "stream_options" => Name::StreamOptions,
            "web_search_options" => Name::SearchOptions,
            _ => Name::Other,
        }
    }

    fn outermost(&mut self, member: &Member<'a>) {
        let is_there = member.kind != Kind::Null;
        let is_text = member.kind == Kind::String;
        let asked = &mut self.asked;
        match &*member.key {
            // A cap of another endpoint is none here: an upstream that ignores what it does not know writes on.
            name if parts::is_cap(self.meter, name) => {
                // Where two are given the larger one is the safe reading.
                asked.output_cap = larger(asked.output_cap, cap(member));
                let is_old = self.meter == Meter::Chat && name == "max_tokens";
                let members = &mut asked.cap_members;
                *(if is_old { &mut members.old } else { &mut members.own }) |= is_there;
            }
            "n" => asked.choices = cap(member),
            "best_of" => asked.best_of = cap(member),
            "max_tool_calls" => asked.max_tool_calls = cap(member),
            "stream" => asked.streams = member.ahead.starts_with("true"),
            "background" if self.meter == Meter::Responses => asked.is_background = member.ahead.starts_with("true"),
            "service_tier" => asked.tier = tier(member),
            "stream_options" => asked.has_stream_options = true,
            "previous_response_id" if is_there => {
                asked.previous_response = parts::string(member.ahead);
                // No id: whatever it is, nobody knows how much.
                asked.has_hidden_input |= asked.previous_response.is_none();
            }
            "conversation" if is_there => asked.has_hidden_input = true,
            "prompt" if member.kind == Kind::Object => {
                asked.has_hidden_input = true;
                self.has_stored_prompt = true;
            }
            "tools" if is_there => self.has_tools = true,
            "web_search_options" if is_there => asked.hosted.web_search = true,
            "audio" if member.kind == Kind::Object => asked.speaks = true,
            "safety_identifier" if is_text => self.safety_identifier = Some(member.ahead),
            "user" if is_text => self.user = Some(member.ahead),
            "size" if is_text => asked.images_out.size = parts::string(member.ahead),
            "quality" if is_text => asked.images_out.quality = parts::string(member.ahead),
            "partial_images" => asked.images_out.partial_images = partial_images(cap(member)),
            "input" if self.meter == Meter::Speech && is_text => {
                asked.characters = parts::string(member.ahead).map_or(0, |text| text.chars().count() as u64);
            }
            // Images to be edited come as URLs or file ids: the model may take them at their largest.
            "images" | "mask" | "image" if self.meter == Meter::Images && is_there => asked.has_hidden_input = true,
            _ => {}
        }
        self.top_level = match (&*member.key, self.meter) {
            ("prediction", _) => Some(Measured::Prediction),
            ("prompt", Meter::Completions) | ("input", Meter::Embeddings) => Some(Measured::Inputs),
            _ => None,
        };
    }

    /// The value of an outermost member was read.
    pub fn outermost_value(&mut self, text: &'a str) {
        match self.top_level.take() {
            Some(Measured::Prediction) => self.asked.prediction_bytes = text.len() as u64,
            Some(Measured::Inputs) => self.asked.inputs = parts::inputs(text),
            None => {}
        }
    }

    fn in_conversation(&mut self, member: &Member<'a>, holder: Name) {
        if member.depth == 3 && member.is_first {
            self.close_item();
            self.item.is_open = true;
            self.asked.messages += 1;
        }
        let is_text = member.kind == Kind::String;
        match &*member.key {
            "role" if member.depth == 3 => self.item.has_role = true,
            "type" if member.depth == 3 => {
                self.item.has_type = member.kind == Kind::String;
                self.item_type(member);
            }
            "type" if member.depth > 3 && is_text && holder == Name::Content => self.part_type(member),
            "image_url" if is_text => self.image(member),
            "url" if is_text && holder == Name::ImageUrl => self.image(member),
            "detail" if is_text => self.detail(member),
            "data" if is_text && holder == Name::InputAudio => self.sound(member),
            // An earlier answer's sound, by its id.
            "id" if holder == Name::Audio => self.asked.has_hidden_input = true,
            "file_id" | "file_url" | "file_data" | "container_id" if member.kind != Kind::Null => {
                self.asked.has_hidden_input = true;
            }
            _ => {}
        }
    }

    /// An item without role and type is a reference by its id.
    fn close_item(&mut self) {
        let item = std::mem::take(&mut self.item);
        if item.is_open && !item.has_role && !item.has_type {
            self.asked.has_hidden_input = true;
        }
    }

    fn item_type(&mut self, member: &Member<'_>) {
        let Some(word) = parts::string(member.ahead) else { return };
        match parts::item(&word) {
            parts::Item::Here => {}
            parts::Item::Hidden => self.asked.has_hidden_input = true,
            parts::Item::Unknown => self.unbounded(format!("an input item of the type '{}'", parts::shown(&word))),
        }
    }

    /// A part of a message: what nobody here knows counts as input that nobody here can see.
    fn part_type(&mut self, member: &Member<'_>) {
        let is_known = parts::string(member.ahead).is_some_and(|word| parts::is_part(&word));
        self.asked.has_hidden_input |= !is_known;
    }

    fn in_tool(&mut self, member: &Member<'a>) {
        if member.is_first {
            self.asked.tools += 1;
        }
        if member.key != "type" {
            return self.search_size(member);
        }
        let Some(word) = parts::string(member.ahead) else { return };
        match parts::tool(&word) {
            parts::Tool::Local => {}
            parts::Tool::WebSearch => self.asked.hosted.web_search = true,
            parts::Tool::FileSearch => self.asked.hosted.file_search = true,
            parts::Tool::CodeInterpreter => self.asked.hosted.code_interpreter = true,
            parts::Tool::Unbounded => {
                // A remote server and a shell use no model; image generation does, and what is new may.
                self.asked.may_use_other_models |= word != "mcp" && !word.contains("shell");
                self.unbounded(format!("a tool of the type '{}'", parts::shown(&word)));
            }
        }
    }

    fn search_size(&mut self, member: &Member<'_>) {
        if member.key == "search_context_size" {
            self.asked.search = match parts::raw_string(member.ahead) {
                Some("low") => Search::Low,
                Some("high") => Search::High,
                _ => Search::Medium,
            };
        }
    }

    fn unbounded(&mut self, what: String) {
        self.asked.unbounded.get_or_insert(what);
    }

    fn image(&mut self, member: &Member<'a>) {
        let Some(raw) = parts::raw_string(member.ahead) else { return };
        // Deeper down it is an argument or a schema, and text.
        if member.depth > PICTURE_DEPTH_MAX {
            return;
        }
        if self.asked.images.len() >= IMAGES_MAX {
            self.asked.has_hidden_input = true;
            return;
        }
        let url = data_url(raw);
        let size = url.as_ref().and_then(crate::image::DataUrl::size);
        // A picture's bytes are no text. Anything else in a URL's place stays counted as text as well.
        if url.is_some() {
            self.media_bytes += raw.len();
        }
        self.image_object = self.object(member);
        let detail = if self.detail.0 == self.image_object { self.detail.1 } else { Detail::Auto };
        self.asked.images.push(ImageIn { detail, size });
    }

    /// The number of the object that a member stands in; 0, which is none, below the depth that is followed.
    fn object(&self, member: &Member<'_>) -> usize {
        self.object_at.get(member.depth).copied().unwrap_or(0)
    }

    fn detail(&mut self, member: &Member<'_>) {
        let detail = match parts::raw_string(member.ahead) {
            Some("low") => Detail::Low,
            Some("high") => Detail::High,
            Some("original") => Detail::Original,
            _ => Detail::Auto,
        };
        let object = self.object(member);
        if object == 0 {
            return;
        }
        self.detail = (object, detail);
        if self.image_object == object
            && let Some(image) = self.asked.images.last_mut()
        {
            image.detail = detail;
        }
    }

    fn sound(&mut self, member: &Member<'a>) {
        let Some(raw) = parts::raw_string(member.ahead) else { return };
        let bytes = parts::base64(raw);
        if bytes.is_empty() && !raw.is_empty() {
            // Not base64: the upstream will refuse it. It stays counted as text.
            return;
        }
        self.media_bytes += raw.len();
        // Whatever format is claimed: the longest reading.
        let ms = audio::duration(&bytes, Some("mp3")).ms_max();
        self.asked.audio_ms = self.asked.audio_ms.saturating_add(ms);
    }
}

impl<'a> Visitor<'a> for JsonReader<'a> {
    fn enter(&mut self, member: Member<'a>) -> Visit {
        self.member(&member);
        Visit::Into
    }

    fn top_level_value(&mut self, text: &'a str) {
        self.outermost_value(text);
    }
}

fn held(member: &Member<'_>) -> Name {
    match &*member.key {
        "image_url" => Name::ImageUrl,
        "input_audio" => Name::InputAudio,
        "audio" => Name::Audio,
        "content" | "output" => Name::Content,
        // Something with a name of its own ends the reach of the one above it.
        _ if matches!(member.kind, Kind::Object | Kind::Array) => Name::Text,
        _ => Name::Other,
    }
}

fn cap(member: &Member<'_>) -> Cap {
    match member.kind {
        Kind::Null => Cap::Absent,
        Kind::Number => match parts::number(member.ahead) {
            Number::Whole(number) => Cap::Given(number),
            Number::Other => Cap::Odd,
        },
        _ => Cap::Odd,
    }
}

fn larger(one: Cap, other: Cap) -> Cap {
    match (one, other) {
        (Cap::Odd, _) | (_, Cap::Odd) => Cap::Odd,
        (Cap::Given(one), Cap::Given(other)) => Cap::Given(one.max(other)),
        (Cap::Absent, cap) | (cap, Cap::Absent) => cap,
    }
}

fn tier(member: &Member<'_>) -> TierAsked {
    let named = parts::raw_string(member.ahead).and_then(Tier::from_service_tier);
    named.map_or(TierAsked::Any, TierAsked::Named)
}
