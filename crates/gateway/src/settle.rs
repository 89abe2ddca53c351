//! The end of a hold: what the answer says that it used becomes the row that is charged.
//!
//! Promises: a hold ends once, however the answer ends. A whole answer with usage settles; one without, or one that
//! broke off, is charged at its full hold as an estimate; an error of the upstream releases it. What the gate added to
//! the request leaves no trace in the answer.
//!
//! Rides on the answer's body ([`crate::passage`], [`crate::answer`]); prices are those of the moment of the hold.

mod growth;
mod rewritten;
mod tee;
pub(crate) mod undo;

use std::sync::Arc;

use bytes::Bytes;
use ledger::Hold;
use metering::amend::Edit;
use metering::bound;
use metering::request::Asked;
use metering::usage::{self, Said, UsageReader, Used};
use pricing::{Bill, Nano, Table, Tier, Unit};
use rates::Admission;
use store::{Abandoned, Certainty, CostLine, UsageRow};
use wire::endpoint::Meter;
use wire::sse;

use crate::client_secrets::Tab;
use crate::gate::Gate;
use crate::money::Link;
pub(crate) use growth::{AHEAD_TOKENS_MIN, Growth};
use rewritten::Rewritten;
use tee::Tee;
pub(crate) use undo::Undo;

/// A request's money and pace, until its answer's end.
pub(crate) struct Settling {
    pub(crate) gate: Arc<Gate>,
    /// Taken at the end. What is dropped with it is charged in full.
    pub(crate) hold: Option<Hold>,
    pub(crate) admission: Option<Admission>,
    pub(crate) table: Arc<Table>,
    pub(crate) meter: Meter,
    pub(crate) asked: Box<Asked>,
    pub(crate) reader: UsageReader,
    pub(crate) undo: Undo,
    pub(crate) tee: Tee,
    /// What happens when the client leaves.
    pub(crate) abandoned: Abandoned,
    /// Present where only a part of the worst case is held.
    pub(crate) growth: Option<Growth>,
    /// What is held of a client secret's own budget.
    pub(crate) tab: Option<Tab>,
    /// The region of the upstream that answered, which may have a price of its own.
    pub(crate) region: Option<Arc<str>>,
}

/// How an answer ended, as far as its usage is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It came whole.
    Whole,
    /// It broke off, or was broken off.
    Broken,
    /// The gate ended it, because no more could be held for it.
    Cut,
}

impl Settling {
    pub(crate) fn new(
        gate: &Arc<Gate>,
        hold: Hold,
        admission: Option<Admission>,
        table: Arc<Table>,
        (meter, asked): (Meter, Box<Asked>),
        undo: Undo,
        abandoned: Abandoned,
    ) -> Box<Settling> {
        let reader = UsageReader::new(meter, asked.search.unit());
        let (gate, tee) = (Arc::clone(gate), Tee::new(meter));
        Box::new(Settling {
            gate,
            hold: Some(hold),
            admission,
            table,
            meter,
            asked,
            reader,
            undo,
            tee,
            abandoned,
            growth: None,
            tab: None,
            region: None,
        })
    }

    /// For a later answer that echoes what the gate once set: nothing is charged.
    pub(crate) fn only_undo(gate: &Arc<Gate>, meter: Meter, echoes: Vec<Edit>) -> Box<Settling> {
        Box::new(Settling {
            gate: Arc::clone(gate),
            hold: None,
            admission: None,
            table: Arc::clone(&gate.money.prices.table()),
            meter,
            asked: Box::default(),
            reader: UsageReader::new(meter, Unit::WebSearchMedium),
            undo: Undo { usage: false, echoes },
            tee: Tee::new(meter),
            abandoned: Abandoned::Cancel,
            growth: None,
            tab: None,
            region: None,
        })
    }

    /// Whether a whole answer must be changed before it leaves.
    pub(crate) fn changes_answers(&self) -> bool {
        self.undo.changes_answers()
    }

    /// The upstream charged nothing.
    pub(crate) fn release(mut self: Box<Self>) {
        if let Some(hold) = self.hold.take() {
            hold.release();
        }
        self.settle_tab(Nano::ZERO);
        self.correct_tokens(0);
    }

    /// Nobody can say what was charged.
    pub(crate) fn estimate(mut self: Box<Self>) {
        if let Some(hold) = self.hold.take() {
            hold.estimate(self.gate.clock.unix_seconds());
        }
    }

