//! What trades, orders and middles come to. Pure: from rows to figures.
//!
//! Volume that a client traded with itself is no volume: both halves are taken off, whether one trade of the exchange has them
//! (exact), or the same price and amount stands on both sides within two seconds (strong), or two bots of the client moved the
//! same amount there and back within ten (weak).

use std::collections::{BTreeMap, BTreeSet};

use events::{
    BotId, Decimal, Exchange, Market, Pair, Time, TradeId,
    bot::Venue,
    decimal::ArithmeticError,
    ledger::{Liquidity, Side},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const STRONG_US: i64 = 2_000_000;
const WEAK_US: i64 = 10_000_000;
/// How far apart the halves of one trade that a client had with itself may lie.
const APART_US: i64 = WEAK_US;
/// How long after a trade it is asked where the middle went.
const AFTER_S: [i64; 3] = [1, 10, 60];
const SHARE_PLACES: u32 = 12;

/// One trade, as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Trade {
    pub seq: u64,
    pub at: Time,
    pub bot_id: BotId,
    #[serde(flatten)]
    pub venue: Venue,
    pub side: Side,
    pub price: Decimal,
    pub amount: Decimal,
    pub liquidity: Liquidity,
    pub trade_id: TradeId,
}

/// Where the middle of a book lay when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Middle {
    pub venue: Venue,
    pub at: Time,
    pub middle: Decimal,
}

/// Orders of a bot in one market over whole days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderCounts)]
pub struct Orders {
    pub placed: i64,
    pub cancelled: i64,
    pub rejected: i64,
    /// In the base asset.
    pub placed_amount: Decimal,
}

/// How a bot traded in one market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TradingLine)]
pub struct Line {
    pub exchange: Exchange,
    pub market: Market,
    pub pair: Pair,
    /// Between the best bid and the best ask when that was seen last in the window, and when that was; null: nobody saw it.
    pub middle: Option<Decimal>,
    pub middle_at: Option<Time>,
    pub fills: i64,
    /// Sum of price x amount, in the quote asset.
    pub gross_volume: Decimal,
    /// The same without what the client traded with itself, both halves.
    pub net_volume: Decimal,
    pub self_matched: SelfMatched,
    /// In the base asset: bought less sold.
    pub inventory_change: Decimal,
    pub bought: Decimal,
    pub sold: Decimal,
    /// Volume as maker over that of which it is known.
    pub maker_ratio: Ratio,
    /// Amount filled over amount placed, both of the whole days (UTC) that the window touches.
    pub fill_rate: Ratio,
    /// Orders placed and cancelled over fills, of the same days.
    pub order_to_trade: Ratio,
    pub orders: Orders,
    /// Amount filled over everybody's, of whole days of which both are known; what the client traded with itself is no part of
    /// the first.
    pub volume_share: Ratio,
    /// How the middle went after a trade, in favour of it: bps of its price, weighted by volume.
    pub markouts: Vec<Markout>,
}

/// Volume of trades of a client with itself, in the quote asset, by how sure that is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SelfMatched {
    pub exact: Decimal,
    pub strong: Decimal,
    pub weak: Decimal,
}

/// One number over another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ratio {
    /// Null: there is nothing to divide by.
    pub value: Option<Decimal>,
    pub numerator: Decimal,
    pub denominator: Decimal,
}

/// How the middle went within so many seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Markout {
    pub seconds: i64,
    #[serde(flatten)]
    pub bps: Ratio,
    /// Volume of trades of which nobody looked where the middle was, behind them and within that time; it is not in the mean.
    pub unknown_volume: Decimal,
}

/// How sure it is that a client traded with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sure {
    Weak,
    Strong,
    Exact,
}

impl Ratio {
    pub(super) fn of(numerator: Decimal, denominator: Decimal) -> Result<Self, ArithmeticError> {
        let value = match denominator.is_zero() {
            true => None,
            false => Some(numerator.divided_by(denominator)?.rounded(SHARE_PLACES).normalised()),
        };
        Ok(Self { value, numerator: numerator.normalised(), denominator: denominator.normalised() })
    }
}

impl Trade {
    fn volume(&self) -> Result<Decimal, ArithmeticError> {
        self.price.times(self.amount)
    }

