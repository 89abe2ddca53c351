//! What a request may cost at most, and what an answer says that it used.
//!
//! The way: [`request`] reads what a body says about its cost, [`bound`] turns it into the most that it may use of each
//! unit, [`amend`] puts caps into bodies and takes them out of answers again, and [`usage`] reads what was used. Media
//! are measured by [`image`] and [`audio`], texts by [`tokens`] and, where money is tight, [`exact`].
//!
//! Promises: a bound is never less than what the upstream may bill for the request; nothing here guesses downwards.
//! Pure: no I/O, no clock, no prices but those that it is given.

pub mod amend;
pub mod audio;
pub mod bound;
pub mod exact;
pub mod image;
mod last_member;
pub mod request;
pub mod tokens;
pub mod usage;
