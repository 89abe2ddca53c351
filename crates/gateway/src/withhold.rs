//! Watches an answer for the gate's own upstream key: an upstream that echoes what it received must not hand the key
//! to a client.
//!
//! Promise: for any split into chunks, no byte of the key's first occurrence and none after it leaves; held back is
//! only what the key could still begin with.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// An incremental search for one secret.
pub(crate) struct Withhold {
    finder: Finder<'static>,
    /// The end of what came so far, where it could be the secret's beginning.
    tail: BytesMut,
}

/// The secret was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found;

impl Withhold {
    /// Watches for `secret`, which is not empty.
    pub(crate) fn new(finder: Finder<'static>) -> Withhold {
        Withhold { finder, tail: BytesMut::new() }
    }

    /// Takes a chunk and gives what may pass.
    pub(crate) fn feed(&mut self, chunk: Bytes) -> Result<Bytes, Found> {
        let mut bytes = if self.tail.is_empty() {
            chunk
        } else {
            let mut joined = std::mem::take(&mut self.tail);
            joined.extend_from_slice(&chunk);
            joined.freeze()
        };
        if self.finder.find(&bytes).is_some() {
            return Err(Found);
        }
        let held = beginning_at_end(&bytes, self.finder.needle());
        if held > 0 {
            self.tail.extend_from_slice(&bytes[bytes.len() - held..]);
            bytes.truncate(bytes.len() - held);
        }
        Ok(bytes)
    }

    /// Whether something is held back.
    pub(crate) fn is_holding(&self) -> bool {
        !self.tail.is_empty()
    }

    /// What was held back and turned out to be harmless.
    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.tail).freeze()
    }
}

/// Length of the longest end of `bytes` that is a beginning of `needle`, and not all of it.
fn beginning_at_end(bytes: &[u8], needle: &[u8]) -> usize {
    let window = bytes.len().min(needle.len().saturating_sub(1));
    let end = &bytes[bytes.len() - window..];
    memchr::memchr_iter(needle[0], end).find(|&at| needle.starts_with(&end[at..])).map_or(0, |at| end.len() - at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(text: &[u8], cuts: &[usize], secret: &'static [u8]) -> (Vec<u8>, bool) {
        let mut guard = Withhold::new(Finder::new(secret));
        let mut out = Vec::new();
        let mut rest = text;
        for cut in cuts {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            match guard.feed(Bytes::copy_from_slice(chunk)) {
                Ok(bytes) => out.extend_from_slice(&bytes),
                Err(Found) => return (out, true),
            }
        }
        match guard.feed(Bytes::copy_from_slice(rest)) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(Found) => return (out, true),
        }
        out.extend_from_slice(&guard.finish());
        (out, false)
    }

    proptest! {
        /// A small alphabet makes near misses and repeated beginnings common.
        #[test]
        fn no_split_lets_the_secret_or_what_follows_out(
            before in "[sk-]{0,20}", after in "[sk-]{0,8}", planted: bool, cuts in prop::collection::vec(0_usize..6, 0..20)
        ) {
            let secret = "sk-sks-k";
            let text = if planted { format!("{before}{secret}{after}") } else { before };
            let (out, found) = pass(text.as_bytes(), &cuts, secret.as_bytes());
            match text.find(secret) {
                Some(at) => {
                    prop_assert!(found);
                    prop_assert!(text.as_bytes()[..at].starts_with(&out));
                }
                None => {
                    prop_assert!(!found);
                    prop_assert_eq!(out, text.as_bytes());
                }
            }
        }
    }

    #[test]
    fn an_end_that_is_no_beginning_is_not_held() {
        let mut guard = Withhold::new(Finder::new(b"sk-secret"));
        let chunk = Bytes::from_static(b"data: {\"a\":1}\n\n");
        assert_eq!(guard.feed(chunk.clone()), Ok(chunk));
    }
}
