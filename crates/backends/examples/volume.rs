//! Whether reports and settling stay fast with many usage rows: `volume [ROWS] [FOLDER]`, by default 10,000,000 rows in
//! a temporary folder (some 2 GB).
//!
//! Rows spread over 90 days, 50 projects, 200 keys and 10 models go through the same batches as the ledger's. Then a
//! month by day of one project is asked for, a full batch is written, and the sums are held against the journal. At last
//! it tells what a row costs in CPU time, of all threads of the process, in batches as a gate under full load has them.
//! Ends with status 1 where a report takes more than 50 ms, an incident's questions more than 500, or does not equal the
//! rows.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backends::sqlite::Sqlite;
use ledger::{Batch, LedgerStore};
use pricing::{Nano, Quantities, Tier, Unit};
use store::{
    Certainty, CostLine, Grouping, KeyId, ProjectId, ReportFilter, ReportQuery, Reports, UsageKind, UsageRow, Width,
};

/// 2026-09-01T00:00:00Z, where the rows begin.
const BEGIN: i64 = 1_788_220_800;
/// 2026-10-01 and 2026-11-01: the month in question.
const MONTH: std::ops::Range<i64> = 1_790_812_800..1_793_491_200;
const DAYS: u64 = 90;
const PROJECTS: u64 = 50;
const KEYS: u64 = 200;
const MODELS: u64 = 10;
/// Rows of a batch while the database is filled; the ledger's own have 2,000 at most.
const FILL_ROWS: u64 = 20_000;
const BATCH_ROWS: u64 = 2_000;
/// Rows whose CPU time is taken, and how many of them come in a second.
const TIMED_ROWS: u64 = 1_000_000;
const TIMED_RATE: u64 = 30_000;
const REPORT_MAX: Duration = Duration::from_millis(50);
/// What a key did may take longer: a person waits for it once, and the key is over by then.
const INCIDENT_MAX: Duration = Duration::from_millis(500);

/// Reproducible numbers without pattern (Steele and others, "Fast splittable pseudorandom number generators").
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn row(number: u64, of: u64) -> UsageRow {
    let noise = mixed(number);
    let (key, model) = (noise % KEYS, (noise >> 20) % MODELS);
    let began_at = BEGIN + i64::try_from(u128::from(number) * u128::from(DAYS * 86_400) / u128::from(of)).unwrap_or(0);
    let mut quantities = Quantities::default();
    quantities.set(Unit::TextInput, 200 + (noise >> 30) % 4_000);
    quantities.set(Unit::TextCachedInput, (noise >> 36) % 2_000);
    quantities.set(Unit::TextOutput, 1 + (noise >> 42) % 900);
    let lines = lines(model, &quantities);
    UsageRow {
        id: format!("req_{noise:016x}{number:016x}"),
        began_at,
        settled_at: began_at + 2,
        project: ProjectId::new(format!("proj_{:024}", key % PROJECTS)),
        key: KeyId::new(format!("key_{key:024}")),
        end_user: (noise >> 50).is_multiple_of(2).then(|| format!("{:032x}", (noise >> 51) % 10_000)),
        run: None,
        tag: None,
        kind: UsageKind::Completions,
        endpoint: "/v1/chat/completions",
        model: format!("model-{model}"),
        tier: if (noise >> 60) == 0 { Tier::Priority } else { Tier::Standard },
        images: 0,
        cost: lines.iter().map(|line| line.amount).sum(),
        lines,
        quantities,
        certainty: Certainty::Settled,
    }
}

fn lines(model: u64, quantities: &Quantities) -> Vec<CostLine> {
    let line = |(unit, quantity): (Unit, u64)| CostLine {
        item: format!("model-{model}, {}", unit.word()),
        quantity,
        amount: Nano(quantity * (model + 1) * 125),
    };
    quantities.some().map(line).collect()
}

/// What the reports must say.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    requests: u64,
    cost: Nano,
}

