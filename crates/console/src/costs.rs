//! The costs report, in the API's shape: exact to the nano-dollar, because the numbers are written digit by digit.

use pricing::{Nano, Unit};
use serde_json::{Value, json};
use store::{CostSum, Grouping, KeyId, ProjectId, Width};
use wire::refusal::Refusal;

use crate::buckets::{Buckets, filter, group_by};
use crate::input::Sizes;
use crate::{Call, Console, amounts, unavailable};

/// Where the report is.
pub(crate) const PATH: &str = "/v1/organization/costs";

const PAGES: Sizes = Sizes { min: 1, default: 7, max: 180 };

const GROUPS: [(&str, Grouping); 3] =
    [("project_id", Grouping::Project), ("line_item", Grouping::Item), ("api_key_id", Grouping::Key)];

impl Console {
    pub(crate) async fn report_costs(&self, call: &Call<'_>) -> Result<String, Refusal> {
        let buckets = Buckets::of(call, self.now(), &[Width::Day], |_| PAGES)?;
        let groups = group_by(call, &GROUPS.map(|(word, _)| word))?;
        let groupings = GROUPS.iter().filter(|(word, _)| groups.contains(word)).map(|(_, grouping)| *grouping);
        let sums = match buckets.query(filter(call)?, groupings.collect()) {
            Some(query) => self.money.reports.costs(&query).await.map_err(|error| unavailable(&error))?,
            None => Vec::new(),
        };
        Ok(buckets.page(|start| sums.iter().filter(|sum| sum.starts_at == start).map(show).collect()))
    }
}

/// A result, as JSON.
fn show(sum: &CostSum) -> String {
    let amount = number(sum.amount);
    let (quantity, unit) = match (&sum.item, sum.quantity) {
        (Some(item), Some(quantity)) => quantity_of(item, quantity),
        _ => ("null".to_owned(), None),
    };
    let text = |value: Option<&str>| Value::from(value);
    format!(
        r#"{{"object":"organization.costs.result","amount":{{"value":{amount},"currency":"usd"}},"line_item":{},"project_id":{},"api_key_id":{},"quantity":{quantity},"quantity_unit":{},"sallyport":{}}}"#,
        text(sum.item.as_deref()),
        text(sum.project.as_ref().map(ProjectId::as_str)),
        text(sum.key.as_ref().map(KeyId::as_str)),
        text(unit),
        json!({"amount": amounts::dollars(sum.amount), "amount_nano": sum.amount.0}),
    )
}

/// Dollars as a JSON number: `0.06`, `12.0`.
fn number(amount: Nano) -> String {
    let dollars = amounts::dollars(amount);
    let shorter = dollars.trim_end_matches('0');
    // A point needs a digit behind it.
    if shorter.ends_with('.') { format!("{shorter}0") } else { shorter.to_owned() }
}

/// How much of a line of the bill, in a unit that the API has: milliseconds are shown as seconds.
fn quantity_of(item: &str, quantity: u64) -> (String, Option<&'static str>) {
    let what = item.rsplit(", ").next().unwrap_or(item);
    let word = what.split(' ').next().unwrap_or(what);
    match Unit::from_word(word) {
        Some(unit) if unit.is_token() => (quantity.to_string(), Some("tokens")),
        Some(Unit::Characters) => (quantity.to_string(), Some("characters")),
        Some(Unit::AudioMilliseconds | Unit::VideoMilliseconds) => {
            (format!("{}.{:03}", quantity / 1_000, quantity % 1_000), Some("duration_seconds"))
        }
        _ if word == "image" => (quantity.to_string(), Some("images")),
        _ => (quantity.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_valid_json() {
        for (nano, text) in [
            (0, "0.0"),
            (1, "0.000000001"),
            (60_000_000, "0.06"),
            (12_000_000_000, "12.0"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(number(Nano(nano)), text);
            assert!(serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_number()));
        }
        assert_eq!(quantity_of("whisper-1, audio_ms", 61_005), ("61.005".to_owned(), Some("duration_seconds")));
        assert_eq!(quantity_of("gpt-5.4, text_input", 7), ("7".to_owned(), Some("tokens")));
        assert_eq!(quantity_of("dall-e-3, image 1024x1024 hd", 2), ("2".to_owned(), Some("images")));
    }
}
