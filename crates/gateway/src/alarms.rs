//! What the data path notices and somebody else must look into: handed over without waiting.
//!
//! Promise: raising an alarm costs a request next to nothing and never makes it wait; what nobody takes in time is
//! counted, not kept.

use store::{KeyId, ProjectId, Severity, TextHash};
use tokio::sync::mpsc;

/// Alarms on their way; the task that takes them groups them by hour, so that this is ample even in a flood.
const QUEUE_MAX: usize = 4_096;

/// Something noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Type of the finding that it makes.
    pub kind: AlarmKind,
    /// When.
    pub at: i64,
    /// The project concerned.
    pub project: Option<ProjectId>,
    /// The key concerned.
    pub key: Option<KeyId>,
    /// Where the request came from.
    pub address: String,
    /// `User-Agent`, cut.
    pub user_agent: Option<String>,
    /// The web origin that named itself.
    pub origin: Option<String>,
    /// What was found in a text, where that is what was noticed.
    pub injection: Option<Box<Injection>>,
}

/// A text with an injection, but for its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// SHA-256 of the text.
    pub text: TextHash,
    /// Whose words it is.
    pub channel: &'static str,
    /// Where it stands in the request: `messages[2].content`.
    pub place: String,
    /// Where the injection begins in the text, in Unicode scalar values.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// How sure the detector is, in millionths.
    pub score: u32,
    /// The rule that found it.
    pub rule: Option<String>,
    /// Whether the request was refused for it.
    pub is_blocked: bool,
    /// Path template of the operation.
    pub endpoint: &'static str,
    /// The request.
    pub request_id: String,
    /// The model that it named.
    pub model: Option<String>,
}

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlarmKind {
    /// A long-lived key came with browser signs.
    BrowserUse,
    /// A page asked whether it may call, and no client secret is bound to its origin.
    UnknownOrigin,
    /// Somebody used a decoy.
    DecoyUsed,
    /// An address presents unknown keys again and again.
    UnknownKeys,
    /// A client secret came from another origin or device.
    ClientSecretElsewhere,
    /// A key came from an address that it does not take.
    AddressNotAllowed,
    /// A user's order to the model to drop its instructions.
    DirectInjection,
    /// An order to the model in text that it was given to read.
    IndirectInjection,
    /// A frame that is to free the model from its rules.
    Jailbreak,
    /// An attempt to get at hidden instructions or other people's data.
    Extraction,
}

impl AlarmKind {
    /// The finding's type.
    pub const fn word(self) -> &'static str {
        match self {
            AlarmKind::BrowserUse => "key.browser_use",
            AlarmKind::UnknownOrigin => "browser.unknown_origin",
            AlarmKind::DecoyUsed => "key.decoy_used",
            AlarmKind::UnknownKeys => "key.unknown_keys",
            AlarmKind::ClientSecretElsewhere => "client_secret.used_elsewhere",
            AlarmKind::AddressNotAllowed => "key.address_not_allowed",
            AlarmKind::DirectInjection => "injection.direct",
            AlarmKind::IndirectInjection => "injection.indirect",
            AlarmKind::Jailbreak => "injection.jailbreak",
            AlarmKind::Extraction => "injection.extraction",
        }
    }

    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            AlarmKind::DecoyUsed => Severity::Critical,
            AlarmKind::BrowserUse | AlarmKind::AddressNotAllowed | AlarmKind::ClientSecretElsewhere => Severity::High,
            // Somebody else's words, where the user is not the attacker.
            AlarmKind::UnknownKeys | AlarmKind::IndirectInjection => Severity::Medium,
            AlarmKind::UnknownOrigin | AlarmKind::DirectInjection | AlarmKind::Jailbreak | AlarmKind::Extraction => {
                Severity::Low
            }
        }
    }
}

/// Where alarms go in.
#[derive(Debug, Clone)]
pub struct Alarms(mpsc::Sender<Alarm>);

impl Alarms {
    /// A queue of alarms, and where they come out.
    pub fn new() -> (Alarms, mpsc::Receiver<Alarm>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Alarms(sender), receiver)
    }

    /// Raises an alarm; whether there was room for it.
    pub(crate) fn raise(&self, alarm: Alarm) -> bool {
        // What anybody can cause without a key, or with words, must not crowd out what a key of ours did.
        let comes_in_floods = alarm.key.is_none() || alarm.injection.is_some();
        if comes_in_floods && self.0.capacity() < QUEUE_MAX / 2 {
            return false;
        }
        self.0.try_send(alarm).is_ok()
    }
}
