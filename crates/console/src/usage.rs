//! The usage reports, in the API's shapes.
//!
//! Where the gate knows less than the API: people have no accounts here, so no usage is anybody's (`user_id` is null,
//! a filter by users finds nothing); storage of vector stores is not seen; of hosted tools the calls are counted, not
//! the requests that made them, so `num_model_requests` of web searches is the most that there can have been.

use std::collections::BTreeMap;

use pricing::{Quantities, Tier, Unit};
use serde_json::{Value, json};
use store::{Grouping, KeyId, ProjectId, UsageKind, UsageSum, Width};
use wire::refusal::{Reason, Refusal};

use crate::buckets::{Buckets, filter, group_by, refuse_filter, values};
use crate::input::{Sizes, invalid, query};
use crate::{Answer, Call, Console, unavailable};

/// One of the reports.
struct Report {
    /// Its name in the path.
    name: &'static str,
    /// The name within `object` of its results.
    object: &'static str,
    /// Which rows it counts; `None`: quantities of all rows.
    kind: Option<UsageKind>,
    /// What it may be grouped by.
    group_by: &'static [&'static str],
    /// The figures of a result; `None` where there is nothing to tell.
    figures: fn(&Sum) -> Option<Value>,
}

const BY_MODEL: &[&str] = &["project_id", "user_id", "api_key_id", "model"];
const BY_TIER: &[&str] = &["project_id", "user_id", "api_key_id", "model", "batch", "service_tier"];

static REPORTS: [Report; 11] = [
    Report {
        name: "completions",
        object: "completions",
        kind: Some(UsageKind::Completions),
        group_by: BY_TIER,
        figures: |sum| Some(tokens(sum)),
    },
    Report {
        name: "decisions",
        object: "decisions",
        kind: Some(UsageKind::Decisions),
        group_by: &["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"],
        figures: |sum| {
            let mut figures = tokens(sum);
            figures["input_cache_write_30m_tokens"] = sum.of(Unit::TextCacheWrite30m).into();
            figures["input_cache_write_12h_tokens"] = sum.of(Unit::TextCacheWrite12h).into();
            Some(figures)
        },
    },
    Report {
        name: "embeddings",
        object: "embeddings",
        kind: Some(UsageKind::Embeddings),
        group_by: BY_MODEL,
        figures: |sum| Some(input(sum)),
    },
    Report {
        name: "moderations",
        object: "moderations",
        kind: Some(UsageKind::Moderations),
        group_by: BY_MODEL,
        figures: |sum| Some(input(sum)),
    },
    Report {
        name: "images",
        object: "images",
        kind: Some(UsageKind::Images),
        group_by: &["project_id", "user_id", "api_key_id", "model", "source"],
        figures: |sum| Some(json!({"images": sum.images, "num_model_requests": sum.requests})),
    },
    Report {
        name: "audio_speeches",
        object: "audio_speeches",
        kind: Some(UsageKind::AudioSpeeches),
        group_by: BY_MODEL,
        figures: |sum| Some(json!({"characters": sum.of(Unit::Characters), "num_model_requests": sum.requests})),
    },
    Report {
        name: "audio_transcriptions",
        object: "audio_transcriptions",
        kind: Some(UsageKind::AudioTranscriptions),
        group_by: BY_MODEL,
        figures: |sum| {
            let seconds = sum.of(Unit::AudioMilliseconds).div_ceil(1_000);
            Some(json!({"seconds": seconds, "num_model_requests": sum.requests}))
        },
    },
    Report {
        name: "vector_stores",
        object: "vector_stores",
        kind: Some(UsageKind::VectorStores),
        group_by: &["project_id"],
        figures: |_| None,
    },
    Report {
        name: "code_interpreter_sessions",
        object: "code_interpreter_sessions",
        kind: None,
        group_by: &["project_id"],
        figures: |sum| counted(sum.of(Unit::ContainerSession), |count| json!({"num_sessions": count})),
    },
    Report {
        name: "file_search_calls",
        object: "file_searches",
        kind: None,
        group_by: &["project_id", "user_id", "api_key_id"],
        figures: |sum| counted(sum.of(Unit::FileSearch), |count| json!({"num_requests": count})),
    },
    Report {
        name: "web_search_calls",
        object: "web_searches",
        kind: None,
        group_by: &["project_id", "user_id", "api_key_id", "model", "context_level"],
        figures: |sum| {
            let calls = SEARCHES.iter().map(|(_, unit)| sum.of(*unit)).sum();
            counted(calls, |calls| json!({"num_requests": calls, "num_model_requests": calls.min(sum.requests)}))
        },
    },
];

const SEARCHES: [(&str, Unit); 3] =
    [("low", Unit::WebSearchLow), ("medium", Unit::WebSearchMedium), ("high", Unit::WebSearchHigh)];

