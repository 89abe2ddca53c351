//! What the gate noticed: listed, told, and acted upon where a key says so.
//!
//! Promises: the same thing in the same hour is one finding with a count, and new findings of a type are bounded by the
//! hour, so that a flood neither fills the database nor anybody's mailbox; each finding that is not low is told once to
//! every webhook.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use store::{
    Actor, BrowserUse, Channel, Finding, FindingFilter, Key, KeyEntry, KeyId, Notice, ProjectId, Severity, TextHash,
};
use wire::refusal::Refusal;

use crate::input::{invalid, list, query, query_number};
use crate::{Answer, Call, Console, input, no_such, unavailable};

/// Something that the data path noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// Type of the finding.
    pub kind: &'static str,
    /// How bad.
    pub severity: Severity,
    /// When.
    pub at: i64,
    /// The project concerned.
    pub project: Option<ProjectId>,
    /// The key concerned.
    pub key: Option<KeyId>,
    /// Where it came from.
    pub address: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The web origin.
    pub origin: Option<String>,
    /// Whether a key that says so is suspended for it.
    pub is_browser_use: bool,
    /// How often.
    pub count: u64,
    /// The text that was found in, where that is what was noticed.
    pub text: Option<Box<NoticedText>>,
}

/// A text that something was found in; not its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticedText {
    /// Its SHA-256.
    pub hash: TextHash,
    /// Whose words it is.
    pub channel: &'static str,
    /// More of it: place, score, action.
    pub details: Value,
}

const HOUR_SECONDS: i64 = 3_600;
/// New findings of one type in an hour that are told apart; whoever makes up origins and addresses makes no more.
const NEW_AN_HOUR_MAX: u32 = 200;

/// New findings in texts in an hour that are told apart, of all projects together.
const NEW_TEXTS_AN_HOUR_MAX: u32 = 2_000;

/// How many new findings of each type this hour has had; of texts, each project for itself.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    hour: i64,
    counts: HashMap<(&'static str, Option<ProjectId>), u32>,
    texts: u32,
}

impl Fresh {
    /// What a finding is counted under.
    fn name(noticed: &Noticed) -> (&'static str, Option<ProjectId>) {
        (noticed.kind, noticed.project.clone().filter(|_| noticed.text.is_some()))
    }

    fn has_room(&mut self, noticed: &Noticed, hour: i64) -> bool {
        if self.hour != hour {
            *self = Fresh { hour, ..Fresh::default() };
        }
        let is_full = noticed.text.is_some() && self.texts >= NEW_TEXTS_AN_HOUR_MAX;
        !is_full && self.counts.get(&Fresh::name(noticed)).copied().unwrap_or_default() < NEW_AN_HOUR_MAX
    }

    fn count(&mut self, noticed: &Noticed) {
        *self.counts.entry(Fresh::name(noticed)).or_default() += 1;
        self.texts += u32::from(noticed.text.is_some());
    }
}

pub(crate) fn show(finding: &Finding) -> Value {
    json!({
        "object": "sallyport.finding",
        "id": finding.id,
        "type": finding.kind,
        "severity": finding.severity.word(),
        "first_at": finding.first_at,
        "last_at": finding.last_at,
        "count": finding.count,
        "project_id": finding.project.as_ref().map(ProjectId::as_str),
        "key_id": finding.key.as_ref().map(KeyId::as_str),
        "address": finding.address,
        "details": finding.details,
        "triage": finding.triage.as_ref().map(|triage| {
            let word = if triage.is_right { "right" } else { "wrong" };
            json!({"verdict": word, "reason": triage.reason, "at": triage.at, "by": triage.by})
        }),
    })
}

/// Where a finding's details have the hash of the text that it is about.
pub(crate) const TEXT_HASH: &str = "text_sha256";

fn project_of(noticed: &Noticed) -> &str {
    noticed.project.as_ref().map_or("", ProjectId::as_str)
}

