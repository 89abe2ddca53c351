use proptest::prelude::*;

use super::flac::crc8;
use super::*;

mod files;

use files::*;

const HOUR_MS: u64 = 3_600_000;

/// Bytes that no packet explains are short of the file by nothing.
fn at_most_of(duration: Duration) -> Option<u64> {
    match duration {
        Duration::AtMost { ms } => Some(ms),
        Duration::Exact { .. } => None,
    }
}

#[test]
fn every_format_is_walked_to_its_end() {
    for (name, bytes, ms) in [
        ("wav", wav(1, 16_000, 1, 16, &[0; 32_000], 32_000), 1000),
        ("wav, stereo float", wav(3, 48_000, 2, 32, &[0; 384_000], 384_000), 1000),
        ("wav, mu-law", wav(7, 8_000, 1, 8, &[0; 800], 800), 100),
        ("wav of mp3", wav(0x55, 8_000, 1, 0, &mp3(10), 4170), 262),
        // 1,152 samples at 44,100 a second.
        ("mp3", mp3(1000), 26_123),
        ("mp3 with tags", [id3(5000), mp3(1000), id3v1()].concat(), 26_123),
        ("mp3, 8 kbit/s", mp3_low(100), 2400),
        // 1,024 samples at 16,000 a second.
        ("aac", adts(100), 6400),
        ("flac", flac(100, 4096), 25_600),
        ("flac behind a tag", [id3(100), flac(100, 4096)].concat(), 25_600),
        ("ogg opus", ogg(1, &[opus_head(), b"OpusTags".to_vec()], &vec![vec![0x78, 1, 2]; 500]), 10_000),
        ("chained ogg", [opus_file(1, 50), opus_file(2, 50)].concat(), 2000),
        ("m4a", mp4(&[audio_track(AAC_16K, 100, 50)], 5000), 6400),
        ("m4a with pictures", mp4(&[video_track(10, 900), audio_track(AAC_16K, 100, 50)], 14_000), 6400),
        ("alac", mp4(&[audio_track(ALAC_16K, 100, 50)], 5000), 25_600),
        ("fragmented m4a", fragmented(AAC_16K, 10, 10), 6400),
        ("webm", webm("A_OPUS", b"", &vec![vec![0x78, 1, 2]; 500], Some(2)), 10_000),
        ("webm of a browser", webm("A_OPUS", b"", &vec![vec![0x78, 1, 2]; 500], None), 10_000),
        ("mkv of aac", webm("A_AAC", &[0x14, 0x08], &vec![vec![0; 50]; 100], None), 6400),
        ("mkv of mp3", webm("A_MPEG/L3", b"", &vec![mp3(1); 10], Some(2)), 262),
    ] {
        assert_eq!(duration(&bytes, None), Duration::Exact { ms }, "{name}");
        assert_eq!(duration(&bytes, Some("speech.bin")).ms_max(), ms, "{name}");
    }
}

#[test]
fn near_empty_opus_packets_last_as_long_as_they_say() {
    // Two bytes that say six frames of 20 ms; one that says 60 ms; one beyond what a decoder takes.
    for (packet, ms) in
        [(&[0x7b, 6][..], 120), (&[0x18], 60), (&[0x7b, 63], 120), (&[0x7b], 0), (&[0x79], 40), (&[0xe0], 3)]
    {
        assert_eq!(duration(&ogg(7, &[opus_head()], &[packet.to_vec()]), None), Duration::Exact { ms }, "{packet:?}");
    }
    // An hour in a hundred thousand bytes.
    let hour = ogg(7, &[opus_head()], &vec![vec![0x7b, 6]; 30_000]);
    assert_eq!((duration(&hour, None), hour.len() < 100_000), (Duration::Exact { ms: HOUR_MS }, true));
    let hour = webm("A_OPUS", b"", &vec![vec![0x7b, 6]; 30_000], Some(2));
    assert_eq!((duration(&hour, None), hour.len() < 70_000), (Duration::Exact { ms: HOUR_MS }, true));
}

#[test]
fn all_ways_of_lacing_say_the_same() {
    let packets: Vec<Vec<u8>> = (0..200).map(|index| [vec![0x7b, 3], vec![0; index * 7 % 300]].concat()).collect();
    for lacing in [None, Some(1), Some(3)] {
        assert_eq!(
            duration(&webm("A_OPUS", b"", &packets, lacing), None),
            Duration::Exact { ms: 12_000 },
            "{lacing:?}"
        );
    }
}

