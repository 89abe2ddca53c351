//! Usage, costs and the forecast, against what was settled.

use pricing::{Nano, Quantities, Tier, Unit};
use store::{CostLine, UsageKind, UsageRow};

use super::limits::row;
use super::*;

/// A settled row in the store, past the ledger.
pub(super) async fn write(world: &World, rows: Vec<UsageRow>) {
    let store = &world.console.money.ledger_store;
    let epoch = store.enter(START).await.expect("enters");
    let batch = ledger::Batch { epoch, now: START, rows, targets: Vec::new(), formerly: None };
    store.write(&batch).await.expect("written");
}

fn used(row: UsageRow, units: &[(Unit, u64)], nano: u64) -> UsageRow {
    let mut quantities = Quantities::default();
    units.iter().for_each(|(unit, quantity)| quantities.set(*unit, *quantity));
    let line = |(unit, quantity): &(Unit, u64)| CostLine {
        item: format!("{}, {}", row.model, unit.word()),
        quantity: *quantity,
        amount: Nano(nano / units.len() as u64),
    };
    let lines: Vec<CostLine> = units.iter().map(line).collect();
    let cost = lines.iter().map(|line| line.amount).sum();
    UsageRow { quantities, cost, lines, ..row }
}

const DAY: i64 = 86_400;
/// Midnight of the day on which tests begin.
const MIDNIGHT: i64 = START - START % DAY;

/// Three days ago and today, two keys, two tiers.
async fn spent_world() -> World {
    let world = still_world().await;
    let chat = [
        (Unit::TextInput, 100),
        (Unit::TextCachedInput, 40),
        (Unit::TextCacheWrite30m, 7),
        (Unit::AudioInput, 3),
        (Unit::TextOutput, 50),
        (Unit::AudioOutput, 5),
        (Unit::WebSearchMedium, 2),
        (Unit::WebSearchLow, 1),
    ];
    let of = |id: &str| row(&world, id);
    let rows = vec![
        used(UsageRow { began_at: MIDNIGHT - 3 * DAY + 5, ..of("old") }, &[(Unit::TextInput, 10)], 1),
        used(UsageRow { began_at: MIDNIGHT + 60, ..of("one") }, &chat, 8_000_000_008),
        used(
            UsageRow { key: KeyId::new("key_2"), tier: Tier::Batch, model: "gpt-4o-mini".into(), ..of("two") },
            &[(Unit::TextInput, 1_000)],
            60_000_000,
        ),
        used(
            UsageRow { kind: UsageKind::Images, endpoint: "/v1/images/edits", images: 3, ..of("three") },
            &[(Unit::ImageOutput, 9)],
            2,
        ),
        used(
            UsageRow { kind: UsageKind::AudioTranscriptions, model: "whisper-1".into(), ..of("four") },
            &[(Unit::AudioMilliseconds, 1_001)],
            4,
        ),
        used(
            UsageRow { kind: UsageKind::AudioSpeeches, model: "tts-1".into(), ..of("five") },
            &[(Unit::Characters, 45)],
            5,
        ),
        used(UsageRow { kind: UsageKind::Embeddings, ..of("six") }, &[(Unit::TextInput, 20)], 6),
        used(
            UsageRow { tier: Tier::Priority, ..of("seven") },
            &[(Unit::FileSearch, 4), (Unit::ContainerSession, 2)],
            8,
        ),
    ];
    write(&world, rows).await;
    world
}

fn results(page: &Value, bucket: usize) -> &Vec<Value> {
    page["data"][bucket]["results"].as_array().expect("results")
}

