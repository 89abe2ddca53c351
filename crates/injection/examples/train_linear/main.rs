//! Trains the linear stage.
//!
//! `cargo run --release -p injection --example train_linear -- OUT.bin FILE.jsonl[.gz]…` trains on every row of the files
//! and writes the weights; before that it trains and judges itself with whole sources left out, four folds of them, and
//! chooses the thresholds there. Rows: `{"text", "label", "channel"?, "source"?, "kind"?, "span"?, "role"?}`. Same rows,
//! same weights: the seed is fixed.

mod measure;
mod model;
mod rows;

use std::path::Path;
use std::process::ExitCode;

use injection::Channel;
use injection::linear::Weights;
use measure::{Judged, report};
use model::Model;
use rows::{Row, examples};

/// Groups into which the sources are dealt; each is left out once.
const FOLDS: u64 = 4;
/// Share of a channel's harmless texts that may score above the upper threshold, and of attacks that may be lost below
/// the lower one.
const HIGH_FALSE: f64 = 0.001;
const LOW_LOST: f64 = 0.02;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(out) = arguments.next() else {
        eprintln!("usage: train_linear OUT.bin FILE.jsonl[.gz]…");
        return ExitCode::FAILURE;
    };
    let mut rows = Vec::new();
    for path in arguments {
        match rows::read(Path::new(&path)) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let rows = rows::composed(rows);
    println!("{} rows, {} of them attacks", rows.len(), rows.iter().filter(|row| row.attack).count());

    let mut judged = Vec::new();
    for fold in 0..FOLDS {
        let (kept, left): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.source_hash() % FOLDS != fold);
        let bytes = Model::trained(&examples(&kept)).to_file(0.0, 0.0);
        let Ok(weights) = Weights::parse(&bytes) else { return ExitCode::FAILURE };
        judged.extend(left.iter().map(|row| Judged::of(row, &weights)));
        println!("fold {fold}: {} rows left out", left.len());
    }
    report(&judged);
    let low = measure::lost_below(&judged, Channel::User, LOW_LOST);
    let high = measure::false_above(&judged, HIGH_FALSE);
    println!("thresholds: low {low:.3}, high {high:.3}");
    let all: Vec<&Row> = rows.iter().collect();
    let bytes = Model::trained(&examples(&all)).to_file(low, high);
    if let Err(error) = std::fs::write(&out, bytes) {
        eprintln!("{out}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
