use proptest::prelude::*;
use safetensors::SafeTensors;

use super::*;

#[path = "made_up.rs"]
mod made_up;

fn ids(count: usize) -> Vec<u32> {
    (0..count as u32).map(|index| index * 31 % 200).collect()
}

/// The whole of an output, as bits.
fn bits(output: Output<'_>) -> Vec<u32> {
    [&output.window[..], output.tokens, output.hidden].concat().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_level_gives_the_same_bits_and_a_scratch_remembers_nothing() {
    let file = made_up::file(2, 200, 5);
    let mut scratch = Scratch::default();
    let encoders: Vec<Encoder> =
        Level::available().into_iter().map(|level| Encoder::parse(file.clone()).unwrap().at(level)).collect();
    for count in [128, 3, 4, 5, 17, 65] {
        let channel = (count % 2 == 0).then_some(Channel::Untrusted);
        let wanted = bits(encoders[0].run(&mut Scratch::default(), &ids(count), channel));
        for encoder in &encoders {
            let got = bits(encoder.run(&mut scratch, &ids(count), channel));
            assert!(got == wanted, "{count} at {}", encoder.level().name());
        }
    }
}

#[test]
fn the_channel_matters() {
    let encoder = Encoder::parse(made_up::file(1, 200, 5)).unwrap();
    let mut windows: Vec<_> = [None]
        .into_iter()
        .chain(Channel::ALL.map(Some))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|channel| encoder.run(&mut Scratch::default(), &ids(9), channel).window.map(f32::to_bits))
        .collect();
    windows.sort_unstable();
    windows.dedup();
    assert_eq!(windows.len(), CHANNELS);
}

/// The encoder in 64 bits, with the file's weights.
struct Exact<'a>(SafeTensors<'a>);

impl Exact<'_> {
    fn reals(&self, name: &str) -> Vec<f64> {
        let cells = self.0.tensor(name).unwrap().data().as_chunks::<4>().0;
        cells.iter().map(|cell| f64::from(f32::from_le_bytes(*cell))).collect()
    }

    /// A quantised matrix times a row.
    fn dense(&self, name: &str, row: &[f64]) -> Vec<f64> {
        let tensor = self.0.tensor(&format!("{name}.weight")).unwrap();
        let (scales, biases) = (self.reals(&format!("{name}.scale")), self.reals(&format!("{name}.bias")));
        let rows = tensor.data().chunks(row.len()).zip(scales.iter().zip(&biases));
        rows.map(|(weights, (scale, bias))| {
            weights.iter().zip(row).map(|(&weight, value)| f64::from(weight as i8) * value).sum::<f64>() * scale + bias
        })
        .collect()
    }

    fn norm(&self, name: &str, row: &mut [f64]) {
        let (weight, bias) = (self.reals(&format!("{name}.weight")), self.reals(&format!("{name}.bias")));
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / row.len() as f64;
        for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
            *value = (*value - mean) / variance.sqrt() * weight + bias;
        }
    }

    fn hidden(&self, layers: usize, ids: &[u32]) -> Vec<Vec<f64>> {
        let (positions, channels) = (self.reals("embed.positions"), self.reals("embed.channel"));
        let (words, scales) = (self.0.tensor("embed.words").unwrap(), self.reals("embed.words.scale"));
        let mut states: Vec<Vec<f64>> = Vec::new();
        for (at, &id) in ids.iter().enumerate() {
            let word = &words.data()[id as usize * HIDDEN..][..HIDDEN];
            let mut row: Vec<f64> = (0..HIDDEN)
                .map(|column| {
                    let word = f64::from(word[column] as i8) * scales[id as usize];
                    word + positions[at * HIDDEN + column] + channels[4 * HIDDEN + column]
                })
                .collect();
            self.norm("embed.norm", &mut row);
            states.push(row);
        }
        for layer in 0..layers {
            self.layer(&format!("layer.{layer}"), &mut states);
        }
        states
    }

    fn layer(&self, name: &str, states: &mut [Vec<f64>]) {
        let dense = |what: &str, states: &[Vec<f64>]| -> Vec<Vec<f64>> {
            states.iter().map(|row| self.dense(&format!("{name}.{what}"), row)).collect()
        };
        let (queries, keys, values) = (dense("q", states), dense("k", states), dense("v", states));
        let mut mixed = vec![vec![0.0; HIDDEN]; states.len()];
        for head in (0..HIDDEN).step_by(HEAD) {
            for (query, mixed) in queries.iter().zip(&mut mixed) {
                let score = |key: &Vec<f64>| (head..head + HEAD).map(|at| query[at] * key[at]).sum::<f64>();
                let weights: Vec<f64> = keys.iter().map(|key| (score(key) / (HEAD as f64).sqrt()).exp()).collect();
                let total: f64 = weights.iter().sum();
                for at in head..head + HEAD {
                    mixed[at] =
                        weights.iter().zip(&values).map(|(weight, value)| weight * value[at]).sum::<f64>() / total;
                }
            }
        }
        for ((state, row), norm) in states.iter_mut().zip(dense("o", &mixed)).zip(std::iter::repeat("norm1")) {
            state.iter_mut().zip(row).for_each(|(state, row)| *state += row);
            self.norm(&format!("{name}.{norm}"), state);
        }
        let mut middle = dense("up", states);
        for value in middle.iter_mut().flatten() {
            // The tanh form, within 5e-4 of the exact one.
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (*value + 0.044715 * value.powi(3));
            *value *= 0.5 * (1.0 + inner.tanh());
        }
        for (state, row) in states.iter_mut().zip(dense("down", &middle)) {
            state.iter_mut().zip(row).for_each(|(state, row)| *state += row);
            self.norm(&format!("{name}.norm2"), state);
        }
    }
}

