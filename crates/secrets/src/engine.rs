//! The rules made ready: anchors in one automaton, expressions built when they are first needed.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

use crate::finding::Finding;
use crate::rule::{Automata, Matched, Rule, Run};
use crate::rules;
use crate::stream::Stream;
use crate::walk::REVERSED_BYTES_MAX;

/// Encoded bytes of one byte, at most: an escape in each of two layers.
const LOOKS_BACK_FACTOR: u64 = 12;

/// What an engine looks for beyond its table.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The shape of this installation's own keys.
    pub shape: keys::Shape,
    /// Look for keys written backwards too. Such a key is known by what stands in its middle, so that a stream always
    /// holds back as much as may stand before that.
    pub finds_reversed: bool,
}

/// Finds secrets. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// What an anchor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Rule(usize),
    /// A literal that ends within an anchor.
    Tail,
    /// Character codes of the start of an anchor.
    Codes,
    /// An anchor turned by thirteen.
    Rot13,
    /// The marker of an OpenAI key written backwards, which stands in its middle.
    Reversed,
}

pub(crate) struct Inner {
    shape: keys::Shape,
    /// Bytes of the input before an anchor that may belong to its finding.
    pub(crate) looks_back_bytes: u64,
    rules: Vec<(&'static Rule, Automata)>,
    anchors: AhoCorasick,
    targets: Vec<Target>,
    pub(crate) anchor_bytes_max: usize,
    /// Proper prefixes of anchors.
    prefixes: HashSet<Vec<u8>>,
    certain_bytes_max: usize,
    /// First bytes of anchors.
    begins_any: [bool; 256],
    /// First bytes of the anchors of certain rules.
    begins_certain: [bool; 256],
    certain_anchors: Vec<(Vec<u8>, usize)>,
}

impl Engine {
    /// Makes the rules ready.
    pub fn new(config: Config) -> Engine {
        let rules: Vec<(&'static Rule, Automata)> = rules::all().map(|rule| (rule, Automata::default())).collect();
        let mut anchors: Vec<(Vec<u8>, Target)> = Vec::new();
        for (index, (rule, _)) in rules.iter().enumerate() {
            let named = rule.anchors.iter().map(|anchor| anchor.as_bytes().to_vec());
            let own = keys::Kind::ALL.into_iter().filter(|_| rule.anchors.is_empty());
            let own = own.map(|kind| format!("{}{}_", config.shape.prefix(), kind.word()).into_bytes());
            anchors.extend(named.chain(own).map(|anchor| (anchor, Target::Rule(index))));
        }
        let certain_anchors: Vec<(Vec<u8>, usize)> = anchors
            .iter()
            .filter_map(|(anchor, target)| match target {
                Target::Rule(rule) if rules[*rule].0.is_certain => Some((anchor.clone(), *rule)),
                _ => None,
            })
            .collect();
        anchors.extend(respelled(&certain_anchors));
        if config.finds_reversed {
            anchors.push((b"JFkblB3T".to_vec(), Target::Reversed));
        }
        let prefixes = anchors.iter().flat_map(|(anchor, _)| (1..anchor.len()).map(|length| anchor[..length].to_vec()));
        let inner = Inner {
            shape: config.shape,
            looks_back_bytes: if config.finds_reversed { REVERSED_BYTES_MAX as u64 * LOOKS_BACK_FACTOR } else { 0 },
            anchor_bytes_max: anchors.iter().map(|(anchor, _)| anchor.len()).max().unwrap_or(1),
            prefixes: prefixes.collect(),
            begins_any: std::array::from_fn(|byte| anchors.iter().any(|(anchor, _)| usize::from(anchor[0]) == byte)),
            begins_certain: std::array::from_fn(|byte| {
                certain_anchors.iter().any(|(anchor, _)| usize::from(anchor[0]) == byte)
            }),
            certain_bytes_max: certain_anchors.iter().map(|(anchor, _)| anchor.len() - 1).max().unwrap_or(0),
            anchors: AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::DFA))
                .match_kind(MatchKind::Standard)
                .build(anchors.iter().map(|(anchor, _)| anchor))
                .expect("some hundred short anchors make a small automaton"),
            targets: anchors.into_iter().map(|(_, target)| target).collect(),
            certain_anchors,
            rules,
        };
        Engine(Arc::new(inner))
    }

    /// All findings in bytes that are there as a whole, in the order of their starts.
    pub fn scan(&self, bytes: &[u8]) -> Vec<Finding> {
        let mut stream = self.stream();
        let mut findings = stream.push(bytes);
        findings.extend(stream.finish());
        findings
    }

