//! Server-sent events (WHATWG HTML, 9.2): cut at event boundaries on the way through, and read.
//!
//! Promises: for any split of the same bytes into chunks the same bytes pass and the same events are read; an event
//! that is complete is not held back; one that is not is held, up to a bound; time is linear.

use bytes::{Bytes, BytesMut};
use memchr::{memchr2, memrchr2};

/// Longest event held back while it is incomplete: partial images of the API come to a few MB.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An event over its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {bytes_max} bytes")]
pub struct EventTooLong {
    /// The bound.
    pub bytes_max: usize,
}

/// Cuts a stream so that only whole events pass.
///
/// A blank line ends an event; lines end in LF, CR LF or CR. A CR at the very end of a chunk may be the first half of
/// CR LF, so it waits for its other half; everything else that is whole passes at once.
#[derive(Debug)]
pub struct Boundary {
    /// The beginning of an event whose end has not come.
    pending: BytesMut,
    /// How much of `pending` was searched already.
    searched: usize,
    bytes_max: usize,
}

impl Boundary {
    /// A cutter that holds back at most `bytes_max`.
    pub fn new(bytes_max: usize) -> Boundary {
        Boundary { pending: BytesMut::new(), searched: 0, bytes_max }
    }

    /// Takes a chunk and gives the events that are now whole, perhaps none.
    ///
    /// # Errors
    /// When what is held back would pass the bound.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, EventTooLong> {
        if self.pending.is_empty() {
            // Most chunks are whole events: they pass as they are.
            if chunk.ends_with(b"\n\n") {
                return Ok(chunk);
            }
            let end = last_boundary(&chunk, 0);
            let mut whole = chunk;
            let rest = whole.split_off(end);
            self.hold(&rest)?;
            return Ok(whole);
        }
        self.pending.extend_from_slice(&chunk);
        // A boundary may begin in the last three bytes that were searched before.
        let end = last_boundary(&self.pending, self.searched.saturating_sub(3));
        if end == 0 {
            self.searched = self.pending.len();
            return self.check().map(|()| Bytes::new());
        }
        let whole = self.pending.split_to(end).freeze();
        self.searched = self.pending.len();
        self.check()?;
        Ok(whole)
    }

    fn hold(&mut self, rest: &[u8]) -> Result<(), EventTooLong> {
        self.pending.extend_from_slice(rest);
        self.searched = rest.len();
        self.check()
    }

    fn check(&self) -> Result<(), EventTooLong> {
        if self.pending.len() > self.bytes_max { Err(EventTooLong { bytes_max: self.bytes_max }) } else { Ok(()) }
    }

    /// Gives what is left at the stream's end: an event without its blank line, or nothing.
    pub fn finish(&mut self) -> Bytes {
        self.searched = 0;
        std::mem::take(&mut self.pending).freeze()
    }
}

/// Where the last whole event ends: behind the last blank line that ends at or after `from`; 0 when there is none.
///
/// A boundary whose last byte is a CR at the very end is not one yet.
fn last_boundary(bytes: &[u8], from: usize) -> usize {
    let mut end = bytes.len();
    while let Some(at) = memrchr2(b'\n', b'\r', &bytes[from..end]).map(|at| at + from) {
        let is_cr = bytes[at] == b'\r';
        let waits = is_cr && at + 1 == bytes.len();
        // A CR that an LF follows is the first half of a line end, not one of its own.
        let is_half = is_cr && bytes.get(at + 1) == Some(&b'\n');
        if !waits && !is_half && ends_line_before(bytes, at) {
            return at + 1;
        }
        end = at;
    }
    0
}

/// Whether the line that ends with the line end at `at` is empty: a line end stands right before it.
fn ends_line_before(bytes: &[u8], at: usize) -> bool {
    let line_end_start = if bytes[at] == b'\n' && at > 0 && bytes[at - 1] == b'\r' { at - 1 } else { at };
    line_end_start > 0 && matches!(bytes[line_end_start - 1], b'\n' | b'\r')
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty when there was none.
    pub name: String,
    /// The `data` fields, joined by LF.
    pub data: Vec<u8>,
}

