//! The holds that are open now: who, how much, since when.
//!
//! Promise: a hold is here from before its accounts are looked up until its end is in the journal's queue; so a limit
//! that is set while requests run finds every one of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pricing::Nano;
use store::{KeyId, ProjectId, UsageRow};

use crate::account::Account;
use crate::purse::amount;

/// Parts of the list, so that requests on different cores seldom meet.
const SHARDS: usize = 64;

/// What a hold waits for or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// It waits for money.
    Waiting = 0,
    /// Its request runs.
    Running = 1,
    /// Its client left; the upstream is read to its end, so that the hold can settle.
    ReadingOn = 2,
}

impl Doing {
    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Doing::Waiting => "waiting",
            Doing::Running => "running",
            Doing::ReadingOn => "reading_on",
        }
    }
}

/// One open hold's shared part.
#[derive(Debug)]
pub(crate) struct Open {
    number: usize,
    /// The row that will be written, without its end.
    pub(crate) row: UsageRow,
    amount: AtomicI64,
    doing: AtomicU8,
    pub(crate) state: Mutex<State>,
}

/// How far a hold is.
#[derive(Debug)]
pub(crate) enum State {
    /// Its accounts are being asked.
    Asking,
    /// They all granted.
    Granted(Vec<Arc<Account>>),
    /// It ended.
    Over,
}

impl Open {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_granted(&self) -> bool {
        matches!(&*self.state(), State::Granted(_))
    }

    pub(crate) fn amount(&self) -> i64 {
        self.amount.load(SeqCst)
    }

    pub(crate) fn set_amount(&self, amount: i64) {
        self.amount.store(amount, SeqCst);
    }

    pub(crate) fn set_doing(&self, doing: Doing) {
        self.doing.store(doing as u8, SeqCst);
    }

    fn view(&self) -> OpenHold {
        OpenHold {
            request_id: self.row.id.clone(),
            project: self.row.project.clone(),
            key: self.row.key.clone(),
            end_user: self.row.end_user.clone(),
            run: self.row.run.clone(),
            tag: self.row.tag.clone(),
            endpoint: self.row.endpoint,
            model: self.row.model.clone(),
            amount: amount(self.amount()),
            began_at: self.row.began_at,
            doing: match self.doing.load(SeqCst) {
                0 => Doing::Waiting,
                1 => Doing::Running,
                _ => Doing::ReadingOn,
            },
        }
    }
}

/// An open hold, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHold {
    /// The request.
    pub request_id: String,
    /// Its project.
    pub project: ProjectId,
    /// Its key.
    pub key: KeyId,
    /// Its end user, under a keyed hash.
    pub end_user: Option<String>,
    /// Its run.
    pub run: Option<String>,
    /// Its tag.
    pub tag: Option<String>,
    /// Path template of its endpoint.
    pub endpoint: &'static str,
    /// Its model.
    pub model: String,
    /// How much.
    pub amount: Nano,
    /// Since when, Unix seconds.
    pub began_at: i64,
    /// Why it is open.
    pub doing: Doing,
}

/// All open holds.
#[derive(Debug)]
pub(crate) struct OpenHolds {
    shards: Vec<Mutex<HashMap<usize, Arc<Open>>>>,
    next: AtomicUsize,
}

impl OpenHolds {
    pub(crate) fn new() -> OpenHolds {
        OpenHolds { shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(), next: AtomicUsize::new(0) }
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, HashMap<usize, Arc<Open>>> {
        self.shards[number % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, row: UsageRow, amount: i64) -> Arc<Open> {
        let number = self.next.fetch_add(1, SeqCst);
        let open = Arc::new(Open {
            number,
            row,
            amount: AtomicI64::new(amount),
            doing: AtomicU8::new(Doing::Waiting as u8),
            state: Mutex::new(State::Asking),
        });
        self.shard(number).insert(number, Arc::clone(&open));
        open
    }

    pub(crate) fn remove(&self, open: &Open) {
        self.shard(open.number).remove(&open.number);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        (0..SHARDS).map(|number| self.shard(number).len()).sum()
    }

    /// Every hold that is open at some moment during the call.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<Open>)) {
        for number in 0..SHARDS {
            let holds: Vec<_> = self.shard(number).values().cloned().collect();
            holds.iter().for_each(&mut visit);
        }
    }

    /// All, the oldest first.
    pub(crate) fn list(&self) -> Vec<OpenHold> {
        let mut holds = Vec::new();
        self.each(|open| holds.push((open.number, open.view())));
        holds.sort_by_key(|(number, _)| *number);
        holds.into_iter().map(|(_, hold)| hold).collect()
    }
}
