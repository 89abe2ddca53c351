//! Reads `multipart/form-data` (RFC 7578 over RFC 2046) chunk by chunk, beside the bytes that are passed on.
//!
//! Promises: the same events for any split; strict where parsers differ: CR LF line ends only, no folding, one
//! `Content-Disposition` a part with one `name`, no preamble, nothing but blanks behind the last boundary, content as
//! it is; linear time; a part's content is never copied while nothing is held back, and held back is only what a
//! delimiter could still begin with.
//!
//! Left out: nested `multipart/mixed`, `name*` and transfer encodings, which no client of the API sends; they are
//! refused.

mod part;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use part::{blanks_off, parameter, part};

/// Longest boundary (RFC 2046, 5.1.1).
pub const BOUNDARY_CHARS_MAX: usize = 70;
/// Largest header block of one part.
pub const PART_HEADER_BYTES_MAX: usize = 8 * 1024;
/// Most parts of one body: 16 images, arrays of options, and room.
pub const PARTS_MAX: usize = 1_024;

/// Ends a part's headers.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// What can be wrong with a multipart body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type has no usable boundary.
    #[error("the Content-Type has no boundary of 1 to 70 characters, or more than one")]
    Boundary,
    /// The body does not begin with the boundary.
    #[error("the body does not begin with its boundary")]
    Start,
    /// A delimiter is followed by something else than a line end or `--`, or shares the line end of a blank line.
    #[error("a boundary does not stand on a line of its own")]
    Delimiter,
    /// A part's headers cannot be read.
    #[error("a part's headers cannot be read in one way only")]
    PartHeaders,
    /// A part's headers are over [`PART_HEADER_BYTES_MAX`].
    #[error("a part's headers are too long")]
    PartHeadersTooLong,
    /// More than [`PARTS_MAX`] parts.
    #[error("there are too many parts")]
    TooManyParts,
    /// The last boundary is missing.
    #[error("the body ends before its last boundary")]
    Ends,
    /// Something follows the last boundary.
    #[error("something follows the last boundary")]
    Trailing,
}

/// The headers of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Field name.
    pub name: String,
    /// File name, for files.
    pub file_name: Option<String>,
    /// Content type, where given.
    pub content_type: Option<String>,
}

/// What the parser comes across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Begin(Part),
    /// Bytes of it.
    Data(Bytes),
    /// It ends.
    End,
}

/// The boundary of a `multipart/form-data` content type.
///
/// # Errors
/// [`MultipartError::Boundary`] when there is none, a bad one, or two.
pub fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let (essence, mut rest) = content_type.split_once(';').ok_or(MultipartError::Boundary)?;
    if !blanks_off(essence).eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::Boundary);
    }
    let mut found = None;
    while !blanks_off(rest).is_empty() {
        let (name, after) = rest.split_once('=').ok_or(MultipartError::Boundary)?;
        let value = parameter(after).map_err(|_| MultipartError::Boundary)?;
        rest = value.rest;
        let name = blanks_off(name).to_ascii_lowercase();
        if name == "boundary" && found.is_none() {
            found = Some(value.text);
        } else if name.contains("boundary") {
            // Two of them, or a form that only some readers know (`boundary*`, RFC 2231).
            return Err(MultipartError::Boundary);
        }
    }
    let value = found.ok_or(MultipartError::Boundary)?;
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_good =
        (1..=BOUNDARY_CHARS_MAX).contains(&value.len()) && value.bytes().all(is_char) && !value.ends_with(' ');
    if is_good { Ok(value) } else { Err(MultipartError::Boundary) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the very beginning.
    Start,
    /// Behind a delimiter: a line end, or `--`.
    AfterDelimiter,
    /// In a part's headers.
    Headers,
    /// At the end of the blank line behind them.
    BlankLine,
    /// In a part's content.
    Content,
    /// Behind the last boundary.
    Epilogue,
}

/// The incremental parser.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// `\r\n--boundary`
    delimiter: Finder<'static>,
    /// What was pushed and not read yet; a slice of the chunk where that is all there is.
    pending: Bytes,
    parts: usize,
}

impl Parser {
    /// A parser for bodies with this boundary.
    pub fn new(boundary: &str) -> Parser {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        Parser { state: State::Start, delimiter, pending: Bytes::new(), parts: 0 }
    }

    /// Takes a chunk and appends what it shows to `events`.
    ///
    /// # Errors
    /// The first thing that cannot be read in one way only.
    pub fn push(&mut self, chunk: &Bytes, events: &mut Vec<Event>) -> Result<(), MultipartError> {
        self.pending = if self.pending.is_empty() {
            chunk.clone()
        } else {
            // What is held is short; it grows in place where nobody else holds it.
            let mut joined = BytesMut::from(std::mem::take(&mut self.pending));
            joined.extend_from_slice(chunk);
            joined.freeze()
        };
        while self.step(events)? {}
        Ok(())
    }

