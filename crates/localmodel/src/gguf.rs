//! Reads a GGUF file from front to back, once, hashing every byte on the way.
//!
//! Promises: memory is bounded whatever the file says; a file that is not GGUF, or is cut short, is an error in plain
//! words and never a panic; what was read counts only after [`Reader::finish`] gave the checksum of all of it.
//!
//! Left out: GGUF versions before 2, big-endian files, and writing.

use std::collections::HashMap;
use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};

/// Metadata entries and tensors in one file; the model has 33 and 272.
const ENTRIES_MAX: u64 = 4096;
/// Elements of one metadata array; the largest is the vocabulary of 49,152.
const ARRAY_ELEMENTS_MAX: u64 = 1 << 20;
/// Bytes of one string; the longest is the chat template.
const STRING_BYTES_MAX: u64 = 1 << 16;
/// Bytes of one tensor; the largest is the token embedding with 30 MB.
const TENSOR_BYTES_MAX: u64 = 1 << 28;
/// Tensor data starts at a multiple of this, unless the file says otherwise (GGUF specification).
const ALIGNMENT_DEFAULT: u64 = 32;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GgufError {
    /// Reading failed.
    #[error("cannot read the model file")]
    Read(#[from] io::Error),
    /// The bytes are not what GGUF says.
    #[error("not a model file that can be used: {0}")]
    Malformed(String),
}

fn malformed<T>(what: impl Into<String>) -> Result<T, GgufError> {
    Err(GgufError::Malformed(what.into()))
}

/// A metadata value. Numbers of any width come as one of three kinds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    Float(f64),
    Text(String),
    Integers(Vec<i64>),
    Texts(Vec<String>),
    /// Kinds of arrays that the model has no use for.
    Other,
}

/// How a tensor's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorType {
    F32,
    /// 32 weights: half-float scale and minimum, 16 bytes of nibbles.
    Q4_1,
    /// 32 weights: half-float scale, 32 signed bytes.
    Q8_0,
}

impl TensorType {
    /// Weights and bytes of a block.
    fn block(self) -> (u64, u64) {
        match self {
            TensorType::F32 => (1, 4),
            TensorType::Q4_1 => (32, 20),
            TensorType::Q8_0 => (32, 34),
        }
    }
}

/// What the file says about a tensor.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) kind: TensorType,
    /// Weights in a row.
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    offset: u64,
    bytes: u64,
}

/// A file being read: the metadata, then the tensors in the file's order.
pub(crate) struct Reader<R> {
    source: R,
    digest: Context,
    position: u64,
    pub(crate) metadata: HashMap<String, Value>,
    /// Sorted by where they lie in the file.
    tensors: std::vec::IntoIter<Tensor>,
    data_start: u64,
}

impl<R: Read> Reader<R> {
    /// Reads everything before the tensors.
    pub(crate) fn open(source: R) -> Result<Reader<R>, GgufError> {
        let mut reader = Reader {
            source,
            digest: Context::new(&SHA256),
            position: 0,
            metadata: HashMap::new(),
            tensors: Vec::new().into_iter(),
            data_start: 0,
        };
        if &reader.array::<4>()? != b"GGUF" {
            return malformed("it does not begin with `GGUF`");
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return malformed(format!("GGUF version {version}, 2 and 3 are known"));
        }
        let tensors = reader.count(ENTRIES_MAX, "tensors")?;
        let entries = reader.count(ENTRIES_MAX, "metadata entries")?;
        for _ in 0..entries {
            let key = reader.text()?;
            let kind = reader.u32()?;
            let value = reader.value(kind)?;
            reader.metadata.insert(key, value);
        }
        let mut list = (0..tensors).map(|_| reader.tensor()).collect::<Result<Vec<_>, _>>()?;
        list.sort_by_key(|tensor| tensor.offset);
        reader.tensors = list.into_iter();
        let alignment = match reader.metadata.get("general.alignment") {
            Some(Value::Integer(alignment @ 1..=4096)) => *alignment as u64,
            Some(_) => return malformed("`general.alignment` is out of range"),
            None => ALIGNMENT_DEFAULT,
        };
        reader.data_start = reader.position.next_multiple_of(alignment);
        Ok(reader)
    }

