//! The encoder's floating-point arithmetic, as one source for every level.
//!
//! Promises: products and sums are never fused, sums over a row have sixteen partial sums and one order of adding
//! them up, and nothing calls the platform's mathematics: the bits of a result are the same on every processor.
//!
//! Rows have a multiple of [`LANES`] numbers.

use super::kernels::{Kernel, LANES};

/// Adding 1.5 * 2^23 rounds to the nearest integer, which is then in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// Of layer normalisation, as the base model was trained.
const EPSILON: f32 = 1e-12;

/// A vector's worth of real numbers in memory.
pub(super) type Lanes = [f32; LANES];

/// How a row of bytes stands for real numbers: `low + step * byte`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f32,
    pub(super) step: f32,
}

/// The lanes in memory.
#[inline(always)]
fn lanes<K: Kernel>(kernel: K, reals: K::Reals) -> Lanes {
    let mut lanes = [0.0; LANES];
    kernel.store(reals, &mut lanes);
    lanes
}

/// Adds up the lanes, halves onto halves.
#[inline(always)]
fn total<K: Kernel>(kernel: K, reals: K::Reals) -> f32 {
    let mut lanes = lanes(kernel, reals);
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// The largest lane.
#[inline(always)]
pub(super) fn most<K: Kernel>(kernel: K, reals: K::Reals) -> f32 {
    lanes(kernel, reals).into_iter().fold(f32::NEG_INFINITY, |most, lane| if lane > most { lane } else { most })
}

/// The smallest lane.
#[inline(always)]
fn least<K: Kernel>(kernel: K, reals: K::Reals) -> f32 {
    lanes(kernel, reals).into_iter().fold(f32::INFINITY, |least, lane| if lane < least { lane } else { least })
}

/// The dot product of two rows.
#[inline(always)]
pub(super) fn dot<K: Kernel>(kernel: K, left: &[f32], right: &[f32]) -> f32 {
    let mut sums = kernel.spread(0.0);
    for (left, right) in left.as_chunks().0.iter().zip(right.as_chunks().0) {
        sums = kernel.add(sums, kernel.multiply(kernel.load(left), kernel.load(right)));
    }
    total(kernel, sums)
}

/// Adds a row to another.
#[inline(always)]
pub(super) fn add<K: Kernel>(kernel: K, sum: &mut [f32], row: &[f32]) {
    for (sum, row) in sum.as_chunks_mut().0.iter_mut().zip(row.as_chunks().0) {
        kernel.store(kernel.add(kernel.load(sum), kernel.load(row)), sum);
    }
}

/// Turns a row into bytes between its least and its largest value.
#[inline(always)]
pub(super) fn quantise<K: Kernel>(kernel: K, row: &[f32], bytes: &mut [u8]) -> Scale {
    let (mut low, mut high) = (kernel.spread(f32::INFINITY), kernel.spread(f32::NEG_INFINITY));
    for chunk in row.as_chunks().0 {
        let values = kernel.load(chunk);
        (low, high) = (kernel.smaller(values, low), kernel.larger(values, high));
    }
    let (low, high) = (least(kernel, low), most(kernel, high));
    let range = high - low;
    let (lows, inverse) = (kernel.spread(low), kernel.spread(if range > 0.0 { 255.0 / range } else { 0.0 }));
    for (bytes, chunk) in bytes.as_chunks_mut().0.iter_mut().zip(row.as_chunks().0) {
        let distance = kernel.multiply(kernel.subtract(kernel.load(chunk), lows), inverse);
        *bytes = kernel.low_bytes(kernel.add(distance, kernel.spread(ROUND)));
    }
    Scale { low, step: range / 255.0 }
}

/// Each lane's largest size in a row, and in what came before.
#[inline(always)]
pub(super) fn sizes<K: Kernel>(kernel: K, row: &[f32], mut before: K::Reals) -> K::Reals {
    for chunk in row.as_chunks().0 {
        let values = kernel.load(chunk);
        let size = kernel.larger(values, kernel.subtract(kernel.spread(0.0), values));
        before = kernel.larger(size, before);
    }
    before
}

/// The nearest integers of values below 2^15 in size.
#[inline(always)]
pub(super) fn nearest<K: Kernel>(kernel: K, values: K::Reals) -> [i16; LANES] {
    kernel.low_halves(kernel.add(values, kernel.spread(ROUND)))
}

/// `2^x` for `x <= 0`, to 3 parts in a million; below -126 it is as good as none.
#[inline(always)]
pub(super) fn exp2<K: Kernel>(kernel: K, x: K::Reals) -> K::Reals {
    // Fitted to the least largest relative error over -0.5 ..= 0.5, exact at 0.
    const TERMS: [f32; 5] = [1.0, 0.693_124_2, 0.240_240_99, 0.055_906_467, 0.009_582_856];
    let x = kernel.larger(x, kernel.spread(-126.0));
    let rounded = kernel.add(x, kernel.spread(ROUND));
    let rest = kernel.subtract(x, kernel.subtract(rounded, kernel.spread(ROUND)));
    kernel.multiply(polynomial(kernel, &TERMS, rest), kernel.shifted(rounded, 127))
}

/// `x * Φ(x)` of each `x` in a row, to 1e-5 for sizes up to a half and to 2e-5 of the size beyond.
#[inline(always)]
pub(super) fn gelu<K: Kernel>(kernel: K, row: &mut [f32]) {
    // Φ(x) - 1/2 is odd: `x` times a polynomial in its square, fitted to the least largest error of the product with
    // `x` over 0 ..= EDGE.
    const EDGE: f32 = 4.5;
    const TERMS: [f32; 10] = [
        0.398_883_8,
        -0.066_337_05,
        0.009_833_182,
        -0.001_122_677_5,
        9.787_115e-5,
        -6.365_23e-6,
        2.958_878_6e-7,
        -9.193_657e-9,
        1.697_280_7e-10,
        -1.400_043e-12,
    ];
    for chunk in row.as_chunks_mut().0 {
        let x = kernel.load(chunk);
        let near = kernel.larger(kernel.smaller(x, kernel.spread(EDGE)), kernel.spread(-EDGE));
        let odd = kernel.multiply(near, polynomial(kernel, &TERMS, kernel.multiply(near, near)));
        kernel.store(kernel.multiply(x, kernel.add(odd, kernel.spread(0.5))), chunk);
    }
}

/// The sum of each term times that power of `x`.
#[inline(always)]
fn polynomial<K: Kernel, const TERMS: usize>(kernel: K, terms: &[f32; TERMS], x: K::Reals) -> K::Reals {
    let mut sum = kernel.spread(terms[TERMS - 1]);
    for at in (0..TERMS - 1).rev() {
        sum = kernel.add(kernel.multiply(sum, x), kernel.spread(terms[at]));
    }
    sum
}

/// Normalises a row to mean 0 and variance 1, then scales and shifts it.
#[inline(always)]
pub(super) fn normalise<K: Kernel>(kernel: K, row: &mut [f32], weight: &[f32], bias: &[f32]) {
    let count = row.len() as f32;
    let mut sums = kernel.spread(0.0);
    for chunk in row.as_chunks().0 {
        sums = kernel.add(sums, kernel.load(chunk));
    }
    let mean = kernel.spread(total(kernel, sums) / count);
    let mut squares = kernel.spread(0.0);
    for chunk in row.as_chunks().0 {
        let distance = kernel.subtract(kernel.load(chunk), mean);
        squares = kernel.add(squares, kernel.multiply(distance, distance));
    }
    let inverse = kernel.spread(1.0 / (total(kernel, squares) / count + EPSILON).sqrt());
    let rows = row.as_chunks_mut().0.iter_mut();
    for ((chunk, weight), bias) in rows.zip(weight.as_chunks().0).zip(bias.as_chunks().0) {
        let distance = kernel.subtract(kernel.load(chunk), mean);
        let scaled = kernel.multiply(kernel.multiply(distance, inverse), kernel.load(weight));
        kernel.store(kernel.add(scaled, kernel.load(bias)), chunk);
    }
}

#[cfg(test)]
mod tests;