#[tokio::test]
async fn completions_are_told_as_the_api_tells_them() {
    let world = spent_world().await;
    let from = MIDNIGHT - 3 * DAY;
    let page = world.ok("GET", &format!("/usage/completions?start_time={from}&limit=31"), Value::Null).await;
    let buckets = page["data"].as_array().expect("buckets");
    assert_eq!((buckets.len(), page["object"].as_str(), &page["has_more"]), (4, Some("page"), &json!(false)));
    assert_eq!((results(&page, 0).len(), results(&page, 1).len()), (1, 0), "empty buckets are there");
    assert_eq!(results(&page, 0)[0]["input_tokens"], 10);
    let today = &results(&page, 3)[0];
    for (name, value) in [
        ("input_tokens", 1_150),
        ("input_cached_tokens", 40),
        ("input_cache_write_tokens", 7),
        ("input_uncached_tokens", 1_103),
        ("output_tokens", 55),
        ("input_text_tokens", 1_100),
        ("output_text_tokens", 50),
        ("input_cached_text_tokens", 40),
        ("input_audio_tokens", 3),
        ("output_audio_tokens", 5),
        ("num_model_requests", 3),
    ] {
        assert_eq!(today[name], value, "{name}");
    }
    for name in ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier"] {
        assert_eq!(today.get(name), Some(&Value::Null), "{name}");
    }
    // Both spellings of lists, and every group.
    let query =
        format!("start_time={MIDNIGHT}&group_by[]=model&group_by=api_key_id&group_by[]=batch&group_by=service_tier");
    let page = world.ok("GET", &format!("/usage/completions?{query}"), Value::Null).await;
    let told: Vec<_> = results(&page, 0)
        .iter()
        .map(|one| {
            (one["api_key_id"].as_str(), one["model"].as_str(), one["batch"].as_bool(), one["service_tier"].as_str())
        })
        .collect();
    assert_eq!(told.len(), 3);
    assert!(told.contains(&(Some("key_2"), Some("gpt-4o-mini"), Some(true), Some("default"))));
    assert!(told.contains(&(Some("key_1"), Some("gpt-4o"), Some(false), Some("priority"))));
    for (filter, requests) in [
        ("batch=true", 1),
        ("batch=false", 2),
        ("models[]=gpt-4o-mini", 1),
        ("api_key_ids=key_1", 2),
        ("project_ids[]=proj_other", 0),
        ("user_ids[]=user-abc", 0),
    ] {
        let page = world.ok("GET", &format!("/usage/completions?start_time={MIDNIGHT}&{filter}"), Value::Null).await;
        let sum: u64 = results(&page, 0).iter().filter_map(|one| one["num_model_requests"].as_u64()).sum();
        assert_eq!(sum, requests, "{filter}");
    }
}

#[tokio::test]
async fn every_other_report_has_its_figures() {
    let world = spent_world().await;
    for (report, object, figures) in [
        ("embeddings", "embeddings", json!({"input_tokens": 20, "num_model_requests": 1})),
        (
            "images?group_by=source",
            "images",
            json!({"images": 3, "num_model_requests": 1, "source": "image.edit", "size": null}),
        ),
        ("images?sources=image.edit", "images", json!({"images": 3, "source": null})),
        ("audio_speeches", "audio_speeches", json!({"characters": 45, "num_model_requests": 1})),
        ("audio_transcriptions", "audio_transcriptions", json!({"seconds": 2, "num_model_requests": 1})),
        ("code_interpreter_sessions", "code_interpreter_sessions", json!({"num_sessions": 2})),
        ("file_search_calls", "file_searches", json!({"num_requests": 4, "vector_store_id": null})),
        ("web_search_calls", "web_searches", json!({"num_requests": 3, "context_level": null})),
        (
            "web_search_calls?context_levels=low&group_by=context_level",
            "web_searches",
            json!({"num_requests": 1, "context_level": "low"}),
        ),
    ] {
        let separator = if report.contains('?') { '&' } else { '?' };
        let page = world.ok("GET", &format!("/usage/{report}{separator}start_time={MIDNIGHT}"), Value::Null).await;
        assert_eq!(results(&page, 0).len(), 1, "{report}: {page}");
        let one = &results(&page, 0)[0];
        assert_eq!(one["object"], format!("organization.usage.{object}.result"));
        for (name, value) in figures.as_object().expect("figures") {
            assert_eq!(one.get(name), Some(value), "{report} {name}");
        }
    }
    for report in ["moderations", "decisions", "vector_stores", "images?sources=image.generation"] {
        let separator = if report.contains('?') { '&' } else { '?' };
        let page = world.ok("GET", &format!("/usage/{report}{separator}start_time={MIDNIGHT}"), Value::Null).await;
        assert_eq!(results(&page, 0).len(), 0, "{report}");
    }
}

