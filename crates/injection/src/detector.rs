//! The detector: the cheap stages, then the transformer for what they leave open.
//!
//! Promises: a verdict depends on the text and its channel alone; the raw text and its plain form are both judged, once
//! where they say the same; spans are of the original; time and memory are linear in the text, the transformer's part
//! bounded by [`Budget`]; no panic on any text; no I/O.

mod extent;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use normalise::{Normalised, normalise};

use crate::calibration::{Calibration, Level};
use crate::encoder::Encoder;
use crate::linear::{self, Score, Weights};
use crate::reading::{self, Model, Reading, Task};
use crate::rules::RuleSet;
use crate::tokenise::Vocabulary;
use crate::work::Work;
use crate::{Budget, Channel, Finding, Judgement};

/// A longer text is cut into pieces as a whole (twelve bytes a piece) only where all of it may be read; else only its worst
/// stretches are.
const WHOLE_BYTES: usize = 256 << 10;

/// Log-odds are taken as no more than this where they rank texts: a hundredth of a rule's score outweighs them all.
const RANK_STEP: f32 = 50.0;

/// What is read again on both sides of a part of the plain form: a payload may stand in disguise with its one half only.
const MARGIN_BYTES: usize = linear::WINDOW_BYTES;

/// The weights of this binary; a test reads every one of these files, so that none can be missing or broken.
static WEIGHTS: LazyLock<Stages> = LazyLock::new(|| Stages {
    linear: Weights::parse(include_bytes!("../model/linear.bin")).expect("linear.bin is part of the binary"),
    model: Model {
        vocabulary: Vocabulary::parse(include_str!("../model/vocab.txt")),
        encoder: Encoder::parse(include_bytes!("../model/encoder.safetensors").as_slice())
            .expect("encoder.safetensors is part of the binary"),
        calibration: Calibration::parse(include_str!("../model/calibration.json"))
            .expect("calibration.json is part of the binary"),
    },
});

static EMBEDDED: LazyLock<Detector> = LazyLock::new(|| Detector {
    stages: &WEIGHTS,
    rules: Arc::new(RuleSet::parse(crate::rules::DEFAULT).expect("a test reads the default rules")),
    work: Arc::default(),
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
    /// What the rules found.
    found: Vec<Finding>,
    /// What the linear stage says.
    log_odds: f32,
}

impl Pending<'_> {
    /// The text that waits.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How much the cheap stages suspect it: what ranks highest goes first where not all can be read. What a rule found
    /// comes first of all, the surer the earlier, and then goes by log-odds.
    pub fn rank(&self) -> f32 {
        let found = self.found.iter().map(|finding| finding.score).fold(0.0, f32::max);
        self.log_odds.clamp(-RANK_STEP, RANK_STEP) + found * 200.0 * RANK_STEP
    }

    /// The same with a text of its own, to be sent away.
    pub fn into_owned(self) -> Pending<'static> {
        Pending { text: Cow::Owned(self.text.into_owned()), ..self }
    }
}

/// The stages that training makes.
#[derive(Debug)]
struct Stages {
    linear: Weights<'static>,
    model: Model,
}

/// The detector: immutable, shared by all threads.
#[derive(Debug, Clone)]
pub struct Detector {
    stages: &'static Stages,
    rules: Arc<RuleSet>,
    /// Shared with those that have other rules.
    work: Arc<Work>,
}

