//! What it costs to trade an amount at once: how far its mean price lies from the middle.

use std::collections::BTreeMap;

use events::{Decimal, Price, market::SlippageSum};
use hummingbot::{Level, OrderBook};

/// What is asked about, in the quote asset.
const AMOUNTS: [u32; 4] = [1_000, 5_000, 10_000, 50_000];
/// Places of a slippage in bps: a minute's sum of them has room.
const PLACES: u32 = 12;

/// To buy and to sell, in bps of the middle, by amount; absent: the book was not seen so deep.
pub(super) type Slippages = BTreeMap<u32, [Option<Decimal>; 2]>;

/// Of one look at a book.
pub(super) fn of(book: &OrderBook, middle: Price) -> Slippages {
    let both = |amount: u32| {
        let quote = Decimal::from_int(i64::from(amount));
        [&book.asks, &book.bids].map(|side| away(base_for(side, quote)?, quote, middle))
    };
    AMOUNTS.map(|amount| (amount, both(amount))).into()
}

/// How much of the base asset goes for so much of the quote asset, taken from the best price on.
fn base_for(levels: &[Level], quote: Decimal) -> Option<Decimal> {
    let (mut left, mut base) = (quote, Decimal::ZERO);
    for level in levels {
        let worth = level.price.times(level.amount).ok()?;
        if worth >= left {
            return base.plus(left.divided_by(level.price.0).ok()?).ok();
        }
        (left, base) = (left.minus(worth).ok()?, base.plus(level.amount.0).ok()?);
    }
    None
}

/// |quote / base - middle| / middle, in bps.
fn away(base: Decimal, quote: Decimal, middle: Price) -> Option<Decimal> {
    let mean = quote.divided_by(base).ok()?;
    let away = mean.minus(middle.0).ok()?.abs();
    Some(away.mul_div(Decimal::from_int(10_000), middle.0).ok()?.rounded(PLACES).normalised())
}

/// What was summed up, and a stretch in which this was so.
pub(super) fn with(before: &BTreeMap<u32, SlippageSum>, now: &Slippages, us: i64) -> BTreeMap<u32, SlippageSum> {
    let mut sums = before.clone();
    for (amount, [buy, sell]) in now {
        let integral = |bps: &Option<Decimal>| bps.and_then(|bps| bps.times(Decimal::from_int(us)).ok());
        let lasting = |bps: &Option<Decimal>| if bps.is_some() { us.unsigned_abs() } else { 0 };
        let more = SlippageSum {
            buy_bps_us: integral(buy).unwrap_or_default(),
            buy_us: lasting(buy),
            sell_bps_us: integral(sell).unwrap_or_default(),
            sell_us: lasting(sell),
        };
        let sum = sums.entry(*amount).or_default();
        // Prices of real books leave room for a minute's sum.
        *sum = sum.plus(more).unwrap_or(*sum);
    }
    sums
}

#[cfg(test)]
mod tests {
    use events::Amount;

    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn side(levels: &[(&str, &str)]) -> Vec<Level> {
        levels.iter().map(|(price, amount)| Level { price: Price(d(price)), amount: Amount(d(amount)) }).collect()
    }

    #[test]
    fn an_amount_is_taken_from_the_best_price_on_and_a_thin_book_says_nothing() {
        // Middle 100. To buy for 1,000: 5 at 101 (505), then 495 at 110 (4.5): 9.5 for 1,000, 105.263157…, 526.3 bps away.
        let asks = side(&[("101", "5"), ("110", "40")]);
        // To sell for 1,000: 10.1010… at 99, 100 bps away.
        let bids = side(&[("99", "20"), ("90", "10")]);
        let book = OrderBook { pair: "SOL-USDT".parse().unwrap(), bids, asks, at: events::Time::EPOCH };
        let found = of(&book, Price(d("100")));
        assert_eq!(found[&1_000], [Some(d("526.315789473684")), Some(d("100"))]);
        // For 5,000 the asks have 505 + 4,400, the bids 1,980 + 900.
        assert_eq!(found[&5_000], [None, None]);
        let sums = with(&with(&BTreeMap::new(), &found, 10), &found, 20);
        let expected =
            SlippageSum { buy_bps_us: d("15789.47368421052"), buy_us: 30, sell_bps_us: d("3000"), sell_us: 30 };
        assert_eq!((sums[&1_000], sums[&5_000]), (expected, SlippageSum::default()));
    }
}
