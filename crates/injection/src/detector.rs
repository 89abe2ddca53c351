//! The detector: the cheap stages, then the transformer for what they leave open.
//!
//! Promises: a verdict depends on the text and its channel alone; the raw text and its plain form are both judged, once
//! where they are the same; spans are of the original; time and memory are linear in the text, the transformer's part
//! bounded by [`Budget`]; no panic on any text; no I/O.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::calibration::{Calibration, Level};
use crate::encoder::Encoder;
use crate::reading::{self, Model, Reading};
use crate::tokenise::Vocabulary;
use crate::{Budget, Channel, Finding, Judgement};

static EMBEDDED: LazyLock<Detector> = LazyLock::new(|| Detector {
    model: Model {
        vocabulary: Vocabulary::parse(include_str!("../model/vocab.txt")),
        encoder: Encoder::parse(include_bytes!("../model/encoder.safetensors").as_slice())
            .expect("the file is part of the binary, and a test reads it"),
        calibration: Calibration::parse(include_str!("../model/calibration.json")).expect("likewise"),
    },
});

/// What the cheap stages (normalising, rules, linear) found, in tens of microseconds a kilobyte.
#[derive(Debug)]
pub enum Glance<'t> {
    /// They are sure: the judgement stands.
    Sure(Judgement),
    /// The transformer has to read it: call [`Detector::read`] off the async threads.
    Unsure(Pending<'t>),
}

/// A text that waits for the transformer. Holds nothing of the detector: it may be sent to another thread.
#[derive(Debug, Clone)]
pub struct Pending<'t> {
    text: Cow<'t, str>,
    channel: Channel,
}

impl Pending<'_> {
    /// The same with a text of its own, to be sent away.
    pub fn into_owned(self) -> Pending<'static> {
        Pending { text: Cow::Owned(self.text.into_owned()), channel: self.channel }
    }
}

/// The detector: immutable, shared by all threads.
#[derive(Debug)]
pub struct Detector {
    model: Model,
}

impl Detector {
    /// The detector whose weights are part of this binary. The first call unpacks them: some tens of milliseconds.
    pub fn embedded() -> &'static Detector {
        &EMBEDDED
    }

    /// The score from which a text of that channel counts as an attack at that level.
    pub fn threshold(&self, level: Level, channel: Channel) -> f32 {
        self.model.calibration.threshold(level, channel)
    }

    /// The cheap stages. `threshold` is the score from which findings are reported.
    pub fn glance<'t>(&self, text: &'t str, channel: Channel, _threshold: f32) -> Glance<'t> {
        if text.trim().is_empty() {
            return Glance::Sure(Judgement::default());
        }
        Glance::Unsure(Pending { text: text.into(), channel })
    }

    /// The transformer, for what [`Self::glance`] was unsure of. Milliseconds a window.
    pub fn read(&self, pending: &Pending<'_>, threshold: f32, budget: Budget) -> Judgement {
        let read = |text: &str| reading::read(&self.model, text, pending.channel, threshold, budget.windows, |_| 0.0);
        let mut judgement = Judgement::default();
        add(&mut judgement, read(&pending.text), |span| span);
        let plain = normalise::normalise(&pending.text);
        if plain.text != pending.text {
            add(&mut judgement, read(&plain.text), |span| plain.origin(span));
        }
        judgement.findings.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.span.start.cmp(&b.span.start)));
        judgement
    }

    /// The transformer's highest logit and the number of windows, of the raw text and of its plain form where that
    /// differs: what `training/calibrate.py` turns into the curves of [`Level`].
    pub fn logits(&self, text: &str, channel: Channel, budget: Budget) -> Vec<(f32, usize)> {
        let read = |text: &str| {
            let reading = reading::read(&self.model, text, channel, f32::INFINITY, budget.windows, |_| 0.0);
            (reading.logit, reading.windows)
        };
        let plain = normalise::normalise(text);
        let forms = [Some(read(text)), (plain.text != text).then(|| read(&plain.text))];
        forms.into_iter().flatten().filter(|(_, windows)| *windows > 0).collect()
    }

    /// Both stages one after the other.
    pub fn inspect(&self, text: &str, channel: Channel, threshold: f32, budget: Budget) -> Judgement {
        match self.glance(text, channel, threshold) {
            Glance::Sure(judgement) => judgement,
            Glance::Unsure(pending) => self.read(&pending, threshold, budget),
        }
    }
}

/// Adds a reading of one form of the text; what another form found at an overlapping place is said once, by the stronger.
fn add(judgement: &mut Judgement, reading: Reading, origin: impl Fn(std::ops::Range<usize>) -> std::ops::Range<usize>) {
    judgement.score = judgement.score.max(reading.score);
    judgement.partly |= reading.skipped > 0;
    for spot in reading.spots {
        let found = Finding { kind: spot.kind, score: spot.score, span: origin(spot.span), rule: None };
        match judgement
            .findings
            .iter_mut()
            .find(|other| other.span.start < found.span.end && found.span.start < other.span.end)
        {
            Some(other) if other.score < found.score => *other = found,
            Some(_) => {}
            None => judgement.findings.push(found),
        }
    }
}
