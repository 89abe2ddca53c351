//! Scans a tree and says how fast: `cargo run --release -p scan --example tree_speed -- PATH [THREADS]`.

use std::path::PathBuf;
use std::time::Instant;

use scan::{Options, Progress, Target};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let threads = arguments.next().and_then(|threads| threads.parse().ok()).unwrap_or(0);
    let start = Instant::now();
    match scan::run(&[Target::Path(path)], &Options { threads, ..Options::default() }, &Progress::default()) {
        Ok(outcome) => println!("{}", scan::summary(&outcome, start.elapsed().as_secs_f64())),
        Err(error) => eprintln!("{error}"),
    }
}
