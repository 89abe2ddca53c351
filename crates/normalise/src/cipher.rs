//! Text whose letters are turned by thirteen places, and text written backwards.
//!
//! Both are told by letter pairs that read better when undone. The best stretches are found in one pass: a running sum
//! of how much better each word reads, begun anew where it falls below zero, ended where it has lost what chance would
//! not lose.

use std::ops::Range;

use crate::changes::Change;
use crate::english::{LETTER, pair, turned};
use crate::map::{Rewrite, Rewritten};

/// How much better a stretch must read when undone: 28 bits in all, and one bit on average a pair.
const GAIN_MIN: i32 = 28 * 16;
const GAIN_MEAN_MIN: i32 = 16;
/// A stretch ends where it has lost so much since its best point: eight bits.
const LOSS_MAX: i32 = 8 * 16;
/// Words of two letters and more that it must have. Single letters say nothing.
const WORDS_MIN: i32 = 3;

/// A way of writing that hides words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Rot13,
    Backwards,
}

impl Cipher {
    /// How a pair of letters reads when undone.
    fn undone(self, first: u8, second: u8) -> i32 {
        match self {
            Cipher::Rot13 => pair(turned(first), turned(second)),
            Cipher::Backwards => pair(second, first),
        }
    }

    /// What the undone stretch must average, in the units of [`pair`]. Languages such as Turkish and Swahili read nearly
    /// as well backwards to an English ear.
    fn plain_mean_min(self) -> i32 {
        match self {
            Cipher::Rot13 => 7,
            Cipher::Backwards => 13,
        }
    }
}

/// Undoes a cipher where it was used.
pub(crate) fn rewrite(text: &str, cipher: Cipher) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    for range in stretches(text, cipher) {
        match cipher {
            Cipher::Rot13 => {
                let plain: String = text[range.clone()].bytes().map(rotated).collect();
                out.replace_by_step(range, &plain, (1, 1), Change::Rot13);
            }
            Cipher::Backwards if is_word_by_word(&text[range.clone()]) => {
                let mut start = range.start;
                for word in text[range].split_inclusive(|symbol: char| !symbol.is_ascii_alphabetic()) {
                    let letters = word.trim_end_matches(|symbol: char| !symbol.is_ascii_alphabetic()).len();
                    if letters > 1 {
                        out.reverse(start..start + letters);
                    }
                    start += word.len();
                }
            }
            Cipher::Backwards => out.reverse(range),
        }
    }
    out.finish()
}

/// Whether each word was turned for itself: then the sentence's capital ends its first word.
fn is_word_by_word(stretch: &str) -> bool {
    let first = stretch.as_bytes().split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    first.first().is_some_and(u8::is_ascii_lowercase) && first.last().is_some_and(u8::is_ascii_uppercase)
}

fn rotated(byte: u8) -> char {
    match byte {
        b'a'..=b'm' | b'A'..=b'M' => (byte + 13) as char,
        b'n'..=b'z' | b'N'..=b'Z' => (byte - 13) as char,
        _ => byte as char,
    }
}

/// A stretch under way.
#[derive(Default)]
struct Stretch {
    start: usize,
    sum: Sums,
    best: Sums,
    best_end: usize,
}

#[derive(Default, Clone, Copy)]
struct Sums {
    gain: i32,
    plain: i32,
    pairs: i32,
    words: i32,
}

impl Stretch {
    fn found(&self, cipher: Cipher) -> Option<Range<usize>> {
        let Sums { gain, plain, pairs, words } = self.best;
        let better = gain >= GAIN_MIN && gain >= GAIN_MEAN_MIN * pairs;
        let good = words >= WORDS_MIN && plain >= cipher.plain_mean_min() * pairs;
        (better && good).then_some(self.start..self.best_end)
    }
}

/// The stretches of ASCII that read better when undone.
fn stretches(text: &str, cipher: Cipher) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut stretch = Stretch::default();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if LETTER[usize::from(byte)] == 0 {
            if !byte.is_ascii() {
                found.extend(stretch.found(cipher));
                stretch = Stretch::default();
            }
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|byte| LETTER[usize::from(**byte)] != 0).count();
        // Single letters, and pieces of words with letters beyond ASCII, are not judged.
        let cut = at > 0 && !bytes[at - 1].is_ascii() || bytes.get(end).is_some_and(|byte| !byte.is_ascii());
        if end - at < 2 || cut {
            at = end;
            continue;
        }
        let word = word(&bytes[at..end], cipher);
        let sum = &mut stretch.sum;
        if sum.pairs == 0 {
            stretch.start = at;
        }
        sum.gain = sum.gain.saturating_add(word.gain);
        sum.plain = sum.plain.saturating_add(word.plain);
        sum.pairs = sum.pairs.saturating_add(word.pairs);
        sum.words = sum.words.saturating_add(1);
        if sum.gain > stretch.best.gain {
            (stretch.best, stretch.best_end) = (*sum, end);
        } else if sum.gain <= 0 || sum.gain < stretch.best.gain - LOSS_MAX {
            found.extend(stretch.found(cipher));
            stretch = Stretch::default();
        }
        at = end;
    }
    found.extend(stretch.found(cipher));
    found
}

fn word(letters: &[u8], cipher: Cipher) -> Sums {
    let (mut sums, mut last) = (Sums::default(), 0);
    for letter in letters.iter().map(|byte| LETTER[usize::from(*byte)]).chain([0]) {
        let undone = cipher.undone(last, letter);
        sums.gain = sums.gain.saturating_add(undone - pair(last, letter));
        sums.plain = sums.plain.saturating_add(undone);
        sums.pairs += 1;
        last = letter;
    }
    sums
}
