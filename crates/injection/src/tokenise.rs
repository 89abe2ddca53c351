//! Text to word pieces, the transformer's alphabet.
//!
//! Promises: linear in the text; every piece knows the bytes it came from; no text fails, what has no piece becomes
//! [`UNKNOWN`]. Words, folding and pieces are BERT's (uncased WordPiece), so that its pretrained rows keep their
//! meaning, with three differences for other scripts: marks that carry vowels stay (Devanagari, Thai …), scripts
//! without spaces are cut by the longest piece anywhere, and one strange character does not hide its whole word.
//! Training uses this same code (`examples/tokenise.rs`), so there is no second reading to drift from it.

use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// The piece that opens every window.
pub const OPEN: u32 = 101;
/// The piece that closes every window.
pub const CLOSE: u32 = 102;
/// The piece for characters that the vocabulary does not have.
pub const UNKNOWN: u32 = 100;

/// Characters of one word that are looked at together; a longer run is read as several words (BERT: 100).
const WORD_MAX: usize = 100;

/// One piece and the bytes of the text it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its row in the embedding table.
    pub id: u32,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl Piece {
    /// The bytes it came from.
    pub fn span(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The vocabulary: pieces that begin a word, and pieces that go on (`##` in the file).
#[derive(Debug)]
pub struct Vocabulary {
    first: HashMap<Box<str>, u32, Hasher>,
    inner: HashMap<Box<str>, u32, Hasher>,
    longest: usize,
}

type Hasher = std::hash::BuildHasherDefault<Fnv>;

impl Vocabulary {
    /// Reads one row a line: a piece, and behind tabs the words that share its row; the line's number is the row's id.
    pub fn parse(lines: &str) -> Vocabulary {
        let mut vocabulary = Vocabulary { first: HashMap::default(), inner: HashMap::default(), longest: 1 };
        for (id, line) in (0..).zip(lines.lines()) {
            for piece in line.split('\t') {
                let (side, piece) = match piece.strip_prefix("##") {
                    Some(rest) if !rest.is_empty() => (&mut vocabulary.inner, rest),
                    _ => (&mut vocabulary.first, piece),
                };
                vocabulary.longest = vocabulary.longest.max(piece.chars().count());
                side.entry(piece.into()).or_insert(id);
            }
        }
        vocabulary
    }

    /// The pieces of a text, at most `limit` of them, without [`OPEN`] and [`CLOSE`], appended to `pieces`.
    pub fn tokenise(&self, text: &str, limit: usize, pieces: &mut Vec<Piece>) {
        let end = pieces.len().saturating_add(limit);
        let mut word = Word::default();
        for (at, letter) in text.char_indices() {
            let class = class(letter);
            if class != word.class || word.ends.len() >= WORD_MAX || class == Class::Alone {
                self.cut(&mut word, pieces);
                if pieces.len() >= end {
                    break;
                }
                word.class = class;
            }
            if class != Class::Space {
                word.push(letter, at);
            }
        }
        self.cut(&mut word, pieces);
        pieces.truncate(end);
    }

    /// Appends the pieces of one word and empties it.
    fn cut(&self, word: &mut Word, pieces: &mut Vec<Piece>) {
        let mut from = 0;
        while from < word.ends.len() {
            let begins = from == 0 || word.class == Class::Unspaced;
            let found = self.longest(word, from, begins);
            let (id, to) = found.unwrap_or((UNKNOWN, from + 1));
            let piece = Piece { id, start: word.origin(from).start, end: word.origin(to - 1).end };
            match pieces.last_mut() {
                Some(last) if id == UNKNOWN && last.id == UNKNOWN && last.end == piece.start => last.end = piece.end,
                _ => pieces.push(piece),
            }
            from = to;
        }
        word.clear();
    }

    /// The longest piece of the vocabulary at the word's character `from`, and the character after it.
    fn longest(&self, word: &Word, from: usize, begins: bool) -> Option<(u32, usize)> {
        let most = word.ends.len().min(from + self.longest);
        let sides = if word.class == Class::Unspaced {
            [Some(&self.first), Some(&self.inner)]
        } else if begins {
            [Some(&self.first), None]
        } else {
            [Some(&self.inner), None]
        };
        (from + 1..=most).rev().find_map(|to| {
            let piece = word.folded(from, to);
            sides.iter().flatten().find_map(|side| side.get(piece)).map(|&id| (id, to))
        })
    }
}

/// How a character joins its neighbours.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Between words; never part of one.
    #[default]
    Space,
    /// Letters, digits and marks: words.
    Letter,
    /// Letters of scripts that put no space between words.
    Unspaced,
    /// Punctuation and symbols: each a word of its own.
    Alone,
}

fn class(letter: char) -> Class {
    match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Letter,
        '!'..='/' | ':'..='@' | '['..='`' | '{'..='~' => Class::Alone,
        '\u{0}'..='\u{7f}' => Class::Space,
        // Thai, Lao, Myanmar, Khmer; Hiragana and Katakana; Han with extensions.
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3041}'..='\u{30ff}' => {
            Class::Unspaced
        }
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' => {
            Class::Unspaced
        }
        // Joiners inside words of Persian and Indic scripts; the byte order mark.
        '\u{200b}'..='\u{200f}' | '\u{feff}' => Class::Letter,
        _ if letter.is_alphanumeric() || is_combining_mark(letter) => Class::Letter,
        _ if letter.is_whitespace() || letter.is_control() => Class::Space,
        _ => Class::Alone,
    }
}

/// A word as it is collected: its folded characters, and where each came from.
#[derive(Debug, Default)]
struct Word {
    class: Class,
    text: String,
    /// Of each folded character: the byte after it in `text`, and its bytes in the original.
    ends: Vec<(u32, Range<u32>)>,
}

impl Word {
    /// Adds a character, folded: lower case, accents of alphabets off, joiners and vowel points off.
    fn push(&mut self, letter: char, at: usize) {
        let origin = at as u32..(at + letter.len_utf8()) as u32;
        if letter.is_ascii() {
            self.put(letter.to_ascii_lowercase(), origin);
            return;
        }
        for lower in letter.to_lowercase() {
            if matches!(lower, '\u{80}'..='\u{52f}' | '\u{1e00}'..='\u{1fff}') {
                decompose_canonical(lower, |part| self.put(part, origin.clone()));
            } else {
                self.put(lower, origin.clone());
            }
        }
    }

    fn put(&mut self, part: char, origin: Range<u32>) {
        // Combining accents, Hebrew points, Arabic vowel signs and stretching, joiners.
        if matches!(part, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{640}' | '\u{64b}'..='\u{652}' | '\u{670}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
        {
            if let Some((_, last)) = self.ends.last_mut() {
                last.end = origin.end;
            }
            return;
        }
        self.text.push(part);
        self.ends.push((self.text.len() as u32, origin));
    }

    fn folded(&self, from: usize, to: usize) -> &str {
        let start = if from == 0 { 0 } else { self.ends[from - 1].0 as usize };
        &self.text[start..self.ends[to - 1].0 as usize]
    }

    fn origin(&self, index: usize) -> Range<u32> {
        self.ends[index].1.clone()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// FNV-1a: the vocabulary is ours and fixed, so its table needs no defence against chosen keys, only speed.
#[derive(Debug)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
