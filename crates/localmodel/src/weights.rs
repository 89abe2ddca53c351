//! The model in memory: sizes, and weights repacked for the kernels while the file is read.
//!
//! Promises: every size that the forward pass relies on was checked here; peak memory while loading is the repacked
//! weights plus one tensor.
//!
//! Left out: architectures other than Llama, models whose output matrix is not the token embedding, and tensor types
//! that the one shipped model does not have.

use std::collections::HashMap;
use std::io::Read;

use crate::gguf::{GgufError, Reader, Tensor, TensorType, Value};
use crate::kernels::{BLOCK_COLUMNS, GROUP_ROWS, Line, Rows, Rows4, Rows8, widen};

/// The model's sizes, by the names of the field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) feed_forward: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context_tokens: usize,
    pub(crate) rope_base: f32,
    pub(crate) norm_epsilon: f32,
}

/// Upper bounds that keep a made-up file from asking for absurd memory: sixteen times the model's sizes.
const LAYERS_MAX: usize = 512;
const WIDTH_MAX: usize = 32_768;
const VOCABULARY_MAX: usize = 1 << 20;

impl Shape {
    /// Keys and values of one position of one layer have this width each.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head
    }

    pub(crate) fn from_metadata(metadata: &HashMap<String, Value>) -> Result<Shape, GgufError> {
        if metadata.get("general.architecture") != Some(&Value::Text("llama".into())) {
            return Err(GgufError::Malformed("its architecture is not `llama`".into()));
        }
        let size = |key: &str, max: usize| match metadata.get(key) {
            Some(Value::Integer(size)) if usize::try_from(*size).is_ok_and(|size| (1..=max).contains(&size)) => {
                Ok(*size as usize)
            }
            _ => Err(GgufError::Malformed(format!("`{key}` is missing or out of range"))),
        };
        let real = |key: &str| match metadata.get(key) {
            Some(Value::Float(real)) if *real > 0.0 && real.is_finite() => Ok(*real as f32),
            _ => Err(GgufError::Malformed(format!("`{key}` is missing or out of range"))),
        };
        let hidden = size("llama.embedding_length", WIDTH_MAX)?;
        let heads = size("llama.attention.head_count", WIDTH_MAX)?;
        let shape = Shape {
            layers: size("llama.block_count", LAYERS_MAX)?,
            hidden,
            feed_forward: size("llama.feed_forward_length", WIDTH_MAX)?,
            heads,
            kv_heads: size("llama.attention.head_count_kv", heads)?,
            head: hidden / heads,
            vocabulary: size("llama.vocab_size", VOCABULARY_MAX)?,
            context_tokens: size("llama.context_length", VOCABULARY_MAX)?,
            rope_base: real("llama.rope.freq_base")?,
            norm_epsilon: real("llama.attention.layer_norm_rms_epsilon")?,
        };
        let fits = shape.heads * shape.head == hidden
            && shape.heads.is_multiple_of(shape.kv_heads)
            && shape.head.is_multiple_of(2)
            && size("llama.rope.dimension_count", WIDTH_MAX)? == shape.head
            && [hidden, shape.feed_forward].iter().all(|columns| columns.is_multiple_of(BLOCK_COLUMNS))
            && [shape.kv_width(), shape.vocabulary].iter().all(|rows| rows.is_multiple_of(GROUP_ROWS));
        fits.then_some(shape).ok_or_else(|| GgufError::Malformed("its sizes do not fit each other".into()))
    }
}

/// One transformer layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    /// Queries, keys, values, one under the other.
    pub(crate) query_key_value: Rows,
    pub(crate) attention_output: Rows,
    pub(crate) feed_forward_norm: Vec<f32>,
    /// Gate, then up.
    pub(crate) gate_up: Rows,
    pub(crate) down: Rows,
}

/// All weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) shape: Shape,
    /// Input and output matrix at once.
    pub(crate) embedding: Rows8,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,
}