    /// The next tensor with its bytes, in the file's order.
    pub(crate) fn next_tensor(&mut self) -> Result<Option<(Tensor, Vec<u8>)>, GgufError> {
        let Some(tensor) = self.tensors.next() else { return Ok(None) };
        let start = self.data_start.checked_add(tensor.offset);
        let Some(gap) = start.and_then(|start| start.checked_sub(self.position)) else {
            return malformed(format!("tensor `{}` lies in the middle of another", tensor.name));
        };
        self.skip(gap)?;
        let bytes = self.bytes(tensor.bytes)?;
        Ok(Some((tensor, bytes)))
    }

    /// Reads to the end and gives the SHA-256 of the whole file.
    pub(crate) fn finish(mut self) -> Result<[u8; 32], GgufError> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = self.source.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            self.digest.update(&buffer[..read]);
        }
        Ok(self.digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    fn skip(&mut self, count: u64) -> Result<(), GgufError> {
        let mut left = count;
        while left > 0 {
            let part = left.min(1 << 16);
            self.bytes(part)?;
            left -= part;
        }
        Ok(())
    }

    /// `count` bytes. The buffer grows with what is really there, so a wrong count costs no memory.
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, GgufError> {
        let mut bytes = Vec::new();
        self.source.by_ref().take(count).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < count {
            return malformed("it ends too early");
        }
        self.digest.update(&bytes);
        self.position += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        self.source.read_exact(&mut array).or_else(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => malformed("it ends too early"),
            _ => Err(error.into()),
        })?;
        self.digest.update(&array);
        self.position += N as u64;
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn count(&mut self, max: u64, what: &str) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > max {
            return malformed(format!("{count} {what}, at most {max} are read"));
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let count = self.count(STRING_BYTES_MAX, "bytes in a string")?;
        String::from_utf8(self.bytes(count)?).or_else(|_| malformed("a string is not UTF-8"))
    }

    /// A scalar or an array; the numbers are the specification's.
    fn value(&mut self, kind: u32) -> Result<Value, GgufError> {
        if kind != 9 {
            return self.scalar(kind);
        }
        let kind = self.u32()?;
        let count = self.count(ARRAY_ELEMENTS_MAX, "elements in an array")?;
        let (mut integers, mut texts) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match self.scalar(kind)? {
                Value::Integer(integer) => integers.push(integer),
                Value::Text(text) => texts.push(text),
                _ => {}
            }
        }
        Ok(match kind {
            8 => Value::Texts(texts),
            6 | 12 => Value::Other,
            _ => Value::Integers(integers),
        })
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 | 7 => Value::Integer(i64::from(u8::from_le_bytes(self.array()?))),
            1 => Value::Integer(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Integer(i64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Integer(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Integer(i64::from(self.u32()?)),
            5 => Value::Integer(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            8 => Value::Text(self.text()?),
            10 => match i64::try_from(self.u64()?) {
                Ok(integer) => Value::Integer(integer),
                Err(_) => return malformed("a number is too large"),
            },
            11 => Value::Integer(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return malformed(format!("unknown kind of metadata {kind}")),
        })
    }

    fn tensor(&mut self) -> Result<Tensor, GgufError> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        let (columns, rows) = match dimensions {
            1 => (self.u64()?, 1),
            2 => (self.u64()?, self.u64()?),
            _ => return malformed(format!("tensor `{name}` has {dimensions} dimensions")),
        };
        let kind = match self.u32()? {
            0 => TensorType::F32,
            3 => TensorType::Q4_1,
            8 => TensorType::Q8_0,
            other => return malformed(format!("tensor `{name}` has type {other}; F32, Q4_1 and Q8_0 are known")),
        };
        let offset = self.u64()?;
        let (block_weights, block_bytes) = kind.block();
        let bytes = columns
            .checked_mul(rows)
            .filter(|_| columns > 0 && columns % block_weights == 0)
            .and_then(|weights| (weights / block_weights).checked_mul(block_bytes))
            .filter(|&bytes| (1..=TENSOR_BYTES_MAX).contains(&bytes));
        let Some(bytes) = bytes else { return malformed(format!("tensor `{name}` has a size that cannot be")) };
        // Both fit: their product did, and is bounded.
        Ok(Tensor { name, kind, columns: columns as usize, rows: rows as usize, offset, bytes })
    }
}
