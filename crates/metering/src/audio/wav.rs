//! WAV (RIFF, big-endian RIFX, RF64 and BW64): everything behind the head of the `data` chunk counts as sound, whatever
//! length that head claims, since players read on where it claims nothing, too little or too much.

use super::{Heard, OPUS_NS_PER_BYTE, array_at, mpeg};

/// `format` tags (RFC 2361) whose bytes a second follow from rate, channels and sample size.
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const MPEG_LAYER_3: u16 = 0x55;
const EXTENSIBLE: u16 = 0xfffe;

/// How the bytes of the `data` chunk become sound.
#[derive(Clone, Copy)]
enum Coding {
    /// Samples of all channels a second, and bytes of each.
    Plain {
        rate: u32,
        frame_bytes: u32,
    },
    Mpeg,
    Unknown,
}

/// Walks the chunks up to `data`.
pub(super) fn walk(bytes: &[u8]) -> Heard {
    let is_big_endian = bytes.starts_with(b"RIFX");
    let length_at = |at| {
        let number = array_at::<4>(bytes, at)?;
        Some(if is_big_endian { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) })
    };
    let mut coding: Option<Coding> = None;
    let mut at = 12_usize;
    while let (Some(kind), Some(length)) = (array_at::<4>(bytes, at), length_at(at.saturating_add(4))) {
        let (start, length) = (at.saturating_add(8), length as usize);
        let rest = bytes.get(start..).unwrap_or_default();
        match &kind {
            b"data" => return sound(rest, length, coding.unwrap_or(Coding::Unknown)),
            b"fmt " => {
                let said = format(rest.get(..length).unwrap_or(rest), is_big_endian);
                // Players differ in which of two they believe.
                coding = Some(if coding.is_none() { said } else { Coding::Unknown });
            }
            _ => {}
        }
        // Chunks are padded to an even length.
        at = start.saturating_add(length).saturating_add(length & 1);
    }
    Heard::at_most(bytes.len(), OPUS_NS_PER_BYTE)
}

fn format(chunk: &[u8], is_big_endian: bool) -> Coding {
    let short = |at| {
        let number = array_at::<2>(chunk, at)?;
        Some(if is_big_endian { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) })
    };
    let read = || {
        let (low, high) = if is_big_endian { (short(6)?, short(4)?) } else { (short(4)?, short(6)?) };
        let rate = u32::from(high) << 16 | u32::from(low);
        // An extensible format names the real one in the first bytes of its identifier.
        let tag = if short(0)? == EXTENSIBLE { short(24)? } else { short(0)? };
        Some((tag, u32::from(short(2)?), rate, u32::from(short(14)?)))
    };
    match read() {
        Some((PCM | FLOAT, channels @ 1.., rate, bits @ 8..=64)) => {
            Coding::Plain { rate, frame_bytes: channels * bits.div_ceil(8) }
        }
        Some((A_LAW | MU_LAW, channels @ 1.., rate, _)) => Coding::Plain { rate, frame_bytes: channels },
        Some((MPEG_LAYER_3, ..)) => Coding::Mpeg,
        _ => Coding::Unknown,
    }
}

/// All of `rest` as sound; exact when the chunk ends where the file does.
fn sound(rest: &[u8], claimed: usize, coding: Coding) -> Heard {
    let heard = match coding {
        Coding::Plain { rate, frame_bytes } => Heard::samples((rest.len() as u64).div_ceil(frame_bytes.into()), rate),
        Coding::Mpeg => mpeg::walk(rest),
        Coding::Unknown => Heard::at_most(rest.len(), OPUS_NS_PER_BYTE),
    };
    let is_whole = rest.len() == claimed || rest.len() == claimed.saturating_add(claimed & 1);
    if is_whole { heard } else { heard.as_bound() }
}
