//! The kernels with 512-bit vectors: AVX-512 VNNI.

use std::arch::x86_64::*;

use super::operations;
use crate::encoder::kernels::{Kernel, LANES, Line, TILE, Tile};

/// Kernels with AVX-512 VNNI; a value shows that the processor has it, since only `in_avx512` makes one. All calls into
/// vector code below are sound for that reason.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Safety
    ///
    /// The processor has AVX-512 F, BW, DQ, VL and VNNI.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Avx512(())
    }
}

impl Kernel for Avx512 {
    type Reals = __m512;

    #[inline(always)]
    fn bytes(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` shows that the processor has what the function is compiled for.
        unsafe { multiply512::<true>(rows, steps, panels, sums) };
    }

    #[inline(always)]
    fn halves(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        unsafe { multiply512::<false>(rows, steps, panels, sums) };
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        // SAFETY: as above; the array is 64 readable bytes, the load asks for no alignment.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, reals: __m512, to: &mut [f32; LANES]) {
        // SAFETY: as above; the array is 64 writable bytes, the store asks for no alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), reals) }
    }

    #[inline(always)]
    fn spread(self, real: f32) -> __m512 {
        // SAFETY: `self` shows that the processor has the instruction.
        unsafe { _mm512_set1_ps(real) }
    }

    #[inline(always)]
    fn of_integers(self, integers: &[i32; LANES]) -> __m512 {
        // SAFETY: as in `load`.
        unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(integers.as_ptr().cast())) }
    }

    operations! {
        fn add = |a, b| _mm512_add_ps(a, b);
        fn subtract = |a, b| _mm512_sub_ps(a, b);
        fn multiply = |a, b| _mm512_mul_ps(a, b);
        fn smaller = |a, b| _mm512_min_ps(a, b);
        fn larger = |a, b| _mm512_max_ps(a, b);
    }

    #[inline(always)]
    fn shifted(self, a: __m512, add: i32) -> __m512 {
        // SAFETY: `self` shows that the processor has the instructions.
        unsafe {
            let bits = _mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(add));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(bits))
        }
    }

    #[inline(always)]
    fn low_bytes(self, a: __m512) -> [u8; LANES] {
        let mut out = [0; LANES];
        // SAFETY: as above; the array is 16 writable bytes, the store asks for no alignment.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(a))) };
        out
    }

    #[inline(always)]
    fn low_halves(self, a: __m512) -> [i16; LANES] {
        let mut out = [0; LANES];
        // SAFETY: as above; the array is 32 writable bytes, the store asks for no alignment.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(_mm512_castps_si512(a))) };
        out
    }
}

/// As `multiply256`, two panels and up to two tiles at once: sixteen sums hide the latency of the products.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn multiply512<const BYTES: bool>(rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
    let width = panels.len() / steps * LANES;
    for (index, panels) in panels.chunks(2 * steps).enumerate() {
        for (rows, sums) in rows.chunks(2 * steps).zip(sums.chunks_mut(2 * TILE * width)) {
            let sums = &mut sums[index * 2 * LANES..];
            match (rows.len() > steps, panels.len() > steps) {
                (true, true) => tiles512::<2, 2, BYTES>(rows, panels, width, sums),
                (true, false) => tiles512::<2, 1, BYTES>(rows, panels, width, sums),
                (false, true) => tiles512::<1, 2, BYTES>(rows, panels, width, sums),
                (false, false) => tiles512::<1, 1, BYTES>(rows, panels, width, sums),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tiles512<const TILES: usize, const PANELS: usize, const BYTES: bool>(
    rows: &[Tile],
    panels: &[Line],
    width: usize,
    out: &mut [i32],
) {
    let steps = panels.len() / PANELS;
    let mut sums = [[[_mm512_setzero_si512(); PANELS]; TILE]; TILES];
    let (rows, panels) = (split::<TILES, _>(rows, steps), split::<PANELS, _>(panels, steps));
    for step in 0..steps {
        let mut lines = [_mm512_setzero_si512(); PANELS];
        for (line, panel) in lines.iter_mut().zip(panels) {
            // SAFETY: a `Line` is 64 readable bytes, aligned to 64.
            *line = unsafe { _mm512_load_si512(std::ptr::from_ref(&panel[step]).cast()) };
        }
        for tile in 0..TILES {
            for row in 0..TILE {
                let quad = _mm512_set1_epi32(i32::from_le_bytes(rows[tile][step][row]));
                for panel in 0..PANELS {
                    let sum = &mut sums[tile][row][panel];
                    *sum = if BYTES {
                        _mm512_dpbusd_epi32(*sum, quad, lines[panel])
                    } else {
                        _mm512_dpwssd_epi32(*sum, quad, lines[panel])
                    };
                }
            }
        }
    }
    for (sums, out) in sums.as_flattened().iter().zip(out.chunks_mut(width)) {
        for (sum, out) in sums.iter().zip(out.as_chunks_mut::<LANES>().0) {
            // SAFETY: the array is 64 writable bytes; the store asks for no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), *sum) };
        }
    }
}

/// Cuts into `PARTS` parts of `steps`.
#[inline(always)]
fn split<const PARTS: usize, T>(all: &[T], steps: usize) -> [&[T]; PARTS] {
    let mut parts = [all; PARTS];
    for (at, part) in parts.iter_mut().enumerate() {
        *part = &all[at * steps..][..steps];
    }
    parts
}
