//! Headers of images, cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::image::{Detail, size, tokens_max};

fuzz_target!(|input: (&[u8], u16)| {
    let (bytes, cut) = input;
    let whole = size(bytes);
    let beginning = size(&bytes[..usize::from(cut).min(bytes.len())]);
    assert!(beginning.is_none() || beginning == whole, "a beginning says {beginning:?}, the whole {whole:?}");
    for model in ["gpt-4o", "gpt-5.4", "gpt-image-1", "an unknown model"] {
        assert!(tokens_max(model, Detail::Auto, whole) <= tokens_max(model, Detail::Auto, None), "{model}: {whole:?}");
    }
});
