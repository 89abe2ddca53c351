//! Request bodies in memory: read within a size, within a time, within a budget for the whole process.
//!
//! Promises: a body over its limit is refused at the first byte too many, or from its declared length before any
//! byte; memory is paid for before it is used; a slow sender is told so. A length that lies costs nothing, because
//! memory follows what arrives, not what was announced.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use wire::refusal::{Reason, Refusal};

use crate::settings::Timeouts;
use crate::socket::ExchangeInFlight;

/// First allocation for a body that comes in several pieces, at most.
const FIRST_ALLOCATION_BYTES: u64 = 256 * 1024;

/// Memory for bodies, counted over the whole process.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    used: AtomicU64,
    bytes_max: u64,
}

impl BodyBudget {
    pub(crate) fn new(bytes_max: u64) -> Arc<BodyBudget> {
        Arc::new(BodyBudget { used: AtomicU64::new(0), bytes_max })
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// An empty share, to be grown.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }
}

/// A part of the budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl Share {
    /// Grows the share to `bytes` in all.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.budget.used.fetch_add(more, Relaxed);
        if before.saturating_add(more) > self.budget.bytes_max {
            self.budget.used.fetch_sub(more, Relaxed);
            let words = "The gate holds too many request bodies in memory right now. Retry shortly.";
            return Err(Refusal::new(Reason::Overloaded, words).retry_after_ms(1_000));
        }
        self.bytes += more;
        Ok(())
    }

    /// Grows the share by `bytes`.
    pub(crate) fn grow_by(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.grow_to(self.bytes.saturating_add(bytes))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}

/// How much of a refused body is read away: somewhat more than the largest JSON body.
const LINGER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// And how long.
const LINGER_TIME_MAX: Duration = Duration::from_secs(10);

/// Reads a refused body away, within bounds. Closing a connection with unread bytes resets it, and the client would
/// lose the very answer that says what is wrong.
pub(crate) async fn linger<B>(body: B, _in_flight: ExchangeInFlight)
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let mut body = pin!(body);
    let read = async {
        let mut length = 0;
        while length < LINGER_BYTES_MAX
            && let Ok(Some(data)) = next_data(&mut body, LINGER_TIME_MAX).await
        {
            length += data.len() as u64;
        }
    };
    // Out of time or not: the rest is the client's loss.
    let _ = tokio::time::timeout(LINGER_TIME_MAX, read).await;
}

/// The refusal for a body over `bytes_max`.
pub(crate) fn too_large(bytes_max: u64) -> Refusal {
    let limit = if bytes_max >= 1024 * 1024 {
        format!("{} MB", bytes_max / (1024 * 1024))
    } else {
        format!("{bytes_max} bytes")
    };
    Refusal::new(
        Reason::BodyTooLarge,
        format!(
            "The request body is over this endpoint's limit of {limit}. Send less, or ask the gate's operator to raise the limit."
        ),
    )
}

/// The refusal for a sender that stalls.
pub(crate) fn too_slow(limit: Duration) -> Refusal {
    let seconds = limit.as_secs();
    Refusal::new(
        Reason::SlowSender,
        format!("The request body did not arrive within {seconds} seconds. Send it without pauses."),
    )
}

/// `Content-Length`, where there is one.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole body.
///
/// # Errors
/// Too large, too slow, over the budget, or broken by the sender.
pub(crate) async fn read<B>(
    body: B,
    declared: Option<u64>,
    bytes_max: u64,
    timeouts: &Timeouts,
    share: &mut Share,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let mut reading = pin!(collect(body, declared.unwrap_or(0), bytes_max, timeouts.body_idle, share));
    // Small bodies are mostly there already: then no timer is made.
    if let Poll::Ready(done) = std::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
        return done;
    }
    tokio::time::timeout(timeouts.body_total, reading).await.unwrap_or_else(|_| Err(too_slow(timeouts.body_total)))
}

async fn collect<B>(body: B, declared: u64, bytes_max: u64, idle: Duration, share: &mut Share) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut length = 0_u64;
    while let Some(data) = next_data(&mut body, idle).await? {
        length += data.len() as u64;
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        share.grow_to(length)?;
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                let expected = declared.max(length).min(FIRST_ALLOCATION_BYTES.max(length));
                all.reserve(usize::try_from(expected).unwrap_or_default());
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The next data frame that is not empty; trailers are passed over.
async fn next_data<B>(body: &mut std::pin::Pin<&mut B>, idle: Duration) -> Result<Option<Bytes>, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    loop {
        let mut frame = pin!(body.frame());
        let frame = match std::future::poll_fn(|cx| Poll::Ready(frame.as_mut().poll(cx))).await {
            Poll::Ready(frame) => frame,
            Poll::Pending => tokio::time::timeout(idle, frame).await.map_err(|_| too_slow(idle))?,
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The refusal for a body that ended before its announced end, or whose chunked framing is broken.
pub(crate) fn broken(error: &impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Reason::InvalidBody,
        "The request body ended early or its transfer encoding is broken. Send it again whole.",
    )
    .cause(error)
}

#[cfg(test)]
mod tests;
