//! Tries to break what the crate promises.

mod answers;
mod bounds;
mod flow;
mod threads;

use crate::{Limits, Scope, Subject};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 86_400 * SECOND;

/// The only subject of most tests.
const KEY: Scope<'static> = Scope::Key { key: "key_1" };

fn requests(a_minute: u64) -> Limits {
    Limits { requests_per_minute: Some(a_minute), ..Limits::NONE }
}

fn tokens(a_minute: u64) -> Limits {
    Limits { tokens_per_minute: Some(a_minute), ..Limits::NONE }
}

fn concurrency(at_once: u32) -> Limits {
    Limits { concurrency: Some(at_once), ..Limits::NONE }
}

fn of<'a>(scope: Scope<'a>, limits: &'a Limits) -> Subject<'a> {
    Subject { scope, limits }
}

fn end_user(user: &str) -> Scope<'_> {
    Scope::EndUser { project: "proj_a", user }
}
