//! What is left of a bot that was archived: its own database, read through the server. Complete, at six decimals.

use std::fmt;

use events::{Amount, Asset, Decimal, OrderId, Pair, Price, Time, TradeId, ledger::Side};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    BotName, ConnectorName, Fault, FeePaid, Hummingbot, OrderType, PAGE_MAX, RoundedFees, RoundedTrade, Why,
    as_written::{self, AsWritten},
    numbers, times, trading,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedOrder {
    pub order: OrderId,
    pub connector: ConnectorName,
    pub pair: Pair,
    /// By its last event or by its id, which a bot makes of it; absent: neither tells.
    pub side: Option<Side>,
    pub order_type: Option<OrderType>,
    pub amount: Amount,
    /// At six decimals; none of a market order, of which the server says 0, as of a price below the sixth place.
    pub price: Option<Price>,
    pub last: LastEvent,
    pub exchange_order: Option<OrderId>,
    pub created_at: Time,
    pub updated_at: Time,
    /// The row as the server wrote it.
    pub raw: AsWritten,
}

/// What an order's last event says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastEvent {
    Created,
    /// Some of it was executed.
    Filled,
    Completed,
    Cancelled,
    Failed,
    Expired,
    /// A word that this client does not know.
    Other(String),
}

#[derive(Deserialize)]
struct OrderTold {
    id: OrderId,
    connector_name: ConnectorName,
    trading_pair: Pair,
    #[serde(deserialize_with = "order_type")]
    order_type: Option<OrderType>,
    #[serde(deserialize_with = "numbers::exact")]
    amount: Decimal,
    #[serde(deserialize_with = "price")]
    price: Option<Price>,
    last_status: String,
    #[serde(default)]
    exchange_order_id: Option<OrderId>,
    #[serde(deserialize_with = "times::millis")]
    creation_timestamp: Time,
    #[serde(deserialize_with = "times::millis")]
    last_update_timestamp: Time,
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

/// A fill of an archive: told in other words than a bot's own memory.
struct ArchivedTrade(RoundedTrade);

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
        let told: Vec<ArchivedTrade> = self.archived(archive, "trades").await?;
        Ok(told.into_iter().map(|ArchivedTrade(trade)| trade).collect())
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

impl<'de> Deserialize<'de> for ArchivedTrade {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (told, raw): (TradeTold, _) = as_written::read(deserializer)?;
        Ok(Self(told.rounded(raw)))
    }
}

impl<'de> Deserialize<'de> for ArchivedOrder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (told, raw): (OrderTold, _) = as_written::read(deserializer)?;
        let (last, side) = last_event(told.last_status);
        Ok(Self {
            side: side.or_else(|| side_in(&told.id, &told.trading_pair)),
            order: told.id,
            connector: told.connector_name,
            pair: told.trading_pair,
            order_type: told.order_type,
            amount: Amount(told.amount),
            price: told.price,
            last,
            exchange_order: told.exchange_order_id,
            created_at: told.creation_timestamp,
            updated_at: told.last_update_timestamp,
            raw,
        })
    }
}

/// What the name of an event says, and on which side the order stood if it says that, too.
fn last_event(name: String) -> (LastEvent, Option<Side>) {
    let (bare, side) = match (name.strip_prefix("Buy"), name.strip_prefix("Sell")) {
        (Some(bare), _) => (bare, Some(Side::Buy)),
        (None, Some(bare)) => (bare, Some(Side::Sell)),
        (None, None) => (name.as_str(), None),
    };
    let last = match bare {
        "OrderCreated" => LastEvent::Created,
        "OrderFilled" => LastEvent::Filled,
        "OrderCompleted" => LastEvent::Completed,
        "OrderCancelled" => LastEvent::Cancelled,
        "MarketOrderFailure" | "OrderFailure" => LastEvent::Failed,
        "OrderExpired" => LastEvent::Expired,
        _ => return (LastEvent::Other(name), None),
    };
    (last, side)
}

/// The side by a bot's own order id: the exchange's prefix, `B` or `S`, the first and last letters of base and quote, and
/// hexadecimal digits to the end. An id of another form says nothing.
fn side_in(order: &OrderId, pair: &Pair) -> Option<Side> {
    let ends = |asset: &str| asset.chars().take(1).chain(asset.chars().last()).collect::<String>();
    let letters = format!("{}{}", ends(pair.base()), ends(pair.quote()));
    let (before, after) = order.as_str().rsplit_once(&letters)?;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    match before.chars().last() {
        Some('B') if after.chars().all(hex) => Some(Side::Buy),
        Some('S') if after.chars().all(hex) => Some(Side::Sell),
        Some(_) | None => None,
    }
}

impl TradeTold {
    fn rounded(self, raw: AsWritten) -> RoundedTrade {
        let told = self;
        let in_quote = |amount| RoundedFees::InQuote(FeePaid { asset: told.quote_asset, amount });
        RoundedTrade {
            connector: told.connector_name,
            pair: told.trading_pair,
            trade: told.exchange_trade_id,
            order: Some(told.order_id),
            side: told.trade_type,
            price: Price(told.price),
            amount: Amount(told.amount),
            fees: told.trade_fee_in_quote.map_or(RoundedFees::Untold, in_quote),
            at: told.timestamp,
            raw,
        }
    }
}

fn order_type<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<OrderType>, D::Error> {
    Ok(OrderType::named(&std::borrow::Cow::<str>::deserialize(deserializer)?))
}

fn price<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    Ok(numbers::maybe(deserializer)?.filter(|price| !price.is_zero()).map(Price))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_of_a_bot_tells_its_side_and_any_other_does_not() {
        let side = |id: &str, pair: &str| side_in(&id.parse().unwrap(), &pair.parse().unwrap());
        assert_eq!(side("x-MG43PCSNBEHUT660f22a5301f9cf81", "ETH-USDT"), Some(Side::Buy));
        assert_eq!(side("HBOTSBCUT660f22a5301f9cf81", "BTC-USDT"), Some(Side::Sell));
        assert_eq!(side("HBOTSBCUT660f22a5301f9cf81", "ETH-USDT"), None);
        assert_eq!(side("HBOTSBCUT660f-22", "BTC-USDT"), None);
        assert_eq!(side("BCUT660f", "BTC-USDT"), None);
        assert_eq!(side("771203", "BTC-USDT"), None);
    }

    #[test]
    fn the_name_of_an_event_says_how_far_its_order_came() {
        let of = |name: &str| last_event(name.to_owned());
        assert_eq!(of("SellOrderCompleted"), (LastEvent::Completed, Some(Side::Sell)));
        assert_eq!(of("BuyOrderCreated"), (LastEvent::Created, Some(Side::Buy)));
        assert_eq!(of("OrderCancelled"), (LastEvent::Cancelled, None));
        assert_eq!(of("BuyTheDip"), (LastEvent::Other("BuyTheDip".into()), None));
    }
}
