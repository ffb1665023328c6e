//! Orders that the API process places itself, for one account. Its fills of them are not all kept (see [`crate::Trade`]).

use events::{AccountName, Amount, OrderId, Pair, Price, ledger::Side};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ConnectorName, Fault, Hummingbot, OrderType, PAGE_MAX, Why, Window, windows::Part};

/// An order to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    pub connector: ConnectorName,
    pub pair: Pair,
    pub side: Side,
    pub order_type: OrderType,
    pub amount: Amount,
    /// A market order has none.
    pub price: Option<Price>,
    /// Whether it closes a position of a perpetual instead of opening one.
    pub closes: bool,
}

#[derive(Serialize)]
struct Placing<'a> {
    account_name: &'a AccountName,
    connector_name: &'a ConnectorName,
    trading_pair: &'a Pair,
    trade_type: &'static str,
    amount: String,
    order_type: OrderType,
    price: Option<String>,
    position_action: &'static str,
}

/// What is asked of every list of rows: one account, one connector, one page.
#[derive(Serialize)]
pub(crate) struct Question<'a> {
    account_names: [&'a AccountName; 1],
    connector_names: [&'a ConnectorName; 1],
    limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trade_types: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trading_pair: Option<&'a Pair>,
}

#[derive(Deserialize)]
struct Page<R> {
    data: Vec<R>,
}

/// A row that says whose it is.
pub(crate) trait Owned {
    fn account(&self) -> &AccountName;
}

impl Hummingbot {
    /// Hands an order to the server, which answers before it asks the exchange: the id is its own, and whether the order
    /// stands is told only by [`Hummingbot::orders`].
    pub async fn place_order(&self, account: &AccountName, order: &NewOrder) -> Result<OrderId, Fault> {
        #[derive(Deserialize)]
        struct Told {
            order_id: OrderId,
            account_name: AccountName,
        }
        let NewOrder { connector, pair, side, order_type, amount, price, closes } = order;
        let placing = Placing {
            account_name: account,
            connector_name: connector,
            trading_pair: pair,
            trade_type: written(*side),
            amount: amount.to_string(),
            order_type: *order_type,
            price: price.map(|price| price.to_string()),
            position_action: if *closes { "CLOSE" } else { "OPEN" },
        };
        let doing = format!("place an order for {pair} on {connector} for account {account}");
        let wrong = (*order_type == OrderType::Market) == price.is_some();
        let refusal = wrong.then(|| "a limit order has a price, a market order has none".to_owned());
        let call = self.post(&["trading", "orders"], &doing).refuse(refusal).body(&placing);
        let told: Told = call.answer().await?;
        if told.account_name == *account {
            return Ok(told.order_id);
        }
        Err(Fault { doing, why: Why::OtherAccount(told.account_name) })
    }

    /// Asks for an order to be cancelled; it may still fill. An order that the API process does not hold open is not found.
    pub async fn cancel_order(
        &self,
        account: &AccountName,
        connector: &ConnectorName,
        order: &OrderId,
    ) -> Result<(), Fault> {
        let doing = format!("cancel order {order} on {connector} of account {account}");
        let path = ["trading", account.as_str(), connector.as_str(), "orders", order.as_str(), "cancel"];
        self.post(&path, doing).done().await
    }

    /// One page of rows, all of them the account's own.
    pub(crate) async fn page<R: DeserializeOwned + Owned>(
        &self,
        path: &[&str],
        account: &AccountName,
        question: &Question<'_>,
        doing: &str,
    ) -> Result<Vec<R>, Fault> {
        let page: Page<R> = self.ask(path, doing).body(question).answer().await?;
        match page.data.iter().find(|row| row.account() != account) {
            Some(row) => Err(Fault::new(doing, Why::OtherAccount(row.account().clone()))),
            None => Ok(page.data),
        }
    }

    /// The same, where a full page means that there may be more and nothing narrows it.
    pub(crate) async fn whole_page<R: DeserializeOwned + Owned>(
        &self,
        path: &[&str],
        account: &AccountName,
        connector: &ConnectorName,
        doing: &str,
    ) -> Result<Vec<R>, Fault> {
        let rows: Vec<R> = self.page(path, account, &Question::of(account, connector), doing).await?;
        if rows.len() < PAGE_MAX {
            return Ok(rows);
        }
        Err(Fault::new(doing, Why::TooMany { most: PAGE_MAX, place: "at once".to_owned() }))
    }
}

impl<'a> Question<'a> {
    pub(crate) fn of(account: &'a AccountName, connector: &'a ConnectorName) -> Self {
        Self {
            account_names: [account],
            connector_names: [connector],
            limit: PAGE_MAX,
            start_time: None,
            end_time: None,
            trade_types: None,
            trading_pair: None,
        }
    }

    pub(crate) fn within(mut self, window: Window) -> Self {
        (self.start_time, self.end_time) = (Some(window.from_ms), Some(window.to_ms));
        self
    }

    pub(crate) fn part(mut self, part: Part) -> Self {
        self.trade_types = match part {
            Part::All => None,
            Part::Buys => Some([written(Side::Buy)]),
            Part::Sells => Some([written(Side::Sell)]),
        };
        self
    }

    pub(crate) fn pair(mut self, pair: &'a Pair) -> Self {
        self.trading_pair = Some(pair);
        self
    }
}

fn written(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

/// A side in any of Hummingbot's spellings: `BUY`, `TradeType.BUY`.
pub(crate) fn side(text: &str) -> Option<Side> {
    match text.strip_prefix("TradeType.").unwrap_or(text) {
        "BUY" => Some(Side::Buy),
        "SELL" => Some(Side::Sell),
        _ => None,
    }
}

/// For fields: `#[serde(deserialize_with = "trading::told_side")]`.
pub(crate) fn told_side<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Side, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    side(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no side")))
}
