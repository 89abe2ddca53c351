//! The shipped price list, made from the public one: dollars in decimal become integers, exactly, or the list is
//! refused. So is a field that is not known here, because it may be a price.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use pricing::{Modality, Pico, Tier, Unit, per_mille};
use serde_json::{Map, Value, json};
use time::{Date, Month};

/// Where the shipped list lies.
const SHIPPED: &str = "crates/pricing/prices.json";

/// Fields of a model that say nothing about prices or limits, or are informative only.
const PASSED_OVER: &[&str] = &[
    "source_mode",
    "endpoints",
    "input_modalities",
    "output_modalities",
    "embedding_dimensions",
    "source",
    "source_url",
    "as_of",
    "cross_check",
    "billing_basis",
    // The models are billed by tokens.
    "usd_per_audio_minute_estimate",
];

/// Writes the shipped list.
///
/// # Errors
/// When the public one cannot be read exactly, or the file cannot be written.
pub(crate) fn write(repository: &Path, public: &str) -> Result<()> {
    std::fs::write(repository.join(SHIPPED), shipped(public)?).with_context(|| format!("cannot write `{SHIPPED}`"))?;
    println!("wrote {SHIPPED}; now run cargo xtask reference for its page");
    Ok(())
}

/// Compares the shipped list with what would be written.
///
/// # Errors
/// When it differs.
pub(crate) fn check(repository: &Path, public: &str) -> Result<()> {
    let written =
        std::fs::read_to_string(repository.join(SHIPPED)).with_context(|| format!("cannot read `{SHIPPED}`"))?;
    ensure!(written == shipped(public)?, "not up to date: {SHIPPED}. Run cargo xtask prices PRICES.json");
    Ok(())
}

/// The shipped list: a line for each model.
fn shipped(public: &str) -> Result<String> {
    let list: Value = serde_json::from_str(public).context("the price list is no JSON")?;
    ensure!(list["schema_version"] == 1 && list["currency"] == "USD", "not schema 1 in USD");
    let day = list["as_of"].as_str().context("as_of is no day")?;
    let tools = tools(&list["tools"])?;
    let mut models = Vec::new();
    for listed in list["models"].as_array().context("models is no list")? {
        let name = listed["model"].as_str().context("a model without a name")?;
        models.push(model(name, listed.as_object().context("a model is no object")?).with_context(|| name.to_owned())?);
    }
    let models = models.join(",\n");
    let checksum = crc32fast::hash(format!("{tools}{models}").as_bytes());
    Ok(format!(
        "{{\"version\":\"{day}-{checksum:08x}\",\"as_of\":{},\"missing\":{},\n\"tools\":{tools},\n\"models\":[\n{models}\n]}}\n",
        seconds(day)?,
        list["missing"]
    ))
}

/// Midnight (UTC) of a day in seconds since 1970.
fn seconds(day: &str) -> Result<i64> {
    let parts: Vec<u16> = day.split('-').map(str::parse).collect::<Result<_, _>>().context("a day is YYYY-MM-DD")?;
    let [year, month, day] = parts[..] else { bail!("a day is YYYY-MM-DD") };
    let month = Month::try_from(u8::try_from(month)?)?;
    Ok(Date::from_calendar_date(i32::from(year), month, u8::try_from(day)?)?.midnight().assume_utc().unix_timestamp())
}

fn tools(listed: &Value) -> Result<Value> {
    let mut tools = Map::new();
    for (tool, fields) in listed.as_object().context("tools is no object")? {
        for (field, value) in fields.as_object().context("a tool is no object")? {
            match field.as_str() {
                "usd_per_container_session" => put(&mut tools, Unit::ContainerSession, value)?,
                "source" => {}
                _ => bail!("tools.{tool}.{field} is not known"),
            }
        }
    }
    Ok(Value::Object(tools))
}

/// A model's line. Prices that the public list gives outside its tiers are the standard tier's.
fn model(name: &str, listed: &Map<String, Value>) -> Result<String> {
    let (mut prices, mut long, mut calls) = (Map::new(), Map::new(), Map::new());
    let mut line: Vec<(&str, Value)> = vec![("model", json!(name))];
    for (field, value) in listed {
        match field.as_str() {
            "model" => {}
            "modality" => {
                let word = value.as_str().and_then(Modality::from_word).context("unknown modality")?.word();
                line.insert(1, ("modality", json!(word)));
            }
            "context_window_tokens" => limit(&mut line, "context_window", value)?,
            "max_input_tokens" => limit(&mut line, "max_input", value)?,
            "max_output_tokens" => limit(&mut line, "max_output", value)?,
            "deprecation_date" => {
                if let Some(day) = value.as_str() {
                    seconds(day)?;
                    line.push(("deprecation", json!(day)));
                }
            }
            "status" if value == "retired" => line.push(("retired", json!(true))),
            "status" => {}
            "usd_per_1m_tokens" => tiers(&mut prices, value)?,
            "long_context" => {
                line.push(("long_above", json!(value["above_input_tokens"].as_u64().context("no step")?)));
                tiers(&mut long, &value["usd_per_1m_tokens"])?;
            }
            "usd_per_audio_minute" => put(standard(&mut prices), Unit::AudioMilliseconds, value)?,
            "usd_per_video_second" => put(standard(&mut prices), Unit::VideoMilliseconds, value)?,
            "usd_per_1m_characters" => put(standard(&mut prices), Unit::Characters, value)?,
            "usd_per_1k_web_searches" => searches(&mut calls, value)?,
            "usd_per_image" => line.push(("images", images(value, by_tokens(listed))?)),
            "regional_processing_multiplier" => line.push(("regions", regions(value)?)),
            known if PASSED_OVER.contains(&known) => {}
            unknown => bail!("`{unknown}` is not known"),
        }
    }
    for (field, map) in [("prices", prices), ("long", long), ("calls", calls)] {
        if !map.is_empty() {
            line.push((field, Value::Object(map)));
        }
    }
    let members: Vec<String> = line.iter().map(|(field, value)| format!("{}:{value}", json!(field))).collect();
    Ok(format!("{{{}}}", members.join(",")))
}

