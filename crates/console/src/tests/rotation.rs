//! Rotations against an upstream that fails as it is told, and over random histories of failures, crashes and time.

use std::sync::Mutex;

use async_trait::async_trait;
use keys::{DataKey, Secret};
use store::{Rotation, RotationState, Upstream, UpstreamKey, UpstreamKeyState};

use super::*;
use crate::{
    AdministrationFault, DRAIN_SECONDS_MAX, NewAccount, Standing, UpstreamAdministration, UpstreamsInForce, Vault,
};

/// An upstream, and the data path before it.
#[derive(Default)]
pub(super) struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Service accounts by id, with their names.
    accounts: Vec<(String, String)>,
    made: usize,
    in_flight: usize,
    knows_new_keys: bool,
    /// What the next calls fail with, the first first: whether it passes, and whether the work was done all the same.
    faults: Vec<(bool, bool)>,
    expiries: Vec<String>,
}

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Does the work of a call, unless it is to fail before.
    fn call<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, AdministrationFault> {
        let mut state = self.state();
        let fault = if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) };
        match fault {
            None => Ok(work(&mut state)),
            Some((is_passing, is_done)) => {
                if is_done {
                    work(&mut state);
                }
                Err(AdministrationFault { words: "told to fail".into(), is_passing })
            }
        }
    }
}

impl UpstreamsInForce for Fake {
    fn renew(&self) {}

    fn standing(&self, _upstream: &str, _key: &str) -> Result<Standing, String> {
        Ok(Standing { is_healthy: true, open_ms: None, in_flight: self.state().in_flight, last_used_at: None })
    }

    fn check_address(&self, _url: &str) -> Result<(), String> {
        Ok(())
    }

    fn sources(&self) -> Vec<String> {
        vec!["admin".into()]
    }

    fn default_address(&self) -> Option<String> {
        None
    }
}

#[async_trait]
impl UpstreamAdministration for Fake {
    async fn create_account(&self, _upstream: &Upstream, name: &str) -> Result<NewAccount, AdministrationFault> {
        self.call(|state| {
            state.made += 1;
            let id = format!("svc_acct_{}", state.made);
            state.accounts.push((id.clone(), name.to_owned()));
            NewAccount { key_id: format!("key_{}", state.made), key: Secret::new(format!("sk-new-{id}")), id }
        })
    }

    async fn accounts_named(&self, _upstream: &Upstream, name: &str) -> Result<Vec<String>, AdministrationFault> {
        self.call(|state| {
            let named = state.accounts.iter().filter(|(_, known)| known == name);
            named.map(|(id, _)| id.clone()).collect()
        })
    }

    async fn delete_account(&self, _upstream: &Upstream, account: &str) -> Result<(), AdministrationFault> {
        self.call(|state| state.accounts.retain(|(id, _)| id != account))
    }

    async fn expire_key(&self, _upstream: &Upstream, key_id: &str, seconds: i64) -> Result<(), AdministrationFault> {
        assert!(seconds > DRAIN_SECONDS_MAX, "it outlives its requests");
        self.call(|state| state.expiries.push(key_id.to_owned()))
    }

    async fn key_works(&self, _upstream: &Upstream, _key: &UpstreamKey) -> Result<bool, AdministrationFault> {
        self.call(|state| state.knows_new_keys)
    }
}

pub(super) fn vault(fake: &Arc<Fake>) -> Vault {
    let master = MasterKey::from_text(&"ab".repeat(32)).expect("hexadecimal");
    let (data_key, _) = DataKey::create("data_key", &master, &SystemRandom);
    Vault { data_key: Arc::new(data_key), in_force: fake.clone(), administration: Some(fake.clone()) }
}

/// A gate with an upstream that has one key, of service account `svc_acct_0`; the upstream's path.
async fn managed() -> (World, Arc<Fake>, String) {
    let mut world = still_world().await;
    let fake = Arc::new(Fake::default());
    fake.state().knows_new_keys = true;
    fake.state().accounts.push(("svc_acct_0".into(), "by hand".into()));
    world.console = world.console.with_vault(vault(&fake));
    let administration = json!({"project_id": "proj_real", "source": "admin"});
    let made = json!({"name": "Managed", "url": "https://api.openai.com/v1", "administration": administration});
    let made = world.ok("POST", "/v1/sallyport/upstreams", made).await;
    let path = format!("/v1/sallyport/upstreams/{}", made["id"].as_str().expect("an id"));
    let key = json!({"name": "first", "value": "sk-old", "service_account_id": "svc_acct_0", "key_id": "key_0"});
    world.ok("POST", &format!("{path}/keys"), key).await;
    (world, fake, path)
}

