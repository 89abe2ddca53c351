use super::super::kernels::{Level, Work};
use super::*;

/// A function of sixteen values a time, at the portable level: the others are held against it elsewhere.
struct Row<F>(Vec<f32>, F);

/// What is computed.
#[derive(Clone, Copy)]
enum Function {
    Exp2,
    Gelu,
    Normalise,
}

impl Work for Row<Function> {
    type Output = Vec<f32>;

    fn run<K: Kernel>(mut self, kernel: K) -> Vec<f32> {
        match self.1 {
            Function::Exp2 => {
                for chunk in self.0.as_chunks_mut().0 {
                    kernel.store(exp2(kernel, kernel.load(chunk)), chunk);
                }
            }
            Function::Gelu => gelu(kernel, &mut self.0),
            Function::Normalise => {
                let (ones, zeros) = (vec![1.0; self.0.len()], vec![0.0; self.0.len()]);
                normalise(kernel, &mut self.0, &ones, &zeros);
            }
        }
        self.0
    }
}

/// The same bits at every level; returned once.
fn at_every_level(row: &[f32], function: Function) -> Vec<f32> {
    let portable = Level::PORTABLE.run(Row(row.to_vec(), function));
    for level in Level::available() {
        let other = level.run(Row(row.to_vec(), function));
        assert!(other.iter().zip(&portable).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", level.name());
    }
    portable
}

#[test]
fn exp2_is_good_to_three_parts_in_a_million_and_vanishes() {
    let row: Vec<f32> = (0..16_000).map(|at| at as f32 / -125.0).collect();
    for (x, power) in row.iter().zip(at_every_level(&row, Function::Exp2)) {
        let exact = f64::from(*x).exp2();
        assert!((f64::from(power) - exact).abs() <= exact * 3e-6 + 2e-38, "2^{x} is {power}");
    }
    assert_eq!(at_every_level(&[0.0; LANES], Function::Exp2), [1.0; LANES]);
}

#[test]
fn gelu_is_good_to_a_hundred_thousandth() {
    let row: Vec<f32> = (-16_000..16_000).map(|at| at as f32 / 1000.0).collect();
    for (x, got) in row.iter().zip(at_every_level(&row, Function::Gelu)) {
        let exact = f64::from(*x) * normal_distribution(f64::from(*x));
        let most = 2e-5 * f64::from(x.abs()).max(0.5);
        assert!((f64::from(got) - exact).abs() <= most, "{x}: {got} for {exact}");
    }
}

/// Φ by its Taylor series, good for the sizes here.
fn normal_distribution(x: f64) -> f64 {
    if x.abs() > 7.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term) = (0.0, x);
    for at in 0..200 {
        sum += term / f64::from(2 * at + 1);
        term *= -x * x / (2.0 * f64::from(at + 1));
    }
    0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
}

#[test]
fn a_normalised_row_has_mean_0_and_variance_1() {
    let row: Vec<f32> = (0..384).map(|at| (at * 37 % 101) as f32 - 20.0).collect();
    let row = at_every_level(&row, Function::Normalise);
    let mean = row.iter().sum::<f32>() / 384.0;
    let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / 384.0;
    assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
}

struct Quantise(Vec<f32>);

impl Work for Quantise {
    type Output = (Scale, Vec<u8>);

    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let mut bytes = vec![0; self.0.len()];
        (quantise(kernel, &self.0, &mut bytes), bytes)
    }
}

proptest::proptest! {
    #[test]
    fn bytes_are_within_half_a_step(row in proptest::collection::vec(-100.0_f32..100.0, 32)) {
        let (scale, bytes) = Level::PORTABLE.run(Quantise(row.clone()));
        for level in Level::available() {
            assert_eq!(level.run(Quantise(row.clone())), (scale, bytes.clone()), "{}", level.name());
        }
        for (byte, value) in bytes.iter().zip(&row) {
            let back = scale.low + scale.step * f32::from(*byte);
            assert!((back - value).abs() <= scale.step * 0.501 + 1e-5, "{back} for {value}");
        }
    }
}

#[test]
fn a_row_of_one_value_keeps_it() {
    let (scale, bytes) = Level::PORTABLE.run(Quantise(vec![2.5; 32]));
    assert_eq!((scale.low, scale.step, bytes[0]), (2.5, 0.0, 0));
}
