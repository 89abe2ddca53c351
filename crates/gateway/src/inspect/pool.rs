//! The threads that read what the cheap stages are unsure of: milliseconds a text, never on a worker.
//!
//! Promises: what waits is bounded in number and bytes, and no project has more than half of either, so that one alone
//! cannot keep the others out; projects take turns, task by task, of about a window or a text; a text that panics the
//! detector costs its request its verdict and nobody else anything; what was read before something failed or took too long
//! is given; what nobody waits for any more is not read.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use store::ProjectId;
use tokio::sync::oneshot;

use super::reading::Reading;

/// Why the guards could not judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// Too much waits already.
    Overloaded,
    /// It took too long.
    Late,
    /// The detector failed.
    Failed,
    /// There is more than may be read of one request, and the project lets nothing pass unread.
    Unread,
    /// The same, and one text alone has more than may ever be read of it.
    TooLong,
    /// A form that streams through: too long to be held, or of a length that nobody announced.
    Form,
}

impl Failure {
    /// The word in the verdict header, in log lines and metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Failure::Overloaded => "overloaded",
            Failure::Late => "late",
            Failure::Failed => "failed",
            Failure::Unread | Failure::TooLong => "unread",
            Failure::Form => "form",
        }
    }
}

/// One text to be read, or several short ones.
pub(crate) struct Task {
    /// Their length.
    pub(crate) bytes: usize,
    /// Reads them.
    pub(crate) read: Box<dyn FnOnce() -> Vec<Reading> + Send>,
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Tasks.
    pub(crate) texts_max: usize,
    /// Their bytes.
    pub(crate) bytes_max: usize,
}

/// The threads and their queue.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    room: Room,
}

#[derive(Default)]
struct Queue {
    /// Projects with waiting tasks, the next one first.
    turns: VecDeque<ProjectId>,
    waiting: HashMap<ProjectId, Line>,
    texts: usize,
    bytes: usize,
    is_stopped: bool,
}

/// What waits of one project.
#[derive(Default)]
struct Line {
    units: VecDeque<Unit>,
    bytes: usize,
}

struct Unit {
    task: Task,
    batch: Arc<Batch>,
    at: usize,
}

/// The texts of one request.
struct Batch {
    readings: Arc<Mutex<Vec<Vec<Reading>>>>,
    state: Mutex<BatchState>,
}

struct BatchState {
    left: usize,
    /// `None` once it is over.
    sender: Option<oneshot::Sender<Result<(), Failure>>>,
}

/// Readings on their way. Dropped, they are not read.
pub(crate) struct Awaited {
    over: oneshot::Receiver<Result<(), Failure>>,
    readings: Arc<Mutex<Vec<Vec<Reading>>>>,
}

/// What was read, and why not all.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Readings {
    /// By task, in their order; nothing of a task that was not read.
    pub(crate) read: Vec<Vec<Reading>>,
    pub(crate) failure: Option<Failure>,
}

impl Awaited {
    /// What is read within a time.
    pub(crate) async fn within(self, time: Duration) -> Readings {
        let failure = match tokio::time::timeout(time, self.over).await {
            Ok(Ok(over)) => over.err(),
            // The pool was stopped under it.
            Ok(Err(_)) => Some(Failure::Failed),
            Err(_) => Some(Failure::Late),
        };
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        Readings { read: std::mem::take(&mut *readings), failure }
    }
}

impl Readings {
    /// Every reading, in the order of the texts.
    ///
    /// # Errors
    /// Where not all were read.
    pub(crate) fn whole(self) -> Result<Vec<Reading>, Failure> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.read.into_iter().flatten().collect()),
        }
    }
}

impl From<Failure> for Readings {
    fn from(failure: Failure) -> Readings {
        Readings { read: Vec::new(), failure: Some(failure) }
    }
}

