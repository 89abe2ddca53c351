//! The encoder's integer arithmetic, for each set of instructions: sums of byte products and of 16-bit products.
//!
//! Promises: every level gives the same integers, and the floating-point code around them (`numerics`) is one source
//! that uses no fused operations and no sum whose order depends on a vector's width. So all levels give the same
//! answer to the last bit, and [`Level::detect`] may choose by speed alone.
//!
//! Weights lie in panels of [`LANES`] rows, interleaved so that one vector lane is one row: step `s` of a panel is a
//! [`Line`] of four columns (of two, where cells have 16 bits) of each of the sixteen rows.
//!
//! The code is in [`portable`] and in `x86`, the only module of the crate with `unsafe` code.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Rows of weights in a panel: the lanes of a 512-bit vector of 32-bit sums.
pub(super) const LANES: usize = 16;
/// Rows of activations that are interleaved: the least that kernels compute at once. What the rows of a tile beyond
/// the last real one hold does not matter.
pub(super) const TILE: usize = 4;
/// The largest size of an 8-bit weight. A pair of products, `2 * 255 * 63 = 32,130`, fits 16 bits.
pub(super) const WEIGHT_MAX: i8 = 63;
/// AVX2 adds two pairs of products before it widens them, so in lines `2 * i` and `2 * i + 1` the positive weights of
/// four columns (and the negative ones) may sum to this: `255 * 128 = 32,640`. [`super::matrix`] sees to it.
pub(super) const FOUR_MAX: i32 = 128;

/// Four bytes, or two 16-bit numbers (little-endian), of one row.
pub(super) type Quad = [u8; 4];

/// One step of a tile of rows.
pub(super) type Tile = [Quad; TILE];

/// One step of a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [Quad; LANES]);

/// The instructions that the encoder uses. Nobody can make one that this processor does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64 has kernels of its own"))]
enum Instructions {
    Portable,
    Avx2,
    AvxVnni,
    Avx512Vnni,
}

impl Level {
    /// The portable kernels, which run everywhere.
    pub const PORTABLE: Level = Level(Instructions::Portable);

    /// The best that this processor has.
    pub fn detect() -> Level {
        Level::available().pop().unwrap_or(Level::PORTABLE)
    }

    /// All that this processor has, the best last: for tests and benchmarks.
    pub fn available() -> Vec<Level> {
        let mut levels = vec![Level::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Level(Instructions::Avx2));
                if is_x86_feature_detected!("avxvnni") {
                    levels.push(Level(Instructions::AvxVnni));
                }
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                levels.push(Level(Instructions::Avx512Vnni));
            }
        }
        levels
    }

    /// The level's name, for logs and benchmarks.
    pub fn name(self) -> &'static str {
        match self.0 {
            Instructions::Portable => "portable",
            Instructions::Avx2 => "avx2",
            Instructions::AvxVnni => "avx-vnni",
            Instructions::Avx512Vnni => "avx512-vnni",
        }
    }

    /// Does the work in code that is compiled for this level.
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        return x86::run(self, work);
        #[cfg(not(target_arch = "x86_64"))]
        work.run(portable::Portable)
    }
}

/// Something to be done at a level. `run` and what it calls are marked `#[inline(always)]`, so that they are compiled
/// anew for each level.
pub(super) trait Work {
    /// What comes out.
    type Output;
    /// Does it with these kernels.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// What one level can compute: products of integers, and sixteen real numbers at a time.
///
/// Tiles of rows lie one after another, `steps` long each; so do panels; `sums` takes, row after row, [`LANES`] sums a
/// panel.
pub(super) trait Kernel: Copy {
    /// Sixteen real numbers in registers. Every operation on them is that of IEEE 754, lane by lane.
    type Reals: Copy;

    /// Unsigned bytes times signed bytes. The panels keep to [`WEIGHT_MAX`] and [`FOUR_MAX`]; `steps` is even.
    fn bytes(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]);
    /// Signed 16-bit numbers times signed 16-bit numbers; the caller sees to it that sums fit 32 bits.
    fn halves(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]);

    fn load(self, from: &[f32; LANES]) -> Self::Reals;
    fn store(self, reals: Self::Reals, to: &mut [f32; LANES]);
    /// The same number in every lane.
    fn spread(self, real: f32) -> Self::Reals;
    /// The nearest real numbers.
    fn of_integers(self, integers: &[i32; LANES]) -> Self::Reals;
    fn add(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    fn subtract(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    fn multiply(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    /// `a` where it is smaller, else `b`.
    fn smaller(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    /// `a` where it is larger, else `b`.
    fn larger(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    /// The numbers whose bits are those of `a`, plus `add`, shifted left by 23: powers of two from their exponents.
    fn shifted(self, a: Self::Reals, add: i32) -> Self::Reals;
    /// The lowest byte of each number's bits.
    fn low_bytes(self, a: Self::Reals) -> [u8; LANES];
    /// The lowest 16 bits of each number's bits.
    fn low_halves(self, a: Self::Reals) -> [i16; LANES];
}

#[cfg(test)]
mod tests;
