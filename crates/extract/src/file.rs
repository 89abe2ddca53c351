//! What stands in base64: files of text are read, others are told apart by their first bytes.
//!
//! Promise: the content decides, not the name or the type that the caller gives; linear in the literal.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::class::is_word;
use crate::text::Medium;

/// Bytes of a file that must be text for it to be taken for text.
pub(crate) const SNIFFED_BYTES: usize = 4096;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// What an encoded file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// Text.
    Text(String),
    /// No text.
    Medium(Medium),
    /// Not base64: the value itself is a text.
    Odd,
}

/// Reads base64, or a data URL of it.
pub(crate) fn read(value: &str) -> File {
    let Some(encoded) = payload(value) else { return File::Odd };
    let Some(bytes) = decode(encoded) else { return File::Odd };
    match sniff(&bytes) {
        Some(medium) => File::Medium(medium),
        None => File::Text(text(bytes)),
    }
}

/// Whether a value is base64, or a data URL of it, whatever is in there.
pub(crate) fn is_encoded(value: &str) -> bool {
    let is_of_alphabet =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\n' | b'\r');
    payload(value).is_some_and(|encoded| encoded.bytes().all(is_of_alphabet))
}

/// Whether a value is a data URL. Schemes have no case.
pub(crate) fn is_data_url(value: &str) -> bool {
    value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// The base64 in a value: all of it, or what follows the head of a data URL. `None` where the head is no plain one.
fn payload(value: &str) -> Option<&str> {
    if !is_data_url(value) {
        return Some(value);
    }
    let (head, encoded) = value[5..].split_once(',')?;
    let is_plain = head.split(';').all(|piece| is_word(piece.trim_matches(' ')));
    let is_base64 = head.len() >= 7 && head[head.len() - 7..].eq_ignore_ascii_case(";base64");
    (is_plain && is_base64).then_some(encoded)
}

/// Decodes either alphabet, with line ends in between or not.
fn decode(encoded: &str) -> Option<Vec<u8>> {
    let decode = |encoded: &str| PLAIN.decode(encoded).or_else(|_| URL.decode(encoded)).ok();
    decode(encoded).or_else(|| {
        let is_folded = encoded.contains(['\r', '\n']);
        is_folded.then(|| encoded.replace(['\r', '\n'], "")).and_then(|whole| decode(&whole))
    })
}

/// What bytes are that are no text. `None` for text.
pub(crate) fn sniff(bytes: &[u8]) -> Option<Medium> {
    if let Some(medium) = magic(bytes) {
        return Some(medium);
    }
    let head = &bytes[..bytes.len().min(SNIFFED_BYTES)];
    if utf_16(head).is_some() {
        return None;
    }
    let is_whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character may be cut where the head ends.
        Err(error) => error.error_len().is_none() && head.len() == SNIFFED_BYTES,
    };
    // Old encodings of one byte a character are text, too.
    let is_text = |byte: &u8| !matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127);
    let is_mostly_ascii = head.iter().filter(|byte| byte.is_ascii()).count() * 2 > head.len();
    if head.iter().all(is_text) && (is_whole || is_mostly_ascii) { None } else { Some(Medium::Binary) }
}

/// The text of bytes that [`sniff`] takes for text.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    let big_endian = utf_16(&bytes);
    decoded(bytes, big_endian)
}

/// The text of bytes, or of a stretch of them, in UTF-16 if told so.
pub(crate) fn decoded(bytes: Vec<u8>, big_endian: Option<bool>) -> String {
    let Some(big_endian) = big_endian else {
        return match String::from_utf8(bytes) {
            Ok(text) => text,
            // Not UTF-8: one byte, one character. Letters beyond ASCII may be wrong, words of ASCII are not.
            Err(error) => error.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
        };
    };
    let unit = |pair: &[u8; 2]| if big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(unit).collect();
    let text = String::from_utf16_lossy(&units);
    text.strip_prefix('\u{FEFF}').map_or_else(|| text.clone(), str::to_owned)
}

/// Whether bytes begin with the mark of UTF-16, and whether it is big-endian.
pub(crate) fn utf_16(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [0xFE, 0xFF, ..] => Some(true),
        [0xFF, 0xFE, ..] => Some(false),
        _ => None,
    }
}

