//! What is counted of a book, and the figures that follow from it (R6 to R10, R13, R14).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use events::{
    Asset, Decimal, Price, Time,
    decimal::ArithmeticError,
    ledger::{Liquidity, Side},
};
use serde::{Deserialize, Serialize};

use super::{entry::Trade, lots::Closed};
use crate::rates::Known;

/// What was counted of a book up to a moment. Money is in the quote asset, amounts are in the base asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The first fill's time, or the opening position's; absent while there was only funding.
    pub opened: Option<Time>,
    /// How many.
    pub fills: i64,
    /// How many of them bought.
    pub buys: i64,
    /// How many of them sold.
    pub sells: i64,
    /// Sum of raw amounts.
    pub volume_base: Decimal,
    /// Sum of price x raw amount.
    pub volume_quote: Decimal,
    /// The part of `volume_quote` whose order rested in the book.
    pub maker_volume: Decimal,
    /// Held now; below zero when short.
    pub position: Decimal,
    /// What the position cost under moving average; below zero when short.
    pub cost: Decimal,
    /// Realised by moving average, before fees and funding.
    pub realized: Decimal,
    /// What the open lots cost, oldest closed first.
    pub fifo_cost: Decimal,
    /// Realised so, before fees and funding.
    pub fifo_realized: Decimal,
    /// What the open lots cost, newest closed first.
    pub lifo_cost: Decimal,
    /// Realised so, before fees and funding.
    pub lifo_realized: Decimal,
    /// Base bought and sold, net of base fees, and what was paid and received for it: the matched average's parts.
    pub bought: Decimal,
    pub bought_for: Decimal,
    pub sold: Decimal,
    pub sold_for: Decimal,
    /// Every fee in its own asset; below zero was received.
    pub fees_by_asset: BTreeMap<Asset, Decimal>,
    /// Fees valued when they were charged.
    pub fees_quote: Decimal,
    /// Fees that no rate could value.
    pub unconverted_fees: BTreeMap<Asset, Decimal>,
    /// Fills whose fees nobody knows.
    pub unknown_fees: i64,
    /// Funding valued when it was paid; below zero was paid.
    pub funding: Decimal,
    /// Funding that no rate could value.
    pub unconverted_funding: BTreeMap<Asset, Decimal>,
    /// Sum of delta x (mid - price); absent once a fill had no mid.
    pub spread_capture: Option<Decimal>,
    /// Position x microseconds, and the same of its distance from zero, up to `weighed_until`.
    pub weighted: Decimal,
    pub weighted_abs: Decimal,
    pub weighed_until: Time,
    /// The highest equity at a whole minute, zero at least.
    pub peak: Decimal,
    /// The deepest fall from a peak; absent once a position had no mark.
    pub drawdown: Option<Decimal>,
    /// Of the UTC day that is under way.
    pub day_realized: Decimal,
    pub day_fees: Decimal,
    pub day_funding: Decimal,
    pub day_volume: Decimal,
    /// Total net at the end of the day before: zero on the first day, absent where a position had no mark.
    pub total_before_day: Option<Decimal>,
}

/// One UTC day of a book (R10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Which.
    pub date: NaiveDate,
    /// Realised on that day by moving average, before fees and funding.
    pub realized: Decimal,
    /// Charged on that day.
    pub fees_quote: Decimal,
    /// Of that day.
    pub funding: Decimal,
    /// Of that day.
    pub volume_quote: Decimal,
    /// At the day's end.
    pub position: Decimal,
    /// At the day's end; absent without a mark.
    pub unrealized_eod: Option<Decimal>,
    /// Everything up to the day's end; absent without a mark.
    pub cum_total_net: Option<Decimal>,
    /// What the day added to it; absent where either end is.
    pub pnl: Option<Decimal>,
}

impl Tally {
    pub fn new(at: Time) -> Self {
        let zero = Decimal::ZERO;
        Self {
            opened: None,
            fills: 0,
            buys: 0,
            sells: 0,
            volume_base: zero,
            volume_quote: zero,
            maker_volume: zero,
            position: zero,
            cost: zero,
            realized: zero,
            fifo_cost: zero,
            fifo_realized: zero,
            lifo_cost: zero,
            lifo_realized: zero,
            bought: zero,
            bought_for: zero,
            sold: zero,
            sold_for: zero,
            fees_by_asset: BTreeMap::new(),
            fees_quote: zero,
            unconverted_fees: BTreeMap::new(),
            unknown_fees: 0,
            funding: zero,
            unconverted_funding: BTreeMap::new(),
            spread_capture: Some(zero),
            weighted: zero,
            weighted_abs: zero,
            weighed_until: at,
            peak: zero,
            drawdown: Some(zero),
            day_realized: zero,
            day_fees: zero,
            day_funding: zero,
            day_volume: zero,
            total_before_day: Some(zero),
        }
    }