impl Weights {
    /// Reads every tensor that is left in `reader`.
    pub(crate) fn read<R: Read>(reader: &mut Reader<R>) -> Result<Weights, GgufError> {
        let shape = Shape::from_metadata(&reader.metadata)?;
        let mut parts = HashMap::new();
        while let Some((tensor, bytes)) = reader.next_tensor()? {
            let part = Part::pack(&tensor, &bytes)?;
            parts.insert(tensor.name, part);
        }
        let mut parts = Parts(parts);
        let (hidden, wide, kv) = (shape.hidden, shape.feed_forward, shape.kv_width());
        let layers = (0..shape.layers)
            .map(|layer| {
                let name = |part: &str| format!("blk.{layer}.{part}.weight");
                Ok(Layer {
                    attention_norm: parts.floats(&name("attn_norm"), hidden)?,
                    query_key_value: parts
                        .stacked(&[(name("attn_q"), hidden), (name("attn_k"), kv), (name("attn_v"), kv)], hidden)?,
                    attention_output: parts.stacked(&[(name("attn_output"), hidden)], hidden)?,
                    feed_forward_norm: parts.floats(&name("ffn_norm"), hidden)?,
                    gate_up: parts.stacked(&[(name("ffn_gate"), wide), (name("ffn_up"), wide)], hidden)?,
                    down: parts.stacked(&[(name("ffn_down"), hidden)], wide)?,
                })
            })
            .collect::<Result<_, GgufError>>()?;
        let Rows::Eight(embedding) = parts.stacked(&[("token_embd.weight".into(), shape.vocabulary)], hidden)? else {
            return Err(GgufError::Malformed("`token_embd.weight` is not Q8_0".into()));
        };
        let output_norm = parts.floats("output_norm.weight", hidden)?;
        match parts.0.keys().next() {
            Some(name) => Err(GgufError::Malformed(format!("tensor `{name}` belongs to no model that is known"))),
            None => Ok(Weights { shape, embedding, layers, output_norm }),
        }
    }

    /// Writes the embedding of `token` into `out`.
    pub(crate) fn embed(&self, token: u32, out: &mut [f32]) {
        let (group, row) = (token as usize / GROUP_ROWS, token as usize % GROUP_ROWS);
        let blocks = self.shape.hidden / BLOCK_COLUMNS;
        let lines = &self.embedding.lines.as_chunks::<8>().0[group * blocks..][..blocks];
        let scales = &self.embedding.scales[group * blocks..][..blocks];
        for ((out, lines), scales) in out.as_chunks_mut::<BLOCK_COLUMNS>().0.iter_mut().zip(lines).zip(scales) {
            let scale = widen(scales[row]);
            for (column, out) in out.iter_mut().enumerate() {
                *out = scale * f32::from(lines[column / 4].0[row * 4 + column % 4] as i8);
            }
        }
    }
}

/// A tensor as the kernels take it.
enum Part {
    Floats(Vec<f32>),
    Matrix { rows: Rows, columns: usize, count: usize },
}

impl Part {
    fn pack(tensor: &Tensor, bytes: &[u8]) -> Result<Part, GgufError> {
        let Tensor { kind, columns, rows: count, .. } = *tensor;
        if kind == TensorType::F32 {
            return Ok(Part::Floats(bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()));
        }
        if !count.is_multiple_of(GROUP_ROWS) {
            return Err(GgufError::Malformed(format!(
                "tensor `{}` has {count} rows, not a multiple of 16",
                tensor.name
            )));
        }
        let blocks = columns / BLOCK_COLUMNS;
        let rows =
            if kind == TensorType::Q4_1 { Rows::Four(pack4(bytes, blocks)) } else { Rows::Eight(pack8(bytes, blocks)) };
        Ok(Part::Matrix { rows, columns, count })
    }
}

