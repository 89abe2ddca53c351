//! Amounts of money in calls and answers: dollars as text, digit by digit, and beside them whole nano-dollars; cents
//! where the API has cents. No float, in or out.

use pricing::Nano;
use serde_json::{Map, Value};

use crate::input::{Fields, invalid};
use wire::refusal::Refusal;

/// Largest amount of a limit or an alert: a billion dollars. What is above is a typing error, and sums of such amounts
/// still fit the ledger's arithmetic.
pub(crate) const AMOUNT_MAX: Nano = Nano(1_000_000_000 * Nano::PER_USD);

/// Reads dollars.
///
/// # Errors
/// What is wrong with the text, to follow "it is".
pub(crate) fn read(text: &str) -> Result<Nano, String> {
    match Nano::from_usd(text) {
        Ok(amount) if amount <= AMOUNT_MAX => Ok(amount),
        Ok(_) => Err("too large".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An amount that a call names in dollars (`amount`), in cents (`threshold_amount`), or in both, which must then agree.
pub(crate) fn amount(fields: &Fields) -> Result<Option<Nano>, Refusal> {
    match (fields.dollars("amount")?, fields.cents("threshold_amount", 0)?) {
        (Some(dollars), Some(cents)) if dollars != cents => {
            let at = fields.at("threshold_amount");
            Err(invalid(at.clone(), format!("'{at}' and '{}' differ: name one of them.", fields.at("amount"))))
        }
        (dollars, cents) => Ok(dollars.or(cents)),
    }
}

/// Dollars without a sign, exactly: `1.50`, `0.000000001`.
pub(crate) fn dollars(amount: Nano) -> String {
    amount.to_string().trim_start_matches('$').to_owned()
}

/// Whole cents; what is less than a cent is left out.
pub(crate) const fn cents(amount: Nano) -> u64 {
    amount.0 / Nano::PER_CENT
}

/// Adds an amount to an answer: `name` in dollars, and `name_nano`.
pub(crate) fn put(answer: &mut Map<String, Value>, name: &str, amount: Nano) {
    answer.insert(name.to_owned(), dollars(amount).into());
    answer.insert(format!("{name}_nano"), amount.0.into());
}

/// An object of these amounts and nothing else.
pub(crate) fn object<const N: usize>(amounts: [(&str, Nano); N]) -> Map<String, Value> {
    let mut answer = Map::new();
    for (name, amount) in amounts {
        put(&mut answer, name, amount);
    }
    answer
}

/// Puts fields into a JSON object.
pub(crate) fn merge(answer: &mut Value, fields: Map<String, Value>) {
    if let Value::Object(map) = answer {
        map.extend(fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_written_exactly() {
        for text in ["0.00", "1.50", "0.000000001", "12345.678901234", "1000000000.00"] {
            assert_eq!(dollars(read(text).expect(text)), text);
        }
        for text in ["", "-1", "1e3", "$1", "1,000", "0.0000000001", "1000000000.01", "99999999999999"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(cents(Nano(19_999_999)), 1);
    }
}
