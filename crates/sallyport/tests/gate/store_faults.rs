//! The database at its worst: locked, refusing, full. What leased money covers goes on; then clear refusals that ask to
//! try again; and afterwards every cent is accounted for.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};

use crate::books::{sum, total};
use crate::client::Answer;
use crate::crowd::chat;
use crate::world::{UPSTREAM_KEY, World};

/// Output tokens of each request: half a cent at most, and 0.1 to 0.4 of a cent really.
const OUTPUT_TOKENS: u64 = 400;

/// A gate with a project's limit of twenty dollars, and money in stock; the limit's id.
fn world(data: Option<&Path>, launcher: &[&str]) -> (World, String) {
    let upstream = Upstream::start(Options { key: Some(UPSTREAM_KEY.into()), ..Options::default() });
    let url = upstream.url();
    let environment = [("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", &*url)];
    let config = "[money]\nhold_wait = 0.3\nstore_wait = 0.5\n";
    let world = World::start_in(data, launcher, upstream, config, &environment);
    let project = json!({"kind": "project", "project_id": world.project_id});
    let limit = world.limit_of(project, "month", "20.00", json!({}));
    world.upstream.script(Script {
        times: u32::MAX,
        completion_tokens_range: Some((100, OUTPUT_TOKENS)),
        ..Script::default()
    });
    for _ in 0..3 {
        assert_eq!(post(&world).status, 200);
    }
    // Money is put in stock with the write that settles them.
    world.expect_charged(&world.project_id, &sum(&world.upstream.wait_for_billing(|_| true).billed));
    (world, limit)
}

fn post(world: &World) -> Answer {
    world.post("/v1/chat/completions", &chat(OUTPUT_TOKENS))
}

/// Requests while nothing can be written: some are covered, and then it is said that there is no more.
fn expect_what_is_leased_and_no_more(world: &World) {
    let covered = (0..1_000).take_while(|number| {
        let answer = post(world);
        if answer.status == 200 {
            return true;
        }
        expect_try_again(&answer, *number);
        false
    });
    let covered = covered.count();
    assert!((1..1_000).contains(&covered), "{covered} requests were covered");
    // It stays so, and the gate itself is well.
    for number in 0..3 {
        expect_try_again(&post(world), number);
    }
    let health = world.raw(b"GET /healthz HTTP/1.1\r\nHost: gate.test\r\n\r\n");
    assert_eq!(health.status, 200);
}

fn expect_try_again(answer: &Answer, number: usize) {
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (503, "store_unavailable"),
        "{number}: {}",
        answer.text()
    );
    assert_eq!(answer.header("x-should-retry"), Some("true"));
    assert!(answer.header("retry-after-ms").is_some() && answer.header("retry-after").is_some());
    assert!(answer.text().contains("database"), "{}", answer.text());
}

/// After the fault: traffic goes on, and what was charged is what was billed, to the nano-dollar.
fn expect_nothing_lost(world: &World, limit: &str) {
    world.until("traffic goes on", || post(world).status == 200);
    assert_eq!(post(world).status, 200);
    let billing = world.upstream.wait_for_billing(|_| true);
    let billed = sum(&billing.billed);
    world.expect_charged(&world.project_id, &billed);
    world.until("the limit knows all of it", || world.figure(limit, "settled") == total(&billed));
    assert_eq!(world.metric("sallyport_estimated_ends_total"), 0);
    world.expect_no_defect();
}

pub(crate) fn database(world: &World) -> PathBuf {
    world.folder.path().join("data/sallyport.db")
}

/// A program that has done something to the database, until its input ends.
pub(crate) struct Meddler(Child);

