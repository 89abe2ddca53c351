//! What a key did since its exposure that it did not do before.
//!
//! A charge is what one model cost in one hour. It is listed as unexpected for reasons that are told, never for a score:
//! whoever disputes a bill has to say why. A charge counts once, however many reasons it has. Where the time before is
//! too short to say what is ordinary, the reasons that need it are left out; where there was none at all, everything is
//! listed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pricing::Nano;

use crate::moment::{hour_of, hour_of_day};
use crate::profile::{Acquaintance, AddressUse, History, Profile, Spent};

/// An hour is odd when it has more than so many times what the high ordinary hour has.
pub const SPIKE_FACTOR: u64 = 2;
/// Active hours from which on a high hour means something: a day's worth.
pub const SPIKE_HOURS_MIN: usize = 24;
/// Most charges, addresses and agents that are listed; the sums count all.
pub const LISTED_MAX: usize = 500;

/// Why a charge looks unexpected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The key had not been used at all.
    NoBaseline,
    /// Nor the model by this key.
    NewModel,
    /// In the hour, calls passed from addresses in networks that had not been seen.
    NewAddress,
    /// The hour had more calls than `SPIKE_FACTOR` times the high ordinary hour.
    ManyCalls,
    /// Or cost more than that.
    HighCost,
    /// At this hour of the day the key had never been used.
    UnusualHour,
}

impl Reason {
    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::NoBaseline => "no_baseline",
            Reason::NewModel => "new_model",
            Reason::NewAddress => "new_address",
            Reason::ManyCalls => "many_calls",
            Reason::HighCost => "high_cost",
            Reason::UnusualHour => "unusual_hour",
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Reason::NoBaseline => "the key was not used before",
            Reason::NewModel => "model not used before",
            Reason::NewAddress => "calls from networks not seen before in this hour",
            Reason::ManyCalls => "more than twice the calls of a high ordinary hour",
            Reason::HighCost => "more than twice the cost of a high ordinary hour",
            Reason::UnusualHour => "hour of the day without use before",
        }
    }
}

/// A charge that looks unexpected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The hour, Unix seconds.
    pub hour: i64,
    /// Model.
    pub model: String,
    /// What it was.
    pub spent: Spent,
    /// Why, in the order of [`Reason`].
    pub reasons: Vec<Reason>,
}

/// What came from an address since the exposure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSince {
    /// The address.
    pub address: IpAddr,
    /// How well it is known.
    pub acquaintance: Acquaintance,
    /// Calls, those that were refused included.
    pub calls: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// When the first came.
    pub first_at: i64,
    /// When the last came.
    pub last_at: i64,
    /// What they called themselves, each once.
    pub agents: BTreeSet<String>,
}

/// What a key did since its exposure, against its profile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Since when, Unix seconds.
    pub since: i64,
    /// All of it.
    pub total: Spent,
    /// Models, with what was used of each, and whether that is new.
    pub models: BTreeMap<String, (Spent, bool)>,
    /// Addresses: new ones first, of those with the most calls first.
    pub addresses: Vec<AddressSince>,
    /// How many more addresses there were than are listed.
    pub addresses_left_out: usize,
    /// Calls from addresses that were not written down: more in an hour than are kept.
    pub calls_elsewhere: u64,
    /// Agents that were not seen before.
    pub new_agents: BTreeSet<String>,
    /// Hours of the day (UTC) in which the key had never been used.
    pub unusual_hours: BTreeSet<usize>,
    /// Charges that look unexpected: the dearest first.
    pub charges: Vec<Charge>,
    /// How many more of them there were than are listed.
    pub charges_left_out: usize,
    /// What all unexpected charges come to, the unlisted included.
    pub unexpected: Spent,
}

