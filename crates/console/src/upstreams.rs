//! Ours: `/v1/sallyport/upstreams`, the places that requests can go to.
//!
//! Promises: an upstream's address never changes, and is one that the operator allows, so that no admin key sends a key
//! that it cannot read to a place of its choosing; what runs a program or reads a file is named in the configuration
//! and referred to by its name; no answer holds a secret.
//!
//! | operation | what it does |
//! |---|---|
//! | `GET /upstreams` | the configuration's `default` first, then those that were made here |
//! | `POST /upstreams` | `name`, `url`; `organization`, `project`, `rotate_every_days`, `administration` |
//! | `POST /upstreams/{id}` | changes what is named; `status` `disabled` sends no new requests there |
//! | `DELETE /upstreams/{id}` | removes it with its keys; refused while a project's policy names it |
//!
//! `administration` is `{"project_id", "key"}` or `{"project_id", "source"}`: an admin key of the upstream, given once
//! or by the name of a source, and the upstream's project in which service accounts are made for rotated keys.

use std::fmt;
use std::sync::Arc;

use keys::{DataKey, Enclosed, Place, Secret, redacted_foreign};
use serde_json::{Value, json};
use store::{Act, Administration, Material, Rotation, Upstream, UpstreamAct, UpstreamRecords};
use wire::refusal::{Reason, Refusal};

use crate::UpstreamAdministration;
use crate::input::{Fields, Sizes, deleted, invalid, page_of};
use crate::{Answer, Call, Console, Event, no_such};

/// Most upstreams of a gate.
const UPSTREAMS_MAX: usize = 64;
/// Longest address.
const URL_BYTES_MAX: usize = 2_048;
/// Longest secret; keys of the API have at most some 170 characters.
const SECRET_BYTES_MAX: usize = 4_096;
/// Longest time between two rotations.
const ROTATE_DAYS_MAX: u64 = 3_650;
pub(crate) const PAGES: Sizes = Sizes { min: 1, default: 20, max: 100 };

/// How an upstream key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether new requests use it; otherwise only as a last resort.
    pub is_healthy: bool,
    /// For how long it is left alone, in milliseconds.
    pub open_ms: Option<u64>,
    /// Requests under way.
    pub in_flight: usize,
    /// When a request used it last, Unix seconds; since the start.
    pub last_used_at: Option<i64>,
}

/// The data path's side of upstreams, as the control plane sees it.
pub trait UpstreamsInForce: Send + Sync {
    /// Puts what the directory says in force.
    fn renew(&self);

    /// How a key stands, or in words why it is not in force.
    ///
    /// # Errors
    /// The words. No secrets.
    fn standing(&self, upstream: &str, key: &str) -> Result<Standing, String>;

    /// Whether upstreams may be at an address.
    ///
    /// # Errors
    /// Why not, in words that name the mend.
    fn check_address(&self, url: &str) -> Result<(), String>;

    /// Names of the sources that the configuration has.
    fn sources(&self) -> Vec<String>;

    /// The address of the configuration's upstream, where there is one.
    fn default_address(&self) -> Option<String>;
}

/// What the control plane needs for upstreams.
pub struct Vault {
    /// Seals their keys.
    pub data_key: Arc<DataKey>,
    /// The data path's side.
    pub in_force: Arc<dyn UpstreamsInForce>,
    /// The upstreams' Administration API; `None` where keys are not rotated.
    pub administration: Option<Arc<dyn UpstreamAdministration>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("data_key", &self.data_key).finish_non_exhaustive()
    }
}

/// An upstream as it is shown.
fn show(upstream: &Upstream, records: &UpstreamRecords) -> Value {
    let rotation = records.rotations_of(&upstream.id).pop().map(show_rotation);
    json!({
        "object": "sallyport.upstream",
        "id": upstream.id,
        "name": upstream.name,
        "url": upstream.url,
        "organization": upstream.organization,
        "project": upstream.project,
        "status": status(upstream.is_enabled),
        "administration": upstream.administration.as_ref().map(show_administration),
        "rotate_every_days": upstream.rotate_every_days,
        "rotation": rotation,
        "is_default": false,
        "created_at": upstream.created_at,
    })
}

fn status(is_enabled: bool) -> &'static str {
    if is_enabled { "enabled" } else { "disabled" }
}

