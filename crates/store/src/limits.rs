//! Spending limits: for whom, for how long, how much, and what happens near them.

use pricing::Nano;

use crate::records::{KeyId, ProjectId};

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// Seconds of an hour.
const HOUR_SECONDS: i64 = 3_600;

/// Whose spending.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The whole organization's.
    Organization,
    /// A project's.
    Project(ProjectId),
    /// A key's.
    Key(KeyId),
    /// An end user's within a project; as a limit without a name: each one's.
    EndUser(ProjectId, String),
    /// An agent's run within a project; likewise.
    Run(ProjectId, String),
    /// A tag's within a project; likewise.
    Tag(ProjectId, String),
}

impl Scope {
    /// The kind's name in columns and the API, and the beginning of its refusal's code.
    pub const fn kind(&self) -> &'static str {
        match self {
            Scope::Organization => "organization",
            Scope::Project(_) => "project",
            Scope::Key(_) => "key",
            Scope::EndUser(..) => "end_user",
            Scope::Run(..) => "run",
            Scope::Tag(..) => "tag",
        }
    }

    /// The id in columns; unique within the kind. Ids of projects hold no `/`.
    pub fn id(&self) -> String {
        match self {
            Scope::Organization => String::new(),
            Scope::Project(project) => project.as_str().to_owned(),
            Scope::Key(key) => key.as_str().to_owned(),
            Scope::EndUser(project, name) | Scope::Run(project, name) | Scope::Tag(project, name) => {
                format!("{project}/{name}")
            }
        }
    }

    /// The scope with this kind and id.
    pub fn read(kind: &str, id: &str) -> Option<Scope> {
        let named = || {
            let (project, name) = id.split_once('/')?;
            Some((ProjectId::new(project), name.to_owned()))
        };
        match kind {
            "organization" => Some(Scope::Organization),
            "project" => Some(Scope::Project(ProjectId::new(id))),
            "key" => Some(Scope::Key(KeyId::new(id))),
            "end_user" => named().map(|(project, name)| Scope::EndUser(project, name)),
            "run" => named().map(|(project, name)| Scope::Run(project, name)),
            "tag" => named().map(|(project, name)| Scope::Tag(project, name)),
            _ => None,
        }
    }

    /// Whether a limit of this scope is one for each end user, run or tag, with an account of its own.
    pub fn is_each(&self) -> bool {
        matches!(self, Scope::EndUser(_, name) | Scope::Run(_, name) | Scope::Tag(_, name) if name.is_empty())
    }

    /// The scope for one end user, run or tag of a limit for each.
    pub fn one(&self, name: &str) -> Scope {
        match self {
            Scope::EndUser(project, _) => Scope::EndUser(project.clone(), name.to_owned()),
            Scope::Run(project, _) => Scope::Run(project.clone(), name.to_owned()),
            Scope::Tag(project, _) => Scope::Tag(project.clone(), name.to_owned()),
            other => other.clone(),
        }
    }
}

/// How long a limit counts before it begins anew. All in UTC, as in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A calendar month.
    Month,
    /// A day.
    Day,
    /// An hour.
    Hour,
    /// For ever.
    Total,
}

/// One instance of a period: from `starts_at` until before `ends_at`, Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// First second.
    pub starts_at: i64,
    /// The first second that is not in it any more.
    pub ends_at: i64,
}

impl Window {
    /// Whether a moment is in it.
    pub const fn contains(&self, at: i64) -> bool {
        self.starts_at <= at && at < self.ends_at
    }
}

impl Period {
    /// All.
    pub const ALL: [Period; 4] = [Period::Month, Period::Day, Period::Hour, Period::Total];

    /// The name in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Period::Month => "month",
            Period::Day => "day",
            Period::Hour => "hour",
            Period::Total => "total",
        }
    }

    /// The period with this name.
    pub fn from_word(word: &str) -> Option<Period> {
        Period::ALL.into_iter().find(|period| period.word() == word)
    }

    /// The instance that a moment is in.
    pub fn window(self, at: i64) -> Window {
        let aligned = |seconds: i64| {
            let starts_at = at.div_euclid(seconds) * seconds;
            Window { starts_at, ends_at: starts_at + seconds }
        };
        match self {
            Period::Hour => aligned(HOUR_SECONDS),
            Period::Day => aligned(DAY_SECONDS),
            Period::Month => {
                let (year, month) = year_and_month(at.div_euclid(DAY_SECONDS));
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let first = |year, month| days_before(year, month) * DAY_SECONDS;
                Window { starts_at: first(year, month), ends_at: first(next_year, next_month) }
            }
            Period::Total => Window { starts_at: 0, ends_at: i64::MAX },
        }
    }
}

