//! Keeps an answer that passes, so that what it used can be read at the end.
//!
//! Promise: what stands at the beginning of an answer (hosted calls, the tier) is not lost for its length: text is kept
//! whole, or nobody can say what it used.
//!
//! Bounded: text up to [`TEXT_BYTES_MAX`], its chunks shared and not copied; of pictures and vectors over
//! [`WHOLE_BYTES_MAX`] only the last bytes, where the API puts the usage, and the number of pictures.

use bytes::Bytes;
use wire::endpoint::Meter;

/// Longest answer of pictures or vectors that is kept whole.
const WHOLE_BYTES_MAX: usize = 1024 * 1024;
/// What is kept of a longer one.
const TAIL_BYTES: usize = 16 * 1024;
/// Longest text that is kept: sixteen answers of 128,000 tokens.
const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What each picture in an answer begins with. No text in it can hold the same: quotes are escaped there.
const PICTURE: &[u8] = b"\"b64_json\"";

/// The chunks so far.
#[derive(Debug)]
pub(crate) struct Tee {
    /// Whether the answer must be read from its beginning.
    is_text: bool,
    chunks: Vec<Bytes>,
    bytes: usize,
    is_cut: bool,
    /// Pictures in what was let go.
    pictures: usize,
}

impl Tee {
    /// For an answer of an endpoint.
    pub(crate) fn new(meter: Meter) -> Tee {
        let is_text = matches!(meter, Meter::Chat | Meter::Responses | Meter::Compactions | Meter::Completions);
        Tee { is_text, chunks: Vec::new(), bytes: 0, is_cut: false, pictures: 0 }
    }

    /// A chunk passes.
    pub(crate) fn take(&mut self, chunk: &Bytes) {
        if self.is_text && self.is_cut {
            return;
        }
        self.chunks.push(chunk.clone());
        self.bytes += chunk.len();
        self.is_cut |= self.bytes > if self.is_text { TEXT_BYTES_MAX } else { WHOLE_BYTES_MAX };
        if !self.is_cut {
            return;
        }
        if self.is_text {
            self.chunks = Vec::new();
        } else if self.bytes > 2 * TAIL_BYTES {
            let all = self.chunks.concat();
            let tail_at = all.len().saturating_sub(TAIL_BYTES);
            // One that lies across is in the tail only by its end, and is not found there again.
            self.pictures += pictures(&all).take_while(|at| *at < tail_at).count();
            let tail = Bytes::copy_from_slice(&all[tail_at..]);
            self.bytes = tail.len();
            self.chunks = vec![tail];
        }
    }

    /// The answer as JSON, or as much of it as says what was used; `None` when nothing does.
    pub(crate) fn json(&mut self) -> Option<Bytes> {
        let chunks = std::mem::take(&mut self.chunks);
        let whole = match <[Bytes; 1]>::try_from(chunks) {
            Ok([one]) => one,
            Err(chunks) => Bytes::from(chunks.concat()),
        };
        if !self.is_cut || whole.is_empty() {
            return Some(whole).filter(|whole| !whole.is_empty());
        }
        let data = vec!["0"; self.pictures + pictures(&whole).count()].join(",");
        Some(Bytes::from(match usage(&whole) {
            Some(usage) => format!("{{\"data\":[{data}],\"usage\":{usage}}}"),
            None => format!("{{\"data\":[{data}]}}"),
        }))
    }
}

/// Where pictures begin.
fn pictures(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memchr::memmem::find_iter(bytes, PICTURE)
}

/// The value of the last member that says what was used: `…, "usage": {…}}`.
fn usage(tail: &[u8]) -> Option<&str> {
    let at = memchr::memmem::rfind(tail, b"\"usage\"")?;
    let value = tail[at..].iter().position(|byte| *byte == b':')? + at + 1;
    let mut values = serde_json::Deserializer::from_slice(&tail[value..]).into_iter::<&serde_json::value::RawValue>();
    values.next()?.ok().map(serde_json::value::RawValue::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_gives_its_usage_all_the_same() {
        for length in [10, 2_000_000] {
            let body =
                format!(r#"{{"data":["{}"],"usage":{{"prompt_tokens":7,"total_tokens":7}}}}"#, "x".repeat(length));
            for size in [1_000, 300_000, body.len()] {
                let mut tee = Tee::new(Meter::Embeddings);
                body.as_bytes().chunks(size).for_each(|chunk| tee.take(&Bytes::copy_from_slice(chunk)));
                let used = super::super::used_of(Meter::Embeddings, &tee.json().expect("something"));
                assert!(used.has_usage && used.tokens == 7, "{length} {size}");
            }
        }
    }

    #[test]
    fn pictures_are_counted_however_they_are_cut() {
        let picture = format!(r#"{{"b64_json":"{}"}}"#, "x".repeat(700_000));
        let body = format!(r#"{{"created":1,"data":[{picture},{picture},{picture}]}}"#);
        for size in [997, 16 * 1024, 300_000, body.len()] {
            let mut tee = Tee::new(Meter::Images);
            body.as_bytes().chunks(size).for_each(|chunk| tee.take(&Bytes::copy_from_slice(chunk)));
            assert_eq!(super::super::used_of(Meter::Images, &tee.json().expect("something")).images, 3, "{size}");
        }
    }

    #[test]
    fn text_is_whole_or_says_nothing() {
        for (length, is_known) in [(2_000_000, true), (9_000_000, false)] {
            let body = format!(
                r#"{{"service_tier":"priority","x":"{}","usage":{{"prompt_tokens":7,"completion_tokens":1}}}}"#,
                "x".repeat(length)
            );
            let mut tee = Tee::new(Meter::Chat);
            body.as_bytes().chunks(100_000).for_each(|chunk| tee.take(&Bytes::copy_from_slice(chunk)));
            let used = tee.json().map(|json| super::super::used_of(Meter::Chat, &json));
            assert_eq!(used.map(|used| used.tier), is_known.then_some(Some(pricing::Tier::Priority)));
        }
    }
}