/// What the rows of a gate under load have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    OneSeries,
    ManySeries,
    OwnEndUsers,
    FewEndUsers,
}

impl Load {
    fn row(self, number: u64) -> UsageRow {
        let noise = mixed(number);
        let of = row(number, u64::MAX);
        let began_at = BEGIN + i64::try_from(number / TIMED_RATE).unwrap_or(0);
        let end_user = match self {
            Load::OneSeries | Load::ManySeries => None,
            Load::OwnEndUsers => Some(format!("{noise:016x}{:016x}", mixed(noise))),
            Load::FewEndUsers => Some(format!("{:032x}", mixed(noise % 10_000))),
        };
        let row = UsageRow { began_at, settled_at: began_at + 2, end_user, tier: Tier::Standard, ..of };
        let (key, model) = if self == Load::ManySeries { (noise % KEYS, noise % KEYS % MODELS) } else { (0, 0) };
        UsageRow {
            project: ProjectId::new(format!("proj_{:024}", key % PROJECTS)),
            key: KeyId::new(format!("key_{key:024}")),
            lines: lines(model, &row.quantities),
            model: format!("model-{model}"),
            ..row
        }
    }
}

/// CPU time of the process, in nanoseconds.
fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Tells the CPU time of a row in full batches, in a database of its own.
async fn time_rows(load: Load, rows: u64) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = Sqlite::open(folder.path()).await?;
    let (epoch, mut spent_ns, mut longest) = (store.enter(BEGIN).await?, 0, Duration::ZERO);
    for first in (0..rows).step_by(usize::try_from(BATCH_ROWS)?) {
        let batch = (first..rows.min(first + BATCH_ROWS)).map(|number| load.row(number)).collect();
        let batch = Batch { epoch, now: BEGIN, rows: batch, targets: Vec::new(), formerly: None };
        let (before, started) = (cpu_ns(), Instant::now());
        store.write(&batch).await?;
        spent_ns += cpu_ns() - before;
        longest = longest.max(started.elapsed());
    }
    let before = cpu_ns();
    store.close().await;
    spent_ns += cpu_ns() - before;
    let megabytes = std::fs::metadata(folder.path().join("sallyport.db"))?.len() / 1_000_000;
    println!(
        "{load:?}: {} ns of CPU a row, {megabytes} MB for {rows} rows, {} ms for the longest batch",
        spent_ns / i64::try_from(rows)?,
        longest.as_millis()
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows = arguments.next().map_or(Ok(10_000_000), |rows| rows.parse::<u64>())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store = Sqlite::open(&folder).await?;
    let expected = fill(&store, rows).await?;
    println!("database: {} MB", std::fs::metadata(folder.join("sallyport.db"))?.len() / 1_000_000);
    let batch = time_batches(&store, rows).await?;
    println!("a batch of {BATCH_ROWS} rows: {} ms in the middle, {} ms at worst", batch.0, batch.1);
    let is_fast = time_reports(&store, &expected).await? & time_incident(&store).await?;
    let started = Instant::now();
    let differences = store.check_sums().await?;
    println!("the sums against the journal: {} differences, {} s", differences.len(), started.elapsed().as_secs());
    store.close().await;
    if let Some(difference) = differences.first() {
        return Err(difference.clone().into());
    }
    for load in [Load::OneSeries, Load::ManySeries, Load::OwnEndUsers, Load::FewEndUsers] {
        time_rows(load, rows.min(TIMED_ROWS)).await?;
    }
    if is_fast { Ok(()) } else { Err(format!("a report took more than {} ms", REPORT_MAX.as_millis()).into()) }
}

fn project() -> ProjectId {
    ProjectId::new(format!("proj_{:024}", 7))
}

