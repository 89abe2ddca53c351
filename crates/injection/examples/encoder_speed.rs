//! Measures the encoder with made-up weights: milliseconds a window, at each level, for 3, 4 and 6 layers.
//!
//! ```text
//! taskset -c 1 cargo run --release -p injection --example encoder_speed [LEVEL [MODEL.safetensors]]
//! ```
//!
//! The fastest of a hundred windows each, on one thread; the numbers of docs/decisions/0012-encoder.md come from here.

use std::time::Instant;

use injection::encoder::{Encoder, Level, Scratch};

#[path = "../src/encoder/made_up.rs"]
mod made_up;

/// Windows of which the fastest counts.
const WINDOWS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let level_wanted = std::env::args().nth(1);
    let given = std::env::args().nth(2).map(std::fs::read).transpose()?;
    println!("level        layers   16 tokens  32 tokens  64 tokens  128 tokens   (ms)");
    for level in Level::available() {
        if level_wanted.as_ref().is_some_and(|wanted| wanted != level.name()) {
            continue;
        }
        for layers in [3, 4, 6] {
            let bytes = given.clone().unwrap_or_else(|| made_up::file(layers, 1000, 1));
            let encoder = Encoder::parse(bytes)?.at(level);
            print!("{:12} {:6}  ", level.name(), encoder.layers());
            for count in [16, 32, 64, 128] {
                print!("{:10.2} ", best(&encoder, count));
            }
            println!();
            if given.is_some() {
                break;
            }
        }
    }
    Ok(())
}

fn best(encoder: &Encoder, count: usize) -> f64 {
    let ids: Vec<u32> = (0..count as u32).map(|index| index * 7 % 1000).collect();
    let mut scratch = Scratch::default();
    let mut best = f64::INFINITY;
    for _ in 0..WINDOWS {
        let began = Instant::now();
        std::hint::black_box(encoder.run(&mut scratch, std::hint::black_box(&ids), None));
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
    }
    best
}
