//! FLAC: frames are found by their headers, which carry a checksum; nothing else in a frame says where the next begins.
//!
//! Every position whose header checks counts as a frame, also one inside another frame's samples: a decoder can find no
//! more frames than that. In random bytes it is one position in many millions.

use super::mpeg::before_id3v1;
use super::{Heard, array_at};

/// What a frame's header says.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    samples: u64,
    /// Samples a second; `None` where the stream's own rate holds.
    rate: Option<u32>,
    /// Number of the frame, or of its first sample.
    number: u64,
    is_variable: bool,
}

impl Frame {
    pub(super) fn heard(self, rate: u32) -> Heard {
        Heard::samples(self.samples, self.rate.unwrap_or(rate))
    }
}

/// The rate in a STREAMINFO block (RFC 9639, 8.2).
pub(super) fn stream_rate(info: &[u8]) -> u32 {
    array_at::<4>(info, 10).map_or(0, |bytes| u32::from_be_bytes(bytes) >> 12)
}

/// Walks the metadata blocks (pictures among them), then looks for frames. Exact when they follow each other by number.
pub(super) fn walk(bytes: &[u8]) -> Heard {
    let mut rest = bytes.get(4..).unwrap_or_default();
    let mut rate = 0;
    while let [kind, l2, l1, l0, block @ ..] = rest {
        let length = usize::from(*l2) << 16 | usize::from(*l1) << 8 | usize::from(*l0);
        if kind & 0x7f == 0 && rate == 0 {
            rate = stream_rate(block);
        }
        match block.get(length..) {
            Some(after) => rest = after,
            // The blocks lie: look for frames from here on.
            None => break,
        }
        if kind & 0x80 != 0 {
            break;
        }
    }
    let (mut heard, mut next) = (Heard::default(), 0);
    // The checksum over all that was passed: nought wherever a frame ends, as long as every frame is whole.
    let mut sum = 0;
    let mut after = rest;
    while let Some(at) = after.iter().position(|byte| *byte == 0xff) {
        sum = crc16(sum, &after[..at]);
        after = &after[at..];
        if let Some(frame) = frame(after) {
            if sum != 0 || frame.number != next {
                heard = heard.as_bound();
            }
            next = frame.number.saturating_add(if frame.is_variable { frame.samples } else { 1 });
            heard = heard.plus(frame.heard(rate));
        }
        sum = crc16(sum, &after[..1]);
        after = &after[1..];
    }
    sum = crc16(sum, after);
    // A tag at the end is no part of the last frame.
    let is_intact = frame(rest).is_some() && (sum == 0 || crc16(0, before_id3v1(rest)) == 0);
    // A decoder that loses its way may play a frame twice.
    if is_intact { heard } else { heard.plus(heard).as_bound() }
}

/// The header at the beginning of `bytes` (RFC 9639, 9.1), if its checksum holds.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    let [0xff, sync @ (0xf8 | 0xf9), sizes, channels, ..] = *bytes else { return None };
    let (number, mut at) = coded_number(bytes.get(4..)?).map(|(number, length)| (number, 4 + length))?;
    let mut take = |length: usize| {
        let field = bytes.get(at..at + length)?;
        at += length;
        Some(field.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)))
    };
    let samples = match sizes >> 4 {
        0 => return None,
        1 => 192,
        size @ 2..=5 => 144 << size,
        6 => take(1)? + 1,
        7 => take(2)? + 1,
        size => 1 << size,
    };
    let rate = match sizes & 15 {
        0 => None,
        12 => Some(take(1)? * 1000),
        13 => Some(take(2)?),
        14 => Some(take(2)? * 10),
        15 => return None,
        index => Some(
            [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000]
                [usize::from(index) - 1],
        ),
    };
    // Channel layouts above 10 and the last bit are reserved, and so is the sample size 3.
    if channels >> 4 > 10 || channels & 1 != 0 || channels >> 1 & 7 == 3 {
        return None;
    }
    (crc8(bytes.get(..at)?) == *bytes.get(at)?).then_some(Frame {
        samples: samples.into(),
        rate,
        number,
        is_variable: sync == 0xf9,
    })
}

/// A number of up to 36 bits, written as UTF-8 extended to seven bytes, and its length.
fn coded_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = match first.leading_ones() {
        0 => return Some((first.into(), 1)),
        ones @ 2..=7 => ones as usize,
        _ => return None,
    };
    let head = u64::from(first) & (0x7f >> length);
    bytes
        .get(1..length)?
        .iter()
        .try_fold(head, |number, byte| (byte >> 6 == 2).then(|| number << 6 | u64::from(byte & 63)))
        .map(|number| (number, length))
}

/// The sum over a header, polynomial x^8 + x^2 + x + 1. Headers are at most 15 bytes.
pub(super) fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum: u8, _| if sum & 0x80 == 0 { sum << 1 } else { sum << 1 ^ 7 })
    })
}

/// The sum over a frame, polynomial x^16 + x^15 + x^2 + 1, going on from `sum`. A frame ends with its own, so that the
/// sum over all of it is nought; over several whole frames it is, too.
pub(super) fn crc16(sum: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(sum, |sum, byte| sum << 8 ^ CRC16[usize::from((sum >> 8) as u8 ^ byte)])
}

/// The sum of each byte.
const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x8005 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};
