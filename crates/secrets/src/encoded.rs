//! Runs of base64 and hexadecimal digits, decoded at every alignment.
//!
//! A wrong alignment, and binary data, decode to bytes of which few are text; only stretches of text go on to a layer
//! of their own. So the start of a run need not be known, and a picture in base64 costs its decoding only.

use crate::bridge;
use crate::engine::Inner;
use crate::finding::Encoding;
use crate::layer::{Found, Layer, Origin, Origins, Path};

/// Shortest run that is decoded: the shortest secret that is looked for (16 bytes) in base64, with its neighbours cut.
pub(crate) const RUN_BYTES_MIN: usize = 22;
/// Shortest text in decoded bytes that is looked at.
const TEXT_BYTES_MIN: usize = 10;
/// A line of at least so many digits may go on in the next one.
const LINE_BYTES_MIN: usize = 32;
/// Most bytes between two literals that an operator or a comma connects.
const JOINT_BYTES_MAX: usize = 64;
/// Most blanks at the start of a wrapped line.
const INDENT_BYTES_MAX: usize = 40;

const NO_DIGIT: u8 = 0xff;

static BASE64: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < 64 {
        table[digits[at] as usize] = at as u8;
        at += 1;
    }
    // URLs and file names.
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

static HEX: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

fn is_digit(byte: u8) -> bool {
    BASE64[usize::from(byte)] != NO_DIGIT
}

/// Text, and the zeros of UTF-16.
fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0)
}

/// The runs of one layer.
pub(crate) struct Runs {
    /// Bytes before this are done: taken, or known to be in no run.
    pub(crate) done: usize,
    /// Digits of the current line, while in a run.
    line: Option<usize>,
    digits: Digits,
    decoders: Vec<Decoder>,
}

/// The digits of a run that some alignment still needs.
#[derive(Default)]
struct Digits {
    bytes: Vec<u8>,
    origins: Vec<Origin>,
}

impl Runs {
    pub(crate) fn new() -> Runs {
        Runs { done: 0, line: None, digits: Digits::default(), decoders: Vec::new() }
    }

    /// Reads on in a layer's bytes.
    pub(crate) fn advance(&mut self, at: &Place<'_>, found: &mut Vec<Found>) {
        loop {
            let is_over = if self.line.is_some() { self.go_on(at, found) } else { self.look(at.bytes) };
            if is_over {
                break;
            }
        }
        if self.line.is_some() {
            self.decode(at, at.is_ended, found);
        }
        if at.is_ended {
            self.line = None;
            self.done = at.bytes.len();
        }
    }

    /// Looks for the start of a run. A run of the least length covers every place at that distance, so most bytes are
    /// not looked at. True when the bytes are over.
    fn look(&mut self, bytes: &[u8]) -> bool {
        loop {
            let probe = self.done + RUN_BYTES_MIN - 1;
            if probe >= bytes.len() {
                let digits = bytes[self.done..].iter().rev().take_while(|byte| is_digit(**byte)).count();
                self.done = bytes.len() - digits;
                return true;
            }
            if !is_digit(bytes[probe]) {
                self.done = probe + 1;
                continue;
            }
            let back = bytes[self.done..probe].iter().rev().take_while(|byte| is_digit(**byte)).count();
            let start = probe - back;
            let end = bytes.len().min(start + RUN_BYTES_MIN);
            match bytes[probe..end].iter().position(|byte| !is_digit(*byte)) {
                Some(gap) => self.done = probe + gap + 1,
                None => {
                    self.done = start;
                    if end < start + RUN_BYTES_MIN {
                        return true;
                    }
                    self.line = Some(0);
                    return false;
                }
            }
        }
    }

