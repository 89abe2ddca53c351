//! From a rule file to a rule set, with errors that say where and what to do.

use std::collections::HashSet;

use normalise::{Change, Changes, normalise};
use regex_automata::MatchKind;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::hybrid::{self, dfa};
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use serde::Deserialize;
use toml::Spanned;

use super::search::{PATTERN_BYTES, Pattern, Patterns, automaton_bytes};
use super::{Rule, RuleSet};
use crate::{Channel, Kind};

/// Bytes of a rule file, rules in it, and bytes of a pattern.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
/// Rules in a file.
pub(super) const RULES_MAX: usize = 1_000;
/// Bytes of one pattern.
pub(super) const PATTERN_BYTES_MAX: usize = 4_000;
/// Bytes that all patterns may take up once compiled.
const COMPILED_BYTES_MAX: usize = 16 << 20;
/// Why a rule file was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "line {}: {}; {}", self.line, self.problem, self.mend)
    }
}

impl std::error::Error for Error {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    kind: String,
    channels: Option<Vec<String>>,
    score: f32,
    quoted: Option<f32>,
    #[serde(default)]
    hidden: Vec<String>,
    patterns: Vec<Spanned<String>>,
    why: String,
    matches: Vec<String>,
    ignores: Vec<String>,
}

/// Compiles a pattern, folding case, so that it is matched in linear time.
pub(super) fn regex(pattern: &str) -> Result<Regex, Box<BuildError>> {
    let config = Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX)).hybrid_cache_capacity(PATTERN_BYTES);
    Regex::builder().syntax(folding()).configure(config).build(pattern).map_err(Box::new)
}

/// Compiles many, to tell which of them match: then every match counts, not only the first.
fn together(patterns: &[&str]) -> Result<DFA, Box<hybrid::BuildError>> {
    let memory = automaton_bytes();
    let config = dfa::Config::new().match_kind(MatchKind::All).cache_capacity(memory).skip_cache_capacity_check(true);
    let compiled = thompson::Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX));
    DFA::builder().syntax(folding()).thompson(compiled).configure(config).build_many(patterns).map_err(Box::new)
}

fn folding() -> syntax::Config {
    syntax::Config::new().case_insensitive(true)
}

/// Where in the file something is.
struct Place<'t> {
    text: &'t str,
    at: usize,
}

impl Place<'_> {
    fn error(&self, problem: impl Into<String>, mend: impl Into<String>) -> Error {
        let line =
            self.text.as_bytes()[..self.at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error { line, problem: problem.into(), mend: mend.into() }
    }
}

pub(super) fn parse(text: &str) -> Result<RuleSet, Error> {
    let start = Place { text, at: 0 };
    if text.len() > FILE_BYTES_MAX {
        return Err(start.error(format!("more than {FILE_BYTES_MAX} bytes"), "split the rules or drop some"));
    }
    let file: File = toml::from_str(text).map_err(|error| {
        let place = Place { text, at: error.span().map_or(0, |span| span.start) };
        place.error(error.message(), "write it as the head of the default rule file says")
    })?;
    if file.rule.is_empty() || file.rule.len() > RULES_MAX {
        return Err(
            start.error(format!("{} rules", file.rule.len()), format!("write 1 to {RULES_MAX} [[rule]] tables"))
        );
    }
    let mut names = HashSet::new();
    let mut examples = Vec::new();
    let (mut rules, mut first) = (Vec::new(), 0);
    for written in file.rule {
        let place = Place { text, at: written.span().start };
        let written = written.into_inner();
        if !names.insert(written.name.clone()) {
            return Err(place.error(format!("a second rule `{}`", written.name), "give it another name"));
        }
        examples.push((place.at, written.matches.clone(), written.ignores.clone()));
        let patterns = written.patterns.len();
        rules.push(rule(written, first, &place)?);
        first += patterns;
    }
    let mut patterns = Vec::new();
    let mut owners = Vec::new();
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.hidden.is_empty()) {
        for (place, pattern) in rule.patterns.iter().enumerate() {
            patterns.push(pattern.text.as_str());
            owners.push((index, place));
        }
    }
    let all = together(&patterns)
        .map(Patterns::new)
        .map_err(|error| start.error(format!("the patterns together: {error}"), "use fewer or simpler ones"))?;
    let set = RuleSet { rules, all, owners };
    for (rule, (at, matches, ignores)) in set.rules.iter().zip(examples) {
        check(&set, rule, &Place { text, at }, &matches, &ignores)?;
    }
    Ok(set)
}

