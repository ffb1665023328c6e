//! One book: a bot's trading on one exchange, market and pair, by every method at once (R3 to R5).

use events::{
    Decimal, Market, Time,
    decimal::ArithmeticError,
    ledger::{Fill, Side},
};
use serde::{Deserialize, Serialize};

use super::{
    lots::{Closed, Lots, Order},
    tally::{Tally, add},
};
use crate::rates::Known;

/// A book: what was counted, and the lots that are still open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    pub tally: Tally,
    fifo: Lots,
    lifo: Lots,
}

impl Book {
    /// A book of which nothing is known before this moment.
    pub fn new(at: Time) -> Self {
        Self { tally: Tally::new(at), fifo: Lots::default(), lifo: Lots::default() }
    }

    /// Counts a fill.
    pub fn fill(&mut self, fill: &Fill, known: Known<'_>) -> Result<(), ArithmeticError> {
        self.tally.count(fill)?;
        let delta = delta(fill)?;
        self.tally.capture_spread(fill, delta, known)?;
        self.trade(delta, fill.price.0, fill.at)?;
        self.tally.charge(fill, known)
    }

    /// Takes over what was held before the first recorded fill.
    pub fn opening(&mut self, position: Decimal, cost: Decimal, at: Time) -> Result<(), ArithmeticError> {
        let tally = &mut self.tally;
        tally.open(at)?;
        for (pool, lots) in [(&mut tally.fifo_cost, &mut self.fifo), (&mut tally.lifo_cost, &mut self.lifo)] {
            add(pool, cost)?;
            lots.open(position, cost);
        }
        tally.match_delta(position, cost)?;
        add(&mut tally.cost, cost)?;
        add(&mut tally.position, position)
    }

    fn trade(&mut self, delta: Decimal, price: Decimal, at: Time) -> Result<(), ArithmeticError> {
        let tally = &mut self.tally;
        tally.open(at)?;
        let fifo = self.fifo.trade(delta, price, Order::OldestFirst)?;
        settle(&mut tally.fifo_cost, &mut tally.fifo_realized, fifo, delta, price)?;
        let lifo = self.lifo.trade(delta, price, Order::NewestFirst)?;
        settle(&mut tally.lifo_cost, &mut tally.lifo_realized, lifo, delta, price)?;
        let average = tally.close_at_average(delta)?;
        let gain = settle(&mut tally.cost, &mut tally.realized, average, delta, price)?;
        add(&mut tally.day_realized, gain)?;
        tally.match_delta(delta, delta.times(price)?)?;
        add(&mut tally.position, delta)
    }
}

/// A trade's or an opening's effect on one method's running cost and realised P&L.
fn settle(
    cost: &mut Decimal,
    realized: &mut Decimal,
    closed: Closed,
    delta: Decimal,
    price: Decimal,
) -> Result<Decimal, ArithmeticError> {
    let gain = closed.amount.times(price)?.minus(closed.cost)?;
    let opened = delta.plus(closed.amount)?.times(price)?;
    *cost = cost.plus(opened)?.minus(closed.cost)?;
    *realized = realized.plus(gain)?;
    Ok(gain)
}

/// What the fill changed in the base asset: on spot a base fee leaves with it (R4).
fn delta(fill: &Fill) -> Result<Decimal, ArithmeticError> {
    let amount = match fill.side {
        Side::Buy => fill.amount.0,
        Side::Sell => -fill.amount.0,
    };
    match fill.market {
        Market::Perp => Ok(amount),
        Market::Spot => fill
            .fees
            .iter()
            .flatten()
            .filter(|fee| fee.asset.as_str() == fill.pair.base())
            .try_fold(amount, |delta, fee| delta.minus(fee.amount)),
    }
}