#[tokio::test]
async fn reports_are_paged_by_buckets() {
    let world = spent_world().await;
    let from = MIDNIGHT - 3 * DAY + 7;
    let (mut starts, mut page, mut requests) = (Vec::new(), String::new(), 0);
    loop {
        let got = world
            .ok(
                "GET",
                &format!("/usage/completions?start_time={from}&end_time={}&limit=2{page}", MIDNIGHT + DAY),
                Value::Null,
            )
            .await;
        for bucket in got["data"].as_array().expect("buckets") {
            assert_eq!(bucket["object"], "bucket");
            assert_eq!(
                bucket["end_time"].as_i64().expect("a time") - DAY,
                bucket["start_time"].as_i64().expect("a time")
            );
            starts.push(bucket["start_time"].as_i64().expect("a time"));
            requests += bucket["results"]
                .as_array()
                .expect("results")
                .iter()
                .filter_map(|one| one["num_model_requests"].as_u64())
                .sum::<u64>();
        }
        match got["next_page"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => break,
        }
    }
    assert_eq!(starts, [MIDNIGHT - 3 * DAY, MIDNIGHT - 2 * DAY, MIDNIGHT - DAY, MIDNIGHT]);
    assert_eq!(requests, 4);
    let hours =
        world.ok("GET", &format!("/usage/completions?start_time={MIDNIGHT}&bucket_width=1h"), Value::Null).await;
    assert_eq!(hours["data"].as_array().expect("buckets").len(), 23, "until the hour that runs");
    let minutes = world
        .ok("GET", &format!("/usage/completions?start_time={MIDNIGHT}&bucket_width=1m&limit=1440"), Value::Null)
        .await;
    assert_eq!(results(&minutes, 1)[0]["input_tokens"], 150);
    for bad in [
        "",
        "start_time=x",
        "start_time=-1",
        "start_time=5&end_time=5",
        "start_time=5&bucket_width=2d",
        "start_time=5&limit=32",
        "start_time=5&bucket_width=1h&limit=169",
        "start_time=5&limit=0",
        "start_time=5&page=page_zz",
        "start_time=5&page=page_1",
        "start_time=5&group_by=colour",
        "start_time=5&batch=maybe",
        "start_time=5&start_time=6",
    ] {
        assert_eq!(
            world.refused("GET", &format!("/usage/completions?{bad}"), Value::Null).await.status(),
            400,
            "{bad}"
        );
    }
    assert_eq!(
        world.refused("GET", "/usage/images?start_time=5&sizes=512x512", Value::Null).await.param.as_deref(),
        Some("sizes")
    );
}

