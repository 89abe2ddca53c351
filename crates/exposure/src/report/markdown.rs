//! The report as Markdown.

use std::fmt::Write as _;

use crate::difference::{AddressSince, Charge, Reason};
use crate::moment::{span, utc};
use crate::profile::{Acquaintance, Spent};

use super::{Report, Upstream};
use crate::incident::Ending;

/// Text that is being written. Writing to a `String` cannot fail.
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{text}");
    }

    fn title(&mut self, text: &str) {
        let _ = writeln!(self.0, "\n## {text}\n");
    }

    fn table<const N: usize>(&mut self, titles: [&str; N], rows: impl Iterator<Item = [String; N]>) {
        self.line(&format!("| {} |", titles.join(" | ")));
        self.line(&format!("|{}", " --- |".repeat(N)));
        rows.for_each(|row| self.line(&format!("| {} |", row.join(" | "))));
    }
}

/// Words from outside as a code span: nothing in them is markup, ends a table's cell, or begins a line.
fn code(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect();
    let plain = plain.replace('|', "\u{a6}");
    // Two marks in a row would open a span of another kind.
    format!("`{}`", if plain.trim().is_empty() { "-" } else { plain.trim() })
}

/// Words of people as text of one paragraph.
fn prose(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => plain.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '&' => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain.trim().to_owned()
}

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let mut page = Page(String::new());
    page.line(&format!("# Exposed key: incident {}\n", report.incident.id));
    page.line("All times are UTC, all amounts US dollars. Secrets are in no part of this report.");
    facts(&mut page, report);
    timeline(&mut page, report);
    since(&mut page, report);
    charges(&mut page, report);
    addresses(&mut page, report);
    baseline(&mut page, report);
    limit(&mut page, report);
    provider(&mut page, report);
    notes(&mut page, report);
    page.0
}

fn facts(page: &mut Page, report: &Report) {
    let key = &report.incident.key;
    let project =
        key.project.as_ref().map_or("none (an admin key)".to_owned(), |(id, name)| format!("{} ({id})", code(name)));
    let keys: Vec<String> = report.upstream.key_ids().iter().map(|id| code(id)).collect();
    let rows = [
        ("Status", report.incident.closed_at.map_or("open".to_owned(), |at| format!("closed {}", utc(at)))),
        ("What happened", prose(&report.incident.reason)),
        ("Reported by", format!("{}; opened by {}", code(&report.incident.source), code(&report.incident.opened_by))),
        ("Key", format!("{} ({}), {}", code(&key.name), key.id, code(&key.redacted))),
        ("Kind, made", format!("{}, {}", key.kind, utc(key.created_at))),
        ("Project", project),
        ("Provider's key id", if keys.is_empty() { "not known".to_owned() } else { keys.join(", ") }),
        ("Replaced by", report.incident.replacement.clone().unwrap_or("nothing".to_owned())),
    ];
    page.title("Facts");
    page.table(["", ""], rows.into_iter().map(|(what, fact)| [what.to_owned(), fact]));
    for sighting in &report.incident.sightings {
        let (url, source) = (sighting.url.as_deref(), sighting.source.as_deref());
        let place = url.map_or("a place that was not named".to_owned(), code);
        let kind = source.map_or(String::new(), |source| format!(" ({})", code(source)));
        page.line(&format!("\nFound at {place}{kind}, told by {} {}.", code(&sighting.by), utc(sighting.told_at)));
    }
}

fn timeline(page: &mut Page, report: &Report) {
    let assumed =
        if report.incident.exposed_since.is_none() { ", assumed: the time at which the key was made" } else { "" };
    page.title("Timeline");
    page.line(&format!("- {} exposed{assumed}", utc(report.incident.since())));
    page.line(&format!("- {} the gate learns of it", utc(report.incident.found_at)));
    let reaction = report.incident.reaction_seconds().map(span).unwrap_or_default();
    let what = match report.incident.ending {
        Ending::Revoked => format!("revoked, open streams cut, {reaction} later"),
        Ending::Suspended => format!("suspended, open streams cut, {reaction} later"),
        Ending::GoneBefore => "the key was gone before".to_owned(),
        Ending::LeftInForce => "the key was left in force".to_owned(),
    };
    match report.incident.ended_at {
        Some(at) => page.line(&format!("- {} {what}", utc(at))),
        None => page.line(&format!("- {what}")),
    }
    if let Some(seconds) = report.incident.exposed_seconds() {
        page.line(&format!("- exposed and in force for {}", span(seconds)));
    }
    if let Some(at) = report.incident.closed_at {
        page.line(&format!("- {} closed", utc(at)));
    }
}

/// Calls and cost, in words.
fn spent(spent: Spent) -> String {
    format!("{} calls, {}", spent.calls, spent.cost)
}

fn since(page: &mut Page, report: &Report) {
    let (difference, read_at) = (&report.evidence.difference, report.evidence.read_at);
    page.title("What the key did since the exposure");
    page.line(&format!(
        "{} between {} and {}. Unexpected of it: **{}**.\n",
        spent(difference.total),
        utc(difference.since),
        utc(read_at),
        spent(difference.unexpected),
    ));
    if difference.models.is_empty() {
        return page.line("Nothing was used.");
    }
    let rows = difference.models.iter().map(|(model, (spent, is_new))| {
        let standing = if *is_new { "new" } else { "known" };
        [code(model), spent.calls.to_string(), spent.cost.to_string(), standing.to_owned()]
    });
    page.table(["Model", "Calls", "Cost", "Before"], rows);
    let hours: Vec<String> = difference.unusual_hours.iter().map(|hour| format!("{hour:02}:00")).collect();
    if !hours.is_empty() {
        page.line(&format!("\nHours of the day without use before: {}.", hours.join(", ")));
    }
}

