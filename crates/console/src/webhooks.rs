//! Where notices go by HTTP. The signing secret is in the one answer that makes the webhook, and sealed at rest.

use serde_json::{Value, json};
use store::{Act, Webhook};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, Sizes, deleted, invalid, page_of};
use crate::{Answer, Call, Console, Event, no_such};

/// Most webhooks: each is told of every notice.
const WEBHOOKS_MAX: usize = 32;
/// Longest address.
const URL_BYTES_MAX: usize = 2_048;
const PAGES: Sizes = Sizes { min: 1, default: 20, max: 100 };

fn show(webhook: &Webhook) -> Value {
    json!({
        "object": "sallyport.webhook",
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "created_at": webhook.created_at,
    })
}

impl Console {
    pub(crate) fn list_webhooks(&self, call: &Call<'_>) -> Answer {
        let snapshot = self.snapshot();
        let mut webhooks: Vec<&Webhook> = snapshot.webhooks.values().collect();
        webhooks.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        page_of(call, PAGES, &webhooks, |webhook| &webhook.id, |webhook| show(webhook))
    }

    pub(crate) async fn create_webhook(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&["name", "url"])?;
        let name = fields.name()?;
        let url = fields.required("url", fields.value("url"))?.as_str().unwrap_or_default().to_owned();
        if url.len() > URL_BYTES_MAX {
            return Err(fields.wrong("url", &format!("is longer than {URL_BYTES_MAX} bytes")));
        }
        notify::checked_url(&url).map_err(|fault| invalid("url", format!("'url' cannot be a webhook's: {fault}.")))?;
        if self.snapshot().webhooks.len() >= WEBHOOKS_MAX {
            let words = format!("There are {WEBHOOKS_MAX} webhooks already: delete some.");
            return Err(Refusal::new(Reason::Conflict, words));
        }
        let secret = notify::new_secret(&*self.random);
        let id = self.new_id(Webhook::ID_PREFIX);
        let sealed = self.money.master_key.seal(&Webhook::seal_name(&id), secret.expose().as_bytes(), &*self.random);
        let webhook = Webhook { id, name, url, secret: sealed, created_at: self.now() };
        let mut shown = show(&webhook);
        let payload = json!({"id": webhook.id, "data": {"name": webhook.name, "url": webhook.url}});
        let event = Event { kind: "webhook.created", project: None, payload };
        self.commit(call.actor(), Act::CreateWebhook(webhook), vec![event]).await?;
        shown["secret"] = secret.expose().into();
        Ok(shown)
    }

    pub(crate) async fn delete_webhook(&self, call: &Call<'_>) -> Answer {
        let id = call.param("webhook_id");
        let snapshot = self.snapshot();
        let webhook = snapshot.webhooks.get(id).ok_or_else(|| no_such("webhook", id))?;
        let payload = json!({"id": id, "data": {"name": webhook.name, "url": webhook.url}});
        let event = Event { kind: "webhook.deleted", project: None, payload };
        self.commit(call.actor(), Act::DeleteWebhook(id.to_owned()), vec![event]).await?;
        Ok(deleted("sallyport.webhook.deleted", id))
    }
}
