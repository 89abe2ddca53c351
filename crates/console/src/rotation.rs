//! Rotation of upstream keys, without a request that fails: a new service account with its key comes into force, the old
//! key's requests finish, the old service account is deleted. (Keys of service accounts cannot be deleted by themselves.)
//!
//! | state | what is done next | if the process ends before that is written down |
//! |---|---|---|
//! | creating | the account is made under a name that is written down; its key is sealed | an account of that name is deleted, and made again: its key was lost with the answer |
//! | verifying | the new key is tried until the upstream knows it; then it is in force and the old one drains | it is tried again |
//! | expiring | the old key is given an expiry, where the upstream has that: it dies even if the gate never comes back | it is given one again |
//! | draining | requests under way finish with the old key, for [`DRAIN_SECONDS_MAX`] at most | a new process has none |
//! | deleting | the old account is deleted, and the old key leaves the vault | an account that is gone is as good as deleted |
//! | abandoning | what was made is deleted; the old key was in force all the time | it is deleted again |
//!
//! Promises: every step is written down, with its audit event, before the next one is taken; at each moment one of the
//! two keys is in force; what fails is tried again, at growing distances; what cannot be done says why.
//!
//! Left out: the calls themselves ([`UpstreamAdministration`]) and the beat: whoever owns the console calls
//! [`Console::advance_rotations`].

mod attempts;
mod turn;

use async_trait::async_trait;
use keys::Secret;
use serde_json::{Value, json};
use store::{Act, Actor, Rotation, RotationState, RotationStep, Upstream, UpstreamKey, UpstreamKeyState};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, page_of};
use crate::upstreams::{PAGES, show_rotation};
use crate::{Answer, Call, Console, Event, upstream_keys};
pub(crate) use attempts::Attempts;
use turn::{Step, Turn};

/// How long requests under way may go on with the old key: as long as the SDKs wait for an answer, and its stream as
/// long again.
pub const DRAIN_SECONDS_MAX: i64 = 1_200;
/// How often a service account is asked for before it is given up.
const CREATE_ATTEMPTS_MAX: u32 = 6;
/// After a rotation by schedule that failed, the next begins so much later.
const SCHEDULE_RETRY_SECONDS: i64 = 3_600;
/// Finished rotations of an upstream that are kept.
const ROTATIONS_KEPT: usize = 20;
const DAY_SECONDS: i64 = 86_400;

/// A service account that was made upstream.
pub struct NewAccount {
    /// The upstream's id of it.
    pub id: String,
    /// The upstream's id of its key.
    pub key_id: String,
    /// Its key.
    pub key: Secret,
}

/// Why a call of the upstream's Administration API failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdministrationFault {
    /// In words. No secrets.
    pub words: String,
    /// Whether the same call may succeed later.
    pub is_passing: bool,
}

/// An upstream's Administration API. Each call speaks for the upstream's own administration.
#[async_trait]
pub trait UpstreamAdministration: Send + Sync {
    /// Makes a service account.
    ///
    /// # Errors
    /// Then it may have been made all the same.
    async fn create_account(&self, upstream: &Upstream, name: &str) -> Result<NewAccount, AdministrationFault>;

    /// Ids of service accounts of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn accounts_named(&self, upstream: &Upstream, name: &str) -> Result<Vec<String>, AdministrationFault>;

    /// Deletes a service account; one that is not there is as good as deleted.
    ///
    /// # Errors
    /// Then it may have been deleted all the same.
    async fn delete_account(&self, upstream: &Upstream, account: &str) -> Result<(), AdministrationFault>;

    /// Gives a key an expiry.
    ///
    /// # Errors
    /// Where the upstream does not.
    async fn expire_key(&self, upstream: &Upstream, key_id: &str, seconds: i64) -> Result<(), AdministrationFault>;

