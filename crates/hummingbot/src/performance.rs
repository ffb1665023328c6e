//! What a bot's controllers say of their own success. It is their arithmetic, not ours: shown beside it, never booked.

use std::collections::BTreeMap;

use events::{Decimal, Pair, Price, Time, ledger::Side};
use serde::{Deserialize, Deserializer};

use crate::{BotName, ConnectorName, Fault, Hummingbot, numbers, times, trading};

/// One controller's figures, in the quote asset. A figure is absent where the controller has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Performance {
    #[serde(rename = "realized_pnl_quote", default, deserialize_with = "numbers::maybe")]
    pub realized_pnl: Option<Decimal>,
    #[serde(rename = "unrealized_pnl_quote", default, deserialize_with = "numbers::maybe")]
    pub unrealized_pnl: Option<Decimal>,
    #[serde(rename = "global_pnl_quote", default, deserialize_with = "numbers::maybe")]
    pub global_pnl: Option<Decimal>,
    #[serde(default, deserialize_with = "numbers::maybe")]
    pub volume_traded: Option<Decimal>,
    #[serde(rename = "positions_summary", default)]
    pub positions: Vec<PositionHeld>,
    /// How often its orders ended in which way: `CloseType.TAKE_PROFIT`.
    #[serde(rename = "close_type_counts", default)]
    pub closed: BTreeMap<String, u64>,
}

/// What a controller holds of one pair.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PositionHeld {
    #[serde(rename = "connector_name")]
    pub connector: ConnectorName,
    #[serde(rename = "trading_pair")]
    pub pair: Pair,
    /// Unknown of a position that is neither bought nor sold, such as a liquidity range.
    #[serde(default, deserialize_with = "side")]
    pub side: Option<Side>,
    #[serde(deserialize_with = "numbers::exact")]
    pub amount: Decimal,
    #[serde(default, deserialize_with = "price")]
    pub breakeven_price: Option<Price>,
    #[serde(rename = "unrealized_pnl_quote", default, deserialize_with = "numbers::maybe")]
    pub unrealized_pnl: Option<Decimal>,
    #[serde(rename = "realized_pnl_quote", default, deserialize_with = "numbers::maybe")]
    pub realized_pnl: Option<Decimal>,
    #[serde(rename = "cum_fees_quote", default, deserialize_with = "numbers::maybe")]
    pub fees: Option<Decimal>,
    #[serde(rename = "volume_traded_quote", default, deserialize_with = "numbers::maybe")]
    pub volume_traded: Option<Decimal>,
}

/// The last figures that the server noted of a controller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ControllerPerformance {
    #[serde(rename = "bot_name")]
    pub bot: BotName,
    #[serde(rename = "controller_id")]
    pub controller: String,
    pub status: String,
    #[serde(rename = "timestamp", deserialize_with = "times::iso")]
    pub at: Time,
    #[serde(default, deserialize_with = "or_none")]
    pub performance: Performance,
}

/// A controller's figures by its id, as a bot tells them.
#[derive(Deserialize)]
pub(crate) struct OfController {
    #[serde(default, deserialize_with = "or_none")]
    pub performance: Performance,
}

impl Hummingbot {
    /// The last figures of each of a bot's controllers. They stay when the bot dies: look at their time.
    pub async fn controller_performance_latest(&self, bot: &BotName) -> Result<Vec<ControllerPerformance>, Fault> {
        #[derive(Deserialize)]
        struct Told {
            data: Vec<ControllerPerformance>,
        }
        let doing = format!("read the performance of bot {bot}");
        let call = self.get(&["bot-orchestration", "controller-performance-latest"], doing);
        let mut told: Told = call.query("bot_name", bot).answer().await?;
        told.data.retain(|row| row.bot == *bot);
        Ok(told.data)
    }
}

pub(crate) fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Performance, D::Error> {
    Ok(Option::<Performance>::deserialize(deserializer)?.unwrap_or_default())
}

fn side<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Side>, D::Error> {
    Ok(trading::side(&std::borrow::Cow::<str>::deserialize(deserializer)?))
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    Ok(numbers::maybe(deserializer)?.map(Price))
}