impl Detector {
    /// The detector whose weights and rules are part of this binary. The first call unpacks them: some tens of
    /// milliseconds.
    pub fn embedded() -> &'static Detector {
        &EMBEDDED
    }

    /// The same with other rules. Cheap: weights are shared.
    pub fn with_rules(&self, rules: RuleSet) -> Detector {
        Detector { rules: Arc::new(rules), ..self.clone() }
    }

    /// What it has done so far, whatever its rules were.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The score from which a text of that channel counts as an attack at that level.
    pub fn threshold(&self, level: Level, channel: Channel) -> f32 {
        self.stages.model.calibration.threshold(level, channel)
    }

    /// The cheap stages. `threshold` is the score from which findings are reported.
    ///
    /// Sure of an attack where a rule says so; sure of none, in a channel that is trusted, where the linear stage scores
    /// so low that hardly an attack does (`linear_low`: one in fifty of the left-out attacks). The linear stage alone never
    /// convicts: what it has not seen before, it overrates.
    pub fn glance<'t>(&self, text: &'t str, channel: Channel, threshold: f32) -> Glance<'t> {
        self.work.glanced();
        if text.trim().is_empty() {
            return Glance::Sure(Judgement::default());
        }
        let plain = normalise(text);
        let mut found = self.rules.find(text, &plain, channel);
        let score = found.iter().map(|finding| finding.score).fold(0.0, f32::max);
        if score >= threshold && !found.is_empty() {
            found.retain(|finding| finding.score >= threshold);
            return Glance::Sure(Judgement { score, findings: found, partly: false });
        }
        let log_odds = self.log_odds(text, &plain, channel);
        let calibration = &self.stages.model.calibration;
        if channel != Channel::Untrusted && log_odds < calibration.linear_low() {
            let unread = calibration.unread(channel, log_odds);
            if unread < threshold {
                return Glance::Sure(Judgement { score: score.max(unread), ..Judgement::default() });
            }
        }
        Glance::Unsure(Pending { text: text.into(), channel, found, log_odds })
    }

    /// The transformer, for what [`Self::glance`] was unsure of. Milliseconds a window.
    pub fn read(&self, pending: &Pending<'_>, threshold: f32, budget: Budget) -> Judgement {
        let mut judgement = Judgement::default();
        let plain = normalise(&pending.text);
        // The plain form has its windows, up to half of what may be read; the raw text has the others.
        let kept = self.extent_of_parts(&plain, budget.windows / 2).windows;
        let task = |allowed| Task {
            text: "",
            channel: pending.channel,
            threshold,
            allowed,
            linear: pending.log_odds,
            whole: None,
        };
        let raw = self.read_text(Task { text: &pending.text, ..task(budget.windows - kept) });
        let left = budget.windows - raw.read().min(budget.windows);
        self.work.read(raw.read());
        add(&mut judgement, raw, |span| span);
        let parts = plain.material(MARGIN_BYTES);
        if !parts.is_empty() {
            let reading = self.read_parts(Task { text: &plain.text, ..task(left) }, &parts);
            self.work.read(reading.read());
            add(&mut judgement, reading, |span| plain.origin(span));
        }
        add_rules(&mut judgement, &pending.found, threshold);
        judgement.findings.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.span.start.cmp(&b.span.start)));
        judgement
    }

    /// As [`Self::glance`], but what a rule convicts is still to be read: for whoever asks how sure all stages are together.
    pub fn glance_closely<'t>(&self, text: &'t str, channel: Channel, threshold: f32) -> Glance<'t> {
        match self.glance(text, channel, threshold) {
            Glance::Sure(Judgement { findings: found, .. }) if !found.is_empty() => {
                let log_odds = self.log_odds(text, &normalise(text), channel);
                Glance::Unsure(Pending { text: text.into(), channel, found, log_odds })
            }
            glance => glance,
        }
    }

    /// All stages one after the other.
    pub fn inspect(&self, text: &str, channel: Channel, threshold: f32, budget: Budget) -> Judgement {
        match self.glance_closely(text, channel, threshold) {
            Glance::Sure(judgement) => judgement,
            Glance::Unsure(pending) => self.read(&pending, threshold, budget),
        }
    }

    /// What the trained stages say of a text before calibration: what `training/calibrate.py` turns into the curves of
    /// [`Level`].
    pub fn uncalibrated(&self, text: &str, channel: Channel, budget: Budget) -> Uncalibrated {
        let plain = normalise(text);
        let linear = self.log_odds(text, &plain, channel);
        let task =
            |text| Task { text, channel, threshold: f32::INFINITY, allowed: budget.windows, linear, whole: None };
        let parts = plain.material(MARGIN_BYTES);
        let plainly = (!parts.is_empty()).then(|| self.read_parts(task(&plain.text), &parts));
        let forms = [Some(self.read_text(task(text))), plainly].into_iter().flatten();
        Uncalibrated {
            forms: forms.filter(|form| form.windows > 0).map(|form| (form.logit, form.whole)).collect(),
            linear,
        }
    }

    /// The linear stage's log-odds of the worst window of either form. The length takes nothing off: a text must not become
    /// harmless by what is put around it.
    fn log_odds(&self, text: &str, plain: &Normalised<'_>, channel: Channel) -> f32 {
        let worst = |text: &str| {
            let score = self.stages.linear.score(text, channel);
            score.windows.iter().map(|window| window.log_odds).reduce(f32::max).unwrap_or(score.log_odds)
        };
        plain.material(MARGIN_BYTES).into_iter().map(|part| worst(&plain.text[part])).fold(worst(text), f32::max)
    }

    /// Lets the transformer read a text; where not all may be read, what the linear stage finds worst comes first.
    fn read_text(&self, task: Task<'_>) -> Reading {
        if task.text.len() > WHOLE_BYTES {
            let whole = 0..task.text.len();
            return self.read_worst(task, std::slice::from_ref(&whole));
        }
        let score: LazyLock<Score, _> = LazyLock::new(|| self.stages.linear.score(task.text, task.channel));
        reading::read(&self.stages.model, task, |window| worst(&score.windows, window))
    }

    /// The same for some parts of a text.
    fn read_parts(&self, task: Task<'_>, parts: &[Range<usize>]) -> Reading {
        match parts {
            [part] if part.len() <= WHOLE_BYTES => {
                self.read_text(Task { text: &task.text[part.clone()], ..task }).moved(part.start)
            }
            _ => self.read_worst(task, parts),
        }
    }

    /// Reads parts that are many or very long: all of them where so much is allowed, else only what the linear stage finds
    /// worst, the worst stretch first, so that the rest is never cut into pieces.
    ///
    /// Windows, read and skipped, are the transformer's; of what is never cut, each of the linear stage's counts as one. The
    /// score goes by the linear stage's number in both cases: it must not depend on what may be read.
    fn read_worst(&self, task: Task<'_>, parts: &[Range<usize>]) -> Reading {
        let mut windows: Vec<linear::Window> = Vec::new();
        for part in parts {
            let scored = self.stages.linear.score(&task.text[part.clone()], task.channel).windows;
            windows.extend(scored.into_iter().map(|window| window.moved(part.start)));
        }
        let mut chosen: Vec<&linear::Window> = windows.iter().collect();
        if !self.suffice(task.allowed, task.text, parts) {
            chosen.sort_by(|a, b| worst_first(a, b));
            chosen.truncate(task.allowed);
            chosen.sort_by_key(|window| window.range.start);
        }
        let (whole, uncut) = (windows.len(), windows.len() - chosen.len());
        let mut all = Reading { windows: uncut, whole, skipped: uncut, logit: f32::NEG_INFINITY, ..Reading::default() };
        let mut allowed = task.allowed;
        for linear::Window { range, .. } in stretches(&chosen) {
            let rank = |window: Range<usize>| worst(&windows, range.start + window.start..range.start + window.end);
            let part = Task { text: &task.text[range.clone()], allowed, whole: Some(whole), ..task };
            let part = reading::read(&self.stages.model, part, rank);
            allowed -= part.read();
            all.windows += part.windows;
            all.skipped += part.skipped;
            all.score = all.score.max(part.score);
            all.logit = all.logit.max(part.logit);
            all.spots.extend(part.moved(range.start).spots);
        }
        all
    }
}

