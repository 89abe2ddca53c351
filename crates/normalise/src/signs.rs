//! The one look at a text that decides which passes it needs; most texts need none.
//!
//! A block of bytes becomes a block of classes by one table; questions about runs and patterns are then asked of bit masks,
//! a block at a time, and the reading of letter pairs is one look-up a byte. No branch depends on a single byte. A sign only
//! ever costs time (the pass decides), a missed sign would hide a disguise.

use crate::english::{LETTER, pair, turned};
use crate::unicode;

/// What a text shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Characters that the Unicode pass may change.
    pub(crate) unicode: bool,
    /// One of `<*` and the backtick.
    pub(crate) markup: bool,
    /// One of `&%\=`.
    pub(crate) escapes: bool,
    /// Sixteen token characters without a gap.
    pub(crate) long: bool,
    /// Single letters between separators.
    pub(crate) spaced: bool,
    /// Letter pairs that read better backwards.
    pub(crate) backwards: bool,
    /// Letter pairs that read better thirteen places on.
    pub(crate) rot13: bool,
    /// Letters and digits in turn.
    pub(crate) leet: bool,
    /// Zeros and ones.
    pub(crate) binary: bool,
    /// Dots and dashes.
    pub(crate) morse: bool,
}

/// In a class: the letter's number in the lower five bits, then three flags.
/// Worth a second look-up, in [`RARE`].
const SPECIAL: u8 = 1 << 5;
const ALNUM: u8 = 1 << 6;
const TOKEN: u8 = 1 << 7;
/// The lowest bit of each of eight bytes.
const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
const SPECIALS: u64 = EACH_BYTE * SPECIAL as u64;

const CLASS: [u8; 256] = {
    let mut table = LETTER;
    let mut byte = 0;
    while byte < 256 {
        let symbol = byte as u8;
        if symbol.is_ascii_alphanumeric() {
            table[byte] |= ALNUM | TOKEN;
        }
        if matches!(symbol, b'+' | b'/' | b'-' | b'_') {
            table[byte] |= TOKEN;
        }
        if RARE[byte] & !DOT_DASH != 0 {
            table[byte] |= SPECIAL;
        }
        byte += 1;
    }
    table
};

const MARKUP: u8 = 1;
const ESCAPE: u8 = 1 << 1;
const DIGIT: u8 = 1 << 2;
const BIT: u8 = 1 << 3;
const DOT_DASH: u8 = 1 << 4;

/// What the less frequent ASCII characters are.
const RARE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'<' | b'*' | b'`' => MARKUP,
            b'&' | b'%' | b'\\' | b'=' => ESCAPE,
            b'0' | b'1' => DIGIT | BIT,
            b'2'..=b'9' | b'@' | b'$' => DIGIT,
            b'.' | b'-' => DOT_DASH,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Short enough that a disguised phrase fills one.
const BLOCK: usize = 32;
/// Bytes whose classes are looked up in one go.
const CHUNK: usize = 512;

/// For each pair of letters (the first below, the second above): how much better it reads backwards (low half) and
/// thirteen places on (high half), both shifted to be positive.
static BETTER: [u32; 8192] = {
    let mut table = [EACH | EACH << 16; 8192];
    let mut first = 0;
    while first < 27 {
        let mut second = 0;
        while second < 27 {
            let forward = pair(first, second);
            let backwards = (pair(second, first) - forward) as u32;
            let along = (pair(turned(first), turned(second)) - forward) as u32;
            table[first as usize | (second as usize) << 8] =
                EACH.wrapping_add(backwards) | EACH.wrapping_add(along) << 16;
            second += 1;
        }
        first += 1;
    }
    table
};
const EACH: u32 = 256;
/// A block's sum from which it is looked at closely: ten bits above even. A phrase in either cipher has thirty or more.
const SUSPECT: u32 = EACH * BLOCK as u32 + 160;
/// Changes between letter and digit in one block.
const TURNS_MIN: u32 = 3;
/// Binary digits, and dots and dashes, in one block.
const BITS_MIN: u32 = 20;
const DOTS_MIN: u32 = 8;

