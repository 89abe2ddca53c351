//! Encodings of a body, applied whether they were asked for or not.

use crate::answers::{Body, Event};
use crate::script::{Encoding, Script};

/// The encoding's name in a header.
pub(crate) fn name_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Gzip => "gzip",
        Encoding::Deflate => "deflate",
        Encoding::Br => "br",
        Encoding::Unknown => "x-nobody-knows",
    }
}

/// The body, encoded when the script says so: a stream then becomes one event.
pub(crate) fn encoded(body: Body, script: &Script) -> Body {
    let body = if script.bomb_bytes > 0 { Body::Whole(vec![0; script.bomb_bytes]) } else { body };
    let encoding = match script.encoding {
        None | Some(Encoding::Unknown) => return body,
        Some(encoding) => encoding,
    };
    match body {
        Body::Whole(bytes) => Body::Whole(encode(encoding, &bytes)),
        Body::Events(events) => {
            let bytes: Vec<u8> = events.flat_map(|event| event.bytes).collect();
            let event = Event { bytes: encode(encoding, &bytes), generated: u64::MAX, pause_ms: 0 };
            Body::Events(Box::new(std::iter::once(event)))
        }
    }
}

fn encode(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut output = Vec::new();
    let written = match encoding {
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut output, flate2::Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(|_| ()))
        }
        Encoding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(&mut output, flate2::Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(|_| ()))
        }
        Encoding::Br => brotli::CompressorWriter::new(&mut output, 4096, 5, 20).write_all(bytes),
        Encoding::Unknown => Write::write_all(&mut output, bytes),
    };
    written.expect("memory takes every write");
    output
}
