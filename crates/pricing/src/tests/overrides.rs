//! The operator's prices.

use crate::*;

fn with(file: &str) -> Result<Table, OverrideError> {
    Table::shipped().with(&Override::from_toml(file)?)
}

#[test]
fn the_example_of_every_field_is_read() {
    let table = with(include_str!("../../../../examples/prices.toml")).unwrap();
    let ours = table.find("our-model").unwrap();
    assert_eq!(ours.source, Source::Override);
    assert_eq!((ours.max_input_tokens, ours.context_window_tokens), (Some(128_000), Some(200_000)));
    let price = |tier, unit, long| ours.price(tier, unit, long).map(|price| price.0);
    assert_eq!(price(Tier::Standard, Unit::TextInput, false), Some(2_500_000));
    assert_eq!(price(Tier::Standard, Unit::TextInput, true), Some(5_000_000));
    assert_eq!(price(Tier::Standard, Unit::TextOutput, true), Some(15_000_000));
    assert_eq!(price(Tier::Standard, Unit::TextCachedInput, true), Some(5_000_000));
    assert_eq!(price(Tier::Batch, Unit::TextInput, false), Some(1_250_000));
    assert_eq!(price(Tier::Batch, Unit::TextOutput, true), Some(15_000_000), "the dearest of what could be meant");
    assert_eq!(price(Tier::Batch, Unit::ImageOutput, false), None);
    assert_eq!(price(Tier::Batch, Unit::WebSearchHigh, false), Some(10_000_000_000));
    assert_eq!(price(Tier::Standard, Unit::ContainerSession, false), Some(30_000_000_000));
    assert_eq!(price(Tier::Standard, Unit::FileSearch, false), Some(2_500_000_000));
    assert_eq!(ours.multiplier_per_mille(Some("eu")), 1_100);
    assert_eq!(table.find("gpt-5.4").unwrap().price(Tier::Flex, Unit::FileSearch, false), Some(Pico(2_500_000_000)));
    let voice = table.find("our-voice").unwrap();
    assert_eq!(voice.price(Tier::Standard, Unit::Characters, false), Some(Pico(15_000_000)));
    assert_eq!(voice.image_price(Tier::Batch, "high", "1024x1024").unwrap().price, Pico(200_000_000_000));
    let alias = table.find("house-default").unwrap();
    assert_eq!(alias.price(Tier::Priority, Unit::TextOutput, false), Some(Pico(30_000_000)));
    assert_eq!(alias.max_output_tokens, Some(128_000));
    assert_eq!(table.models().len(), 182);
    let sizes = "[tools]\nusd_per_1k_web_searches = { low = \"1\", high = \"3\" }";
    let table = with(sizes).unwrap();
    let search = |unit| table.find("gpt-4").unwrap().price(Tier::Standard, unit, false);
    assert_eq!(search(Unit::WebSearchLow), Some(Pico(1_000_000_000)));
    assert_eq!(
        (search(Unit::WebSearchMedium), table.tool_price(Unit::WebSearchHigh)),
        (None, Some(Pico(3_000_000_000)))
    );
}

#[test]
fn what_is_not_named_stays_and_the_version_says_that_there_are_overrides() {
    let shipped = Table::shipped();
    let table = with("[model.\"gpt-5.4\"]\nusd_per_1m_tokens = { text_output = \"12\" }").unwrap();
    let (before, after) = (shipped.find("gpt-5.4").unwrap(), table.find("gpt-5.4").unwrap());
    for unit in Unit::ALL.into_iter().filter(|unit| *unit != Unit::TextOutput) {
        assert_eq!(before.price(Tier::Standard, unit, false), after.price(Tier::Standard, unit, false));
    }
    assert_eq!(after.price(Tier::Standard, Unit::TextOutput, false), Some(Pico(12_000_000)));
    assert_eq!(before.price(Tier::Batch, Unit::TextOutput, false), after.price(Tier::Batch, Unit::TextOutput, false));
    // A listed snapshot keeps its row. It is now dearer than the family, which stands for no unlisted one any more.
    assert_eq!(table.find("gpt-5.4-2026-03-05"), shipped.find("gpt-5.4-2026-03-05"));
    assert_eq!(table.find("gpt-5.4-2027-01-01"), None);
    let other = with("[model.\"gpt-5.4\"]\nusd_per_1m_tokens = { text_output = \"13\" }").unwrap();
    assert!(table.version().starts_with(&format!("{}+", shipped.version())) && table.version() != other.version());
    assert_eq!(shipped.with(&[]).unwrap().version(), shipped.version());
}

#[test]
fn an_alias_follows_what_the_same_overrides_say() {
    let table = with("[model.a]\nalias = \"z\"\n[model.z]\nusd_per_1m_tokens = { text_input = \"7\" }").unwrap();
    assert_eq!(table.find("a").unwrap().price(Tier::Standard, Unit::TextInput, false), Some(Pico(7_000_000)));
    let table = with("[model.a]\nalias = \"gpt-5.4-2027-01-01\"\nmax_output_tokens = 5").unwrap();
    assert_eq!(table.find("a").unwrap().max_output_tokens, Some(5));
    let own = Override::of("x").usd(Tier::Flex, Unit::TextInput, false, "1").unwrap();
    assert_eq!(Table::shipped().with(&[own]).unwrap().find("x").unwrap().tiers().collect::<Vec<_>>(), [Tier::Flex]);
}

