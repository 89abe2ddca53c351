//! Rate and concurrency limits: who may send how much now, and when to come back.
//!
//! Promises: an admission is all or nothing over every subject and every meter, and exact under concurrency; a bucket
//! never lets more through than one period's limit plus what flowed back meanwhile; what was estimated on admission is
//! corrected by what was used, and use beyond the estimate delays later requests; a place under a concurrency limit is
//! held until its [`Admission`] is dropped; memory is bounded, however many subjects come by. No I/O, no clock: time is
//! nanoseconds of any monotonic clock, passed in.
//!
//! A bucket is GCRA, kept as what is used rather than as a theoretical arrival time, so that a changed limit keeps what
//! is used: its capacity is the limit, and it flows back evenly over the meter's period, as OpenAI's do. Limits are not
//! kept here: each [`Subject`] brings those in force, so a change holds from the next request on and cannot differ from
//! what the store has. A full bucket that nobody holds is forgotten: a new one is the same.
//!
//! Left out: finding the limits of a request (`store`), estimating tokens (`metering`), answering (`gateway`). Keys that
//! the gate does not know have no subject, so a flood of them touches and allocates nothing here.

mod admission;
mod book;
mod duration;
mod level;
mod limited;
mod limits;

#[cfg(test)]
mod tests;

pub use admission::{Admission, Gauge, Gauges};
pub use book::{Book, END_USERS_MAX, OVERFLOW_BUCKETS, SUBJECTS_MAX};
pub use duration::{GoDuration, go_duration};
pub use limited::{CONCURRENCY_RETRY_NS, Limited};
pub use limits::{Limits, Meter, Scope, Subject, Want};