impl Difference {
    /// Holds what a key did since `profile.until` against the profile.
    pub fn of(history: &History, profile: &Profile) -> Difference {
        let since = profile.until;
        let calls_elsewhere = history.calls_elsewhere;
        let mut difference = Difference { since, calls_elsewhere, ..Difference::default() };
        let mut by_hour: BTreeMap<i64, Spent> = BTreeMap::new();
        let mut charges: BTreeMap<(i64, &str), Spent> = BTreeMap::new();
        for used in history.uses.iter().filter(|used| used.at >= since) {
            let hour = hour_of(used.at);
            difference.total.add(used.calls, used.cost);
            let is_new = !profile.models.contains_key(&used.model);
            difference
                .models
                .entry(used.model.clone())
                .or_insert((Spent::default(), is_new))
                .0
                .add(used.calls, used.cost);
            by_hour.entry(hour).or_default().add(used.calls, used.cost);
            charges.entry((hour, &used.model)).or_default().add(used.calls, used.cost);
        }
        let strange_hours = difference.meet(history, profile);
        let quiet = by_hour.keys().filter(|hour| profile.is_quiet_at(**hour));
        difference.unusual_hours = quiet.map(|hour| hour_of_day(*hour)).collect();
        let unexpected = charges.into_iter().filter_map(|((hour, model), spent)| {
            let whole = by_hour.get(&hour).copied().unwrap_or_default();
            let reasons = reasons(profile, model, hour, whole, strange_hours.contains(&hour));
            (!reasons.is_empty()).then(|| Charge { hour, model: model.to_owned(), spent, reasons })
        });
        difference.charges = unexpected.collect();
        for charge in &difference.charges {
            difference.unexpected.add(charge.spent.calls, charge.spent.cost);
        }
        let dearest = |charge: &Charge| (std::cmp::Reverse((charge.spent.cost, charge.spent.calls)), charge.hour);
        difference.charges.sort_by(|one, other| (dearest(one), &one.model).cmp(&(dearest(other), &other.model)));
        difference.charges_left_out = difference.charges.len().saturating_sub(LISTED_MAX);
        difference.charges.truncate(LISTED_MAX);
        difference
    }

    /// Notes who called; returns the hours in which calls passed from networks that had not been seen. Where no
    /// addresses are known from before, none is strange.
    fn meet(&mut self, history: &History, profile: &Profile) -> BTreeSet<i64> {
        let mut by_address: BTreeMap<IpAddr, AddressSince> = BTreeMap::new();
        let mut strange_hours = BTreeSet::new();
        for used in history.addresses.iter().filter(|used| used.last_at >= self.since) {
            let acquaintance = profile.acquaintance(used.address);
            let has_passed = used.calls > used.refused;
            if acquaintance == Acquaintance::New && has_passed && !profile.addresses.is_empty() {
                strange_hours.insert(hour_of(used.last_at));
            }
            let new_agent = used.user_agent.iter().filter(|agent| !profile.agents.contains(*agent));
            self.new_agents.extend(new_agent.cloned());
            by_address.entry(used.address.to_canonical()).or_insert_with(|| unmet(used, acquaintance)).count(used);
        }
        self.addresses = by_address.into_values().collect();
        let first =
            |met: &AddressSince| (met.acquaintance != Acquaintance::New, std::cmp::Reverse(met.calls), met.address);
        self.addresses.sort_by_key(first);
        self.addresses_left_out = self.addresses.len().saturating_sub(LISTED_MAX);
        self.addresses.truncate(LISTED_MAX);
        self.new_agents = std::mem::take(&mut self.new_agents).into_iter().take(LISTED_MAX).collect();
        strange_hours
    }
}

fn unmet(used: &AddressUse, acquaintance: Acquaintance) -> AddressSince {
    AddressSince {
        address: used.address.to_canonical(),
        acquaintance,
        calls: 0,
        refused: 0,
        first_at: used.first_at,
        last_at: used.last_at,
        agents: BTreeSet::new(),
    }
}

impl AddressSince {
    fn count(&mut self, used: &AddressUse) {
        self.calls = self.calls.saturating_add(used.calls);
        self.refused = self.refused.saturating_add(used.refused);
        self.first_at = self.first_at.min(used.first_at);
        self.last_at = self.last_at.max(used.last_at);
        self.agents.extend(used.user_agent.clone());
    }
}

/// Why what a model cost in an hour looks unexpected; `whole` is what all models came to in it.
fn reasons(profile: &Profile, model: &str, hour: i64, whole: Spent, is_strange: bool) -> Vec<Reason> {
    if profile.is_empty() {
        return vec![Reason::NoBaseline];
    }
    let high = profile.hours.high;
    let can_spike = profile.hours.count >= SPIKE_HOURS_MIN;
    let costs_much = whole.cost > Nano(high.cost.0.saturating_mul(SPIKE_FACTOR));
    let all = [
        (!profile.models.contains_key(model), Reason::NewModel),
        (is_strange, Reason::NewAddress),
        (can_spike && whole.calls > high.calls.saturating_mul(SPIKE_FACTOR), Reason::ManyCalls),
        (can_spike && costs_much, Reason::HighCost),
        (profile.is_quiet_at(hour), Reason::UnusualHour),
    ];
    all.into_iter().filter(|(applies, _)| *applies).map(|(_, reason)| reason).collect()
}
