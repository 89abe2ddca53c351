//! Reads `multipart/form-data` (RFC 7578 over RFC 2046) chunk by chunk, beside the bytes that are passed on.
//!
//! Promises: the same events for any split; strict where parsers differ: CR LF line ends only, no folding, one
//! `Content-Disposition` a part with one `name`, no preamble, nothing but blanks behind the last boundary; linear
//! time; held back is only what a delimiter could still begin with.
//!
//! Left out: nested `multipart/mixed` and `name*`, which no client of the API sends; they are refused.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// Longest boundary (RFC 2046, 5.1.1).
pub const BOUNDARY_CHARS_MAX: usize = 70;
/// Largest header block of one part.
pub const PART_HEADER_BYTES_MAX: usize = 8 * 1024;
/// Most parts of one body: 16 images, arrays of options, and room.
pub const PARTS_MAX: usize = 1_024;

/// What can be wrong with a multipart body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type has no usable boundary.
    #[error("the Content-Type has no boundary of 1 to 70 characters, or more than one")]
    Boundary,
    /// The body does not begin with the boundary.
    #[error("the body does not begin with its boundary")]
    Start,
    /// A delimiter is followed by something else than a line end or `--`.
    #[error("a boundary is followed by something else than a line end")]
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
    let (essence, parameters) = content_type.split_once(';').ok_or(MultipartError::Boundary)?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::Boundary);
    }
    let mut found = None;
    for parameter in parameters.split(';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("boundary") {
            let value = value.trim();
            let value = value.strip_prefix('"').map_or(Some(value), |value| value.strip_suffix('"'));
            if found.replace(value.ok_or(MultipartError::Boundary)?).is_some() {
                return Err(MultipartError::Boundary);
            }
        }
    }
    let value = found.ok_or(MultipartError::Boundary)?;
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_good =
        (1..=BOUNDARY_CHARS_MAX).contains(&value.len()) && value.bytes().all(is_char) && !value.ends_with(' ');
    if is_good { Ok(value.to_owned()) } else { Err(MultipartError::Boundary) }
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
    pending: BytesMut,
    parts: usize,
}

impl Parser {
    /// A parser for bodies with this boundary.
    pub fn new(boundary: &str) -> Parser {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        Parser { state: State::Start, delimiter, pending: BytesMut::new(), parts: 0 }
    }

    /// Takes a chunk and appends what it shows to `events`.
    ///
    /// # Errors
    /// The first thing that cannot be read in one way only.
    pub fn push(&mut self, chunk: &Bytes, events: &mut Vec<Event>) -> Result<(), MultipartError> {
        // Content of a large part passes without a copy while nothing is held back.
        if self.state == State::Content && self.pending.is_empty() {
            let rest = self.content(chunk.clone(), events);
            self.pending.extend_from_slice(&rest);
        } else {
            self.pending.extend_from_slice(chunk);
        }
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
            State::Content => {
                let held = std::mem::take(&mut self.pending).freeze();
                let before = held.len();
                let rest = self.content(held, events);
                self.pending.extend_from_slice(&rest);
                Ok(self.state != State::Content && before > 0)
            }
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
        let _ = self.pending.split_to(length);
        self.state = State::AfterDelimiter;
        Ok(true)
    }

    fn after_delimiter(&mut self) -> Result<bool, MultipartError> {
        match self.pending.get(..2) {
            None => Ok(false),
            Some(b"\r\n") => {
                let _ = self.pending.split_to(2);
                self.parts += 1;
                self.state = State::Headers;
                if self.parts > PARTS_MAX { Err(MultipartError::TooManyParts) } else { Ok(true) }
            }
            Some(b"--") => {
                let _ = self.pending.split_to(2);
                self.state = State::Epilogue;
                Ok(true)
            }
            Some(_) => Err(MultipartError::Delimiter),
        }
    }

    fn headers(&mut self, events: &mut Vec<Event>) -> Result<bool, MultipartError> {
        let end = memchr::memmem::find(&self.pending, b"\r\n\r\n");
        if end.unwrap_or(self.pending.len()) > PART_HEADER_BYTES_MAX {
            return Err(MultipartError::PartHeadersTooLong);
        }
        let Some(end) = end else { return Ok(false) };
        let block = self.pending.split_to(end);
        events.push(Event::Begin(part(&block)?));
        // Of the blank line's two line ends the second may be the delimiter's own: an empty part. It stays, and
        // `content` sees to it that it is no content.
        let _ = self.pending.split_to(2);
        self.state = State::BlankLine;
        Ok(true)
    }