#[test]
fn of_two_overrides_of_a_model_the_later_holds_where_both_speak() {
    let input = |usd: &str| Override::of("x").usd(Tier::Standard, Unit::TextInput, false, usd).unwrap();
    let output = Override::of("x").usd(Tier::Standard, Unit::TextOutput, false, "9").unwrap();
    let alias = Override { alias: Some("gpt-5.4".into()), ..Override::of("x") };
    for (given, expected) in [
        (vec![input("1"), output.clone(), input("2")], (2_000_000, 9_000_000)),
        (vec![alias.clone(), output.clone()], (2_500_000, 9_000_000)),
        (vec![output, alias], (2_500_000, 9_000_000)),
    ] {
        let table = Table::shipped().with(&given).unwrap();
        let price = |unit| table.find("x").unwrap().price(Tier::Standard, unit, false).unwrap().0;
        assert_eq!((price(Unit::TextInput), price(Unit::TextOutput)), expected);
    }
}

#[test]
fn errors_name_model_field_and_mend() {
    for (file, parts) in [
        ("[model.x]\nusd_per_1m_tokens = { text_input = 2.5 }", ["`x`", "`usd_per_1m_tokens.text_input`", "in quotes"]),
        ("[model.x]\nusd_per_1m_tokens = { text_input = \"2,5\" }", ["`x`", "`2,5`", "\"2.50\""]),
        ("[model.x]\nusd_per_1m_tokens = { text_input = \"-1\" }", ["`x`", "`-1`", "decimal"]),
        ("[model.x]\nusd_per_1m_tokens = { text_input = \"0.0000001\" }", ["`x`", "finer", "pico"]),
        ("[model.x]\nusd_per_1m_tokens = { input = \"1\" }", ["`x`", "`usd_per_1m_tokens.input`", "text_input"]),
        ("[model.x]\nusd_per_1m_tokens = { cheap = { text_input = \"1\" } }", ["`x`", "cheap", "priority"]),
        ("[model.x]\nprice = \"1\"", ["`x`", "`price`", "usd_per_1m_tokens"]),
        ("[model.x]\nmodality = \"smell\"", ["`x`", "`modality`", "embedding"]),
        ("[model.x]\nmax_input_tokens = \"1\"", ["`x`", "`max_input_tokens`", "without quotes"]),
        ("[model.x]\nmax_input_tokens = -1", ["`x`", "`max_input_tokens`", "whole number"]),
        ("[model.\"gpt-5.4\"]\nmax_input_tokens = 0", ["`gpt-5.4`", "`max_input_tokens`", "leave the line out"]),
        ("[model.x]\nmax_input_tokens = 5", ["`x`", "`alias`", "needs a price"]),
        ("[model.x]\nalias = \"nobody\"", ["`x`", "`alias`", "`nobody`"]),
        ("[model.x]\nalias = \"y\"\n[model.y]\nalias = \"gpt-4o\"", ["`x`", "`y`", "is an alias itself"]),
        ("[model.x]\nusd_per_image = [{ usd = \"1\" }]", ["`x`", "`usd_per_image`", "quality"]),
        ("[model.x]\nusd_per_image = \"1\"", ["`x`", "`usd_per_image`", "quality ="]),
        ("[model.x]\nregional_processing_multiplier = { eu = \"1.2345\" }", ["`x`", "eu", "thousandth"]),
        (
            "[model.x.long_context]\nusd_per_1m_tokens = { text_input = \"1\" }\n[model.x.usd_per_1m_tokens]\ntext_input = \"1\"",
            ["`x`", "above_input_tokens", "say above"],
        ),
        ("[tools]\nusd_per_image = []", ["`*`", "`tools.usd_per_image`", "usd_per_container_session"]),
        ("[models.x]\nalias = \"gpt-4o\"", ["`models`", "no such section", "[model."]),
        ("[model.\"\"]\nalias = \"gpt-4o\"", ["model", "bytes", "256"]),
        ("[model", ["file", "", ""]),
    ] {
        let error = with(file).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{file}: {error}");
    }
    let given = Override { alias: Some("gpt-4o".into()), ..Override::of(EVERY_MODEL) };
    assert!(Table::shipped().with(&[given]).is_err(), "not every model is an alias");
    let given = Override::of("gpt-5.4").usd(Tier::Standard, Unit::FileSearch, true, "1").unwrap();
    assert!(Table::shipped().with(&[given]).unwrap_err().to_string().contains("only tokens"));
    assert!(Table::shipped().with(&vec![Override::of("gpt-4o"); OVERRIDES_MAX + 1]).is_err());
}

proptest::proptest! {
    #[test]
    fn no_file_panics(text in "(\\[(model|tools)(\\.\"?[a-z]\"?)?\\]\n)?([a-z_0-9]{1,20} = [\\[{\"0-9a-z.}\\]]{0,9}\n){0,3}") {
        let _: Result<Table, OverrideError> = with(&text);
    }
}
