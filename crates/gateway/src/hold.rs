//! Money for exactly the bytes that will be sent: the worst case of the request is held before anything is spent.
//!
//! Promises: what has no bound or no price passes only where no hard limit applies; caps that the bound rests on are in
//! the body that goes out; near a limit text is counted exactly before anybody waits, other holds are waited for, and
//! then the limit's own policy decides (`near_limit`). The hold rides with the answer ([`crate::settle`]).

mod near_limit;
mod words;

use std::sync::Arc;

use http::HeaderMap;
use ledger::{Hold, Refused};
use metering::amend::{self, Edit};
use metering::bound::{self, Bounded, Known, NoBound};
use metering::exact;
use metering::request::{Asked, Cap, TierAsked};
use pricing::{ModelPrices, Nano, Quantities, Table, Tier};
use rates::Admission;
use store::{Certainty, Project, UsageKind, UsageRow};
use tokio::sync::Semaphore;
use wire::endpoint::{Meter, Method};
use wire::key_like::holds_key;
use wire::refusal::{Reason, Refusal};

use crate::client_secrets::Tab;
use crate::gate::Gate;
use crate::headers::single;
use crate::idempotency::Keeping;
use crate::inspect::{Awaited, Cleared};
use crate::own;
use crate::prepare::Prepared;
use crate::record::Record;
use crate::resolve::Resolved;
use crate::sending::Sending;
use crate::settle::{Growth, Settling, Undo};
use crate::upstreams::Ways;

/// Names an agent's run.
const RUN_HEADER: &str = "x-sallyport-run";
/// Names what the request is for.
const TAG_HEADER: &str = "x-sallyport-tag";
/// Longest name of a run or tag.
const NAME_CHARS_MAX: usize = 128;
/// Output tokens of a request to the embedded model that sets no cap: it fills its whole context otherwise.
const LOCAL_OUTPUT_TOKENS_DEFAULT: u64 = 512;
/// The model of a moderation that names none.
const MODERATION_MODEL: &str = "omni-moderation-latest";
/// Requests whose text is counted at the same time.
static COUNTING: Semaphore = Semaphore::const_new(4);

/// From this part of a limit on, answers carry a warning.
const WARNING_PERCENT: u64 = 80;

/// A request whose money is held, or that costs nothing. Only [`hold`] makes one.
pub(crate) struct Held {
    /// The bytes that will be sent.
    pub(crate) prepared: Prepared,
    /// What must happen with the money at the answer's end; `None` for what is not metered.
    pub(crate) settling: Option<Box<Settling>>,
    /// Keeps the answer for whoever asks again with the same `Idempotency-Key`.
    pub(crate) keeping: Option<Box<Keeping>>,
    /// What its answer has to wait for.
    pub(crate) awaited: Option<Awaited>,
}

/// What the stages before know.
pub(crate) struct Claim<'a> {
    pub(crate) gate: &'a Arc<Gate>,
    pub(crate) resolved: &'a Resolved<'a>,
    pub(crate) headers: &'a HeaderMap,
    /// Whether the embedded model answers.
    pub(crate) is_local: bool,
    /// Where it may go; `None` where the gate answers by itself.
    pub(crate) ways: Option<&'a Ways>,
}

