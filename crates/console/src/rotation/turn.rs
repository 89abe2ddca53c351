//! The steps of a rotation that are the upstream's doing: each looks at what is stored, makes its calls, and says which
//! state comes next. None writes anything.

use store::{Rotation, RotationState, RotationStep, Upstream, UpstreamKey, UpstreamKeyState, UpstreamRecords};

use super::{AdministrationFault, DRAIN_SECONDS_MAX, UpstreamAdministration};

/// How much later than its last request the old key expires by itself.
const EXPIRY_MARGIN_SECONDS: i64 = 3_600;
/// How long a new key may take to be known everywhere upstream.
const VERIFY_SECONDS_MAX: i64 = 900;
/// How long a service account is tried to be deleted before that is left to be done by hand.
const DELETE_SECONDS_MAX: i64 = 86_400;
/// How often an expiry is asked for; without one the old key is deleted all the same.
const EXPIRE_ATTEMPTS_MAX: u32 = 3;

/// What came of a step.
pub(super) enum Step {
    /// The rotation comes into another state.
    To(Box<RotationStep>),
    /// Not yet.
    Wait,
    /// It failed, and is tried again.
    Again(String),
}

/// A rotation under way, with all that its next step takes.
pub(super) struct Turn<'a> {
    pub(super) rotation: &'a Rotation,
    pub(super) upstream: &'a Upstream,
    pub(super) records: &'a UpstreamRecords,
    pub(super) administration: &'a dyn UpstreamAdministration,
    pub(super) now: i64,
}

impl Turn<'_> {
    pub(super) fn next(&self, state: RotationState) -> Rotation {
        Rotation { state, changed_at: self.now, ..self.rotation.clone() }
    }

    pub(super) fn old_key(&self) -> Option<&UpstreamKey> {
        self.records.keys.get(&self.rotation.old_key)
    }

    fn new_key(&self) -> Option<&UpstreamKey> {
        self.records.keys.get(self.rotation.new_key.as_ref()?)
    }

    /// Gives up: what was made goes, the old key stays.
    pub(super) fn abandon(&self, words: &str) -> Step {
        let message = Some(words.to_owned());
        Step::To(Box::new(RotationStep::only(Rotation { message, ..self.next(RotationState::Abandoning) })))
    }

    /// Deletes accounts of the rotation's own name.
    pub(super) async fn clean_up(&self) -> Result<(), AdministrationFault> {
        for account in self.administration.accounts_named(self.upstream, &self.rotation.account_name).await? {
            self.administration.delete_account(self.upstream, &account).await?;
        }
        Ok(())
    }

    /// Whether the rotation has been in its state for so long.
    fn has_lasted(&self, seconds: i64) -> bool {
        self.now - self.rotation.changed_at >= seconds
    }

    pub(super) async fn abandoning(&self) -> Step {
        match self.clean_up().await {
            Err(fault) if self.has_lasted(DELETE_SECONDS_MAX) => {
                let (why, name) = (self.rotation.message.as_deref().unwrap_or_default(), &self.rotation.account_name);
                let words = format!(
                    "{why}. A service account named {name} may be left upstream: delete it by hand ({})",
                    fault.words
                );
                Step::To(Box::new(RotationStep {
                    deleted: self.new_key().map(|key| key.id.clone()),
                    ..RotationStep::only(Rotation { message: Some(words), ..self.next(RotationState::Failed) })
                }))
            }
            Err(fault) => Step::Again(fault.words),
            Ok(()) => Step::To(Box::new(RotationStep {
                deleted: self.new_key().map(|key| key.id.clone()),
                ..RotationStep::only(self.next(RotationState::Failed))
            })),
        }
    }

    pub(super) async fn verifying(&self) -> Step {
        let (Some(old), Some(new)) = (self.old_key(), self.new_key()) else {
            return self.abandon("a key of this rotation is not in the vault any more");
        };
        let words = match self.administration.key_works(self.upstream, new).await {
            Ok(true) => {
                let enabled = UpstreamKey { state: UpstreamKeyState::Enabled, ..new.clone() };
                let draining = UpstreamKey { state: UpstreamKeyState::Draining, ..old.clone() };
                return Step::To(Box::new(RotationStep {
                    updated: vec![enabled, draining],
                    ..RotationStep::only(self.next(RotationState::Expiring))
                }));
            }
            Ok(false) => "the upstream does not know the new key yet".to_owned(),
            Err(fault) => fault.words,
        };
        if self.has_lasted(VERIFY_SECONDS_MAX) { self.abandon(&words) } else { Step::Again(words) }
    }

    pub(super) async fn expiring(&self, attempts: u32) -> Step {
        let next = || Step::To(Box::new(RotationStep::only(self.next(RotationState::Draining))));
        let Some(key_id) = self.old_key().and_then(|key| key.upstream_key_id.as_deref()) else { return next() };
        let seconds = DRAIN_SECONDS_MAX + EXPIRY_MARGIN_SECONDS;
        match self.administration.expire_key(self.upstream, key_id, seconds).await {
            Err(fault) if fault.is_passing && attempts < EXPIRE_ATTEMPTS_MAX => Step::Again(fault.words),
            // Not every upstream has it.
            Ok(()) | Err(_) => next(),
        }
    }

    pub(super) async fn deleting(&self) -> Step {
        let old = self.old_key();
        let message = match old.and_then(|key| key.service_account.as_deref()) {
            None => Some("The old key's service account is not known: delete the key upstream by hand.".to_owned()),
            Some(account) => match self.administration.delete_account(self.upstream, account).await {
                Ok(()) => None,
                Err(fault) if self.has_lasted(DELETE_SECONDS_MAX) => Some(format!(
                    "The old service account {account} is left: delete it upstream by hand ({}).",
                    fault.words
                )),
                Err(fault) => return Step::Again(fault.words),
            },
        };
        Step::To(Box::new(RotationStep {
            deleted: old.map(|key| key.id.clone()),
            ..RotationStep::only(Rotation { message, ..self.next(RotationState::Completed) })
        }))
    }
}
