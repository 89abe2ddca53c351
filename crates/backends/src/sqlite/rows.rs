//! The rows of a batch as bytes: what the journal keeps of requests that nobody looks for one by one.
//!
//! Promises: what was written is read back exactly, whatever figures and words it holds; bytes that were damaged are an
//! error, never a panic, and take memory in proportion to their length.
//!
//! A blob is its version, the moment that its times are counted from, the number of its rows, the rows. Integers are
//! LEB128, signed ones in zigzag; words are packed (see [`Form`]). What a row shares with others stands in it by the
//! number that the sums have for it, too: its series and the lines of its bill.

use pricing::{ImageCount, Nano, Quantities, Unit};
use store::{Certainty, UsageRow};

/// The one version there is. Another layout takes the next number, and this one stays readable.
const VERSION: u8 = 1;

/// Bytes of an integer at most.
const INTEGER_BYTES_MAX: usize = 10;

/// What request ids of the gate begin with.
const ID_PREFIX: &str = "req_";

// What a row has beside what every row has.
const END_USER: u8 = 1;
const RUN: u8 = 1 << 1;
const TAG: u8 = 1 << 2;
const ESTIMATED: u8 = 1 << 3;
const UNPRICED: u8 = 1 << 4;
const IMAGES: u8 = 1 << 5;
const IMAGE_COUNTS: u8 = 1 << 6;
const OTHER_COST: u8 = 1 << 7;

/// A line of a row's bill; its item by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) item: i64,
    pub(super) quantity: u64,
    pub(super) amount: Nano,
}

/// A row as the journal has it: what its series and items are called stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Journaled {
    pub(super) id: String,
    pub(super) series: i64,
    pub(super) began_at: i64,
    pub(super) settled_at: i64,
    pub(super) end_user: Option<String>,
    pub(super) run: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) images: u64,
    pub(super) quantities: Quantities,
    pub(super) cost: Nano,
    pub(super) lines: Vec<Line>,
    pub(super) certainty: Certainty,
}

impl Journaled {
    /// A row of this series, with its lines by number.
    pub(super) fn of(row: UsageRow, series: i64, lines: Vec<Line>) -> Journaled {
        Journaled {
            id: row.id,
            series,
            began_at: row.began_at,
            settled_at: row.settled_at,
            end_user: row.end_user,
            run: row.run,
            tag: row.tag,
            images: row.images,
            quantities: row.quantities,
            cost: row.cost,
            lines,
            certainty: row.certainty,
        }
    }
}

/// Why bytes are no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of {of}")]
pub(super) struct Unreadable {
    what: &'static str,
    at: usize,
    of: usize,
}

/// How a word is packed, beside its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is.
    Plain = 0,
    /// Pairs of lower-case hexadecimal digits, a byte each: names under a keyed hash.
    Hex = 1,
    /// The same behind `req_`: request ids.
    Id = 2,
}

/// Collects the rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    count: u64,
    /// What times are counted from: when the first row began.
    base: i64,
}

impl Writer {
    /// For so many rows.
    pub(super) fn with_capacity(rows: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(rows * 64), ..Writer::default() }
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds a row, of a series and with lines that have these numbers, in the order of its bill.
    pub(super) fn push(&mut self, row: &UsageRow, series: i64, items: &[i64]) {
        if self.count == 0 {
            self.base = row.began_at;
        }
        self.count += 1;
        let lines: Nano = row.lines.iter().map(|line| line.amount).sum();
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(row.end_user.is_some(), END_USER)
            | flag(row.run.is_some(), RUN)
            | flag(row.tag.is_some(), TAG)
            | flag(row.certainty == Certainty::Estimated, ESTIMATED)
            | flag(row.certainty == Certainty::Unpriced, UNPRICED)
            | flag(row.images > 0, IMAGES)
            | flag(!row.quantities.images.is_empty(), IMAGE_COUNTS)
            | flag(row.cost != lines, OTHER_COST);
        let bytes = &mut self.bytes;
        bytes.push(flags);
        push_word(bytes, &row.id);
        push_signed(bytes, series);
        push_signed(bytes, row.began_at.wrapping_sub(self.base));
        push_signed(bytes, row.settled_at.wrapping_sub(row.began_at));
        for name in [&row.end_user, &row.run, &row.tag].into_iter().flatten() {
            push_word(bytes, name);
        }
        if row.images > 0 {
            push_integer(bytes, row.images);
        }
        push_quantities(bytes, &row.quantities);
        push_integer(bytes, row.lines.len() as u64);
        for (line, item) in row.lines.iter().zip(items) {
            push_signed(bytes, *item);
            push_integer(bytes, line.quantity);
            push_integer(bytes, line.amount.0);
        }
        if row.cost != lines {
            push_integer(bytes, row.cost.0);
        }
    }

