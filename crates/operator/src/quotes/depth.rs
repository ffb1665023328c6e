//! What stands in the order book of a bot's venue, everybody's orders and the bot's own among them: bands, and exact sums of
//! every minute, within each step of the grid on both sides of the middle.
//!
//! A look at the book is believed until the next one, and not for longer than three of them; a step that the book was not
//! seen out to is not known, which is not empty. A book with one side has no middle: everybody's depth is not known then, and
//! the bot's own is measured from the middle that there was last.

mod slippage;

use std::collections::BTreeMap;

use events::{
    Decimal, Price, Time,
    decimal::ArithmeticError,
    ledger::Side,
    market::{Depth as Standing, DepthSum, GRID_BPS, SlippageSum},
};
use hummingbot::{Level, OrderBook};

use slippage::Slippages;

use super::changes::{Changes, Pace};

/// Steps whose bands are watched: what agreements are made of.
const WATCHED_BPS: [u32; 3] = [50, 100, 200];
/// The budget of changes lasts a day at any pace.
const PACE: Pace = Pace { apart_us: 120_000_000, day_max: super::DEPTH_CHANGES_MAX };
const BELIEVED_US: i64 = 15_000_000;
/// More digits than real books have; fewer than would leave no room for a minute's sums.
const DIGITS_MAX: u32 = 56;

/// The ladder 1, 2, 5, 10, 20, 50 and so on of amounts of a quote asset, by how long each was the highest one reached.
pub(super) type Sizes = BTreeMap<Decimal, u64>;

/// One look at an order book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The best bid and the best ask; absent: a side is empty, and so is the middle.
    pub(super) best: Option<(Price, Price)>,
    pub(super) middle: Option<Price>,
    /// By step; absent: it was not seen so far out.
    pub(super) within: BTreeMap<u32, Standing>,
    pub(super) slippage: Slippages,
}

/// A bot's own order in the book, as far as nothing of it was executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    pub side: Side,
    pub price: Price,
    pub left: Decimal,
}

/// Everything that is known of one book now, and of the minute that has begun.
#[derive(Debug)]
pub(super) struct Depth {
    look: Option<(Look, Time)>,
    /// The last that there was.
    middle: Option<Price>,
    minute: Minute,
    pub changes: Changes<Bands>,
    pub left_out: u64,
}

/// Sums of a minute.
#[derive(Debug, Default)]
pub(super) struct Minute {
    pub known_us: i64,
    pub own_known_us: i64,
    pub within: BTreeMap<u32, DepthSum>,
    pub slippage: BTreeMap<u32, SlippageSum>,
    pub sized_us: BTreeMap<u32, Sizes>,
    /// By milliseconds after its begin.
    pub middles: BTreeMap<u32, Price>,
}

/// What makes one state of a book differ from another: the step that its spread fits into, and of each watched step how far
/// each side reaches on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bands {
    spread_bps: Option<u32>,
    depth: [Option<[Option<Rung>; 2]>; WATCHED_BPS.len()],
}

/// A step of the ladder 1, 2, 5, 10, 20, 50 and so on: which of the three, and of which power of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rung {
    of: u8,
    power: i32,
}

impl Look {
    /// A book of which `asked` levels a side were asked for: where fewer came, there are no more. Absent: its numbers are
    /// none that can be summed up, or it has none.
    pub fn at(book: &OrderBook, asked: usize) -> Option<Self> {
        if book.bids.is_empty() && book.asks.is_empty() {
            return None;
        }
        let (Some(bid), Some(ask)) = (book.bids.first(), book.asks.first()) else {
            return Some(Self { best: None, middle: None, within: BTreeMap::new(), slippage: Slippages::new() });
        };
        let middle = bid.price.0.plus(ask.price.0).and_then(|sum| sum.divided_by(Decimal::from_int(2))).ok()?;
        let middle = Price(middle);
        let bids = reaching(&book.bids, Side::Buy, middle, asked).ok()?;
        let asks = reaching(&book.asks, Side::Sell, middle, asked).ok()?;
        let within = bids.into_iter().filter_map(|(bps, bid_quote)| {
            let ask_quote = *asks.get(&bps)?;
            Some((bps, Standing { bid_quote, ask_quote }))
        });
        let (best, slippage) = (Some((bid.price, ask.price)), slippage::of(book, middle));
        Some(Self { best, middle: Some(middle), within: within.collect(), slippage })
    }

