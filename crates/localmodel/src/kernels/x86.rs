//! The kernels with AVX2 and with AVX-512 VNNI.
//!
//! This is the only file of the crate with `unsafe` code: loads and stores, and the calls into functions that are
//! compiled for more instructions than the rest. What makes those calls sound is [`Level`]: outside of this module's
//! parent nobody can make one that promises more than [`Level::detect`] saw.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{CacheRows, GROUP_ROWS, Instructions, Level, Line, Sums, Tile, portable};

/// The head width that the attention kernels are written for: it fills eight vectors.
const HEAD_COLUMNS: usize = 64;
/// Rows in a 256-bit vector of 32-bit sums.
const HALF: usize = GROUP_ROWS / 2;

/// [`Kernel::group`] for 4-bit rows.
///
/// [`Kernel::group`]: super::Kernel::group
pub(super) fn rows4<const TOKENS: usize>(
    level: Level,
    lines: &[[Line; 4]],
    scales: &[[u16; 2 * GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    match level.0 {
        Instructions::Portable => portable::rows4(lines, scales, tile),
        // SAFETY: `Level::detect` saw every instruction set that the function is compiled for.
        Instructions::Avx2 => unsafe { rows4_avx2(lines, scales, tile) },
        // SAFETY: as above.
        Instructions::Avx512Vnni => unsafe { rows4_avx512(lines, scales, tile) },
    }
}

/// The same for 8-bit rows.
pub(super) fn rows8<const TOKENS: usize>(
    level: Level,
    lines: &[[Line; 8]],
    scales: &[[u16; GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    match level.0 {
        Instructions::Portable => portable::rows8(lines, scales, tile),
        // SAFETY: `Level::detect` saw every instruction set that the function is compiled for.
        Instructions::Avx2 => unsafe { rows8_avx2(lines, scales, tile) },
        // SAFETY: as above.
        Instructions::Avx512Vnni => unsafe { rows8_avx512(lines, scales, tile) },
    }
}

/// Attention scores; only the width that the model has is written out.
pub(super) fn scores(level: Level, query: &[f32], keys: CacheRows<'_>, scores: &mut [f32]) {
    if level.0 == Instructions::Portable || query.len() != HEAD_COLUMNS {
        return portable::scores(query, keys, scores);
    }
    // SAFETY: both levels were made by `Level::detect`, which asks for AVX2, FMA and F16C in either case.
    unsafe { scores_avx2(query, keys, scores) }
}

/// Attention's weighted sum, likewise.
pub(super) fn weighted_sum(level: Level, weights: &[f32], values: CacheRows<'_>, out: &mut [f32]) {
    if level.0 == Instructions::Portable || out.len() != HEAD_COLUMNS {
        return portable::weighted_sum(weights, values, out);
    }
    // SAFETY: as in `scores`.
    unsafe { weighted_sum_avx2(weights, values, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn line512(line: &Line) -> __m512i {
    // SAFETY: a `Line` is 64 readable bytes, aligned to 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(line).cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn halves512(halves: &[u16; GROUP_ROWS]) -> __m512 {
    // SAFETY: the array is 32 readable bytes; the load asks for no alignment.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn store512(sums: __m512) -> [f32; GROUP_ROWS] {
    let mut out = [0.0; GROUP_ROWS];
    // SAFETY: the array is 64 writable bytes; the store asks for no alignment.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sums) };
    out
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn rows4_avx512<const TOKENS: usize>(
    lines: &[[Line; 4]],
    scales: &[[u16; 2 * GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    let tile = tile.map(|blocks| &blocks[..lines.len()]);
    let nibble = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_ps(); TOKENS];
    for (at, (lines, scales)) in lines.iter().zip(scales).enumerate() {
        let mut dots = [_mm512_setzero_si512(); TOKENS];
        for (index, line) in lines.iter().enumerate() {
            let packed = line512(line);
            let low = _mm512_and_si512(packed, nibble);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(packed), nibble);
            for token in 0..TOKENS {
                let quads = &tile[token][at].quads;
                dots[token] = _mm512_dpbusd_epi32(dots[token], low, _mm512_set1_epi32(quads[index]));
                dots[token] = _mm512_dpbusd_epi32(dots[token], high, _mm512_set1_epi32(quads[index + 4]));
            }
        }
        let (scale, minimum) = scales.split_at(GROUP_ROWS);
        let scale = halves512(scale.as_array().expect("half of the array"));
        let minimum = halves512(minimum.as_array().expect("half of the array"));
        for token in 0..TOKENS {
            let block = &tile[token][at];
            let both = _mm512_mul_ps(scale, _mm512_set1_ps(block.scale));
            sums[token] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[token]), both, sums[token]);
            sums[token] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(block.scale * block.sum as f32), sums[token]);
        }
    }
    sums.map(|sums| store512(sums))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn rows8_avx512<const TOKENS: usize>(
    lines: &[[Line; 8]],
    scales: &[[u16; GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    let tile = tile.map(|blocks| &blocks[..lines.len()]);
    // The dot product takes unsigned weights: they are moved up by 128, which 128 * sum takes back exactly.
    let flip = _mm512_set1_epi8(i8::MIN);
    let mut sums = [_mm512_setzero_ps(); TOKENS];
    for (at, (lines, scales)) in lines.iter().zip(scales).enumerate() {
        let mut dots = tile.map(|blocks| _mm512_set1_epi32(-128 * blocks[at].sum));
        for (index, line) in lines.iter().enumerate() {
            let raised = _mm512_xor_si512(line512(line), flip);
            for token in 0..TOKENS {
                let quad = _mm512_set1_epi32(tile[token][at].quads[index]);
                dots[token] = _mm512_dpbusd_epi32(dots[token], raised, quad);
            }
        }
        let scale = halves512(scales);
        for token in 0..TOKENS {
            let both = _mm512_mul_ps(scale, _mm512_set1_ps(tile[token][at].scale));
            sums[token] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[token]), both, sums[token]);
        }
    }
    sums.map(|sums| store512(sums))
}

/// Half a line: four columns of rows `8 * half ..`.
#[target_feature(enable = "avx2,fma,f16c")]
fn line256(line: &Line, half: usize) -> __m256i {
    // SAFETY: `half` is 0 or 1 (a wrong one panics in the slice), so 32 bytes are readable; no alignment is asked.
    unsafe { _mm256_loadu_si256(line.0[half * 32..][..32].as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn halves256(halves: &[u16]) -> __m256 {
    let halves: &[u16; HALF] = halves.first_chunk().expect("eight half floats");
    // SAFETY: the array is 16 readable bytes; the load asks for no alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(halves.as_ptr().cast()) })
}

#[target_feature(enable = "avx2,fma,f16c")]
fn store256(sums: __m256, out: &mut [f32]) {
    let out: &mut [f32; HALF] = out.first_chunk_mut().expect("room for eight");
    // SAFETY: the array is 32 writable bytes; the store asks for no alignment.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sums) };
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rows4_avx2<const TOKENS: usize>(
    lines: &[[Line; 4]],
    scales: &[[u16; 2 * GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    let tile = tile.map(|blocks| &blocks[..lines.len()]);
    let mut out = [[0.0; GROUP_ROWS]; TOKENS];
    let (nibble, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    for half in 0..2 {
        let mut sums = [_mm256_setzero_ps(); TOKENS];
        for (at, (lines, scales)) in lines.iter().zip(scales).enumerate() {
            // A pair of products is at most 2 * 15 * 127 = 3,810; eight of them, 30,480, still fit 16 bits.
            let mut pairs = [_mm256_setzero_si256(); TOKENS];
            for (index, line) in lines.iter().enumerate() {
                let packed = line256(line, half);
                let low = _mm256_and_si256(packed, nibble);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), nibble);
                for token in 0..TOKENS {
                    let quads = &tile[token][at].quads;
                    let low = _mm256_maddubs_epi16(low, _mm256_set1_epi32(quads[index]));
                    let high = _mm256_maddubs_epi16(high, _mm256_set1_epi32(quads[index + 4]));
                    pairs[token] = _mm256_add_epi16(pairs[token], _mm256_add_epi16(low, high));
                }
            }
            let scale = halves256(&scales[half * HALF..]);
            let minimum = halves256(&scales[GROUP_ROWS + half * HALF..]);
            for token in 0..TOKENS {
                let block = &tile[token][at];
                let dots = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs[token], ones));
                let both = _mm256_mul_ps(scale, _mm256_set1_ps(block.scale));
                sums[token] = _mm256_fmadd_ps(dots, both, sums[token]);
                let weight = _mm256_set1_ps(block.scale * block.sum as f32);
                sums[token] = _mm256_fmadd_ps(minimum, weight, sums[token]);
            }
        }
        for token in 0..TOKENS {
            store256(sums[token], &mut out[token][half * HALF..]);
        }
    }
    out
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rows8_avx2<const TOKENS: usize>(
    lines: &[[Line; 8]],
    scales: &[[u16; GROUP_ROWS]],
    tile: Tile<'_, TOKENS>,
) -> Sums<TOKENS> {
    let tile = tile.map(|blocks| &blocks[..lines.len()]);
    let mut out = [[0.0; GROUP_ROWS]; TOKENS];
    let ones = _mm256_set1_epi16(1);
    for half in 0..2 {
        let mut sums = [_mm256_setzero_ps(); TOKENS];
        for (at, (lines, scales)) in lines.iter().zip(scales).enumerate() {
            let mut dots = [_mm256_setzero_si256(); TOKENS];
            for (index, line) in lines.iter().enumerate() {
                let weights = line256(line, half);
                // |weight| <= 128 and |activation| <= 127: a pair is at most 32,512 and fits 16 bits.
                let size = _mm256_abs_epi8(weights);
                for token in 0..TOKENS {
                    let quad = _mm256_set1_epi32(tile[token][at].quads[index]);
                    let pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(quad, weights));
                    dots[token] = _mm256_add_epi32(dots[token], _mm256_madd_epi16(pairs, ones));
                }
            }
            let scale = halves256(&scales[half * HALF..]);
            for token in 0..TOKENS {
                let both = _mm256_mul_ps(scale, _mm256_set1_ps(tile[token][at].scale));
                sums[token] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[token]), both, sums[token]);
            }
        }
        for token in 0..TOKENS {
            store256(sums[token], &mut out[token][half * HALF..]);
        }
    }
    out
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scores_avx2(query: &[f32], keys: CacheRows<'_>, scores: &mut [f32]) {
    let mut wide = [_mm256_setzero_ps(); HEAD_COLUMNS / HALF];
    for (wide, eight) in wide.iter_mut().zip(query.as_chunks::<HALF>().0) {
        // SAFETY: the array is 32 readable bytes; the load asks for no alignment.
        *wide = unsafe { _mm256_loadu_ps(eight.as_ptr()) };
    }
    for (index, score) in scores.iter_mut().enumerate() {
        let key = keys.row(index, HEAD_COLUMNS);
        let mut sums = [_mm256_setzero_ps(); 2];
        for part in 0..wide.len() {
            sums[part % 2] = _mm256_fmadd_ps(wide[part], halves256(&key[part * HALF..]), sums[part % 2]);
        }
        let sum = _mm256_add_ps(sums[0], sums[1]);
        let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        *score = _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn weighted_sum_avx2(weights: &[f32], values: CacheRows<'_>, out: &mut [f32]) {
    let mut sums = [_mm256_setzero_ps(); HEAD_COLUMNS / HALF];
    for (index, weight) in weights.iter().enumerate() {
        let value = values.row(index, HEAD_COLUMNS);
        let weight = _mm256_set1_ps(*weight);
        for part in 0..sums.len() {
            sums[part] = _mm256_fmadd_ps(weight, halves256(&value[part * HALF..]), sums[part]);
        }
    }
    for (part, sum) in sums.into_iter().enumerate() {
        store256(sum, &mut out[part * HALF..]);
    }
}
