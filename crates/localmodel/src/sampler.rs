//! From logits to the next token.
//!
//! Promises: temperature 0 takes the likeliest token; otherwise the same seed and the same logits give the same token;
//! the nucleus of `top_p` is exact.

use std::collections::HashMap;

use crate::forward::exp;

/// How a request wants tokens chosen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sampling {
    pub(crate) temperature: f32,
    pub(crate) top_p: f32,
    pub(crate) presence_penalty: f32,
    pub(crate) frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub(crate) bias: Vec<(u32, f32)>,
}

/// One choice's state.
#[derive(Debug)]
pub(crate) struct Sampler {
    random: fastrand::Rng,
    /// How often each token was generated in this choice.
    counts: HashMap<u32, u32>,
}

impl Sampler {
    /// The sampler of one of a request's choices.
    pub(crate) fn new(seed: u64, choice: usize) -> Sampler {
        // Another constant for each choice (the golden ratio's bits), so that their streams differ.
        let seed = seed.wrapping_add((choice as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Sampler { random: fastrand::Rng::with_seed(seed), counts: HashMap::new() }
    }

    /// Chooses the next token; `logits` are changed.
    pub(crate) fn choose(&mut self, logits: &mut [f32], sampling: &Sampling) -> u32 {
        for (token, bias) in &sampling.bias {
            logits[*token as usize] += bias;
        }
        for (token, count) in &self.counts {
            logits[*token as usize] -= sampling.presence_penalty + sampling.frequency_penalty * *count as f32;
        }
        let token = if sampling.temperature <= 0.0 { likeliest(logits) } else { self.draw(logits, sampling) };
        *self.counts.entry(token).or_default() += 1;
        token
    }

    fn draw(&mut self, logits: &mut [f32], sampling: &Sampling) -> u32 {
        let largest = logits[likeliest(logits) as usize];
        let inverse = 1.0 / sampling.temperature;
        for logit in logits.iter_mut() {
            *logit = exp((*logit - largest) * inverse);
        }
        let weights = logits;
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let random = self.random.f64();
        if sampling.top_p >= 1.0 {
            return pick(weights.iter().copied().enumerate(), random * total);
        }
        // Tokens at or below this weight together weigh at most (1 - top_p) of the total: the nucleus is full before
        // it reaches them, so they need no sorting.
        let floor = (1.0 - f64::from(sampling.top_p)) * total / weights.len() as f64;
        let mut nucleus: Vec<(usize, f32)> =
            weights.iter().copied().enumerate().filter(|(_, weight)| f64::from(*weight) > floor).collect();
        nucleus.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let wanted = f64::from(sampling.top_p) * total;
        let mut kept = 0.0;
        let count = nucleus.iter().take_while(|(_, weight)| {
            let needed = kept < wanted;
            kept += if needed { f64::from(*weight) } else { 0.0 };
            needed
        });
        let count = count.count().max(1);
        nucleus.truncate(count);
        pick(nucleus.into_iter(), random * kept)
    }
}

/// The first token at which the weights, added up, pass `threshold`.
fn pick(weights: impl Iterator<Item = (usize, f32)>, threshold: f64) -> u32 {
    let mut sum = 0.0;
    let mut last = 0;
    for (token, weight) in weights {
        sum += f64::from(weight);
        if weight > 0.0 {
            last = token;
            if sum > threshold {
                break;
            }
        }
    }
    last as u32
}

/// The token of the largest logit, the first of equals.
pub(crate) fn likeliest(logits: &[f32]) -> u32 {
    // The value first: that loop is vector code, the search behind it ends early.
    let largest = logits.iter().fold(f32::NEG_INFINITY, |largest, logit| largest.max(*logit));
    logits.iter().position(|logit| *logit == largest).unwrap_or(0) as u32
}

/// Log probabilities of a token and of the `top` likeliest, under the model's own distribution.
pub(crate) fn log_probabilities(logits: &[f32], token: u32, top: usize) -> (f32, Vec<(u32, f32)>) {
    let largest = logits[likeliest(logits) as usize];
    let total: f64 = logits.iter().map(|logit| f64::from(exp(logit - largest))).sum();
    let base = largest + total.ln() as f32;
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top, by_logit);
    }
    order.truncate(top);
    order.sort_unstable_by(by_logit);
    let top = order.into_iter().map(|token| (token, logits[token as usize] - base)).collect();
    (logits[token as usize] - base, top)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sampling =
        Sampling { temperature: 1.0, top_p: 1.0, presence_penalty: 0.0, frequency_penalty: 0.0, bias: Vec::new() };

