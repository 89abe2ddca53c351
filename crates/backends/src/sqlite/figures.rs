//! Figures between the records, which have no sign, and the columns, which have one.

use pricing::Nano;

/// The largest figure that one usage row counts with: some nine million dollars, or nine quadrillion tokens. Beyond it
/// an upstream talks nonsense; a thousand such rows still fit in a sum.
const ROW_FIGURE_MAX: u64 = 1 << 53;

/// A limit, a lease or a balance in its column. Beyond nine billion dollars it saturates.
pub(super) fn amount(nano: Nano) -> i64 {
    i64::try_from(nano.0).unwrap_or(i64::MAX)
}

/// A count in its column.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A figure of a usage row, as it is counted.
pub(super) fn row_figure(figure: u64) -> u64 {
    figure.min(ROW_FIGURE_MAX)
}

/// An amount of a usage row, as it is counted.
pub(super) fn row_amount(nano: Nano) -> Nano {
    Nano(row_figure(nano.0))
}

/// A column's figure. Nothing negative is written; what another hand wrote counts as nothing.
pub(super) fn unsigned(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

/// A column's amount.
pub(super) fn nano(column: i64) -> Nano {
    Nano(unsigned(column))
}
