//! A made-up model of a few kilobytes, so that the engine is tested without a download: two layers, random weights, a
//! vocabulary of single bytes and a few merges.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use half::f16;

use crate::local::{LocalModel, Options, read};
use crate::template::JINJA;

pub(crate) const HIDDEN: usize = 64;
pub(crate) const FEED_FORWARD: usize = 96;
pub(crate) const HEADS: usize = 4;
pub(crate) const KV_HEADS: usize = 2;
pub(crate) const LAYERS: usize = 2;
pub(crate) const VOCABULARY: usize = 272;
/// Control tokens: end of text, start and end of a turn.
pub(crate) const END_OF_TEXT: u32 = 0;
pub(crate) const START: u32 = 1;
pub(crate) const END: u32 = 2;
/// Merges, in order of rank; each makes one token.
const MERGES: [(&str, &str); 13] = [
    ("h", "e"),
    ("l", "l"),
    ("he", "ll"),
    ("hell", "o"),
    ("Ġ", "w"),
    ("o", "r"),
    ("Ġw", "or"),
    ("l", "d"),
    ("Ġwor", "ld"),
    ("a", "a"),
    ("aa", "aa"),
    ("Ĭ", "Ĭ"),
    ("s", "y"),
];

/// The model as a file's bytes, and its tensors as floats.
pub(crate) struct Tiny {
    pub(crate) file: Vec<u8>,
    pub(crate) tensors: HashMap<String, Vec<f32>>,
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn text(&mut self, text: &str) {
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn entry(&mut self, key: &str, kind: u32) {
        self.text(key);
        self.bytes.extend(kind.to_le_bytes());
    }

    fn integer(&mut self, key: &str, value: usize) {
        self.entry(key, 4);
        self.bytes.extend((value as u32).to_le_bytes());
    }

    fn real(&mut self, key: &str, value: f32) {
        self.entry(key, 6);
        self.bytes.extend(value.to_le_bytes());
    }

    fn string(&mut self, key: &str, value: &str) {
        self.entry(key, 8);
        self.text(value);
    }

    fn strings(&mut self, key: &str, values: &[String]) {
        self.entry(key, 9);
        self.bytes.extend(8_u32.to_le_bytes());
        self.bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| self.text(value));
    }
}

/// GPT-2's letter for a byte, spelled out once more, independent of the tokenizer.
fn letter(byte: u8) -> String {
    let prints = |byte: u32| (33..=126).contains(&byte) || (161..=172).contains(&byte) || (174..=255).contains(&byte);
    let code = if prints(byte.into()) {
        byte.into()
    } else {
        256 + (0..u32::from(byte)).filter(|byte| !prints(*byte)).count() as u32
    };
    char::from_u32(code).unwrap().to_string()
}

/// A tensor of random weights in its file format, and as floats.
fn tensor(kind: u32, columns: usize, rows: usize, random: &mut fastrand::Rng) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut floats) = (Vec::new(), Vec::new());
    if kind == 0 {
        for _ in 0..columns * rows {
            let value = 0.5 + random.f32();
            bytes.extend(value.to_le_bytes());
            floats.push(value);
        }
        return (bytes, floats);
    }
    for _ in 0..columns * rows / 32 {
        let scale = f16::from_f32(if kind == 3 { 0.03 } else { 0.002 } * (0.5 + random.f32()));
        bytes.extend(scale.to_bits().to_le_bytes());
        if kind == 3 {
            let minimum = f16::from_f32(-7.5 * scale.to_f32());
            bytes.extend(minimum.to_bits().to_le_bytes());
            let nibbles: Vec<u8> = (0..32).map(|_| random.u8(0..16)).collect();
            bytes.extend((0..16).map(|at| nibbles[at] | nibbles[at + 16] << 4));
            floats.extend(nibbles.iter().map(|nibble| scale.to_f32() * f32::from(*nibble) + minimum.to_f32()));
        } else {
            let values: Vec<i8> = (0..32).map(|_| random.i8(..)).collect();
            bytes.extend(values.iter().map(|value| *value as u8));
            floats.extend(values.iter().map(|value| scale.to_f32() * f32::from(*value)));
        }
    }
    (bytes, floats)
}