    fn shares(sampling: &Sampling, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(7, 0);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            sampler.counts.clear();
            counts[sampler.choose(&mut logits.to_vec(), sampling) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn tokens_come_as_often_as_their_probability_says() {
        let logits = [0.6_f32.ln(), 0.3_f32.ln(), 0.1_f32.ln()];
        for (share, wanted) in shares(&PLAIN, &logits).into_iter().zip([0.6, 0.3, 0.1]) {
            assert!((share - wanted).abs() < 0.02, "{share} instead of {wanted}");
        }
        // At temperature 0.5 probabilities are squared: 36 : 9 : 1.
        let cold = shares(&Sampling { temperature: 0.5, ..PLAIN }, &logits);
        assert!((cold[0] - 36.0 / 46.0).abs() < 0.02 && (cold[2] - 1.0 / 46.0).abs() < 0.01);
    }

    #[test]
    fn the_nucleus_is_the_smallest_set_that_reaches_top_p() {
        let logits = [0.1_f32.ln(), 0.6_f32.ln(), 0.3_f32.ln()];
        let nucleus = shares(&Sampling { top_p: 0.7, ..PLAIN }, &logits);
        assert!(nucleus[0] == 0.0 && (nucleus[1] - 2.0 / 3.0).abs() < 0.02);
        assert_eq!(shares(&Sampling { top_p: 0.5, ..PLAIN }, &logits)[1].round(), 1.0, "one token is enough");
        assert_eq!(shares(&Sampling { top_p: 0.0, ..PLAIN }, &logits)[1].round(), 1.0, "one token is always left");
    }

    #[test]
    fn the_seed_decides_and_choices_differ() {
        let logits: Vec<f32> = (0..64).map(|at| (at % 7) as f32 / 3.0).collect();
        let draw = |seed, choice| {
            let mut sampler = Sampler::new(seed, choice);
            (0..32).map(|_| sampler.choose(&mut logits.clone(), &PLAIN)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(2, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
    }

    #[test]
    fn bias_and_penalties_move_the_choice() {
        let greedy = Sampling { temperature: 0.0, ..PLAIN };
        let logits = [1.0, 0.9, 0.0];
        let first = |sampling: &Sampling| Sampler::new(0, 0).choose(&mut logits.to_vec(), sampling);
        assert_eq!(first(&greedy), 0);
        assert_eq!(first(&Sampling { bias: vec![(2, 100.0)], ..greedy.clone() }), 2);
        assert_eq!(first(&Sampling { bias: vec![(0, -100.0)], ..greedy.clone() }), 1);
        let mut sampler = Sampler::new(0, 0);
        let penalised = Sampling { presence_penalty: 0.5, ..greedy.clone() };
        let chosen: Vec<u32> = (0..3).map(|_| sampler.choose(&mut logits.to_vec(), &penalised)).collect();
        assert_eq!(chosen, [0, 1, 0]);
        let mut sampler = Sampler::new(0, 0);
        let penalised = Sampling { frequency_penalty: 0.4, ..greedy };
        let chosen: Vec<u32> = (0..6).map(|_| sampler.choose(&mut logits.to_vec(), &penalised)).collect();
        assert_eq!(chosen, [0, 1, 0, 1, 0, 1], "each use costs again");
    }

    #[test]
    fn log_probabilities_are_those_of_the_softmax() {
        let logits = [0.5_f32.ln() + 3.0, 0.2_f32.ln() + 3.0, 0.3_f32.ln() + 3.0];
        let (own, top) = log_probabilities(&logits, 1, 2);
        assert!((own - 0.2_f32.ln()).abs() < 1e-5);
        assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [0, 2]);
        assert!((top[0].1 - 0.5_f32.ln()).abs() < 1e-5);
        assert_eq!(log_probabilities(&logits, 0, 5).1.len(), 3);
    }
}
