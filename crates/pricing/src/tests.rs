//! The shipped list, names, bills.

mod overrides;
mod worst;

use crate::*;

fn find(model: &str) -> Option<String> {
    Table::shipped().find(model).map(|found| found.name.clone())
}

fn priced(model: &str) -> ModelPrices {
    Table::shipped().find(model).unwrap().clone()
}

fn used(quantities: &[(Unit, u64)]) -> Quantities {
    let mut used = Quantities::default();
    quantities.iter().for_each(|(unit, quantity)| used.set(*unit, *quantity));
    used
}

#[test]
fn the_shipped_list_is_whole() {
    let table = shipped::table().unwrap();
    assert_eq!(table.models().len(), 179);
    assert!(table.version().starts_with("2026-11-23-"), "{}", table.version());
    assert_eq!((table.as_of(), table.missing().len()), (1_795_392_000, 10));
    assert_eq!((table.age_days(table.as_of() + 86_400 * 40 + 5), table.age_days(0)), (40, 0));
    let mut of_modality = [0; Modality::ALL.len()];
    for model in table.models() {
        of_modality[model.modality as usize] += 1;
        assert!(model.tiers().any(|tier| tier == Tier::Standard), "{} has no standard tier", model.name);
        for tier in &model.listed {
            assert!(tier.short.iter().any(Option::is_some) || !model.images.is_empty(), "{} lists nothing", model.name);
            let prices = tier.short.iter().chain(&tier.long).flatten();
            assert!(prices.clone().all(|price| price.0 < 1_000_000_000_000), "{} costs a dollar a piece", model.name);
            let long = tier.long.iter().any(Option::is_some);
            assert!(!long || model.long_context_above == Some(272_000), "{} lists no step", model.name);
        }
        // A long prompt is never cheaper for being long, nor a missing price lower than what stands in for it.
        for prices in &model.prepared {
            for (short, long) in prices.short.iter().zip(&prices.long) {
                assert!(short <= long, "{} is cheaper above the step", model.name);
            }
            for unit in [Unit::TextCachedInput, Unit::ImageCachedInput, Unit::AudioCachedInput] {
                let plain = unit.plain_input().unwrap();
                assert_eq!(prices.short[unit as usize].is_some(), prices.short[plain as usize].is_some());
            }
        }
        for image in &model.images {
            let found = model.image_price(image.tier, &image.quality, &image.size);
            assert!(std::ptr::eq(found.unwrap(), image), "{} lists an image twice", model.name);
        }
        assert!(model.regions.iter().all(|(_, per_mille)| *per_mille == 1_100));
    }
    assert_eq!(of_modality, [130, 13, 11, 9, 7, 4, 3, 2]);
}

#[test]
fn names_find_their_own_row_or_their_family() {
    for model in Table::shipped().models() {
        assert_eq!(find(&model.name), Some(model.name.clone()));
    }
    for (asked, row) in [
        ("gpt-5.4-2027-01-02", "gpt-5.4"),
        ("gpt-5.4-mini-2026-03-17", "gpt-5.4-mini-2026-03-17"),
        ("gpt-4-0314", "gpt-4"),
        ("gpt-image-2-latest", "gpt-image-2"),
        ("gpt-4-turbo-preview", "gpt-4-turbo"),
        ("gpt-6.1-sol-latest", "gpt-6.1-sol"),
        ("ft:gpt-4o-2024-08-06:acme:support:9abc", "ft:gpt-4o-2024-08-06"),
        ("ft:gpt-4o-2024-08-06:acme::9abc", "ft:gpt-4o-2024-08-06"),
        ("ft:gpt-3.5-turbo-0301:acme::9abc", "ft:gpt-3.5-turbo"),
        ("ft:babbage-002:acme::9abc", "ft:babbage-002"),
    ] {
        assert_eq!(find(asked).as_deref(), Some(row), "{asked}");
    }
}

#[test]
fn no_name_finds_a_cheaper_lookalike() {
    for asked in [
        "",
        "gpt",
        "gpt-7",
        "GPT-5.4",
        "gpt-5.4-mini-turbo",
        // Some listed snapshot is dearer than the family.
        "gpt-4o-2023-01-01",
        "gpt-3.5-turbo-0613",
        // gpt-5-mini, gpt-5-pro and others: which is the latest?
        "gpt-5-latest",
        "gpt-4o-preview",
        // No dates.
        "gpt-5.4-2026-13-01",
        "gpt-5.4-2026-00-01",
        "gpt-5.4-9999",
        "gpt-5.4-1-2-3",
        "gpt-5.4-",
        "gpt-5.4-+1+1",
        "gpt-5.4-éé",
        // Only one ending is taken off.
        "gpt-4-0125-preview",
        // Tuned models have prices of their own, never the base model's.
        "ft:gpt-5.4:acme::1",
        "ft:gpt-4o:acme::1",
        "ft:",
        "ft::acme",
        "ft:gpt-4o-2024-05-13:acme::1",
        "-2026-01-01",
        "-latest",
    ] {
        assert_eq!(find(asked), None, "{asked}");
    }
}

