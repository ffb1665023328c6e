//! A volume bot's configuration and the orders that it wants: market orders at an interval, none above a cap.

use events::{Decimal, bot::Venue, ledger::Side};
use rand::{Rng, rngs::StdRng};
use serde_json::Value;

use super::{
    Wish,
    maker::{exact, killed, venue},
};
use crate::{
    exact::{floor_to, product},
    exchange::book::Standing,
};

#[derive(Debug)]
pub(crate) struct Taker {
    pub venue: Venue,
    amount_max: Decimal,
    pub interval_s: i64,
    /// Absent: each way half of the time.
    side: Option<Side>,
    pub killed: bool,
}

impl Taker {
    /// `max_order_amount` (or `order_amount`) in the base asset, `order_interval` in seconds, `side` BUY, SELL or none.
    pub(crate) fn read(config: &Value) -> Result<Self, String> {
        let field = |name: &str| config.get(name).unwrap_or(&Value::Null);
        let amount_max = exact(field("max_order_amount")).or_else(|| exact(field("order_amount")));
        let side = match field("side").as_str() {
            Some("BUY") => Some(Side::Buy),
            Some("SELL") => Some(Side::Sell),
            Some(_) | None => None,
        };
        Ok(Self {
            venue: venue(config)?,
            amount_max: amount_max.ok_or("max_order_amount is missing")?,
            interval_s: field("order_interval").as_i64().unwrap_or(10).max(1),
            side,
            killed: killed(config),
        })
    }

    pub(crate) fn wish(&self, standing: &Standing, rng: &mut StdRng) -> Option<Wish> {
        let part = Decimal::new(rng.random_range(50..=100), 2);
        let amount = floor_to(product(self.amount_max, part), standing.listing.amount_step);
        let either = if rng.random_bool(0.5) { Side::Buy } else { Side::Sell };
        let side = self.side.unwrap_or(either);
        amount.is_positive().then(|| Wish { venue: self.venue.clone(), side, price: None, amount })
    }
}
