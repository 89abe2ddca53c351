//! The forward pass: tokens in, logits out, with a cache of keys and values for each sequence.
//!
//! Promises: a row's result depends on its own sequence only, bit for bit, whatever else is in the batch, however the
//! prompt was cut, and on any number of threads; rows of one sequence are given in order of position.
//!
//! Each thread holds the whole residual stream and computes its share of every matrix; shares meet in [`Exchange`],
//! one buffer for each kind of result, so that five meetings a layer are enough.

use std::ops::Range;
use std::sync::RwLock;

use half::f16;

use crate::kernels::{Block, CacheRows, GROUP_ROWS, Level, Rows, quantise, scores, weighted_sum};
use crate::team::{Team, together};
use crate::weights::{Layer, Weights};

/// Rows in one pass: enough to reuse each weight read, few enough that another sequence's next token, which rides
/// along, is not held up noticeably.
pub(crate) const BATCH_ROWS_MAX: usize = 32;

const POISON: &str = "a panic in a pass ends the engine, so nobody meets a poisoned lock";

/// One token to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which cache.
    pub(crate) slot: usize,
    pub(crate) position: usize,
    pub(crate) token: u32,
    /// Whether the logits behind this token are wanted.
    pub(crate) wants_logits: bool,
}

/// Keys and values of one sequence, as half floats, layer by layer.
pub(crate) struct Cache {
    layers: Vec<LayerCache>,
}

struct LayerCache {
    keys: RwLock<Vec<u16>>,
    values: RwLock<Vec<u16>>,
}

/// Weights and what the pass needs beside them.
pub(crate) struct Engine {
    pub(crate) weights: Weights,
    pub(crate) level: Level,
    /// Positions that a cache holds.
    pub(crate) context_tokens: usize,
    threads: usize,
    /// Cosine and sine for each position and each pair of a head.
    rotations: Vec<(f32, f32)>,
}

impl Engine {
    pub(crate) fn new(weights: Weights, level: Level, context_tokens: usize, threads: usize) -> Engine {
        let shape = &weights.shape;
        let pairs = shape.head / 2;
        let rotations = (0..context_tokens * pairs)
            .map(|at| {
                let (position, pair) = (at / pairs, at % pairs);
                let frequency = f64::from(shape.rope_base).powf(-2.0 * pair as f64 / shape.head as f64);
                let (sine, cosine) = (position as f64 * frequency).sin_cos();
                (cosine as f32, sine as f32)
            })
            .collect();
        Engine { weights, level, context_tokens, threads: threads.max(1), rotations }
    }

    /// An empty cache. Its memory is touched only as positions are filled.
    pub(crate) fn cache(&self) -> Cache {
        let cells = self.context_tokens * self.weights.shape.kv_width();
        let layer = |_| LayerCache { keys: RwLock::new(vec![0; cells]), values: RwLock::new(vec![0; cells]) };
        Cache { layers: (0..self.weights.shape.layers).map(layer).collect() }
    }

    /// Computes `rows` and gives the logits of those that want them, in order.
    pub(crate) fn forward(&self, caches: &[Cache], rows: &[Row]) -> Vec<Vec<f32>> {
        assert!(!rows.is_empty() && rows.len() <= BATCH_ROWS_MAX, "a batch has 1 to {BATCH_ROWS_MAX} rows");
        assert!(rows.iter().all(|row| row.position < self.context_tokens), "positions fit the context");
        let exchange = Exchange::new(self.threads);
        together(self.threads, |team, me| Pass { engine: self, caches, rows, team, me, exchange: &exchange }.run())
    }
}

/// Where each thread leaves its share for the others.
struct Exchange {
    projected: Shares,
    attended: Shares,
    attention_output: Shares,
    gated: Shares,
    down: Shares,
    logits: Shares,
}

impl Exchange {
    fn new(threads: usize) -> Exchange {
        let shares = || Shares((0..threads).map(|_| RwLock::default()).collect());
        Exchange {
            projected: shares(),
            attended: shares(),
            attention_output: shares(),
            gated: shares(),
            down: shares(),
            logits: shares(),
        }
    }
}

/// One result in pieces: a range of columns of every row from each thread.
struct Shares(Vec<RwLock<Vec<f32>>>);