/// Reads the events of a stream chunk by chunk.
///
/// It keeps an event until it is whole, whatever its size: what it is given is bounded before, as by a [`Boundary`].
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// The last byte was a CR: an LF that comes next belongs to it.
    after_cr: bool,
    /// The stream's first bytes may be a byte order mark.
    begun: bool,
}

impl Parser {
    /// A parser at the beginning of a stream.
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Takes a chunk and gives the events that it completes.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let mut rest = chunk;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(at) = memchr2(b'\n', b'\r', rest) {
            self.line.extend_from_slice(&rest[..at]);
            let was_cr = rest[at] == b'\r';
            rest = &rest[at + 1..];
            if was_cr {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.end_line(&mut events);
        }
        self.line.extend_from_slice(rest);
        events
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let mut line = std::mem::take(&mut self.line);
        if !self.begun {
            self.begun = true;
            if line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return;
        }
        let (field, value) = match memchr::memchr(b':', &line) {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (&line[..], &[][..]),
        };
        match field {
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
                self.has_data = true;
            }
            // Comments, `id`, `retry` and what is unknown say nothing about the content.
            _ => {}
        }
        line.clear();
        self.line = line;
    }
}

/// Cuts bytes that hold whole events into them, each with its blank line; what has none at the end is the last.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut at = 0;
        loop {
            let Some((line, next)) = line_at(rest, at) else {
                return Some(std::mem::take(&mut rest));
            };
            at = next;
            if line.is_empty() {
                let (event, after) = rest.split_at(at);
                rest = after;
                return Some(event);
            }
        }
    })
}

/// The line that begins at `at`, as its place, and where the next one begins; `None` when it does not end.
fn line_at(bytes: &[u8], at: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let end = at + memchr2(b'\n', b'\r', &bytes[at..])?;
    let is_crlf = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
    Some((at..end, end + 1 + usize::from(is_crlf)))
}

/// Where the data of an event lies that has exactly one `data` line, as all of the API's have.
pub fn data_place(event: &[u8]) -> Option<std::ops::Range<usize>> {
    // Nearly all are one line and a blank one.
    if event.starts_with(b"data: ") && memchr2(b'\n', b'\r', event) == event.len().checked_sub(2) {
        return Some(6..event.len() - 2);
    }
    let (mut at, mut found) = (0, None);
    while at < event.len() {
        let (line, next) = line_at(event, at).unwrap_or((at..event.len(), event.len()));
        if event[line.clone()].starts_with(b"data:") {
            let start = line.start + 5 + usize::from(event.get(line.start + 5) == Some(&b' '));
            if found.replace(start.min(line.end)..line.end).is_some() {
                return None;
            }
        }
        at = next;
    }
    found
}

