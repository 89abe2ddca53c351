//! Small files of every format, written byte by byte.

use crate::audio::flac::{crc8, crc16};

/// A sample entry of AAC LC at 16,000 a second, with its configuration.
pub(super) const AAC_16K: &[u8] = b"\0\0\0\x4bmp4a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x01\0\x10\0\0\0\0\x3e\x80\0\0\
    \0\0\0\x27esds\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x14\x08\x06\x01\x02";

/// The same at 96,000 a second.
pub(super) const AAC_96K: &[u8] = b"\0\0\0\x4bmp4a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x01\0\x10\0\0\0\0\x3e\x80\0\0\
    \0\0\0\x27esds\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x10\x08\x06\x01\x02";

/// A sample entry of Apple Lossless, 4,096 samples a packet at 16,000 a second.
pub(super) const ALAC_16K: &[u8] = b"\0\0\0\x48alac\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x01\0\x10\0\0\0\0\x3e\x80\0\0\
    \0\0\0\x24alac\0\0\0\0\0\0\x10\0\0\x10\x28\x0a\x0e\x01\0\xff\0\0\0\0\0\0\0\0\0\0\x3e\x80";

pub(super) fn wav(tag: u16, rate: u32, channels: u16, bits: u16, data: &[u8], claimed: u32) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    // The rate of bytes lies, too.
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(claimed.to_le_bytes());
    bytes.extend(data);
    bytes
}

/// Frames of MPEG-1 layer III, 128 kbit/s, 44,100 a second.
pub(super) fn mp3(frames: usize) -> Vec<u8> {
    [vec![0xff, 0xfb, 0x90, 0], vec![0; 413]].concat().repeat(frames)
}

/// Frames of MPEG-2 layer III, 8 kbit/s, 24,000 a second.
pub(super) fn mp3_low(frames: usize) -> Vec<u8> {
    [vec![0xff, 0xf3, 0x14, 0], vec![0; 20]].concat().repeat(frames)
}

/// Frames of AAC LC, 16,000 a second, ten bytes each.
pub(super) fn adts(frames: usize) -> Vec<u8> {
    [0xff, 0xf1, 0x60, 0x40, 0x01, 0x5f, 0xfc, 0, 0, 0].repeat(frames)
}

pub(super) fn id3(length: usize) -> Vec<u8> {
    let mut bytes = b"ID3\x04\0\0".to_vec();
    bytes.extend([21, 14, 7, 0].map(|shift| (length >> shift & 0x7f) as u8));
    bytes.extend(vec![0xff; length]);
    bytes
}

pub(super) fn id3v1() -> Vec<u8> {
    [b"TAG".to_vec(), vec![0; 125]].concat()
}

/// Frames of so many samples at 16,000 a second; the stream's own header says that it has 16,000 samples.
pub(super) fn flac(frames: u32, samples: u16) -> Vec<u8> {
    let mut bytes = b"fLaC\0\0\0\x22\x10\0\x10\0\0\0\0\0\0\0\x03\xe8\x00\xf0\0\0\x3e\x80".to_vec();
    bytes.extend([0; 16]);
    // A picture.
    bytes.extend([0x86, 0, 1, 0]);
    bytes.extend([0xff; 256]);
    for number in 0..frames {
        let mut header = vec![0xff, 0xf8, 0x75, 0x08];
        let mut coded = [0; 4];
        // Numbers are written as characters are.
        let character = char::from_u32(number).expect("a number below the surrogates");
        header.extend(character.encode_utf8(&mut coded).as_bytes());
        header.extend((samples - 1).to_be_bytes());
        header.push(crc8(&header));
        header.extend([0; 5]);
        let sum = crc16(0, &header);
        bytes.extend(header);
        bytes.extend(sum.to_be_bytes());
    }
    bytes
}

pub(super) fn opus_head() -> Vec<u8> {
    b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0".to_vec()
}

/// Vorbis at 48,000 a second with blocks of 256 and 2,048.
pub(super) fn vorbis_head() -> Vec<u8> {
    b"\x01vorbis\0\0\0\0\x01\x80\xbb\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xb8\x01".to_vec()
}

fn page(serial: u32, flags: u8, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"OggS\0".to_vec();
    bytes.push(flags);
    bytes.extend([0; 8]);
    bytes.extend(serial.to_le_bytes());
    bytes.extend([0; 8]);
    let lacing: Vec<u8> = packets
        .iter()
        .flat_map(|packet| [vec![255; packet.len() / 255], vec![(packet.len() % 255) as u8]].concat())
        .collect();
    bytes.push(u8::try_from(lacing.len()).expect("a page's worth"));
    bytes.extend(lacing);
    bytes.extend(packets.concat());
    bytes
}

/// A page for each header, then the packets, many a page.
pub(super) fn ogg(serial: u32, headers: &[Vec<u8>], packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        bytes.extend(page(serial, if index == 0 { 2 } else { 0 }, std::slice::from_ref(header)));
    }
    for packets in packets.chunks(200) {
        bytes.extend(page(serial, 0, packets));
    }
    bytes
}

/// So many packets of 20 ms.
pub(super) fn opus_file(serial: u32, packets: usize) -> Vec<u8> {
    ogg(serial, &[opus_head(), b"OpusTags".to_vec()], &vec![vec![0x78, 1, 2]; packets])
}

fn atom(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [(content.len() as u32 + 8).to_be_bytes().as_slice(), kind, content].concat()
}

