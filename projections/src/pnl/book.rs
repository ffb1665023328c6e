//! One book: a bot's trading on one exchange, market and pair, by every method at once (R3 to R5).

use events::{Asset, Decimal, Market, Price, Time, decimal::ArithmeticError, ledger::Side};
use serde::{Deserialize, Serialize};

use super::{
    entry::Trade,
    lots::{Lots, Order},
    tally::{Tally, add},
};
use crate::rates::Known;

/// A book: what was counted, and the lots that are still open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    pub tally: Tally,
    fifo: Lots,
    lifo: Lots,
    /// Whether its equity is still what it was when it was looked at last: looking again finds nothing new.
    #[serde(skip)]
    pub calm: bool,
}

impl Book {
    /// A book of which nothing is known before this moment.
    pub fn new(at: Time) -> Self {
        Self { tally: Tally::new(at), fifo: Lots::default(), lifo: Lots::default(), calm: false }
    }

    /// Counts a fill of this moment.
    pub fn trade(&mut self, trade: &Trade, at: Time, known: Known<'_>) -> Result<(), ArithmeticError> {
        self.calm = false;
        self.tally.count(trade)?;
        let delta = delta(trade)?;
        self.tally.capture_spread(trade, delta, known)?;
        self.change(delta, trade.price.0, at)?;
        self.tally.charge(trade, known)
    }

    /// Counts funding that was paid or received.
    pub fn fund(
        &mut self,
        amount: Decimal,
        asset: &Asset,
        into: &Asset,
        known: Known<'_>,
    ) -> Result<(), ArithmeticError> {
        self.calm = false;
        self.tally.fund(amount, asset, into, known)
    }

    /// Looks at the equity at a moment.
    pub fn sample(&mut self, mark: Option<Price>) -> Result<(), ArithmeticError> {
        self.calm = true;
        self.tally.sample(mark)
    }

    /// Takes over what was held before the first recorded fill.
    pub fn opening(&mut self, position: Decimal, cost: Decimal, at: Time) -> Result<(), ArithmeticError> {
        self.calm = false;
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

    fn change(&mut self, delta: Decimal, price: Decimal, at: Time) -> Result<(), ArithmeticError> {
        let tally = &mut self.tally;
        tally.open(at)?;
        let worth = delta.times(price)?;
        let fifo = self.fifo.trade(delta, price, Order::OldestFirst)?.gain(price)?;
        settle(&mut tally.fifo_cost, &mut tally.fifo_realized, worth, fifo)?;
        let lifo = self.lifo.trade(delta, price, Order::NewestFirst)?.gain(price)?;
        settle(&mut tally.lifo_cost, &mut tally.lifo_realized, worth, lifo)?;
        let gain = tally.close_at_average(delta)?.gain(price)?;
        settle(&mut tally.cost, &mut tally.realized, worth, gain)?;
        add(&mut tally.day_realized, gain)?;
        tally.match_delta(delta, worth)?;
        add(&mut tally.position, delta)
    }
}

/// A trade's effect on one method's running cost and realised P&L. What is closed leaves at its cost and what is opened
/// enters at the price: together the cost changes by the money that moved and by what was gained.
fn settle(cost: &mut Decimal, realized: &mut Decimal, worth: Decimal, gain: Decimal) -> Result<(), ArithmeticError> {
    add(cost, worth)?;
    if gain.is_zero() {
        return Ok(());
    }
    add(cost, gain)?;
    add(realized, gain)
}

/// What the fill changed in the base asset: on spot a base fee leaves with it (R4).
pub(crate) fn delta(trade: &Trade) -> Result<Decimal, ArithmeticError> {
    let amount = match trade.side {
        Side::Buy => trade.amount.0,
        Side::Sell => -trade.amount.0,
    };
    match trade.book.market {
        Market::Perp => Ok(amount),
        Market::Spot => trade
            .fees
            .iter()
            .flatten()
            .filter(|fee| fee.asset.as_str() == trade.book.pair.base())
            .try_fold(amount, |delta, fee| delta.minus(fee.amount)),
    }
}
