//! Reports of leaked keys, and the key sets that they are held against: bytes from outside, read before anything is known
//! about them.

#![no_main]

use exposure::github::{ALERTS_MAX, KeySet, Signature, parse_alerts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match parse_alerts(data) {
        Ok(alerts) => {
            assert!(alerts.len() <= ALERTS_MAX);
            // Numbers and depths that nobody reads are not looked at here, and are too much for others.
            let all: Vec<serde_json::Value> = serde_json::from_slice(data).unwrap_or_default();
            assert!(all.is_empty() || all.len() == alerts.len());
            for (alert, written) in alerts.iter().zip(&all) {
                assert_eq!(Some(alert.token.expose()), written["token"].as_str());
                let words = alert.url.iter().chain(&alert.source);
                assert!(words.into_iter().all(|text| !text.is_empty() && !text.chars().any(char::is_control)));
            }
        }
        // It says where, and repeats nothing.
        Err(error) => assert!(error.to_string().len() < 200),
    }
    if let Ok(set) = KeySet::parse(data, 0, None) {
        let signature = Signature { key_identifier: "", base64: "" };
        assert!(set.verify(signature, data, 0).is_err());
    }
});
