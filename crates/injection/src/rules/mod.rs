//! Rules: patterns that are an attack wherever they stand, in a file that people can read, change and swap.
//!
//! Promises: all patterns are looked for in one pass over a text (a second one over its plain form, near what is changed
//! there); time is linear; a set is immutable and shared by all threads, and swapping it is the caller's; a file that does
//! not pass its own examples is not taken. The default file, `rules/default.toml`, says how a rule is written.

mod parse;
mod search;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use normalise::{Changes, Normalised};
pub use parse::Error;
use regex_automata::Input;
use search::{Learned, Pattern, Patterns};

use crate::{Channel, Finding, Kind};

/// The rules that are part of this program.
pub const DEFAULT: &str = include_str!("../../rules/default.toml");
/// Findings told of one text; a text full of them says no more with a thousand.
pub const FINDINGS_MAX: usize = 64;
/// Findings that are kept until the best of them are chosen.
const KEPT_MAX: usize = 4 * FINDINGS_MAX;
/// Bytes before a match within which a citation begins, and bytes behind it within which it must end.
const LEAD_BYTES_MAX: usize = 60;
const QUOTATION_BYTES_MAX: usize = 200;
/// What is looked through on both sides of what is changed in the plain form: a match of which only a part was in disguise
/// may reach so far; where it ends among blanks, they are not counted, and it reaches as far again behind them.
const MARGIN_BYTES: usize = 500;
/// Marks that open a citation, with those that close it.
const MARKS: [(char, char); 11] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('”', '”'),
    ('„', '“'),
    ('‘', '’'),
    ('«', '»'),
    ('»', '«'),
    ('「', '」'),
    ('『', '』'),
];

/// A set of rules, ready to be matched.
#[derive(Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// All patterns of the rules that look at any text, and the rule and place in it of each.
    all: Patterns,
    owners: Vec<(usize, usize)>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, which findings carry.
    pub name: String,
    /// What its matches attempt.
    pub kind: Kind,
    /// Where it is looked for.
    pub channels: Vec<Channel>,
    /// How sure a match is, 0 to 1.
    pub score: f32,
    /// How sure one is that stands in quotation marks.
    pub quoted: f32,
    /// It counts only where one of these disguises hid it; any text if there are none.
    pub hidden: Changes,
    /// Why it is there.
    pub why: String,
    patterns: Vec<Pattern>,
}

impl RuleSet {
    /// Reads a rule file. The error names the line and says how to mend it.
    pub fn parse(text: &str) -> Result<RuleSet, Error> {
        parse::parse(text)
    }

    /// Each rule, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What the rules find in a text, given its plain form: best first, in bytes of the original.
    pub fn find(&self, text: &str, plain: &Normalised<'_>, channel: Channel) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.all.search(|learned| {
            self.find_in(&Form { text, plain: None, part: 0..text.len() }, channel, learned, &mut findings);
            for part in plain.changed(MARGIN_BYTES) {
                let part = over_blanks(&plain.text, part);
                let form = Form { text: &plain.text, plain: Some(plain), part };
                self.find_in(&form, channel, learned, &mut findings);
            }
        });
        findings.sort_by(better_first);
        findings.truncate(FINDINGS_MAX);
        findings
    }

    fn find_in(&self, form: &Form<'_>, channel: Channel, learned: &mut Learned, findings: &mut Vec<Finding>) {
        for pattern in self.all.present(&form.input(), learned).iter() {
            let (rule, pattern) = self.owners[pattern.as_usize()];
            self.rules[rule].find_in(pattern, form, channel, learned, findings);
        }
        // What only counts where it was hidden would match all over, and is looked for where something was.
        let Some(plain) = form.plain else { return };
        for rule in self.rules.iter().filter(|rule| plain.changes().meets(rule.hidden)) {
            for pattern in 0..rule.patterns.len() {
                rule.find_in(pattern, form, channel, learned, findings);
            }
        }
    }
}

