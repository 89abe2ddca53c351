//! The encoder's file: safetensors, with every name, type and shape checked before anything is used.
//!
//! Promises: no panic and no unbounded memory on any bytes; a file that parses can be run.

use std::ops::Range;

use safetensors::{Dtype, SafeTensors};

use super::kernels::WEIGHT_MAX;
use super::matrix::Matrix;
use super::{CHANNELS, HEADS, HIDDEN, Heading, INTERMEDIATE, LABELS, Layer, Norm, POSITIONS};

/// Layers that a file may have: twice the base model's.
const LAYERS_MAX: usize = 12;
/// Words that a file may have; the base model has 30,522.
const WORDS_MAX: usize = 1 << 18;

/// Why a file is not an encoder.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The container is broken.
    #[error("not a safetensors file")]
    Container(#[from] safetensors::SafeTensorError),
    /// An entry of the metadata is missing or not what this version reads.
    #[error("metadata entry `{0}` is missing or not supported")]
    Metadata(&'static str),
    /// A tensor is missing, or its type or shape is not what the encoder has.
    #[error("tensor `{0}` is missing or of another type or shape")]
    Tensor(String),
    /// A tensor has a number that is not finite, or a weight that is too large.
    #[error("tensor `{0}` has a value out of range")]
    Value(String),
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    /// Where in the file the word table lies, a row of bytes a word.
    pub(super) words: Range<usize>,
    pub(super) word_scales: Vec<f32>,
    pub(super) positions: Vec<f32>,
    pub(super) channels: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
    pub(super) window: Heading,
    pub(super) token: Heading,
}

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, FileError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let metadata = metadata.metadata().as_ref();
    let entry = |name: &'static str| {
        let value = metadata.and_then(|entries| entries.get(name)).and_then(|value| value.parse::<usize>().ok());
        value.ok_or(FileError::Metadata(name))
    };
    if entry("format")? != 1 {
        return Err(FileError::Metadata("format"));
    }
    if entry("heads")? != HEADS {
        return Err(FileError::Metadata("heads"));
    }
    let layers = entry("layers")?;
    if !(1..=LAYERS_MAX).contains(&layers) {
        return Err(FileError::Metadata("layers"));
    }
    let file = File { tensors: SafeTensors::deserialize(bytes)?, start: bytes.as_ptr().addr() };
    let (words, word_scales) = file.words()?;
    Ok(Contents {
        positions: file.reals("embed.positions", &[POSITIONS, HIDDEN])?,
        channels: file.reals("embed.channel", &[CHANNELS, HIDDEN])?,
        norm: file.norm("embed.norm")?,
        layers: (0..layers).map(|layer| file.layer(layer)).collect::<Result<_, _>>()?,
        window: file.heading("head.window", &[LABELS, 3 * HIDDEN])?,
        token: file.heading("head.token", &[HIDDEN])?,
        words,
        word_scales,
    })
}

struct File<'a> {
    tensors: SafeTensors<'a>,
    /// The address of the file's first byte, from which places in it are told.
    start: usize,
}

impl File<'_> {
    fn data(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&[u8], FileError> {
        let tensor = self.tensors.tensor(name).map_err(|_| FileError::Tensor(name.into()))?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            return Err(FileError::Tensor(name.into()));
        }
        Ok(tensor.data())
    }

    fn reals(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, FileError> {
        let cells = self.data(name, Dtype::F32, shape)?.as_chunks::<4>().0;
        let values: Vec<f32> = cells.iter().map(|cell| f32::from_le_bytes(*cell)).collect();
        if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(FileError::Value(name.into())) }
    }

    /// Where the word table lies in the file, and its scales.
    fn words(&self) -> Result<(Range<usize>, Vec<f32>), FileError> {
        let name = "embed.words";
        let tensor = self.tensors.tensor(name).map_err(|_| FileError::Tensor(name.into()))?;
        let count = tensor.shape().first().copied().filter(|count| (1..=WORDS_MAX).contains(count));
        let count = count.ok_or_else(|| FileError::Tensor(name.into()))?;
        let data = self.data(name, Dtype::I8, &[count, HIDDEN])?;
        let at = data.as_ptr().addr() - self.start;
        Ok((at..at + data.len(), self.reals("embed.words.scale", &[count])?))
    }

    fn norm(&self, name: &str) -> Result<Norm, FileError> {
        Ok(Norm {
            weight: self.reals(&format!("{name}.weight"), &[HIDDEN])?,
            bias: self.reals(&format!("{name}.bias"), &[HIDDEN])?,
        })
    }

    fn heading(&self, name: &str, shape: &[usize]) -> Result<Heading, FileError> {
        let outputs = if shape.len() > 1 { shape[0] } else { 1 };
        Ok(Heading {
            weight: self.reals(&format!("{name}.weight"), shape)?,
            bias: self.reals(&format!("{name}.bias"), &[outputs])?,
        })
    }

    /// Several tensors of one width as one matrix.
    fn matrix(&self, layer: usize, names: &[&str], outputs: usize, columns: usize) -> Result<Matrix, FileError> {
        let (mut weights, mut scales, mut biases) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let name = format!("layer.{layer}.{name}");
            let cells = self.data(&format!("{name}.weight"), Dtype::I8, &[outputs, columns])?;
            weights.extend(cells.iter().map(|&cell| cell as i8));
            if weights.iter().any(|weight| weight.unsigned_abs() > WEIGHT_MAX.unsigned_abs()) {
                return Err(FileError::Value(format!("{name}.weight")));
            }
            scales.extend(self.reals(&format!("{name}.scale"), &[outputs])?);
            biases.extend(self.reals(&format!("{name}.bias"), &[outputs])?);
        }
        Ok(Matrix::pack(&weights, columns, scales, biases))
    }

    fn layer(&self, layer: usize) -> Result<Layer, FileError> {
        Ok(Layer {
            attend: self.matrix(layer, &["q", "k", "v"], HIDDEN, HIDDEN)?,
            mix: self.matrix(layer, &["o"], HIDDEN, HIDDEN)?,
            up: self.matrix(layer, &["up"], INTERMEDIATE, HIDDEN)?,
            down: self.matrix(layer, &["down"], HIDDEN, INTERMEDIATE)?,
            norms: [self.norm(&format!("layer.{layer}.norm1"))?, self.norm(&format!("layer.{layer}.norm2"))?],
        })
    }
}
