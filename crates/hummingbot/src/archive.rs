//! What is left of a bot that was archived: its own database, read through the server. Complete, at six decimals.

use std::fmt;

use events::{Amount, Asset, Decimal, OrderId, Pair, Price, Time, TradeId, ledger::Side};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    BotName, ConnectorName, Fault, FeePaid, Hummingbot, OrderType, PAGE_MAX, RoundedFees, RoundedTrade, Why, numbers,
    times, trading,
};

/// Where the server keeps a bot's database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct ArchivePath(String);

/// How much a database holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    #[serde(rename = "total_orders")]
    pub orders: u64,
    #[serde(rename = "total_trades")]
    pub trades: u64,
    #[serde(rename = "trading_pairs")]
    pub pairs: Vec<Pair>,
    #[serde(rename = "exchanges")]
    pub connectors: Vec<ConnectorName>,
}

/// An order of an archived bot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ArchivedOrder {
    #[serde(rename = "id")]
    pub order: OrderId,
    #[serde(rename = "connector_name")]
    pub connector: ConnectorName,
    #[serde(rename = "trading_pair")]
    pub pair: Pair,
    #[serde(deserialize_with = "order_type")]
    pub order_type: Option<OrderType>,
    #[serde(deserialize_with = "amount")]
    pub amount: Amount,
    /// At six decimals; none of a market order, of which the server says 0.
    #[serde(deserialize_with = "price")]
    pub price: Option<Price>,
    /// The name of the last event of the order: `BuyOrderCompleted`, `OrderCancelled`.
    pub last_status: String,
    #[serde(rename = "exchange_order_id", default)]
    pub exchange_order: Option<OrderId>,
    #[serde(rename = "creation_timestamp", deserialize_with = "times::millis")]
    pub created_at: Time,
    #[serde(rename = "last_update_timestamp", deserialize_with = "times::millis")]
    pub updated_at: Time,
}

#[derive(Deserialize)]
struct TradeTold {
    connector_name: ConnectorName,
    trading_pair: Pair,
    #[serde(deserialize_with = "times::millis")]
    timestamp: Time,
    order_id: OrderId,
    exchange_trade_id: TradeId,
    #[serde(deserialize_with = "trading::told_side")]
    trade_type: Side,
    #[serde(deserialize_with = "numbers::exact")]
    price: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    amount: Decimal,
    #[serde(default, deserialize_with = "numbers::maybe")]
    trade_fee_in_quote: Option<Decimal>,
    quote_asset: Asset,
}

/// One page of a list; the server names the list by what it holds.
#[derive(Deserialize)]
struct Page<R> {
    #[serde(alias = "trades", alias = "orders")]
    rows: Vec<R>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    total: usize,
}

impl Hummingbot {
    /// The databases of all archived bots, of every tenant.
    pub async fn archives(&self) -> Result<Vec<ArchivePath>, Fault> {
        self.get(&["archived-bots", ""], "list the archived bots").answer().await
    }

    /// How much an archive holds.
    pub async fn archive_summary(&self, archive: &ArchivePath) -> Result<Summary, Fault> {
        let doing = format!("read the summary of archive {archive}");
        let call = self.get(&archive.path("summary"), doing).refuse(archive.refusal());
        call.patience(self.patience.history).answer().await
    }

    /// Every fill of an archived bot, at six decimals.
    pub async fn archived_trades(&self, archive: &ArchivePath) -> Result<Vec<RoundedTrade>, Fault> {
        let told: Vec<TradeTold> = self.archived(archive, "trades").await?;
        Ok(told.into_iter().map(RoundedTrade::from).collect())
    }

    /// Every order of an archived bot.
    pub async fn archived_orders(&self, archive: &ArchivePath) -> Result<Vec<ArchivedOrder>, Fault> {
        self.archived(archive, "orders").await
    }

    /// All rows of a list, page by page. An archive does not change any more, so offsets hold.
    async fn archived<R: DeserializeOwned>(&self, archive: &ArchivePath, list: &str) -> Result<Vec<R>, Fault> {
        let mut rows: Vec<R> = Vec::new();
        let doing = format!("read the {list} of archive {archive}");
        loop {
            let call = self.get(&archive.path(list), &doing).refuse(archive.refusal());
            let call = call.query("limit", PAGE_MAX).query("offset", rows.len()).patience(self.patience.history);
            let page: Page<R> = call.answer().await?;
            let empty = page.rows.is_empty();
            rows.extend(page.rows);
            if rows.len() >= page.pagination.total {
                return Ok(rows);
            }
            if empty {
                let why = format!("{} of {} rows came", rows.len(), page.pagination.total);
                return Err(Fault::new(doing, Why::Unreadable(why)));
            }
        }
    }
}

impl ArchivePath {
    /// The bot that the database was of, by its file's name.
    pub fn bot(&self) -> Option<BotName> {
        self.0.rsplit('/').next()?.strip_suffix(".sqlite")?.parse().ok()
    }

    fn path<'a>(&'a self, list: &'a str) -> Vec<&'a str> {
        ["archived-bots"].into_iter().chain(self.0.split('/')).chain([list]).collect()
    }

    /// An empty part would vanish from the address.
    fn refusal(&self) -> Option<String> {
        self.0.split('/').any(str::is_empty).then(|| format!("{:?} is no path", self.0))
    }
}

impl fmt::Display for ArchivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<TradeTold> for RoundedTrade {
    fn from(told: TradeTold) -> Self {
        let in_quote = |amount| RoundedFees::InQuote(FeePaid { asset: told.quote_asset, amount });
        Self {
            connector: told.connector_name,
            pair: told.trading_pair,
            trade: told.exchange_trade_id,
            order: Some(told.order_id),
            side: told.trade_type,
            price: Price(told.price),
            amount: Amount(told.amount),
            fees: told.trade_fee_in_quote.map_or(RoundedFees::Untold, in_quote),
            at: told.timestamp,
        }
    }
}

fn order_type<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<OrderType>, D::Error> {
    Ok(OrderType::named(&std::borrow::Cow::<str>::deserialize(deserializer)?))
}

fn amount<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    numbers::exact(deserializer).map(Amount)
}

fn price<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    Ok(numbers::maybe(deserializer)?.filter(|price| !price.is_zero()).map(Price))
}