impl Console {
    pub(crate) async fn list_findings(&self, call: &Call<'_>) -> Answer {
        let limit = input::limit(call)?;
        let filter = FindingFilter {
            kind: query(call, "type")?,
            project: query(call, "project_id")?.map(ProjectId::new),
            key: query(call, "key_id")?.map(KeyId::new),
            since: query_number(call, "since")?,
            after: query(call, "after")?,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let found = self.keeping.findings.findings(&filter).await.map_err(|error| unavailable(&error))?;
        let (found, has_more) = found.ok_or_else(|| invalid("after", "No finding has the id in 'after'."))?;
        Ok(list(found.iter().map(show).collect(), has_more))
    }

    pub(crate) async fn retrieve_finding(&self, call: &Call<'_>) -> Answer {
        self.finding_by_id(call.param("finding_id")).await.map(|finding| show(&finding))
    }

    /// A finding, or 404.
    pub(crate) async fn finding_by_id(&self, id: &str) -> Result<Finding, Refusal> {
        let found = self.keeping.findings.finding(id).await.map_err(|error| unavailable(&error))?;
        found.ok_or_else(|| no_such("finding", id))
    }

    /// Takes in what was noticed: a finding, a notice of a new one, and the suspension that the key's owner asked for.
    ///
    /// # Errors
    /// When it could not all be written; then it may be taken in again.
    pub async fn take_in(&self, noticed: &Noticed) -> Result<(), Refusal> {
        let finding = self.finding(noticed);
        let is_new = self.keeping.findings.note(&finding).await.map_err(|error| unavailable(&error))?;
        if is_new {
            self.keeping.fresh().count(noticed);
            // What anybody can cause without a key is there to be looked up, not to wake people.
            if finding.severity > Severity::Low {
                self.tell_of(&finding).await;
            }
        }
        if noticed.is_browser_use {
            let _one_at_a_time = self.writing.lock().await;
            let snapshot = self.snapshot();
            let entry = noticed.key.as_ref().and_then(|id| snapshot.key_by_id(id));
            let is_meant = |entry: &&Arc<KeyEntry>| {
                let is_last = || entry.key.project.is_none() && self.refuse_last_admin_key(&entry.key).is_err();
                entry.key.browser_use == BrowserUse::Suspend && !is_last()
            };
            if let Some(entry) = entry.filter(is_meant) {
                let from = noticed.origin.as_deref().unwrap_or("an unnamed origin");
                self.suspend(Actor::Local, &entry.key, format!("it was used in a browser ({from})")).await?;
            }
        }
        Ok(())
    }

    fn finding(&self, noticed: &Noticed) -> Finding {
        let hour = noticed.at - noticed.at.rem_euclid(HOUR_SECONDS);
        let has_room = self.keeping.fresh().has_room(noticed, hour);
        let (who, what) = match (&noticed.text, has_room) {
            // The same text again is the same finding, whoever sent it; of those over the bound there is one a project.
            (Some(text), true) => (project_of(noticed), format!("{} {}", text.channel, text.hash)),
            (Some(_), false) => (project_of(noticed), "others".to_owned()),
            // Where a key is concerned, one address of a botnet is like another.
            (None, true) => {
                let who = noticed.key.as_ref().map_or(noticed.address.as_str(), KeyId::as_str);
                (who, noticed.origin.clone().unwrap_or_default())
            }
            (None, false) => ("others", String::new()),
        };
        let name = self.pepper.digest(&format!("finding\n{}\n{who}\n{what}\n{hour}", noticed.kind));
        let id: String = name.as_bytes()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut details = json!({"origin": noticed.origin, "user_agent": noticed.user_agent});
        if let (Some(text), Value::Object(details)) = (&noticed.text, &mut details) {
            details.insert(TEXT_HASH.to_owned(), text.hash.to_string().into());
            details.insert("channel".to_owned(), text.channel.into());
            details.extend(text.details.as_object().cloned().unwrap_or_default());
        }
        Finding {
            id: format!("{}{id}", Finding::ID_PREFIX),
            kind: noticed.kind.to_owned(),
            severity: noticed.severity,
            first_at: noticed.at,
            last_at: noticed.at,
            count: noticed.count,
            project: noticed.project.clone(),
            key: noticed.key.clone(),
            address: Some(noticed.address.clone()),
            details,
            triage: None,
        }
    }

    async fn tell_of(&self, finding: &Finding) {
        let notice = Notice {
            id: finding.id.replacen(Finding::ID_PREFIX, Notice::ID_PREFIX, 1),
            kind: "finding.created".to_owned(),
            created_at: finding.first_at,
            payload: show(finding),
        };
        self.enqueue(&notice).await;
    }

    /// Tells every webhook of something in a key's life. Never the secret.
    pub(crate) async fn tell(&self, kind: &str, key: &Key, more: Value) {
        let mut payload = json!({
            "key_id": key.id.as_str(), "name": key.name, "kind": key.kind.word(),
            "project_id": key.project.as_ref().map(ProjectId::as_str),
        });
        if let (Value::Object(payload), Value::Object(more)) = (&mut payload, more) {
            payload.extend(more);
        }
        let id = self.new_id(Notice::ID_PREFIX);
        self.enqueue(&Notice { id, kind: kind.to_owned(), created_at: self.now(), payload }).await;
    }

    /// Puts a notice on its way to every webhook. What cannot be put there is logged: the act that it tells of is done
    /// and audited.
    pub(crate) async fn enqueue(&self, notice: &Notice) {
        let channels: Vec<Channel> =
            self.snapshot().webhooks.keys().map(|id| Channel::Webhook { id: id.clone() }).collect();
        if channels.is_empty() {
            return;
        }
        match self.money.outbox.enqueue(notice, &channels).await {
            Ok(()) => (self.money.wake_notifier)(),
            Err(error) => tracing::error!(%error, kind = notice.kind, "a notice could not be put on its way"),
        }
    }
}
