//! What a field is: the classes that `rules.txt` names.

use wire::channel::Channel;
use wire::key_like::holds_key;

use crate::text::{Medium, Origin, Unseen};

/// Longest word, in bytes: names of tuned models reach about 100, ids of stored items about 200.
const WORD_BYTES_MAX: usize = 256;

/// Most separators in a word. Identifiers and dates have up to ten; a sentence written with hyphens has more.
const WORD_SEPARATORS_MAX: usize = 16;

/// What a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Text, whose channel the role of the object around decides.
    ByRole,
    /// Text of this origin.
    Text(Origin),
    /// Text of this origin, but for names of up to three words.
    Loose(Origin),
    /// An address that nothing is fetched from.
    Link,
    /// An address whose content the model sees, or a data URL.
    Fetch(Medium),
    /// One word.
    Word,
    /// One word that brings stored content into view.
    Reference(Unseen),
    /// One word that may bring content into view.
    Type,
    /// One word that may bring stored answers into view.
    Source,
    /// One word that decides about [`Class::ByRole`].
    Role,
    /// Base64.
    Media(Medium),
    /// Base64 of a file.
    File,
    /// Token numbers.
    Tokens,
    /// Not looked into.
    Unread,
    /// An object whose presence brings content into view.
    Present(Unseen),
}

impl Class {
    /// The class of that name, with its argument.
    pub(crate) fn from_words(name: &str, argument: Option<&str>) -> Option<Class> {
        let medium = || Medium::ALL.into_iter().find(|medium| Some(medium.as_str()) == argument);
        let unseen = || Unseen::ALL.into_iter().find(|unseen| Some(unseen.as_str()) == argument);
        Some(match name {
            "by-role" => Class::ByRole,
            "instructions" => Class::Text(Origin::Instructions),
            "tool" => Class::Loose(Origin::ToolDefinition),
            "mcp-tools" => Class::Loose(Origin::McpTools),
            "input" => Class::Text(Origin::Input),
            "result" => Class::Text(Origin::ToolResult),
            "replay" => Class::Text(Origin::Replay),
            "called" => Class::Loose(Origin::Replay),
            "document" => Class::Text(Origin::File),
            "name" => Class::Loose(Origin::Input),
            "aside" => Class::Loose(Origin::Aside),
            "link" => Class::Link,
            "fetch" => Class::Fetch(medium()?),
            "word" => Class::Word,
            "reference" => Class::Reference(unseen()?),
            "type" => Class::Type,
            "source" => Class::Source,
            "role" => Class::Role,
            "media" => Class::Media(medium()?),
            "file" => Class::File,
            "tokens" => Class::Tokens,
            "unread" => Class::Unread,
            "present" => Class::Present(unseen()?),
            _ => return None,
        })
    }
}

impl Origin {
    /// Whose words a text of this origin is.
    pub const fn channel(self) -> Channel {
        match self {
            Origin::Instructions | Origin::ToolDefinition => Channel::System,
            // No model reads an aside; it is what the application says about its user's matter.
            Origin::Input | Origin::Aside => Channel::User,
            Origin::McpTools
            | Origin::ToolResult
            | Origin::File
            | Origin::Replay
            | Origin::Url
            | Origin::Odd
            | Origin::Unknown => Channel::Untrusted,
        }
    }

    /// Where a message of this role comes from. What has no role, in places where others have one, is the model's
    /// reasoning.
    pub(crate) fn of_role(role: Option<&str>) -> Origin {
        match role {
            Some("system" | "developer") => Origin::Instructions,
            Some("user") => Origin::Input,
            Some("tool" | "function") => Origin::ToolResult,
            Some("assistant") | None => Origin::Replay,
            Some(_) => Origin::Unknown,
        }
    }
}

/// Whether data of this source are stored answers.
pub(crate) fn is_stored_source(name: &str) -> bool {
    matches!(name, "stored_completions" | "responses" | "logs")
}

/// What an item or a tool of this type brings into view.
pub(crate) fn unseen_of_type(name: &str) -> Option<Unseen> {
    Some(match name {
        "file_search" => Unseen::FileSearch,
        "mcp" => Unseen::Mcp,
        // `local_shell` and computers are run by the caller, and what they show passes here.
        "code_interpreter" | "shell" => Unseen::Container,
        "item_reference" => Unseen::PreviousResponse,
        _ if name.starts_with("web_search") && !name.ends_with("_call") => Unseen::WebSearch,
        _ => return None,
    })
}

/// Whether a text is one word: an identifier, a name, one of a list, a media type, a number with its unit.
pub(crate) fn is_word(text: &str) -> bool {
    let mut separators = 0;
    text.len() <= WORD_BYTES_MAX
        && text.bytes().all(|byte| {
            let is_separator =
                matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b'@' | b'+' | b'=' | b'#' | b'$' | b'*');
            separators += usize::from(is_separator);
            byte.is_ascii_alphanumeric() || is_separator
        })
        && separators <= WORD_SEPARATORS_MAX
}

/// Words in a name above which it is read as a text: an order has hardly less.
const NAME_WORDS_MAX: usize = 3;
/// Letters of a word where digits or capitals are the gaps: ids have many short ones by chance.
const GLUED_WORD_CHARS_MIN: usize = 4;

/// Whether one word is a name, and no sentence with other signs for its gaps (`drop_all_rules_and_…`, `DropAllRules…`).
pub(crate) fn is_name(text: &str) -> bool {
    let is_letters = |part: &&str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word(text)
        && text.split(|symbol: char| !symbol.is_alphanumeric()).filter(is_letters).count() <= NAME_WORDS_MAX
        && glued_words(text) <= NAME_WORDS_MAX
}

/// How many words there are between digits, signs, and changes from small letters to capitals.
fn glued_words(text: &str) -> usize {
    let (mut words, mut letters, mut before) = (0, 0, b'_');
    for byte in text.bytes().chain([b'_']) {
        if !byte.is_ascii_alphabetic() || byte.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words += usize::from(letters >= GLUED_WORD_CHARS_MIN);
            letters = 0;
        }
        letters += usize::from(byte.is_ascii_alphabetic());
        before = byte;
    }
    words
}

/// A key as it may be shown in headers, logs and findings: one word that is no secret, else a star.
pub(crate) fn shown(key: &str) -> &str {
    let bare = key.trim_end_matches("[]");
    if (is_word(bare) && !holds_key(bare)) || key.is_empty() { key } else { "*" }
}
