//! `sallyport usage`: what was used and what it cost, as a table, CSV or JSON; amounts exact to the nano-dollar.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use pricing::Nano;
use serde_json::{Value, json};
use store::{Clock, Period, SystemClock};

use crate::api::{Gate, encoded, print_table};
use crate::days;
use crate::output::say;

const EXAMPLES: &str = "\
Examples:
  sallyport usage                                   this month by day
  sallyport usage --by model --project proj_…       what a project's models cost this month
  sallyport usage --by key --from 2026-10-01 --to 2026-10-31 --format csv";

/// Reports that count requests and tokens; calls of hosted tools are part of the requests that made them.
const REPORTS: [&str; 7] =
    ["completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions", "decisions"];

const DAY_SECONDS: i64 = 86_400;
const TITLES: [&str; 4] = ["requests", "input_tokens", "output_tokens", "cost_usd"];

/// Arguments of `usage`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Usage {
    #[command(flatten)]
    gate: Gate,
    /// What is told apart.
    #[arg(long, value_enum, default_value = "day")]
    by: By,
    /// First day (UTC), like 2026-11-01 [default: the first of this month].
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day, counted in [default: today].
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Of one project.
    #[arg(long, value_name = "PROJECT_ID")]
    project: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Day,
    Project,
    Model,
    Key,
}

impl By {
    const fn word(self) -> &'static str {
        match self {
            By::Day => "day",
            By::Project => "project",
            By::Model => "model",
            By::Key => "key",
        }
    }

    /// The grouping of the usage reports, and of the costs report, which knows lines of the bill instead of models.
    const fn groupings(self) -> (&'static str, &'static str) {
        match self {
            By::Day => ("", ""),
            By::Project => ("&group_by=project_id", "&group_by=project_id"),
            By::Model => ("&group_by=model", "&group_by=line_item"),
            By::Key => ("&group_by=api_key_id", "&group_by=api_key_id"),
        }
    }

    /// What a result is told apart by.
    fn name(self, start_time: i64, result: &Value) -> String {
        let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        match self {
            By::Day => days::day(start_time),
            By::Project => text("project_id"),
            By::Key => text("api_key_id"),
            // A line of the bill is named `MODEL, UNIT`.
            By::Model => match result["line_item"].as_str() {
                Some(line) => line.rsplit_once(", ").map_or(line, |(model, _)| model).to_owned(),
                None => text("model"),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost: Nano,
}

impl Sum {
    fn add(&mut self, other: &Sum) {
        self.requests = self.requests.saturating_add(other.requests);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost = self.cost.plus(other.cost);
    }

    /// A result of a report. Its cost is read from whole nano-dollars, not from the number with a point.
    fn of(result: &Value) -> Sum {
        let count = |name: &str| result[name].as_u64().unwrap_or(0);
        Sum {
            requests: count("num_model_requests"),
            input_tokens: count("input_tokens"),
            output_tokens: count("output_tokens"),
            cost: Nano(result["sallyport"]["amount_nano"].as_u64().unwrap_or(0)),
        }
    }

    fn cells(&self) -> [String; 4] {
        let cost = self.cost.to_string().trim_start_matches('$').to_owned();
        [self.requests.to_string(), self.input_tokens.to_string(), self.output_tokens.to_string(), cost]
    }
}

/// Adds the buckets of a report.
fn count(sums: &mut BTreeMap<String, Sum>, by: By, buckets: &[Value]) {
    for bucket in buckets {
        let start_time = bucket["start_time"].as_i64().unwrap_or(0);
        for result in bucket["results"].as_array().map_or(&[][..], Vec::as_slice) {
            sums.entry(by.name(start_time, result)).or_default().add(&Sum::of(result));
        }
    }
}

/// A cell of CSV: quoted where it has to be.
fn csv(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

impl Usage {
    pub(crate) fn run(&self) -> Result<()> {
        let now = SystemClock.unix_seconds();
        let from = match &self.from {
            Some(day) => days::beginning(day)?,
            None => Period::Month.window(now).starts_at,
        };
        let to = match &self.to {
            Some(day) => days::beginning(day)? + DAY_SECONDS,
            None => now + 1,
        };
        ensure!(from < to, "--from must not be later than --to");
        let (usage_groups, cost_groups) = self.by.groupings();
        let project = self.project.as_ref().map_or_else(String::new, |id| format!("&project_ids={}", encoded(id)));
        let span = format!("start_time={from}&end_time={to}{project}");
        let mut sums = BTreeMap::new();
        for report in REPORTS {
            let path = format!("/usage/{report}?{span}&limit=31{usage_groups}");
            count(&mut sums, self.by, &self.gate.pages(&path)?);
        }
        count(&mut sums, self.by, &self.gate.pages(&format!("/costs?{span}&limit=180{cost_groups}"))?);
        self.print(&sums);
        Ok(())
    }

    fn print(&self, sums: &BTreeMap<String, Sum>) {
        let mut total = Sum::default();
        sums.values().for_each(|sum| total.add(sum));
        let row = |name: &str, sum: &Sum| [&[name.to_owned()][..], &sum.cells()].concat();
        match if self.gate.wants_json() { Format::Json } else { self.format } {
            Format::Table => {
                let mut rows: Vec<Vec<String>> = sums.iter().map(|(name, sum)| row(name, sum)).collect();
                rows.push(row("total", &total));
                let by = self.by.word().to_uppercase();
                print_table(&[&by, "REQUESTS", "INPUT TOKENS", "OUTPUT TOKENS", "USD"], &rows);
            }
            Format::Csv => {
                say!("{},{}", self.by.word(), TITLES.join(","));
                for (name, sum) in sums {
                    say!("{},{}", csv(name), sum.cells().join(","));
                }
            }
            Format::Json => {
                let shown: Vec<Value> = sums
                    .iter()
                    .map(|(name, sum)| {
                        let [.., cost] = sum.cells();
                        json!({
                            self.by.word(): name, "requests": sum.requests, "input_tokens": sum.input_tokens,
                            "output_tokens": sum.output_tokens, "cost_usd": cost, "cost_nano": sum.cost.0,
                        })
                    })
                    .collect();
                say!("{:#}", Value::from(shown));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_by_model_and_day() {
        let usage = json!([{"start_time": 1_795_478_400, "results": [
            {"model": "gpt-4o", "num_model_requests": 2, "input_tokens": 10, "output_tokens": 3},
        ]}]);
        let costs = json!([{"start_time": 1_795_478_400, "results": [
            {"line_item": "gpt-4o, text_input", "sallyport": {"amount_nano": 1}},
            {"line_item": "gpt-4o, text_output", "sallyport": {"amount_nano": 2_500_000_000_u64}},
            {"line_item": "ft:x, estimated", "sallyport": {"amount_nano": 5}},
        ]}]);
        let mut sums = BTreeMap::new();
        for report in [usage, costs] {
            count(&mut sums, By::Model, report.as_array().expect("buckets"));
        }
        assert_eq!(sums["gpt-4o"].cells(), ["2", "10", "3", "2.500000001"]);
        assert_eq!(sums["ft:x"].cells(), ["0", "0", "0", "0.000000005"]);
        assert_eq!(By::Day.name(1_795_478_400, &Value::Null), "2026-11-24");
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
