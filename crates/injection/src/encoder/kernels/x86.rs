//! The kernels with AVX2, AVX-VNNI and AVX-512 VNNI.
//!
//! This is the only file of the crate with `unsafe` code: loads and stores, and the calls into functions that are
//! compiled for more instructions than the rest. What makes those calls sound is [`Level`]: outside of this module's
//! parent nobody can make one that promises more than the processor has, and only [`run`] makes the kernels.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Instructions, Kernel, LANES, Level, Line, Quad, TILE, Tile, Work, portable::Portable};

/// Lanes of a 256-bit vector of 32-bit sums.
const HALF: usize = LANES / 2;

/// [`Level::run`].
pub(super) fn run<W: Work>(level: Level, work: W) -> W::Output {
    match level.0 {
        Instructions::Portable => work.run(Portable),
        // SAFETY: the level says that the processor has what the function is compiled for.
        Instructions::Avx2 => unsafe { in_avx2(work) },
        // SAFETY: as above.
        Instructions::AvxVnni => unsafe { in_avx_vnni(work) },
        // SAFETY: as above.
        Instructions::Avx512Vnni => unsafe { in_avx512(work) },
    }
}

#[target_feature(enable = "avx2")]
fn in_avx2<W: Work>(work: W) -> W::Output {
    work.run(Avx2(()))
}

#[target_feature(enable = "avx2,avxvnni")]
fn in_avx_vnni<W: Work>(work: W) -> W::Output {
    work.run(AvxVnni(()))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn in_avx512<W: Work>(work: W) -> W::Output {
    work.run(Avx512(()))
}

/// Kernels with AVX2; a value shows that the processor has it.
#[derive(Clone, Copy)]
struct Avx2(());
/// Kernels with AVX2 and AVX-VNNI, likewise.
#[derive(Clone, Copy)]
struct AvxVnni(());
/// Kernels with AVX-512 VNNI, likewise.
#[derive(Clone, Copy)]
struct Avx512(());

impl Kernel for Avx2 {
    #[inline(always)]
    fn bytes(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` is made by `in_avx2` alone.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { bytes_avx2(rows, panel) });
    }

    #[inline(always)]
    fn halves(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { halves_avx2(rows, panel) });
    }
}

impl Kernel for AvxVnni {
    #[inline(always)]
    fn bytes(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` is made by `in_avx_vnni` alone.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { bytes_avx_vnni(rows, panel) });
    }

    #[inline(always)]
    fn halves(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { halves_avx_vnni(rows, panel) });
    }
}

impl Kernel for Avx512 {
    #[inline(always)]
    fn bytes(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` is made by `in_avx512` alone.
        unsafe { multiply512::<true>(rows, steps, panels, sums) };
    }

    #[inline(always)]
    fn halves(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        unsafe { multiply512::<false>(rows, steps, panels, sums) };
    }
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
                let four = _mm256_add_epi16(_mm256_maddubs_epi16(a, first[half]), _mm256_maddubs_epi16(b, second[half]));
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
