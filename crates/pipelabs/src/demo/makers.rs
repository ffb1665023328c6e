//! The market makers: their clients give keys, have them made and deployed, and stopped in the end, all over HTTP as anybody
//! does.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use anyhow::{Context, bail, ensure};
use domain::bot::Bot;
use events::{BotId, Exchange};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use store::Streams;
use tokio::time::{Instant, sleep};

use super::{step, visitor::Visitor};

/// Whose they are, what they are called, and where they trade.
const MAKERS: [(&str, &str, Exchange, &str); 5] = [
    ("acme", "btc-bybit", Exchange::Bybit, "BTC-USDT"),
    ("acme", "eth-gate", Exchange::GateIo, "ETH-USDT"),
    ("acme", "btc-bitmart", Exchange::Bitmart, "BTC-USDT"),
    ("borealis", "btc-kucoin", Exchange::Kucoin, "BTC-USDT"),
    ("borealis", "eth-okx", Exchange::Okx, "ETH-USDT"),
];
/// The client with keys for every exchange.
const EVERYWHERE: &str = "acme";
/// How long what was asked for may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A bot as the API tells it, as far as it is looked at here.
#[derive(Debug, Deserialize)]
struct Known {
    bot_id: BotId,
    name: String,
    desired: String,
    answer: Option<String>,
    failure: Option<String>,
}

/// What an exchange asks for.
#[derive(Deserialize)]
struct Asked {
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    required: bool,
}

/// Keys of the exchanges that a client trades on. They open nothing: their exchanges are on paper.
pub async fn connect(visitor: &mut Visitor) -> anyhow::Result<()> {
    let exchanges = exchanges_of(visitor);
    for exchange in &exchanges {
        let asked: Asked = visitor.get(&format!("/api/exchanges/{exchange}/fields")).await?;
        let required = asked.fields.into_iter().filter(|field| field.required);
        let fields = required.map(|field| (format!("fake-{}-{}", visitor.slug, field.name), field.name));
        let fields: BTreeMap<String, String> = fields.map(|(value, name)| (name, value)).collect();
        let key = json!({"exchange": exchange, "market": "spot", "fields": fields});
        let _: Value = visitor.post("/api/clients/credentials", &format!("key-{exchange}"), &key).await?;
    }
    let all = exchanges.len();
    let active = |told: &Value| told.as_array().into_iter().flatten().filter(|key| key["state"] == "active").count();
    until(visitor, "/api/clients/credentials", |told: &Value| active(told) == all).await?;
    if all > 0 {
        let names: Vec<String> = exchanges.iter().map(ToString::to_string).collect();
        step(&format!("{}: fake keys for {} are active", visitor.slug, names.join(", ")));
    }
    Ok(())
}

fn exchanges_of(visitor: &Visitor) -> Vec<Exchange> {
    let own =
        |exchange: &Exchange| MAKERS.iter().any(|(slug, _, at, _)| *slug == visitor.slug.as_str() && at == exchange);
    let everywhere = visitor.slug.as_str() == EVERYWHERE;
    Exchange::ALL.into_iter().filter(|exchange| everywhere || own(exchange)).collect()
}

/// A client's market makers, once all of them run.
pub async fn deploy(visitor: &mut Visitor) -> anyhow::Result<()> {
    let (mut asked, slug) = (Vec::new(), visitor.slug.clone());
    for (_, name, exchange, pair) in MAKERS.iter().filter(|(of, ..)| *of == slug.as_str()) {
        let bot = json!({"name": name, "config": config(*exchange, pair)});
        let created: Value = visitor.post("/api/bots", &format!("create-{name}"), &bot).await?;
        let bot = created["bot_id"].as_str().context("the API tells no bot")?.to_owned();
        let _: Value = visitor.post(&format!("/api/bots/{bot}/deploy"), &format!("deploy-{name}"), &json!({})).await?;
        asked.push(bot);
    }
    for bot in asked {
        let known = until(visitor, &format!("/api/bots/{bot}"), |bot: &Known| bot.answer.is_some()).await?;
        if known.answer.as_deref() != Some("deployed") {
            bail!("{} could not be deployed: {}", known.name, known.failure.unwrap_or_default());
        }
        step(&format!("{}: {} makes its market", visitor.slug, known.name));
    }
    Ok(())
}

/// What a market maker is told to do.
pub fn config(exchange: Exchange, pair: &str) -> Value {
    json!({
        "controller": "pmm_simple",
        "venue": {"exchange": exchange, "market": "spot", "pair": pair},
        "parameters": {
            "total_amount_quote": "2000",
            "buy_spreads": "[0.0001,0.0003]",
            "sell_spreads": "[0.0001,0.0003]",
            "executor_refresh_time": "2",
            "cooldown_time": "1",
        },
    })
}

/// Stops all bots of a client that run, whoever deployed them, and returns when they are put away; how many.
pub async fn stop(visitor: &mut Visitor, streams: &Streams) -> anyhow::Result<usize> {
    let bots: Vec<Known> = visitor.get("/api/bots").await?;
    for bot in bots.iter().filter(|bot| bot.desired == "running") {
        let id = bot.bot_id;
        let reason = json!({"reason": "the demo ends"});
        let _: Value = visitor.post(&format!("/api/bots/{id}/stop"), &format!("end-{id}"), &reason).await?;
    }
    for bot in &bots {
        put_away(visitor, streams, bot).await?;
    }
    Ok(bots.iter().filter(|bot| bot.desired == "running").count())
}

/// Waits until nothing is to be done for a bot.
async fn put_away(visitor: &Visitor, streams: &Streams, bot: &Known) -> anyhow::Result<()> {
    let late = Instant::now() + PATIENCE;
    loop {
        let (known, _) = streams.load::<Bot>(visitor.client, &bot.bot_id.to_string()).await?;
        let Some(task) = known.task() else { return Ok(()) };
        ensure!(Instant::now() < late, "{} was not put away: {task:?} is still to be done", bot.name);
        sleep(LOOK_AGAIN).await;
    }
}

/// Asks until the answer is the one that is waited for. What was only just asked for may not be seen yet.
async fn until<T>(visitor: &mut Visitor, path: &str, is_it: impl Fn(&T) -> bool) -> anyhow::Result<T>
where
    T: DeserializeOwned + Debug,
{
    let late = Instant::now() + PATIENCE;
    loop {
        let told = visitor.get::<T>(path).await;
        match told {
            Ok(told) if is_it(&told) => return Ok(told),
            Ok(told) => ensure!(Instant::now() < late, "{path} still says {told:?}"),
            Err(fault) => ensure!(Instant::now() < late, "{path} cannot be asked: {fault:#}"),
        }
        sleep(LOOK_AGAIN).await;
    }
}
