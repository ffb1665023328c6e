//! The paper exchanges: six of them, spot and perpetual, with wallets that are known by an API key and by nothing else.

pub(crate) mod book;
pub(crate) mod listing;
pub(crate) mod matching;
pub(crate) mod tape;
pub(crate) mod walk;
pub(crate) mod wallet;

use std::collections::BTreeMap;

use events::{Decimal, Exchange, Market, Time, bot::Venue, ledger::Side};

use crate::truth::Truth;
use book::Standing;
use wallet::{Wallet, WalletKey};

/// All exchanges at once. Time comes from outside.
#[derive(Debug)]
pub(crate) struct Exchanges {
    pub seed: u64,
    pub standings: BTreeMap<Venue, Standing>,
    pub wallets: BTreeMap<WalletKey, Wallet>,
    pub orders: Vec<Order>,
    pub truth: Truth,
    pub last_order: u64,
    pub last_trade: u64,
}

impl Exchanges {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            standings: BTreeMap::new(),
            wallets: BTreeMap::new(),
            orders: Vec::new(),
            truth: Truth::default(),
            last_order: 1_000,
            last_trade: 500_000,
        }
    }
}

/// An order's place in the list of all that ever were.
pub(crate) type OrderNo = usize;

/// Whoever sent an order to the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A bot's instance, and which of its controllers.
    Bot { bot: String, controller: usize },
    /// The Hummingbot API server itself, on request.
    Api,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Limit,
    LimitMaker,
    Market,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// Sent, not yet answered by the exchange.
    Submitted,
    Open,
    Filled,
    Cancelled,
    Rejected(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub id: String,
    pub exchange_id: u64,
    pub owner: Owner,
    pub account: String,
    pub wallet: WalletKey,
    pub venue: Venue,
    pub side: Side,
    pub kind: Kind,
    /// Absent for a market order.
    pub price: Option<Decimal>,
    pub amount: Decimal,
    pub filled: Decimal,
    pub filled_quote: Decimal,
    /// Fees in the quote asset, each at its fill's own price.
    pub fees_quote: Decimal,
    pub status: Status,
    pub created: Time,
    pub updated: Time,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Limit => "LIMIT",
            Self::LimitMaker => "LIMIT_MAKER",
            Self::Market => "MARKET",
        }
    }
}

impl Order {
    pub(crate) fn remaining(&self) -> Decimal {
        crate::exact::difference(self.amount, self.filled)
    }

    pub(crate) fn is_open(&self) -> bool {
        match self.status {
            Status::Open | Status::Submitted => true,
            Status::Filled | Status::Cancelled | Status::Rejected(_) => false,
        }
    }

    pub(crate) fn connector(&self) -> String {
        self.venue.exchange.connector(self.venue.market)
    }

    pub(crate) fn bot(&self) -> Option<&str> {
        match &self.owner {
            Owner::Bot { bot, .. } => Some(bot),
            Owner::Api => None,
        }
    }
}

pub(crate) const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

/// `binance_perpetual` is the perpetual market of Binance.
pub(crate) fn from_connector(connector: &str) -> Option<(Exchange, Market)> {
    let (name, market) = match connector.strip_suffix("_perpetual") {
        Some(name) => (name, Market::Perp),
        None => (connector, Market::Spot),
    };
    name.parse().ok().map(|exchange| (exchange, market))
}

/// What the exchange keeps of a trade, as a part of one.
pub(crate) fn fee_rate(exchange: Exchange, market: Market, maker: bool) -> Decimal {
    let hundredths_of_percent = match (market, exchange, maker) {
        (Market::Perp, _, true) => 2,
        (Market::Perp, _, false) => 5,
        (Market::Spot, Exchange::Bitmart, _) => 25,
        (Market::Spot, Exchange::GateIo, _) => 20,
        (Market::Spot, Exchange::Okx, true) => 8,
        (Market::Spot, Exchange::Binance | Exchange::Kucoin | Exchange::Bybit | Exchange::Okx, _) => 10,
    };
    Decimal::new(hundredths_of_percent, 4)
}
