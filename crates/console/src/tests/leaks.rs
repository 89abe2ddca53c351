//! GitHub's reports: which keys end, what is written down, and that it happens once.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom as SigningRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use exposure::github::{KeySet, Signature};
use keys::Secret;
use store::{FormerSecret, Key, Suspension};

use super::*;

/// GitHub, as far as these tests are concerned: its key set, and its private key.
struct GitHub {
    pair: EcdsaKeyPair,
    set: KeySet,
}

static GITHUB: LazyLock<GitHub> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
    let head = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").expect("base64");
    let der = [head.as_slice(), pair.public_key().as_ref()].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    let set = json!({"public_keys": [{"key_identifier": "theirs", "key": pem, "is_current": true}]});
    GitHub { pair, set: KeySet::parse(set.to_string().as_bytes(), START, None).expect("a key set") }
});

fn alert(token: &str, url: &str) -> Value {
    json!({"token": token, "type": "sallyport_key", "url": url, "source": "commit"})
}

const URL: &str = "https://github.com/acme/search/blob/1/.env";

async fn report(world: &World, alerts: &[Value]) -> Result<Value, Refusal> {
    let body = Value::from(alerts).to_string();
    let signed = GITHUB.pair.sign(&SigningRandom::new(), body.as_bytes()).expect("signed");
    let signature = STANDARD.encode(signed.as_ref());
    let signature = Signature { key_identifier: "theirs", base64: &signature };
    let verified = GITHUB.set.verify(signature, body.as_bytes(), START).expect("genuine");
    let answer = world.console.receive_github(verified, "192.0.2.77").await?;
    Ok(serde_json::from_str(&answer).expect("JSON"))
}

fn labels(answer: &Value) -> Vec<&str> {
    answer.as_array().expect("a list").iter().map(|token| token["label"].as_str().expect("a label")).collect()
}

/// All that the store holds beside usage, to compare before and after.
async fn written(world: &World) -> [usize; 4] {
    let mut counts = [0; 4];
    let paths = ["/audit_logs?limit=100", "/v1/sallyport/incidents?limit=100", "/v1/sallyport/notices?limit=100"];
    for (count, path) in counts.iter_mut().zip(paths) {
        *count = world.ok("GET", path, Value::Null).await["data"].as_array().expect("a list").len();
    }
    let filter = store::FindingFilter { limit: 100, ..Default::default() };
    let found = store::Findings::findings(&*world.store.store, &filter).await.expect("readable").expect("a page").0;
    counts[3] = found.len();
    counts
}

fn project_secret(world: &World) -> String {
    world.secrets[1].clone()
}

fn project_key(world: &World) -> Key {
    let digest = world.console.pepper.digest(&world.secrets[1]);
    world.console.snapshot().key(&digest).expect("the project's key").key.clone()
}

/// A change of a key past the API, with its event.
async fn change_key(world: &World, key: Key) {
    let payload = json!({"id": key.id.as_str()});
    let event = Event { kind: "api_key.updated", project: key.project.clone(), payload };
    world.console.commit(Actor::Local, Act::UpdateKey(key), vec![event]).await.expect("written");
}

