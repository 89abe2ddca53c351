//! Images inside a request: `data:` URLs, of which only the beginning is decoded.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Size, size};

/// As much of an image as is looked at for its header: a JPEG may put EXIF, a colour profile in several segments of
/// 64 KiB and a preview before its frame header. A header that lies further in counts as unknown.
pub const HEAD_BYTES_MAX: usize = 512 * 1024;

/// What nearly every header fits into, tried first.
const HEAD_BYTES: usize = 1024;

/// Standard alphabet, with or without padding. Anything else is refused, not skipped: what skips decodes other bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A `data:` URL whose content is base64, not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataUrl<'u> {
    /// The media type as written, without parameters; may be empty.
    pub mime: &'u str,
    /// The base64 text.
    encoded: &'u str,
}

/// Takes a `data:` URL with base64 content apart; `None` for any other URL, which the upstream fetches itself.
pub fn data_url(url: &str) -> Option<DataUrl<'_>> {
    let rest = match url.split_at_checked(5) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("data:") => rest,
        _ => return None,
    };
    let (head, encoded) = rest.split_once(',')?;
    let (types, coding) = head.rsplit_once(';')?;
    if !coding.trim().eq_ignore_ascii_case("base64") {
        return None;
    }
    let mime = types.split(';').next().unwrap_or_default().trim();
    Some(DataUrl { mime, encoded })
}

impl DataUrl<'_> {
    /// The first bytes of the content, at most `max_bytes`; none at all when they are not base64. White space between
    /// the digits is passed over. Reads no more of the text than it needs.
    pub fn head(&self, max_bytes: usize) -> Vec<u8> {
        let digits_max = max_bytes.div_ceil(3).saturating_mul(4);
        let digits: Vec<u8> =
            self.encoded.bytes().filter(|byte| !byte.is_ascii_whitespace()).take(digits_max).collect();
        let mut bytes = BASE64.decode(digits).unwrap_or_default();
        bytes.truncate(max_bytes);
        bytes
    }

    /// The size of the image, decoding no more than [`HEAD_BYTES_MAX`] bytes of it.
    pub fn size(&self) -> Option<Size> {
        size(&self.head(HEAD_BYTES)).or_else(|| size(&self.head(HEAD_BYTES_MAX)))
    }

    /// At most as many bytes as the content decodes to, without decoding it.
    pub fn bytes_max(&self) -> usize {
        self.encoded.len().div_ceil(4).saturating_mul(3)
    }

    /// All of the content, for media that must be walked to the end; empty when it is not base64.
    pub fn bytes(&self) -> Vec<u8> {
        self.head(self.bytes_max())
    }
}
