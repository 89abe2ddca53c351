//! Recordings of every format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::audio::{audio_tokens_max, duration};

fuzz_target!(|bytes: &[u8]| {
    let ms = duration(bytes, None).ms_max();
    assert!(duration(bytes, Some("a.mp3")).ms_max() >= ms, "a name made it shorter");
    assert!(audio_tokens_max(ms) <= ms.max(1));
});
