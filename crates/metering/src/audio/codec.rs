//! How long one packet of a codec lasts, told from the packet and the codec's own configuration, not from the container.

use super::mpeg::{AAC_RATES, mpeg_frame};
use super::{Heard, OPUS_NS_PER_BYTE, SPEECH_NS_PER_BYTE, array_at, flac};

/// A codec and what its configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Opus,
    /// Half of the longest block: no packet yields more samples.
    Vorbis {
        samples_max: u64,
        rate: u32,
    },
    /// Every packet yields as many samples.
    Fixed {
        samples: u64,
        rate: u32,
    },
    /// Like [`Codec::Fixed`], but packets may yield fewer.
    UpTo {
        samples: u64,
        rate: u32,
    },
    /// Each packet is an MPEG audio frame.
    Mpeg,
    /// Each packet is a FLAC frame; the rate where a frame names none.
    Flac {
        rate: u32,
    },
    /// Plain samples.
    Pcm {
        rate: u32,
        frame_bytes: u32,
    },
    /// No sound: pictures, subtitles, indices.
    Silent,
    /// Some sound of which we cannot say how long it is.
    Unknown,
}

impl Codec {
    /// How long a packet lasts.
    pub(super) fn packet(self, packet: &[u8]) -> Heard {
        let unknown = Heard::at_most(packet.len(), OPUS_NS_PER_BYTE);
        match self {
            Self::Opus => opus_packet(packet),
            Self::Vorbis { samples_max, rate } => vorbis_packet(packet, samples_max, rate),
            Self::Fixed { samples, rate } => Heard::samples(samples, rate),
            Self::UpTo { samples, rate } => Heard::samples(samples, rate).as_bound(),
            Self::Mpeg => mpeg_frame(packet).map_or(unknown, |frame| frame.heard()),
            Self::Flac { rate } => flac::frame(packet).map_or(unknown, |frame| frame.heard(rate)),
            Self::Pcm { rate, frame_bytes } => {
                Heard::samples((packet.len() as u64).div_ceil(frame_bytes.max(1).into()), rate)
            }
            Self::Silent => Heard::default(),
            Self::Unknown => unknown,
        }
    }

    /// The longest that so many bytes can last, in the shortest packets that a decoder plays.
    pub(super) fn longest(self, bytes: usize) -> Heard {
        let packets = |bytes_min: usize, samples: u64, rate: u32| {
            Heard::samples((bytes.div_ceil(bytes_min) as u64).saturating_mul(samples), rate).as_bound()
        };
        match self {
            Self::Opus | Self::Unknown | Self::Silent => Heard::at_most(bytes, OPUS_NS_PER_BYTE),
            Self::Vorbis { samples_max, rate } => packets(1, samples_max, rate),
            // An element with its gain and an empty section.
            Self::Fixed { samples, rate } | Self::UpTo { samples, rate } => packets(4, samples, rate),
            Self::Mpeg => Heard::at_most(bytes, SPEECH_NS_PER_BYTE),
            // A header with a block size, a constant, two checksums.
            Self::Flac { rate } => packets(12, 65_536, rate),
            Self::Pcm { rate, frame_bytes } => {
                packets(usize::try_from(frame_bytes.max(1)).unwrap_or(usize::MAX), 1, rate)
            }
        }
    }
}

/// The table of contents of an Opus packet (RFC 6716, 3.1 and 3.2). A decoder refuses more than 120 ms, and an empty
/// packet holds no frame.
fn opus_packet(packet: &[u8]) -> Heard {
    let Some(&toc) = packet.first() else { return Heard::default() };
    let frame_us: u128 = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config & 1)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames: u128 = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| (count & 63).into()),
    };
    Heard { ps: (frame_us * frames).min(120_000) * 1_000_000, is_bound: false }
}

/// A sound packet of Vorbis begins with a zero bit; headers begin with a one (Vorbis I, 4.2.1 and 4.3).
fn vorbis_packet(packet: &[u8], samples_max: u64, rate: u32) -> Heard {
    match packet.first() {
        Some(first) if first & 1 == 0 => Heard::samples(samples_max, rate).as_bound(),
        _ => Heard::default(),
    }
}

/// The identification header of Vorbis (Vorbis I, 4.2.2): rate, and the block sizes as powers of two.
pub(super) fn vorbis(header: &[u8]) -> Codec {
    let read = || {
        let rest = header.strip_prefix(b"\x01vorbis")?;
        let rate = u32::from_le_bytes(array_at(rest, 5)?);
        let sizes = *rest.get(21)?;
        Some(Codec::Vorbis { samples_max: 1 << (sizes >> 4).max(sizes & 15) >> 1, rate })
    };
    read().unwrap_or(Codec::Unknown)
}

/// An MPEG-4 audio configuration (ISO 14496-3, 1.6.2.1). With spectral band replication the rate named first is that of
/// the core, whose frames are still 1,024 samples, so the length is the same whether the extension is used or not.
pub(super) fn aac(config: &[u8]) -> Codec {
    let read = || {
        let bits = u64::from_be_bytes(array_at(config, 0).or_else(|| {
            let mut padded = [0; 8];
            padded.get_mut(..config.len())?.copy_from_slice(config);
            Some(padded)
        })?);
        let field = |from: u32, width: u32| (bits >> (64 - from - width) & ((1 << width) - 1)) as usize;
        let (kind, after) = match field(0, 5) {
            31 => (32 + field(5, 6), 11),
            kind => (kind, 5),
        };
        let rate = match field(after, 4) {
            15 => u32::try_from(field(after + 4, 24)).ok()?,
            index => *AAC_RATES.get(index)?,
        };
        Some(match kind {
            // Main, LC, SSR, LTP, and LC with band replication or parametric stereo.
            1..=5 | 29 => Codec::Fixed { samples: 1024, rate },
            // Newer kinds, of up to 4,096 samples (extended HE-AAC with a 4:1 ratio).
            _ => Codec::UpTo { samples: 4096, rate },
        })
    };
    if config.len() < 2 { Codec::Unknown } else { read().unwrap_or(Codec::Unknown) }
}
