//! Where requests can go: upstreams, their keys, and which project uses which. All of it can change while requests run.
//!
//! Promises: choosing reads an immutable snapshot and atomics, and waits for nobody; a key that is taken out of force
//! gets no new request from the moment that [`Upstreams::install`] returns, and those under way finish with it; its
//! connections and its bytes go with the last of them; a key that stays keeps its connections and what is known of its
//! health; the last key that there is gets requests though its breaker is open.
//!
//! Objects stored upstream belong to an account, so a project's calls that make or name stored objects all go to its
//! home, the first of its upstreams: see [`Ways::at_home`].
//!
//! Left out: where secrets come from; they are given to [`Upstreams::install`] ready for use.

mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use keys::Secret;
use store::{ProjectId, Upstream as Record};

use crate::breaker::State;
use crate::money::region_of;
use crate::settings::{Settings, Timeouts, Upstream};
pub(crate) use target::{Address, InUse, Target, TargetKey};

/// Most upstreams of one policy, and most keys in force of one upstream.
pub const CANDIDATES_MAX: usize = 8;

/// An upstream that is to be in force.
#[derive(Debug)]
pub struct UpstreamInForce {
    /// Its id.
    pub id: String,
    /// Where it is; the key in it is not looked at.
    pub upstream: Upstream,
    /// Its keys.
    pub keys: Vec<KeyInForce>,
}

/// A key that is to be in force.
#[derive(Debug)]
pub struct KeyInForce {
    /// Its id.
    pub id: String,
    /// The key.
    pub secret: Secret,
    /// Whether new requests may use it; otherwise those under way finish with it.
    pub takes_requests: bool,
}

/// A project's choice of upstreams.
#[derive(Debug)]
pub struct PolicyInForce {
    /// The project.
    pub project: ProjectId,
    /// Whether requests are spread by weight.
    pub is_weighted: bool,
    /// Ids of upstreams with their weights; the first is the home.
    pub members: Vec<(String, u32)>,
}

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStanding {
    /// Whether new requests use it, but as a last resort.
    pub is_healthy: bool,
    /// For how long it is still left alone, in milliseconds.
    pub open_ms: Option<u64>,
    /// Requests that are under way with it.
    pub in_flight: usize,
    /// When a request used it last, Unix seconds; since the start.
    pub last_used_at: Option<i64>,
}

/// All upstreams in force.
pub struct Upstreams {
    routes: ArcSwap<Routes>,
    clock: Stopwatch,
    workers: usize,
    timeouts: Timeouts,
}

/// The snapshot.
#[derive(Default)]
struct Routes {
    default: Option<Arc<Route>>,
    by_project: HashMap<ProjectId, Arc<Route>>,
    /// All targets by id, the default one included.
    targets: HashMap<Arc<str>, Arc<Target>>,
}

/// Milliseconds of a clock that never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A project's upstreams.
pub(crate) struct Route {
    members: Vec<(Arc<Target>, u32)>,
    /// Sum of the weights; 0 where the order is that of fail-over.
    weights: u32,
    turn: AtomicU32,
    /// The regions whose prices may apply, each once; the home's first.
    regions: Vec<Option<Arc<str>>>,
}

impl Route {
    fn new(members: Vec<(Arc<Target>, u32)>, is_weighted: bool) -> Route {
        let mut regions = Vec::new();
        for (target, _) in &members {
            if !regions.contains(&target.region) {
                regions.push(target.region.clone());
            }
        }
        let weights = if is_weighted { members.iter().map(|(_, weight)| weight).sum() } else { 0 };
        Route { members, weights, turn: AtomicU32::new(0), regions }
    }

    /// Whether there are upstreams beside the home.
    pub(crate) fn is_plural(&self) -> bool {
        self.members.len() > 1
    }

    /// Whose turn it is. Turns are spread by the golden ratio, so that each weight is met within any few requests.
    fn first(&self) -> usize {
        if self.weights == 0 {
            return 0;
        }
        let turn = self.turn.fetch_add(1, Relaxed).wrapping_mul(0x9E37_79B9);
        let mut at = (u64::from(turn) * u64::from(self.weights)) >> 32;
        let reached = self.members.iter().position(|(_, weight)| {
            let is_here = at < u64::from(*weight);
            at = at.saturating_sub(u64::from(*weight));
            is_here
        });
        reached.unwrap_or(0)
    }
}

/// The ways that one request may take.
#[derive(Clone)]
pub(crate) struct Ways {
    route: Arc<Route>,
    is_at_home: bool,
    first: usize,
}

/// What a request was given: the key, in use until this is dropped, and how it was let pass.
pub(crate) struct Choice {
    pub(crate) in_use: InUse,
    pub(crate) admitted: State,
    pub(crate) target: Arc<Target>,
}