/// Holds a request's worst case.
///
/// # Errors
/// 429 when a limit does not cover it, 503 when the store cannot say.
pub(crate) async fn hold(
    claim: Claim<'_>,
    cleared: Cleared,
    mut admission: Option<Admission>,
    record: &mut Record,
) -> Result<Held, Refusal> {
    let (mut prepared, awaited) = cleared.into_parts();
    let meter = claim.resolved.row.endpoint.meter;
    let (Some(project), true) = (claim.resolved.project(), meter != Meter::Nothing) else {
        record.admission = admission;
        let settling = Box::pin(claim.later_answer()).await?;
        return Ok(Held { prepared, settling, keeping: None, awaited });
    };
    let gate = claim.gate;
    let asked = prepared.asked.take().unwrap_or_default();
    let model = claim.model(&prepared, meter);
    let row = claim.row(project, &asked, model, record)?;
    let table = Arc::clone(&gate.money.prices.table());
    let mut request = Request {
        claim,
        project,
        meter,
        asked: &asked,
        table: &table,
        edits: Vec::new(),
        undo: Undo::default(),
        growth: None,
        is_bounded: false,
    };
    let tab = match request.tab(&row) {
        Ok(tab) => tab,
        Err(refusal) => {
            admission.iter_mut().for_each(|admission| admission.correct(gate.money.now_ns(), 0));
            return Err(refusal);
        }
    };
    request.is_bounded = tab.is_some();
    let is_limited = gate.money.ledger.limits_apply(&row);
    let hold = match request.granted(&prepared, row, is_limited, record).await {
        Ok(hold) => hold,
        Err(refusal) => {
            // What money refuses uses no tokens: nobody else is to be short of them.
            admission.iter_mut().for_each(|admission| admission.correct(gate.money.now_ns(), 0));
            return Err(refusal);
        }
    };
    let asks_for_usage = request.asks_for_usage();
    request.undo.usage = asks_for_usage;
    let Request { edits, undo, growth, .. } = request;
    if asks_for_usage || !edits.is_empty() {
        let body = match edits.is_empty() && !asked.has_stream_options {
            true => amend::append_usage(&prepared.whole),
            false => amend::set(&prepared.whole, &edits, asks_for_usage),
        };
        let Some(body) = body else {
            // What is held is for another body than this one.
            hold.release();
            let words = "The gate could not put its limits into the request body. Send it as a JSON object.";
            return Err(Refusal::new(Reason::Internal, words).cause("the body is no object"));
        };
        prepared.whole = body.into();
        prepared.body = Sending::Whole(prepared.whole.clone());
    }
    if let Some(near) = hold.nearness().filter(|near| near.percent >= WARNING_PERCENT) {
        record.notes.push(("x-sallyport-spend-warning", words::nearness(&near)));
    }
    let mut settling = Settling::new(gate, hold, admission, table, (meter, asked), undo, project.money.abandoned);
    settling.growth = growth;
    settling.tab = tab.map(Tab::spend);
    Ok(Held { prepared, settling: Some(settling), keeping: None, awaited })
}

impl Claim<'_> {
    /// What comes out of a stored response that is read again: what the gate set when it was made.
    async fn later_answer(&self) -> Result<Option<Box<Settling>>, Refusal> {
        let endpoint = self.resolved.row.endpoint;
        if endpoint.owned_by != Some("response_id") || endpoint.method == Method::Delete {
            return Ok(None);
        }
        let params = self.resolved.decoded_params()?;
        let Some((_, id)) = params.into_iter().find(|(name, _)| *name == "response_id") else { return Ok(None) };
        let echoes = own::echoes(self.gate, &id).await?;
        Ok((!echoes.is_empty()).then(|| Settling::only_undo(self.gate, Meter::Responses, echoes)))
    }

    /// The model that is priced.
    fn model(&self, prepared: &Prepared, meter: Meter) -> String {
        match (&prepared.model, meter) {
            _ if self.is_local => self.gate.settings.local_model.to_owned(),
            (Some(model), _) => model.clone(),
            (None, Meter::Moderations) => MODERATION_MODEL.to_owned(),
            (None, _) => String::new(),
        }
    }

    /// The row that the request's end will write.
    fn row(&self, project: &Project, asked: &Asked, model: String, record: &Record) -> Result<UsageRow, Refusal> {
        let gate = self.gate;
        let now = gate.clock.unix_seconds();
        let endpoint = self.resolved.row.endpoint;
        let named = single(self.headers, RUN_HEADER)?.map(|run| name(RUN_HEADER, run)).transpose()?;
        // A request that goes on from an earlier one belongs to its run.
        let earlier = asked.previous_response.as_deref().filter(|_| named.is_none());
        let run = named.or_else(|| gate.money.links.find(project.id.as_str(), earlier?)?.run);
        Ok(UsageRow {
            id: record.request_id.clone(),
            began_at: now,
            settled_at: now,
            project: project.id.clone(),
            key: self.resolved.caller.key.key.id.clone(),
            end_user: asked.end_user.as_deref().map(|user| gate.pepper.end_user(project.id.as_str(), user)),
            run,
            tag: single(self.headers, TAG_HEADER)?.map(|tag| name(TAG_HEADER, tag)).transpose()?,
            kind: kind(endpoint.meter),
            endpoint: endpoint.path,
            model,
            tier: match asked.tier {
                TierAsked::Named(tier) => tier,
                TierAsked::Any => Tier::Standard,
            },
            images: 0,
            quantities: Quantities::default(),
            cost: Nano::ZERO,
            lines: Vec::new(),
            certainty: Certainty::Settled,
        })
    }
}

