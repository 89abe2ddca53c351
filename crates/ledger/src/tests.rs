//! The ledger against a model, over random histories of several processes: what each of them does, loses, and forgets
//! when it is killed.

mod admission;
mod changing;
mod conforming;
mod desk;
mod failing;
mod histories;
mod keeping;
mod naming;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use store::{Clock, ProjectId, UsageRow};

use crate::conformance::{self, limit};

/// A clock that a test moves.
#[derive(Debug)]
struct TestClock(AtomicI64);

impl TestClock {
    fn at(now: i64) -> Arc<TestClock> {
        Arc::new(TestClock(AtomicI64::new(now)))
    }

    fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, SeqCst);
    }
}

impl Clock for TestClock {
    fn unix_seconds(&self) -> i64 {
        self.0.load(SeqCst)
    }
}

fn project(name: &str) -> ProjectId {
    ProjectId::new(format!("proj_{name}"))
}

/// A row as a request begins it.
fn row(id: &str, project: &ProjectId, end_user: Option<&str>, began_at: i64) -> UsageRow {
    UsageRow { project: project.clone(), end_user: end_user.map(str::to_owned), ..conformance::row(id, 0, began_at) }
}