impl Ways {
    /// Any of the route's upstreams.
    pub(crate) fn anywhere(route: Arc<Route>) -> Ways {
        let first = route.first();
        Ways { route, is_at_home: false, first }
    }

    /// The project's home alone, whichever of its keys.
    pub(crate) fn at_home(route: Arc<Route>) -> Ways {
        Ways { route, is_at_home: true, first: 0 }
    }

    /// Regions whose prices may apply.
    pub(crate) fn regions(&self) -> &[Option<Arc<str>>] {
        if self.is_at_home { &self.route.regions[..self.route.regions.len().min(1)] } else { &self.route.regions }
    }

    fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        let members = if self.is_at_home {
            &self.route.members[..1.min(self.route.members.len())]
        } else {
            &self.route.members[..]
        };
        let (before, from) = members.split_at(self.first.min(members.len()));
        from.iter().chain(before).map(|(target, _)| target)
    }

    /// The next key to try: of the first upstream that has one which is well, the one with the fewest requests under
    /// way. When none is, and none was tried, the one that is left alone for the shortest time.
    pub(crate) fn choose(&self, tried: &Tried, clock: Stopwatch) -> Option<Choice> {
        for target in self.targets().filter(|target| !tried.holds_target(target)) {
            // A key may be taken out of force, or another one's breaker open, between the look and the grip.
            for _ in 0..CANDIDATES_MAX {
                let keys = target.keys.load();
                let well = keys.iter().filter(|key| !tried.holds(key) && key.breaker.would_admit(|| clock.now_ms()));
                let Some(key) = well.min_by_key(|key| key.in_flight()) else { break };
                let Some(in_use) = InUse::begin(key) else { continue };
                if let Some(admitted) = key.breaker.admit(|| clock.now_ms()) {
                    return Some(Choice { in_use, admitted, target: Arc::clone(target) });
                }
            }
        }
        if tried.is_empty() { self.last_resort() } else { None }
    }

    fn last_resort(&self) -> Option<Choice> {
        let mut best: Option<(u64, Arc<TargetKey>, &Arc<Target>)> = None;
        for target in self.targets() {
            for key in target.keys.load().iter() {
                let until_ms = key.breaker.state().until_ms();
                if best.as_ref().is_none_or(|(least_ms, ..)| until_ms < *least_ms) {
                    best = Some((until_ms, Arc::clone(key), target));
                }
            }
        }
        let (_, key, target) = best?;
        let admitted = key.breaker.state();
        InUse::begin(&key).map(|in_use| Choice { in_use, admitted, target: Arc::clone(target) })
    }
}

/// What one request has tried. Mostly nothing, which takes no memory.
#[derive(Default)]
pub(crate) struct Tried {
    keys: Vec<Arc<TargetKey>>,
    targets: Vec<Arc<Target>>,
}

impl Tried {
    /// Notes a key that is not to be tried again.
    pub(crate) fn add(&mut self, key: &Arc<TargetKey>) {
        self.keys.push(Arc::clone(key));
    }

    /// Notes an upstream that cannot be reached with any key.
    pub(crate) fn add_target(&mut self, target: &Arc<Target>) {
        self.targets.push(Arc::clone(target));
    }

    fn holds(&self, key: &Arc<TargetKey>) -> bool {
        self.keys.iter().any(|tried| Arc::ptr_eq(tried, key))
    }

    fn holds_target(&self, target: &Arc<Target>) -> bool {
        self.keys.len() >= CANDIDATES_MAX || self.targets.iter().any(|tried| Arc::ptr_eq(tried, target))
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.targets.is_empty()
    }
}

impl Upstreams {
    /// The configuration's upstream alone, where there is one.
    pub fn new(settings: &Settings) -> Arc<Upstreams> {
        let workers = settings.workers.max(1);
        let mut routes = Routes::default();
        if let Some(upstream) = &settings.upstream {
            let id: Arc<str> = Record::DEFAULT.into();
            let address = Arc::new(Address::new(upstream));
            let key = TargetKey::new(Arc::clone(&id), &address, upstream.key.clone(), workers);
            let target = Arc::new(Target::new(Arc::clone(&id), region_of(upstream.authority.host())));
            target.keys.store(Arc::new(vec![Arc::new(key)]));
            routes.default = Some(Arc::new(Route::new(vec![(Arc::clone(&target), 1)], false)));
            routes.targets.insert(id, target);
        }
        let (clock, timeouts) = (Stopwatch(Instant::now()), settings.timeouts.clone());
        Arc::new(Upstreams { routes: ArcSwap::from_pointee(routes), clock, workers, timeouts })
    }

