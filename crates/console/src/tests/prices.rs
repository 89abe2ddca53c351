//! The price table, and the operator's prices over it.

use pricing::{Pico, Tier, Unit};

use super::*;

const PATH: &str = "/v1/sallyport/prices";

fn price(world: &World, model: &str, unit: Unit) -> Option<Pico> {
    world.console.money.prices.table().find(model)?.price(Tier::Standard, unit, false)
}

#[tokio::test]
async fn the_table_is_shown_in_the_fields_of_the_file() {
    let world = still_world().await;
    let list = world.ok("GET", &format!("{PATH}?model=gpt-4o&limit=1000"), Value::Null).await;
    assert!(list["version"].is_string() && list["age_days"].is_u64() && list["missing"].is_array());
    let of = list["data"].as_array().expect("a list").iter().find(|one| one["model"] == "gpt-4o").expect("listed");
    assert_eq!((&of["source"], &of["usd_per_1m_tokens"]["text_input"]), (&json!("shipped"), &json!("2.5")));
    assert!(ids(&list).iter().all(|id| id.contains("gpt-4o")));
    // What is shown of any model can be sent back, and means the same.
    let all = world.ok("GET", &format!("{PATH}?limit=1000"), Value::Null).await;
    for shown in all["data"].as_array().expect("a list") {
        let mut body = serde_json::Map::new();
        for (name, value) in shown.as_object().expect("an object") {
            if name.starts_with("usd_")
                || name.ends_with("_tokens")
                || ["modality", "long_context", "regional_processing_multiplier"].contains(&name.as_str())
            {
                body.insert(name.clone(), value.clone());
            }
        }
        let model = shown["model"].as_str().expect("a name");
        if shown.as_object().expect("an object").keys().any(|name| name.starts_with("usd_per_1m_tokens")) {
            let back = world.ok("POST", &format!("{PATH}/{model}?dry_run=true"), body.into()).await;
            assert_eq!(back["usd_per_1m_tokens"], shown["usd_per_1m_tokens"], "{model}");
            assert_eq!(back["long_context"], shown["long_context"], "{model}");
        }
    }
    assert_eq!(
        ids(&world.ok("GET", &format!("{PATH}?source=override"), Value::Null).await).len(),
        0,
        "nothing was stored"
    );
}

#[tokio::test]
async fn a_price_is_set_is_in_force_and_goes() {
    let world = still_world().await;
    assert_eq!(price(&world, "acme:tiny", Unit::TextInput), None);
    let body = json!({"usd_per_1m_tokens": {"text_input": "0.15", "text_output": "0.6"}, "max_output_tokens": 4_096});
    let shown = world.ok("POST", &format!("{PATH}/acme:tiny"), body).await;
    assert_eq!((&shown["source"], &shown["usd_per_1m_tokens"]["text_output"]), (&json!("override"), &json!("0.6")));
    assert_eq!(price(&world, "acme:tiny", Unit::TextInput), Some(Pico(150_000)));
    // A name with a slash cannot stand in a path.
    let body = json!({"model": "acme/tiny", "usd_per_1m_tokens": {"text_input": "1"}});
    world.ok("POST", PATH, body).await;
    world.ok("POST", &format!("{PATH}/*"), json!({"usd_per_1k_file_searches": "2.50"})).await;
    assert_eq!(price(&world, "acme/tiny", Unit::TextInput), Some(Pico(1_000_000)));
    assert_eq!(
        price(&world, "acme:tiny", Unit::TextInput),
        Some(Pico(150_000)),
        "each stays in force beside the others"
    );
    let list = world.ok("GET", &format!("{PATH}?source=override"), Value::Null).await;
    assert_eq!(ids(&list), ["acme/tiny", "acme:tiny"]);
    assert_eq!(
        (&list["tools"]["usd_per_1k_file_searches"], &list["is_tools_overridden_by_api"]),
        (&json!("2.5"), &json!(true))
    );
    // After a restart the same table is made of what was stored.
    let stored = world.console.registry.load().await.expect("readable").expect("there").prices;
    let table = table_in_force(&Prices::new(&[]).expect("shipped"), &stored).expect("makes sense");
    assert_eq!(table.version(), world.console.money.prices.table().version());
    world.ok("DELETE", &format!("{PATH}/acme:tiny"), Value::Null).await;
    world.ok("DELETE", &format!("{PATH}?model=acme%2Ftiny"), Value::Null).await;
    assert_eq!(
        (price(&world, "acme:tiny", Unit::TextInput), price(&world, "acme/tiny", Unit::TextInput)),
        (None, None)
    );
    assert_eq!(world.refused("DELETE", &format!("{PATH}/acme:tiny"), Value::Null).await.status(), 404);
    assert_eq!(world.refused("DELETE", &format!("{PATH}/gpt-4o"), Value::Null).await.status(), 404);
}

#[tokio::test]
async fn prices_that_make_no_sense_change_nothing() {
    let world = still_world().await;
    world.ok("POST", &format!("{PATH}/base"), json!({"usd_per_1m_tokens": {"text_input": "1"}})).await;
    world.ok("POST", &format!("{PATH}/other"), json!({"alias": "base"})).await;
    let version = world.console.money.prices.table().version().to_owned();
    for (model, body) in [
        ("new", json!({})),
        ("new", json!({"usd_per_1m_tokens": {"text_input": 1.5}})),
        ("new", json!({"usd_per_1m_tokens": {"text_input": 1}})),
        ("new", json!({"usd_per_1m_tokens": {"text_input": "1e3"}})),
        ("new", json!({"usd_per_1m_tokens": {"text_inptu": "1"}})),
        ("new", json!({"usd_per_1m_tokns": {"text_input": "1"}})),
        ("new", json!({"alias": "no-such-model"})),
        ("*", json!({"usd_per_1m_tokens": {"text_input": "1"}})),
        // Makes no sense beside the other.
        ("base", json!({"alias": "other"})),
    ] {
        let refusal = world.refused("POST", &format!("{PATH}/{model}"), body.clone()).await;
        assert_eq!(refusal.status(), 400, "{model} {body}: {refusal}");
    }
    assert_eq!(world.refused("DELETE", &format!("{PATH}/base"), Value::Null).await.status(), 400, "an alias needs it");
    assert_eq!(world.refused("POST", PATH, json!({})).await.param.as_deref(), Some("model"));
    world.store.is_down.store(true, SeqCst);
    let body = json!({"usd_per_1m_tokens": {"text_input": "9"}});
    assert_eq!(world.refused("POST", &format!("{PATH}/base"), body).await.status(), 503);
    assert_eq!(world.console.money.prices.table().version(), version);
}
