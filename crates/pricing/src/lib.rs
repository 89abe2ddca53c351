//! What a call costs: money in integers, the units that the API bills by, and the price table.
//!
//! Promises: no float anywhere; a price is a whole number of pico-dollars a unit, an amount a whole number of
//! nano-dollars, rounded up once per line of a bill; the worst case of a bound is never less than the bill of any use
//! within that bound.
//!
//! A [`Table`] (shipped, or with the operator's [`Override`]s) finds a [`ModelPrices`], which makes a [`Bill`] of what was
//! used and the worst case of a [`Bound`].
//!
//! Left out: limits and accounts (`ledger`), reading requests and answers (`metering`), I/O.

mod bill;
mod current;
mod decimal;
mod demo;
mod model;
mod money;
mod override_file;
mod overrides;
mod quantities;
mod shipped;
mod table;
mod worst;

#[cfg(test)]
mod tests;

pub use bill::{Bill, Line};
pub use current::Prices;
pub use decimal::{AmountError, per_mille};
pub use demo::{DEMO_PRICES, demo};
pub use model::{EQUIVALENT_MARGIN_PER_MILLE, ImagePrice, Modality, ModelPrices, Source};
pub use money::{Nano, Pico};
pub use overrides::{EVERY_MODEL, NAME_BYTES_MAX, OVERRIDES_MAX, Override, OverrideError, UnitPrice};
pub use quantities::{ImageCount, Quantities, Tier, Unit};
pub use table::{OLD_DAYS, Table, family};
pub use worst::{Bound, Unpriced};
