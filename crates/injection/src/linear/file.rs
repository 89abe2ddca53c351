//! The weights' file: a head of named numbers, then two tables of signed bytes, read where they lie.
//!
//! Little-endian throughout: magic `SPLINEAR`, version, then as f32: scale, doubling, four biases in the order of
//! [`Channel::ALL`], the two thresholds; then the table of trusted channels and the table of untrusted text.

use crate::Channel;

/// Weights in a table: a power of two. Half a mebibyte stays in a core's second cache.
pub const TABLE_LEN: usize = 1 << 19;
const MAGIC: &[u8; 8] = b"SPLINEAR";
const VERSION: u32 = 1;
const NUMBERS: usize = 8;
const HEAD_BYTES: usize = MAGIC.len() + 4 + 4 * NUMBERS;

/// Why bytes are no weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// They do not begin as weights do, or are of another version.
    Kind,
    /// They are too short or too long.
    Length {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A number in the head is not finite.
    Number,
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Kind => write!(out, "not a file of linear weights of version {VERSION}"),
            Error::Length { expected, found } => write!(out, "{found} bytes of linear weights instead of {expected}"),
            Error::Number => out.write_str("a number in the head of the linear weights is not finite"),
        }
    }
}

impl std::error::Error for Error {}

/// Trained weights, borrowed from the bytes of their file.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'w> {
    pub(super) scale: f32,
    pub(super) doubling: f32,
    biases: [f32; 4],
    /// Log-odds below which a text of the user need not be read by the transformer, chosen on sources left out of training.
    pub low: f32,
    /// Log-odds above which a text is an attack for the linear stage alone, chosen there too.
    pub high: f32,
    trusted: &'w [u8; TABLE_LEN],
    untrusted: &'w [u8; TABLE_LEN],
}

impl<'w> Weights<'w> {
    /// Reads a file's bytes where they lie.
    pub fn parse(bytes: &'w [u8]) -> Result<Weights<'w>, Error> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Error::Kind)?;
        let (version, _) = rest.split_first_chunk::<4>().ok_or(Error::Kind)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Error::Kind);
        }
        let expected = HEAD_BYTES + 2 * TABLE_LEN;
        let wrong = Error::Length { expected, found: bytes.len() };
        let (head, tables) = bytes.split_at_checked(HEAD_BYTES).ok_or(wrong)?;
        let (numbers, _) = head[MAGIC.len() + 4..].as_chunks::<4>();
        let mut values = [0f32; NUMBERS];
        for (value, number) in values.iter_mut().zip(numbers) {
            *value = f32::from_le_bytes(*number);
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::Number);
        }
        let (tables, rest) = tables.as_chunks::<TABLE_LEN>();
        let ([trusted, untrusted], []) = (tables, rest) else { return Err(wrong) };
        let [scale, doubling, system, user, data, output, low, high] = values;
        Ok(Weights { scale, doubling, biases: [system, user, data, output], low, high, trusted, untrusted })
    }

    pub(super) fn table(&self, channel: Channel) -> &'w [u8; TABLE_LEN] {
        match channel {
            Channel::System | Channel::User | Channel::Output => self.trusted,
            Channel::Untrusted => self.untrusted,
        }
    }

    pub(super) fn bias(&self, channel: Channel) -> f32 {
        match channel {
            Channel::System => self.biases[0],
            Channel::User => self.biases[1],
            Channel::Untrusted => self.biases[2],
            Channel::Output => self.biases[3],
        }
    }
}

/// The bytes of a file, from the numbers of its head (scale, doubling, the biases of [`Channel::ALL`], low, high) and
/// its two tables, each as long as a table must be.
pub fn write(numbers: [f32; NUMBERS], trusted: &[i8], untrusted: &[i8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + 2 * TABLE_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for table in [trusted, untrusted] {
        bytes.extend(table.iter().map(|weight| weight.cast_unsigned()));
    }
    bytes
}
