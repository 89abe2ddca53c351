//! The transformer reads what the cheap stages left, and the request gets its verdict.

use std::sync::Arc;

use injection::{Channel, Pending};
use store::{GuardMode, OnFailure};

use super::guards::score;
use super::look::{Looked, Spot, Unsure};
use super::pool::{Failure, Task};
use super::reading::Reading;
use super::tell::TOLD_MAX;
use super::verdict::{Placed, Verdict};
use super::{Case, OFF_THREAD_BYTES};

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
        let rank = |unsure: &Unsure| match &unsure.pending {
            Some(pending) if !unsure.was_read => pending.rank(),
            _ => f32::NEG_INFINITY,
        };
        let needs: Vec<(usize, f32)> = unsure.iter().map(|unsure| (unsure.windows, rank(unsure))).collect();
        let windows = share(gate.guards.limits.windows_max, &needs);
        let (mut tasks, mut order, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for ((at, unsure), windows) in unsure.iter_mut().enumerate().zip(windows) {
            let Some(pending) = unsure.pending.take() else { continue };
            let (threshold, bytes) = (score(unsure.threshold), unsure.bytes);
            unsure.is_unread = windows == 0;
            let by = if unsure.is_unread { "unread" } else { "read" };
            gate.metrics.guards.texts(unsure.spot.channel.as_str(), by, 1);
            if unsure.is_unread {
                rest.push((at, pending, threshold));
                continue;
            }
            let detector = Arc::clone(&self.detector);
            let read = Box::new(move || vec![Reading::read(&detector, &pending, threshold, windows)]);
            tasks.push(Task { bytes, read });
            order.push(at);
        }
        if !rest.is_empty() {
            order.extend(rest.iter().map(|(at, ..)| *at));
            let detector = Arc::clone(&self.detector);
            let bytes = rest.iter().map(|(_, pending, _)| pending.text().len()).sum();
            let read = move || {
                let read = |(_, pending, threshold): (usize, Pending<'_>, f32)| Reading {
                    partly: true,
                    ..Reading::read(&detector, &pending, threshold, 0)
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
        // What nobody read may be what would be refused. What was read is remembered, so that another try comes further.
        let is_unread = |unsure: &Unsure| unsure.is_unread && !unsure.was_read && blocks(unsure.spot.channel);
        let too_many = looked.unsure.iter().any(is_unread).then_some(Failure::Overloaded);
        let failure = looked.failure.or(readings.as_ref().err().copied()).or(too_many);
        let mut unsure: Vec<Option<Unsure>> = looked.unsure.drain(..).map(Some).collect();
        for (at, reading) in readings.unwrap_or_default() {
            let Some(unsure) = unsure.get_mut(at).and_then(Option::take) else { continue };
            let Unsure { spot, key, partly_key, is_unread, .. } = unsure;
            if !is_unread {
                self.gate.guards.memory.note(if reading.partly { partly_key } else { key }, reading.score);
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
            is_pending: false,
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

/// Shares windows among texts, of which each needs so many and ranks so high: each gets what it needs as long as no other
/// has less for it. Where there are more texts than windows, those that rank highest get one each.
fn share(windows_max: usize, needs: &[(usize, f32)]) -> Vec<usize> {
    let mut shares = vec![0; needs.len()];
    let mut chosen: Vec<usize> = (0..needs.len()).collect();
    chosen.sort_by(|a, b| needs[*b].1.total_cmp(&needs[*a].1));
    chosen.truncate(windows_max);
    chosen.sort_by_key(|at| needs[*at].0);
    let (mut left, mut texts) = (windows_max, chosen.len());
    for at in chosen {
        shares[at] = needs[at].0.max(1).min(left / texts);
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
        let alike = |needs: &[usize]| needs.iter().map(|need| (*need, 0.0)).collect::<Vec<_>>();
        assert_eq!(share(64, &alike(&[1, 10_000, 2])), [1, 61, 2]);
        assert_eq!(share(64, &alike(&[100, 1, 100])), [31, 1, 32]);
        assert_eq!(share(64, &[]), [0; 0]);
    }

    #[test]
    fn what_is_suspected_most_is_read_wherever_it_stands() {
        let ranks = [-3.0, 4.0, -1.0, f32::NEG_INFINITY, 0.5];
        assert_eq!(share(3, &ranks.map(|rank| (5, rank))), [0, 1, 1, 0, 1]);
    }

    proptest! {
        #[test]
        fn windows_are_shared_to_the_last(
            windows in 1..200_usize,
            needs in prop::collection::vec((1..300_usize, -9.0..9.0_f32), 0..300),
        ) {
            let shares = share(windows, &needs);
            let (given, needed): (usize, usize) = (shares.iter().sum(), needs.iter().map(|(need, _)| need).sum());
            prop_assert!(shares.iter().zip(&needs).all(|(share, (need, _))| share <= need));
            prop_assert!(given <= windows);
            prop_assert!(needs.len() > windows || given == windows.min(needed), "{} of {}", given, windows);
        }
    }
}
