//! A small BERT encoder in int8, in plain Rust: what reads a window of tokens and says what it is.
//!
//! Twelve heads, 384 columns, three to six layers, at most 128 tokens; never padded. Weights are bytes with a scale
//! an output; activations are turned into bytes row by row as they come; attention is in 12-bit integers. Figures
//! (one core, 128 tokens) are in docs/decisions/0012-encoder.md, from `cargo run --release -p injection --example
//! encoder_speed`.
//!
//! Promises: the same answer to the last bit on every processor and at every [`Level`]; no allocation after the
//! first window of a [`Scratch`]; no thread of its own, no clock, no I/O; a broken file is an error, never a panic.
//!
//! Left out: training and turning weights into bytes (training/), cutting text into tokens, and what the outputs
//! mean.

use std::borrow::Cow;

use crate::Channel;

mod attention;
mod file;
mod kernels;
mod matrix;
mod numerics;

pub use file::FileError;
pub use kernels::Level;

use attention::Heads;
use kernels::{Kernel, Work};
use matrix::{Activations, GROUP, Matrix, rows, stride};
use numerics::{add, dot, gelu, normalise};

/// Columns of a hidden state.
pub const HIDDEN: usize = 384;
/// Outputs of the window's head.
pub const LABELS: usize = 5;
/// Tokens of the longest window, `[CLS]` and `[SEP]` included.
pub const POSITIONS: usize = 128;
/// Tokens of the shortest window.
pub const TOKENS_MIN: usize = 3;
/// Attention heads, of [`HEAD`] columns each.
const HEADS: usize = 12;
const HEAD: usize = HIDDEN / HEADS;
/// Columns between the two matrices of the feed-forward part.
const INTERMEDIATE: usize = 1536;
/// Tokens that go through the feed-forward part together: what is between its matrices, 400 KB, stays in the
/// second-level cache beside the weights. All 128 at once took a tenth longer.
const BLOCK: usize = 64;
/// Rows of the channel table: those of [`Channel::ALL`], then "unknown".
const CHANNELS: usize = Channel::ALL.len() + 1;

#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// An output layer, left in 32 bits.
#[derive(Debug)]
struct Heading {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Debug)]
struct Layer {
    /// Queries, keys and values as one matrix.
    attend: Matrix,
    mix: Matrix,
    up: Matrix,
    down: Matrix,
    /// After attention, after the feed-forward part.
    norms: [Norm; 2],
}

/// The encoder's weights, ready to be used; immutable, shared by threads.
#[derive(Debug)]
pub struct Encoder {
    /// The file; the word table is used where it lies.
    bytes: Cow<'static, [u8]>,
    contents: file::Contents,
    level: Level,
}

/// What one window came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Output<'s> {
    /// The window's head, before any squashing.
    pub window: [f32; LABELS],
    /// The token head of every token, likewise.
    pub tokens: &'s [f32],
    /// The last layer's hidden states, [`HIDDEN`] a token: for comparing with the model in 32 bits.
    pub hidden: &'s [f32],
}

/// What a run needs room for, about 1.5 MB; one a thread.
#[derive(Debug)]
pub struct Scratch {
    hidden: Vec<f32>,
    /// Queries, keys and values; later the feed-forward part's middle.
    wide: Vec<f32>,
    /// What is added to the hidden states.
    change: Vec<f32>,
    activations: Activations,
    sums: Vec<i32>,
    heads: Heads,
    tokens: Vec<f32>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            hidden: vec![0.0; POSITIONS * HIDDEN],
            wide: vec![0.0; POSITIONS * stride(3 * HIDDEN)],
            change: vec![0.0; POSITIONS * stride(HIDDEN)],
            activations: Activations::new(POSITIONS, INTERMEDIATE),
            sums: vec![0; POSITIONS * GROUP],
            heads: Heads::default(),
            tokens: vec![0.0; POSITIONS],
        }
    }
}

impl Encoder {
    /// Reads a file and packs its weights for this processor: some tens of milliseconds, once.
    pub fn parse(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Encoder, FileError> {
        let bytes = bytes.into();
        Ok(Encoder { contents: file::read(&bytes)?, bytes, level: Level::detect() })
    }

    /// The same at another level, for tests and benchmarks.
    pub fn at(self, level: Level) -> Encoder {
        Encoder { level, ..self }
    }

    /// The instructions that are used.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Words in the table: ids are below.
    pub fn words(&self) -> usize {
        self.contents.word_scales.len()
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.contents.layers.len()
    }

    /// Reads one window: `ids` with `[CLS]` first and `[SEP]` last, and where the text comes from, if that is known.
    ///
    /// # Panics
    ///
    /// If there are fewer than [`TOKENS_MIN`] or more than [`POSITIONS`] ids, or one is not below [`Self::words`]:
    /// the tokenizer's promise is broken.
    pub fn run<'s>(&self, scratch: &'s mut Scratch, ids: &[u32], channel: Option<Channel>) -> Output<'s> {
        assert!((TOKENS_MIN..=POSITIONS).contains(&ids.len()), "a window has 3 to 128 tokens");
        let window = self.level.run(Pass { bytes: &self.bytes, contents: &self.contents, scratch, ids, channel });
        Output { window, tokens: &scratch.tokens[..ids.len()], hidden: &scratch.hidden[..ids.len() * HIDDEN] }
    }
}

