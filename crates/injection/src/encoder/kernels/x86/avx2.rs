//! The kernels with 256-bit vectors: AVX2, and AVX-VNNI beside it.

use std::arch::x86_64::*;

use super::operations;
use crate::encoder::kernels::{Kernel, LANES, Line, Quad, TILE, Tile};

/// Lanes of a 256-bit vector of 32-bit sums.
const HALF: usize = LANES / 2;

/// Kernels with AVX2, or with AVX-VNNI too; a value shows that the processor has it, since only `in_avx2` and
/// `in_avx_vnni` make one. All calls into vector code below are sound for that reason.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    /// # Safety
    ///
    /// The processor has AVX2 and, with `VNNI`, AVX-VNNI.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Avx2(())
    }
}

impl<const VNNI: bool> Kernel for Avx2<VNNI> {
    type Reals = [__m256; 2];

    #[inline(always)]
    fn bytes(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` shows that the processor has what the function is compiled for.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe {
            if VNNI { bytes_avx_vnni(rows, panel) } else { bytes_avx2(rows, panel) }
        });
    }

    #[inline(always)]
    fn halves(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe {
            if VNNI { halves_avx_vnni(rows, panel) } else { halves_avx2(rows, panel) }
        });
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::Reals {
        let (low, high) = from.split_at(HALF);
        // SAFETY: as above; either half is 32 readable bytes, the loads ask for no alignment.
        unsafe { [_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())] }
    }

    #[inline(always)]
    fn store(self, reals: Self::Reals, to: &mut [f32; LANES]) {
        let (low, high) = to.split_at_mut(HALF);
        // SAFETY: as above; either half is 32 writable bytes, the stores ask for no alignment.
        unsafe {
            _mm256_storeu_ps(low.as_mut_ptr(), reals[0]);
            _mm256_storeu_ps(high.as_mut_ptr(), reals[1]);
        }
    }

    #[inline(always)]
    fn spread(self, real: f32) -> Self::Reals {
        // SAFETY: `self` shows that the processor has the instruction.
        unsafe { [_mm256_set1_ps(real); 2] }
    }

    #[inline(always)]
    fn of_integers(self, integers: &[i32; LANES]) -> Self::Reals {
        let (low, high) = integers.split_at(HALF);
        // SAFETY: as in `load`.
        unsafe {
            [
                _mm256_cvtepi32_ps(_mm256_loadu_si256(low.as_ptr().cast())),
                _mm256_cvtepi32_ps(_mm256_loadu_si256(high.as_ptr().cast())),
            ]
        }
    }

    operations! {
        fn add = |a, b| [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])];
        fn subtract = |a, b| [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])];
        fn multiply = |a, b| [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])];
        fn smaller = |a, b| [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])];
        fn larger = |a, b| [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])];
    }

    #[inline(always)]
    fn shifted(self, [low, high]: Self::Reals, add: i32) -> Self::Reals {
        // SAFETY: `self` shows that the processor has the instructions.
        unsafe { [shifted256(low, add), shifted256(high, add)] }
    }

    #[inline(always)]
    fn low_bytes(self, a: Self::Reals) -> [u8; LANES] {
        // SAFETY: as above.
        unsafe { low_bytes256(a) }
    }

    #[inline(always)]
    fn low_halves(self, a: Self::Reals) -> [i16; LANES] {
        // SAFETY: as above.
        unsafe { low_halves256(a) }
    }
}

#[target_feature(enable = "avx2")]
fn shifted256(a: __m256, add: i32) -> __m256 {
    let bits = _mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(add));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(bits))
}

#[target_feature(enable = "avx2")]
fn low_bytes256(a: [__m256; 2]) -> [u8; LANES] {
    let mask = _mm256_set1_epi32(0xff);
    let low = _mm256_and_si256(_mm256_castps_si256(a[0]), mask);
    let high = _mm256_and_si256(_mm256_castps_si256(a[1]), mask);
    // Packing works within halves of vectors: quarters come out as low, high, low, high.
    let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
    let bytes = _mm_packus_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
    let mut out = [0; LANES];
    // SAFETY: the array is 16 writable bytes; the store asks for no alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) };
    out
}

#[target_feature(enable = "avx2")]
fn low_halves256(a: [__m256; 2]) -> [i16; LANES] {
    let mask = _mm256_set1_epi32(0xffff);
    let low = _mm256_and_si256(_mm256_castps_si256(a[0]), mask);
    let high = _mm256_and_si256(_mm256_castps_si256(a[1]), mask);
    let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
    let mut out = [0; LANES];
    // SAFETY: the array is 32 writable bytes; the store asks for no alignment.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), halves) };
    out
}

/// The sums of one tile of rows with one panel.
type Sums = [[i32; LANES]; TILE];

/// Panels outside, rows inside: a panel's weights stay in the first-level cache for all rows.
#[inline(always)]
fn multiply256(
    rows: &[Tile],
    steps: usize,
    panels: &[Line],
    sums: &mut [i32],
    multiply: impl Fn(&[Tile], &[Line]) -> Sums,
) {
    let width = panels.len() / steps * LANES;
    for (index, panel) in panels.chunks_exact(steps).enumerate() {
        for (tile, sums) in rows.chunks_exact(steps).zip(sums.chunks_exact_mut(TILE * width)) {
            let products = multiply(tile, panel);
            for (products, sums) in products.iter().zip(sums.chunks_exact_mut(width)) {
                sums[index * LANES..][..LANES].copy_from_slice(products);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn line256(line: &Line) -> [__m256i; 2] {
    let (low, high) = line.0.split_at(HALF);
    // SAFETY: either half is 32 readable bytes; the loads ask for no alignment.
    unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] }
}

#[target_feature(enable = "avx2")]
fn spread256(quad: &Quad) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(*quad))
}

#[target_feature(enable = "avx2")]
fn store256(sums: [[__m256i; 2]; TILE]) -> Sums {
    let mut out = [[0; LANES]; TILE];
    for (out, [low, high]) in out.iter_mut().zip(sums) {
        let (left, right) = out.split_at_mut(HALF);
        // SAFETY: either half is 32 writable bytes; the stores ask for no alignment.
        unsafe {
            _mm256_storeu_si256(left.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(right.as_mut_ptr().cast(), high);
        }
    }
    out
}

#[target_feature(enable = "avx2")]
fn bytes_avx2(rows: &[Tile], panel: &[Line]) -> Sums {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for ([a, b], [first, second]) in rows.as_chunks::<2>().0.iter().zip(panel.as_chunks::<2>().0) {
        let (first, second) = (line256(first), line256(second));
        for row in 0..TILE {
            let (a, b) = (spread256(&a[row]), spread256(&b[row]));
            for half in 0..2 {
                // No saturation and no overflow: see `WEIGHT_MAX` and `FOUR_MAX`.
                let four =
                    _mm256_add_epi16(_mm256_maddubs_epi16(a, first[half]), _mm256_maddubs_epi16(b, second[half]));
                sums[row][half] = _mm256_add_epi32(sums[row][half], _mm256_madd_epi16(four, ones));
            }
        }
    }
    store256(sums)
}

#[target_feature(enable = "avx2")]
fn halves_avx2(rows: &[Tile], panel: &[Line]) -> Sums {
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for (quads, line) in rows.iter().zip(panel) {
        let line = line256(line);
        for row in 0..TILE {
            let quad = spread256(&quads[row]);
            for half in 0..2 {
                sums[row][half] = _mm256_add_epi32(sums[row][half], _mm256_madd_epi16(quad, line[half]));
            }
        }
    }
    store256(sums)
}

#[target_feature(enable = "avx2,avxvnni")]
fn bytes_avx_vnni(rows: &[Tile], panel: &[Line]) -> Sums {
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for (quads, line) in rows.iter().zip(panel) {
        let line = line256(line);
        for row in 0..TILE {
            let quad = spread256(&quads[row]);
            for half in 0..2 {
                sums[row][half] = _mm256_dpbusd_avx_epi32(sums[row][half], quad, line[half]);
            }
        }
    }
    store256(sums)
}

#[target_feature(enable = "avx2,avxvnni")]
fn halves_avx_vnni(rows: &[Tile], panel: &[Line]) -> Sums {
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for (quads, line) in rows.iter().zip(panel) {
        let line = line256(line);
        for row in 0..TILE {
            let quad = spread256(&quads[row]);
            for half in 0..2 {
                sums[row][half] = _mm256_dpwssd_avx_epi32(sums[row][half], quad, line[half]);
            }
        }
    }
    store256(sums)
}
