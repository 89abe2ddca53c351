//! The kernels in plain Rust, correct on every processor.

use super::{Kernel, LANES, Line, Quad, TILE, Tile};

/// The kernels that need nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
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
}

#[inline(always)]
fn multiply(rows: &[Tile], steps: usize, panels: &[Line], sums: &mut [i32], product: impl Fn(Quad, Quad) -> i32) {
    let width = panels.len() / steps * LANES;
    for (tile, sums) in rows.chunks_exact(steps).zip(sums.chunks_exact_mut(TILE * width)) {
        for (row, sums) in sums.chunks_exact_mut(width).enumerate() {
            for (panel, sums) in panels.chunks_exact(steps).zip(sums.as_chunks_mut::<LANES>().0) {
                *sums = [0; LANES];
                for (quads, line) in tile.iter().zip(panel) {
                    for lane in 0..LANES {
                        sums[lane] = sums[lane].wrapping_add(product(quads[row], line.0[lane]));
                    }
                }
            }
        }
    }
}
