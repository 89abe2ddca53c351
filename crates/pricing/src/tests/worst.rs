//! The worst case against random use of random models: never less, and no more than rounding explains.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{priced, used};
use crate::*;

/// Where the long-context step of random models lies, low enough to be crossed often.
const STEP: u64 = 60;
const QUALITIES: [&str; 3] = ["low", "high", "auto"];
const SIZES: [&str; 3] = ["1x1", "2x2", "auto"];
const FIELDS: usize = 13;

/// How prices are drawn.
#[derive(Clone, Copy, Debug)]
enum Prices {
    /// Whole nano-dollars, nothing left out, no multiplier: the worst case is some use's very bill.
    Whole,
    /// Anything, with gaps.
    Any,
    /// All the same and less than three nano-dollars: each line rounds up, and the more of them there are, the more.
    Level(u64),
}

fn price(prices: Prices) -> BoxedStrategy<Option<Pico>> {
    match prices {
        Prices::Whole => (0u64..50).prop_map(|nano| Some(Pico(nano * 60_000_000))).boxed(),
        Prices::Level(pico) => Just(Some(Pico(pico))).boxed(),
        Prices::Any => {
            let odd = select(vec![0, 1_000, 37_500]);
            let some = prop_oneof![20 => 0u64..3_000, 20 => 0u64..100_000_000, 10 => odd, 1 => Just(u64::MAX)];
            weighted(0.9, some.prop_map(Pico)).boxed()
        }
    }
}

fn set(prices: Prices) -> impl Strategy<Value = [Option<Pico>; Unit::COUNT]> {
    vec(price(prices), Unit::COUNT).prop_map(|set| set.try_into().unwrap())
}

fn model(prices: Prices) -> impl Strategy<Value = ModelPrices> {
    let tier = || (select(Tier::ALL.to_vec()), set(prices), weighted(0.6, set(prices)));
    let image = (select(Tier::ALL.to_vec()), 0usize..2, 0usize..2, price(prices), any::<bool>());
    let (multiplier, equivalents) = match prices {
        Prices::Whole => (select(vec![1_000u32]), false),
        Prices::Any | Prices::Level(_) => (select(vec![1_000u32, 1_100, 937]), true),
    };
    let step = weighted(0.7, 0..STEP * 2);
    (vec(tier(), 1..4), set(prices), set(prices), vec(image, 0..8), multiplier, step, any::<bool>()).prop_map(
        move |(tiers, calls, tools, images, multiplier, long_context_above, text)| {
            let mut model = ModelPrices {
                modality: if text { Modality::Text } else { Modality::Realtime },
                regions: vec![("eu".into(), multiplier)],
                long_context_above,
                calls: Unit::ALL.map(|unit| calls[unit as usize].filter(|_| unit.is_call())),
                ..ModelPrices::default()
            };
            for (tier, short, long) in tiers {
                let listed = model.listed_tier(tier);
                (listed.short, listed.long) = (short, long.unwrap_or([None; Unit::COUNT]));
            }
            for (tier, quality, size, price, equivalent) in images {
                let (quality, size) = (QUALITIES[quality].to_owned(), SIZES[size].to_owned());
                let price = price.unwrap_or_default();
                if model.image_price(tier, &quality, &size).is_some() {
                    continue;
                }
                model.images.push(ImagePrice { tier, quality, size, price, equivalent: equivalent && equivalents });
            }
            model.prepare(&Unit::ALL.map(|unit| tools[unit as usize].filter(|_| unit.is_call())));
            model
        },
    )
}

fn bound() -> impl Strategy<Value = Bound> {
    let quantity = || prop_oneof![40 => Just(0u64), 40 => 0u64..150, 1 => any::<u64>()];
    let images = vec((select(&QUALITIES[..]), select(&SIZES[..]), 0u64..5), 0..3);
    (vec(select(Tier::ALL.to_vec()), 0..4), any::<bool>(), vec(quantity(), 12), 0..STEP * 3, images).prop_map(
        |(tiers, eu, q, input, images)| Bound {
            tiers,
            region: eu.then(|| "eu".to_owned()),
            input_tokens: if q[0] > 0 { input } else { q[11] },
            audio_input_tokens: q[1],
            image_input_tokens: q[2],
            text_output_tokens: q[3],
            audio_output_tokens: q[4],
            image_output_tokens: q[5],
            audio_ms: q[6],
            characters: q[7],
            video_ms: q[8],
            web_searches: q[9].min(1_000),
            file_searches: q[10],
            container_sessions: q[11].min(1_000),
            images: images
                .into_iter()
                .map(|(quality, size, count)| ImageCount { quality: quality.into(), size: size.into(), count })
                .collect(),
        },
    )
}