    /// A search through bytes that come in pieces.
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// All rules, for lists and reports.
    pub fn rules() -> impl Iterator<Item = &'static Rule> {
        rules::all()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} rules)", self.0.rules.len())
    }
}

/// The first bytes of certain anchors as character codes, and whole ones turned by thirteen.
fn respelled(anchors: &[(Vec<u8>, usize)]) -> Vec<(Vec<u8>, Target)> {
    let mut starts: Vec<&[u8]> = anchors.iter().map(|(anchor, _)| &anchor[..anchor.len().min(3)]).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut respelled = Vec::new();
    for start in starts {
        let joined = |separator: &str, spell: &dyn Fn(&u8) -> String| {
            start.iter().map(spell).collect::<Vec<_>>().join(separator).into_bytes()
        };
        // Lists may have any blanks between the codes: one code leads to them.
        let first = start[0];
        respelled.extend(
            [format!("{first},"), format!("0x{first:02x},"), format!("0x{first:02X},")].map(String::into_bytes),
        );
        for separator in [" ", ":"] {
            respelled.push(joined(separator, &|byte| format!("{byte:02x}")));
            respelled.push(joined(separator, &|byte| format!("{byte:02X}")));
        }
    }
    respelled.sort_unstable();
    respelled.dedup();
    let turned = |byte: &u8| match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        other => *other,
    };
    let codes = respelled.into_iter().map(|codes| (codes, Target::Codes));
    codes.chain(anchors.iter().map(|(anchor, _)| (anchor.iter().map(turned).collect(), Target::Rot13))).collect()
}

impl Inner {
    pub(crate) fn rule(&self, rule: usize) -> &'static Rule {
        self.rules[rule].0
    }

    pub(crate) fn anchors_in<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (Target, Range<usize>)> + 'a {
        self.anchors
            .try_find_overlapping_iter(Input::new(bytes))
            .expect("standard matching overlaps")
            .map(|found| (self.targets[found.pattern().as_usize()], found.range()))
    }

    pub(crate) fn start(&self, rule: usize, at: usize) -> Run {
        let (rule, automata) = &self.rules[rule];
        Run { state: automata.start(rule), at, longest: None }
    }

    pub(crate) fn step(&self, rule: usize, run: &mut Run, bytes: &[u8], limit: usize, is_ended: bool) -> bool {
        let (rule, automata) = &self.rules[rule];
        automata.step(rule, run, bytes, limit, is_ended)
    }

    /// The secret within a match, and how certain it is; nothing for a look-alike.
    pub(crate) fn check(&self, rule: usize, matched: &[u8], before: &[u8]) -> Option<(Range<usize>, u8)> {
        let (rule, automata) = &self.rules[rule];
        let lead = automata.lead_bytes(rule, matched);
        let passed = (rule.check)(&Matched { text: &matched[lead..], before, shape: &self.shape })?;
        (passed.bytes > 0).then_some((lead..lead + passed.bytes, passed.certainty))
    }

    /// Bytes at the end that may become an anchor.
    pub(crate) fn tail(&self, bytes: &[u8]) -> usize {
        let longest = bytes.len().min(self.anchor_bytes_max - 1);
        let is_prefix = |tail: &[u8]| self.begins_any[usize::from(tail[0])] && self.prefixes.contains(tail);
        (1..=longest).rev().find(|length| is_prefix(&bytes[bytes.len() - length..])).unwrap_or(0)
    }

    /// Bytes at the end of a literal that may become an anchor of a certain rule and are a word of their own.
    pub(crate) fn certain_tail(&self, bytes: &[u8]) -> Option<usize> {
        let mut found = None;
        for length in 1..=bytes.len().min(self.certain_bytes_max) {
            let (before, tail) = bytes.split_at(bytes.len() - length);
            // An anchor is one word. Nearly every literal ends here: its last byte is a bracket, or in no anchor's place.
            if !tail[0].is_ascii_alphanumeric() && !matches!(tail[0], b'-' | b'_') {
                break;
            }
            if self.begins_certain[usize::from(tail[0])]
                && !before.last().is_some_and(u8::is_ascii_alphanumeric)
                && self.certain_anchors.iter().any(|(anchor, _)| anchor.len() > length && anchor.starts_with(tail))
            {
                found = Some(length);
            }
        }
        found
    }

    pub(crate) fn certain_rules_at<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        self.certain_anchors.iter().filter(|(anchor, _)| text.starts_with(anchor)).map(|(_, rule)| *rule)
    }
}
