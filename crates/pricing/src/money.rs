//! Money. Two types, so that a price is never taken for an amount.

use std::fmt;

/// A price: pico-dollars (10⁻¹² dollar) a unit. Every listed price is a whole number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pico(pub u64);

/// An amount: nano-dollars (10⁻⁹ dollar). The largest is some 18 billion dollars; sums saturate there, which is on the
/// safe side of every limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nano(pub u64);

impl Pico {
    /// What `quantity` units cost, rounded up: one line of a bill.
    pub fn of(self, quantity: u64) -> Nano {
        let pico = u128::from(self.0) * u128::from(quantity);
        Nano(u64::try_from(pico.div_ceil(1_000)).unwrap_or(u64::MAX))
    }
}

impl Nano {
    /// Nothing.
    pub const ZERO: Nano = Nano(0);
    /// Nano-dollars of a dollar.
    pub const PER_USD: u64 = 1_000_000_000;
    /// Nano-dollars of a cent, the unit of the API's spend limits.
    pub const PER_CENT: u64 = 10_000_000;

    /// An amount in cents.
    pub const fn from_cents(cents: u64) -> Nano {
        Nano(cents.saturating_mul(Nano::PER_CENT))
    }

    /// The sum.
    #[must_use]
    pub const fn plus(self, other: Nano) -> Nano {
        Nano(self.0.saturating_add(other.0))
    }

    /// The difference, zero where `other` is more.
    #[must_use]
    pub const fn minus(self, other: Nano) -> Nano {
        Nano(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Nano {
    fn sum<I: Iterator<Item = Nano>>(amounts: I) -> Nano {
        amounts.fold(Nano::ZERO, Nano::plus)
    }
}

/// In dollars, exactly, without needless zeros but at least cents: `$0.00`, `$1.50`, `$0.000000001`.
impl fmt::Display for Nano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / Nano::PER_USD, self.0 % Nano::PER_USD);
        let digits = format!("{rest:09}");
        let shown = digits.trim_end_matches('0').len().max(2);
        write!(f, "${dollars}.{}", &digits[..shown])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_rounds_up_once() {
        assert_eq!(Pico(2_500_000).of(1), Nano(2_500));
        assert_eq!(Pico(1).of(1), Nano(1));
        assert_eq!(Pico(1).of(1_001), Nano(2));
        assert_eq!(Pico(u64::MAX).of(u64::MAX), Nano(u64::MAX));
    }

    #[test]
    fn dollars_are_exact() {
        assert_eq!(Nano::ZERO.to_string(), "$0.00");
        assert_eq!(Nano(1).to_string(), "$0.000000001");
        assert_eq!(Nano::from_cents(150).to_string(), "$1.50");
        assert_eq!(Nano(1_234_500_000).to_string(), "$1.2345");
    }
}
