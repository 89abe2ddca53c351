//! Byte-level BPE as the model was trained with, read from the GGUF metadata.
//!
//! Promises: the same ids as the reference tokenizer, for any text; text is only ever text, so what looks like a
//! control token in it becomes ordinary tokens; time grows with `n log n` on hostile input.
//!
//! Left out: tokenizer families other than GPT-2's with SmolLM's splitting.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::gguf::{GgufError, Value};

/// `tokenizer.ggml.token_type` of tokens that steer and have no text.
const CONTROL: i64 = 3;

/// Ids and merges of one vocabulary.
pub(crate) struct Tokenizer {
    /// Bytes of every token, one behind the other.
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<u32>,
    /// The token of each single byte; some bytes have none.
    singles: [Option<u32>; 256],
    /// Neighbours that merge: their rank and what they become.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// Control tokens by their name.
    controls: HashMap<String, u32>,
    /// Bytes of the longest token that has text.
    pub(crate) longest_bytes: usize,
}

impl Tokenizer {
    pub(crate) fn from_metadata(metadata: &HashMap<String, Value>) -> Result<Tokenizer, GgufError> {
        let missing = |key: &str| GgufError::Malformed(format!("`{key}` is missing or not what this tokenizer knows"));
        for (key, known) in [("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "smollm")] {
            if metadata.get(key) != Some(&Value::Text(known.into())) {
                return Err(missing(key));
            }
        }
        let Some(Value::Texts(names)) = metadata.get("tokenizer.ggml.tokens") else {
            return Err(missing("tokenizer.ggml.tokens"));
        };
        let kinds = match metadata.get("tokenizer.ggml.token_type") {
            Some(Value::Integers(kinds)) if kinds.len() == names.len() => kinds,
            _ => return Err(missing("tokenizer.ggml.token_type")),
        };
        let Some(Value::Texts(merges)) = metadata.get("tokenizer.ggml.merges") else {
            return Err(missing("tokenizer.ggml.merges"));
        };

        let mut tokenizer = Tokenizer {
            bytes: Vec::new(),
            ends: Vec::with_capacity(names.len()),
            singles: [None; 256],
            merges: HashMap::with_capacity(merges.len()),
            controls: HashMap::new(),
            longest_bytes: 1,
        };
        let byte_of: HashMap<char, u8> = (0..=255).map(|byte| (letter_of(byte), byte)).collect();
        let mut id_of = HashMap::with_capacity(names.len());
        for (id, (name, kind)) in (0_u32..).zip(names.iter().zip(kinds)) {
            if *kind == CONTROL {
                tokenizer.controls.insert(name.clone(), id);
            } else {
                let start = tokenizer.bytes.len();
                for letter in name.chars() {
                    tokenizer.bytes.push(*byte_of.get(&letter).ok_or_else(|| missing("tokenizer.ggml.tokens"))?);
                }
                let bytes = &tokenizer.bytes[start..];
                tokenizer.longest_bytes = tokenizer.longest_bytes.max(bytes.len());
                if let [byte] = bytes {
                    tokenizer.singles[usize::from(*byte)] = Some(id);
                }
                id_of.insert(name.as_str(), id);
            }
            tokenizer.ends.push(u32::try_from(tokenizer.bytes.len()).map_err(|_| missing("tokenizer.ggml.tokens"))?);
        }
        for (rank, merge) in (0_u32..).zip(merges) {
            let known = merge.split_once(' ').and_then(|(left, right)| {
                let merged = id_of.get(format!("{left}{right}").as_str())?;
                Some(((*id_of.get(left)?, *id_of.get(right)?), (rank, *merged)))
            });
            let (pair, becomes) = known.ok_or_else(|| missing("tokenizer.ggml.merges"))?;
            tokenizer.merges.entry(pair).or_insert(becomes);
        }
        Ok(tokenizer)
    }

    /// How many ids there are.
    pub(crate) fn size(&self) -> usize {
        self.ends.len()
    }

    /// The control token of this name.
    pub(crate) fn control(&self, name: &str) -> Option<u32> {
        self.controls.get(name).copied()
    }

    /// The bytes of a token: not always whole characters, none for control tokens.
    pub(crate) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        &self.bytes[start..self.ends[id] as usize]
    }

