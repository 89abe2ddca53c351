//! Where request log lines go: a buffer per worker, a writer thread for the process.
//!
//! Promises: a request never waits for the log; a line is written whole or, when the writer cannot keep up with
//! [`BATCHES_MAX`] batches, dropped and counted.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Batches waiting for the writer.
const BATCHES_MAX: usize = 256;

/// A worker hands its buffer over at this size, or at the next tick.
const BATCH_BYTES: usize = 64 * 1024;

/// The way to the writer thread.
#[derive(Debug, Clone)]
pub struct RequestLog {
    sender: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
}

impl RequestLog {
    /// A log that nobody wants.
    pub fn off() -> RequestLog {
        RequestLog { sender: None, dropped: Arc::default() }
    }

    /// Starts the writer thread. It ends when the last clone and the last worker are gone.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to(output: Box<dyn Write + Send>) -> std::io::Result<(RequestLog, std::thread::JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(BATCHES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let thread =
            std::thread::Builder::new().name("request-log".into()).spawn(move || write(output, &receiver, &counter))?;
        Ok((RequestLog { sender: Some(sender), dropped }, thread))
    }

    /// Lines that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

fn write(mut output: Box<dyn Write + Send>, receiver: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    while let Ok(batch) = receiver.recv() {
        if output.write_all(&batch).and_then(|()| output.flush()).is_err() {
            dropped.fetch_add(lines(&batch), Relaxed);
        }
    }
}

fn lines(batch: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', batch).count() as u64
}

/// One worker's lines on their way.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    log: RequestLog,
    buffer: Mutex<Vec<u8>>,
}

impl LogBuffer {
    pub(crate) fn new(log: RequestLog) -> LogBuffer {
        LogBuffer { log, buffer: Mutex::new(Vec::new()) }
    }

    /// Lets `write` append one line, newline included.
    pub(crate) fn line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.log.sender.is_none() {
            return;
        }
        // Only this worker's thread comes here, and the flush of the same thread: the lock never waits.
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut buffer);
        if buffer.len() >= BATCH_BYTES {
            self.hand_over(&mut buffer);
        }
    }

    /// Hands the lines so far to the writer.
    pub(crate) fn flush(&self) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if !buffer.is_empty() {
            self.hand_over(&mut buffer);
        }
    }

    fn hand_over(&self, buffer: &mut Vec<u8>) {
        let batch = std::mem::take(buffer);
        if let Some(sender) = &self.log.sender
            && let Err(error) = sender.try_send(batch)
        {
            let (std::sync::mpsc::TrySendError::Full(batch) | std::sync::mpsc::TrySendError::Disconnected(batch)) =
                error;
            self.log.dropped.fetch_add(lines(&batch), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_arrives_whole() {
        let output = Shared::default();
        let (log, thread) = RequestLog::to(Box::new(output.clone())).expect("a thread");
        let buffer = LogBuffer::new(log);
        for number in 0..5_000 {
            buffer.line(|line| line.extend_from_slice(format!("{{\"line\":{number}}}\n").as_bytes()));
        }
        buffer.flush();
        let dropped = buffer.log.dropped();
        drop(buffer);
        thread.join().expect("the writer ends");
        let text = String::from_utf8(output.0.lock().expect("not poisoned").clone()).expect("text");
        assert_eq!(text.lines().count() as u64 + dropped, 5_000);
        assert!(text.lines().all(|line| line.starts_with("{\"line\":") && line.ends_with('}')));
    }
}
