//! Profiles, differences and proposals: what must hold whatever a key did, and what a theft looks like.

mod reports;

use std::net::IpAddr;

use pricing::Nano;
use proptest::prelude::*;

use crate::difference::{Difference, LISTED_MAX, Reason};
use crate::moment::{DAY, HOUR};
use crate::profile::{Acquaintance, AddressUse, BASELINE_SECONDS, History, Profile, Spent, Use};
use crate::proposal::propose;

/// Midnight of a Monday, UTC.
const MONDAY: i64 = 1_789_344_000;
/// When the key of these tests was exposed: three weeks later, at ten.
const SINCE: i64 = MONDAY + 21 * DAY + 10 * HOUR;

fn used(at: i64, model: &str, calls: u64, cents: u64) -> Use {
    Use { at, model: model.to_owned(), calls, cost: Nano::from_cents(cents) }
}

fn came(at: i64, address: &str, calls: u64) -> AddressUse {
    let address = address.parse().expect("an address");
    AddressUse { first_at: at, last_at: at + 60, address, calls, refused: 0, user_agent: Some("app/1".into()) }
}

/// Three weeks of office hours: 10 calls and 20 cents an hour, from one address.
fn office() -> History {
    let mut history = History::default();
    for day in 0..21 {
        for hour in 8..18 {
            let at = MONDAY + day * DAY + hour * HOUR;
            history.uses.push(used(at, "gpt-5.4-mini", 10, 20));
            history.addresses.push(came(at, "192.0.2.7", 10));
        }
    }
    history
}

fn held(history: &History) -> (Profile, Difference) {
    let profile = Profile::of(history, MONDAY, SINCE);
    let difference = Difference::of(history, &profile);
    (profile, difference)
}

#[test]
fn a_profile_tells_what_is_ordinary() {
    let (profile, difference) = held(&office());
    let hour = Spent { calls: 10, cost: Nano::from_cents(20) };
    let day = Spent { calls: 100, cost: Nano::from_cents(200) };
    assert_eq!(
        (profile.hours.count, profile.hours.median, profile.hours.high, profile.hours.most),
        (210, hour, hour, hour)
    );
    assert_eq!((profile.days.count, profile.days.median, profile.days.most), (21, day, day));
    assert_eq!(profile.total, Spent { calls: 2_100, cost: Nano::from_cents(4_200) });
    assert_eq!((profile.from, profile.until), (MONDAY, SINCE));
    assert!(profile.is_quiet_at(MONDAY + 3 * HOUR) && !profile.is_quiet_at(MONDAY + 8 * HOUR));
    assert_eq!(difference, Difference { since: SINCE, ..Difference::default() });
}

#[test]
fn going_on_as_before_is_not_unexpected() {
    let mut history = office();
    for hour in 0..8 {
        history.uses.push(used(SINCE + hour * HOUR, "gpt-5.4-mini", 20, 40));
        history.addresses.push(came(SINCE + hour * HOUR, "192.0.2.7", 10));
        // A neighbour: the same network.
        history.addresses.push(came(SINCE + hour * HOUR, "192.0.2.99", 10));
    }
    let (_, difference) = held(&history);
    assert_eq!(difference.total, Spent { calls: 160, cost: Nano::from_cents(320) });
    assert_eq!((difference.charges.len(), difference.unexpected), (0, Spent::default()));
    let standings: Vec<_> = difference.addresses.iter().map(|met| met.acquaintance).collect();
    assert_eq!(standings, [Acquaintance::Known, Acquaintance::Neighbour]);
    assert!(difference.new_agents.is_empty() && difference.unusual_hours.is_empty());
}

#[test]
fn each_reason_is_given_by_itself() {
    let noon = SINCE + 2 * HOUR;
    let night = SINCE + 17 * HOUR;
    let cases: [(Vec<Use>, Vec<AddressUse>, Reason); 5] = [
        (vec![used(noon, "gpt-5.5-pro", 1, 1)], vec![], Reason::NewModel),
        (vec![used(noon, "gpt-5.4-mini", 1, 1)], vec![came(noon, "198.51.100.1", 1)], Reason::NewAddress),
        (vec![used(noon, "gpt-5.4-mini", 21, 1)], vec![], Reason::ManyCalls),
        (vec![used(noon, "gpt-5.4-mini", 1, 41)], vec![], Reason::HighCost),
        (vec![used(night, "gpt-5.4-mini", 1, 1)], vec![], Reason::UnusualHour),
    ];
    for (uses, addresses, reason) in cases {
        let mut history = office();
        history.uses.extend(uses);
        history.addresses.extend(addresses);
        let (_, difference) = held(&history);
        let [charge] = difference.charges.as_slice() else { panic!("{reason:?}: {:?}", difference.charges) };
        assert_eq!(charge.reasons, [reason]);
        assert_eq!(difference.unexpected, charge.spent);
    }
}