/// One window on its way through the layers.
struct Pass<'a> {
    bytes: &'a [u8],
    contents: &'a file::Contents,
    scratch: &'a mut Scratch,
    ids: &'a [u32],
    channel: Option<Channel>,
}

impl Work for Pass<'_> {
    type Output = [f32; LABELS];

    #[inline(always)]
    fn run<K: Kernel>(mut self, kernel: K) -> [f32; LABELS] {
        let count = self.ids.len();
        self.embed(kernel);
        for layer in &self.contents.layers {
            layer.run(kernel, self.scratch, count);
        }
        for (token, row) in self.scratch.tokens[..count].iter_mut().zip(self.scratch.hidden.chunks_exact(HIDDEN)) {
            *token = dot(kernel, row, &self.contents.token.weight) + self.contents.token.bias[0];
        }
        self.window(kernel)
    }
}

impl Pass<'_> {
    /// Adds up what is known of each token: word, position, channel.
    #[inline(always)]
    fn embed<K: Kernel>(&mut self, kernel: K) {
        let contents = self.contents;
        let channel = self.channel.and_then(|channel| Channel::ALL.iter().position(|other| *other == channel));
        let channel = &contents.channels[channel.unwrap_or(CHANNELS - 1) * HIDDEN..][..HIDDEN];
        let words = &self.bytes[contents.words.clone()];
        let rows = self.scratch.hidden.chunks_exact_mut(HIDDEN).zip(contents.positions.chunks_exact(HIDDEN));
        for (id, (row, position)) in self.ids.iter().zip(rows) {
            let id = *id as usize;
            let (word, scale) = (&words[id * HIDDEN..][..HIDDEN], contents.word_scales[id]);
            let known = word.iter().zip(position).zip(channel);
            for (sum, ((word, position), channel)) in row.iter_mut().zip(known) {
                *sum = f32::from(*word as i8) * scale + position + channel;
            }
            contents.norm.apply(kernel, row);
        }
    }

    /// The window's head over the first token's state and the mean and the maximum of those between the first and
    /// the last.
    #[inline(always)]
    fn window<K: Kernel>(&self, kernel: K) -> [f32; LABELS] {
        let count = self.ids.len();
        let mut states = self.scratch.hidden[..count * HIDDEN].chunks_exact(HIDDEN);
        let mut pooled = [0.0; 3 * HIDDEN];
        let (first, rest) = pooled.split_at_mut(HIDDEN);
        let (mean, most) = rest.split_at_mut(HIDDEN);
        first.copy_from_slice(states.next().expect("a window has a first token"));
        most.fill(f32::NEG_INFINITY);
        for state in states.take(count - 2) {
            for ((mean, most), value) in mean.iter_mut().zip(most.iter_mut()).zip(state) {
                *mean += value;
                *most = if value > most { *value } else { *most };
            }
        }
        let between = (count - 2) as f32;
        mean.iter_mut().for_each(|sum| *sum /= between);
        let head = &self.contents.window;
        let mut out = [0.0; LABELS];
        for (label, out) in out.iter_mut().enumerate() {
            *out = dot(kernel, &pooled, &head.weight[label * 3 * HIDDEN..][..3 * HIDDEN]) + head.bias[label];
        }
        out
    }
}

impl Norm {
    #[inline(always)]
    fn apply<K: Kernel>(&self, kernel: K, row: &mut [f32]) {
        normalise(kernel, row, &self.weight, &self.bias);
    }

    /// Normalises the sums of `hidden` and `change`.
    #[inline(always)]
    fn apply_to_sum<K: Kernel>(&self, kernel: K, hidden: &mut [f32], change: &mut [f32]) {
        for (row, change) in hidden.chunks_exact_mut(HIDDEN).zip(rows(change, HIDDEN)) {
            add(kernel, row, change);
            self.apply(kernel, row);
        }
    }
}

impl Layer {
    #[inline(always)]
    fn run<K: Kernel>(&self, kernel: K, scratch: &mut Scratch, count: usize) {
        let Scratch { hidden, wide, change, activations, sums, heads, .. } = scratch;
        let (hidden, change) = (&mut hidden[..count * HIDDEN], &mut change[..count * stride(HIDDEN)]);
        let nothing = |_: &mut [f32]| ();

        activations.take(kernel, hidden.chunks_exact_mut(HIDDEN), nothing);
        let attend = &mut wide[..count * stride(3 * HIDDEN)];
        self.attend.multiply(kernel, activations, count, sums, attend);
        heads.attend(kernel, attend, change);
        activations.take(kernel, rows(change, HIDDEN), nothing);
        self.mix.multiply(kernel, activations, count, sums, change);
        self.norms[0].apply_to_sum(kernel, hidden, change);

        let blocks = hidden.chunks_mut(BLOCK * HIDDEN).zip(change.chunks_mut(BLOCK * stride(HIDDEN)));
        for (hidden, change) in blocks {
            let count = hidden.len() / HIDDEN;
            activations.take(kernel, hidden.chunks_exact_mut(HIDDEN), nothing);
            let middle = &mut wide[..count * stride(INTERMEDIATE)];
            self.up.multiply(kernel, activations, count, sums, middle);
            activations.take(kernel, rows(middle, INTERMEDIATE), |row| gelu(kernel, row));
            self.down.multiply(kernel, activations, count, sums, change);
            self.norms[1].apply_to_sum(kernel, hidden, change);
        }
    }
}

#[cfg(test)]
mod tests;
