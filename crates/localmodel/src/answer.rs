//! From the engine's progress to what the caller gets: one JSON document, or a stream of events.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use crate::refusal::LocalRefusal;
use crate::sequence::Progress;

/// The model's answer.
#[derive(Debug)]
pub enum Answer {
    /// A whole JSON document.
    Json(Bytes),
    /// Server-sent events, as they are made.
    Events(EventStream),
}

/// What makes one answer that answer.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The part of its ids that is its own.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) created: u64,
}

/// An endpoint's shapes.
pub(crate) trait Render: Send {
    /// Appends the whole events that say `progress`; none for some.
    fn events(&mut self, progress: Progress, out: &mut String);
    /// Appends the event that says that the engine is gone.
    fn broken(&mut self, refusal: &LocalRefusal, out: &mut String);
    /// Takes in `progress`, and gives the whole answer with the last one.
    fn collect(&mut self, progress: Progress) -> Option<Value>;
}

/// Server-sent events: each item is one or more whole events. Dropping the stream ends the generation.
pub struct EventStream {
    progress: Receiver<Progress>,
    render: Box<dyn Render>,
    /// The engine's first word, which [`EventStream::begin`] waited for.
    first: Option<Progress>,
    over: bool,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventStream").field("over", &self.over).finish_non_exhaustive()
    }
}

impl EventStream {
    /// Waits until the engine has taken up the request, so that a refusal is still an answer of its own.
    pub(crate) async fn begin(
        mut progress: Receiver<Progress>,
        render: Box<dyn Render>,
    ) -> Result<EventStream, LocalRefusal> {
        match progress.recv().await {
            Some(Progress::Refused(refusal)) => Err(refusal),
            None => Err(LocalRefusal::unavailable()),
            first => Ok(EventStream { progress, render, first, over: false }),
        }
    }
}

impl Stream for EventStream {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let stream = self.get_mut();
        let mut events = String::new();
        while !stream.over && events.is_empty() {
            let next = match stream.first.take() {
                Some(first) => Some(first),
                None => std::task::ready!(stream.progress.poll_recv(context)),
            };
            match next {
                Some(progress) => {
                    stream.over = matches!(progress, Progress::Done { .. });
                    stream.render.events(progress, &mut events);
                }
                None => {
                    stream.over = true;
                    stream.render.broken(&LocalRefusal::unavailable(), &mut events);
                }
            }
        }
        Poll::Ready(if events.is_empty() { None } else { Some(events.into()) })
    }
}

/// Waits for the whole answer.
pub(crate) async fn whole(
    mut progress: Receiver<Progress>,
    mut render: Box<dyn Render>,
) -> Result<Bytes, LocalRefusal> {
    while let Some(next) = progress.recv().await {
        if let Progress::Refused(refusal) = next {
            return Err(refusal);
        }
        if let Some(json) = render.collect(next) {
            return Ok(json.to_string().into());
        }
    }
    Err(LocalRefusal::unavailable())
}
