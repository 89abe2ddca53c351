//! Text written in binary digits, and in Morse code.

use crate::changes::Change;
use crate::english::plausible;
use crate::map::{Rewrite, Rewritten};

/// Letters from which binary digits or Morse code are taken for text.
const LETTERS_MIN: usize = 3;

/// Reads binary digits: groups of seven or eight, or one run of them.
pub(crate) fn rewrite_binary(text: &str) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'0' | b'1') {
            at += 1;
            continue;
        }
        let run = bytes[at..].iter().take_while(|byte| matches!(byte, b'0' | b'1' | b' ' | b'\n' | b',')).count();
        let digits =
            bytes[at..at + run].iter().rposition(|byte| matches!(byte, b'0' | b'1')).map_or(1, |last| last + 1);
        if let Some(found) = read_binary(&bytes[at..at + digits]) {
            out.replace(at..at + digits, &found, Change::Binary);
        }
        at += run;
    }
    out.finish()
}

fn read_binary(digits: &[u8]) -> Option<String> {
    let mut groups = digits.split(|byte| !matches!(byte, b'0' | b'1')).filter(|group| !group.is_empty());
    let first = groups.next()?.len();
    let width = if first == 7 { 7 } else { 8 };
    if first % width != 0 || groups.any(|group| group.len() % width != 0) {
        return None;
    }
    let bits: Vec<u8> = digits.iter().filter(|byte| matches!(byte, b'0' | b'1')).map(|byte| byte - b'0').collect();
    let bytes = bits.chunks_exact(width).map(|group| group.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    String::from_utf8(bytes).ok().filter(|text| text.len() >= LETTERS_MIN && plausible(text))
}

/// The letters of Morse code: a one, then a bit a sign from the first on, one for a dash.
const MORSE: [(u8, char); 36] = [
    (0b101, 'a'),
    (0b11000, 'b'),
    (0b11010, 'c'),
    (0b1100, 'd'),
    (0b10, 'e'),
    (0b10010, 'f'),
    (0b1110, 'g'),
    (0b10000, 'h'),
    (0b100, 'i'),
    (0b10111, 'j'),
    (0b1101, 'k'),
    (0b10100, 'l'),
    (0b111, 'm'),
    (0b110, 'n'),
    (0b1111, 'o'),
    (0b10110, 'p'),
    (0b11101, 'q'),
    (0b1010, 'r'),
    (0b1000, 's'),
    (0b11, 't'),
    (0b1001, 'u'),
    (0b10001, 'v'),
    (0b1011, 'w'),
    (0b11001, 'x'),
    (0b11011, 'y'),
    (0b11100, 'z'),
    (0b111111, '0'),
    (0b101111, '1'),
    (0b100111, '2'),
    (0b100011, '3'),
    (0b100001, '4'),
    (0b100000, '5'),
    (0b110000, '6'),
    (0b111000, '7'),
    (0b111100, '8'),
    (0b111110, '9'),
];
/// Signs of the longest letter that is kept: punctuation has six.
const SIGNS_MAX: u32 = 6;

/// What a character is in Morse code: a dot, a dash, or nothing.
fn sign(symbol: char) -> Option<u8> {
    match symbol {
        '.' | '·' | '•' | '∙' => Some(0),
        '-' | '−' | '–' | '_' => Some(1),
        _ => None,
    }
}

fn is_gap(symbol: char) -> bool {
    matches!(symbol, ' ' | '/' | '|' | '\n' | '\r')
}

/// Reads Morse code: letters apart by blanks, words by strokes, several blanks or line ends.
pub(crate) fn rewrite_morse(text: &str) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    let mut at = 0;
    while let Some(start) = text[at..].find(|symbol| sign(symbol).is_some()).map(|offset| at + offset) {
        let mut end = start;
        let mut last = start;
        for (offset, symbol) in text[start..].char_indices() {
            let signs = sign(symbol).is_some();
            if !signs && !is_gap(symbol) {
                break;
            }
            end = start + offset + symbol.len_utf8();
            if signs {
                last = end;
            }
        }
        let whole = !text[end..].starts_with(char::is_alphanumeric) || last < end;
        if whole && let Some(found) = read_morse(&text[start..last]) {
            out.replace(start..last, &found, Change::Morse);
        }
        at = end;
    }
    out.finish()
}

fn read_morse(code: &str) -> Option<String> {
    let (mut found, mut letters, mut unknown) = (String::new(), 0, 0);
    let (mut letter, mut signs, mut blanks) = (1u8, 0, 0);
    for symbol in code.chars().chain([' ']) {
        if let Some(bit) = sign(symbol) {
            if blanks > 1 && !found.is_empty() && !found.ends_with(' ') {
                found.push(' ');
            }
            blanks = 0;
            signs += 1;
            letter = if signs > SIGNS_MAX { 0 } else { letter << 1 | bit };
            continue;
        }
        if signs > 0 {
            match MORSE.iter().find(|(code, _)| *code == letter) {
                Some((_, plain)) => {
                    letters += 1;
                    found.push(*plain);
                }
                None => unknown += 1,
            }
        }
        blanks += if symbol == ' ' { 1 } else { 2 };
        (letter, signs) = (1, 0);
    }
    // Rules and leaders (`---`, `...`) would read as rows of O and S.
    let varied = found.bytes().any(|byte| !matches!(byte, b'o' | b's' | b'e' | b't' | b'i' | b'm' | b'h' | b' '));
    (letters > LETTERS_MIN && unknown * 8 <= letters && varied && plausible(&found)).then_some(found)
}
