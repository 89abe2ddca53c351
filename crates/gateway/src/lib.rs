//! The data path: what a request goes through between a client and a model.
//!
//! A connection is accepted and given to the worker with the fewest ([`worker`]), watched for stalls ([`socket`],
//! [`connection`]). Each request then takes the way that [`exchange`] shows in one function:
//!
//! 1. [`accept`]: a head that every reader reads the same way, or 400.
//! 2. [`authenticate`]: header → key → project, from the snapshot in force.
//! 3. [`resolve`]: the endpoint's row, whether this key opens it, and who answers.
//! 4. [`own`]: whose object the path names, where projects share an upstream account.
//! 5. [`prepare`]: the body, read within its bounds and checked; the bytes that will be sent.
//! 6. [`idempotency`]: an answer that is known is given again. [`admit`]: rate and concurrency limits.
//! 7. [`hold`]: money for exactly those bytes; [`money`] is what the stages of money share.
//! 8. [`forward`] with [`upstream`], which goes to one of [`upstreams`], or [`local`] for the embedded model, or [`control`] for administration.
//! 9. [`passage`]: the body on its way back, event by event; [`settle`]: its usage becomes a charge; [`answer`]: what
//!    must happen at its end riding on it; [`read_on`]: what happens when the client leaves.
//! 10. [`record`]: one log line and the metrics, however it ended.
//!
//! Beside the way of a request: [`administration`], which rotating an upstream's keys takes.
//!
//! What is not built yet (inspection, tool policy) has its place between these in the design.

mod accept;
mod address;
pub mod administration;
mod admit;
mod answer;
mod authenticate;
mod body;
mod breaker;
mod connection;
mod control;
mod decode;
mod exchange;
mod form;
mod forward;
mod gate;
mod headers;
mod health;
mod hold;
mod idempotency;
mod ids;
mod local;
mod metrics;
mod money;
mod own;
mod pace;
mod passage;
mod pool;
mod prepare;
mod read_on;
mod record;
mod request_log;
mod resolve;
mod sending;
pub mod settings;
mod settle;
mod socket;
mod upstream;
pub mod upstreams;
mod withhold;
mod worker;

pub use gate::{
    ControlAnswer, ControlCall, ControlPlane, EmbeddedModel, Gate, Local, ModelAnswer, ModelEndpoint, Parts,
};
pub use request_log::RequestLog;
pub use worker::serve;