/// Q4_1 in the file: scale, minimum, 16 bytes; byte `i` holds columns `i` (low) and `16 + i` (high).
fn pack4(bytes: &[u8], blocks: usize) -> Rows4 {
    let source = bytes.as_chunks::<20>().0;
    let mut packed =
        Rows4 { lines: Vec::with_capacity(source.len() / 4), scales: Vec::with_capacity(source.len() / 16) };
    for group in source.chunks_exact(blocks * GROUP_ROWS) {
        for block in 0..blocks {
            let (mut lines, mut scales) = ([Line([0; 64]); 4], [0; 2 * GROUP_ROWS]);
            for row in 0..GROUP_ROWS {
                let source = &group[row * blocks + block];
                scales[row] = u16::from_le_bytes([source[0], source[1]]);
                scales[GROUP_ROWS + row] = u16::from_le_bytes([source[2], source[3]]);
                for (line, four) in lines.iter_mut().zip(source[4..].as_chunks::<4>().0) {
                    line.0[row * 4..][..4].copy_from_slice(four);
                }
            }
            packed.lines.extend(lines);
            packed.scales.push(scales);
        }
    }
    packed
}

/// Q8_0 in the file: scale, 32 signed bytes.
fn pack8(bytes: &[u8], blocks: usize) -> Rows8 {
    let source = bytes.as_chunks::<34>().0;
    let mut packed =
        Rows8 { lines: Vec::with_capacity(source.len() / 2), scales: Vec::with_capacity(source.len() / 16) };
    for group in source.chunks_exact(blocks * GROUP_ROWS) {
        for block in 0..blocks {
            let (mut lines, mut scales) = ([Line([0; 64]); 8], [0; GROUP_ROWS]);
            for row in 0..GROUP_ROWS {
                let source = &group[row * blocks + block];
                scales[row] = u16::from_le_bytes([source[0], source[1]]);
                for (line, four) in lines.iter_mut().zip(source[2..].as_chunks::<4>().0) {
                    line.0[row * 4..][..4].copy_from_slice(four);
                }
            }
            packed.lines.extend(lines);
            packed.scales.push(scales);
        }
    }
    packed
}

/// Tensors by name, taken out one by one with the sizes that they must have.
struct Parts(HashMap<String, Part>);

impl Parts {
    fn floats(&mut self, name: &str, count: usize) -> Result<Vec<f32>, GgufError> {
        match self.0.remove(name) {
            Some(Part::Floats(floats)) if floats.len() == count => Ok(floats),
            _ => Err(GgufError::Malformed(format!("tensor `{name}` is missing or has another size"))),
        }
    }

    /// Matrices of the same format, one under the other.
    fn stacked(&mut self, names: &[(String, usize)], columns_wanted: usize) -> Result<Rows, GgufError> {
        let mut stacked: Option<Rows> = None;
        for (name, count_wanted) in names {
            let part = match self.0.remove(name) {
                Some(Part::Matrix { rows, columns, count }) if columns == columns_wanted && count == *count_wanted => {
                    rows
                }
                _ => return Err(GgufError::Malformed(format!("tensor `{name}` is missing or has another size"))),
            };
            stacked = Some(match (stacked, part) {
                (None, part) => part,
                (Some(Rows::Four(mut all)), Rows::Four(mut part)) => {
                    all.lines.append(&mut part.lines);
                    all.scales.append(&mut part.scales);
                    Rows::Four(all)
                }
                (Some(Rows::Eight(mut all)), Rows::Eight(mut part)) => {
                    all.lines.append(&mut part.lines);
                    all.scales.append(&mut part.scales);
                    Rows::Eight(all)
                }
                _ => return Err(GgufError::Malformed(format!("tensor `{name}` has another type than its neighbours"))),
            });
        }
        let mut stacked = stacked.expect("at least one name");
        match &mut stacked {
            Rows::Four(rows) => (rows.lines.shrink_to_fit(), rows.scales.shrink_to_fit()),
            Rows::Eight(rows) => (rows.lines.shrink_to_fit(), rows.scales.shrink_to_fit()),
        };
        Ok(stacked)
    }
}