    fn bands(&self) -> Bands {
        let depth = WATCHED_BPS.map(|bps| {
            let Standing { bid_quote, ask_quote } = self.within.get(&bps)?;
            Some([rung(*bid_quote), rung(*ask_quote)])
        });
        Bands { spread_bps: self.best.and_then(|(bid, ask)| super::band(bid, ask)), depth }
    }
}

/// One side's depth within each step that it was seen out to.
fn reaching(
    levels: &[Level],
    side: Side,
    middle: Price,
    asked: usize,
) -> Result<BTreeMap<u32, Decimal>, ArithmeticError> {
    let (mut within, mut sum, mut next) = (BTreeMap::new(), Decimal::ZERO, 0);
    for bps in GRID_BPS {
        while let Some(level) = levels.get(next).filter(|level| is_within(level.price, side, middle, bps)) {
            sum = sum.plus(level.price.times(level.amount)?)?;
            next += 1;
        }
        if next == levels.len() && levels.len() >= asked {
            break;
        }
        if sum.significant_digits() > DIGITS_MAX {
            return Err(ArithmeticError::Overflow);
        }
        within.insert(bps, sum.normalised());
    }
    Ok(within)
}

/// Whether an order on a side lies so near to the middle, exactly.
fn is_within(price: Price, side: Side, middle: Price, bps: u32) -> bool {
    let away = match side {
        Side::Buy => middle.0.minus(price.0),
        Side::Sell => price.0.minus(middle.0),
    };
    let (away, end) = (
        away.and_then(|away| away.times(Decimal::from_int(10_000))),
        middle.0.times(Decimal::from_int(i64::from(bps))),
    );
    away.is_ok_and(|away| end.is_ok_and(|end| away <= end))
}

/// The highest step that a depth reaches; absent: it is none.
fn rung(depth: Decimal) -> Option<Rung> {
    if !depth.is_positive() {
        return None;
    }
    let digits = depth.normalised();
    // The first digit stands so many places before or behind the point.
    let (significant, scale) = (digits.significant_digits().cast_signed(), digits.scale().cast_signed());
    let written = digits.to_string();
    let first = written.bytes().find(|byte| (b'1'..=b'9').contains(byte))? - b'0';
    let of = match first {
        5.. => 5,
        2..5 => 2,
        _ => 1,
    };
    Some(Rung { of, power: significant - scale - 1 })
}

impl Rung {
    /// The step itself; absent: no number is so large or so small.
    fn amount(self) -> Option<Decimal> {
        let of = i128::from(self.of);
        match u32::try_from(self.power) {
            Ok(power) => of.checked_mul(10_i128.checked_pow(power)?).map(|amount| Decimal::new(amount, 0)),
            Err(_) => Some(Decimal::new(of, self.power.unsigned_abs())),
        }
    }
}

impl Depth {
    /// `of_day`: so many changes were told of the day of `since` before.
    pub fn new(since: Time, of_day: u32) -> Self {
        let (minute, changes) = (Minute::default(), Changes::new(PACE, since, of_day));
        Self { look: None, middle: None, minute, changes, left_out: 0 }
    }

    /// Takes a look in.
    pub fn see(&mut self, look: Look, at: Time) {
        self.left_out += self.changes.note(look.bands());
        let since_ms = (at.micros() - super::minute(at).micros()) / 1_000;
        let since_ms = u32::try_from(since_ms).expect("a minute has fewer");
        self.minute.middles.extend(look.middle.map(|middle| (since_ms, middle)));
        self.middle = look.middle.or(self.middle);
        self.look = Some((look, at.plus_micros(BELIEVED_US)));
    }

    /// When the last look is believed no longer.
    pub fn ends(&self) -> Option<Time> {
        self.look.as_ref().map(|(_, until)| *until)
    }

    /// Nobody knows the book from now on.
    pub fn end(&mut self) {
        if self.look.take().is_some() {
            self.left_out += self.changes.forget();
        }
    }

    /// The best bid and the best ask as they stand; absent: nobody knows.
    pub fn best(&self) -> Option<(Price, Price)> {
        self.look.as_ref().and_then(|(look, _)| look.best)
    }

    /// The book as it stands, to be told.
    pub fn tell(&mut self, at: Time) -> Option<&Look> {
        let (look, _) = self.look.as_ref()?;
        let (is_told, left_out) = self.changes.tell(look.bands(), at);
        self.left_out += left_out;
        is_told.then_some(look)
    }

