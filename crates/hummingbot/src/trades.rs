//! Fills of orders that the API process placed itself. A bot's fills are never among them, and a fill that comes within
//! 10 ms of its order's acceptance is lost: measured, 192 of 320 were kept. So this is evidence, not the whole.

use events::{AccountName, Amount, Asset, OrderId, Pair, Price, Time, TradeId, ledger::Side};
use futures::FutureExt;
use serde::Deserialize;

use crate::{
    ConnectorName, Fault, FeePaid, Hummingbot, Window,
    as_written::{self, AsWritten},
    numbers, times,
    trading::{self, Owned, Question},
    windows::{self, PAGE_MAX, Row},
};

/// One fill as the server keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    pub account: AccountName,
    pub connector: ConnectorName,
    pub pair: Pair,
    /// The server's own key, which begins with the order's id.
    pub key: TradeId,
    pub order: OrderId,
    pub side: Side,
    pub price: Price,
    pub amount: Amount,
    pub fee: Option<FeePaid>,
    /// The server's clock tick: several fills share one.
    pub at: Time,
    /// The row as the server wrote it.
    pub raw: AsWritten,
}

#[derive(Deserialize)]
struct Told {
    trade_id: TradeId,
    order_id: OrderId,
    account_name: AccountName,
    connector_name: ConnectorName,
    trading_pair: Pair,
    #[serde(deserialize_with = "trading::told_side")]
    trade_type: Side,
    #[serde(deserialize_with = "numbers::exact")]
    amount: events::Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    price: events::Decimal,
    #[serde(default, deserialize_with = "numbers::maybe")]
    fee_paid: Option<events::Decimal>,
    #[serde(default)]
    fee_currency: Option<Asset>,
    #[serde(deserialize_with = "times::iso")]
    timestamp: Time,
}

impl Hummingbot {
    /// All fills of an account's API-placed orders on a connector within a window, oldest first.
    pub async fn trades(
        &self,
        account: &AccountName,
        connector: &ConnectorName,
        window: Window,
    ) -> Result<Vec<Trade>, Fault> {
        let doing = format!("read the trades of account {account} on {connector}");
        let doing = doing.as_str();
        let fetch = |window, part| {
            let question = Question::of(account, connector).within(window).part(part);
            async move { self.page::<Trade>(&["trading", "trades"], account, &question, doing).await }.boxed()
        };
        windows::all(doing, window, PAGE_MAX, true, fetch).await
    }
}

impl Trade {
    /// The exchange's own trade id, when the key holds it.
    pub fn exchange_trade(&self) -> Option<TradeId> {
        let own = self.key.as_str().strip_prefix(self.order.as_str())?.strip_prefix('_')?;
        own.parse().ok()
    }
}

impl<'de> Deserialize<'de> for Trade {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (told, raw): (Told, _) = as_written::read(deserializer)?;
        let fee = told.fee_paid.zip(told.fee_currency);
        Ok(Self {
            account: told.account_name,
            connector: told.connector_name,
            pair: told.trading_pair,
            key: told.trade_id,
            order: told.order_id,
            side: told.trade_type,
            price: Price(told.price),
            amount: Amount(told.amount),
            fee: fee.map(|(amount, asset)| FeePaid { asset, amount }),
            at: told.timestamp,
            raw,
        })
    }
}

impl Owned for Trade {
    fn account(&self) -> &AccountName {
        &self.account
    }
}

impl Row for Trade {
    fn key(&self) -> String {
        format!("{}:{}", self.connector, self.key)
    }

    fn at(&self) -> Time {
        self.at
    }
}