    /// The blob.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + 1 + 2 * INTEGER_BYTES_MAX);
        bytes.push(VERSION);
        push_signed(&mut bytes, self.base);
        push_integer(&mut bytes, self.count);
        bytes.extend_from_slice(&self.bytes);
        bytes
    }
}

fn push_quantities(bytes: &mut Vec<u8>, quantities: &Quantities) {
    let units = quantities.some().fold(0_u64, |units, (unit, _)| units | 1 << unit as u32);
    push_integer(bytes, units);
    for (_, quantity) in quantities.some() {
        push_integer(bytes, quantity);
    }
    if !quantities.images.is_empty() {
        push_integer(bytes, quantities.images.len() as u64);
        for image in &quantities.images {
            push_word(bytes, &image.quality);
            push_word(bytes, &image.size);
            push_integer(bytes, image.count);
        }
    }
}

fn push_integer(bytes: &mut Vec<u8>, mut integer: u64) {
    while integer >= 0x80 {
        // The mask leaves seven bits.
        bytes.push((integer & 0x7f) as u8 | 0x80);
        integer >>= 7;
    }
    bytes.push(integer as u8);
}

fn push_signed(bytes: &mut Vec<u8>, integer: i64) {
    push_integer(bytes, ((integer << 1) ^ (integer >> 63)).cast_unsigned());
}

/// Appends a packed word: its length in bytes and its form, then the bytes.
pub(super) fn push_word(bytes: &mut Vec<u8>, word: &str) {
    let (digits, form) = match word.strip_prefix(ID_PREFIX) {
        Some(digits) => (digits.as_bytes(), Form::Id),
        None => (word.as_bytes(), Form::Hex),
    };
    // Packed in place, and taken back where something is no digit.
    let before = bytes.len();
    if !digits.is_empty() && digits.len().is_multiple_of(2) {
        push_integer(bytes, (digits.len() as u64 / 2) << 2 | form as u64);
        if digits.chunks_exact(2).all(|pair| push_pair(bytes, pair)) {
            return;
        }
        bytes.truncate(before);
    }
    push_integer(bytes, (word.len() as u64) << 2 | Form::Plain as u64);
    bytes.extend_from_slice(word.as_bytes());
}

fn push_pair(bytes: &mut Vec<u8>, pair: &[u8]) -> bool {
    let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return false };
    bytes.push(high << 4 | low);
    true
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Reads a blob.
///
/// # Errors
/// When it is not what a [`Writer`] wrote, as far as that can be seen.
pub(super) fn read(blob: &[u8]) -> Result<Vec<Journaled>, Unreadable> {
    let mut reader = Reader { blob, at: 0 };
    if reader.byte()? != VERSION {
        return Err(reader.unreadable("another version"));
    }
    let base = reader.signed()?;
    // A row takes several bytes: a count beyond what is there takes no memory.
    let count = reader.integer()?;
    let mut rows = Vec::new();
    for _ in 0..count {
        rows.push(reader.row(base)?);
    }
    match reader.at == blob.len() {
        true => Ok(rows),
        false => Err(reader.unreadable("more than its rows")),
    }
}