fn charges(page: &mut Page, report: &Report) {
    let difference = &report.evidence.difference;
    page.title("Charges that look unexpected");
    if difference.charges.is_empty() {
        return page.line("None.");
    }
    let row = |charge: &Charge| {
        let reasons: Vec<_> = charge.reasons.iter().map(|reason: &Reason| reason.words()).collect();
        let Spent { calls, cost } = charge.spent;
        [utc(charge.hour), code(&charge.model), calls.to_string(), cost.to_string(), reasons.join("; ")]
    };
    page.table(["Hour from", "Model", "Calls", "Cost", "Why"], difference.charges.iter().map(row));
    if difference.charges_left_out > 0 {
        page.line(&format!("\n{} cheaper ones are left out here; the sum counts them.", difference.charges_left_out));
    }
    page.line("\nA charge is all that one model cost in one hour: calls by right in the same hour are in it.");
}

fn addresses(page: &mut Page, report: &Report) {
    let (difference, profile) = (&report.evidence.difference, &report.evidence.profile);
    page.title("Addresses since the exposure");
    if difference.addresses.is_empty() {
        return page.line("None are known.");
    }
    let row = |met: &AddressSince| {
        let standing = match met.acquaintance {
            Acquaintance::Known => "known",
            Acquaintance::Neighbour => "known network",
            Acquaintance::New => "new",
        };
        let agents: Vec<String> = met.agents.iter().map(|agent| code(agent)).collect();
        [
            met.address.to_string(),
            standing.to_owned(),
            met.calls.to_string(),
            met.refused.to_string(),
            utc(met.first_at),
            utc(met.last_at),
            agents.join(", "),
        ]
    };
    let titles = ["Address", "Before", "Calls", "Refused", "First", "Last", "Agents"];
    page.table(titles, difference.addresses.iter().map(row));
    if difference.addresses_left_out > 0 {
        page.line(&format!("\n{} with fewer calls are left out.", difference.addresses_left_out));
    }
    if difference.calls_elsewhere > 0 {
        let calls = difference.calls_elsewhere;
        page.line(&format!("\n{calls} more calls came from addresses over the number that is kept of an hour."));
    }
    if profile.addresses.is_empty() {
        page.line("\nNo addresses are known from before the exposure, so none can be told as new with certainty.");
    }
}

fn baseline(page: &mut Page, report: &Report) {
    let profile = &report.evidence.profile;
    page.title("The ordinary use, before");
    if profile.is_empty() {
        return page.line("The key was not used before the exposure: everything since is listed as unexpected.");
    }
    page.line(&format!("{} from {} until {}.\n", spent(profile.total), utc(profile.from), utc(profile.until)));
    let row = |what: &str, spread: &crate::profile::Spread| {
        [format!("{what} ({})", spread.count), spent(spread.median), spent(spread.high), spent(spread.most)]
    };
    let rows = [row("Active hours", &profile.hours), row("Active days", &profile.days)];
    page.table(["", "Half at most", "95 of 100 at most", "Most"], rows.into_iter());
    let models: Vec<String> =
        profile.models.iter().map(|(model, used)| format!("{} ({})", code(model), spent(*used))).collect();
    page.line(&format!("\nModels: {}.", models.join(", ")));
    page.line(&format!("Addresses known: {}.", profile.addresses.len()));
}

fn limit(page: &mut Page, report: &Report) {
    page.title("Proposed limit");
    match &report.evidence.proposal {
        Some(proposal) => {
            page.line(&format!("{} a day and {} a month.\n\n{}", proposal.day, proposal.month, proposal.words))
        }
        None => page.line("None: nothing was spent before the exposure, so nothing follows from it."),
    }
}

fn provider(page: &mut Page, report: &Report) {
    page.title("The provider's own usage");
    let usage = match &report.upstream {
        Upstream::NotRead { why, .. } => return page.line(&format!("Not available: {}", prose(why))),
        Upstream::Read(usage) => usage,
    };
    page.line(&format!("Of {}: {} calls.\n", prose(&usage.whose.words()), usage.calls()));
    let rows = usage.counted.iter().map(|row| [utc(row.at), code(&row.model), row.calls.to_string()]);
    page.table(["From", "Model", "Calls"], rows);
    page.line(&format!("\n{} by whole days; the first has what was before the exposure too.\n", usage.cost()));
    page.table(["Day", "Cost"], usage.charged.iter().map(|row| [utc(row.day), row.cost.to_string()]));
    if !usage.is_whole {
        page.line("\nThere is more than was read here: ask the provider for the rest.");
    }
}

fn notes(page: &mut Page, report: &Report) {
    if report.incident.remarks.is_empty() {
        return;
    }
    page.title("Notes");
    for remark in &report.incident.remarks {
        page.line(&format!("- {} {}: {}", utc(remark.at), code(&remark.by), prose(&remark.text)));
    }
}
