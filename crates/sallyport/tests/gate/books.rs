//! Both sides' books: what the upstream billed, priced by hand, and what the gate says that it charged.
//!
//! The prices are the raw integers of the list, and the arithmetic is this file's own: whatever the gate's pricing gets
//! wrong shows as a difference.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Billed;

use crate::client::Answer;
use crate::world::World;

static LIST: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../pricing/prices.json")).expect("JSON"));

/// What a file search costs in these tests, in pico-dollars: the list has no price, so the tests set this one.
const FILE_SEARCH_PICO: u64 = 2_500_000_000;

/// Nano-dollars by line of the bill, `gpt-4o, text_input`.
pub(crate) type Lines = BTreeMap<String, u128>;

/// A model's row of the price list.
pub(crate) fn row(model: &str) -> &'static Value {
    let rows = LIST["models"].as_array().expect("models");
    rows.iter().find(|row| row["model"] == model).unwrap_or_else(|| panic!("{model} is not listed"))
}

/// A listed price below the long-context step, pico-dollars.
pub(crate) fn pico(model: &str, tier: &str, unit: &str) -> u128 {
    row(model)["prices"][tier][unit].as_u64().unwrap_or_else(|| panic!("{model} {tier} {unit}")).into()
}

/// What `quantity` of something costs, rounded up.
pub(crate) fn nano(pico: u128, quantity: u128) -> u128 {
    (pico * quantity).div_ceil(1_000)
}

/// The tier of the price list that a service tier is billed at.
fn tier(word: &str) -> &str {
    if word == "default" { "standard" } else { word }
}

/// A unit's price in a list, or what the price list's own words put in its place.
fn of_list(model: &Value, list: &Value, unit: &str) -> Option<u64> {
    let prices = model["prices"].as_object().expect("prices");
    let lists = |unit: &str| prices.values().any(|tier| tier[unit].is_u64());
    let other = match unit {
        // Reading the cache costs at most what plain input does.
        "text_cached_input" => "text_input",
        // No write is charged apart anywhere: it is plain input.
        "text_cache_write_30m" | "text_cache_write_12h"
            if !lists("text_cache_write_30m") && !lists("text_cache_write_12h") =>
        {
            "text_input"
        }
        // A chat model takes images for text.
        "image_input" if model["modality"] == "text" && !lists("image_input") => "text_input",
        other => other,
    };
    list[unit].as_u64().or(list[other].as_u64())
}

/// One bill of the upstream, priced.
pub(crate) fn priced(billed: &Billed) -> Lines {
    let (mut lines, row) = (Lines::new(), row(&billed.model));
    let tokens_in = |unit: &str| unit.starts_with("text_c") || unit.ends_with("_input");
    let input: u64 = billed.quantities.iter().filter(|(unit, _)| tokens_in(unit)).map(|(_, count)| count).sum();
    let is_long = row["long_above"].as_u64().is_some_and(|above| input > above);
    let list = &row[if is_long { "long" } else { "prices" }][tier(&billed.tier)];
    for (unit, quantity) in &billed.quantities {
        let price = match *unit {
            "file_search" => Some(FILE_SEARCH_PICO),
            "container_session" => LIST["tools"][*unit].as_u64(),
            unit if unit.starts_with("web_search") => row["calls"][unit].as_u64(),
            unit => of_list(row, list, unit),
        };
        let price = price.unwrap_or_else(|| panic!("no price for {unit}: {billed:?}"));
        let pico = u128::from(price) * u128::from(*quantity);
        // Audio is listed by the minute.
        let amount = if *unit == "audio_ms" { pico.div_ceil(60_000_000) } else { pico.div_ceil(1_000) };
        *lines.entry(format!("{}, {unit}", billed.model)).or_default() += amount;
    }
    for images in &billed.images {
        let rows = row["images"].as_array().expect("prices by the image");
        let listed = rows.iter().find(|row| row[0] == *images.quality && row[1] == *images.size);
        let price = listed.and_then(|row| row[2].as_u64()).unwrap_or_else(|| panic!("no price: {billed:?}"));
        let item = format!("{}, image {} {}", billed.model, images.size, images.quality);
        *lines.entry(item).or_default() += nano(price.into(), images.count.into());
    }
    lines
}

