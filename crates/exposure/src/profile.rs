//! The ordinary use of a key: what it did in the time before its exposure.
//!
//! Hours are told apart as the store sums them, UTC. A typical hour or day is one in which the key was used: idle ones
//! would make every busy hour look odd. Quantiles are nearest-rank, so each is an hour or a day that there was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pricing::Nano;

use crate::moment::{day_of, hour_of, hour_of_day};

/// Seconds before the exposure that count as ordinary: thirty days, so that they are a month's spending too.
pub const BASELINE_SECONDS: i64 = 30 * 86_400;
/// Active days from which on an hour of the day without calls means something: a week, so that every weekday was.
pub const QUIET_DAYS_MIN: usize = 7;
/// Of a hundred active hours (or days), the high one is above so many.
const HIGH_PERCENT: usize = 95;

/// What a model was used for within an hour, or within a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// When that began, Unix seconds.
    pub at: i64,
    /// Model, as it was priced.
    pub model: String,
    /// Requests.
    pub calls: u64,
    /// What they cost.
    pub cost: Nano,
}

/// What came from an address within an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressUse {
    /// When the first call came, Unix seconds.
    pub first_at: i64,
    /// When the last call came.
    pub last_at: i64,
    /// Where they came from.
    pub address: IpAddr,
    /// Calls, those that were refused included.
    pub calls: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// `User-Agent` of the last call.
    pub user_agent: Option<String>,
}

/// What a key did: before and after, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// By model.
    pub uses: Vec<Use>,
    /// By address; empty where nobody wrote addresses down.
    pub addresses: Vec<AddressUse>,
    /// Calls since the exposure from addresses that nobody wrote down, because there were too many within their hour.
    pub calls_elsewhere: u64,
}

/// Calls and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Requests.
    pub calls: u64,
    /// What they cost.
    pub cost: Nano,
}

impl Spent {
    /// Adds to both, up to the largest number.
    pub(crate) fn add(&mut self, calls: u64, cost: Nano) {
        self.calls = self.calls.saturating_add(calls);
        self.cost = self.cost.plus(cost);
    }
}

/// A middle and a high value of calls and of cost, each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// How many hours or days there were.
    pub count: usize,
    /// Half of them were at most this.
    pub median: Spent,
    /// Of a hundred, ninety-five were at most this.
    pub high: Spent,
    /// The most that there was.
    pub most: Spent,
}

impl Spread {
    fn of<'s>(parts: impl Iterator<Item = &'s Spent>) -> Spread {
        let (mut calls, mut costs): (Vec<u64>, Vec<Nano>) = parts.map(|spent| (spent.calls, spent.cost)).unzip();
        calls.sort_unstable();
        costs.sort_unstable();
        let at = |percent| Spent { calls: quantile(&calls, percent), cost: quantile(&costs, percent) };
        Spread { count: calls.len(), median: at(50), high: at(HIGH_PERCENT), most: at(100) }
    }
}

/// The nearest-rank quantile of sorted values; nothing of nothing.
fn quantile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The ordinary use of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// From when, Unix seconds.
    pub from: i64,
    /// Until before when: the exposure.
    pub until: i64,
    /// All of it.
    pub total: Spent,
    /// Active hours.
    pub hours: Spread,
    /// Active days.
    pub days: Spread,
    /// Models, with what was used of each.
    pub models: BTreeMap<String, Spent>,
    /// Requests by hour of the day (UTC).
    pub hours_of_day: [u64; 24],
    /// Addresses from which calls passed.
    pub addresses: BTreeSet<IpAddr>,
    /// Agents of such calls.
    pub agents: BTreeSet<String>,
    /// Days on which the key was used and how much, the newest last.
    pub by_day: BTreeMap<i64, Spent>,
    neighbourhoods: BTreeSet<IpAddr>,
}

impl Profile {
    /// The profile of a key made at `made_at`, from what it did before `since`.
    pub fn of(history: &History, made_at: i64, since: i64) -> Profile {
        let from = since.saturating_sub(BASELINE_SECONDS).max(made_at.min(since));
        let mut profile = Profile { from, until: since, ..Profile::default() };
        let mut by_hour: BTreeMap<i64, Spent> = BTreeMap::new();
        for used in history.uses.iter().filter(|used| (from..since).contains(&used.at)) {
            profile.total.add(used.calls, used.cost);
            profile.models.entry(used.model.clone()).or_default().add(used.calls, used.cost);
            profile.by_day.entry(day_of(used.at)).or_default().add(used.calls, used.cost);
            by_hour.entry(hour_of(used.at)).or_default().add(used.calls, used.cost);
            let calls = &mut profile.hours_of_day[hour_of_day(used.at)];
            *calls = calls.saturating_add(used.calls);
        }
        profile.hours = Spread::of(by_hour.values());
        profile.days = Spread::of(profile.by_day.values());
        // A refused call says nothing about who uses the key by right.
        // Nor does what went on into the exposure: whoever called then may be the thief.
        let passed = |used: &&AddressUse| (from..since).contains(&used.last_at) && used.calls > used.refused;
        for used in history.addresses.iter().filter(passed) {
            profile.addresses.insert(used.address.to_canonical());
            profile.neighbourhoods.insert(neighbourhood(used.address));
            profile.agents.extend(used.user_agent.clone());
        }
        profile
    }

    /// Whether the key was not used before: then nothing can be odd, and everything may be.
    pub fn is_empty(&self) -> bool {
        self.total.calls == 0
    }

    /// Whether the key was never used at this hour of the day, although there was time enough to.
    pub fn is_quiet_at(&self, at: i64) -> bool {
        self.days.count >= QUIET_DAYS_MIN && self.hours_of_day[hour_of_day(at)] == 0
    }

    /// How well an address is known.
    pub fn acquaintance(&self, address: IpAddr) -> Acquaintance {
        if self.addresses.contains(&address.to_canonical()) {
            Acquaintance::Known
        } else if self.neighbourhoods.contains(&neighbourhood(address)) {
            Acquaintance::Neighbour
        } else {
            Acquaintance::New
        }
    }
}

/// How well an address is known from the time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acquaintance {
    /// Calls came from it.
    Known,
    /// Calls came from its neighbourhood: the same /24, or /48 of IPv6.
    Neighbour,
    /// Never seen.
    New,
}

impl Acquaintance {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Acquaintance::Known => "known",
            Acquaintance::Neighbour => "known_network",
            Acquaintance::New => "new",
        }
    }
}

/// The network that an address is taken to share with its neighbours.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}