#[test]
fn a_header_that_claims_a_second_does_not_shorten_an_hour() {
    let pcm = vec![0; 8_000 * 3600];
    for claimed in [8_000, 0, 1, u32::MAX] {
        assert_eq!(duration(&wav(1, 8_000, 1, 8, &pcm, claimed), None), Duration::AtMost { ms: HOUR_MS }, "{claimed}");
    }
    // `mvhd` and `mdhd` of these say one second, whatever the tables name.
    let packets = 56_250;
    assert_eq!(duration(&mp4(&[audio_track(AAC_16K, packets, 9)], packets * 9), None), Duration::Exact { ms: HOUR_MS });
    assert_eq!(duration(&fragmented(AAC_16K, 125, 450), None), Duration::Exact { ms: HOUR_MS });
    // The information element of these says one second.
    assert_eq!(
        duration(&webm("A_OPUS", b"", &vec![vec![0x7b, 6]; 30_000], None), None),
        Duration::Exact { ms: HOUR_MS }
    );
    // STREAMINFO says one second.
    assert_eq!(duration(&flac(14_063, 4096), None), Duration::Exact { ms: 3_600_128 });
    // A first frame that says that there are ten.
    let xing = {
        let mut bytes = mp3(137_813);
        bytes[36..48].copy_from_slice(b"Xing\0\0\0\x01\0\0\0\x0a");
        bytes
    };
    assert_eq!(duration(&xing, None), Duration::Exact { ms: 3_600_014 });
}

#[test]
fn what_cannot_be_walked_counts_as_the_longest_it_can_be() {
    assert_eq!(duration(&[], None), Duration::Exact { ms: 0 });
    // 6 kbit/s: 750 bytes a second.
    assert_eq!(duration(&[7; 7500], None), Duration::AtMost { ms: 10_001 });
    let bare = duration(&opus_file(1, 50), None).ms_max();
    for (name, bytes, longer_ms) in [
        ("a page that is none", [opus_file(1, 50), vec![7; 100]].concat(), 6000),
        ("wav of an unknown coding", wav(0x704f, 8_000, 1, 16, &[0; 100], 100), 6000 - bare),
        ("ogg of an unknown coding", ogg(1, &[b"Speex   ".to_vec()], &vec![vec![0; 50]; 2]), 6480 - bare),
        ("webm of an unknown coding", webm("A_AC3", b"", &vec![vec![0; 50]; 2], None), 6000 - bare),
        ("webm whose packets are encoded", encoded_webm(&vec![vec![0; 50]; 2]), 6000 - bare),
        ("m4a of an unknown coding", mp4(&[audio_track(b"\0\0\0\x24spex", 2, 50)], 100), 6000 - bare),
        ("mp3 with 750 odd bytes", [mp3(10), vec![7; 750], mp3(10)].concat(), 1000 + 523 - bare),
        ("media that no table names", mp4(&[audio_track(AAC_16K, 100, 50)], 5000 + 7500), 16_401 - bare),
    ] {
        let ms = at_most_of(duration(&bytes, None));
        assert!(ms.is_some_and(|ms| (bare + longer_ms..=bare + longer_ms + 2).contains(&ms)), "{name}: {ms:?}");
    }
    // Nothing to be played: every byte counts.
    let whole = mp4(&[video_track(10, 100)], 1000);
    assert_eq!(duration(&whole, None), Duration::AtMost { ms: whole.len() as u64 * 60 });
}

#[test]
fn a_file_that_says_mp3_is_also_read_as_mp3() {
    // A hundred frames of mp3, dressed as a hundredth of a second of sound in eight channels.
    let dressed = wav(1, 192_000, 8, 64, &mp3(100), 41_700);
    assert_eq!(duration(&dressed, None).ms_max(), 4);
    for hint in ["a.mp3", "audio/mpeg", "MP3", "b.MPGA"] {
        assert_eq!(duration(&dressed, Some(hint)), Duration::AtMost { ms: 2613 }, "{hint}");
    }
    // An honest name changes nothing.
    assert_eq!(duration(&opus_file(1, 50), Some("a.mp3")), Duration::Exact { ms: 1000 });
}

