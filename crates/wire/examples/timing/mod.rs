//! How long calls take: for the examples of this crate and of `extract`.

use std::time::Instant;

const ROUNDS: usize = 15;

/// Prints the median over rounds of the mean time of one call.
pub(crate) fn report(what: &str, calls: u32, mut call: impl FnMut()) {
    let mut rounds_ns: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            (0..calls).for_each(|_| call());
            began.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
        })
        .collect();
    rounds_ns.sort_by(f64::total_cmp);
    println!("{:>12.1} ns  {what}", rounds_ns[ROUNDS / 2]);
}
