//! Soft limits: thresholds that warn, and the outbox that carries warnings out.
//!
//! Promises that every store keeps: an alert fires once a window (a unique row), in the transaction that writes the
//! spending that crossed it, together with the notice and its deliveries; a notice keeps its id over all attempts, so
//! that receivers can tell repetitions; what cannot be delivered is not lost but listed as dead.

use async_trait::async_trait;
use keys::Sealed;
use pricing::Nano;
use serde_json::Value;

use crate::ports::StoreError;
use crate::records::ProjectId;

/// A threshold of a month's spending (UTC), OpenAI's `spend_alert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendAlert {
    /// Id, `alert_…`.
    pub id: String,
    /// Whose spending; `None`: the organization's.
    pub project: Option<ProjectId>,
    /// At which amount it fires.
    pub threshold: Nano,
    /// E-mail addresses.
    pub recipients: Vec<String>,
    /// What the mail's subject begins with.
    pub subject_prefix: Option<String>,
    /// When it was made.
    pub created_at: i64,
}

impl SpendAlert {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "alert_";
    /// Kind of the notice that it makes.
    pub const NOTICE_KIND: &'static str = "spend_alert.triggered";
}

/// Where notices go by HTTP, signed per Standard Webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Id, `webhook_…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Where to.
    pub url: String,
    /// The signing secret, sealed under the master key with [`Webhook::seal_name`].
    pub secret: Sealed,
    /// When it was made.
    pub created_at: i64,
}

impl Webhook {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "webhook_";

    /// The name that the secret is sealed under.
    pub fn seal_name(id: &str) -> String {
        format!("webhook/{id}")
    }
}

/// Something that people or machines outside are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Stable id, `notice_…`: the same at every attempt, in mail and webhooks alike.
    pub id: String,
    /// Type, `spend_alert.triggered`.
    pub kind: String,
    /// When it happened, Unix seconds.
    pub created_at: i64,
    /// What happened. No secrets.
    pub payload: Value,
}

impl Notice {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "notice_";
}

/// Where a notice goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// By mail.
    Email {
        /// Addresses.
        recipients: Vec<String>,
        /// What the subject begins with.
        subject_prefix: Option<String>,
    },
    /// To a webhook.
    Webhook {
        /// Its id.
        id: String,
    },
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// To be tried, again or for the first time.
    Pending,
    /// Done.
    Delivered,
    /// Given up after the last attempt; it can be taken up again by hand.
    Dead,
}

impl DeliveryState {
    /// The word in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
        }
    }

    /// The state with this name.
    pub fn from_word(word: &str) -> Option<DeliveryState> {
        [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Dead]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// One notice on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Number in the store.
    pub id: i64,
    /// What is told.
    pub notice: Notice,
    /// Where.
    pub channel: Channel,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, Unix seconds.
    pub next_at: i64,
    /// What went wrong last. No secrets.
    pub last_error: Option<String>,
}

/// What waits to be told.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Puts a notice in with a delivery for each channel; a second time with the same id changes nothing.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn enqueue(&self, notice: &Notice, channels: &[Channel]) -> Result<(), StoreError>;

    /// Pending deliveries whose time has come, the oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn due(&self, now: i64, at_most: u32) -> Result<Vec<Delivery>, StoreError>;

    /// Notes that a delivery arrived.
    ///
    /// # Errors
    /// When nothing can be written: then it will be repeated, with the same notice id.
    async fn delivered(&self, delivery: i64) -> Result<(), StoreError>;

    /// Notes that an attempt failed; without a next time the delivery is dead.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn failed(&self, delivery: i64, error: &str, next_at: Option<i64>) -> Result<(), StoreError>;

    /// Deliveries in a state, the newest first, before the one with the number `before`.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn deliveries(
        &self,
        state: Option<DeliveryState>,
        before: Option<i64>,
        at_most: u32,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Takes a dead delivery up again, from its first attempt; whether there was one.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn revive(&self, delivery: i64, now: i64) -> Result<bool, StoreError>;
}