    /// Takes the digits of the run that goes on here. True when the bytes are over.
    fn go_on(&mut self, at: &Place<'_>, found: &mut Vec<Found>) -> bool {
        let (from, bytes) = (self.done, at.bytes);
        let count = bytes[from..].iter().take_while(|byte| is_digit(**byte)).count();
        self.digits.bytes.extend_from_slice(&bytes[from..from + count]);
        self.digits.origins.extend((from..from + count).map(|index| at.origins.at(index)));
        self.done = from + count;
        let line = self.line.unwrap_or(0) + count;
        self.line = Some(line);
        if self.done == bytes.len() {
            return true;
        }
        match wrapped(&bytes[self.done..], line) {
            Wrapped::Undecided if !at.is_ended => return true,
            Wrapped::At(next) => {
                self.done += next;
                self.line = Some(0);
            }
            _ => {
                self.decode(at, true, found);
                self.line = None;
            }
        }
        false
    }

    /// Decodes at every alignment what is there, and forgets the digits that none needs any more.
    fn decode(&mut self, at: &Place<'_>, is_ended: bool, found: &mut Vec<Found>) {
        if self.decoders.is_empty() {
            self.decoders = Decoder::all(at.layer);
        }
        for decoder in &mut self.decoders {
            decoder.decode(&self.digits, at.engine, is_ended, found);
        }
        if is_ended {
            self.digits.bytes.clear();
            self.digits.origins.clear();
            self.decoders.iter_mut().for_each(|decoder| decoder.next = 0);
        } else if self.digits.bytes.len() > FORGOTTEN_DIGITS {
            // A multiple of the digits after which every alignment begins a byte anew.
            let needed = self.decoders.iter().map(Decoder::first_digit).min().unwrap_or(0);
            let count = needed / FORGOTTEN_DIGITS * FORGOTTEN_DIGITS;
            self.digits.bytes.drain(..count);
            self.digits.origins.drain(..count);
            self.decoders.iter_mut().for_each(|decoder| decoder.forget(count));
        }
    }

    /// The first byte of the input that may still belong to a finding.
    pub(crate) fn hold(&self, origins: &Origins, length: usize) -> Option<u64> {
        if self.line.is_none() {
            return (self.done < length).then(|| origins.at(self.done).start);
        }
        self.decoders.iter().filter_map(|decoder| decoder.hold(&self.digits)).min()
    }
}

/// Digits are forgotten in blocks of this size: whole bytes in either alphabet.
const FORGOTTEN_DIGITS: usize = 4096;

enum Wrapped {
    Ended,
    Undecided,
    At(usize),
}

/// Whether a run goes on in the next line, or in the next literal of an expression.
fn wrapped(rest: &[u8], line: usize) -> Wrapped {
    if matches!(rest[0], b'"' | b'\'' | b'`') {
        let ahead = &rest[..rest.len().min(JOINT_BYTES_MAX)];
        return match bridge::next_literal(ahead) {
            Some(Some(next)) => Wrapped::At(next),
            None if ahead.len() < JOINT_BYTES_MAX => Wrapped::Undecided,
            _ => Wrapped::Ended,
        };
    }
    if line < LINE_BYTES_MIN || !matches!(rest[0], b'\r' | b'\n') {
        return Wrapped::Ended;
    }
    let blanks =
        rest.iter().take(INDENT_BYTES_MAX).take_while(|byte| matches!(byte, b'\r' | b'\n' | b' ' | b'\t')).count();
    match rest.get(blanks) {
        None if blanks < INDENT_BYTES_MAX => Wrapped::Undecided,
        Some(next) if is_digit(*next) && rest[..blanks].iter().filter(|byte| **byte == b'\n').count() <= 1 => {
            Wrapped::At(blanks)
        }
        _ => Wrapped::Ended,
    }
}

/// A layer's bytes, for its runs.
pub(crate) struct Place<'a> {
    pub(crate) engine: &'a Inner,
    pub(crate) layer: &'a Path,
    pub(crate) bytes: &'a [u8],
    pub(crate) origins: &'a Origins,
    pub(crate) is_ended: bool,
}

