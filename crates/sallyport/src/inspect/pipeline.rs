//! Work on lines by all processors, with the order kept.
//!
//! Promises: results come in the order of the lines, each as soon as it and all before it are known; at most
//! [`LINES_A_THREAD`] lines for each thread and about [`BYTES_MAX`] bytes of lines are in memory, however long the
//! input is; a failing reader or writer ends the work.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::input::Line;

/// Lines that wait or are worked on, for each thread: enough to bridge a text that takes long.
const LINES_A_THREAD: usize = 32;
/// Bytes of lines that may be in memory before no more are read.
const BYTES_MAX: usize = 64 << 20;
/// How often progress is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

/// What the caller is told.
pub(super) enum Step<R> {
    /// The next line's result.
    Done(R),
    /// The next result is not known yet: what was written should be seen.
    Waiting,
}

/// A line on its way, with the place that waits for its result.
struct Job<R> {
    line: Line,
    result: SyncSender<R>,
}

/// A line's result to come, and the bytes that are free again once it is there.
struct Place<R> {
    result: Receiver<R>,
    bytes: usize,
}

/// Works on all lines.
pub(super) fn run<R: Send>(
    lines: impl Iterator<Item = io::Result<Line>> + Send,
    threads: usize,
    work: impl Fn(Line) -> R + Sync,
    meter: &Meter,
    mut tell: impl FnMut(Step<R>) -> io::Result<()>,
) -> io::Result<()> {
    let (jobs, waiting) = sync_channel::<Job<R>>(threads * LINES_A_THREAD);
    let (places, results) = sync_channel::<io::Result<Place<R>>>(threads * LINES_A_THREAD);
    let (waiting, room, work) = (Arc::new(Mutex::new(waiting)), Room::default(), &work);
    std::thread::scope(|scope| {
        let room = &room;
        scope.spawn(move || read(lines, &jobs, &places, room));
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            scope.spawn(move || {
                // The lock is held while waiting, not while working.
                while let Ok(job) = { waiting.lock().unwrap_or_else(PoisonError::into_inner).recv() } {
                    // Nobody waits any more when the writer has failed.
                    let _ = job.result.send(work(job.line));
                }
            });
        }
        // Where all workers have panicked nobody takes jobs, and the reader ends.
        drop(waiting);
        let told = write(&results, meter, room, &mut tell);
        // A reader that waits for room or for a place goes on, finds nobody, and ends.
        drop(results);
        room.open();
        told
    })
}

fn read<R>(
    lines: impl Iterator<Item = io::Result<Line>>,
    jobs: &SyncSender<Job<R>>,
    places: &SyncSender<io::Result<Place<R>>>,
    room: &Room,
) {
    for line in lines {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                let _ = places.send(Err(error));
                return;
            }
        };
        let bytes = line.len();
        room.take(bytes);
        let (result, place) = sync_channel(1);
        if places.send(Ok(Place { result: place, bytes })).is_err() || jobs.send(Job { line, result }).is_err() {
            return;
        }
    }
}

fn write<R>(
    results: &Receiver<io::Result<Place<R>>>,
    meter: &Meter,
    room: &Room,
    tell: &mut impl FnMut(Step<R>) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(place) = next(results, tell)? {
        let place = place?;
        // A worker that panicked took its result along; the panic is passed on when the threads are joined.
        let Some(result) = next(&place.result, tell)? else { return Ok(()) };
        room.give(place.bytes);
        meter.count();
        tell(Step::Done(result))?;
    }
    tell(Step::Waiting)
}

/// The next item, after telling that it has to be waited for.
fn next<T, R>(from: &Receiver<T>, tell: &mut impl FnMut(Step<R>) -> io::Result<()>) -> io::Result<Option<T>> {
    match from.try_recv() {
        Ok(item) => return Ok(Some(item)),
        Err(TryRecvError::Disconnected) => return Ok(None),
        Err(TryRecvError::Empty) => tell(Step::Waiting)?,
    }
    match from.recv() {
        Ok(item) => Ok(Some(item)),
        Err(RecvError) => Ok(None),
    }
}

