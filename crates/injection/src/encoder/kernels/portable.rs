//! The kernels in plain Rust, correct on every processor.

use super::{Kernel, LANES, Line, Quad, TILE, Tile};

/// The kernels that need nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
    type Reals = Reals;

    fn bytes(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        multiply(rows, steps, panels, sums, |row, weights| {
            // A product is at most 255 * 63 in size, four of them 64,260: no sum overflows.
            (0..4).map(|at| i32::from(row[at]).wrapping_mul(i32::from(weights[at] as i8))).sum()
        });
    }

    fn halves(self, rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32]) {
        let both = |quad: Quad| [i16::from_le_bytes([quad[0], quad[1]]), i16::from_le_bytes([quad[2], quad[3]])];
        multiply(rows, steps, panels, sums, |row, cells| {
            let ([a, b], [c, d]) = (both(row), both(cells));
            i32::from(a).wrapping_mul(i32::from(c)).wrapping_add(i32::from(b).wrapping_mul(i32::from(d)))
        });
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Reals {
        *from
    }

    #[inline(always)]
    fn store(self, reals: Reals, to: &mut [f32; LANES]) {
        *to = reals;
    }

    #[inline(always)]
    fn spread(self, real: f32) -> Reals {
        [real; LANES]
    }

    #[inline(always)]
    fn of_integers(self, integers: &[i32; LANES]) -> Reals {
        integers.map(|integer| integer as f32)
    }

    #[inline(always)]
    fn add(self, a: Reals, b: Reals) -> Reals {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn subtract(self, a: Reals, b: Reals) -> Reals {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn multiply(self, a: Reals, b: Reals) -> Reals {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn smaller(self, a: Reals, b: Reals) -> Reals {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn larger(self, a: Reals, b: Reals) -> Reals {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn shifted(self, a: Reals, add: i32) -> Reals {
        a.map(|a| f32::from_bits(a.to_bits().wrapping_add(add as u32) << 23))
    }

    #[inline(always)]
    fn low_bytes(self, a: Reals) -> [u8; LANES] {
        a.map(|a| a.to_bits() as u8)
    }

    #[inline(always)]
    fn low_halves(self, a: Reals) -> [i16; LANES] {
        a.map(|a| a.to_bits() as i16)
    }
}

type Reals = [f32; LANES];

#[inline(always)]
fn each(mut a: Reals, b: Reals, operation: impl Fn(f32, f32) -> f32) -> Reals {
    for lane in 0..LANES {
        a[lane] = operation(a[lane], b[lane]);
    }
    a
}

#[inline(always)]
fn multiply(rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32], product: impl Fn(Quad, Quad) -> i32) {
    let width = panels.len() / steps * LANES;
    for (tile, sums) in rows.chunks_exact(steps).zip(sums.chunks_exact_mut(TILE * width)) {
        for (row, sums) in sums.chunks_exact_mut(width).enumerate() {
            for (panel, sums) in panels.chunks_exact(steps).zip(sums.as_chunks_mut::<LANES>().0) {
                *sums = [0; LANES];
                for (quads, line) in tile.iter().zip(panel) {
                    for (sum, weights) in sums.iter_mut().zip(line.0) {
                        *sum = sum.wrapping_add(product(quads[row], weights));
                    }
                }
            }
        }
    }
}
