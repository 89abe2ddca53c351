//! Upstreams that were made over the API, their keys, which project uses which, and rotations under way.
//!
//! Promises: a key is here sealed or as the name of a source that the operator configured, never plain; what a rotation
//! needs to go on after a crash is in its record before the step is taken.
//!
//! The upstream of the configuration file is named [`Upstream::DEFAULT`] and is not stored.

use std::collections::BTreeMap;

use keys::Enclosed;

use crate::records::ProjectId;

/// A place that requests can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Id, `upstream_…`.
    pub id: String,
    /// Name, unlike any other's.
    pub name: String,
    /// Base URL, any `/v1` included. It never changes: keys are sealed for it.
    pub url: String,
    /// `OpenAI-Organization` towards it.
    pub organization: Option<String>,
    /// `OpenAI-Project` towards it.
    pub project: Option<String>,
    /// Whether new requests may go there.
    pub is_enabled: bool,
    /// How its keys are rotated, where they are.
    pub administration: Option<Administration>,
    /// After how many days a key is rotated by itself.
    pub rotate_every_days: Option<u32>,
    /// When it was made.
    pub created_at: i64,
}

impl Upstream {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "upstream_";
    /// Id of the configuration file's upstream, which projects without a policy use.
    pub const DEFAULT: &'static str = "default";
    /// The table that the administration's key is sealed for.
    pub const TABLE: &'static str = "upstream";

    /// The row that the administration's key is sealed for: of this id, and for this address.
    pub fn place(&self) -> String {
        format!("{} {}", self.id, self.url)
    }
}

/// The way to an upstream's Administration API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Administration {
    /// The upstream's id of the project in which service accounts are made.
    pub project: String,
    /// An admin key of the upstream.
    pub key: Material,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// It was given once, and is kept sealed.
    Sealed {
        /// Under the data key.
        sealed: Enclosed,
        /// What lists show.
        redacted: String,
    },
    /// A source that the configuration file names.
    Source(String),
}

/// Whether requests use a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamKeyState {
    /// Made by a rotation, and not yet known to work.
    Pending,
    /// In use.
    Enabled,
    /// Not used, by an administrator's act.
    Disabled,
    /// Rotated out: requests under way finish with it.
    Draining,
}

impl UpstreamKeyState {
    /// All of them.
    pub const ALL: [UpstreamKeyState; 4] =
        [UpstreamKeyState::Pending, UpstreamKeyState::Enabled, UpstreamKeyState::Disabled, UpstreamKeyState::Draining];

    /// The word in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            UpstreamKeyState::Pending => "pending",
            UpstreamKeyState::Enabled => "enabled",
            UpstreamKeyState::Disabled => "disabled",
            UpstreamKeyState::Draining => "draining",
        }
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<UpstreamKeyState> {
        UpstreamKeyState::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// A key of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamKey {
    /// Id, `upkey_…`.
    pub id: String,
    /// Its upstream.
    pub upstream: String,
    /// Name.
    pub name: String,
    /// The key itself.
    pub material: Material,
    /// Whether it is used.
    pub state: UpstreamKeyState,
    /// The upstream's id of the service account whose key it is, where it is known.
    pub service_account: Option<String>,
    /// The upstream's id of the key, where it is known.
    pub upstream_key_id: Option<String>,
    /// When it was added.
    pub created_at: i64,
}

impl UpstreamKey {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "upkey_";
    /// The table that keys are sealed for.
    pub const TABLE: &'static str = "upstream_key";

    /// The row that a key is sealed for: of this id, and for its upstream's address. Whoever can write the database
    /// cannot send it elsewhere.
    pub fn place(id: &str, upstream: &Upstream) -> String {
        format!("{id} {}", upstream.url)
    }
}

/// Which upstreams a project uses. The first is its home, where its stored objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamPolicy {
    /// The project.
    pub project: ProjectId,
    /// Whether requests are spread by weight; otherwise the order is that of fail-over.
    pub is_weighted: bool,
    /// Ids of upstreams, and their weights.
    pub members: Vec<(String, u32)>,
}

