//! A dense layer: 8-bit weights in panels, and what turns integer sums back into real numbers.
//!
//! Promises: [`Matrix::multiply`] computes the exact integer products of the weights that the file gave, although the
//! kernels ask for more than the file promises ([`FOUR_MAX`]): what a group of four weights has too much of is taken
//! out of the panel and added back one by one. In trained matrices that is one weight in some ten thousand.

use super::kernels::{FOUR_MAX, Kernel, LANES, Line, TILE, Tile, WEIGHT_MAX};
use super::numerics::{Scale, quantise};

/// Panels whose sums are turned into real numbers together, while they are in the first-level cache.
const PANELS: usize = 2;
/// Outputs of that many panels.
pub(super) const GROUP: usize = PANELS * LANES;

/// Rows of activations as bytes.
#[derive(Debug)]
pub(super) struct Activations {
    tiles: Vec<Tile>,
    scales: Vec<Scale>,
    /// One row, before its bytes go to their places.
    row: Vec<u8>,
}

impl Activations {
    /// Room for `rows` rows of `columns`.
    pub(super) fn new(rows: usize, columns: usize) -> Activations {
        let tiles = vec![[[0; 4]; TILE]; rows / TILE * columns / 4];
        Activations { tiles, scales: vec![Scale::default(); rows], row: vec![0; columns] }
    }

    /// Takes rows, after `prepare` has had them.
    #[inline(always)]
    pub(super) fn take<'a, K: Kernel>(
        &mut self,
        kernel: K,
        rows: impl Iterator<Item = &'a mut [f32]>,
        prepare: impl Fn(&mut [f32]),
    ) {
        for ((index, row), scale) in rows.enumerate().zip(&mut self.scales) {
            prepare(row);
            let bytes = &mut self.row[..row.len()];
            *scale = quantise(kernel, row, bytes);
            let steps = row.len() / 4;
            let tile = &mut self.tiles[index / TILE * steps..][..steps];
            for (quads, quad) in tile.iter_mut().zip(bytes.as_chunks::<4>().0) {
                quads[index % TILE] = *quad;
            }
        }
    }
}

/// The rows that [`Matrix::multiply`] has written, each of `columns`.
#[inline(always)]
pub(super) fn rows(values: &mut [f32], columns: usize) -> impl Iterator<Item = &mut [f32]> {
    values.chunks_exact_mut(stride(columns)).map(move |row| &mut row[..columns])
}

/// Floats from one row of activations to the next. Rows of a multiple of 2 KiB would share a few sets of the caches,
/// and writing a panel's worth of every row would throw each other's lines out.
pub(super) const fn stride(columns: usize) -> usize {
    columns + LANES
}

/// A weight that does not fit its panel: what is missing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Excess {
    output: usize,
    column: usize,
    by: i32,
}

/// Weights and biases of a dense layer.
#[derive(Debug)]
pub(super) struct Matrix {
    columns: usize,
    panels: Vec<Line>,
    /// In the order of outputs.
    excess: Vec<Excess>,
    /// Of each output: its scale, the sum of its weights times the scale, its bias.
    scales: Vec<f32>,
    sums: Vec<f32>,
    biases: Vec<f32>,
}

impl Matrix {
    /// Packs rows of `columns` weights, one row an output. Outputs come in multiples of [`GROUP`], columns of eight;
    /// weights keep to [`WEIGHT_MAX`].
    pub(super) fn pack(weights: &[i8], columns: usize, scales: Vec<f32>, biases: Vec<f32>) -> Matrix {
        debug_assert!(weights.iter().all(|weight| weight.unsigned_abs() <= WEIGHT_MAX.unsigned_abs()));
        let steps = columns / 4;
        let mut panels = vec![Line([[0; 4]; LANES]); weights.len() / columns / LANES * steps];
        let mut excess = Vec::new();
        let mut sums = Vec::with_capacity(scales.len());
        for (output, (row, scale)) in weights.chunks_exact(columns).zip(&scales).enumerate() {
            sums.push(row.iter().map(|&weight| i32::from(weight)).sum::<i32>() as f32 * scale);
            let mut row = row.to_vec();
            for column in (0..columns).step_by(8).flat_map(|eight| [eight, eight + 2]) {
                let four = [column, column + 1, column + 4, column + 5];
                limit(&mut row, four, 1, &mut |column, by| excess.push(Excess { output, column, by }));
                limit(&mut row, four, -1, &mut |column, by| excess.push(Excess { output, column, by }));
            }
            let panel = &mut panels[output / LANES * steps..][..steps];
            for (line, four) in panel.iter_mut().zip(row.as_chunks::<4>().0) {
                line.0[output % LANES] = four.map(|weight| weight as u8);
            }
        }
        Matrix { columns, panels, excess, scales, sums, biases }
    }

