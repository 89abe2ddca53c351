//! Any split passes the same bytes and reads the same events.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::sse::{Boundary, Parser};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (text, cuts) = input;
    let whole = Parser::new().push(&text);
    let (mut boundary, mut parser) = (Boundary::new(1 << 20), Parser::new());
    let (mut passed, mut read, mut rest) = (Vec::new(), Vec::new(), &text[..]);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let (chunk, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        read.extend(parser.push(chunk));
        passed.extend_from_slice(&boundary.push(Bytes::copy_from_slice(chunk)).expect("within the bound"));
    }
    passed.extend_from_slice(&boundary.finish());
    assert_eq!(passed, text);
    assert_eq!(read, whole);
});
