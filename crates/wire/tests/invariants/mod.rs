//! What must hold for any bytes that a parser is given. The tests of this crate run these functions on a few thousand
//! inputs made of telling pieces, the fuzz targets on as many as time allows.
//!
//! Each holds a parser against something simpler: a library, a naive second reading of the whole input, or itself with
//! the input cut elsewhere.

mod strict;

use bytes::Bytes;
use wire::endpoint::Reference;
use wire::framing::LengthConflict;
use wire::json::{Fault, TopLevel, scan};
use wire::multipart::{Event, MultipartError, Parser as Form};
use wire::sse::{Boundary, Event as SseEvent, Parser as Events, events};
use wire::target::{Path, decode, pairs, unique};

/// The boundary of the forms that [`multipart`] reads.
pub const BOUNDARY: &str = "B";

/// Cuts bytes into chunks of these sizes and one with the rest.
fn chunks<'b>(bytes: &'b [u8], cuts: &[u8]) -> Vec<&'b [u8]> {
    let (mut chunks, mut rest) = (Vec::new(), bytes);
    for cut in cuts {
        let (chunk, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

/// The strict reader accepts exactly what the library accepts, less duplicate keys and what is out of bounds, and
/// shows the same members.
pub fn json(body: &[u8]) {
    let _ = scan(body, &mut Reference::default());
    let read = TopLevel::read(body);
    let library = strict::read(body);
    match (&read, &library) {
        (Ok(members), Ok(found)) => {
            assert!(!found.has_duplicates, "a duplicate key passed");
            let Some(object) = found.value.as_object() else { return };
            for (key, value) in object {
                let (_, text) = members.member(key).expect("a member that the library sees");
                assert_eq!(&serde_json::from_str::<serde_json::Value>(text).expect("a value"), value, "{key}");
                assert_eq!(members.string(key).as_deref(), value.as_str());
                assert_eq!(members.bool(key), value.as_bool());
            }
        }
        (Ok(_), Err(error)) => assert!(error.to_string().contains("number out of range"), "accepted, but {error}"),
        (Err(error), Ok(found)) => match error.fault {
            Fault::DuplicateKey(_) => assert!(found.has_duplicates, "not a duplicate: {error}"),
            Fault::LongNumber | Fault::TooManyMembers => {}
            _ => panic!("the library accepts it: {error}"),
        },
        (Err(error), Err(_)) => {
            assert!(error.offset <= body.len() && error.line > 0 && error.column > 0, "{error:?}");
        }
    }
}

/// Any split passes the same bytes, reads the same events, and holds no whole event back; what passed in one go can
/// be read by itself.
pub fn sse(text: &[u8], cuts: &[u8]) {
    let whole = events(text);
    let (mut boundary, mut parser) = (Boundary::new(1 << 20), Events::new());
    let (mut passed, mut read, mut apart): (Vec<u8>, Vec<SseEvent>, Vec<SseEvent>) = Default::default();
    let mut came = 0;
    for chunk in chunks(text, cuts) {
        came += chunk.len();
        read.extend(parser.push(chunk));
        let piece = boundary.push(Bytes::copy_from_slice(chunk)).expect("within the bound");
        apart.extend(events(&piece));
        passed.extend_from_slice(&piece);
        // The CR at the end may be half a line end. Short inputs only: this is quadratic.
        if came < 2_000 && !text[..came].ends_with(b"\r") {
            assert_eq!(events(&passed), events(&text[..came]), "a whole event is held back");
        }
    }
    let rest = boundary.finish();
    apart.extend(events(&rest));
    passed.extend_from_slice(&rest);
    assert_eq!(passed, text);
    assert_eq!(read, whole);
    // A byte order mark counts at the beginning only, and each piece has a beginning.
    if memchr::memmem::rfind(text, b"\xef\xbb\xbf").unwrap_or(0) == 0 {
        assert_eq!(apart, whole);
    }
}

/// No accepted path holds a dot segment, an empty segment, a slash or a control character after decoding; a unique
/// parameter stands once among the pairs.
pub fn target(text: &str) {
    let _ = wire::endpoint::find("GET", text);
    let all: Result<Vec<_>, _> = pairs(text).collect();
    let count = all.as_ref().map(|all| all.iter().filter(|(name, _)| name == "limit").count());
    match (unique(text, "limit"), count) {
        (Ok(value), Ok(count)) => assert_eq!(usize::from(value.is_some()), count, "{text}"),
        (Err(_), Ok(count)) => assert!(count > 1, "{text}"),
        (Ok(_), Err(_)) => panic!("a query that cannot be decoded passed: {text}"),
        (Err(_), Err(_)) => {}
    }
    let Ok(path) = Path::parse(text) else { return };
    assert_eq!(path.as_str(), text);
    let inside = text.strip_prefix('/').expect("a path begins with a slash");
    for segment in inside.strip_suffix('/').unwrap_or(inside).split('/') {
        let plain = decode(segment).expect("text");
        assert!(!segment.is_empty() || inside.is_empty(), "{text}");
        assert!(plain != "." && plain != "..", "{text}");
        assert!(!plain.contains(['/', '\\']) && !plain.chars().any(|char| char.is_ascii_control()), "{text}");
    }
}

/// Parts as (name, content).
type Parts = Vec<(String, Vec<u8>)>;

/// Any split reads the same parts or is refused in the same way; contents are those of a naive reading.
pub fn multipart(body: &[u8], cuts: &[u8]) {
    let whole = read_form(body, &[]);
    assert_eq!(read_form(body, cuts), whole);
    if let Ok(parts) = whole {
        let contents: Vec<&[u8]> = parts.iter().map(|(_, content)| &content[..]).collect();
        let lined = [b"\r\n", body.strip_prefix(b"\r\n").unwrap_or(body)].concat();
        assert_eq!(contents, naive_contents(&lined));
    }
}

fn read_form(body: &[u8], cuts: &[u8]) -> Result<Parts, MultipartError> {
    let (mut parser, mut events) = (Form::new(BOUNDARY), Vec::new());
    for chunk in chunks(body, cuts) {
        parser.push(&Bytes::copy_from_slice(chunk), &mut events)?;
    }
    parser.finish()?;
    let (mut parts, mut is_open) = (Parts::new(), false);
    for event in events {
        match event {
            Event::Begin(part) => {
                assert!(!std::mem::replace(&mut is_open, true), "a part began in a part");
                parts.push((part.name, Vec::new()));
            }
            Event::Data(data) => {
                assert!(is_open && !data.is_empty(), "content outside a part");
                parts.last_mut().expect("a part").1.extend_from_slice(&data);
            }
            Event::End => assert!(std::mem::replace(&mut is_open, false), "a part ended twice"),
        }
    }
    assert!(!is_open, "a part did not end");
    Ok(parts)
}

/// Splits a form that was accepted at its delimiters, and each part at its first blank line.
fn naive_contents(lined: &[u8]) -> Vec<&[u8]> {
    let delimiter = format!("\r\n--{BOUNDARY}");
    let starts: Vec<usize> = memchr::memmem::find_iter(lined, &delimiter).collect();
    let parts = starts.windows(2).map(|pair| {
        let part = &lined[pair[0] + delimiter.len()..pair[1]];
        let end = memchr::memmem::find(part, b"\r\n\r\n").expect("a blank line behind the headers");
        &part[end + 4..]
    });
    parts.collect()
}

/// However a head arrives, a conflict of its lengths is seen or not alike, and as a naive reading sees it.
pub fn framing(bytes: &[u8], cuts: &[u8]) {
    let mut watcher = LengthConflict::new();
    for chunk in chunks(bytes, cuts) {
        watcher.observe(chunk);
    }
    let mut at_once = LengthConflict::new();
    at_once.observe(bytes);
    assert_eq!(watcher.conflicting(), at_once.conflicting());
    assert_eq!(watcher.conflicting(), conflicts_naively(bytes));
    watcher.reset();
    assert!(!watcher.conflicting());
}

fn conflicts_naively(bytes: &[u8]) -> bool {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let head = lines.skip_while(|line| line.is_empty()).skip(1).take_while(|line| !line.is_empty());
    let (mut encodings, mut lengths, mut is_odd) = (0, 0, false);
    for line in head {
        // The watcher keeps no more of a line than this.
        let start = String::from_utf8_lossy(&line[..line.len().min(66)]).to_ascii_lowercase();
        let Some((name, value)) = start.split_once(':') else { continue };
        match name.trim_end_matches(|char: char| char.is_ascii_whitespace()) {
            "transfer-encoding" => {
                encodings += 1;
                is_odd |= line.len() > 64 || value.trim_matches(|char: char| char.is_ascii_whitespace()) != "chunked";
            }
            "content-length" => lengths += 1,
            _ => {}
        }
    }
    encodings > 1 || encodings == 1 && (lengths > 0 || is_odd)
}