impl World {
    fn rotations(&self) -> Vec<Rotation> {
        let snapshot = self.console.snapshot();
        let mut rotations: Vec<Rotation> = snapshot.upstreams.rotations.values().cloned().collect();
        rotations.sort_by_key(|rotation| rotation.started_at);
        rotations
    }

    fn enabled_keys(&self) -> usize {
        let snapshot = self.console.snapshot();
        snapshot.upstreams.keys.values().filter(|key| key.state == UpstreamKeyState::Enabled).count()
    }

    /// Goes on until nothing moves, and time passes only as far as a test lets it.
    async fn settle(&self) {
        while self.console.advance_rotations().await.1 {}
    }

    /// The process ends, and another one begins with what is stored.
    async fn restart(&mut self, fake: &Arc<Fake>, data_key: Arc<DataKey>) {
        let records = self.store.load().await.expect("readable").expect("there");
        self.console.directory = Arc::new(Directory::new(records));
        self.console.attempts = Default::default();
        self.console.vault = Some(Vault { data_key, ..vault(fake) });
        let digest = self.console.pepper.digest(&self.secrets[0]);
        self.caller = Arc::clone(self.console.snapshot().key(&digest).expect("the admin key"));
        fake.state().in_flight = 0;
    }
}

#[tokio::test]
async fn a_rotation_leaves_one_key_and_one_account() {
    let (world, fake, path) = managed().await;
    world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
    let refused = world.refused("POST", &format!("{path}/rotate"), Value::Null).await;
    assert_eq!(refused.reason, Reason::Conflict, "one at a time");
    fake.state().in_flight = 1;
    world.settle().await;
    assert_eq!(world.rotations()[0].state, RotationState::Draining);
    assert_eq!((world.enabled_keys(), fake.state().expiries.clone()), (1, vec!["key_0".to_owned()]));
    fake.state().in_flight = 0;
    world.settle().await;
    assert_eq!(world.rotations()[0].state, RotationState::Completed);
    assert_eq!(fake.state().accounts.len(), 1);
    assert_eq!((world.console.snapshot().upstreams.keys.len(), world.enabled_keys()), (1, 1));
}

#[tokio::test]
async fn requests_that_never_end_do_not_keep_the_old_key() {
    let (world, fake, path) = managed().await;
    fake.state().in_flight = 1;
    world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
    world.settle().await;
    world.clock.0.fetch_add(DRAIN_SECONDS_MAX - 1, SeqCst);
    world.settle().await;
    assert_eq!(world.rotations()[0].state, RotationState::Draining);
    world.clock.0.fetch_add(1, SeqCst);
    world.settle().await;
    assert_eq!(world.rotations()[0].state, RotationState::Completed);
}

#[tokio::test]
async fn a_new_key_that_never_works_is_deleted_and_the_old_one_stays() {
    let (world, fake, path) = managed().await;
    fake.state().knows_new_keys = false;
    world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
    for _ in 0..100 {
        world.settle().await;
        assert_eq!(world.enabled_keys(), 1);
        world.clock.0.fetch_add(60, SeqCst);
    }
    let failed = &world.rotations()[0];
    assert_eq!(failed.state, RotationState::Failed);
    assert!(failed.message.as_deref().is_some_and(|words| words.contains("does not know the new key")), "{failed:?}");
    assert_eq!(fake.state().accounts, [("svc_acct_0".to_owned(), "by hand".to_owned())]);
    assert_eq!(world.console.snapshot().upstreams.keys.len(), 1);
    // The next one is well.
    fake.state().knows_new_keys = true;
    world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
    world.settle().await;
    assert_eq!(world.rotations()[1].state, RotationState::Completed);
}

#[tokio::test]
async fn a_key_without_a_known_account_is_left_to_be_deleted_by_hand() {
    let (world, _, path) = managed().await;
    let keys = world.ok("GET", &format!("{path}/keys"), Value::Null).await;
    let key = format!("{path}/keys/{}", ids(&keys)[0]);
    world.ok("POST", &key, json!({"service_account_id": null, "key_id": null})).await;
    world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
    world.settle().await;
    let done = &world.rotations()[0];
    assert!(
        done.state == RotationState::Completed
            && done.message.as_deref().is_some_and(|words| words.contains("by hand"))
    );
}

