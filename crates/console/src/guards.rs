//! Ours: `/v1/sallyport/projects/{project_id}/guards`, what a project's guards do with the texts of its requests.
//!
//! A call names what it changes; null goes back to the default. `allow` is the whole list of texts that are let through
//! unread, each by the SHA-256 of its bytes in UTF-8, wherever it stands or, as `untrusted:` and the hash, in one channel.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use store::{
    Act, AllowedText, ChannelGuard, GuardMode, GuardSettings, OnFailure, OnUnread, Project, Spotlight, Threshold,
};
use wire::channel::Channel;
use wire::refusal::Refusal;

use crate::input::Fields;
use crate::{Answer, Call, Console, Event};

const KNOWN: [&str; 8] = ["system", "user", "untrusted", "spotlight", "parallel", "on_failure", "on_unread", "allow"];

fn show_threshold(threshold: Threshold) -> Value {
    match threshold {
        Threshold::Score(millionths) => json!(f64::from(millionths) / f64::from(Threshold::SCORE_MAX)),
        level => level.name().into(),
    }
}

fn show(project: &Project) -> Value {
    let guards = &project.guards;
    let mut shown = json!({
        "object": "sallyport.project.guards",
        "project_id": project.id.as_str(),
        "spotlight": guards.spotlight.word(),
        "parallel": guards.parallel,
        "on_failure": guards.on_failure.word(),
        "on_unread": guards.on_unread.word(),
        "allow": guards.allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    for channel in [Channel::System, Channel::User, Channel::Untrusted] {
        let guard = guards.channel(channel);
        shown[channel.as_str()] = json!({"mode": guard.mode.word(), "threshold": show_threshold(guard.threshold)});
    }
    shown
}

impl Console {
    pub(crate) fn retrieve_guards(&self, call: &Call<'_>) -> Answer {
        self.project(call).map(|project| show(&project))
    }

    pub(crate) async fn update_guards(&self, call: &Call<'_>) -> Answer {
        let mut project = Project::clone(&*self.active_project(call)?);
        let fields = Fields::of(call)?;
        fields.only(&KNOWN)?;
        read(&mut project.guards, &fields)?;
        let shown = show(&project);
        let mut told = shown.clone();
        // A list of thousands says nothing in the audit log; how many there are, and what came, does.
        told["allow"] = project.guards.allow.len().into();
        let payload = json!({"id": project.id.as_str(), "changes_requested": {"guards": told}});
        let event = Event { kind: "project.updated", project: Some(project.id.clone()), payload };
        self.commit(call.actor(), Act::UpdateProject(project), vec![event]).await?;
        Ok(shown)
    }
}

/// Takes over what a call names; null goes back to the default.
fn read(guards: &mut GuardSettings, fields: &Fields) -> Result<(), Refusal> {
    for (name, guard) in
        [("system", &mut guards.system), ("user", &mut guards.user), ("untrusted", &mut guards.untrusted)]
    {
        if fields.has(name) {
            match fields.object(name)? {
                Some(given) => read_channel(guard, &given)?,
                None => *guard = ChannelGuard::default(),
            }
        }
    }
    if fields.has("spotlight") {
        let words = "must be off, delimit or datamark";
        guards.spotlight = word(fields, "spotlight", words, Spotlight::from_word)?;
    }
    if fields.has("parallel") {
        guards.parallel = fields.bool("parallel")?.unwrap_or_default();
    }
    if fields.has("on_failure") {
        guards.on_failure = word(fields, "on_failure", "must be closed or open", OnFailure::from_word)?;
    }
    if fields.has("on_unread") {
        guards.on_unread = word(fields, "on_unread", "must be open or closed", OnUnread::from_word)?;
    }
    if fields.has("allow") {
        guards.allow = hashes(fields)?;
    }
    Ok(())
}

fn read_channel(guard: &mut ChannelGuard, given: &Fields) -> Result<(), Refusal> {
    given.only(&["mode", "threshold"])?;
    if given.has("mode") {
        guard.mode = word(given, "mode", "must be off, observe or block", GuardMode::from_word)?;
    }
    if given.has("threshold") {
        guard.threshold = threshold(given)?;
    }
    Ok(())
}

/// A field that is one of a few words; null is the default.
fn word<T: Default>(fields: &Fields, name: &str, wrong: &str, read: fn(&str) -> Option<T>) -> Result<T, Refusal> {
    match fields.text(name)? {
        None => Ok(T::default()),
        Some(word) => read(&word).ok_or_else(|| fields.wrong(name, wrong)),
    }
}

/// A level by its name, or a score.
fn threshold(fields: &Fields) -> Result<Threshold, Refusal> {
    let words = "must be \"0.1%\", \"1%\" or \"5%\" (of harmless texts that are taken for attacks), \"default\", or a score from 0 to 1";
    let wrong = || fields.wrong("threshold", words);
    match fields.value("threshold") {
        None => Ok(Threshold::Default),
        Some(Value::String(name)) => Threshold::from_name(name).ok_or_else(wrong),
        Some(Value::Number(score)) => {
            let score = score.as_f64().filter(|score| (0.0..=1.0).contains(score)).ok_or_else(wrong)?;
            let millionths = (score * f64::from(Threshold::SCORE_MAX)).round();
            // Within its bounds, as the score is.
            Ok(Threshold::Score(millionths as u32))
        }
        Some(_) => Err(wrong()),
    }
}

fn hashes(fields: &Fields) -> Result<BTreeSet<AllowedText>, Refusal> {
    let Some(given) = fields.value("allow") else { return Ok(BTreeSet::new()) };
    let max = GuardSettings::ALLOWED_MAX;
    let wrong = || {
        let words = format!(
            "must be a list of at most {max} SHA-256 hashes of 64 hexadecimal digits each, with 'system:', 'user:' or 'untrusted:' in front where one holds for that channel only"
        );
        fields.wrong("allow", &words)
    };
    let list = given.as_array().filter(|list| list.len() <= max).ok_or_else(wrong)?;
    list.iter().map(|hash| hash.as_str().and_then(AllowedText::from_text).ok_or_else(wrong)).collect()
}
