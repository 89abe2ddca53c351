//! The outbox: what was told, what waits, what could not be delivered; and a notice to try a channel with.

use serde_json::{Value, json};
use store::{Channel, Delivery, DeliveryState, Notice};
use wire::refusal::{Reason, Refusal};

use crate::alerts::is_address;
use crate::input::{Fields, Sizes, invalid, query, query_number};
use crate::{Answer, Call, Console, no_such, unavailable};

const PAGES: Sizes = Sizes { min: 1, default: 20, max: 100 };

fn show(delivery: &Delivery) -> Value {
    let channel = match &delivery.channel {
        Channel::Email { recipients, .. } => json!({"type": "email", "recipients": recipients}),
        Channel::Webhook { id } => json!({"type": "webhook", "webhook_id": id}),
    };
    json!({
        "object": "sallyport.notice.delivery",
        "id": delivery.id,
        "notice": {
            "id": delivery.notice.id, "type": delivery.notice.kind, "created_at": delivery.notice.created_at,
            "data": delivery.notice.payload,
        },
        "channel": channel,
        "state": delivery.state.word(),
        "attempts": delivery.attempts,
        "next_at": Some(delivery.next_at).filter(|_| delivery.state == DeliveryState::Pending),
        "last_error": delivery.last_error,
    })
}

impl Console {
    /// Deliveries, the newest first; `state=dead` is the list of what was given up.
    pub(crate) async fn list_notices(&self, call: &Call<'_>) -> Answer {
        let limit = PAGES.of(call)?;
        let state = match query(call, "state")? {
            None => None,
            Some(word) => Some(
                DeliveryState::from_word(&word)
                    .ok_or_else(|| invalid("state", "'state' must be pending, delivered or dead."))?,
            ),
        };
        let after = query_number(call, "after")?;
        let at_most = u32::try_from(limit + 1).unwrap_or(u32::MAX);
        let deliveries = self.money.outbox.deliveries(state, after, at_most).await;
        let mut deliveries = deliveries.map_err(|error| unavailable(&error))?;
        let has_more = deliveries.len() > limit;
        deliveries.truncate(limit);
        let id = |delivery: Option<&Delivery>| delivery.map(|delivery| delivery.id.to_string());
        Ok(json!({
            "object": "list",
            "first_id": id(deliveries.first()),
            "last_id": id(deliveries.last()),
            "has_more": has_more,
            "data": deliveries.iter().map(show).collect::<Vec<_>>(),
        }))
    }

    /// Takes a dead delivery up again.
    pub(crate) async fn retry_notice(&self, call: &Call<'_>) -> Answer {
        let id = call.param("delivery_id");
        let number: i64 = id.parse().map_err(|_| no_such("delivery", id))?;
        if !self.money.outbox.revive(number, self.now()).await.map_err(|error| unavailable(&error))? {
            let words =
                format!("No dead delivery has the id '{number}': only what was given up can be taken up again.");
            return Err(Refusal::new(Reason::ObjectNotFound, words));
        }
        (self.money.wake_notifier)();
        Ok(json!({"object": "sallyport.notice.delivery", "id": number, "state": DeliveryState::Pending.word()}))
    }

    /// Sends a notice that says that it is a test.
    pub(crate) async fn test_notice(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&["webhook_id", "email"])?;
        let channel = match (fields.text("webhook_id")?, fields.text("email")?) {
            (Some(id), None) => match self.snapshot().webhooks.contains_key(&id) {
                true => Channel::Webhook { id },
                false => return Err(no_such("webhook", &id).param("webhook_id")),
            },
            (None, Some(address)) if is_address(&address) => {
                Channel::Email { recipients: vec![address], subject_prefix: None }
            }
            (None, Some(_)) => return Err(fields.wrong("email", "must be a mail address")),
            _ => return Err(invalid("webhook_id", "Name one of 'webhook_id' and 'email'.")),
        };
        let notice = Notice {
            id: self.new_id(Notice::ID_PREFIX),
            kind: notify::TEST_NOTICE_KIND.to_owned(),
            created_at: self.now(),
            payload: json!({"message": "This is a test. Alerts of this gate reach you here.", "asked_by": call.caller.key.id.as_str()}),
        };
        self.money.outbox.enqueue(&notice, &[channel]).await.map_err(|error| unavailable(&error))?;
        (self.money.wake_notifier)();
        Ok(json!({"object": "sallyport.notice", "id": notice.id, "type": notice.kind, "created_at": notice.created_at}))
    }
}
