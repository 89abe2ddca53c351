//! Any split reads the same parts, or is refused as well.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::multipart::{Event, MultipartError, Parser};

fn read(body: &[u8], cuts: &[u8]) -> Result<Vec<(String, Vec<u8>)>, MultipartError> {
    let (mut parser, mut events, mut rest) = (Parser::new("B"), Vec::new(), body);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let (chunk, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        parser.push(&Bytes::copy_from_slice(chunk), &mut events)?;
    }
    parser.finish()?;
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    for event in events {
        match event {
            Event::Begin(part) => parts.push((part.name, Vec::new())),
            Event::Data(data) => parts.last_mut().expect("a part").1.extend_from_slice(&data),
            Event::End => {}
        }
    }
    Ok(parts)
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (body, cuts) = input;
    assert_eq!(read(&body, &cuts).ok(), read(&body, &[]).ok());
});
