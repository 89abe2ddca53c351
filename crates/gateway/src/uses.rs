//! From where keys are used: counted by each worker for itself, taken over by the process every few seconds.
//!
//! Promises: a request pays one look-up under a lock that nobody else holds for longer than a moment; what one worker
//! counts between two takings is bounded, and addresses over the bound are counted together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::HeaderValue;
use store::{KeyId, KeyUse};

use crate::record::client_text;

/// Keys and addresses that a worker tells apart between two takings; some 200 bytes each.
const TALLIES_MAX: usize = 8_192;

const HOUR_SECONDS: i64 = 3_600;

/// What a worker has counted since the last taking.
#[derive(Debug, Default)]
pub(crate) struct UseBook(Mutex<HashMap<(KeyId, Option<IpAddr>), Tally>>);

#[derive(Debug)]
struct Tally {
    calls: u64,
    refused: u64,
    first_at: i64,
    last_at: i64,
    user_agent: Option<HeaderValue>,
    model: Option<String>,
}

/// One request.
pub(crate) struct Use<'a> {
    pub(crate) key: &'a KeyId,
    /// `None` for a client secret's: its users are anywhere.
    pub(crate) address: Option<IpAddr>,
    pub(crate) at: i64,
    pub(crate) is_refused: bool,
    pub(crate) user_agent: Option<&'a HeaderValue>,
    pub(crate) model: Option<&'a str>,
}

impl UseBook {
    /// Counts a request.
    pub(crate) fn note(&self, used: &Use<'_>) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = (used.key.clone(), used.address);
        if tallies.len() >= TALLIES_MAX && !tallies.contains_key(&place) {
            place.1 = None;
        }
        let tally = tallies.entry(place).or_insert_with(|| Tally {
            calls: 0,
            refused: 0,
            first_at: used.at,
            last_at: used.at,
            user_agent: None,
            model: None,
        });
        tally.calls += 1;
        tally.refused += u64::from(used.is_refused);
        tally.last_at = used.at;
        // Mostly the same words as before: nothing is copied then.
        if used.user_agent.is_some() && tally.user_agent.as_ref() != used.user_agent {
            tally.user_agent = used.user_agent.cloned();
        }
        if used.model.is_some() && tally.model.as_deref() != used.model {
            tally.model = used.model.map(str::to_owned);
        }
    }

    /// Takes over what was counted.
    pub(crate) fn take(&self) -> Vec<KeyUse> {
        let tallies = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let key_use = |((key, address), tally): ((KeyId, Option<IpAddr>), Tally)| KeyUse {
            key,
            hour: tally.first_at - tally.first_at.rem_euclid(HOUR_SECONDS),
            address: address.map_or_else(|| KeyUse::ELSEWHERE.to_owned(), |address| address.to_string()),
            calls: tally.calls,
            refused: tally.refused,
            first_at: tally.first_at,
            last_at: tally.last_at,
            user_agent: tally.user_agent.map(|value| client_text(value.as_bytes())),
            model: tally.model,
        };
        tallies.into_iter().map(key_use).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_by_key_and_address_and_taken_once() {
        let book = UseBook::default();
        let (key, agent) = (KeyId::new("key_a"), HeaderValue::from_static("sdk"));
        let used = |at, address: &str, model| Use {
            key: &key,
            address: Some(address.parse().expect("an address")),
            at,
            is_refused: at % 2 == 1,
            user_agent: Some(&agent).filter(|_| at < 7_300),
            model,
        };
        for (at, address, model) in [(7_201, "10.0.0.1", Some("a")), (7_300, "10.0.0.1", None), (7_210, "::1", None)] {
            book.note(&used(at, address, model));
        }
        let mut taken = book.take();
        taken.sort_by(|one, other| one.address.cmp(&other.address));
        assert_eq!(taken.len(), 2);
        assert_eq!((taken[0].calls, taken[0].refused, taken[0].first_at, taken[0].last_at), (2, 1, 7_201, 7_300));
        assert_eq!(
            (taken[0].hour, taken[0].user_agent.as_deref(), taken[0].model.as_deref()),
            (7_200, Some("sdk"), Some("a"))
        );
        assert!(book.take().is_empty());
    }

    #[test]
    fn addresses_without_number_are_counted_together() {
        let (book, key) = (UseBook::default(), KeyId::new("key_a"));
        for number in 0..u32::try_from(TALLIES_MAX).expect("small") + 100 {
            let address = Some(IpAddr::from(number.to_be_bytes()));
            book.note(&Use { key: &key, address, at: 1, is_refused: false, user_agent: None, model: None });
        }
        let taken = book.take();
        assert_eq!(taken.len(), TALLIES_MAX + 1);
        let elsewhere = taken.iter().find(|used| used.address == KeyUse::ELSEWHERE).expect("the rest");
        assert_eq!(elsewhere.calls, 100);
    }
}