    fn meets(&self, other: &Self) -> Option<Sure> {
        if self.side == other.side {
            return None;
        }
        let (apart, same) = ((self.at.micros() - other.at.micros()).abs(), self.amount == other.amount);
        if self.trade_id == other.trade_id {
            Some(Sure::Exact)
        } else if same && self.price == other.price && apart <= STRONG_US {
            Some(Sure::Strong)
        } else if same && self.bot_id != other.bot_id && apart <= WEAK_US {
            Some(Sure::Weak)
        } else {
            None
        }
    }
}

/// Which trades are one half of a trade of the client with itself. Each has one other half: the surest, then the nearest.
fn own_halves(trades: &[&Trade]) -> BTreeMap<u64, Sure> {
    let mut pairs = Vec::new();
    for (n, one) in trades.iter().enumerate() {
        for other in trades[n + 1..].iter().take_while(|other| other.at.micros() - one.at.micros() <= APART_US) {
            pairs.extend(one.meets(other).map(|sure| (sure, other.at.micros() - one.at.micros(), one.seq, other.seq)));
        }
    }
    pairs.sort_by_key(|(sure, apart, one, other)| (std::cmp::Reverse(*sure), *apart, *one, *other));
    let mut halves = BTreeMap::new();
    for (sure, _, one, other) in pairs {
        if !halves.contains_key(&one) && !halves.contains_key(&other) {
            halves.extend([(one, sure), (other, sure)]);
        }
    }
    halves
}

/// What a line is made of beside trades.
#[derive(Debug, Default)]
pub struct Beside {
    pub orders: BTreeMap<Venue, Orders>,
    /// Everybody's amounts, of the days of which they are known.
    pub everybodys: BTreeMap<(Venue, Time), Decimal>,
}

/// The lines of a bot. `days`: the whole days that the window touches. `trades`: all of the client's in its markets, in order,
/// a little more than those days at both ends; middles in order.
pub fn lines(
    bot: BotId,
    (from, to): (Time, Time),
    days: (Time, Time),
    (trades, middles, beside): (&[Trade], &[Middle], &Beside),
) -> Result<Vec<Line>, ArithmeticError> {
    let of_days = |trade: &&Trade| trade.bot_id == bot && trade.at >= days.0 && trade.at < days.1;
    let venues = trades.iter().filter(of_days).map(|trade| &trade.venue).chain(beside.orders.keys());
    let venues: BTreeSet<&Venue> = venues.collect();
    let line = |venue: &Venue| {
        let there: Vec<&Trade> = trades.iter().filter(|trade| trade.venue == *venue).collect();
        let halves = own_halves(&there);
        let own: Vec<&Trade> = there.into_iter().filter(of_days).collect();
        let whole = Days { venue, own: &own, halves: &halves, beside };
        let own: Vec<&Trade> = own.iter().filter(|trade| trade.at >= from && trade.at < to).copied().collect();
        let middles: Vec<&Middle> = middles.iter().filter(|middle| middle.venue == *venue).collect();
        one_line(&own, &middles, to, &whole)
    };
    venues.into_iter().map(line).collect()
}

/// A bot in one market on whole days.
struct Days<'a> {
    venue: &'a Venue,
    own: &'a [&'a Trade],
    halves: &'a BTreeMap<u64, Sure>,
    beside: &'a Beside,
}

impl Days<'_> {
    fn fill_rate(&self, orders: &Orders) -> Result<Ratio, ArithmeticError> {
        let filled = self.own.iter().try_fold(Decimal::ZERO, |sum, trade| sum.plus(trade.amount))?;
        Ratio::of(filled, orders.placed_amount)
    }

    fn order_to_trade(&self, orders: &Orders) -> Result<Ratio, ArithmeticError> {
        let fills = Decimal::from_int(i64::try_from(self.own.len()).unwrap_or(i64::MAX));
        Ratio::of(Decimal::from_int(orders.placed + orders.cancelled), fills)
    }

    fn volume_share(&self) -> Result<Ratio, ArithmeticError> {
        let known = self.beside.everybodys.iter().filter(|((venue, _), _)| venue == self.venue);
        let known: BTreeMap<Time, Decimal> = known.map(|((_, day), amount)| (*day, *amount)).collect();
        let own = self.own.iter().filter(|trade| !self.halves.contains_key(&trade.seq));
        let own = own.filter(|trade| known.contains_key(&trade.at.midnight()));
        let own = own.map(|trade| trade.amount).try_fold(Decimal::ZERO, Decimal::plus)?;
        Ratio::of(own, known.into_values().try_fold(Decimal::ZERO, Decimal::plus)?)
    }
}

