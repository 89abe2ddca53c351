//! Addresses that present unknown keys again and again.
//!
//! Keys have 256 random bits: nobody guesses one, so there is nothing to lock. What this is for is to notice whoever
//! tries, and to answer the trying cheaply. Promises: a key that the gate knows is served from any address, whatever
//! that address did before, since the key is looked up first; an address that is over the bound gets a shorter answer
//! with a time to come back; addresses are bounded, the quietest go first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::address::network;

/// Unknown keys in a minute from which on an address is answered shortly: an application that was forgotten when its key
/// was revoked retries a few times a minute.
const UNKNOWN_MAX: u32 = 20;
/// Length of the window, seconds.
const WINDOW_SECONDS: i64 = 60;
/// Addresses remembered; some 60 bytes each.
const ADDRESSES_MAX: usize = 16_384;

/// What an unknown key means for its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered as usual.
    Few,
    /// Just now too many: worth an alarm.
    JustTooMany {
        /// Milliseconds until the window ends.
        retry_after_ms: u64,
    },
    /// Too many.
    TooMany {
        /// Milliseconds until the window ends.
        retry_after_ms: u64,
    },
}

/// Counts of unknown keys by address.
#[derive(Debug, Default)]
pub(crate) struct UnknownKeys(Mutex<HashMap<IpAddr, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    began_at: i64,
    count: u32,
}

impl UnknownKeys {
    /// Counts an unknown key.
    pub(crate) fn note(&self, address: IpAddr, now: i64) -> Verdict {
        let address = network(address);
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= ADDRESSES_MAX && !windows.contains_key(&address) {
            make_room(&mut windows, now);
        }
        let window = windows.entry(address).or_insert(Window { began_at: now, count: 0 });
        if now - window.began_at >= WINDOW_SECONDS || now < window.began_at {
            *window = Window { began_at: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        let left = u64::try_from(window.began_at + WINDOW_SECONDS - now).unwrap_or_default();
        let retry_after_ms = left.saturating_mul(1_000);
        match window.count {
            count if count <= UNKNOWN_MAX => Verdict::Few,
            count if count == UNKNOWN_MAX + 1 => Verdict::JustTooMany { retry_after_ms },
            _ => Verdict::TooMany { retry_after_ms },
        }
    }
}

/// Forgets windows that are over, and where none is, the quieter half.
fn make_room(windows: &mut HashMap<IpAddr, Window>, now: i64) {
    windows.retain(|_, window| now - window.began_at < WINDOW_SECONDS);
    if windows.len() < ADDRESSES_MAX {
        return;
    }
    let mut counts: Vec<u32> = windows.values().map(|window| window.count).collect();
    let middle = counts.len() / 2;
    let (_, median, _) = counts.select_nth_unstable(middle);
    let median = *median;
    windows.retain(|_, window| window.count > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn too_many_is_said_once_aloud_and_ends_with_its_window() {
        let book = UnknownKeys::default();
        let one = address("192.0.2.1");
        assert!((0..UNKNOWN_MAX).all(|_| book.note(one, 100) == Verdict::Few));
        assert_eq!(book.note(one, 130), Verdict::JustTooMany { retry_after_ms: 30_000 });
        assert_eq!(book.note(one, 131), Verdict::TooMany { retry_after_ms: 29_000 });
        assert_eq!(book.note(address("192.0.2.2"), 131), Verdict::Few, "a neighbour is somebody else");
        assert_eq!(book.note(one, 160), Verdict::Few, "a new window");
        assert_eq!(book.note(one, 50), Verdict::Few, "a clock that was set back does not lock anybody");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let book = UnknownKeys::default();
        let of = |number: u32| address(&format!("2001:db8:1:2::{number:x}"));
        let verdicts: Vec<Verdict> = (0..=UNKNOWN_MAX).map(|number| book.note(of(number), 1)).collect();
        assert!(matches!(verdicts.last(), Some(Verdict::JustTooMany { .. })));
        assert_eq!(book.note(address("2001:db8:1:3::1"), 1), Verdict::Few);
    }

    #[test]
    fn addresses_are_bounded_and_the_loud_stay() {
        let book = UnknownKeys::default();
        let loud = address("192.0.2.9");
        (0..=UNKNOWN_MAX + 5).for_each(|_| {
            book.note(loud, 1);
        });
        for number in 0..u32::try_from(2 * ADDRESSES_MAX).expect("small") {
            book.note(IpAddr::from(number.to_be_bytes()), 1);
        }
        let count = book.0.lock().expect("unpoisoned").len();
        assert!(count <= ADDRESSES_MAX, "{count}");
        assert!(matches!(book.note(loud, 2), Verdict::TooMany { .. }), "a flood does not wash it out");
    }
}