#[test]
fn a_bill_has_a_line_for_each_unit() {
    let bill = priced("gpt-5.4").bill(
        Tier::Standard,
        None,
        &used(&[(Unit::TextInput, 1_000), (Unit::TextCachedInput, 500), (Unit::TextOutput, 10)]),
    );
    let lines: Vec<_> = bill.lines.iter().map(|line| (line.item.as_str(), line.quantity, line.amount.0)).collect();
    assert_eq!(
        lines,
        [("text_input", 1_000, 2_500_000), ("text_cached_input", 500, 125_000), ("text_output", 10, 150_000)]
    );
    assert_eq!((bill.total, bill.unpriced.len()), (Nano(2_775_000), 0));
}

#[test]
fn the_long_context_step_changes_the_whole_request() {
    let model = priced("gpt-5.4");
    let total = |tier, input, cached, output| {
        let used = used(&[(Unit::TextInput, input), (Unit::TextCachedInput, cached), (Unit::TextOutput, output)]);
        model.bill(tier, None, &used).total.0
    };
    assert_eq!(total(Tier::Standard, 172_000, 100_000, 1), 172_000 * 2_500 + 100_000 * 250 + 15_000);
    assert_eq!(total(Tier::Standard, 172_001, 100_000, 1), 172_001 * 5_000 + 100_000 * 500 + 22_500);
    // No long set is listed for priority: the dearest of its own prices and the standard long ones.
    assert_eq!(total(Tier::Priority, 272_001, 0, 1), 272_001 * 5_000 + 30_000);
    let flex = priced("gpt-5.5-pro").bill(Tier::Flex, None, &used(&[(Unit::TextInput, 300_000)])).total;
    let standard = priced("gpt-5.5-pro").bill(Tier::Standard, None, &used(&[(Unit::TextInput, 300_000)])).total;
    assert_eq!(flex, standard);
    // Images that a chat model reads are input text, above the step too.
    assert_eq!(model.price(Tier::Standard, Unit::ImageInput, true), model.price(Tier::Standard, Unit::TextInput, true));
}

#[test]
fn what_the_long_list_leaves_out_costs_the_dearest_that_could_be_meant() {
    let prices = [(Unit::TextInput, false, "4"), (Unit::TextCachedInput, false, "3"), (Unit::TextOutput, false, "9")];
    let over = |long_input| {
        let over = Override { long_context_above: Some(10), ..Override::of("ours") };
        let all = prices.into_iter().chain([(Unit::TextInput, true, long_input)]);
        let over = all.fold(over, |over, (unit, long, usd)| over.usd(Tier::Standard, unit, long, usd).unwrap());
        Table::shipped().with(&[over]).unwrap().find("ours").unwrap().clone()
    };
    let long = |model: &ModelPrices, unit| model.price(Tier::Standard, unit, true).unwrap().0 / 1_000_000;
    for (long_input, cached) in [("8", 8), ("2", 3)] {
        let model = over(long_input);
        assert_eq!((long(&model, Unit::TextCachedInput), long(&model, Unit::TextOutput)), (cached, 9));
    }
}

#[test]
fn a_missing_price_bills_in_full_or_is_named() {
    let long_write = [(Unit::TextCacheWrite12h, 10)];
    for (model, tier, quantities, total, unpriced) in [
        ("gpt-4.1", Tier::Batch, &[(Unit::TextCachedInput, 10)][..], 10_000, vec![]),
        ("gpt-4o", Tier::Standard, &[(Unit::ImageInput, 10), (Unit::TextCacheWrite30m, 10)], 50_000, vec![]),
        ("gpt-6-luna", Tier::Decisions, &long_write, 0, vec!["text_cache_write_12h (decisions)"]),
        ("daybreak-blue-latest", Tier::Standard, &long_write, 0, vec!["text_cache_write_12h"]),
        ("gpt-image-2", Tier::Batch, &[(Unit::ImageOutput, 10)], 0, vec!["image_output (batch)"]),
        ("gpt-5.4", Tier::Scale, &[(Unit::TextInput, 1), (Unit::TextOutput, 1)], 0, vec!["tier scale"]),
        ("gpt-5.4", Tier::Scale, &[], 0, vec![]),
        ("gpt-5.4", Tier::Flex, &[(Unit::FileSearch, 1), (Unit::TextInput, 2)], 2_500, vec!["file_search (flex)"]),
        ("gpt-5.4", Tier::Flex, &[(Unit::ContainerSession, 2)], 60_000_000, vec![]),
        ("gpt-5.4-mini", Tier::Batch, &[(Unit::WebSearchHigh, 3)], 30_000_000, vec![]),
        ("gpt-5.4", Tier::Standard, &[(Unit::AudioInput, 1)], 0, vec!["audio_input"]),
        ("gpt-4o-mini-realtime-preview-2024-12-17", Tier::Standard, &[(Unit::ImageInput, 1)], 0, vec!["image_input"]),
    ] {
        let bill = priced(model).bill(tier, None, &used(quantities));
        assert_eq!(
            (bill.total.0, bill.unpriced),
            (total, unpriced.into_iter().map(str::to_owned).collect()),
            "{model}"
        );
        assert_eq!(bill.lines.len(), quantities.len());
    }
}

