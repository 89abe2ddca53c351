//! What happens to a request whose worst case does not fit right now.
//!
//! In this order: the store is asked for more, since often only the stock is short; its text is counted exactly, which
//! makes most worst cases smaller; it waits a short named time for other holds to settle, if that can help; then the
//! limit that is short decides: refuse, clamp the output, send it to a cheaper model, or hold a part and let it grow.

use ledger::{Exceeded, Hold, Refused};
use metering::amend::Edit;
use metering::bound;
use metering::request::Cap;
use pricing::{Bound, Nano};
use store::{NearLimit, UsageRow};
use wire::endpoint::Meter;
use wire::refusal::Refusal;

use super::{Request, Worst, words};
use crate::prepare::Prepared;
use crate::record::Record;
use crate::settle::{AHEAD_TOKENS_MIN, Growth};

/// How often a clamped request is tried: others take what it was measured for.
const CLAMP_TRIES: usize = 4;

impl Request<'_> {
    /// The slow way to a hold.
    pub(super) async fn near_limit(
        &mut self,
        prepared: &Prepared,
        row: UsageRow,
        worst: Worst,
        record: &mut Record,
    ) -> Result<Hold, Refusal> {
        let ledger = self.claim.gate.money.ledger.clone();
        match ledger.hold_if_leased(row.clone(), worst.amount).await {
            Ok(hold) => {
                self.cap(worst.bounded.as_ref(), true);
                return Ok(hold);
            }
            Err(Some(refused)) => return Err(words::refusal(&refused, worst.unbounded.as_deref())),
            Err(None) => {}
        }
        let text_tokens = self.text_tokens(prepared, &row.model).await;
        let worst = match text_tokens {
            Some(_) => self.worst(&row.model, text_tokens, None),
            None => worst,
        };
        let refused = match ledger.hold(row.clone(), worst.amount).await {
            Ok(hold) => {
                self.cap(worst.bounded.as_ref(), true);
                return Ok(hold);
            }
            Err(refused) => refused,
        };
        let Refused::Exceeded(exceeded) = &refused else {
            return Err(words::refusal(&refused, worst.unbounded.as_deref()));
        };
        let near_limit = exceeded.near_limit.clone();
        let hold = match &near_limit {
            NearLimit::Reject => None,
            NearLimit::Grow { margin_tokens } => self.growing(&row, text_tokens, *margin_tokens),
            NearLimit::Clamp { output_tokens_min } => {
                self.clamped(&row, text_tokens, exceeded, *output_tokens_min, record)
            }
            NearLimit::Alias { model } => self.aliased(row.clone(), model, record).await,
        };
        hold.ok_or_else(|| {
            let text = text_tokens.unwrap_or(self.asked.text_bytes).saturating_add(self.cap_bytes());
            let fits = self.largest_cap(&row.model, Some(text), exceeded.left);
            words::exceeded(exceeded, (self.meter, self.asked, fits), ledger.open_of_key(&row.key))
        })
    }

    /// The largest output cap whose worst case is at most an amount; `None` where not even one token fits.
    fn largest_cap(&self, model: &str, text_tokens: Option<u64>, amount: Nano) -> Option<u64> {
        if !matches!(self.meter, Meter::Chat | Meter::Responses | Meter::Completions) {
            return None;
        }
        // Bounded once: only the output changes with the cap.
        let at_one = self.worst(model, text_tokens, Some(1)).bounded?;
        let prices = self.prices(model)?;
        let for_each_token =
            at_one.bound.text_output_tokens.saturating_sub(self.asked.prediction_bytes * at_one.choices);
        let fits = |cap: u64| {
            let more = cap.saturating_sub(1).saturating_mul(for_each_token);
            let mut bound = at_one.bound.clone();
            bound.text_output_tokens = bound.text_output_tokens.saturating_add(more);
            if self.asked.speaks {
                bound.audio_output_tokens = bound.text_output_tokens;
            }
            prices.worst(&bound).is_ok_and(|worst| worst <= amount)
        };
        let most = match self.asked.output_cap {
            Cap::Given(cap) => cap,
            _ => self.prices(model)?.max_output_tokens?,
        };
        if !fits(1) {
            return None;
        }
        let (mut low, mut high) = (1, most.max(1));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Some(low)
    }

    /// What a cap adds to the body when the caller takes the advice: the member, its number, blanks.
    fn cap_bytes(&self) -> u64 {
        const AROUND_BYTES: usize = 20;
        match self.asked.output_cap {
            Cap::Absent => (bound::cap_name(self.meter).len() + AROUND_BYTES) as u64,
            Cap::Given(_) | Cap::Odd => 0,
        }
    }

    /// A hold with a smaller output cap.
    fn clamped(
        &mut self,
        row: &UsageRow,
        text_tokens: Option<u64>,
        exceeded: &Exceeded,
        output_tokens_min: u64,
        record: &mut Record,
    ) -> Option<Hold> {
        let ledger = self.claim.gate.money.ledger.clone();
        let mut left = exceeded.left;
        for _ in 0..CLAMP_TRIES {
            let cap = self.largest_cap(&row.model, text_tokens, left).filter(|cap| *cap >= output_tokens_min.max(1))?;
            let worst = self.worst(&row.model, text_tokens, Some(cap));
            if let Ok(hold) = ledger.try_hold(row.clone(), worst.amount) {
                self.set_cap(cap);
                record.notes.push(("x-sallyport-clamped", {
                    let names: Vec<_> = bound::cap_names(self.meter, self.asked).collect();
                    format!("{}={cap}", names.join(","))
                }));
                return Some(hold);
            }
            // Somebody else was faster: a little less.
            left = Nano(left.0 - left.0 / 8);
        }
        None
    }

    /// A hold for a part of the output, which grows.
    fn growing(&mut self, row: &UsageRow, text_tokens: Option<u64>, margin_tokens: u64) -> Option<Hold> {
        let asked = self.asked;
        let is_visible = matches!(self.meter, Meter::Chat | Meter::Completions)
            && asked.streams
            && !asked.speaks
            && !asked.hosted.any()
            && asked.prediction_bytes == 0
            && !bound::hides_output(&row.model)
            // A name of the operator's own stands for another model.
            && self.prices(&row.model).is_some_and(|prices| !bound::hides_output(&prices.name));
        let whole = self.worst(&row.model, text_tokens, None);
        let bounded = whole.bounded.as_ref().filter(|_| is_visible)?;
        let tokens_max = bounded.bound.text_output_tokens;
        let least = margin_tokens.saturating_add(AHEAD_TOKENS_MIN);
        let ledger = self.claim.gate.money.ledger.clone();
        let prices = self.prices(&row.model)?;
        let mut tokens = tokens_max / 2;
        while tokens >= least {
            let part = Bound { text_output_tokens: tokens, ..bounded.bound.clone() };
            if let Ok(hold) = ledger.try_hold(row.clone(), prices.worst(&part).ok()) {
                self.growth = Some(Growth::new(part, &row.model, tokens, margin_tokens, tokens_max));
                self.cap(whole.bounded.as_ref(), true);
                return Some(hold);
            }
            // The last try is for the least.
            tokens = if tokens > least { (tokens / 2).max(least) } else { 0 };
        }
        None
    }

    /// A hold at a cheaper model's price.
    async fn aliased(&mut self, row: UsageRow, model: &str, record: &mut Record) -> Option<Hold> {
        // Nothing but models of text stand in for one another.
        let is_text = matches!(self.meter, Meter::Chat | Meter::Responses | Meter::Compactions | Meter::Completions);
        if model == row.model || self.claim.is_local || !is_text {
            return None;
        }
        let worst = self.worst(model, None, None);
        let row = UsageRow { model: model.to_owned(), ..row };
        let hold = self.claim.gate.money.ledger.hold(row, Some(worst.amount?)).await.ok()?;
        self.cap(worst.bounded.as_ref(), true);
        self.edits.push(Edit::text("model", model));
        record.notes.push(("x-sallyport-model-alias", model.to_owned()));
        Some(hold)
    }
}
