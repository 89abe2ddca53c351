//! The transformer reads what the cheap stages left, and the request gets its verdict.

use std::sync::Arc;

use injection::{Channel, Pending};
use store::{OnFailure, OnUnread};

use super::Case;
use super::choose::WINDOW_COST;
use super::guards::score;
use super::looked::{Chosen, Looked, Spot};
use super::pool::{Failure, Readings, Task};
use super::reading::Reading;
use super::remember::Known;
use super::tell::TOLD_MAX;
use super::turns::OFF_THREAD_BYTES;
use super::verdict::{Placed, Verdict};
use crate::metrics::By;

/// A text on its way to the threads, with its threshold and its windows.
type Asked = (Pending<'static>, f32, usize);

impl Case {
    /// Has the transformer read what was chosen, and rules.
    pub(super) async fn judge(self, mut looked: Looked) -> Verdict {
        let guards = &self.gate.guards;
        let readings = match guards.pool.submit(&self.project.id, self.tasks(&mut looked.chosen)) {
            Ok(awaited) => awaited.within(guards.limits.read_time_max).await,
            Err(failure) => failure.into(),
        };
        self.ruled(looked, readings).await
    }

    /// What the threads are to read. Short texts go together, about a window in a task, so that a request takes as many
    /// places in the queue as it may have windows read.
    fn tasks(&self, chosen: &mut [Chosen]) -> Vec<Task> {
        let (mut tasks, mut texts, mut cost) = (Vec::new(), Vec::new(), 0);
        for text in chosen {
            let Some(pending) = text.pending.take() else { continue };
            text.task = tasks.len();
            cost += text.cost;
            texts.push((pending, score(text.threshold), text.windows));
            if cost >= WINDOW_COST {
                tasks.push(self.task(std::mem::take(&mut texts)));
                cost = 0;
            }
        }
        if !texts.is_empty() {
            tasks.push(self.task(texts));
        }
        tasks
    }

    fn task(&self, texts: Vec<Asked>) -> Task {
        let detector = Arc::clone(&self.detector);
        let bytes = texts.iter().map(|(pending, ..)| pending.text().len()).sum();
        let read = move |(pending, threshold, windows): &Asked| Reading::read(&detector, pending, *threshold, *windows);
        Task { bytes, read: Box::new(move || texts.iter().map(read).collect()) }
    }

    /// What all of it comes to. Finding the places in a long body takes a while: then no other request waits for it.
    pub(super) async fn ruled(self, looked: Looked, readings: Readings) -> Verdict {
        let (length, failed) = (self.body.len(), self.fails(true));
        if length < OFF_THREAD_BYTES || looked.judged.is_empty() && readings.read.is_empty() {
            return self.rule(looked, readings);
        }
        let ruling = tokio::task::spawn_blocking(move || self.rule(looked, readings));
        ruling.await.unwrap_or(Verdict { failure: Some(Failure::Failed), fails_closed: failed, ..Verdict::default() })
    }

    /// Whether a request is refused that could not be judged, and has texts that may block or has not.
    fn fails(&self, may_block: bool) -> bool {
        may_block && self.project.guards.on_failure == OnFailure::Closed
    }

    /// Whether something was left unread that the project does not let pass so, and whether another try may read it.
    pub(super) fn lacks(&self, looked: &Looked) -> Option<Failure> {
        if self.project.guards.on_unread == OnUnread::Open {
            return None;
        }
        let is_left = |channel: &Channel| self.blocks_in(*channel) && looked.is_left(*channel);
        let mut left = Channel::ALL.into_iter().filter(is_left).peekable();
        left.peek()?;
        let is_in_vain = left.any(|channel| looked.too_long[channel as usize]);
        Some(if is_in_vain { Failure::TooLong } else { Failure::Unread })
    }

    /// Whether the project refuses what is found in any channel.
    pub(super) fn blocks_anywhere(&self) -> bool {
        Channel::ALL.into_iter().any(|channel| self.blocks_in(channel))
    }

    /// What all of it comes to; tells it, and remembers what was read.
    fn rule(&self, mut looked: Looked, readings: Readings) -> Verdict {
        let is_unjudged = self.take(&mut looked, readings.read);
        let lacks = self.lacks(&looked);
        let failure = looked.failure.or(readings.failure).or(lacks);
        let may_block = match looked.failure {
            // Nobody knows which texts there are.
            Some(_) => self.blocks_anywhere(),
            // What was left out because there is too much of it is no failure: the cheap stages' word stands.
            None => is_unjudged,
        };
        // It is none where the project lets such forms pass.
        let is_form = looked.failure == Some(Failure::Form);
        let plain = looked.plain();
        looked.leave_repeated();
        // What is refused for comes first.
        looked.judged.sort_by_key(|(spot, _)| (!self.blocks_in(spot.channel), spot.at));
        let found =
            looked.judged.into_iter().enumerate().filter_map(|(at, (spot, reading))| self.placed(at, spot, reading));
        let verdict = Verdict {
            found: found.collect(),
            media: looked.media,
            unknown: looked.unknown,
            failure,
            fails_closed: is_form || lacks.is_some() || failure.is_some() && self.fails(may_block),
            ..plain
        };
        self.tell(&verdict, &looked.found);
        verdict
    }

    /// Takes in what was read, and remembers it; whether something that may block was to be read and was not.
    fn take(&self, looked: &mut Looked, read: Vec<Vec<Reading>>) -> bool {
        let metrics = &self.gate.metrics.guards;
        let mut tasks: Vec<_> = read.into_iter().map(Vec::into_iter).collect();
        let (mut unread, mut is_unjudged) = (looked.unread, false);
        for Chosen { spot, key, noted, task, .. } in std::mem::take(&mut looked.chosen) {
            let Some(reading) = tasks.get_mut(task).and_then(Iterator::next) else {
                unread[spot.channel as usize] += 1;
                is_unjudged |= self.blocks_in(spot.channel);
                continue;
            };
            metrics.texts(spot.channel, if reading.partly { By::Partly } else { By::Read }, 1);
            self.gate.guards.remember(key, Known::read(&reading, noted));
            looked.too_long[spot.channel as usize] |= reading.partly && noted >= self.windows_max();
            looked.note(spot, reading);
        }
        for (channel, unread) in Channel::ALL.into_iter().zip(unread) {
            metrics.texts(channel, By::Unread, unread as u64);
        }
        is_unjudged
    }

    /// A text's best finding. Of a request with many only the first are looked up: each takes a walk through the body.
    fn placed(&self, at: usize, spot: Spot, reading: Reading) -> Option<Placed> {
        let (found, hash) = (reading.found.into_iter().next()?, reading.hash?);
        let (begins, found) = spot.placed(found);
        let place = match &spot.part {
            Some(part) => part.to_string(),
            None if at < TOLD_MAX => extract::place(&self.body, begins),
            None => String::new(),
        };
        let blocks = self.blocks_in(spot.channel);
        Some(Placed { place, channel: spot.channel, hash, found, blocks })
    }
}
