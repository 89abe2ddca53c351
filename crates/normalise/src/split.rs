//! Words whose letters stand apart, and words with digits for letters.

use std::ops::Range;

use crate::changes::Change;
use crate::english::{LETTER, pair, score};
use crate::map::{Rewrite, Rewritten};
use crate::unicode::is_letter;

/// Single letters in a row from which they are a split word.
const LETTERS_MIN: usize = 4;
/// Characters of the longest separator between them.
const SEPARATOR_CHARS_MAX: usize = 4;
/// Different separators told apart when the most frequent one is looked for.
const SEPARATORS_MAX: usize = 8;

/// Joins the letters of split words; a separator other than the usual one is a gap between words.
pub(crate) fn rewrite(text: &str) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    let (mut at, mut joined) = (0, false);
    while let Some(symbol) = text[at..].chars().next() {
        let letter = is_letter(symbol);
        if letter && !joined {
            let letters = single_letters(text, at);
            if let Some(last) = letters.last() {
                if letters.len() >= LETTERS_MIN {
                    join(&mut out, text, &letters);
                }
                at = last.end;
                joined = true;
                continue;
            }
        }
        joined = letter;
        at += symbol.len_utf8();
    }
    out.finish()
}

fn is_separator(symbol: char) -> bool {
    if symbol.is_ascii() {
        !symbol.is_ascii_alphanumeric()
    } else {
        symbol.is_whitespace() || matches!(symbol, '·' | '•' | '–' | '—' | '|')
    }
}

/// The letters, each alone, that follow each other from `at` on.
fn single_letters(text: &str, at: usize) -> Vec<Range<usize>> {
    let mut letters: Vec<Range<usize>> = Vec::new();
    let mut start = at;
    loop {
        let mut chars = text[start..].char_indices();
        let Some((_, symbol)) = chars.next() else { break };
        let end = start + symbol.len_utf8();
        let mut rest = text[end..].char_indices();
        let next = rest.by_ref().take(SEPARATOR_CHARS_MAX + 1).find(|(_, symbol)| !is_separator(*symbol));
        match next {
            // A letter right behind: not alone.
            Some((0, _)) => break,
            Some((offset, next)) => {
                letters.push(start..end);
                start = end + offset;
                if !is_letter(next) {
                    break;
                }
            }
            None => {
                letters.push(start..end);
                break;
            }
        }
    }
    letters
}

fn join(out: &mut Rewrite<'_>, text: &str, letters: &[Range<usize>]) {
    let alphabetic = letters
        .iter()
        .filter(|range| text[(*range).clone()].chars().all(|symbol| is_letter(symbol) && !symbol.is_ascii_digit()))
        .count();
    let gaps: Vec<&str> = letters.windows(2).map(|two| &text[two[0].end..two[1].start]).collect();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for gap in &gaps {
        match counts.iter().position(|(known, _)| known == gap) {
            Some(index) => counts[index].1 += 1,
            None if counts.len() < SEPARATORS_MAX => counts.push((gap, 1)),
            None => {}
        }
    }
    let Some((usual, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
    if count + 1 < LETTERS_MIN || alphabetic < LETTERS_MIN || alphabetic * 4 < letters.len() * 3 {
        return;
    }
    for (index, gap) in gaps.iter().enumerate() {
        let letter = letters[index].clone();
        let mut with = String::from(&text[letter.clone()]);
        if *gap != usual {
            with.push(' ');
        }
        out.replace(letter.start..letters[index + 1].start, &with, Change::Split);
    }
}

/// Words of the kind `1gn0r3` that a text must have before any is read: one alone is mostly a name or a unit.
const LEET_WORDS_MIN: usize = 2;
/// The least average of the pair scores of such a word's plain form.
const LEET_SCORE_MIN: i32 = 5;

/// Reads digits and signs inside words as letters.
pub(crate) fn rewrite_leet(text: &str) -> Option<Rewritten> {
    let mut words = Vec::new();
    let mut sure = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(digit) = bytes[at..].iter().position(|byte| DIGITS[usize::from(*byte)]).map(|offset| at + offset) {
        let start = digit - bytes[at..digit].iter().rev().take_while(|byte| is_leet(**byte)).count();
        let end = digit + bytes[digit..].iter().take_while(|byte| is_leet(**byte)).count();
        let word = &bytes[start..end];
        if stands_free(bytes, start, end)
            && let Some(plain) = read_leet(word)
        {
            sure += usize::from(has_inner_digit(word));
            words.push((start..end, plain));
        }
        at = end;
    }
    if sure < LEET_WORDS_MIN {
        return None;
    }
    let mut out = Rewrite::of(text);
    for (range, plain) in words {
        out.replace_by_step(range, &plain, (1, 1), Change::Leet);
    }
    out.finish()
}

/// Digits and signs that stand for letters.
static DIGITS: [bool; 256] = {
    let mut table = [false; 256];
    let digits = b"013457@$";
    let mut at = 0;
    while at < digits.len() {
        table[digits[at] as usize] = true;
        at += 1;
    }
    table
};

const fn is_leet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'$')
}

/// Whether a word stands among words, not among the parts of an identifier, a path or a number.
fn stands_free(bytes: &[u8], start: usize, end: usize) -> bool {
    let blank = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
    let before = start.checked_sub(1).is_none_or(|at| blank(bytes[at]) || bytes[at] == b'(');
    before && bytes.get(end).is_none_or(|byte| blank(*byte) || b",.!?;:)".contains(byte))
}

fn has_inner_digit(word: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphabetic();
    let (first, last) = (word.iter().position(letter), word.iter().rposition(letter));
    let between = first.zip(last).is_some_and(|(first, last)| word[first..last].iter().any(|byte| !letter(byte)));
    between || word.first().zip(word.last()).is_some_and(|(first, last)| !letter(first) && !letter(last))
}

/// The plain form of a word with digits in it, where it reads like one.
fn read_leet(word: &[u8]) -> Option<String> {
    let letters = word.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    if letters == word.len()
        || letters == 0
        || word.len() < 3
        || word.len() > 24
        || letters * 5 < word.len()
        || !word[0].is_ascii_alphanumeric()
    {
        return None;
    }
    let mut plain = String::with_capacity(word.len());
    for (index, &byte) in word.iter().enumerate() {
        let before = plain.as_bytes().last().map_or(0, |last| LETTER[usize::from(*last)]);
        let letter = match byte {
            b'0' => 'o',
            b'1' => {
                let after = word.get(index + 1).map_or(0, |next| LETTER[usize::from(*next)]);
                let fit = |letter: u8| pair(before, letter) + pair(letter, after);
                if fit(9) >= fit(12) { 'i' } else { 'l' }
            }
            b'3' => 'e',
            b'4' | b'@' => 'a',
            b'5' | b'$' => 's',
            b'7' => 't',
            _ if byte.is_ascii_alphabetic() => byte as char,
            _ => return None,
        };
        plain.push(letter);
    }
    let (sum, pairs) = score(plain.bytes().map(|byte| LETTER[usize::from(byte)]));
    (sum >= LEET_SCORE_MIN * pairs).then_some(plain)
}
