//! Self-attention over one window, in integers: queries, keys, values and weights as 12-bit numbers.
//!
//! Twelve bits, because then no sum overflows: `32 * 4,095^2` over a head's columns, `128 * 4,095^2` over all keys,
//! both below 2^31; and they are enough: a rounding error is a sixteenth of the activations' own.

use super::kernels::{Kernel, LANES, Line, Quad, TILE, Tile};
use super::matrix::stride;
use super::numerics::{exp2, most, nearest, sizes};
use super::{HEAD, HEADS, HIDDEN, POSITIONS};

/// The largest size of a quantised number.
const SIZE_MAX: f32 = 4095.0;
/// Quads of a head's row: two columns each.
const STEPS: usize = HEAD / 2;
/// From one row of queries, keys and values to the next.
const STRIDE: usize = stride(3 * HIDDEN);

/// What attention needs room for: one head's numbers.
#[derive(Debug)]
pub(super) struct Heads {
    queries: Vec<Tile>,
    /// Panels of sixteen keys, two columns a line.
    keys: Vec<Line>,
    /// Panels of sixteen columns, two keys a line.
    values: Vec<Line>,
    /// Sums of queries and keys.
    scores: Vec<i32>,
    /// What the scores weigh, two keys a quad.
    weights: Vec<Tile>,
    /// One row of them.
    row: Vec<i16>,
    totals: Vec<i32>,
    /// Weighted sums of values.
    mixed: Vec<i32>,
}

impl Default for Heads {
    fn default() -> Heads {
        Heads {
            queries: vec![[[0; 4]; TILE]; POSITIONS / TILE * STEPS],
            keys: vec![Line([[0; 4]; LANES]); POSITIONS / LANES * STEPS],
            values: vec![Line([[0; 4]; LANES]); HEAD / LANES * POSITIONS / 2],
            scores: vec![0; POSITIONS * POSITIONS],
            weights: vec![[[0; 4]; TILE]; POSITIONS / TILE * POSITIONS / 2],
            row: vec![0; POSITIONS],
            totals: vec![0; POSITIONS],
            mixed: vec![0; POSITIONS * HEAD],
        }
    }
}

impl Heads {
    /// For each row of `rows` (queries, keys and values of all heads) the mix of values in `out`.
    #[inline(always)]
    pub(super) fn attend<K: Kernel>(&mut self, kernel: K, rows: &[f32], out: &mut [f32]) {
        let count = rows.len() / STRIDE;
        let tiles = count.div_ceil(TILE);
        let keys = count.next_multiple_of(LANES);
        for head in 0..HEADS {
            let part = |which: usize| Part { rows, offset: which * HIDDEN + head * HEAD };
            let query = self.take_queries(kernel, part(0));
            let key = self.take_keys(kernel, part(1));
            let value = self.take_values(kernel, part(2), keys);
            let scores = &mut self.scores[..tiles * TILE * keys];
            kernel.halves(&self.queries[..tiles * STEPS], STEPS, &self.keys[..keys / LANES * STEPS], scores);
            // Softmax in powers of two.
            let factor = query * key * (std::f32::consts::LOG2_E / (HEAD as f32).sqrt());
            let row = &mut self.row[..keys];
            for (index, scores) in scores.chunks_exact_mut(keys).take(count).enumerate() {
                self.totals[index] = weigh(kernel, scores, count, factor, row);
                let tile = &mut self.weights[index / TILE * keys / 2..][..keys / 2];
                for (quads, pair) in tile.iter_mut().zip(row.as_chunks::<2>().0) {
                    quads[index % TILE] = quad(*pair);
                }
            }
            let (weights, values) = (&self.weights[..tiles * keys / 2], &self.values[..HEAD / LANES * keys / 2]);
            kernel.halves(weights, keys / 2, values, &mut self.mixed[..tiles * TILE * HEAD]);
            let mixed = self.mixed.as_chunks::<HEAD>().0.iter().zip(&self.totals);
            for ((mixed, total), out) in mixed.zip(out.chunks_exact_mut(stride(HIDDEN))) {
                let factor = kernel.spread(value / *total as f32);
                let out = out[head * HEAD..].as_chunks_mut().0;
                for (mixed, out) in mixed.as_chunks().0.iter().zip(out) {
                    kernel.store(kernel.multiply(kernel.of_integers(mixed), factor), out);
                }
            }
        }
    }

