//! What the strict reader accepts, the library accepts as well, with the same members.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::endpoint::Reference;
use wire::json::{TopLevel, scan};

fuzz_target!(|body: &[u8]| {
    let _ = scan(body, &mut Reference::default());
    let Ok(members) = TopLevel::read(body) else { return };
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => assert_eq!(members.string("model").as_deref(), value.get("model").and_then(|model| model.as_str())),
        // The library's own limit: numbers beyond f64.
        Err(error) => assert!(error.to_string().contains("number out of range"), "{error}"),
    }
});
