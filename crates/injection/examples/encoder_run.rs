//! Runs an encoder file on windows of ids, to compare it with the model that it was made from.
//!
//! ```text
//! cargo run --release -p injection --example encoder_run MODEL.safetensors [LEVEL] < windows.jsonl > outputs.jsonl
//! ```
//!
//! A line in is `{"ids": [101, …, 102], "channel": "user"}` (without a channel: unknown), a line out is
//! `{"window": […], "tokens": […], "hidden": […]}`. The level is one of those that encoder_speed prints.

use std::io::{BufRead, Write};

use injection::encoder::{Encoder, Level, Scratch};
use serde_json::{Value, json};
use wire::channel::Channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: encoder_run MODEL.safetensors [LEVEL]")?;
    let mut encoder = Encoder::parse(std::fs::read(path)?)?;
    if let Some(name) = arguments.next() {
        let level = Level::available().into_iter().find(|level| level.name() == name);
        encoder = encoder.at(level.ok_or("this processor has no such level")?);
    }
    let mut scratch = Scratch::default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let ids: Vec<u32> = serde_json::from_value(line["ids"].clone())?;
        let channel = line["channel"].as_str().and_then(Channel::from_name);
        let output = encoder.run(&mut scratch, &ids, channel);
        let output = json!({"window": output.window, "tokens": output.tokens, "hidden": output.hidden});
        writeln!(out, "{output}")?;
    }
    Ok(())
}
