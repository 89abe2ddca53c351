//! An upstream's body on its way to the client.
//!
//! Promises: a stream of events passes event by event, never half a one; an upstream that breaks, stalls or is cut off
//! ends a client's event stream with an error event in the API's shape, and any other answer with a broken connection,
//! so that nobody takes a part for the whole; the upstream's connection is used again only if its answer was read to
//! the end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use wire::endpoint::ErrorEvent;
use wire::refusal::{Reason, Refusal};
use wire::sse::Boundary;

use crate::answer::{Cut, Step, revoked};
use crate::decode::{DecodeError, Decoder};
use crate::own::EventIds;
use crate::pace::{Gathered, Idle, Wait};
use crate::pool::Lease;
use crate::record::Ended;
use crate::settle::{End, Settling};
use crate::upstream::chain;
use crate::upstreams::InUse;
use crate::withhold::Withhold;

fn broke_off() -> Refusal {
    let public = "The upstream's answer broke off before its end. What came before is incomplete; retry.";
    Refusal::new(Reason::UpstreamBroken, public)
}

/// An upstream's body on its way to the client.
pub(crate) struct Passage {
    /// `None` once nothing more of it is wanted.
    pub(crate) body: Option<Incoming>,
    /// The connection that the body comes on.
    pub(crate) lease: Option<Lease>,
    /// Counts the request as one under way with its upstream key, to the answer's end.
    pub(crate) _in_use: Option<InUse>,
    pub(crate) decoder: Option<Decoder>,
    pub(crate) withhold: Option<Withhold>,
    /// Present for `text/event-stream`.
    pub(crate) events: Option<Events>,
    pub(crate) cut: Cut,
    pub(crate) idle: Idle,
    /// The money of a successful metered call, until its end.
    pub(crate) settling: Option<Box<Settling>>,
    /// Whether the call ended without saying what it used: it failed, whatever its status says.
    pub(crate) has_failed: bool,
    /// What is ready to go out.
    pub(crate) ready: Option<Bytes>,
    pub(crate) state: State,
}

/// Where a passage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The upstream is being read.
    Flowing,
    /// The upstream ended well; what is ready goes out, then the end.
    Finishing,
    /// Nothing follows.
    Over,
}

/// What a stream of events needs.
pub(crate) struct Events {
    pub(crate) boundary: Boundary,
    pub(crate) ids: Option<EventIds>,
    pub(crate) error_event: ErrorEvent,
    /// The last event passed on: its sequence number is looked for only if the stream breaks.
    pub(crate) last: Bytes,
    /// Events that came in one go and leave in one go.
    pub(crate) gathered: Gathered,
    /// The last words that this stream must have ended with, where the upstream's framing cannot tell an end from a
    /// loss (a body that is delimited by the connection's close).
    pub(crate) must_end_with: &'static [&'static str],
}

impl Drop for Passage {
    /// A body that was read to its end leaves a connection that can be used again; any other closes it.
    fn drop(&mut self) {
        let is_read = self.state == State::Finishing || self.is_body_read();
        if let Some(lease) = self.lease.take().filter(|_| is_read) {
            lease.give_back();
        }
    }
}

impl Passage {
    /// Waits for the first bytes, so that what is wrong with them can still be said with a status.
    ///
    /// # Errors
    /// When the body cannot be passed on.
    pub(crate) async fn begin(&mut self) -> Result<(), Refusal> {
        match std::future::poll_fn(|cx| self.poll_step(cx)).await {
            Step::Data(bytes) => {
                self.ready = Some(bytes);
                Ok(())
            }
            Step::End => Ok(()),
            Step::LastWords(_, _, refusal) | Step::Break(_, refusal) => Err(*refusal),
        }
    }