#[test]
fn hidden_states_are_those_of_64_bits_but_for_the_rounding_of_activations() {
    let file = made_up::file(2, 200, 7);
    let encoder = Encoder::parse(file.clone()).unwrap();
    let exact = Exact(SafeTensors::deserialize(&file).unwrap());
    let mut scratch = Scratch::default();
    let output = encoder.run(&mut scratch, &ids(21), None);
    let wanted = exact.hidden(2, &ids(21));
    for (row, wanted) in output.hidden.chunks(HIDDEN).zip(&wanted) {
        let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = product(&row, wanted) / (product(&row, &row) * product(wanted, wanted)).sqrt();
        assert!(cosine > 0.999, "{cosine}");
    }
    // The heads, over the encoder's own hidden states.
    let weight = exact.reals("head.token.weight");
    for (row, token) in output.hidden.chunks(HIDDEN).zip(output.tokens) {
        let sum: f64 = row.iter().zip(&weight).map(|(value, weight)| f64::from(*value) * weight).sum();
        assert!((sum + exact.reals("head.token.bias")[0] - f64::from(*token)).abs() < 1e-4);
    }
    let between: Vec<&[f32]> = output.hidden.chunks(HIDDEN).skip(1).take(19).collect();
    let mut pooled: Vec<f64> = output.hidden[..HIDDEN].iter().map(|value| f64::from(*value)).collect();
    let column = |at: usize| between.iter().map(move |row| f64::from(row[at]));
    pooled.extend((0..HIDDEN).map(|at| column(at).sum::<f64>() / 19.0));
    pooled.extend((0..HIDDEN).map(|at| column(at).fold(f64::MIN, f64::max)));
    let (weights, biases) = (exact.reals("head.window.weight"), exact.reals("head.window.bias"));
    for ((weights, bias), got) in weights.chunks(3 * HIDDEN).zip(biases).zip(output.window) {
        let sum: f64 = weights.iter().zip(&pooled).map(|(weight, value)| weight * value).sum();
        assert!((sum + bias - f64::from(got)).abs() < 1e-3);
    }
}

/// A made-up file with other tensors and another metadata.
fn changed(change: impl Fn(&str, &mut Vec<usize>, &mut Vec<u8>) -> bool, metadata: [(&str, &str); 3]) -> Vec<u8> {
    static FILE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| made_up::file(1, 50, 1));
    let tensors = SafeTensors::deserialize(&FILE).unwrap();
    let mut kept = Vec::new();
    for (name, view) in tensors.iter() {
        let (mut shape, mut cells) = (view.shape().to_vec(), view.data().to_vec());
        if change(name, &mut shape, &mut cells) {
            kept.push((name.to_string(), view.dtype(), shape, cells));
        }
    }
    let views = kept.iter().map(|(name, dtype, shape, cells)| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), cells).unwrap())
    });
    let metadata = metadata.map(|(name, value)| (name.to_string(), value.to_string())).into();
    safetensors::serialize(views, Some(metadata)).unwrap()
}

const METADATA: [(&str, &str); 3] = [("layers", "1"), ("heads", "12"), ("format", "1")];

#[test]
fn a_file_without_a_tensor_or_with_another_shape_is_refused_by_name() {
    let file = made_up::file(1, 50, 1);
    for name in SafeTensors::deserialize(&file).unwrap().names() {
        let missing = changed(|other, _, _| other != name, METADATA);
        assert!(matches!(Encoder::parse(missing), Err(FileError::Tensor(_))), "{name}");
        let flat = |other: &str, shape: &mut Vec<usize>, _: &mut Vec<u8>| {
            if other == name {
                shape.insert(0, 1);
            }
            true
        };
        assert!(matches!(Encoder::parse(changed(flat, METADATA)), Err(FileError::Tensor(_))), "{name}");
    }
    assert!(Encoder::parse(changed(|_, _, _| true, METADATA)).is_ok());
}

#[test]
fn weights_that_would_overflow_and_numbers_that_are_none_are_refused() {
    for (name, bytes) in [("layer.0.up.weight", vec![64]), ("head.window.bias", f32::NAN.to_le_bytes().to_vec())] {
        let file = changed(
            |other, _, cells| {
                if other == name {
                    cells[..bytes.len()].copy_from_slice(&bytes);
                }
                true
            },
            METADATA,
        );
        assert!(matches!(Encoder::parse(file), Err(FileError::Value(found)) if found == name));
    }
}

#[test]
fn another_format_is_refused() {
    for (at, value) in [(0, "0"), (0, "13"), (0, "many"), (1, "6"), (2, "2")] {
        let mut metadata = METADATA;
        metadata[at].1 = value;
        let refused = Encoder::parse(changed(|_, _, _| true, metadata));
        assert!(matches!(refused, Err(FileError::Metadata(name)) if name == metadata[at].0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_broken_file_is_an_error(cut in any::<prop::sample::Index>(), at in 0_usize..4000, byte in any::<u8>()) {
        static FILE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| made_up::file(1, 3, 1));
        let mut file = FILE.clone();
        file[at] = byte;
        let _ = Encoder::parse(file.clone());
        file.truncate(cut.index(file.len()));
        prop_assert!(Encoder::parse(file).is_err());
    }
}
