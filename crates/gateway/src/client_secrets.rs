//! Client secrets: short-lived keys that a server hands to a browser or a device in the place of its own.
//!
//! Promises: a client secret opens what the key that made it opens, and of that only what was asked for; it dies with
//! the secret that made it, at once; what it may spend and how often it may call is counted down before the call, so
//! that no interleaving goes over it. It is bound to one web origin or one device.
//!
//! They live in this process's memory only: minutes of life are not worth a disk, and one that a restart forgets is
//! refused, never too generous. Bounded by number, in all and by the project that makes them.

mod mint;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use keys::Digest;
use pricing::Nano;
use store::{KeyEntry, ProjectId, fits};
use subtle::ConstantTimeEq;
use wire::endpoint::Endpoint;
use wire::refusal::{Reason, Refusal};

use crate::browser;
use crate::headers::single;

pub(crate) use mint::mint;

/// Client secrets alive at once; some 600 bytes each.
const SECRETS_MAX: usize = 200_000;
/// Those of them that the keys of one project may have made.
const SECRETS_OF_PROJECT_MAX: usize = 20_000;
/// How long one that has expired is still known, seconds: its page is told so, and is not taken for a stranger.
const KNOWN_AFTER_SECONDS: i64 = 600;
/// Names the device that a request comes from.
const DEVICE_HEADER: &str = "x-sallyport-device";
/// Stands for no cap on calls.
const UNCAPPED: u64 = u64::MAX;

/// Where a client secret may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// On pages of this web origin.
    Origin(String),
    /// By the device that names itself so; never in a browser.
    Device(String),
    /// Anywhere but in a browser: made by an SDK's call, which cannot name an origin.
    None,
}

/// A client secret, without the secret.
#[derive(Debug)]
pub(crate) struct ClientSecret {
    /// Id, `cs_…`.
    pub(crate) id: String,
    /// The secret of the key that made it.
    pub(crate) maker: Arc<KeyEntry>,
    pub(crate) expires_at: i64,
    pub(crate) binding: Binding,
    /// Empty: those of its maker.
    models: BTreeSet<String>,
    /// Paths of rows, or with `*` at the end.
    endpoints: BTreeSet<String>,
    calls_left: AtomicU64,
    /// Nano-dollars that neither were spent nor are held.
    budget_left: Option<AtomicU64>,
}

impl ClientSecret {
    fn is_live(&self, now: i64) -> bool {
        self.expires_at > now && !self.maker.revocation.is_revoked()
    }

    /// Holds a request against what the secret is bound to.
    ///
    /// # Errors
    /// 401 for another origin or device, or a browser where none is meant.
    pub(crate) fn check_binding(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let elsewhere = |words: String| Err(Refusal::new(Reason::UnboundClient, words));
        match &self.binding {
            Binding::Origin(origin) if browser::origin(headers)?.as_deref() == Some(origin) => Ok(()),
            Binding::Origin(origin) => elsewhere(format!("This client secret is bound to the web origin {origin}.")),
            Binding::Device(_) | Binding::None if browser::sign(headers).is_some() => {
                elsewhere("This client secret is not for browsers. Make one with the page's 'origin'.".to_owned())
            }
            Binding::None => Ok(()),
            Binding::Device(device) => {
                let named = single(headers, DEVICE_HEADER)?.unwrap_or_default();
                if named.as_bytes().ct_eq(device.as_bytes()).into() {
                    return Ok(());
                }
                elsewhere(format!("This client secret is bound to a device: send its name in `{DEVICE_HEADER}`."))
            }
        }
    }

    /// Whether it opens an operation at all.
    pub(crate) fn takes_endpoint(&self, endpoint: &Endpoint) -> bool {
        self.endpoints.iter().any(|pattern| fits(pattern, endpoint.path))
    }

    /// Whether it may name a model.
    pub(crate) fn takes_model(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| fits(pattern, model))
    }

    /// Whether it is held to some models.
    pub(crate) fn has_models(&self) -> bool {
        !self.models.is_empty()
    }

    /// Whether it has a budget of its own.
    pub(crate) fn has_budget(&self) -> bool {
        self.budget_left.is_some()
    }

    /// Takes one of its calls; given back with [`ClientSecret::give_back_call`] if it comes to nothing.
    ///
    /// # Errors
    /// 429 when there is none left.
    pub(crate) fn take_call(&self) -> Result<(), Refusal> {
        let less = |left: u64| if left == UNCAPPED { Some(left) } else { left.checked_sub(1) };
        self.calls_left.fetch_update(SeqCst, SeqCst, less).map(drop).map_err(|_| {
            Refusal::new(Reason::ClientSecretSpent, "This client secret has made all its calls. Make a new one.")
        })
    }

    /// Gives a call back that was refused before it was made.
    pub(crate) fn give_back_call(&self) {
        let more = |left: u64| if left == UNCAPPED { Some(left) } else { Some(left + 1) };
        let _ = self.calls_left.fetch_update(SeqCst, SeqCst, more);
    }

    /// Holds a request's worst case against its budget; `None` where it has none.
    ///
    /// # Errors
    /// 429 when the budget does not cover it.
    pub(crate) fn open_tab(self: &Arc<Self>, worst: Nano) -> Result<Option<Tab>, Refusal> {
        let Some(budget) = &self.budget_left else { return Ok(None) };
        budget.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(worst.0)).map_err(|left| {
            let words = format!(
                "This client secret has {} left, and the request may cost {worst}. Ask for fewer output tokens, or make a new one.",
                Nano(left)
            );
            Refusal::new(Reason::ClientSecretSpent, words)
        })?;
        Ok(Some(Tab { secret: Arc::clone(self), held: worst, is_spent: false }))
    }
}

