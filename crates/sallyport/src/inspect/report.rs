//! The report of `inspect --eval`, as text and as JSON.

use std::fmt::Write;

use injection::{Channel, Detector, Level};
use serde_json::{Value, json};

use super::eval::{Group, Report};
use super::measure::{Confusion, Estimate, RATES, percentile};

/// Shares of the texts whose times are told.
const PERCENTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (1.0, "max")];

/// Tables for people.
pub(super) fn text(report: &Report) -> String {
    let Confusion { blocked_attacks, passed_attacks, blocked_benign, passed_benign } = report.confusion;
    let mut out =
        format!("{} rows: {} attacks, {} benign\n", report.rows, report.confusion.attacks(), report.confusion.benign());
    if report.unusable > 0 {
        let _ = writeln!(out, "{} rows could not be used:\n  {}", report.unusable, report.problems.join("\n  "));
    }
    match &report.curve {
        None => out.push_str("No curve: it takes rows of both labels.\n"),
        Some(curve) => {
            let _ = writeln!(out, "\nAUC                    {}", interval(&curve.auc));
            for ((recall, rate), above) in curve.recalls.iter().zip(RATES).zip(curve.above) {
                let percent = format!("{:.1} %", rate * 100.0);
                let _ = writeln!(out, "Recall at {percent:5} wrong  {}  for scores above {above:.4}", interval(recall));
            }
        }
    }
    let _ = match report.threshold {
        Some(threshold) => writeln!(out, "\nAt the threshold {threshold:.4}:"),
        None => {
            let own = |channel| Detector::embedded().threshold(Level::Shipped, channel);
            writeln!(
                out,
                "\nAt the default threshold (user {:.4}, untrusted {:.4}):",
                own(Channel::User),
                own(Channel::Untrusted)
            )
        }
    };
    let _ = writeln!(out, "            blocked   passed");
    let _ = writeln!(
        out,
        "  attacks  {blocked_attacks:8} {passed_attacks:8}   recall {}",
        percent(report.confusion.recall())
    );
    let wrong = percent(report.confusion.false_positives());
    let _ = writeln!(out, "  benign   {blocked_benign:8} {passed_benign:8}   wrongly blocked {wrong}");
    let _ = writeln!(out, "  precision {}", percent(report.confusion.precision()));
    let places = &report.places;
    if places.rows > 0 {
        let [touched, covered, right] = [places.touched_share(), Some(places.covered), Some(places.right)].map(percent);
        let _ = writeln!(
            out,
            "\nWhere it is: of {} blocked attacks whose place is known, the worst finding touches the payload in {touched};\n  \
             on average it covers {covered} of the payload, and {right} of it is payload",
            places.rows
        );
    }
    for (about, groups) in &report.groups {
        table(&mut out, about, groups);
    }
    let times: Vec<_> = PERCENTILES
        .iter()
        .map(|(share, name)| format!("{name} {:.2} ms", percentile(&report.micros, *share) as f64 / 1e3))
        .collect();
    let _ = writeln!(out, "\nA text took {} (with {} threads at once)", times.join(", "), report.threads);
    let _ =
        writeln!(out, "All took {:.1} s, {:.0} texts a second", report.seconds, report.rows as f64 / report.seconds);
    out
}

/// Recall and wrong blocks, at the threshold and at 1 % false positives of all rows.
fn table(out: &mut String, about: &str, groups: &[Group]) {
    let width = groups.iter().map(|group| group.name.chars().count()).max().unwrap_or(0).max(about.len());
    let titles = "attacks  recall  at 1 %   benign   wrong  at 1 %";
    let _ = writeln!(out, "\nBy {about:width$} {titles}");
    for Group { name, confusion, strict } in groups {
        let _ = writeln!(
            out,
            "   {name:width$} {:7} {:>7} {:>7}  {:7} {:>7} {:>7}",
            confusion.attacks(),
            percent(confusion.recall()),
            percent(strict.as_ref().and_then(Confusion::recall)),
            confusion.benign(),
            percent(confusion.false_positives()),
            percent(strict.as_ref().and_then(Confusion::false_positives)),
        );
    }
}

fn interval(estimate: &Estimate) -> String {
    format!("{:.4}  ({:.4} to {:.4})", estimate.value, estimate.low, estimate.high)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// The same for machines. Shares are between 0 and 1; intervals are of 95 %.
pub(super) fn json(report: &Report) -> Value {
    let estimate = |estimate: &Estimate| json!({"value": estimate.value, "low": estimate.low, "high": estimate.high});
    let confusion = |confusion: &Confusion| {
        json!({
            "attacks": confusion.attacks(),
            "benign": confusion.benign(),
            "blocked_attacks": confusion.blocked_attacks,
            "blocked_benign": confusion.blocked_benign,
            "recall": confusion.recall(),
            "false_positive_rate": confusion.false_positives(),
            "precision": confusion.precision(),
        })
    };
    let recalls = report.curve.iter().flat_map(|curve| {
        curve.recalls.iter().zip(RATES).zip(curve.above).map(|((recall, rate), above)| {
            // No benign row stands in the way when everything may be blocked.
            let above = above.is_finite().then_some(above);
            json!({"false_positive_rate": rate, "recall": estimate(recall), "scores_above": above})
        })
    });
    let groups: serde_json::Map<String, Value> = report
        .groups
        .iter()
        .map(|(about, groups)| {
            let groups = groups.iter().map(|group| {
                json!({
                    "name": group.name,
                    "at_threshold": confusion(&group.confusion),
                    "at_one_percent": group.strict.as_ref().map(confusion),
                })
            });
            ((*about).to_owned(), groups.collect())
        })
        .collect();
    let micros: serde_json::Map<String, Value> = PERCENTILES
        .iter()
        .map(|(share, name)| ((*name).to_owned(), percentile(&report.micros, *share).into()))
        .collect();
    json!({
        "rows": report.rows,
        "unusable_rows": report.unusable,
        "problems": report.problems,
        "auc": report.curve.as_ref().map(|curve| estimate(&curve.auc)),
        "recall": recalls.collect::<Vec<_>>(),
        "threshold": report.threshold,
        "at_threshold": confusion(&report.confusion),
        "place": {
            "rows": report.places.rows,
            "touched": report.places.touched_share(),
            "covered": report.places.covered,
            "right": report.places.right,
        },
        "by": groups,
        "micros": micros,
        "seconds": report.seconds,
        "threads": report.threads,
    })
}