/// A numbered field, for raising it.
fn field(bound: &mut Bound, number: usize) -> Option<&mut u64> {
    Some(match number {
        0 => &mut bound.input_tokens,
        1 => &mut bound.audio_input_tokens,
        2 => &mut bound.image_input_tokens,
        3 => &mut bound.text_output_tokens,
        4 => &mut bound.audio_output_tokens,
        5 => &mut bound.image_output_tokens,
        6 => &mut bound.audio_ms,
        7 => &mut bound.characters,
        8 => &mut bound.video_ms,
        9 => &mut bound.web_searches,
        10 => &mut bound.file_searches,
        11 => &mut bound.container_sessions,
        _ => return bound.images.first_mut().map(|image| &mut image.count),
    })
}

const TEXT: [Unit; 4] = [Unit::TextInput, Unit::TextCachedInput, Unit::TextCacheWrite30m, Unit::TextCacheWrite12h];
const AUDIO: [Unit; 3] = [Unit::AudioInput, Unit::AudioCachedInput, Unit::AudioCacheWrite];
const IMAGE: [Unit; 2] = [Unit::ImageInput, Unit::ImageCachedInput];
const SEARCHES: [Unit; 3] = [Unit::WebSearchLow, Unit::WebSearchMedium, Unit::WebSearchHigh];

/// The bounds of single units.
fn singles(bound: &Bound) -> [(Unit, u64); 8] {
    [
        (Unit::TextOutput, bound.text_output_tokens),
        (Unit::AudioOutput, bound.audio_output_tokens),
        (Unit::ImageOutput, bound.image_output_tokens),
        (Unit::AudioMilliseconds, bound.audio_ms),
        (Unit::Characters, bound.characters),
        (Unit::VideoMilliseconds, bound.video_ms),
        (Unit::FileSearch, bound.file_searches),
        (Unit::ContainerSession, bound.container_sessions),
    ]
}

/// A random use within the bound: shares out of 1000 pick amounts, input and searches are split over every kind.
fn use_within(bound: &Bound, shares: &[u64; 32]) -> Quantities {
    let mut shares = shares.iter().copied();
    let mut part = |whole: u64| {
        let share = u128::from(shares.next().unwrap());
        u64::try_from(u128::from(whole) * share / 1_000).unwrap()
    };
    let mut used = Quantities::default();
    let total = part(bound.input_tokens);
    let audio = part(bound.audio_input_tokens.min(total));
    let image = part(bound.image_input_tokens.min(total - audio));
    let mut split = |kinds: &[Unit], mut left: u64| {
        for (number, unit) in kinds.iter().enumerate() {
            let here = if number + 1 == kinds.len() { left } else { part(left) };
            used.add(*unit, here);
            left -= here;
        }
    };
    split(&TEXT, total - audio - image);
    split(&AUDIO, audio);
    split(&IMAGE, image);
    split(&SEARCHES, bound.web_searches);
    for (unit, quantity) in singles(bound) {
        used.set(unit, part(quantity));
    }
    for image in &bound.images {
        let chosen = |word: &str, words: [&str; 3], share: u64| match word {
            "auto" => words[usize::try_from(share % 2).unwrap()].to_owned(),
            word => word.to_owned(),
        };
        let (quality, size) = (chosen(&image.quality, QUALITIES, part(7_000)), chosen(&image.size, SIZES, part(7_000)));
        // In two entries, as a bill may come.
        let first = part(image.count);
        for count in [first, image.count - first] {
            used.images.push(ImageCount { quality: quality.clone(), size: size.clone(), count });
        }
    }
    used
}

