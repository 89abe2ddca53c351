//! How many megabytes the plain form reads a second on one core, over files named by the caller.
//!
//! `cargo run --release -p normalise --example speed -- FILE…`: each file as one text and as pieces of 1,000 bytes.
//! Processor time of this thread is counted where the system tells it, so that a busy machine does not blur it.

use std::hint::black_box;
use std::time::Instant;

/// Passes over each file.
const ROUNDS: u32 = 20;

fn main() {
    for path in std::env::args().skip(1) {
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("cannot read `{path}` as text");
            continue;
        };
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(rest.floor_char_boundary(1000.min(rest.len())).max(1));
            pieces.push(piece);
            rest = next;
        }
        for (what, texts) in [("whole", vec![text.as_str()]), ("pieces", pieces)] {
            let (wall, start) = (Instant::now(), processor_seconds());
            let mut changed = 0;
            for _ in 0..ROUNDS {
                changed =
                    texts.iter().filter(|text| !black_box(normalise::normalise(black_box(text))).is_plain()).count();
            }
            let seconds =
                processor_seconds().zip(start).map_or(wall.elapsed().as_secs_f64(), |(end, start)| end - start);
            let rate = text.len() as f64 * f64::from(ROUNDS) / seconds / 1e6;
            println!("{rate:8.0} MB/s {what:7} {changed:6} of {} changed  {path}", texts.len());
        }
    }
}

/// Processor time of this thread so far; Linux only.
fn processor_seconds() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(times.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}
