//! Random histories.

use std::collections::HashSet;
use std::sync::Arc;

use pricing::Nano;
use proptest::prelude::*;
use store::{Clock, Period, Scope, SpendLimit, UsageRow};

use super::{TestClock, limit, project, row};
use crate::{Hold, Keeper, Ledger, MemoryStore, Patience, WriteError};

/// Where a history begins: the last hour of a month, so that periods end while it runs.
const BEGIN: i64 = 1_796_083_200 - 3_000;

#[derive(Debug, Clone)]
enum Step {
    /// A request of a process, for one of two projects and perhaps an end user; it may have come some time ago.
    Hold { process: usize, project: bool, user: Option<bool>, amount: u64, age: i64, is_patient: bool },
    /// A running request's end: the share of its hold that it cost, in per cent.
    Settle { process: usize, which: usize, percent: u64 },
    /// The upstream refused it.
    Release { process: usize, which: usize },
    /// A stream goes on.
    Grow { process: usize, which: usize, amount: u64 },
    /// The keeper's turn.
    Turn { process: usize },
    /// A turn that the store refuses.
    TurnFails { process: usize },
    /// A turn that is written, and whose answer is lost.
    AnswerLost { process: usize },
    /// kill -9, a new process in its place, and what its open requests cost really, in per cent of their holds.
    Crash { process: usize, percent: u64 },
    /// A process is taken for dead and is not.
    Fence { process: usize },
    /// Another amount for one of the limits. While that is under way a request ends, and another comes.
    SetLimit { which: usize, amount: u64, is_shadow: bool },
    /// One of the limits is deleted, or set again if it was.
    Replace { which: usize },
    /// Time passes.
    Pass { seconds: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (process, which) = (0..3_usize, 0..8_usize);
    prop_oneof![
        8 => (process.clone(), any::<bool>(), any::<Option<bool>>(), 0..60_u64, age(), any::<bool>()).prop_map(
            |(process, project, user, amount, age, is_patient)| Step::Hold { process, project, user, amount, age, is_patient }
        ),
        6 => (process.clone(), which.clone(), 0..=100_u64)
            .prop_map(|(process, which, percent)| Step::Settle { process, which, percent }),
        1 => (process.clone(), which.clone()).prop_map(|(process, which)| Step::Release { process, which }),
        2 => (process.clone(), which, 1..20_u64).prop_map(|(process, which, amount)| Step::Grow { process, which, amount }),
        10 => process.clone().prop_map(|process| Step::Turn { process }),
        1 => process.clone().prop_map(|process| Step::TurnFails { process }),
        1 => process.clone().prop_map(|process| Step::AnswerLost { process }),
        1 => (process.clone(), 0..=100_u64).prop_map(|(process, percent)| Step::Crash { process, percent }),
        1 => process.prop_map(|process| Step::Fence { process }),
        1 => (0..4_usize, 1..400_u64)
            .prop_map(|(which, amount)| Step::SetLimit { which, amount, is_shadow: false }),
        1 => (0..1_500_i64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

fn age() -> impl Strategy<Value = i64> {
    prop_oneof![8 => Just(0), 1 => 1..4_000_i64]
}

/// What one process goes through alone: what it holds under no limit, or under one in shadow, is not leased, so that
/// neither a crash nor another process could know of it.
fn lonely_step() -> impl Strategy<Value = Step> {
    let alone = |step| match step {
        Step::Hold { project, user, amount, age, is_patient, .. } => {
            Step::Hold { process: 0, project, user, amount, age, is_patient }
        }
        Step::Settle { which, percent, .. } => Step::Settle { process: 0, which, percent },
        Step::Release { which, .. } => Step::Release { process: 0, which },
        Step::Grow { which, amount, .. } => Step::Grow { process: 0, which, amount },
        Step::TurnFails { .. } => Step::TurnFails { process: 0 },
        Step::AnswerLost { .. } => Step::AnswerLost { process: 0 },
        Step::SetLimit { .. } | Step::Replace { .. } | Step::Pass { .. } => step,
        Step::Turn { .. } | Step::Crash { .. } | Step::Fence { .. } => Step::Turn { process: 0 },
    };
    let change = (0..4_usize, 1..400_u64, any::<bool>()).prop_map(|(which, amount, is_shadow)| Step::SetLimit {
        which,
        amount,
        is_shadow,
    });
    prop_oneof![
        8 => step().prop_map(alone),
        1 => change,
        1 => (0..4_usize).prop_map(|which| Step::Replace { which }),
    ]
}

struct Process {
    ledger: Arc<Ledger>,
    keeper: Keeper,
    holds: Vec<Hold>,
}

struct World {
    store: MemoryStore,
    clock: Arc<TestClock>,
    limits: Vec<SpendLimit>,
    /// Those of them that are not set.
    absent: HashSet<usize>,
    processes: Vec<Process>,
    /// What was really spent, known to nobody else: row and cost.
    spent: Vec<(UsageRow, u64)>,
    requests: usize,
}

impl World {
    fn new(processes: usize) -> World {
        let a = project("a");
        let limits = vec![
            limit("limit_organization", Scope::Organization, Period::Month, 300),
            limit("limit_project", Scope::Project(a.clone()), Period::Hour, 200),
            limit("limit_users", Scope::EndUser(project("b"), String::new()), Period::Total, 90),
            limit("limit_user", Scope::EndUser(a, "u".into()), Period::Day, 120),
        ];
        let store = MemoryStore::default();
        limits.iter().for_each(|limit| store.put_limit(limit.clone()));
        let mut world = World {
            store,
            clock: TestClock::at(BEGIN),
            limits,
            absent: HashSet::new(),
            processes: Vec::new(),
            spent: Vec::new(),
            requests: 0,
        };
        for _ in 0..processes {
            let process = world.process();
            world.processes.push(process);
        }
        world
    }

    fn process(&self) -> Process {
        let ledger = Ledger::new(self.limits.clone(), self.clock.clone(), Patience::default());
        let keeper = Keeper::new(Arc::clone(&ledger), self.store.enter_now());
        Process { ledger, keeper, holds: Vec::new() }
    }

    /// Really spent plus held, under a limit, in the window of a moment.
    fn committed(&self, limit: &SpendLimit, scope: &Scope, at: i64) -> u64 {
        let window = limit.period.window(at);
        let is_in = |row: &UsageRow| {
            window.contains(row.began_at)
                && match scope {
                    Scope::Organization => true,
                    Scope::Project(project) => row.project == *project,
                    Scope::EndUser(project, name) => {
                        row.project == *project && row.end_user.as_deref() == Some(name.as_str())
                    }
                    _ => unreachable!("no such limit here"),
                }
        };
        let spent: u64 = self.spent.iter().filter(|(row, _)| is_in(row)).map(|(_, cost)| cost).sum();
        let holds = self.processes.iter().flat_map(|process| &process.holds);
        spent + holds.filter(|hold| is_in(hold.row())).map(|hold| hold.amount().0).sum::<u64>()
    }

    /// What was granted just now is within every limit in force.
    fn check_grant(&self, row: &UsageRow) -> Result<(), TestCaseError> {
        let set = (0..).zip(&self.limits).filter(|(number, _)| !self.absent.contains(number));
        for (_, limit) in set.filter(|(_, limit)| !limit.is_shadow) {
            let scope = match (&limit.scope, &row.end_user) {
                (Scope::EndUser(project, name), Some(user)) if *project == row.project => {
                    if !name.is_empty() && name != user {
                        continue;
                    }
                    limit.scope.one(user)
                }
                (Scope::EndUser(..), _) => continue,
                (Scope::Project(project), _) if *project != row.project => continue,
                (scope, _) => scope.clone(),
            };
            let committed = self.committed(limit, &scope, row.began_at);
            prop_assert!(committed <= limit.amount.0, "{committed} committed under {limit:?}");
        }
        Ok(())
    }

    fn act(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Hold { process, project: is_b, user, amount, age, is_patient } => {
                let user = user.map(|user| if user { "u" } else { "v" });
                let row = self.row(if is_b { "b" } else { "a" }, user, age);
                // The second time as a request that waits, through a turn of the keeper.
                for _ in 0..2 {
                    if let Ok(hold) = self.processes[process].ledger.try_hold(row.clone(), Some(Nano(amount))) {
                        self.processes[process].holds.push(hold);
                        // Nothing is within every limit.
                        return if amount == 0 { Ok(()) } else { self.check_grant(&row) };
                    }
                    if is_patient {
                        self.lend(process, &row, amount)?;
                    }
                }
            }
            Step::Settle { process, which, percent } => {
                let Some(hold) = take(&mut self.processes[process].holds, which) else { return Ok(()) };
                let cost = hold.amount().0 * percent / 100;
                let row = UsageRow { cost: Nano(cost), ..hold.row().clone() };
                self.spent.push((row.clone(), cost));
                hold.settle(row);
            }
            Step::Release { process, which } => {
                if let Some(hold) = take(&mut self.processes[process].holds, which) {
                    hold.release();
                }
            }
            Step::Grow { process, which, amount } => {
                let holds = &self.processes[process].holds;
                if holds.is_empty() {
                    return Ok(());
                }
                let hold = &holds[which % holds.len()];
                if hold.try_grow(Nano(amount)) {
                    let row = hold.row().clone();
                    self.check_grant(&row)?;
                }
            }
            Step::Turn { process } => {
                let process = &mut self.processes[process];
                let Some(turn) = process.keeper.plan() else { return Ok(()) };
                match self.store.write_now(&turn.batch) {
                    Ok(states) => process.keeper.written(turn, &states),
                    Err(error) => {
                        process.keeper.not_written(turn, &error);
                        process.keeper.reborn(self.store.enter_now());
                    }
                }
            }
            Step::TurnFails { process } => {
                let process = &mut self.processes[process];
                if let Some(turn) = process.keeper.plan() {
                    process.keeper.not_written(turn, &store_error());
                }
            }
            Step::AnswerLost { process } => {
                let process = &mut self.processes[process];
                if let Some(turn) = process.keeper.plan() {
                    let _ = self.store.write_now(&turn.batch);
                    process.keeper.not_written(turn, &store_error());
                }
            }
            Step::Crash { process, percent } => {
                let fresh = self.process();
                let old = std::mem::replace(&mut self.processes[process], fresh);
                self.store.fence(old.keeper.epoch(), self.clock.unix_seconds());
                for hold in old.holds {
                    self.spent.push((hold.row().clone(), hold.amount().0 * percent / 100));
                    std::mem::forget(hold);
                }
            }
            Step::Fence { process } => {
                self.store.fence(self.processes[process].keeper.epoch(), self.clock.unix_seconds());
            }
            Step::SetLimit { which, amount, is_shadow } => {
                let limit = SpendLimit { amount: Nano(amount), is_shadow, ..self.limits[which].clone() };
                return if self.absent.contains(&which) { Ok(()) } else { self.set_limit(which, limit) };
            }
            Step::Replace { which } => {
                if self.absent.remove(&which) {
                    let id = format!("{}_again", self.limits[which].id);
                    return self.set_limit(which, SpendLimit { id, ..self.limits[which].clone() });
                }
                self.absent.insert(which);
                let id = self.limits[which].id.clone();
                for process in &self.processes {
                    let changing = runtime().block_on(process.ledger.begin_change(&id));
                    self.store.remove_limit(&id);
                    changing.remove_now(&id);
                }
            }
            Step::Pass { seconds } => self.clock.advance(seconds),
        }
        Ok(())
    }

    /// A request's row as it begins.
    fn row(&mut self, name: &str, user: Option<&str>, age: i64) -> UsageRow {
        self.requests += 1;
        row(&format!("req_{}", self.requests), &project(name), user, self.clock.unix_seconds() - age)
    }

    fn set_limit(&mut self, which: usize, limit: SpendLimit) -> Result<(), TestCaseError> {
        let ledgers: Vec<_> = self.processes.iter().map(|process| Arc::clone(&process.ledger)).collect();
        let runtime = runtime();
        let changing: Vec<_> = ledgers.iter().map(|ledger| runtime.block_on(ledger.begin_change(&limit.id))).collect();
        let mut came = Vec::new();
        for process in 0..self.processes.len() {
            self.act(&Step::Settle { process, which: 0, percent: 30 })?;
            let row = self.row("a", Some("u"), 0);
            if let Ok(hold) = self.processes[process].ledger.try_hold(row.clone(), Some(Nano(7))) {
                self.processes[process].holds.push(hold);
                came.push(row);
            }
        }
        self.store.put_limit(limit.clone());
        let was_refusing = self.limits[which].id == limit.id && !self.limits[which].is_shadow;
        self.limits[which] = limit.clone();
        changing.into_iter().for_each(|changing| drop(changing.put_now(limit.clone())));
        // What came before a limit was there, or refused, is no grant of its.
        let mut came = came.iter().filter(|_| was_refusing);
        came.try_for_each(|row| self.check_grant(row))
    }

    /// When everything has ended and every keeper had its turns: what was settled is what was spent, nothing is held.
    fn rest(&mut self) -> Result<(), TestCaseError> {
        for process in 0..self.processes.len() {
            while !self.processes[process].holds.is_empty() {
                self.act(&Step::Settle { process, which: 0, percent: 50 })?;
            }
        }
        for process in 0..self.processes.len() {
            self.processes[process].keeper.close();
            for _ in 0..8 {
                self.act(&Step::Turn { process })?;
            }
            prop_assert!(self.processes[process].keeper.is_at_rest(), "leases are left over");
            prop_assert!(self.processes[process].ledger.open_holds().is_empty());
        }
        Ok(())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn take(holds: &mut Vec<Hold>, which: usize) -> Option<Hold> {
    if holds.is_empty() { None } else { Some(holds.swap_remove(which % holds.len())) }
}

fn store_error() -> WriteError {
    WriteError::Store(store::StoreError::Unavailable("the disk is full".into()))
}

/// More than usual, and as many more as PROPTEST_CASES says.
fn histories() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.max(1_500), max_shrink_iters: 20_000, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn no_history_grants_more_than_a_limit(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new(3);
        for step in &steps {
            world.act(step)?;
        }
        world.rest()?;
    }

    /// Without crashes every nano-dollar is where it belongs: nothing is lost, nothing stays leased, and all of a limit
    /// can be used.
    #[test]
    fn without_crashes_nothing_is_left_behind(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(3);
        for step in steps.iter().filter(|step| !matches!(step, Step::Crash { .. } | Step::Fence { .. })) {
            world.act(step)?;
        }
        world.rest()?;
        let spent: u64 = world.spent.iter().map(|(_, cost)| cost).sum();
        prop_assert_eq!(world.store.spent(), Nano(spent));
        world.all_of_the_rest_can_be_used()?;
    }

    /// One process counts what it holds under limits that are set, deleted, and switched into shadow and out of it
    /// meanwhile; nothing is lost and nothing left behind.
    #[test]
    fn limits_come_and_go(steps in proptest::collection::vec(lonely_step(), 1..60)) {
        let mut world = World::new(1);
        for step in &steps {
            world.act(step)?;
        }
        world.rest()?;
        let spent: u64 = world.spent.iter().map(|(_, cost)| cost).sum();
        prop_assert_eq!(world.store.spent(), Nano(spent));
        world.all_of_the_rest_can_be_used()?;
    }
}

impl World {
    /// What is left of the project's and the organization's limit is granted.
    fn all_of_the_rest_can_be_used(&mut self) -> Result<(), TestCaseError> {
        let row = self.row("a", None, 0);
        let left = |which: usize, scope: &Scope| {
            let limit = &self.limits[which];
            let is_free = limit.is_shadow || self.absent.contains(&which);
            let left = || limit.amount.0.saturating_sub(self.committed(limit, scope, row.began_at));
            if is_free { 1_000 } else { left() }
        };
        let left = left(0, &Scope::Organization).min(left(1, &Scope::Project(project("a"))));
        for _ in 0..6 {
            if left == 0 {
                return Ok(());
            }
            if let Ok(hold) = self.processes[0].ledger.try_hold(row.clone(), Some(Nano(left))) {
                self.processes[0].holds.push(hold);
                return self.check_grant(&row);
            }
            // As a waiting request would.
            self.lend(0, &row, left)?;
        }
        Err(TestCaseError::fail(format!("{left} were left and not granted")))
    }
}

impl World {
    /// A turn of the keeper while a request waits for an amount.
    fn lend(&mut self, process: usize, row: &UsageRow, amount: u64) -> Result<(), TestCaseError> {
        let ledger = Arc::clone(&self.processes[process].ledger);
        let Ok(meters) = ledger.book().meters(row) else { return Ok(()) };
        let accounts: Vec<_> = meters.iter().map(|meter| meter.account(row.began_at)).collect();
        let lack = i64::try_from(amount).expect("small");
        let _wanting: Vec<_> = accounts.iter().map(|account| account.want(lack)).collect();
        accounts.iter().for_each(|account| ledger.touch(account));
        self.act(&Step::Turn { process })
    }
}
