//! Why an attempt failed, in words that an operator can act on. They are kept with the delivery and shown.
//!
//! Promise: no secrets, no address of a webhook (some carry a token), nothing of what a receiver answered but its
//! status.

use std::error::Error;
use std::fmt;

use crate::signature::MalformedSecret;
use crate::webhook::UrlFault;

/// Characters of a failure's words that are kept.
const WORDS_CHARS_MAX: usize = 500;

/// A cause from the network or from TLS.
type Cause = Box<dyn Error + Send + Sync>;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no mail server.
    #[error("no mail server is configured; set `mail.url` and `mail.from`")]
    MailNotConfigured,
    /// There is no such webhook.
    #[error("webhook `{0}` is unknown, or its secret does not open under the master key")]
    UnknownWebhook(String),
    /// The webhook's address cannot be used.
    #[error("the webhook's address cannot be used")]
    Url(#[source] UrlFault),
    /// The webhook's secret cannot be used.
    #[error("the webhook's secret cannot be used")]
    Secret(#[source] MalformedSecret),
    /// The webhook answered, but not with 2xx.
    #[error("the webhook answered with status {0}")]
    Status(u16),
    /// The webhook points elsewhere.
    #[error("the webhook answered with status {0}, a redirect, and redirects are not followed; name the final address")]
    Redirect(u16),
    /// The webhook could not be reached, or broke off.
    #[error("the webhook cannot be reached")]
    Unreachable(#[source] Cause),
    /// No answer in time.
    #[error("no answer within {0} seconds")]
    TimedOut(u64),
    /// A message cannot be made of this notice.
    #[error("the message cannot be written")]
    Unwritable(#[source] Cause),
    /// The mail server said no.
    #[error("the mail server answered with status {code} to {step}")]
    MailStatus {
        /// What it answered.
        code: u16,
        /// To what.
        step: SmtpStep,
    },
    /// The mail server could not be reached, broke off, or has not what is asked for.
    #[error("{step} failed")]
    Mail {
        /// What failed.
        step: SmtpStep,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// There is nobody to send to.
    #[error("the mail has no recipients")]
    NoRecipients,
    /// Some addressees did not get it. The others will not get it again while this process lives.
    #[error("not accepted for {0}")]
    Recipients(String),
    /// A defect of ours.
    #[error("the attempt broke off: a defect, see the log")]
    Defect,
}

/// A step of a mail's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpStep {
    /// Connecting, the greeting and EHLO; with `smtps:` TLS too.
    Connect,
    /// Changing over to TLS.
    StartTls,
    /// Signing in.
    SignIn,
    /// Naming the sender.
    Sender,
    /// Naming an addressee.
    Recipient,
    /// Handing over the message.
    Message,
}

impl fmt::Display for SmtpStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SmtpStep::Connect => "the connection",
            SmtpStep::StartTls => "STARTTLS",
            SmtpStep::SignIn => "signing in",
            SmtpStep::Sender => "the sender (`mail.from`)",
            SmtpStep::Recipient => "a recipient",
            SmtpStep::Message => "the message",
        })
    }
}

impl SendError {
    /// The error with its causes, at a bounded length.
    pub fn words(&self) -> String {
        let mut words = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            words.push_str(": ");
            words.push_str(&cause.to_string());
            source = cause.source();
        }
        words.chars().take(WORDS_CHARS_MAX).collect()
    }
}