/// Endpoints that make images, and what the report calls them.
const SOURCES: [(&str, &str); 3] = [
    ("/v1/images/generations", "image.generation"),
    ("/v1/images/edits", "image.edit"),
    ("/v1/images/variations", "image.variation"),
];

fn counted(count: u64, show: impl Fn(u64) -> Value) -> Option<Value> {
    (count > 0).then(|| show(count))
}

fn input(sum: &Sum) -> Value {
    json!({"input_tokens": sum.quantities.input_tokens(), "num_model_requests": sum.requests})
}

/// All that the report of completions tells. Only the first figure counts every token in; the others part it.
fn tokens(sum: &Sum) -> Value {
    let of = |units: &[Unit]| units.iter().map(|unit| sum.of(*unit)).fold(0, u64::saturating_add);
    json!({
        "input_tokens": sum.quantities.input_tokens(),
        "input_cached_tokens": of(&[Unit::TextCachedInput, Unit::AudioCachedInput, Unit::ImageCachedInput]),
        "input_cache_write_tokens": of(&[Unit::TextCacheWrite30m, Unit::TextCacheWrite12h, Unit::AudioCacheWrite]),
        "input_uncached_tokens": of(&[Unit::TextInput, Unit::AudioInput, Unit::ImageInput]),
        "output_tokens": sum.quantities.output_tokens(),
        "input_text_tokens": sum.of(Unit::TextInput),
        "output_text_tokens": sum.of(Unit::TextOutput),
        "input_cached_text_tokens": sum.of(Unit::TextCachedInput),
        "input_audio_tokens": sum.of(Unit::AudioInput),
        "input_cached_audio_tokens": sum.of(Unit::AudioCachedInput),
        "output_audio_tokens": sum.of(Unit::AudioOutput),
        "input_image_tokens": sum.of(Unit::ImageInput),
        "input_cached_image_tokens": sum.of(Unit::ImageCachedInput),
        "output_image_tokens": sum.of(Unit::ImageOutput),
        "num_model_requests": sum.requests,
    })
}

/// What a result is told apart by; what a call does not group by is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    project: Option<ProjectId>,
    key: Option<KeyId>,
    model: Option<String>,
    batch: Option<bool>,
    service_tier: Option<&'static str>,
    source: Option<&'static str>,
    context_level: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    images: u64,
    quantities: Quantities,
}

impl Sum {
    fn of(&self, unit: Unit) -> u64 {
        self.quantities.of(unit)
    }

    fn add(&mut self, other: &UsageSum, units: &[(Unit, u64)]) {
        self.requests = self.requests.saturating_add(other.requests);
        self.images = self.images.saturating_add(other.images);
        for (unit, quantity) in units {
            self.quantities.add(*unit, *quantity);
        }
    }
}

/// Results by bucket and group.
type Sums = BTreeMap<(i64, Group), Sum>;

/// A report as a call wants it.
struct Wanted {
    report: &'static Report,
    group_by: Vec<&'static str>,
    sources: Vec<String>,
    context_levels: Vec<String>,
}

impl Wanted {
    fn groups(&self, word: &str) -> bool {
        self.group_by.contains(&word)
    }

    /// What the store has to tell apart: also what is only filtered by here.
    fn groupings(&self) -> Vec<Grouping> {
        let wanted = [
            (self.groups("project_id"), Grouping::Project),
            (self.groups("api_key_id"), Grouping::Key),
            (self.groups("model"), Grouping::Model),
            (self.groups("batch") || self.groups("service_tier"), Grouping::Tier),
            (self.groups("source") || !self.sources.is_empty(), Grouping::Endpoint),
        ];
        wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, grouping)| grouping).collect()
    }

    /// Adds what the store counted to the results that it belongs to.
    fn add(&self, sums: &mut Sums, counted: &UsageSum) {
        let endpoint = counted.endpoint.as_deref();
        let source = SOURCES.iter().find(|(path, _)| endpoint == Some(*path)).map(|(_, source)| *source);
        if !self.sources.is_empty() && !source.is_some_and(|source| self.sources.iter().any(|wanted| wanted == source))
        {
            return;
        }
        let group = Group {
            project: counted.project.clone(),
            key: counted.key.clone(),
            model: counted.model.clone(),
            batch: counted.tier.filter(|_| self.groups("batch")).map(|tier| tier == Tier::Batch),
            service_tier: counted.tier.filter(|_| self.groups("service_tier")).map(service_tier),
            source: source.filter(|_| self.groups("source")),
            context_level: None,
        };
        let units: Vec<(Unit, u64)> = counted.quantities.some().collect();
        if self.report.name != "web_search_calls" {
            sums.entry((counted.starts_at, group)).or_default().add(counted, &units);
            return;
        }
        for (level, unit) in SEARCHES {
            let calls = counted.quantities.of(unit);
            if calls > 0 && (self.context_levels.is_empty() || self.context_levels.iter().any(|wanted| wanted == level))
            {
                let context_level = Some(level).filter(|_| self.groups("context_level"));
                let group = Group { context_level, ..group.clone() };
                sums.entry((counted.starts_at, group)).or_default().add(counted, &[(unit, calls)]);
            }
        }
    }

    fn show(&self, group: &Group, sum: &Sum) -> Option<Value> {
        let mut shown = (self.report.figures)(sum)?;
        shown["object"] = format!("organization.usage.{}.result", self.report.object).into();
        for word in self.report.group_by {
            shown[*word] = match *word {
                "project_id" => json!(group.project.as_ref().map(ProjectId::as_str)),
                "api_key_id" => json!(group.key.as_ref().map(KeyId::as_str)),
                "model" => json!(group.model),
                "batch" => json!(group.batch),
                "service_tier" => json!(group.service_tier),
                "source" => json!(group.source),
                "context_level" => json!(group.context_level),
                _ => Value::Null,
            };
        }
        for word in self.report.never() {
            shown[*word] = Value::Null;
        }
        Some(shown)
    }
}