/// What a request holds of a client secret's budget. Before the request is on its way, one that is dropped is given
/// back; afterwards it stays charged in full.
pub(crate) struct Tab {
    secret: Arc<ClientSecret>,
    held: Nano,
    is_spent: bool,
}

impl Tab {
    /// The request goes out: from now on nobody knows what it costs until it is settled.
    pub(crate) fn spend(mut self) -> Tab {
        self.is_spent = true;
        self
    }

    /// Gives back what was held and not spent.
    pub(crate) fn settle(mut self, spent: Nano) {
        self.held = Nano(self.held.0.saturating_sub(spent.0));
        self.is_spent = false;
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        if let (Some(budget), false) = (&self.secret.budget_left, self.is_spent) {
            budget.fetch_add(self.held.0, SeqCst);
        }
    }
}

/// All client secrets that are alive.
#[derive(Debug, Default)]
pub(crate) struct ClientSecrets(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    secrets: HashMap<Digest, Arc<ClientSecret>>,
    by_expiry: BTreeSet<(i64, [u8; 32])>,
    by_origin: HashMap<String, BTreeMap<[u8; 32], Arc<ClientSecret>>>,
    by_project: HashMap<Option<ProjectId>, usize>,
}

impl ClientSecrets {
    /// Held for a look-up or an insertion, never over I/O.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secret with this digest, alive or over.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Arc<ClientSecret>> {
        self.book().secrets.get(digest).cloned()
    }

    /// Whether a live secret is bound to a web origin.
    pub(crate) fn has_origin(&self, origin: &str, now: i64) -> bool {
        let mut book = self.book();
        book.forget_expired(now);
        let Some(bound) = book.by_origin.get_mut(origin) else { return false };
        // Those that are over are taken out on the way, so that nobody looks at them twice.
        while let Some((digest, secret)) = bound.first_key_value() {
            if secret.is_live(now) {
                return true;
            }
            let digest = *digest;
            bound.remove(&digest);
        }
        book.by_origin.remove(origin);
        false
    }

    /// Puts a new secret in.
    ///
    /// # Errors
    /// 429 when there are too many.
    fn put(&self, digest: Digest, secret: ClientSecret, now: i64) -> Result<(), Refusal> {
        let mut book = self.book();
        book.forget_expired(now);
        let made = book.by_project.get(&secret.maker.key.project).copied().unwrap_or_default();
        if book.secrets.len() >= SECRETS_MAX || made >= SECRETS_OF_PROJECT_MAX {
            let words = format!(
                "Too many client secrets are alive: at most {SECRETS_OF_PROJECT_MAX} of a project. Give them shorter lives."
            );
            return Err(Refusal::new(Reason::RequestsLimited, words).retry_after_ms(60_000));
        }
        let secret = Arc::new(secret);
        if let Binding::Origin(origin) = &secret.binding {
            book.by_origin.entry(origin.clone()).or_default().insert(*digest.as_bytes(), Arc::clone(&secret));
        }
        *book.by_project.entry(secret.maker.key.project.clone()).or_default() += 1;
        book.by_expiry.insert((secret.expires_at, *digest.as_bytes()));
        book.secrets.insert(digest, secret);
        Ok(())
    }
}

impl Book {
    fn forget_expired(&mut self, now: i64) {
        let later = self.by_expiry.split_off(&(now.saturating_sub(KNOWN_AFTER_SECONDS) + 1, [0; 32]));
        for (_, digest) in std::mem::replace(&mut self.by_expiry, later) {
            let digest = Digest::from(digest);
            let Some(secret) = self.secrets.remove(&digest) else { continue };
            if let Binding::Origin(origin) = &secret.binding
                && let Some(bound) = self.by_origin.get_mut(origin)
            {
                bound.remove(digest.as_bytes());
                if bound.is_empty() {
                    self.by_origin.remove(origin);
                }
            }
            if let Some(made) = self.by_project.get_mut(&secret.maker.key.project) {
                *made -= 1;
                if *made == 0 {
                    self.by_project.remove(&secret.maker.key.project);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
