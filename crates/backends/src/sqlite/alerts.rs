//! Spend alerts: a month's spending held against thresholds, in the transaction that writes it.
//!
//! An alert fires at most once a month, whatever becomes of its threshold later: its row in `alert_firing` is unique.
//! One that is made or changed when its threshold is passed already fires at once, with the act.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pricing::Nano;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection};
use store::{Channel, Notice, Period, ProjectId, SpendAlert, SpendAlertTriggered, StoreError, UsageRow};

use super::figures::{amount, nano};
use super::pieces::{ManyRows, pieces};
use super::registry::{Done, column, one, parse, text};
use super::tally::Minute;
use super::{outbox, refused};

/// Whose month: the project's id, nothing for the organization; and when the month begins.
type Month = (String, i64);

static ADD_SPENDING: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(
        "INSERT INTO month_spending (project, starts_at, amount)",
        3,
        &format!("ON CONFLICT DO UPDATE SET amount = min(amount + excluded.amount, {})", i64::MAX),
    )
});

/// The months that a row is spending of.
fn months(row: &UsageRow) -> [Month; 2] {
    let starts_at = Period::Month.window(row.began_at).starts_at;
    [(String::new(), starts_at), (row.project.as_str().to_owned(), starts_at)]
}

/// Counts what a batch comes to, and fires the alerts whose thresholds it passes.
pub(super) async fn count(connection: &mut SqliteConnection, minutes: &[Minute<'_>], now: i64) -> Done {
    let mut spending: BTreeMap<Month, Nano> = BTreeMap::new();
    for minute in minutes {
        for month in months(minute.row) {
            let sum = spending.entry(month).or_default();
            *sum = sum.plus(minute.spent().amount);
        }
    }
    let spending: Vec<_> = spending.into_iter().collect();
    ADD_SPENDING
        .run(connection, &spending, |values, ((project, starts_at), sum)| {
            values.push(project).push(*starts_at).push(amount(*sum));
        })
        .await?;
    let months: Vec<_> = spending.into_iter().map(|(month, _)| month).collect();
    fire(connection, &months, now).await
}

/// Takes from the months of a row what it cost too much. What has fired stays so.
pub(super) async fn lower(connection: &mut SqliteConnection, row: &UsageRow, less: Nano) -> Done {
    for (project, starts_at) in months(row) {
        let query =
            sqlx::query("UPDATE month_spending SET amount = max(amount - ?, 0) WHERE project = ? AND starts_at = ?");
        let query = query.bind(amount(less)).bind(project).bind(starts_at);
        query.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

/// Stores an alert, new or changed, and fires it if its threshold is passed.
pub(super) async fn put(connection: &mut SqliteConnection, alert: &SpendAlert, now: i64) -> Done {
    let query = sqlx::query(
        "INSERT INTO spend_alert (id, project_id, threshold, recipients, subject_prefix, created_at) \
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET project_id = excluded.project_id, \
         threshold = excluded.threshold, recipients = excluded.recipients, subject_prefix = excluded.subject_prefix",
    );
    let project = alert.project.as_ref().map(ProjectId::as_str);
    let query = query.bind(&alert.id).bind(project).bind(amount(alert.threshold));
    let query = query.bind(json!(alert.recipients).to_string()).bind(&alert.subject_prefix).bind(alert.created_at);
    one(query.execute(&mut *connection).await)?;
    let month = (project.unwrap_or_default().to_owned(), Period::Month.window(now).starts_at);
    fire(connection, &[month], now).await
}

/// Deletes an alert; notices that it made stay.
pub(super) async fn delete(connection: &mut SqliteConnection, id: &str) -> Done {
    one(sqlx::query("DELETE FROM spend_alert WHERE id = ?").bind(id).execute(connection).await)
}

/// All alerts.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Vec<SpendAlert>, StoreError> {
    let query = sqlx::query("SELECT * FROM spend_alert ORDER BY id");
    query.fetch_all(connection).await.map_err(refused)?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<SpendAlert, StoreError> {
    Ok(SpendAlert {
        id: text(row, "id")?,
        project: column::<Option<String>>(row, "project_id")?.map(ProjectId::new),
        threshold: nano(column(row, "threshold")?),
        recipients: parse(&text(row, "recipients")?)?,
        subject_prefix: column(row, "subject_prefix")?,
        created_at: column(row, "created_at")?,
    })
}

/// Fires the alerts of these months that are passed and have not fired.
async fn fire(connection: &mut SqliteConnection, months: &[Month], now: i64) -> Done {
    let mut passed = Vec::new();
    for piece in pieces(months) {
        let mut query = QueryBuilder::<Driver>::new(
            "SELECT alert.*, month.starts_at, month.amount AS spent, project.name AS project_name, \
             strftime('%Y%m', month.starts_at, 'unixepoch') AS month_name FROM (",
        );
        query.push_values(piece, |mut tuple, (project, starts_at)| {
            tuple.push_bind(project).push_bind(*starts_at);
        });
        // `IS`, because the organization's alerts have no project.
        query.push(
            ") wanted CROSS JOIN month_spending month ON month.project = wanted.column1 \
             AND month.starts_at = wanted.column2 CROSS JOIN spend_alert alert \
             ON alert.project_id IS nullif(month.project, '') AND alert.threshold <= month.amount \
             LEFT JOIN project ON project.id = alert.project_id WHERE NOT EXISTS (SELECT 1 FROM alert_firing \
             WHERE alert_firing.alert = alert.id AND alert_firing.starts_at = month.starts_at)",
        );
        passed.extend(query.build().fetch_all(&mut *connection).await.map_err(refused)?);
    }
    if passed.is_empty() {
        return Ok(());
    }
    let webhooks = outbox::webhook_ids(connection).await?;
    for row in &passed {
        fire_one(connection, row, &webhooks, now).await?;
    }
    Ok(())
}

async fn fire_one(connection: &mut SqliteConnection, row: &SqliteRow, webhooks: &[String], now: i64) -> Done {
    let (alert, starts_at) = (read(row)?, column::<i64>(row, "starts_at")?);
    let query = sqlx::query("INSERT INTO alert_firing (alert, starts_at) VALUES (?, ?)");
    one(query.bind(&alert.id).bind(starts_at).execute(&mut *connection).await)?;
    let notice = Notice {
        // Stable: whoever fires it a second time, after a database was restored, tells the same notice.
        id: format!("{}{}_{}", Notice::ID_PREFIX, alert.id, text(row, "month_name")?),
        kind: SpendAlert::NOTICE_KIND.to_owned(),
        created_at: now,
        payload: SpendAlertTriggered {
            alert_id: alert.id.clone(),
            project_id: alert.project.clone(),
            project_name: column(row, "project_name")?,
            threshold: alert.threshold,
            spent: nano(column(row, "spent")?),
            window_start: starts_at,
        }
        .payload(),
    };
    let mut channels: Vec<_> = webhooks.iter().map(|id| Channel::Webhook { id: id.clone() }).collect();
    if !alert.recipients.is_empty() {
        channels.push(Channel::Email { recipients: alert.recipients, subject_prefix: alert.subject_prefix });
    }
    outbox::put(connection, &notice, &channels).await
}
