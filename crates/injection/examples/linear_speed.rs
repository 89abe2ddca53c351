//! How many megabytes a second the linear stage reads on one core, normalisation included.
//!
//! `cargo run --release -p injection --example linear_speed -- FILE…`: each file in pieces of 1,000 bytes and as one text.
//! What the plain form says otherwise is read too. Processor time of this thread is counted where the system tells it.

use std::hint::black_box;
use std::time::Instant;

use injection::Channel;
use injection::linear::{WINDOW_BYTES, Weights};
use injection::rules::{DEFAULT, RuleSet};

/// Passes over each file.
const ROUNDS: u32 = 10;

fn main() {
    let bytes =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/model/linear.bin")).expect("the weights lie in model/");
    let weights = Weights::parse(&bytes).expect("they are weights");
    let rules = RuleSet::parse(DEFAULT).expect("a test reads the default rules");
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
        for (what, texts) in [("pieces", pieces), ("whole", vec![text.as_str()])] {
            let plain = rate(&texts, |text| black_box(normalise::normalise(text)).is_plain());
            let scored = rate(&texts, |text| black_box(weights.score(text, Channel::User)).windows.is_empty());
            let both = rate(&texts, |text| {
                let plain = normalise::normalise(text);
                for part in plain.material(WINDOW_BYTES) {
                    black_box(weights.score(&plain.text[part], Channel::User));
                }
                black_box(weights.score(text, Channel::User)).windows.is_empty()
            });
            let ruled =
                rate(&texts, |text| black_box(rules.find(text, &normalise::normalise(text), Channel::User)).is_empty());
            println!(
                "{what:7} normalise {plain:5.0}, score {scored:5.0}, both {both:5.0}, normalise and rules {ruled:5.0} MB/s  {path}"
            );
        }
    }
}

fn rate(texts: &[&str], mut run: impl FnMut(&str) -> bool) -> f64 {
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    let (wall, start) = (Instant::now(), processor_seconds());
    for _ in 0..ROUNDS {
        for text in texts {
            black_box(run(black_box(text)));
        }
    }
    let seconds = processor_seconds().zip(start).map_or(wall.elapsed().as_secs_f64(), |(end, start)| end - start);
    bytes as f64 * f64::from(ROUNDS) / seconds / 1e6
}

/// Processor time of this thread so far; Linux only.
fn processor_seconds() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(times.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}
