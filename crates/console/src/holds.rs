//! Money that is held right now: by whom, how much, since when, and why.

use serde_json::{Value, json};

use crate::input::{Sizes, invalid, query};
use crate::{Answer, Call, Console, amounts};

const PAGES: Sizes = Sizes { min: 1, default: 100, max: 1_000 };

fn show(hold: &ledger::OpenHold, now: i64) -> Value {
    let mut shown = json!({
        "object": "sallyport.hold",
        "id": hold.request_id,
        "project_id": hold.project.as_str(),
        "api_key_id": hold.key.as_str(),
        "end_user": hold.end_user,
        "run": hold.run,
        "tag": hold.tag,
        "endpoint": hold.endpoint,
        "model": hold.model,
        "doing": hold.doing.word(),
        "began_at": hold.began_at,
        "age_seconds": now.saturating_sub(hold.began_at).max(0),
    });
    amounts::merge(&mut shown, amounts::object([("amount", hold.amount)]));
    shown
}

impl Console {
    /// The oldest first: a hold that is older than any answer takes is a defect. Holds end while somebody reads, so a
    /// page begins at a place in time (`next_page`), not at a hold.
    pub(crate) fn list_holds(&self, call: &Call<'_>) -> Answer {
        let limit = PAGES.of(call)?;
        let from = query(call, "page")?.map(|page| place(&page)).transpose()?;
        let project = query(call, "project_id")?;
        let mut holds = self.money.ledger.open_holds();
        holds.retain(|hold| project.as_deref().is_none_or(|project| hold.project.as_str() == project));
        let total = holds.iter().map(|hold| hold.amount).sum();
        let count = holds.len();
        holds.sort_by(|one, other| (one.began_at, &one.request_id).cmp(&(other.began_at, &other.request_id)));
        if let Some((began_at, id)) = from {
            holds.retain(|hold| (hold.began_at, hold.request_id.as_str()) > (began_at, id.as_str()));
        }
        let has_more = holds.len() > limit;
        holds.truncate(limit);
        let next = holds.last().filter(|_| has_more).map(|hold| format!("{}-{}", hold.began_at, hold.request_id));
        let now = self.now();
        let data: Vec<Value> = holds.iter().map(|hold| show(hold, now)).collect();
        let mut answer =
            json!({"object": "list", "data": data, "has_more": has_more, "next_page": next, "count": count});
        amounts::merge(&mut answer, amounts::object([("held", total)]));
        Ok(answer)
    }
}

fn place(page: &str) -> Result<(i64, String), wire::refusal::Refusal> {
    let parts = page.split_once('-').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    parts.ok_or_else(|| invalid("page", "'page' must be the next_page of an answer."))
}
