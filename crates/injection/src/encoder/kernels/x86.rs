//! The kernels with AVX2, AVX-VNNI and AVX-512 VNNI.
//!
//! This is the only file of the crate with `unsafe` code: loads and stores, and the calls into functions that are
//! compiled for more instructions than the rest. What makes those calls sound is [`Level`]: outside of this module's
//! parent nobody can make one that promises more than the processor has, and only [`run`] makes the kernels.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Instructions, Kernel, LANES, Level, Line, Quad, TILE, Work, portable::Portable};

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
    fn bytes(self, rows: &[Quad], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` is made by `in_avx2` alone.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { bytes_avx2(rows, panel) });
    }

    #[inline(always)]
    fn halves(self, rows: &[Quad], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { halves_avx2(rows, panel) });
    }
}

impl Kernel for AvxVnni {
    #[inline(always)]
    fn bytes(self, rows: &[Quad], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` is made by `in_avx_vnni` alone.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { bytes_avx_vnni(rows, panel) });
    }

    #[inline(always)]
    fn halves(self, rows: &[Quad], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        multiply256(rows, steps, panels, sums, |rows, panel| unsafe { halves_avx_vnni(rows, panel) });
    }
}

impl Kernel for Avx512 {
    #[inline(always)]
    fn bytes(self, rows: &[Quad], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: `self` is made by `in_avx512` alone.
        unsafe { multiply512::<true>(rows, steps, panels, sums) };
    }

    #[inline(always)]
    fn halves(self, rows: &[Quad], steps: usize, panels: &[Line], sums: &mut [i32]) {
        // SAFETY: as above.
        unsafe { multiply512::<false>(rows, steps, panels, sums) };
    }
}

/// The sums of some rows with one panel.
type Sums<const ROWS: usize> = [[i32; LANES]; ROWS];

/// `ROWS` rows from this one on, each of `steps` quads.
#[inline(always)]
fn rows_from<const ROWS: usize>(rows: &[Quad], steps: usize, row: usize) -> [&[Quad]; ROWS] {
    std::array::from_fn(|at| &rows[(row + at) * steps..][..steps])
}

/// Panels outside, rows inside: a panel's weights stay in the first-level cache for all rows.
#[inline(always)]
fn multiply256(
    rows: &[Quad],
    steps: usize,
    panels: &[Line],
    sums: &mut [i32],
    tile: impl Fn([&[Quad]; TILE], &[Line]) -> Sums<TILE>,
) {
    let width = panels.len() / steps * LANES;
    for (index, panel) in panels.chunks_exact(steps).enumerate() {
        for row in (0..rows.len() / steps).step_by(TILE) {
            let tile = tile(rows_from(rows, steps, row), panel);
            for (at, tile) in tile.iter().enumerate() {
                sums[(row + at) * width + index * LANES..][..LANES].copy_from_slice(tile);
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
fn spread256(quad: Quad) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(quad))
}

#[target_feature(enable = "avx2")]
fn store256([low, high]: [__m256i; 2]) -> [i32; LANES] {
    let mut out = [0; LANES];
    let (left, right) = out.split_at_mut(HALF);
    // SAFETY: either half is 32 writable bytes; the stores ask for no alignment.
    unsafe {
        _mm256_storeu_si256(left.as_mut_ptr().cast(), low);
        _mm256_storeu_si256(right.as_mut_ptr().cast(), high);
    }
    out
}

#[target_feature(enable = "avx2")]
fn bytes_avx2(rows: [&[Quad]; TILE], panel: &[Line]) -> Sums<TILE> {
    let pairs = panel.as_chunks::<2>().0;
    let rows = rows.map(|row| &row.as_chunks::<2>().0[..pairs.len()]);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for (step, [first, second]) in pairs.iter().enumerate() {
        let (first, second) = (line256(first), line256(second));
        for (sums, row) in sums.iter_mut().zip(rows) {
            let [a, b] = row[step].map(|quad| spread256(quad));
            for half in 0..2 {
                // No saturation and no overflow: see `WEIGHT_MAX` and `FOUR_MAX`.
                let four =
                    _mm256_add_epi16(_mm256_maddubs_epi16(a, first[half]), _mm256_maddubs_epi16(b, second[half]));
                sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(four, ones));
            }
        }
    }
    sums.map(|sums| store256(sums))
}

#[target_feature(enable = "avx2")]
fn halves_avx2(rows: [&[Quad]; TILE], panel: &[Line]) -> Sums<TILE> {
    let rows = rows.map(|row| &row[..panel.len()]);
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for (step, line) in panel.iter().enumerate() {
        let line = line256(line);
        for (sums, row) in sums.iter_mut().zip(rows) {
            let quad = spread256(row[step]);
            for half in 0..2 {
                sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(quad, line[half]));
            }
        }
    }
    sums.map(|sums| store256(sums))
}

