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
//! 6. [`forward`] with [`upstream`], or [`local`] for the embedded model, or [`control`] for administration.
//! 7. [`passage`]: the body on its way back, event by event; [`answer`]: what must happen at its end riding on it.
//! 8. [`record`]: one log line and the metrics, however it ended.
//!
//! What is not built yet (limits, money, inspection, tool policy) has its place between these in the design.

mod accept;
mod address;
mod answer;
mod authenticate;
mod body;
mod connection;
mod control;
mod decode;
mod exchange;
mod form;
mod forward;
mod gate;
mod headers;
mod health;
mod ids;
mod local;
mod metrics;
mod own;
mod pace;
mod passage;
mod pool;
mod prepare;
mod record;
mod request_log;
mod resolve;
mod sending;
pub mod settings;
mod socket;
mod upstream;
mod withhold;
mod worker;

pub use gate::{
    ControlAnswer, ControlCall, ControlPlane, EmbeddedModel, Gate, Local, ModelAnswer, ModelEndpoint, Parts,
};
pub use request_log::RequestLog;
pub use worker::serve;
