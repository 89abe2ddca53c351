//! Tricks with characters: invisible, look-alike, styled and stacked ones.
//!
//! What honest writing needs stays: joiners and unseen word gaps in scripts that use them, direction marks where the
//! direction changes, emoji sequences, flags, accents, words of one script, the no-break and ideographic spaces (every
//! reader takes them for spaces).

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
/// Invisible signs in one place that honest writing may need.
const KEPT_MAX: usize = 2;
/// Invisible signs from which they are a disguise, wherever their script may need one, if no more than
/// [`APART_MAX`] letters stand between one and the next.
const CHAIN_MIN: usize = 5;
const APART_MAX: usize = 2;
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
            0x80 | 0x180 | 0x1c0 | 0x240..=0x340 | 0x480 | 0x540 | 0x580 | 0x600 | 0x1140 => Page::Mixed,
            0x1680 | 0x1780 | 0x1800 => Page::Mixed,
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
    let mut chain = Chain::default();
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
            Class::Invisible | Class::Bidi => invisible(&mut out, text, at, &mut chain),
            Class::Blank => {
                // What no reader takes for a space glues the words together for whoever reads the raw form.
                let change = if symbol.is_whitespace() { Change::Spaces } else { Change::Invisible };
                out.replace(at..end, " ", change);
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
        // One shapes the sign before it; inside a word it only parts its letters.
        if is_inside_word(text, at..end) {
            out.replace(at..end, "", Change::Invisible);
        }
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

fn is_unseen(symbol: char) -> bool {
    matches!(class(symbol), Class::Invisible | Class::Bidi)
}

fn invisible(out: &mut Rewrite<'_>, text: &str, at: usize, chain: &mut Chain) -> usize {
    let end = run(text, at, is_unseen);
    if let Some(hidden) = zero_width_bits(&text[at..end]) {
        out.replace(at..end, &hidden, Change::Invisible);
        return end;
    }
    let (before, after) = (text[..at].chars().next_back(), char_at(text, end));
    // Between words they are left-overs of typesetting and translation, and hide nothing.
    let inside = is_inside_word(text, at..end);
    let mut room = if chain.is_disguise(text, at) { 0 } else { KEPT_MAX };
    for (offset, symbol) in text[at..end].char_indices() {
        if room > 0 && belongs(symbol, before, after) {
            room -= 1;
            continue;
        }
        let change = match (inside, class(symbol)) {
            (true, _) => Change::Invisible,
            (false, Class::Bidi) => Change::Bidi,
            (false, _) => Change::Spaces,
        };
        let start = at + offset;
        out.replace(start..start + symbol.len_utf8(), "", change);
    }
    end
}

/// Whether what stands in a range parts the letters of a word.
fn is_inside_word(text: &str, range: Range<usize>) -> bool {
    let is_of_word = |symbol: char| symbol.is_alphanumeric() || is_vowel_or_accent(u32::from(symbol));
    text[..range.start].chars().next_back().is_some_and(is_of_word) && char_at(text, range.end).is_some_and(is_of_word)
}

/// Whether the writing on one of its sides needs an invisible sign. Word joiners, soft hyphens, byte order marks and
/// invisible operators are needed nowhere, and Han, kana and Hangul need none.
fn belongs(symbol: char, before: Option<char>, after: Option<char>) -> bool {
    let (before, after) = (before.map_or(0, u32::from), after.map_or(0, u32::from));
    match symbol {
        '\u{200b}' => has_unseen_gaps(before) || has_unseen_gaps(after),
        '\u{200c}' => is_joining(before) || is_joining(after),
        '\u{200d}' => is_joining(before) || is_joining(after) || is_pictograph(before) && is_pictograph(after),
        '\u{180b}'..='\u{180f}' => matches!(before, 0x1800..=0x18af),
        // Beside letters that all run one way they change nothing.
        _ => class(symbol) == Class::Bidi && is_right_to_left(before) != is_right_to_left(after),
    }
}

/// Scripts without blanks between words, which may have a zero-width space there: Thai, Lao, Myanmar, Khmer, Tai.
fn has_unseen_gaps(code: u32) -> bool {
    matches!(code, 0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x1950..=0x1aaf | 0xa9e0..=0xa9ff | 0xaa60..=0xaadf)
}

/// Letters whose shape a joiner beside them changes: of cursive scripts (Arabic, Syriac, N'Ko, Mongolian, Phags-pa) and
/// of Khmer; in the scripts of India only the sign that takes a letter's vowel away.
fn is_joining(code: u32) -> bool {
    match code {
        0x600..=0x77f | 0x7c0..=0x7ff | 0x840..=0x8ff | 0x1780..=0x18af | 0xa840..=0xa877 => true,
        0xfb50..=0xfdff | 0xfe70..=0xfefc | 0xdca => true,
        0x900..=0xd7f => code & 0x7f == 0x4d,
        _ => false,
    }
}

/// What emoji are joined from: pictures, symbols, and the selector that stands behind one.
fn is_pictograph(code: u32) -> bool {
    matches!(code, 0x2190..=0x2bff | 0xfe0f | 0x1f000..=0x1faff)
}

fn is_right_to_left(code: u32) -> bool {
    matches!(code, 0x590..=0x8ff | 0xfb1d..=0xfdff | 0xfe70..=0xfefc | 0x10800..=0x10fff | 0x1e800..=0x1efff)
}

/// Marks that belong to the letter before them: accents, and the vowels and tones of Arabic, of India and its neighbours.
fn is_vowel_or_accent(code: u32) -> bool {
    match code {
        0x300..=0x36f | 0x610..=0x61a | 0x64b..=0x65f | 0x670 | 0x6d6..=0x6dc | 0x6df..=0x6e4 => true,
        // The blocks of India, Tamil and Malayalam among them, are laid out alike.
        0x900..=0xd7f => matches!(code & 0x7f, 0..=3 | 0x3a..=0x3c | 0x3e..=0x4d | 0x51..=0x57 | 0x62 | 0x63),
        0xd81..=0xd83 | 0xdca..=0xddf | 0xe31 | 0xe34..=0xe3a | 0xe47..=0xe4e => true,
        0xeb1 | 0xeb4..=0xebc | 0xec8..=0xece | 0x102b..=0x103e | 0x17b4..=0x17d3 => true,
        _ => false,
    }
}

/// The last row of invisible signs, each a letter or two from the next, that was looked at.
#[derive(Default)]
struct Chain {
    /// Where its last sign ends.
    end: usize,
    is_disguise: bool,
}

impl Chain {
    /// Whether the signs at `at` are of a row that is too long and too close for honest writing. Each row is read once.
    fn is_disguise(&mut self, text: &str, at: usize) -> bool {
        if at >= self.end {
            *self = Chain::of(text, at);
        }
        self.is_disguise
    }

    fn of(text: &str, at: usize) -> Chain {
        let (mut signs, mut apart, mut letters, mut end) = (0, true, 0, at);
        for (offset, symbol) in text[at..].char_indices() {
            if !symbol.is_ascii() && is_unseen(symbol) {
                signs += usize::from(apart);
                (apart, letters, end) = (false, 0, at + offset + symbol.len_utf8());
                continue;
            }
            apart = true;
            letters += usize::from(symbol.is_alphanumeric() && !is_vowel_or_accent(u32::from(symbol)));
            // An emoji ends a row: the joints within it are its own.
            if letters > APART_MAX || matches!(u32::from(symbol), 0x1f000..=0x1faff) {
                break;
            }
        }
        Chain { end, is_disguise: signs >= CHAIN_MIN }
    }
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
