//! The journal and its sums when things go wrong: answers that nobody waits for, restarts, damage.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use ledger::conformance::Behind;
use ledger::{AccountKey, Batch, LeaseTarget, LedgerStore};
use pricing::Nano;
use store::conformance::reports_agree;
use store::{Certainty, Grouping, Period, ReportFilter, ReportQuery, Scope, UsageRow, Width};

use super::money::{DAY, row};
use super::*;

fn by_day() -> ReportQuery {
    ReportQuery {
        starts_at: DAY,
        ends_at: DAY + 30 * 86_400,
        width: Width::Day,
        filter: ReportFilter::default(),
        group_by: vec![Grouping::Project, Grouping::Item],
    }
}

async fn batch(store: &Sqlite, rows: Vec<UsageRow>) -> Batch {
    let epoch = store.enter(1).await.expect("a life begins");
    Batch { epoch, now: DAY, rows, targets: Vec::new(), formerly: None }
}

async fn agree(store: &Sqlite, rows: &[UsageRow]) {
    reports_agree(store, rows, &by_day()).await;
    assert_eq!(store.check_sums().await.expect("readable"), Vec::<String>::new());
}

/// What an end user spent this month, by the account that is opened for them now.
async fn spent_by(store: &Sqlite, limit: &str, project: &str, user: &str, at: i64) -> (Nano, u64) {
    let scope = Scope::EndUser(ProjectId::new(project), String::new());
    store.put_limit(&ledger::conformance::limit(limit, scope.clone(), Period::Month, 1 << 50)).await;
    let account = AccountKey { limit: limit.into(), scope: scope.one(user), window: Period::Month.window(at) };
    let target = LeaseTarget { account, amount: Nano(1), watermark: Nano(1), in_use: Nano::ZERO };
    let opening = Batch { targets: vec![target], ..batch(store, Vec::new()).await };
    let states = LedgerStore::write(store, &opening).await.expect("written");
    (states[0].settled, states[0].calls)
}

/// A write that is dropped anywhere on its way, its commit included, and then repeated counts once.
#[tokio::test]
async fn a_write_that_nobody_waited_for_counts_once() {
    let (_folder, store) = fresh().await;
    let mut all = Vec::new();
    let (mut dropped, mut polls_needed) = (0, 0);
    for polls in 0..120_u64 {
        // Estimated rows and names among them.
        let rows: Vec<_> = (0..6).map(|number| row(polls * 10 + number, polls * 31 + number)).collect();
        let batch = batch(&store, rows.clone()).await;
        all.extend(rows);
        let mut count = 0;
        let answer = {
            let mut write = pin!(LedgerStore::write(&store, &batch));
            poll_fn(|context| {
                count += 1;
                match count > polls {
                    true => Poll::Ready(None),
                    false => write.as_mut().poll(context).map(Some),
                }
            })
            .await
        };
        match answer {
            Some(answer) => drop(answer.expect("written")),
            None => dropped += 1,
        }
        polls_needed = polls_needed.max(count);
        LedgerStore::write(&store, &batch).await.expect("written again");
    }
    assert!(dropped > 10 && polls_needed < 120, "{dropped} dropped, {polls_needed} polls at most");
    agree(&store, &all).await;
}

/// Where a commit's answer was lost, the database says whether it was done.
#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    let (_folder, store) = fresh().await;
    let rows: Vec<_> = (0..20).map(|id| row(id, id)).collect();
    let batch = batch(&store, rows.clone()).await;
    for is_committed in [false, true] {
        if is_committed {
            LedgerStore::write(&store, &batch).await.expect("written");
        }
        let mut ids = ids::Ids::default();
        let (marks, _) = ids.unwritten(&batch.rows, |row| &row.id);
        let sequence: i64 = sqlx::query_scalar("SELECT coalesce(max(sequence), 1) FROM usage_batch")
            .fetch_one(&store.writer)
            .await
            .expect("counted");
        ids.committing(sequence, marks);
        *store.ids.lock().expect("whole") = ids;
        *store.tail.lock().expect("whole") = None;
        LedgerStore::write(&store, &batch).await.expect("written");
        agree(&store, &rows).await;
    }
}

