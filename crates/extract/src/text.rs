//! What extraction gives: texts with their channel and place, what could not be read, and what is in view unseen.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use wire::channel::Channel;

/// Names of unknown fields that are kept for the verdict; of more, only the number is.
pub const UNKNOWN_FIELDS_MAX: usize = 16;

/// Longest name of an unknown field that is kept, in characters.
pub const UNKNOWN_FIELD_CHARS_MAX: usize = 64;

/// Where a text comes from, closer than its channel tells. Deciding goes by the channel; this is for findings and for
/// spotlighting, which must not touch what the model itself wrote or what is no prose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `system` and `developer` messages, instructions, prompts of graders.
    Instructions,
    /// Descriptions and schemas of tools that the application defines.
    ToolDefinition,
    /// What tools of an MCP server say about themselves: the server's words, not the developer's.
    McpTools,
    /// What the person wrote, or the input of an endpoint without roles.
    Input,
    /// What a tool, a function or a search gave back.
    ToolResult,
    /// The content of a file that came with the request.
    File,
    /// What the caller says that the model wrote earlier: answers, reasoning, arguments of calls.
    Replay,
    /// An address.
    Url,
    /// Metadata, stop sequences and other words that no model reads.
    Aside,
    /// A field that ought to hold an identifier, one of a few words or encoded media, and holds something else.
    Odd,
    /// A field that the table does not know.
    Unknown,
}

/// How a text stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The string literal at [`Text::at`] is the text, but for escapes.
    Plain,
    /// The literal is a key of an object that may have any.
    Key,
    /// The literal is, or ends in, base64 of the text.
    Base64,
    /// The literal holds base64 in which more or less than this one text can be read: what is printable in a file of
    /// another kind, two readings of the same bytes, what is left of base64 with other signs in it.
    Pieces,
    /// An array of token numbers.
    Tokens,
    /// The bytes at [`Text::at`] are the text: a part of a form, or a stretch of a file.
    Bytes,
    /// Parts of one message around where they meet, which are texts of their own, too. [`Text::at`] reaches from the
    /// beginning of the first one to that of the last one.
    Seam,
}

/// A part of a message in a seam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where in the body the part begins.
    pub at: usize,
    /// What of the seam's text is of this part, in scalar values.
    pub range: Range<usize>,
    /// Scalar values of the part that stand before those in the seam.
    pub before: usize,
}

/// A text of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'b> {
    /// Whose words it is.
    pub channel: Channel,
    /// The same, closer.
    pub origin: Origin,
    /// Bytes of the body that hold it: a string literal with its quotes, an array of tokens. In a form: bytes of the
    /// part's content, or of the line in a file of JSON lines.
    pub at: Range<usize>,
    /// How it stands there.
    pub form: Form,
    /// The part of a form, `prompt`, or the line of a file in it, `file:17`. `None` for a JSON body.
    pub part: Option<Arc<str>>,
    /// The text, unescaped and decoded.
    pub text: Cow<'b, str>,
    /// What a seam is made of; nothing for other texts.
    pub pieces: Vec<Piece>,
}

impl Text<'_> {
    /// Where it stands, for people: `messages[3].content[0].text`, or the form's part. Walks the body: for findings,
    /// not for every text.
    pub fn place(&self, body: &[u8]) -> String {
        match &self.part {
            Some(part) => part.to_string(),
            None => crate::place::place(body, self.at.start),
        }
    }
}

/// What cannot be read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Medium {
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// Video.
    Video,
    /// A PDF file.
    Pdf,
    /// An office document or another archive.
    Archive,
    /// Another file that is no text.
    Binary,
    /// What an address leads to.
    Remote,
    /// Tokens of a vocabulary that is not known.
    Tokens,
    /// What the provider encrypted for itself.
    Encrypted,
}

impl Medium {
    /// Every medium.
    pub const ALL: [Medium; 9] = [
        Medium::Image,
        Medium::Audio,
        Medium::Video,
        Medium::Pdf,
        Medium::Archive,
        Medium::Binary,
        Medium::Remote,
        Medium::Tokens,
        Medium::Encrypted,
    ];

    /// The name in the verdict header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Medium::Image => "image",
            Medium::Audio => "audio",
            Medium::Video => "video",
            Medium::Pdf => "pdf",
            Medium::Archive => "archive",
            Medium::Binary => "binary",
            Medium::Remote => "remote",
            Medium::Tokens => "tokens",
            Medium::Encrypted => "encrypted",
        }
    }
}

/// Something that was not scanned, and where: bytes of the body, or of the part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unscanned {
    /// What it is.
    pub medium: Medium,
    /// The string literal.
    pub at: Range<usize>,
    /// The part of a form.
    pub part: Option<Arc<str>>,
}

/// Untrusted text that enters the model's view at the provider and never passes the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unseen {
    /// Pages found by a hosted web search.
    WebSearch,
    /// Documents found by a hosted file search, or in vector stores.
    FileSearch,
    /// What MCP servers and connectors answer.
    Mcp,
    /// What hosted containers, shells and computers print or show.
    Container,
    /// A stored conversation, thread or session.
    Conversation,
    /// An earlier response, or single items of one.
    PreviousResponse,
    /// A file that was uploaded before.
    File,
    /// A prompt, an assistant, an agent, a skill or a workflow that is stored at the provider.
    StoredPrompt,
    /// Stored answers that an evaluation or a training reads.
    StoredAnswers,
}

