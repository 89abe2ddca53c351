//! Money that is promised before it is spent: limits, accounts, holds, leases.
//!
//! The promise: settled + held ≤ limit at every moment, and a hold is never less than what the upstream may still
//! charge. How it is kept, from the outside in:
//!
//! - the store ([`LedgerStore`]) leases parts of a limit to processes under `settled + leased ≤ limit`, durably;
//! - of its lease a process uses no more than a watermark that it has written down before; the [`Keeper`] raises it
//!   ahead of need and lowers it after, together with the rows of settled requests, every 50 ms or when a request waits;
//! - within the watermark requests take and put back with one atomic word an account (`Purse`), no lock, no I/O;
//! - a [`Hold`] is granted by every limit that applies or by none, rides with the request, and ends exactly once.
//!
//! After a crash the lease above the watermark is free again at once, and what lies below it stays charged as one
//! visible [`Estimate`] a lease: the error is on the safe side, and bounded by the holds in flight and one step.
//!
//! Left out: what a request may cost (`metering`, `pricing`), HTTP, SQL.

mod account;
mod book;
mod change;
pub mod conformance;
mod hold;
mod keeper;
mod ledger;
mod memory;
mod open;
mod port;
mod purse;
mod run;

pub use book::NAMES_MAX;
pub use change::{Changing, Standing};
pub use hold::{Hold, Nearness};
pub use keeper::{Keeper, ROWS_MAX, Turn};
pub use ledger::{Counters, Exceeded, Ledger, Patience, Refused, UNJOURNALED_MAX};
pub use memory::MemoryStore;
pub use open::{Doing, OpenHold};
pub use port::{AccountKey, Batch, Epoch, Estimate, LeaseState, LeaseTarget, LedgerStore, WriteError};
pub use run::{PACE, enter, keep};

#[cfg(test)]
mod tests;
