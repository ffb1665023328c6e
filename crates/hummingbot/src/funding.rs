//! Funding that perpetuals paid or took.

use events::{AccountName, Asset, Decimal, Pair, Time};
use serde::Deserialize;

use crate::{
    ConnectorName, Fault, Hummingbot, PAGE_MAX, Why, Window, numbers, times,
    trading::{Owned, Question},
};

/// One payment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FundingPayment {
    #[serde(rename = "account_name")]
    pub account: AccountName,
    #[serde(rename = "connector_name")]
    pub connector: ConnectorName,
    #[serde(rename = "trading_pair")]
    pub pair: Pair,
    #[serde(rename = "funding_payment_id", default)]
    pub key: Option<String>,
    #[serde(rename = "timestamp", deserialize_with = "times::iso")]
    pub at: Time,
    /// Above zero is received.
    #[serde(rename = "funding_payment", deserialize_with = "numbers::exact")]
    pub amount: Decimal,
    #[serde(rename = "funding_rate", default, deserialize_with = "numbers::maybe")]
    pub rate: Option<Decimal>,
    #[serde(rename = "fee_currency", default)]
    pub asset: Option<Asset>,
}

impl Hummingbot {
    /// The payments of an account for a pair within a window.
    ///
    /// The server brings the newest thousand and does not look at the time, so halving would not help: if those do not
    /// reach back to the window's beginning, that is a fault.
    pub async fn funding_payments(
        &self,
        account: &AccountName,
        connector: &ConnectorName,
        pair: &Pair,
        window: Window,
    ) -> Result<Vec<FundingPayment>, Fault> {
        let doing = format!("read the funding of {pair} of account {account} on {connector}");
        let question = Question::of(account, connector).within(window).pair(pair);
        let path = ["trading", "funding-payments"];
        let mut rows: Vec<FundingPayment> = self.page(&path, account, &question, &doing).await?;
        let reaches_back = rows.iter().any(|row| row.at.millis() < window.from_ms);
        if rows.len() >= PAGE_MAX && !reaches_back {
            return Err(Fault::new(doing, Why::TooMany { most: PAGE_MAX, place: format!("for {pair}") }));
        }
        rows.retain(|row| (window.from_ms..=window.to_ms).contains(&row.at.millis()));
        Ok(rows)
    }
}

impl Owned for FundingPayment {
    fn account(&self) -> &AccountName {
        &self.account
    }
}
