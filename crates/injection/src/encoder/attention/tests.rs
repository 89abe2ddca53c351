use super::super::kernels::{Level, Work};
use super::*;

struct Attend(Vec<f32>);

impl Work for Attend {
    type Output = Vec<f32>;

    fn run<K: Kernel>(self, kernel: K) -> Vec<f32> {
        let count = self.0.len() / STRIDE;
        let mut out = vec![0.0; count * stride(HIDDEN)];
        let mut heads = Heads::default();
        // What an earlier window left must not matter.
        heads.values.fill(Line([[9; 4]; LANES]));
        heads.keys.fill(Line([[9; 4]; LANES]));
        heads.weights.fill([[9; 4]; TILE]);
        heads.attend(kernel, &self.0, &mut out);
        out
    }
}

/// Attention in 64 bits.
fn exact(rows: &[f32]) -> Vec<f32> {
    let rows: Vec<&[f32]> = rows.chunks(STRIDE).collect();
    let mut out = vec![0.0; rows.len() * stride(HIDDEN)];
    for (row, out) in rows.iter().zip(out.chunks_mut(stride(HIDDEN))) {
        for head in 0..HEADS {
            let part = |row: &[f32], which: usize| -> Vec<f64> {
                row[which * HIDDEN + head * HEAD..][..HEAD].iter().map(|value| f64::from(*value)).collect()
            };
            let query = part(row, 0);
            let score = |other: &[f32]| query.iter().zip(part(other, 1)).map(|(a, b)| a * b).sum::<f64>();
            let weights: Vec<f64> = rows.iter().map(|other| (score(other) / (HEAD as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            for column in 0..HEAD {
                let mixed = rows.iter().zip(&weights).map(|(other, weight)| part(other, 2)[column] * weight);
                out[head * HEAD + column] = (mixed.sum::<f64>() / total) as f32;
            }
        }
    }
    out
}

#[test]
fn attention_is_that_of_64_bits_to_a_thousandth_whatever_the_length() {
    let mut random = fastrand::Rng::with_seed(3);
    for count in [3, 4, 15, 16, 17, 33, 64, 127, 128] {
        let rows: Vec<f32> = (0..count * STRIDE).map(|_| random.f32() * 4.0 - 2.0).collect();
        let portable = Level::PORTABLE.run(Attend(rows.clone()));
        for level in Level::available() {
            assert_eq!(level.run(Attend(rows.clone())), portable, "{count} at {}", level.name());
        }
        for (got, exact) in portable.iter().zip(exact(&rows)) {
            assert!((got - exact).abs() < 2e-3, "{count}: {got} for {exact}");
        }
    }
}

#[test]
fn rows_of_zeros_attend_evenly() {
    let mut rows = vec![0.0; 5 * STRIDE];
    for (index, row) in rows.chunks_mut(STRIDE).enumerate() {
        row[2 * HIDDEN..3 * HIDDEN].fill(index as f32);
    }
    for row in Level::PORTABLE.run(Attend(rows)).chunks(stride(HIDDEN)) {
        assert!(row[..HIDDEN].iter().all(|value| (value - 2.0).abs() < 1e-3));
    }
}