/// Days from 1970-01-01 to the first of a month (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_before(year: i64, month: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year and month (1 to 12) of a day counted from 1970-01-01; same source.
fn year_and_month(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month)
}

/// What happens to a request whose worst case does not fit any more, after a short wait for other holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NearLimit {
    /// Refused, with the words of what is left and what would fit.
    Reject,
    /// Sent with a smaller output cap, if what is left allows at least this many output tokens.
    Clamp {
        /// Least output tokens that are worth an answer.
        output_tokens_min: u64,
    },
    /// Streams with visible output hold a part and grow it as tokens pass.
    Grow {
        /// How many tokens an upstream may run on after a cut: held, too.
        margin_tokens: u64,
    },
    /// Sent to a cheaper model, if its worst case fits.
    Alias {
        /// That model.
        model: String,
    },
}

/// A higher amount for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Raise {
    /// The amount until then.
    pub amount: Nano,
    /// When it ends, Unix seconds.
    pub until: i64,
}

/// A limit on spending.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpendLimit {
    /// Id, `limit_…`.
    pub id: String,
    /// Whose spending.
    pub scope: Scope,
    /// Until when it counts.
    pub period: Period,
    /// At most so much.
    pub amount: Nano,
    /// At most so many calls; for runs.
    pub calls_max: Option<u64>,
    /// Whether it only says what it would refuse.
    pub is_shadow: bool,
    /// What happens near it.
    pub near_limit: NearLimit,
    /// A higher amount for a time.
    pub raise: Option<Raise>,
    /// When it was made.
    pub created_at: i64,
}

impl SpendLimit {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "limit_";

    /// The amount in force at a moment.
    pub fn amount_at(&self, now: i64) -> Nano {
        match self.raise {
            Some(raise) if now < raise.until => raise.amount.max(self.amount),
            _ => self.amount,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_and_end_where_the_calendar_says() {
        // 2024-02-29T23:59:59Z, 2026-11-24T00:00:00Z, 1999-12-31T23:59:59Z, by `date -u`.
        let cases = [
            (1_709_251_199, 1_706_745_600, 1_709_251_200),
            (1_795_478_400, 1_793_491_200, 1_796_083_200),
            (946_684_799, 944_006_400, 946_684_800),
        ];
        for (at, starts_at, ends_at) in cases {
            assert_eq!(Period::Month.window(at), Window { starts_at, ends_at });
        }
    }

    #[test]
    fn every_moment_is_in_its_window_and_windows_touch() {
        for period in Period::ALL {
            let mut at = 0;
            for _ in 0..500 {
                let window = period.window(at);
                assert!(window.contains(at));
                if period == Period::Total {
                    break;
                }
                assert!(!window.contains(window.ends_at) && period.window(window.ends_at).starts_at == window.ends_at);
                at = window.ends_at;
            }
        }
    }

    #[test]
    fn scopes_read_back() {
        let project = ProjectId::new("proj_a");
        for scope in [
            Scope::Organization,
            Scope::Project(project.clone()),
            Scope::Key(KeyId::new("key_1")),
            Scope::EndUser(project.clone(), String::new()),
            Scope::Run(project.clone(), "a/b".into()),
            Scope::Tag(project, "x".into()),
        ] {
            assert_eq!(Scope::read(scope.kind(), &scope.id()), Some(scope));
        }
    }

    #[test]
    fn a_raise_ends() {
        let mut limit = SpendLimit {
            id: "limit_1".into(),
            scope: Scope::Organization,
            period: Period::Month,
            amount: Nano(5),
            calls_max: None,
            is_shadow: false,
            near_limit: NearLimit::Reject,
            raise: Some(Raise { amount: Nano(9), until: 100 }),
            created_at: 0,
        };
        assert_eq!((limit.amount_at(99), limit.amount_at(100)), (Nano(9), Nano(5)));
        limit.raise = None;
        assert_eq!(limit.amount_at(0), Nano(5));
    }
}
