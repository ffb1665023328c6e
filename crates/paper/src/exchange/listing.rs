//! What an exchange says of a pair: where its price starts, and in which steps prices and amounts go.

use events::{Decimal, Pair};
use serde::Deserialize;

use crate::exact::quotient;

/// A pair's trading rules, the same on all exchanges.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// What the first print costs, where no tape says it.
    pub price: Decimal,
    pub price_step: Decimal,
    pub amount_step: Decimal,
    /// What stands at each level of the book.
    pub depth: Decimal,
}

impl Listing {
    /// The rules of well-known assets; any other asset costs one and goes in steps of a hundredth.
    pub(crate) fn of(pair: &Pair) -> Self {
        let (price, price_step, amount_step, depth) = match pair.base() {
            "BTC" => ("60000", "0.01", "0.00001", "10"),
            "ETH" => ("3000", "0.01", "0.0001", "200"),
            "BNB" => ("600", "0.01", "0.001", "1000"),
            "SOL" => ("150", "0.01", "0.001", "4000"),
            "PEPE" => ("0.00001235", "0.00000001", "1", "50000000000"),
            _ => ("1", "0.0001", "0.01", "600000"),
        };
        let exact = |text: &str| text.parse().expect("a listing is written in decimals");
        Self {
            price: exact(price),
            price_step: exact(price_step),
            amount_step: exact(amount_step),
            depth: exact(depth),
        }
    }

    /// An order must be worth so much.
    pub(crate) fn notional_min() -> Decimal {
        Decimal::from_int(5)
    }

    /// How many steps of the price lie in a hundredth of a percent of it, at least one.
    pub(crate) fn gap(&self) -> Decimal {
        let steps = quotient(crate::exact::product(self.price, Decimal::new(1, 4)), self.price_step);
        let whole = crate::exact::floor_to(steps, Decimal::ONE);
        crate::exact::product(whole.max(Decimal::ONE), self.price_step)
    }
}
