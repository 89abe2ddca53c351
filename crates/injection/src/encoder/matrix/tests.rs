use proptest::prelude::*;

use super::super::kernels::{Level, Work};
use super::*;

/// Columns of the matrices here: some steps, so that excess falls on each of a quad's places.
const COLUMNS: usize = 16;

struct Multiply<'a> {
    matrix: &'a Matrix,
    rows: Vec<f32>,
}

impl Work for Multiply<'_> {
    type Output = Vec<f32>;

    fn run<K: Kernel>(mut self, kernel: K) -> Vec<f32> {
        let count = self.rows.len() / COLUMNS;
        let mut activations = Activations::new(count.next_multiple_of(TILE), COLUMNS);
        activations.take(kernel, self.rows.chunks_exact_mut(COLUMNS), |_| ());
        let mut sums = vec![0; count.next_multiple_of(TILE) * GROUP];
        let mut out = vec![0.0; count * stride(self.matrix.outputs())];
        self.matrix.multiply(kernel, &activations, count, &mut sums, &mut out);
        rows(&mut out, self.matrix.outputs()).flat_map(|row| row.to_vec()).collect()
    }
}

/// Weights of two groups of outputs, many as large as they get.
fn weights(random: &mut fastrand::Rng) -> Vec<i8> {
    let mut weight = || [63, -63, 0, random.i8(-63..=63)][random.usize(..4)];
    (0..2 * GROUP * COLUMNS).map(|_| weight()).collect()
}

proptest! {
    #[test]
    fn a_product_is_that_of_the_given_weights_at_every_level(count in 1_usize..11, seed in any::<u64>()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let weights = weights(&mut random);
        let rows: Vec<f32> = (0..count * COLUMNS).map(|_| random.f32() * 8.0 - 3.0).collect();
        let outputs = weights.len() / COLUMNS;
        let scales: Vec<f32> = (0..outputs).map(|output| 0.01 + output as f32 / 1e4).collect();
        let biases: Vec<f32> = (0..outputs).map(|output| output as f32 / 10.0 - 3.0).collect();
        let matrix = Matrix::pack(&weights, COLUMNS, scales.clone(), biases.clone());
        let portable = Level::PORTABLE.run(Multiply { matrix: &matrix, rows: rows.clone() });
        for level in Level::available() {
            prop_assert_eq!(&level.run(Multiply { matrix: &matrix, rows: rows.clone() }), &portable, "{}", level.name());
        }
        let mut at = portable.iter();
        for row in rows.chunks(COLUMNS) {
            for output in 0..outputs {
                let pairs = weights[output * COLUMNS..][..COLUMNS].iter().zip(row);
                let exact = pairs.map(|(&weight, value)| f64::from(weight) * f64::from(*value)).sum::<f64>();
                let exact = exact * f64::from(scales[output]) + f64::from(biases[output]);
                // A value is off by half a step of 8 / 255 at most, in the worst case all of them the same way.
                let most = COLUMNS as f64 * 63.0 * f64::from(scales[output]) * (4.0 / 255.0) + 1e-3;
                let got = f64::from(*at.next().expect("a value an output"));
                prop_assert!((got - exact).abs() <= most, "{got} for {exact}");
            }
        }
    }

    #[test]
    fn panels_keep_to_what_the_kernels_ask_for(seed in any::<u64>()) {
        let weights = weights(&mut fastrand::Rng::with_seed(seed));
        let outputs = weights.len() / COLUMNS;
        let matrix = Matrix::pack(&weights, COLUMNS, vec![1.0; outputs], vec![0.0; outputs]);
        for [first, second] in matrix.panels.as_chunks::<2>().0 {
            for (a, b) in first.0.iter().zip(&second.0) {
                for half in [0, 2] {
                    let four = [a[half], a[half + 1], b[half], b[half + 1]].map(|weight| i32::from(weight as i8));
                    let positive: i32 = four.iter().filter(|&&weight| weight > 0).sum();
                    let negative: i32 = four.iter().filter(|&&weight| weight < 0).sum();
                    prop_assert!(positive <= FOUR_MAX && -negative <= FOUR_MAX, "{four:?}");
                }
            }
        }
    }
}