    /// Adds a stretch in which nothing changed. `own`: the bot's own orders; absent: nobody knows them.
    pub fn sum(&mut self, us: i64, own: Option<&[Own]>) {
        let Some((Look { within, slippage, .. }, _)) = &self.look else { return };
        let Some(middle) = self.middle else { return };
        let slipped = slippage::with(&self.minute.slippage, slippage, us);
        if let Ok(more) = stretch(middle, within, us, own).and_then(|more| self.minute.with(&more)) {
            let middles = std::mem::take(&mut self.minute.middles);
            self.minute = Minute { slippage: slipped, middles, ..more };
        }
    }

    /// The minute that ends now, if anything was known of it, and what it leaves out.
    pub fn close(&mut self) -> Option<(Minute, u64)> {
        let (mut minute, left_out) = (std::mem::take(&mut self.minute), std::mem::take(&mut self.left_out));
        let known = minute.known_us.unsigned_abs();
        let has_own = |sum: &DepthSum| !sum.own_bid_quote_us.is_zero() || !sum.own_ask_quote_us.is_zero();
        minute.within.retain(|_, sum| sum.beyond_us < known || has_own(sum));
        (minute.known_us > 0 || left_out > 0).then_some((minute, left_out))
    }
}

/// The sums of a stretch.
fn stretch(
    middle: Price,
    within: &BTreeMap<u32, Standing>,
    us: i64,
    own: Option<&[Own]>,
) -> Result<Minute, ArithmeticError> {
    let time = Decimal::from_int(us);
    let (mut sums, mut sized_us) = (BTreeMap::new(), BTreeMap::new());
    for bps in GRID_BPS {
        let mut sum = DepthSum::default();
        match within.get(&bps) {
            Some(Standing { bid_quote, ask_quote }) => {
                (sum.bid_quote_us, sum.ask_quote_us) = (bid_quote.times(time)?, ask_quote.times(time)?);
            }
            None => sum.beyond_us = us.unsigned_abs(),
        }
        let (mut bids, mut asks) = (Decimal::ZERO, Decimal::ZERO);
        for Own { side, price, left } in own.unwrap_or_default() {
            if is_within(*price, *side, middle, bps) {
                let of_side = match side {
                    Side::Buy => &mut bids,
                    Side::Sell => &mut asks,
                };
                *of_side = of_side.plus(price.0.times(*left)?)?;
            }
        }
        (sum.own_bid_quote_us, sum.own_ask_quote_us) = (bids.times(time)?, asks.times(time)?);
        if let Some(size) = rung(bids.min(asks)).and_then(Rung::amount) {
            sized_us.insert(bps, Sizes::from([(size, us.unsigned_abs())]));
        }
        sums.insert(bps, sum);
    }
    let own_known_us = if own.is_some() { us } else { 0 };
    Ok(Minute { known_us: us, own_known_us, within: sums, sized_us, ..Minute::default() })
}

impl Minute {
    fn with(&self, more: &Self) -> Result<Self, ArithmeticError> {
        let mut within = BTreeMap::new();
        for (bps, more) in &more.within {
            // Before anything was known, nothing was beyond what was known.
            let sum = self.within.get(bps).copied().unwrap_or_default();
            let added = DepthSum {
                bid_quote_us: sum.bid_quote_us.plus(more.bid_quote_us)?.normalised(),
                ask_quote_us: sum.ask_quote_us.plus(more.ask_quote_us)?.normalised(),
                own_bid_quote_us: sum.own_bid_quote_us.plus(more.own_bid_quote_us)?.normalised(),
                own_ask_quote_us: sum.own_ask_quote_us.plus(more.own_ask_quote_us)?.normalised(),
                beyond_us: sum.beyond_us + more.beyond_us,
            };
            within.insert(*bps, added);
        }
        let mut sized_us = self.sized_us.clone();
        for (bps, sizes) in &more.sized_us {
            let of_step = sized_us.entry(*bps).or_default();
            sizes.iter().for_each(|(size, us)| *of_step.entry(*size).or_default() += us);
        }
        let (known_us, own_known_us) = (self.known_us + more.known_us, self.own_known_us + more.own_known_us);
        Ok(Self { known_us, own_known_us, within, sized_us, ..Self::default() })
    }
}

#[cfg(test)]
mod tests;
