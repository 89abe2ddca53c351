//! `inspect --eval`: judges rows whose label is known.
//!
//! Promises: texts are not kept, so that files of any size are measured; a row that cannot be used is counted and named,
//! never guessed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use injection::Channel;
use serde::Deserialize;

use super::Settings;
use super::input::{Line, Lines, channel};
use super::measure::{Confusion, Curve, Place, Places, Scored, curve};
use super::pipeline::{self, Meter, Step};

/// Upper ends of the length classes, in characters.
const LENGTHS: [(usize, &str); 4] =
    [(100, "up to 100"), (500, "up to 500"), (1_500, "up to 1,500"), (6_000, "up to 6,000")];
/// The last length class.
const LONGEST: &str = "longer";
/// Rows that could not be used of which the first are named.
const PROBLEMS_MAX: usize = 5;
/// What stands where a row does not say it.
const UNKNOWN: &str = "-";

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    label: u8,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    lang: Option<Cow<'a, str>>,
    /// Where the payload is, in characters.
    span: Option<(usize, usize)>,
}

/// A judged row without its text.
struct Judged {
    scored: Scored,
    is_blocked: bool,
    micros: u64,
    /// Of a blocked attack whose payload's place is known: how well the worst finding shows it.
    place: Option<Place>,
    /// In the order of [`Report::groups`].
    groups: [String; 5],
}

/// One group of rows.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// At the threshold.
    pub(super) confusion: Confusion,
    /// At 1 % false positives of all rows; none if one of the labels is missing.
    pub(super) strict: Option<Confusion>,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Report {
    /// The one that was asked for; none if each channel has the detector's own.
    pub(super) threshold: Option<f32>,
    pub(super) rows: usize,
    pub(super) unusable: usize,
    pub(super) problems: Vec<String>,
    pub(super) curve: Option<Curve>,
    pub(super) confusion: Confusion,
    /// Of blocked attacks.
    pub(super) places: Places,
    /// Tables by what they are about.
    pub(super) groups: Vec<(&'static str, Vec<Group>)>,
    /// Times a text, in microseconds, sorted.
    pub(super) micros: Vec<u64>,
    pub(super) seconds: f64,
    pub(super) threads: usize,
}

/// Reads and judges all files.
pub(super) fn run(paths: &[PathBuf], settings: Settings) -> Result<Report> {
    let begin = Instant::now();
    let meter = Meter::start(false);
    let (mut judged, mut problems, mut unusable) = (Vec::new(), Vec::new(), 0);
    for path in paths {
        let lines = Lines::open(path)?;
        let judge =
            |line: Line| judge(&line, settings).map_err(|why| format!("{}:{}: {why}", path.display(), line.number));
        let read = pipeline::run(lines, settings.threads, judge, &meter, |step| {
            match step {
                Step::Done(Ok(row)) => judged.push(row),
                Step::Done(Err(problem)) => {
                    unusable += 1;
                    if problems.len() < PROBLEMS_MAX {
                        problems.push(problem);
                    }
                }
                Step::Waiting => {}
            }
            Ok(())
        });
        read.with_context(|| format!("cannot read {}", path.display()))?;
    }
    meter.end();
    anyhow::ensure!(!judged.is_empty(), "no row could be used: {}", problems.first().map_or("no rows", |why| why));
    let mut report = report(&judged, settings);
    (report.problems, report.unusable) = (problems, unusable);
    report.seconds = begin.elapsed().as_secs_f64();
    Ok(report)
}

fn judge(line: &Line, settings: Settings) -> Result<Judged, String> {
    let row: Row<'_> = line.object()?;
    let is_attack = match row.label {
        0 => false,
        1 => true,
        other => return Err(format!("label {other} is neither 1 nor 0")),
    };
    let channel: Channel = channel(row.channel.as_deref(), settings.channel)?;
    let verdict = settings.judge(&row.text, channel);
    let characters = row.text.chars().count();
    let length = LENGTHS.iter().find(|(most, _)| characters <= *most).map_or(LONGEST, |(_, name)| name);
    let place = row.span.filter(|_| is_attack && verdict.blocks).map(|(start, end)| {
        let found = verdict.worst().unwrap_or(0..0);
        Place::of(&found, &(start..end))
    });
    let or_unknown = |field: Option<Cow<'_, str>>| field.map_or(UNKNOWN.to_owned(), Cow::into_owned);
    Ok(Judged {
        scored: (verdict.score, is_attack),
        is_blocked: verdict.blocks,
        micros: verdict.micros,
        place,
        groups: [
            or_unknown(row.kind),
            or_unknown(row.source),
            or_unknown(row.lang),
            channel.as_str().to_owned(),
            length.to_owned(),
        ],
    })
}

fn report(judged: &[Judged], settings: Settings) -> Report {
    let scores: Vec<Scored> = judged.iter().map(|row| row.scored).collect();
    let curve = curve(&scores);
    // The score above which 1 % of the benign rows are.
    let above = curve.as_ref().map(|curve| curve.above[1].next_up());
    let names = ["kind", "source", "language", "channel", "length"];
    let groups = names.iter().enumerate().map(|(at, name)| {
        let mut rows: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
        for row in judged {
            rows.entry(&row.groups[at]).or_default().push(row);
        }
        let mut groups: Vec<Group> = rows
            .into_iter()
            .map(|(name, rows)| Group {
                name: name.to_owned(),
                confusion: Confusion::of(rows.iter().map(|row| (row.is_blocked, row.scored.1))),
                strict: above.map(|above| Confusion::of(rows.iter().map(|row| (row.scored.0 >= above, row.scored.1)))),
            })
            .collect();
        if *name == "length" {
            let place =
                |group: &Group| LENGTHS.iter().position(|(_, name)| *name == group.name).unwrap_or(LENGTHS.len());
            groups.sort_by_key(place);
        }
        (*name, groups)
    });
    let mut micros: Vec<u64> = judged.iter().map(|row| row.micros).collect();
    micros.sort_unstable();
    Report {
        threshold: settings.threshold,
        rows: judged.len(),
        unusable: 0,
        problems: Vec::new(),
        confusion: Confusion::of(judged.iter().map(|row| (row.is_blocked, row.scored.1))),
        places: Places::of(judged.iter().filter_map(|row| row.place)),
        curve,
        groups: groups.collect(),
        micros,
        seconds: 0.0,
        threads: settings.threads,
    }
}
