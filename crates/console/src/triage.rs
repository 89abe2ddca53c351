//! Ours: `POST /v1/sallyport/findings/{finding_id}`, somebody says whether a finding is what it was taken for.
//!
//! The body is `{"triage": "right" | "wrong", "reason", "text"}`. A text that was wrongly taken for an attack is let
//! through from then on, by its hash, in its project and channel; one that is an attack after all is not any more. The gate has not
//! kept the text: whoever has it may give it, and then it goes to a file of this installation's own that `sallyport
//! inspect --eval` reads. It is taken only if it is the finding's, by its hash.

use serde_json::{Value, json};
use store::{Act, AllowedText, Finding, FindingTriage, GuardSettings, Project, TextHash, Triage};
use wire::channel::Channel;
use wire::refusal::{Reason, Refusal};

use crate::findings::{TEXT_HASH, show};
use crate::input::Fields;
use crate::{Answer, Call, Console, Event};

/// What kinds of findings in texts begin with.
const INJECTION: &str = "injection.";

/// Where texts of triaged findings go.
pub trait Evaluation: Send + Sync {
    /// SHA-256 of a text.
    fn hash(&self, text: &str) -> TextHash;

    /// Appends a line, durably.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    fn append(&self, line: &str) -> Result<(), String>;
}

impl Console {
    pub(crate) async fn triage_finding(&self, call: &Call<'_>) -> Answer {
        let mut finding = self.finding_by_id(call.param("finding_id")).await?;
        let fields = Fields::of(call)?;
        fields.only(&["triage", "reason", "text"])?;
        let is_right = match fields.required("triage", fields.text("triage")?)?.as_str() {
            "right" => true,
            "wrong" => false,
            _ => return Err(fields.wrong("triage", "must be right or wrong")),
        };
        let triage =
            Triage { is_right, reason: fields.text("reason")?, at: self.now(), by: call.caller.key.id.to_string() };
        let hash = finding.details[TEXT_HASH].as_str().and_then(TextHash::from_hex);
        let project = hash.map(|hash| self.with_text(&finding, hash, is_right)).transpose()?.flatten();
        self.keep_text(&finding, hash, is_right, &fields)?;
        let said =
            json!({"id": finding.id, "triage": if is_right { "right" } else { "wrong" }, "reason": triage.reason});
        let mut events = vec![Event { kind: "finding.triaged", project: finding.project.clone(), payload: said }];
        if let (Some(project), Some(hash)) = (&project, hash) {
            let change = json!({"guards": {"allow": project.guards.allow.len(), TEXT_HASH: hash.to_string()}});
            let payload = json!({"id": project.id.as_str(), "changes_requested": change});
            events.push(Event { kind: "project.updated", project: Some(project.id.clone()), payload });
        }
        let act = FindingTriage { finding: finding.id.clone(), triage: triage.clone(), project };
        self.commit(call.actor(), Act::TriageFinding(Box::new(act)), events).await?;
        finding.triage = Some(triage);
        Ok(show(&finding))
    }

    /// The finding's project with the text let through, or not any more; `None` where that changes nothing.
    fn with_text(&self, finding: &Finding, hash: TextHash, is_right: bool) -> Result<Option<Project>, Refusal> {
        let snapshot = self.snapshot();
        let project = finding.project.as_ref().and_then(|id| snapshot.project(id));
        let Some(project) = project.filter(|project| !project.is_archived()) else { return Ok(None) };
        let mut project = Project::clone(project);
        let channel = finding.details["channel"].as_str().and_then(Channel::from_name);
        let guards = &mut project.guards;
        let (here, anywhere) = (AllowedText { channel, hash }, AllowedText { channel: None, hash });
        let has_changed = match (is_right, channel) {
            // What holds everywhere holds here.
            (true, _) => guards.allow.remove(&here) | guards.allow.remove(&anywhere),
            (false, Some(channel)) if guards.allows(channel, hash) => false,
            (false, _) => guards.allow.insert(here),
        };
        let allow = &guards.allow;
        if allow.len() > GuardSettings::ALLOWED_MAX {
            let words = format!(
                "The project lets {} texts through already, and takes no more. Take some out of its 'allow' list first, or raise its threshold.",
                GuardSettings::ALLOWED_MAX
            );
            return Err(Refusal::new(Reason::Conflict, words));
        }
        Ok(has_changed.then_some(project))
    }

    /// Writes a text down that came with the call.
    fn keep_text(
        &self,
        finding: &Finding,
        hash: Option<TextHash>,
        is_right: bool,
        fields: &Fields,
    ) -> Result<(), Refusal> {
        let text = match fields.value("text") {
            None => return Ok(()),
            Some(Value::String(text)) => text,
            Some(_) => return Err(fields.wrong("text", "must be a string")),
        };
        let Some(evaluation) = &self.evaluation else {
            return Err(fields.wrong("text", "is not kept by this gate: leave it out"));
        };
        if hash != Some(evaluation.hash(text)) {
            return Err(fields.wrong("text", "is not the text of this finding: its SHA-256 is another"));
        }
        let attack = finding.kind.strip_prefix(INJECTION).unwrap_or(&finding.kind);
        let line = json!({
            "text": text,
            "label": u8::from(is_right),
            "kind": if is_right { attack } else { "hard_benign" },
            "channel": finding.details["channel"],
            "source": "triage",
        });
        evaluation.append(&line.to_string()).map_err(|why| {
            let words = "The text could not be written to the evaluation file; nothing was changed. Check the disk, or leave 'text' out.";
            Refusal::new(Reason::StoreUnavailable, words).cause(why)
        })
    }
}
