//! The body that goes to the upstream: bytes in memory, or a multipart body that streams through while it is read
//! along.
//!
//! Promises: what streams is never held whole; its size and pauses are bounded; a body that turns out to be ambiguous
//! is broken off before its end, so that the upstream never acts on it, and the client is told why.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wire::refusal::Refusal;

use crate::body::{broken, too_large, too_slow};
use crate::form::Form;

/// What stopped a body that streams.
pub(crate) type Fault = Arc<OnceLock<Refusal>>;

/// A request body towards the upstream.
pub(crate) enum Sending {
    /// Bytes in memory.
    Whole(Bytes),
    /// A body that streams through.
    Through(Box<Through>),
}

impl Sending {
    /// The body, and a second one for another attempt where that is possible.
    pub(crate) fn with_spare(self) -> (Sending, Option<Bytes>) {
        match self {
            Sending::Whole(bytes) => (Sending::Whole(bytes.clone()), Some(bytes)),
            through @ Sending::Through(_) => (through, None),
        }
    }

    /// What streams, as it came, where nothing of it was sent yet.
    pub(crate) fn into_incoming(self) -> Option<Incoming> {
        match self {
            Sending::Whole(_) => None,
            Sending::Through(through) => Some(through.body),
        }
    }

    /// Where a streaming body says what stopped it.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Sending::Whole(_) => None,
            Sending::Through(through) => Some(Arc::clone(&through.fault)),
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        match self.get_mut() {
            Sending::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Sending::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Sending::Through(through) => through.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Sending::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Sending::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Sending::Through(through) => through.declared.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// A multipart body on its way through.
pub(crate) struct Through {
    body: Incoming,
    form: Form,
    declared: Option<u64>,
    passed: u64,
    bytes_max: u64,
    idle: std::time::Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    fault: Fault,
}

impl Through {
    /// Lets `body` stream, read along by `form`.
    pub(crate) fn new(
        body: Incoming,
        form: Form,
        declared: Option<u64>,
        bytes_max: u64,
        idle: std::time::Duration,
    ) -> Through {
        Through { body, form, declared, passed: 0, bytes_max, idle, sleep: None, fault: Fault::default() }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let result = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                let idle = self.idle;
                let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                std::task::ready!(sleep.as_mut().poll(cx));
                Err(too_slow(idle))
            }
            Poll::Ready(None) => match self.form.end() {
                Ok(()) => return Poll::Ready(None),
                Err(refusal) => Err(refusal),
            },
            Poll::Ready(Some(Err(error))) => Err(broken(&error)),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.pass(data),
                // Trailers of a request mean nothing to the API.
                Err(_) => Ok(Bytes::new()),
            },
        };
        Poll::Ready(Some(match result {
            Ok(data) => {
                if let Some(sleep) = &mut self.sleep {
                    sleep.as_mut().reset(Instant::now() + self.idle);
                }
                Ok(Frame::data(data))
            }
            Err(refusal) => Err(self.fault.get_or_init(|| refusal).clone()),
        }))
    }

    fn pass(&mut self, data: Bytes) -> Result<Bytes, Refusal> {
        self.passed += data.len() as u64;
        if self.passed > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        self.form.read(&data)?;
        Ok(data)
    }
}