async fn fill(store: &Sqlite, rows: u64) -> Result<Expected, Box<dyn Error>> {
    let (epoch, started, mut expected) = (store.enter(BEGIN).await?, Instant::now(), Expected::default());
    let mut next = 0;
    while next < rows {
        let end = rows.min(next + FILL_ROWS);
        let batch: Vec<_> = (next..end).map(|number| row(number, rows)).collect();
        for row in batch.iter().filter(|row| row.project == project() && MONTH.contains(&row.began_at)) {
            expected = Expected { requests: expected.requests + 1, cost: expected.cost.plus(row.cost) };
        }
        store.write(&Batch { epoch, now: BEGIN, rows: batch, targets: Vec::new(), formerly: None }).await?;
        next = end;
    }
    let seconds = started.elapsed().as_secs().max(1);
    println!("{rows} rows written in {seconds} s, {} a second", rows / seconds);
    Ok(expected)
}

/// Milliseconds of full batches at the end of the rows, each with a fresh second: the middle one and the worst.
async fn time_batches(store: &Sqlite, rows: u64) -> Result<(u128, u128), Box<dyn Error>> {
    let epoch = store.enter(BEGIN).await?;
    let mut times = Vec::new();
    for round in 0..21 {
        let first = rows + round * BATCH_ROWS;
        let batch = (first..first + BATCH_ROWS).map(|number| row(number, rows)).collect();
        let started = Instant::now();
        store.write(&Batch { epoch, now: BEGIN, rows: batch, targets: Vec::new(), formerly: None }).await?;
        times.push(started.elapsed().as_millis());
    }
    times.sort_unstable();
    Ok((times[times.len() / 2], times[times.len() - 1]))
}

/// What an incident asks of one key: a month by hour, the minutes of an hour, and a day by hour. (A few rows of one key in
/// 200 stand in each hour.)
async fn time_incident(store: &Sqlite) -> Result<bool, Box<dyn Error>> {
    let spans = [
        (Width::Hour, MONTH.start, MONTH.end),
        (Width::Minute, MONTH.end, MONTH.end + 3_600),
        (Width::Hour, MONTH.end + 3_600, MONTH.end + 86_400),
    ];
    let filter = ReportFilter { keys: vec![KeyId::new(format!("key_{:024}", 7))], ..ReportFilter::default() };
    let mut is_fast = true;
    for round in 1..=5 {
        let (started, mut calls) = (Instant::now(), 0);
        for (width, starts_at, ends_at) in spans {
            let query =
                ReportQuery { starts_at, ends_at, width, filter: filter.clone(), group_by: vec![Grouping::Model] };
            calls += store.usage(&query).await?.iter().map(|sum| sum.requests).sum::<u64>();
        }
        let time = started.elapsed();
        println!("an incident of one key, round {round}: {calls} calls, {:.1} ms", time.as_secs_f64() * 1e3);
        is_fast &= time <= INCIDENT_MAX;
    }
    Ok(is_fast)
}

async fn time_reports(store: &Sqlite, expected: &Expected) -> Result<bool, Box<dyn Error>> {
    let query = ReportQuery {
        starts_at: MONTH.start,
        ends_at: MONTH.end,
        width: Width::Day,
        filter: ReportFilter { projects: vec![project()], ..ReportFilter::default() },
        group_by: vec![Grouping::Model],
    };
    let by_item = ReportQuery { group_by: vec![Grouping::Item], ..query.clone() };
    let mut is_fast = true;
    for round in 1..=5 {
        let started = Instant::now();
        let usage = store.usage(&query).await?;
        let usage_time = started.elapsed();
        let costs = store.costs(&by_item).await?;
        let cost_time = started.elapsed() - usage_time;
        let found = Expected {
            requests: usage.iter().map(|sum| sum.requests).sum(),
            cost: costs.iter().map(|sum| sum.amount).sum(),
        };
        if found != *expected {
            return Err(format!("the reports say {found:?}, the rows {expected:?}").into());
        }
        println!(
            "a month by day for one project, round {round}: usage by model {:.1} ms, costs by line {:.1} ms",
            usage_time.as_secs_f64() * 1e3,
            cost_time.as_secs_f64() * 1e3
        );
        is_fast &= usage_time.max(cost_time) <= REPORT_MAX;
    }
    Ok(is_fast)
}
