//! What an account holds on one exchange, in units. The server's prices and values are not read: they can stand still for
//! minutes without a sign, every asset with USD in its name counts 1, and what has no price counts 0.

use std::collections::BTreeMap;

use events::{AccountName, Asset, Decimal};
use serde::{Deserialize, Serialize};

use crate::{ConnectorName, Fault, Hummingbot, Why, numbers};

/// What an account holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balances {
    pub held: Vec<Balance>,
    /// Names that are no assets here, such as those of some exchanges' savings products. What they hold is not told.
    pub unnamed: Vec<String>,
}

/// How much of one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    pub asset: Asset,
    pub total: Decimal,
    /// What is not bound in open orders.
    pub available: Decimal,
}

#[derive(Serialize)]
struct Question<'a> {
    account_names: [&'a AccountName; 1],
    connector_names: [&'a ConnectorName; 1],
    skip_gateway: bool,
    refresh: bool,
}

#[derive(Deserialize)]
struct Told {
    token: String,
    #[serde(deserialize_with = "numbers::exact")]
    units: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    available_units: Decimal,
}

type Accounts = BTreeMap<AccountName, BTreeMap<String, Vec<Told>>>;

impl Hummingbot {
    /// What an account holds on a connector; absent, when the server does not know it there. What is not listed it does not
    /// hold. `refresh` asks the exchange now, otherwise it is what the server saw last.
    pub async fn portfolio_state(
        &self,
        account: &AccountName,
        connector: &ConnectorName,
        refresh: bool,
    ) -> Result<Option<Balances>, Fault> {
        let question = Question { account_names: [account], connector_names: [connector], skip_gateway: true, refresh };
        let doing = format!("read the balances of account {account} on {connector}");
        let call = self.ask(&["portfolio", "state"], &doing).body(&question);
        let mut told: Accounts = call.patience(self.patience.feed).answer().await?;
        if let Some(other) = told.keys().find(|name| *name != account) {
            return Err(Fault { doing, why: Why::OtherAccount(other.clone()) });
        }
        let held = told.remove(account).and_then(|mut connectors| connectors.remove(connector.as_str()));
        Ok(held.map(|held| held.into_iter().fold(Balances::default(), Balances::with)))
    }
}

impl Balances {
    fn with(mut self, told: Told) -> Self {
        match told.token.parse() {
            Ok(asset) => self.held.push(Balance { asset, total: told.units, available: told.available_units }),
            Err(_) => self.unnamed.push(told.token),
        }
        self
    }
}