    /// Whole events on their way to the client: read, and freed of what the gate added. What comes back may be empty.
    pub(crate) fn events(&mut self, events: Bytes) -> Bytes {
        if !self.undo.concerns_events() && self.growth.is_none() && !self.reader.concerns(&events) {
            return events;
        }
        let mut rewritten = Rewritten::of(&events);
        let mut at = 0;
        for event in sse::split(&events) {
            let begins_at = at;
            at += event.len();
            let Some(place) = sse::data_place(event) else { continue };
            let data = &event[place.clone()];
            match self.event(data) {
                undo::Change::None => {}
                undo::Change::Drop => rewritten.cut(begins_at..at),
                undo::Change::Cut(range) => {
                    let from = begins_at + place.start;
                    rewritten.cut(from + range.start..from + range.end);
                }
                undo::Change::To(data) => {
                    rewritten.cut(begins_at + place.start..begins_at + place.end);
                    rewritten.put(&data);
                    rewritten.keep_to(begins_at + place.end);
                }
            }
            if let (Some(growth), Some(hold)) = (&mut self.growth, &self.hold)
                && !growth.see(data, hold, &self.table)
            {
                // What has come is handed over; what follows in these bytes is beyond what is held for.
                rewritten.keep_to(at);
                rewritten.put(&growth.last_events());
                rewritten.cut(at..events.len());
                break;
            }
        }
        rewritten.finish().map_or_else(|| events.clone(), Bytes::from)
    }

    /// Reads an event's data, and says what becomes of it.
    fn event(&mut self, data: &[u8]) -> undo::Change {
        let is_chat = matches!(self.meter, Meter::Chat | Meter::Completions);
        match if is_chat { usage::said(data) } else { Said::Unclear } {
            Said::Nothing => return undo::Change::None,
            Said::Null(range) if self.undo.usage => return undo::Change::Cut(range),
            Said::Null(_) => return undo::Change::None,
            Said::Used => self.reader.read(data),
            Said::Unclear if self.reader.concerns(data) => self.reader.read(data),
            Said::Unclear => {}
        }
        self.undo.event(self.meter, data)
    }

    /// Whether the gate has ended the stream: nothing more of the upstream is wanted.
    pub(crate) fn is_cut(&self) -> bool {
        self.growth.as_ref().is_some_and(Growth::is_over)
    }

    /// A piece of an answer that is no stream of events.
    pub(crate) fn piece(&mut self, bytes: &Bytes) {
        self.tee.take(bytes);
    }

    /// A whole answer in memory: read, freed of what the gate added, and settled.
    pub(crate) fn whole(mut self: Box<Self>, json: Bytes) -> Bytes {
        self.reader.read_whole(&json);
        let changed = self.undo.answer(&json).map_or(json, Bytes::from);
        self.end(End::Whole);
        changed
    }

    /// The end of a successful answer; whether it is one that says what it used, as far as its endpoint does.
    pub(crate) fn end(&mut self, end: End) -> bool {
        let Some(hold) = self.hold.take() else { return true };
        if let Some(json) = self.tee.json() {
            self.reader.read_whole(&json);
        }
        let now = self.gate.clock.unix_seconds();
        if end == End::Cut {
            let above = self.growth.as_ref().and_then(|growth| growth.above(&hold, &self.table));
            self.settle_tab(above.unwrap_or(hold.amount()));
            end_cut(hold, above, now);
            return true;
        }
        let used = self.used(end, &hold.row().model);
        let Some(used) = used else {
            // Nothing is held where no limit asked for it and nobody can say what it costs: counted, without a price.
            if hold.amount() == Nano::ZERO {
                let row = UsageRow { settled_at: now, certainty: Certainty::Unpriced, ..hold.row().clone() };
                hold.settle(row);
            } else {
                hold.estimate(now);
            }
            return matches!(self.meter, Meter::Unbounded | Meter::Speech);
        };
        self.correct_tokens(used.tokens);
        self.remember(hold.row(), &used);
        let row = self.row(hold.row(), &used, now);
        // Under a limit, what has no price is charged at its worst case.
        match row.certainty {
            Certainty::Unpriced if hold.amount() > row.cost => hold.estimate(now),
            certainty => {
                if certainty != Certainty::Unpriced {
                    self.settle_tab(row.cost);
                }
                hold.settle(row);
            }
        }
        true
    }

