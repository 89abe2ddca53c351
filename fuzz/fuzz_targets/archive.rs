//! Archives: any bytes cost bounded time and memory, and no panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use secrets::{Config, Engine};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(Config::default()));

fuzz_target!(|input: &[u8]| {
    scan::read_bytes(&ENGINE, "input", input);
});