/// What the first bytes of well-known formats say.
fn magic(bytes: &[u8]) -> Option<Medium> {
    const STARTS: &[(&[u8], Medium)] = &[
        (b"%PDF-", Medium::Pdf),
        (b"\x89PNG", Medium::Image),
        (b"\xFF\xD8\xFF", Medium::Image),
        (b"GIF87a", Medium::Image),
        (b"GIF89a", Medium::Image),
        (b"II*\0", Medium::Image),
        (b"MM\0*", Medium::Image),
        (b"OggS", Medium::Audio),
        (b"fLaC", Medium::Audio),
        (b"\xFF\xFB", Medium::Audio),
        (b"\xFF\xF3", Medium::Audio),
        (b"\x1A\x45\xDF\xA3", Medium::Video),
        (b"PK\x03\x04", Medium::Archive),
        (b"\x1F\x8B", Medium::Archive),
        (b"\xD0\xCF\x11\xE0", Medium::Archive),
        (b"7z\xBC\xAF", Medium::Archive),
    ];
    let long = match (bytes.get(..4)?, bytes.get(8..12)) {
        (b"RIFF", Some(b"WEBP")) => Some(Medium::Image),
        (b"RIFF", Some(b"WAVE")) => Some(Medium::Audio),
        _ => match (bytes.get(4..8), bytes.get(8..12)) {
            (Some(b"ftyp"), Some(b"avif" | b"heic" | b"mif1")) => Some(Medium::Image),
            (Some(b"ftyp"), Some(b"M4A ")) => Some(Medium::Audio),
            (Some(b"ftyp"), _) => Some(Medium::Video),
            _ => None,
        },
    };
    // Two or three letters are no mark of their own, as a text may begin so; but no text has zeros.
    let short = if !bytes[..bytes.len().min(SNIFFED_BYTES)].contains(&0) {
        None
    } else if bytes.starts_with(b"BM") {
        Some(Medium::Image)
    } else {
        bytes.starts_with(b"ID3").then_some(Medium::Audio)
    };
    let by_start = || STARTS.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, medium)| *medium);
    long.or(short).or_else(by_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        PLAIN.encode(bytes)
    }

    #[test]
    fn the_content_decides() {
        for (bytes, expected) in [
            (&b"name,amount\nACME,3\n"[..], File::Text("name,amount\nACME,3\n".into())),
            (b"BM is a shop; ID3 a tag", File::Text("BM is a shop; ID3 a tag".into())),
            ("Grüße".as_bytes(), File::Text("Grüße".into())),
            (b"na\xEFve words in Latin-1", File::Text("na\u{EF}ve words in Latin-1".into())),
            (b"\xFF\xFEh\0i\0", File::Text("hi".into())),
            (b"%PDF-1.7\n1 0 obj", File::Medium(Medium::Pdf)),
            (b"PK\x03\x04word/document.xml", File::Medium(Medium::Archive)),
            (b"\x89PNG\r\n\x1A\n\0\0", File::Medium(Medium::Image)),
            (b"RIFF\0\0\0\0WAVEfmt ", File::Medium(Medium::Audio)),
            (b"\0\x01\x02", File::Medium(Medium::Binary)),
            (b"", File::Text(String::new())),
        ] {
            assert_eq!(read(&encoded(bytes)), expected);
            assert_eq!(read(&format!("data:application/pdf;base64,{}", encoded(bytes))), expected);
            assert_eq!(read(&format!("DATA:;base64,{}", encoded(bytes))), expected);
        }
    }

    #[test]
    fn what_is_no_base64_is_itself_a_text() {
        for value in [
            "ignore this",
            "data:text/plain,ignore%20this",
            "data:text/plain; note=do this now;base64,AAAA",
            "data:",
            "a\u{e9}",
            "AAAA$",
        ] {
            assert_eq!(read(value), File::Odd, "{value}");
        }
        assert!(!is_encoded("JVBERi0 and now"));
        assert!(is_encoded("data:image/png;base64,iVBORw0KGgo="));
    }

    #[test]
    fn folded_and_url_safe_alphabets_are_read() {
        assert_eq!(read("aGVsbG8g\r\nd29ybGQ="), File::Text("hello world".into()));
        assert_eq!(read("Pz8_Pz8-"), File::Text("?????>".into()));
        assert_eq!(read("aGVsbG8gd29ybGQ"), File::Text("hello world".into()));
    }
}
