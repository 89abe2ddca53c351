//! The provider's own usage and costs, as its Administration API tells them: what to ask, and how to read it.
//!
//! Promises: amounts are read digit by digit, and what is less than a nano-dollar is rounded up; whatever an answer holds, it
//! is read within bounds or refused; a page leads to the next one only by a token that can stand in a query.
//!
//! Left out: sending the questions.

use pricing::Nano;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::moment::{DAY, HOUR};

/// The reports of requests, each by model.
pub const KINDS: [&str; 6] =
    ["completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions"];
/// Up to so many days usage is asked for by hour, above by day.
const HOURLY_DAYS_MAX: i64 = 7;
/// Most buckets of a page: the API gives 168 hours, which with many models are over what is read of an answer.
const HOURS_PAGE: u32 = 48;
const DAYS_PAGE: u32 = 31;
const COST_DAYS_PAGE: u32 = 180;
/// Longest token of a next page.
const PAGE_TOKEN_CHARS_MAX: usize = 512;

/// Whose usage is asked for. Nothing named: the whole organization's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whose {
    /// The provider's ids of the keys that requests are sent with.
    pub key_ids: Vec<String>,
    /// The provider's id of the project.
    pub project_id: Option<String>,
}

impl Whose {
    /// In words, for reports.
    pub fn words(&self) -> String {
        match (self.key_ids.as_slice(), &self.project_id) {
            ([], Some(project)) => format!("the provider's project {project}, for all that it is used for"),
            ([], None) => "the provider's whole organization, for all that it is used for".to_owned(),
            ([key], _) => format!("the provider's key {key}, for all keys of this gate that share it"),
            (keys, _) => format!("the provider's keys {}, for all keys of this gate that share them", keys.join(", ")),
        }
    }

    fn query(&self) -> String {
        let project = self.project_id.as_ref().filter(|_| self.key_ids.is_empty());
        let keys = self.key_ids.iter().map(|id| format!("&api_key_ids%5B%5D={}", encoded(id)));
        keys.chain(project.map(|id| format!("&project_ids%5B%5D={}", encoded(id)))).collect()
    }
}

/// What the provider counts of a model in an hour or a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// When that began, Unix seconds.
    pub at: i64,
    /// Model.
    pub model: String,
    /// Requests.
    pub calls: u64,
}

/// What the provider charges for a day (UTC).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Charged {
    /// When the day began, Unix seconds.
    pub day: i64,
    /// What it cost.
    pub cost: Nano,
}

/// A page, and the token of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is in it.
    pub rows: Vec<T>,
    /// The next page's token.
    pub next: Option<String>,
}

/// An answer that is not what the API's document says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer cannot be read")]
pub struct Unreadable;

/// Path and query of one kind's usage from a time until before another.
pub fn usage_path(kind: &str, whose: &Whose, from: i64, until: i64, page: Option<&str>) -> String {
    let is_hourly = until.saturating_sub(from) <= HOURLY_DAYS_MAX * DAY;
    let (seconds, width, limit) = if is_hourly { (HOUR, "1h", HOURS_PAGE) } else { (DAY, "1d", DAYS_PAGE) };
    let from = from.div_euclid(seconds) * seconds;
    format!(
        "/organization/usage/{kind}?start_time={from}&end_time={until}&bucket_width={width}&limit={limit}&group_by%5B%5D=model{}{}",
        whose.query(),
        next(page)
    )
}

/// Path and query of costs by day.
pub fn costs_path(whose: &Whose, from: i64, until: i64, page: Option<&str>) -> String {
    let from = from.div_euclid(DAY) * DAY;
    format!(
        "/organization/costs?start_time={from}&end_time={until}&bucket_width=1d&limit={COST_DAYS_PAGE}{}{}",
        whose.query(),
        next(page)
    )
}

fn next(page: Option<&str>) -> String {
    page.map(|token| format!("&page={}", encoded(token))).unwrap_or_default()
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[derive(Deserialize)]
#[serde(bound = "R: Deserialize<'de>")]
struct Written<R> {
    data: Vec<Bucket<R>>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    next_page: Option<String>,
}

#[derive(Deserialize)]
#[serde(bound = "R: Deserialize<'de>")]
struct Bucket<R> {
    start_time: i64,
    results: Vec<R>,
}

#[derive(Deserialize)]
struct UsageResult {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    num_model_requests: u64,
}

#[derive(Deserialize)]
struct CostResult<'j> {
    #[serde(borrow)]
    amount: Amount<'j>,
}