struct Reader<'a> {
    blob: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn unreadable(&self, what: &'static str) -> Unreadable {
        Unreadable { what, at: self.at, of: self.blob.len() }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let found = self.at.checked_add(length).and_then(|end| self.blob.get(self.at..end));
        let found = found.ok_or_else(|| self.unreadable("an end too early"))?;
        self.at += length;
        Ok(found)
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        Ok(self.bytes(1)?[0])
    }

    fn integer(&mut self) -> Result<u64, Unreadable> {
        let mut integer = 0;
        for place in 0..INTEGER_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The last byte has room for one bit.
            if place == INTEGER_BYTES_MAX - 1 && bits > 1 {
                break;
            }
            integer |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(integer);
            }
        }
        Err(self.unreadable("an integer too large"))
    }

    fn signed(&mut self) -> Result<i64, Unreadable> {
        let integer = self.integer()?;
        Ok((integer >> 1).cast_signed() ^ -(integer & 1).cast_signed())
    }

    fn word(&mut self) -> Result<String, Unreadable> {
        let tag = self.integer()?;
        let length = usize::try_from(tag >> 2).map_err(|_| self.unreadable("a word too long"))?;
        let bytes = self.bytes(length)?;
        let hex = |prefix: &str| {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
            let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
            prefix.chars().chain(digits).collect()
        };
        match tag & 0b11 {
            0 => std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.unreadable("a word that is no text")),
            1 => Ok(hex("")),
            2 => Ok(hex(ID_PREFIX)),
            _ => Err(self.unreadable("a word in an unknown form")),
        }
    }

    fn row(&mut self, base: i64) -> Result<Journaled, Unreadable> {
        let flags = self.byte()?;
        let id = self.word()?;
        let series = self.signed()?;
        let began_at = base.wrapping_add(self.signed()?);
        let settled_at = began_at.wrapping_add(self.signed()?);
        let mut name = |flag| if flags & flag == 0 { Ok(None) } else { self.word().map(Some) };
        let (end_user, run, tag) = (name(END_USER)?, name(RUN)?, name(TAG)?);
        let images = if flags & IMAGES == 0 { 0 } else { self.integer()? };
        let quantities = self.quantities(flags & IMAGE_COUNTS != 0)?;
        let lines = self.lines()?;
        let cost = match flags & OTHER_COST {
            0 => lines.iter().map(|line| line.amount).sum(),
            _ => Nano(self.integer()?),
        };
        let certainty = match flags & (ESTIMATED | UNPRICED) {
            0 => Certainty::Settled,
            ESTIMATED => Certainty::Estimated,
            UNPRICED => Certainty::Unpriced,
            _ => return Err(self.unreadable("two certainties")),
        };
        Ok(Journaled {
            id,
            series,
            began_at,
            settled_at,
            end_user,
            run,
            tag,
            images,
            quantities,
            cost,
            lines,
            certainty,
        })
    }

    fn quantities(&mut self, has_images: bool) -> Result<Quantities, Unreadable> {
        let mut quantities = Quantities::default();
        let units = self.integer()?;
        if units >> Unit::COUNT != 0 {
            return Err(self.unreadable("an unknown unit"));
        }
        for unit in Unit::ALL.into_iter().filter(|unit| units >> *unit as u32 & 1 == 1) {
            quantities.set(unit, self.integer()?);
        }
        for _ in 0..if has_images { self.integer()? } else { 0 } {
            let (quality, size) = (self.word()?, self.word()?);
            quantities.images.push(ImageCount { quality, size, count: self.integer()? });
        }
        Ok(quantities)
    }

    fn lines(&mut self) -> Result<Vec<Line>, Unreadable> {
        let mut lines = Vec::new();
        for _ in 0..self.integer()? {
            lines.push(Line { item: self.signed()?, quantity: self.integer()?, amount: Nano(self.integer()?) });
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests;