#[target_feature(enable = "avx2,avxvnni")]
fn bytes_avx_vnni(rows: [&[Quad]; TILE], panel: &[Line]) -> Sums<TILE> {
    let rows = rows.map(|row| &row[..panel.len()]);
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for (step, line) in panel.iter().enumerate() {
        let line = line256(line);
        for (sums, row) in sums.iter_mut().zip(rows) {
            let quad = spread256(row[step]);
            for half in 0..2 {
                sums[half] = _mm256_dpbusd_avx_epi32(sums[half], quad, line[half]);
            }
        }
    }
    sums.map(|sums| store256(sums))
}

#[target_feature(enable = "avx2,avxvnni")]
fn halves_avx_vnni(rows: [&[Quad]; TILE], panel: &[Line]) -> Sums<TILE> {
    let rows = rows.map(|row| &row[..panel.len()]);
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    for (step, line) in panel.iter().enumerate() {
        let line = line256(line);
        for (sums, row) in sums.iter_mut().zip(rows) {
            let quad = spread256(row[step]);
            for half in 0..2 {
                sums[half] = _mm256_dpwssd_avx_epi32(sums[half], quad, line[half]);
            }
        }
    }
    sums.map(|sums| store256(sums))
}

/// As `multiply256`, two panels and up to eight rows at once: sixteen sums hide the latency of the products.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn multiply512<const BYTES: bool>(rows: &[Quad], steps: usize, panels: &[Line], sums: &mut [i32]) {
    const LARGE: usize = 2 * TILE;
    let width = panels.len() / steps * LANES;
    let count = rows.len() / steps;
    for (index, panels) in panels.chunks(2 * steps).enumerate() {
        let sums = &mut sums[index * 2 * LANES..];
        for row in (0..count).step_by(LARGE) {
            let sums = &mut sums[row * width..];
            match (count - row >= LARGE, panels.len() > steps) {
                (true, true) => tile512::<LARGE, 2, BYTES>(rows_from(rows, steps, row), panels, width, sums),
                (true, false) => tile512::<LARGE, 1, BYTES>(rows_from(rows, steps, row), panels, width, sums),
                (false, true) => tile512::<TILE, 2, BYTES>(rows_from(rows, steps, row), panels, width, sums),
                (false, false) => tile512::<TILE, 1, BYTES>(rows_from(rows, steps, row), panels, width, sums),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tile512<const ROWS: usize, const PANELS: usize, const BYTES: bool>(
    rows: [&[Quad]; ROWS],
    panels: &[Line],
    width: usize,
    out: &mut [i32],
) {
    let steps = panels.len() / PANELS;
    let panels: [&[Line]; PANELS] = std::array::from_fn(|at| &panels[at * steps..][..steps]);
    let rows = rows.map(|row| &row[..steps]);
    let mut sums = [[_mm512_setzero_si512(); PANELS]; ROWS];
    for step in 0..steps {
        // SAFETY: a `Line` is 64 readable bytes, aligned to 64.
        let lines = panels.map(|panel| unsafe { _mm512_load_si512(std::ptr::from_ref(&panel[step]).cast()) });
        for (sums, row) in sums.iter_mut().zip(rows) {
            let quad = _mm512_set1_epi32(i32::from_le_bytes(row[step]));
            for (sum, line) in sums.iter_mut().zip(lines) {
                *sum =
                    if BYTES { _mm512_dpbusd_epi32(*sum, quad, line) } else { _mm512_dpwssd_epi32(*sum, quad, line) };
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (at, sum) in sums.iter().enumerate() {
            let out = &mut out[row * width + at * LANES..][..LANES];
            // SAFETY: the slice is 64 writable bytes; the store asks for no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), *sum) };
        }
    }
}
