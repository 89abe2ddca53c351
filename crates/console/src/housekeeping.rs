//! What happens to keys without anybody asking: uses are written down, ends are announced, rotations fall due, and what
//! is old enough is forgotten.
//!
//! Promises: last uses never go back, and what could not be written is tried again with the next; an end is announced
//! once for each key and step; a rotation that fails is tried again later and tells why.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use store::{Actor, Findings, KeyEntry, KeyId, KeyUse, KeyUses, LastUse, Notice, StoreError};

use crate::Console;
use crate::findings::Fresh;
use crate::key_life::{Deliveries, Rotation};

/// An end is announced so many seconds ahead: a week, and a day.
const ANNOUNCED_SECONDS: [i64; 2] = [7 * 86_400, 86_400];
/// Uses and findings are kept so long, seconds: an incident compares a month with the month before.
const KEPT_SECONDS: i64 = 92 * 86_400;
/// Uses that wait to be written while the store cannot; the oldest go.
const WAITING_MAX: usize = 50_000;

/// What the control plane keeps of keys beside their records.
pub struct Keeping {
    /// Findings.
    pub findings: Arc<dyn Findings>,
    /// Uses of keys.
    pub uses: Arc<dyn KeyUses>,
    /// Where new secrets go.
    pub deliveries: Arc<dyn Deliveries>,
    last_uses: Mutex<HashMap<KeyId, LastUse>>,
    waiting: Mutex<Vec<KeyUse>>,
    fresh: Mutex<Fresh>,
    /// Keys whose new secrets are on their way to a delivery.
    rotating: Arc<Mutex<HashSet<KeyId>>>,
    /// Notices of ends that were put on their way.
    announced: Mutex<HashSet<String>>,
}

/// A key is being rotated while this lives.
pub(crate) struct Rotating {
    keys: Arc<Mutex<HashSet<KeyId>>>,
    key: KeyId,
}

impl Drop for Rotating {
    fn drop(&mut self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl std::fmt::Debug for Keeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeping").finish_non_exhaustive()
    }
}

impl Keeping {
    /// Reads what is known of last uses.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(
        findings: Arc<dyn Findings>,
        uses: Arc<dyn KeyUses>,
        deliveries: Arc<dyn Deliveries>,
    ) -> Result<Keeping, StoreError> {
        let last_uses = Mutex::new(uses.last_uses().await?.into_iter().collect());
        Ok(Keeping {
            findings,
            uses,
            deliveries,
            last_uses,
            waiting: Mutex::default(),
            fresh: Mutex::default(),
            rotating: Arc::default(),
            announced: Mutex::default(),
        })
    }

    /// Begins a rotation of a key; `None` while one is under way.
    pub(crate) fn begin_rotation(&self, key: &KeyId) -> Option<Rotating> {
        let is_first = self.rotating.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_first.then(|| Rotating { keys: Arc::clone(&self.rotating), key: key.clone() })
    }

    fn is_rotating(&self, key: &KeyId) -> bool {
        self.rotating.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// New findings of this hour.
    pub(crate) fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a key was last used, as far as it was taken over.
    pub(crate) fn last_use(&self, key: &KeyId) -> Option<LastUse> {
        self.last_uses.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Takes over what the data path counted.
    pub fn take_over(&self, uses: Vec<KeyUse>) {
        let mut last_uses = self.last_uses.lock().unwrap_or_else(PoisonError::into_inner);
        for used in &uses {
            let known = last_uses.get(&used.key);
            if known.is_some_and(|known| known.at > used.last_at) {
                continue;
            }
            let model = used.model.clone().or_else(|| known.and_then(|known| known.model.clone()));
            let (address, user_agent) = (used.address.clone(), used.user_agent.clone());
            last_uses.insert(used.key.clone(), LastUse { at: used.last_at, address, user_agent, model });
        }
        drop(last_uses);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(uses);
        let over = waiting.len().saturating_sub(WAITING_MAX);
        waiting.drain(..over);
    }

    /// Writes down what was taken over.
    ///
    /// # Errors
    /// When nothing can be written; it then waits for the next time.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        let uses = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if uses.is_empty() {
            return Ok(());
        }
        let written = self.uses.add_uses(&uses).await;
        if written.is_err() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).splice(0..0, uses);
        }
        written
    }
}

impl Console {
    /// What the control plane keeps of keys.
    pub fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// Announces ends, rotates what is due. Asked once a minute.
    pub async fn keep_keys(&self) {
        let now = self.now();
        let keys: Vec<Arc<KeyEntry>> = self.snapshot().keys().cloned().collect();
        for entry in &keys {
            self.announce_end(entry, now).await;
        }
        let is_due = |entry: &&Arc<KeyEntry>| {
            let is_in_force = entry.key.suspension.is_none() && !entry.has_expired(now) && !entry.key.is_decoy;
            let is_due = entry.key.rotation.as_ref().is_some_and(|plan| plan.next_at <= now);
            (is_in_force && is_due || entry.key.undelivered.is_some()) && !self.keeping.is_rotating(&entry.key.id)
        };
        for entry in keys.iter().filter(is_due) {
            let Some(plan) = &entry.key.rotation else {
                if let Err(refusal) = self.take_back(&entry.key.id).await {
                    tracing::error!(key_id = %entry.key.id, error = %refusal.message, "an undelivered secret is still in force");
                }
                continue;
            };
            let rotation = Rotation {
                overlap_seconds: plan.overlap_seconds,
                expires_at: None,
                deliver_to: Some(plan.deliver_to.clone()),
            };
            match self.rotate(None, Actor::Local, &entry.key.id, &rotation).await {
                Ok(_) => tracing::info!(key_id = %entry.key.id, "a key was rotated as planned"),
                Err(refusal) => {
                    tracing::error!(key_id = %entry.key.id, error = %refusal.message, "a planned rotation failed");
                }
            }
        }
    }

    /// Forgets what is old enough. Asked once an hour.
    pub async fn forget_old(&self) {
        let before = self.now().saturating_sub(KEPT_SECONDS);
        for forgotten in
            [self.keeping.uses.forget_uses(before).await, self.keeping.findings.forget_findings(before).await]
        {
            if let Err(error) = forgotten {
                tracing::warn!(%error, "old uses of keys and findings could not be forgotten; tried again in an hour");
            }
        }
    }

    async fn announce_end(&self, entry: &KeyEntry, now: i64) {
        let Some(end) = entry.expires_at else { return };
        // The nearest step that has come.
        let step = ANNOUNCED_SECONDS.iter().rposition(|seconds| end - now <= *seconds);
        let (kind, step) = match step {
            _ if end <= now && now - end < 86_400 => ("api_key.expired", 0),
            Some(step) if end > now => ("api_key.expiring", step + 1),
            _ => return,
        };
        // The outbox takes a notice with the same id once; this process asks it once.
        let id = format!("{}{}_{end}_{step}", Notice::ID_PREFIX, entry.key.id);
        if !self.keeping.announced.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
            return;
        }
        let notice = Notice {
            id,
            kind: kind.to_owned(),
            created_at: now,
            payload: json!({
                "key_id": entry.key.id.as_str(), "name": entry.key.name, "kind": entry.key.kind.word(),
                "project_id": entry.key.project.as_ref().map(|id| id.as_str()), "expires_at": end,
            }),
        };
        self.enqueue(&notice).await;
    }
}