impl Tiny {
    pub(crate) fn new() -> Tiny {
        let mut writer = Writer { bytes: Vec::new() };
        let kv = HIDDEN / HEADS * KV_HEADS;
        let mut list = vec![("token_embd".to_owned(), 8, HIDDEN, VOCABULARY), ("output_norm".into(), 0, HIDDEN, 1)];
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}");
            list.extend([
                (name("attn_norm"), 0, HIDDEN, 1),
                (name("attn_q"), 3, HIDDEN, HIDDEN),
                (name("attn_k"), 3, HIDDEN, kv),
                (name("attn_v"), 3, HIDDEN, kv),
                (name("attn_output"), 3, HIDDEN, HIDDEN),
                (name("ffn_norm"), 0, HIDDEN, 1),
                (name("ffn_gate"), 8, HIDDEN, FEED_FORWARD),
                (name("ffn_up"), 8, HIDDEN, FEED_FORWARD),
                (name("ffn_down"), 3, FEED_FORWARD, HIDDEN),
            ]);
        }
        writer.bytes.extend(b"GGUF\x03\0\0\0");
        writer.bytes.extend((list.len() as u64).to_le_bytes());
        writer.bytes.extend(17_u64.to_le_bytes());
        Tiny::metadata(&mut writer);

        let mut random = fastrand::Rng::with_seed(42);
        let (mut data, mut tensors) = (Vec::new(), HashMap::new());
        for (name, kind, columns, rows) in list {
            let name = format!("{name}.weight");
            let (bytes, floats) = tensor(kind, columns, rows, &mut random);
            writer.text(&name);
            let dimensions: &[usize] = if kind == 0 { &[columns] } else { &[columns, rows] };
            writer.bytes.extend((dimensions.len() as u32).to_le_bytes());
            dimensions.iter().for_each(|size| writer.bytes.extend((*size as u64).to_le_bytes()));
            writer.bytes.extend(u32::to_le_bytes(kind));
            writer.bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(32), 0);
            tensors.insert(name, floats);
        }
        let mut file = writer.bytes;
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(data);
        Tiny { file, tensors }
    }

    fn metadata(writer: &mut Writer) {
        writer.string("general.architecture", "llama");
        writer.integer("llama.block_count", LAYERS);
        writer.integer("llama.context_length", 512);
        writer.integer("llama.embedding_length", HIDDEN);
        writer.integer("llama.feed_forward_length", FEED_FORWARD);
        writer.integer("llama.attention.head_count", HEADS);
        writer.integer("llama.attention.head_count_kv", KV_HEADS);
        writer.integer("llama.rope.dimension_count", HIDDEN / HEADS);
        writer.integer("llama.vocab_size", VOCABULARY);
        writer.real("llama.rope.freq_base", 10_000.0);
        writer.real("llama.attention.layer_norm_rms_epsilon", 1e-5);
        writer.string("tokenizer.ggml.model", "gpt2");
        writer.string("tokenizer.ggml.pre", "smollm");
        let mut names: Vec<String> = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).to_vec();
        names.extend((0..=255).map(letter));
        names.extend(MERGES.iter().map(|(left, right)| format!("{left}{right}")));
        assert_eq!(names.len(), VOCABULARY);
        writer.strings("tokenizer.ggml.tokens", &names);
        writer.entry("tokenizer.ggml.token_type", 9);
        writer.bytes.extend(5_u32.to_le_bytes());
        writer.bytes.extend((VOCABULARY as u64).to_le_bytes());
        (0..VOCABULARY).for_each(|id| writer.bytes.extend(if id < 3 { 3_i32 } else { 1 }.to_le_bytes()));
        let merges: Vec<String> = MERGES.iter().map(|(left, right)| format!("{left} {right}")).collect();
        writer.strings("tokenizer.ggml.merges", &merges);
        writer.string("tokenizer.chat_template", JINJA);
    }

    /// The checksum in hexadecimal, for as long as the tests run.
    pub(crate) fn checksum(&self) -> &'static str {
        let hex: String = digest(&SHA256, &self.file).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        hex.leak()
    }

    /// Writes the file into a folder of its own.
    pub(crate) fn write(&self) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        std::fs::write(&path, &self.file).unwrap();
        (folder, path)
    }

    /// The model, running, with a clock that stands and ids that count.
    pub(crate) fn model(queue_max: usize) -> LocalModel {
        let tiny = Tiny::new();
        let (_folder, path) = tiny.write();
        let (weights, language) = read(&path, tiny.checksum(), 256).unwrap();
        let counter = AtomicU64::new(1);
        let options = Options {
            threads: 2,
            queue_max,
            unix_time_s: Arc::new(|| 1_700_000_000),
            random: Arc::new(move || counter.fetch_add(1, Ordering::Relaxed)),
            ..Options::default()
        };
        LocalModel::start(weights, language, options).unwrap()
    }
}