/// A track of packets of equal size, whose media header says one second.
fn track(handler: &[u8; 4], entries: &[u8], packets: usize, packet_bytes: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let table = [
        atom(b"stsd", &[words(&[0, 1]).as_slice(), entries].concat()),
        atom(b"stts", &words(&[0, 1, packets as u32, 1])),
        atom(b"stsz", &words(&[0, packet_bytes, packets as u32])),
    ];
    let media = [
        atom(b"mdhd", &words(&[0, 0, 0, 16_000, 16_000, 0])),
        atom(b"hdlr", &[words(&[0, 0]).as_slice(), handler, &[0; 13]].concat()),
        atom(b"minf", &atom(b"stbl", &table.concat())),
    ];
    let head = atom(b"tkhd", &words(&[7, 0, 0, 1, 0, 16_000]));
    atom(b"trak", &[head, atom(b"mdia", &media.concat())].concat())
}

pub(super) fn audio_track(entries: &[u8], packets: usize, packet_bytes: u32) -> Vec<u8> {
    track(b"soun", entries, packets, packet_bytes)
}

pub(super) fn video_track(packets: usize, packet_bytes: u32) -> Vec<u8> {
    track(b"vide", b"\0\0\0\x10avc1\0\0\0\0\0\0\0\x01", packets, packet_bytes)
}

/// A movie whose header says one second.
pub(super) fn mp4(tracks: &[Vec<u8>], media_bytes: usize) -> Vec<u8> {
    let header = atom(b"mvhd", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 3, 0xe8]);
    [
        atom(b"ftyp", b"M4A \0\0\0\0"),
        atom(b"moov", &[header, tracks.concat()].concat()),
        atom(b"mdat", &vec![0; media_bytes]),
    ]
    .concat()
}

/// Fragments of so many packets of nine bytes each.
pub(super) fn fragmented(entries: &[u8], fragments: usize, packets: u32) -> Vec<u8> {
    let mut bytes = mp4(&[audio_track(entries, 0, 0)], 0);
    let run = [vec![0, 0, 2, 1], packets.to_be_bytes().to_vec(), vec![0; 4], [0, 0, 0, 9].repeat(packets as usize)];
    let fragment = [atom(b"tfhd", &[0, 2, 0, 0, 0, 0, 0, 1]), atom(b"trun", &run.concat())].concat();
    let fragment = [atom(b"moof", &atom(b"traf", &fragment)), atom(b"mdat", &vec![0; packets as usize * 9])].concat();
    bytes.extend(fragment.repeat(fragments));
    bytes
}

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32 | 0x1000_0000).to_be_bytes();
    [id, &length, content].concat()
}

/// A recording whose information says one second; in blocks of eight packets when laced, else in clusters of unknown
/// length, as browsers write them.
pub(super) fn webm(codec: &str, private: &[u8], packets: &[Vec<u8>], lacing: Option<u8>) -> Vec<u8> {
    webm_with(codec, private, packets, lacing, b"")
}

/// Packets that are compressed.
pub(super) fn encoded_webm(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = webm("A_OPUS", b"", packets, None);
    // The codec's private data, empty and thus unused, becomes a list of encodings of another four bytes.
    let at = bytes.windows(2).position(|id| id == [0x63, 0xa2]).expect("private data");
    bytes[at..at + 2].copy_from_slice(&[0x6d, 0x80]);
    bytes
}

/// The same with something between the tracks and the first cluster.
pub(super) fn webm_with(
    codec: &str,
    private: &[u8],
    packets: &[Vec<u8>],
    lacing: Option<u8>,
    between: &[u8],
) -> Vec<u8> {
    let track = [
        element(&[0xd7], &[1]),
        element(&[0x83], &[2]),
        element(&[0x86], codec.as_bytes()),
        element(&[0x63, 0xa2], private),
        element(&[0xe1], &element(&[0xb5], &48_000_f32.to_be_bytes())),
    ];
    let mut bytes = element(&[0x1a, 0x45, 0xdf, 0xa3], &[]);
    bytes.extend([0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    bytes.extend(element(&[0x15, 0x49, 0xa9, 0x66], &element(&[0x44, 0x89], &1000_f32.to_be_bytes())));
    bytes.extend(element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track.concat())));
    bytes.extend(between);
    let head = |lacing: u8| vec![0x81, 0, 0, lacing << 1];
    match lacing {
        None => {
            for packets in packets.chunks(50) {
                bytes.extend([0x1f, 0x43, 0xb6, 0x75, 0xff]);
                for packet in packets {
                    bytes.extend(element(&[0xa3], &[head(0), packet.clone()].concat()));
                }
            }
        }
        Some(lacing) => {
            let blocks: Vec<u8> = packets
                .chunks(200)
                .flat_map(|packets| {
                    let block = [head(lacing), lengths(packets, lacing), packets.concat()].concat();
                    element(&[0xa0], &element(&[0xa1], &block))
                })
                .collect();
            bytes.extend(element(&[0x1f, 0x43, 0xb6, 0x75], &blocks));
        }
    }
    bytes
}

/// How many packets a laced block holds, and the lengths of all but the last.
fn lengths(packets: &[Vec<u8>], lacing: u8) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(packets.len() - 1).expect("a block's worth")];
    let mut before = None;
    for packet in &packets[..packets.len() - 1] {
        let length = packet.len();
        match lacing {
            1 => bytes.extend([vec![255; length / 255], vec![(length % 255) as u8]].concat()),
            2 => {}
            _ => {
                // Two bytes a number; differences have half of the range added.
                let coded = before.map_or(length as i64, |before: usize| length as i64 - before as i64 + 8191);
                bytes.extend((coded as u16 | 0x4000).to_be_bytes());
                before = Some(length);
            }
        }
    }
    bytes
}