    /// Whether nothing follows: known without asking where the upstream gave a length.
    pub(crate) fn is_over(&self) -> bool {
        let is_drained = || {
            let holds_back = self.events.is_some() || self.decoder.is_some();
            let holds_tail = self.withhold.as_ref().is_some_and(Withhold::is_holding);
            !holds_back && !holds_tail && self.is_body_read()
        };
        self.ready.is_none() && (self.state != State::Flowing || is_drained())
    }

    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(bytes) = self.ready.take() {
                match &mut self.events {
                    Some(events) if events.gathered.takes(&bytes) => events.gathered.add(bytes),
                    _ => return Poll::Ready(Step::Data(self.with_gathered(bytes))),
                }
            }
            match self.state {
                State::Flowing => {}
                State::Finishing | State::Over => {
                    let rest = self.with_gathered(Bytes::new());
                    return Poll::Ready(if rest.is_empty() { Step::End } else { Step::Data(rest) });
                }
            }
            if self.cut.is_due() {
                return Poll::Ready(self.stop(Ended::Revoked, revoked()));
            }
            let Some(body) = &mut self.body else {
                self.state = State::Over;
                continue;
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    self.idle.progress();
                    if let Err((ended, refusal)) = self.take_chunk(chunk) {
                        return Poll::Ready(self.stop(ended, *refusal));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(self.stop(Ended::UpstreamBroke, broke_off().cause(chain(&error))));
                }
                Poll::Ready(None) => match self.finish() {
                    Ok(()) => self.state = State::Finishing,
                    Err((ended, refusal)) => return Poll::Ready(self.stop(ended, *refusal)),
                },
                Poll::Pending => {
                    match self.events.as_mut().map(|events| events.gathered.wait(cx)) {
                        Some(Wait::Once) => return Poll::Pending,
                        Some(Wait::NoMore) => return Poll::Ready(Step::Data(self.with_gathered(Bytes::new()))),
                        Some(Wait::Nothing) | None => {}
                    }
                    if self.cut.poll(cx).is_ready() {
                        continue;
                    }
                    std::task::ready!(self.idle.poll(cx));
                    let seconds = self.idle.limit.as_secs();
                    let public =
                        format!("The upstream sent nothing for {seconds} seconds in the middle of its answer. Retry.");
                    let refusal = Refusal::new(Reason::UpstreamTimeout, public);
                    return Poll::Ready(self.stop(Ended::UpstreamBroke, refusal));
                }
            }
        }
    }

    fn is_body_read(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    /// Runs a chunk through decoding, the watch for our own key, and the cut into whole events.
    fn take_chunk(&mut self, chunk: Bytes) -> Result<(), (Ended, Box<Refusal>)> {
        let chunk = match &mut self.decoder {
            Some(decoder) => Bytes::from(decoder.feed(&chunk).map_err(undecodable)?),
            None => chunk,
        };
        let chunk = match &mut self.withhold {
            Some(withhold) => withhold.feed(chunk).map_err(|_| (Ended::Withheld, Box::new(held_our_key())))?,
            None => chunk,
        };
        let chunk = match &mut self.events {
            Some(events) => {
                let whole = events.pass(chunk)?;
                self.settling.as_mut().map_or_else(|| whole.clone(), |settling| settling.events(whole.clone()))
            }
            None => {
                self.settling.iter_mut().for_each(|settling| settling.piece(&chunk));
                chunk
            }
        };
        self.ready = Some(chunk).filter(|chunk| !chunk.is_empty());
        if self.settling.as_ref().is_some_and(|settling| settling.is_cut()) {
            // Dropped, the connection closes, and the upstream stops.
            (self.body, self.lease, self.state) = (None, None, State::Over);
            self.settle(End::Cut);
        }
        Ok(())
    }

    /// The upstream's clean end: what was held back passes.
    fn finish(&mut self) -> Result<(), (Ended, Box<Refusal>)> {
        let mut rest = match self.decoder.take() {
            Some(decoder) => Bytes::from(decoder.finish().map_err(undecodable)?),
            None => Bytes::new(),
        };
        if let Some(withhold) = &mut self.withhold {
            let passed = withhold.feed(rest).map_err(|_| (Ended::Withheld, Box::new(held_our_key())))?;
            rest = join(passed, withhold.finish());
        }
        if let Some(events) = &mut self.events {
            let passed = events.pass(rest)?;
            rest = join(passed, events.boundary.finish());
            if let Some(settling) = &mut self.settling {
                rest = settling.events(rest);
            }
            events.check_end()?;
        } else {
            self.settling.iter_mut().for_each(|settling| settling.piece(&rest));
        }
        self.settle(End::Whole);
        self.ready = Some(rest).filter(|rest| !rest.is_empty());
        Ok(())
    }

    /// The end of what is charged for.
    pub(crate) fn settle(&mut self, end: End) {
        if let Some(mut settling) = self.settling.take() {
            self.has_failed = !settling.end(end);
        }
    }

    /// The last byte went out and nobody will ask again: the upstream gave a length.
    pub(crate) fn is_handed_over(&mut self) {
        if self.state == State::Flowing {
            self.settle(End::Whole);
        }
    }

    /// What was gathered, and then `bytes`.
    fn with_gathered(&mut self, bytes: Bytes) -> Bytes {
        match &mut self.events {
            Some(events) => events.gathered.take_with(bytes),
            None => bytes,
        }
    }

    /// Ends the answer before its end.
    fn stop(&mut self, ended: Ended, refusal: Refusal) -> Step {
        self.state = State::Over;
        self.settle(End::Broken);
        match &self.events {
            Some(events) => {
                let words = Bytes::from(events.last_words(&refusal));
                Step::LastWords(self.with_gathered(words), ended, Box::new(refusal))
            }
            None => Step::Break(ended, Box::new(refusal)),
        }
    }
}