impl Pool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(threads: usize, room: Room) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), room });
        let start = |number| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("guard-{number}")).spawn(move || shared.work())
        };
        let threads = (0..threads.max(1)).map(start).collect::<Result<_, _>>()?;
        Ok(Pool { shared, threads })
    }

    /// Has texts of a project read, all or none of them, the first tasks first.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] where there is no room for them.
    pub(crate) fn submit(&self, project: &ProjectId, tasks: Vec<Task>) -> Result<Awaited, Failure> {
        let (sender, receiver) = oneshot::channel();
        let (count, bytes) = (tasks.len(), tasks.iter().map(|task| task.bytes).sum::<usize>());
        let readings = Arc::new(Mutex::new(vec![Vec::new(); count]));
        let awaited = Awaited { over: receiver, readings: Arc::clone(&readings) };
        let batch = Arc::new(Batch { readings, state: Mutex::new(BatchState { left: count, sender: Some(sender) }) });
        if count == 0 {
            batch.end(Ok(()));
            return Ok(awaited);
        }
        let mut queue = self.shared.queue();
        let room = self.shared.room;
        let (texts_before, bytes_before) = queue.of(project);
        let fits = queue.texts + count <= room.texts_max
            && queue.bytes + bytes <= room.bytes_max
            && texts_before + count <= room.texts_max.div_ceil(2)
            && bytes_before + bytes <= room.bytes_max.div_ceil(2);
        if !fits {
            return Err(Failure::Overloaded);
        }
        for (at, task) in tasks.into_iter().enumerate() {
            queue.push(project, Unit { task, batch: Arc::clone(&batch), at });
        }
        drop(queue);
        if count == 1 {
            self.shared.wake.notify_one()
        } else {
            self.shared.wake.notify_all()
        }
        Ok(awaited)
    }

    /// Tasks that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.queue().texts
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queue().is_stopped = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // Its panics are caught.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(unit) = self.next() {
            let Unit { task, batch, at } = unit;
            if batch.is_over() {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(task.read)) {
                Ok(readings) => batch.put(at, readings),
                Err(_) => batch.end(Err(Failure::Failed)),
            }
        }
    }

    /// Waits for the next text; `None` at the end.
    fn next(&self) -> Option<Unit> {
        let mut queue = self.queue();
        loop {
            if queue.is_stopped {
                return None;
            }
            if let Some(unit) = queue.pop() {
                return Some(unit);
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    /// Texts and bytes of a project that wait.
    fn of(&self, project: &ProjectId) -> (usize, usize) {
        self.waiting.get(project).map_or((0, 0), |line| (line.units.len(), line.bytes))
    }

    fn push(&mut self, project: &ProjectId, unit: Unit) {
        self.texts += 1;
        self.bytes += unit.task.bytes;
        let line = self.waiting.entry(project.clone()).or_default();
        if line.units.is_empty() {
            self.turns.push_back(project.clone());
        }
        line.bytes += unit.task.bytes;
        line.units.push_back(unit);
    }

    /// The first text of the project whose turn it is; the project goes to the end.
    fn pop(&mut self) -> Option<Unit> {
        let project = self.turns.pop_front()?;
        let line = self.waiting.get_mut(&project)?;
        let unit = line.units.pop_front()?;
        line.bytes -= unit.task.bytes;
        self.texts -= 1;
        self.bytes -= unit.task.bytes;
        if line.units.is_empty() {
            self.waiting.remove(&project);
        } else {
            self.turns.push_back(project);
        }
        Some(unit)
    }
}

impl Batch {
    fn state(&self) -> MutexGuard<'_, BatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody waits for it any more.
    fn is_over(&self) -> bool {
        self.state().sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn put(&self, at: usize, readings: Vec<Reading>) {
        // Whoever waited may have taken what there was.
        if let Some(place) = self.readings.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
            *place = readings;
        }
        let mut state = self.state();
        state.left -= 1;
        let is_last = state.left == 0;
        drop(state);
        if is_last {
            self.end(Ok(()));
        }
    }

    fn end(&self, how: Result<(), Failure>) {
        if let Some(sender) = self.state().sender.take() {
            // Whoever waited may have left.
            let _ = sender.send(how);
        }
    }
}

#[cfg(test)]
mod tests;
