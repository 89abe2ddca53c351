//! Whose words a text is: the trust that a guard may put in it.

/// Where a text in a request or an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// What the operator or the application's developer wrote: `system` and `developer` messages, instructions, tool
    /// definitions.
    System,
    /// What the person who uses the application wrote.
    User,
    /// What neither of them wrote: tool results, documents, retrieved text, file contents, unknown fields.
    Untrusted,
    /// What the model wrote.
    Output,
}

impl Channel {
    /// Every channel, in the order of its numbers in the detector's weights.
    pub const ALL: [Channel; 4] = [Channel::System, Channel::User, Channel::Untrusted, Channel::Output];

    /// The name used in configuration, in the API and in findings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Channel::System => "system",
            Channel::User => "user",
            Channel::Untrusted => "untrusted",
            Channel::Output => "output",
        }
    }

    /// The channel of that name.
    pub fn from_name(name: &str) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == name)
    }
}
