//! WebM and Matroska (RFC 9559): blocks of laced packets in clusters.
//!
//! Elements that hold others are entered, all others are stepped over. Where anything is not as the format says, decoders
//! search for a place to go on from, each in its own way; then only the number of bytes bounds the length.

use super::Heard;
use super::codec::{Codec, aac, vorbis};
use super::flac::stream_rate;

/// Tracks that are told apart.
const TRACKS_MAX: usize = 64;

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const BLOCK_GROUP: u32 = 0xa0;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const AUDIO: u32 = 0xe1;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK: u32 = 0xa1;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const CODEC_PRIVATE: u32 = 0x63a2;
const CONTENT_ENCODINGS: u32 = 0x6d80;
const SAMPLING_FREQUENCY: u32 = 0xb5;
const CHANNELS: u32 = 0x9f;
const BIT_DEPTH: u32 = 0x6264;

/// A track as described, and what was heard of it.
#[derive(Default)]
struct Track<'b> {
    number: u64,
    kind: u64,
    codec_id: &'b [u8],
    private: &'b [u8],
    rate: u32,
    channels: u32,
    bits: u32,
    is_encoded: bool,
    heard: Heard,
}

/// What may stand inside the elements that are entered (RFC 9559, 5.1). Anything else there is an irregularity: decoders
/// differ in how they find their way on from it.
fn is_regular(parent: Option<u32>, id: u32) -> bool {
    // Padding and checksums may stand anywhere.
    matches!(id, 0xec | 0xbf)
        || match parent {
            None => matches!(id, EBML | SEGMENT),
            Some(SEGMENT) => {
                const OTHERS: [u32; 6] = [0x114d_9b74, 0x1549_a966, 0x1c53_bb6b, 0x1254_c367, 0x1941_a469, 0x1043_a770];
                matches!(id, CLUSTER | TRACKS) || OTHERS.contains(&id)
            }
            Some(TRACKS) => id == TRACK_ENTRY,
            Some(CLUSTER) => matches!(id, SIMPLE_BLOCK | BLOCK_GROUP | 0xe7 | 0xa7 | 0xab | 0x5854),
            Some(BLOCK_GROUP) => matches!(id, BLOCK | 0x9b | 0xfb | 0xfa | 0xa4 | 0x8e | 0x75a1 | 0x75a2),
            // A description may hold whatever newer versions put there, but none of the above.
            Some(_) => {
                !matches!(id, EBML | SEGMENT | CLUSTER | TRACKS | TRACK_ENTRY | BLOCK_GROUP | BLOCK | SIMPLE_BLOCK)
            }
        }
}

/// Walks all elements, up to the first that is not as it should be.
pub(super) fn walk(bytes: &[u8]) -> Heard {
    let mut walker = Walker::default();
    // The elements that are entered at this point, and where they end.
    let mut parents: Vec<(u32, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        parents.retain(|(_, end)| *end > at);
        let Some((id, length, head)) = element(&bytes[at..]) else {
            return walker.given_up(bytes.len());
        };
        // What begins a level ends what an unknown length left open.
        match id {
            SEGMENT => parents.clear(),
            CLUSTER | TRACKS => parents.retain(|(parent, _)| *parent == SEGMENT),
            _ => {}
        }
        let (parent, end) = parents.last().map_or((None, bytes.len()), |(parent, end)| (Some(*parent), *end));
        let start = at + head;
        // An unknown length (live recordings) reaches to the end of the parent.
        let stop = length.map_or(end, |length| start.saturating_add(length));
        let is_cut = stop > end && end == bytes.len();
        let is_entered = matches!(id, SEGMENT | CLUSTER | BLOCK_GROUP | TRACKS | TRACK_ENTRY | AUDIO);
        if !is_regular(parent, id) || length.is_none() && !is_entered || stop > end && !is_cut {
            return walker.given_up(bytes.len());
        }
        if is_entered {
            parents.push((id, stop.min(end)));
            if id == TRACK_ENTRY && !walker.begin_track() {
                return walker.given_up(bytes.len());
            }
            at = start;
        } else if is_cut {
            // The file ends within an element.
            return walker.cut_off(bytes.len() - at);
        } else {
            let is_description = parents.iter().any(|(parent, _)| *parent == TRACK_ENTRY);
            if walker.element(id, &bytes[start..stop], is_description).is_none() {
                return walker.given_up(bytes.len());
            }
            at = stop;
        }
    }
    walker.heard()
}

