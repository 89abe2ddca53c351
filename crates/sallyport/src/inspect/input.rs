//! Lines of a file, of a compressed file or of the standard input.
//!
//! Promises: a line is never held if it is longer than [`LINE_BYTES_MAX`]; a line that cannot be used says why.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use injection::Channel;
use serde::Deserialize;

/// Bytes of the longest line that is judged.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// One line.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// Its number in the input, from 1; empty lines count.
    pub(super) number: usize,
    /// None if it was too long.
    bytes: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
}

impl Line {
    /// The line's bytes, or why there are none.
    pub(super) fn bytes(&self) -> Result<&[u8], String> {
        self.bytes.as_deref().ok_or_else(|| format!("the line is longer than {LINE_BYTES_MAX} bytes"))
    }

    /// Bytes that the line takes in memory.
    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// The object that the line is, or why it is none.
    pub(super) fn object<'l, T: Deserialize<'l>>(&'l self) -> Result<T, String> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|error| {
            format!("byte {} of the line is not UTF-8: write the file as UTF-8", error.valid_up_to() + 1)
        })?;
        // Editors of some systems put it in front of a file.
        let text = text.trim_start_matches('\u{feff}');
        // The library would take an array for an object's members in their order.
        if !text.trim_start().starts_with('{') {
            return Err(r#"the line is no JSON object: write {"text": "…"}"#.to_owned());
        }
        serde_json::from_str(text).map_err(|error| {
            let (words, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
            // The library's columns are bytes.
            let character = text.char_indices().take_while(|(at, _)| *at < error.column()).count();
            format!("{} at character {character}", words.trim_end_matches(&place))
        })
    }

    /// The line's text and channel, or why it has none.
    pub(super) fn text(&self, usual: Channel) -> Result<(String, Channel), String> {
        let row: Row<'_> = self.object()?;
        Ok((row.text.into_owned(), channel(row.channel.as_deref(), usual)?))
    }
}

/// The channel of that name.
pub(super) fn channel(name: Option<&str>, usual: Channel) -> Result<Channel, String> {
    let unknown = |name| format!("channel `{name}` is not one of system, user, untrusted, output");
    name.map_or(Ok(usual), |name| Channel::from_name(name).ok_or_else(|| unknown(name)))
}

/// The lines of one input that are not empty.
pub(super) struct Lines {
    input: Box<dyn BufRead + Send>,
    number: usize,
}

impl Lines {
    fn new(input: impl BufRead + Send + 'static) -> Lines {
        Lines { input: Box::new(input), number: 0 }
    }
}

impl Lines {
    /// Opens a file, whose name says whether it is compressed, or with `-` the standard input.
    pub(super) fn open(path: &Path) -> Result<Lines> {
        if path.as_os_str() == "-" {
            return Ok(Lines::new(BufReader::new(io::stdin())));
        }
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(match path.extension().is_some_and(|extension| extension == "gz") {
            true => Lines::new(BufReader::new(flate2::read::MultiGzDecoder::new(file))),
            false => Lines::new(BufReader::new(file)),
        })
    }

    /// The lines of bytes in memory.
    #[cfg(test)]
    pub(super) fn of(bytes: Vec<u8>) -> Lines {
        Lines::new(io::Cursor::new(bytes))
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut line = Vec::new();
            let most = LINE_BYTES_MAX as u64 + 1;
            if self.input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let number = self.number;
            if line.len() as u64 == most && line.last() != Some(&b'\n') {
                self.input.skip_until(b'\n')?;
                return Ok(Some(Line { number, bytes: None }));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(Line { number, bytes: Some(line) }));
            }
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: Vec<u8>) -> Vec<Line> {
        Lines::of(bytes).map(|line| line.expect("no error")).collect()
    }

    #[test]
    fn blank_lines_are_skipped_and_the_last_needs_no_end() {
        let read = lines(b"{\"text\":\"a\"}\r\n\n  \n{\"text\":\"b\",\"channel\":\"untrusted\",\"label\":1}".to_vec());
        let texts: Vec<_> = read.iter().map(|line| line.text(Channel::User)).collect();
        assert_eq!(read.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(texts, [Ok(("a".into(), Channel::User)), Ok(("b".into(), Channel::Untrusted))]);
    }

    #[test]
    fn a_line_that_is_too_long_is_not_held_and_the_next_one_is_read() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX + 5];
        bytes.extend(b"\n{\"text\":\"next\"}\n");
        let read = lines(bytes);
        assert_eq!((read.len(), read[0].len()), (2, 0));
        assert!(read[0].text(Channel::User).expect_err("too long").contains("longer"));
        assert_eq!(read[1].text(Channel::System), Ok(("next".into(), Channel::System)));
    }

    #[test]
    fn what_is_no_row_says_why() {
        for bad in [
            "[]",
            "[\"a text\",\"user\"]",
            "{}",
            "{\"text\":1}",
            "nonsense",
            "{\"text\":\"a\",\"channel\":\"tool\"}",
            "\u{0}",
        ] {
            assert!(lines(bad.into())[0].text(Channel::User).is_err(), "{bad}");
        }
        let why = |bytes: &[u8]| lines(bytes.to_vec())[0].text(Channel::User).expect_err("no row");
        assert_eq!(why(b"{\"text\":\"\xff\"}"), "byte 10 of the line is not UTF-8: write the file as UTF-8");
        assert_eq!(why(b"{\"text\":1}"), "invalid type: integer `1`, expected a string at character 9");
        assert_eq!(
            why("{\"text\":\"ü\",\"channel\":1}".as_bytes()),
            "invalid type: integer `1`, expected a string at character 23"
        );
        let marked = lines("\u{feff}{\"text\":\"a\"}".into());
        assert_eq!(marked[0].text(Channel::User), Ok(("a".into(), Channel::User)), "a mark of byte order");
    }
}
