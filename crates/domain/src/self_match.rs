//! One owner must not trade with himself: what can be said before an order or a bot goes out.
//!
//! Of an order all is known: its side, its price, and the owner's orders that rest where it goes, so [`crossing`] is exact
//! for the book as we know it. Of two bots less is known, because what a controller will do only it can say. [`beside`]
//! refuses what is sure or likely to meet:
//!
//! - A volume bot takes. Beside any other bot of its owner on one venue it meets that one's orders by design.
//! - Two market makers rest on both sides of one middle. As long as every spread is above zero, the one's bids stand below
//!   the middle that the other's offers stand above, and neither meets the other, however far apart their spreads are. But
//!   an exit at the market (`stop_loss`, `time_limit`, `trailing_stop`) takes whatever rests there, and Hummingbot's own
//!   defaults have one. So both must say in so many words that they have none.
//!
//! What stays unknown: a maker whose view of the book is old can still quote across the middle, and a controller may take
//! for reasons that no setting names. That is for the exchange's self-trade prevention, and for who looks afterwards.

use std::fmt;

use events::{
    BotId, OrderId, Price,
    bot::{BotConfig, BotKind, Venue},
    ledger::Side,
};

/// An order that rests on the venue, of the same owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    pub bot: BotId,
    pub order: OrderId,
    pub side: Side,
    pub price: Price,
}

/// An order that is about to be placed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    pub side: Side,
    /// Absent: at the market.
    pub price: Option<Price>,
}

/// Why an order is not placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a {} {} would meet the same owner's {} {} at {} of bot {}: cancel that one first, or stay clear of its price",
    .intent.side, AtPrice(.intent.price), .meets.side, .meets.order.as_str(), .meets.price, .meets.bot
)]
pub struct SelfMatch {
    pub intent: Intent,
    /// The one that it would meet first.
    pub meets: Box<Resting>,
}

struct AtPrice(Option<Price>);

impl fmt::Display for AtPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(price) => write!(f, "at {price}"),
            None => f.write_str("at the market"),
        }
    }
}

/// Every resting order that this one would meet, the first it meets first. `resting` are the owner's on the same venue.
pub fn crossing<'a>(intent: &Intent, resting: impl IntoIterator<Item = &'a Resting>) -> Vec<&'a Resting> {
    let meets = |resting: &&Resting| match (intent.side, intent.price) {
        (side, None) => side != resting.side,
        (side, Some(price)) => meets(side, price, resting.side, resting.price),
    };
    let mut met: Vec<&Resting> = resting.into_iter().filter(meets).collect();
    met.sort_by(|left, right| match intent.side {
        Side::Buy => left.price.cmp(&right.price),
        Side::Sell => right.price.cmp(&left.price),
    });
    met
}

/// Whether the order may be placed.
pub fn allowed<'a>(intent: &Intent, resting: impl IntoIterator<Item = &'a Resting>) -> Result<(), SelfMatch> {
    match crossing(intent, resting).first() {
        Some(meets) => Err(SelfMatch { intent: *intent, meets: Box::new((*meets).clone()) }),
        None => Ok(()),
    }
}

/// Whether an order would meet one of the same owner that rests on the other side.
pub fn meets(side: Side, price: Price, resting: Side, at: Price) -> bool {
    match (side, resting) {
        (Side::Buy, Side::Sell) => at <= price,
        (Side::Sell, Side::Buy) => at >= price,
        (Side::Buy, Side::Buy) | (Side::Sell, Side::Sell) => false,
    }
}

/// A bot that is wanted, and what it is told.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour<'a> {
    pub bot: BotId,
    pub name: &'a str,
    pub config: &'a BotConfig,
}

/// Why a bot does not start beside another of its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bot {name} of the same owner is wanted on {} {} {} too, and {why}", .venue.exchange, .venue.market, .venue.pair)]
pub struct SideBySide {
    pub bot: BotId,
    pub name: String,
    pub venue: Venue,
    pub why: Crossing,
}

