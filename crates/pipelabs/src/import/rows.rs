//! The lines of the import files, parsed once at the door.

use events::{
    Amount, Asset, Decimal, Exchange, Market, OrderId, Pair, Price, Slug, Time, TradeId,
    ledger::{BookKey, Fee, FeeKind, Fill, Liquidity, Side},
};
use serde::Deserialize;

/// A line of `fills.jsonl`.
#[derive(Debug, Deserialize)]
pub struct FillRow {
    pub client: Slug,
    pub bot: Slug,
    pub exchange: Exchange,
    pub market: Market,
    pub pair: Pair,
    side: Side,
    price: Price,
    amount: Amount,
    fee: Option<Decimal>,
    fee_asset: Option<Asset>,
    fees: Option<Vec<FeeRow>>,
    #[serde(default)]
    liquidity: Liquidity,
    order_id: OrderId,
    trade_id: TradeId,
    mid_at_fill: Option<Price>,
    ts: Millis,
}

/// One of several charges of a fill.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeeRow {
    asset: Asset,
    amount: Decimal,
    #[serde(default)]
    kind: FeeKind,
}

/// A line of `rates.jsonl`.
#[derive(Debug, Clone, Deserialize)]
pub struct RateRow {
    pub pair: Pair,
    pub price: Price,
    pub ts: Millis,
}

/// A line of `funding.jsonl`.
#[derive(Debug, Deserialize)]
pub struct FundingRow {
    pub client: Slug,
    pub bot: Slug,
    pub exchange: Exchange,
    pub market: Market,
    pub pair: Pair,
    pub amount: Decimal,
    pub asset: Asset,
    pub funding_id: TradeId,
    pub ts: Millis,
}

/// A line of `transfers.jsonl`.
#[derive(Debug, Deserialize)]
pub struct TransferRow {
    pub client: Slug,
    pub exchange: Exchange,
    pub asset: Asset,
    pub amount: Decimal,
    pub transfer_id: TradeId,
    pub ts: Millis,
}

/// A line of `opening.jsonl`: what a book held before its first fill, and what that had cost.
#[derive(Debug, Deserialize)]
pub struct OpeningRow {
    pub client: Slug,
    pub bot: Slug,
    pub exchange: Exchange,
    pub market: Market,
    pub pair: Pair,
    pub position: Decimal,
    pub cost: Decimal,
    pub ts: Millis,
}

/// Whole milliseconds since 1970.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub struct Millis(pub Time);

impl TryFrom<i64> for Millis {
    type Error = events::BadTime;

    fn try_from(ms: i64) -> Result<Self, Self::Error> {
        Time::from_millis(ms).map(Self)
    }
}

impl FillRow {
    /// The fill that the row tells, of a bot and account that are known.
    pub fn fill(self, bot: events::BotId, account: events::AccountName, raw_hash: String) -> Result<Fill, String> {
        let fees = self.charges()?;
        Ok(Fill {
            bot,
            account,
            exchange: self.exchange,
            market: self.market,
            pair: self.pair,
            side: self.side,
            price: self.price,
            amount: self.amount,
            fees,
            liquidity: self.liquidity,
            order: Some(self.order_id),
            trade: self.trade_id,
            at: self.ts.0,
            mid_at_fill: self.mid_at_fill,
            source: "import".to_owned(),
            precision: None,
            raw_hash: Some(raw_hash),
        })
    }

    /// Absent when the row tells neither `fee` nor `fees`: nobody knows them.
    fn charges(&self) -> Result<Option<Vec<Fee>>, String> {
        let fee = |row: &FeeRow| Fee { asset: row.asset.clone(), amount: row.amount, kind: row.kind };
        match (&self.fees, self.fee, &self.fee_asset) {
            (None, None, None) => Ok(None),
            (None, Some(amount), Some(asset)) => {
                let kind = if amount.is_negative() { FeeKind::Rebate } else { FeeKind::Fee };
                Ok(Some(vec![Fee { asset: asset.clone(), amount, kind }]))
            }
            (Some(fees), None, None) => Ok(Some(fees.iter().map(fee).collect())),
            (None, Some(amount), None) => Err(format!("fee {amount} has no fee_asset")),
            (None, None, Some(asset)) => Err(format!("fee_asset {asset} has no fee")),
            (Some(_), _, _) => Err("it has both fees and fee: give one of them".to_owned()),
        }
    }

    /// Every asset that its figures need a rate of.
    pub fn assets(&self) -> impl Iterator<Item = String> + '_ {
        let of_fees = self.fees.iter().flatten().map(|fee| &fee.asset).chain(&self.fee_asset);
        assets_of(&self.pair).chain(of_fees.map(ToString::to_string))
    }
}

/// Both assets of a pair.
pub fn assets_of(pair: &Pair) -> impl Iterator<Item = String> + use<> {
    [pair.base().to_owned(), pair.quote().to_owned()].into_iter()
}

/// A book of one bot.
pub fn book(bot: events::BotId, exchange: Exchange, market: Market, pair: Pair) -> BookKey {
    BookKey { bot, exchange, market, pair }
}
