//! A bot's fills as the bot itself remembers them: all of them, also after it stopped, but at six decimals.

use std::time::{Duration, Instant};

use events::{Amount, OrderId, Pair, Price, Time, TradeId, ledger::Side};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::{
    BotName, ConnectorName, Fault, Hummingbot, RoundedFees, TradeFee,
    as_written::{self, AsWritten},
    numbers, times, trading,
};

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
    /// The row as its source wrote it.
    pub raw: AsWritten,
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
            data: Box<RawValue>,
        }
        let call = self.get(&["bot-orchestration", bot.as_str(), "history"], format!("read the history of bot {bot}"));
        let doing = call.doing();
        let call = call
            .query("days", since.whole_days())
            .query("timeout", self.patience.history.as_secs().saturating_sub(5).max(1));
        let told: Told = alone(call.patience(self.patience.history).answer()).await?;
        trades(told.response.data.data.get()).map_err(|why| Fault { doing, why })
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
fn trades(data: &str) -> Result<Vec<RoundedTrade>, crate::Why> {
    #[derive(Deserialize)]
    struct Outcome {
        #[serde(default)]
        status: Option<u64>,
        #[serde(default)]
        msg: Option<serde_json::Value>,
    }
    let unreadable = |cause: String| crate::Why::Unreadable(cause);
    let outcome: Outcome = serde_json::from_str(data).map_err(|cause| unreadable(cause.to_string()))?;
    if let Some(status) = outcome.status.filter(|status| *status != 200) {
        let said = outcome.msg.as_ref().and_then(serde_json::Value::as_str);
        let reason = crate::scrub::scrub(said.unwrap_or("without a reason"), []);
        return Err(crate::Why::Refused { status: u16::try_from(status).unwrap_or(400), reason });
    }
    let mut json = serde_json::Deserializer::from_str(data);
    let read: Result<Answer, _> = serde_path_to_error::deserialize(&mut json);
    read.map(|answer| answer.trades).map_err(|cause| unreadable(cause.to_string()))
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
        let (told, raw): (Told, _) = as_written::read(deserializer)?;
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
            raw,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::tolerant;

    #[test]
    fn a_row_keeps_its_own_text_and_a_refusal_is_none() {
        let row = r#"{"market":"binance", "trade_id":"7","price":1.215e-05,"quantity":"3","symbol":"PEPE-USDT","trade_timestamp":1723161600000,"trade_type":"BUY","age":NaN}"#;
        let told = format!(r#"{{"status":200,"msg":"","trades":[ {row} ]}}"#);
        let trades = trades(std::str::from_utf8(&tolerant(told.as_bytes())).unwrap()).unwrap();
        assert_eq!(trades[0].raw.as_bytes(), row.replace("NaN", "null").as_bytes());
        assert_eq!(trades[0].price.to_string(), "0.00001215");
        let refused = super::trades(r#"{"status":400,"msg":"not now","trades":[]}"#).unwrap_err();
        assert_eq!(refused, crate::Why::Refused { status: 400, reason: "not now".into() });
    }
}