/// The dearest bill of the corners of a bound: one kind of each, as much as may be.
fn dearest_corner(model: &ModelPrices, bound: &Bound) -> u64 {
    let mut best = 0;
    let step = model.long_context_above.unwrap_or(u64::MAX);
    for tier in model.tiers().filter(|tier| bound.tiers.is_empty() || bound.tiers.contains(tier)) {
        for total in [bound.input_tokens, bound.input_tokens.min(step)] {
            for corner in 0..(4 * 3 * 2 * 3 * 5u32) {
                let digit = |place: u32, base: u32| (corner / place % base) as usize;
                let (text, audio_kind, image_kind, search) =
                    (TEXT[digit(1, 4)], AUDIO[digit(4, 3)], IMAGE[digit(12, 2)], SEARCHES[digit(24, 3)]);
                let (mut audio, mut image) = (bound.audio_input_tokens.min(total), bound.image_input_tokens.min(total));
                match digit(72, 5) {
                    0 => audio = 0,
                    1 => image = 0,
                    2 => image = image.min(total - audio),
                    3 => (audio, image) = (0, 0),
                    _ => audio = audio.min(total - image),
                }
                audio = audio.min(total - image.min(total));
                let mut used = Quantities::default();
                used.set(text, total - audio - image);
                used.add(audio_kind, audio);
                used.add(image_kind, image);
                used.set(search, bound.web_searches);
                singles(bound).iter().for_each(|(unit, quantity)| used.set(*unit, *quantity));
                used.images = bound.images.clone();
                for image in &mut used.images {
                    let dearest = model
                        .images
                        .iter()
                        .filter(|listed| listed.tier == tier)
                        .filter(|listed| image.quality == "auto" || image.quality == listed.quality)
                        .filter(|listed| image.size == "auto" || image.size == listed.size)
                        .max_by_key(|listed| listed.price);
                    if let Some(listed) = dearest {
                        (image.quality, image.size) = (listed.quality.clone(), listed.size.clone());
                    }
                }
                best = best.max(model.bill(tier, bound.region.as_deref(), &used).total.0);
            }
        }
    }
    best
}

/// Half of the uses take all the input tokens that they may.
fn shares() -> impl Strategy<Value = [u64; 32]> {
    let shares = prop::array::uniform32(prop_oneof![2 => 0u64..=1_000, 1 => Just(1_000u64), 1 => Just(0u64)]);
    (shares, any::<bool>()).prop_map(|(mut shares, all)| {
        if all {
            shares[0] = 1_000;
        }
        shares
    })
}