/// How far a rotation is. Each state says what is done next; what was done before is in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RotationState {
    /// The service account is asked for, by its name.
    Creating,
    /// The new key is in the vault; it is tried until it works.
    Verifying,
    /// The new key is in force; the old one is given an expiry.
    Expiring,
    /// Requests under way finish with the old key.
    Draining,
    /// The old service account is deleted.
    Deleting,
    /// Given up: what was made is deleted, the old key stays in force.
    Abandoning,
    /// Done.
    Completed,
    /// Given up, and cleaned up.
    Failed,
}

impl RotationState {
    /// All of them.
    pub const ALL: [RotationState; 8] = [
        RotationState::Creating,
        RotationState::Verifying,
        RotationState::Expiring,
        RotationState::Draining,
        RotationState::Deleting,
        RotationState::Abandoning,
        RotationState::Completed,
        RotationState::Failed,
    ];

    /// The word in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            RotationState::Creating => "creating",
            RotationState::Verifying => "verifying",
            RotationState::Expiring => "expiring",
            RotationState::Draining => "draining",
            RotationState::Deleting => "deleting",
            RotationState::Abandoning => "abandoning",
            RotationState::Completed => "completed",
            RotationState::Failed => "failed",
        }
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<RotationState> {
        RotationState::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The audit event of a rotation that comes into this state.
    pub const fn event(self) -> &'static str {
        match self {
            RotationState::Creating => "upstream_key.rotation.started",
            RotationState::Verifying => "upstream_key.rotation.key_created",
            RotationState::Expiring => "upstream_key.rotation.key_in_force",
            RotationState::Draining => "upstream_key.rotation.old_key_expires",
            RotationState::Deleting => "upstream_key.rotation.old_key_drained",
            RotationState::Abandoning => "upstream_key.rotation.abandoned",
            RotationState::Completed => "upstream_key.rotation.completed",
            RotationState::Failed => "upstream_key.rotation.failed",
        }
    }

    /// Whether nothing follows.
    pub const fn is_over(self) -> bool {
        matches!(self, RotationState::Completed | RotationState::Failed)
    }
}

/// The exchange of one upstream key for a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Id, `rotation_…`.
    pub id: String,
    /// The upstream.
    pub upstream: String,
    /// How far it is.
    pub state: RotationState,
    /// The key that goes.
    pub old_key: String,
    /// The key that comes, once it is in the vault.
    pub new_key: Option<String>,
    /// Name of the new service account upstream: chosen before it is made, so that one whose answer was lost is found.
    pub account_name: String,
    /// When it began.
    pub started_at: i64,
    /// When it came into its state.
    pub changed_at: i64,
    /// Why it failed, or what is left to be done by hand. No secrets.
    pub message: Option<String>,
}

impl Rotation {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "rotation_";
}

/// An administrative write about upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAct {
    /// A new upstream.
    Create(Upstream),
    /// An upstream as it is from now on.
    Update(Upstream),
    /// An upstream goes, with its keys and what is known of their rotations.
    Delete(String),
    /// A new key.
    CreateKey(UpstreamKey),
    /// A key as it is from now on.
    UpdateKey(UpstreamKey),
    /// A key goes.
    DeleteKey(String),
    /// A project's policy as it is from now on.
    PutPolicy(UpstreamPolicy),
    /// A project uses the default upstream from now on.
    DeletePolicy(ProjectId),
    /// A rotation comes into its state.
    Rotate(Box<RotationStep>),
}

/// A rotation that comes into its state, and what changes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationStep {
    /// The rotation as it is from now on.
    pub rotation: Rotation,
    /// A key that comes with it.
    pub created: Option<UpstreamKey>,
    /// Keys as they are from now on.
    pub updated: Vec<UpstreamKey>,
    /// A key that goes.
    pub deleted: Option<String>,
    /// An older rotation that is forgotten for it.
    pub forgotten: Option<String>,
}

impl RotationStep {
    /// A step that changes no key.
    pub fn only(rotation: Rotation) -> RotationStep {
        RotationStep { rotation, created: None, updated: Vec::new(), deleted: None, forgotten: None }
    }
}

impl From<RotationStep> for UpstreamAct {
    fn from(step: RotationStep) -> UpstreamAct {
        UpstreamAct::Rotate(Box::new(step))
    }
}