fn better_first(one: &Finding, other: &Finding) -> Ordering {
    other.score.total_cmp(&one.score).then(one.span.start.cmp(&other.span.start))
}

/// A part of one form of a text.
struct Form<'t> {
    text: &'t str,
    /// What the text is the plain form of, if it is one.
    plain: Option<&'t Normalised<'t>>,
    part: Range<usize>,
}

impl Form<'_> {
    fn input(&self) -> Input<'_> {
        Input::new(self.text).range(self.part.clone())
    }
}

impl Rule {
    fn find_in(
        &self,
        pattern: usize,
        form: &Form<'_>,
        channel: Channel,
        learned: &mut Learned,
        findings: &mut Vec<Finding>,
    ) {
        if !self.channels.contains(&channel) {
            return;
        }
        let Form { text, plain, .. } = *form;
        let counts = |range: &Range<usize>| {
            self.hidden.is_empty() || plain.is_some_and(|plain| plain.changes_in(range.clone()).meets(self.hidden))
        };
        let (mut cited, mut meant) = (0, 0);
        for range in self.patterns[pattern].matches(form.input(), learned).filter(counts) {
            let is_cited = is_quoted(text, &range);
            *if is_cited { &mut cited } else { &mut meant } += 1;
            // Citations, however many, hide no order behind them.
            if meant > FINDINGS_MAX {
                break;
            } else if is_cited && cited > FINDINGS_MAX {
                continue;
            }
            let score = if is_cited { self.quoted } else { self.score };
            let span = plain.map_or(range.clone(), |plain| plain.origin(range));
            let known = findings.iter_mut().find(|finding| {
                finding.rule.as_ref() == Some(&self.name)
                    && finding.span.start < span.end
                    && span.start < finding.span.end
            });
            if let Some(finding) = known {
                finding.score = finding.score.max(score);
                continue;
            }
            if findings.len() >= KEPT_MAX {
                findings.sort_by(better_first);
                findings.truncate(FINDINGS_MAX);
            }
            findings.push(Finding { kind: self.kind, score, span, rule: Some(self.name.clone()) });
        }
    }
}

/// Goes on from both ends over what patterns take for one gap, and as far again behind it.
fn over_blanks(text: &str, part: Range<usize>) -> Range<usize> {
    let before = text[..part.start].trim_end();
    let after = &text[part.end..];
    let after = text.len() - after.trim_start().len();
    let start = if before.len() < part.start { before.len().saturating_sub(MARGIN_BYTES) } else { part.start };
    let end = if after > part.end { after.saturating_add(MARGIN_BYTES).min(text.len()) } else { part.end };
    text.floor_char_boundary(start)..text.ceil_char_boundary(end)
}

/// Whether prose cites a match: a quotation mark is opened shortly before it and closed soon after its end. A straight
/// mark behind a sign of JSON, CSV or code opens a string, which cites nothing.
fn is_quoted(text: &str, range: &Range<usize>) -> bool {
    let from = text.ceil_char_boundary(range.start.saturating_sub(LEAD_BYTES_MAX));
    let lead = text[from..range.start].rsplit('\n').next().unwrap_or_default();
    let Some((at, mark)) = lead.char_indices().rev().find(|(_, symbol)| MARKS.iter().any(|(open, _)| open == symbol))
    else {
        return false;
    };
    let before = text[..range.start - lead.len() + at].chars().next_back();
    let opens = match mark {
        '"' | '\'' | '`' => {
            let sign = text[..range.start - lead.len() + at].trim_end_matches(' ').chars().next_back();
            before.is_none_or(|symbol| symbol.is_whitespace() || symbol == '(')
                && !sign.is_some_and(|sign| ":,=[{".contains(sign))
        }
        _ => true,
    };
    let end = text.floor_char_boundary(range.end + QUOTATION_BYTES_MAX.min(text.len() - range.end));
    opens && MARKS.iter().any(|(open, close)| *open == mark && text[range.end..end].contains(*close))
}
