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
    work.run(Avx2::<false>(()))
}

#[target_feature(enable = "avx2,avxvnni")]
fn in_avx_vnni<W: Work>(work: W) -> W::Output {
    work.run(Avx2::<true>(()))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn in_avx512<W: Work>(work: W) -> W::Output {
    work.run(Avx512(()))
}

/// Kernels with AVX2, or with AVX-VNNI too; a value shows that the processor has it, since only `in_avx2` and
/// `in_avx_vnni` make one. All calls into vector code below are sound for that reason.
#[derive(Clone, Copy)]
struct Avx2<const VNNI: bool>(());
/// Kernels with AVX-512 VNNI, likewise: only `in_avx512` makes one.
#[derive(Clone, Copy)]
struct Avx512(());

/// Operations on two vectors, each in terms of an instruction.
macro_rules! operations {
    ($(fn $name:ident = |$a:ident, $b:ident| $of_two:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $a: Self::Reals, $b: Self::Reals) -> Self::Reals {
            // SAFETY: `self` shows that the processor has the instruction.
            unsafe { $of_two }
        }
    )*};
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