/// After a restart accounts of names begin with what was spent before it, whether it was added to the sums already or
/// stands in the journal alone.
#[tokio::test]
async fn names_are_known_after_a_restart() {
    let (folder, store) = fresh().await;
    let mut rows: Vec<_> = (0..400).map(|id| row(id, id * 7)).collect();
    rows.iter_mut().zip(0..).for_each(|(row, number)| row.end_user = Some(format!("user-{}", number % 3)));
    for piece in rows.chunks(7) {
        LedgerStore::write(&store, &batch(&store, piece.to_vec()).await).await.expect("written");
    }
    let at = rows[0].began_at;
    let expected = |user: &str| {
        let theirs =
            rows.iter().filter(|row| row.project.as_str() == "proj_1" && row.end_user.as_deref() == Some(user));
        let theirs = theirs.filter(|row| Period::Month.window(at).contains(row.began_at));
        theirs.fold((Nano::ZERO, 0), |sum, row| (sum.0.plus(row.cost), sum.1 + 1))
    };
    assert!(expected("user-1").1 > 10 && expected("user-2").1 > 10);
    assert_eq!(spent_by(&store, "limit_before", "proj_1", "user-1", at).await, expected("user-1"));
    let waiting =
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM usage_batch WHERE sequence > (SELECT until FROM name_fold)");
    assert!(waiting.fetch_one(&store.writer).await.expect("counted") > 0, "some names wait");
    store.close().await;
    drop(store);
    let store = Sqlite::open(folder.path()).await.expect("opens again");
    assert_eq!(spent_by(&store, "limit_after", "proj_1", "user-1", at).await, expected("user-1"));
    assert_eq!(spent_by(&store, "limit_after", "proj_1", "user-2", at).await, expected("user-2"));
    assert_eq!(spent_by(&store, "limit_after", "proj_1", "nobody", at).await, (Nano::ZERO, 0));
    agree(&store, &rows).await;
}

/// An estimated row that an earlier process wrote is not written twice, and does not stop the batch that it is in.
#[tokio::test]
async fn an_estimated_row_of_an_earlier_process_stays_one() {
    let (folder, store) = fresh().await;
    let estimated = UsageRow { certainty: Certainty::Estimated, ..row(1, 1) };
    let later = UsageRow { certainty: Certainty::Settled, ..row(2, 2) };
    LedgerStore::write(&store, &batch(&store, vec![estimated.clone()]).await).await.expect("written");
    store.close().await;
    drop(store);
    let store = Sqlite::open(folder.path()).await.expect("opens again");
    let both = batch(&store, vec![estimated.clone(), later.clone()]).await;
    LedgerStore::write(&store, &both).await.expect("written");
    agree(&store, &[estimated, later]).await;
}

/// Each sum that another hand changed is told, and a batch that was damaged is an error.
#[tokio::test]
async fn what_does_not_add_up_is_told() {
    let (_folder, store) = fresh().await;
    let rows: Vec<_> = (0..200).map(|id| row(id, id)).collect();
    for piece in rows.chunks(20) {
        LedgerStore::write(&store, &batch(&store, piece.to_vec()).await).await.expect("written");
    }
    agree(&store, &rows).await;
    for (change, undo) in [
        (
            "UPDATE usage_sum SET cost = cost + 1 WHERE width = 3600",
            "UPDATE usage_sum SET cost = cost - 1 WHERE width = 3600",
        ),
        ("UPDATE usage_sum SET text_input = text_input + 1", "UPDATE usage_sum SET text_input = text_input - 1"),
        ("UPDATE cost_sum SET amount = amount + 1", "UPDATE cost_sum SET amount = amount - 1"),
        ("UPDATE name_sum SET calls = calls + 1", "UPDATE name_sum SET calls = calls - 1"),
        ("INSERT INTO name_sum VALUES (20790, 1, 2, x'04', 3, 1, 1)", "DELETE FROM name_sum WHERE kind = 2"),
    ] {
        sqlx::raw_sql(change).execute(&store.writer).await.expect("changed");
        assert!(!store.check_sums().await.expect("readable").is_empty(), "{change}");
        sqlx::raw_sql(undo).execute(&store.writer).await.expect("changed back");
        agree(&store, &rows).await;
    }
    sqlx::raw_sql("UPDATE usage_batch SET rows = substr(rows, 1, length(rows) - 1) WHERE sequence = 5")
        .execute(&store.writer)
        .await
        .expect("damaged");
    let damaged = store.check_sums().await;
    assert!(matches!(&damaged, Err(StoreError::Corrupt(words)) if words.contains("usage_batch")), "{damaged:?}");
}
