//! What a key did, read for an incident: usage by hour and model, uses by address.
//!
//! Its cost does not grow with the requests that were settled: sums of some 720 hours before the exposure, of those since,
//! and of the minutes of the hour that it began in, each the part that the key's project has of them. With ten million rows of
//! 200 keys in 50 projects it took 93 to 142 ms on a busy machine (`make volume`): a key with 17,703 calls in the month.

use exposure::difference::Difference;
use exposure::incident::Incident;
use exposure::profile::{AddressUse, BASELINE_SECONDS, History, Profile, Use};
use exposure::proposal::propose;
use exposure::report::{Evidence, Report};
use store::{FinalReport, Grouping, KeyId, KeyUse, ReportFilter, ReportQuery, StoreError, UsageSum, Width};
use wire::refusal::Refusal;

use crate::{Console, unavailable};

impl Console {
    /// The report of an incident, as things stand now, with what the provider says.
    pub(crate) async fn whole_report(&self, incident: Incident) -> Result<Report, Refusal> {
        let upstream = self.upstream_asked(&incident).await;
        Ok(Report { upstream, ..self.report_of(incident).await? })
    }

    /// The report without asking the provider.
    pub(crate) async fn report_of(&self, incident: Incident) -> Result<Report, Refusal> {
        let evidence = self.evidence_of(&incident).await.map_err(|error| unavailable(&error))?;
        let upstream = self.upstream_unasked(&incident);
        Ok(Report { incident, upstream, evidence })
    }

    async fn evidence_of(&self, incident: &Incident) -> Result<Evidence, StoreError> {
        let (key, since, now) = (KeyId::new(incident.key.id.clone()), incident.since(), self.now());
        let history = History { uses: self.uses_of(&key, since, now).await?, ..self.addresses_of(&key, since).await? };
        let profile = Profile::of(&history, incident.key.created_at, since);
        let difference = Difference::of(&history, &profile);
        let proposal = propose(&profile);
        Ok(Evidence { profile, difference, proposal, read_at: now })
    }

    /// By model: hours, and minutes of the hour in which the exposure began, so that what was before it is told from what
    /// was since. A minute is not parted further: the exposure's own counts as since.
    async fn uses_of(&self, key: &KeyId, since: i64, now: i64) -> Result<Vec<Use>, StoreError> {
        let hour = Width::Hour.seconds();
        let began = since.div_euclid(hour) * hour;
        let spans = [
            (Width::Hour, began - BASELINE_SECONDS, began),
            (Width::Minute, began, (began + hour).min(now + 1)),
            (Width::Hour, began + hour, now + 1),
        ];
        let mut uses = Vec::new();
        for (width, starts_at, ends_at) in spans.into_iter().filter(|(_, starts_at, ends_at)| starts_at < ends_at) {
            let filter = ReportFilter { keys: vec![key.clone()], ..ReportFilter::default() };
            let query = ReportQuery { starts_at, ends_at, width, filter, group_by: vec![Grouping::Model] };
            let sums = self.money.reports.usage(&query).await?;
            uses.extend(sums.into_iter().map(|sum| used(sum, width, since)));
        }
        Ok(uses)
    }

    async fn addresses_of(&self, key: &KeyId, since: i64) -> Result<History, StoreError> {
        // What was counted and waits to be written belongs to it. If it cannot be, it waits on.
        if let Err(error) = self.keeping.write_uses().await {
            tracing::warn!(%error, "uses of keys could not be written: an incident is shown without the last of them");
        }
        let uses = self.keeping.uses.uses_of(key, since.saturating_sub(BASELINE_SECONDS)).await?;
        let mut history = History::default();
        for used in uses {
            match address_use(&used) {
                Some(used) => history.addresses.push(used),
                None if used.last_at >= since => {
                    history.calls_elsewhere = history.calls_elsewhere.saturating_add(used.calls);
                }
                None => {}
            }
        }
        Ok(history)
    }
}

fn used(sum: UsageSum, width: Width, since: i64) -> Use {
    // The minute of the exposure began before it.
    let is_exposed = width == Width::Minute && sum.starts_at + width.seconds() > since;
    let at = if is_exposed { sum.starts_at.max(since) } else { sum.starts_at };
    Use { at, model: sum.model.unwrap_or_default(), calls: sum.requests, cost: sum.cost }
}

/// A use from a place with an address; `None` for those that stand for all over the bound.
fn address_use(used: &KeyUse) -> Option<AddressUse> {
    Some(AddressUse {
        first_at: used.first_at,
        last_at: used.last_at,
        address: used.address.parse().ok()?,
        calls: used.calls,
        refused: used.refused,
        user_agent: used.user_agent.clone(),
    })
}

/// The report that stays once an incident is closed.
pub(crate) fn final_report(report: &Report) -> FinalReport {
    FinalReport { json: exposure::report::json(report), markdown: exposure::report::markdown(report) }
}
