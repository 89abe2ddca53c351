//! The kernels in plain Rust, correct on every processor.

use super::{BLOCK_COLUMNS, CacheRows, GROUP_ROWS, Line, Sums, Tile, widen};

/// Bytes in a line: four columns of sixteen rows.
const LINE: usize = 64;
/// 16-bit numbers in the vectors that every 64-bit processor has.
const LANES: usize = 8;

// The loops below are written so that compilers turn them into vector code: fixed lengths, no branches, 16 bits
// where that is enough. Nothing in them can overflow; the wrapping operations spare a debug build the checks.

pub(super) fn rows4<const TOKENS: usize>(
    lines: &[[Line; 4]],
    scales: &[[u16; 2 * GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    let mut sums = [[0.0; GROUP_ROWS]; TOKENS];
    for (at, (lines, scales)) in lines.iter().zip(scales).enumerate() {
        let scales = scales.map(widen);
        for (sums, blocks) in sums.iter_mut().zip(tile) {
            let block = &blocks[at];
            let activations = spread(block.quads);
            // A product is at most 15 * 127 = 1,905; eight of them, 15,240, fit 16 bits.
            let mut products = [[0_i16; LANES]; LINE / LANES];
            for (index, line) in lines.iter().enumerate() {
                let (low, high) = (&activations[index], &activations[index + 4]);
                for (products, bytes) in products.iter_mut().zip(line.0.as_chunks::<LANES>().0) {
                    for lane in 0..LANES {
                        let low = i16::from(bytes[lane] & 15).wrapping_mul(low[lane]);
                        let high = i16::from(bytes[lane] >> 4).wrapping_mul(high[lane]);
                        products[lane] = products[lane].wrapping_add(low).wrapping_add(high);
                    }
                }
            }
            let weight = block.scale * block.sum as f32;
            for (row, sum) in sums.iter_mut().enumerate() {
                let dot: i32 = products.as_flattened()[row * 4..][..4].iter().map(|&product| i32::from(product)).sum();
                *sum += dot as f32 * (scales[row] * block.scale);
                *sum += scales[GROUP_ROWS + row] * weight;
            }
        }
    }
    sums
}

pub(super) fn rows8<const TOKENS: usize>(
    lines: &[[Line; 8]],
    scales: &[[u16; GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    let mut sums = [[0.0; GROUP_ROWS]; TOKENS];
    for (at, (lines, scales)) in lines.iter().zip(scales).enumerate() {
        let scales = scales.map(widen);
        for (sums, blocks) in sums.iter_mut().zip(tile) {
            let block = &blocks[at];
            let mut products = [[0_i32; LANES]; LINE / LANES];
            for (line, activations) in lines.iter().zip(spread(block.quads)) {
                for (products, bytes) in products.iter_mut().zip(line.0.as_chunks::<LANES>().0) {
                    for lane in 0..LANES {
                        // At most 128 * 127 = 16,256: one product fits 16 bits.
                        let one = i16::from(bytes[lane] as i8).wrapping_mul(activations[lane]);
                        products[lane] = products[lane].wrapping_add(i32::from(one));
                    }
                }
            }
            for (row, sum) in sums.iter_mut().enumerate() {
                let dot: i32 = products.as_flattened()[row * 4..][..4].iter().sum();
                *sum += dot as f32 * (scales[row] * block.scale);
            }
        }
    }
    sums
}

/// The activations of each line, as 16-bit numbers, twice over: a vector's worth.
fn spread(quads: [i32; BLOCK_COLUMNS / 4]) -> [[i16; LANES]; BLOCK_COLUMNS / 4] {
    quads.map(|quad| {
        let four = quad.to_le_bytes().map(|byte| i16::from(byte as i8));
        std::array::from_fn(|at| four[at % 4])
    })
}

pub(super) fn scores(query: &[f32], keys: CacheRows<'_>, scores: &mut [f32]) {
    for (index, score) in scores.iter_mut().enumerate() {
        let key = keys.row(index, query.len());
        // Eight partial sums: the compiler may not reorder one.
        let mut sums = [0.0; 8];
        for (query, key) in query.chunks(8).zip(key.chunks(8)) {
            for ((sum, query), key) in sums.iter_mut().zip(query).zip(key) {
                *sum += query * widen(*key);
            }
        }
        *score = sums.iter().sum();
    }
}

pub(super) fn weighted_sum(weights: &[f32], values: CacheRows<'_>, out: &mut [f32]) {
    out.fill(0.0);
    for (index, weight) in weights.iter().enumerate() {
        let row = values.row(index, out.len());
        for (out, value) in out.iter_mut().zip(row) {
            *out += weight * widen(*value);
        }
    }
}

/// The same for callers who name a level: there is only one.
#[cfg(not(target_arch = "x86_64"))]
pub(super) mod any_level {
    use crate::kernels::{CacheRows, GROUP_ROWS, Level, Line, Sums, Tile};

    pub(in crate::kernels) fn rows4<const TOKENS: usize>(
        _: Level,
        lines: &[[Line; 4]],
        scales: &[[u16; 2 * GROUP_ROWS]],
        tile: Tile<'_, TOKENS>,
    ) -> Sums<TOKENS> {
        super::rows4(lines, scales, tile)
    }

    pub(in crate::kernels) fn rows8<const TOKENS: usize>(
        _: Level,
        lines: &[[Line; 8]],
        scales: &[[u16; GROUP_ROWS]],
        tile: Tile<'_, TOKENS>,
    ) -> Sums<TOKENS> {
        super::rows8(lines, scales, tile)
    }

    pub(in crate::kernels) fn scores(_: Level, query: &[f32], keys: CacheRows<'_>, scores: &mut [f32]) {
        super::scores(query, keys, scores);
    }

    pub(in crate::kernels) fn weighted_sum(_: Level, weights: &[f32], values: CacheRows<'_>, out: &mut [f32]) {
        super::weighted_sum(weights, values, out);
    }
}
