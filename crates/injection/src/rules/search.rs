//! The search for many patterns at once, and for one after the other, with what such searches learn on the way.
//!
//! Promise: what is kept of it is bounded, whatever texts come and however many threads search: for each processor, and
//! one more, [`AUTOMATON_BYTES`] of the automaton of all patterns and [`PATTERNS_BYTES`] of single ones.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::meta::{self, Regex};
use regex_automata::util::iter::Searcher;
use regex_automata::{Input, PatternID, PatternSet};

use super::parse;

/// Bytes in which a search remembers where it may be in all patterns: 32 MiB for all processors, but for each at least and
/// at most so much.
///
/// What does not fit is found anew again and again: with 4 MiB a thread, texts of all sorts (6 MB of prose, 5 of code, 5 of
/// other languages) passed the default rules at 20 to 60 MB/s, with 8 MiB at 70 to 380, with 16 MiB at 300 to 400.
const AUTOMATON_BYTES: (usize, usize) = (4 << 20, 16 << 20);
const AUTOMATA_BYTES: usize = 32 << 20;
/// What one search may use for a single pattern, and what is kept of it for all of them: those of the default rules learn
/// 5 MB together.
pub(super) const PATTERN_BYTES: usize = 1 << 20;
pub(super) const PATTERNS_BYTES: usize = 8 << 20;

/// How much the automaton of all patterns may learn.
pub(super) fn automaton_bytes() -> usize {
    (AUTOMATA_BYTES / processors()).clamp(AUTOMATON_BYTES.0, AUTOMATON_BYTES.1)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Many patterns, of which a search tells which match at all.
///
/// The automaton is used as it is: the library's own choice of engines gives it up for good, for all later texts, once one
/// text has made it forget what it learned three times, and is then a thousand times slower. So is what it learned: the
/// library's pools keep one for each of many groups of threads, and never let go of any.
#[derive(Debug)]
pub(super) struct Patterns {
    automaton: DFA,
    rested: Mutex<Vec<Learned>>,
    /// Most that rest.
    rested_max: usize,
}

/// What searches have learned, for one at a time.
#[derive(Debug)]
pub(super) struct Learned {
    all: Cache,
    single: HashMap<usize, meta::Cache>,
}

impl Patterns {
    pub(super) fn new(automaton: DFA) -> Patterns {
        Patterns { automaton, rested: Mutex::default(), rested_max: processors() + 1 }
    }

    /// Searches with what earlier searches learned.
    pub(super) fn search<T>(&self, search: impl FnOnce(&mut Learned) -> T) -> T {
        let rested = || self.rested.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rested().pop();
        let mut learned =
            known.unwrap_or_else(|| Learned { all: self.automaton.create_cache(), single: HashMap::new() });
        let found = search(&mut learned);
        learned.forget();
        let mut rested = rested();
        if rested.len() < self.rested_max {
            rested.push(learned);
        }
        found
    }

    /// Bytes of what rests, and how many they may be.
    #[cfg(test)]
    pub(super) fn rested_bytes(&self) -> (usize, usize) {
        let rested = self.rested.lock().expect("no search has failed");
        let bytes = rested.iter().map(|learned| learned.all.memory_usage() + learned.single_bytes()).sum();
        (bytes, (processors() + 1) * (automaton_bytes() + PATTERNS_BYTES))
    }

    #[cfg(test)]
    pub(super) fn rested_count(&self) -> usize {
        self.rested.lock().expect("no search has failed").len()
    }

    /// Those that match in this part of a text.
    pub(super) fn present(&self, input: &Input<'_>, learned: &mut Learned) -> PatternSet {
        let (mut present, cache) = (PatternSet::new(self.automaton.pattern_len()), &mut learned.all);
        // Whether any matches at all is told sooner, and mostly none does.
        if let Ok(None) = self.automaton.try_search_fwd(cache, &input.clone().earliest(true)) {
            return present;
        }
        if self.automaton.try_which_overlapping_matches(cache, input, &mut present).is_err() {
            // It never gives up as it is built; if it did, each pattern is looked for by itself.
            (0..self.automaton.pattern_len()).for_each(|pattern| _ = present.insert(PatternID::must(pattern)));
        }
        present
    }
}

impl Learned {
    pub(super) fn single_bytes(&self) -> usize {
        self.single.values().map(meta::Cache::memory_usage).sum()
    }

    /// Lets go of what was learned of single patterns where it is too much.
    fn forget(&mut self) {
        if self.single_bytes() > PATTERNS_BYTES {
            self.single.clear();
        }
    }
}

/// One pattern of a rule.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) text: String,
    /// Which of all patterns it is.
    number: usize,
    /// Built when the pattern is first known to match.
    regex: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(super) fn new(text: String, number: usize) -> Pattern {
        Pattern { text, number, regex: OnceLock::new() }
    }

    /// Where it matches, from left to right.
    pub(super) fn matches<'t>(
        &'t self,
        input: Input<'t>,
        learned: &'t mut Learned,
    ) -> impl Iterator<Item = Range<usize>> + 't {
        learned.forget();
        let regex = self.regex.get_or_init(|| parse::regex(&self.text).ok()).as_ref();
        let found = regex.map(|regex| {
            let cache = learned.single.entry(self.number).or_insert_with(|| regex.create_cache());
            let mut searcher = Searcher::new(input);
            std::iter::from_fn(move || searcher.advance(|input| Ok(regex.search_with(cache, input))))
        });
        found.into_iter().flatten().map(|found| found.range())
    }
}
