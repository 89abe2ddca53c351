//! Width and height out of the header of a PNG, JPEG, GIF or WebP.
//!
//! Where a header can say two things, the larger is taken: a GIF's first frame may exceed its screen, and a JPEG may
//! carry more than one frame header before its scan.

/// Width and height of an image in pixels, as stored: an EXIF rotation is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// A size, unless a side is zero: no decoder draws that, so the header lies.
    fn new(width: u32, height: u32) -> Option<Self> {
        (width > 0 && height > 0).then_some(Self { width, height })
    }
}

/// The size of a PNG, JPEG, GIF or WebP, or `None` when the bytes are none of these or end before they say it.
///
/// Reads headers only; `bytes` may be the beginning of a file. A beginning never gives another size than the whole.
pub fn size(bytes: &[u8]) -> Option<Size> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', rest @ ..] => png(rest),
        [0xff, 0xd8, rest @ ..] => jpeg(rest),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', rest @ ..] => gif(rest),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', rest @ ..] => webp(rest),
        _ => None,
    }
}

/// The first chunk of a PNG is IHDR, 13 bytes (PNG specification, 11.2.1).
fn png(bytes: &[u8]) -> Option<Size> {
    let [0, 0, 0, 13, b'I', b'H', b'D', b'R', w0, w1, w2, w3, h0, h1, h2, h3, ..] = *bytes else { return None };
    Size::new(u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]))
}

/// Walks the marker segments up to the scan (ITU T.81, annex B). A thumbnail lies inside a segment and is stepped over
/// with it.
fn jpeg(mut bytes: &[u8]) -> Option<Size> {
    let mut found: Option<Size> = None;
    loop {
        let [0xff, marker, rest @ ..] = bytes else { return None };
        match marker {
            // A fill byte before a marker.
            0xff => bytes = bytes.get(1..)?,
            // Markers that stand alone.
            0x01 | 0xd0..=0xd7 => bytes = rest,
            // The scan begins, or the image ends: what was found so far is all.
            0xda | 0xd9 => return found,
            0x00 | 0xd8 => return None,
            _ => {
                let [high, low, ..] = *rest else { return None };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let segment = rest.get(2..length)?;
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    found = Some(larger(found, frame(segment)?));
                }
                bytes = rest.get(length..)?;
            }
        }
    }
}

/// A frame header: precision, rows, columns. Zero rows (they come later, in DNL) count as unknown.
fn frame(segment: &[u8]) -> Option<Size> {
    let [_, h0, h1, w0, w1, ..] = *segment else { return None };
    Size::new(u16::from_be_bytes([w0, w1]).into(), u16::from_be_bytes([h0, h1]).into())
}

fn larger(before: Option<Size>, now: Size) -> Size {
    let before = before.unwrap_or(now);
    Size { width: before.width.max(now.width), height: before.height.max(now.height) }
}

/// The screen, or the first frame where that reaches beyond: decoders grow the picture to hold it.
fn gif(bytes: &[u8]) -> Option<Size> {
    let [w0, w1, h0, h1, flags, _, _, rest @ ..] = bytes else { return None };
    let (width, height) = (u16::from_le_bytes([*w0, *w1]), u16::from_le_bytes([*h0, *h1]));
    let colours_bytes = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut rest = rest.get(colours_bytes..)?;
    loop {
        match rest {
            [0x21, _, blocks @ ..] => rest = after_sub_blocks(blocks)?,
            [0x2c, x0, x1, y0, y1, w0, w1, h0, h1, ..] => {
                let right = u32::from(u16::from_le_bytes([*x0, *x1])) + u32::from(u16::from_le_bytes([*w0, *w1]));
                let bottom = u32::from(u16::from_le_bytes([*y0, *y1])) + u32::from(u16::from_le_bytes([*h0, *h1]));
                return Size::new(right.max(width.into()), bottom.max(height.into()));
            }
            _ => return None,
        }
    }
}

/// What follows a chain of sub-blocks, each a length and as many bytes, ended by an empty one.
fn after_sub_blocks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = bytes.split_first()?;
        bytes = rest.get(usize::from(*length)..)?;
        if *length == 0 {
            return Some(bytes);
        }
    }
}

/// The first chunk says it: VP8 (RFC 6386, 9.1), VP8L (14 bits a side, less one), VP8X (24 bits a side, less one).
fn webp(bytes: &[u8]) -> Option<Size> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (_length, data) = rest.split_first_chunk::<4>()?;
    match kind {
        b"VP8 " => {
            let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *data else { return None };
            // The two high bits are a hint for upscaling.
            Size::new((u16::from_le_bytes([w0, w1]) & 0x3fff).into(), (u16::from_le_bytes([h0, h1]) & 0x3fff).into())
        }
        b"VP8L" => {
            let [0x2f, b0, b1, b2, b3, ..] = *data else { return None };
            let bits = u32::from_le_bytes([b0, b1, b2, b3]);
            Size::new((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        b"VP8X" => {
            let [_, _, _, _, w0, w1, w2, h0, h1, h2, ..] = *data else { return None };
            Size::new(u32::from_le_bytes([w0, w1, w2, 0]) + 1, u32::from_le_bytes([h0, h1, h2, 0]) + 1)
        }
        _ => None,
    }
}
