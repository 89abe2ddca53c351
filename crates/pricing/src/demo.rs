//! Prices of the embedded model: made up, so that limits can be seen working without an account. Nobody is charged.

use crate::overrides::UnitPrice;
use crate::{Override, Pico, Tier, Unit};

/// Demo prices in pico-dollars a token: $50 a million tokens in, $200 a million out, far above what such a model is
/// worth. A short answer costs a cent or two, so that a limit of a dollar is reached within some fifty calls.
pub const DEMO_PRICES: [(Unit, Pico); 2] = [(Unit::TextInput, Pico(50_000_000)), (Unit::TextOutput, Pico(200_000_000))];

/// The row of the embedded model, under the name that it is served as. In and out share its context window.
pub fn demo(model: &str, context_window_tokens: u64) -> Override {
    let prices = DEMO_PRICES.map(|(unit, price)| UnitPrice { tier: Tier::Standard, unit, long_context: false, price });
    Override {
        context_window_tokens: Some(context_window_tokens),
        max_input_tokens: Some(context_window_tokens),
        max_output_tokens: Some(context_window_tokens),
        prices: prices.to_vec(),
        demo: true,
        ..Override::of(model)
    }
}
