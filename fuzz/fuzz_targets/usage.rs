//! Answers: what they say was used, and what is taken out of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::amend::without_null;
use metering::usage::of_answer;
use pricing::Unit;
use wire::endpoint::Meter;
use wire::sse;

fuzz_target!(|bytes: &[u8]| {
    for meter in [Meter::Chat, Meter::Responses, Meter::Images, Meter::Transcriptions, Meter::Embeddings] {
        let used = of_answer(meter, bytes, Unit::WebSearchMedium);
        assert!(used.has_usage || used.tokens == 0);
    }
    if let Some(changed) = without_null(bytes, "usage") {
        assert!(without_null(&changed, "usage").is_none());
    }
    let joined: Vec<u8> = sse::split(bytes).flatten().copied().collect();
    assert_eq!(joined, bytes);
    for event in sse::split(bytes) {
        let _ = sse::data_place(event).map(|place| &event[place]);
    }
});