    pub fn count(&mut self, trade: &Trade) -> Result<(), ArithmeticError> {
        let notional = trade.price.times(trade.amount)?;
        self.fills += 1;
        match trade.side {
            Side::Buy => self.buys += 1,
            Side::Sell => self.sells += 1,
        }
        add(&mut self.volume_base, trade.amount.0)?;
        add(&mut self.volume_quote, notional)?;
        add(&mut self.day_volume, notional)?;
        match trade.liquidity {
            Liquidity::Maker => add(&mut self.maker_volume, notional),
            Liquidity::Taker | Liquidity::Unknown => Ok(()),
        }
    }

    pub fn capture_spread(&mut self, trade: &Trade, delta: Decimal, known: Known<'_>) -> Result<(), ArithmeticError> {
        self.spread_capture = match (self.spread_capture, mid(trade, known)) {
            (Some(captured), Some(mid)) => Some(captured.plus(delta.times(mid.0.minus(trade.price.0)?)?)?),
            (None, _) | (_, None) => None,
        };
        Ok(())
    }

    pub fn charge(&mut self, trade: &Trade, known: Known<'_>) -> Result<(), ArithmeticError> {
        let Some(fees) = &trade.fees else {
            self.unknown_fees += 1;
            return Ok(());
        };
        for fee in fees {
            add_of(&mut self.fees_by_asset, &fee.asset, fee.amount)?;
            match fee_in_quote(&fee.asset, fee.amount, trade, known)? {
                Some(worth) => {
                    add(&mut self.fees_quote, worth)?;
                    add(&mut self.day_fees, worth)?;
                }
                None => add_of(&mut self.unconverted_fees, &fee.asset, fee.amount)?,
            }
        }
        Ok(())
    }

    /// Funding was paid or received.
    pub fn fund(
        &mut self,
        amount: Decimal,
        asset: &Asset,
        into: &Asset,
        known: Known<'_>,
    ) -> Result<(), ArithmeticError> {
        match known.worth(amount, asset, into)? {
            Some(worth) => {
                add(&mut self.funding, worth)?;
                add(&mut self.day_funding, worth)
            }
            None => add_of(&mut self.unconverted_funding, asset, amount),
        }
    }

    /// The position is about to change at this moment: weigh what was held until now.
    pub fn open(&mut self, at: Time) -> Result<(), ArithmeticError> {
        if self.opened.is_none() {
            self.opened = Some(at);
            self.weighed_until = at;
        }
        self.weigh(at)
    }

    /// Adds position x time up to this moment.
    pub fn weigh(&mut self, until: Time) -> Result<(), ArithmeticError> {
        let weight = self.position.times(Decimal::from_int(until.micros() - self.weighed_until.micros()))?;
        add(&mut self.weighted, weight)?;
        add(&mut self.weighted_abs, weight.abs())?;
        self.weighed_until = until;
        Ok(())
    }

    /// What a trade closes of the cost pool; a full close takes the whole pool, so nothing is left by rounding (R5).
    pub fn close_at_average(&self, delta: Decimal) -> Result<Closed, ArithmeticError> {
        if self.position.is_zero() || delta.is_zero() || self.position.is_negative() == delta.is_negative() {
            return Ok(Closed::NOTHING);
        }
        if delta.abs() >= self.position.abs() {
            return Ok(Closed { amount: self.position, cost: self.cost });
        }
        Ok(Closed { amount: -delta, cost: self.cost.mul_div(-delta, self.position)? })
    }

    pub fn match_delta(&mut self, delta: Decimal, worth: Decimal) -> Result<(), ArithmeticError> {
        let (amount, money) = if delta.is_negative() {
            (&mut self.sold, &mut self.sold_for)
        } else {
            (&mut self.bought, &mut self.bought_for)
        };
        add(amount, delta.abs())?;
        add(money, worth.abs())
    }

    /// Position valued at the mark, less what it cost; absent without a mark, zero when flat (R8).
    pub fn unrealized(&self, cost: Decimal, mark: Option<Price>) -> Result<Option<Decimal>, ArithmeticError> {
        if self.position.is_zero() {
            return Ok(Some(Decimal::ZERO));
        }
        mark.map(|mark| self.position.times(mark.0)?.minus(cost)).transpose()
    }

    /// Realised P&L after fees and funding (R7).
    pub fn realized_net(&self) -> Result<Decimal, ArithmeticError> {
        self.realized.minus(self.fees_quote)?.plus(self.funding)
    }

    /// Realised and unrealised; absent without a mark.
    pub fn total_net(&self, mark: Option<Price>) -> Result<Option<Decimal>, ArithmeticError> {
        let unrealized = self.unrealized(self.cost, mark)?;
        unrealized.map(|unrealized| self.realized_net()?.plus(unrealized)).transpose()
    }