/// A run's or tag's name.
fn name(header: &'static str, value: &str) -> Result<String, Refusal> {
    let value = value.trim();
    let is_text = (1..=NAME_CHARS_MAX).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
    let is_good = is_text && !holds_key(value);
    if is_good { Ok(value.to_owned()) } else { Err(words::bad_name(header, NAME_CHARS_MAX)) }
}

const fn kind(meter: Meter) -> UsageKind {
    match meter {
        Meter::Chat | Meter::Responses | Meter::Compactions | Meter::Completions => UsageKind::Completions,
        Meter::Embeddings => UsageKind::Embeddings,
        Meter::Moderations => UsageKind::Moderations,
        Meter::Images => UsageKind::Images,
        Meter::Speech => UsageKind::AudioSpeeches,
        Meter::Transcriptions => UsageKind::AudioTranscriptions,
        Meter::Decisions => UsageKind::Decisions,
        Meter::Nothing | Meter::Unbounded => UsageKind::Other,
    }
}

/// A request on its way to a hold, and what that changes about it.
struct Request<'a> {
    claim: Claim<'a>,
    project: &'a Project,
    meter: Meter,
    asked: &'a Asked,
    table: &'a Table,
    edits: Vec<Edit>,
    undo: Undo,
    growth: Option<Growth>,
    /// Whether its bound must hold although no limit of the ledger applies: a client secret's budget rests on it.
    is_bounded: bool,
}

/// What a request may cost.
struct Worst {
    /// `None`: nobody can say.
    amount: Option<Nano>,
    bounded: Option<Bounded>,
    /// Why not, in words for the refusal.
    unbounded: Option<String>,
}

