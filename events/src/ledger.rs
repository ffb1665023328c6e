//! One client's fills, funding and transfers: facts, appended, never argued with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AccountName, Amount, Asset, BotId, Decimal, Exchange, Market, OrderId, Pair, Price, Time, TradeId};

/// Which way the base asset went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Buy,
    Sell,
}

/// Whether our order rested in the book. Unknown is not maker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Liquidity {
    Maker,
    Taker,
    #[default]
    Unknown,
}

/// How far a source cut the numbers of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Precision {
    /// Six places behind the point: for a price like 0.0000123 up to 1.6 % off.
    #[serde(rename = "6dp")]
    SixPlaces,
}

/// What a charge is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeeKind {
    #[default]
    Fee,
    Tax,
    Rebate,
    TokenDiscount,
}

/// One charge of a fill: above zero was paid, below zero was received.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fee {
    /// What it was charged in.
    pub asset: Asset,
    /// In that asset; above zero was paid, below zero was received.
    pub amount: Decimal,
    /// What it is for.
    #[serde(default)]
    pub kind: FeeKind,
}

/// One bot's account of one exchange, market and pair. Nothing nets across books.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookKey {
    /// Whose trading it is.
    pub bot: BotId,
    /// Where.
    pub exchange: Exchange,
    /// Spot or perpetual: the two never net.
    pub market: Market,
    /// What for what.
    pub pair: Pair,
}

/// Part of an order was executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Whose order it was.
    pub bot: BotId,
    /// The client's account there.
    pub account: AccountName,
    /// Where it was executed.
    pub exchange: Exchange,
    /// On which of its markets.
    pub market: Market,
    /// What was traded for what.
    pub pair: Pair,
    /// Which way the base asset went.
    pub side: Side,
    /// What one unit of the base asset cost, in the quote asset.
    pub price: Price,
    /// In the base asset; contracts are already multiplied by their size.
    pub amount: Amount,
    /// Every charge. Absent when nobody knows it: an unknown fee is not a zero fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fees: Option<Vec<Fee>>,
    /// Whether our order rested in the book.
    pub liquidity: Liquidity,
    /// Absent while the fill is known only from a source without order ids; corrected when the exact one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// The exchange's own trade id: the same fill seen twice carries the same one.
    pub trade: TradeId,
    /// The exchange's time.
    pub at: Time,
    /// Middle of best bid and ask when it happened, if the source told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid_at_fill: Option<Price>,
    /// Where we know it from: `import`, `mqtt`, `history`, `archive`, `api`.
    pub source: String,
    /// How far the source cut its numbers; absent: they are exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// SHA-256 of the bytes it was read from, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_hash: Option<String>,
}

/// Facts of aggregate `ledger`, one a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum LedgerEvent {
    /// A fill, as the exchange told it.
    FillRecorded(Fill),
    /// The fill recorded as number `corrects`, told last as `was`, was really `fill`, which takes its place and time.
    FillCorrected { corrects: u64, was: Box<Fill>, fill: Box<Fill>, reason: String },
    /// The fill recorded as number `voids`, told last as `was`, never happened.
    FillVoided { voids: u64, was: Box<Fill>, reason: String },
    /// The same fill was told again with another content. The first stays; this one is kept for a person to judge.
    FillDisputed { recorded: u64, fill: Fill, at: Time },
    /// What a book held before its first recorded fill, and what that had cost in the quote asset.
    OpeningPosition { book: BookKey, position: Decimal, cost: Decimal, at: Time },
    /// Funding of a perpetual: above zero was received, below zero was paid.
    FundingPaid { book: BookKey, amount: Decimal, asset: Asset, funding: TradeId, at: Time },
    /// Money entered (above zero) or left (below zero) an exchange account. Never part of P&L.
    TransferRecorded {
        exchange: Exchange,
        account: AccountName,
        asset: Asset,
        amount: Decimal,
        transfer: TradeId,
        at: Time,
    },
    /// A rate for fees that no observed mark could convert, supplied by a person. Never a mark.
    FeeRateSupplied { pair: Pair, price: Price, reason: String, at: Time },
}

impl LedgerEvent {
    /// When it happened; a correction happened when the fill that it replaces did.
    pub fn at(&self) -> Time {
        match self {
            Self::FillRecorded(fill) => fill.at,
            Self::FillCorrected { was, .. } | Self::FillVoided { was, .. } => was.at,
            Self::FillDisputed { at, .. }
            | Self::OpeningPosition { at, .. }
            | Self::FundingPaid { at, .. }
            | Self::TransferRecorded { at, .. }
            | Self::FeeRateSupplied { at, .. } => *at,
        }
    }
}

impl Fill {
    /// The book that it belongs to.
    pub fn book(&self) -> BookKey {
        BookKey { bot: self.bot, exchange: self.exchange, market: self.market, pair: self.pair.clone() }
    }

    /// Its identity as one text: the same fill seen twice gives the same one, another fill another. One whose order is not
    /// known has the provisional one.
    pub fn identity(&self) -> String {
        let Some(order) = &self.order else { return self.provisional_identity() };
        format!("{}:{}:{}", self.place(), escaped(order.as_str()), escaped(self.trade.as_str()))
    }

    /// The identity that it has while nobody knows its order. A trade with oneself has one id on two orders, so the side
    /// tells the two apart.
    pub fn provisional_identity(&self) -> String {
        format!("{}::{}:{}", self.place(), escaped(self.trade.as_str()), self.side)
    }

    fn place(&self) -> String {
        format!("fill:{}:{}:{}:{}", self.exchange, self.account, self.market, self.pair)
    }

    /// Whether both tell of the same trade in the same words, whoever told it and however it was spelt.
    pub fn tells_the_same(&self, other: &Self) -> bool {
        let told = |fill: &Self| {
            let fees =
                fill.fees.as_ref().map(|fees| fees.iter().filter(|f| !f.amount.is_zero()).cloned().collect::<Vec<_>>());
            (fill.book(), fill.side, fill.price, fill.amount, fees, fill.liquidity, fill.at, fill.mid_at_fill)
        };
        told(self) == told(other)
    }
}

/// Ids may hold any visible character, so the separator is escaped: `a:b` + `c` is not `a` + `b:c`.
pub fn escaped(id: &str) -> String {
    id.replace('%', "%25").replace(':', "%3A")
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        })
    }
}

impl fmt::Display for Liquidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Maker => "maker",
            Self::Taker => "taker",
            Self::Unknown => "unknown",
        })
    }
}