    /// Appends the ids of `text`, and stops early once `ids` holds more than `max`.
    pub(crate) fn encode(&self, text: &str, max: usize, ids: &mut Vec<u32>) {
        let mut rest = text;
        while !rest.is_empty() && ids.len() <= max {
            let (word, behind) = rest.split_at(word_bytes(rest));
            self.encode_word(word.as_bytes(), ids);
            rest = behind;
        }
    }

    /// Merges the neighbours of lowest rank first, the leftmost of equals.
    fn encode_word(&self, word: &[u8], ids: &mut Vec<u32>) {
        /// A linked list in a vector, so that a merge costs the same wherever it happens.
        struct Symbol {
            id: Option<u32>,
            previous: usize,
            next: usize,
            merged_away: bool,
        }
        const NONE: usize = usize::MAX;
        let count = word.len();
        let mut symbols: Vec<Symbol> = word
            .iter()
            .enumerate()
            .map(|(at, byte)| Symbol {
                id: self.singles[usize::from(*byte)],
                previous: at.checked_sub(1).unwrap_or(NONE),
                next: if at + 1 < count { at + 1 } else { NONE },
                merged_away: false,
            })
            .collect();
        let mut candidates = BinaryHeap::new();
        let consider = |symbols: &[Symbol], candidates: &mut BinaryHeap<_>, left: usize, right: usize| {
            if left == NONE || right == NONE {
                return;
            }
            if let (Some(first), Some(second)) = (symbols[left].id, symbols[right].id)
                && let Some((rank, merged)) = self.merges.get(&(first, second))
            {
                candidates.push(Reverse((*rank, left, right, first, second, *merged)));
            }
        };
        for right in 1..count {
            consider(&symbols, &mut candidates, right - 1, right);
        }
        while let Some(Reverse((_, left, right, first, second, merged))) = candidates.pop() {
            // Only if both are still what they were, and still neighbours.
            let stale = symbols[left].merged_away
                || symbols[right].merged_away
                || symbols[left].next != right
                || symbols[left].id != Some(first)
                || symbols[right].id != Some(second);
            if stale {
                continue;
            }
            let next = symbols[right].next;
            symbols[left].id = Some(merged);
            symbols[left].next = next;
            symbols[right].merged_away = true;
            if next != NONE {
                symbols[next].previous = left;
            }
            consider(&symbols, &mut candidates, symbols[left].previous, left);
            consider(&symbols, &mut candidates, left, next);
        }
        // A byte without a token is dropped, as the reference does.
        ids.extend(symbols.iter().filter(|symbol| !symbol.merged_away).filter_map(|symbol| symbol.id));
    }
}

/// GPT-2's printable stand-in for a byte: itself where that prints, otherwise the next letter from U+0100 on.
fn letter_of(byte: u8) -> char {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if prints(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&byte| !prints(byte)).count() as u32;
    char::from_u32(0x100 + before).expect("68 letters from U+0100 on exist")
}

/// What the splitting tells apart.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

fn class(letter: char) -> Class {
    if letter.is_whitespace() {
        return Class::Space;
    }
    match letter.general_category_group() {
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        _ => Class::Other,
    }
}

/// Bytes of the first word of `text`, which is not empty.
///
/// SmolLM cuts out every single number character first, then applies GPT-2's pattern to what is between:
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
fn word_bytes(text: &str) -> usize {
    const SUFFIXES: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    if let Some(suffix) = SUFFIXES.iter().find(|suffix| text.starts_with(**suffix)) {
        return suffix.len();
    }
    let mut letters = text.chars();
    let first = letters.next().expect("the text is not empty");
    let (lead, kind) = match (first, letters.next()) {
        (' ', Some(second)) if !matches!(class(second), Class::Space | Class::Number) => (1, class(second)),
        _ => (0, class(first)),
    };
    if kind == Class::Number {
        return first.len_utf8();
    }
    let run = &text[lead..];
    let end = lead + run.find(|letter| class(letter) != kind).unwrap_or(run.len());
    if kind != Class::Space {
        return end;
    }
    // White space: the last of it belongs to the word behind, unless a number cut the text there.
    let last = text[..end].chars().next_back().expect("at least one").len_utf8();
    match text[end..].chars().next() {
        Some(next) if class(next) != Class::Number && end > last => end - last,
        _ => end,
    }
}

#[cfg(test)]
mod tests;
