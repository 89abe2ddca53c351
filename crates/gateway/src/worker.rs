//! The threads that carry traffic. Each has a runtime, upstream connections and a log buffer of its own, so that a
//! request stays on one core from its first byte to its last.
//!
//! Promises: connections go to the worker that has the fewest; none outlives the drain; a sweeper ends the ones that
//! stall.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use wire::refusal::{Reason, Refusal};

use crate::connection;
use crate::gate::Gate;
use crate::ids::RequestIds;
use crate::request_log::LogBuffer;
use crate::socket::{Command, ConnectionState, raw_answer};
use crate::uses::UseBook;

/// How often stalled connections are looked for: header and idle times are right to within it.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// How often a worker hands its log lines to the writer.
const LOG_FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// One worker's own things, shared by its connections.
pub(crate) struct Worker {
    pub(crate) gate: Arc<Gate>,
    pub(crate) ids: RequestIds,
    /// Its place among the workers, from 0.
    pub(crate) number: usize,
    pub(crate) log: LogBuffer,
    connections: Mutex<Connections>,
    open: AtomicUsize,
}

#[derive(Default)]
struct Connections {
    slots: Vec<Option<Arc<ConnectionState>>>,
    free: Vec<usize>,
}

impl Worker {
    fn new(gate: Arc<Gate>, number: usize) -> Worker {
        Worker {
            ids: RequestIds::new(number),
            number,
            log: LogBuffer::new(gate.log.clone()),
            connections: Mutex::default(),
            open: AtomicUsize::new(0),
            gate,
        }
    }

    /// Puts a connection under the sweeper's eyes until the guard drops.
    pub(crate) fn register(self: &Arc<Self>, state: &Arc<ConnectionState>) -> Registered {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = connections.free.pop().unwrap_or_else(|| {
            connections.slots.push(None);
            connections.slots.len() - 1
        });
        connections.slots[slot] = Some(Arc::clone(state));
        if self.gate.is_draining() {
            state.order(Command::Drain);
        }
        Registered { worker: Arc::clone(self), slot }
    }

    /// Where this worker counts from where keys are used.
    pub(crate) fn uses(&self) -> &UseBook {
        &self.gate.uses[self.number]
    }

    fn each_connection(&self, mut visit: impl FnMut(&ConnectionState)) {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.slots.iter().flatten().for_each(|state| visit(state));
    }

    fn sweep(&self) {
        self.each_connection(|state| {
            let due = state.due(&self.gate.settings.timeouts);
            if due != Command::GoOn {
                state.order(due);
            }
        });
    }
}

/// A connection is registered while this lives.
pub(crate) struct Registered {
    worker: Arc<Worker>,
    slot: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut connections = self.worker.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.slots[self.slot] = None;
        connections.free.push(self.slot);
    }
}

/// Accepts on `listener` until `stop` says so, then drains.
///
/// Returns once every connection has ended or the drain time is over; the number that was cut is returned.
///
/// # Errors
/// When the listener or a worker thread cannot be set up.
pub async fn serve(gate: Arc<Gate>, listener: TcpListener, mut stop: watch::Receiver<bool>) -> std::io::Result<usize> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut workers = Vec::new();
    for number in 0..gate.settings.workers.max(1) {
        workers.push(Handle::start(Arc::clone(&gate), number)?);
    }
    gate.set_ready();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => assign(&gate, &workers, stream.into_std(), peer),
                Err(error) => {
                    // Out of descriptors, mostly: what is open goes on, and time frees some.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    drop(listener);
    gate.begin_drain();
    let deadline = Instant::now() + gate.settings.timeouts.drain;
    for handle in &workers {
        handle.worker.each_connection(|state| state.order(Command::Drain));
    }
    let open = || workers.iter().map(|handle| handle.worker.open.load(Relaxed)).sum::<usize>();
    // Answers whose clients left are read on as long: what is cut is charged in full.
    while (open() > 0 || gate.running_alone() > 0) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cut = open();
    for handle in workers {
        handle.end().await;
    }
    Ok(cut)
}

/// Gives a connection to the worker with the fewest, or refuses it when there are too many.
fn assign(gate: &Gate, workers: &[Handle], stream: std::io::Result<TcpStream>, peer: SocketAddr) {
    let Ok(stream) = stream else { return };
    let open: usize = workers.iter().map(|handle| handle.worker.open.load(Relaxed)).sum();
    if open >= gate.settings.limits.connections_max {
        gate.metrics.connections_refused.inc();
        let refusal = Refusal::new(Reason::Overloaded, "The gate has too many open connections. Retry shortly.");
        // Without TLS the words can be read; with it the close has to do.
        if gate.settings.tls.is_none() {
            let _ = std::io::Write::write(&mut &stream, &raw_answer(&refusal));
        }
        return;
    }
    let fewest = workers.iter().min_by_key(|handle| handle.worker.open.load(Relaxed));
    if let Some(handle) = fewest {
        handle.worker.open.fetch_add(1, Relaxed);
        // The worker's thread is gone only after a panic of its own; the connection then closes here.
        if handle.sender.send((stream, peer)).is_err() {
            handle.worker.open.fetch_sub(1, Relaxed);
        }
    }
}

type Accepted = (TcpStream, SocketAddr);

/// A running worker thread.
struct Handle {
    worker: Arc<Worker>,
    /// Unbounded, because `connections_max` bounds what can be in it.
    sender: mpsc::UnboundedSender<Accepted>,
    thread: JoinHandle<()>,
}

impl Handle {
    fn start(gate: Arc<Gate>, number: usize) -> std::io::Result<Handle> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Arc::new(Worker::new(gate, number));
        let for_thread = Arc::clone(&worker);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || runtime.block_on(run(for_thread, receiver)))?;
        Ok(Handle { worker, sender, thread })
    }

    /// Ends the thread; connections that are still open are cut.
    async fn end(self) {
        drop(self.sender);
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

/// A worker's loop: new connections, the sweep, the log.
async fn run(worker: Arc<Worker>, mut receiver: mpsc::UnboundedReceiver<Accepted>) {
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let mut flush = tokio::time::interval(LOG_FLUSH_INTERVAL);
    loop {
        tokio::select! {
            accepted = receiver.recv() => {
                let Some((stream, peer)) = accepted else { break };
                let worker = Arc::clone(&worker);
                tokio::spawn(async move {
                    let open = Open(Arc::clone(&worker));
                    if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
                        connection::serve(worker, stream, peer).await;
                    }
                    drop(open);
                });
            }
            _ = sweep.tick() => worker.sweep(),
            _ = flush.tick() => worker.log.flush(),
        }
    }
    worker.each_connection(|state| state.order(Command::Close));
    tokio::task::yield_now().await;
    worker.log.flush();
}

/// Counts a connection as open while it lives, a panic in its task included.
struct Open(Arc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
