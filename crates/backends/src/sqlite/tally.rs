//! A batch in sums: what its rows come to by minute and series, and by hour and name. Whatever is written of a batch but
//! the rows themselves is written from this: sums for reports, months for alerts, accounts of limits.
//!
//! A row costs a look-up or two and some additions; text is copied and the database asked only where a series, or a
//! line of its bills, is new.

use std::collections::HashMap;

use pricing::{Nano, Unit};
use sqlx::SqliteConnection;
use store::{ProjectId, Scope, StoreError, UsageRow};

use super::figures::{row_amount, row_figure};
use super::rows::Writer;
use super::series::{Known, Series};

/// Figures of a sum: requests, images, cost, then each unit.
pub(super) const FIGURES: usize = 3 + Unit::COUNT;

/// Seconds of the parts that a batch is summed by.
const MINUTE_SECONDS: i64 = 60;
/// Every period of a limit is whole hours.
const HOUR_SECONDS: i64 = 3_600;

/// Kinds of names, as their sums number them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum NameKind {
    EndUser = 0,
    Run = 1,
    Tag = 2,
}

impl NameKind {
    pub(super) const ALL: [NameKind; 3] = [NameKind::EndUser, NameKind::Run, NameKind::Tag];

    /// The kind's word in columns: that of its scope.
    pub(super) const fn word(self) -> &'static str {
        match self {
            NameKind::EndUser => "end_user",
            NameKind::Run => "run",
            NameKind::Tag => "tag",
        }
    }

    /// The scope of one of this kind.
    pub(super) fn scope(self, project: ProjectId, name: String) -> Scope {
        match self {
            NameKind::EndUser => Scope::EndUser(project, name),
            NameKind::Run => Scope::Run(project, name),
            NameKind::Tag => Scope::Tag(project, name),
        }
    }

    /// The name of this kind that a row has.
    pub(super) fn of(self, row: &UsageRow) -> Option<&str> {
        match self {
            NameKind::EndUser => row.end_user.as_deref(),
            NameKind::Run => row.run.as_deref(),
            NameKind::Tag => row.tag.as_deref(),
        }
    }
}

/// The part of time of so many seconds that a moment is in.
fn beginning(at: i64, seconds: i64) -> i64 {
    at.div_euclid(seconds) * seconds
}

/// The hour that a moment is in.
pub(super) fn hour(at: i64) -> i64 {
    beginning(at, HOUR_SECONDS)
}

/// Money and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Spent {
    pub(super) amount: Nano,
    pub(super) calls: u64,
}

impl Spent {
    /// One request's.
    pub(super) fn of(cost: Nano) -> Spent {
        Spent { amount: row_amount(cost), calls: 1 }
    }

    pub(super) fn add(&mut self, more: Spent) {
        self.amount = self.amount.plus(more.amount);
        self.calls = self.calls.saturating_add(more.calls);
    }
}

/// One line of a minute's bills.
#[derive(Debug)]
pub(super) struct LineSum<'a> {
    item: &'a str,
    pub(super) number: i64,
    pub(super) quantity: u64,
    pub(super) amount: u64,
}

/// One series' rows of one minute.
#[derive(Debug)]
pub(super) struct Minute<'a> {
    pub(super) starts_at: i64,
    pub(super) series: Series,
    /// One of the rows: whose they are.
    pub(super) row: &'a UsageRow,
    pub(super) figures: [u64; FIGURES],
    pub(super) lines: Vec<LineSum<'a>>,
}

impl Minute<'_> {
    pub(super) fn spent(&self) -> Spent {
        Spent { amount: Nano(self.figures[2]), calls: self.figures[0] }
    }
}

/// One end user, run or tag in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NameHour<'a> {
    pub(super) starts_at: i64,
    pub(super) project: i64,
    pub(super) kind: NameKind,
    pub(super) name: &'a str,
}

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Tally<'a> {
    pub(super) minutes: Vec<Minute<'a>>,
    by_place: HashMap<(i64, i64), usize>,
    /// Names of rows that go to the journal, each with one of its rows: whose name it is.
    pub(super) names: HashMap<NameHour<'a>, (Spent, &'a UsageRow)>,
    /// Names of other rows.
    pub(super) estimated_names: HashMap<NameHour<'a>, (Spent, &'a UsageRow)>,
    /// When the first and the last row began.
    pub(super) began: Option<(i64, i64)>,
    pub(super) cost: Nano,
    /// Numbers of a row's lines, in the order of its bill.
    items: Vec<i64>,
}

impl<'a> Tally<'a> {
    /// Adds a row to the sums, and to the journal if it goes there.
    pub(super) async fn add(
        &mut self,
        connection: &mut SqliteConnection,
        known: &mut Known,
        row: &'a UsageRow,
        journal: Option<&mut Writer>,
    ) -> Result<Series, StoreError> {
        let series = known.series(connection, row).await?;
        let place = self.place(series, row);
        let minute = &mut self.minutes[place];
        self.items.clear();
        for (at, line) in row.lines.iter().enumerate() {
            let place = match minute.find(at, &line.item) {
                Some(place) => place,
                None => {
                    let number = known.item(connection, series, &line.item).await?;
                    minute.lines.push(LineSum { item: &line.item, number, quantity: 0, amount: 0 });
                    minute.lines.len() - 1
                }
            };
            let sum = &mut minute.lines[place];
            sum.quantity = sum.quantity.saturating_add(row_figure(line.quantity));
            sum.amount = sum.amount.saturating_add(row_amount(line.amount).0);
            self.items.push(sum.number);
        }
        minute.count(row);
        count_names(if journal.is_some() { &mut self.names } else { &mut self.estimated_names }, series.project, row);
        let (first, last) = self.began.unwrap_or((row.began_at, row.began_at));
        self.began = Some((first.min(row.began_at), last.max(row.began_at)));
        self.cost = self.cost.plus(row_amount(row.cost));
        if let Some(journal) = journal {
            journal.push(row, series.number, &self.items);
        }
        Ok(series)
    }

    /// Where a row's minute stands.
    fn place(&mut self, series: Series, row: &'a UsageRow) -> usize {
        let starts_at = beginning(row.began_at, MINUTE_SECONDS);
        *self.by_place.entry((starts_at, series.number)).or_insert_with(|| {
            self.minutes.push(Minute { starts_at, series, row, figures: [0; FIGURES], lines: Vec::new() });
            self.minutes.len() - 1
        })
    }
}

fn count_names<'a>(names: &mut HashMap<NameHour<'a>, (Spent, &'a UsageRow)>, project: i64, row: &'a UsageRow) {
    for kind in NameKind::ALL {
        let Some(name) = kind.of(row) else { continue };
        let hour = NameHour { starts_at: hour(row.began_at), project, kind, name };
        names.entry(hour).or_insert((Spent::default(), row)).0.add(Spent::of(row.cost));
    }
}

impl Minute<'_> {
    /// Where a line's sum stands. Bills of a series have mostly the same lines in the same order.
    fn find(&self, at: usize, item: &str) -> Option<usize> {
        match self.lines.get(at) {
            Some(line) if line.item == item => Some(at),
            _ => self.lines.iter().position(|line| line.item == item),
        }
    }

    fn count(&mut self, row: &UsageRow) {
        let mut add = |place: usize, figure: u64| {
            self.figures[place] = self.figures[place].saturating_add(figure);
        };
        add(0, 1);
        add(1, row_figure(row.images));
        add(2, row_amount(row.cost).0);
        for (unit, quantity) in row.quantities.some() {
            add(3 + unit as usize, row_figure(quantity));
        }
    }
}
