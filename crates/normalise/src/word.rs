//! Words of mixed scripts, letters under stacked marks, text on its head.

use std::ops::Range;

use crate::changes::Change;
use crate::fold::{Class, class, cyrillic_lookalike, lookalike};
use crate::map::Rewrite;
use crate::unicode::is_letter;

/// Marks on one letter from which they are no accents: Vietnamese needs two.
const STACKED_MIN: usize = 3;
/// Letters on their heads from which a stretch is taken for turned text, not for phonetic script.
const TURNED_MIN: usize = 3;

/// Cleans the word around `at`, where a letter that may be a look-alike, or a mark, stands. Gives the word's end.
pub(crate) fn rewrite(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let word = bounds(text, out.position(), at);
    let (homoglyphs, drop_marks) = (homoglyphs(&text[word.clone()]), marks_are_noise(&text[word.clone()]));
    if homoglyphs.is_none() && !drop_marks {
        return word.end;
    }
    for (offset, symbol) in text[word.clone()].char_indices() {
        let range = word.start + offset..word.start + offset + symbol.len_utf8();
        if !symbol.is_ascii() && class(symbol) == Class::Mark {
            if drop_marks {
                out.replace(range, "", Change::Marks);
            }
        } else if let Some(plain) = homoglyphs.and_then(|fold| fold(symbol)) {
            out.replace(range, plain.encode_utf8(&mut [0; 4]), Change::Homoglyphs);
        }
    }
    word.end
}

fn is_of_word(symbol: char) -> bool {
    if symbol.is_ascii() {
        return symbol.is_ascii_alphabetic();
    }
    match class(symbol) {
        Class::Blind | Class::Mark => true,
        Class::Plain => is_letter(symbol),
        _ => false,
    }
}

fn bounds(text: &str, floor: usize, at: usize) -> Range<usize> {
    let start = text[floor..at].char_indices().rev().take_while(|(_, symbol)| is_of_word(*symbol)).last();
    let start = start.map_or(at, |(offset, _)| floor + offset);
    let end = text[at..].char_indices().find(|(_, symbol)| !is_of_word(*symbol));
    start..end.map_or(text.len(), |(offset, _)| at + offset)
}

/// Look-alikes so rare in any honest language that a word of look-alikes only with one of them is no Cyrillic word.
const RARE_LOOKALIKES: [char; 6] = ['ѕ', 'ӏ', 'ԁ', 'ԛ', 'ԝ', 'һ'];

/// How to fold the letters of a word of two scripts into one of them; `None` for an honest word.
fn homoglyphs(word: &str) -> Option<fn(char) -> Option<char>> {
    let (mut latin, mut alike, mut unlike, mut latin_alike) = (0, 0, 0, 0);
    for symbol in word.chars() {
        if symbol.is_ascii() {
            latin += 1;
            latin_alike += usize::from(cyrillic_lookalike(symbol).is_some());
        } else if class(symbol) == Class::Blind {
            match lookalike(symbol) {
                Some(_) => alike += 1,
                None => unlike += 1,
            }
        }
    }
    if latin == 0 && unlike == 0 && word.contains(RARE_LOOKALIKES) {
        Some(lookalike)
    } else if latin == 0 || alike + unlike == 0 {
        None
    } else if unlike == 0 {
        Some(lookalike)
    } else if latin == latin_alike && unlike + alike > latin {
        Some(cyrillic_lookalike)
    } else {
        None
    }
}

/// Whether the marks of a Latin word are there to hide it: stacked, struck through, or on every other letter.
fn marks_are_noise(word: &str) -> bool {
    let (mut letters, mut marks, mut stack, mut tallest, mut struck, mut latin) = (0, 0, 0, 0, false, 0);
    for symbol in word.chars() {
        if symbol.is_ascii() {
            latin += 1;
        } else if class(symbol) == Class::Mark {
            marks += 1;
            stack += 1;
            tallest = tallest.max(stack);
            struck |= matches!(u32::from(symbol), 0x334..=0x338 | 0x488..=0x489 | 0x20d0..=0x20ff);
            continue;
        }
        letters += 1;
        stack = 0;
    }
    tallest >= STACKED_MIN || latin > 0 && marks > 0 && (struck || marks >= 3 && marks * 2 >= letters)
}

/// Puts text on its feet: the stretch around `at`, if enough of its letters are turned, else the one letter.
/// Turned text is written from its end.
pub(crate) fn turned(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let floor = out.position();
    let start = text[floor..at].char_indices().rev().take_while(|(_, symbol)| flips(*symbol)).last();
    let start = start.map_or(at, |(offset, _)| floor + offset);
    let end = text[at..].char_indices().find(|(_, symbol)| !flips(*symbol));
    let end = end.map_or(text.len(), |(offset, _)| at + offset);
    let (mut on_head, mut letters) = (0, 0);
    for symbol in text[start..end].chars() {
        letters += usize::from(symbol.is_alphabetic());
        on_head += usize::from(!symbol.is_ascii() && matches!(class(symbol), Class::Turned(_)));
    }
    if on_head < TURNED_MIN || on_head * 3 < letters {
        return upright_each(out, text, at..end);
    }
    let stretch = text[start..end].trim();
    let start = start + text[start..end].len() - text[start..end].trim_start().len();
    let upright: String = stretch.chars().rev().map(|symbol| on_its_feet(symbol).unwrap_or(symbol)).collect();
    out.replace(start..start + stretch.len(), &upright, Change::Styled);
    end
}

fn upright_each(out: &mut Rewrite<'_>, text: &str, range: Range<usize>) -> usize {
    for (offset, symbol) in text[range.clone()].char_indices() {
        if !symbol.is_ascii()
            && let Class::Turned(letter) = class(symbol)
        {
            let at = range.start + offset;
            out.replace(at..at + symbol.len_utf8(), letter.encode_utf8(&mut [0; 4]), Change::Styled);
        }
    }
    range.end
}

/// Characters found in turned text: turned letters, those that are letters either way, anything but letters.
fn flips(symbol: char) -> bool {
    if symbol.is_ascii() {
        return symbol != '\n' && (!symbol.is_ascii_alphabetic() || b"bdilnopqsuxzHINOSXZ".contains(&(symbol as u8)));
    }
    matches!(class(symbol), Class::Turned(_)) || !symbol.is_alphabetic() && class(symbol) == Class::Plain
}

fn on_its_feet(symbol: char) -> Option<char> {
    match symbol {
        'b' => Some('q'),
        'q' => Some('b'),
        'd' => Some('p'),
        'p' => Some('d'),
        'n' => Some('u'),
        'u' => Some('n'),
        _ if symbol.is_ascii() => None,
        _ => match class(symbol) {
            Class::Turned(letter) => Some(letter),
            _ => None,
        },
    }
}