fn show_administration(administration: &Administration) -> Value {
    let mut shown = show_material(&administration.key);
    shown["project_id"] = administration.project.as_str().into();
    shown
}

/// Where a secret comes from, as it is shown.
pub(crate) fn show_material(material: &Material) -> Value {
    match material {
        Material::Sealed { redacted, .. } => json!({"redacted_value": redacted, "source": null}),
        Material::Source(name) => json!({"redacted_value": null, "source": name}),
    }
}

/// A rotation as it is shown.
pub(crate) fn show_rotation(rotation: &Rotation) -> Value {
    json!({
        "object": "sallyport.upstream.rotation",
        "id": rotation.id,
        "upstream_id": rotation.upstream,
        "status": rotation.state.word(),
        "old_key_id": rotation.old_key,
        "new_key_id": rotation.new_key,
        "service_account_name": rotation.account_name,
        "started_at": rotation.started_at,
        "changed_at": rotation.changed_at,
        "message": rotation.message,
    })
}

/// What happened to an upstream, for the audit log.
fn event(kind: &'static str, upstream: &Upstream) -> Event {
    let data = json!({
        "name": upstream.name, "url": upstream.url, "status": status(upstream.is_enabled),
        "administration": upstream.administration.as_ref().map(show_administration),
        "rotate_every_days": upstream.rotate_every_days,
    });
    Event { kind, project: None, payload: json!({"id": upstream.id, "data": data}) }
}

impl Console {
    /// What upstreams need; a console that was put together without it has none.
    pub(crate) fn vault(&self) -> Result<&Vault, Refusal> {
        let words = "This gate was put together without a vault: it has the configuration's upstream only.";
        self.vault.as_ref().ok_or_else(|| Refusal::new(Reason::NotServed, words))
    }

    /// An upstream that was made here, by its id.
    pub(crate) fn upstream(&self, id: &str) -> Result<Upstream, Refusal> {
        if id == Upstream::DEFAULT {
            let words = "The default upstream is the configuration's (upstream.url, SALLYPORT_UPSTREAM_KEY): change it there, or make another with POST /v1/sallyport/upstreams.";
            return Err(Refusal::new(Reason::Conflict, words).param("upstream_id"));
        }
        self.snapshot().upstreams.upstreams.get(id).cloned().ok_or_else(|| no_such("upstream", id))
    }

    pub(crate) fn list_upstreams(&self, call: &Call<'_>) -> Answer {
        let snapshot = self.snapshot();
        let records = &snapshot.upstreams;
        let mut upstreams: Vec<&Upstream> = records.upstreams.values().collect();
        upstreams.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        let mut shown: Vec<Value> = self.default_upstream()?.into_iter().collect();
        shown.extend(upstreams.into_iter().map(|upstream| show(upstream, records)));
        page_of(call, PAGES, &shown, |shown| shown["id"].as_str().unwrap_or_default(), Value::clone)
    }

    pub(crate) fn retrieve_upstream(&self, call: &Call<'_>) -> Answer {
        let id = call.param("upstream_id");
        if id == Upstream::DEFAULT {
            return self.default_upstream()?.ok_or_else(|| no_such("upstream", id));
        }
        self.upstream(id).map(|upstream| show(&upstream, &self.snapshot().upstreams))
    }

    /// The configuration's upstream as it is shown.
    fn default_upstream(&self) -> Result<Option<Value>, Refusal> {
        let in_force = &self.vault()?.in_force;
        let Some(url) = in_force.default_address() else { return Ok(None) };
        let standing = in_force.standing(Upstream::DEFAULT, Upstream::DEFAULT);
        let mut shown = json!({
            "object": "sallyport.upstream", "id": Upstream::DEFAULT, "name": Upstream::DEFAULT, "url": url,
            "status": "enabled", "administration": null, "rotate_every_days": null, "rotation": null,
            "is_default": true,
        });
        crate::upstream_keys::add_standing(&mut shown, standing);
        Ok(Some(shown))
    }