    /// Puts these upstreams and policies in force beside the configuration's, in all workers, in the place of those
    /// before. Calls come one after the other.
    pub fn install(&self, upstreams: Vec<UpstreamInForce>, policies: Vec<PolicyInForce>) {
        let before = self.routes.load_full();
        let mut routes = Routes { default: before.default.clone(), ..Routes::default() };
        routes
            .targets
            .extend(before.targets.get_key_value(Record::DEFAULT).map(|(id, t)| (Arc::clone(id), Arc::clone(t))));
        for upstream in upstreams {
            let target = self.renewed(before.targets.get(upstream.id.as_str()), upstream);
            routes.targets.insert(Arc::clone(&target.id), target);
        }
        for policy in policies {
            // One that is not in force keeps its place, with no key: were the home left out, the next would be taken for it.
            let target = |(id, weight): &(String, u32)| {
                let nowhere = || Arc::new(Target::new(id.as_str().into(), None));
                (routes.targets.get(id.as_str()).cloned().unwrap_or_else(nowhere), *weight)
            };
            let members: Vec<_> = policy.members.iter().map(target).collect();
            let route = Arc::new(Route::new(members, policy.is_weighted));
            routes.by_project.insert(policy.project, route);
        }
        let gone = before
            .targets
            .iter()
            .filter(|(id, _)| !routes.targets.contains_key(*id))
            .map(|(_, target)| Arc::clone(target));
        let gone: Vec<_> = gone.collect();
        self.routes.store(Arc::new(routes));
        for target in gone {
            let keys = target.keys.swap(Arc::default());
            let retired = target.retired.swap(Arc::default());
            keys.iter().chain(retired.iter()).for_each(|key| key.retire());
        }
    }

    /// An upstream's target: the one before with its keys as they are now, or a new one. The host of an upstream never
    /// changes, and with it the region whose price was held.
    fn renewed(&self, before: Option<&Arc<Target>>, upstream: UpstreamInForce) -> Arc<Target> {
        let address = Arc::new(Address::new(&upstream.upstream));
        let made = || Arc::new(Target::new(upstream.id.into(), region_of(address.authority.host())));
        let target = before.cloned().unwrap_or_else(made);
        let known: Vec<Arc<TargetKey>> = match before {
            Some(before) => before.keys.load().iter().chain(before.retired.load().iter()).cloned().collect(),
            None => Vec::new(),
        };
        let (mut keys, mut retired) = (Vec::new(), Vec::new());
        for key in upstream.keys {
            let same = known.iter().find(|known| known.is(&key.id, &address, &key.secret)).cloned();
            let made = || Arc::new(TargetKey::new(key.id.into(), &address, Some(key.secret), self.workers));
            let in_force = same.unwrap_or_else(made);
            if key.takes_requests {
                in_force.take_requests();
                keys.push(in_force);
            } else {
                retired.push(in_force);
            }
        }
        let is_kept = |key: &Arc<TargetKey>| keys.iter().any(|kept| Arc::ptr_eq(kept, key));
        let gone: Vec<_> = known.into_iter().filter(|key| !is_kept(key)).collect();
        let all_retired = retired.clone();
        target.retired.store(Arc::new(retired));
        target.keys.store(Arc::new(keys));
        // Once nobody can find them any more.
        gone.iter().chain(&all_retired).for_each(|key| key.retire());
        target
    }

    /// The route of a project; `None` where the embedded model is all there is.
    pub(crate) fn route(&self, project: Option<&ProjectId>) -> Option<Arc<Route>> {
        let routes = self.routes.load();
        let own = project.filter(|_| !routes.by_project.is_empty()).and_then(|id| routes.by_project.get(id));
        own.or(routes.default.as_ref()).cloned()
    }

    /// Whether there is any upstream.
    pub fn is_any(&self) -> bool {
        !self.routes.load().targets.is_empty()
    }

    /// How a key stands; `None` for one that is not in force.
    pub fn standing(&self, upstream: &str, key: &str) -> Option<KeyStanding> {
        let routes = self.routes.load();
        let target = routes.targets.get(upstream)?;
        let (keys, retired) = (target.keys.load(), target.retired.load());
        let key = keys.iter().chain(retired.iter()).find(|known| *known.id == *key)?;
        let (state, now_ms) = (key.breaker.state(), self.clock.now_ms());
        Some(KeyStanding {
            is_healthy: !state.is_open(),
            open_ms: state.is_open().then(|| state.until_ms().saturating_sub(now_ms)),
            in_flight: key.in_flight(),
            last_used_at: key.last_used_at(),
        })
    }

    /// How many keys there are that take requests, and how many of them are left alone.
    pub(crate) fn count(&self) -> (usize, usize) {
        let routes = self.routes.load();
        let mut count = (0, 0);
        for target in routes.targets.values() {
            for key in target.keys.load().iter() {
                count.0 += 1;
                count.1 += usize::from(key.breaker.state().is_open());
            }
        }
        count
    }

    pub(crate) fn clock(&self) -> Stopwatch {
        self.clock
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}

#[cfg(test)]
mod tests;
