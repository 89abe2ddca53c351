//! Paths and queries.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| invariants::target(text));
