//! No accepted path holds a dot segment, an empty segment or a slash after decoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::target::{Path, decode, unique};

fuzz_target!(|text: &str| {
    let _ = unique(text, "limit");
    let _ = wire::endpoint::find("GET", text);
    if let Ok(path) = Path::parse(text) {
        let inside = &path.as_str()[1..];
        for segment in inside.strip_suffix('/').unwrap_or(inside).split('/') {
            let plain = decode(segment).map(|text| text.into_owned()).unwrap_or_default();
            assert!(plain != "." && plain != ".." && !plain.contains(['/', '\\']), "{text}");
        }
    }
});
