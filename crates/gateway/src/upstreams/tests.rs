use std::collections::BTreeSet;

use proptest::prelude::*;
use store::ProjectId;

use super::*;
use crate::breaker::Fault;
use crate::settings::{GuardLimits, Limits, parse_upstream_url};

fn upstream(url: &str) -> Upstream {
    let (scheme, authority, base_path) = parse_upstream_url(url).expect("a URL");
    let roots = rustls::RootCertStore::empty();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Upstream {
        scheme,
        authority,
        base_path,
        key: Some(Secret::new("sk-default")),
        organization: None,
        project: None,
        tls,
    }
}

fn upstreams() -> Arc<Upstreams> {
    Upstreams::new(&Settings {
        workers: 2,
        tls: None,
        proxy_protocol: false,
        trusted_proxies: Vec::new(),
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        guards: GuardLimits::default(),
        upstream: Some(upstream("https://api.openai.com/v1")),
        local_model: "local",
        local_aliases: BTreeSet::new(),
    })
}

fn key(id: &str, takes_requests: bool) -> KeyInForce {
    KeyInForce { id: id.into(), secret: Secret::new(format!("sk-{id}")), takes_requests }
}

fn in_force(id: &str, host: &str, keys: &[&str]) -> UpstreamInForce {
    let keys = keys.iter().map(|id| key(id, true)).collect();
    UpstreamInForce { id: id.into(), upstream: upstream(&format!("https://{host}/v1")), keys }
}

fn policy(is_weighted: bool, members: &[(&str, u32)]) -> PolicyInForce {
    let members = members.iter().map(|(id, weight)| ((*id).to_owned(), *weight)).collect();
    PolicyInForce { project: ProjectId::new("proj_a"), is_weighted, members }
}

fn ways(upstreams: &Upstreams) -> Ways {
    Ways::anywhere(upstreams.route(Some(&ProjectId::new("proj_a"))).expect("a route"))
}

fn chosen(ways: &Ways, tried: &Tried, upstreams: &Upstreams) -> Option<String> {
    ways.choose(tried, upstreams.clock()).map(|choice| choice.in_use.key().id.to_string())
}

/// All that a request would try, in order, if each refused to work.
fn order(ways: &Ways, upstreams: &Upstreams) -> Vec<String> {
    let mut tried = Tried::default();
    let mut ids = Vec::new();
    while let Some(choice) = ways.choose(&tried, upstreams.clock()) {
        ids.push(choice.in_use.key().id.to_string());
        tried.add(choice.in_use.key());
    }
    ids
}

fn fail(ways: &Ways, upstreams: &Upstreams, fault: Fault) -> String {
    let choice = ways.choose(&Tried::default(), upstreams.clock()).expect("a key");
    let key = choice.in_use.key();
    key.breaker.failed(choice.admitted, fault, upstreams.clock().now_ms());
    key.id.to_string()
}

#[test]
fn a_project_without_a_policy_uses_the_default() {
    let upstreams = upstreams();
    upstreams.install(vec![in_force("b", "b.example", &["b1"])], vec![policy(false, &[("b", 1)])]);
    let other = Ways::anywhere(upstreams.route(Some(&ProjectId::new("proj_b"))).expect("a route"));
    assert_eq!(order(&other, &upstreams), ["default"]);
    assert_eq!(order(&ways(&upstreams), &upstreams), ["b1"], "and one with a policy nothing else");
    upstreams.install(vec![in_force("b", "b.example", &[])], vec![policy(false, &[("b", 1)])]);
    assert_eq!(order(&ways(&upstreams), &upstreams), [""; 0], "not even when it has no key");
}

#[test]
fn fail_over_takes_the_keys_of_one_upstream_then_the_next() {
    let upstreams = upstreams();
    let specs = || vec![in_force("a", "a.example", &["a1", "a2"]), in_force("b", "b.example", &["b1"])];
    upstreams.install(specs(), vec![policy(false, &[("a", 1), ("default", 1), ("b", 1)])]);
    let ways = ways(&upstreams);
    assert_eq!(order(&ways, &upstreams), ["a1", "a2", "default", "b1"]);
    let mut tried = Tried::default();
    let choice = ways.choose(&tried, upstreams.clock()).expect("a key");
    tried.add_target(&choice.target);
    assert_eq!(chosen(&ways, &tried, &upstreams).as_deref(), Some("default"), "an unreachable host has no other key");
    assert_eq!(chosen(&ways, &Tried::default(), &upstreams).as_deref(), Some("a2"), "a1 has a request under way");
    drop(choice);
    assert_eq!(fail(&ways, &upstreams, Fault::Refused), "a1");
    assert_eq!(order(&ways, &upstreams), ["a2", "default", "b1"]);
    let home = Ways::at_home(upstreams.route(Some(&ProjectId::new("proj_a"))).expect("a route"));
    assert_eq!(order(&home, &upstreams), ["a2"], "objects stay where they are");
    assert_eq!((upstreams.count(), upstreams.standing("a", "a1").expect("there").is_healthy), ((4, 1), false));
    let only_b = vec![in_force("b", "b.example", &["b1"])];
    upstreams.install(only_b, vec![policy(false, &[("a", 1), ("b", 1)])]);
    let route = || upstreams.route(Some(&ProjectId::new("proj_a"))).expect("a route");
    assert_eq!(order(&Ways::at_home(route()), &upstreams), [""; 0], "and are looked for nowhere else");
    assert_eq!(order(&Ways::anywhere(route()), &upstreams), ["b1"]);
}

