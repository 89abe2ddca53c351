//! OpenAI's `spend_alerts`: thresholds of a month's spending that tell people. One fires once a month, in the
//! transaction that writes the spending.

use serde_json::{Value, json};
use store::{Act, ProjectId, SpendAlert};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, Sizes, deleted, invalid, page_of, query};
use crate::limits::currency;
use crate::spend_limits::monthly;
use crate::{Answer, Call, Console, Event, amounts, no_such};

/// Most alerts of a gate: each is looked at whenever spending is written.
const ALERTS_MAX: usize = 1_000;
/// Most recipients of one alert.
const RECIPIENTS_MAX: usize = 50;
/// Longest mail address, as RFC 5321 has it.
const ADDRESS_BYTES_MAX: usize = 254;
/// The API takes pages of none.
const PAGES: Sizes = Sizes { min: 0, default: 20, max: 100 };

fn kind_of(project: Option<&ProjectId>) -> &'static str {
    if project.is_some() { "project" } else { "organization" }
}

fn show(alert: &SpendAlert) -> Value {
    json!({
        "id": alert.id,
        "object": format!("{}.spend_alert", kind_of(alert.project.as_ref())),
        "threshold_amount": amounts::cents(alert.threshold),
        "currency": "USD",
        "interval": "month",
        "notification_channel": {
            "type": "email", "recipients": alert.recipients, "subject_prefix": alert.subject_prefix,
        },
    })
}

/// Whether this can be a mail address, and can stand in a header of a mail.
pub fn is_address(text: &str) -> bool {
    let is_fine = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',' | ';' | '"');
    let parts = text.rsplit_once('@');
    text.len() <= ADDRESS_BYTES_MAX
        && text.chars().all(is_fine)
        && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !local.contains('@'))
}

/// What a call says about an alert.
fn read(alert: &mut SpendAlert, fields: &Fields) -> Result<(), Refusal> {
    alert.threshold = fields.required("threshold_amount", fields.cents("threshold_amount", 0)?)?;
    fields.required("currency", fields.value("currency"))?;
    currency(fields)?;
    monthly(fields)?;
    let channel = fields.required("notification_channel", fields.object("notification_channel")?)?;
    if channel.required("type", channel.text("type")?)? != "email" {
        let words = "must be email. Webhooks (/v1/sallyport/webhooks) are told of every alert anyway";
        return Err(channel.wrong("type", words));
    }
    let recipients = channel.required("recipients", channel.value("recipients"))?;
    let wrong = || channel.wrong("recipients", &format!("must be a list of at most {RECIPIENTS_MAX} mail addresses"));
    let list = recipients.as_array().filter(|list| list.len() <= RECIPIENTS_MAX).ok_or_else(wrong)?;
    let address = |value: &Value| value.as_str().filter(|text| is_address(text)).map(str::to_owned).ok_or_else(wrong);
    alert.recipients = list.iter().map(address).collect::<Result<_, _>>()?;
    alert.subject_prefix = channel.text("subject_prefix")?;
    if alert.subject_prefix.as_deref().is_some_and(|prefix| prefix.chars().any(char::is_control)) {
        return Err(channel.wrong("subject_prefix", "must be a single line of text"));
    }
    Ok(())
}

impl Console {
    /// Whose alerts the path means.
    fn alerts_of(&self, call: &Call<'_>) -> Result<Option<ProjectId>, Refusal> {
        match call.param("project_id") {
            "" => Ok(None),
            _ => Ok(Some(self.project(call)?.id.clone())),
        }
    }

    fn alert(&self, call: &Call<'_>) -> Result<SpendAlert, Refusal> {
        let (of, id) = (self.alerts_of(call)?, call.param("alert_id"));
        let alert = self.snapshot().alerts.get(id).filter(|alert| alert.project == of).cloned();
        alert.ok_or_else(|| no_such("spend alert", id))
    }

    pub(crate) fn list_alerts(&self, call: &Call<'_>) -> Answer {
        let of = self.alerts_of(call)?;
        let snapshot = self.snapshot();
        let mut alerts: Vec<&SpendAlert> = snapshot.alerts.values().filter(|alert| alert.project == of).collect();
        alerts.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        match query(call, "order")?.as_deref() {
            None | Some("asc") => {}
            Some("desc") => alerts.reverse(),
            Some(_) => return Err(invalid("order", "'order' must be asc or desc.")),
        }
        page_of(call, PAGES, &alerts, |alert| &alert.id, |alert| show(alert))
    }

    pub(crate) fn retrieve_alert(&self, call: &Call<'_>) -> Answer {
        self.alert(call).map(|alert| show(&alert))
    }

    pub(crate) async fn create_alert(&self, call: &Call<'_>) -> Answer {
        let project = match call.param("project_id") {
            "" => None,
            _ => Some(self.active_project(call)?.id.clone()),
        };
        if self.snapshot().alerts.len() >= ALERTS_MAX {
            let words = format!("There are {ALERTS_MAX} spend alerts already: delete some.");
            return Err(Refusal::new(Reason::Conflict, words));
        }
        let mut alert = SpendAlert {
            id: self.new_id(SpendAlert::ID_PREFIX),
            project,
            threshold: pricing::Nano::ZERO,
            recipients: Vec::new(),
            subject_prefix: None,
            created_at: self.now(),
        };
        read(&mut alert, &Fields::of(call)?)?;
        self.put_alert(call, alert).await
    }

    pub(crate) async fn update_alert(&self, call: &Call<'_>) -> Answer {
        let mut alert = self.alert(call)?;
        read(&mut alert, &Fields::of(call)?)?;
        self.put_alert(call, alert).await
    }

    async fn put_alert(&self, call: &Call<'_>, alert: SpendAlert) -> Answer {
        let shown = show(&alert);
        let payload = json!({"id": alert.id, "changes_requested": shown});
        let event = Event { kind: "spend_alert.updated", project: alert.project.clone(), payload };
        self.commit(call.actor(), Act::PutAlert(alert), vec![event]).await?;
        Ok(shown)
    }

    pub(crate) async fn delete_alert(&self, call: &Call<'_>) -> Answer {
        let alert = self.alert(call)?;
        let payload = json!({"id": alert.id, "data": show(&alert)});
        let event = Event { kind: "spend_alert.deleted", project: alert.project.clone(), payload };
        let gone = deleted(&format!("{}.spend_alert.deleted", kind_of(alert.project.as_ref())), &alert.id);
        self.commit(call.actor(), Act::DeleteAlert(alert), vec![event]).await?;
        Ok(gone)
    }
}
