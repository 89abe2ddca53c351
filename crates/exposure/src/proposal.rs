//! A spending limit that follows from a profile: what the key ordinarily needs, with a margin, and no more.
//!
//! The day is the highest ordinary one with half as much on top: a thief then has at most that. The month is the profile's
//! sum, scaled to thirty days where it is shorter, with a quarter on top. Both are rounded up to whole dollars, because a
//! request's worst case is held before it runs, and that must fit too.

use pricing::Nano;

use crate::profile::Profile;

/// On top of the highest day, in percent.
const DAY_MARGIN_PERCENT: u64 = 50;
/// On top of the month, in percent.
const MONTH_MARGIN_PERCENT: u64 = 25;
/// Days of a month.
const MONTH_DAYS: u64 = 30;
/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

/// What is proposed, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// For a day.
    pub day: Nano,
    /// For a month; never less than a day's.
    pub month: Nano,
    /// The arithmetic in words.
    pub words: String,
}

/// Proposes a limit; nothing where the key was not used before, or for nothing.
pub fn propose(profile: &Profile) -> Option<Proposal> {
    let (highest, sum) = (profile.days.most.cost, profile.total.cost);
    if sum == Nano::ZERO {
        return None;
    }
    let seconds = u64::try_from(profile.until.saturating_sub(profile.from)).unwrap_or_default();
    // Begun days count: a key of two hours does not spend twelve times as much by tomorrow for sure.
    let days = seconds.div_ceil(DAY_SECONDS).clamp(1, MONTH_DAYS);
    let scaled = nano(u128::from(sum.0) * u128::from(MONTH_DAYS) / u128::from(days));
    let day = whole_dollars(with_margin(highest, DAY_MARGIN_PERCENT)).max(highest);
    let month = whole_dollars(with_margin(scaled, MONTH_MARGIN_PERCENT)).max(day);
    let words = format!(
        "Day: the highest of {} active days cost {highest}; with {DAY_MARGIN_PERCENT} % on top and rounded up to whole \
         dollars that is {day}. Month: {sum} in {days} days, which is {scaled} in {MONTH_DAYS}; with \
         {MONTH_MARGIN_PERCENT} % on top and rounded up to whole dollars{} that is {month}.",
        profile.days.count,
        if month == day { ", and no less than a day's," } else { "" },
    );
    Some(Proposal { day, month, words })
}

fn nano(amount: u128) -> Nano {
    Nano(u64::try_from(amount).unwrap_or(u64::MAX))
}

fn with_margin(amount: Nano, percent: u64) -> Nano {
    nano((u128::from(amount.0) * u128::from(100 + percent)).div_ceil(100))
}

/// The next whole dollar; the largest amount stays as it is.
fn whole_dollars(amount: Nano) -> Nano {
    Nano(amount.0.checked_next_multiple_of(Nano::PER_USD).unwrap_or(u64::MAX))
}