#[test]
fn a_spike_is_the_hour_s_over_all_models() {
    let mut history = office();
    history.uses.push(used(MONDAY, "gpt-5.4", 1, 1));
    history.uses.push(used(SINCE, "gpt-5.4", 11, 1));
    // Minutes of the same hour, as the first one is read.
    history.uses.push(used(SINCE + 60, "gpt-5.4-mini", 5, 1));
    history.uses.push(used(SINCE + 120, "gpt-5.4-mini", 5, 1));
    let (_, difference) = held(&history);
    let reasons: Vec<_> =
        difference.charges.iter().map(|charge| (charge.model.as_str(), charge.reasons.clone())).collect();
    assert_eq!(reasons, [("gpt-5.4-mini", vec![Reason::ManyCalls]), ("gpt-5.4", vec![Reason::ManyCalls])]);
}

#[test]
fn refused_calls_are_told_and_make_nothing_strange() {
    let mut history = office();
    history.uses.push(used(SINCE, "gpt-5.4-mini", 1, 1));
    history.addresses.push(AddressUse { refused: 7, ..came(SINCE, "2001:db8::1", 7) });
    let (_, difference) = held(&history);
    assert!(difference.charges.is_empty());
    assert_eq!((difference.addresses[0].acquaintance, difference.addresses[0].refused), (Acquaintance::New, 7));
}

#[test]
fn neighbours_share_a_24_or_a_48() {
    let mut history = office();
    history.addresses.push(came(MONDAY, "2001:db8:1::5", 1));
    history.addresses.push(came(MONDAY, "::ffff:203.0.113.4", 1));
    history.addresses.push(AddressUse { refused: 3, ..came(MONDAY, "198.51.100.66", 3) });
    let (profile, _) = held(&history);
    let met = |address: &str| profile.acquaintance(address.parse::<IpAddr>().expect("an address"));
    for (address, acquaintance) in [
        ("192.0.2.7", Acquaintance::Known),
        ("::ffff:192.0.2.7", Acquaintance::Known),
        ("203.0.113.4", Acquaintance::Known),
        ("192.0.2.255", Acquaintance::Neighbour),
        ("192.0.3.7", Acquaintance::New),
        ("2001:db8:1:ffff::9", Acquaintance::Neighbour),
        ("2001:db8:2::5", Acquaintance::New),
        ("198.51.100.66", Acquaintance::New),
    ] {
        assert_eq!(met(address), acquaintance, "{address}");
    }
}

#[test]
fn whoever_called_into_the_exposure_is_not_known_from_before() {
    let mut history = office();
    history.addresses.push(AddressUse { last_at: SINCE, ..came(SINCE - 600, "198.51.100.1", 4) });
    history.uses.push(used(SINCE, "gpt-5.4-mini", 1, 1));
    let (_, difference) = held(&history);
    assert_eq!(difference.charges[0].reasons, [Reason::NewAddress]);
    assert_eq!(difference.addresses[0].acquaintance, Acquaintance::New);
}

#[test]
fn a_proposal_says_its_arithmetic() {
    let (profile, _) = held(&office());
    let proposal = propose(&profile).expect("spent before");
    assert_eq!((proposal.day, proposal.month), (Nano::from_cents(300), Nano::from_cents(7_200)));
    assert_eq!(
        proposal.words,
        "Day: the highest of 21 active days cost $2.00; with 50 % on top and rounded up to whole dollars that is $3.00. \
         Month: $42.00 in 22 days, which is $57.272727272 in 30; with 25 % on top and rounded up to whole dollars that is $72.00."
    );
    // A key of one busy hour: no more than that day is known.
    let history = History { uses: vec![used(SINCE - HOUR, "m", 1, 999)], ..History::default() };
    let young = propose(&Profile::of(&history, SINCE - HOUR, SINCE)).expect("spent before");
    assert_eq!((young.day, young.month), (Nano::from_cents(1_500), Nano::from_cents(37_500)));
    assert_eq!(propose(&Profile::of(&History::default(), MONDAY, SINCE)), None);
}

prop_compose! {
    fn any_use()(at in SINCE - 40 * DAY..SINCE + 20 * DAY, model in 0..4, calls in 0_u64..1_000, cost: u32) -> Use {
        Use { at, model: format!("model-{model}"), calls, cost: Nano(cost.into()) }
    }
}

prop_compose! {
    fn any_address()(
        at in SINCE - 40 * DAY..SINCE + 20 * DAY, length in 0..2 * HOUR, address in 0_u32..1_000, calls in 0_u64..100,
        refused in 0_u64..100, agent in prop::option::of(0..3),
    ) -> AddressUse {
        AddressUse {
            first_at: at, last_at: at + length, address: IpAddr::from(address.to_be_bytes()), calls,
            refused: refused.min(calls), user_agent: agent.map(|agent| format!("agent/{agent}")),
        }
    }
}