    /// Matched average: the smaller of bought and sold, times the difference of their average prices.
    pub fn matched_average(&self) -> Result<Decimal, ArithmeticError> {
        let matched = self.bought.min(self.sold);
        if matched.is_zero() {
            return Ok(Decimal::ZERO);
        }
        matched.mul_div(self.sold_for, self.sold)?.minus(matched.mul_div(self.bought_for, self.bought)?)
    }

    /// The identity R9, checked on every book before it is shown or saved: what a method realised less what it still holds
    /// at cost is the money that moved.
    ///
    /// # Panics
    /// If it does not hold: then no figure of this book can be trusted.
    pub fn check(&self) -> Result<(), ArithmeticError> {
        let moved = self.sold_for.minus(self.bought_for)?;
        for (method, realized, cost) in [
            ("moving average", self.realized, self.cost),
            ("FIFO", self.fifo_realized, self.fifo_cost),
            ("LIFO", self.lifo_realized, self.lifo_cost),
        ] {
            let held = realized.minus(cost)?;
            assert_eq!(
                held, moved,
                "{method} broke the identity: realised {realized}, cost {cost}, money moved {moved}"
            );
        }
        Ok(())
    }

    /// Whether every fee and funding is known and could be valued.
    pub fn is_complete(&self) -> bool {
        self.unknown_fees == 0 && self.unconverted_fees.is_empty() && self.unconverted_funding.is_empty()
    }

    /// Looks at the equity at a moment, for the drawdown (R14).
    pub fn sample(&mut self, mark: Option<Price>) -> Result<(), ArithmeticError> {
        let Some(deepest) = self.drawdown else { return Ok(()) };
        self.drawdown = match self.total_net(mark)? {
            Some(equity) => {
                self.peak = self.peak.max(equity);
                Some(deepest.max(self.peak.minus(equity)?))
            }
            None => None,
        };
        Ok(())
    }

    /// Ends a UTC day and begins the next; a book that nobody has traded in yet has no days.
    pub fn end_day(&mut self, date: NaiveDate, mark: Option<Price>) -> Result<Option<Day>, ArithmeticError> {
        let day = self.day(date, mark)?;
        (self.day_realized, self.day_fees) = (Decimal::ZERO, Decimal::ZERO);
        (self.day_funding, self.day_volume) = (Decimal::ZERO, Decimal::ZERO);
        if let Some(day) = &day {
            self.total_before_day = day.cum_total_net;
        }
        Ok(day)
    }

    /// The day as far as it has come.
    pub fn day(&self, date: NaiveDate, mark: Option<Price>) -> Result<Option<Day>, ArithmeticError> {
        if self.opened.is_none() {
            return Ok(None);
        }
        let total = self.total_net(mark)?;
        let pnl = match (total, self.total_before_day) {
            (Some(total), Some(before)) => Some(total.minus(before)?),
            (None, _) | (_, None) => None,
        };
        Ok(Some(Day {
            date,
            realized: self.day_realized,
            fees_quote: self.day_fees,
            funding: self.day_funding,
            volume_quote: self.day_volume,
            position: self.position,
            unrealized_eod: self.unrealized(self.cost, mark)?,
            cum_total_net: total,
            pnl,
        }))
    }
}

/// The mid at the fill's moment: the fill's own, else the pair's rate; never the last trade (R13).
fn mid(trade: &Trade, known: Known<'_>) -> Option<Price> {
    trade.mid_at_fill.or_else(|| known.observed.of(&trade.book.pair))
}

/// What one unit of the fee's asset is worth in quote: the fill price for the base asset, else by rate (R6).
pub(crate) fn fee_in_quote(
    asset: &Asset,
    amount: Decimal,
    trade: &Trade,
    known: Known<'_>,
) -> Result<Option<Decimal>, ArithmeticError> {
    let pair = &trade.book.pair;
    if asset.as_str() == pair.base() {
        return amount.times(trade.price.0).map(Some);
    }
    // The quote asset is worth itself: the usual fee needs no rate.
    if asset.as_str() == pair.quote() { Ok(Some(amount)) } else { known.worth(amount, asset, &pair.quote_asset()) }
}

/// Adds to a sum.
pub fn add(to: &mut Decimal, more: Decimal) -> Result<(), ArithmeticError> {
    *to = to.plus(more)?;
    Ok(())
}

/// An asset once named stays named: what could not be valued leaves a figure incomplete even when it sums to zero.
fn add_of(to: &mut BTreeMap<Asset, Decimal>, asset: &Asset, more: Decimal) -> Result<(), ArithmeticError> {
    match to.get_mut(asset) {
        _ if more.is_zero() => Ok(()),
        Some(sum) => add(sum, more),
        None => add(to.entry(asset.clone()).or_default(), more),
    }
}
