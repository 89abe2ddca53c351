//! Self-attention over one window, in integers: queries, keys, values and weights as 12-bit numbers.
//!
//! Twelve bits, because then no sum overflows: `32 * 4,095^2` over a head's columns, `128 * 4,095^2` over all keys,
//! both below 2^31; and they are enough: a rounding error is a sixteenth of the activations' own.

use super::kernels::{Kernel, LANES, Line, Quad, TILE, Tile};
use super::matrix::stride;
use super::numerics::{exp2, largest, nearest};
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
            let query = self.take_queries(part(0));
            let key = self.take_keys(part(1));
            let value = self.take_values(part(2), keys);
            let scores = &mut self.scores[..tiles * TILE * keys];
            kernel.halves(&self.queries[..tiles * STEPS], STEPS, &self.keys[..keys / LANES * STEPS], scores);
            // Softmax in powers of two.
            let factor = query * key * (std::f32::consts::LOG2_E / (HEAD as f32).sqrt());
            let row = &mut self.row[..keys];
            for (index, scores) in scores.chunks_exact_mut(keys).take(count).enumerate() {
                self.totals[index] = weigh(scores, count, factor, row);
                let tile = &mut self.weights[index / TILE * keys / 2..][..keys / 2];
                for (quads, pair) in tile.iter_mut().zip(row.as_chunks::<2>().0) {
                    quads[index % TILE] = quad(*pair);
                }
            }
            let (weights, values) = (&self.weights[..tiles * keys / 2], &self.values[..HEAD / LANES * keys / 2]);
            kernel.halves(weights, keys / 2, values, &mut self.mixed[..tiles * TILE * HEAD]);
            let mixed = self.mixed.as_chunks::<HEAD>().0.iter().zip(&self.totals);
            for ((mixed, total), out) in mixed.zip(out.chunks_exact_mut(stride(HIDDEN))) {
                let factor = value / *total as f32;
                let out = out[head * HEAD..].first_chunk_mut::<HEAD>().expect("a head's worth");
                for column in 0..HEAD {
                    out[column] = mixed[column] as f32 * factor;
                }
            }
        }
    }

    #[inline(always)]
    fn take_queries(&mut self, queries: Part<'_>) -> f32 {
        let (inverse, step) = queries.scale();
        for (index, row) in queries.rows().enumerate() {
            let tile = &mut self.queries[index / TILE * STEPS..][..STEPS];
            for (quads, pair) in tile.iter_mut().zip(row.as_chunks::<2>().0) {
                quads[index % TILE] = quad(pair.map(|value| nearest(value * inverse)));
            }
        }
        step
    }

    #[inline(always)]
    fn take_keys(&mut self, keys: Part<'_>) -> f32 {
        let (inverse, step) = keys.scale();
        for (index, row) in keys.rows().enumerate() {
            let panel = &mut self.keys[index / LANES * STEPS..][..STEPS];
            for (line, pair) in panel.iter_mut().zip(row.as_chunks::<2>().0) {
                line.0[index % LANES] = quad(pair.map(|value| nearest(value * inverse)));
            }
        }
        step
    }

    /// `keys` are the keys with those that fill the last panel: their weight is zero, whatever their values.
    #[inline(always)]
    fn take_values(&mut self, values: Part<'_>, keys: usize) -> f32 {
        let (inverse, step) = values.scale();
        let mut rows = values.rows();
        for pair in 0..keys / 2 {
            let none = [0.0; HEAD];
            let (first, second) = (rows.next().unwrap_or(&none), rows.next().unwrap_or(&none));
            for column in 0..HEAD {
                let both = [first[column], second[column]].map(|value| nearest(value * inverse));
                self.values[column / LANES * (keys / 2) + pair].0[column % LANES] = quad(both);
            }
        }
        step
    }
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
    fn scale(self) -> (f32, f32) {
        let lanes = self.rows().fold([0.0; LANES], |before, row| largest(row, before));
        let size = lanes.into_iter().fold(0.0, |most: f32, size| if size > most { size } else { most });
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
fn weigh(scores: &mut [i32], count: usize, factor: f32, weights: &mut [i16]) -> i32 {
    // Lanes beyond the last key take part as a copy of the first, which changes no maximum.
    let first = scores[0];
    scores[count..].fill(first);
    let mut largest = [i32::MIN; LANES];
    for chunk in scores.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            largest[lane] = largest[lane].max(chunk[lane]);
        }
    }
    let largest = largest.into_iter().fold(i32::MIN, i32::max);
    for (weight, score) in weights.iter_mut().zip(scores) {
        *weight = nearest(exp2(score.wrapping_sub(largest) as f32 * factor) * SIZE_MAX);
    }
    weights[count..].fill(0);
    let mut total = 0;
    for weight in weights {
        total += i32::from(*weight);
    }
    total
}
