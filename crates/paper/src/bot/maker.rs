//! A market maker's configuration and the orders that it wants: `pmm_simple`, `pmm_dynamic` and any with their fields.

use events::{Decimal, bot::Venue, ledger::Side};
use serde_json::Value;

use super::Wish;
use crate::{
    exact::{ceil_to, difference, floor_to, product, quotient, sum},
    exchange::{book::Standing, from_connector},
};

/// What of a configuration moves orders.
#[derive(Debug)]
pub(crate) struct Maker {
    pub venue: Venue,
    total_quote: Decimal,
    buys: Vec<(Decimal, Decimal)>,
    sells: Vec<(Decimal, Decimal)>,
    pub refresh_s: i64,
    pub cooldown_s: i64,
    pub killed: bool,
}

impl Maker {
    pub(crate) fn read(config: &Value) -> Result<Self, String> {
        let field = |name: &str| config.get(name).unwrap_or(&Value::Null);
        // pmm_dynamic's spreads are multiples of the market's own width, which is a tenth of a percent here.
        let width = if field("controller_name") == "pmm_dynamic" { Decimal::new(1, 3) } else { Decimal::ONE };
        Ok(Self {
            venue: venue(config)?,
            total_quote: exact(field("total_amount_quote")).unwrap_or_default(),
            buys: levels(field("buy_spreads"), field("buy_amounts_pct"), width),
            sells: levels(field("sell_spreads"), field("sell_amounts_pct"), width),
            refresh_s: field("executor_refresh_time").as_i64().unwrap_or(300),
            cooldown_s: field("cooldown_time").as_i64().unwrap_or(15),
            killed: killed(config),
        })
    }

    pub(crate) fn levels(&self) -> impl Iterator<Item = (bool, usize)> {
        let (buys, sells) = (self.buys.len(), self.sells.len());
        (0..buys).map(|level| (true, level)).chain((0..sells).map(|level| (false, level)))
    }

    /// The order of one level, in the exchange's steps; none where it would be nothing.
    pub(crate) fn wish(&self, (buys, level): (bool, usize), standing: &Standing) -> Option<Wish> {
        let (side, levels) = if buys { (Side::Buy, &self.buys) } else { (Side::Sell, &self.sells) };
        let (spread, weight) = levels.get(level)?;
        let (mid, step) = (standing.mid(), standing.listing.price_step);
        let price = match side {
            Side::Buy => floor_to(product(mid, difference(Decimal::ONE, *spread)), step),
            Side::Sell => ceil_to(product(mid, sum(Decimal::ONE, *spread)), step),
        };
        let weights = self.buys.iter().chain(&self.sells).fold(Decimal::ZERO, |all, (_, weight)| sum(all, *weight));
        let quote = quotient(product(self.total_quote, *weight), weights);
        if !price.is_positive() {
            return None;
        }
        let amount = floor_to(quotient(quote, price), standing.listing.amount_step);
        amount.is_positive().then(|| Wish { venue: self.venue.clone(), side, price: Some(price), amount })
    }
}

pub(crate) fn venue(config: &Value) -> Result<Venue, String> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let (connector, pair) = (text("connector_name"), text("trading_pair"));
    let (exchange, market) = from_connector(connector).ok_or_else(|| format!("Invalid connector: {connector}"))?;
    let pair = pair.parse().map_err(|_| format!("Invalid trading pair: {pair}"))?;
    Ok(Venue { exchange, market, pair })
}

pub(crate) fn killed(config: &Value) -> bool {
    config.get("manual_kill_switch").and_then(Value::as_bool).unwrap_or_default()
}

/// A number, or a text of one.
pub(crate) fn exact(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => number.to_string().parse().ok(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Spreads with their weights: a list or a text with commas; all weigh the same unless it is said.
fn levels(spreads: &Value, weights: &Value, width: Decimal) -> Vec<(Decimal, Decimal)> {
    let weights = list(weights);
    let weight = |level: usize| weights.get(level).copied().unwrap_or(Decimal::ONE);
    list(spreads).into_iter().enumerate().map(|(level, spread)| (product(spread, width), weight(level))).collect()
}

fn list(value: &Value) -> Vec<Decimal> {
    match value {
        Value::Array(items) => items.iter().filter_map(exact).collect(),
        Value::String(text) => text.split(',').filter_map(|item| item.trim().parse().ok()).collect(),
        Value::Number(_) => exact(value).into_iter().collect(),
        Value::Null | Value::Bool(_) | Value::Object(_) => Vec::new(),
    }
}
