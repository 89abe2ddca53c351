//! Keeps an answer that passes, so that its usage can be read at the end.
//!
//! Bounded: an answer up to [`WHOLE_BYTES_MAX`] is kept whole (its chunks are shared, not copied); of a longer one, which
//! is pictures or vectors, only the last bytes, where the API puts the usage.

use bytes::Bytes;

/// Longest answer kept whole.
const WHOLE_BYTES_MAX: usize = 1024 * 1024;
/// What is kept of a longer one.
const TAIL_BYTES: usize = 16 * 1024;

/// The chunks so far.
#[derive(Debug, Default)]
pub(crate) struct Tee {
    chunks: Vec<Bytes>,
    bytes: usize,
    is_cut: bool,
}

impl Tee {
    /// A chunk passes.
    pub(crate) fn take(&mut self, chunk: &Bytes) {
        self.chunks.push(chunk.clone());
        self.bytes += chunk.len();
        if self.bytes > WHOLE_BYTES_MAX {
            self.is_cut = true;
        }
        if self.is_cut && self.bytes > 2 * TAIL_BYTES {
            let all = self.chunks.concat();
            let tail = Bytes::copy_from_slice(&all[all.len().saturating_sub(TAIL_BYTES)..]);
            self.bytes = tail.len();
            self.chunks = vec![tail];
        }
    }

    /// The answer as JSON, or as much of its end as says what was used; `None` when nothing came.
    pub(crate) fn json(&mut self) -> Option<Bytes> {
        let chunks = std::mem::take(&mut self.chunks);
        let whole = match <[Bytes; 1]>::try_from(chunks) {
            Ok([one]) => one,
            Err(chunks) => Bytes::from(chunks.concat()),
        };
        if !self.is_cut {
            return Some(whole).filter(|whole| !whole.is_empty());
        }
        // `…, "usage": {…}}`: the last member of that name, as a document of its own.
        let at = memchr::memmem::rfind(&whole, b"\"usage\"")?;
        let value = whole[at..].iter().position(|byte| *byte == b':')? + at + 1;
        let mut values =
            serde_json::Deserializer::from_slice(&whole[value..]).into_iter::<&serde_json::value::RawValue>();
        let usage = values.next()?.ok()?;
        Some(Bytes::from(format!("{{\"usage\":{}}}", usage.get())))
    }
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
                let mut tee = Tee::default();
                body.as_bytes().chunks(size).for_each(|chunk| tee.take(&Bytes::copy_from_slice(chunk)));
                let used = super::super::used_of(wire::endpoint::Meter::Embeddings, &tee.json().expect("something"));
                assert!(used.has_usage && used.tokens == 7, "{length} {size}");
            }
        }
    }
}
