//! Made-up encoder files, for tests and the speed example.

use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A file of that many layers and words. Weights are drawn like those of trained models: most of them small, the
/// largest of each row at the bound.
pub(crate) fn file(layers: usize, words: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    // About normally distributed, within three deviations.
    let normals = (0..NORMALS).map(|_| (0..12).map(|_| random.f32()).sum::<f32>().clamp(3.0, 9.0) - 6.0).collect();
    let mut made = MadeUp { random, normals, tensors: Vec::new() };
    made.bytes("embed.words", &[words, 384], 127.0);
    made.reals("embed.words.scale", &[words], 0.001, 0.0002);
    made.reals("embed.positions", &[128, 384], 0.0, 0.02);
    made.reals("embed.channel", &[5, 384], 0.0, 0.02);
    made.norm("embed.norm");
    for layer in 0..layers {
        for (name, outputs, columns) in
            [("q", 384, 384), ("k", 384, 384), ("v", 384, 384), ("o", 384, 384), ("up", 1536, 384), ("down", 384, 1536)]
        {
            let name = format!("layer.{layer}.{name}");
            made.bytes(&format!("{name}.weight"), &[outputs, columns], 63.0);
            made.reals(&format!("{name}.scale"), &[outputs], 0.003, 0.0005);
            made.reals(&format!("{name}.bias"), &[outputs], 0.0, 0.1);
        }
        made.norm(&format!("layer.{layer}.norm1"));
        made.norm(&format!("layer.{layer}.norm2"));
    }
    made.reals("head.window.weight", &[5, 1152], 0.0, 0.05);
    made.reals("head.window.bias", &[5], 0.0, 0.1);
    made.reals("head.token.weight", &[384], 0.0, 0.05);
    made.reals("head.token.bias", &[1], 0.0, 0.1);
    made.finish(layers)
}

/// Numbers of which the weights are drawn: millions of fresh ones would take most of a test's time.
const NORMALS: usize = 4096;

struct MadeUp {
    random: fastrand::Rng,
    normals: Vec<f32>,
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl MadeUp {
    fn normal(&mut self) -> f32 {
        self.normals[self.random.usize(..NORMALS)]
    }

    fn bytes(&mut self, name: &str, shape: &[usize], most: f32) {
        let cells = (0..shape.iter().product()).map(|_| (self.normal() / 3.0 * most).round() as i8 as u8).collect();
        self.tensors.push((name.into(), Dtype::I8, shape.to_vec(), cells));
    }

    fn reals(&mut self, name: &str, shape: &[usize], mean: f32, deviation: f32) {
        let cells =
            (0..shape.iter().product()).flat_map(|_| (mean + deviation * self.normal()).to_le_bytes()).collect();
        self.tensors.push((name.into(), Dtype::F32, shape.to_vec(), cells));
    }

    fn norm(&mut self, name: &str) {
        self.reals(&format!("{name}.weight"), &[384], 1.0, 0.1);
        self.reals(&format!("{name}.bias"), &[384], 0.0, 0.1);
    }

    fn finish(&self, layers: usize) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, dtype, shape, cells)| {
            (name, TensorView::new(*dtype, shape.clone(), cells).expect("the shape fits the cells"))
        });
        let entries = [("layers", layers.to_string()), ("heads", "12".into()), ("format", "1".into())];
        let metadata = entries.map(|(name, value)| (name.to_string(), value)).into();
        safetensors::serialize(views, Some(metadata)).expect("a file in memory")
    }
}