fn join(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (_, true) => first,
        (true, false) => second,
        (false, false) => [first, second].concat().into(),
    }
}

impl Events {
    fn pass(&mut self, chunk: Bytes) -> Result<Bytes, (Ended, Box<Refusal>)> {
        let whole = self.boundary.push(chunk).map_err(|error| {
            let public =
                "The upstream sent an event over the gate's limit. Ask its operator to raise limits.event_bytes_max.";
            (Ended::Withheld, Box::new(Refusal::new(Reason::UpstreamBroken, public).cause(error)))
        })?;
        if !whole.is_empty() {
            if let Some(ids) = &mut self.ids
                && ids.watch(&whole)
            {
                self.ids = None;
            }
            self.last = whole.clone();
        }
        Ok(whole)
    }

    /// A stream that only the closed connection delimits is whole if its last event is a last event.
    fn check_end(&self) -> Result<(), (Ended, Box<Refusal>)> {
        let ends = |end: &&str| memchr::memmem::find(&self.last, end.as_bytes()).is_some();
        if self.must_end_with.is_empty() || self.must_end_with.iter().any(ends) {
            return Ok(());
        }
        Err((Ended::UpstreamBroke, Box::new(broke_off())))
    }

    fn last_words(&self, refusal: &Refusal) -> String {
        match self.error_event {
            ErrorEvent::Data => refusal.chat_event(),
            ErrorEvent::Typed => refusal.responses_event(next_sequence_number(&self.last)),
        }
    }
}

/// One more than the last `sequence_number` in these events, 0 when there is none.
fn next_sequence_number(events: &[u8]) -> u64 {
    const NAME: &[u8] = b"\"sequence_number\":";
    let Some(at) = memchr::memmem::rfind(events, NAME) else { return 0 };
    let digits = events[at + NAME.len()..].iter().skip_while(|byte| byte.is_ascii_whitespace());
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    digits
        .fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
        .saturating_add(1)
}

fn undecodable(error: DecodeError) -> (Ended, Box<Refusal>) {
    let public = "The upstream's answer was compressed although the gate asked for plain text, and could not be decoded within its limit.";
    (Ended::Withheld, Box::new(Refusal::new(Reason::UpstreamBroken, public).cause(error)))
}

/// The refusal in place of an answer that holds the gate's own key.
pub(crate) fn held_our_key() -> Refusal {
    let public =
        "The upstream's answer contained the gate's own credentials and was withheld. Tell the gate's operator.";
    Refusal::new(Reason::UpstreamSecretWithheld, public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_goes_on_after_the_last_event() {
        assert_eq!(next_sequence_number(b"data: {\"sequence_number\":7}\n\ndata: {\"sequence_number\": 12}\n\n"), 13);
        assert_eq!(next_sequence_number(b"data: {}\n\n"), 0);
        assert_eq!(next_sequence_number(b"data: {\"sequence_number\":99999999999999999999999}\n\n"), u64::MAX);
    }
}
