//! The strict JSON reader beside the library.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| invariants::json(body));
