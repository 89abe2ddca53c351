//! The body of every answer, with what must happen at its end riding on it.
//!
//! Promise: the record is written and everything held is released when the body ends or is dropped, whichever way. What
//! comes from the upstream is a [`Passage`]; the embedded model's events and whole bodies are here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use store::KeyEntry;
use wire::refusal::{Reason, Refusal};

use crate::idempotency::Keeping;
use crate::passage::Passage;
use crate::read_on;
use crate::record::{Ended, Record};
use crate::settle::{End, Settling};

/// Ends a connection in the middle of an answer.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub(crate) struct Answer {
    source: Source,
    /// Keeps what passes, where the request had an `Idempotency-Key`.
    keeping: Option<Box<Keeping>>,
    record: Option<Box<Record>>,
}

enum Source {
    Whole(Option<Bytes>),
    Upstream(Box<Passage>),
    Local(Box<LocalEvents>),
}

impl Answer {
    /// A body that is there already.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Answer {
        Answer::of(Source::Whole(Some(bytes.into())))
    }

    /// A body that comes from the upstream.
    pub(crate) fn passage(passage: Passage) -> Answer {
        Answer::of(Source::Upstream(Box::new(passage)))
    }

    /// Events of the embedded model.
    pub(crate) fn local(
        events: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
        cut: Cut,
        settling: Option<Box<Settling>>,
    ) -> Answer {
        Answer::of(Source::Local(Box::new(LocalEvents { events, cut, settling, over: false })))
    }

    fn of(source: Source) -> Answer {
        Answer { source, keeping: None, record: None }
    }

    /// Has what passes kept.
    pub(crate) fn keep(mut self, keeping: Box<Keeping>) -> Answer {
        self.keeping = Some(keeping);
        self
    }

    /// Waits for the first bytes, so that what is wrong with them can still be said with a status.
    ///
    /// # Errors
    /// When the body cannot be passed on.
    pub(crate) async fn begin(&mut self) -> Result<(), Refusal> {
        match &mut self.source {
            Source::Upstream(passage) => passage.begin().await,
            Source::Whole(_) | Source::Local(_) => Ok(()),
        }
    }

    /// Ties the record to the body: from now on the body's end is the exchange's end.
    pub(crate) fn carry(mut self, record: Box<Record>) -> Answer {
        self.record = Some(record);
        self
    }

    /// Whether the answer is not one to be given again.
    fn has_failed(&self) -> bool {
        matches!(&self.source, Source::Upstream(passage) if passage.has_failed)
    }

    fn note(&mut self, ended: Ended, refusal: Option<&Refusal>) {
        match self.keeping.take() {
            Some(keeping) if ended == Ended::Complete && !self.has_failed() => keeping.done(),
            _ => {}
        }
        if let Some(mut record) = self.record.take() {
            record.ended = ended;
            if let Some(refusal) = refusal {
                record.refused(refusal);
            }
        }
    }
}

/// What a source gives at a poll.
pub(crate) enum Step {
    Data(Bytes),
    End,
    /// The last words of a stream that could not go on.
    LastWords(Bytes, Ended, Box<Refusal>),
    /// An answer that can only be broken off.
    Break(Ended, Box<Refusal>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let step = match &mut this.source {
            Source::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map_or(Step::End, Step::Data))
            }
            Source::Upstream(passage) => passage.poll_step(cx),
            Source::Local(events) => events.poll_step(cx),
        };
        let Poll::Ready(step) = step else { return Poll::Pending };
        let frame = match step {
            Step::Data(bytes) => {
                this.keeping.iter_mut().for_each(|keeping| keeping.take(&bytes));
                if let Some(record) = &mut this.record {
                    record.response_bytes += bytes.len() as u64;
                }
                // Where the length is known the library does not ask again after the last byte.
                if this.is_end_stream() {
                    if let Source::Upstream(passage) = &mut this.source {
                        passage.is_handed_over();
                    }
                    this.note(Ended::Complete, None);
                }
                Some(Ok(Frame::data(bytes)))
            }
            Step::End => {
                this.note(Ended::Complete, None);
                None
            }
            Step::LastWords(bytes, ended, refusal) => {
                this.note(ended, Some(&refusal));
                Some(Ok(Frame::data(bytes)))
            }
            Step::Break(ended, refusal) => {
                this.note(ended, Some(&refusal));
                Some(Err(refusal as Broken))
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Upstream(passage) => passage.is_over(),
            Source::Local(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Upstream(_) | Source::Local(_) => SizeHint::default(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // An empty body is complete without ever being asked for.
        if matches!(&self.source, Source::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty)) {
            self.note(Ended::Complete, None);
        }
        // A client that left does not end the spending.
        let keeping = self.keeping.take();
        match std::mem::replace(&mut self.source, Source::Whole(None)) {
            Source::Upstream(mut passage) => {
                if let Some(permit) = read_on::permit(passage.settling.as_deref()) {
                    read_on::to_the_end(permit, keeping, move |cx| passage.poll_step(cx));
                }
            }
            Source::Local(mut events) => {
                if let Some(permit) = read_on::permit(events.settling.as_deref()) {
                    read_on::to_the_end(permit, keeping, move |cx| events.poll_step(cx));
                }
            }
            Source::Whole(bytes) => {
                if let (Some(mut keeping), Some(bytes)) = (keeping, bytes) {
                    keeping.take(&bytes);
                    keeping.done();
                }
            }
        }
    }
}

/// Ends an answer early: when its key is revoked.
pub(crate) struct Cut {
    key: Arc<KeyEntry>,
    /// Made at the first wait: answers that never wait pay nothing.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Cut {
    pub(crate) fn new(key: Arc<KeyEntry>) -> Cut {
        Cut { key, waiting: None }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.key.revocation.is_revoked()
    }

    /// Wakes the task when the key is revoked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = self.waiting.get_or_insert_with(|| {
            let key = Arc::clone(&self.key);
            Box::pin(async move { key.revocation.revoked().await })
        });
        waiting.as_mut().poll(cx)
    }
}

/// The refusal that ends an answer whose key was revoked.
pub(crate) fn revoked() -> Refusal {
    Refusal::new(Reason::RevokedKey, "This API key was revoked while the answer was running. Use another key.")
}

/// The embedded model's events.
struct LocalEvents {
    events: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    cut: Cut,
    settling: Option<Box<Settling>>,
    over: bool,
}

impl LocalEvents {
    fn settle(&mut self, end: End) {
        self.over = true;
        if let Some(mut settling) = self.settling.take() {
            settling.end(end);
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.over {
            return Poll::Ready(Step::End);
        }
        while !self.cut.is_due() {
            match Stream::poll_next(self.events.as_mut(), cx) {
                Poll::Ready(Some(bytes)) => {
                    let bytes = match &mut self.settling {
                        Some(settling) => settling.events(bytes),
                        None => bytes,
                    };
                    if !bytes.is_empty() {
                        return Poll::Ready(Step::Data(bytes));
                    }
                }
                Poll::Ready(None) => {
                    self.settle(End::Whole);
                    return Poll::Ready(Step::End);
                }
                Poll::Pending => std::task::ready!(self.cut.poll(cx)),
            }
        }
        self.settle(End::Broken);
        let refusal = revoked();
        Poll::Ready(Step::LastWords(Bytes::from(refusal.chat_event()), Ended::Revoked, Box::new(refusal)))
    }
}
