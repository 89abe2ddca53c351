//! Content encodings: request bodies within their size limit, answers within a bound, chunk by chunk.
//!
//! Promises: a bomb costs no more than its limit; a stream that was flushed by its sender is passed on at once; an
//! encoding that is not known here is refused, never guessed.

use std::io::{self, Write};

use flate2::write::{GzDecoder, ZlibDecoder};

/// Encodings that the gate reads (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
    Brotli,
}

impl Encoding {
    /// The names that a refusal lists.
    pub(crate) const NAMES: &'static str = "gzip, deflate, br or identity";

    /// Reads a `Content-Encoding` value: `Ok(None)` for none or identity.
    ///
    /// # Errors
    /// The value, when it is unknown or names several encodings.
    pub(crate) fn parse(value: &str) -> Result<Option<Encoding>, ()> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Encoding::Gzip)),
            "deflate" => Ok(Some(Encoding::Deflate)),
            "br" => Ok(Some(Encoding::Brotli)),
            _ => Err(()),
        }
    }
}

/// Why decoding stopped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the decoded body is over its limit")]
    TooLarge,
    #[error("the encoded body is broken")]
    Broken,
}

/// Output of one step, with what is still allowed.
struct Bounded {
    bytes: Vec<u8>,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len() as u64;
        if count > self.left {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left -= count;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Codec {
    Gzip(GzDecoder<Bounded>),
    Deflate(ZlibDecoder<Bounded>),
    Brotli(Box<brotli::DecompressorWriter<Bounded>>),
}

/// An incremental decoder with a bound on all it gives out.
pub(crate) struct Decoder {
    codec: Codec,
    fed: bool,
}

impl Decoder {
    /// A decoder that gives out at most `bytes_max`.
    pub(crate) fn new(encoding: Encoding, bytes_max: u64) -> Decoder {
        let output = Bounded { bytes: Vec::new(), left: bytes_max };
        let codec = match encoding {
            Encoding::Gzip => Codec::Gzip(GzDecoder::new(output)),
            Encoding::Deflate => Codec::Deflate(ZlibDecoder::new(output)),
            // The window is the format's; the buffer between decoder and output is a page.
            Encoding::Brotli => Codec::Brotli(Box::new(brotli::DecompressorWriter::new(output, 4096))),
        };
        Decoder { codec, fed: false }
    }

    /// Feeds a chunk and returns what it decodes to.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<Vec<u8>, DecodeError> {
        self.fed |= !chunk.is_empty();
        let result = match &mut self.codec {
            Codec::Gzip(codec) => codec.write_all(chunk).and_then(|()| codec.flush()),
            Codec::Deflate(codec) => codec.write_all(chunk).and_then(|()| codec.flush()),
            Codec::Brotli(codec) => codec.write_all(chunk).and_then(|()| codec.flush()),
        };
        result.map_err(|error| explain(&error))?;
        Ok(std::mem::take(&mut self.output().bytes))
    }

    /// Ends the body and returns the rest.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, DecodeError> {
        if !self.fed {
            return Ok(Vec::new());
        }
        let result = match &mut self.codec {
            Codec::Gzip(codec) => codec.try_finish(),
            Codec::Deflate(codec) => codec.try_finish(),
            Codec::Brotli(codec) => codec.close(),
        };
        result.map_err(|error| explain(&error))?;
        Ok(std::mem::take(&mut self.output().bytes))
    }

    fn output(&mut self) -> &mut Bounded {
        match &mut self.codec {
            Codec::Gzip(codec) => codec.get_mut(),
            Codec::Deflate(codec) => codec.get_mut(),
            Codec::Brotli(codec) => codec.get_mut(),
        }
    }
}

fn explain(error: &io::Error) -> DecodeError {
    if error.kind() == io::ErrorKind::StorageFull { DecodeError::TooLarge } else { DecodeError::Broken }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn encode(encoding: Encoding, text: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        match encoding {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(&mut output, Compression::default());
                encoder.write_all(text).expect("in memory");
                encoder.finish().expect("in memory");
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(&mut output, Compression::default());
                encoder.write_all(text).expect("in memory");
                encoder.finish().expect("in memory");
            }
            Encoding::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(&mut output, 4096, 5, 20);
                encoder.write_all(text).expect("in memory");
            }
        }
        output
    }

    fn decode(encoding: Encoding, bytes: &[u8], step: usize, max: u64) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(encoding, max);
        let mut text = Vec::new();
        for chunk in bytes.chunks(step) {
            text.extend(decoder.feed(chunk)?);
        }
        text.extend(decoder.finish()?);
        Ok(text)
    }

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli];

    #[test]
    fn any_split_decodes_to_the_same() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        for encoding in ALL {
            let bytes = encode(encoding, &text);
            for step in [1, 7, 1_000, bytes.len()] {
                assert_eq!(decode(encoding, &bytes, step, 1 << 20).as_deref(), Ok(&text[..]), "{encoding:?} {step}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_its_limit() {
        let zeros = vec![0; 8 << 20];
        for encoding in ALL {
            let bytes = encode(encoding, &zeros);
            assert!(bytes.len() < 100_000);
            assert_eq!(decode(encoding, &bytes, 512, 1 << 20), Err(DecodeError::TooLarge), "{encoding:?}");
        }
    }

    #[test]
    fn a_cut_or_foreign_body_is_broken() {
        for encoding in ALL {
            let bytes = encode(encoding, b"hello hello hello hello hello");
            assert_eq!(
                decode(encoding, &bytes[..bytes.len() - 3], 5, 1 << 20),
                Err(DecodeError::Broken),
                "{encoding:?}"
            );
            assert_eq!(
                decode(encoding, b"{\"not\": \"encoded\"}", 5, 1 << 20),
                Err(DecodeError::Broken),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn what_was_flushed_passes_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: one\n\n").expect("in memory");
        encoder.flush().expect("in memory");
        let first = std::mem::take(encoder.get_mut());
        let mut decoder = Decoder::new(Encoding::Gzip, 1 << 20);
        assert_eq!(decoder.feed(&first).as_deref(), Ok(&b"data: one\n\n"[..]));
    }
}