#[tokio::test]
async fn costs_are_exact_to_the_nano_dollar() {
    let world = spent_world().await;
    let costs = |query: String| {
        let world = &world;
        async move { world.text_as(&world.caller, "GET", &format!("/costs?{query}"), Value::Null).await.expect("served") }
    };
    let text = costs(format!("start_time={}", MIDNIGHT - 3 * DAY)).await;
    // By hand: 1 on the first day; 8.000000008 + 0.06 + 2 + 4 + 5 + 6 + 8 nano-dollars today.
    assert!(text.contains(r#""amount":{"value":0.000000001,"currency":"usd"}"#), "{text}");
    assert!(text.contains(r#""amount":{"value":8.060000033,"currency":"usd"}"#), "{text}");
    let page: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((page["data"].as_array().expect("buckets").len(), results(&page, 1).len()), (4, 0));
    let one = &results(&page, 0)[0];
    for name in ["line_item", "project_id", "api_key_id", "quantity", "quantity_unit"] {
        assert_eq!(one.get(name), Some(&Value::Null), "{name}");
    }
    let text = costs(format!("start_time={MIDNIGHT}&group_by[]=line_item&group_by=project_id")).await;
    let page: Value = serde_json::from_str(&text).expect("JSON");
    let line = |item: &str| results(&page, 0).iter().find(|one| one["line_item"] == item).cloned().expect(item);
    assert_eq!(
        (&line("gpt-4o, text_cached_input")["quantity"], &line("gpt-4o, text_cached_input")["quantity_unit"]),
        (&json!(40), &json!("tokens"))
    );
    assert_eq!(line("whisper-1, audio_ms")["quantity_unit"], "duration_seconds");
    assert!(text.contains(r#""quantity":1.001,"#), "milliseconds, exactly");
    assert_eq!(line("tts-1, characters")["project_id"], *world.project);
    let nano: u64 = results(&page, 0).iter().filter_map(|one| one["sallyport"]["amount_nano"].as_u64()).sum();
    assert_eq!(nano, 8_060_000_033, "the lines add up");
    let page: Value =
        serde_json::from_str(&costs(format!("start_time={MIDNIGHT}&api_key_ids[]=key_2&group_by=api_key_id")).await)
            .expect("JSON");
    assert_eq!((results(&page, 0).len(), &results(&page, 0)[0]["api_key_id"]), (1, &json!("key_2")));
    for bad in ["bucket_width=1h", "limit=181", "group_by=model"] {
        assert_eq!(
            world.refused("GET", &format!("/costs?start_time=5&{bad}"), Value::Null).await.status(),
            400,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn the_forecast_is_a_straight_line() {
    let world = still_world().await;
    // The gate began 10 days ago; a dollar a day for the last ten.
    let began = START - 10 * DAY;
    world.clock.0.store(began, SeqCst);
    let project = world.ok("POST", "/projects", json!({"name": "P"})).await;
    let id = project["id"].as_str().expect("an id").to_owned();
    world.clock.0.store(START, SeqCst);
    let rows = (0..10).map(|day| {
        let of = UsageRow {
            began_at: began + day * DAY + 3_600,
            project: ProjectId::new(&*id),
            ..row(&world, &format!("r{day}"))
        };
        used(of, &[(Unit::TextInput, 1)], Nano::PER_USD)
    });
    write(&world, rows.collect()).await;
    let told = world.ok("GET", &format!("/v1/sallyport/forecast?project_id={id}"), Value::Null).await;
    assert_eq!((&told["spent"], &told["last_7_days"]), (&json!("10.00"), &json!("7.00")));
    let nano = |name: &str| told[name].as_u64().expect("nano-dollars");
    let left = u64::try_from(told["ends_at"].as_i64().expect("a time") - START).expect("later");
    let days = u64::try_from(DAY).expect("positive");
    // A dollar a day through ten days, and on from now.
    assert_eq!(nano("forecast_from_month_nano"), ((10 * days + left) * Nano::PER_USD).div_ceil(days));
    let pace = 7 * days + START.unsigned_abs() % 3_600;
    assert_eq!(nano("forecast_from_last_7_days_nano"), 10 * Nano::PER_USD + (7 * Nano::PER_USD * left).div_ceil(pace));
    assert_eq!(told["limit"], Value::Null);
    assert_eq!(world.refused("GET", "/v1/sallyport/forecast?project_id=proj_none", Value::Null).await.status(), 404);
    assert_eq!(world.ok("GET", "/v1/sallyport/forecast", Value::Null).await["scope"]["kind"], "organization");
}
