//! From the heads' logits to a score in 0..1, and the thresholds that go with it.
//!
//! Every number comes from `model/calibration.json`, which training measures on sources that it left out
//! (`training/calibrate.py`); none is set by hand.

use serde::Deserialize;

use crate::Channel;

/// A threshold by what it costs: the share of harmless texts, from sources that training never saw, that reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// What the detector is shipped with: at most five in a hundred of texts half of which were written to be hard, and
    /// three in a hundred of long clean documents; stricter in channels of which too few texts were at hand to know.
    #[default]
    Shipped,
    /// One in a thousand.
    OneInThousand,
    /// One in a hundred.
    OneInHundred,
    /// Five in a hundred.
    FiveInHundred,
}

impl Level {
    /// Every level: the default, then the rarest false alarms first.
    pub const ALL: [Level; 4] = [Level::Shipped, Level::OneInThousand, Level::OneInHundred, Level::FiveInHundred];

    /// Its name in configuration and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Shipped => "default",
            Level::OneInThousand => "0.1%",
            Level::OneInHundred => "1%",
            Level::FiveInHundred => "5%",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

/// A logistic curve and its thresholds, for one channel.
#[derive(Debug, Clone, Deserialize)]
struct Curve {
    slope: f64,
    offset: f64,
    default: f64,
    /// Scores for one in a thousand, one in a hundred, five in a hundred.
    thresholds: [f64; 3],
}

/// How logits are read.
#[derive(Debug, Clone, Deserialize)]
pub struct Calibration {
    /// What a doubling of the number of windows, up to `windows_most`, takes off the highest logit, over ln 2: many windows are
    /// many chances.
    many_windows: f64,
    /// More windows than that take off no more: else a long text would be a place to hide in.
    windows_most: usize,
    /// How much of the linear stage's log-odds, taken within `linear_most` of zero, is added to the logit.
    linear_weight: f64,
    linear_most: f64,
    /// The linear stage's log-odds below which a text in a trusted channel is left alone.
    linear_low: f32,
    /// The transformer's logit that stands for the ones of texts that it is not asked about: the mean of the harmless ones.
    unread: f32,
    system: Curve,
    user: Curve,
    untrusted: Curve,
    output: Curve,
}

impl Calibration {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// What `serde_json` says of a file that is not one.
    pub fn parse(json: &str) -> Result<Calibration, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The linear stage's log-odds below which a text in a trusted channel is left alone: one in fifty of the left-out
    /// attacks lies below.
    pub fn linear_low(&self) -> f32 {
        self.linear_low
    }

    fn curve(&self, channel: Channel) -> &Curve {
        match channel {
            Channel::System => &self.system,
            Channel::User => &self.user,
            Channel::Untrusted => &self.untrusted,
            Channel::Output => &self.output,
        }
    }

    /// The score of a window's logit, in a text of that many windows whose worst window has those log-odds in the linear
    /// stage. The two err on different texts: together they rank better than the transformer alone.
    pub fn score(&self, channel: Channel, logit: f32, windows: usize, linear: f32) -> f32 {
        let curve = self.curve(channel);
        let many = self.many_windows * (windows.clamp(1, self.windows_most) as f64).ln();
        let linear = self.linear_weight * f64::from(linear).clamp(-self.linear_most, self.linear_most);
        let logit = f64::from(logit) - many + linear;
        (1.0 / (1.0 + (-(curve.slope * logit + curve.offset)).exp())) as f32
    }

    /// The score of a text that the transformer is not asked about.
    pub fn unread(&self, channel: Channel, linear: f32) -> f32 {
        self.score(channel, self.unread, 1, linear)
    }

    /// The score from which a text of that channel counts as an attack at that level.
    pub fn threshold(&self, level: Level, channel: Channel) -> f32 {
        let curve = self.curve(channel);
        let threshold = match level {
            Level::Shipped => curve.default,
            Level::OneInThousand => curve.thresholds[0],
            Level::OneInHundred => curve.thresholds[1],
            Level::FiveInHundred => curve.thresholds[2],
        };
        threshold as f32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn embedded() -> Calibration {
        Calibration::parse(include_str!("../model/calibration.json")).expect("calibration.json is part of the binary")
    }

    proptest! {
        #[test]
        fn a_score_rises_with_what_is_suspected_and_falls_with_the_windows(
            logits in prop::collection::vec(-9.0..9.0_f32, 2), linears in prop::collection::vec(-20.0..20.0_f32, 2),
            windows in 1..100_usize, more in 0..100_usize, channel in prop::sample::select(&Channel::ALL[..]),
        ) {
            let score = |logit, windows, linear| embedded().score(channel, logit, windows, linear);
            let (low, high) = (logits[0].min(logits[1]), logits[0].max(logits[1]));
            prop_assert!(score(low, windows, linears[0]) <= score(high, windows, linears[0]));
            prop_assert!(score(low, windows + more, linears[0]) <= score(low, windows, linears[0]));
            let (less, suspected) = (linears[0].min(linears[1]), linears[0].max(linears[1]));
            prop_assert!(score(low, windows, less) <= score(low, windows, suspected));
        }

        /// However much the linear stage suspects a text, what it adds is bounded: alone it convicts nothing.
        #[test]
        fn the_linear_stage_alone_reaches_no_threshold(linear: f32, channel in prop::sample::select(&Channel::ALL[..])) {
            prop_assume!(!linear.is_nan());
            let calibration = embedded();
            let lowest = Level::ALL.map(|level| calibration.threshold(level, channel)).into_iter().fold(1.0, f32::min);
            prop_assert!(calibration.unread(channel, linear) < lowest);
        }
    }
}
