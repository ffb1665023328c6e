//! Open lots under FIFO or LIFO: which bought piece a sold piece closes, exactly.

use std::collections::VecDeque;

use events::{Decimal, decimal::ArithmeticError};
use serde::{Deserialize, Serialize};

/// Which open lot is closed next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

/// The open lots of a book, oldest first; all on one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lots(VecDeque<Lot>);

/// A piece of position and what it cost; both below zero when it is short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lot {
    amount: Decimal,
    cost: Decimal,
    /// Absent for an opening position, which is known by its cost alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<Decimal>,
}

/// What a trade closed: so much position, which had cost so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub amount: Decimal,
    pub cost: Decimal,
}

impl Closed {
    pub const NOTHING: Self = Self { amount: Decimal::ZERO, cost: Decimal::ZERO };

    /// What was gained by closing it at this price.
    pub fn gain(&self, price: Decimal) -> Result<Decimal, ArithmeticError> {
        if self.amount.is_zero() { Ok(-self.cost) } else { self.amount.times(price)?.minus(self.cost) }
    }
}

impl Lots {
    /// Trades `delta` at `price`: closes what is open on the other side, opens a lot with the rest.
    pub fn trade(&mut self, delta: Decimal, price: Decimal, order: Order) -> Result<Closed, ArithmeticError> {
        let mut left = delta;
        let mut closed = Closed::NOTHING;
        while let Some(lot) = self.next(order)
            && lot.amount.is_negative() != left.is_negative()
            && !left.is_zero()
        {
            let piece = if left.abs() < lot.amount.abs() { lot.release(-left)? } else { self.close_next(order) };
            left = left.plus(piece.amount)?;
            closed.amount = closed.amount.plus(piece.amount)?;
            closed.cost = closed.cost.plus(piece.cost)?;
        }
        if !left.is_zero() {
            self.0.push_back(Lot { amount: left, cost: left.times(price)?, price: Some(price) });
        }
        Ok(closed)
    }

    /// What was held before the first fill.
    pub fn open(&mut self, amount: Decimal, cost: Decimal) {
        if !amount.is_zero() {
            self.0.push_back(Lot { amount, cost, price: None });
        }
    }

    fn next(&mut self, order: Order) -> Option<&mut Lot> {
        match order {
            Order::OldestFirst => self.0.front_mut(),
            Order::NewestFirst => self.0.back_mut(),
        }
    }

    /// A whole lot, with all the cost that is left.
    fn close_next(&mut self, order: Order) -> Closed {
        let lot = match order {
            Order::OldestFirst => self.0.pop_front(),
            Order::NewestFirst => self.0.pop_back(),
        };
        lot.map_or(Closed::NOTHING, |Lot { amount, cost, .. }| Closed { amount, cost })
    }
}

impl Lot {
    /// Takes a piece out that is not all of it.
    fn release(&mut self, amount: Decimal) -> Result<Closed, ArithmeticError> {
        let cost = match self.price {
            Some(price) => amount.times(price)?,
            None => self.cost.mul_div(amount, self.amount)?,
        };
        self.amount = self.amount.minus(amount)?;
        self.cost = self.cost.minus(cost)?;
        Ok(Closed { amount, cost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn costs(trades: &[(&str, &str)], order: Order) -> Vec<String> {
        let mut lots = Lots::default();
        trades.iter().map(|(delta, price)| lots.trade(d(delta), d(price), order).unwrap().cost.to_string()).collect()
    }

    #[test]
    fn the_oldest_or_the_newest_lot_is_closed_first() {
        let trades = [("1", "160"), ("1", "180"), ("-1", "175"), ("-1", "175")];
        assert_eq!(costs(&trades, Order::OldestFirst)[2..], ["160", "180"]);
        assert_eq!(costs(&trades, Order::NewestFirst)[2..], ["180", "160"]);
    }

    #[test]
    fn crossing_zero_closes_everything_and_opens_the_rest() {
        let mut lots = Lots::default();
        lots.trade(d("-4"), d("171.5"), Order::OldestFirst).unwrap();
        let closed = lots.trade(d("6.5"), d("168.25"), Order::OldestFirst).unwrap();
        assert_eq!(closed, Closed { amount: d("-4"), cost: d("-686") });
        assert_eq!(lots.0, [Lot { amount: d("2.5"), cost: d("420.625"), price: Some(d("168.25")) }]);
    }

    #[test]
    fn an_opening_position_gives_its_whole_cost_back_in_pieces() {
        let mut lots = Lots::default();
        lots.open(d("3"), d("10"));
        let pieces = ["-1", "-1", "-1"].map(|delta| lots.trade(d(delta), d("5"), Order::OldestFirst).unwrap().cost);
        let whole = pieces.into_iter().try_fold(Decimal::ZERO, Decimal::plus).unwrap();
        assert_eq!(whole, d("10"));
    }
}