fn one_line(own: &[&Trade], middles: &[&Middle], to: Time, days: &Days<'_>) -> Result<Line, ArithmeticError> {
    let sum = |of: &dyn Fn(&Trade) -> Result<Option<Decimal>, ArithmeticError>| {
        own.iter().try_fold(Decimal::ZERO, |sum, trade| sum.plus(of(trade)?.unwrap_or_default()))
    };
    let when = |fits: &dyn Fn(&Trade) -> bool| sum(&|trade| fits(trade).then(|| trade.volume()).transpose());
    let amount = |side: Side| sum(&|trade| Ok((trade.side == side).then_some(trade.amount)));
    let matched = |sure: Sure| when(&|trade| days.halves.get(&trade.seq) == Some(&sure));
    let self_matched =
        SelfMatched { exact: matched(Sure::Exact)?, strong: matched(Sure::Strong)?, weak: matched(Sure::Weak)? };
    let gross = when(&|_| true)?;
    let net = gross.minus(self_matched.exact)?.minus(self_matched.strong)?.minus(self_matched.weak)?;
    let (bought, sold) = (amount(Side::Buy)?, amount(Side::Sell)?);
    let orders = days.beside.orders.get(days.venue).cloned().unwrap_or_default();
    let middle = middles.iter().rev().find(|middle| middle.at < to);
    let Venue { exchange, market, pair } = days.venue.clone();
    Ok(Line {
        exchange,
        market,
        pair,
        middle: middle.map(|middle| middle.middle.normalised()),
        middle_at: middle.map(|middle| middle.at),
        fills: i64::try_from(own.len()).unwrap_or(i64::MAX),
        gross_volume: gross.normalised(),
        net_volume: net.normalised(),
        self_matched,
        inventory_change: bought.minus(sold)?.normalised(),
        bought: bought.normalised(),
        sold: sold.normalised(),
        maker_ratio: Ratio::of(
            when(&|trade| trade.liquidity == Liquidity::Maker)?,
            when(&|trade| trade.liquidity != Liquidity::Unknown)?,
        )?,
        fill_rate: days.fill_rate(&orders)?,
        order_to_trade: days.order_to_trade(&orders)?,
        orders,
        volume_share: days.volume_share()?,
        markouts: AFTER_S.iter().map(|seconds| markout(*seconds, own, middles)).collect::<Result<_, _>>()?,
    })
}

fn markout(seconds: i64, own: &[&Trade], middles: &[&Middle]) -> Result<Markout, ArithmeticError> {
    let (mut sum, mut volume, mut unknown) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    for trade in own {
        let of_trade = trade.volume()?;
        let Some(middle) = middle_after(middles, trade.at, seconds * 1_000_000) else {
            unknown = unknown.plus(of_trade)?;
            continue;
        };
        let went = match trade.side {
            Side::Buy => middle.minus(trade.price)?,
            Side::Sell => trade.price.minus(middle)?,
        };
        // bps of the price, times price x amount: the price goes out.
        sum = sum.plus(went.times(trade.amount)?.times(Decimal::from_int(10_000))?)?;
        volume = volume.plus(of_trade)?;
    }
    Ok(Markout { seconds, bps: Ratio::of(sum, volume)?, unknown_volume: unknown.normalised() })
}

/// Where the middle was at the last look behind a trade and no more than so long after it.
fn middle_after(middles: &[&Middle], trade: Time, us: i64) -> Option<Decimal> {
    let before = middles.partition_point(|middle| middle.at <= trade.plus_micros(us));
    middles[..before].last().filter(|middle| middle.at >= trade).map(|middle| middle.middle)
}

#[cfg(test)]
mod tests {
    use events::Uuid;

    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn at(ms: i64) -> Time {
        Time::EPOCH.plus_micros(ms * 1_000)
    }

    fn bot(n: u128) -> BotId {
        BotId(Uuid::from_u128(n))
    }

    fn venue() -> Venue {
        Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
    }

    fn trade(seq: u64, of: u128, side: Side, price: &str, amount: &str, ms: i64) -> Trade {
        let trade_id = format!("t{seq}").parse().unwrap();
        let liquidity = if side == Side::Buy { Liquidity::Maker } else { Liquidity::Taker };
        let (price, amount) = (d(price), d(amount));
        Trade { seq, at: at(ms), bot_id: bot(of), venue: venue(), side, price, amount, liquidity, trade_id }
    }