/// Identifier, length (`None` where it is unknown) and the bytes of both.
fn element(bytes: &[u8]) -> Option<(u32, Option<usize>, usize)> {
    let id_bytes = bytes.first()?.leading_zeros() as usize + 1;
    let id = bytes.get(..id_bytes).filter(|_| id_bytes <= 4)?;
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let (length, length_bytes) = number(&bytes[id_bytes..])?;
    let is_unknown = length == (1 << (7 * length_bytes)) - 1;
    let length = (!is_unknown).then(|| usize::try_from(length).unwrap_or(usize::MAX));
    Some((id, length, id_bytes + length_bytes))
}

/// A number of one to eight bytes, whose first byte says how many (RFC 8794, section 4), and that.
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let rest = bytes.get(1..length).filter(|_| length <= 8)?;
    // In u32, since eight zero bits shift the mask away entirely.
    let head = u64::from(u32::from(first) & (0xff_u32 >> length));
    Some((rest.iter().fold(head, |number, byte| number << 8 | u64::from(*byte)), length))
}

/// An unsigned integer; more than eight bytes are not one.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A floating-point number as a whole rate, rounded down, which makes the sound longer.
fn rate(bytes: &[u8]) -> Option<u32> {
    let value = match *bytes {
        [b0, b1, b2, b3] => f64::from(f32::from_be_bytes([b0, b1, b2, b3])),
        [b0, b1, b2, b3, b4, b5, b6, b7] => f64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
        _ => return None,
    };
    (1.0..=4_294_967_295.0).contains(&value).then_some(value as u32)
}

#[derive(Default)]
struct Walker<'b> {
    tracks: Vec<Track<'b>>,
}

impl<'b> Walker<'b> {
    /// Room for one more description.
    fn begin_track(&mut self) -> bool {
        let has_room = self.tracks.len() < TRACKS_MAX;
        if has_room {
            // What a description may leave out (RFC 9559, 5.1.4.1.29).
            self.tracks.push(Track { rate: 8000, channels: 1, ..Track::default() });
        }
        has_room
    }

    /// `None` when it makes no sense.
    fn element(&mut self, id: u32, content: &'b [u8], is_description: bool) -> Option<()> {
        if matches!(id, SIMPLE_BLOCK | BLOCK) {
            return self.block(content);
        }
        // Elsewhere these change nothing for a player.
        let Some(track) = self.tracks.last_mut().filter(|_| is_description) else { return Some(()) };
        match id {
            TRACK_NUMBER => track.number = unsigned(content)?,
            TRACK_TYPE => track.kind = unsigned(content)?,
            CODEC_ID => track.codec_id = content,
            CODEC_PRIVATE => track.private = content,
            CONTENT_ENCODINGS => track.is_encoded = true,
            SAMPLING_FREQUENCY => track.rate = rate(content)?,
            CHANNELS => track.channels = u32::try_from(unsigned(content)?).ok()?,
            BIT_DEPTH => track.bits = u32::try_from(unsigned(content)?).ok()?,
            _ => {}
        }
        Some(())
    }

    /// A block: track, time, flags, then one packet or several laced ones.
    fn block(&mut self, content: &[u8]) -> Option<()> {
        let (number, head) = number(content)?;
        let track = self.tracks.iter_mut().find(|track| track.number == number)?;
        let codec = track.codec();
        let flags = content.get(head + 2)?;
        let heard = &mut track.heard;
        laced(flags >> 1 & 3, content.get(head + 3..)?, |packet| *heard = heard.plus(codec.packet(packet)))
    }