impl Shares {
    fn leave(&self, me: usize, write: impl FnOnce(&mut Vec<f32>)) {
        write(&mut self.0[me].write().expect(POISON));
    }

    /// Puts the pieces together, row after row.
    fn gather(&self, rows: usize, mut take: impl FnMut(usize, usize, &[f32])) {
        let mut column = 0;
        for share in &self.0 {
            let share = share.read().expect(POISON);
            let width = share.len() / rows;
            if width > 0 {
                share.chunks_exact(width).enumerate().for_each(|(row, piece)| take(row, column, piece));
            }
            column += width;
        }
    }
}

/// The share of `member` when `count` things are dealt to `size`.
fn share(count: usize, size: usize, member: usize) -> Range<usize> {
    count * member / size..count * (member + 1) / size
}

/// One thread's view of one pass.
struct Pass<'a> {
    engine: &'a Engine,
    caches: &'a [Cache],
    rows: &'a [Row],
    team: &'a Team,
    me: usize,
    exchange: &'a Exchange,
}

/// What a thread works on; allocated once a pass.
#[derive(Default)]
struct Scratch {
    residual: Vec<f32>,
    normed: Vec<f32>,
    blocks: Vec<Block>,
    wide: Vec<f32>,
    scores: Vec<f32>,
}

