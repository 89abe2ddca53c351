//! MPEG audio (MP3, MP2, MP1) and AAC in ADTS: frames without a container, found by their headers.
//!
//! A header counts where the frame before or after it agrees with it. What lies between frames counts at the lowest bit
//! rate, so that bytes arranged to make this reading jump over frames that another would find gain nothing.

use super::{Heard, SPEECH_NS_PER_BYTE};

/// Nanoseconds a byte of near-empty ADTS: four blocks of 1,024 samples at 7,350 a second, each of three bytes at the
/// least (element, gain, an empty section), behind a header of seven.
const ADTS_NS_PER_BYTE: u64 = 4 * 1024 * 1_000_000_000 / 7_350 / 14;

/// Kilobits a second by the header's index, for MPEG-1 layers I, II, III, then MPEG-2 layer I, and II and III (ISO
/// 11172-3 and 13818-3, 2.4.2.3).
const KILOBITS: [[u32; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Samples a second by the header's index in ADTS and in MPEG-4 audio configurations (ISO 14496-3, 1.6.3.4).
pub(super) const AAC_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// One frame's header.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// Bytes of the frame, its header included.
    length: usize,
    samples: u64,
    rate: u32,
    /// What all frames of a stream share.
    kind: u32,
}

impl Frame {
    pub(super) fn heard(self) -> Heard {
        Heard::samples(self.samples, self.rate)
    }
}

/// The sound of a file of bare frames, of either sort: the longer reading.
pub(super) fn walk(bytes: &[u8]) -> Heard {
    let (frames, between) = scan(before_id3v1(bytes), mpeg_frame);
    let mpeg = frames.plus(Heard::at_most(between, SPEECH_NS_PER_BYTE));
    let (frames, between) = scan(bytes, adts_frame);
    if frames.ps == 0 {
        return mpeg;
    }
    let adts = frames.plus(Heard::at_most(between, ADTS_NS_PER_BYTE));
    // A file of one sort holds none of the other, unless it was made to.
    let (most, least) = if between < bytes.len() / 2 { (adts, mpeg) } else { (mpeg, adts) };
    if between == 0 { most } else { most.or_longer(least.as_bound()) }
}

/// The sound of the MPEG frames in a file of another kind.
pub(super) fn frames(bytes: &[u8]) -> Heard {
    scan(bytes, mpeg_frame).0
}

/// What follows the ID3v2 tags at the beginning (each says its length in seven bits a byte), which every player skips.
pub(super) fn after_id3(mut bytes: &[u8]) -> &[u8] {
    while let [b'I', b'D', b'3', _, _, flags, s3, s2, s1, s0, rest @ ..] = bytes {
        // A length in eight bits a byte is no length: players take what follows for sound.
        if (s3 | s2 | s1 | s0) & 0x80 != 0 {
            return bytes;
        }
        let length = [s3, s2, s1, s0].into_iter().fold(0, |length, byte| length << 7 | usize::from(*byte));
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        match rest.get(length + footer..) {
            Some(after) => bytes = after,
            // A tag longer than the file: its reader is on its own, so everything may be sound.
            None => return rest,
        }
    }
    bytes
}

/// Without the 128 bytes of an ID3v1 tag at the end.
pub(super) fn before_id3v1(bytes: &[u8]) -> &[u8] {
    match bytes.split_last_chunk::<128>() {
        Some((before, [b'T', b'A', b'G', ..])) => before,
        _ => bytes,
    }
}

/// The frames, and how many bytes lie between them.
fn scan(bytes: &[u8], read: fn(&[u8]) -> Option<Frame>) -> (Heard, usize) {
    let (mut heard, mut between) = (Heard::default(), 0);
    let mut before: Option<Frame> = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let agrees = |frame: &Frame| match rest.get(frame.length..) {
            _ if before.is_some_and(|before| before.kind == frame.kind) => true,
            None => false,
            Some([]) => true,
            Some(next) => read(next).is_some_and(|next| next.kind == frame.kind),
        };
        before = read(rest).filter(agrees);
        match before {
            Some(frame) => {
                heard = heard.plus(frame.heard());
                rest = rest.get(frame.length..).unwrap_or_default();
            }
            None => {
                between += 1;
                rest = &rest[1..];
            }
        }
    }
    (heard, between)
}

/// The header of an MPEG audio frame. A free bit rate (index 0) is refused by decoders, and here.
pub(super) fn mpeg_frame(bytes: &[u8]) -> Option<Frame> {
    let header = u32::from_be_bytes(*bytes.first_chunk()?);
    if header >> 21 != 0x7ff {
        return None;
    }
    let field = |shift: u32, mask: u32| (header >> shift & mask) as usize;
    // 0 is MPEG-2.5, 2 is MPEG-2, 3 is MPEG-1; layers count downwards.
    let (version, layer) = (field(19, 3), 4 - field(17, 3));
    let (bits, speed) = (field(12, 15), field(10, 3));
    if version == 1 || layer == 4 || !(1..15).contains(&bits) || speed == 3 {
        return None;
    }
    let row = match (version, layer) {
        (3, layer) => layer - 1,
        (_, 1) => 3,
        _ => 4,
    };
    let rate = [44_100, 48_000, 32_000][speed] >> [2, 0, 1, 0][version];
    let samples: u32 = match (version, layer) {
        (_, 1) => 384,
        (3, _) | (_, 2) => 1152,
        _ => 576,
    };
    let slot = if layer == 1 { 4 } else { 1 };
    let slots = samples / 8 / slot * KILOBITS[row][bits] * 1000 / rate + (header >> 9 & 1);
    Some(Frame {
        length: (slots * slot) as usize,
        samples: samples.into(),
        rate,
        // Sync, version, layer and rate.
        kind: header & 0xfffe_0c00,
    })
}

/// The header of an ADTS frame (ISO 14496-3, 1.A.2.2).
fn adts_frame(bytes: &[u8]) -> Option<Frame> {
    let [0xff, b1, b2, b3, b4, b5, b6, ..] = *bytes else { return None };
    if b1 & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *AAC_RATES.get(usize::from(b2 >> 2 & 15))?;
    let length = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
    let blocks = u64::from(b6 & 3) + 1;
    // A header, and a checksum where the flag says so.
    let least = if b1 & 1 == 0 { 9 } else { 7 };
    (length >= least).then_some(Frame {
        length,
        samples: 1024 * blocks,
        rate,
        kind: u32::from(b1) << 8 | u32::from(b2 & 0xfc),
    })
}
