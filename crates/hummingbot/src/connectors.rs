//! What the server can connect to, and what each connector asks for and allows.

use std::collections::BTreeMap;

use events::{Amount, Decimal, Pair, Price};
use serde::{Deserialize, Serialize};

use crate::{ConnectorName, Fault, Hummingbot, numbers};

/// The credential fields of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMap {
    pub connector: ConnectorName,
    pub fields: Vec<Field>,
}

/// One credential field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// Whether Hummingbot itself insists on it. We send every field all the same.
    pub required: bool,
    pub secret: bool,
    /// The only values that it may have; any, when there are none.
    pub allowed_values: Vec<String>,
}

/// How an order is put to the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderType {
    Limit,
    /// A limit order that the exchange refuses rather than let it take.
    LimitMaker,
    Market,
}

/// What an exchange allows for a pair. A bound that Hummingbot has no word on is one of its huge or tiny numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingRule {
    pub amount_min: Option<Amount>,
    pub amount_max: Option<Amount>,
    pub amount_step: Option<Amount>,
    pub price_step: Option<Price>,
    /// In the quote asset.
    pub notional_min: Option<Decimal>,
    pub limit_orders: bool,
    pub market_orders: bool,
}

#[derive(Deserialize)]
struct FieldTold {
    #[serde(rename = "type")]
    kind: String,
    required: bool,
    #[serde(default)]
    allowed_values: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RuleTold {
    #[serde(default, deserialize_with = "numbers::maybe")]
    min_order_size: Option<Decimal>,
    #[serde(default, deserialize_with = "numbers::maybe")]
    max_order_size: Option<Decimal>,
    #[serde(default, deserialize_with = "numbers::maybe")]
    min_price_increment: Option<Decimal>,
    #[serde(default, deserialize_with = "numbers::maybe")]
    min_base_amount_increment: Option<Decimal>,
    #[serde(default, deserialize_with = "numbers::maybe")]
    min_notional_size: Option<Decimal>,
    supports_limit_orders: bool,
    supports_market_orders: bool,
}

impl Hummingbot {
    /// Every connector that the server knows.
    pub async fn connectors(&self) -> Result<Vec<ConnectorName>, Fault> {
        self.get(&["connectors", ""], "list the connectors").answer().await
    }

    /// The credential fields of a connector, by name. An unknown connector is a server failure (500).
    pub async fn config_map(&self, connector: &ConnectorName) -> Result<ConfigMap, Fault> {
        let doing = format!("read the credential fields of {connector}");
        let call = self.get(&["connectors", connector.as_str(), "config-map"], doing);
        let told: BTreeMap<String, FieldTold> = call.answer().await?;
        Ok(ConfigMap { connector: connector.clone(), fields: told.into_iter().map(Field::from).collect() })
    }

    /// What an exchange allows for some pairs.
    pub async fn trading_rules(
        &self,
        connector: &ConnectorName,
        pairs: &[Pair],
    ) -> Result<BTreeMap<Pair, TradingRule>, Fault> {
        let call = self.get(
            &["connectors", connector.as_str(), "trading-rules"],
            format!("read the trading rules of {connector}"),
        );
        let call = pairs.iter().fold(call, |call, pair| call.query("trading_pairs", pair));
        let told: BTreeMap<Pair, RuleTold> = call.patience(self.patience.feed).answer().await?;
        Ok(told.into_iter().map(|(pair, rule)| (pair, rule.into())).collect())
    }

    /// The kinds of orders that a connector takes.
    pub async fn order_types(&self, connector: &ConnectorName) -> Result<Vec<OrderType>, Fault> {
        #[derive(Deserialize)]
        struct Told {
            supported_order_types: Vec<String>,
        }
        let doing = format!("read the order types of {connector}");
        let told: Told = self.get(&["connectors", connector.as_str(), "order-types"], doing).answer().await?;
        Ok(told.supported_order_types.iter().filter_map(|name| OrderType::named(name)).collect())
    }
}

impl OrderType {
    /// The type of that name; there are others, of pools, which are no orders here.
    pub(crate) fn named(text: &str) -> Option<Self> {
        match text.strip_prefix("OrderType.").unwrap_or(text) {
            "LIMIT" => Some(Self::Limit),
            "LIMIT_MAKER" => Some(Self::LimitMaker),
            "MARKET" => Some(Self::Market),
            _ => None,
        }
    }
}

impl From<(String, FieldTold)> for Field {
    fn from((name, told): (String, FieldTold)) -> Self {
        let FieldTold { kind, required, allowed_values } = told;
        Self { name, required, secret: kind == "SecretStr", allowed_values: allowed_values.unwrap_or_default() }
    }
}

impl From<RuleTold> for TradingRule {
    fn from(told: RuleTold) -> Self {
        Self {
            amount_min: told.min_order_size.map(Amount),
            amount_max: told.max_order_size.map(Amount),
            amount_step: told.min_base_amount_increment.map(Amount),
            price_step: told.min_price_increment.map(Price),
            notional_min: told.min_notional_size,
            limit_orders: told.supports_limit_orders,
            market_orders: told.supports_market_orders,
        }
    }
}
