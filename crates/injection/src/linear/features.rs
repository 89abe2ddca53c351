//! What the linear stage sees of a text: n-grams of characters within words, words, and pairs of words.
//!
//! Letters are folded to lower case. A run of letters and digits is a word, so is a run of other signs; a mark stands at
//! both ends of each. Scripts that write without gaps (Chinese, Japanese, Korean, Thai and their neighbours) give shorter
//! n-grams, since a character of theirs says more.

use std::ops::Range;

/// Bytes of a block, but for what is left to the next gap. Two blocks make a window.
pub const BLOCK_BYTES: usize = 200;
/// Bytes that may be added to a block to reach a gap.
const GAP_BYTES_MAX: usize = 40;

/// Takes the features of a text, one after the other.
pub trait Sink {
    /// A feature's hash: 32 bits, of which the upper ones are the better ones; tables use the lowest.
    fn feature(&mut self, hash: u32);
}

/// The blocks of a text, one after the other, cut at gaps where there are any.
pub fn blocks(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        if start == text.len() {
            return None;
        }
        // What would be left over is no block of its own if it is less than half of one.
        at = if text.len() - start < BLOCK_BYTES + BLOCK_BYTES / 2 {
            text.len()
        } else {
            cut(text, start + BLOCK_BYTES)
        };
        Some(start..at)
    })
}

/// The first gap at or after `at`, within bounds; else the next character boundary.
fn cut(text: &str, at: usize) -> usize {
    let near = &text.as_bytes()[at..text.len().min(at + GAP_BYTES_MAX)];
    match near.iter().position(|byte| matches!(byte, b' ' | b'\n')) {
        Some(offset) => at + offset,
        None => text.ceil_char_boundary(at),
    }
}

/// The kinds of characters between which a word ends.
const GAP: u8 = 0;
const WORD: u8 = 1;
const SIGN: u8 = 2;
const DENSE: u8 = 3;

/// Bits of a character in an n-gram, of which five make 60.
const UNIT_BITS: u32 = 12;
const UNIT: u64 = (1 << UNIT_BITS) - 1;
/// The bits of so many characters.
const fn last(units: u32) -> u64 {
    (1 << (units * UNIT_BITS)) - 1
}
/// The mark at both ends of a word.
const MARK: u64 = 1;

/// Class and unit of each ASCII character.
static ASCII: [(u8, u8); 128] = {
    let mut table = [(SIGN, 0); 128];
    let mut byte = 0;
    while byte < 128 {
        let symbol = byte as u8;
        let class = if symbol.is_ascii_alphanumeric() {
            WORD
        } else if symbol <= b' ' || symbol == 0x7f {
            GAP
        } else {
            SIGN
        };
        table[byte] = (class, symbol.to_ascii_lowercase());
        byte += 1;
    }
    table
};

/// Class and folded code of a character beyond ASCII.
fn beyond_ascii(symbol: char) -> (u8, u32) {
    let code = u32::from(symbol);
    match code {
        0x80..=0xa0 => (GAP, 0),
        0xa1..=0xbf | 0xd7 | 0xf7 => (SIGN, code),
        0xc0..=0xde => (WORD, code + 0x20),
        0x100..=0x137 | 0x14a..=0x177 | 0x1e00..=0x1eff => (WORD, code | 1),
        0x139..=0x148 | 0x179..=0x17e => (WORD, (code + 1) & !1),
        0x391..=0x3a9 | 0x410..=0x42f => (WORD, code + 0x20),
        0x400..=0x40f => (WORD, code + 0x50),
        0x460..=0x52f => (WORD, code | 1),
        0x531..=0x556 => (WORD, code + 0x30),
        0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff => (DENSE, code),
        0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xfeff => (GAP, 0),
        0x2010..=0x2bff | 0x3001..=0x303f | 0xfe10..=0xfe6f | 0xff00..=0xff0f | 0x1f000..=0x1faff => (SIGN, code),
        0x1100..=0x11ff | 0x3040..=0xd7ff | 0xff66..=0xff9f | 0x20000..=0x3ffff => (DENSE, code),
        _ => (WORD, code),
    }
}

/// Odd numbers with well-mixed bits, one for each kind of feature.
const MIX: [u64; 8] = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0xd6e8_feb8_6659_fd93,
    0xff51_afd7_ed55_8ccd,
    0xc4ce_b9fe_1a85_ec53,
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
];

const fn hashed(value: u64, kind: usize) -> u32 {
    (value.wrapping_mul(MIX[kind]) >> 32) as u32
}

/// What of the text before still matters.
struct State {
    /// The last characters of the word, the last one lowest.
    units: u64,
    class: u8,
    /// Hashes of the word so far and of the two before it; zero for none.
    word: u64,
    before: u64,
    long_before: u64,
}

/// Gives each feature of a text to the sink.
pub fn features(text: &str, sink: &mut impl Sink) {
    let bytes = text.as_bytes();
    let mut state = State { units: 0, class: GAP, word: 0, before: 0, long_before: 0 };
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (class, code);
        if byte < 0x80 {
            let (ascii_class, unit) = ASCII[usize::from(byte)];
            (class, code) = (ascii_class, u32::from(unit));
            at += 1;
        } else {
            let Some(symbol) = text[at..].chars().next() else { break };
            (class, code) = beyond_ascii(symbol);
            at += symbol.len_utf8();
        }
        if class != state.class {
            end_word(&mut state, sink);
            state.class = class;
        }
        if class != GAP {
            next(&mut state, code, sink);
        }
    }
    end_word(&mut state, sink);
}

#[inline]
fn next(state: &mut State, code: u32, sink: &mut impl Sink) {
    // ASCII has units of its own, the other characters share the rest.
    let unit = if code < 0x80 { u64::from(code) } else { 0x80 + u64::from(code) % (UNIT - 0x7f) };
    state.units = state.units << UNIT_BITS | unit;
    if state.class == DENSE {
        sink.feature(hashed(u64::from(code) + 1, 5));
        sink.feature(hashed(state.units & last(2), 6));
    }
    grams(state.units, sink);
    state.word = (state.word ^ u64::from(code)).wrapping_mul(MIX[0]).rotate_left(23);
}

#[inline]
fn grams(units: u64, sink: &mut impl Sink) {
    sink.feature(hashed(units & last(3), 0));
    sink.feature(hashed(units & last(4), 1));
    sink.feature(hashed(units & last(5), 2));
}

#[inline]
fn end_word(state: &mut State, sink: &mut impl Sink) {
    if state.class != GAP {
        grams(state.units << UNIT_BITS | MARK, sink);
    }
    if state.class == WORD {
        sink.feature(hashed(state.word, 3));
        sink.feature(hashed(state.word ^ state.before.rotate_left(17), 4));
        sink.feature(hashed(state.word ^ state.long_before.rotate_left(31), 7));
        (state.long_before, state.before) = (state.before, state.word);
    }
    (state.units, state.word) = (MARK, 0);
}