#[derive(Deserialize)]
struct Amount<'j> {
    #[serde(borrow)]
    value: &'j RawValue,
    #[serde(default)]
    currency: Option<String>,
}

impl<R> Written<R> {
    fn next(&mut self) -> Option<String> {
        let token = self.next_page.take().filter(|token| !token.is_empty() && token.len() <= PAGE_TOKEN_CHARS_MAX);
        token.filter(|_| self.has_more)
    }
}

/// Reads a page of usage. Rows without requests are left out.
///
/// # Errors
/// [`Unreadable`].
pub fn read_usage(json: &[u8]) -> Result<Page<Counted>, Unreadable> {
    let mut written: Written<UsageResult> = serde_json::from_slice(json).map_err(|_| Unreadable)?;
    let next = written.next();
    let of_bucket = |bucket: Bucket<UsageResult>| {
        let at = bucket.start_time;
        bucket.results.into_iter().map(move |result| {
            let model = result.model.unwrap_or_else(|| "(no model named)".to_owned());
            Counted { at, model, calls: result.num_model_requests }
        })
    };
    let rows = written.data.into_iter().flat_map(of_bucket).filter(|row| row.calls > 0).collect();
    Ok(Page { rows, next })
}

/// Reads a page of costs. Days that cost nothing are left out.
///
/// # Errors
/// [`Unreadable`]; so is another currency than the dollar.
pub fn read_costs(json: &[u8]) -> Result<Page<Charged>, Unreadable> {
    let text = std::str::from_utf8(json).map_err(|_| Unreadable)?;
    let mut written: Written<CostResult<'_>> = serde_json::from_str(text).map_err(|_| Unreadable)?;
    let next = written.next();
    let mut rows = Vec::new();
    for bucket in written.data {
        let mut cost = Nano::ZERO;
        for result in bucket.results {
            if result.amount.currency.is_some_and(|currency| !currency.eq_ignore_ascii_case("usd")) {
                return Err(Unreadable);
            }
            cost = cost.plus(nano(result.amount.value.get()).ok_or(Unreadable)?);
        }
        if cost > Nano::ZERO {
            rows.push(Charged { day: bucket.start_time, cost });
        }
    }
    Ok(Page { rows, next })
}

