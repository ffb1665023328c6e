//! What a bot is asked, and its answers as values.

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, value::RawValue};

use super::{Bots, said::json, topic};
use crate::{BotName, Fault, RoundedTrade, Since, Start, Why, history};

/// The envelope of every answer.
#[derive(Deserialize)]
struct Answer {
    data: Box<RawValue>,
}

/// How the bot says that it did what was asked.
#[derive(Deserialize)]
struct Outcome {
    #[serde(default = "good")]
    status: u16,
    #[serde(default)]
    msg: Option<Value>,
}

#[derive(Serialize)]
struct History {
    days: f64,
    verbose: bool,
    precision: Option<u32>,
    async_backend: bool,
}

#[derive(Serialize)]
struct Starting<'a> {
    #[serde(flatten)]
    start: &'a Start,
    async_backend: bool,
}

#[derive(Serialize)]
struct Stopping {
    skip_order_cancellation: bool,
    async_backend: bool,
}

#[derive(Serialize)]
struct Configuring<'a> {
    params: &'a [(String, Value)],
}

#[derive(Deserialize)]
struct Changes {
    #[serde(default)]
    changes: Vec<(String, Value)>,
}

const GOOD: u16 = 200;

const fn good() -> u16 {
    GOOD
}

impl Bots {
    /// A bot's fills as it remembers them, at six decimals. The answer is this bot's own: its topic is this call's alone.
    pub async fn history(&self, bot: &BotName, since: Since) -> Result<Vec<RoundedTrade>, Fault> {
        let question = History { days: since.days(), verbose: false, precision: None, async_backend: false };
        let told: history::Answer = self.ask(bot, "history", &question, "read the history of").await?;
        Ok(told.trades)
    }

    /// Starts a bot that stands idle.
    pub async fn start(&self, bot: &BotName, start: &Start) -> Result<(), Fault> {
        self.ask::<IgnoredAny>(bot, "start", &Starting { start, async_backend: true }, "start").await.map(drop)
    }

    /// Lets a bot cancel its orders and stop. It answers at once: a bot that is told to wait until it has stopped answers
    /// with an error of its own although it does stop.
    pub async fn stop(&self, bot: &BotName) -> Result<(), Fault> {
        let question = Stopping { skip_order_cancellation: false, async_backend: true };
        self.ask::<IgnoredAny>(bot, "stop", &question, "stop").await.map(drop)
    }

    /// Changes settings of a bot and tells which ones it took.
    pub async fn config(&self, bot: &BotName, settings: &[(String, Value)]) -> Result<Vec<(String, Value)>, Fault> {
        let told: Changes = self.ask(bot, "config", &Configuring { params: settings }, "configure").await?;
        Ok(told.changes)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        bot: &BotName,
        command: &str,
        question: &impl Serialize,
        doing: &str,
    ) -> Result<T, Fault> {
        let answered = self.asking.ask(&topic::command(bot, command), question).await;
        answered
            .and_then(|payload| read(&payload))
            .map_err(|why| Fault::new(format!("{doing} bot {bot} over MQTT"), why))
    }
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Why> {
    let answer: Answer = json(payload).map_err(Why::Unreadable)?;
    let data = answer.data.get().as_bytes();
    let outcome: Outcome = json(data).map_err(Why::Unreadable)?;
    if outcome.status != GOOD {
        let said = outcome.msg.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty());
        let reason = crate::scrub::scrub(said.unwrap_or("without a reason"), []);
        return Err(Why::Refused { status: outcome.status, reason });
    }
    json(data).map_err(Why::Unreadable)
}
