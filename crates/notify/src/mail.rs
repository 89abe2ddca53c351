//! Notices by mail, over SMTP.
//!
//! Promises: one connection an attempt, every time is bounded; the password goes out as [`MailSettings`] promise; the
//! message's id is made of the notice's, the same at every attempt. An address that the server refuses does not keep
//! the others from their mail, and they do not get it again when it is tried again for that address, as long as the
//! process lives.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, message};
use store::Notice;

use crate::failure::{SendError, SmtpStep};
use crate::letter;
use crate::mail_settings::{MailSettings, MailSettingsError, Protection, Relay, is_ascii};

/// How long connecting to one of the server's addresses may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an attempt may take in all. Servers that check while the sender waits take their time.
const ATTEMPT: Duration = Duration::from_secs(60);
/// How long the server may take to say goodbye; the message is delivered by then.
const GOODBYE: Duration = Duration::from_secs(2);
/// How a user signs in.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
/// Deliveries of which is remembered whom they reached. Forgetting costs a repeated mail.
const PARTIAL_MAX: usize = 256;

/// Sends notices by mail.
pub struct Mail {
    relay: Relay,
    hello: ClientId,
    /// Whom a delivery reached that did not reach all.
    partial: Mutex<HashMap<Partial, HashSet<String>>>,
}

/// A delivery: a notice's id and its recipients, since a notice may go to several groups.
type Partial = (String, Vec<String>);

/// Addresses that did not get the mail, and the server's status where it gave one.
type Refused = Vec<(String, Option<u16>)>;

impl Mail {
    /// A sender with these settings; it connects when there is something to send.
    ///
    /// # Errors
    /// Says what is wrong with the settings.
    pub fn new(settings: MailSettings) -> Result<Mail, MailSettingsError> {
        let relay = settings.relay()?;
        // Our host's name is nobody's business; the sender's domain is in the message anyway.
        let hello = ClientId::Domain(relay.from.email.domain().to_owned());
        Ok(Mail { relay, hello, partial: Mutex::default() })
    }

    /// One attempt. `now` is in Unix seconds.
    pub(crate) async fn send(
        &self,
        notice: &Notice,
        recipients: &[String],
        subject_prefix: Option<&str>,
        now: i64,
    ) -> Result<(), SendError> {
        if recipients.is_empty() {
            return Err(SendError::NoRecipients);
        }
        let delivery = (notice.id.clone(), recipients.to_vec());
        let mut reached = self.reached(&delivery);
        let (addresses, mut refused) = addresses(recipients);
        let waiting: Vec<Address> =
            addresses.iter().filter(|&address| !reached.contains::<str>(address.as_ref())).cloned().collect();
        if !waiting.is_empty() {
            let message = self.message(notice, &addresses, subject_prefix, now)?;
            let newly_refused = self.hand_over(&message, &waiting).await?;
            let is_refused = |address: &str| newly_refused.iter().any(|(refused, _)| refused == address);
            reached.extend(waiting.iter().map(Address::to_string).filter(|address| !is_refused(address)));
            refused.extend(newly_refused);
        }
        self.remember(delivery, reached, refused.is_empty());
        if refused.is_empty() { Ok(()) } else { Err(SendError::Recipients(listed(&refused))) }
    }

