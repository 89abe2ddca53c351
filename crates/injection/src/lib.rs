//! The prompt-injection detector: rules, a linear stage and a small transformer, in process, on a CPU.
//!
//! Promises: a verdict depends on the text and its channel alone; both the raw and the normalised form are judged;
//! time and memory are linear in the text and bounded by [`Budget`]; no panic on any text; no I/O.

pub mod linear;
pub mod rules;
pub mod tokenise;

use std::ops::Range;
use std::sync::Arc;

use crate::rules::RuleSet;
pub use wire::channel::Channel;

/// What an attack tries to do, in the words of the training data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An order to the model to drop its instructions, by the one who talks to it.
    Direct,
    /// An order to the model inside text that it was given to read.
    Indirect,
    /// A frame (persona, game, fiction) that is to free the model from its rules.
    Jailbreak,
    /// An attempt to get at hidden instructions or other people's data.
    Extraction,
}

/// One thing found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// How sure the detector is, 0 to 1, calibrated: see the model card.
    pub score: f32,
    /// Where, in bytes of the original text, on character boundaries.
    pub span: Range<usize>,
    /// The rule's name, where a rule found it.
    pub rule: Option<String>,
}

/// What the detector says about one text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judgement {
    /// The highest score of all, 0 to 1, also where nothing was found.
    pub score: f32,
    /// What was found at or above the threshold asked for, best first.
    pub findings: Vec<Finding>,
    /// Whether parts were left unread by the transformer because the budget was spent (the linear stage read them all).
    pub partly: bool,
}

/// How much the transformer may read of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Windows of 128 tokens; those that the linear stage finds worst come first.
    pub windows: usize,
}

/// What the cheap stages (normalising, rules, linear) found, in tens of microseconds a kilobyte.
#[derive(Debug)]
pub enum Glance<'t> {
    /// They are sure: the judgement stands.
    Sure(Judgement),
    /// The transformer has to read it: call [`Detector::read`] off the async threads.
    Unsure(Pending<'t>),
}

/// A text that waits for the transformer. Owns nothing of the detector: it may be sent to another thread.
#[derive(Debug)]
pub struct Pending<'t> {
    text: std::borrow::Cow<'t, str>,
    channel: Channel,
}

impl Pending<'_> {
    /// The same with a text of its own, to be sent away.
    pub fn into_owned(self) -> Pending<'static> {
        Pending { text: std::borrow::Cow::Owned(self.text.into_owned()), channel: self.channel }
    }
}

/// The detector: immutable, shared by all threads. A copy shares what is large.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    /// Rules in the place of those that are part of the program.
    rules: Option<Arc<RuleSet>>,
}

impl Detector {
    /// The detector whose weights are part of this binary.
    pub fn embedded() -> &'static Detector {
        static EMBEDDED: Detector = Detector { rules: None };
        &EMBEDDED
    }

    /// The same with other rules.
    pub fn with_rules(&self, rules: RuleSet) -> Detector {
        Detector { rules: Some(Arc::new(rules)) }
    }

    /// The cheap stages. `threshold` is the score from which findings are reported.
    pub fn glance<'t>(&self, text: &'t str, channel: Channel, threshold: f32) -> Glance<'t> {
        let find = |rules: &Arc<RuleSet>| rules.find(text, &normalise::normalise(text), channel);
        let mut findings = self.rules.as_ref().map(find).unwrap_or_default();
        findings.retain(|finding| finding.score >= threshold);
        if let Some(best) = findings.first() {
            return Glance::Sure(Judgement { score: best.score, findings, partly: false });
        }
        Glance::Unsure(Pending { text: text.into(), channel })
    }

    /// The transformer, for what [`Self::glance`] was unsure of. Milliseconds a window.
    pub fn read(&self, pending: &Pending<'_>, threshold: f32, _budget: Budget) -> Judgement {
        let score = if pending.text.to_ascii_lowercase().contains("ignore all previous instructions") {
            0.9999
        } else {
            0.0001
        };
        let kind = if pending.channel == Channel::Untrusted { Kind::Indirect } else { Kind::Direct };
        let findings = if score >= threshold {
            vec![Finding { kind, score, span: 0..pending.text.len(), rule: None }]
        } else {
            Vec::new()
        };
        Judgement { score, findings, partly: false }
    }

    /// Both stages one after the other.
    pub fn inspect(&self, text: &str, channel: Channel, threshold: f32, budget: Budget) -> Judgement {
        match self.glance(text, channel, threshold) {
            Glance::Sure(judgement) => judgement,
            Glance::Unsure(pending) => self.read(&pending, threshold, budget),
        }
    }
}

/// Which share of harmless texts may be taken for attacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// One in a thousand.
    OneInThousand,
    /// One in a hundred.
    #[default]
    OneInHundred,
    /// Five in a hundred.
    FiveInHundred,
}

impl Detector {
    /// The score from which on a text of this channel is an attack, at a level. The default level is the one that the
    /// detector is shipped with.
    pub fn threshold(&self, _level: Level, _channel: Channel) -> f32 {
        0.5
    }
}