    pub(crate) async fn create_upstream(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&["name", "url", "organization", "project", "rotate_every_days", "administration"])?;
        let url = fields.required("url", fields.value("url"))?.as_str().unwrap_or_default().trim_end_matches('/');
        if url.len() > URL_BYTES_MAX {
            return Err(fields.wrong("url", &format!("is longer than {URL_BYTES_MAX} bytes")));
        }
        self.vault()?
            .in_force
            .check_address(url)
            .map_err(|why| invalid("url", format!("'url' cannot be used: {why}.")))?;
        if self.snapshot().upstreams.upstreams.len() >= UPSTREAMS_MAX {
            let words = format!("There are {UPSTREAMS_MAX} upstreams already: delete some.");
            return Err(Refusal::new(Reason::Conflict, words));
        }
        let mut upstream = Upstream {
            id: self.new_id(Upstream::ID_PREFIX),
            name: fields.name()?,
            url: url.to_owned(),
            organization: None,
            project: None,
            is_enabled: true,
            administration: None,
            rotate_every_days: None,
            created_at: self.now(),
        };
        self.read_upstream(&mut upstream, &fields)?;
        let created = event("upstream.created", &upstream);
        let act = Act::Upstream(UpstreamAct::Create(upstream.clone()));
        self.commit(call.actor(), act, vec![created]).await?;
        Ok(show(&upstream, &self.snapshot().upstreams))
    }

    pub(crate) async fn update_upstream(&self, call: &Call<'_>) -> Answer {
        let mut upstream = self.upstream(call.param("upstream_id"))?;
        let fields = Fields::of(call)?;
        if fields.has("url") {
            let words = "'url' cannot be changed: the upstream's keys were given for it. Make another upstream.";
            return Err(Refusal::new(Reason::UnsupportedParameter, words).param("url"));
        }
        fields.only(&["name", "organization", "project", "rotate_every_days", "administration", "status"])?;
        let administered = |upstream: &Upstream| upstream.administration.as_ref().map(|given| given.project.clone());
        let project = administered(&upstream);
        if fields.has("name") {
            upstream.name = fields.name()?;
        }
        match fields.text("status")?.as_deref() {
            None => {}
            Some("enabled") => upstream.is_enabled = true,
            Some("disabled") => upstream.is_enabled = false,
            Some(_) => return Err(fields.wrong("status", "must be enabled or disabled")),
        }
        self.read_upstream(&mut upstream, &fields)?;
        if administered(&upstream) != project {
            // What it has made is where it was made. Another admin key is what may mend it.
            self.refuse_during_rotation(&upstream.id)?;
        }
        let updated = event("upstream.updated", &upstream);
        let act = Act::Upstream(UpstreamAct::Update(upstream.clone()));
        self.commit(call.actor(), act, vec![updated]).await?;
        self.try_rotation_again(&upstream.id);
        Ok(show(&upstream, &self.snapshot().upstreams))
    }

    pub(crate) async fn delete_upstream(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        self.refuse_during_rotation(&upstream.id)?;
        let snapshot = self.snapshot();
        let mut policies = snapshot.upstreams.policies.values();
        if let Some(policy) = policies.find(|policy| policy.members.iter().any(|(id, _)| *id == upstream.id)) {
            let words = format!(
                "Project '{}' uses this upstream: change its policy first (POST /v1/sallyport/projects/{}/upstreams).",
                policy.project, policy.project
            );
            return Err(Refusal::new(Reason::Conflict, words).param("upstream_id"));
        }
        let gone = event("upstream.deleted", &upstream);
        self.commit(call.actor(), Act::Upstream(UpstreamAct::Delete(upstream.id.clone())), vec![gone]).await?;
        Ok(deleted("sallyport.upstream.deleted", &upstream.id))
    }

    /// What a call says about an upstream, new or not.
    fn read_upstream(&self, upstream: &mut Upstream, fields: &Fields) -> Result<(), Refusal> {
        let snapshot = self.snapshot();
        let mut others = snapshot.upstreams.upstreams.values().filter(|other| other.id != upstream.id);
        if upstream.name == Upstream::DEFAULT || others.any(|other| other.name == upstream.name) {
            return Err(fields.wrong("name", "is another upstream's already"));
        }
        for (name, place) in [("organization", &mut upstream.organization), ("project", &mut upstream.project)] {
            if fields.has(name) {
                let text = fields.text(name)?;
                if text.as_deref().is_some_and(|text| !is_header(text)) {
                    return Err(fields.wrong(name, "must be an id, in visible ASCII"));
                }
                *place = text;
            }
        }
        if fields.has("administration") {
            upstream.administration = self.administration(upstream, fields)?;
        }
        if fields.has("rotate_every_days") {
            let days = fields.count("rotate_every_days", 1, ROTATE_DAYS_MAX)?;
            upstream.rotate_every_days = days.and_then(|days| u32::try_from(days).ok());
        }
        if upstream.rotate_every_days.is_some() && upstream.administration.is_none() {
            return Err(fields.wrong("rotate_every_days", "needs 'administration': keys are made with it"));
        }
        Ok(())
    }

    fn administration(&self, upstream: &Upstream, fields: &Fields) -> Result<Option<Administration>, Refusal> {
        let Some(given) = fields.object("administration")? else { return Ok(None) };
        given.only(&["project_id", "key", "source"])?;
        let project = given.required("project_id", given.text("project_id")?)?;
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if project.is_empty() || !project.bytes().all(is_id) {
            return Err(given.wrong("project_id", "must be an id of the upstream's"));
        }
        let before = upstream.administration.as_ref().map(|administration| &administration.key);
        let key = self.material(&given, "key", (Upstream::TABLE, &upstream.place()), before)?;
        Ok(Some(Administration { project, key }))
    }

    /// A secret, given in the field `name` or by its source; sealed for a row of a table, where another may have been
    /// before.
    pub(crate) fn material(
        &self,
        fields: &Fields,
        name: &str,
        (table, row): (&'static str, &str),
        before: Option<&Material>,
    ) -> Result<Material, Refusal> {
        match (fields.value(name), fields.text("source")?) {
            (None, Some(source)) => {
                let sources = self.vault()?.in_force.sources();
                if !sources.contains(&source) {
                    let words = format!(
                        "is none of the configuration's sources ({}): the operator names them in [vault.sources]",
                        if sources.is_empty() { "there are none".to_owned() } else { sources.join(", ") }
                    );
                    return Err(fields.wrong("source", &words));
                }
                Ok(Material::Source(source))
            }
            (Some(Value::String(text)), None) => {
                let secret = Secret::new(text.as_str());
                self.refuse_no_key(fields, name, &secret)?;
                self.seal((table, row), &secret, before)
            }
            (Some(_), None) => Err(fields.wrong(name, "must be a string")),
            (Some(_), Some(_)) => Err(fields.wrong("source", &format!("cannot come together with '{name}'"))),
            (None, None) => fields.required(name, None),
        }
    }

    fn refuse_no_key(&self, fields: &Fields, name: &str, secret: &Secret) -> Result<(), Refusal> {
        if secret.expose().len() > SECRET_BYTES_MAX || !is_header(secret.expose()) {
            return Err(fields.wrong(name, "must be a key: visible ASCII, no blanks"));
        }
        if self.shape.parse(secret.expose()).is_ok() {
            return Err(fields.wrong(name, "is a key of a gate like this one, not of an upstream"));
        }
        Ok(())
    }

    /// Seals a secret for its row.
    pub(crate) fn seal(
        &self,
        (table, row): (&'static str, &str),
        secret: &Secret,
        before: Option<&Material>,
    ) -> Result<Material, Refusal> {
        let version = match before {
            Some(Material::Sealed { sealed: Enclosed { version, .. }, .. }) => version.saturating_add(1),
            _ => 1,
        };
        let sealed = self.vault()?.data_key.seal(Place { table, row, version }, secret, &*self.random);
        Ok(Material::Sealed { sealed, redacted: redacted_foreign(secret) })
    }

    /// 409 while a rotation of an upstream is under way: it would find another state than it left.
    pub(crate) fn refuse_during_rotation(&self, upstream: &str) -> Result<(), Refusal> {
        match self.snapshot().upstreams.rotation_under_way(upstream) {
            None => Ok(()),
            Some(rotation) => {
                let words = format!(
                    "Rotation '{}' of this upstream is under way ({}): wait for its end.",
                    rotation.id,
                    rotation.state.word()
                );
                Err(Refusal::new(Reason::Conflict, words).param("upstream_id"))
            }
        }
    }
}

/// Whether a text can stand in a header as it is.
fn is_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
