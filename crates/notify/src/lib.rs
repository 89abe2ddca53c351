//! Carries notices from the outbox to people and machines: by mail, and by signed webhooks.
//!
//! Promises: each delivery is tried until it arrived or its schedule is used up ([`next_wait`]: nine attempts in about
//! a day and a half), then it is dead and stays listed; at least once, never knowingly twice, and every repetition
//! carries the notice's own id (`webhook-id`, and the mail's `Message-ID`), so that receivers can tell it; nothing goes
//! anywhere but where the operator named, redirects are not followed; no secret and no text of a receiver's answer
//! gets into an error or a log, only its status.
//!
//! When the store is down: nothing new is sent, and what was sent is noted as soon as the store is back, without being
//! sent again meanwhile. When the process dies in between, it is sent again: the notice's id tells.
//!
//! Left out: which notices there are and where they go. That is written with the fact that they tell, in one
//! transaction, by the store ([`store::Outbox`]).
//!
//! Start reading at [`Notifier::run`]. To add a channel: a variant of [`store::Channel`], its module here, its line in
//! [`Sender::send`]. To add a kind of notice: its letter in `letter`; until then mails show its payload as it is.

mod backoff;
mod failure;
mod letter;
mod mail;
mod mail_settings;
mod notifier;
mod sender;
mod signature;
mod webhook;

#[cfg(test)]
mod tests;

pub use backoff::next_wait;
pub use failure::{SendError, SmtpStep};
pub use letter::TEST_NOTICE_KIND;
pub use mail::Mail;
pub use mail_settings::{MailSettings, MailSettingsError};
pub use notifier::{DRAIN, Notifier, Waker};
pub use sender::Sender;
pub use signature::{MalformedSecret, SigningKey, Unverified, WINDOW_SECONDS, new_secret};
pub use webhook::{Target, UrlFault, Webhooks, checked_url};
