//! What is made anew: ids, keys, audit events.

use keys::{Kind, Pepper, Random, Secret, Shape, redacted};
use store::{Actor, AuditEvent, Clock, Key, KeyId, ProjectId, ServiceAccountId};

use crate::Event;

/// Letters and digits of ids, as the API's own have.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of an id behind its prefix: 24 of 62 are 142 bits.
const ID_CHARS: usize = 24;

/// A new key: its record, and its secret, which is shown once.
pub(crate) struct NewKey {
    pub(crate) record: Key,
    pub(crate) secret: Secret,
}

/// Whose key is made.
pub(crate) struct KeyFor<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    pub(crate) project: Option<&'a ProjectId>,
    pub(crate) service_account: Option<&'a ServiceAccountId>,
    pub(crate) created_by: Option<&'a KeyId>,
    pub(crate) expires_at: Option<i64>,
}

/// Makes ids, keys and events: for the running control plane, for the first start and offline.
pub(crate) struct Maker<'a> {
    pub(crate) pepper: &'a Pepper,
    pub(crate) shape: &'a Shape,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) random: &'a dyn Random,
}

impl Maker<'_> {
    /// A new id.
    pub(crate) fn id(&self, prefix: &str) -> String {
        let mut id = prefix.to_owned();
        while id.len() < prefix.len() + ID_CHARS {
            let mut bytes = [0; 32];
            self.random.fill(&mut bytes);
            // Bytes over the last multiple of 62 would favour some digits.
            let digits =
                bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(DIGITS[usize::from(*byte % 62)]));
            id.extend(digits.take(prefix.len() + ID_CHARS - id.len()));
        }
        id
    }

    /// A new key.
    pub(crate) fn key(&self, meant: &KeyFor<'_>) -> NewKey {
        let secret = self.shape.mint(meant.kind, self.random);
        let now = self.clock.unix_seconds();
        let record = Key {
            id: KeyId::new(self.id(KeyId::PREFIX)),
            kind: meant.kind,
            project: meant.project.cloned(),
            service_account: meant.service_account.cloned(),
            name: meant.name.to_owned(),
            digest: self.pepper.digest(secret.expose()),
            redacted: redacted(&secret),
            created_at: now,
            secret_created_at: now,
            created_by: meant.created_by.cloned(),
            expires_at: meant.expires_at,
            former: None,
            rates: Default::default(),
            bounds: Default::default(),
            browser_use: Default::default(),
            suspension: None,
            rotation: None,
            undelivered: None,
            is_decoy: false,
        };
        NewKey { record, secret }
    }

    /// An audit event, as done on the machine itself.
    pub(crate) fn event(&self, event: Event) -> AuditEvent {
        AuditEvent {
            id: self.id("audit_log-"),
            kind: event.kind,
            effective_at: self.clock.unix_seconds(),
            actor: Actor::Local,
            project: event.project,
            payload: event.payload,
        }
    }
}