impl Report {
    /// Members of its results that are always null here.
    fn never(&self) -> &'static [&'static str] {
        match self.name {
            "images" => &["size"],
            "file_search_calls" => &["vector_store_id"],
            _ => &[],
        }
    }
}

/// `service_tier` of the API. A batch has no tier of its own there.
fn service_tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Standard | Tier::Batch | Tier::Decisions => "default",
        other => other.word(),
    }
}

/// Bounds of `limit`, as in the API.
fn sizes(width: Width) -> Sizes {
    match width {
        Width::Day => Sizes { min: 1, default: 7, max: 31 },
        Width::Hour => Sizes { min: 1, default: 24, max: 168 },
        Width::Minute => Sizes { min: 1, default: 60, max: 1_440 },
    }
}

impl Console {
    pub(crate) async fn report_usage(&self, call: &Call<'_>, name: &str) -> Answer {
        let report = REPORTS.iter().find(|report| report.name == name).ok_or_else(|| {
            Refusal::new(Reason::NotServed, "This usage report is not served by this version of Sallyport.")
        })?;
        let buckets = Buckets::of(call, self.now(), &Width::ALL, sizes)?;
        let wanted = Wanted {
            report,
            group_by: group_by(call, report.group_by)?,
            sources: words(call, "sources", &SOURCES.map(|(_, source)| source))?,
            context_levels: words(call, "context_levels", &SEARCHES.map(|(level, _)| level))?,
        };
        refuse_filter(call, "sizes")?;
        refuse_filter(call, "vector_store_ids")?;
        let mut filter = filter(call)?;
        filter.kinds = report.kind.into_iter().collect();
        filter.tiers = batch(call)?;
        let mut sums = Sums::new();
        // Nobody has an account here, so nothing is the usage of those that are named.
        if values(call, "user_ids")?.is_empty()
            && let Some(query) = buckets.query(filter, wanted.groupings())
        {
            let counted = self.money.reports.usage(&query).await.map_err(|error| unavailable(&error))?;
            counted.iter().for_each(|counted| wanted.add(&mut sums, counted));
        }
        let results = |start: i64| {
            let of_bucket = sums.range((start, Group::default())..).take_while(|((at, _), _)| *at == start);
            of_bucket.filter_map(|((_, group), sum)| wanted.show(group, sum)).map(|shown| shown.to_string()).collect()
        };
        serde_json::from_str(&buckets.page(results))
            .map_err(|error| Refusal::new(Reason::Internal, "The report could not be written.").cause(error))
    }
}

/// A filter by one of few words.
fn words(call: &Call<'_>, name: &'static str, known: &[&str]) -> Result<Vec<String>, Refusal> {
    let given = values(call, name)?;
    match given.iter().all(|word| known.contains(&word.as_str())) {
        true => Ok(given),
        false => Err(invalid(name, format!("'{name}' must be of {}.", known.join(", ")))),
    }
}

/// `batch` as the tiers that it means.
fn batch(call: &Call<'_>) -> Result<Vec<Tier>, Refusal> {
    match query(call, "batch")?.as_deref() {
        None => Ok(Vec::new()),
        Some("true") => Ok(vec![Tier::Batch]),
        Some("false") => Ok(Tier::ALL.into_iter().filter(|tier| *tier != Tier::Batch).collect()),
        Some(_) => Err(invalid("batch", "'batch' must be true or false.")),
    }
}
