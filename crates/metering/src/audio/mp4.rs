//! MP4, M4A and QuickTime (ISO 14496-12): the sample tables say how many packets any player finds, and the codec's own
//! configuration how long each lasts. Times in the file (mvhd, mdhd, stts, edit lists) are not looked at.
//!
//! Sample data is not read: packets that no table names are played by nobody. Where the tables name fewer bytes than
//! the media data holds, the rest counts as coded speech all the same, in case a player knows better.

use super::codec::{Codec, aac};
use super::{Heard, OPUS_NS_PER_BYTE, SPEECH_NS_PER_BYTE, array_at};

/// Tracks that are told apart.
const TRACKS_MAX: usize = 64;
/// moov, trak, mdia, minf, stbl: what holds a sample table.
const DEPTH_MAX: usize = 6;

/// A track's packets, as its tables name them.
#[derive(Default)]
struct Track {
    id: u32,
    /// Of several sample descriptions, the one with the longest packets.
    codec: Option<Codec>,
    /// A handler says sound; another says something else.
    is_sound: bool,
    is_other: bool,
    packets: u64,
    /// Bytes of all packets.
    bytes: u64,
}

#[derive(Default)]
struct Movie {
    tracks: Vec<Track>,
    media_bytes: u64,
    /// A box, a table or a track could not be read.
    is_broken: bool,
    /// The track of the fragment that is being read, and the size of its packets unless said otherwise.
    fragment: (u32, u64),
}

/// Whether the first box is one that a movie begins with.
pub(super) fn is_mp4(bytes: &[u8]) -> bool {
    array_at::<4>(bytes, 4).is_some_and(|kind| {
        matches!(&kind, b"ftyp" | b"styp" | b"moov" | b"mdat" | b"free" | b"skip" | b"wide" | b"pnot")
    })
}

/// Reads all sample tables.
pub(super) fn walk(bytes: &[u8]) -> Heard {
    let mut movie = Movie::default();
    movie.boxes(bytes, 0);
    let longest = movie.tracks.iter().map(Track::heard).reduce(Heard::or_longer).unwrap_or_default();
    let named: u64 = movie.tracks.iter().fold(0, |sum, track| sum.saturating_add(track.bytes));
    let unnamed = usize::try_from(movie.media_bytes.saturating_sub(named)).unwrap_or(usize::MAX);
    let heard = longest.plus(Heard::at_most(unnamed, SPEECH_NS_PER_BYTE));
    if longest.ps > 0 && !movie.is_broken {
        return heard;
    }
    let codecs = movie.tracks.iter().filter_map(|track| track.codec);
    let by_bytes = codecs.fold(Codec::Unknown, |longest, codec| {
        if longest.longest(bytes.len()).ps < codec.longest(bytes.len()).ps { codec } else { longest }
    });
    heard.or_longer(by_bytes.longest(bytes.len())).as_bound()
}

/// The boxes in `bytes`: kind, content, and whether all of it is there.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8], bool)> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let kind = array_at::<4>(rest, 4)?;
        let (head, length) = match u32::from_be_bytes(array_at(rest, 0)?) {
            // To the end of the file.
            0 => (8, rest.len()),
            1 => (16, usize::try_from(u64::from_be_bytes(array_at(rest, 8)?)).unwrap_or(usize::MAX)),
            length => (8, length as usize),
        };
        let is_whole = length >= head && length <= rest.len();
        let length = length.clamp(head, rest.len().max(head));
        let content = rest.get(head..length).unwrap_or_default();
        rest = rest.get(length..).unwrap_or_default();
        Some((kind, content, is_whole))
    })
}

impl Movie {
    fn boxes(&mut self, bytes: &[u8], depth: usize) {
        for (kind, content, is_whole) in boxes(bytes) {
            match &kind {
                b"mdat" => self.media_bytes = self.media_bytes.saturating_add(content.len() as u64),
                b"trak" if self.tracks.len() < TRACKS_MAX => self.tracks.push(Track::default()),
                b"trak" => self.is_broken = true,
                b"traf" => self.fragment = (0, 0),
                _ => {}
            }
            match &kind {
                b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"moof" | b"traf" => {
                    self.is_broken |= !is_whole || depth >= DEPTH_MAX;
                    if depth < DEPTH_MAX {
                        self.boxes(content, depth + 1);
                    }
                }
                // A compressed movie box is read by some players.
                b"cmov" => self.is_broken = true,
                _ => self.is_broken |= self.leaf(&kind, content).is_none(),
            }
        }
    }

