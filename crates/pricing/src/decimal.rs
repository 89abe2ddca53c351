//! Decimal strings to integers, exactly: the one way by which a written amount comes in. A number that would have to be
//! rounded is refused.

use crate::{Nano, Pico};

/// Digits that a written amount may have; beyond any price, and small enough for the arithmetic to be exact.
const DIGITS_MAX: usize = 24;

const PICO_PER_USD: u128 = 1_000_000_000_000;

/// Why a written amount was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Signs, exponents, currency signs, group separators and empty parts are among what is not a decimal number.
    #[error("not a decimal number; write digits with at most one point, like \"2.50\"")]
    NotADecimal,
    /// The last digits are less than the smallest step.
    #[error("finer than the smallest step of {step}; leave out the last digits")]
    TooFine {
        /// The step.
        step: &'static str,
    },
    /// More than can be counted.
    #[error("too large")]
    TooLarge,
}

impl Pico {
    /// A price from dollars in decimal, where the dollars are for `pieces` of what the price is for: 1,000,000 where a
    /// price list names dollars a million tokens.
    ///
    /// # Errors
    /// When it is no decimal number, too large, or no whole number of pico-dollars a piece.
    pub fn from_usd(usd: &str, pieces: u64) -> Result<Pico, AmountError> {
        let step = AmountError::TooFine { step: "a pico-dollar (10⁻¹² dollar) a piece" };
        scaled(usd, PICO_PER_USD, pieces, step).map(Pico)
    }

    /// The price of `pieces` in dollars, exactly, without needless zeros: the inverse of [`Pico::from_usd`].
    pub fn usd(self, pieces: u64) -> String {
        let pico = u128::from(self.0) * u128::from(pieces);
        let (dollars, rest) = (pico / PICO_PER_USD, pico % PICO_PER_USD);
        let digits = format!("{dollars}.{rest:012}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Nano {
    /// An amount from dollars in decimal.
    ///
    /// # Errors
    /// When it is no decimal number, too large, or no whole number of nano-dollars.
    pub fn from_usd(usd: &str) -> Result<Nano, AmountError> {
        let step = AmountError::TooFine { step: "a nano-dollar (10⁻⁹ dollar)" };
        scaled(usd, u128::from(Nano::PER_USD), 1, step).map(Nano)
    }
}

/// A multiplier in per mille: `1.1` is 1100.
///
/// # Errors
/// When it is no decimal number or has more than three places.
pub fn per_mille(multiplier: &str) -> Result<u32, AmountError> {
    let scaled = scaled(multiplier, 1_000, 1, AmountError::TooFine { step: "a thousandth" })?;
    u32::try_from(scaled).map_err(|_| AmountError::TooLarge)
}

/// The number times `factor`, divided by `divisor`: a whole number or an error.
fn scaled(text: &str, factor: u128, divisor: u64, too_fine: AmountError) -> Result<u64, AmountError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(AmountError::NotADecimal),
        Some(parts) => parts,
        None => (text, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(AmountError::NotADecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if whole.len() + fraction.len() > DIGITS_MAX {
        return Err(if fraction.len() > 12 { too_fine } else { AmountError::TooLarge });
    }
    // At most 24 digits times 10^12: below 2^127.
    let digits = whole.bytes().chain(fraction.bytes()).fold(0u128, |sum, byte| sum * 10 + u128::from(byte - b'0'));
    let scale = fraction.bytes().fold(1u128, |scale, _| scale * 10);
    let Some(divisor) = scale.checked_mul(u128::from(divisor.max(1))) else { return Err(too_fine) };
    let product = digits * factor;
    if !product.is_multiple_of(divisor) {
        return Err(too_fine);
    }
    u64::try_from(product / divisor).map_err(|_| AmountError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(Pico::from_usd("2.5", 1_000_000), Ok(Pico(2_500_000)));
        assert_eq!(Pico::from_usd("0.0375", 1_000_000), Ok(Pico(37_500)));
        assert_eq!(Pico::from_usd("0.0045", 1), Ok(Pico(4_500_000_000)));
        assert_eq!(Pico::from_usd("10", 1_000), Ok(Pico(10_000_000_000)));
        assert_eq!(Pico::from_usd("007.10", 1), Ok(Pico(7_100_000_000_000)));
        assert_eq!(per_mille("1.1"), Ok(1_100));
        assert_eq!(Nano::from_usd("1.000000001"), Ok(Nano(1_000_000_001)));
        assert!(matches!(Nano::from_usd("0.0000000001"), Err(AmountError::TooFine { .. })));
    }

    #[test]
    fn what_would_be_rounded_or_guessed_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,000", "$1", " 1", "1 ", "0x1", "NaN", "١", "1.2.3"] {
            assert_eq!(Pico::from_usd(text, 1), Err(AmountError::NotADecimal), "{text}");
        }
        assert!(matches!(Pico::from_usd("0.0000001", 1_000_000), Err(AmountError::TooFine { .. })));
        assert!(matches!(Pico::from_usd("0.0000000000000000000000001", 1), Err(AmountError::TooFine { .. })));
        assert!(matches!(Pico::from_usd("1", u64::MAX), Err(AmountError::TooFine { .. })));
        assert_eq!(Pico::from_usd("99999999999", 1), Err(AmountError::TooLarge));
        assert_eq!(Pico::from_usd(&"9".repeat(1_000), 1), Err(AmountError::TooLarge));
        assert!(matches!(per_mille("1.1001"), Err(AmountError::TooFine { .. })));
        assert_eq!(per_mille("5000000"), Err(AmountError::TooLarge));
    }

    proptest::proptest! {
        #[test]
        fn writing_and_reading_are_inverse(pico: u64, pieces in proptest::sample::select(vec![1u64, 1_000, 1_000_000])) {
            let text = Pico(pico).usd(pieces);
            proptest::prop_assert_eq!(Pico::from_usd(&text, pieces), Ok(Pico(pico)));
        }

        #[test]
        fn no_text_panics(text: String, pieces: u64) {
            let _: Result<Pico, AmountError> = Pico::from_usd(&text, pieces);
        }
    }
}
