//! The arithmetic: 4-bit and 8-bit weights times 8-bit activations, and attention over a 16-bit cache.
//!
//! Promises: every kernel exists as portable code and, on x86-64, with AVX2 and with AVX-512 VNNI; [`Level::detect`]
//! chooses once, at run time. Integer parts are exact and equal everywhere; the order of the floating-point sums does
//! not depend on how many tokens are computed at once, so a batch changes no bit of any answer.
//!
//! Weights come in groups of [`GROUP_ROWS`] rows, interleaved so that one vector lane is one row: no sum across
//! lanes is ever needed. Within a block of 32 columns, line `j` holds four columns of each of the sixteen rows.
//!
//! The code is in [`portable`] and in `x86`, the only file of the crate with `unsafe` code.

use std::ops::Range;

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
use portable::any_level as best;
#[cfg(target_arch = "x86_64")]
use x86 as best;

/// Columns that share one scale.
pub(crate) const BLOCK_COLUMNS: usize = 32;
/// Rows that are interleaved: the lanes of a 512-bit vector of 32-bit sums.
pub(crate) const GROUP_ROWS: usize = 16;
/// Tokens that share one pass over a group's weights.
const TILE_TOKENS: usize = 4;

/// The instructions that this processor has. Only [`Level::detect`] makes anything but the portable one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64 has kernels of its own"))]
enum Instructions {
    Portable,
    Avx2,
    Avx512Vnni,
}

impl Level {
    /// The portable kernels, which run everywhere.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    pub(crate) const PORTABLE: Level = Level(Instructions::Portable);

    /// The best kernels that this processor can run.
    pub(crate) fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni");
            Level(match (avx2, avx512) {
                (true, true) => Instructions::Avx512Vnni,
                (true, false) => Instructions::Avx2,
                (false, _) => Instructions::Portable,
            })
        }
        #[cfg(not(target_arch = "x86_64"))]
        Level::PORTABLE
    }

    /// Every level that this processor can run, for the tests that hold them against each other.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Level> {
        let mut all = vec![Level::PORTABLE];
        let best = Level::detect();
        if best.0 == Instructions::Avx512Vnni {
            all.push(Level(Instructions::Avx2));
        }
        if best != Level::PORTABLE {
            all.push(best);
        }
        all
    }

    /// The level's name, for the log and the bench.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Instructions::Portable => "portable",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512Vnni => "avx512-vnni",
        }
    }
}

/// One cache line of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// Rows of 4-bit weights: `scale * nibble + minimum`.
#[derive(Debug, Default)]
pub(crate) struct Rows4 {
    /// Four lines a block: low nibbles are columns `4 * line ..`, high nibbles columns `16 + 4 * line ..`.
    pub(crate) lines: Vec<Line>,
    /// A block's sixteen scales, then its sixteen minimums, as half floats.
    pub(crate) scales: Vec<[u16; 2 * GROUP_ROWS]>,
}

/// Rows of 8-bit weights: `scale * byte`.
#[derive(Debug, Default)]
pub(crate) struct Rows8 {
    /// Eight lines a block: line `j` holds columns `4 * j ..` as signed bytes.
    pub(crate) lines: Vec<Line>,
    /// A block's sixteen scales, as half floats.
    pub(crate) scales: Vec<[u16; GROUP_ROWS]>,
}

/// 32 activations as signed bytes with one scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// Four bytes each, little-endian, as the dot product takes them.
    quads: [i32; BLOCK_COLUMNS / 4],
    scale: f32,
    /// Sum of the 32 bytes.
    sum: i32,
}

/// Quantises activations in blocks of 32 and appends them to `blocks`.
pub(crate) fn quantise(values: &[f32], blocks: &mut Vec<Block>) {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer without a library call.
    const ROUND: f32 = 12_582_912.0;
    for block in values.as_chunks::<BLOCK_COLUMNS>().0 {
        let largest = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let bytes: [i8; BLOCK_COLUMNS] = block.map(|value| ((value * inverse + ROUND) - ROUND) as i8);
        let mut quads = [0; BLOCK_COLUMNS / 4];
        for (quad, four) in quads.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *quad = i32::from_le_bytes(four.map(|byte| byte as u8));
        }
        blocks.push(Block { quads, scale, sum: bytes.iter().map(|&byte| i32::from(byte)).sum() });
    }
}

/// A finite half float as a float, without branches: exponent and mantissa moved into place, then scaled by the
/// difference of the two exponent biases, 2^112, which makes subnormal numbers right too.
pub(crate) fn widen(half: u16) -> f32 {
    const BIAS: f32 = f32::from_bits((127 + 112) << 23);
    let size = f32::from_bits(u32::from(half & 0x7fff) << 13) * BIAS;
    f32::from_bits(size.to_bits() | u32::from(half & 0x8000) << 16)
}

