//! Rate limits of models, end users and keys.

use super::*;

#[tokio::test]
async fn each_model_has_a_rate_limit_and_unset_is_null() {
    let world = still_world().await;
    let path = format!("/projects/{}/rate_limits", world.project);
    let list = world.ok("GET", &format!("{path}?limit=1000"), Value::Null).await;
    let all: Vec<String> = ids(&list).into_iter().map(str::to_owned).collect();
    assert_eq!((all[0].as_str(), list["has_more"].as_bool()), ("rl-*", Some(false)));
    assert!(all.iter().any(|id| id == "rl-gpt-4o"));
    let unset = list["data"].as_array().expect("a list").iter().find(|one| one["id"] == "rl-gpt-4o").expect("listed");
    assert_eq!((&unset["object"], &unset["max_requests_per_1_minute"]), (&json!("project.rate_limit"), &Value::Null));
    let body = json!({"max_requests_per_1_minute": 500, "max_audio_megabytes_per_1_minute": 3, "sallyport": {"concurrency": 4}});
    let set = world.ok("POST", &format!("{path}/rl-gpt-4o"), body).await;
    assert_eq!((&set["max_requests_per_1_minute"], &set["sallyport"]["concurrency"]), (&json!(500), &json!(4)));
    let set = world.ok("POST", &format!("{path}/rl-gpt-4o"), json!({"max_tokens_per_1_minute": 9})).await;
    assert_eq!((&set["max_requests_per_1_minute"], &set["max_tokens_per_1_minute"]), (&json!(500), &json!(9)));
    world.ok("POST", &format!("{path}/rl-*"), json!({"max_requests_per_1_day": 10})).await;
    // A model that no list names, with a slash in its name.
    let odd = world.ok("POST", &format!("{path}/rl-org~tiny"), json!({"max_images_per_1_minute": 0})).await;
    assert_eq!(
        (&odd["model"], &odd["id"], &odd["max_images_per_1_minute"]),
        (&json!("org/tiny"), &json!("rl-org~tiny"), &json!(0))
    );
    let project = world.console.snapshot().project(&ProjectId::new(&*world.project)).cloned().expect("there");
    let models: Vec<&str> = project.rates.by_model.keys().map(String::as_str).collect();
    assert_eq!(models, ["*", "gpt-4o", "org/tiny"]);
    // All taken away is as if it had never been.
    let gone = json!({"max_requests_per_1_minute": null, "max_tokens_per_1_minute": null, "max_audio_megabytes_per_1_minute": null, "sallyport": {"concurrency": null}});
    world.ok("POST", &format!("{path}/rl-gpt-4o"), gone).await;
    let project = world.console.snapshot().project(&ProjectId::new(&*world.project)).cloned().expect("there");
    assert_eq!(project.rates.by_model.len(), 2);
    let loaded = world.console.registry.load().await.expect("readable").expect("there");
    assert_eq!(loaded.projects[0].rates, project.rates);
    let log = world.ok("GET", "/audit_logs?event_types[]=rate_limit.updated&limit=1", Value::Null).await;
    assert_eq!(log["data"][0]["rate_limit.updated"]["id"], "rl-gpt-4o");
}

#[tokio::test]
async fn rate_limits_are_paged_both_ways() {
    let world = still_world().await;
    let path = format!("/projects/{}/rate_limits", world.project);
    let all = world.ok("GET", &format!("{path}?limit=1000"), Value::Null).await;
    let all = ids(&all);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.ok("GET", &format!("{path}?limit=37{after}"), Value::Null).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        if page["has_more"] == false {
            break;
        }
        after = format!("&after={}", page["last_id"].as_str().expect("an id"));
    }
    assert_eq!(seen, all);
    let page = world.ok("GET", &format!("{path}?limit=3&before={}", all[10]), Value::Null).await;
    assert_eq!((ids(&page), &page["has_more"]), (all[7..10].to_vec(), &json!(true)));
    for bad in ["limit=0", "limit=1001", "after=rl-none", "before=rl-none", "after=rl-*&before=rl-*"] {
        assert_eq!(world.refused("GET", &format!("{path}?{bad}"), Value::Null).await.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn wrong_rate_limits_are_refused_by_name() {
    let world = still_world().await;
    let path = format!("/projects/{}/rate_limits/rl-gpt-4o", world.project);
    for (body, param) in [
        (json!({"max_requests_per_1_minute": -1}), "max_requests_per_1_minute"),
        (json!({"max_tokens_per_1_minute": "5"}), "max_tokens_per_1_minute"),
        (json!({"max_tokens_per_1_minute": 1.5}), "max_tokens_per_1_minute"),
        (json!({"max_requests_per_1_day": 10_000_000_000_000_u64}), "max_requests_per_1_day"),
        (json!({"sallyport": {"concurency": 5}}), "sallyport.concurency"),
        (json!({"sallyport": 5}), "sallyport"),
    ] {
        assert_eq!(world.refused("POST", &path, body).await.param.as_deref(), Some(param));
    }
    for id in ["gpt-4o", "rl-"] {
        let path = format!("/projects/{}/rate_limits/{id}", world.project);
        assert_eq!(world.refused("POST", &path, json!({})).await.status(), 404);
    }
}

#[tokio::test]
async fn keys_and_end_users_have_rate_limits_of_their_own() {
    let world = still_world().await;
    let key = world.ok("POST", &format!("/projects/{}/api_keys", world.project), json!({"name": "k"})).await;
    let id = key["id"].as_str().expect("an id");
    let of_key = format!("/v1/sallyport/projects/{}/api_keys/{id}/rate_limit", world.project);
    let of_users = format!("/v1/sallyport/projects/{}/end_user_rate_limit", world.project);
    for path in [&of_key, &of_users] {
        assert_eq!(world.ok("GET", path, Value::Null).await["max_requests_per_1_minute"], Value::Null);
        let set =
            world.ok("POST", path, json!({"max_requests_per_1_minute": 60, "sallyport": {"concurrency": 2}})).await;
        assert_eq!((&set["max_requests_per_1_minute"], &set["sallyport"]["concurrency"]), (&json!(60), &json!(2)));
        assert_eq!(world.ok("GET", path, Value::Null).await, set);
    }
    let entry = world.console.snapshot().key_by_id(&KeyId::new(id)).cloned().expect("there");
    assert_eq!(entry.key.rates.requests_per_minute, Some(60));
    assert!(world.opens(key["value"].as_str().expect("a secret")), "the key goes on");
    let other = world.ok("POST", "/projects", json!({"name": "Other"})).await;
    let wrong = format!("/v1/sallyport/projects/{}/api_keys/{id}/rate_limit", other["id"].as_str().expect("an id"));
    assert_eq!(world.refused("POST", &wrong, json!({})).await.status(), 404);
    let loaded = world.console.registry.load().await.expect("readable").expect("there");
    let stored = loaded.keys.iter().find(|key| key.id.as_str() == id).expect("stored");
    assert_eq!(stored.rates, entry.key.rates);
}