#[test]
fn minutes_characters_seconds_and_images_are_billed_to_the_piece() {
    let total =
        |model: &str, unit, quantity| priced(model).bill(Tier::Standard, None, &used(&[(unit, quantity)])).total.0;
    assert_eq!(total("whisper-1", Unit::AudioMilliseconds, 60_000), 6_000_000);
    assert_eq!(total("whisper-1", Unit::AudioMilliseconds, 1), 100);
    // 283,333⅓ pico-dollars a millisecond: exact by the minute, rounded up once otherwise.
    assert_eq!(total("gpt-live-transcribe", Unit::AudioMilliseconds, 180_000), 51_000_000);
    assert_eq!(total("gpt-live-transcribe", Unit::AudioMilliseconds, 1), 284);
    assert_eq!(total("tts-1", Unit::Characters, 3), 45_000);
    assert_eq!(total("sora-2-pro", Unit::VideoMilliseconds, 4_500), 1_350_000_000);
    let images = |quality: &str, count| {
        let mut used = Quantities::default();
        used.images.push(ImageCount { quality: quality.into(), size: "1024x1024".into(), count });
        used
    };
    let bill = priced("dall-e-3").bill(Tier::Standard, None, &images("hd", 2));
    assert_eq!(bill.lines, [Line { item: "image 1024x1024 hd".into(), quantity: 2, amount: Nano(160_000_000) }]);
    let bill = priced("dall-e-3").bill(Tier::Standard, None, &images("low", 2));
    assert_eq!((bill.total, bill.unpriced), (Nano::ZERO, vec!["image 1024x1024 low".to_owned()]));
}

#[test]
fn a_region_multiplies_each_line_before_it_is_rounded() {
    let model = priced("gpt-5.4-mini");
    // 37.5 nano-dollars a cached token at batch: 41.25 in Europe.
    let cached = used(&[(Unit::TextCachedInput, 1)]);
    let total = |region| model.bill(Tier::Batch, region, &cached).total.0;
    assert_eq!((total(None), total(Some("eu")), total(Some("us"))), (38, 42, 42));
    assert_eq!(total(Some("mars")), 42, "a region that is not listed costs what the dearest does");
    let regions = vec![("eu".to_owned(), 1_100), ("ae".to_owned(), 1_300), ("us".to_owned(), 1_200)];
    let table = Table::shipped().with(&[Override { regions, ..Override::of("gpt-4o") }]).unwrap();
    assert_eq!(table.find("gpt-4o").unwrap().multiplier_per_mille(Some("mars")), 1_300);
    let plain = priced("gpt-4o");
    assert_eq!(plain.bill(Tier::Standard, Some("eu"), &cached), plain.bill(Tier::Standard, None, &cached));
}

#[test]
fn amounts_saturate() {
    let most = used(&Unit::ALL.map(|unit| (unit, u64::MAX)));
    for model in Table::shipped().models() {
        assert!(model.bill(Tier::Standard, Some("eu"), &most).total.0 > u64::MAX / 60_000);
    }
}

#[test]
fn the_demo_row_is_marked_and_limits_a_dollar_to_some_calls() {
    let table = Table::shipped().with(&[demo("demo-model", 2_048)]).unwrap();
    let model = table.find("demo-model").unwrap();
    assert_eq!((model.source, model.max_input_tokens), (Source::Demo, Some(2_048)));
    let call = model.bill(Tier::Standard, None, &used(&[(Unit::TextInput, 50), (Unit::TextOutput, 80)]));
    assert_eq!((call.total, call.unpriced), (Nano(18_500_000), vec![]));
    assert_eq!(Table::shipped().find("demo-model"), None);
}
