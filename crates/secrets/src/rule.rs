//! What a rule is: anchors that lead to it, a regular expression behind them, a check of what it matched, and the words
//! for people. Every rule is matched forwards from its anchor, so that a stream knows where a finding would begin.

use std::sync::OnceLock;

use regex_automata::dfa::Automaton;
use regex_automata::dfa::dense;
use regex_automata::nfa::thompson;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind, util::primitives::StateID};

/// How bad it is when everybody can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a look: an identifier, a sign of a mistake.
    Low,
    /// Opens something, or very likely will.
    Medium,
    /// Opens an account, a machine or a bill.
    High,
}

impl Severity {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// Whether a finding is a secret, or a sign that one is about to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The bytes of a secret.
    Secret,
    /// Code or configuration that hands a secret to every visitor when it is built. It matters in what is built for
    /// browsers and devices, not in prose about it: who scans files decides by the file's name.
    Sign,
    /// Code that calls the API directly: a sign where the file is client code, ordinary on a server.
    DirectCall,
}

/// What a check sees of a match.
pub(crate) struct Matched<'a> {
    /// The secret as the expression matched it, without its lead.
    pub(crate) text: &'a [u8],
    /// At most [`crate::layer::CONTEXT_BYTES`] in front of the match.
    pub(crate) before: &'a [u8],
    /// This gate's keys.
    pub(crate) shape: &'a keys::Shape,
}

/// What a check says of a match that is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Bytes of the matched text that are the secret; what is glued on behind is cut.
    pub(crate) bytes: usize,
    /// Known to be whole: the length or the checksum fits. Of two readings of the same bytes the surer one is kept.
    pub(crate) certainty: u8,
}

/// A check: nothing means that the match is a look-alike.
pub(crate) type Check = fn(&Matched<'_>) -> Option<Passed>;

/// One kind of secret, or of sign.
pub struct Rule {
    /// The finding's name in every report: lower case, underscores, stable.
    pub kind: &'static str,
    /// The same for people.
    pub title: &'static str,
    /// What to do when it is found.
    pub mend: &'static str,
    /// Where the shape comes from.
    pub source: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Secret or sign.
    pub class: Class,
    /// Somebody could guess the secret (a password), so that no digest of it may be kept.
    pub is_guessable: bool,
    /// The first bytes of a match. Empty for this gate's own keys: their prefix is a setting.
    pub(crate) anchors: &'static [&'static str],
    /// Expression for what stands between the anchor's first byte and the secret.
    pub(crate) lead: &'static str,
    /// Expression for the secret.
    pub(crate) pattern: &'static str,
    /// Most bytes of lead and secret together.
    pub(crate) bytes_max: usize,
    /// No letter, digit, `_` or `-` may stand directly before the match.
    pub(crate) has_left_edge: bool,
    /// No letter, digit, `_` or `-` may stand directly behind the match.
    pub(crate) has_right_edge: bool,
    /// The shape alone proves the secret (a marker, a checksum), so that pieces may be put together boldly.
    pub(crate) is_certain: bool,
    pub(crate) check: Check,
}

