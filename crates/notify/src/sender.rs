//! One attempt to deliver one notice through one channel.

use store::{Channel, Notice};

use crate::failure::SendError;
use crate::mail::Mail;
use crate::webhook::Webhooks;

/// Sends through every channel that there is. The outbox's loop uses it, and so may a test command that wants its
/// result at once.
pub struct Sender {
    mail: Option<Mail>,
    webhooks: Webhooks,
}

impl Sender {
    /// A sender; without `mail`, mails fail with words that name the settings to mend.
    pub fn new(mail: Option<Mail>, webhooks: Webhooks) -> Sender {
        Sender { mail, webhooks }
    }

    /// One attempt, bounded in time. `now` is in Unix seconds.
    ///
    /// # Errors
    /// When it did not arrive, or not everywhere, or nobody knows.
    pub async fn send(&self, notice: &Notice, channel: &Channel, now: i64) -> Result<(), SendError> {
        match channel {
            Channel::Email { recipients, subject_prefix } => {
                let mail = self.mail.as_ref().ok_or(SendError::MailNotConfigured)?;
                mail.send(notice, recipients, subject_prefix.as_deref(), now).await
            }
            Channel::Webhook { id } => self.webhooks.send(id, notice, now).await,
        }
    }
}
