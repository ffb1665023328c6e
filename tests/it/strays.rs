//! Calls to deploy that land when nobody counts on them any more: what comes of them is told of, stopped and put away, and
//! every fill that they made stands in the bot's ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use events::{Event, bot::BotEvent};
use paper::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::desk::{Client, Desk, agrees, events_of};

const PATIENCE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings { prints_per_second: 60, heartbeat_ms: 1_000, archive_ms: 300, stop_ms: 100, ..Settings::default() }
}

impl Desk {
    /// Strays have a while to trade before they are found.
    async fn deploys_land_after(&self, ms: u32) {
        let faults = json!({
            "late_ms": {"/bot-orchestration/deploy": ms},
            "latency_ms": {"/bot-orchestration/mqtt": 2_500},
        });
        self.outside.control(Method::POST, "/paper/faults", Some(faults)).await;
    }

    /// Waits until so many events of a client's bots are like this; all of them.
    async fn told(&self, client: &Client, at_least: usize, is_it: impl Fn(&BotEvent) -> bool) -> Vec<BotEvent> {
        let since = Instant::now();
        loop {
            let all = events_of(&self.database, client.id).await.into_iter();
            let bots = all.filter_map(|(_, event)| if let Event::Bot(told) = event { Some(told) } else { None });
            let found: Vec<BotEvent> = bots.filter(&is_it).collect();
            if found.len() >= at_least {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "only {found:?} came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What runs of a client's at Hummingbot, and all that ever did.
    async fn instances(&self, client: &Client) -> (Vec<String>, BTreeSet<String>) {
        let path = format!("/bot-orchestration/bot-runs?account_name={}&limit=100", client.id);
        let runs = self.outside.control(Method::GET, &path, None).await;
        let name = |run: &Value| run["bot_name"].as_str().unwrap().to_owned();
        let runs = runs["data"].as_array().unwrap();
        let left = runs.iter().filter(|run| run["deployment_status"] == "DEPLOYED").map(name).collect();
        (left, runs.iter().map(name).collect())
    }

    /// Strays that were put away, each once.
    async fn put_away(&self, client: &Client, at_least: usize) -> BTreeSet<String> {
        let found = self.told(client, at_least, |told| matches!(told, BotEvent::BotStrayFound { .. })).await;
        let strays: BTreeSet<String> = found.iter().filter_map(instance_of).collect();
        assert_eq!(strays.len(), found.len(), "{found:?}");
        let is_archived = |told: &BotEvent| {
            matches!(told, BotEvent::BotArchived { .. }) && instance_of(told).is_some_and(|it| strays.contains(&it))
        };
        self.told(client, strays.len(), is_archived).await;
        let stopped = self.told(client, strays.len(), |told| matches!(told, BotEvent::BotStrayStopped { .. })).await;
        assert_eq!(stopped.iter().filter_map(instance_of).collect::<BTreeSet<_>>(), strays);
        strays
    }
}

fn instance_of(told: &BotEvent) -> Option<String> {
    if let BotEvent::BotStrayFound { instance, .. }
    | BotEvent::BotStrayStopped { instance, .. }
    | BotEvent::BotArchived { instance, .. } = told
    {
        return Some(instance.clone());
    }
    None
}

fn is_start(told: &BotEvent) -> bool {
    matches!(told, BotEvent::BotDeployStarted { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_calls_that_land_one_instance_is_left_and_the_ledger_is_the_truth() {
    let desk = Desk::open(settings()).await;
    let client = desk.onboard("acme").await;
    desk.connect(&client, "binance", "acme").await;
    let bot = desk.maker(&client, "maker", "binance", "BTC-USDT").await;
    desk.deploys_land_after(9_000).await;
    desk.want(&client, &bot, "deploy", "d1").await;
    // The first call is given up by then, and another goes out; the next one after that lands at once.
    desk.told(&client, 2, is_start).await;
    desk.deploys_land_after(0).await;
    let instance = desk.running(&client, &bot).await["instance"].as_str().unwrap().to_owned();
    let strays = desk.put_away(&client, 1).await;
    assert!(!strays.contains(&instance));
    let since = Instant::now();
    loop {
        // A second late one may still be on its way.
        let (left, all) = desk.instances(&client).await;
        let calls = desk.told(&client, 2, is_start).await.len();
        if left == [instance.clone()] && all.len() == calls {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{left:?} of {all:?} are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(desk.running(&client, &bot).await["instance"], *instance);
    desk.has_true_fills(&client, 5).await;
    let (_, all) = desk.instances(&client).await;
    desk.put_away(&client, all.len() - 1).await;
    assert!(open_orders(&desk, &client, &instance).await.is_empty(), "what a stray ordered still rests");

    desk.want(&client, &bot, "stop", "s1").await;
    desk.archived(&client, &instance).await;
    let bots: BTreeMap<String, String> = all.into_iter().map(|instance| (instance, bot.clone())).collect();
    agrees(&desk, &client, &bots).await;
    let by_strays = desk.outside.true_fills(&client.id.to_string()).await;
    assert!(by_strays.values().any(|fill| fill["bot"] != *instance), "no stray traded: there was nothing to attribute");
    let history = desk.served.ask(&client.token, &format!("/api/bots/{bot}/history")).await.json();
    let lines: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert!(lines.contains(&"stray_found") && lines.contains(&"stray_stopped"), "{lines:?}");
}

/// Orders that rest at the exchange and are of other instances than this one.
async fn open_orders(desk: &Desk, client: &Client, but: &str) -> Vec<Value> {
    let truth = desk.outside.truth().await;
    let orders = truth["orders"].as_array().unwrap().iter();
    let own = orders.filter(|order| order["account"] == client.id.to_string() && order["status"] == "open");
    own.filter(|order| order["bot"] != but).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_lands_when_its_bot_was_stopped_long_ago_is_put_away_too() {
    let desk = Desk::open(settings()).await;
    let client = desk.onboard("acme").await;
    desk.connect(&client, "binance", "acme").await;
    let bot = desk.maker(&client, "maker", "binance", "BTC-USDT").await;
    desk.deploys_land_after(8_000).await;
    desk.want(&client, &bot, "deploy", "d1").await;
    desk.told(&client, 1, is_start).await;
    desk.want(&client, &bot, "stop", "s1").await;
    let stopped = |told: &BotEvent| matches!(told, BotEvent::BotStopped { .. });
    desk.told(&client, 1, stopped).await;
    let (_, none) = desk.instances(&client).await;
    assert!(none.is_empty(), "it landed too early to show anything: {none:?}");
    let strays = desk.put_away(&client, 1).await;
    let (left, all) = desk.instances(&client).await;
    assert_eq!((left, &all), (vec![], &strays));
    assert!(open_orders(&desk, &client, "").await.is_empty());
    let bots: BTreeMap<String, String> = all.into_iter().map(|instance| (instance, bot.clone())).collect();
    agrees(&desk, &client, &bots).await;
    let told = desk.served.ask(&client.token, &format!("/api/bots/{bot}")).await.json();
    assert_eq!((&told["desired"], &told["answer"]), (&json!("stopped"), &json!("stopped")));
}