    /// At the line end behind a part's headers, which belongs to the delimiter when the part is empty.
    fn blank_line(&mut self) -> Result<bool, MultipartError> {
        let needle = self.delimiter.needle();
        let window = self.pending.len().min(needle.len());
        if self.pending.len() < needle.len() && needle.starts_with(&self.pending) {
            return Ok(false);
        }
        if self.pending[..window] != needle[..window] {
            let _ = self.pending.split_to(2);
        }
        self.state = State::Content;
        Ok(true)
    }

    /// Gives out content up to a delimiter; returns what must be held.
    fn content(&mut self, bytes: Bytes, events: &mut Vec<Event>) -> Bytes {
        let mut data = |bytes: Bytes| {
            if !bytes.is_empty() {
                events.push(Event::Data(bytes));
            }
        };
        let needle = self.delimiter.needle();
        if let Some(at) = self.delimiter.find(&bytes) {
            data(bytes.slice(..at));
            events.push(Event::End);
            self.state = State::AfterDelimiter;
            return bytes.slice(at + needle.len()..);
        }
        let window = bytes.len().min(needle.len() - 1);
        let end = &bytes[bytes.len() - window..];
        let held =
            memchr::memchr_iter(b'\r', end).find(|&at| needle.starts_with(&end[at..])).map_or(0, |at| end.len() - at);
        data(bytes.slice(..bytes.len() - held));
        bytes.slice(bytes.len() - held..)
    }
}

/// Reads a part's header block.
fn part(block: &[u8]) -> Result<Part, MultipartError> {
    let text = std::str::from_utf8(block).map_err(|_| MultipartError::PartHeaders)?;
    let mut part = Part::default();
    let mut has_disposition = false;
    for line in text.split("\r\n") {
        // A bare line end, or folding, is read in different ways.
        if line.contains(['\r', '\n']) || line.starts_with([' ', '\t']) {
            return Err(MultipartError::PartHeaders);
        }
        let (name, value) = line.split_once(':').ok_or(MultipartError::PartHeaders)?;
        if name.eq_ignore_ascii_case("content-disposition") {
            if std::mem::replace(&mut has_disposition, true) {
                return Err(MultipartError::PartHeaders);
            }
            (part.name, part.file_name) = disposition(value)?;
        } else if name.eq_ignore_ascii_case("content-type") {
            if value.trim().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
                return Err(MultipartError::PartHeaders);
            }
            if part.content_type.replace(value.trim().to_owned()).is_some() {
                return Err(MultipartError::PartHeaders);
            }
        }
    }
    if has_disposition { Ok(part) } else { Err(MultipartError::PartHeaders) }
}

/// Reads `form-data; name="…"; filename="…"`.
fn disposition(value: &str) -> Result<(String, Option<String>), MultipartError> {
    let (kind, mut rest) = value.split_once(';').ok_or(MultipartError::PartHeaders)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(MultipartError::PartHeaders);
    }
    let (mut name, mut file_name) = (None, None);
    while !rest.trim().is_empty() {
        let (key, after) = rest.split_once('=').ok_or(MultipartError::PartHeaders)?;
        let (value, after) = parameter(after)?;
        rest = after;
        let slot = match key.trim().to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "filename" => &mut file_name,
            // RFC 7578, 4.2: not to be sent; who sends it beside `filename` lets readers disagree. Node and Python
            // send it alone for names outside ASCII.
            "filename*" if file_name.is_none() => &mut file_name,
            _ => return Err(MultipartError::PartHeaders),
        };
        if slot.replace(value).is_some() {
            return Err(MultipartError::PartHeaders);
        }
    }
    Ok((name.ok_or(MultipartError::PartHeaders)?, file_name))
}

/// A parameter's value, quoted or not, and what follows its semicolon.
fn parameter(text: &str) -> Result<(String, &str), MultipartError> {
    let text = text.trim_start();
    let Some(inside) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return Ok((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => {
                let rest = inside[at + 1..].trim_start();
                let rest = if rest.is_empty() { Some(rest) } else { rest.strip_prefix(';') };
                return Ok((value, rest.ok_or(MultipartError::PartHeaders)?));
            }
            // Browsers write %22 for a quote; curl and old clients write a backslash. A backslash in front of anything
            // else is part of a Windows path.
            '\\' if inside[at + 1..].starts_with(['"', '\\']) => value.extend(chars.next().map(|(_, char)| char)),
            char => value.push(char),
        }
    }
    Err(MultipartError::PartHeaders)
}

#[cfg(test)]
mod tests;