fn limit(line: &mut Vec<(&str, Value)>, field: &'static str, value: &Value) -> Result<()> {
    if !value.is_null() {
        line.push((field, json!(value.as_u64().with_context(|| format!("{field} is no count"))?)));
    }
    Ok(())
}

/// Whether tokens of images are billed: prices by the image are then equivalents.
fn by_tokens(listed: &Map<String, Value>) -> bool {
    listed.get("billing_basis").and_then(Value::as_array).is_some_and(|basis| basis.contains(&json!("tokens")))
}

fn tiers(into: &mut Map<String, Value>, listed: &Value) -> Result<()> {
    for (tier, units) in listed.as_object().context("tiers are no object")? {
        let tier = Tier::from_word(tier).with_context(|| format!("unknown tier `{tier}`"))?;
        let prices = of_tier(into, tier);
        for (word, usd) in units.as_object().context("units are no object")? {
            let unit = Unit::from_word(word).filter(|unit| unit.is_token());
            put(prices, unit.with_context(|| format!("unknown unit `{word}`"))?, usd)?;
        }
    }
    Ok(())
}

fn of_tier(tiers: &mut Map<String, Value>, tier: Tier) -> &mut Map<String, Value> {
    let prices = tiers.entry(tier.word()).or_insert_with(|| Value::Object(Map::new()));
    prices.as_object_mut().expect("only objects are put in")
}

fn standard(tiers: &mut Map<String, Value>) -> &mut Map<String, Value> {
    of_tier(tiers, Tier::Standard)
}

fn put(prices: &mut Map<String, Value>, unit: Unit, usd: &Value) -> Result<()> {
    let text = usd.as_str().context("an amount is a decimal string")?;
    let price = Pico::from_usd(text, unit.listed_by()).with_context(|| format!("{} at `{text}`", unit.word()))?;
    prices.insert(unit.word().to_owned(), json!(price.0));
    Ok(())
}

fn searches(calls: &mut Map<String, Value>, sizes: &Value) -> Result<()> {
    for (size, usd) in sizes.as_object().context("searches are no object")? {
        let unit = Unit::from_word(&format!("web_search_{size}")).with_context(|| format!("unknown size `{size}`"))?;
        put(calls, unit, usd)?;
    }
    Ok(())
}

fn images(listed: &Value, equivalent: bool) -> Result<Value> {
    let image = |image: &Value| -> Result<Value> {
        let price = Pico::from_usd(image["usd"].as_str().context("an amount is a decimal string")?, 1)?;
        let [quality, size] = ["quality", "size"].map(|field| image[field].as_str());
        Ok(json!([quality.context("no quality")?, size.context("no size")?, price.0, equivalent]))
    };
    listed.as_array().context("images are no list")?.iter().map(image).collect()
}

fn regions(listed: &Value) -> Result<Value> {
    let mut regions = Map::new();
    for (region, multiplier) in listed.as_object().context("regions are no object")? {
        let text = multiplier.as_str().context("a multiplier is a decimal string")?;
        regions.insert(region.clone(), json!(per_mille(text)?));
    }
    Ok(Value::Object(regions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(model: &Value) -> String {
        json!({
            "schema_version": 1, "currency": "USD", "as_of": "2026-11-23", "missing": ["taxes"],
            "tools": {"code_interpreter": {"usd_per_container_session": "0.03", "source": "x"}},
            "models": [model],
        })
        .to_string()
    }

    #[test]
    fn dollars_become_whole_pico_dollars() {
        let text = shipped(&list(&json!({
            "model": "m", "modality": "text", "max_input_tokens": 9, "max_output_tokens": null,
            "usd_per_1m_tokens": {"batch": {"text_input": "0.0375"}}, "usd_per_audio_minute": "0.0045",
            "usd_per_1k_web_searches": {"low": "10"}, "regional_processing_multiplier": {"eu": "1.1"},
            "usd_per_image": [{"quality": "hd", "size": "1x1", "usd": "0.12"}], "billing_basis": ["images"],
        })))
        .unwrap();
        for part in [
            r#""as_of":1795392000,"missing":["taxes"]"#,
            r#""tools":{"container_session":30000000000}"#,
            r#"{"model":"m","modality":"text","#,
            r#""max_input":9"#,
            r#""batch":{"text_input":37500}"#,
            r#""standard":{"audio_ms":4500000000}"#,
            r#""calls":{"web_search_low":10000000000}"#,
            r#""regions":{"eu":1100}"#,
            r#""images":[["hd","1x1",120000000000,false]]"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("max_output"));
    }

    #[test]
    fn what_is_not_known_or_not_exact_is_refused() {
        for (model, word) in [
            (json!({"model": "m", "usd_per_dream": "1"}), "usd_per_dream"),
            (json!({"model": "m", "usd_per_1m_tokens": {"standard": {"smell_input": "1"}}}), "smell_input"),
            (json!({"model": "m", "usd_per_1m_tokens": {"cheap": {"text_input": "1"}}}), "cheap"),
            (json!({"model": "m", "usd_per_1m_tokens": {"standard": {"text_input": 2.5}}}), "decimal string"),
            (json!({"model": "m", "usd_per_1m_tokens": {"standard": {"text_input": "0.0000001"}}}), "finer"),
            (json!({"model": "m", "modality": "smell"}), "modality"),
        ] {
            let error = format!("{:#}", shipped(&list(&model)).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }
}