impl Pass<'_> {
    fn run(&self) -> Vec<Vec<f32>> {
        let weights = &self.engine.weights;
        let hidden = weights.shape.hidden;
        let mut scratch = Scratch { residual: vec![0.0; self.rows.len() * hidden], ..Scratch::default() };
        for (row, residual) in self.rows.iter().zip(scratch.residual.chunks_exact_mut(hidden)) {
            weights.embed(row.token, residual);
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            self.attention(index, layer, &mut scratch);
            self.feed_forward(layer, &mut scratch);
        }
        self.logits(&mut scratch)
    }

    fn attention(&self, index: usize, layer: &Layer, scratch: &mut Scratch) {
        self.normalise(&layer.attention_norm, scratch);
        self.exchange.projected.leave(self.me, |out| self.project(index, layer, scratch, out));
        self.team.meet();

        let shape = &self.engine.weights.shape;
        let queries = shape.hidden;
        scratch.wide.resize(self.rows.len() * queries, 0.0);
        self.exchange.projected.gather(self.rows.len(), |row, column, piece| {
            let kept = piece.len().min(queries.saturating_sub(column));
            scratch.wide[row * queries + column.min(queries)..][..kept].copy_from_slice(&piece[..kept]);
        });
        self.exchange.attended.leave(self.me, |out| self.attend(index, scratch, out));
        self.team.meet();

        // Heads were dealt across rows, so the pieces lie one behind the other.
        scratch.normed.clear();
        self.exchange.attended.gather(1, |_, _, piece| scratch.normed.extend_from_slice(piece));
        self.requantise(scratch, shape.hidden);
        self.exchange
            .attention_output
            .leave(self.me, |out| self.multiply(&layer.attention_output, shape.hidden, shape.hidden, scratch, out));
        self.team.meet();
        self.add_to_residual(&self.exchange.attention_output, scratch);
    }

    fn feed_forward(&self, layer: &Layer, scratch: &mut Scratch) {
        let shape = &self.engine.weights.shape;
        self.normalise(&layer.feed_forward_norm, scratch);
        self.exchange.gated.leave(self.me, |out| self.gate(layer, scratch, out));
        self.team.meet();

        let wide = shape.feed_forward;
        scratch.normed.resize(self.rows.len() * wide, 0.0);
        self.exchange.gated.gather(self.rows.len(), |row, column, piece| {
            scratch.normed[row * wide + column..][..piece.len()].copy_from_slice(piece);
        });
        self.requantise(scratch, wide);
        self.exchange.down.leave(self.me, |out| self.multiply(&layer.down, shape.hidden, wide, scratch, out));
        self.team.meet();
        self.add_to_residual(&self.exchange.down, scratch);
    }

    /// Root-mean-square norm of the residual stream, quantised for the next matrix.
    fn normalise(&self, norm: &[f32], scratch: &mut Scratch) {
        let hidden = norm.len();
        scratch.normed.resize(self.rows.len() * hidden, 0.0);
        for (residual, normed) in scratch.residual.chunks_exact(hidden).zip(scratch.normed.chunks_exact_mut(hidden)) {
            root_mean_square(residual, norm, self.engine.weights.shape.norm_epsilon, normed);
        }
        self.requantise(scratch, hidden);
    }

    fn requantise(&self, scratch: &mut Scratch, columns: usize) {
        scratch.blocks.clear();
        quantise(&scratch.normed[..self.rows.len() * columns], &mut scratch.blocks);
    }

    /// This thread's share of the rows of a matrix.
    fn multiply(&self, rows: &Rows, count: usize, columns: usize, scratch: &Scratch, out: &mut Vec<f32>) {
        let groups = share(count / GROUP_ROWS, self.team.size(), self.me);
        out.resize(self.rows.len() * groups.len() * GROUP_ROWS, 0.0);
        rows.multiply(self.engine.level, groups, &scratch.blocks, columns, out);
    }

    /// Queries, keys and values of this thread's columns, rotated; keys and values go into the caches.
    fn project(&self, index: usize, layer: &Layer, scratch: &Scratch, out: &mut Vec<f32>) {
        let shape = &self.engine.weights.shape;
        let (queries, kv) = (shape.hidden, shape.kv_width());
        self.multiply(&layer.query_key_value, queries + 2 * kv, shape.hidden, scratch, out);
        let columns = share((queries + 2 * kv) / GROUP_ROWS, self.team.size(), self.me);
        let columns = columns.start * GROUP_ROWS..columns.end * GROUP_ROWS;
        if columns.is_empty() {
            return;
        }
        for (row, piece) in self.rows.iter().zip(out.chunks_exact_mut(columns.len())) {
            let rotated = columns.len().min((queries + kv).saturating_sub(columns.start));
            self.rotate(row.position, columns.start, &mut piece[..rotated]);
            let cache = &self.caches[row.slot].layers[index];
            for (cells, first) in [(&cache.keys, queries), (&cache.values, queries + kv)] {
                let (start, end) = (columns.start.max(first), columns.end.min(first + kv));
                if start < end {
                    let mut cells = cells.write().expect(POISON);
                    let cells = &mut cells[row.position * kv + start - first..][..end - start];
                    for (cell, value) in cells.iter_mut().zip(&piece[start - columns.start..]) {
                        *cell = f16::from_f32_const(*value).to_bits();
                    }
                }
            }
        }
    }

    /// Rotary position embedding of neighbouring pairs, the order in which GGUF stores a Llama's heads.
    fn rotate(&self, position: usize, first_column: usize, piece: &mut [f32]) {
        let pairs = self.engine.weights.shape.head / 2;
        let rotations = &self.engine.rotations[position * pairs..][..pairs];
        for (at, [even, odd]) in piece.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let (cosine, sine) = rotations[(first_column / 2 + at) % pairs];
            (*even, *odd) = (*even * cosine - *odd * sine, *even * sine + *odd * cosine);
        }
    }

    /// Attention of this thread's share of all heads of all rows.
    fn attend(&self, index: usize, scratch: &mut Scratch, out: &mut Vec<f32>) {
        let shape = &self.engine.weights.shape;
        let head = shape.head;
        let units = share(self.rows.len() * shape.heads, self.team.size(), self.me);
        out.resize(units.len() * head, 0.0);
        let scale = 1.0 / (head as f32).sqrt();
        for (unit, out) in units.zip(out.chunks_exact_mut(head)) {
            let row = &self.rows[unit / shape.heads];
            let offset = (unit % shape.heads) / (shape.heads / shape.kv_heads) * head;
            let cache = &self.caches[row.slot].layers[index];
            let (keys, values) = (cache.keys.read().expect(POISON), cache.values.read().expect(POISON));
            let stride = shape.kv_width();
            scratch.scores.resize(row.position + 1, 0.0);
            let query = &scratch.wide[unit * head..][..head];
            scores(self.engine.level, query, CacheRows { cells: &keys, offset, stride }, &mut scratch.scores);
            softmax(&mut scratch.scores, scale);
            weighted_sum(self.engine.level, &scratch.scores, CacheRows { cells: &values, offset, stride }, out);
        }
    }

    /// SwiGLU: this thread's columns of gate and up, combined.
    fn gate(&self, layer: &Layer, scratch: &mut Scratch, out: &mut Vec<f32>) {
        let groups = self.engine.weights.shape.feed_forward / GROUP_ROWS;
        let mine = share(groups, self.team.size(), self.me);
        let size = self.rows.len() * mine.len() * GROUP_ROWS;
        out.resize(size, 0.0);
        scratch.wide.resize(size, 0.0);
        let hidden = self.engine.weights.shape.hidden;
        layer.gate_up.multiply(self.engine.level, mine.clone(), &scratch.blocks, hidden, out);
        let up = groups + mine.start..groups + mine.end;
        layer.gate_up.multiply(self.engine.level, up, &scratch.blocks, hidden, &mut scratch.wide);
        for (gate, up) in out.iter_mut().zip(&scratch.wide) {
            *gate *= up / (1.0 + exp(-*gate));
        }
    }

    fn add_to_residual(&self, shares: &Shares, scratch: &mut Scratch) {
        let hidden = self.engine.weights.shape.hidden;
        shares.gather(self.rows.len(), |row, column, piece| {
            for (residual, value) in scratch.residual[row * hidden + column..].iter_mut().zip(piece) {
                *residual += value;
            }
        });
    }

    /// The output matrix for the rows that want it; only the first thread gathers the result.
    fn logits(&self, scratch: &mut Scratch) -> Vec<Vec<f32>> {
        let shape = &self.engine.weights.shape;
        let wanted = self.rows.iter().filter(|row| row.wants_logits).count();
        if wanted == 0 {
            return Vec::new();
        }
        scratch.blocks.clear();
        scratch.normed.resize(shape.hidden, 0.0);
        for (row, residual) in self.rows.iter().zip(scratch.residual.chunks_exact(shape.hidden)) {
            if row.wants_logits {
                let norm = &self.engine.weights.output_norm;
                root_mean_square(residual, norm, shape.norm_epsilon, &mut scratch.normed[..shape.hidden]);
                quantise(&scratch.normed[..shape.hidden], &mut scratch.blocks);
            }
        }
        self.exchange.logits.leave(self.me, |out| {
            let groups = share(shape.vocabulary / GROUP_ROWS, self.team.size(), self.me);
            out.resize(wanted * groups.len() * GROUP_ROWS, 0.0);
            self.engine.weights.embedding.multiply(self.engine.level, groups, &scratch.blocks, shape.hidden, out);
        });
        self.team.meet();
        if self.me > 0 {
            return Vec::new();
        }
        let mut logits = vec![Vec::with_capacity(shape.vocabulary); wanted];
        self.exchange.logits.gather(wanted, |row, _, piece| logits[row].extend_from_slice(piece));
        logits
    }
}

