//! Looks over the shoulder of the HTTP library at length headers: it resolves a conflict silently (RFC 9112, 6.3, lets
//! it), the gate refuses it, because a proxy in front may have resolved it the other way.
//!
//! Promises: for any split of the bytes into reads the answer is the same; a read without `Transfer-Encoding` costs
//! one vectorised search for line ends while the head lasts, and nothing after it.

/// Longest start of a line that is kept over reads: the longer of the two names, blanks and a colon.
const LINE_START_BYTES_MAX: usize = 64;

/// Watches the first head after a reset.
#[derive(Debug, Default)]
pub struct LengthConflict {
    state: State,
    /// The beginning of the line that is being read, as far as it matters.
    line: Vec<u8>,
    lengths: u32,
    encodings: u32,
    is_odd: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Done,
}

impl LengthConflict {
    /// A watcher at the beginning of a message.
    pub fn new() -> LengthConflict {
        LengthConflict::default()
    }

    /// Another message begins.
    pub fn reset(&mut self) {
        self.state = State::Head;
        self.line.clear();
        (self.lengths, self.encodings, self.is_odd) = (0, 0, false);
    }

    /// Whether the head has a `Transfer-Encoding` beside a `Content-Length`, more than one, or another than `chunked`.
    pub fn conflicting(&self) -> bool {
        self.encodings > 0 && (self.lengths > 0 || self.encodings > 1 || self.is_odd)
    }

    /// Sees bytes of the connection.
    pub fn observe(&mut self, bytes: &[u8]) {
        if self.state == State::Done {
            return;
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[start..end];
            start = end + 1;
            if self.line.is_empty() {
                self.ends(line);
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.line);
                self.ends(&line);
            }
            if self.state == State::Done {
                return;
            }
        }
        self.keep(&bytes[start..]);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_START_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn ends(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => self.state = State::Done,
            Some(b't' | b'T') => {
                if let Some(value) = value_of(line, b"transfer-encoding") {
                    self.encodings += 1;
                    self.is_odd |= !value.eq_ignore_ascii_case(b"chunked");
                }
            }
            Some(b'c' | b'C') if value_of(line, b"content-length").is_some() => self.lengths += 1,
            Some(_) => {}
        }
    }
}

/// The value of a header line with this name.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name) {
        return None;
    }
    Some(rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFLICTS: &[&str] = &[
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 3\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\nTRANSFER-ENCODING:chunked\nCONTENT-LENGTH:3\n\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ];

    const FINE: &[&str] = &[
        "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nContent-Length: 3\r\n",
        "POST /Transfer-Encoding:x HTTP/1.1\r\nX-A: content-length: 3\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding-X: 1\r\nContent-Length: 3\r\n\r\n",
    ];

    fn conflicts(text: &str, step: usize) -> bool {
        let mut watcher = LengthConflict::new();
        text.as_bytes().chunks(step).for_each(|chunk| watcher.observe(chunk));
        watcher.conflicting()
    }

    #[test]
    fn conflicts_are_seen_however_the_bytes_arrive() {
        for text in CONFLICTS {
            (1..=text.len()).for_each(|step| assert!(conflicts(text, step), "{step} {text}"));
        }
        for text in FINE {
            (1..=text.len()).for_each(|step| assert!(!conflicts(text, step), "{step} {text}"));
        }
    }

    #[test]
    fn another_message_starts_anew() {
        let mut watcher = LengthConflict::new();
        watcher.observe(CONFLICTS[0].as_bytes());
        watcher.reset();
        watcher.observe(FINE[1].as_bytes());
        assert!(!watcher.conflicting());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1_usize..50) {
            let mut watcher = LengthConflict::new();
            bytes.chunks(step).for_each(|chunk| watcher.observe(chunk));
        }
    }
}