    /// Outputs a row.
    fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// `out = weights * row + bias` for each of the first `count` rows. `sums` has room for [`GROUP`] times
    /// `count` rounded up to whole tiles.
    #[inline(always)]
    pub(super) fn multiply<K: Kernel>(
        &self,
        kernel: K,
        rows: &Activations,
        count: usize,
        sums: &mut [i32],
        out: &mut [f32],
    ) {
        let steps = self.columns / 4;
        let tiles = count.div_ceil(TILE);
        let sums = &mut sums[..tiles * TILE * GROUP];
        let mut excess = self.excess.as_slice();
        for (group, panels) in self.panels.chunks_exact(PANELS * steps).enumerate() {
            kernel.bytes(&rows.tiles[..tiles * steps], steps, panels, sums);
            let (here, beyond) = excess.split_at(excess.partition_point(|one| one.output < (group + 1) * GROUP));
            excess = beyond;
            for one in here {
                let tiles = rows.tiles[one.column / 4..].iter().step_by(steps);
                for (sums, quads) in sums.chunks_exact_mut(TILE * GROUP).zip(tiles) {
                    for (sum, quad) in sums[one.output % GROUP..].iter_mut().step_by(GROUP).zip(quads) {
                        *sum += i32::from(quad[one.column % 4]) * one.by;
                    }
                }
            }
            self.finish(kernel, group, rows, &sums[..count * GROUP], out);
        }
    }

    /// Turns a group's sums into real numbers.
    #[inline(always)]
    fn finish<K: Kernel>(&self, kernel: K, group: usize, rows: &Activations, sums: &[i32], out: &mut [f32]) {
        for panel in 0..PANELS {
            let at = group * GROUP + panel * LANES;
            let load = |values: &[f32]| kernel.load(values[at..].first_chunk().expect("a panel's worth"));
            let (scale, sum, bias) = (load(&self.scales), load(&self.sums), load(&self.biases));
            let rows = rows.scales.iter().zip(sums.chunks_exact(GROUP));
            for ((row, sums), out) in rows.zip(out.chunks_exact_mut(stride(self.outputs()))) {
                let sums = kernel.of_integers(sums[panel * LANES..].first_chunk().expect("a panel's worth"));
                let product = kernel.multiply(kernel.multiply(sums, kernel.spread(row.step)), scale);
                let shift = kernel.add(kernel.multiply(kernel.spread(row.low), sum), bias);
                kernel.store(kernel.add(product, shift), out[at..].first_chunk_mut().expect("a panel's worth"));
            }
        }
    }
}

/// Takes what the weights of one sign in `four` have above [`FOUR_MAX`] together from the largest of them.
fn limit(row: &mut [i8], four: [usize; 4], sign: i8, taken: &mut impl FnMut(usize, i32)) {
    loop {
        let sizes = four.map(|column| i32::from((row[column] * sign).max(0)));
        let over = sizes.iter().sum::<i32>() - FOUR_MAX;
        if over <= 0 {
            return;
        }
        let largest = (0..4).max_by_key(|&at| sizes[at]).expect("four of them");
        let by = over.min(sizes[largest]) as i8 * sign;
        row[four[largest]] -= by;
        taken(four[largest], i32::from(by));
    }
}

#[cfg(test)]
mod tests;