    fn reached(&self, delivery: &Partial) -> HashSet<String> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner).get(delivery).cloned().unwrap_or_default()
    }

    fn remember(&self, delivery: Partial, reached: HashSet<String>, is_complete: bool) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if is_complete || reached.is_empty() {
            partial.remove(&delivery);
            return;
        }
        // What is never completed stays until it is in the way.
        if partial.len() >= PARTIAL_MAX && !partial.contains_key(&delivery) {
            partial.clear();
        }
        partial.insert(delivery, reached);
    }

    /// The message as it goes out.
    fn message(
        &self,
        notice: &Notice,
        to: &[Address],
        subject_prefix: Option<&str>,
        now: i64,
    ) -> Result<Vec<u8>, SendError> {
        let letter = letter::letter(notice, subject_prefix);
        let sent_at = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap_or_default());
        let builder = Message::builder()
            .from(self.relay.from.clone())
            .message_id(Some(message_id(&notice.id, self.relay.from.email.domain())))
            .date(sent_at)
            .subject(letter.subject)
            // RFC 3834: keeps answering machines from answering.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN);
        let to = to.iter().map(|address| Mailbox::new(None, address.clone()));
        let builder: message::MessageBuilder = to.fold(builder, message::MessageBuilder::to);
        let message = builder.body(letter.body).map_err(|error| SendError::Unwritable(Box::new(error)))?;
        Ok(message.formatted())
    }

    /// Hands a message over for these addresses; gives back those that were refused.
    async fn hand_over(&self, message: &[u8], to: &[Address]) -> Result<Refused, SendError> {
        let attempt = async {
            let mut connection = self.connect().await?;
            let refused = self.transfer(&mut connection, message, to).await?;
            Ok((connection, refused))
        };
        let (mut connection, refused) =
            tokio::time::timeout(ATTEMPT, attempt).await.map_err(|_| SendError::TimedOut(ATTEMPT.as_secs()))??;
        // The server has taken the message: however it says goodbye changes nothing.
        drop(tokio::time::timeout(GOODBYE, connection.quit()).await);
        Ok(refused)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let place = (self.relay.host.as_str(), self.relay.port);
        let from_start = match &self.relay.protection {
            Protection::Tls(tls) => Some(tls.clone()),
            Protection::StartTls(_) | Protection::Plain => None,
        };
        let mut connection = AsyncSmtpConnection::connect_tokio1(place, Some(CONNECT), &self.hello, from_start, None)
            .await
            .map_err(failed(SmtpStep::Connect))?;
        if let Protection::StartTls(tls) = &self.relay.protection {
            connection.starttls(tls.clone(), &self.hello).await.map_err(failed(SmtpStep::StartTls))?;
        }
        if let Some(credentials) = &self.relay.credentials {
            connection.auth(&MECHANISMS, credentials).await.map_err(failed(SmtpStep::SignIn))?;
        }
        Ok(connection)
    }

    async fn transfer(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &[u8],
        to: &[Address],
    ) -> Result<Refused, SendError> {
        let from = MailFrom::new(Some(self.relay.from.email.clone()), Vec::new());
        connection.command(from).await.map_err(failed(SmtpStep::Sender))?;
        let mut refused = Vec::new();
        for address in to {
            match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
                Ok(_) => {}
                Err(error) => match error.status() {
                    Some(code) => refused.push((address.to_string(), Some(u16::from(code)))),
                    None => return Err(failed(SmtpStep::Recipient)(error)),
                },
            }
        }
        if refused.len() < to.len() {
            connection.command(Data).await.map_err(failed(SmtpStep::Message))?;
            connection.message(message).await.map_err(failed(SmtpStep::Message))?;
        }
        Ok(refused)
    }
}

/// The recipients that are addresses, each once, and those that are none.
fn addresses(recipients: &[String]) -> (Vec<Address>, Refused) {
    let (mut addresses, mut refused) = (Vec::new(), Vec::new());
    for recipient in recipients {
        match recipient.parse::<Address>() {
            Ok(address) if !is_ascii(&address) => refused.push((recipient.clone(), None)),
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(_) => refused.push((recipient.clone(), None)),
        }
    }
    (addresses, refused)
}

/// Refused addresses in words.
fn listed(refused: &Refused) -> String {
    let words = refused.iter().map(|(address, status)| match status {
        Some(status) => format!("{address} (status {status})"),
        None => format!("`{}` (not a mail address in ASCII)", address.escape_debug()),
    });
    words.collect::<Vec<String>>().join(", ")
}

/// The id of a notice's mails. Ids of notices need no replacing; what is not one cannot break the header.
fn message_id(notice_id: &str, domain: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' }
    };
    format!("<{}@{domain}>", notice_id.chars().map(plain).collect::<String>())
}

/// An error at a step, without anything of what the server wrote but its status.
fn failed(step: SmtpStep) -> impl Fn(smtp::Error) -> SendError {
    move |error| match error.status() {
        Some(code) => SendError::MailStatus { code: u16::from(code), step },
        // This error's own text may quote the server's answer.
        None if error.is_response() => {
            SendError::Mail { step, cause: "the connection ended, or the answer was not SMTP".into() }
        }
        None => SendError::Mail { step, cause: Box::new(error) },
    }
}
