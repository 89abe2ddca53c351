//! Tricks with characters: invisible, look-alike, styled and stacked ones.
//!
//! What honest writing needs stays: joiners in scripts that use them, emoji sequences, flags, accents, words of one
//! script, the no-break and ideographic spaces (every reader takes them for spaces).

use std::ops::Range;

use crate::changes::Change;
use crate::english::plausible;
use crate::fold::{Class, class};
use crate::map::{Rewrite, Rewritten};
use crate::signs::{Signs, has_single_letters};
use crate::word;

/// Variation selectors or zero-width characters in a row that may spell bytes.
const SMUGGLED_MIN: usize = 4;
/// Zero-width characters in a row that may be binary digits.
const BITS_MIN: usize = 14;
/// Tag characters after a flag that honest regional flags use (with the closing one), and no more.
const FLAG_TAGS_MAX: usize = 6;

/// The character at a byte position that is known to begin one.
pub(crate) fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// What the characters of a block of 64 can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    /// Letters that are never changed.
    Letters,
    /// Anything else that is never changed.
    Others,
    /// Letters that may stand in for Latin ones.
    Blind,
    /// To be looked at one by one.
    Mixed,
}

/// The pages of the first plane, by the upper ten bits of a character.
static PAGES: [Page; 1024] = {
    let mut pages = [Page::Letters; 1024];
    let mut page = 0;
    while page < 1024 {
        pages[page] = match (page as u32) << 6 {
            0x80 | 0x180 | 0x1c0 | 0x240..=0x340 | 0x480 | 0x540 | 0x580 | 0x600 | 0x1140 | 0x1680 | 0x1800 => {
                Page::Mixed
            }
            0x1a80..=0x1ac0 | 0x1d00..=0x1dc0 | 0x2000..=0x2140 | 0x2200 | 0x2480..=0x24c0 | 0x2800 | 0x2c40 => {
                Page::Mixed
            }
            0x3140 | 0xa700..=0xa7c0 | 0xfe00 | 0xfec0..=0xff80 | 0xffc0 => Page::Mixed,
            0x370..=0x52f => Page::Blind,
            0x2180..=0x2bc0 | 0x3000 | 0xe000..=0xf8c0 | 0xfd80..=0xfdc0 | 0xfe40 => Page::Others,
            _ => Page::Letters,
        };
        page += 1;
    }
    pages
};

/// The page of the character that begins with these two bytes of UTF-8, if it is of the first plane.
fn page(first: u8, second: u8) -> Option<Page> {
    let low = usize::from(second & 0x3f);
    match first {
        0xc0..=0xdf => Some(PAGES[usize::from(first & 0x1f)]),
        0xe0..=0xef => Some(PAGES[usize::from(first & 0xf) << 6 | low]),
        _ => None,
    }
}

/// Whether a character is a letter or digit, or a mark of a script that writes its vowels so; told by blocks.
pub(crate) fn is_letter(symbol: char) -> bool {
    if symbol.is_ascii() {
        return symbol.is_ascii_alphanumeric();
    }
    match PAGES.get(symbol as usize >> 6) {
        Some(Page::Letters | Page::Blind) => true,
        Some(Page::Mixed) => is_mixed_letter(u32::from(symbol), class(symbol)),
        _ => false,
    }
}

/// Among the mixed pages, Latin-1 punctuation and the symbols hold no letters.
fn is_mixed_letter(code: u32, class: Class) -> bool {
    class == Class::Plain && !matches!(code, 0x80..=0xbf | 0x2000..=0x2bff)
}

