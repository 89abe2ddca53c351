//! The queue and the thread that works it off.
//!
//! Promises: at most [`SLOTS`] requests run and a bounded number wait, everything beyond is refused at once with the
//! time after which a place should be free; a request whose consumer left frees its place within one pass of the
//! engine, waiting or running; one that does not read is passed over, and given up after [`STALL_MAX`]; requests that
//! run together share each pass, so a long prompt delays the other's next token by one batch at most.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::forward::{BATCH_ROWS_MAX, Cache, Engine, Row};
use crate::refusal::LocalRefusal;
use crate::sequence::{Job, Language, Sequence};

/// Requests that run at once; each has a cache of 47 MB when its context is full.
pub(crate) const SLOTS: usize = 2;
/// How long a consumer may leave its channel full before its request is given up.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How often the engine looks again when every running request waits for its consumer.
const STALL_POLL: Duration = Duration::from_millis(10);
/// What a request is assumed to take before any was measured: some 250 tokens.
const FIRST_GUESS_MS: f64 = 2_000.0;
/// Bounds of the advice in a refusal.
const RETRY_MIN_MS: f64 = 500.0;
const RETRY_MAX_MS: f64 = 60_000.0;

/// The queue, as its producers see it.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    waiting_max: usize,
}

struct State {
    waiting: VecDeque<Job>,
    running: usize,
    stopped: bool,
    /// Running average of how long a request ran.
    average_ms: f64,
}

impl Queue {
    pub(crate) fn new(waiting_max: usize) -> Queue {
        let state = State { waiting: VecDeque::new(), running: 0, stopped: false, average_ms: FIRST_GUESS_MS };
        Queue { state: Mutex::new(state), changed: Condvar::new(), waiting_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section can leave the state half-changed.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// 429 when it is full, 503 when the engine has stopped.
    pub(crate) fn submit(&self, job: Job) -> Result<(), LocalRefusal> {
        let mut state = self.state();
        if state.stopped {
            return Err(LocalRefusal::unavailable());
        }
        state.waiting.retain(|job| !job.progress.is_closed());
        if state.waiting.len() + state.running >= SLOTS + self.waiting_max {
            let retry = state.average_ms * (state.waiting.len() + 1) as f64 / SLOTS as f64;
            return Err(LocalRefusal::busy(retry.clamp(RETRY_MIN_MS, RETRY_MAX_MS) as u64));
        }
        state.waiting.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Lets the engine's thread end after the pass it is in; whoever waits learns it.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.waiting.clear();
        self.changed.notify_one();
    }
}

/// Stops the queue however the thread ends, so that nobody waits for an engine that is gone.
struct StopOnExit(Arc<Queue>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Starts the thread. It ends when the queue is stopped.
///
/// # Errors
/// When the system has no thread to give.
pub(crate) fn start(engine: Engine, language: Arc<Language>, queue: &Arc<Queue>) -> std::io::Result<()> {
    let queue = Arc::clone(queue);
    thread::Builder::new().name("local-model".into()).spawn(move || {
        let stop = StopOnExit(queue);
        let caches = (0..SLOTS).map(|_| engine.cache()).collect();
        Scheduler { engine, language, queue: &stop.0, caches, running: [const { None }; SLOTS] }.run();
    })?;
    Ok(())
}

struct Running {
    sequence: Sequence,
    since: Instant,
    /// Since when the consumer has not taken what is there.
    stalled_since: Option<Instant>,
}

struct Scheduler<'a> {
    engine: Engine,
    language: Arc<Language>,
    queue: &'a Queue,
    caches: Vec<Cache>,
    running: [Option<Running>; SLOTS],
}

impl Scheduler<'_> {
    fn run(&mut self) {
        while self.admit() {
            let (rows, parts) = self.batch();
            if rows.is_empty() {
                // Refused, given up, or all consumers are slow.
                if self.running.iter().flatten().any(|running| running.stalled_since.is_some()) {
                    thread::sleep(STALL_POLL);
                }
            } else {
                self.compute(&rows, &parts);
            }
            self.deliver();
        }
    }

    /// Fills free slots from the queue, and waits when there is nothing at all to do. False when it is time to stop.
    fn admit(&mut self) -> bool {
        let busy = self.running.iter().flatten().count();
        let Some(jobs) = self.next_jobs(busy) else { return false };
        // Outside the lock: encoding a prompt takes milliseconds, and `submit` must not wait for it.
        let free = self.running.iter_mut().filter(|slot| slot.is_none());
        for (slot, job) in free.zip(jobs) {
            let sequence = Sequence::start(&self.language, job);
            *slot = Some(Running { sequence, since: Instant::now(), stalled_since: None });
        }
        true
    }

    /// Takes as many waiting requests as there are free slots; blocks while nothing runs and nothing waits.
    fn next_jobs(&self, busy: usize) -> Option<Vec<Job>> {
        let mut state = self.queue.state();
        loop {
            if state.stopped {
                return None;
            }
            state.waiting.retain(|job| !job.progress.is_closed());
            let count = state.waiting.len().min(SLOTS - busy);
            state.running = busy + count;
            if state.running > 0 {
                return Some(state.waiting.drain(..count).collect());
            }
            state = self.queue.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// The rows of the next pass, and how many of them are each slot's: generated tokens first, then prompts.
    fn batch(&self) -> (Vec<Row>, Vec<(usize, usize)>) {
        let (mut rows, mut parts) = (Vec::new(), Vec::new());
        for decoding in [true, false] {
            for (slot, running) in self.running.iter().enumerate() {
                if let Some(running) = running.as_ref().filter(|running| running.sequence.is_decoding() == decoding) {
                    let before = rows.len();
                    running.sequence.rows(slot, BATCH_ROWS_MAX - before, &mut rows);
                    parts.push((slot, rows.len() - before));
                }
            }
        }
        (rows, parts)
    }

    fn compute(&mut self, rows: &[Row], parts: &[(usize, usize)]) {
        let mut logits = self.engine.forward(&self.caches, rows).into_iter();
        let mut done = 0;
        for (slot, count) in parts.iter().filter(|(_, count)| *count > 0) {
            let wanted = rows[done..done + count].iter().any(|row| row.wants_logits);
            let running = self.running[*slot].as_mut().expect("a slot with rows runs");
            running.sequence.advance(*count, if wanted { logits.next() } else { None });
            done += count;
        }
    }

    /// Sends what is new, and frees the slots of those that are done or gone.
    fn deliver(&mut self) {
        for slot in &mut self.running {
            let Some(running) = slot else { continue };
            if running.sequence.flush() {
                running.stalled_since = None;
            } else {
                let since = running.stalled_since.get_or_insert_with(Instant::now);
                if since.elapsed() > STALL_MAX {
                    *slot = None;
                    continue;
                }
            }
            if running.sequence.is_finished() {
                let ran_ms = running.since.elapsed().as_secs_f64() * 1000.0;
                let mut state = self.queue.state();
                state.average_ms += (ran_ms - state.average_ms) / 8.0;
                drop(state);
                *slot = None;
            }
        }
    }
}
