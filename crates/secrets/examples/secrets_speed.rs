//! Measures the engine on made text: `cargo run --release -p secrets --example secrets_speed -- [FILE…]`.
//!
//! Without files: prose, code, JSON, a minified bundle, base64 and random bytes, 64 MiB each, on one thread.

use std::time::Instant;

use secrets::{Config, Engine};

const BYTES: usize = 64 << 20;

fn made(name: &str) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(9);
    let words = [
        "the",
        "gate",
        "asks",
        "which",
        "request",
        "holds",
        "money",
        "and",
        "settles",
        "it",
        "again",
        "task-list",
        "of",
        "some",
        "length",
    ];
    let mut out = Vec::with_capacity(BYTES + 4096);
    while out.len() < BYTES {
        let word = words[rng.usize(..words.len())];
        match name {
            "prose" => {
                out.extend_from_slice(format!("{word}{}", if rng.u8(..12) == 0 { ".\n" } else { " " }).as_bytes())
            }
            "code" => out.extend_from_slice(
                format!("    let {word} = self.{word}(\"{word} of {{}}\", index + {}); // {word}\n", rng.u16(..))
                    .as_bytes(),
            ),
            "json" => out.extend_from_slice(
                format!(
                    "{{\"id\":{},\"name\":\"{word}\",\"text\":\"a \\\"{word}\\\"\\n\",\"list\":[\"a\",\"b\"]}},",
                    rng.u32(..)
                )
                .as_bytes(),
            ),
            "bundle" => out.extend_from_slice(
                format!("function {}(e,t){{return e&&t?\"{word}\":r(\"\\u00e9{word}\",n.{word})}}", rng.alphabetic())
                    .as_bytes(),
            ),
            "base64" => out.extend(
                (0..76)
                    .map(|_| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rng.usize(..64)])
                    .chain([b'\n']),
            ),
            _ => out.extend((0..4096).map(|_| rng.u8(..))),
        }
    }
    out
}

fn measure(engine: &Engine, name: &str, bytes: &[u8]) {
    let (start, before) = (Instant::now(), processor_seconds());
    let findings = engine.scan(bytes).len();
    let (seconds, used) = (start.elapsed().as_secs_f64(), processor_seconds() - before);
    let megabytes = bytes.len() as f64 / 1e6;
    println!(
        "{name:<10} {:>6.0} MB/s, {:>6.0} MB a processor second, {findings} findings",
        megabytes / seconds,
        megabytes / used
    );
}

/// A streamed answer, five bytes at a time.
fn measure_stream(engine: &Engine) {
    let text = &made("prose")[..1 << 20];
    let (mut stream, before) = (engine.stream(), processor_seconds());
    let pieces = text.chunks(5).map(|piece| stream.push(piece).len() + stream.held_back()).count();
    let nanoseconds = (processor_seconds() - before) * 1e9 / pieces as f64;
    println!("pieces of five bytes: {nanoseconds:.0} ns each");
}

/// What the thread used: on a busy machine the clock says little.
fn processor_seconds() -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    nanoseconds.split(' ').next().and_then(|used| used.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn main() {
    let engine = Engine::new(Config::default());
    let files: Vec<String> = std::env::args().skip(1).collect();
    for file in &files {
        match std::fs::read(file) {
            Ok(bytes) => measure(&engine, file, &bytes),
            Err(error) => eprintln!("{file}: {error}"),
        }
    }
    if files.is_empty() {
        for name in ["prose", "code", "json", "bundle", "base64", "random"] {
            measure(&engine, name, &made(name));
        }
        measure_stream(&engine);
    }
}