    fn line(trades: &[Trade], middles: &[Middle], beside: &Beside) -> Line {
        let days = (at(0), at(86_400_000));
        lines(bot(1), (at(0), at(1_000_000)), days, (trades, middles, beside)).unwrap().remove(0)
    }

    #[test]
    fn net_volume_leaves_out_both_halves_of_what_a_client_traded_with_itself_each_once() {
        let same = |seq, trade: Trade| Trade { trade_id: "one".parse().unwrap(), seq, ..trade };
        let trades = [
            // One trade of the exchange: 100 + 100.
            same(1, trade(1, 1, Side::Buy, "100", "1", 0)),
            same(2, trade(2, 1, Side::Sell, "100", "1", 0)),
            // Bought and sold at one price within 2 s: 50 + 50. The third one finds no other half.
            trade(3, 1, Side::Buy, "100", "0.5", 100_000),
            trade(4, 1, Side::Sell, "100", "0.5", 102_000),
            trade(5, 1, Side::Sell, "100", "0.5", 102_000),
            // Another bot brings it back within 10 s: 20 of this one's.
            trade(6, 1, Side::Buy, "100", "0.2", 200_000),
            trade(7, 2, Side::Sell, "101", "0.2", 210_000),
            // Too far apart, and of one bot: volume.
            trade(8, 1, Side::Buy, "100", "0.3", 300_000),
            trade(9, 1, Side::Sell, "100", "0.3", 302_001),
            trade(10, 1, Side::Buy, "100", "0.7", 400_000),
        ];
        let line = line(&trades, &[], &Beside::default());
        assert_eq!((line.fills, line.gross_volume, line.net_volume), (9, d("500"), d("180")));
        assert_eq!(line.self_matched, SelfMatched { exact: d("200"), strong: d("100"), weak: d("20") });
        assert_eq!((line.bought, line.sold, line.inventory_change), (d("2.7"), d("2.3"), d("0.4")));
        assert_eq!(line.maker_ratio.value, Some(d("0.54")));
    }

    #[test]
    fn markouts_follow_the_middle_in_favour_of_the_trade_and_leave_out_what_nobody_told() {
        let middle = |ms, middle: &str| Middle { venue: venue(), at: at(ms), middle: d(middle) };
        let trades = [
            // 100 at 100; a second later the middle is 101: +100 bps; after a minute 99: -100 bps.
            trade(1, 1, Side::Buy, "100", "1", 10_000),
            // 300 at 100; nobody looked within ten seconds; after a minute 98: +200 bps.
            trade(2, 1, Side::Sell, "100", "3", 20_000),
            // Nobody looked for a minute.
            trade(3, 1, Side::Buy, "100", "2", 500_000),
        ];
        let middles = [middle(9_999, "50"), middle(11_000, "101"), middle(70_000, "99"), middle(80_000, "98")];
        let line = line(&trades, &middles, &Beside::default());
        assert_eq!((line.middle, line.middle_at), (Some(d("98")), Some(at(80_000))));
        let after: Vec<_> = line.markouts.iter().map(|one| (one.seconds, one.bps.value, one.unknown_volume)).collect();
        let expected = [(1, Some(d("100")), d("500")), (10, Some(d("100")), d("500")), (60, Some(d("125")), d("200"))];
        assert_eq!(after, expected);
    }

    #[test]
    fn orders_and_shares_are_of_whole_days() {
        let orders = Orders { placed: 40, cancelled: 30, rejected: 1, placed_amount: d("20") };
        let beside = Beside { orders: [(venue(), orders)].into(), everybodys: [((venue(), at(0)), d("200"))].into() };
        // Behind the window and on its day, one of them a half of a trade with itself.
        let trades = [
            trade(1, 1, Side::Buy, "100", "4", 2_000_000),
            trade(2, 1, Side::Buy, "100", "1", 3_000_000),
            trade(3, 1, Side::Sell, "100", "1", 3_001_000),
            trade(4, 1, Side::Buy, "100", "1", 86_400_000),
        ];
        let line = line(&trades, &[], &beside);
        assert_eq!((line.fills, line.fill_rate.value), (0, Some(d("0.3"))));
        assert_eq!(line.order_to_trade, Ratio::of(d("70"), d("3")).unwrap());
        assert_eq!(line.volume_share, Ratio { value: Some(d("0.02")), numerator: d("4"), denominator: d("200") });
        assert_eq!(line.maker_ratio.value, None);
    }
}
