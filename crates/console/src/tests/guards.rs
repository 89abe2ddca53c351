//! Guards of projects.

use store::{GuardMode, GuardSettings, OnUnread, Spotlight, TextHash, Threshold};
use wire::channel::Channel;

use super::*;

fn in_force(world: &World) -> GuardSettings {
    let snapshot = world.console.snapshot();
    snapshot.project(&ProjectId::new(&*world.project)).expect("there").guards.clone()
}

#[tokio::test]
async fn guards_change_as_far_as_a_call_names_them() {
    let world = still_world().await;
    let path = format!("/v1/sallyport/projects/{}/guards", world.project);
    let default = json!({"mode": "observe", "threshold": "default"});
    let shown = world.ok("GET", &path, Value::Null).await;
    assert_eq!((&shown["user"], &shown["system"], &shown["untrusted"]), (&default, &default, &default));
    assert_eq!(
        (&shown["object"], &shown["parallel"], &shown["on_failure"], &shown["spotlight"], &shown["allow"]),
        (&json!("sallyport.project.guards"), &json!(false), &json!("closed"), &json!("off"), &json!([]))
    );
    let hash = "ab".repeat(32);
    let body = json!({
        "untrusted": {"mode": "block", "threshold": "1%"}, "user": {"threshold": 0.9987}, "spotlight": "datamark",
        "parallel": true, "on_failure": "open", "on_unread": "closed", "allow": [hash.to_uppercase()],
    });
    world.ok("POST", &path, body).await;
    let shown = world.ok("POST", &path, json!({"untrusted": {"threshold": null}})).await;
    assert_eq!(shown["untrusted"], json!({"mode": "block", "threshold": "default"}), "the mode was not named");
    assert_eq!(shown["user"], json!({"mode": "observe", "threshold": 0.9987}));
    assert_eq!((&shown["allow"], &shown["system"]), (&json!([hash]), &default));
    let guards = in_force(&world);
    assert_eq!((guards.untrusted.mode, guards.user.threshold), (GuardMode::Block, Threshold::Score(998_700)));
    assert_eq!((guards.spotlight, guards.allow.len()), (Spotlight::Datamark, 1));
    assert_eq!((guards.on_unread, &shown["on_unread"]), (OnUnread::Closed, &json!("closed")));
    assert!(guards.allows(Channel::User, TextHash([0xab; 32])));
    let loaded = world.console.registry.load().await.expect("readable").expect("there");
    assert_eq!(loaded.projects[0].guards, guards);
    let log = world.ok("GET", "/audit_logs?event_types[]=project.updated&limit=1", Value::Null).await;
    let told = &log["data"][0]["project.updated"]["changes_requested"]["guards"];
    assert_eq!((&told["untrusted"]["mode"], &told["allow"]), (&json!("block"), &json!(1)));
    let here = format!("untrusted:{hash}");
    let shown = world.ok("POST", &path, json!({"allow": [here]})).await;
    assert_eq!(shown["allow"], json!([here]));
    let (guards, hash) = (in_force(&world), TextHash([0xab; 32]));
    assert!(guards.allows(Channel::Untrusted, hash) && !guards.allows(Channel::User, hash));
    let nulls = json!({"system": null, "user": null, "untrusted": null, "spotlight": null, "parallel": null, "on_failure": null, "on_unread": null, "allow": null});
    world.ok("POST", &path, nulls).await;
    assert_eq!(in_force(&world), GuardSettings::default());
}

#[tokio::test]
async fn guards_that_nobody_could_mean_are_refused() {
    let world = still_world().await;
    let path = format!("/v1/sallyport/projects/{}/guards", world.project);
    for (body, param) in [
        (json!({"output": {"mode": "block"}}), "output"),
        (json!({"user": "block"}), "user"),
        (json!({"user": {"mode": "deny"}}), "user.mode"),
        (json!({"user": {"mode": "block", "level": 1}}), "user.level"),
        (json!({"user": {"threshold": 1.01}}), "user.threshold"),
        (json!({"user": {"threshold": -0.1}}), "user.threshold"),
        (json!({"user": {"threshold": "2%"}}), "user.threshold"),
        (json!({"user": {"threshold": [1]}}), "user.threshold"),
        (json!({"spotlight": true}), "spotlight"),
        (json!({"parallel": "yes"}), "parallel"),
        (json!({"on_failure": "ignore"}), "on_failure"),
        (json!({"on_unread": true}), "on_unread"),
        (json!({"allow": "ab"}), "allow"),
        (json!({"allow": ["ab"]}), "allow"),
        (json!({"allow": [format!("tool:{}", "ab".repeat(32))]}), "allow"),
        (json!({"allow": vec!["ab".repeat(32); GuardSettings::ALLOWED_MAX + 1]}), "allow"),
    ] {
        let refusal = world.refused("POST", &path, body.clone()).await;
        assert_eq!((refusal.status(), refusal.param.as_deref()), (400, Some(param)), "{body}");
    }
    assert_eq!(in_force(&world), GuardSettings::default());
    let none = "/v1/sallyport/projects/proj_none/guards";
    assert_eq!(world.refused("GET", none, Value::Null).await.status(), 404);
}
