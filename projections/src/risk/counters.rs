//! What one book has done today, in a row and since its bot was deployed.

use events::{
    Asset, Decimal, Price, Time,
    decimal::ArithmeticError,
    ledger::{Fee, Side},
};
use serde::{Deserialize, Serialize};

use crate::{
    pnl::{self, entry::Trade},
    rates::Known,
};

/// The counters of one book after some fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// What it holds and what it has paid for that, since ever.
    pub now: Standing,
    pub fees_quote: Decimal,
    /// Facts with a fee or a funding that is not in `now`, because nobody knows what it was worth.
    pub fees_unknown: u64,
    pub today: Traded,
    /// How it stood when the day began. A position without a mark then is marked with the day's first.
    pub begin: Standing,
    /// Since the day began or the bot was deployed, whichever came later: who was stopped for trading one side and is
    /// asked for again could otherwise never trade its way out.
    pub spell: Traded,
    /// The last fills of one side, since the bot was deployed.
    pub run: Option<Run>,
    /// When the bot was deployed last, and what the book held then.
    deployed_at: Option<Time>,
    position_at_deploy: Decimal,
    /// How it stood when it stood highest since then.
    highest: Option<Highest>,
}

/// What was traded in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traded {
    pub fills: u64,
    /// In the base asset.
    pub amount: Decimal,
    /// In the quote asset.
    pub bought: Decimal,
    pub sold: Decimal,
}

/// Fills of one side, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub side: Side,
    pub fills: u64,
}

/// What a book holds, what has flown in and out for it, and what one unit of it is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub position: Decimal,
    /// In the quote asset, fees and funding included.
    pub cash: Decimal,
    pub mark: Option<Price>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Highest {
    standing: Standing,
    equity: Decimal,
    at: Time,
}

impl Standing {
    /// Cash and position at the mark: the same as P&L's total, by its identity R9. Absent: a position without a mark.
    pub fn equity(&self) -> Result<Option<Decimal>, ArithmeticError> {
        if self.position.is_zero() {
            return Ok(Some(self.cash));
        }
        let Some(mark) = self.mark else { return Ok(None) };
        self.position.times(mark.0)?.plus(self.cash).map(Some)
    }

    fn move_by(&mut self, moved: Moved) -> Result<(), ArithmeticError> {
        self.position = self.position.plus(moved.position)?;
        self.cash = self.cash.plus(moved.cash)?;
        Ok(())
    }
}

/// What a fact changes in position and cash.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    position: Decimal,
    cash: Decimal,
}

/// A trade's effect on money, and whether all of its fees are in it.
struct Effect {
    moved: Moved,
    fees_quote: Decimal,
    fees_known: bool,
}

impl Effect {
    fn of(trade: &Trade, known: Known<'_>) -> Result<Self, ArithmeticError> {
        let position = pnl::delta(trade)?;
        let mut cash = Decimal::ZERO.minus(position.times(trade.price.0)?)?;
        let (mut fees_quote, mut fees_known) = (Decimal::ZERO, trade.fees.is_some());
        for fee in trade.fees.iter().flatten() {
            match pnl::fee_in_quote(&fee.asset, fee.amount, trade, known)? {
                Some(worth) => {
                    fees_quote = fees_quote.plus(worth)?;
                    cash = cash.minus(worth)?;
                }
                None => fees_known = false,
            }
        }
        Ok(Self { moved: Moved { position, cash }, fees_quote, fees_known })
    }
}

impl Traded {
    fn count(&mut self, trade: &Trade) -> Result<(), ArithmeticError> {
        let worth = trade.price.times(trade.amount)?;
        self.fills += 1;
        self.amount = self.amount.plus(trade.amount.0)?;
        let side = match trade.side {
            Side::Buy => &mut self.bought,
            Side::Sell => &mut self.sold,
        };
        *side = side.plus(worth)?;
        Ok(())
    }
}

impl Counters {
    /// A book of which nothing is known before today.
    pub fn new(mark: Option<Price>, deployed_at: Option<Time>) -> Self {
        Self {
            now: Standing { mark, ..Standing::default() },
            fees_quote: Decimal::ZERO,
            fees_unknown: 0,
            today: Traded::default(),
            begin: Standing { mark, ..Standing::default() },
            spell: Traded::default(),
            run: None,
            deployed_at,
            position_at_deploy: Decimal::ZERO,
            highest: None,
        }
    }

    /// Another day begins.
    pub fn begin_day(&mut self) {
        self.begin = self.now;
        (self.today, self.spell) = (Traded::default(), Traded::default());
    }

    /// Its bot is asked for: position, highest equity, runs and the balance of sides are counted from here on.
    pub fn deploy(&mut self, at: Time) -> Result<(), ArithmeticError> {
        self.deployed_at = Some(at);
        self.position_at_deploy = self.now.position;
        (self.spell, self.run, self.highest) = (Traded::default(), None, None);
        self.look(at)
    }

    /// Counts a fill of this moment.
    pub fn trade(&mut self, trade: &Trade, at: Time, known: Known<'_>) -> Result<(), ArithmeticError> {
        let effect = Effect::of(trade, known)?;
        self.now.move_by(effect.moved)?;
        self.charge(&effect)?;
        self.today.count(trade)?;
        self.spell.count(trade)?;
        let before = self.run.filter(|run| run.side == trade.side).map_or(0, |run| run.fills);
        self.run = Some(Run { side: trade.side, fills: before + 1 });
        if let Some(mid) = trade.mid_at_fill {
            self.mark(mid);
        }
        self.look(at)
    }

