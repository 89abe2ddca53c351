use http::{HeaderName, HeaderValue};
use keys::Pepper;
use proptest::prelude::*;
use store::Revocation;

use store::KeyId;

use super::*;

fn maker() -> Arc<KeyEntry> {
    let digest = Pepper::new(&[1; 32]).digest("maker");
    let key = store::Key {
        id: KeyId::new("key_maker"),
        kind: keys::Kind::Project,
        project: None,
        service_account: None,
        name: "maker".into(),
        digest,
        redacted: String::new(),
        created_at: 0,
        secret_created_at: 0,
        created_by: None,
        expires_at: None,
        former: None,
        rates: rates::Limits::NONE,
        bounds: Default::default(),
        browser_use: Default::default(),
        suspension: None,
        rotation: None,
        undelivered: None,
        is_decoy: false,
    };
    Arc::new(KeyEntry::new(key, digest, None, Arc::new(Revocation::default())))
}

fn secret(binding: Binding, calls: u64, budget: Option<u64>) -> ClientSecret {
    ClientSecret {
        id: "cs_1".into(),
        maker: maker(),
        expires_at: 100,
        binding,
        models: BTreeSet::new(),
        endpoints: ["/v1/responses".to_owned()].into(),
        calls_left: AtomicU64::new(calls),
        budget_left: budget.map(AtomicU64::new),
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

#[test]
fn a_secret_is_used_where_it_is_bound_and_nowhere_else() {
    let app = secret(Binding::Origin("https://app.example".into()), UNCAPPED, None);
    let device = secret(Binding::Device("watch-7".into()), UNCAPPED, None);
    let free = secret(Binding::None, UNCAPPED, None);
    for (pairs, fits) in [
        (&[("origin", "https://app.example")][..], [true, false, false]),
        (&[("origin", "https://app.example.evil")], [false, false, false]),
        (&[("origin", "https://app.example"), ("x-sallyport-device", "watch-7")], [true, false, false]),
        (&[("referer", "https://app.example/page")], [true, false, false]),
        (&[("x-sallyport-device", "watch-7")], [false, true, true]),
        (&[("x-sallyport-device", "watch-8")], [false, false, true]),
        (&[], [false, false, true]),
    ] {
        let found = [&app, &device, &free].map(|secret| secret.check_binding(&headers(pairs)).is_ok());
        assert_eq!(found, fits, "{pairs:?}");
    }
}

#[test]
fn an_origin_is_known_while_a_live_secret_is_bound_to_it() {
    let (book, pepper) = (ClientSecrets::default(), Pepper::new(&[1; 32]));
    let app = || secret(Binding::Origin("https://app.example".into()), 1, None);
    book.put(pepper.digest("one"), app(), 10).expect("room");
    assert!(book.has_origin("https://app.example", 10) && !book.has_origin("https://other.example", 10));
    assert!(!book.has_origin("https://app.example", 100), "it has expired");
    let later = ClientSecret { expires_at: 3_000, ..app() };
    book.put(pepper.digest("two"), later, 750).expect("room");
    assert!(book.find(&pepper.digest("one")).is_none(), "expired ones are forgotten in time");
    assert!(book.has_origin("https://app.example", 750) && book.book().by_project.values().sum::<usize>() == 1);
}

#[test]
fn the_number_of_secrets_of_a_project_is_bounded() {
    let (book, pepper) = (ClientSecrets::default(), Pepper::new(&[1; 32]));
    for number in 0..SECRETS_OF_PROJECT_MAX {
        book.put(pepper.digest(&number.to_string()), secret(Binding::None, 1, None), 10).expect("room");
    }
    let refused = book.put(pepper.digest("more"), secret(Binding::None, 1, None), 10).expect_err("full");
    assert_eq!(refused.reason, Reason::RequestsLimited);
    book.put(pepper.digest("more"), ClientSecret { expires_at: 5_000, ..secret(Binding::None, 1, None) }, 700)
        .expect("room again");
}

proptest! {
    /// Whatever is held, settled and dropped: what was spent and what is left never exceed the budget.
    #[test]
    fn a_budget_is_never_exceeded(budget in 1_u64..1_000, steps in prop::collection::vec((1_u64..400, 0_u64..400, any::<bool>()), 1..40)) {
        let secret = Arc::new(secret(Binding::None, UNCAPPED, Some(budget)));
        let (mut spent, mut open) = (0, Vec::new());
        for (worst, cost, is_dropped) in steps {
            if let Ok(Some(tab)) = secret.open_tab(Nano(worst)) {
                open.push((tab, worst, cost.min(worst), is_dropped));
            }
            if open.len() > 2 {
                let (tab, worst, cost, is_dropped) = open.remove(0);
                if is_dropped { drop(tab.spend()); spent += worst } else { tab.settle(Nano(cost)); spent += cost }
            }
            let held: u64 = open.iter().map(|(_, worst, ..)| worst).sum();
            let left = secret.budget_left.as_ref().expect("a budget").load(SeqCst);
            prop_assert_eq!(left + held + spent, budget);
        }
    }

    #[test]
    fn calls_are_counted_down_and_given_back(calls in 1_u64..20, refused in 0_u64..20) {
        let secret = secret(Binding::None, calls, None);
        for _ in 0..refused {
            secret.take_call().expect("a call");
            secret.give_back_call();
        }
        for _ in 0..calls {
            prop_assert!(secret.take_call().is_ok());
        }
        prop_assert!(secret.take_call().is_err());
    }
}

#[test]
fn what_never_went_out_is_given_back() {
    let secret = Arc::new(secret(Binding::None, UNCAPPED, Some(100)));
    let left = || secret.budget_left.as_ref().expect("a budget").load(SeqCst);
    let tab = secret.open_tab(Nano(60)).expect("covered").expect("a tab");
    assert_eq!((left(), secret.open_tab(Nano(60)).is_err()), (40, true));
    // Its client left while it waited for its turn.
    drop(tab);
    assert_eq!(left(), 100);
    drop(secret.open_tab(Nano(60)).expect("covered").expect("a tab").spend());
    assert_eq!(left(), 40, "what went out is charged until somebody knows better");
}