impl Signs {
    /// Looks at a text.
    pub(crate) fn of(text: &str) -> Signs {
        let mut signs = Signs::default();
        if !text.is_ascii() {
            unicode::look(text, &mut signs);
        }
        let mut history = History::default();
        for chunk in text.as_bytes().chunks(CHUNK) {
            signs.look(chunk, &mut history);
        }
        signs
    }

    /// Whether no pass is needed.
    pub(crate) fn is_plain(self) -> bool {
        self == Signs::default()
    }

    fn look(&mut self, chunk: &[u8], history: &mut History) {
        // The class of what came before, then those of the chunk; what a short last block lacks counts as blanks.
        let mut classes = [0u8; CHUNK + 1];
        classes[0] = history.class;
        for (class, byte) in classes[1..].iter_mut().zip(chunk) {
            *class = CLASS[usize::from(*byte)];
        }
        history.class = classes[chunk.len()];
        let (blocks, _) = classes[1..].as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().take(chunk.len().div_ceil(BLOCK)).enumerate() {
            let (mut seen, mut alnum, mut token) = (0, 0u64, 0u64);
            for word in block.as_chunks::<8>().0 {
                let word = u64::from_le_bytes(*word);
                seen |= word;
                alnum = alnum << 8 | gather(word >> 6);
                token = token << 8 | gather(word >> 7);
            }
            history.alnum = history.alnum << BLOCK | alnum;
            history.token = history.token << BLOCK | token;
            self.long |= has_run_of_sixteen(history.token);
            self.spaced |= has_single_letters(history.alnum);
            let mut better = 0u32;
            for pair in classes[index * BLOCK..][..=BLOCK].windows(2) {
                better += BETTER[usize::from(u16::from_le_bytes([pair[0], pair[1]]) & 0x1f1f)];
            }
            self.backwards |= better & 0xffff >= SUSPECT;
            self.rot13 |= better >> 16 >= SUSPECT;
            let flat = !alnum as u32;
            if seen & SPECIALS != 0 || flat & flat >> 4 & flat >> 8 != 0 {
                let start = index * BLOCK;
                self.look_again(&chunk[start..chunk.len().min(start + BLOCK)], alnum as u32);
            }
        }
    }

    /// The second look, at a block with something rare in it, or with a stretch of neither letter nor digit.
    fn look_again(&mut self, block: &[u8], alnum: u32) {
        let mut rare = [0u8; BLOCK];
        for (rare, byte) in rare.iter_mut().zip(block) {
            *rare = RARE[usize::from(*byte)];
        }
        let (mut seen, mut digits, mut bits, mut dots) = (0, 0, 0, 0);
        for word in rare.as_chunks::<8>().0 {
            let word = u64::from_le_bytes(*word);
            seen |= word;
            digits = digits << 8 | gather(word >> 2);
            bits += (word >> 3 & EACH_BYTE).count_ones();
            dots += (word >> 4 & EACH_BYTE).count_ones();
        }
        let digits = digits as u32;
        let letters = alnum & !digits;
        self.markup |= seen & (EACH_BYTE * MARKUP as u64) != 0;
        self.escapes |= seen & (EACH_BYTE * ESCAPE as u64) != 0;
        self.leet |= (digits & letters >> 1 | letters & digits >> 1).count_ones() >= TURNS_MIN;
        self.binary |= bits >= BITS_MIN;
        self.morse |= dots >= DOTS_MIN;
    }
}

/// What the blocks before have left: a bit a byte, the last one lowest.
#[derive(Default)]
struct History {
    alnum: u64,
    token: u64,
    class: u8,
}

/// The lowest bits of eight bytes side by side, the first byte's uppermost.
const fn gather(word: u64) -> u64 {
    (word & EACH_BYTE).wrapping_mul(0x8040_2010_0804_0201) >> 56
}

const fn has_run_of_sixteen(bits: u64) -> bool {
    let two = bits & bits >> 1;
    let four = two & two >> 2;
    let eight = four & four >> 4;
    eight & eight >> 8 != 0
}

/// Four times a one after a zero, with nothing between.
pub(crate) const fn has_single_letters(bits: u64) -> bool {
    let one = bits & !(bits >> 1);
    let two = one & one >> 2;
    two & two >> 4 != 0
}