/// How two bots on one venue would meet, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Crossing {
    #[error("a volume bot takes what the other rests: stop that one first, or move one of the two to another venue")]
    VolumeTakes,
    #[error(
        "market makers stand side by side only if neither takes: stop the other first, or set {0} to none in the config of {1}"
    )]
    MakerMayTake(&'static str, Which),
    #[error(
        "market makers stand side by side only if all quotes keep a distance from the middle: stop the other first, or set {0} above zero in the config of {1}"
    )]
    NoDistance(&'static str, Which),
}

/// Whose config it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    This,
    TheOther,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::This => "this one",
            Self::TheOther => "the other",
        })
    }
}

/// Whether a bot may start beside those of its owner that are wanted. One whose venue nobody told stands beside nobody as
/// far as we can say.
pub fn beside<'a>(
    bot: BotId,
    config: &BotConfig,
    wanted: impl IntoIterator<Item = Neighbour<'a>>,
) -> Result<(), SideBySide> {
    let Some(venue) = &config.venue else { return Ok(()) };
    let there = |other: &Neighbour<'_>| other.bot != bot && other.config.venue.as_ref() == Some(venue);
    for other in wanted.into_iter().filter(there) {
        crossing_by_design(config, other.config).map_err(|why| SideBySide {
            bot: other.bot,
            name: other.name.to_owned(),
            venue: venue.clone(),
            why,
        })?;
    }
    Ok(())
}

fn crossing_by_design(this: &BotConfig, other: &BotConfig) -> Result<(), Crossing> {
    if [this, other].iter().any(|config| config.kind == BotKind::Volume) {
        return Err(Crossing::VolumeTakes);
    }
    for (config, which) in [(this, Which::This), (other, Which::TheOther)] {
        let told = |name: &str| config.parameters.get(name).map(|value| value.trim());
        if let Some(exit) = EXITS.into_iter().find(|exit| !told(exit).is_some_and(is_none)) {
            return Err(Crossing::MakerMayTake(exit, which));
        }
        if let Some(spreads) = SPREADS.into_iter().find(|spreads| !told(spreads).is_some_and(keep_a_distance)) {
            return Err(Crossing::NoDistance(spreads, which));
        }
    }
    Ok(())
}

/// Settings that let a position be closed at the market.
const EXITS: [&str; 3] = ["stop_loss", "time_limit", "trailing_stop"];
/// How far each quote stands from the middle.
const SPREADS: [&str; 2] = ["buy_spreads", "sell_spreads"];

fn is_none(value: &str) -> bool {
    ["", "null", "none"].contains(&value.to_ascii_lowercase().as_str())
}

/// `0.001,0.002` or `[0.001, 0.002]`, all above zero.
fn keep_a_distance(spreads: &str) -> bool {
    let list = spreads.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(spreads);
    list.split(',').all(|spread| spread.trim().parse::<events::Decimal>().is_ok_and(|spread| spread.is_positive()))
}

#[cfg(test)]
mod tests {
    use events::{Decimal, Exchange, Market, Uuid};
    use proptest::prelude::*;

    use super::*;

    fn price(whole: i64) -> Price {
        Price(Decimal::from_int(whole))
    }

    fn id(n: u128) -> BotId {
        BotId(Uuid::from_u128(n))
    }

    fn resting(side: Side, at: i64) -> Resting {
        Resting { bot: id(7), order: format!("o{at}").parse().unwrap(), side, price: price(at) }
    }

    fn check(side: Side, at: Option<i64>, then: &[i64]) {
        let own = [resting(Side::Sell, 102), resting(Side::Buy, 99), resting(Side::Sell, 101), resting(Side::Buy, 98)];
        let intent = Intent { side, price: at.map(price) };
        let met: Vec<Price> = crossing(&intent, &own).into_iter().map(|met| met.price).collect();
        assert_eq!(met, then.iter().map(|at| price(*at)).collect::<Vec<_>>(), "{intent:?}");
        assert_eq!(allowed(&intent, &own).is_ok(), then.is_empty());
    }