/// The events of bytes that hold whole ones.
pub fn events(bytes: &[u8]) -> Vec<Event> {
    Parser::new().push(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks<'t>(text: &'t [u8], cuts: &[usize]) -> Vec<&'t [u8]> {
        let mut rest = text;
        let mut chunks = Vec::new();
        for cut in cuts {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        chunks
    }

    #[test]
    fn events_are_cut_with_their_blank_lines() {
        let bytes = b"data: a\n\nevent: x\r\ndata:b\r\n\r\ndata: c\r\rdata: d";
        let parts: Vec<_> = split(bytes).collect();
        assert_eq!(parts, [&b"data: a\n\n"[..], b"event: x\r\ndata:b\r\n\r\n", b"data: c\r\r", b"data: d"]);
        let data: Vec<_> = parts.iter().map(|part| &part[data_place(part).expect("one line")]).collect();
        assert_eq!(data, [b"a", b"b", b"c", b"d"]);
        assert_eq!(data_place(b"data: a\ndata: b\n\n"), None);
        assert_eq!(data_place(b": note\n\n"), None);
        assert_eq!(data_place(b"data:\n\n"), Some(5..5));
    }

    proptest! {
        #[test]
        fn cutting_loses_nothing(text in stream()) {
            let joined: Vec<u8> = split(text.as_bytes()).flatten().copied().collect();
            prop_assert_eq!(joined, text.as_bytes());
        }
    }

    /// Pieces that make line ends and their halves common.
    fn stream() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("\n"),
            Just("\r"),
            Just("\r\n"),
            Just("data: a"),
            Just("data:{\"x\":1}"),
            Just(": note"),
            Just("event: e"),
            Just("\n\n"),
            Just("\r\n\r\n"),
            Just("id: 7"),
            Just("ü"),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_passes_the_same_bytes_and_reads_the_same_events(
            text in stream(), cuts in prop::collection::vec(0_usize..7, 0..60)
        ) {
            let mut boundary = Boundary::new(EVENT_BYTES_MAX);
            let (mut parser, mut passed) = (Parser::new(), Vec::new());
            let mut read = Vec::new();
            for chunk in chunks(text.as_bytes(), &cuts) {
                let whole = boundary.push(Bytes::copy_from_slice(chunk)).expect("within the bound");
                read.extend(parser.push(&whole));
                passed.extend_from_slice(&whole);
                // What passed so far ends with a blank line: a reader has nothing half.
                let mut probe = passed.clone();
                probe.extend_from_slice(b"data: sentinel\n\n");
                let last = events(&probe).pop().expect("the sentinel");
                prop_assert_eq!(last, Event { name: String::new(), data: b"sentinel".to_vec() });
            }
            passed.extend_from_slice(&boundary.finish());
            prop_assert_eq!(&passed, text.as_bytes());
            let mut direct = Parser::new();
            let whole = direct.push(text.as_bytes());
            prop_assert!(whole.starts_with(&read));
            let bytewise: Vec<Event> = {
                let mut parser = Parser::new();
                text.as_bytes().iter().flat_map(|byte| parser.push(&[*byte])).collect()
            };
            prop_assert_eq!(bytewise, whole);
        }

        #[test]
        fn a_whole_event_is_never_held_back(end in prop_oneof![Just("\n\n"), Just("\r\n\r\n")], cut in 0_usize..30) {
            let text = format!("event: x\ndata: {{\"a\":1}}{end}");
            let mut boundary = Boundary::new(1_000);
            let cut = cut.min(text.len());
            let mut passed = boundary.push(Bytes::copy_from_slice(&text.as_bytes()[..cut])).expect("short").to_vec();
            passed.extend_from_slice(&boundary.push(Bytes::copy_from_slice(&text.as_bytes()[cut..])).expect("short"));
            prop_assert_eq!(passed, text.as_bytes());
        }
    }

    #[test]
    fn an_event_of_a_megabyte_in_small_pieces_passes_whole() {
        let text = format!("data: {}\n\n", "x".repeat(1 << 20));
        let mut boundary = Boundary::new(EVENT_BYTES_MAX);
        let mut passed = Vec::new();
        for chunk in text.as_bytes().chunks(100) {
            passed.extend_from_slice(&boundary.push(Bytes::copy_from_slice(chunk)).expect("within the bound"));
        }
        assert_eq!(passed, text.as_bytes());
    }

    #[test]
    fn an_endless_event_meets_its_bound() {
        let mut boundary = Boundary::new(1_000);
        let result = (0..100).try_for_each(|_| boundary.push(Bytes::from_static(&[b'x'; 64])).map(|_| ()));
        assert_eq!(result, Err(EventTooLong { bytes_max: 1_000 }));
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let text =
            b"\xef\xbb\xbf: hello\nevent: add\ndata: a\ndata:  b\ndata\n\nevent: lost\n\ndata: c\r\rdata: d\r\n\r\n";
        let read: Vec<(String, Vec<u8>)> = events(text).into_iter().map(|event| (event.name, event.data)).collect();
        assert_eq!(
            read,
            [("add".into(), b"a\n b\n".to_vec()), (String::new(), b"c".to_vec()), (String::new(), b"d".to_vec())]
        );
    }
}
