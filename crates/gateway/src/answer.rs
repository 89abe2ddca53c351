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

use crate::passage::Passage;
use crate::record::{Ended, Record};

/// Ends a connection in the middle of an answer.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub(crate) struct Answer {
    source: Source,
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
        Answer { source: Source::Whole(Some(bytes.into())), record: None }
    }

    /// A body that comes from the upstream.
    pub(crate) fn passage(passage: Passage) -> Answer {
        Answer { source: Source::Upstream(Box::new(passage)), record: None }
    }

    /// Events of the embedded model.
    pub(crate) fn local(events: Pin<Box<dyn Stream<Item = Bytes> + Send>>, cut: Cut) -> Answer {
        Answer { source: Source::Local(Box::new(LocalEvents { events, cut, over: false })), record: None }
    }

    /// Ties the record to the body: from now on the body's end is the exchange's end.
    pub(crate) fn carry(mut self, record: Box<Record>) -> Answer {
        self.record = Some(record);
        self
    }

    fn note(&mut self, ended: Ended, refusal: Option<&Refusal>) {
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
                if let Some(record) = &mut this.record {
                    record.response_bytes += bytes.len() as u64;
                }
                // Where the length is known the library does not ask again after the last byte.
                if this.is_end_stream() {
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
    over: bool,
}

impl LocalEvents {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.over {
            return Poll::Ready(Step::End);
        }
        if !self.cut.is_due() {
            match Stream::poll_next(self.events.as_mut(), cx) {
                Poll::Ready(Some(bytes)) => return Poll::Ready(Step::Data(bytes)),
                Poll::Ready(None) => {
                    self.over = true;
                    return Poll::Ready(Step::End);
                }
                Poll::Pending => std::task::ready!(self.cut.poll(cx)),
            }
        }
        self.over = true;
        let refusal = revoked();
        Poll::Ready(Step::LastWords(Bytes::from(refusal.chat_event()), Ended::Revoked, Box::new(refusal)))
    }
}