fn root_mean_square(values: &[f32], norm: &[f32], epsilon: f32, out: &mut [f32]) {
    // Eight partial sums: the compiler may not reorder one.
    let mut sums = [0.0_f32; 8];
    for eight in values.as_chunks::<8>().0 {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += value * value;
        }
    }
    let scale = 1.0 / (sums.iter().sum::<f32>() / values.len() as f32 + epsilon).sqrt();
    for ((out, value), norm) in out.iter_mut().zip(values).zip(norm) {
        *out = value * scale * norm;
    }
}

/// `scores = softmax(scores * scale)`.
fn softmax(scores: &mut [f32], scale: f32) {
    let largest = scores.iter().fold(f32::NEG_INFINITY, |largest, score| largest.max(*score));
    for score in scores.iter_mut() {
        *score = exp((*score - largest) * scale);
    }
    let inverse = 1.0 / scores.iter().sum::<f32>();
    scores.iter_mut().for_each(|score| *score *= inverse);
}

/// e^x to within 2 units in the last place, without a library call, so that loops over it become vector code.
#[inline]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding and subtracting it rounds
    let x = x.clamp(-87.0, 88.0);
    let power = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    // ln 2 in two parts (Cody and Waite), so that the rest is exact.
    let rest = (x - power * 0.693_359_4) + power * 2.121_944_4e-4;
    // Minimax polynomial on ±ln(2)/2 (Cephes, expf).
    let mut sum = 1.987_569_1e-4_f32;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum * rest + coefficient;
    }
    let mantissa = sum * rest * rest + rest + 1.0;
    mantissa * f32::from_bits(((power as i32 + 127) << 23) as u32)
}

#[cfg(test)]
mod tests;
