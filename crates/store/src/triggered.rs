//! What a notice of a passed spend alert says: written by the store that fires it, read by whoever carries it out.

use crate::alerts::{Notice, SpendAlert};
use crate::records::ProjectId;
use pricing::Nano;
use serde_json::{Value, json};

/// The payload of a notice of the kind [`SpendAlert::NOTICE_KIND`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendAlertTriggered {
    /// The alert's id.
    pub alert_id: String,
    /// Whose spending; `None`: the organization's.
    pub project_id: Option<ProjectId>,
    /// The project's name, where the writer knew it.
    pub project_name: Option<String>,
    /// At which amount it fires.
    pub threshold: Nano,
    /// What was spent in the window when it fired.
    pub spent: Nano,
    /// When the window, a month, began; Unix seconds.
    pub window_start: i64,
}

impl SpendAlertTriggered {
    /// As it stands in the notice and in webhooks: whole cents as in OpenAI's objects, and beside them the exact
    /// amounts.
    pub fn payload(&self) -> Value {
        json!({
            "alert_id": self.alert_id,
            "project_id": self.project_id.as_ref().map(ProjectId::as_str),
            "project_name": self.project_name,
            "interval": "month",
            "window_start": self.window_start,
            "currency": "USD",
            "threshold_amount": self.threshold.0 / Nano::PER_CENT,
            "spent_amount": self.spent.0 / Nano::PER_CENT,
            "threshold_nanousd": self.threshold.0,
            "spent_nanousd": self.spent.0,
        })
    }

    /// Reads a notice; `None` when it tells of something else, or not in this form.
    pub fn read(notice: &Notice) -> Option<SpendAlertTriggered> {
        if notice.kind != SpendAlert::NOTICE_KIND {
            return None;
        }
        let text = |field: &str| notice.payload[field].as_str().map(str::to_owned);
        let amount = |field: &str| notice.payload[field].as_u64().map(Nano);
        Some(SpendAlertTriggered {
            alert_id: text("alert_id")?,
            project_id: text("project_id").map(ProjectId::new),
            project_name: text("project_name"),
            threshold: amount("threshold_nanousd")?,
            spent: amount("spent_nanousd")?,
            window_start: notice.payload["window_start"].as_i64()?,
        })
    }
}