    /// What a box adds; `None` when it is too short for what it says.
    fn leaf(&mut self, kind: &[u8; 4], content: &[u8]) -> Option<()> {
        match kind {
            b"tfhd" => self.fragment_header(content),
            b"trun" => self.fragment_run(content),
            b"tkhd" | b"hdlr" | b"stsd" | b"stsz" | b"stz2" => self.tracks.last_mut()?.leaf(kind, content),
            _ => Some(()),
        }
    }

    /// Names the track, and perhaps the size of its packets (ISO 14496-12, 8.8.7).
    fn fragment_header(&mut self, content: &[u8]) -> Option<()> {
        let flags = u32::from_be_bytes(array_at(content, 0)?);
        let before_size: usize =
            [(1, 8), (2, 4), (8, 4)].iter().filter(|(flag, _)| flags & flag != 0).map(|(_, length)| length).sum();
        let size = if flags & 0x10 == 0 { 0 } else { u32::from_be_bytes(array_at(content, 8 + before_size)?) };
        self.fragment = (u32::from_be_bytes(array_at(content, 4)?), size.into());
        Some(())
    }

    /// Packets of a fragment (8.8.8). Their sizes are added where each is named.
    fn fragment_run(&mut self, content: &[u8]) -> Option<()> {
        let flags = u32::from_be_bytes(array_at(content, 0)?);
        let packets = u32::from_be_bytes(array_at(content, 4)?);
        let (id, default) = self.fragment;
        let track = self.tracks.iter_mut().find(|track| track.id == id)?;
        track.packets = track.packets.saturating_add(packets.into());
        let bytes = if flags & 0x200 == 0 {
            default.saturating_mul(packets.into())
        } else {
            let head = 8 + [1, 4].iter().filter(|flag| flags & **flag != 0).count() * 4;
            let fields = [0x100, 0x200, 0x400, 0x800].iter().filter(|flag| flags & **flag != 0).count() * 4;
            let before = if flags & 0x100 == 0 { 0 } else { 4 };
            let rows = content.get(head..)?.chunks_exact(fields).take(packets as usize);
            rows.filter_map(|row| array_at(row, before)).map(|size| u64::from(u32::from_be_bytes(size))).sum()
        };
        track.bytes = track.bytes.saturating_add(bytes);
        Some(())
    }
}

impl Track {
    fn leaf(&mut self, kind: &[u8; 4], content: &[u8]) -> Option<()> {
        match kind {
            b"tkhd" => {
                let at = if content.first()? & 1 == 0 { 12 } else { 20 };
                self.id = u32::from_be_bytes(array_at(content, at)?);
            }
            b"hdlr" => match &array_at::<4>(content, 8)? {
                b"soun" => self.is_sound = true,
                // QuickTime's handler of the data, not of the medium.
                b"alis" | b"url " => {}
                _ => self.is_other = true,
            },
            b"stsd" => {
                for (kind, entry, _) in boxes(content.get(8..)?) {
                    self.codec = longer(self.codec, description(&kind, entry));
                }
            }
            _ => self.sizes(kind, content)?,
        }
        Some(())
    }

    /// How many packets, and their bytes (8.7.3). A packet that is named counts, whether the table is as long as it says
    /// or not.
    fn sizes(&mut self, kind: &[u8; 4], content: &[u8]) -> Option<()> {
        let size = u32::from_be_bytes(array_at(content, 4)?);
        let packets = u64::from(u32::from_be_bytes(array_at(content, 8)?));
        let table = content.get(12..)?;
        let bytes: u64 = match (kind, size) {
            (b"stsz", 0) => table
                .chunks_exact(4)
                .filter_map(|size| array_at(size, 0))
                .map(|size| u64::from(u32::from_be_bytes(size)))
                .sum(),
            (b"stsz", size) => packets * u64::from(size),
            // Compact tables have entries of 4, 8 or 16 bits: at most as many bytes as that allows.
            (_, bits) => packets << (bits & 0xff).min(16),
        };
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(bytes);
        Some(())
    }

    /// All packets together.
    fn heard(&self) -> Heard {
        if self.is_other && !self.is_sound {
            return Heard::default();
        }
        let by_bytes = || Heard::at_most(usize::try_from(self.bytes).unwrap_or(usize::MAX), OPUS_NS_PER_BYTE);
        let codec = self.codec.unwrap_or(Codec::Unknown);
        match (packet_ps_max(codec), codec) {
            (None, _) => by_bytes(),
            (Some(_), Codec::Pcm { rate, frame_bytes }) => {
                Heard::samples(self.packets.max(self.bytes.div_ceil(frame_bytes.max(1).into())), rate).as_bound()
            }
            (Some(_), Codec::Fixed { samples, rate }) => Heard::samples(self.packets.saturating_mul(samples), rate),
            (Some(ps), _) => Heard { ps: u128::from(self.packets).saturating_mul(ps), is_bound: true },
        }
    }
}