/// Bytes that are in memory.
#[derive(Default)]
struct Room {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Room {
    /// Waits until there is room. One line always fits, whatever its size.
    fn take(&self, bytes: usize) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut usize| *taken > 0 && *taken + bytes > BYTES_MAX;
        let mut taken = self.freed.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
    }

    fn give(&self, bytes: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(bytes);
        self.freed.notify_one();
    }

    /// Lets whoever waits go on.
    fn open(&self) {
        self.give(usize::MAX);
    }
}

/// How far the work is; drawn on standard error if that is a terminal and the answers do not go to one too.
pub(super) struct Meter(Option<ProgressBar>);

impl Meter {
    /// Begins to draw.
    pub(super) fn start(are_answers_on_terminal: bool) -> Meter {
        if !io::stderr().is_terminal() || are_answers_on_terminal {
            return Meter(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} texts, {per_sec}, {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(DRAWN_EVERY);
        Meter(Some(bar))
    }

    fn count(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Wipes what was drawn.
    pub(super) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::inspect::input::Lines;

    fn lines(count: usize) -> Lines {
        Lines::of((0..count).map(|line| format!("{line}\n")).collect::<String>().into_bytes())
    }

    /// Takes longer for some lines than for others.
    fn work(line: Line) -> String {
        let number = line.number;
        std::thread::sleep(Duration::from_micros((number * 7919 % 13) as u64 * 50));
        format!("{number}:{}", String::from_utf8_lossy(line.bytes().expect("short")).trim())
    }

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [1, 3, 8] {
            let mut seen = Vec::new();
            let meter = Meter(None);
            run(lines(500), threads, work, &meter, |step| {
                if let Step::Done(result) = step {
                    seen.push(result);
                }
                Ok(())
            })
            .expect("no error");
            assert_eq!(seen, (0..500).map(|line| format!("{}:{line}", line + 1)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_ends_the_work() {
        for threads in [1, 2] {
            let work = |line: Line| if line.number > 3 { panic!("the work is lost") } else { line.number };
            let ran = std::panic::catch_unwind(|| run(lines(500), threads, work, &Meter(None), |_| Ok(())));
            assert!(ran.is_err(), "{threads}");
        }
    }

    #[test]
    fn an_answer_is_told_before_the_next_line_is_there() {
        // The second line comes only after the first answer was told to be seen.
        let (answered, wait) = sync_channel::<()>(1);
        let lines = (0..2).map(move |line| {
            if line == 1 {
                wait.recv_timeout(Duration::from_secs(20)).expect("the first answer was seen");
            }
            Lines::of(b"x\n".to_vec()).next().expect("a line")
        });
        let count = RefCell::new(0);
        run(lines, 2, work, &Meter(None), |step| {
            match step {
                Step::Done(_) => *count.borrow_mut() += 1,
                Step::Waiting if *count.borrow() == 1 => drop(answered.try_send(())),
                Step::Waiting => {}
            }
            Ok(())
        })
        .expect("no error");
        assert_eq!(count.into_inner(), 2);
    }

    #[test]
    fn a_failing_reader_or_writer_ends_the_work() {
        let broken = lines(3).chain([Err(io::Error::other("broken"))]).chain(lines(1000));
        let mut done = 0;
        let read = run(broken, 2, work, &Meter(None), |step| {
            done += usize::from(matches!(step, Step::Done(_)));
            Ok(())
        });
        assert_eq!((read.map_err(|error| error.to_string()), done), (Err("broken".into()), 3));
        let written = run(lines(10_000), 2, work, &Meter(None), |_| Err(io::Error::other("gone")));
        assert!(written.is_err());
    }

    #[test]
    fn one_line_fits_whatever_its_size() {
        let room = Room::default();
        room.take(BYTES_MAX * 3);
        room.give(BYTES_MAX * 3);
        room.take(BYTES_MAX);
        assert_eq!(*room.taken.lock().expect("whole"), BYTES_MAX);
    }
}
