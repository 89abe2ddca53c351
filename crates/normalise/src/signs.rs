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

/// In a class: the letter's number below, then three flags.
const LETTER_BITS: u8 = 0x1f;
/// Worth a second look-up, in [`RARE`].
const SPECIAL: u8 = 1 << 5;
const ALNUM: u8 = 1 << 6;
const TOKEN: u8 = 1 << 7;

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
        let blocks = text.as_bytes().chunks_exact(BLOCK);
        let rest = blocks.remainder();
        for block in blocks {
            if let Ok(block) = block.try_into() {
                signs.look(block, &mut history);
            }
        }
        // What a short last block lacks is filled with blanks.
        let mut last = [b' '; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        signs.look(&last, &mut history);
        signs
    }

    /// Whether no pass is needed.
    pub(crate) fn is_plain(self) -> bool {
        self == Signs::default()
    }

    #[inline]
    fn look(&mut self, block: &[u8; BLOCK], history: &mut History) {
        let classes = block.map(|byte| CLASS[usize::from(byte)]);
        let (words, _) = classes.as_chunks::<8>();
        let mut seen = 0;
        let (mut alnum, mut token) = (0u64, 0u64);
        for word in words {
            let word = u64::from_le_bytes(*word);
            seen |= word;
            alnum = alnum << 8 | gather(word >> 6);
            token = token << 8 | gather(word >> 7);
        }
        history.alnum = history.alnum << BLOCK | alnum;
        history.token = history.token << BLOCK | token;
        self.long |= has_run_of_sixteen(history.token);
        self.spaced |= has_single_letters(history.alnum);

        let mut letters = [0u8; BLOCK + 1];
        letters[0] = history.letter;
        for (letter, class) in letters[1..].iter_mut().zip(classes) {
            *letter = class & LETTER_BITS;
        }
        history.letter = letters[BLOCK];
        let mut better = 0u32;
        for two in letters.windows(2) {
            better += BETTER[usize::from(u16::from_le_bytes([two[0], two[1]])) & 0x1fff];
        }
        self.backwards |= better & 0xffff >= SUSPECT;
        self.rot13 |= better >> 16 >= SUSPECT;
        let flat = !alnum as u32;
        if seen & (0x0101_0101_0101_0101 * u64::from(SPECIAL)) != 0 || flat & flat >> 4 & flat >> 8 != 0 {
            self.look_again(block);
        }
    }

    /// The second look, at a block with something rare in it, or with a stretch of neither letter nor digit.
    fn look_again(&mut self, block: &[u8; BLOCK]) {
        let (mut seen, mut digits, mut letters, mut bits, mut dots) = (0, 0u32, 0u32, 0, 0);
        for &byte in block {
            let rare = RARE[usize::from(byte)];
            seen |= rare;
            digits = digits << 1 | u32::from(rare >> 2 & 1);
            letters = letters << 1 | u32::from(byte.is_ascii_alphabetic());
            bits += u32::from(rare >> 3 & 1);
            dots += u32::from(rare >> 4 & 1);
        }
        self.markup |= seen & MARKUP != 0;
        self.escapes |= seen & ESCAPE != 0;
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
    letter: u8,
}

/// The lowest bits of eight bytes side by side, the first byte's uppermost.
const fn gather(word: u64) -> u64 {
    (word & 0x0101_0101_0101_0101).wrapping_mul(0x8040_2010_0804_0201) >> 56
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