#[tokio::test]
async fn a_mixed_report_is_handled_whole() {
    let world = still_world().await;
    let path = format!("/projects/{}/api_keys", world.project);
    let gone = world.ok("POST", &path, json!({"name": "gone"})).await;
    let gone_secret = gone["value"].as_str().expect("a secret");
    world.ok("DELETE", &format!("{path}/{}", gone["id"].as_str().expect("an id")), Value::Null).await;
    let admin = world.ok("POST", "/admin_api_keys", json!({"name": "second"})).await;
    let admin_secret = admin["value"].as_str().expect("a secret");
    let stranger = Shape::default().mint(Kind::Project, &SystemRandom);
    let live = project_secret(&world);
    let revocation = {
        let snapshot = world.console.snapshot();
        Arc::clone(&snapshot.key(&world.console.pepper.digest(&live)).expect("in force").revocation)
    };
    let wrong = if live.ends_with('x') { 'y' } else { 'x' };
    let mistyped = format!("{}{wrong}", &live[..live.len() - 1]);
    let alerts = [
        alert("ghp_somebody_else", URL),
        alert(&live, URL),
        alert(stranger.expose(), URL),
        alert(gone_secret, URL),
        alert(&mistyped, URL),
        alert(admin_secret, ""),
    ];
    let answer = report(&world, &alerts).await.expect("taken");
    let (yes, no) = ("true_positive", "false_positive");
    assert_eq!(labels(&answer), [no, yes, no, yes, no, yes]);
    assert_eq!(answer[1]["token_type"], "sallyport_key");
    assert_eq!(answer[1]["token_hash"], exposure::github::token_hash(&Secret::new(live.as_str())));
    assert!(revocation.is_revoked(), "streams that wait on it are cut");
    assert!(!world.opens(&live) && !world.opens(admin_secret) && world.opens(&world.secrets[0]));
    let incidents = world.ok("GET", "/v1/sallyport/incidents", Value::Null).await;
    let shown = |name: &str| {
        let all = incidents["data"].as_array().expect("a list");
        all.iter().find(|incident| incident["key"]["name"] == name).expect(name).clone()
    };
    assert_eq!(incidents["data"].as_array().map(Vec::len), Some(3));
    let default = shown(&project_name(&world, &incidents));
    assert_eq!((&default["ending"], &default["ended_at"]), (&json!("revoked"), &json!(START)));
    assert_eq!(default["sightings"], json!([{"told_at": START, "by": "github", "url": URL, "source": "commit"}]));
    assert_eq!(
        (&shown("gone")["ending"], &shown("second")["sightings"][0]["url"]),
        (&json!("gone_before"), &Value::Null)
    );
    let events = world.ok("GET", "/audit_logs?event_types[]=key.leaked", Value::Null).await;
    assert_eq!(events["data"].as_array().map(Vec::len), Some(3));
    assert_eq!(events["data"][0]["actor"]["session"]["user"]["id"], "github_secret_scanning");
    assert_eq!(events["data"][0]["actor"]["session"]["ip_address"], "192.0.2.77");
    let notices = world.ok("GET", "/v1/sallyport/notices", Value::Null).await;
    assert_eq!(notices["data"][0]["notice"]["type"], "key.exposed");
    assert_eq!(notices["data"][0]["channel"]["recipients"], json!(["security@example.com"]));
    assert!(world.woken.load(SeqCst) > 0);
    for secret in [live.as_str(), gone_secret, admin_secret] {
        let all = format!("{answer}{incidents}{events}{notices}");
        assert!(!all.contains(secret) && !is_in_files(&world, secret).await);
    }
}

/// The name of the first project's key.
fn project_name(_: &World, incidents: &Value) -> String {
    let all = incidents["data"].as_array().expect("a list").iter();
    let names: Vec<_> = all.filter_map(|incident| incident["key"]["name"].as_str()).collect();
    names.into_iter().find(|name| !["gone", "second"].contains(name)).expect("the first key").to_owned()
}

async fn is_in_files(world: &World, secret: &str) -> bool {
    let files = std::fs::read_dir(world.folder.path()).expect("a folder");
    let mut contents = files.map(|file| std::fs::read(file.expect("a file").path()).expect("readable"));
    contents.any(|bytes| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()))
}

