//! The linear stage: how much a text reads like an attack, at a hundred megabytes a second.
//!
//! Hashed n-grams of characters and words, one weight each, summed over windows of about [`WINDOW_BYTES`]. It is a filter:
//! what it finds low is left alone, what it is unsure of goes to the transformer, best window first. Promises: one pass, no
//! allocation but one number pair a half window, time linear in the text, no panic on any text or weights.

mod features;
mod file;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use features::{BLOCK_BYTES, Sink, blocks, features};
pub use file::{Error, TABLE_LEN, Weights, write};

use crate::Channel;

/// A window: two neighbouring blocks. Shorter texts are one window.
pub const WINDOW_BYTES: usize = 2 * BLOCK_BYTES;
/// What a window's sum is divided by: its number of features to this power. A mean would drown a sentence in its window,
/// a plain sum would make long texts of themselves.
const LENGTH_POWER: f32 = 0.5;

/// The log-odds of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Where it is, in bytes of the text that was read, on character boundaries.
    pub range: Range<usize>,
    /// How much likelier an attack is than none, as a natural logarithm, in the training mixture.
    pub log_odds: f32,
}

impl Window {
    /// The same window of a text that begins at `start` of another.
    pub(crate) fn moved(self, start: usize) -> Window {
        Window { range: self.range.start + start..self.range.end + start, ..self }
    }
}

/// What the linear stage says about a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Log-odds of the whole text: see [`Weights::score`].
    pub log_odds: f32,
    /// Every window, in the order of the text; neighbours overlap by half.
    pub windows: Vec<Window>,
}

/// The sum of the weights of a block's features.
struct Sum<'w> {
    weights: &'w [u8; file::TABLE_LEN],
    sum: i32,
    count: u32,
}

impl Sink for Sum<'_> {
    #[inline]
    fn feature(&mut self, hash: u32) {
        self.sum += i32::from(self.weights[hash as usize % file::TABLE_LEN].cast_signed());
        self.count += 1;
    }
}

impl Weights<'_> {
    /// Reads a text in its channel.
    ///
    /// The text's log-odds are those of its best window, less a little for each doubling of the number of windows, since
    /// the best of many is high by chance.
    pub fn score(&self, text: &str, channel: Channel) -> Score {
        let weights = self.table(channel);
        let mut windows: Vec<Window> = Vec::with_capacity(text.len() / BLOCK_BYTES + 1);
        let mut last: Option<(Range<usize>, i32, u32)> = None;
        for range in blocks(text) {
            let mut block = Sum { weights, sum: 0, count: 0 };
            features(&text[range.clone()], &mut block);
            let (start, sum, count) = match &last {
                Some((before, sum, count)) => (before.start, sum + block.sum, count + block.count),
                None => (range.start, block.sum, block.count),
            };
            let window = Window { range: start..range.end, log_odds: self.log_odds(sum, count, channel) };
            // The first block alone was only a window in case no second one came.
            if windows.len() == 1 && windows[0].range.start == start {
                windows.clear();
            }
            windows.push(window);
            last = Some((range, block.sum, block.count));
        }
        let best = windows.iter().map(|window| window.log_odds).fold(f32::NEG_INFINITY, f32::max);
        let log_odds = match windows.len() {
            0 => self.log_odds(0, 0, channel),
            many => best - self.doubling * (many as f32).log2(),
        };
        Score { log_odds, windows }
    }

    fn log_odds(&self, sum: i32, count: u32, channel: Channel) -> f32 {
        self.bias(channel) + self.scale * sum as f32 / (count.max(1) as f32).powf(LENGTH_POWER)
    }
}
