//! The transformer reads what the cheap stages left, and the request gets its verdict.

use std::sync::Arc;

use injection::Channel;
use store::{GuardMode, OnFailure};

use super::guards::score;
use super::look::{Looked, Spot, Unsure};
use super::pool::{Failure, Task};
use super::reading::Reading;
use super::tell::TOLD_MAX;
use super::verdict::{Placed, Verdict};
use super::{Case, OFF_THREAD_BYTES};

/// Bytes of text that a window of the transformer covers, roughly: 128 tokens, overlapping.
const WINDOW_BYTES: usize = 400;

/// What was read, and of which text.
type Read = (usize, Reading);

impl Case {
    /// Has the transformer read what is left, and rules.
    pub(super) async fn judge(self, mut looked: Looked) -> Verdict {
        let guards = &self.gate.guards;
        let (tasks, order) = self.tasks(&mut looked.unsure);
        let readings = match guards.pool.submit(&self.project.id, tasks) {
            Ok(awaited) => awaited.within(guards.limits.read_time_max).await,
            Err(failure) => Err(failure),
        };
        let readings = readings.map(|readings| order.into_iter().zip(readings).collect());
        self.ruled(looked, readings).await
    }

    /// What the threads are to read, and which text each reading is of. Texts for which there are no windows left are judged
    /// by the cheap stages alone, all in one.
    fn tasks(&self, unsure: &mut [Unsure]) -> (Vec<Task>, Vec<usize>) {
        let gate = &self.gate;
        let needs: Vec<usize> = unsure.iter().map(|unsure| 1 + unsure.text.len() / WINDOW_BYTES).collect();
        let windows = share(gate.guards.limits.windows_max, &needs);
        let (mut tasks, mut order, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for ((at, unsure), windows) in unsure.iter_mut().enumerate().zip(windows) {
            let (text, channel) = (std::mem::take(&mut unsure.text), unsure.spot.channel);
            let threshold = score(unsure.threshold);
            gate.metrics.guards.texts(channel.as_str(), if windows == 0 { "unread" } else { "read" }, 1);
            if windows == 0 {
                rest.push((at, text, channel, threshold));
                continue;
            }
            let (bytes, detector) = (text.len(), Arc::clone(&self.detector));
            let read = Box::new(move || vec![Reading::read(&detector, &text, channel, threshold, windows)]);
            tasks.push(Task { bytes, read });
            order.push(at);
        }
        if !rest.is_empty() {
            order.extend(rest.iter().map(|(at, ..)| *at));
            let detector = Arc::clone(&self.detector);
            let bytes = rest.iter().map(|(_, text, ..)| text.len()).sum();
            let read = move || {
                let read = |(_, text, channel, threshold): (usize, String, Channel, f32)| Reading {
                    partly: true,
                    ..Reading::read(&detector, &text, channel, threshold, 0)
                };
                rest.into_iter().map(read).collect()
            };
            tasks.push(Task { bytes, read: Box::new(read) });
        }
        (tasks, order)
    }

    /// What all of it comes to. Finding the places in a long body takes a while: then no other request waits for it.
    pub(super) async fn ruled(self, looked: Looked, readings: Result<Vec<Read>, Failure>) -> Verdict {
        let (length, failed) = (self.body.len(), self.fails(true));
        if length < OFF_THREAD_BYTES || looked.judged.is_empty() && readings.as_ref().is_ok_and(Vec::is_empty) {
            return self.rule(looked, readings);
        }
        let ruling = tokio::task::spawn_blocking(move || self.rule(looked, readings));
        ruling.await.unwrap_or(Verdict { failure: Some(Failure::Failed), fails_closed: failed, ..Verdict::default() })
    }

    /// Whether a request is refused that could not be judged, and has texts that may block or has not.
    fn fails(&self, may_block: bool) -> bool {
        may_block && self.project.guards.on_failure == OnFailure::Closed
    }

    /// What all of it comes to; tells it, and remembers what was read.
    fn rule(&self, mut looked: Looked, readings: Result<Vec<Read>, Failure>) -> Verdict {
        let blocks = |channel| self.mode(channel) == GuardMode::Block;
        let may_block = match looked.failure {
            // Nobody knows which texts there are.
            Some(_) => Channel::ALL.into_iter().any(blocks),
            None => looked.unsure.iter().any(|unsure| blocks(unsure.spot.channel)),
        };
        let failure = looked.failure.or(readings.as_ref().err().copied());
        let mut unsure: Vec<Option<Unsure>> = looked.unsure.drain(..).map(Some).collect();
        for (at, reading) in readings.unwrap_or_default() {
            let Some(Unsure { spot, key, .. }) = unsure.get_mut(at).and_then(Option::take) else { continue };
            if !reading.partly {
                self.gate.guards.memory.note(key, reading.score);
            }
            looked.note(spot, reading);
        }
        let partly = looked.judged.iter().any(|(_, reading)| reading.partly);
        looked.judged.retain(|(_, reading)| !reading.found.is_empty());
        // What is refused for comes first.
        looked.judged.sort_by_key(|(spot, _)| !blocks(spot.channel));
        let found =
            looked.judged.into_iter().enumerate().filter_map(|(at, (spot, reading))| self.placed(at, spot, reading));
        let verdict = Verdict {
            found: found.collect(),
            partly,
            media: looked.media,
            has_unread_parts: looked.has_unread_parts,
            unseen: looked.unseen,
            unknown: looked.unknown,
            unknown_more: looked.unknown_more,
            unmarked: looked.unmarked,
            failure,
            fails_closed: failure.is_some() && self.fails(may_block),
        };
        self.tell(&verdict);
        verdict
    }

    /// A text's best finding. Of a request with many only the first are looked up: each takes a walk through the body.
    fn placed(&self, at: usize, spot: Spot, reading: Reading) -> Option<Placed> {
        let (found, hash) = (reading.found.into_iter().next()?, reading.hash?);
        let place = match &spot.part {
            Some(part) => part.to_string(),
            None if at < TOLD_MAX => extract::place(&self.body, spot.at),
            None => String::new(),
        };
        let blocks = self.mode(spot.channel) == GuardMode::Block;
        Some(Placed { place, channel: spot.channel, hash, found, blocks })
    }
}

/// Shares windows among texts: each gets what it needs as long as no other has less for it. Where there are more texts
/// than windows, the newest get one each.
fn share(windows_max: usize, needs: &[usize]) -> Vec<usize> {
    let mut shares = vec![0; needs.len()];
    let first = needs.len().saturating_sub(windows_max);
    let mut by_need: Vec<usize> = (first..needs.len()).collect();
    by_need.sort_by_key(|at| needs[*at]);
    let (mut left, mut texts) = (windows_max, by_need.len());
    for at in by_need {
        shares[at] = needs[at].min(left / texts);
        left -= shares[at];
        texts -= 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_text_does_not_take_the_others_windows() {
        assert_eq!(share(64, &[1, 10_000, 2]), [1, 61, 2]);
        assert_eq!(share(64, &[100, 1, 100]), [31, 1, 32]);
        assert_eq!(share(3, &[5, 5, 5, 5, 5]), [0, 0, 1, 1, 1]);
        assert_eq!(share(64, &[]), [0; 0]);
    }

    proptest! {
        #[test]
        fn windows_are_shared_to_the_last(windows in 1..200_usize, needs in prop::collection::vec(1..300_usize, 0..300)) {
            let shares = share(windows, &needs);
            let (given, needed): (usize, usize) = (shares.iter().sum(), needs.iter().sum());
            prop_assert!(shares.iter().zip(&needs).all(|(share, need)| share <= need));
            prop_assert!(given <= windows);
            prop_assert!(needs.len() > windows || given == windows.min(needed), "{} of {}", given, windows);
        }
    }
}