/// Holds the bill of a random use against the worst case of its bound.
fn costs_no_more(model: &ModelPrices, bound: &Bound, shares: &[u64; 32], tier: Index) -> Result<(), TestCaseError> {
    let used = use_within(bound, shares);
    let tiers: Vec<Tier> = model.tiers().filter(|tier| bound.tiers.is_empty() || bound.tiers.contains(tier)).collect();
    match model.worst(bound) {
        Ok(worst) if tiers.is_empty() => prop_assert_eq!(worst, Nano::ZERO),
        Ok(worst) => {
            let bill = model.bill(*tier.get(&tiers), bound.region.as_deref(), &used);
            prop_assert!(bill.total <= worst, "{:?} > {:?}", bill, worst);
            // What has no price within a bound that has one: writes to the cache that the model does not offer, and
            // images that `auto` cannot mean.
            let auto = bound.images.iter().any(|image| image.quality == "auto" || image.size == "auto");
            let expected = |item: &String| item.contains("cache_write") || (auto && item.starts_with("image "));
            prop_assert!(bill.unpriced.iter().all(expected), "{:?}", bill.unpriced);
        }
        Err(unpriced) => prop_assert!(!unpriced.units.is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_use_within_the_bound_costs_more(
        model in model(Prices::Any),
        bound in bound(),
        shares in shares(),
        tier in any::<Index>(),
    ) {
        costs_no_more(&model, &bound, &shares, tier)?;
    }

    #[test]
    fn rounding_up_each_line_is_within_the_worst_case(
        model in (1u64..3_000).prop_flat_map(|pico| model(Prices::Level(pico))),
        bound in bound(),
        shares in shares(),
        tier in any::<Index>(),
    ) {
        let bound = Bound { input_tokens: bound.input_tokens % 20, ..bound };
        costs_no_more(&model, &bound, &shares, tier)?;
    }

    #[test]
    fn no_use_of_a_shipped_model_costs_more(
        at in any::<Index>(),
        bound in bound(),
        shares in shares(),
        tier in any::<Index>(),
    ) {
        let table = Table::shipped();
        // Up to twice the step of the shipped models.
        let bound = Bound { input_tokens: bound.input_tokens.saturating_mul(3_000), ..bound };
        costs_no_more(table.models().nth(at.index(table.models().len())).unwrap(), &bound, &shares, tier)?;
    }

    #[test]
    fn a_higher_bound_never_costs_less(
        model in model(Prices::Any),
        low in bound(),
        number in 0..FIELDS,
        more in prop_oneof![0u64..200, any::<u64>()],
    ) {
        let mut high = low.clone();
        if let Some(field) = field(&mut high, number) {
            *field = field.saturating_add(more);
        }
        let amount = |bound: &Bound| model.worst(bound).ok();
        match (amount(&low), amount(&high)) {
            (Some(low), Some(high)) => prop_assert!(low <= high, "{:?} > {:?}", low, high),
            (None, Some(_)) => prop_assert!(false, "a price is missing for less, and none for more"),
            (_, None) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn some_use_costs_just_the_worst_case(model in model(Prices::Whole), bound in bound()) {
        if let Ok(worst) = model.worst(&bound) {
            prop_assert_eq!(worst.0, dearest_corner(&model, &bound));
        }
    }
}

#[test]
fn the_worst_case_of_a_chat_request() {
    let model = priced("gpt-6.1-sol");
    let price = |tier, unit, long| model.price(tier, unit, long).unwrap().0 / 1_000;
    let bound = |tiers: &[Tier], input_tokens, text_output_tokens| Bound {
        tiers: tiers.to_vec(),
        input_tokens,
        text_output_tokens,
        ..Bound::default()
    };
    let write = price(Tier::Standard, Unit::TextCacheWrite12h, false);
    let output = price(Tier::Standard, Unit::TextOutput, false);
    assert_eq!(model.worst(&bound(&[Tier::Standard], 1_000, 500)).unwrap().0, 1_000 * write + 500 * output);
    assert_eq!(model.worst(&bound(&[Tier::Standard], 272_000, 0)).unwrap().0, 272_000 * write, "not above the step");
    let write = price(Tier::Standard, Unit::TextCacheWrite12h, true);
    let output = price(Tier::Standard, Unit::TextOutput, true);
    assert_eq!(model.worst(&bound(&[Tier::Standard], 272_001, 1)).unwrap().0, 272_001 * write + output);
    let dearest = model.worst(&bound(&[], 1_000, 500)).unwrap();
    assert_eq!(dearest, model.worst(&bound(&[Tier::Ultrafast], 1_000, 500)).unwrap());
    // A tier that the model lacks is not served; alone it has no price.
    assert_eq!(model.worst(&bound(&[Tier::Ultrafast, Tier::Scale], 1_000, 500)).unwrap(), dearest);
    assert_eq!(model.worst(&bound(&[Tier::Scale], 1_000, 500)).unwrap_err().units, ["tier scale"]);
    assert_eq!(model.worst(&bound(&[Tier::Scale], 0, 0)), Ok(Nano::ZERO));
}

#[test]
fn what_is_missing_is_named_only_where_it_may_be_used() {
    let missing = |model: &str, bound: Bound| priced(model).worst(&bound).map_err(|error| error.to_string());
    let files = |file_searches| Bound { tiers: vec![Tier::Flex], file_searches, input_tokens: 5, ..Bound::default() };
    assert_eq!(missing("gpt-5.4", files(1)), Err("no price for file_search (flex)".into()));
    assert_eq!(missing("gpt-5.4", files(0)), Ok(Nano(6_250)));
    let image = |quality: &str| Bound {
        tiers: vec![Tier::Standard],
        images: vec![ImageCount { quality: quality.into(), size: "1024x1024".into(), count: 2 }],
        ..Bound::default()
    };
    assert_eq!(missing("gpt-image-2", image("high")), Err("no price for image 1024x1024 high".into()));
    assert_eq!(missing("dall-e-3", image("hd")), Ok(Nano(160_000_000)));
    assert_eq!(missing("dall-e-3", image("auto")), Ok(Nano(160_000_000)), "the dearest quality");
    // A published equivalent is held with a margin.
    assert_eq!(missing("gpt-image-1", image("low")), Ok(Nano(2 * 11_550_000)));
    let batch = Bound { tiers: vec![Tier::Standard, Tier::Batch], image_output_tokens: 1, ..Bound::default() };
    assert_eq!(missing("gpt-image-2", batch), Err("no price for image_output (batch)".into()));
}

#[test]
fn the_dearest_kind_of_input_goes_first() {
    let prices = [(Unit::TextInput, "1"), (Unit::AudioInput, "2"), (Unit::ImageInput, "3")];
    let over = prices
        .into_iter()
        .fold(Override::of("ours"), |over, (unit, usd)| over.usd(Tier::Standard, unit, false, usd).unwrap());
    let table = Table::shipped().with(&[over]).unwrap();
    let worst = |audio_input_tokens, image_input_tokens| {
        let bound = Bound { input_tokens: 10, audio_input_tokens, image_input_tokens, ..Bound::default() };
        table.find("ours").unwrap().worst(&bound).unwrap().0
    };
    assert_eq!((worst(0, 0), worst(8, 8), worst(3, 2)), (10_000, 28_000, 17_000));
}

#[test]
fn a_search_of_any_size_needs_a_price_for_each() {
    let search = Bound { tiers: vec![Tier::Standard], web_searches: 2, ..Bound::default() };
    let sizes = "[tools]\nusd_per_1k_web_searches = { low = \"1\", high = \"3\" }";
    let table = Table::shipped().with(&Override::from_toml(sizes).unwrap()).unwrap();
    assert_eq!(table.find("gpt-4").unwrap().worst(&search).unwrap_err().units, ["web_search_medium"]);
    assert_eq!(table.find("gpt-5.4-mini").unwrap().worst(&search), Ok(Nano(20_000_000)));
}

#[test]
fn every_line_of_input_may_round_up() {
    // Every kind at a thousandth of a nano-dollar, then at a whole one that a region's multiplier breaks.
    for (pico, region, a_token) in [(1, None, 1), (1_000, Some("eu"), 2)] {
        let kinds = [&TEXT[..], &AUDIO[..], &IMAGE[..]].concat();
        let given = kinds.iter().map(|unit| UnitPrice {
            tier: Tier::Standard,
            unit: *unit,
            long_context: false,
            price: Pico(pico),
        });
        let regions = vec![("eu".to_owned(), 1_100)];
        let over = Override { prices: given.collect(), regions, ..Override::of("ours") };
        let table = Table::shipped().with(&[over]).unwrap();
        let ours = table.find("ours").unwrap();
        let one_each: Vec<(Unit, u64)> = kinds.iter().map(|unit| (*unit, 1)).collect();
        let bill = ours.bill(Tier::Standard, region, &used(&one_each));
        let bound = |tokens| Bound {
            region: region.map(str::to_owned),
            input_tokens: tokens,
            audio_input_tokens: tokens,
            image_input_tokens: tokens,
            ..Bound::default()
        };
        assert_eq!((bill.total.0, ours.worst(&bound(9)).unwrap().0), (9 * a_token, 9 * a_token));
        assert_eq!(ours.worst(&bound(1)).unwrap().0, a_token, "one token is one line");
    }
}

#[test]
fn rounding_adds_little() {
    // 37.5 nano-dollars a cached token, the other kinds whole.
    let model = priced("gpt-5.4-mini");
    let bound = Bound { tiers: vec![Tier::Batch], input_tokens: 3, ..Bound::default() };
    let plain = model.bill(Tier::Batch, None, &used(&[(Unit::TextInput, 3)])).total;
    let worst = model.worst(&bound).unwrap();
    assert!(plain <= worst && worst.0 <= plain.0 + 1, "{plain} {worst}");
}
