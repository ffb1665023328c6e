//! Positions in perpetuals, as the exchange tells them of an account.

use events::{AccountName, Decimal, Pair, Price};
use serde::Deserialize;

use crate::{ConnectorName, Fault, Hummingbot, numbers, trading::Owned};

/// One open position.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Position {
    #[serde(rename = "account_name")]
    pub account: AccountName,
    #[serde(rename = "connector_name")]
    pub connector: ConnectorName,
    #[serde(rename = "trading_pair")]
    pub pair: Pair,
    /// `LONG` or `SHORT`, as the exchange says it; in one-way mode the amount's sign tells as well.
    #[serde(default)]
    pub side: Option<String>,
    #[serde(deserialize_with = "numbers::exact")]
    pub amount: Decimal,
    #[serde(default, deserialize_with = "entry")]
    pub entry_price: Option<Price>,
    #[serde(default, deserialize_with = "numbers::maybe")]
    pub unrealized_pnl: Option<Decimal>,
    #[serde(default, deserialize_with = "numbers::maybe")]
    pub leverage: Option<Decimal>,
}

fn entry<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    Ok(numbers::maybe(deserializer)?.map(Price))
}

impl Hummingbot {
    /// The open positions of an account on a perpetual connector.
    pub async fn positions(&self, account: &AccountName, connector: &ConnectorName) -> Result<Vec<Position>, Fault> {
        let doing = format!("read the positions of account {account} on {connector}");
        self.whole_page(&["trading", "positions"], account, connector, &doing).await
    }
}

impl Owned for Position {
    fn account(&self) -> &AccountName {
        &self.account
    }
}
