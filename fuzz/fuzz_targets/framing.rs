//! However a head arrives, a conflict of its lengths is seen or not alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::framing::LengthConflict;

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, step) = input;
    let sees = |step: usize| {
        let mut watcher = LengthConflict::new();
        bytes.chunks(step).for_each(|chunk| watcher.observe(chunk));
        watcher.conflicting()
    };
    assert_eq!(sees(usize::from(step).max(1)), sees(usize::MAX));
});
