//! What a project's guards do with what they find in the texts of its requests.
//!
//! What is not said goes by the default: everything is looked at and told, nothing is blocked or changed.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wire::channel::Channel;

/// What is done with what is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardMode {
    /// Nothing is looked at.
    Off,
    /// It is told, and passes.
    #[default]
    Observe,
    /// It is told, and refused.
    Block,
}

impl GuardMode {
    /// All of them.
    pub const ALL: [GuardMode; 3] = [GuardMode::Off, GuardMode::Observe, GuardMode::Block];

    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            GuardMode::Off => "off",
            GuardMode::Observe => "observe",
            GuardMode::Block => "block",
        }
    }

    /// The mode of a word.
    pub fn from_word(word: &str) -> Option<GuardMode> {
        GuardMode::ALL.into_iter().find(|mode| mode.word() == word)
    }
}

/// From which score on something is a finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// The detector's own.
    #[default]
    Default,
    /// One false alarm in a thousand harmless texts.
    OneInThousand,
    /// One in a hundred.
    OneInHundred,
    /// Five in a hundred.
    FiveInHundred,
    /// A score, in millionths.
    Score(u32),
}

impl Threshold {
    /// Millionths in a score of 1.
    pub const SCORE_MAX: u32 = 1_000_000;

    /// The levels that have a name, each with it.
    pub const NAMED: [(Threshold, &'static str); 4] = [
        (Threshold::Default, "default"),
        (Threshold::OneInThousand, "0.1%"),
        (Threshold::OneInHundred, "1%"),
        (Threshold::FiveInHundred, "5%"),
    ];

    /// The name, of one that is no score.
    pub fn name(self) -> Option<&'static str> {
        Threshold::NAMED.into_iter().find(|(level, _)| *level == self).map(|(_, name)| name)
    }

    /// The level of a name.
    pub fn from_name(name: &str) -> Option<Threshold> {
        Threshold::NAMED.into_iter().find(|(_, known)| *known == name).map(|(level, _)| level)
    }
}

/// What is done with the texts of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelGuard {
    /// What is done with what is found.
    pub mode: GuardMode,
    /// What counts as found.
    pub threshold: Threshold,
}

/// How untrusted text is marked as such on its way to the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spotlight {
    /// Not at all.
    #[default]
    Off,
    /// It stands between marks that it cannot know.
    Delimit,
    /// A mark stands in the place of each of its blanks.
    Datamark,
}

impl Spotlight {
    /// All of them.
    pub const ALL: [Spotlight; 3] = [Spotlight::Off, Spotlight::Delimit, Spotlight::Datamark];

    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Spotlight::Off => "off",
            Spotlight::Delimit => "delimit",
            Spotlight::Datamark => "datamark",
        }
    }

    /// The way of a word.
    pub fn from_word(word: &str) -> Option<Spotlight> {
        Spotlight::ALL.into_iter().find(|way| way.word() == word)
    }
}

/// What happens to a request that the guards cannot judge: they are overloaded, too slow, or have failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is refused, where its channel blocks.
    #[default]
    Closed,
    /// It passes, and that is told and counted.
    Open,
}

impl OnFailure {
    /// All of them.
    pub const ALL: [OnFailure; 2] = [OnFailure::Closed, OnFailure::Open];

    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            OnFailure::Closed => "closed",
            OnFailure::Open => "open",
        }
    }

    /// The way of a word.
    pub fn from_word(word: &str) -> Option<OnFailure> {
        OnFailure::ALL.into_iter().find(|way| way.word() == word)
    }
}

/// What happens to a request that has more text than may be read of one, so that some is left to rules and linear stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnread {
    /// It passes on their word, and that is told.
    #[default]
    Open,
    /// It is refused, where a channel blocks of which something is left.
    Closed,
}

impl OnUnread {
    /// All of them.
    pub const ALL: [OnUnread; 2] = [OnUnread::Open, OnUnread::Closed];

    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            OnUnread::Open => "open",
            OnUnread::Closed => "closed",
        }
    }

    /// The way of a word.
    pub fn from_word(word: &str) -> Option<OnUnread> {
        OnUnread::ALL.into_iter().find(|way| way.word() == word)
    }
}

/// SHA-256 of a text's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextHash(pub [u8; 32]);

impl TextHash {
    /// The hash that is written so: 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<TextHash> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(0)? << 4 | digit(1)?;
        }
        Some(TextHash(bytes))
    }
}

impl fmt::Display for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TextHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TextHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextHash, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        TextHash::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not 64 hexadecimal digits"))
    }
}