    /// Whether the upstream knows a key, as it is in the vault.
    ///
    /// # Errors
    /// When nobody can say.
    async fn key_works(&self, upstream: &Upstream, key: &UpstreamKey) -> Result<bool, AdministrationFault>;
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationNews {
    /// In words. No secrets.
    pub words: String,
    /// Whether somebody should look at it.
    pub is_problem: bool,
}

fn problem(words: String) -> RotationNews {
    RotationNews { words, is_problem: true }
}

impl Console {
    /// Waits until a rotation is begun by a call.
    pub async fn rotation_wanted(&self) {
        self.attempts.wanted.notified().await;
    }

    /// Takes one step of every rotation under way, and begins those that are due. Returns what is worth a line in the
    /// log, and whether another step can be taken at once.
    pub async fn advance_rotations(&self) -> (Vec<RotationNews>, bool) {
        let (mut words, mut is_moving) = (Vec::new(), false);
        if self.vault.as_ref().is_none_or(|vault| vault.administration.is_none()) {
            return (words, false);
        }
        self.begin_due_rotations(&mut words).await;
        let under_way: Vec<Rotation> = {
            let snapshot = self.snapshot();
            snapshot.upstreams.rotations.values().filter(|rotation| !rotation.state.is_over()).cloned().collect()
        };
        for rotation in under_way {
            if self.attempts.of(&rotation).is_some_and(|attempt| attempt.not_before > self.now()) {
                continue;
            }
            match self.step(&rotation).await {
                Step::Wait => {}
                Step::Again(fault) => {
                    let count = self.attempts.note(&rotation, &fault, self.now());
                    let (id, state) = (&rotation.id, rotation.state.word());
                    words.push(problem(format!(
                        "rotation {id} of upstream {} ({state}), attempt {count}: {fault}",
                        rotation.upstream
                    )));
                }
                Step::To(step) => match self.commit_step(&rotation, *step).await {
                    Ok(line) => {
                        is_moving = true;
                        words.extend(line);
                    }
                    Err(refusal) => words.push(problem(format!("rotation {}: {}", rotation.id, refusal.message))),
                },
            }
        }
        (words, is_moving)
    }

    async fn step(&self, rotation: &Rotation) -> Step {
        let snapshot = self.snapshot();
        let records = &snapshot.upstreams;
        let administration = self.vault.as_ref().and_then(|vault| vault.administration.as_deref());
        let (Some(upstream), Some(administration)) = (records.upstreams.get(&rotation.upstream), administration) else {
            return Step::Wait;
        };
        let turn = Turn { rotation, upstream, records, administration, now: self.now() };
        let attempts = self.attempts.of(rotation).map_or(0, |attempt| attempt.count) + 1;
        match rotation.state {
            RotationState::Creating => self.creating(&turn, attempts).await,
            RotationState::Verifying => turn.verifying().await,
            RotationState::Expiring => turn.expiring(attempts).await,
            RotationState::Draining => self.draining(&turn),
            RotationState::Deleting => turn.deleting().await,
            RotationState::Abandoning => turn.abandoning().await,
            RotationState::Completed | RotationState::Failed => Step::Wait,
        }
    }

    async fn creating(&self, turn: &Turn<'_>, attempts: u32) -> Step {
        let Rotation { account_name, .. } = turn.rotation;
        let made = match turn.clean_up().await {
            Ok(()) => turn.administration.create_account(turn.upstream, account_name).await,
            Err(fault) => Err(fault),
        };
        let account = match made {
            Ok(account) => account,
            Err(fault) if fault.is_passing && attempts < CREATE_ATTEMPTS_MAX => return Step::Again(fault.words),
            Err(fault) => return turn.abandon(&fault.words),
        };
        let id = self.new_id(UpstreamKey::ID_PREFIX);
        let place = UpstreamKey::place(&id, turn.upstream);
        let Ok(material) = self.seal((UpstreamKey::TABLE, &place), &account.key, None) else { return Step::Wait };
        let key = UpstreamKey {
            id: id.clone(),
            upstream: turn.upstream.id.clone(),
            name: account_name.clone(),
            material,
            state: UpstreamKeyState::Pending,
            service_account: Some(account.id),
            upstream_key_id: Some(account.key_id),
            created_at: turn.now,
        };
        Step::To(Box::new(RotationStep {
            created: Some(key),
            ..RotationStep::only(Rotation { new_key: Some(id), ..turn.next(RotationState::Verifying) })
        }))
    }

