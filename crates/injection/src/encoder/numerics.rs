//! The encoder's floating-point arithmetic, as one source for every level.
//!
//! Promises: products and sums are never fused, sums over a row have sixteen partial sums and one order of adding
//! them up, and nothing calls the platform's mathematics: the bits of a result are the same on every processor. Loops
//! have fixed lengths and no branches, so that compilers turn them into vector code.

use super::kernels::LANES;

/// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer; the integer is in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// Of layer normalisation, as the base model was trained.
const EPSILON: f32 = 1e-12;

/// One vector's worth.
pub(super) type Lanes = [f32; LANES];

/// How a row of bytes stands for real numbers: `low + step * byte`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f32,
    pub(super) step: f32,
}

/// Adds up the lanes, halves onto halves.
#[inline(always)]
pub(super) fn total(mut lanes: Lanes) -> f32 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// The dot product of two rows whose length is a multiple of [`LANES`].
#[inline(always)]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (left, right) in left.as_chunks::<LANES>().0.iter().zip(right.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    total(sums)
}

/// Turns a row into bytes between its least and its largest value.
#[inline(always)]
pub(super) fn quantise(row: &[f32], bytes: &mut [u8]) -> Scale {
    let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for chunk in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            low[lane] = if chunk[lane] < low[lane] { chunk[lane] } else { low[lane] };
            high[lane] = if chunk[lane] > high[lane] { chunk[lane] } else { high[lane] };
        }
    }
    let low = low.into_iter().fold(f32::INFINITY, |least, low| if low < least { low } else { least });
    let high = high.into_iter().fold(f32::NEG_INFINITY, |most, high| if high > most { high } else { most });
    let range = high - low;
    let inverse = if range > 0.0 { 255.0 / range } else { 0.0 };
    for (byte, value) in bytes.iter_mut().zip(row) {
        *byte = ((value - low) * inverse + ROUND).to_bits() as u8;
    }
    Scale { low, step: range / 255.0 }
}

/// The largest size in a row.
#[inline(always)]
pub(super) fn largest(row: &[f32], before: Lanes) -> Lanes {
    let mut largest = before;
    for chunk in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let size = chunk[lane].abs();
            largest[lane] = if size > largest[lane] { size } else { largest[lane] };
        }
    }
    largest
}

/// The nearest 16-bit integer of a value below 2^15 in size.
#[inline(always)]
pub(super) fn nearest(value: f32) -> i16 {
    (value + ROUND).to_bits() as i16
}

/// `2^x` for `x <= 0`, to 3 parts in a million; below -126 it is as good as none.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    // Fitted to the least largest relative error over -0.5 ..= 0.5, exact at 0.
    const TERMS: [f32; 5] = [1.0, 0.693_124_2, 0.240_240_99, 0.055_906_467, 0.009_582_856];
    let x = if x > -126.0 { x } else { -126.0 };
    let rounded = x + ROUND;
    let rest = x - (rounded - ROUND);
    let mut sum = TERMS[4];
    for term in TERMS[..4].iter().rev() {
        sum = sum * rest + term;
    }
    sum * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// `x * Φ(x)` of each `x`, to 1e-5 for sizes up to 4.5 and to 1e-5 of the size beyond.
#[inline(always)]
pub(super) fn gelu(row: &mut [f32]) {
    row.iter_mut().for_each(|x| *x = gelu_of(*x));
}

#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    // Φ(x) - 1/2 is odd: `x` times a polynomial in its square, fitted to the least largest error of the product with
    // `x` over 0 ..= EDGE.
    const EDGE: f32 = 4.5;
    const TERMS: [f32; 10] = [
        0.398_883_8,
        -0.066_337_05,
        0.009_833_182,
        -0.001_122_677_5,
        9.787_115e-5,
        -6.365_229_9e-6,
        2.958_878_6e-7,
        -9.193_657e-9,
        1.697_280_7e-10,
        -1.400_042_9e-12,
    ];
    let near = if x < EDGE { x } else { EDGE };
    let near = if near > -EDGE { near } else { -EDGE };
    let square = near * near;
    let mut sum = TERMS[9];
    for term in TERMS[..9].iter().rev() {
        sum = sum * square + term;
    }
    x * (near * sum + 0.5)
}

/// Normalises a row to mean 0 and variance 1, then scales and shifts it.
#[inline(always)]
pub(super) fn normalise(row: &mut [f32], weight: &[f32], bias: &[f32]) {
    let count = row.len() as f32;
    let mut sums = [0.0; LANES];
    for chunk in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    }
    let mean = total(sums) / count;
    let mut squares = [0.0; LANES];
    for chunk in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let distance = chunk[lane] - mean;
            squares[lane] += distance * distance;
        }
    }
    let inverse = 1.0 / (total(squares) / count + EPSILON).sqrt();
    for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *value = (*value - mean) * inverse * weight + bias;
    }
}