/// One alphabet at one alignment.
struct Decoder {
    values: &'static [u8; 256],
    /// Bits of a digit.
    bits: usize,
    /// Digits that are left out at the start of a run.
    shift: usize,
    /// The next decoded byte to look at.
    next: usize,
    child: Layer,
    is_open: bool,
}

impl Decoder {
    fn all(path: &Path) -> Vec<Decoder> {
        let decoder = |values, bits, shift, encoding| Decoder {
            values,
            bits,
            shift,
            next: 0,
            child: Layer::below(path, encoding),
            is_open: false,
        };
        let base64 = (0..4).map(|shift| decoder(&BASE64, 6, shift, Encoding::Base64));
        let hex = (0..2).map(|shift| decoder(&HEX, 4, shift, Encoding::Hex));
        base64.chain(hex).collect()
    }

    /// Index of the digit in which a decoded byte begins.
    fn digit_of(&self, byte: usize) -> usize {
        self.shift + byte * 8 / self.bits
    }

    fn first_digit(&self) -> usize {
        self.digit_of(self.next)
    }

    fn forget(&mut self, digits: usize) {
        self.next -= digits * self.bits / 8;
    }

    /// A decoded byte, if it is text. Its two digits must be there.
    fn text_at(&self, digits: &[u8], byte: usize) -> Option<u8> {
        let digit = self.digit_of(byte);
        let used = byte * 8 % self.bits;
        let (high, low) = (self.values[usize::from(digits[digit])], self.values[usize::from(digits[digit + 1])]);
        if (high | low) == NO_DIGIT {
            return None;
        }
        let value = (usize::from(high) << self.bits | usize::from(low)) >> (2 * self.bits - used - 8) & 0xff;
        u8::try_from(value).ok().filter(|byte| is_text(*byte))
    }

    /// Hands stretches of text on. Like the search for runs, it looks at few bytes of what is none.
    fn decode(&mut self, digits: &Digits, engine: &Inner, is_ended: bool, found: &mut Vec<Found>) {
        let there = digits.bytes.len().saturating_sub(self.shift) * self.bits / 8;
        while self.next < there {
            if self.is_open {
                match self.text_at(&digits.bytes, self.next) {
                    Some(byte) => {
                        let digit = self.first_digit();
                        let (first, last) = (digits.origins[digit], digits.origins[digit + 1]);
                        self.child.append(&[byte], Origin { start: first.start, end: last.end });
                    }
                    None => self.close(engine, found),
                }
                self.next += 1;
                continue;
            }
            let probe = self.next + TEXT_BYTES_MIN - 1;
            let from = probe.min(there - 1);
            let is_text = |byte: &usize| self.text_at(&digits.bytes, *byte).is_some();
            let back = (self.next..=from).rev().take_while(is_text).count();
            let start = from + 1 - back;
            if probe >= there {
                self.next = start;
                break;
            }
            let behind = (from + 1..there.min(start + TEXT_BYTES_MIN)).take_while(is_text).count();
            self.is_open = back + behind == TEXT_BYTES_MIN;
            match self.is_open || from + 1 + behind == there {
                // Too short yet.
                true if !self.is_open => {
                    self.next = start;
                    break;
                }
                true => self.next = start,
                false => self.next = from + 1 + behind,
            }
        }
        if is_ended {
            self.close(engine, found);
        } else if self.is_open {
            self.child.advance(engine, false, found);
        }
    }

    fn close(&mut self, engine: &Inner, found: &mut Vec<Found>) {
        if self.is_open {
            self.is_open = false;
            self.child.end_segment(engine, found);
        }
    }

    fn hold(&self, digits: &Digits) -> Option<u64> {
        let next = digits.origins.get(self.first_digit()).map(|origin| origin.start);
        let child = if self.is_open { self.child.hold_recorded() } else { None };
        [next, child].into_iter().flatten().min()
    }
}