    #[test]
    fn an_order_meets_what_rests_on_the_other_side_up_to_its_price_the_best_first() {
        check(Side::Buy, Some(100), &[]);
        check(Side::Buy, Some(101), &[101]);
        check(Side::Buy, Some(500), &[101, 102]);
        check(Side::Sell, Some(100), &[]);
        check(Side::Sell, Some(98), &[99, 98]);
        check(Side::Buy, None, &[101, 102]);
        check(Side::Sell, None, &[99, 98]);
    }

    #[test]
    fn a_refusal_says_what_would_be_met() {
        let refused = allowed(&Intent { side: Side::Buy, price: None }, &[resting(Side::Sell, 101)]).unwrap_err();
        let told = refused.to_string();
        assert!(told.starts_with("a buy at the market would meet the same owner's sell o101 at 101 of bot"), "{told}");
    }

    fn config(kind: BotKind, parameters: &[(&str, &str)]) -> BotConfig {
        let venue = Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() };
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        BotConfig { kind, venue: Some(venue), parameters, ..BotConfig::default() }
    }

    const RESTS: [(&str, &str); 5] = [
        ("stop_loss", "null"),
        ("time_limit", ""),
        ("trailing_stop", "None"),
        ("buy_spreads", "[0.001, 0.002]"),
        ("sell_spreads", "0.004"),
    ];

    fn with(name: &str, value: &str) -> BotConfig {
        let mut config = config(BotKind::MarketMaking, &RESTS);
        config.parameters.insert(name.into(), value.into());
        config
    }

    fn side_by_side(this: &BotConfig, other: &BotConfig, then: Option<Crossing>) {
        let other = Neighbour { bot: id(2), name: "other", config: other };
        assert_eq!(beside(id(1), this, [other]).map_err(|refused| refused.why).err(), then);
    }

    #[test]
    fn a_volume_bot_stands_beside_nobody_of_its_owner() {
        let (maker, volume) = (config(BotKind::MarketMaking, &RESTS), config(BotKind::Volume, &RESTS));
        for (this, other) in [(&volume, &maker), (&maker, &volume), (&volume, &volume)] {
            side_by_side(this, other, Some(Crossing::VolumeTakes));
        }
    }

    #[test]
    fn market_makers_stand_side_by_side_if_both_say_that_they_only_rest() {
        let rests = config(BotKind::MarketMaking, &RESTS);
        side_by_side(&rests, &rests, None);
        let (this, other) = (Which::This, Which::TheOther);
        side_by_side(&with("stop_loss", "0.03"), &rests, Some(Crossing::MakerMayTake("stop_loss", this)));
        side_by_side(&rests, &with("time_limit", "60"), Some(Crossing::MakerMayTake("time_limit", other)));
        side_by_side(&with("buy_spreads", "0.001,0"), &rests, Some(Crossing::NoDistance("buy_spreads", this)));
        side_by_side(&rests, &with("sell_spreads", ""), Some(Crossing::NoDistance("sell_spreads", other)));
        let silent = config(BotKind::MarketMaking, &[]);
        side_by_side(&silent, &rests, Some(Crossing::MakerMayTake("stop_loss", this)));
    }

    #[test]
    fn on_another_venue_or_alone_anything_goes() {
        let volume = config(BotKind::Volume, &[]);
        let mut elsewhere = volume.clone();
        elsewhere.venue.as_mut().unwrap().exchange = Exchange::Bybit;
        side_by_side(&volume, &elsewhere, None);
        side_by_side(&volume, &BotConfig { venue: None, ..volume.clone() }, None);
        let itself = Neighbour { bot: id(1), name: "itself", config: &volume };
        assert_eq!(beside(id(1), &volume, [itself]), Ok(()));
    }

    proptest! {
        #[test]
        fn whoever_comes_second_two_orders_cross_or_do_not(bid in 1..200_i64, ask in 1..200_i64) {
            let buys = crossing(&Intent { side: Side::Buy, price: Some(price(bid)) }, &[resting(Side::Sell, ask)]).len();
            let sells = crossing(&Intent { side: Side::Sell, price: Some(price(ask)) }, &[resting(Side::Buy, bid)]).len();
            prop_assert_eq!(buys, sells);
            prop_assert_eq!(buys == 1, bid >= ask);
        }
    }
}