/// Looks for what [`rewrite`] may change, for single letters between separators and for dots and dashes, where some of
/// the characters are beyond ASCII.
pub(crate) fn look(text: &str, signs: &mut Signs) {
    let bytes = text.as_bytes();
    let (mut latin, mut blind, mut letters, mut dots) = (false, false, 0u64, 0u32);
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let letter;
        if first < 0x80 {
            let alphabetic = first.is_ascii_alphabetic();
            signs.unicode |= alphabetic & blind;
            (latin, blind) = (alphabetic, false);
            letter = first.is_ascii_alphanumeric();
            at += 1;
        } else {
            let kind = page(first, *bytes.get(at + 1).unwrap_or(&0));
            let class = match kind {
                Some(Page::Letters | Page::Others) => Class::Plain,
                Some(Page::Blind) => Class::Blind,
                Some(Page::Mixed) | None => char_at(text, at).map_or(Class::Plain, |symbol| {
                    dots += u32::from(matches!(symbol, '·' | '•' | '−' | '–' | '∙'));
                    class(symbol)
                }),
            };
            letter = match kind {
                Some(Page::Letters | Page::Blind) => true,
                Some(Page::Mixed) => class == Class::Plain && !matches!(first, 0xc2 | 0xe2),
                _ => false,
            };
            signs.unicode |= !matches!(class, Class::Plain | Class::Blind) | (latin & (class == Class::Blind));
            (latin, blind) = (false, class == Class::Blind);
            at += match first {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
        }
        letters = letters << 1 | u64::from(letter);
        signs.spaced |= has_single_letters(letters & 0x1ff);
    }
    signs.morse |= dots >= 8;
}

/// Takes the tricks off.
pub(crate) fn rewrite(text: &str) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] < 0x80 {
            at += 1;
            continue;
        }
        if let Some(Page::Letters | Page::Others) = page(bytes[at], *bytes.get(at + 1).unwrap_or(&0)) {
            at += if bytes[at] < 0xe0 { 2 } else { 3 };
            continue;
        }
        let Some(symbol) = char_at(text, at) else { break };
        let end = at + symbol.len_utf8();
        at = match class(symbol) {
            Class::Plain => end,
            Class::Tag => tags(&mut out, text, at),
            Class::Selector => selectors(&mut out, text, at),
            Class::Invisible | Class::Bidi => invisible(&mut out, text, at),
            Class::Blank => {
                out.replace(at..end, " ", Change::Spaces);
                end
            }
            Class::Regional => regionals(&mut out, text, at),
            Class::Turned(_) => word::turned(&mut out, text, at),
            Class::Styled(letter) => {
                let mut buffer = [0; 4];
                out.replace(at..end, letter.encode_utf8(&mut buffer), Change::Styled);
                end
            }
            // An honest mark stands on a letter.
            Class::Mark if is_mark_astray(text, at) => {
                out.replace(at..end, "", Change::Marks);
                end
            }
            Class::Blind | Class::Mark => word::rewrite(&mut out, text, at),
        };
    }
    out.finish()
}

fn is_mark_astray(text: &str, at: usize) -> bool {
    let plain = char_at(text, at).is_some_and(|mark| matches!(u32::from(mark), 0x300..=0x36f));
    plain && text[..at].chars().next_back().is_none_or(|base| base.is_ascii() && !base.is_ascii_alphabetic())
}

/// The end of the run of characters that begins at `at` and passes the test.
fn run(text: &str, at: usize, test: impl Fn(char) -> bool) -> usize {
    text[at..].char_indices().find(|(_, symbol)| !test(*symbol)).map_or(text.len(), |(offset, _)| at + offset)
}

fn tags(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let end = run(text, at, |symbol| class(symbol) == Class::Tag);
    let flag = text[..at].ends_with('\u{1f3f4}');
    if flag && (end - at) / 4 <= FLAG_TAGS_MAX && text[..end].ends_with('\u{e007f}') {
        return end;
    }
    for (offset, symbol) in text[at..end].char_indices() {
        let range = at + offset..at + offset + 4;
        match u8::try_from(u32::from(symbol) - 0xe0000) {
            Ok(byte @ 0x20..=0x7e) => {
                out.replace(range, char::from(byte).encode_utf8(&mut [0; 4]), Change::Tags);
            }
            _ => out.replace(range, "", Change::Tags),
        }
    }
    end
}

