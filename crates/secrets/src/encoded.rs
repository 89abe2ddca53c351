//! Runs of base64 and hexadecimal digits, decoded at every alignment.
//!
//! A wrong alignment, and binary data, decode to bytes of which few are text; only stretches of text go on to a layer
//! of their own. So the start of a run need not be known, and a picture in base64 costs its decoding only.

use crate::engine::Inner;
use crate::finding::Encoding;
use crate::layer::{Found, Layer, Origin, Origins};

/// Shortest run that is decoded: the shortest secret that is looked for (16 bytes) in base64, with its neighbours cut.
pub(crate) const RUN_BYTES_MIN: usize = 22;
/// Shortest text in decoded bytes that is looked at.
const TEXT_BYTES_MIN: usize = 10;
/// A line of at least so many digits may go on in the next one.
const LINE_BYTES_MIN: usize = 32;
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
    /// Bytes before this are done: fed, or known to be in no run.
    pub(crate) done: usize,
    /// Digits of the current line, while in a run.
    line: Option<usize>,
    decoders: Vec<Decoder>,
}

impl Runs {
    pub(crate) fn new() -> Runs {
        Runs { done: 0, line: None, decoders: Vec::new() }
    }

    /// Reads on in a layer's bytes.
    pub(crate) fn advance(&mut self, at: &Place<'_>, found: &mut Vec<Found>) {
        loop {
            let is_over = if self.line.is_some() { self.go_on(at, found) } else { self.look(at) };
            if is_over {
                break;
            }
        }
        for decoder in &mut self.decoders {
            decoder.advance(at.engine, found);
        }
        if at.is_ended {
            self.end_run(at.engine, found);
            self.done = at.bytes.len();
        }
    }

    /// Looks for the start of a run. A run of the least length covers every place at that distance, so most bytes are
    /// not looked at. True when the bytes are over.
    fn look(&mut self, at: &Place<'_>) -> bool {
        let bytes = at.bytes;
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
                None if end == start + RUN_BYTES_MIN => {
                    self.done = start;
                    self.line = Some(0);
                    return false;
                }
                None => {
                    self.done = start;
                    return true;
                }
            }
        }
    }

    /// Decodes the run that goes on here. True when the bytes are over.
    fn go_on(&mut self, at: &Place<'_>, found: &mut Vec<Found>) -> bool {
        let (from, bytes) = (self.done, at.bytes);
        let count = bytes[from..].iter().take_while(|byte| is_digit(**byte)).count();
        if self.decoders.is_empty() {
            self.decoders = Decoder::all(at.layer);
        }
        for decoder in &mut self.decoders {
            decoder.feed(at, from..from + count, found);
        }
        self.done = from + count;
        let line = self.line.unwrap_or(0) + count;
        self.line = Some(line);
        if self.done == bytes.len() {
            return true;
        }
        match wrapped(&bytes[self.done..], line) {
            Wrapped::Undecided if !at.is_ended => true,
            Wrapped::At(next) => {
                self.done += next;
                self.line = Some(0);
                false
            }
            _ => {
                self.end_run(at.engine, found);
                false
            }
        }
    }

    fn end_run(&mut self, engine: &Inner, found: &mut Vec<Found>) {
        self.line = None;
        self.decoders.iter_mut().for_each(|decoder| decoder.end(engine, found));
    }

    /// The first byte of the input that may still belong to a finding.
    pub(crate) fn hold(&self, origins: &Origins, length: usize) -> Option<u64> {
        let undecided = (self.line.is_none() && self.done < length).then(|| origins.at(self.done).start);
        self.decoders.iter().filter_map(Decoder::hold).chain(undecided).min()
    }
}

enum Wrapped {
    Ended,
    Undecided,
    At(usize),
}

/// Whether a run goes on in the next line.
fn wrapped(rest: &[u8], line: usize) -> Wrapped {
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
    pub(crate) layer: &'a crate::layer::Path,
    pub(crate) bytes: &'a [u8],
    pub(crate) origins: &'a Origins,
    pub(crate) is_ended: bool,
}

/// One alphabet at one alignment.
struct Decoder {
    digits: &'static [u8; 256],
    /// Bits of a digit.
    bits: u32,
    /// Digits that are left out at the start of a run.
    shift: u32,
    left_out: u32,
    value: u32,
    bits_there: u32,
    last: Origin,
    /// Text that is too short yet to be looked at.
    text: Vec<(u8, Origin)>,
    child: Layer,
    is_open: bool,
}

impl Decoder {
    fn all(path: &crate::layer::Path) -> Vec<Decoder> {
        let base64 = (0..4).map(|shift| Decoder::new(&BASE64, 6, shift, path, Encoding::Base64));
        let hex = (0..2).map(|shift| Decoder::new(&HEX, 4, shift, path, Encoding::Hex));
        base64.chain(hex).collect()
    }

    fn new(
        digits: &'static [u8; 256],
        bits: u32,
        shift: u32,
        path: &crate::layer::Path,
        encoding: Encoding,
    ) -> Decoder {
        let child = Layer::below(path, encoding);
        let last = Origin { start: 0, end: 0 };
        Decoder {
            digits,
            bits,
            shift,
            left_out: 0,
            value: 0,
            bits_there: 0,
            last,
            text: Vec::new(),
            child,
            is_open: false,
        }
    }

    fn feed(&mut self, at: &Place<'_>, range: std::ops::Range<usize>, found: &mut Vec<Found>) {
        for index in range {
            let digit = self.digits[usize::from(at.bytes[index])];
            if digit == NO_DIGIT {
                self.end(at.engine, found);
                continue;
            }
            if self.left_out < self.shift {
                self.left_out += 1;
                continue;
            }
            let origin = at.origins.at(index);
            self.value = self.value << self.bits | u32::from(digit);
            self.bits_there += self.bits;
            if self.bits_there >= 8 {
                self.bits_there -= 8;
                let byte = (self.value >> self.bits_there & 0xff) as u8;
                self.put(byte, Origin { start: self.last.start, end: origin.end }, at.engine, found);
            }
            self.last = origin;
        }
    }

    fn put(&mut self, byte: u8, origin: Origin, engine: &Inner, found: &mut Vec<Found>) {
        if !is_text(byte) {
            self.close(engine, found);
        } else if self.is_open {
            self.child.append(&[byte], origin);
        } else {
            self.text.push((byte, origin));
            if self.text.len() >= TEXT_BYTES_MIN {
                self.is_open = true;
                self.text.drain(..).for_each(|(byte, origin)| self.child.append(&[byte], origin));
            }
        }
    }

    fn advance(&mut self, engine: &Inner, found: &mut Vec<Found>) {
        if self.is_open {
            self.child.advance(engine, false, found);
        }
    }

    fn close(&mut self, engine: &Inner, found: &mut Vec<Found>) {
        self.text.clear();
        if self.is_open {
            self.is_open = false;
            self.child.end_segment(engine, found);
        }
    }

    /// The end of a run: the next one has an alignment of its own.
    fn end(&mut self, engine: &Inner, found: &mut Vec<Found>) {
        self.close(engine, found);
        self.left_out = 0;
        self.bits_there = 0;
        self.value = 0;
    }

    fn hold(&self) -> Option<u64> {
        let text = self.text.first().map(|(_, origin)| origin.start);
        let bits = (self.bits_there > 0).then_some(self.last.start);
        let child = if self.is_open { self.child.hold_recorded() } else { None };
        [text, bits, child].into_iter().flatten().min()
    }
}