/// A JSON number of dollars (or one in a string) as an amount: digit by digit, rounded up. Credits, which are less than
/// nothing, count as nothing; what is too large is the largest amount.
fn nano(number: &str) -> Option<Nano> {
    let number = number.trim_matches('"');
    let (is_credit, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_plain = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !is_plain(whole) || !is_plain(fraction) {
        return None;
    }
    if is_credit {
        return Some(Nano::ZERO);
    }
    // Where the point stands among the digits once they are nano-dollars.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 9;
    let (mut amount, mut is_rounded_up) = (0_u128, false);
    let digits = whole.bytes().chain(fraction.bytes());
    for (place, digit) in (0_i64..).zip(digits) {
        if place < point {
            amount = amount.saturating_mul(10).saturating_add(u128::from(digit - b'0'));
        } else {
            is_rounded_up |= digit != b'0';
        }
    }
    let missing = point - i64::try_from(whole.len() + fraction.len()).ok()?;
    for _ in 0..missing.clamp(0, 40) {
        amount = amount.saturating_mul(10);
    }
    let amount = amount.saturating_add(u128::from(is_rounded_up));
    Some(Nano(u64::try_from(amount).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn questions_name_times_buckets_and_whose_they_are() {
        let whose = Whose { key_ids: vec!["key_a b".into(), "k2".into()], project_id: Some("proj_1".into()) };
        assert_eq!(
            usage_path("completions", &whose, 7_205, 90_000, None),
            "/organization/usage/completions?start_time=7200&end_time=90000&bucket_width=1h&limit=48&group_by%5B%5D=model&api_key_ids%5B%5D=key_a%20b&api_key_ids%5B%5D=k2"
        );
        let whose = Whose { key_ids: Vec::new(), ..whose };
        assert_eq!(
            usage_path("images", &whose, 90_000, 90_000 + 8 * DAY, Some("p=1")),
            "/organization/usage/images?start_time=86400&end_time=781200&bucket_width=1d&limit=31&group_by%5B%5D=model&project_ids%5B%5D=proj_1&page=p%3D1"
        );
        assert_eq!(
            costs_path(&Whose::default(), 90_000, 95_000, None),
            "/organization/costs?start_time=86400&end_time=95000&bucket_width=1d&limit=180"
        );
    }

    #[test]
    fn usage_is_read_bucket_by_bucket() {
        let page = json!({"object": "page", "has_more": true, "next_page": "page_2", "data": [
            {"object": "bucket", "start_time": 7_200, "end_time": 10_800, "results": [
                {"object": "organization.usage.completions.result", "model": "gpt-5.4", "num_model_requests": 3, "input_tokens": 9},
                {"model": null, "num_model_requests": 1},
                {"model": "idle", "num_model_requests": 0},
            ]},
            {"start_time": 10_800, "end_time": 14_400, "results": []},
        ]});
        let page = read_usage(page.to_string().as_bytes()).expect("readable");
        let row = |model: &str, calls| Counted { at: 7_200, model: model.into(), calls };
        assert_eq!(
            page,
            Page { rows: vec![row("gpt-5.4", 3), row("(no model named)", 1)], next: Some("page_2".into()) }
        );
        let last = json!({"data": [], "has_more": false, "next_page": "page_3"});
        assert_eq!(read_usage(last.to_string().as_bytes()).expect("readable").next, None);
    }

    #[test]
    fn costs_are_read_digit_by_digit() {
        let page = r#"{"has_more": false, "data": [
            {"start_time": 0, "results": [{"amount": {"value": 0.1, "currency": "usd"}}, {"amount": {"value": 0.2}}]},
            {"start_time": 86400, "results": []},
            {"start_time": 172800, "results": [{"amount": {"value": 12345678.123456789, "currency": "USD"}}]}]}"#;
        let charged = |day, nano| Charged { day, cost: Nano(nano) };
        let rows = vec![charged(0, 300_000_000), charged(172_800, 12_345_678_123_456_789)];
        assert_eq!(read_costs(page.as_bytes()), Ok(Page { rows, next: None }));
        for (number, amount) in [
            ("0", 0),
            ("1", 1_000_000_000),
            ("1.5e0", 1_500_000_000),
            ("1e-07", 100),
            ("2.5E-9", 3),
            ("1e-30", 1),
            ("0.0000000001", 1),
            ("1e3", 1_000_000_000_000),
            ("1e300", u64::MAX),
            ("-4.5", 0),
            ("\"0.06\"", 60_000_000),
        ] {
            assert_eq!(nano(number), Some(Nano(amount)), "{number}");
        }
        for wrong in ["", ".", "true", "null", "{}", "1.2.3", "1e", "0x1", "\"abc\""] {
            assert_eq!(nano(wrong), None, "{wrong}");
        }
        let euros = r#"{"data": [{"start_time": 0, "results": [{"amount": {"value": 1, "currency": "eur"}}]}]}"#;
        assert_eq!(read_costs(euros.as_bytes()), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn amounts_read_as_they_are_written(amount: u64, zeros in 0_usize..20) {
            let (dollars, rest) = (amount / Nano::PER_USD, amount % Nano::PER_USD);
            prop_assert_eq!(nano(&format!("{dollars}.{rest:09}{}", "0".repeat(zeros))), Some(Nano(amount)));
            prop_assert_eq!(nano(&format!("{amount}e-9")), Some(Nano(amount)));
            prop_assert_eq!(nano(&format!("{dollars}.{rest:09}{}1", "0".repeat(zeros))), Some(Nano(amount.saturating_add(1))));
        }

        #[test]
        fn no_answer_panics(bytes: Vec<u8>, number in "[-0-9.eE+]{0,40}") {
            let _ = (read_usage(&bytes), read_costs(&bytes), nano(&number));
        }
    }
}