impl Unseen {
    /// Every kind.
    pub const ALL: [Unseen; 9] = [
        Unseen::WebSearch,
        Unseen::FileSearch,
        Unseen::Mcp,
        Unseen::Container,
        Unseen::Conversation,
        Unseen::PreviousResponse,
        Unseen::File,
        Unseen::StoredPrompt,
        Unseen::StoredAnswers,
    ];

    /// The name in the verdict header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unseen::WebSearch => "web_search",
            Unseen::FileSearch => "file_search",
            Unseen::Mcp => "mcp",
            Unseen::Container => "container",
            Unseen::Conversation => "conversation",
            Unseen::PreviousResponse => "previous_response",
            Unseen::File => "file",
            Unseen::StoredPrompt => "stored_prompt",
            Unseen::StoredAnswers => "stored_answers",
        }
    }
}

/// A set of [`Unseen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnseenSet(u16);

impl UnseenSet {
    /// Adds one.
    pub fn insert(&mut self, unseen: Unseen) {
        self.0 |= 1 << unseen as u16;
    }

    /// Whether it is in there.
    pub fn contains(self, unseen: Unseen) -> bool {
        self.0 >> unseen as u16 & 1 == 1
    }

    /// Whether nothing is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in there.
    pub fn iter(self) -> impl Iterator<Item = Unseen> {
        Unseen::ALL.into_iter().filter(move |unseen| self.contains(*unseen))
    }
}

/// What a request holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted<'b> {
    /// Every text, in the order of the body, but for seams, which stand behind their parts, and token arrays, which come
    /// last.
    pub texts: Vec<Text<'b>>,
    /// What was not scanned.
    pub unscanned: Vec<Unscanned>,
    /// Fields that the table does not know, by names that may be shown (a star for what is no word), at most [`UNKNOWN_FIELDS_MAX`] different ones.
    pub unknown_fields: Vec<String>,
    /// How many unknown fields there were: those with a name above, and each string in a field that came later.
    pub unknown_count: usize,
    /// What is in view and never passes here.
    pub unseen: UnseenSet,
}

impl Extracted<'_> {
    /// Takes in what was found in a part.
    pub(crate) fn absorb(&mut self, other: Extracted<'_>, part: &Arc<str>) {
        let named = || Some(Arc::clone(part));
        self.texts.extend(other.texts.into_iter().map(|text| Text {
            part: named(),
            text: Cow::Owned(text.text.into_owned()),
            ..text
        }));
        self.unscanned.extend(other.unscanned.into_iter().map(|found| Unscanned { part: named(), ..found }));
        self.unseen.0 |= other.unseen.0;
        let noted = other.unknown_fields.len();
        other.unknown_fields.iter().for_each(|name| self.note_unknown(name));
        self.unknown_count += other.unknown_count - noted;
    }

    /// Counts an unknown field, and keeps its name where there is room.
    pub(crate) fn note_unknown(&mut self, name: &str) {
        let name: String = name.chars().take(UNKNOWN_FIELD_CHARS_MAX).collect();
        if self.unknown_fields.contains(&name) {
            return;
        }
        self.unknown_count += 1;
        if self.unknown_fields.len() < UNKNOWN_FIELDS_MAX {
            self.unknown_fields.push(name);
        }
    }

    /// Whether there is untrusted text in the model's view, seen or not. Addresses and asides alone are none.
    pub fn has_untrusted(&self) -> bool {
        let is_read = |text: &&Text<'_>| !matches!(text.origin, Origin::Url | Origin::Aside | Origin::Replay);
        !self.unseen.is_empty()
            || !self.unscanned.is_empty()
            || self.texts.iter().filter(is_read).any(|text| text.channel == Channel::Untrusted)
    }

    /// The media that were not scanned, each once.
    pub fn media(&self) -> impl Iterator<Item = Medium> + '_ {
        Medium::ALL.into_iter().filter(|medium| self.unscanned.iter().any(|found| found.medium == *medium))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(origin: Origin) -> Text<'static> {
        let text = Cow::Borrowed("a b");
        Text { channel: origin.channel(), origin, at: 0..5, form: Form::Plain, part: None, text, pieces: Vec::new() }
    }

    #[test]
    fn untrusted_text_in_view_is_what_neither_side_wrote() {
        let with = |origin: Origin| Extracted { texts: vec![text(origin)], ..Extracted::default() };
        for origin in [Origin::ToolResult, Origin::File, Origin::McpTools, Origin::Unknown, Origin::Odd] {
            assert!(with(origin).has_untrusted(), "{origin:?}");
        }
        for origin in [Origin::Instructions, Origin::Input, Origin::Replay, Origin::Url, Origin::Aside] {
            assert!(!with(origin).has_untrusted(), "{origin:?}");
        }
        let mut found = Extracted::default();
        found.unseen.insert(Unseen::Mcp);
        assert!(found.has_untrusted());
        let unscanned = vec![Unscanned { medium: Medium::Pdf, at: 0..2, part: None }; 2];
        let found = Extracted { unscanned, ..Extracted::default() };
        assert!(found.has_untrusted());
        assert_eq!(found.media().collect::<Vec<_>>(), [Medium::Pdf]);
    }

    #[test]
    fn names_of_unknown_fields_are_bounded() {
        let mut found = Extracted::default();
        (0..40).chain(0..4).for_each(|number| found.note_unknown(&format!("{number}{}", "x".repeat(100))));
        assert_eq!((found.unknown_fields.len(), found.unknown_count), (UNKNOWN_FIELDS_MAX, 40));
        assert!(found.unknown_fields.iter().all(|name| name.len() == UNKNOWN_FIELD_CHARS_MAX));
    }
}
