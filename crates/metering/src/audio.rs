//! How long a recording can last at most, and how many tokens that is.
//!
//! Promises: pure, one pass over the bytes, memory that does not grow with them, no panic on any bytes. The length is
//! the sum of the packets that a decoder would find, never a duration field of a header, which anybody can write. What
//! a decoder might read in another way than we do counts as the longest that so many bytes can last in that container.
//!
//! Why there is no demuxer library here: one that plays music skips what does not check (a page with a wrong sum, a chunk
//! behind the declared end) and stops where it is confused; the upstream's may not. A hold needs the opposite reading,
//! in which every byte is either in a packet, in a part that no decoder plays, or counted as the longest it could be,
//! and no sample needs to be decoded for it.
//!
//! Left out: silence that a decoder might insert where time stamps jump; encoder delay and padding (a few dozen
//! milliseconds, held too much); the choice between several sound tracks (the longest counts).

mod codec;
mod flac;
mod matroska;
mod mp4;
mod mpeg;
mod ogg;
#[cfg(test)]
mod tests;
mod wav;

/// How long a recording lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    /// Every packet was walked, and together they last this long.
    Exact {
        /// Milliseconds, rounded up.
        ms: u64,
    },
    /// Some of it could only be bounded: it lasts no longer than this.
    AtMost {
        /// Milliseconds, rounded up.
        ms: u64,
    },
}

impl Duration {
    /// The longest it can last, in milliseconds.
    pub fn ms_max(self) -> u64 {
        match self {
            Self::Exact { ms } | Self::AtMost { ms } => ms,
        }
    }
}

/// Nanoseconds a byte of sound in no container that we know: 6 kbit/s, the lowest bit rate of Opus (RFC 6716, 2.1.1),
/// lower than that of any other codec the API takes. A bound for coded speech, not for a container of near-empty
/// packets; those containers (Ogg, WebM, MP4) begin with a signature and are walked.
pub const SPEECH_NS_PER_BYTE: u64 = 8 * 1_000_000_000_u64.div_ceil(6_000);

/// Nanoseconds a byte of near-empty Opus packets: 120 ms, the longest a packet may last (RFC 6716, 3.4, R5), in the two
/// bytes that are the shortest such packet.
pub const OPUS_NS_PER_BYTE: u64 = 60_000_000;

/// Milliseconds of sound that one token stands for, on the safe side. The realtime guide says a token for 100 ms of a
/// user's sound and one for 50 ms of the assistant's, and a conversation may send either kind as input. The price page's
/// estimate for transcription (0.006 dollars a minute at 6 dollars a million, output included) also lies between them.
pub const MS_PER_TOKEN: u64 = 50;

/// The most tokens that a recording of `ms` milliseconds costs as input of a model that bills sound by tokens.
pub fn audio_tokens_max(ms: u64) -> u64 {
    ms.div_ceil(MS_PER_TOKEN)
}

/// How long a recording lasts at most. `hint` is its file name, media type or format name, where the request has one.
///
/// What the bytes are is told from the bytes, as decoders do. The hint can only make the answer longer: a file that says
/// of itself to be MP3 is also read as MP3, since that is the one format whose decoders search for a beginning.
pub fn duration(bytes: &[u8], hint: Option<&str>) -> Duration {
    let body = mpeg::after_id3(bytes);
    let heard = match body {
        [b'R', b'I', b'F', b'F' | b'X', ..] | [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..]
            if body.get(8..12) == Some(b"WAVE") =>
        {
            wav::walk(body)
        }
        [b'f', b'L', b'a', b'C', ..] => flac::walk(body),
        [b'O', b'g', b'g', b'S', ..] => ogg::walk(body),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska::walk(body),
        _ if mp4::is_mp4(body) => mp4::walk(body),
        _ => return mpeg::walk(body).duration(),
    };
    let heard = if hint.is_some_and(is_mpeg_name) { heard.or_longer(mpeg::frames(body).as_bound()) } else { heard };
    heard.duration()
}

/// Whether a file name, media type or format name says MP3.
fn is_mpeg_name(hint: &str) -> bool {
    let name = hint.rsplit(['.', '/']).next().unwrap_or_default();
    ["mp3", "mpga", "mpeg", "mpeg3", "x-mp3", "x-mpeg"].iter().any(|mpeg| name.trim().eq_ignore_ascii_case(mpeg))
}

/// A sum of sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Picoseconds, each packet rounded up: a million packets are wrong by a microsecond. Wide enough for any file.
    ps: u128,
    /// Whether part of it is a bound and not a sum of packets.
    is_bound: bool,
}

impl Heard {
    /// So many samples at so many a second. A rate of nought counts as one: no decoder takes it, and one that did would
    /// not play faster.
    fn samples(samples: u64, rate: u32) -> Self {
        Self { ps: (u128::from(samples) * 1_000_000_000_000).div_ceil(u128::from(rate.max(1))), is_bound: false }
    }

    /// The longest that so many bytes can last.
    fn at_most(bytes: usize, ns_per_byte: u64) -> Self {
        Self { ps: bytes as u128 * u128::from(ns_per_byte) * 1000, is_bound: bytes > 0 }
    }

    /// The same length, of which it is known only that it is no more.
    fn as_bound(self) -> Self {
        Self { is_bound: true, ..self }
    }

    fn plus(self, more: Self) -> Self {
        Self { ps: self.ps.saturating_add(more.ps), is_bound: self.is_bound || more.is_bound }
    }

    /// The longer of two readings or tracks.
    fn or_longer(self, other: Self) -> Self {
        if other.ps > self.ps { other } else { self }
    }

    fn duration(self) -> Duration {
        let ms = u64::try_from(self.ps.div_ceil(1_000_000_000)).unwrap_or(u64::MAX);
        if self.is_bound { Duration::AtMost { ms } } else { Duration::Exact { ms } }
    }
}

/// Big- and little-endian numbers at an offset, or `None` beyond the end.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}