impl UpstreamAct {
    /// Which audit events the act must come with.
    pub(crate) fn events(&self) -> Vec<(&'static str, &str)> {
        match self {
            UpstreamAct::Create(upstream) => vec![("upstream.created", &upstream.id)],
            UpstreamAct::Update(upstream) => vec![("upstream.updated", &upstream.id)],
            UpstreamAct::Delete(id) => vec![("upstream.deleted", id)],
            UpstreamAct::CreateKey(key) => vec![("upstream_key.created", &key.id)],
            UpstreamAct::UpdateKey(key) => vec![("upstream_key.updated", &key.id)],
            UpstreamAct::DeleteKey(id) => vec![("upstream_key.deleted", id)],
            UpstreamAct::PutPolicy(policy) => vec![("upstream_policy.updated", policy.project.as_str())],
            UpstreamAct::DeletePolicy(project) => vec![("upstream_policy.deleted", project.as_str())],
            UpstreamAct::Rotate(step) => {
                let RotationStep { rotation, created, updated, deleted, .. } = &**step;
                let mut events = vec![(rotation.state.event(), rotation.id.as_str())];
                events.extend(created.iter().map(|key| ("upstream_key.created", key.id.as_str())));
                events.extend(updated.iter().map(|key| ("upstream_key.updated", key.id.as_str())));
                events.extend(deleted.iter().map(|id| ("upstream_key.deleted", id.as_str())));
                events
            }
        }
    }
}

/// All that is stored about upstreams, by id; policies by project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamRecords {
    /// Upstreams.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Their keys.
    pub keys: BTreeMap<String, UpstreamKey>,
    /// Projects' policies.
    pub policies: BTreeMap<ProjectId, UpstreamPolicy>,
    /// Rotations under way, and the last ones of each upstream.
    pub rotations: BTreeMap<String, Rotation>,
}

impl UpstreamRecords {
    /// The keys of an upstream, the oldest first.
    pub fn keys_of(&self, upstream: &str) -> Vec<&UpstreamKey> {
        let mut keys: Vec<_> = self.keys.values().filter(|key| key.upstream == upstream).collect();
        keys.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        keys
    }

    /// The rotations of an upstream, the oldest first.
    pub fn rotations_of(&self, upstream: &str) -> Vec<&Rotation> {
        let mut rotations: Vec<_> = self.rotations.values().filter(|rotation| rotation.upstream == upstream).collect();
        rotations.sort_by(|one, other| (one.started_at, &one.id).cmp(&(other.started_at, &other.id)));
        rotations
    }

    /// The rotation of an upstream that is under way.
    pub fn rotation_under_way(&self, upstream: &str) -> Option<&Rotation> {
        self.rotations.values().find(|rotation| rotation.upstream == upstream && !rotation.state.is_over())
    }

    /// Puts a committed act in force.
    pub(crate) fn apply(&mut self, act: UpstreamAct) {
        match act {
            UpstreamAct::Create(upstream) | UpstreamAct::Update(upstream) => {
                self.upstreams.insert(upstream.id.clone(), upstream);
            }
            UpstreamAct::Delete(id) => {
                self.upstreams.remove(&id);
                self.keys.retain(|_, key| key.upstream != id);
                self.rotations.retain(|_, rotation| rotation.upstream != id);
            }
            UpstreamAct::CreateKey(key) | UpstreamAct::UpdateKey(key) => self.put_key(key),
            UpstreamAct::DeleteKey(id) => drop(self.keys.remove(&id)),
            UpstreamAct::PutPolicy(policy) => drop(self.policies.insert(policy.project.clone(), policy)),
            UpstreamAct::DeletePolicy(project) => drop(self.policies.remove(&project)),
            UpstreamAct::Rotate(step) => {
                let RotationStep { rotation, created, updated, deleted, forgotten } = *step;
                created.into_iter().chain(updated).for_each(|key| self.put_key(key));
                deleted.iter().for_each(|id| drop(self.keys.remove(id)));
                forgotten.iter().for_each(|id| drop(self.rotations.remove(id)));
                self.rotations.insert(rotation.id.clone(), rotation);
            }
        }
    }

    fn put_key(&mut self, key: UpstreamKey) {
        self.keys.insert(key.id.clone(), key);
    }
}