impl Request<'_> {
    fn prices(&self, model: &str) -> Option<&ModelPrices> {
        self.table.find(model)
    }

    /// The region whose price is the dearest of those where the model may be asked.
    fn region(&self, prices: &ModelPrices) -> Option<&str> {
        let regions = self.claim.ways.map_or(&[][..], Ways::regions).iter().map(Option::as_deref);
        regions.max_by_key(|region| prices.multiplier_per_mille(*region)).flatten()
    }

    fn known<'k>(&'k self, model: &str, prices: &ModelPrices, text_tokens: Option<u64>) -> Known<'k> {
        let gate = self.claim.gate;
        let only_earlier = self.asked.previous_response.as_deref();
        let link = only_earlier.and_then(|id| gate.money.links.find(self.project.id.as_str(), id));
        let default = self.project.money.output_tokens_default;
        Known {
            output_tokens_default: default.or(self.claim.is_local.then_some(LOCAL_OUTPUT_TOKENS_DEFAULT)),
            // Another model would count the same conversation differently.
            earlier_tokens: link.filter(|link| link.model == model).map(|link| link.tokens),
            text_tokens,
            region: self.region(prices),
        }
    }

    /// The worst case for a model, with another output cap if there is one.
    fn worst(&self, model: &str, text_tokens: Option<u64>, output_cap: Option<u64>) -> Worst {
        let nobody = |words: String| Worst { amount: self.allowance(), bounded: None, unbounded: Some(words) };
        // Of such an endpoint no price helps, and most name no model.
        if self.meter == Meter::Unbounded {
            return nobody(words::no_bound(&NoBound::Endpoint));
        }
        let Some(prices) = self.prices(model) else { return nobody(words::no_price(model)) };
        let capped;
        let asked = match output_cap {
            Some(cap) => {
                capped = Asked { output_cap: Cap::Given(cap), ..self.asked.clone() };
                &capped
            }
            None => self.asked,
        };
        let bounded = match bound::bound(self.meter, asked, model, prices, &self.known(model, prices, text_tokens)) {
            Ok(bounded) => bounded,
            Err(error) => return nobody(words::no_bound(&error)),
        };
        match prices.worst(&bounded.bound) {
            Ok(amount) => Worst { amount: Some(amount), bounded: Some(bounded), unbounded: None },
            Err(unpriced) => nobody(words::unpriced(model, &unpriced)),
        }
    }

    /// Holds the worst case against the budget of the client secret that calls.
    fn tab(&self, row: &UsageRow) -> Result<Option<Tab>, Refusal> {
        let client = self.claim.resolved.caller.client.as_ref().filter(|client| client.has_budget());
        let Some(client) = client else { return Ok(None) };
        let worst = self.worst(&row.model, None, None);
        let Some(amount) = worst.amount else {
            let words = worst.unbounded.unwrap_or_default();
            let words = format!("This client secret has a budget, and what the request may cost has no bound. {words}");
            return Err(Refusal::new(Reason::NoBound, words));
        };
        client.open_tab(amount)
    }

    /// What the operator answers for where nobody can say.
    fn allowance(&self) -> Option<Nano> {
        self.project.money.allowances.get(self.claim.resolved.row.endpoint.path).copied()
    }

    /// The hold, by whichever way leads to one.
    async fn granted(
        &mut self,
        prepared: &Prepared,
        row: UsageRow,
        is_limited: bool,
        record: &mut Record,
    ) -> Result<Hold, Refusal> {
        let ledger = &self.claim.gate.money.ledger;
        let worst = self.worst(&row.model, None, None);
        if !is_limited {
            // Without a limit only a full journal refuses; a limit that was set just now waits its turn elsewhere.
            let hold = ledger.try_hold(row, worst.amount);
            let hold = hold.map_err(|refused| words::refusal(&refused.unwrap_or(Refused::JournalFull), None))?;
            // One that was set in this moment rests on caps like any other.
            self.cap(worst.bounded.as_ref(), hold.nearness().is_some());
            return Ok(hold);
        }
        let again = row.clone();
        match ledger.try_hold(row, worst.amount) {
            Ok(hold) => {
                self.cap(worst.bounded.as_ref(), true);
                Ok(hold)
            }
            Err(Some(refused)) => Err(words::refusal(&refused, worst.unbounded.as_deref())),
            Err(None) => Box::pin(self.near_limit(prepared, again, worst, record)).await,
        }
    }

    /// Puts the caps that a bound rests on into the body, where the request has none of its own.
    fn cap(&mut self, bounded: Option<&Bounded>, is_limited: bool) {
        let Some(bounded) = bounded else { return };
        let is_default = self.project.money.output_tokens_default.is_some();
        let is_text = matches!(self.meter, Meter::Chat | Meter::Responses | Meter::Completions);
        if let (true, Cap::Absent, Some(cap)) = (is_text, self.asked.output_cap, bounded.output_cap)
            && (is_limited || is_default || self.is_bounded)
        {
            self.set_cap(cap);
        }
        if let (Cap::Absent, Some(calls), true) =
            (self.asked.max_tool_calls, bounded.tool_calls, is_limited || self.is_bounded)
        {
            self.edits.push(Edit::number("max_tool_calls", calls));
            self.undo.echoes.push(Edit { key: "max_tool_calls", value: "null".into() });
        }
    }

    /// Sets the output cap that goes upstream; what the caller sent is what the answer shows.
    fn set_cap(&mut self, cap: u64) {
        self.edits.extend(bound::cap_names(self.meter, self.asked).map(|name| Edit::number(name, cap)));
        if self.meter == Meter::Responses {
            let sent = self.asked.output_cap.given().map_or_else(|| "null".to_owned(), |cap| cap.to_string());
            self.undo.echoes.push(Edit { key: bound::cap_name(self.meter), value: sent });
        }
    }

    /// A stream says what it used only if it is asked to.
    fn asks_for_usage(&self) -> bool {
        let is_chat = matches!(self.meter, Meter::Chat | Meter::Completions);
        is_chat && self.asked.streams && !self.asked.includes_usage
    }

    /// Tokens of the text, counted; `None` where that would not pay.
    async fn text_tokens(&self, prepared: &Prepared, model: &str) -> Option<u64> {
        let is_json = !matches!(self.meter, Meter::Images | Meter::Speech | Meter::Transcriptions);
        if !is_json || self.asked.text_bytes > exact::COUNTED_BYTES_MAX {
            return None;
        }
        // Counting is dear, and refused requests ask for it too: where enough count already, bytes have to do.
        let _counting = COUNTING.try_acquire().ok()?;
        let (model, body, asked) = (model.to_owned(), prepared.whole.clone(), self.asked.clone());
        tokio::task::spawn_blocking(move || exact::text_tokens(&model, &body, &asked)).await.ok()
    }
}
