use proptest::prelude::*;

use super::rules::estimate;
use super::*;

fn of(width: u32, height: u32) -> Option<Size> {
    Some(Size { width, height })
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff, marker];
    bytes.extend((content.len() as u16 + 2).to_be_bytes());
    bytes.extend(content);
    bytes
}

fn frame(marker: u8, width: u16, height: u16) -> Vec<u8> {
    let [h0, h1] = height.to_be_bytes();
    let [w0, w1] = width.to_be_bytes();
    segment(marker, &[8, h0, h1, w0, w1, 1, 1, 0x11, 0])
}

fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    bytes.extend(segments.concat());
    bytes.extend(segment(0xda, &[1, 1, 0, 0, 63, 0]));
    bytes
}

fn gif(screen: (u16, u16), corner: (u16, u16), frame: (u16, u16)) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend(screen.0.to_le_bytes());
    bytes.extend(screen.1.to_le_bytes());
    bytes.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    bytes.extend([0x21, 0xf9, 4, 0, 0, 0, 0, 0, 0x2c]);
    for side in [corner.0, corner.1, frame.0, frame.1] {
        bytes.extend(side.to_le_bytes());
    }
    bytes
}

fn webp(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    [b"RIFF\x40\0\0\0WEBP".as_slice(), kind, &[10, 0, 0, 0], data].concat()
}

#[test]
fn every_format_says_its_size() {
    let exif = segment(0xe1, &[b"Exif\0\0".as_slice(), &jpeg(&[frame(0xc0, 160, 120)])].concat());
    for (name, bytes, expected) in [
        ("png", png(640, 480), of(640, 480)),
        ("png that lies", png(u32::MAX, u32::MAX), of(u32::MAX, u32::MAX)),
        ("png of nothing", png(0, 480), None),
        ("jpeg baseline", jpeg(&[frame(0xc0, 640, 480)]), of(640, 480)),
        ("jpeg progressive", jpeg(&[frame(0xc2, 640, 480)]), of(640, 480)),
        ("jpeg arithmetic", jpeg(&[frame(0xc9, 640, 480)]), of(640, 480)),
        ("jpeg with a thumbnail", jpeg(&[exif, frame(0xc2, 4000, 3000)]), of(4000, 3000)),
        ("jpeg with fill bytes", jpeg(&[vec![0xff, 0xff], frame(0xc0, 9, 8)]), of(9, 8)),
        ("jpeg tables only", jpeg(&[segment(0xc4, &[0; 20])]), None),
        ("jpeg with two frames", jpeg(&[frame(0xc0, 9, 800), frame(0xc0, 700, 8)]), of(700, 800)),
        ("jpeg with rows in DNL", jpeg(&[frame(0xc0, 640, 0)]), None),
        ("gif", gif((320, 200), (0, 0), (320, 200)), of(320, 200)),
        ("gif whose frame leaves its screen", gif((1, 1), (10, 20), (3000, 2000)), of(3010, 2020)),
        ("webp lossy", webp(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 0x80, 0x42, 0xe0, 1]), of(640, 480)),
        ("webp lossless", webp(b"VP8L", &[0x2f, 0x7f, 0xc2, 0x77, 0]), of(640, 480)),
        ("webp extended", webp(b"VP8X", &[0, 0, 0, 0, 0x7f, 2, 0, 0xdf, 1, 0]), of(640, 480)),
        ("bmp", b"BM\0\0\0\0\0\0".to_vec(), None),
        ("nothing", Vec::new(), None),
    ] {
        assert_eq!(size(&bytes), expected, "{name}");
    }
}

#[test]
fn a_data_url_is_decoded_no_further_than_needed() {
    // "iVBORw0KGgo…" of a 1 × 1 image, then a megabyte that is no base64 at all.
    let head = "data:image/png;name=a.png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ";
    let url = data_url(head).expect("a data URL");
    assert_eq!((url.mime, url.size()), ("image/png", of(1, 1)));
    assert_eq!(url.head(4), b"\x89PNG");
    assert_eq!(url.bytes().len(), 33);
    let long = format!("{head}{}{}", "A".repeat(2000), "!".repeat(1_000_000));
    let url = data_url(&long).expect("a data URL");
    assert_eq!((url.head(33).len(), url.size()), (33, of(1, 1)));
    assert!(url.bytes().is_empty(), "it is not base64");
    // Wrapped lines and a missing pad.
    let wrapped = data_url("DATA:;BASE64,R0l\r\nGODdhAQA").expect("a data URL");
    assert_eq!((wrapped.mime, wrapped.bytes().as_slice()), ("", b"GIF87a\x01\0".as_slice()));
    for other in ["https://a.example/b.png", "data:text/plain,hello", "data:image/png;base64", "dat", "dataé:", ""] {
        assert_eq!(data_url(other), None, "{other}");
    }
}

