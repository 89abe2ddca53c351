//! The ledger against a model, over random histories of several processes: what each of them does, loses, and forgets
//! when it is killed.

mod admission;
mod histories;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use pricing::{Nano, Quantities, Tier};
use store::{Certainty, Clock, KeyId, NearLimit, Period, ProjectId, Scope, SpendLimit, UsageKind, UsageRow};

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

fn limit(id: &str, scope: Scope, period: Period, amount: u64) -> SpendLimit {
    SpendLimit {
        id: id.to_owned(),
        scope,
        period,
        amount: Nano(amount),
        calls_max: None,
        is_shadow: false,
        near_limit: NearLimit::Reject,
        raise: None,
        created_at: 0,
    }
}

fn project(name: &str) -> ProjectId {
    ProjectId::new(format!("proj_{name}"))
}

/// A row as a request begins it.
fn row(id: &str, project: &ProjectId, end_user: Option<&str>, began_at: i64) -> UsageRow {
    UsageRow {
        id: id.to_owned(),
        began_at,
        settled_at: began_at,
        project: project.clone(),
        key: KeyId::new("key_1"),
        end_user: end_user.map(str::to_owned),
        run: None,
        tag: None,
        kind: UsageKind::Completions,
        endpoint: "/v1/chat/completions",
        model: "m".to_owned(),
        tier: Tier::Standard,
        quantities: Quantities::default(),
        cost: Nano::ZERO,
        lines: Vec::new(),
        certainty: Certainty::Settled,
    }
}