fn worst_first(one: &linear::Window, other: &linear::Window) -> Ordering {
    other.log_odds.total_cmp(&one.log_odds).then(one.range.start.cmp(&other.range.start))
}

/// What the windows (in the text's order) make where those that touch are one, with the log-odds of its worst: worst first.
fn stretches(windows: &[&linear::Window]) -> Vec<linear::Window> {
    let mut stretches: Vec<linear::Window> = Vec::new();
    for &window in windows {
        match stretches.last_mut() {
            Some(last) if window.range.start <= last.range.end => {
                last.range.end = last.range.end.max(window.range.end);
                last.log_odds = last.log_odds.max(window.log_odds);
            }
            _ => stretches.push(window.clone()),
        }
    }
    stretches.sort_by(worst_first);
    stretches
}

/// The highest log-odds of the windows (in the text's order) that a range touches.
fn worst(windows: &[linear::Window], range: Range<usize>) -> f32 {
    let first = windows.partition_point(|window| window.range.end <= range.start);
    let touched = windows[first..].iter().take_while(|window| window.range.start < range.end);
    touched.map(|window| window.log_odds).fold(f32::NEG_INFINITY, f32::max)
}

/// The trained stages' own words.
#[derive(Debug, Clone, PartialEq)]
pub struct Uncalibrated {
    /// The transformer's highest logit and the number of windows that the score goes by, of the raw text and of its plain
    /// form where that says something else.
    pub forms: Vec<(f32, usize)>,
    /// The linear stage's log-odds.
    pub linear: f32,
}

/// Adds a reading of one form of the text; what another form found at an overlapping place is said once, by the stronger.
fn add(judgement: &mut Judgement, reading: Reading, origin: impl Fn(Range<usize>) -> Range<usize>) {
    judgement.score = judgement.score.max(reading.score);
    judgement.partly |= reading.skipped > 0;
    for spot in reading.spots {
        put(judgement, Finding { kind: spot.kind, score: spot.score, span: origin(spot.span), rule: None });
    }
}

/// Adds what the rules found. They and the trained stages are wrong for different reasons: either of them can be right.
fn add_rules(judgement: &mut Judgement, found: &[Finding], threshold: f32) {
    let trained = judgement.score;
    for finding in found {
        let score = 1.0 - (1.0 - finding.score) * (1.0 - trained);
        judgement.score = judgement.score.max(score);
        if score >= threshold {
            put(judgement, Finding { score, ..finding.clone() });
        }
    }
}

fn put(judgement: &mut Judgement, found: Finding) {
    let same = |other: &&mut Finding| other.span.start < found.span.end && found.span.start < other.span.end;
    match judgement.findings.iter_mut().find(same) {
        Some(other) if other.score < found.score => *other = found,
        Some(_) => {}
        None => judgement.findings.push(found),
    }
}