    fn draining(&self, turn: &Turn<'_>) -> Step {
        let vault = self.vault.as_ref();
        let standing = vault.and_then(|vault| vault.in_force.standing(&turn.upstream.id, &turn.rotation.old_key).ok());
        // A key that is not in force, since it cannot be opened, has no requests under way either.
        let is_drained = standing.is_none_or(|standing| standing.in_flight == 0);
        if is_drained || turn.now - turn.rotation.changed_at >= DRAIN_SECONDS_MAX {
            return Step::To(Box::new(RotationStep::only(turn.next(RotationState::Deleting))));
        }
        Step::Wait
    }

    /// Writes a step down, unless somebody else was faster. Calls that write come one after the other.
    async fn commit_step(&self, before: &Rotation, step: RotationStep) -> Result<Option<RotationNews>, Refusal> {
        let _one_at_a_time = self.writing.lock().await;
        if self.snapshot().upstreams.rotations.get(&before.id) != Some(before) {
            return Ok(None);
        }
        let RotationStep { rotation, created, updated, deleted, .. } = &step;
        let mut events = vec![event(rotation)];
        events.extend(created.iter().map(|key| upstream_keys::event("upstream_key.created", key)));
        events.extend(updated.iter().map(|key| upstream_keys::event("upstream_key.updated", key)));
        let snapshot = self.snapshot();
        let gone = deleted.as_ref().and_then(|id| snapshot.upstreams.keys.get(id));
        events.extend(gone.map(|key| upstream_keys::event("upstream_key.deleted", key)));
        let message = rotation.message.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
        let line =
            format!("rotation {} of upstream {} is {}{message}", rotation.id, rotation.upstream, rotation.state.word());
        let is_problem = rotation.message.is_some();
        self.commit(Actor::Local, Act::Upstream(step.into()), events).await?;
        self.attempts.forget(&before.id);
        Ok(Some(RotationNews { words: line, is_problem }))
    }

    /// Begins rotations that are due by the calendar.
    async fn begin_due_rotations(&self, words: &mut Vec<RotationNews>) {
        let now = self.now();
        let due: Vec<(Upstream, UpstreamKey)> = {
            let snapshot = self.snapshot();
            let records = &snapshot.upstreams;
            let due = records.upstreams.values().filter_map(|upstream| {
                let days = upstream.rotate_every_days.filter(|_| upstream.is_enabled)?;
                let last = records.rotations_of(&upstream.id).pop();
                let has_just_failed = last.is_some_and(|last| {
                    last.state == RotationState::Failed && now - last.changed_at < SCHEDULE_RETRY_SECONDS
                });
                let mut keys = records.keys_of(&upstream.id).into_iter();
                let oldest = keys.find(|key| key.state == UpstreamKeyState::Enabled)?;
                let is_due = now - oldest.created_at >= i64::from(days) * DAY_SECONDS;
                let is_free = !has_just_failed && records.rotation_under_way(&upstream.id).is_none();
                (is_due && is_free).then(|| (upstream.clone(), oldest.clone()))
            });
            due.collect()
        };
        for (upstream, key) in due {
            let _one_at_a_time = self.writing.lock().await;
            if let Err(refusal) = self.begin_rotation(Actor::Local, &upstream.id, &key.id).await {
                words.push(problem(format!(
                    "the rotation of upstream {} by schedule: {}",
                    upstream.id, refusal.message
                )));
            }
        }
    }