    /// The body's end.
    ///
    /// # Errors
    /// When it ends too early.
    pub fn finish(&self) -> Result<(), MultipartError> {
        if self.state == State::Epilogue { Ok(()) } else { Err(MultipartError::Ends) }
    }

    /// Goes on as far as the held bytes reach; `false` when it needs more.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, MultipartError> {
        match self.state {
            State::Start => self.start(),
            State::AfterDelimiter => self.after_delimiter(),
            State::Headers => self.headers(events),
            State::BlankLine => self.blank_line(),
            State::Content => Ok(self.content(events)),
            State::Epilogue => {
                let is_blank = self.pending.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | b'\t'));
                self.pending.clear();
                if is_blank { Ok(false) } else { Err(MultipartError::Trailing) }
            }
        }
    }

    fn start(&mut self) -> Result<bool, MultipartError> {
        let first = &self.delimiter.needle()[2..];
        // One line end in front of the first boundary is harmless and seen in the wild.
        let skip = if self.pending.starts_with(b"\r\n") { 2 } else { 0 };
        let held = &self.pending[skip..];
        if held.len() < first.len() {
            let may_be_line_end = skip == 0 && b"\r\n".starts_with(held);
            return if may_be_line_end || first.starts_with(held) { Ok(false) } else { Err(MultipartError::Start) };
        }
        if !held.starts_with(first) {
            return Err(MultipartError::Start);
        }
        let length = skip + first.len();
        self.pending.advance(length);
        self.state = State::AfterDelimiter;
        Ok(true)
    }

    fn after_delimiter(&mut self) -> Result<bool, MultipartError> {
        match self.pending.get(..2) {
            None => Ok(false),
            Some(b"\r\n") => {
                self.pending.advance(2);
                self.parts += 1;
                self.state = State::Headers;
                if self.parts > PARTS_MAX { Err(MultipartError::TooManyParts) } else { Ok(true) }
            }
            Some(b"--") => {
                self.pending.advance(2);
                self.state = State::Epilogue;
                Ok(true)
            }
            Some(_) => Err(MultipartError::Delimiter),
        }
    }

    fn headers(&mut self, events: &mut Vec<Event>) -> Result<bool, MultipartError> {
        let window = &self.pending[..self.pending.len().min(PART_HEADER_BYTES_MAX + BLANK_LINE.len())];
        let Some(end) = memchr::memmem::find(window, BLANK_LINE) else {
            let is_full = window.len() == PART_HEADER_BYTES_MAX + BLANK_LINE.len();
            return if is_full { Err(MultipartError::PartHeadersTooLong) } else { Ok(false) };
        };
        let block = self.pending.split_to(end);
        // A line that is a header to this parser and a delimiter to one that looks for those first.
        if block.starts_with(&self.delimiter.needle()[2..]) || self.delimiter.find(&block).is_some() {
            return Err(MultipartError::Delimiter);
        }
        events.push(Event::Begin(part(&block)?));
        // The second of the two line ends stays: `blank_line` looks whether a delimiter begins with it.
        self.pending.advance(2);
        self.state = State::BlankLine;
        Ok(true)
    }

    /// At the line end behind a part's headers. A delimiter that begins with it ends an empty part for some readers
    /// (Python's email) and is the beginning of its content for others, which then miss the parts that follow.
    fn blank_line(&mut self) -> Result<bool, MultipartError> {
        let needle = self.delimiter.needle();
        if self.pending.len() < needle.len() && needle.starts_with(&self.pending) {
            return Ok(false);
        }
        if self.pending.starts_with(needle) {
            return Err(MultipartError::Delimiter);
        }
        self.pending.advance(2);
        self.state = State::Content;
        Ok(true)
    }

    /// Gives out content up to a delimiter, or as much as cannot be part of one; whether the delimiter came.
    fn content(&mut self, events: &mut Vec<Event>) -> bool {
        let needle = self.delimiter.needle();
        let delimiter = self.delimiter.find(&self.pending);
        let end = delimiter.unwrap_or_else(|| {
            let window = self.pending.len() - self.pending.len().min(needle.len() - 1);
            let last = &self.pending[window..];
            let held = memchr::memchr_iter(b'\r', last).find(|&at| needle.starts_with(&last[at..]));
            held.map_or(self.pending.len(), |at| window + at)
        });
        let data = self.pending.split_to(end);
        if !data.is_empty() {
            events.push(Event::Data(data));
        }
        if delimiter.is_some() {
            self.pending.advance(needle.len());
            events.push(Event::End);
            self.state = State::AfterDelimiter;
        }
        delimiter.is_some()
    }
}

#[cfg(test)]
mod tests;
