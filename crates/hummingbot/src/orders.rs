//! Orders that the API process placed itself. Their filled amounts are not read: of 160 filled orders the server said of
//! 48 that they were open and empty.

use events::{AccountName, Amount, Decimal, OrderId, Pair, Price, Time, ledger::Side};
use futures::FutureExt;
use serde::Deserialize;

use crate::{
    ConnectorName, Fault, Hummingbot, OrderType, Window, numbers, times,
    trading::{self, Owned, Question},
    windows::{self, PAGE_MAX, Row},
};

/// One order as the server tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub account: AccountName,
    pub connector: ConnectorName,
    pub order: OrderId,
    pub exchange_order: Option<OrderId>,
    /// Unknown of an order that failed before the server had noted what it was.
    pub pair: Option<Pair>,
    pub side: Option<Side>,
    pub order_type: Option<OrderType>,
    pub amount: Amount,
    pub price: Option<Price>,
    pub status: OrderStatus,
    /// What the exchange said when it refused.
    pub error: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// What the server thinks of an order. It is often behind: an open one may have been filled long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderStatus {
    Submitted,
    Open,
    PartiallyFilled,
    PendingCancel,
    Filled,
    Cancelled,
    Failed,
    /// A word that this client does not know.
    Other(String),
}

#[derive(Deserialize)]
struct Told {
    order_id: OrderId,
    account_name: AccountName,
    connector_name: ConnectorName,
    trading_pair: String,
    trade_type: String,
    order_type: String,
    #[serde(deserialize_with = "numbers::exact")]
    amount: Decimal,
    #[serde(default, deserialize_with = "numbers::maybe")]
    price: Option<Decimal>,
    status: String,
    #[serde(default)]
    exchange_order_id: Option<OrderId>,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(deserialize_with = "times::iso")]
    created_at: Time,
    #[serde(deserialize_with = "times::iso")]
    updated_at: Time,
}

impl Hummingbot {
    /// All orders of an account that the server created within a window, oldest first.
    pub async fn orders(
        &self,
        account: &AccountName,
        connector: &ConnectorName,
        window: Window,
    ) -> Result<Vec<Order>, Fault> {
        let doing = format!("read the orders of account {account} on {connector}");
        let doing = doing.as_str();
        let fetch = |window, _| {
            let question = Question::of(account, connector).within(window);
            async move { self.page::<Order>(&["trading", "orders", "search"], account, &question, doing).await }.boxed()
        };
        windows::all(doing, window, PAGE_MAX, false, fetch).await
    }

    /// The orders of an account that the API process holds open.
    pub async fn active_orders(&self, account: &AccountName, connector: &ConnectorName) -> Result<Vec<Order>, Fault> {
        let doing = format!("read the open orders of account {account} on {connector}");
        self.whole_page(&["trading", "orders", "active"], account, connector, &doing).await
    }
}

impl OrderStatus {
    fn named(text: String) -> Self {
        match text.as_str() {
            "SUBMITTED" => Self::Submitted,
            "OPEN" => Self::Open,
            "PARTIALLY_FILLED" => Self::PartiallyFilled,
            "PENDING_CANCEL" => Self::PendingCancel,
            "FILLED" => Self::Filled,
            "CANCELLED" => Self::Cancelled,
            "FAILED" => Self::Failed,
            _ => Self::Other(text),
        }
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = Told::deserialize(deserializer)?;
        Ok(Self {
            account: told.account_name,
            connector: told.connector_name,
            order: told.order_id,
            exchange_order: told.exchange_order_id,
            pair: told.trading_pair.parse().ok(),
            side: trading::side(&told.trade_type),
            order_type: OrderType::named(&told.order_type),
            amount: Amount(told.amount),
            price: told.price.map(Price),
            status: OrderStatus::named(told.status),
            error: told.error_message,
            created_at: told.created_at,
            updated_at: told.updated_at,
        })
    }
}

impl Owned for Order {
    fn account(&self) -> &AccountName {
        &self.account
    }
}

impl Row for Order {
    fn key(&self) -> String {
        format!("{}:{}", self.connector, self.order)
    }

    fn at(&self) -> Time {
        self.created_at
    }
}
