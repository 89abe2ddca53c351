//! The prompt-injection detector: rules, a linear stage and a small transformer, in process, on a CPU.
//!
//! Promises: a verdict depends on the text and its channel alone; both the raw and the normalised form are judged;
//! time and memory are linear in the text and bounded by [`Budget`]; no panic on any text; no I/O.

pub mod calibration;
mod detector;
pub mod encoder;
pub mod linear;
mod reading;
pub mod rules;
pub mod tokenise;
mod windows;
mod work;

use std::ops::Range;

pub use calibration::Level;
pub use detector::{Detector, Glance, Pending};
pub use wire::channel::Channel;
pub use work::Work;

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

/// What it takes the transformer to read a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Windows.
    pub windows: usize,
    /// Pieces of the longest one, at most 128, which its time follows: a text that fits is read as it is, without padding.
    pub pieces: usize,
}