impl Meddler {
    /// Runs Python lines with an open connection `db`; a second part when it is dropped.
    pub(crate) fn new(database: &Path, first: &str, last: &str) -> Meddler {
        let code = format!(
            "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n{first}\n\
             print('done', flush=True)\nsys.stdin.read()\n{last}\ndb.close()\n"
        );
        let mut command = Command::new("python3");
        command.arg("-c").arg(code).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3, which the tests need anyway");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "done\n");
        Meddler(child)
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn another_program_that_reads_the_database_takes_nothing_from_it() {
    let (mut world, limit) = world(None, &[]);
    // It finds that it is not the only one, and leaves the log of what is not in the file yet alone.
    drop(Meddler::new(&database(&world), "db.execute('SELECT count(*) FROM usage_row').fetchall()", ""));
    assert!(world.folder.path().join("data/sallyport.db-wal").exists(), "deleted from under the gate");
    assert_eq!(post(&world).status, 200);
    world.expect_charged(&world.project_id, &sum(&world.upstream.wait_for_billing(|_| true).billed));
    world.restart("-KILL");
    let billed = sum(&world.upstream.billing().billed);
    assert_eq!(world.charged(&world.project_id), billed, "what was written is there");
    assert!(world.figure(&limit, "settled") >= total(&billed));
}

#[test]
fn a_locked_database_stops_only_what_is_not_leased() {
    let (world, limit) = world(None, &[]);
    let lock = Meddler::new(&database(&world), "db.execute('BEGIN IMMEDIATE')", "db.execute('ROLLBACK')");
    expect_what_is_leased_and_no_more(&world);
    drop(lock);
    expect_nothing_lost(&world, &limit);
}

#[test]
fn a_database_that_refuses_writes_stops_only_what_is_not_leased() {
    let (world, limit) = world(None, &[]);
    let tables = "for table in ('usage_batch', 'lease', 'spend_account'):\n    for act in ('INSERT', 'UPDATE', 'DELETE'):\n        \
                  db.execute(f";
    let make = format!(
        "{tables}\"CREATE TRIGGER refuse_{{act}}_{{table}} BEFORE {{act}} ON {{table}} BEGIN SELECT RAISE(ABORT, 'no writes'); END\")"
    );
    let take_away = format!("{tables}\"DROP TRIGGER refuse_{{act}}_{{table}}\")");
    let refusing = Meddler::new(&database(&world), &make, &take_away);
    expect_what_is_leased_and_no_more(&world);
    assert!(world.metric("sallyport_ledger_write_failures_total") > 0);
    assert!(world.diagnostics().contains("the ledger's store cannot be written"));
    drop(refusing);
    expect_nothing_lost(&world, &limit);
}

/// A limit of file sizes stands in for a full disk where nobody may mount one.
#[test]
fn a_database_that_cannot_grow_stops_only_what_is_not_leased() {
    // The signal of such a limit would end the process; a full disk sends none.
    let (world, limit) = world(None, &["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    let set = |soft: &str| {
        let id = world.process_id().to_string();
        let status = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={soft}:")]).status();
        assert!(status.expect("prlimit").success());
    };
    set("4096");
    expect_what_is_leased_and_no_more(&world);
    set("unlimited");
    expect_nothing_lost(&world, &limit);
}

/// A small disk, for whoever may mount one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Option<Disk> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(folder.path()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success()).then_some(Disk(folder))
    }

    fn remount(&self, how: &str) {
        let status = Command::new("mount").arg("-o").arg(format!("remount,{how}")).arg(self.0.path()).status();
        assert!(status.expect("mount").success());
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.path().join("ballast")).expect("a file");
        for size in [64 * 1024, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_stops_only_what_is_not_leased() {
    let Some(disk) = Disk::new() else {
        eprintln!("not run: only root may mount a small disk; the test with a limit of file sizes stands in for it");
        return;
    };
    let (world, limit) = world(Some(disk.0.path()), &[]);
    disk.fill();
    expect_what_is_leased_and_no_more(&world);
    disk.empty();
    expect_nothing_lost(&world, &limit);
}

#[test]
fn a_database_that_is_read_only_keeps_a_gate_from_starting_and_loses_nothing() {
    let Some(disk) = Disk::new() else {
        eprintln!("not run: only root may mount a disk that is read-only for root, too");
        return;
    };
    let (mut world, limit) = world(Some(disk.0.path()), &[]);
    world.stop("-TERM");
    disk.remount("ro");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    command.env_clear().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(world.folder.path().join("data"));
    let output = command.output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("cannot use the data folder"), "{words}");
    disk.remount("rw");
    world.resume();
    expect_nothing_lost(&world, &limit);
}

/// Stopped in the middle of a fault, the gate says what it could not write; the next one charges it as estimates.
#[test]
fn what_could_not_be_written_before_a_stop_stays_charged() {
    let (mut world, limit) = world(None, &[]);
    let lock = Meddler::new(&database(&world), "db.execute('BEGIN IMMEDIATE')", "db.execute('ROLLBACK')");
    expect_what_is_leased_and_no_more(&world);
    world.stop("-KILL");
    drop(lock);
    world.resume();
    let spent = total(&sum(&world.upstream.wait_for_billing(|_| true).billed));
    let settled = world.figure(&limit, "settled");
    assert!(settled >= spent, "{settled} settled for {spent}");
    let crashes = world.estimates().iter().filter(|estimate| estimate["kind"] == "crash").count();
    assert_eq!(crashes, 1);
    // What is known now: an operator lowers the estimate to it, and not an inch further is anything forgotten.
    let estimate = world.estimates()[0].clone();
    let known = settled - spent;
    let amount = u128::from(estimate["amount_nano"].as_u64().expect("nano-dollars"));
    let to = amount - known;
    let path = format!("/v1/sallyport/estimates/{}", estimate["id"].as_str().expect("an id"));
    let lowered: Value = world.admin("POST", &path, &json!({"amount": format!("0.{to:09}")}));
    assert_eq!(lowered["object"], "sallyport.estimate.lowered");
    world.until("the limit knows it", || world.figure(&limit, "settled") == spent);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(world.figure(&limit, "settled"), spent);
}