/// A text that is let through unread, in one channel or wherever it stands. Written `untrusted:` and the hash, or the hash
/// alone: an answer of a tool that is harmless there may be an attack in a user's mouth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowedText {
    /// Where; `None` is everywhere.
    pub channel: Option<Channel>,
    /// Of the whole text.
    pub hash: TextHash,
}

impl AllowedText {
    /// What is written so.
    pub fn from_text(text: &str) -> Option<AllowedText> {
        let (channel, hash) = match text.split_once(':') {
            Some((channel, hash)) => (Some(Channel::from_name(channel)?), hash),
            None => (None, text),
        };
        Some(AllowedText { channel, hash: TextHash::from_hex(hash)? })
    }
}

impl fmt::Display for AllowedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(channel) = self.channel {
            write!(f, "{}:", channel.as_str())?;
        }
        fmt::Display::fmt(&self.hash, f)
    }
}

impl Serialize for AllowedText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AllowedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AllowedText, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        AllowedText::from_text(&text).ok_or_else(|| serde::de::Error::custom("no hash of a text that is let through"))
    }
}

/// A project's guards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardSettings {
    /// For what the operator or the application's developer wrote.
    pub system: ChannelGuard,
    /// For what the application's user wrote.
    pub user: ChannelGuard,
    /// For what neither of them wrote.
    pub untrusted: ChannelGuard,
    /// How untrusted text is marked.
    pub spotlight: Spotlight,
    /// Whether the upstream is called while the guards still read; its answer is held until they have.
    pub parallel: bool,
    /// What happens when they cannot judge.
    pub on_failure: OnFailure,
    /// What happens when there is more than they may read.
    pub on_unread: OnUnread,
    /// Texts that are let through unread.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<AllowedText>,
}

impl GuardSettings {
    /// Most texts that are let through unread: the list is in memory with its project, and rewritten with each change.
    pub const ALLOWED_MAX: usize = 4_096;

    /// What holds for a channel. What a model writes is not looked at.
    pub const fn channel(&self, channel: Channel) -> ChannelGuard {
        match channel {
            Channel::System => self.system,
            Channel::User => self.user,
            Channel::Untrusted => self.untrusted,
            Channel::Output => ChannelGuard { mode: GuardMode::Off, threshold: Threshold::Default },
        }
    }

    /// Whether a text is let through unread where it stands.
    pub fn allows(&self, channel: Channel, hash: TextHash) -> bool {
        [None, Some(channel)].into_iter().any(|channel| self.allow.contains(&AllowedText { channel, hash }))
    }

    /// Whether nothing is looked at or changed.
    pub fn are_off(&self) -> bool {
        let all = [self.system, self.user, self.untrusted];
        all.iter().all(|channel| channel.mode == GuardMode::Off) && self.spotlight == Spotlight::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = TextHash(std::array::from_fn(|at| u8::try_from(at * 7).expect("small")));
        assert_eq!(TextHash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(TextHash::from_hex(&hash.to_string().to_uppercase()), Some(hash));
        for wrong in ["", "00", "zz", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            assert_eq!(TextHash::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_let_through_in_one_channel_is_not_in_another() {
        let (hash, other) = (TextHash([7; 32]), TextHash([8; 32]));
        let texts = [format!("untrusted:{hash}"), other.to_string()];
        let allow = texts.iter().map(|text| AllowedText::from_text(text).expect("readable")).collect();
        let guards = GuardSettings { allow, ..GuardSettings::default() };
        assert!(guards.allows(Channel::Untrusted, hash) && !guards.allows(Channel::User, hash));
        assert!(guards.allows(Channel::Untrusted, other) && guards.allows(Channel::User, other));
        for text in &texts {
            assert_eq!(AllowedText::from_text(text).expect("readable").to_string(), *text);
        }
        for wrong in [format!("nowhere:{hash}"), format!(":{hash}"), "user:".to_owned(), format!("user:{hash}:")] {
            assert_eq!(AllowedText::from_text(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_stored_comes_back_and_what_is_missing_is_the_default() {
        let settings = GuardSettings {
            user: ChannelGuard { mode: GuardMode::Block, threshold: Threshold::Score(998_700) },
            untrusted: ChannelGuard { mode: GuardMode::Off, threshold: Threshold::OneInHundred },
            spotlight: Spotlight::Datamark,
            parallel: true,
            on_failure: OnFailure::Open,
            on_unread: OnUnread::Closed,
            allow: [None, Some(Channel::User)].map(|channel| AllowedText { channel, hash: TextHash([7; 32]) }).into(),
            ..GuardSettings::default()
        };
        let text = serde_json::to_string(&settings).expect("JSON");
        assert_eq!(serde_json::from_str::<GuardSettings>(&text).expect("readable"), settings);
        assert_eq!(serde_json::from_str::<GuardSettings>("{}").expect("readable"), GuardSettings::default());
    }
}