    /// Takes over what was held before the first recorded fill, and what that had cost.
    pub fn opening(&mut self, position: Decimal, cost: Decimal, at: Time) -> Result<(), ArithmeticError> {
        self.now.move_by(Moved { position, cash: -cost })?;
        self.look(at)
    }

    /// Counts funding that was paid or received.
    pub fn fund(
        &mut self,
        amount: Decimal,
        asset: &Asset,
        into: &Asset,
        at: Time,
        known: Known<'_>,
    ) -> Result<(), ArithmeticError> {
        match known.worth(amount, asset, into)? {
            Some(cash) => self.now.move_by(Moved { position: Decimal::ZERO, cash })?,
            None => self.fees_unknown += 1,
        }
        self.look(at)
    }

    /// From now on its position is worth this.
    pub fn observe(&mut self, mark: Price, at: Time) -> Result<(), ArithmeticError> {
        self.mark(mark);
        self.look(at)
    }

    fn mark(&mut self, mark: Price) {
        self.now.mark = Some(mark);
        self.begin.mark = self.begin.mark.or(Some(mark));
    }

    fn charge(&mut self, effect: &Effect) -> Result<(), ArithmeticError> {
        self.fees_quote = self.fees_quote.plus(effect.fees_quote)?;
        self.fees_unknown += u64::from(!effect.fees_known);
        Ok(())
    }

    /// Remembers how it stands if it never stood higher since it was deployed.
    fn look(&mut self, at: Time) -> Result<(), ArithmeticError> {
        let Some(equity) = self.now.equity()? else { return Ok(()) };
        if self.highest.as_ref().is_none_or(|highest| equity > highest.equity) {
            self.highest = Some(Highest { standing: self.now, equity, at });
        }
        Ok(())
    }

    /// The highest equity since the bot was deployed, or since the book began where it never was.
    pub fn highest_equity(&self) -> Option<Decimal> {
        self.highest.map(|highest| highest.equity)
    }

    /// What it has bought and sold net since the bot was deployed.
    pub fn position_since_deploy(&self) -> Result<Decimal, ArithmeticError> {
        self.now.position.minus(self.position_at_deploy)
    }

    /// A fill from before everything that is remembered singly: see [`super::past`].
    pub fn trade_long_ago(&mut self, trade: &Trade, at: Time, known: Known<'_>) -> Result<(), ArithmeticError> {
        let effect = Effect::of(trade, known)?;
        self.charge(&effect)?;
        self.move_long_ago(effect.moved, at)
    }

    /// Takes such a fill out and puts another into its place, or none. Fees are moved only where they differ, because
    /// what a foreign one was worth is forgotten: then the book says that one is unknown.
    pub fn correct_long_ago(
        &mut self,
        was: &Trade,
        right: Option<&Trade>,
        at: Time,
        known: Known<'_>,
    ) -> Result<(), ArithmeticError> {
        let plain = |trade: &Trade| Trade { fees: own_fees(trade), ..trade.clone() };
        let out = Effect::of(&plain(was), known)?;
        let into = right.map(|right| Effect::of(&plain(right), known)).transpose()?;
        let (moved, fees) = into.map_or((Moved::default(), Decimal::ZERO), |into| (into.moved, into.fees_quote));
        self.fees_quote = self.fees_quote.plus(fees)?.minus(out.fees_quote)?;
        self.fees_unknown = self.fees_unknown.saturating_sub(u64::from(was.fees.is_none()));
        let unknown = right.is_some_and(|right| right.fees.is_none());
        let differ = foreign_fees(was) != right.map(foreign_fees).unwrap_or_default();
        self.fees_unknown += u64::from(unknown || differ);
        let moved =
            Moved { position: moved.position.minus(out.moved.position)?, cash: moved.cash.minus(out.moved.cash)? };
        self.move_long_ago(moved, at)
    }

    /// Funding or an opening from before everything that is remembered singly.
    pub fn book_long_ago(&mut self, position: Decimal, cash: Option<Decimal>, at: Time) -> Result<(), ArithmeticError> {
        self.fees_unknown += u64::from(cash.is_none());
        self.move_long_ago(Moved { position, cash: cash.unwrap_or_default() }, at)
    }

    /// What was always so moves every standing that came after it. The moment that was the highest stays that moment: it
    /// is told anew by the right figures, and another that might be higher now is forgotten. A day that is over limits
    /// nothing, so its own counters are left.
    fn move_long_ago(&mut self, moved: Moved, at: Time) -> Result<(), ArithmeticError> {
        self.now.move_by(moved)?;
        if self.deployed_at.is_some_and(|deployed| at < deployed) {
            self.position_at_deploy = self.position_at_deploy.plus(moved.position)?;
        }
        if let Some(highest) = self.highest.as_mut().filter(|highest| at <= highest.at) {
            highest.standing.move_by(moved)?;
        }
        self.highest = match self.highest {
            Some(Highest { standing, at, .. }) => standing.equity()?.map(|equity| Highest { standing, equity, at }),
            None => None,
        };
        Ok(())
    }
}

/// The fees that need no rate.
fn own_fees(trade: &Trade) -> Option<Vec<Fee>> {
    Some(trade.fees.iter().flatten().filter(|fee| needs_no_rate(fee, trade)).cloned().collect())
}

/// The fees that need one, as far as they are known.
fn foreign_fees(trade: &Trade) -> Vec<&Fee> {
    trade.fees.iter().flatten().filter(|fee| !needs_no_rate(fee, trade)).collect()
}

fn needs_no_rate(fee: &Fee, trade: &Trade) -> bool {
    let pair = &trade.book.pair;
    [pair.base(), pair.quote()].contains(&fee.asset.as_str()) || fee.amount.is_zero()
}
