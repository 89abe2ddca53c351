//! What the stages of money share: ledger, prices, rates, and what is remembered of earlier answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ledger::Ledger;
use pricing::Prices;

/// Most earlier responses remembered, half of it in each of two generations; some 150 bytes each.
const LINKS_MAX: usize = 100_000;

/// Hosts of regions are `eu.api.openai.com` and the like.
const REGION_HOST_SUFFIX: &str = ".api.openai.com";

/// The region whose host an upstream is, which may have a price of its own.
pub(crate) fn region_of(host: &str) -> Option<Arc<str>> {
    host.to_ascii_lowercase().strip_suffix(REGION_HOST_SUFFIX).map(Arc::from)
}

/// What the stages of money share.
pub(crate) struct Money {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) rates: rates::Book,
    pub(crate) links: Links,
    started: Instant,
}

impl Money {
    pub(crate) fn new(ledger: Arc<Ledger>, prices: Arc<Prices>) -> Money {
        Money { ledger, prices, rates: rates::Book::new(), links: Links::default(), started: Instant::now() }
    }

    /// Nanoseconds of a clock that never goes back.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What an earlier response means for one that goes on from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Tokens of the conversation so far, in and out, as this model counts.
    pub(crate) tokens: u64,
    /// The model.
    pub(crate) model: String,
    /// The run that it belongs to.
    pub(crate) run: Option<String>,
}

/// Earlier responses by project and id: bounded, and forgetful. What is forgotten is held at the model's maximum input.
#[derive(Debug, Default)]
pub(crate) struct Links {
    generations: Mutex<[HashMap<String, Link>; 2]>,
}

impl Links {
    fn key(project: &str, response: &str) -> String {
        format!("{project}/{response}")
    }

    pub(crate) fn put(&self, project: &str, response: &str, link: Link) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations[0].len() >= LINKS_MAX / 2 {
            let full = std::mem::take(&mut generations[0]);
            generations[1] = full;
        }
        generations[0].insert(Links::key(project, response), link);
    }

    pub(crate) fn find(&self, project: &str, response: &str) -> Option<Link> {
        let key = Links::key(project, response);
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().find_map(|generation| generation.get(&key).cloned())
    }
}
