//! What the market says: prices, order books, candles. The same for every account.

use std::collections::BTreeMap;

use events::{Amount, Decimal, Pair, Price, Time};
use serde::{Deserialize, Serialize};

use crate::{
    ConnectorName, Fault, Hummingbot,
    numbers::{self, Number},
    times,
};

/// The best orders of others, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBook {
    pub pair: Pair,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
    /// When the server answered. It does not say how old its copy of the book is.
    pub at: Time,
}

/// What is offered at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub price: Price,
    pub amount: Amount,
}

/// Prices of one stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candle {
    /// When it begins.
    pub at: Time,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    /// In the base asset.
    pub volume: Amount,
}

#[derive(Deserialize)]
struct BookTold {
    trading_pair: Pair,
    bids: Vec<LevelTold>,
    asks: Vec<LevelTold>,
    #[serde(deserialize_with = "times::seconds")]
    timestamp: Time,
}

#[derive(Deserialize)]
struct LevelTold {
    #[serde(deserialize_with = "numbers::exact")]
    price: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    amount: Decimal,
}

#[derive(Deserialize)]
struct CandleTold {
    #[serde(deserialize_with = "times::seconds")]
    timestamp: Time,
    #[serde(deserialize_with = "numbers::exact")]
    open: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    high: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    low: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    close: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    volume: Decimal,
}

impl Hummingbot {
    /// Mid prices; a pair that has none is left out.
    pub async fn prices(&self, connector: &ConnectorName, pairs: &[Pair]) -> Result<BTreeMap<Pair, Price>, Fault> {
        #[derive(Serialize)]
        struct Question<'a> {
            connector_name: &'a ConnectorName,
            trading_pairs: &'a [Pair],
        }
        #[derive(Deserialize)]
        struct Told {
            prices: BTreeMap<Pair, Number>,
        }
        let call = self.ask(&["market-data", "prices"], format!("read prices on {connector}"));
        let call = call.body(&Question { connector_name: connector, trading_pairs: pairs });
        let told: Told = call.patience(self.patience.feed).answer().await?;
        let priced = told.prices.into_iter().filter_map(|(pair, Number(price))| Some((pair, Price(price?))));
        Ok(priced.collect())
    }

    /// The `depth` best levels of each side, 1,000 at most; fewer where there are no more.
    pub async fn order_book(&self, connector: &ConnectorName, pair: &Pair, depth: usize) -> Result<OrderBook, Fault> {
        #[derive(Serialize)]
        struct Question<'a> {
            connector_name: &'a ConnectorName,
            trading_pair: &'a Pair,
            depth: usize,
        }
        let call = self.ask(&["market-data", "order-book"], format!("read the order book of {pair} on {connector}"));
        let call = call.body(&Question { connector_name: connector, trading_pair: pair, depth });
        let told: BookTold = call.patience(self.patience.feed).answer().await?;
        let levels = |side: Vec<LevelTold>| side.into_iter().map(Level::from).collect();
        Ok(OrderBook { pair: told.trading_pair, bids: levels(told.bids), asks: levels(told.asks), at: told.timestamp })
    }

    /// The last candles, oldest first. `interval` is Hummingbot's own word: `1m`, `1h`.
    pub async fn candles(
        &self,
        connector: &ConnectorName,
        pair: &Pair,
        interval: &str,
        most: u32,
    ) -> Result<Vec<Candle>, Fault> {
        #[derive(Serialize)]
        struct Question<'a> {
            connector_name: &'a ConnectorName,
            trading_pair: &'a Pair,
            interval: &'a str,
            max_records: u32,
        }
        let call = self.ask(&["market-data", "candles"], format!("read candles of {pair} on {connector}"));
        let call = call.body(&Question { connector_name: connector, trading_pair: pair, interval, max_records: most });
        let told: Vec<CandleTold> = call.patience(self.patience.feed).answer().await?;
        Ok(told.into_iter().map(Candle::from).collect())
    }
}

impl From<LevelTold> for Level {
    fn from(told: LevelTold) -> Self {
        Self { price: Price(told.price), amount: Amount(told.amount) }
    }
}

impl From<CandleTold> for Candle {
    fn from(told: CandleTold) -> Self {
        Self {
            at: told.timestamp,
            open: Price(told.open),
            high: Price(told.high),
            low: Price(told.low),
            close: Price(told.close),
            volume: Amount(told.volume),
        }
    }
}
