//! Requests: what they say about their cost, and caps that are put into them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::amend::{Edit, put_back, set};
use metering::bound::{Known, bound};
use metering::request::JsonReader;
use pricing::Table;
use wire::endpoint::Meter;
use wire::json::scan;

/// All else is skipped: a number may be greater than the library reads.
#[derive(serde::Deserialize)]
struct Capped {
    max_completion_tokens: u64,
}

fuzz_target!(|body: &[u8]| {
    for meter in [Meter::Chat, Meter::Responses, Meter::Completions, Meter::Images, Meter::Speech] {
        let mut reader = JsonReader::new(meter);
        if scan(body, &mut reader).is_err() {
            return;
        }
        let asked = reader.finish(body.len());
        assert!(asked.text_bytes <= body.len() as u64);
        let table = Table::shipped();
        let prices = table.find("gpt-4o").expect("listed");
        if let Ok(bounded) = bound(meter, &asked, "gpt-4o", prices, &Known::default()) {
            let _ = prices.worst(&bounded.bound);
        }
    }
    if let Some(changed) = set(body, &[Edit::number("max_completion_tokens", 7)], true) {
        let capped: Capped = serde_json::from_slice(&changed).expect("still JSON");
        assert_eq!(capped.max_completion_tokens, 7);
        let back = put_back(&changed, &[Edit { key: "max_completion_tokens", value: "null".into() }]);
        assert!(back.is_some());
    }
});
