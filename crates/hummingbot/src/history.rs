//! A bot's fills as the bot itself remembers them: all of them, also after it stopped, but at six decimals.

use std::time::{Duration, Instant};

use events::{Amount, OrderId, Pair, Price, Time, TradeId, ledger::Side};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{BotName, ConnectorName, Fault, Hummingbot, RoundedFees, TradeFee, numbers, times, trading};

/// Calls this close share the reply topic of the server, which is a millisecond; two keep them apart for certain.
const APART: Duration = Duration::from_millis(2);
/// The end of the last history call of this process: the next one waits for it.
static LAST: Mutex<Option<Instant>> = Mutex::const_new(None);

/// A fill whose price and amount were rounded to six decimals on the way. For a price like 0.00001215 that is an error of
/// up to 4 %: it says that there was a fill, and gives way to the exact one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundedTrade {
    pub connector: ConnectorName,
    pub pair: Pair,
    pub trade: TradeId,
    /// Known from the archive only.
    pub order: Option<OrderId>,
    pub side: Side,
    pub price: Price,
    pub amount: Amount,
    pub fees: RoundedFees,
    /// The bot's clock tick, in whole seconds on most exchanges: neither a key nor a cursor.
    pub at: Time,
}

/// How far back a history reaches, by the bot's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Beginning,
    Ago(Duration),
}

const DAY: Duration = Duration::from_hours(24);

/// The bot's own answer, over HTTP and MQTT alike.
#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    pub trades: Vec<RoundedTrade>,
}

#[derive(Deserialize)]
struct Told {
    market: ConnectorName,
    trade_id: TradeId,
    #[serde(deserialize_with = "numbers::exact")]
    price: events::Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    quantity: events::Decimal,
    symbol: Pair,
    #[serde(deserialize_with = "times::millis")]
    trade_timestamp: Time,
    #[serde(deserialize_with = "trading::told_side")]
    trade_type: Side,
    #[serde(default)]
    raw_json: Raw,
}

#[derive(Default, Deserialize)]
struct Raw {
    #[serde(default)]
    trade_fee: Option<TradeFee>,
}

impl Hummingbot {
    /// A bot's fills, asked of it by the server. One call at a time in this process: the server mixes up the answers of
    /// calls that come within a millisecond, and may still answer with the trades of a bot that **another process** asked
    /// for. Each fill must be proved to be this bot's before it is recorded; [`crate::mqtt::Bots::history`] cannot mix.
    pub async fn history(&self, bot: &BotName, since: Since) -> Result<Vec<RoundedTrade>, Fault> {
        #[derive(Deserialize)]
        struct Told {
            response: Response,
        }
        #[derive(Deserialize)]
        struct Response {
            data: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            data: serde_json::Value,
        }
        let call = self.get(&["bot-orchestration", bot.as_str(), "history"], format!("read the history of bot {bot}"));
        let doing = call.doing();
        let call = call
            .query("days", since.whole_days())
            .query("timeout", self.patience.history.as_secs().saturating_sub(5).max(1));
        let told: Told = alone(call.patience(self.patience.history).answer()).await?;
        trades(told.response.data.data).map_err(|why| Fault { doing, why })
    }
}

/// Runs after the history call before it, and far enough behind it.
async fn alone<T>(call: impl Future<Output = T>) -> T {
    let mut last = LAST.lock().await;
    if let Some(rest) = last.and_then(|last| APART.checked_sub(last.elapsed())) {
        tokio::time::sleep(rest).await;
    }
    let told = call.await;
    *last = Some(Instant::now());
    told
}

/// The trades of a bot's answer, unless it holds a refusal.
pub(crate) fn trades(data: serde_json::Value) -> Result<Vec<RoundedTrade>, crate::Why> {
    let status = data.get("status").and_then(serde_json::Value::as_u64).unwrap_or(200);
    if status != 200 {
        let reason = data.get("msg").and_then(serde_json::Value::as_str).unwrap_or("without a reason");
        let reason = crate::scrub::scrub(reason, []);
        return Err(crate::Why::Refused { status: u16::try_from(status).unwrap_or(400), reason });
    }
    let read: Result<Answer, _> = serde_path_to_error::deserialize(data);
    read.map(|answer| answer.trades).map_err(|cause| crate::Why::Unreadable(cause.to_string()))
}

impl Since {
    /// In the bots' words: days and parts of a day, of which zero is all.
    pub(crate) fn days(self) -> f64 {
        match self {
            Self::Beginning => 0.0,
            Self::Ago(back) => back.max(Duration::from_secs(1)).div_duration_f64(DAY),
        }
    }

    /// In the server's words, which knows no parts of a day.
    fn whole_days(self) -> u16 {
        match self {
            Self::Beginning => 0,
            Self::Ago(back) => u16::try_from(back.as_secs() / DAY.as_secs() + 1).unwrap_or(u16::MAX),
        }
    }
}

impl<'de> Deserialize<'de> for RoundedTrade {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = Told::deserialize(deserializer)?;
        Ok(Self {
            connector: told.market,
            pair: told.symbol,
            trade: told.trade_id,
            order: None,
            side: told.trade_type,
            price: Price(told.price),
            amount: Amount(told.quantity),
            fees: told.raw_json.trade_fee.map_or(RoundedFees::Untold, RoundedFees::Charged),
            at: told.trade_timestamp,
        })
    }
}