prop_compose! {
    fn any_history()(
        uses in prop::collection::vec(any_use(), 0..300), addresses in prop::collection::vec(any_address(), 0..100),
    ) -> History {
        History { uses, addresses, calls_elsewhere: 7 }
    }
}

fn total<'u>(uses: impl Iterator<Item = &'u Use>) -> Spent {
    uses.fold(Spent::default(), |mut sum, used| {
        sum.add(used.calls, used.cost);
        sum
    })
}

proptest! {
    #[test]
    fn sums_agree(history in any_history(), made_at in SINCE - 50 * DAY..SINCE + DAY) {
        let profile = Profile::of(&history, made_at, SINCE);
        let difference = Difference::of(&history, &profile);
        let from = profile.from;
        prop_assert!((SINCE - BASELINE_SECONDS..=SINCE).contains(&from));
        prop_assert_eq!(profile.total, total(history.uses.iter().filter(|used| (from..SINCE).contains(&used.at))));
        prop_assert_eq!(difference.total, total(history.uses.iter().filter(|used| used.at >= SINCE)));
        let sum = |parts: &mut dyn Iterator<Item = Spent>| parts.fold(Spent::default(), |mut sum, part| {
            sum.add(part.calls, part.cost);
            sum
        });
        prop_assert_eq!(profile.total, sum(&mut profile.models.values().copied()));
        prop_assert_eq!(profile.total, sum(&mut profile.by_day.values().copied()));
        prop_assert_eq!(profile.total.calls, profile.hours_of_day.iter().sum::<u64>());
        prop_assert_eq!(difference.total, sum(&mut difference.models.values().map(|(spent, _)| *spent)));
        prop_assert!(difference.charges.len() <= LISTED_MAX);
        if difference.charges_left_out == 0 {
            prop_assert_eq!(difference.unexpected, sum(&mut difference.charges.iter().map(|charge| charge.spent)));
        }
        prop_assert!(difference.unexpected.calls <= difference.total.calls);
        prop_assert!(difference.unexpected.cost <= difference.total.cost);
        if profile.is_empty() {
            prop_assert_eq!(difference.unexpected, difference.total);
        }
        let calls: u64 = difference.addresses.iter().map(|met| met.calls).sum();
        let came: u64 = history.addresses.iter().filter(|used| used.last_at >= SINCE).map(|used| used.calls).sum();
        prop_assert!(calls == came || difference.addresses_left_out > 0);
        prop_assert!(difference.addresses.iter().all(|met| met.refused <= met.calls && met.first_at <= met.last_at));
        let spread = profile.days;
        prop_assert!(spread.median.cost <= spread.high.cost && spread.high.cost <= spread.most.cost);
    }

    #[test]
    fn the_order_of_uses_tells_nothing(
        (history, uses, addresses) in any_history().prop_flat_map(|history| {
            let (uses, addresses) = (history.uses.clone(), history.addresses.clone());
            (Just(history), Just(uses).prop_shuffle(), Just(addresses).prop_shuffle())
        }),
    ) {
        let shuffled = History { uses, addresses, ..history.clone() };
        prop_assert_eq!(held(&history), held(&shuffled));
    }

    #[test]
    fn a_proposal_lets_an_ordinary_day_pass(history in any_history()) {
        let (profile, _) = held(&history);
        if let Some(proposal) = propose(&profile) {
            prop_assert!(profile.by_day.values().all(|day| day.cost <= proposal.day));
            prop_assert!(proposal.day <= proposal.month && profile.total.cost <= proposal.month);
            prop_assert_eq!((proposal.day.0 % Nano::PER_USD, proposal.month.0 % Nano::PER_USD), (0, 0));
        } else {
            prop_assert_eq!(profile.total.cost, Nano::ZERO);
        }
    }

    #[test]
    fn the_largest_figures_overflow_nothing(ats in prop::collection::vec(any::<i64>(), 1..20), made_at: i64, since: i64) {
        let uses = ats.iter().map(|at| Use { at: *at, model: "m".into(), calls: u64::MAX, cost: Nano(u64::MAX) }).collect();
        let addresses = ats.iter().map(|at| AddressUse {
            first_at: *at, last_at: *at, address: [1, 2, 3, 4].into(), calls: u64::MAX, refused: 0, user_agent: None,
        });
        let history = History { uses, addresses: addresses.collect(), calls_elsewhere: u64::MAX };
        let profile = Profile::of(&history, made_at, since);
        let difference = Difference::of(&history, &profile);
        prop_assert!(difference.unexpected.cost <= difference.total.cost);
        if let Some(proposal) = propose(&profile) {
            prop_assert!(proposal.day >= profile.days.most.cost);
        }
    }
}
