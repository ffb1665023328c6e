//! One market as it stands: best prices, what rests in it, what it printed.

use std::collections::BTreeSet;

use events::{Decimal, Time, ledger::Side};

use super::{OrderNo, listing::Listing, tape::Tape, walk::Walk};
use crate::exact::{difference, floor_to, product, quotient, sum};

/// What a feed says next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    Best { bid: Decimal, ask: Decimal },
    Print { price: Decimal, amount: Decimal },
}

/// Who moves the market.
#[derive(Debug)]
pub(crate) enum Feed {
    Tape(Tape),
    Walk(Box<Walk>),
    /// Nobody, until prints are injected.
    Still,
}

#[derive(Debug)]
pub(crate) struct Standing {
    pub listing: Listing,
    pub feed: Feed,
    pub began: Time,
    pub bid: Decimal,
    pub ask: Decimal,
    pub last: Decimal,
    /// What the feed's prices are multiplied by, since shocks came.
    factor: Decimal,
    shock: Option<Shock>,
    pub bids: BTreeSet<(Decimal, OrderNo)>,
    pub asks: BTreeSet<(Decimal, OrderNo)>,
    pub candles: Vec<Candle>,
}

/// A fall (or rise, below zero) that is spread over some prints.
#[derive(Debug)]
struct Shock {
    a_print: Decimal,
    prints: u32,
}

/// A minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candle {
    pub minute: Time,
    pub open: Decimal,
    pub high: Decimal,
    pub low: Decimal,
    pub close: Decimal,
    pub volume: Decimal,
    pub quote_volume: Decimal,
    pub prints: i64,
}

const MINUTE_US: i64 = 60_000_000;
const CANDLES_MAX: usize = 1_500;

impl Standing {
    pub(crate) fn new(listing: Listing, feed: Feed, began: Time) -> Self {
        let price = listing.price;
        Self {
            bid: difference(price, listing.price_step),
            ask: sum(price, listing.price_step),
            last: price,
            factor: Decimal::ONE,
            shock: None,
            bids: BTreeSet::new(),
            asks: BTreeSet::new(),
            candles: Vec::new(),
            listing,
            feed,
            began,
        }
    }

    /// The feed's next tick and when it is due.
    pub(crate) fn next(&mut self) -> Option<(Time, Tick)> {
        let (ms, tick) = match &mut self.feed {
            Feed::Tape(tape) => tape.next(),
            Feed::Walk(walk) => walk.next(),
            Feed::Still => return None,
        };
        Some((self.began.plus_micros(ms * 1_000), tick))
    }

    pub(crate) fn shock(&mut self, percent: Decimal, prints: u32) {
        let part =
            quotient(product(product(self.factor, percent), Decimal::new(1, 2)), Decimal::from_int(prints.into()));
        self.shock = Some(Shock { a_print: part.rounded(12), prints });
    }

    /// The tick as it comes after the shocks, in steps of the price.
    pub(crate) fn shaken(&mut self, tick: Tick) -> Tick {
        match tick {
            Tick::Best { bid, ask } => Tick::Best { bid: self.shifted(bid), ask: self.shifted(ask) },
            Tick::Print { price, amount } => {
                self.shake();
                Tick::Print { price: self.shifted(price), amount }
            }
        }
    }

    fn shake(&mut self) {
        if let Some(shock) = &mut self.shock {
            self.factor = difference(self.factor, shock.a_print).max(Decimal::new(1, 6));
            shock.prints -= 1;
            if shock.prints == 0 {
                self.shock = None;
            }
        }
    }

    fn shifted(&self, price: Decimal) -> Decimal {
        if self.factor == Decimal::ONE {
            return price;
        }
        floor_to(product(price, self.factor), self.listing.price_step).max(self.listing.price_step)
    }

    pub(crate) fn mid(&self) -> Decimal {
        product(sum(self.bid, self.ask), Decimal::new(5, 1))
    }

    pub(crate) fn note_print(&mut self, price: Decimal, amount: Decimal, at: Time) {
        self.last = price;
        let minute = at.plus_micros(-at.micros().rem_euclid(MINUTE_US));
        if self.candles.last().is_none_or(|candle| candle.minute < minute) {
            self.candles.push(Candle::opening(minute, price));
            let surplus = self.candles.len().saturating_sub(CANDLES_MAX);
            self.candles.drain(..surplus);
        }
        if let Some(candle) = self.candles.last_mut() {
            candle.print(price, amount);
        }
    }

    /// The book's levels that an order of `side` would take, best first.
    pub(crate) fn levels(&self, side: Side, count: usize) -> Vec<(Decimal, Decimal)> {
        let gap = self.listing.gap();
        let away = |level: usize| product(gap, Decimal::from_int(level as i64));
        (0..count)
            .map(|level| match side {
                Side::Buy => sum(self.ask, away(level)),
                Side::Sell => difference(self.bid, away(level)),
            })
            .take_while(|price| price.is_positive())
            .map(|price| (price, self.listing.depth))
            .collect()
    }

    pub(crate) fn resting(&mut self, side: Side) -> &mut BTreeSet<(Decimal, OrderNo)> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// Orders that a print went strictly through, best price first, then the oldest.
    pub(crate) fn through(&self, price: Decimal) -> Vec<OrderNo> {
        let asks = self.asks.range(..(price, 0)).map(|(_, no)| *no);
        let bids = self.bids.range((price, OrderNo::MAX)..).filter(|(bid, _)| *bid > price);
        let mut bids: Vec<_> = bids.collect();
        bids.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        asks.chain(bids.into_iter().map(|(_, no)| *no)).collect()
    }
}

impl Candle {
    fn opening(minute: Time, price: Decimal) -> Self {
        let none = Decimal::ZERO;
        Self { minute, open: price, high: price, low: price, close: price, volume: none, quote_volume: none, prints: 0 }
    }

    fn print(&mut self, price: Decimal, amount: Decimal) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        self.volume = sum(self.volume, amount);
        self.quote_volume = sum(self.quote_volume, product(price, amount));
        self.prints += 1;
    }

    /// Goes on with the minute after.
    pub(crate) fn join(&mut self, next: &Self) {
        self.high = self.high.max(next.high);
        self.low = self.low.min(next.low);
        self.close = next.close;
        self.volume = sum(self.volume, next.volume);
        self.quote_volume = sum(self.quote_volume, next.quote_volume);
        self.prints += next.prints;
    }
}
