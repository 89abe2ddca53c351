//! What a call costs: money in integers, the units that the API bills by, and the price table.
//!
//! Promises: no float anywhere; a price is a whole number of pico-dollars a unit, an amount a whole number of
//! nano-dollars, rounded up once per line of a bill; the worst case of a bound is never less than the bill of any use
//! within that bound.
//!
//! Left out: limits and accounts (`ledger`), reading requests and answers (`metering`), I/O.

mod money;
mod quantities;

pub use money::{Nano, Pico};
pub use quantities::{ImageCount, Quantities, Tier, Unit};
