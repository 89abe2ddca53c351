//! The data path: what a request goes through between a client and a model.
//!
//! A connection is accepted and given to the worker with the fewest ([`worker`]), watched for stalls ([`socket`],
//! [`connection`]). Each request then takes the way that [`exchange`] shows in one function:
//!
//! 1. [`accept`]: a head that every reader reads the same way, or 400.
//! 2. [`authenticate`]: header → key → project, from the snapshot in force; [`browser`]: who comes from a browser, and
//!    what is answered across origins; [`client_secrets`]: keys for browsers and devices; [`unknown_keys`]: who tries.
//! 3. [`resolve`]: the endpoint's row, whether this key opens it ([`bounds`]), and who answers.
//! 4. [`own`]: whose object the path names, where projects share an upstream account.
//! 5. [`prepare`]: the body, read within its bounds and checked; the bytes that will be sent.
//! 6. [`idempotency`]: an answer that is known is given again. [`admit`]: rate and concurrency limits.
//! 7. [`inspect`]: what is in its texts: passed, told, or refused.
//! 8. [`hold`]: money for exactly those bytes; [`money`] is what the stages of money share.
//! 9. [`forward`] with [`upstream`], which goes to one of [`upstreams`], or [`local`] for the embedded model, or [`control`] for administration.
//! 10. [`passage`]: the body on its way back, event by event; [`settle`]: its usage becomes a charge; [`answer`]: what
//!     must happen at its end riding on it; [`read_on`]: what happens when the client leaves.
//! 11. [`record`]: one log line and the metrics, however it ended; [`uses`]: from where each key is used; [`alarms`]:
//!     what somebody must look into.
//!
//! What a signature opens instead of a key leaves this way after its first step: [`receive`].
//!
//! Beside the way of a request: [`administration`], which rotating an upstream's keys takes.
//!
//! What is not built yet (inspection of answers, tool policy) has its place between these in the design.

mod accept;
mod address;
pub mod administration;
mod admit;
mod alarms;
mod answer;
mod authenticate;
mod body;
mod bounds;
mod breaker;
mod browser;
mod client_secrets;
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
mod inspect;
mod local;
mod metrics;
mod money;
mod own;
mod pace;
mod passage;
mod pool;
mod prepare;
mod read_on;
mod receive;
mod record;
mod request_log;
mod resolve;
mod sending;
pub mod settings;
mod settle;
mod socket;
mod unknown_keys;
mod upstream;
pub mod upstreams;
mod uses;
mod withhold;
mod worker;

pub use alarms::{Alarm, AlarmKind, Alarms, Injection};
pub use gate::{
    ControlAnswer, ControlCall, ControlPlane, EmbeddedModel, Gate, Local, ModelAnswer, ModelEndpoint, Parts,
    SignedDelivery,
};
pub use request_log::RequestLog;
pub use worker::serve;