/// All of some bills.
pub(crate) fn sum<'b>(bills: impl IntoIterator<Item = &'b Billed>) -> Lines {
    let mut sum = Lines::new();
    for (item, amount) in bills.into_iter().flat_map(priced) {
        *sum.entry(item).or_default() += amount;
    }
    sum
}

/// The total of lines.
pub(crate) fn total(lines: &Lines) -> u128 {
    lines.values().sum()
}

/// Dollars as JSON or a text has them, to the nano-dollar.
pub(crate) fn exact(dollars: &str) -> u128 {
    let (whole, rest) = dollars.split_once('.').unwrap_or((dollars, ""));
    assert!(rest.len() <= 9, "{dollars}");
    let rest = format!("{rest:0<9}");
    whole.parse::<u128>().expect("digits") * 1_000_000_000 + rest.parse::<u128>().expect("digits")
}

/// A refusal of money: status, type, code, the header that tells SDKs not to retry. Its words.
pub(crate) fn refused(answer: &Answer, code: &str) -> String {
    assert_eq!((answer.status, answer.error_code().as_str()), (429, code), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"), "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "insufficient_quota");
    error["message"].as_str().expect("words").to_owned()
}

impl World {
    /// An administrative call that must succeed.
    pub(crate) fn admin(&self, method: &str, target: &str, body: &Value) -> Value {
        let answer = self.call(&self.admin_key, method, target, body);
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        answer.json()
    }

    /// Sets the price of file searches, which the list lacks.
    pub(crate) fn price_file_searches(&self) {
        self.admin("POST", "/v1/sallyport/prices", &json!({"model": "*", "usd_per_1k_file_searches": "2.50"}));
    }

    /// A project's monthly limit, in cents; its id under `/v1/sallyport/limits`.
    pub(crate) fn limit(&self, project: &str, cents: u64) -> String {
        let path = format!("/v1/organization/projects/{project}/spend_limit");
        let body = json!({"threshold_amount": cents, "currency": "USD", "interval": "month"});
        self.admin("POST", &path, &body)["sallyport"]["id"].as_str().expect("an id").to_owned()
    }

    /// A limit of any scope and period; its id.
    pub(crate) fn limit_of(&self, scope: Value, period: &str, amount: &str, terms: Value) -> String {
        let mut body = json!({"scope": scope, "period": period, "amount": amount});
        body.as_object_mut().expect("an object").extend(terms.as_object().cloned().unwrap_or_default());
        self.admin("POST", "/v1/sallyport/limits", &body)["id"].as_str().expect("an id").to_owned()
    }

    /// Money settings of a project.
    pub(crate) fn money(&self, project: &str, settings: &Value) {
        self.admin("POST", &format!("/v1/sallyport/projects/{project}/money"), settings);
    }

    /// A limit's only standing.
    pub(crate) fn standing(&self, limit: &str) -> Value {
        self.admin("GET", &format!("/v1/sallyport/limits/{limit}/standings"), &Value::Null)["data"][0].clone()
    }

    /// A figure of a limit's only standing, in nano-dollars.
    pub(crate) fn figure(&self, limit: &str, name: &str) -> u128 {
        let standing = self.standing(limit);
        standing[format!("{name}_nano")].as_u64().unwrap_or_else(|| panic!("{name}: {standing}")).into()
    }

    /// Open holds.
    pub(crate) fn holds(&self) -> Vec<Value> {
        self.admin("GET", "/v1/sallyport/holds", &Value::Null)["data"].as_array().expect("a list").clone()
    }