#[test]
fn the_last_resort_is_the_one_that_is_left_alone_for_the_shortest_time() {
    let upstreams = upstreams();
    upstreams.install(vec![in_force("a", "a.example", &["a1", "a2"])], vec![policy(false, &[("a", 1)])]);
    let ways = ways(&upstreams);
    assert_eq!(fail(&ways, &upstreams, Fault::Refused), "a1");
    assert_eq!(fail(&ways, &upstreams, Fault::Overloaded), "a2");
    assert_eq!(order(&ways, &upstreams), ["a2"], "and only it, once");
}

#[test]
fn what_is_not_changed_keeps_its_health_and_what_is_gone_takes_nothing() {
    let upstreams = upstreams();
    let policies = || vec![policy(false, &[("a", 1)])];
    upstreams.install(vec![in_force("a", "a.example", &["a1", "a2"])], policies());
    // A request that found its route before the change.
    let ways = ways(&upstreams);
    assert_eq!(fail(&ways, &upstreams, Fault::Refused), "a1");
    let under_way = ways.choose(&Tried::default(), upstreams.clock()).expect("a2");
    let drained = UpstreamInForce {
        keys: vec![key("a1", true), key("a2", false), key("a3", true)],
        ..in_force("a", "a.example", &[])
    };
    upstreams.install(vec![drained], policies());
    assert!(!upstreams.standing("a", "a1").expect("kept").is_healthy);
    assert_eq!(order(&ways, &upstreams), ["a3"]);
    assert!(InUse::begin(under_way.in_use.key()).is_none(), "it takes no requests any more");
    assert_eq!(upstreams.standing("a", "a2").expect("draining").in_flight, 1);
    drop(under_way);
    assert_eq!(upstreams.standing("a", "a2").expect("draining").in_flight, 0);
    upstreams.install(vec![in_force("a", "a.example", &["a2"])], policies());
    assert_eq!(order(&ways, &upstreams), ["a2"], "and again, when it is enabled again");
    let changed = UpstreamInForce {
        keys: vec![KeyInForce { secret: Secret::new("sk-other"), ..key("a2", true) }],
        ..in_force("a", "a.example", &[])
    };
    upstreams.install(vec![changed], policies());
    let choice = ways.choose(&Tried::default(), upstreams.clock()).expect("a key");
    assert_eq!(choice.in_use.key().secret(), Some("sk-other"), "a source that changed");
    upstreams.install(Vec::new(), policies());
    assert_eq!(order(&ways, &upstreams), [""; 0]);
    assert!(upstreams.standing("a", "a2").is_none());
}

#[test]
fn the_price_of_the_dearest_region_is_held_where_a_request_may_go() {
    let upstreams = upstreams();
    let specs = vec![in_force("eu", "eu.api.openai.com", &["e1"]), in_force("us", "us.api.openai.com", &["u1"])];
    upstreams.install(specs, vec![policy(false, &[("default", 1), ("eu", 1), ("us", 1)])]);
    let regions = |ways: &Ways| {
        ways.regions().iter().map(|region| region.as_deref().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(regions(&ways(&upstreams)), ["", "eu", "us"]);
    let route = upstreams.route(Some(&ProjectId::new("proj_a"))).expect("a route");
    assert_eq!(regions(&Ways::at_home(route)), [""]);
}

proptest! {
    /// Over any stretch of requests each upstream gets its share, to within a few.
    #[test]
    fn weights_are_shares(weights in prop::collection::vec(1_u32..100, 1..CANDIDATES_MAX), skipped in 0_u32..1_000) {
        let upstreams = upstreams();
        let ids: Vec<String> = (0..weights.len()).map(|at| format!("u{at}")).collect();
        let specs = ids.iter().map(|id| in_force(id, "x.example", &[id.as_str()])).collect();
        let members: Vec<_> = ids.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        upstreams.install(specs, vec![policy(true, &members)]);
        let route = upstreams.route(Some(&ProjectId::new("proj_a"))).expect("a route");
        (0..skipped).for_each(|_| assert!(route.first() < weights.len()));
        let (count, sum) = (5_000_u32, weights.iter().sum::<u32>());
        let mut met = vec![0_u32; weights.len()];
        (0..count).for_each(|_| met[route.first()] += 1);
        for (met, weight) in met.iter().zip(&weights) {
            let fair = f64::from(count) * f64::from(*weight) / f64::from(sum);
            prop_assert!((f64::from(*met) - fair).abs() <= 4.0, "{met} of {fair}");
        }
    }
}

/// Keys are retired and enabled again while threads take them: whoever sees nothing in flight after a retirement is right.
#[test]
fn nobody_begins_with_a_retired_key_unseen() {
    let upstreams = upstreams();
    upstreams.install(vec![in_force("a", "a.example", &["a1"])], vec![policy(false, &[("a", 1)])]);
    let route = upstreams.route(Some(&ProjectId::new("proj_a"))).expect("a route");
    let key = Arc::clone(&route.members[0].0.keys.load()[0]);
    let begun = std::sync::atomic::AtomicUsize::new(0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    if let Some(in_use) = InUse::begin(&key) {
                        begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        drop(in_use);
                    }
                }
            });
        }
        for _ in 0..200 {
            key.take_requests();
            std::thread::yield_now();
            key.retire();
            while key.in_flight() > 0 {
                std::thread::yield_now();
            }
            let before = begun.load(std::sync::atomic::Ordering::SeqCst);
            std::thread::yield_now();
            assert_eq!(begun.load(std::sync::atomic::Ordering::SeqCst), before, "nothing began after it was drained");
        }
        stop.store(true, Relaxed);
    });
}
