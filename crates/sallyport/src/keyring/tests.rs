use std::collections::BTreeMap;
use std::time::Duration;

use keys::{Enclosed, MasterKey, Place, SystemRandom};
use store::{Organization, OrganizationId, Records, UpstreamRecords};

use super::*;

#[test]
fn hosts_are_those_that_the_operator_names() {
    let configured = ["gateway.example:8443", "*.openai.azure.com", "http://127.0.0.1"].map(str::to_owned);
    let (usual, named) = (Hosts::new(None, None), Hosts::new(Some(&configured), None));
    let allows = |hosts: &Hosts, url: &str| {
        let (scheme, authority, _) = parse_upstream_url(url).expect("a URL");
        hosts.allows(&scheme, &authority)
    };
    for (url, by_default, when_named) in [
        ("https://api.openai.com/v1", true, false),
        ("https://EU.api.openai.com/v1", true, false),
        ("https://api.openai.com:8443/v1", true, false),
        ("http://api.openai.com/v1", false, false),
        ("https://evil-api.openai.com.example/v1", false, false),
        ("https://xapi.openai.com/v1", false, false),
        ("https://gateway.example:8443/v1", false, true),
        ("https://gateway.example/v1", false, false),
        ("https://ours.openai.azure.com/v1", false, true),
        ("https://.openai.azure.com/v1", false, false),
        ("http://127.0.0.1:9000/v1", false, true),
        ("https://127.0.0.1:9000/v1", false, false),
        ("http://169.254.169.254/v1", false, false),
    ] {
        assert_eq!(allows(&usual, url), by_default, "{url}, by default");
        assert_eq!(allows(&named, url), when_named, "{url}, when named");
    }
}

fn data_key() -> DataKey {
    let master = MasterKey::from_text(&"ab".repeat(32)).expect("hexadecimal");
    DataKey::create("data_key", &master, &SystemRandom).0
}

/// Two keys of one upstream, as they are stored.
fn records(data_key: &DataKey) -> UpstreamRecords {
    let mut records = UpstreamRecords::default();
    let upstream = Upstream {
        id: "upstream_1".into(),
        name: "one".into(),
        url: "https://api.openai.com/v1".into(),
        organization: None,
        project: None,
        is_enabled: true,
        administration: None,
        rotate_every_days: None,
        created_at: 1,
    };
    for id in ["upkey_1", "upkey_2"] {
        let place = UpstreamKey::place(id, &upstream);
        let place = Place { table: UpstreamKey::TABLE, row: &place, version: 1 };
        let sealed = data_key.seal(place, &Secret::new(format!("sk-{id}")), &SystemRandom);
        let key = UpstreamKey {
            id: id.into(),
            upstream: upstream.id.clone(),
            name: "key".into(),
            material: Material::Sealed { sealed, redacted: "****".into() },
            state: UpstreamKeyState::Enabled,
            service_account: None,
            upstream_key_id: None,
            created_at: 2,
        };
        records.keys.insert(key.id.clone(), key);
    }
    records.upstreams.insert(upstream.id.clone(), upstream);
    records
}

/// A start on these records.
fn started(upstreams: UpstreamRecords, data_key: DataKey) -> Keyring {
    let settings = crate::config::Config::default().settings(None).expect("valid");
    let directory = Directory::new(Records {
        organization: Organization {
            id: OrganizationId::new("org-1"),
            name: "o".into(),
            created_at: 1,
            key_policy: Default::default(),
        },
        projects: Vec::new(),
        service_accounts: Vec::new(),
        keys: Vec::new(),
        limits: Vec::new(),
        alerts: Vec::new(),
        webhooks: Vec::new(),
        prices: Vec::new(),
        upstreams,
    });
    let roots = rustls::RootCertStore::empty();
    let keyring = Keyring {
        directory: Arc::new(directory),
        data_key: Arc::new(data_key),
        upstreams: Upstreams::new(&settings),
        sources: Arc::new(Sources::new(&BTreeMap::new(), Duration::from_secs(1))),
        tls: rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
        hosts: Hosts::new(None, None),
        default_address: None,
        problems: Mutex::default(),
    };
    keyring.renew();
    keyring
}

fn sealed(records: &UpstreamRecords, key: &str) -> Enclosed {
    match &records.keys[key].material {
        Material::Sealed { sealed, .. } => sealed.clone(),
        Material::Source(_) => panic!("sealed"),
    }
}

fn put(records: &mut UpstreamRecords, key: &str, sealed: Enclosed) {
    let material = Material::Sealed { sealed, redacted: "****".into() };
    records.keys.get_mut(key).expect("there").material = material;
}

#[test]
fn what_another_hand_changed_in_the_database_is_not_in_force() {
    let key = data_key();
    let untouched = records(&key);
    let swapped = {
        let mut records = untouched.clone();
        let (one, two) = (sealed(&records, "upkey_1"), sealed(&records, "upkey_2"));
        put(&mut records, "upkey_1", two);
        put(&mut records, "upkey_2", one);
        records
    };
    let elsewhere = {
        let mut records = untouched.clone();
        records.upstreams.get_mut("upstream_1").expect("there").url = "https://eu.api.openai.com/v1".into();
        records
    };
    let newer = {
        let mut records = untouched.clone();
        let sealed = sealed(&records, "upkey_1");
        put(&mut records, "upkey_1", Enclosed { version: 2, ..sealed });
        records.keys.remove("upkey_2");
        records
    };
    let of_another = records(&data_key());
    let keyring = started(untouched, key);
    assert!(["upkey_1", "upkey_2"].iter().all(|key| keyring.standing("upstream_1", key).is_ok()));
    let Keyring { data_key, .. } = keyring;
    let mut key = Arc::into_inner(data_key).expect("the only one");
    for (what, records) in
        [("swapped", swapped), ("sent elsewhere", elsewhere), ("renumbered", newer), ("of another key", of_another)]
    {
        let ids: Vec<String> = records.keys.keys().cloned().collect();
        let keyring = started(records, key);
        for id in ids {
            let words = keyring.standing("upstream_1", &id).expect_err(what);
            assert!(words.contains("does not open"), "{what}: {words}");
        }
        key = Arc::into_inner(keyring.data_key).expect("the only one");
    }
}

#[test]
fn a_stored_upstream_whose_host_is_not_allowed_any_more_is_not_in_force() {
    let key = data_key();
    let mut records = records(&key);
    records.upstreams.get_mut("upstream_1").expect("there").url = "https://elsewhere.example/v1".into();
    let words = started(records, key).standing("upstream_1", "upkey_1").expect_err("not allowed");
    assert!(words.contains("vault.upstream_hosts"), "{words}");
}