#[tokio::test]
async fn a_report_that_comes_again_changes_nothing() {
    let world = still_world().await;
    let live = project_secret(&world);
    let alerts = [alert(&live, URL), alert(&live, URL)];
    let first = report(&world, &alerts).await.expect("taken");
    assert_eq!(labels(&first), ["true_positive"]);
    let before = written(&world).await;
    assert_eq!(before[1..], [1, 1, 1], "one incident, one notice, one finding");
    world.clock.0.fetch_add(5_000, SeqCst);
    assert_eq!(report(&world, &alerts).await.expect("taken"), first);
    assert_eq!(written(&world).await, before);
    // A place that is new is written down with the same incident, also once it is closed, and tells nobody again.
    let incidents = world.ok("GET", "/v1/sallyport/incidents", Value::Null).await;
    let path = format!("/v1/sallyport/incidents/{}", ids(&incidents)[0]);
    world.ok("POST", &path, json!({"close": true})).await;
    let elsewhere = [alert(&live, "https://github.com/acme/fork/blob/1/.env")];
    assert_eq!(report(&world, &elsewhere).await.expect("taken"), first);
    let after = written(&world).await;
    assert_eq!((after[1], after[2], after[3]), (1, 1, 1));
    let incident = world.ok("GET", &path, Value::Null).await;
    assert_eq!((incident["sightings"].as_array().map(Vec::len), &incident["status"]), (Some(2), &json!("closed")));
    assert_eq!(report(&world, &elsewhere).await.expect("taken"), first);
    assert_eq!(written(&world).await, after);
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again() {
    let world = still_world().await;
    let live = project_secret(&world);
    let before = written(&world).await;
    world.store.is_down.store(true, SeqCst);
    let refusal = report(&world, &[alert("nobody's", URL), alert(&live, URL)]).await.expect_err("down");
    assert_eq!((refusal.status(), refusal.code()), (503, Some("store_unavailable")));
    assert!(world.opens(&live) && written(&world).await == before, "nothing is half done");
    world.store.is_down.store(false, SeqCst);
    let answer = report(&world, &[alert("nobody's", URL), alert(&live, URL)]).await.expect("taken");
    assert_eq!(labels(&answer), ["false_positive", "true_positive"]);
    assert!(!world.opens(&live));
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_is_asked_for_the_rest() {
    let world = still_world().await;
    let path = format!("/projects/{}/api_keys", world.project);
    let mut secrets = Vec::new();
    for name in ["one", "two", "three"] {
        let made = world.ok("POST", &path, json!({"name": name})).await;
        secrets.push(made["value"].as_str().expect("a secret").to_owned());
    }
    let alerts: Vec<Value> = secrets.iter().map(|secret| alert(secret, URL)).collect();
    world.store.fails_once_after.store(1, SeqCst);
    assert_eq!(report(&world, &alerts).await.expect_err("once").status(), 503);
    let open: Vec<bool> = secrets.iter().map(|secret| world.opens(secret)).collect();
    assert_eq!(open, [false, true, false], "one key's failure keeps no other in force");
    assert_eq!(labels(&report(&world, &alerts).await.expect("taken")), ["true_positive"; 3]);
    assert!(secrets.iter().all(|secret| !world.opens(secret)));
    assert_eq!(written(&world).await[1..], [3, 3, 3], "an incident, a notice and a finding each");
}

#[tokio::test]
async fn reports_at_the_same_time_make_one_incident() {
    let world = still_world().await;
    let alerts = [alert(&project_secret(&world), URL)];
    let reports = [(); 4].map(|()| report(&world, &alerts));
    let [one, two, three, four] = reports;
    let answers = tokio::join!(one, two, three, four);
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!(labels(&answer.expect("taken")), ["true_positive"]);
    }
    assert_eq!(written(&world).await[1..], [1, 1, 1]);
}

#[tokio::test]
async fn both_secrets_of_a_rotating_key_count_and_one_that_ran_out_ends_nothing() {
    let world = still_world().await;
    let old = project_secret(&world);
    let rotate = |key: Key, overlap: i64| {
        let secret = world.console.shape.mint(Kind::Project, &SystemRandom);
        let former =
            Some(FormerSecret { digest: key.digest, redacted: key.redacted.clone(), expires_at: START + overlap });
        (Key { digest: world.console.pepper.digest(secret.expose()), former, ..key }, secret)
    };
    let (rotated, second) = rotate(project_key(&world), 0);
    change_key(&world, rotated.clone()).await;
    // The old secret's time is over, the directory has not been told yet.
    let answer = report(&world, &[alert(&old, URL)]).await.expect("taken");
    assert_eq!(labels(&answer), ["true_positive"]);
    assert!(world.opens(second.expose()), "the key goes on with its other secret");
    let (again, third) = rotate(rotated, 3_600);
    change_key(&world, again).await;
    assert_eq!(labels(&report(&world, &[alert(&old, "https://b.example/")]).await.expect("taken")), ["true_positive"]);
    assert!(world.opens(second.expose()) && world.opens(third.expose()), "the first is remembered, and not in force");
    report(&world, &[alert(second.expose(), URL)]).await.expect("taken");
    assert!(!world.opens(second.expose()) && !world.opens(third.expose()), "the second was in force still");
    let incidents = world.ok("GET", "/v1/sallyport/incidents", Value::Null).await;
    assert_eq!(ids(&incidents).len(), 1, "one key, one incident");
    assert_eq!(incidents["data"][0]["ending"], "revoked");
}

#[tokio::test]
async fn a_suspended_key_is_revoked_and_a_decoy_left() {
    let world = still_world().await;
    let suspension = Some(Suspension { at: START, reason: "to be looked at".into() });
    let live = project_secret(&world);
    change_key(&world, Key { suspension, ..project_key(&world) }).await;
    report(&world, &[alert(&live, URL)]).await.expect("taken");
    assert!(world.console.snapshot().key(&world.console.pepper.digest(&live)).is_none());
    let made = world.console.new_key(&KeyFor {
        kind: Kind::Project,
        name: "decoy",
        project: Some(&ProjectId::new(world.project.clone())),
        service_account: None,
        created_by: None,
        expires_at: None,
    });
    let decoy = Key { is_decoy: true, ..made.record };
    let event = crate::project_keys::key_created(&decoy);
    world.console.commit(Actor::Local, Act::CreateKey(decoy), vec![event]).await.expect("written");
    let before = written(&world).await;
    let answer = report(&world, &[alert(made.secret.expose(), URL)]).await.expect("taken");
    assert_eq!((labels(&answer), written(&world).await), (vec!["true_positive"], before));
}

#[tokio::test]
async fn the_last_admin_key_ends_too_and_what_is_no_report_is_refused() {
    let world = still_world().await;
    assert_eq!(report(&world, &[]).await.expect("taken"), json!([]));
    let refusal = report(&world, &[json!({"type": "x"})]).await.expect_err("no alert");
    assert_eq!((refusal.status(), refusal.code()), (400, Some("invalid_json")));
    report(&world, &[alert(&world.secrets[0], URL)]).await.expect("taken");
    assert!(!world.opens(&world.secrets[0]), "nothing stands between a leaked key and its end");
    assert!(world.caller.revocation.is_revoked());
}