    /// The longest track.
    fn heard(&self) -> Heard {
        self.tracks.iter().map(|track| track.heard).reduce(Heard::or_longer).unwrap_or_default()
    }

    /// What so many bytes can last at most in any of the tracks.
    fn longest(&self, bytes: usize) -> Heard {
        self.tracks
            .iter()
            .map(|track| track.codec().longest(bytes))
            .fold(Codec::Unknown.longest(bytes), Heard::or_longer)
    }

    /// The file ends early: what was walked, and the last bytes at their longest.
    fn cut_off(&self, bytes: usize) -> Heard {
        self.heard().plus(self.longest(bytes))
    }

    /// Something is irregular: a decoder searches for the next cluster, also in what was already walked, so nothing
    /// but the number of bytes is certain.
    fn given_up(&self, bytes: usize) -> Heard {
        self.heard().as_bound().or_longer(self.longest(bytes))
    }
}

impl Track<'_> {
    fn codec(&self) -> Codec {
        const SOUND: u64 = 2;
        match self.codec_id {
            id if !id.starts_with(b"A_") && self.kind != SOUND && self.kind != 0 => Codec::Silent,
            // Packets that are compressed or lack their beginning tell nothing.
            _ if self.is_encoded => Codec::Unknown,
            b"A_OPUS" => Codec::Opus,
            b"A_VORBIS" => {
                let header = self.private.windows(7).take(1024).position(|bytes| bytes == b"\x01vorbis");
                vorbis(header.and_then(|at| self.private.get(at..)).unwrap_or_default())
            }
            b"A_AAC" => aac(self.private),
            b"A_MPEG/L3" | b"A_MPEG/L2" | b"A_MPEG/L1" => Codec::Mpeg,
            b"A_FLAC" => Codec::Flac { rate: stream_rate(self.private.get(8..).unwrap_or_default()) },
            b"A_PCM/INT/LIT" | b"A_PCM/INT/BIG" | b"A_PCM/FLOAT/IEEE" if self.bits >= 8 => {
                Codec::Pcm { rate: self.rate, frame_bytes: self.channels.max(1).saturating_mul(self.bits.div_ceil(8)) }
            }
            _ => Codec::Unknown,
        }
    }
}

/// Cuts the content of a block into its packets (RFC 9559, 10.3): by lengths as in Ogg, of equal length, or by
/// differences. `None` when it does not come out even.
fn laced(lacing: u8, bytes: &[u8], mut packet: impl FnMut(&[u8])) -> Option<()> {
    if lacing == 0 {
        packet(bytes);
        return Some(());
    }
    let (last, mut rest) = bytes.split_first().map(|(count, rest)| (usize::from(*count), rest))?;
    let mut lengths = Vec::with_capacity(last);
    for index in 0..last {
        let length = match lacing {
            1 => {
                let extra = rest.iter().position(|byte| *byte != 255)?;
                let length = 255 * extra + usize::from(rest[extra]);
                rest = &rest[extra + 1..];
                length
            }
            2 => bytes.len().saturating_sub(1) / (last + 1),
            _ => {
                let (coded, length) = number(rest)?;
                rest = rest.get(length..)?;
                // All but the first are differences, stored with half of their range added.
                let base = if index == 0 { 0 } else { i64::try_from(lengths[index - 1]).ok()? };
                let offset = if index == 0 { 0 } else { (1_i64 << (7 * length - 1)) - 1 };
                usize::try_from(base.checked_add(i64::try_from(coded).ok()?)?.checked_sub(offset)?).ok()?
            }
        };
        lengths.push(length);
    }
    for length in lengths {
        let (content, after) = rest.split_at_checked(length)?;
        packet(content);
        rest = after;
    }
    packet(rest);
    Some(())
}
