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