/// The longest that a packet lasts, in picoseconds; `None` where nothing but its bytes bounds it.
fn packet_ps_max(codec: Codec) -> Option<u128> {
    match codec {
        Codec::Opus => Some(120_000_000_000),
        // 1,152 samples of layer II at 8,000 a second.
        Codec::Mpeg => Some(144_000_000_000),
        Codec::Fixed { samples, rate } | Codec::UpTo { samples, rate } => Some(Heard::samples(samples, rate).ps),
        Codec::Pcm { rate, .. } => Some(Heard::samples(1, rate).ps),
        Codec::Vorbis { .. } | Codec::Flac { .. } | Codec::Silent | Codec::Unknown => None,
    }
}

/// The codec with the longer packets.
fn longer(known: Option<Codec>, said: Codec) -> Option<Codec> {
    let ps = |codec| packet_ps_max(codec).unwrap_or(u128::MAX);
    Some(known.filter(|known| ps(*known) >= ps(said)).unwrap_or(said))
}

/// The codec of a sample description (ISO 14496-12, 12.2.3), given the entry without its kind and length.
fn description(kind: &[u8; 4], entry: &[u8]) -> Codec {
    let short = |at| array_at(entry, at).map_or(0, u16::from_be_bytes);
    let (channels, bits, rate) = (u32::from(short(16)), u32::from(short(18)), u32::from(short(24)));
    let plain = |bytes: u32| match (channels, rate) {
        (0, _) | (_, 0) => Codec::Unknown,
        _ => Codec::Pcm { rate, frame_bytes: channels * bytes.max(1) },
    };
    match kind {
        b"mp4a" => inside(entry, b"esds").map(stream_descriptor).fold(None, longer).unwrap_or(Codec::Unknown),
        b"alac" => inside(entry, b"alac").map(lossless).fold(None, longer).unwrap_or(Codec::Unknown),
        b"Opus" => Codec::Opus,
        b".mp3" | b"mp3 " | b"ms\0U" => Codec::Mpeg,
        b"sowt" | b"twos" | b"NONE" | b"raw " => plain(bits / 8),
        b"ulaw" | b"alaw" => plain(1),
        b"samr" => Codec::Fixed { samples: 160, rate: 8_000 },
        b"sawb" => Codec::Fixed { samples: 320, rate: 16_000 },
        b"ac-3" | b"ec-3" => Codec::UpTo { samples: 1536, rate: 32_000 },
        _ => Codec::Unknown,
    }
}

/// What follows each place where a box of this kind may begin, whatever version of the entry lies before it.
fn inside<'e>(entry: &'e [u8], kind: &'e [u8; 4]) -> impl Iterator<Item = &'e [u8]> {
    entry.windows(4).enumerate().filter(move |(_, window)| window == kind).filter_map(|(at, _)| entry.get(at + 4..))
}

/// An `esds` box: version, then a stream, a decoder and a configuration descriptor, one in the other (ISO 14496-1,
/// 7.2.6).
fn stream_descriptor(bytes: &[u8]) -> Codec {
    let read = || {
        let (_, stream) = descriptor(bytes.get(4..)?).filter(|(tag, _)| *tag == 3)?;
        let flags = *stream.get(2)?;
        let link =
            if flags & 0x40 == 0 { 0 } else { 1 + usize::from(*stream.get(if flags & 0x80 == 0 { 3 } else { 5 })?) };
        let optional = if flags & 0x80 == 0 { 0 } else { 2 } + if flags & 0x20 == 0 { 0 } else { 2 } + link;
        let (_, decoder) = descriptor(stream.get(3 + optional..)?).filter(|(tag, _)| *tag == 4)?;
        Some(match decoder.first()? {
            0x40 | 0x66..=0x68 => {
                let (_, config) = descriptor(decoder.get(13..)?).filter(|(tag, _)| *tag == 5)?;
                aac(config)
            }
            0x69 | 0x6b => Codec::Mpeg,
            _ => Codec::Unknown,
        })
    };
    read().unwrap_or(Codec::Unknown)
}

/// Tag and content of a descriptor, whose length is written in up to four bytes of seven bits.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let mut length = 0;
    for at in 0..4 {
        let byte = *rest.get(at)?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            let content = rest.get(at + 1..)?;
            return Some((*tag, content.get(..length).unwrap_or(content)));
        }
    }
    None
}

/// The configuration of Apple Lossless: samples a packet first, rate last.
fn lossless(bytes: &[u8]) -> Codec {
    match (array_at(bytes, 4), array_at(bytes, 24)) {
        (Some(samples), Some(rate)) => {
            Codec::Fixed { samples: u32::from_be_bytes(samples).into(), rate: u32::from_be_bytes(rate) }
        }
        _ => Codec::Unknown,
    }
}
