//! From the tokens' bytes to text that may be shown: whole characters only, and nothing of a stop string.
//!
//! Promises: bytes are held back while they could still be part of a character or of a stop string, and no longer; a
//! stop string is found across any number of tokens; the held bytes are bounded by the longest stop string, one
//! character and one token.

/// Turns a choice's tokens into text.
#[derive(Debug)]
pub(crate) struct TextStream {
    stops: Vec<Vec<u8>>,
    held: Vec<u8>,
}

/// What a token added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Added {
    /// Text that may be shown now.
    pub(crate) text: String,
    /// Bytes of the tokens that `text` stands for.
    pub(crate) bytes: usize,
    /// Whether a stop string was found: what is held is no part of the answer.
    pub(crate) stopped: bool,
}

impl TextStream {
    /// A stream that ends at the first of `stops`, which are not empty.
    pub(crate) fn new(stops: &[String]) -> TextStream {
        TextStream { stops: stops.iter().map(|stop| stop.as_bytes().to_vec()).collect(), held: Vec::new() }
    }

    /// Adds a token's bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Added {
        self.held.extend_from_slice(bytes);
        let found = self.stops.iter().filter_map(|stop| position(&self.held, stop)).min();
        let ready = match found {
            Some(at) => at,
            None => self.held.len() - self.possible_stop().max(unfinished(&self.held)),
        };
        let text = self.take(ready);
        Added { text, bytes: ready, stopped: found.is_some() }
    }

    /// Gives what is held at the end of the answer; a character that never became whole is U+FFFD.
    pub(crate) fn finish(&mut self) -> Added {
        let bytes = self.held.len();
        Added { text: self.take(bytes), bytes, stopped: false }
    }

    fn take(&mut self, count: usize) -> String {
        let rest = self.held.split_off(count);
        let taken = std::mem::replace(&mut self.held, rest);
        // The model can produce bytes that are no text at all; those become U+FFFD.
        String::from_utf8(taken).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Bytes at the end that could be the beginning of a stop string.
    fn possible_stop(&self) -> usize {
        let longest = |stop: &Vec<u8>| {
            let max = self.held.len().min(stop.len() - 1);
            (1..=max).rev().find(|&count| self.held.ends_with(&stop[..count])).unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Bytes at the end that begin a character which is not whole yet.
fn unfinished(bytes: &[u8]) -> usize {
    let start = bytes.len().saturating_sub(3);
    // The last byte that is not a continuation begins the last character.
    let Some(lead) = (start..bytes.len()).rev().find(|&at| bytes[at] & 0xc0 != 0x80) else { return 0 };
    match std::str::from_utf8(&bytes[lead..]) {
        Err(error) if error.error_len().is_none() => bytes.len() - lead,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes the text cut into pieces of `size` bytes and joins what comes out.
    fn run(text: &[u8], stops: &[&str], size: usize) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut stream = TextStream::new(&stops);
        let mut shown = String::new();
        for piece in text.chunks(size) {
            let added = stream.push(piece);
            assert!(!added.text.contains('\u{fffd}'), "half a character was shown");
            shown.push_str(&added.text);
            if added.stopped {
                return (shown, true);
            }
        }
        shown.push_str(&stream.finish().text);
        (shown, false)
    }

    #[test]
    fn characters_come_whole_however_they_are_cut() {
        let text = "Grüße, 世界! 👩‍👩‍👧‍👦 \u{10ffff}é";
        for size in 1..9 {
            assert_eq!(run(text.as_bytes(), &[], size), (text.to_owned(), false));
        }
    }

    #[test]
    fn a_stop_string_is_never_shown_even_partly() {
        for size in 1..9 {
            assert_eq!(run(b"one\ntwo\n\nthree", &["\n\n"], size), ("one\ntwo".into(), true));
            assert_eq!(run("a 👍👎 b".as_bytes(), &["👎"], size), ("a 👍".into(), true));
            assert_eq!(run(b"aaab", &["aab"], size), ("a".into(), true));
            assert_eq!(run(b"no EN", &["END"], size), ("no EN".into(), false), "shown once it cannot be a stop");
        }
        assert_eq!(run(b"x STOP y END", &["END", "STOP"], 20).0, "x ", "the first in the text wins");
    }

    #[test]
    fn what_cannot_be_a_stop_any_more_is_shown_at_once() {
        let mut stream = TextStream::new(&["abc".into()]);
        assert_eq!(stream.push(b"xab").text, "x");
        assert_eq!(stream.push(b"d").text, "abd");
        assert_eq!(stream.push("👍".as_bytes()).text, "👍");
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        let mut stream = TextStream::new(&[]);
        assert_eq!(stream.push(&[0xff, b'a']).text, "\u{fffd}a");
        assert_eq!(stream.push(&[0xe4, 0xb8]).text, "");
        assert_eq!(stream.finish().text, "\u{fffd}");
        assert_eq!(stream.push(&[0x80, 0x80, 0x80, 0x80]).text.chars().count(), 4, "stray continuations are not held");
    }
}
