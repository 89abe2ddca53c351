//! Ogg (RFC 3533): pages of laced packets, of one or several logical streams, one after the other or interleaved.
//!
//! A page counts even when its checksum is wrong: some decoders play it. The lengths of all streams of sound are added,
//! so that chained files come out whole. Granule positions are not looked at.

use super::codec::{Codec, vorbis};
use super::flac::stream_rate;
use super::{Heard, array_at};

/// Logical streams that are told apart; a chained radio recording has one a song. With more than that, the rest counts
/// as the longest that its bytes allow.
const STREAMS_MAX: usize = 64;

/// A logical stream.
struct Stream {
    serial: u32,
    codec: Codec,
    /// A packet goes on in the next page.
    is_open: bool,
}

/// Walks all pages.
pub(super) fn walk(bytes: &[u8]) -> Heard {
    let mut streams: Vec<Stream> = Vec::new();
    let mut heard = Heard::default();
    // Bytes between pages, and those of pages of too many streams.
    let mut unread = 0;
    // The longest that they can last, in any of the codecs seen.
    let mut longest = Heard::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some(page) = page(rest) else {
            unread += 1;
            rest = &rest[1..];
            continue;
        };
        match stream(&mut streams, &page) {
            Some(stream) => {
                heard = heard.plus(stream.page(&page));
                if page.begins_stream {
                    longest = longest.or_longer(stream.codec.longest(bytes.len()));
                }
            }
            None => unread += page.length.min(rest.len()),
        }
        rest = rest.get(page.length..).unwrap_or_default();
    }
    if unread == 0 {
        return heard;
    }
    // `longest` is that of the whole file; this is its share.
    let share = Heard { ps: longest.ps.saturating_mul(unread as u128) / bytes.len() as u128 + 1, is_bound: true };
    heard.plus(share.or_longer(Codec::Unknown.longest(unread)))
}

struct Page<'b> {
    serial: u32,
    /// Bytes of the whole page; more than there are when it is cut off.
    length: usize,
    goes_on: bool,
    begins_stream: bool,
    lacing: &'b [u8],
    body: &'b [u8],
}

/// The page at the beginning of `bytes` (RFC 3533, section 6).
fn page(bytes: &[u8]) -> Option<Page<'_>> {
    let rest = bytes.strip_prefix(b"OggS\0")?;
    let (flags, segments) = (*rest.first()?, usize::from(*rest.get(21)?));
    let lacing = rest.get(22..)?;
    let lacing = lacing.get(..segments).unwrap_or(lacing);
    let body_bytes: usize = lacing.iter().map(|length| usize::from(*length)).sum();
    let body = rest.get(22 + segments..).unwrap_or_default();
    Some(Page {
        serial: u32::from_le_bytes(array_at(rest, 9)?),
        length: 27 + segments + body_bytes,
        goes_on: flags & 1 != 0,
        begins_stream: flags & 2 != 0,
        lacing,
        body: body.get(..body_bytes).unwrap_or(body),
    })
}

/// The stream that a page belongs to. A page that begins one replaces an earlier stream of the same number.
fn stream<'s>(streams: &'s mut Vec<Stream>, page: &Page<'_>) -> Option<&'s mut Stream> {
    let known = streams.iter().position(|stream| stream.serial == page.serial);
    let fresh = || Stream { serial: page.serial, codec: codec(page), is_open: false };
    match known {
        Some(at) => {
            if page.begins_stream {
                streams[at] = fresh();
            }
            streams.get_mut(at)
        }
        None if streams.len() < STREAMS_MAX => {
            streams.push(fresh());
            streams.last_mut()
        }
        None => None,
    }
}

/// The codec that the first packet of a stream names.
fn codec(page: &Page<'_>) -> Codec {
    match page.body {
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => Codec::Opus,
        [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => vorbis(page.body),
        // The mapping's own header of 13 bytes and a block header of four lie before the block.
        [0x7f, b'F', b'L', b'A', b'C', ..] => {
            Codec::Flac { rate: stream_rate(page.body.get(17..).unwrap_or_default()) }
        }
        // Pictures, subtitles and the index of streams.
        [0x80, b't' | b'k', ..] | [b'f', b'i', b's', b'h', b'e', b'a', b'd', 0, ..] => Codec::Silent,
        _ => Codec::Unknown,
    }
}

impl Stream {
    /// The packets that begin in a page. One that goes on from the page before was counted there.
    fn page(&mut self, page: &Page<'_>) -> Heard {
        let mut heard = Heard::default();
        let mut goes_on = page.goes_on && self.is_open;
        let mut body = page.body;
        for packet in page.lacing.split_inclusive(|length| *length < 255) {
            let length: usize = packet.iter().map(|length| usize::from(*length)).sum();
            let (data, after) = body.split_at(length.min(body.len()));
            body = after;
            if !goes_on || self.codec == Codec::Unknown {
                heard = heard.plus(self.packet(data));
            }
            goes_on = false;
            self.is_open = packet.last() == Some(&255);
        }
        heard
    }

    /// A packet of sound, or a header that lasts nothing.
    fn packet(&self, data: &[u8]) -> Heard {
        let is_header = match self.codec {
            Codec::Opus => data.starts_with(b"OpusHead") || data.starts_with(b"OpusTags"),
            // A frame begins with its sync code, everything else is a header.
            Codec::Flac { .. } => data.first() != Some(&0xff),
            _ => false,
        };
        if is_header { Heard::default() } else { self.codec.packet(data) }
    }
}