fn selectors(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let end = run(text, at, |symbol| class(symbol) == Class::Selector);
    let bytes: Vec<u8> = text[at..end]
        .chars()
        .filter_map(|symbol| {
            let number = match u32::from(symbol) {
                code @ 0xfe00..=0xfe0f => code - 0xfe00,
                code => code.wrapping_sub(0xe0100 - 16),
            };
            u8::try_from(number).ok()
        })
        .collect();
    if bytes.len() < 2 {
        return end;
    }
    match String::from_utf8(bytes) {
        Ok(hidden) if hidden.len() >= SMUGGLED_MIN && plausible(&hidden) => {
            out.replace(at..end, &hidden, Change::Selectors);
        }
        _ => out.replace(at..end, "", Change::Selectors),
    }
    end
}

fn invisible(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let unseen = |symbol| matches!(class(symbol), Class::Invisible | Class::Bidi);
    let end = run(text, at, unseen);
    if let Some(hidden) = zero_width_bits(&text[at..end]) {
        out.replace(at..end, &hidden, Change::Invisible);
        return end;
    }
    // A joiner or direction mark between letters of a script that uses them, or in an emoji, belongs there.
    let needs = |symbol: Option<char>| {
        symbol.is_some_and(|symbol| {
            let light = symbol.is_alphabetic() && (u32::from(symbol) < 0x530 || is_latin_extra(symbol));
            !symbol.is_ascii() && !light && class(symbol) != Class::Mark
        })
    };
    let before = text[..at].chars().next_back();
    let after = char_at(text, end);
    if (needs(before) || needs(after)) && end - at <= 6 {
        return end;
    }
    // Between words they are left-overs of typesetting and translation, and hide nothing.
    let inside = before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric);
    let bidi = text[at..end].chars().all(|symbol| class(symbol) == Class::Bidi);
    let change = match (inside, bidi) {
        (_, true) => Change::Bidi,
        (true, false) => Change::Invisible,
        (false, false) => Change::Spaces,
    };
    out.replace(at..end, "", change);
    end
}

fn is_latin_extra(symbol: char) -> bool {
    matches!(u32::from(symbol), 0x1e00..=0x1eff | 0x2c60..=0x2c7f | 0xa720..=0xa7ff)
}

/// Text written in two invisible characters as bits, a third one perhaps between the letters.
fn zero_width_bits(run: &str) -> Option<String> {
    let symbols: Vec<char> = run.chars().collect();
    if symbols.len() < BITS_MIN {
        return None;
    }
    let zero = symbols[0];
    let one = *symbols.iter().find(|symbol| **symbol != zero)?;
    let bits: Vec<u8> = symbols
        .iter()
        .filter(|symbol| **symbol == zero || **symbol == one)
        .map(|symbol| u8::from(*symbol == one))
        .collect();
    for width in [8, 7] {
        for flip in [0, 1] {
            let bytes: Vec<u8> = bits
                .chunks_exact(width)
                .map(|chunk| chunk.iter().fold(0, |byte, bit| byte << 1 | (bit ^ flip)))
                .collect();
            if bytes.len() < 2 {
                continue;
            }
            if let Ok(hidden) = String::from_utf8(bytes)
                && (hidden.len() < 4 && hidden.bytes().all(|byte| byte.is_ascii_alphabetic()) || plausible(&hidden))
            {
                return Some(hidden);
            }
        }
    }
    None
}

/// Letters in boxes that make flags in pairs; any other number of them spells words.
fn regionals(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let end = run(text, at, |symbol| class(symbol) == Class::Regional);
    if (end - at) / 4 == 2 {
        return end;
    }
    for (offset, symbol) in text[at..end].char_indices() {
        let letter = (u32::from(symbol) - 0x1f1e6 + u32::from('A')) as u8 as char;
        let range: Range<usize> = at + offset..at + offset + 4;
        out.replace(range, letter.encode_utf8(&mut [0; 4]), Change::Styled);
    }
    end
}
