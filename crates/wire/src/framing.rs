//! Looks over the shoulder of the HTTP library at length headers: it resolves a conflict silently (RFC 9112, 6.3, lets
//! it), the gate refuses it, because a proxy in front may have resolved it the other way.
//!
//! Promises: for any split of the bytes into reads the answer is the same; a read that holds a whole head without
//! `Transfer-Encoding` costs two vectorised searches, and what follows a head costs nothing.
//!
//! Left out: a request that came in the same read as the one before it (pipelining). Where its head begins, only a
//! reader of bodies knows; the caller's reset comes too late for it.

/// Longest part of a line that matters: the longer of the two names, its colon and `chunked` with room for blanks. A
/// longer `Transfer-Encoding` is odd without being read to its end.
const LINE_BYTES_MAX: usize = 64;

/// What is kept of a line: one byte more, so that a longer line is told from one that fits, and its CR.
const KEPT_BYTES_MAX: usize = LINE_BYTES_MAX + 2;

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
    /// In front of the request line. Empty lines here are passed over (RFC 9112, 2.2), as the HTTP library does: one
    /// of them must not look like the head's end.
    #[default]
    Start,
    /// In the header lines.
    Headers,
    /// Behind the head.
    Done,
}

impl LengthConflict {
    /// A watcher at the beginning of a message.
    pub fn new() -> LengthConflict {
        LengthConflict::default()
    }

    /// Another message begins.
    pub fn reset(&mut self) {
        self.state = State::Start;
        self.line.clear();
        (self.lengths, self.encodings, self.is_odd) = (0, 0, false);
    }

    /// Whether the head has a `Transfer-Encoding` beside a `Content-Length`, more than one, or another than `chunked`.
    pub fn conflicting(&self) -> bool {
        self.encodings > 0 && (self.lengths > 0 || self.encodings > 1 || self.is_odd)
    }

    /// Whether the watched head is known to have one `Transfer-Encoding: chunked` and no length. A head that was not
    /// watched (a pipelined one) has nobody to vouch for it.
    pub fn vouches(&self) -> bool {
        self.encodings == 1 && !self.conflicting()
    }

    /// Sees bytes of the connection.
    pub fn observe(&mut self, bytes: &[u8]) {
        if self.state == State::Done {
            return;
        }
        if self.state == State::Start && self.line.is_empty() && is_head_without_encoding(bytes) {
            self.state = State::Done;
            return;
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[start..end];
            start = end + 1;
            if self.line.is_empty() {
                self.ends(&line[..line.len().min(KEPT_BYTES_MAX)]);
            } else {
                self.keep(line);
                let mut line = std::mem::take(&mut self.line);
                self.ends(&line);
                line.clear();
                self.line = line;
            }
            if self.state == State::Done {
                return;
            }
        }
        self.keep(&bytes[start..]);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = KEPT_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Takes a line without its LF, cut at [`KEPT_BYTES_MAX`].
    fn ends(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (self.state, line.first()) {
            (State::Start, None) | (State::Done, _) => {}
            (State::Start, Some(_)) => self.state = State::Headers,
            (State::Headers, None) => self.state = State::Done,
            (State::Headers, Some(b't' | b'T')) => {
                if let Some(value) = value_of(line, b"transfer-encoding") {
                    self.encodings += 1;
                    self.is_odd |= line.len() > LINE_BYTES_MAX || !value.eq_ignore_ascii_case(b"chunked");
                }
            }
            (State::Headers, Some(b'c' | b'C')) if value_of(line, b"content-length").is_some() => self.lengths += 1,
            (State::Headers, Some(_)) => {}
        }
    }
}

/// Whether a read at a message's beginning holds a whole head in which no line can be a `Transfer-Encoding`: nearly
/// every read of nearly every connection, and what it says of lengths does not matter then.
fn is_head_without_encoding(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first() else { return false };
    if matches!(first, b'\r' | b'\n') {
        return false;
    }
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return false };
    let head = &bytes[..end];
    // A line's end, and behind it `t` and, eight bytes on, a dash. Without a branch in the loop it becomes vector code.
    let (Some(second), Some(tenth)) = (head.get(1..), head.get(9..)) else { return true };
    let lines = head.iter().zip(second).zip(tenth);
    !lines.fold(false, |found, ((line_end, initial), dash)| {
        found | ((*line_end == b'\n') & (*initial | 0x20 == b't') & (*dash == b'-'))
    })
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
    use super::*;

    const CONFLICTS: &[&str] = &[
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 3\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\nTRANSFER-ENCODING:chunked\nCONTENT-LENGTH:3\n\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        // Empty lines in front of a message are no end of a head.
        "\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        "\n\r\n\nPOST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        // What a long line hides behind blanks.
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked                                            , gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding:                                                    gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nTe: trailers\r\nTransfer-Encoding : chunked\r\nContent-Length \t: 3\r\n\r\n",
    ];

    const FINE: &[&str] = &[
        "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nContent-Length: 3\r\n",
        "POST /Transfer-Encoding:x HTTP/1.1\r\nX-A: content-length: 3\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding-X: 1\r\nContent-Length: 3\r\n\r\n",
        "\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
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
    fn one_cut_anywhere_changes_nothing() {
        let cut = |text: &str, at: usize| {
            let mut watcher = LengthConflict::new();
            watcher.observe(&text.as_bytes()[..at]);
            watcher.observe(&text.as_bytes()[at..]);
            watcher.conflicting()
        };
        for text in CONFLICTS {
            (0..=text.len()).for_each(|at| assert!(cut(text, at), "{at} {text}"));
        }
        for text in FINE {
            (0..=text.len()).for_each(|at| assert!(!cut(text, at), "{at} {text}"));
        }
    }

    #[test]
    fn another_message_starts_anew() {
        let mut watcher = LengthConflict::new();
        watcher.observe(CONFLICTS[0].as_bytes());
        watcher.reset();
        watcher.observe(FINE[1].as_bytes());
        assert!(!watcher.conflicting());
        watcher.reset();
        watcher.observe(CONFLICTS[6].as_bytes());
        assert!(watcher.conflicting());
    }

    #[test]
    fn a_head_is_passed_over_only_when_no_line_can_be_an_encoding() {
        let plain = "POST / HTTP/1.1\r\nTe: x\r\nTrailer: a-b\r\n\r\n";
        assert!(is_head_without_encoding(plain.as_bytes()));
        for text in CONFLICTS {
            assert!(!is_head_without_encoding(text.as_bytes()), "{text}");
        }
        assert!(!is_head_without_encoding(b"POST / HTTP/1.1\r\nHost: a\r\n"), "the end has not come");
        assert!(!is_head_without_encoding(b""));
    }
}