    /// Begins a rotation. The caller sees to it that nobody else writes.
    async fn begin_rotation(&self, actor: Actor, upstream: &str, key: &str) -> Result<Rotation, Refusal> {
        self.refuse_during_rotation(upstream)?;
        let snapshot = self.snapshot();
        let records = &snapshot.upstreams;
        let known = records.rotations_of(upstream);
        let now = self.now();
        let id = self.new_id(Rotation::ID_PREFIX);
        let rotation = Rotation {
            account_name: format!("sallyport-{id}"),
            id,
            upstream: upstream.to_owned(),
            state: RotationState::Creating,
            old_key: key.to_owned(),
            new_key: None,
            // Two of one second have an order all the same.
            started_at: known.last().map_or(now, |last| now.max(last.started_at + 1)),
            changed_at: now,
            message: None,
        };
        let forgotten = known.first().filter(|_| known.len() >= ROTATIONS_KEPT).map(|oldest| oldest.id.clone());
        let step = RotationStep { forgotten, ..RotationStep::only(rotation.clone()) };
        self.commit(actor, Act::Upstream(step.into()), vec![event(&rotation)]).await?;
        self.attempts.wanted.notify_one();
        Ok(rotation)
    }

    pub(crate) async fn rotate_upstream_key(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        let fields = Fields::of(call)?;
        fields.only(&["key_id"])?;
        if upstream.administration.is_none() || self.vault()?.administration.is_none() {
            let words = "This upstream's keys cannot be rotated: give it 'administration' first, an admin key and a project of the upstream.";
            return Err(Refusal::new(Reason::Conflict, words).param("upstream_id"));
        }
        let snapshot = self.snapshot();
        let enabled = || {
            let keys = snapshot.upstreams.keys_of(&upstream.id).into_iter();
            keys.filter(|key| key.state == UpstreamKeyState::Enabled)
        };
        let key = match fields.text("key_id")? {
            Some(id) => enabled().find(|key| key.id == id),
            None if enabled().count() > 1 => {
                return Err(fields.wrong("key_id", "is needed: the upstream has several keys in force"));
            }
            None => enabled().next(),
        };
        let key = key.ok_or_else(|| fields.wrong("key_id", "must be a key of this upstream that is enabled"))?;
        let rotation = self.begin_rotation(call.actor(), &upstream.id, &key.id).await?;
        Ok(self.shown_rotation(&rotation))
    }

    /// What stopped an upstream's rotation may be mended: it does not wait for its next attempt.
    pub(crate) fn try_rotation_again(&self, upstream: &str) {
        if let Some(rotation) = self.snapshot().upstreams.rotation_under_way(upstream) {
            self.attempts.forget(&rotation.id);
            self.attempts.wanted.notify_one();
        }
    }

    pub(crate) fn list_rotations(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        let snapshot = self.snapshot();
        let mut rotations = snapshot.upstreams.rotations_of(&upstream.id);
        rotations.reverse();
        page_of(call, PAGES, &rotations, |rotation| &rotation.id, |rotation| self.shown_rotation(rotation))
    }

    /// A rotation with what its last attempt came to.
    fn shown_rotation(&self, rotation: &Rotation) -> Value {
        let mut shown = show_rotation(rotation);
        let attempt = self.attempts.of(rotation);
        shown["last_error"] = attempt.as_ref().map(|attempt| attempt.words.clone()).into();
        shown["next_attempt_at"] = attempt.map(|attempt| attempt.not_before).into();
        shown
    }
}

/// A rotation's state, for the audit log.
fn event(rotation: &Rotation) -> Event {
    let data = json!({
        "upstream_id": rotation.upstream, "old_key_id": rotation.old_key, "new_key_id": rotation.new_key,
        "service_account_name": rotation.account_name, "message": rotation.message,
    });
    Event { kind: rotation.state.event(), project: None, payload: json!({"id": rotation.id, "data": data}) }
}