    #[inline(always)]
    fn take_queries<K: Kernel>(&mut self, kernel: K, queries: Part<'_>) -> f32 {
        let (inverse, step) = queries.scale(kernel);
        for (index, row) in queries.rows().enumerate() {
            let tile = &mut self.queries[index / TILE * STEPS..][..STEPS];
            let row = integers(kernel, row, inverse);
            for (quads, pair) in tile.iter_mut().zip(row.as_chunks().0) {
                quads[index % TILE] = quad(*pair);
            }
        }
        step
    }

    #[inline(always)]
    fn take_keys<K: Kernel>(&mut self, kernel: K, keys: Part<'_>) -> f32 {
        let (inverse, step) = keys.scale(kernel);
        for (index, row) in keys.rows().enumerate() {
            let panel = &mut self.keys[index / LANES * STEPS..][..STEPS];
            let row = integers(kernel, row, inverse);
            for (line, pair) in panel.iter_mut().zip(row.as_chunks().0) {
                line.0[index % LANES] = quad(*pair);
            }
        }
        step
    }

    /// `keys` are the keys with those that fill the last panel: their weight is zero, whatever their values.
    #[inline(always)]
    fn take_values<K: Kernel>(&mut self, kernel: K, values: Part<'_>, keys: usize) -> f32 {
        let (inverse, step) = values.scale(kernel);
        let mut rows = values.rows();
        for pair in 0..keys / 2 {
            let none = &[0.0; HEAD];
            let first = integers(kernel, rows.next().unwrap_or(none), inverse);
            let second = integers(kernel, rows.next().unwrap_or(none), inverse);
            for (at, (first, second)) in
                first.as_chunks::<LANES>().0.iter().zip(second.as_chunks::<LANES>().0).enumerate()
            {
                let line = &mut self.values[at * (keys / 2) + pair].0;
                for lane in 0..LANES {
                    line[lane] = quad([first[lane], second[lane]]);
                }
            }
        }
        step
    }
}

/// A head's row as integers.
#[inline(always)]
fn integers<K: Kernel>(kernel: K, row: &[f32; HEAD], inverse: f32) -> [i16; HEAD] {
    let mut out = [0; HEAD];
    for (out, chunk) in out.as_chunks_mut().0.iter_mut().zip(row.as_chunks().0) {
        *out = nearest(kernel, kernel.multiply(kernel.load(chunk), kernel.spread(inverse)));
    }
    out
}

/// One head's columns of queries, keys or values.
#[derive(Clone, Copy)]
struct Part<'a> {
    rows: &'a [f32],
    offset: usize,
}

impl<'a> Part<'a> {
    #[inline(always)]
    fn rows(self) -> impl Iterator<Item = &'a [f32; HEAD]> {
        let rows = self.rows.chunks_exact(STRIDE);
        rows.map(move |row| row[self.offset..].first_chunk().expect("a head's worth"))
    }

    /// What a value is multiplied with to be quantised, and what it is multiplied with to come back.
    #[inline(always)]
    fn scale<K: Kernel>(self, kernel: K) -> (f32, f32) {
        let mut largest = kernel.spread(0.0);
        for row in self.rows() {
            largest = sizes(kernel, row, largest);
        }
        let size = most(kernel, largest);
        (if size > 0.0 { SIZE_MAX / size } else { 0.0 }, size / SIZE_MAX)
    }
}

#[inline(always)]
fn quad([first, second]: [i16; 2]) -> Quad {
    let ([a, b], [c, d]) = (first.to_le_bytes(), second.to_le_bytes());
    [a, b, c, d]
}

/// Turns a row of scores, of which `count` are real, into weights of which the largest is [`SIZE_MAX`]; their sum.
#[inline(always)]
fn weigh<K: Kernel>(kernel: K, scores: &mut [i32], count: usize, factor: f32, weights: &mut [i16]) -> i32 {
    // Lanes beyond the last key take part as a copy of the first, which changes no maximum.
    let first = scores[0];
    scores[count..].fill(first);
    let mut largest = kernel.spread(f32::NEG_INFINITY);
    for chunk in scores.as_chunks().0 {
        largest = kernel.larger(kernel.of_integers(chunk), largest);
    }
    let (largest, factor) = (kernel.spread(most(kernel, largest)), kernel.spread(factor));
    for (weights, chunk) in weights.as_chunks_mut().0.iter_mut().zip(scores.as_chunks().0) {
        let power = kernel.multiply(kernel.subtract(kernel.of_integers(chunk), largest), factor);
        *weights = nearest(kernel, kernel.multiply(exp2(kernel, power), kernel.spread(SIZE_MAX)));
    }
    weights[count..].fill(0);
    weights.iter().map(|weight| i32::from(*weight)).sum()
}

#[cfg(test)]
mod tests;
