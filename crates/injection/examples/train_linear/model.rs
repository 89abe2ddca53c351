//! Logistic regression over hashed features, by follow-the-regularised-leader: one pass after the other, each weight with
//! its own step, small ones held at zero.

use injection::linear::{Sink, TABLE_LEN, features, write};

use crate::rows::Example;

const PASSES: usize = 3;
/// Step size, and the penalties on the size of weights and on their squares.
const STEP: f32 = 0.25;
const PENALTY: f32 = 0.1;
const PENALTY_SQUARE: f32 = 1.0;
/// How much less freely the difference between channels is learned than what they share.
const DIFFERENCE: f32 = 0.7;
/// What the text's log-odds lose for each doubling of its windows.
const DOUBLING: f32 = 0.3;

#[derive(Clone, Copy, Default)]
struct Weight {
    z: f32,
    n: f32,
}

impl Weight {
    #[inline]
    fn value(self) -> f32 {
        if self.z.abs() <= PENALTY {
            return 0.0;
        }
        -(self.z - PENALTY.copysign(self.z)) / ((1.0 + self.n.sqrt()) / STEP + PENALTY_SQUARE)
    }

    #[inline]
    fn learn(&mut self, gradient: f32) {
        let square = gradient * gradient;
        let sigma = ((self.n + square).sqrt() - self.n.sqrt()) / STEP;
        self.z += gradient - sigma * self.value();
        self.n += square;
    }
}

/// Weights that are shared by the channels, and half the difference between them.
pub(crate) struct Model {
    shared: Vec<Weight>,
    difference: Vec<Weight>,
    bias: f32,
    bias_difference: f32,
}

struct Hashes(Vec<u32>);

impl Sink for Hashes {
    fn feature(&mut self, hash: u32) {
        self.0.push(hash % TABLE_LEN as u32);
    }
}

impl Model {
    /// Trains on the examples in an order drawn anew each pass.
    pub(crate) fn trained(examples: &[Example]) -> Model {
        let mut model = Model {
            shared: vec![Weight::default(); TABLE_LEN],
            difference: vec![Weight::default(); TABLE_LEN],
            bias: 0.0,
            bias_difference: 0.0,
        };
        let mut order: Vec<usize> = (0..examples.len()).collect();
        let mut random = fastrand::Rng::with_seed(41);
        let mut hashes = Hashes(Vec::new());
        for pass in 0..PASSES {
            random.shuffle(&mut order);
            for &index in &order {
                model.learn(&examples[index], 0.05 / (1.0 + pass as f32), &mut hashes);
            }
        }
        model
    }

    fn learn(&mut self, example: &Example, bias_step: f32, hashes: &mut Hashes) {
        hashes.0.clear();
        features(&example.text, hashes);
        let sign = if example.untrusted { 1.0 } else { -1.0 };
        let each = 1.0 / (hashes.0.len().max(1) as f32).sqrt();
        let mut sum = 0.0;
        for &hash in &hashes.0 {
            sum += self.shared[hash as usize].value() + sign * DIFFERENCE * self.difference[hash as usize].value();
        }
        let log_odds = sum * each + self.bias + sign * self.bias_difference;
        let error = (1.0 / (1.0 + (-log_odds).exp()) - f32::from(u8::from(example.attack))) * example.weight;
        self.bias -= bias_step * error;
        self.bias_difference -= bias_step * error * sign;
        let gradient = error * each;
        for &hash in &hashes.0 {
            self.shared[hash as usize].learn(gradient);
            self.difference[hash as usize].learn(gradient * sign * DIFFERENCE);
        }
    }

    /// The weights as a file.
    pub(crate) fn to_file(&self, low: f32, high: f32) -> Vec<u8> {
        let table = |sign: f32| -> Vec<f32> {
            self.shared
                .iter()
                .zip(&self.difference)
                .map(|(shared, other)| shared.value() + sign * DIFFERENCE * other.value())
                .collect()
        };
        let (trusted, untrusted) = (table(-1.0), table(1.0));
        // The few largest weights are cut so that the many small ones keep their differences.
        let mut sizes: Vec<f32> =
            trusted.iter().chain(&untrusted).map(|weight| weight.abs()).filter(|size| *size > 0.0).collect();
        sizes.sort_by(f32::total_cmp);
        let largest = sizes.get(sizes.len() * 9995 / 10_000).copied().unwrap_or(1.0).max(f32::MIN_POSITIVE);
        let scale = largest / 127.0;
        let bytes = |table: &[f32]| -> Vec<i8> {
            table.iter().map(|weight| (weight / scale).round().clamp(-127.0, 127.0) as i8).collect()
        };
        let (plain, data) = (self.bias - self.bias_difference, self.bias + self.bias_difference);
        write([scale, DOUBLING, plain, plain, data, plain, low, high], &bytes(&trusted), &bytes(&untrusted))
    }
}