/// An admin key that the upstream refuses stops a rotation; another one mends it, and without one it ends by itself.
#[tokio::test]
async fn a_refused_admin_key_can_be_mended_while_a_rotation_waits_for_it() {
    let (world, fake, path) = managed().await;
    world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
    fake.state().faults = vec![(false, false); 3];
    world.settle().await;
    assert_eq!(world.rotations()[0].state, RotationState::Abandoning);
    let moved = json!({"administration": {"project_id": "proj_other", "source": "admin"}});
    assert_eq!(world.refused("POST", &path, moved).await.reason, Reason::Conflict);
    fake.state().faults = Vec::new();
    world.ok("POST", &path, json!({"administration": {"project_id": "proj_real", "key": "sk-admin"}})).await;
    world.settle().await;
    assert_eq!(world.rotations()[0].state, RotationState::Failed);
    world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
    fake.state().in_flight = 1;
    world.settle().await;
    fake.state().in_flight = 0;
    for _ in 0..200 {
        fake.state().faults = vec![(false, false)];
        world.settle().await;
        world.clock.0.fetch_add(600, SeqCst);
    }
    let done = &world.rotations()[1];
    let by_hand =
        done.message.as_deref().is_some_and(|words| words.contains("svc_acct_0") && words.contains("by hand"));
    assert!(done.state == RotationState::Completed && by_hand, "{done:?}");
}

#[tokio::test]
async fn by_schedule_a_key_goes_when_it_is_old_enough() {
    let (world, fake, path) = managed().await;
    world.ok("POST", &path, json!({"rotate_every_days": 30})).await;
    world.settle().await;
    world.clock.0.fetch_add(30 * 86_400 - 1, SeqCst);
    world.settle().await;
    assert!(world.rotations().is_empty());
    world.clock.0.fetch_add(1, SeqCst);
    fake.state().faults = vec![(false, false)];
    world.settle().await;
    assert_eq!(world.rotations()[0].state, RotationState::Failed);
    world.settle().await;
    assert_eq!(world.rotations().len(), 1, "after a failure it waits");
    world.clock.0.fetch_add(3_600, SeqCst);
    world.settle().await;
    assert_eq!(world.rotations()[1].state, RotationState::Completed);
    world.clock.0.fetch_add(29 * 86_400, SeqCst);
    world.settle().await;
    assert_eq!(world.rotations().len(), 2, "the new key is young");
}

/// Random histories: calls fail before or after their work, for a time or for good, the store is down now and then, the
/// process ends at any step, time passes. At every moment one key is in force; in the end there is one account.
#[tokio::test]
async fn no_history_loses_a_key_or_leaves_an_account() {
    for seed in 1_u64..40 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let (mut world, fake, path) = managed().await;
        let data_key = Arc::clone(&world.console.vault.as_ref().expect("there").data_key);
        world.ok("POST", &format!("{path}/rotate"), Value::Null).await;
        for _ in 0..30 {
            let faults = (0..random(3)).map(|_| (random(8) > 0, random(2) == 0)).collect();
            fake.state().faults = faults;
            fake.state().in_flight = usize::try_from(random(2)).expect("small");
            fake.state().knows_new_keys = random(3) > 0;
            world.store.is_down.store(random(6) == 0, SeqCst);
            world.console.advance_rotations().await;
            world.store.is_down.store(false, SeqCst);
            assert_eq!(world.enabled_keys(), 1, "seed {seed}: {:?}", world.rotations());
            world.clock.0.fetch_add(i64::try_from(random(40)).expect("small"), SeqCst);
            if random(5) == 0 {
                world.restart(&fake, Arc::clone(&data_key)).await;
            }
        }
        fake.state().faults = Vec::new();
        (fake.state().in_flight, fake.state().knows_new_keys) = (0, true);
        world.clock.0.fetch_add(3_600, SeqCst);
        world.settle().await;
        let last = world.rotations().pop().expect("one");
        assert!(last.state.is_over(), "seed {seed}: {last:?}");
        assert_eq!(fake.state().accounts.len(), 1, "seed {seed}: {last:?}");
        assert_eq!((world.console.snapshot().upstreams.keys.len(), world.enabled_keys()), (1, 1), "seed {seed}");
        let (held, loaded) = super::writing::both(&world).await;
        assert_eq!(held, loaded, "seed {seed}");
    }
}