#[test]
fn a_jpeg_with_a_large_profile_is_read_further_than_a_head() {
    use base64::Engine as _;
    let profile = segment(0xe2, &[0; 65_000]);
    let bytes = jpeg(&[vec![profile; 4].concat(), frame(0xc2, 4000, 3000)]);
    let url = format!("data:image/jpeg;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes));
    assert_eq!(data_url(&url).expect("a data URL").size(), of(4000, 3000));
}

/// Examples of OpenAI's guide and bills measured by developers, without margin.
#[test]
fn the_rules_give_the_documented_examples() {
    use Detail::{Auto, High, Low, Original};
    for (model, detail, size, tokens) in [
        ("gpt-4o", High, of(1024, 1024), 765),
        ("gpt-4o", High, of(2048, 4096), 1105),
        ("gpt-4o", High, of(4096, 2048), 1105),
        ("gpt-4o", Low, of(4096, 8192), 85),
        ("gpt-4o", High, of(512, 512), 255),
        ("gpt-4o", High, of(513, 512), 425),
        ("gpt-4o-2024-11-20", Auto, of(1024, 1024), 765),
        ("gpt-4o", High, None, 85 + 170 * 8),
        ("gpt-4o-mini", High, of(1024, 1024), 2833 + 5667 * 4),
        ("gpt-4.1", High, of(1024, 1024), 765),
        ("gpt-5", High, of(1024, 1024), 70 + 140 * 4),
        ("o1", High, of(1024, 1024), 75 + 150 * 4),
        ("gpt-4.1-mini", High, of(1024, 1024), 1659),
        ("gpt-4.1-nano", High, of(1024, 1024), 2520),
        ("o4-mini", High, of(1024, 1024), 1762),
        // The guide's formula says 1452 patches; 1536 have been billed.
        ("gpt-4.1-mini", High, of(1800, 2400), 2489),
        ("gpt-4.1-mini", High, of(4000, 1474), 2489),
        // Measured: `low` changes nothing on a patch model.
        ("gpt-5-nano", Low, of(1024, 1024), 2520),
        ("gpt-5.4", High, of(1600, 1600), 3000),
        ("gpt-5.4", Original, None, 12_000),
        ("gpt-5.4-2026-03-05", Auto, of(6000, 6000), 12_000),
        ("gpt-image-1", Low, None, 65 + 6144),
        ("ft:gpt-4o-2024-08-06:acme::x", High, of(1024, 1024), 765),
    ] {
        assert_eq!(estimate(model, detail, size), tokens, "{model} {detail:?} {size:?}");
    }
}

#[test]
fn the_margin_is_a_tenth_rounded_up() {
    assert_eq!(tokens_max("gpt-4o", Detail::Low, None), 85 + 9);
    assert_eq!(tokens_max("gpt-4o", Detail::High, of(1024, 1024)), 765 + 77);
    // Measured 3,008 tokens for 1600 × 1600 with `high`, above what the guide says is possible.
    assert!(tokens_max("gpt-5.4-mini", Detail::High, of(1600, 1600)) >= 3008);
}

#[test]
fn an_unknown_model_costs_the_dearest() {
    for model in ["gpt-7", "gpt-4oo", "gpt-5.9", "", "gpt-image-2.5-flare"] {
        assert_eq!(estimate(model, Detail::High, None), 2833 + 5667 * 8, "{model}");
    }
}

const MODELS: [&str; 11] = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5.2",
    "gpt-5.4",
    "gpt-6-sol",
    "gpt-image-1",
    "o3",
    "o4-mini",
    "?",
];

proptest! {
    #[test]
    fn a_bound_grows_with_what_is_unknown(model in 0..MODELS.len(), width in 0..u32::MAX, height in 0..u32::MAX, shift in 0..32_u32) {
        let (model, size) = (MODELS[model], of(width >> shift, height >> shift));
        let [low, high, auto, original] =
            [Detail::Low, Detail::High, Detail::Auto, Detail::Original].map(|detail| {
                let known = tokens_max(model, detail, size);
                prop_assert!(known > 0 && known <= tokens_max(model, detail, None));
                prop_assert!(known <= tokens_max("an unknown model", detail, size));
                Ok(known)
            });
        let (low, high, auto, original) = (low?, high?, auto?, original?);
        prop_assert!(low <= high && high <= auto && auto == original);
    }

    #[test]
    fn turning_an_image_changes_nothing(model in 0..MODELS.len(), width in 1..9000_u32, height in 1..9000_u32) {
        let model = MODELS[model];
        prop_assert_eq!(tokens_max(model, Detail::Auto, of(width, height)), tokens_max(model, Detail::Auto, of(height, width)));
    }

    #[test]
    fn more_patches_never_cost_less(width in 1..9000_u32, height in 1..9000_u32, more in 0..99_u32) {
        let tokens = |width, height| tokens_max("gpt-5.4", Detail::Original, of(width, height));
        prop_assert!(tokens(width, height) <= tokens(width + more, height));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..5_usize) {
        let magic: [&[u8]; 5] = [b"", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8X"];
        size(&[magic[kind], &bytes].concat());
    }

    #[test]
    fn a_beginning_says_the_same_or_nothing(cut in 0..400_usize, kind in 0..4_usize) {
        let whole = [
            png(30, 40),
            jpeg(&[segment(0xe1, &[0xff; 300]), frame(0xc0, 3, 4), frame(0xc0, 5, 2)]),
            gif((3, 4), (1, 1), (9, 9)),
            webp(b"VP8X", &[0, 0, 0, 0, 9, 9, 9, 9, 9, 9]),
        ][kind].clone();
        let beginning = size(&whole[..cut.min(whole.len())]);
        prop_assert!(beginning.is_none() || beginning == size(&whole));
    }

    #[test]
    fn no_url_makes_it_panic(url in "(data:)?[a-z/;=]{0,9}(;base64)?,?[A-Za-z0-9+/=é \n-]{0,60}", most in 0..70_usize) {
        if let Some(url) = data_url(&url) {
            prop_assert!(url.head(most).len() <= most);
            prop_assert!(url.bytes().len() <= url.bytes_max());
            url.size();
        }
    }
}