#[test]
fn tricks_do_not_shorten_a_recording() {
    let opus = opus_file(1, 500);
    // A wrong checksum: some decoders do not look at it.
    let mut unchecked = opus.clone();
    unchecked[22..26].copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(duration(&unchecked, None).ms_max(), 10_000);
    // An element that hides what follows it, but reaches beyond its parent.
    let hidden = webm_with("A_OPUS", b"", &vec![vec![0x78, 1, 2]; 500], None, &[0xa0, 0x82, 0xec, 0x48, 0x00]);
    assert!(duration(&hidden, None).ms_max() >= 10_000);
    // Another codec named outside of the description of a track.
    let renamed = [vec![0x86, 0x8d], b"A_PCM/INT/LIT".to_vec(), vec![0x62, 0x64, 0x81, 16]].concat();
    let renamed = webm_with("A_OPUS", b"", &vec![vec![0x78, 1, 2]; 500], None, &renamed);
    assert!(duration(&renamed, None).ms_max() >= 10_000);
    // Large frames named between small ones, in another rate.
    let mut nested = mp3_low(1000);
    nested.splice(0..0, [0xff, 0xe3, 0xe8, 0]);
    assert!(duration(&nested, None).ms_max() >= 24_000);
    // A second description with shorter packets, and a second handler that says pictures.
    let twice = [AAC_96K, AAC_16K].concat();
    assert_eq!(duration(&mp4(&[audio_track(&twice, 100, 50)], 5000), None), Duration::Exact { ms: 6400 });
    // A flac frame dressed as another's samples still counts.
    let inside = [flac(2, 4096), vec![0xff, 0xf8, 0xc5, 8, 99], vec![crc8(&[0xff, 0xf8, 0xc5, 8, 99])]].concat();
    assert_eq!(duration(&inside, None), Duration::AtMost { ms: 768 * 2 });
}

#[test]
fn absurd_claims_saturate() {
    let absurd = mp4(&[audio_track(AAC_16K, u32::MAX as usize, 1)], 10);
    assert_eq!(duration(&absurd, None), Duration::Exact { ms: 274_877_906_880 });
    let track = [AAC_16K; 3].concat();
    let slow = mp4(&[audio_track(&track, u32::MAX as usize, u32::MAX)], 10);
    assert_eq!(duration(&slow, None), Duration::Exact { ms: 274_877_906_880 });
    assert_eq!(duration(&wav(1, 0, 1, 8, &[0; 10], 10), None), Duration::Exact { ms: 10_000 });
}

#[test]
fn tokens_are_rounded_up() {
    assert_eq!([0, 1, 50, 51, 60_000].map(audio_tokens_max), [0, 1, 1, 2, 1200]);
    assert_eq!(audio_tokens_max(u64::MAX), u64::MAX / 50 + 1);
}

/// One small file of each format.
fn samples() -> Vec<Vec<u8>> {
    vec![
        wav(1, 16_000, 1, 16, &[0; 200], 200),
        [id3(50), mp3(3)].concat(),
        adts(5),
        flac(5, 192),
        opus_file(1, 20),
        ogg(1, &[vorbis_head()], &vec![vec![0; 9]; 9]),
        mp4(&[video_track(1, 9), audio_track(AAC_16K, 5, 9)], 54),
        fragmented(ALAC_16K, 2, 3),
        webm("A_VORBIS", &vorbis_head(), &vec![vec![0; 9]; 20], Some(1)),
        webm("A_OPUS", b"", &vec![vec![0x78, 1, 2]; 20], Some(3)),
        webm("A_OPUS", b"", &vec![vec![0x78, 1, 2]; 20], None),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..9_usize) {
        let magic: [&[u8]; 9] = [
            b"", b"RIFF\0\0\0\0WAVEfmt ", b"fLaC", b"OggS\0\x02", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x08ftyp\0\0\xff\xffmoov\0\0\xff\xfftrak", b"ID3\x04\0\0\0\0\0\x01", b"\xff\xfb\x90\0", b"\xff\xf1\x60\0\x02\0\0",
        ];
        duration(&[magic[kind], &bytes].concat(), Some("a.mp3"));
    }

    #[test]
    fn no_change_to_a_file_makes_it_panic(kind in 0..11_usize, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut in any::<prop::sample::Index>()) {
        let mut bytes = samples().swap_remove(kind);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        duration(&bytes, None);
    }

    #[test]
    fn more_sound_is_never_shorter(kind in 0..3_usize, packets in 1..60_usize, more in 0..60_usize) {
        let of = |packets| match kind {
            0 => mp3(packets),
            1 => opus_file(1, packets),
            _ => webm("A_OPUS", b"", &vec![vec![0x78, 1, 2]; packets], None),
        };
        prop_assert!(duration(&of(packets), None).ms_max() <= duration(&of(packets + more), None).ms_max());
    }

    #[test]
    fn a_cut_never_leaves_less_than_was_there(packets in 1..40_usize, cut in 0..400_usize) {
        // Every whole packet of three bytes, its lacing value and its page's head are before the cut.
        let whole = opus_file(1, packets);
        let kept = whole.len().saturating_sub(cut);
        prop_assert!(duration(&whole[..kept], None).ms_max() + 20 * cut.div_ceil(3) as u64 >= packets as u64 * 20);
    }
}
