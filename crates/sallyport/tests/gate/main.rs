//! The gate as its users meet it: the real binary, over real sockets, in front of the scriptable upstream.

mod bad_input;
mod books;
mod budget;
mod client;
mod crashes;
mod crowd;
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
