//! What was charged without anybody knowing for sure: what a dead process may have spent, and requests whose stream
//! broke before its usage came. Each stays charged in full until it is lowered to what is known.

use ledger::Estimate;
use serde_json::{Value, json};
use store::{Act, Scope, SpendLimit, UsageRow};
use wire::refusal::Reason;

use crate::input::{Fields, Sizes, query};
use crate::{Answer, Call, Console, Event, amounts, no_such, scopes, unavailable};

const PAGES: Sizes = Sizes { min: 1, default: 20, max: 100 };

fn show_crash(estimate: &Estimate) -> Value {
    let account = &estimate.account;
    let mut shown = json!({
        "object": "sallyport.estimate",
        "id": estimate.id,
        "kind": "crash",
        "created_at": estimate.created_at,
        "limit_id": account.limit,
        "scope": scopes::show(&account.scope),
        "starts_at": account.window.starts_at,
        "ends_at": Some(account.window.ends_at).filter(|at| *at < i64::MAX),
    });
    amounts::merge(&mut shown, amounts::object([("amount", estimate.amount)]));
    shown
}

fn show_row(row: &UsageRow) -> Value {
    let mut shown = json!({
        "object": "sallyport.estimate",
        "id": row.id,
        "kind": "request",
        "created_at": row.settled_at,
        "began_at": row.began_at,
        "project_id": row.project.as_str(),
        "api_key_id": row.key.as_str(),
        "run": row.run,
        "tag": row.tag,
        "endpoint": row.endpoint,
        "model": row.model,
    });
    amounts::merge(&mut shown, amounts::object([("amount", row.cost)]));
    shown
}

/// Whether a row is spending of a limit.
fn concerns(limit: &SpendLimit, row: &UsageRow) -> bool {
    let is_one = |project: &store::ProjectId, name: &str, of: &Option<String>| {
        row.project == *project && of.as_deref().is_some_and(|of| name.is_empty() || of == name)
    };
    match &limit.scope {
        Scope::Organization => true,
        Scope::Project(project) => row.project == *project,
        Scope::Key(key) => row.key == *key,
        Scope::EndUser(project, name) => is_one(project, name, &row.end_user),
        Scope::Run(project, name) => is_one(project, name, &row.run),
        Scope::Tag(project, name) => is_one(project, name, &row.tag),
    }
}

impl Console {
    /// Crash estimates first, then requests, the newest first. `after` is the id of a request.
    pub(crate) async fn list_estimates(&self, call: &Call<'_>) -> Answer {
        let limit = PAGES.of(call)?;
        let after = query(call, "after")?;
        let mut data = Vec::new();
        if after.is_none() {
            // Few: one a lease of a process that died, and only while it charges something.
            let crashes = self.money.ledger_store.estimates().await.map_err(|error| unavailable(&error))?;
            data.extend(crashes.iter().map(show_crash));
        }
        let at_most = u32::try_from(limit + 1).unwrap_or(u32::MAX);
        let rows = self.money.reports.estimated_rows(after.as_deref(), at_most).await;
        let rows = rows.map_err(|error| unavailable(&error))?;
        let has_more = rows.len() > limit;
        data.extend(rows.iter().take(limit).map(show_row));
        let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
        Ok(json!({
            "object": "list", "first_id": id(data.first()), "last_id": id(data.last()), "has_more": has_more, "data": data,
        }))
    }

    /// Lowers an estimate to what is known now. It can only be lowered: what was held was the most that there could be.
    pub(crate) async fn lower_estimate(&self, call: &Call<'_>) -> Answer {
        let id = call.param("estimate_id");
        let fields = Fields::of(call)?;
        fields.only(&["amount", "threshold_amount"])?;
        let to = fields.required("amount", amounts::amount(&fields)?)?;
        let refused = || {
            let words = "must not be above what the estimate charges now, or it is no estimate any more";
            fields.wrong("amount", words)
        };
        // Whose it is decides which limits have room again.
        let (mut limit, mut row) = (None, None);
        if id.starts_with(Estimate::ID_PREFIX) {
            let estimates = self.money.ledger_store.estimates().await.map_err(|error| unavailable(&error))?;
            let of = estimates.into_iter().find(|estimate| estimate.id == id).ok_or_else(|| no_such("estimate", id))?;
            limit = Some(of.account.limit);
        } else {
            let of = self.money.reports.row(id).await.map_err(|error| unavailable(&error))?;
            row = Some(of.ok_or_else(|| no_such("estimate", id))?);
        }
        let project = row.as_ref().map(|row| row.project.clone());
        let payload = json!({"id": id, "amount_nanousd": to.0});
        let event = Event { kind: "estimate.lowered", project, payload };
        let act = Act::LowerEstimate { id: id.to_owned(), to };
        self.commit(call.actor(), act, vec![event]).await.map_err(|refusal| match refusal.reason {
            Reason::Conflict => refused(),
            _ => refusal,
        })?;
        let is_concerned = |other: &SpendLimit| {
            limit.as_ref().is_some_and(|limit| other.id == *limit)
                || row.as_ref().is_some_and(|row| concerns(other, row))
        };
        self.refresh_limits(is_concerned).await;
        let mut lowered = json!({"object": "sallyport.estimate.lowered", "id": id});
        amounts::merge(&mut lowered, amounts::object([("amount", to)]));
        Ok(lowered)
    }
}