    /// Gives back to a client secret what it was not charged. Where this is not called, it stays charged in full.
    fn settle_tab(&mut self, spent: Nano) {
        if let Some(tab) = self.tab.take() {
            tab.settle(spent);
        }
    }

    /// What was used; `None` where nobody can say.
    fn used(&self, end: End, model: &str) -> Option<Used> {
        let mut used = self.reader.used().clone();
        if end == End::Broken && !used.is_final {
            return None;
        }
        let asked = &self.asked;
        match self.meter {
            // What the operator answers for, whatever a part of it says.
            Meter::Unbounded => return None,
            _ if used.has_usage => {
                if bound::searches_in_chat(self.meter, asked, model) {
                    used.quantities.set(asked.search.unit(), 1);
                }
            }
            Meter::Moderations => {}
            Meter::Speech if asked.characters > 0 => used.quantities.set(Unit::Characters, asked.characters),
            // Text without usage: what was walked is what was heard.
            Meter::Transcriptions if asked.is_audio_exact && end == End::Whole => {
                // Billed by whole seconds.
                used.quantities.set(Unit::AudioMilliseconds, asked.audio_ms.div_ceil(1_000).saturating_mul(1_000));
            }
            Meter::Images if used.images > 0 && self.is_billed_by_image(model) => {
                let word = |word: &Option<String>, usual: &str| word.clone().unwrap_or_else(|| usual.to_owned());
                let (quality, size) = (&asked.images_out.quality, &asked.images_out.size);
                used.bill_images(&word(quality, "standard"), &word(size, "1024x1024"));
            }
            _ => return None,
        }
        Some(used)
    }

    /// Whether images of a model have prices of their own, not only equivalents of what their tokens cost.
    fn is_billed_by_image(&self, model: &str) -> bool {
        self.table.find(model).is_some_and(|prices| prices.images.iter().any(|image| !image.equivalent))
    }

    /// The row with its end filled in.
    fn row(&self, begun: &UsageRow, used: &Used, now: i64) -> UsageRow {
        let tier = match self.meter {
            Meter::Decisions => Tier::Decisions,
            _ => used.tier.unwrap_or(begun.tier),
        };
        let region = self.region.as_deref();
        let prices = self.table.find(&begun.model);
        let bill = prices.map(|prices| prices.bill(tier, region, &used.quantities));
        let is_free = self.meter == Meter::Moderations;
        let certainty = match &bill {
            _ if is_free => Certainty::Settled,
            Some(bill) if bill.unpriced.is_empty() => Certainty::Settled,
            _ => Certainty::Unpriced,
        };
        let bill = bill.filter(|_| !is_free).unwrap_or_default();
        UsageRow {
            settled_at: now,
            tier,
            images: used.images,
            quantities: used.quantities.clone(),
            cost: bill.total,
            lines: lines(&begun.model, &bill),
            certainty,
            ..begun.clone()
        }
    }

    fn correct_tokens(&mut self, tokens: u64) {
        if let Some(admission) = &mut self.admission {
            admission.correct(self.gate.money.now_ns(), tokens);
        }
    }

    /// A later request that goes on from this response brings along what it read and wrote.
    fn remember(&self, row: &UsageRow, used: &Used) {
        if let Some(id) = used.response_id.as_deref() {
            let link = Link { tokens: used.tokens, model: row.model.clone(), run: row.run.clone() };
            self.gate.money.links.put(row.project.as_str(), id, link);
        }
    }
}

/// Charges a stream that was cut: all that is held for it, or what passed where that is more.
fn end_cut(hold: Hold, above: Option<Nano>, now: i64) {
    let Some(cost) = above else { return hold.estimate(now) };
    let line = CostLine { item: format!("{}, estimated", hold.row().model), quantity: 0, amount: cost };
    let begun = hold.row().clone();
    hold.settle(UsageRow { cost, lines: vec![line], certainty: Certainty::Estimated, settled_at: now, ..begun });
}

fn lines(model: &str, bill: &Bill) -> Vec<CostLine> {
    let line = |line: &pricing::Line| CostLine {
        item: format!("{model}, {}", line.item),
        quantity: line.quantity,
        amount: line.amount,
    };
    bill.lines.iter().map(line).collect()
}

/// Usage of an answer that is in memory as a whole, for tests of shapes.
#[cfg(test)]
pub(crate) fn used_of(meter: Meter, json: &[u8]) -> Used {
    usage::of_answer(meter, json, Unit::WebSearchMedium)
}
