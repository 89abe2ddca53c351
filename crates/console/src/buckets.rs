//! What all reports of usage and costs have in common: time in buckets, pages of them, filters.
//!
//! Buckets are aligned to UTC, as in the API: the first is the one that `start_time` is in, and is counted whole.

use serde_json::Value;
use store::{KeyId, ProjectId, ReportFilter, ReportQuery, Width};
use wire::refusal::{Reason, Refusal};

use crate::Call;
use crate::input::{Sizes, invalid, query, query_all, query_number};

/// Most values of one filter.
const FILTER_VALUES_MAX: usize = 256;
/// What page tokens begin with; the next bucket's beginning follows, in hexadecimal.
const PAGE_PREFIX: &str = "page_";
/// Later than any time that is asked for: the year 9999.
const TIME_MAX: i64 = 253_402_300_799;

/// Which buckets a call asks for.
pub(crate) struct Buckets {
    pub(crate) width: Width,
    /// Beginnings of this page's buckets, in order.
    pub(crate) starts: Vec<i64>,
    /// The token of the next page.
    next_page: Option<String>,
}

impl Buckets {
    /// Reads times, width, limit and page. `sizes` are the bounds of `limit` for a width.
    pub(crate) fn of(
        call: &Call<'_>,
        now: i64,
        widths: &[Width],
        sizes: impl Fn(Width) -> Sizes,
    ) -> Result<Buckets, Refusal> {
        let start = query_number(call, "start_time")?
            .ok_or_else(|| invalid("start_time", "Missing required parameter: 'start_time'."))?;
        if !(0..=TIME_MAX).contains(&start) {
            return Err(invalid("start_time", "'start_time' must be a time in Unix seconds."));
        }
        // Without an end: until now, the bucket that runs included.
        let end = match query_number(call, "end_time")? {
            None => now.saturating_add(1),
            Some(end) if end > start && end <= TIME_MAX => end,
            Some(_) => return Err(invalid("end_time", "'end_time' must be later than 'start_time'.")),
        };
        let width = match query(call, "bucket_width")? {
            None => Width::Day,
            Some(word) => Width::from_word(&word).filter(|width| widths.contains(width)).ok_or_else(|| {
                let words: Vec<&str> = widths.iter().map(|width| width.word()).collect();
                invalid("bucket_width", format!("'bucket_width' must be {}.", words.join(", ")))
            })?,
        };
        let limit = sizes(width).of(call)?;
        let seconds = width.seconds();
        let first = start.div_euclid(seconds) * seconds;
        let first = match query(call, "page")? {
            None => first,
            Some(page) => {
                let at = page.strip_prefix(PAGE_PREFIX).and_then(|hex| i64::from_str_radix(hex, 16).ok());
                let fits = |at: &i64| *at >= first && *at <= TIME_MAX && at.rem_euclid(seconds) == 0;
                at.filter(fits)
                    .ok_or_else(|| invalid("page", "'page' must be the next_page of an answer to the same query."))?
            }
        };
        let mut starts = Vec::new();
        let mut at = first;
        while at < end && starts.len() < limit {
            starts.push(at);
            at += seconds;
        }
        Ok(Buckets { width, starts, next_page: (at < end).then(|| format!("{PAGE_PREFIX}{at:x}")) })
    }

    /// What the store is asked for.
    pub(crate) fn query(&self, filter: ReportFilter, group_by: Vec<store::Grouping>) -> Option<ReportQuery> {
        let (starts_at, last) = (*self.starts.first()?, *self.starts.last()?);
        Some(ReportQuery { starts_at, ends_at: last + self.width.seconds(), width: self.width, filter, group_by })
    }

    /// The answer, as text; `results` are each bucket's, written as JSON.
    pub(crate) fn page(&self, results: impl Fn(i64) -> Vec<String>) -> String {
        let bucket = |start: &i64| {
            let end = start + self.width.seconds();
            let results = results(*start).join(",");
            format!(r#"{{"object":"bucket","start_time":{start},"end_time":{end},"results":[{results}]}}"#)
        };
        let data: Vec<String> = self.starts.iter().map(bucket).collect();
        let next = Value::from(self.next_page.clone());
        let has_more = self.next_page.is_some();
        format!(r#"{{"object":"page","data":[{}],"has_more":{has_more},"next_page":{next}}}"#, data.join(","))
    }
}

/// The filters that every report has.
pub(crate) fn filter(call: &Call<'_>) -> Result<ReportFilter, Refusal> {
    Ok(ReportFilter {
        projects: values(call, "project_ids")?.into_iter().map(ProjectId::new).collect(),
        keys: values(call, "api_key_ids")?.into_iter().map(KeyId::new).collect(),
        models: values(call, "models")?,
        ..ReportFilter::default()
    })
}

/// A parameter that may repeat.
pub(crate) fn values(call: &Call<'_>, name: &'static str) -> Result<Vec<String>, Refusal> {
    let values = query_all(call, name)?;
    match values.len() {
        0..=FILTER_VALUES_MAX => Ok(values),
        _ => Err(invalid(name, format!("'{name}' has more than {FILTER_VALUES_MAX} values."))),
    }
}

/// `group_by`, of which the report knows these.
pub(crate) fn group_by(call: &Call<'_>, known: &[&'static str]) -> Result<Vec<&'static str>, Refusal> {
    let given = values(call, "group_by")?;
    let one = |word: &String| {
        known
            .iter()
            .copied()
            .find(|known| known == word)
            .ok_or_else(|| invalid("group_by", format!("'group_by' must be of {}.", known.join(", "))))
    };
    let mut groups = given.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// Refuses a filter whose facts are not kept: an answer that ignored it would be wrong, and look right.
pub(crate) fn refuse_filter(call: &Call<'_>, name: &'static str) -> Result<(), Refusal> {
    match query_all(call, name)?.is_empty() {
        true => Ok(()),
        false => {
            let words = format!("Usage is not kept by what '{name}' names. Leave it out.");
            Err(Refusal::new(Reason::UnsupportedParameter, words).param(name))
        }
    }
}
