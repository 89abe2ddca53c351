//! Request ids: unique, short, and free of secrets. Not random enough to be a secret themselves.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes the request ids of one worker thread: `req_` and 32 hexadecimal digits, as OpenAI's.
#[derive(Debug)]
pub(crate) struct RequestIds {
    /// Different for each worker and start of the process.
    origin: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids of worker number `worker` of this process.
    pub(crate) fn new(worker: usize) -> RequestIds {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = u64::try_from(started.as_nanos() & u128::from(u64::MAX)).unwrap_or_default();
        let worker = u64::try_from(worker).unwrap_or_default() << 48;
        RequestIds { origin: mix(seed ^ worker ^ (u64::from(std::process::id()) << 24)), next: AtomicU64::new(0) }
    }

    /// The next id.
    pub(crate) fn next(&self) -> String {
        let count = self.next.fetch_add(1, Relaxed);
        let low = mix(self.origin.wrapping_add(count));
        let mut id = String::with_capacity(36);
        id.push_str("req_");
        for shift in (0..16).rev() {
            id.push(digit(self.origin >> (shift * 4)));
        }
        for shift in (0..16).rev() {
            id.push(digit(low >> (shift * 4)));
        }
        id
    }
}

fn digit(value: u64) -> char {
    char::from(b"0123456789abcdef"[(value & 15) as usize])
}

/// `SplitMix64`'s finaliser: a bijection, so that ids of one origin never meet.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// An id for what is refused before a worker saw a request.
pub(crate) fn rare_request_id() -> String {
    static RARE: std::sync::LazyLock<RequestIds> = std::sync::LazyLock::new(|| RequestIds::new(usize::from(u16::MAX)));
    RARE.next()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_have_the_api_s_shape_and_never_meet() {
        let ids = [RequestIds::new(0), RequestIds::new(1)];
        let seen: HashSet<String> = (0..10_000).map(|n| ids[n % 2].next()).collect();
        assert_eq!(seen.len(), 10_000);
        assert!(seen.iter().all(|id| id.len() == 36 && id.starts_with("req_")));
    }
}