    /// Estimates of requests, the newest first.
    pub(crate) fn estimates(&self) -> Vec<Value> {
        self.admin("GET", "/v1/sallyport/estimates?limit=100", &Value::Null)["data"].as_array().expect("a list").clone()
    }

    /// What the gate says that a project was charged, by line of the bill. Both forms of each amount must agree, and the
    /// JSON number must be exact to the last digit.
    pub(crate) fn charged(&self, project: &str) -> Lines {
        let target = format!(
            "/v1/organization/costs?start_time={}&limit=10&project_ids={project}&group_by=project_id&group_by=line_item",
            yesterday()
        );
        let answer = self.call(&self.admin_key, "GET", &target, &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        let mut numbers = text.split("\"value\":").skip(1).map(|rest| rest.split(',').next().expect("a number"));
        let mut lines = Lines::new();
        for bucket in answer.json()["data"].as_array().expect("buckets") {
            for result in bucket["results"].as_array().expect("results") {
                assert_eq!(result["project_id"], *project);
                let amount = u128::from(result["sallyport"]["amount_nano"].as_u64().expect("nano-dollars"));
                assert_eq!(exact(numbers.next().expect("a value each")), amount, "{result}");
                assert_eq!(exact(result["sallyport"]["amount"].as_str().expect("dollars")), amount);
                let item = result["line_item"].as_str().expect("a line").to_owned();
                *lines.entry(item).or_default() += amount;
            }
        }
        lines
    }

    /// A usage report of a project, all of its buckets' only results summed.
    pub(crate) fn usage(&self, report: &str, project: &str) -> BTreeMap<String, u64> {
        let target =
            format!("/v1/organization/usage/{report}?start_time={}&limit=10&project_ids={project}", yesterday());
        let mut sums = BTreeMap::new();
        for bucket in self.admin("GET", &target, &Value::Null)["data"].as_array().expect("buckets") {
            for result in bucket["results"].as_array().expect("results") {
                for (name, value) in result.as_object().expect("a result") {
                    *sums.entry(name.clone()).or_default() += value.as_u64().unwrap_or(0);
                }
            }
        }
        sums
    }

    /// Waits until nothing is held, and what is charged comes to be what is expected.
    pub(crate) fn expect_charged(&self, project: &str, expected: &Lines) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let without_zeros = |lines: &Lines| {
            lines.iter().filter(|(_, amount)| **amount > 0).map(|(item, amount)| (item.clone(), *amount)).collect()
        };
        let expected: Lines = without_zeros(expected);
        loop {
            let (is_idle, charged): (bool, Lines) = (self.holds().is_empty(), without_zeros(&self.charged(project)));
            if is_idle && charged == expected {
                return;
            }
            if Instant::now() > deadline {
                assert_eq!(charged, expected, "what is charged; holds: {:?}", self.holds());
                panic!("holds stay: {:?}", self.holds());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until nothing is held and all that was settled is written: what a project was charged.
    pub(crate) fn charged_at_rest(&self, project: &str) -> Lines {
        self.until("no hold is open", || self.holds().is_empty());
        // The journal is written every 50 ms: two equal readings farther apart than that.
        loop {
            let before = self.charged(project);
            std::thread::sleep(Duration::from_millis(150));
            if self.charged(project) == before {
                return before;
            }
        }
    }

    /// Waits for something, at most a minute.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "in vain: {what}; the gate said:\n{}", self.diagnostics());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// No request cost more than was held for it.
    pub(crate) fn expect_no_defect(&self) {
        let said = self.diagnostics();
        assert!(!said.contains("settlement_above_hold") && !said.contains("panicked"), "{said}");
    }
}

/// A time that no month, day or midnight of the test's run comes before.
fn yesterday() -> u64 {
    now() - 86_400
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Chance, the same in every run (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number within bounds, both included.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }

    /// One of several.
    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.next() % all.len() as u64).expect("small")]
    }
}