/// A rule whose patterns are numbered from `first` on.
fn rule(written: Written, first: usize, place: &Place<'_>) -> Result<Rule, Error> {
    let kind = match written.kind.as_str() {
        "direct" => Kind::Direct,
        "indirect" => Kind::Indirect,
        "jailbreak" => Kind::Jailbreak,
        "extraction" => Kind::Extraction,
        other => return Err(place.error(format!("kind `{other}`"), "write direct, indirect, jailbreak or extraction")),
    };
    let valid_name = !written.name.is_empty()
        && written.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !valid_name {
        return Err(place.error(format!("name `{}`", written.name), "use small letters, digits and hyphens"));
    }
    let channels = match &written.channels {
        None => vec![Channel::User, Channel::Untrusted],
        Some(names) => names
            .iter()
            .map(|name| {
                Channel::from_name(name)
                    .ok_or_else(|| place.error(format!("channel `{name}`"), "write system, user, untrusted or output"))
            })
            .collect::<Result<_, _>>()?,
    };
    let quoted = written.quoted.unwrap_or(written.score);
    if ![written.score, quoted].iter().all(|score| (0.0..=1.0).contains(score)) {
        return Err(place.error("a score outside 0 to 1", "write a number from 0.0 to 1.0"));
    }
    let hidden = hidden(&written.hidden, place)?;
    if written.why.trim().is_empty()
        || written.matches.is_empty()
        || written.ignores.is_empty()
        || written.patterns.is_empty()
    {
        return Err(place.error(
            "`patterns`, `why`, `matches` or `ignores` is empty",
            "give a pattern, a reason, a text that must match and one that must not",
        ));
    }
    let patterns = written.patterns.into_iter().zip(first..);
    let patterns = patterns.map(|(written, number)| pattern(&written, number, place.text)).collect::<Result<_, _>>()?;
    Ok(Rule { name: written.name, kind, channels, score: written.score, quoted, hidden, why: written.why, patterns })
}

fn hidden(names: &[String], place: &Place<'_>) -> Result<Changes, Error> {
    let mut hidden = Changes::none();
    for name in names {
        match Change::ALL.into_iter().find(|change| change.as_str() == name) {
            Some(change) => hidden.insert(change),
            None => {
                let known: Vec<&str> = Change::ALL.into_iter().map(Change::as_str).collect();
                return Err(place.error(format!("disguise `{name}`"), format!("write one of {}", known.join(", "))));
            }
        }
    }
    Ok(hidden)
}

fn pattern(written: &Spanned<String>, number: usize, text: &str) -> Result<Pattern, Error> {
    let place = Place { text, at: written.span().start };
    let pattern = written.get_ref();
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(place.error(format!("a pattern of more than {PATTERN_BYTES_MAX} bytes"), "split it"));
    }
    // Their search could not be one step a byte.
    if pattern.contains(r"\b") && !pattern.contains(r"(?-u:\b)") || pattern.contains(r"\B") {
        return Err(place.error(r"a word boundary of Unicode", r"write (?-u:\b), a boundary of ASCII words"));
    }
    let compiled = regex(pattern).map_err(|error| {
        let cause = std::error::Error::source(&*error).map_or_else(|| error.to_string(), ToString::to_string);
        place.error(format!("the pattern: {cause}"), "see the syntax of Rust's regex crate")
    })?;
    if compiled.is_match("") {
        return Err(place.error("a pattern that matches nothing at all", "require at least one character"));
    }
    Ok(Pattern::new(pattern.clone(), number))
}

/// Holds a rule against its own examples, alone: in each of its channels, every one must match, or none.
fn check(set: &RuleSet, rule: &Rule, place: &Place<'_>, matches: &[String], ignores: &[String]) -> Result<(), Error> {
    for channel in &rule.channels {
        let found = |text: &str| {
            let findings = set.find(text, &normalise(text), *channel);
            findings.iter().any(|finding| finding.rule.as_ref() == Some(&rule.name) && finding.score >= rule.score)
        };
        if let Some(text) = matches.iter().find(|text| !found(text)) {
            return Err(
                place.error(format!("rule `{}` does not match `{text}`", rule.name), "mend the pattern or the example")
            );
        }
        if let Some(text) = ignores.iter().find(|text| found(text)) {
            return Err(
                place.error(format!("rule `{}` matches `{text}`", rule.name), "narrow the pattern or mend the example")
            );
        }
    }
    Ok(())
}