impl Rule {
    /// A rule with an edge on both sides, high severity and the common checks against placeholders.
    pub(crate) const fn new(
        kind: &'static str,
        title: &'static str,
        anchors: &'static [&'static str],
        pattern: &'static str,
    ) -> Rule {
        Rule {
            kind,
            title,
            mend: "revoke it where it was issued, make a new one, and keep that out of the repository",
            source: "",
            severity: Severity::High,
            class: Class::Secret,
            is_guessable: false,
            anchors,
            lead: "",
            pattern,
            bytes_max: 512,
            has_left_edge: true,
            has_right_edge: true,
            is_certain: false,
            check: crate::lookalike::is_random,
        }
    }

    pub(crate) const fn mend(self, mend: &'static str) -> Rule {
        Rule { mend, ..self }
    }

    pub(crate) const fn source(self, source: &'static str) -> Rule {
        Rule { source, ..self }
    }

    pub(crate) const fn severity(self, severity: Severity) -> Rule {
        Rule { severity, ..self }
    }

    pub(crate) const fn class(self, class: Class) -> Rule {
        Rule { class, ..self }
    }

    pub(crate) const fn guessable(self) -> Rule {
        Rule { is_guessable: true, ..self }
    }

    pub(crate) const fn lead(self, lead: &'static str) -> Rule {
        Rule { lead, ..self }
    }

    pub(crate) const fn bytes_max(self, bytes_max: usize) -> Rule {
        Rule { bytes_max, ..self }
    }

    pub(crate) const fn glued_on_either_side(self) -> Rule {
        Rule { has_left_edge: false, has_right_edge: false, ..self }
    }

    pub(crate) const fn glued_on_the_left(self) -> Rule {
        Rule { has_left_edge: false, ..self }
    }

    pub(crate) const fn glued_behind(self) -> Rule {
        Rule { has_right_edge: false, ..self }
    }

    pub(crate) const fn certain(self) -> Rule {
        Rule { is_certain: true, ..self }
    }

    pub(crate) const fn check(self, check: Check) -> Rule {
        Rule { check, ..self }
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rule({})", self.kind)
    }
}

/// A rule's automata, built when its anchor is first seen: most inputs meet few rules.
#[derive(Default)]
pub(crate) struct Automata {
    whole: OnceLock<Built>,
    lead: OnceLock<Built>,
}

struct Built {
    automaton: dense::DFA<Vec<u32>>,
    start: StateID,
}

/// Most memory of one automaton: an expression that needs more counts too many things at once.
const AUTOMATON_BYTES_MAX: usize = 2 << 20;

fn build(pattern: &str) -> Built {
    let automaton = dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(regex_automata::dfa::StartKind::Anchored)
                .match_kind(MatchKind::All)
                .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
                .determinize_size_limit(Some(4 * AUTOMATON_BYTES_MAX)),
        )
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build(pattern)
        .expect("a test builds every rule's expression");
    let start = automaton
        .start_state(&start::Config::new().anchored(Anchored::Yes))
        .expect("no rule looks around, and all start anchored");
    Built { automaton, start }
}

impl Automata {
    fn whole(&self, rule: &Rule) -> &Built {
        self.whole.get_or_init(|| build(&format!("(?:{})(?:{})", rule.lead, rule.pattern)))
    }

    /// Where matching a rule begins.
    pub(crate) fn start(&self, rule: &Rule) -> StateID {
        self.whole(rule).start
    }

    /// Bytes of the lead at the start of a match.
    pub(crate) fn lead_bytes(&self, rule: &Rule, matched: &[u8]) -> usize {
        if rule.lead.is_empty() {
            return 0;
        }
        let lead = self.lead.get_or_init(|| build(rule.lead));
        let mut run = Run { state: lead.start, at: 0, longest: None };
        run.step(&lead.automaton, matched, matched.len(), true);
        run.longest.unwrap_or(0)
    }

    /// Goes on matching. True when more bytes cannot change the longest match.
    pub(crate) fn step(&self, rule: &Rule, run: &mut Run, bytes: &[u8], limit: usize, is_ended: bool) -> bool {
        run.step(&self.whole(rule).automaton, bytes, limit, is_ended)
    }
}

/// A match in progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) state: StateID,
    /// The next byte to look at.
    pub(crate) at: usize,
    /// End of the longest match so far.
    pub(crate) longest: Option<usize>,
}

impl Run {
    fn step(&mut self, automaton: &dense::DFA<Vec<u32>>, bytes: &[u8], limit: usize, is_ended: bool) -> bool {
        while self.at < bytes.len().min(limit) {
            self.state = automaton.next_state(self.state, bytes[self.at]);
            // Automata report a match one byte after its end.
            if automaton.is_special_state(self.state) {
                if automaton.is_match_state(self.state) {
                    self.longest = Some(self.at);
                } else if automaton.is_dead_state(self.state) {
                    self.at += 1;
                    return true;
                }
            }
            self.at += 1;
        }
        let is_over = is_ended || self.at >= limit;
        if is_over && automaton.is_match_state(automaton.next_eoi_state(self.state)) {
            self.longest = Some(self.at);
        }
        is_over
    }
}
