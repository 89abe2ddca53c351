//! What the month will cost if it goes on like this: a straight line, twice, in integers.
//!
//! One line goes through the month so far, the other from now at the pace of the last seven days. Both count what is
//! settled; estimates of crashes are not in them.

use pricing::Nano;
use serde_json::{Value, json};
use store::{Period, ProjectId, ReportFilter, ReportQuery, Scope, SpendLimit, Width};
use wire::refusal::Refusal;

use crate::input::query;
use crate::{Answer, Call, Console, amounts, no_such, unavailable};

/// How far back the pace is taken from.
const PACE_SECONDS: i64 = 7 * 86_400;

/// `amount` for `wanted` seconds, where it is known for `known`; rounded up.
fn stretched(amount: Nano, wanted: i64, known: i64) -> Nano {
    let (wanted, known) = (wanted.max(0).unsigned_abs(), known.max(1).unsigned_abs());
    let product = u128::from(amount.0) * u128::from(wanted);
    Nano(u64::try_from(product.div_ceil(u128::from(known))).unwrap_or(u64::MAX))
}

impl Console {
    /// Of the organization, or of the project in `project_id`.
    pub(crate) async fn forecast(&self, call: &Call<'_>) -> Answer {
        let snapshot = self.snapshot();
        let (scope, created_at) = match query(call, "project_id")? {
            None => (Scope::Organization, snapshot.organization.created_at),
            Some(id) => {
                let project = snapshot.project(&ProjectId::new(&*id)).ok_or_else(|| no_such("project", &id))?;
                (Scope::Project(project.id.clone()), project.created_at)
            }
        };
        let now = self.now();
        let month = Period::Month.window(now);
        let spent = self.spent(&scope, month.starts_at, now, Width::Day).await?;
        // Hours begin at whole hours; the pace of something young is taken from its whole life.
        let hour = |at: i64| at.div_euclid(Width::Hour.seconds()) * Width::Hour.seconds();
        let pace_from = hour((now - PACE_SECONDS).max(created_at));
        let lately = self.spent(&scope, pace_from, now, Width::Hour).await?;
        let left_seconds = month.ends_at - now;
        let month_from = month.starts_at.max(created_at);
        let by_month = stretched(spent, month.ends_at - month_from, now - month_from);
        let by_pace = spent.plus(stretched(lately, left_seconds, now - pace_from));
        let is_this = |limit: &SpendLimit| limit.scope == scope && limit.period == Period::Month && !limit.is_shadow;
        let limit = self.money.ledger.limits().into_iter().find(|limit| is_this(limit));
        let mut answer = json!({
            "object": "sallyport.forecast",
            "scope": crate::scopes::show(&scope),
            "starts_at": month.starts_at,
            "ends_at": month.ends_at,
            "pace_from": pace_from,
            "at": now,
            "limit": limit.map(|limit| Value::from(amounts::object([("amount", limit.amount_at(now))]))),
        });
        let figures = [
            ("spent", spent),
            ("last_7_days", lately),
            ("forecast_from_month", by_month),
            ("forecast_from_last_7_days", by_pace),
        ];
        amounts::merge(&mut answer, amounts::object(figures));
        Ok(answer)
    }

    async fn spent(&self, scope: &Scope, starts_at: i64, now: i64, width: Width) -> Result<Nano, Refusal> {
        let projects = match scope {
            Scope::Project(project) => vec![project.clone()],
            _ => Vec::new(),
        };
        let filter = ReportFilter { projects, ..ReportFilter::default() };
        let query = ReportQuery { starts_at, ends_at: now + 1, width, filter, group_by: Vec::new() };
        let sums = self.money.reports.costs(&query).await.map_err(|error| unavailable(&error))?;
        Ok(sums.iter().map(|sum| sum.amount).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_straight_and_never_panics() {
        assert_eq!(stretched(Nano(100), 30, 10), Nano(300));
        assert_eq!(stretched(Nano(1), 1, 3), Nano(1));
        assert_eq!(stretched(Nano(5), -1, 0), Nano(0));
        assert_eq!(stretched(Nano(u64::MAX), i64::MAX, 1), Nano(u64::MAX));
    }
}