/// A kernel's view of some tokens' activations: each a row of blocks.
type Tile<'a, const TOKENS: usize> = [&'a [Block]; TOKENS];
/// A kernel's result: sixteen rows for each token.
type Sums<const TOKENS: usize> = [[f32; GROUP_ROWS]; TOKENS];

/// A kind of rows that can be multiplied.
trait Kernel {
    fn group<const TOKENS: usize>(&self, level: Level, group: usize, tile: Tile<'_, TOKENS>) -> Sums<TOKENS>;
}

impl Kernel for Rows4 {
    fn group<const TOKENS: usize>(&self, level: Level, group: usize, tile: Tile<'_, TOKENS>) -> Sums<TOKENS> {
        let blocks = tile[0].len();
        let lines = &self.lines.as_chunks::<4>().0[group * blocks..][..blocks];
        let scales = &self.scales[group * blocks..][..blocks];
        best::rows4(level, lines, scales, tile)
    }
}

impl Kernel for Rows8 {
    fn group<const TOKENS: usize>(&self, level: Level, group: usize, tile: Tile<'_, TOKENS>) -> Sums<TOKENS> {
        let blocks = tile[0].len();
        let lines = &self.lines.as_chunks::<8>().0[group * blocks..][..blocks];
        let scales = &self.scales[group * blocks..][..blocks];
        best::rows8(level, lines, scales, tile)
    }
}

/// Rows of weights in one of the two formats.
#[derive(Debug)]
pub(crate) enum Rows {
    /// 4-bit weights.
    Four(Rows4),
    /// 8-bit weights.
    Eight(Rows8),
}

impl Rows {
    /// Multiplies the rows of `groups` with each token's activations (`columns / 32` blocks a token). `out` takes,
    /// token after token, `groups.len() * 16` values.
    pub(crate) fn multiply(
        &self,
        level: Level,
        groups: Range<usize>,
        activations: &[Block],
        columns: usize,
        out: &mut [f32],
    ) {
        match self {
            Rows::Four(rows) => multiply(rows, level, groups, activations, columns / BLOCK_COLUMNS, out),
            Rows::Eight(rows) => multiply(rows, level, groups, activations, columns / BLOCK_COLUMNS, out),
        }
    }
}

impl Rows8 {
    /// As [`Rows::multiply`].
    pub(crate) fn multiply(
        &self,
        level: Level,
        groups: Range<usize>,
        activations: &[Block],
        columns: usize,
        out: &mut [f32],
    ) {
        multiply(self, level, groups, activations, columns / BLOCK_COLUMNS, out);
    }
}

fn multiply(
    rows: &impl Kernel,
    level: Level,
    groups: Range<usize>,
    activations: &[Block],
    blocks: usize,
    out: &mut [f32],
) {
    let width = groups.len() * GROUP_ROWS;
    if width == 0 {
        return;
    }
    // Groups outside, tokens inside: a group's weights stay in the first-level cache for all tokens.
    for (index, group) in groups.enumerate() {
        let mut tokens = activations.chunks_exact(blocks * TILE_TOKENS);
        let mut token = 0;
        let at = |token: usize| token * width + index * GROUP_ROWS;
        for tile in &mut tokens {
            let (a, rest) = tile.split_at(blocks);
            let (b, rest) = rest.split_at(blocks);
            let (c, d) = rest.split_at(blocks);
            for sums in rows.group(level, group, [a, b, c, d]) {
                out[at(token)..][..GROUP_ROWS].copy_from_slice(&sums);
                token += 1;
            }
        }
        for one in tokens.remainder().chunks_exact(blocks) {
            let [sums] = rows.group(level, group, [one]);
            out[at(token)..][..GROUP_ROWS].copy_from_slice(&sums);
            token += 1;
        }
    }
}

/// One attention head's view of a cache: `count` rows of `query.len()` half floats, `stride` apart, from `offset`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheRows<'a> {
    /// The layer's keys or values.
    pub(crate) cells: &'a [u16],
    /// Where the head begins in a row.
    pub(crate) offset: usize,
    /// Half floats from one position to the next.
    pub(crate) stride: usize,
}

impl<'a> CacheRows<'a> {
    fn row(&self, index: usize, width: usize) -> &'a [u16] {
        &self.cells[self.offset + index * self.stride..][..width]
    }
}

/// `scores[i] = query · keys[i]`.
pub(crate) fn scores(level: Level, query: &[f32], keys: CacheRows<'_>, scores: &mut [f32]) {
    best::scores(level, query, keys, scores);
}

/// `out = Σ weights[i] * values[i]`.
pub(crate) fn weighted_sum(level: Level, weights: &[f32], values: CacheRows<'_>, out: &mut [f32]) {
    best::weighted_sum(level, weights, values, out);
}

#[cfg(test)]
mod tests;
