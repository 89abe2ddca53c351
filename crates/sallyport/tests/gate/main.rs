//! The gate as its users meet it: the real binary, over real sockets, in front of the scriptable upstream.

mod alerts;
mod bad_input;
mod books;
mod budget;
mod cases;
mod client;
mod crashes;
mod crowd;
mod endings;
mod faults;
mod fidelity;
mod growth;
mod holding;
mod idempotency;
mod keys;
mod limits;
mod model;
mod operation;
mod ownership;
mod rates;
mod secrets;
mod settling;
mod store_faults;
mod streaming;
mod tls;
mod world;
