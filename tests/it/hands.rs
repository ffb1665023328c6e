//! The desk's hands against a Hummingbot on paper: what is wanted is done, and every fill that really happened stands in
//! the right client's ledger once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use events::{ClientId, Event, bot::BotEvent};
use paper::Settings;
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Database, Outside, Served};

use crate::desk::{Client, Desk, agrees, events_of, ledger};

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_deployed_fills_is_changed_and_stopped_and_its_ledger_is_the_truth() {
    let settings =
        Settings { prints_per_second: 40, archive_ms: 500, stop_ms: 100, heartbeat_ms: 1_000, ..Settings::default() };
    let (database, outside) = (Database::new().await, Outside::start(settings).await);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = outside.serve(&database, "api,projector,operator");
    command.env("RUST_LOG", "debug").stderr(log.reopen().unwrap());
    let served = Served::of(command);
    let desk = Desk { database, outside, served };
    let client = desk.onboard("acme").await;
    desk.connect(&client, "binance", "acme").await;
    let bot = desk.maker(&client, "maker", "binance", "BTC-USDT").await;
    desk.want(&client, &bot, "deploy", "d1").await;
    let running = desk.running(&client, &bot).await;
    let instance = running["instance"].as_str().unwrap().to_owned();
    desk.has_true_fills(&client, 5).await;

    let change = json!({"parameters": {"buy_spreads": "[0.0001]", "sell_spreads": "[0.0001]"}});
    let path = format!("/api/bots/{bot}/config");
    let changed =
        desk.served.command(reqwest::Method::PATCH, &client.token, &path, "c1", &change).send().await.unwrap();
    assert_eq!(changed.status(), 202);
    desk.until(&client, &format!("/api/bots/{bot}"), |bot| bot["config_applied"] == 2).await;
    let live = desk.outside.control(reqwest::Method::GET, &format!("/controllers/bots/{instance}/configs"), None).await;
    assert_eq!(live[0]["buy_spreads"], json!([0.0001]));
    // Hummingbot takes no config from now on: limits are none of its business.
    let faults = json!({"error_in_200": {"/controllers/": 1.0}});
    desk.outside.control(reqwest::Method::POST, "/paper/faults", Some(faults)).await;
    let limits = json!({"limits": {"loss_budget": "100000"}});
    let changed =
        desk.served.command(reqwest::Method::PATCH, &client.token, &path, "c2", &limits).send().await.unwrap();
    assert_eq!(changed.status(), 202);
    let limited = desk.until(&client, &format!("/api/bots/{bot}"), |bot| bot["config_applied"] == 3).await;
    assert_eq!((&limited["config"]["limits"]["loss_budget"], &limited["config_failure"]), (&json!("100000"), &Value::Null));

    desk.want(&client, &bot, "stop", "s1").await;
    let stopped = desk.until(&client, &format!("/api/bots/{bot}"), |bot| bot["answer"] == "stopped").await;
    assert_eq!(stopped["stop_reason"], "asked for");
    desk.archived(&client, &instance).await;
    let fills = agrees(&desk, &client, &BTreeMap::from([(instance, bot)])).await;
    assert!(fills >= 5);
    let exact = ledger(&desk.database, client.id).await.values().filter(|fill| fill.precision.is_none()).count();
    assert_eq!(exact, fills, "what the bot told itself is exact");
    // The key went through the vault and the operator to Hummingbot, and nowhere else.
    let (log, stream) =
        (std::fs::read_to_string(log.path()).unwrap(), format!("{:?}", events_of(&desk.database, client.id).await));
    assert!(log.contains("add-credential") || log.contains("es.take_lease"), "the log is not talkative enough");
    for secret in ["fake-acme-binance_api_key", "fake-acme-binance_api_secret", Outside::password()] {
        assert!(!log.contains(secret) && !stream.contains(secret), "{secret} shows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_trades_towards_a_volume_runs_within_its_caps_and_its_ledger_is_the_truth() {
    let settings = Settings { prints_per_second: 20, archive_ms: 300, stop_ms: 100, ..Settings::default() };
    let desk = Desk::open(settings).await;
    let client = desk.onboard("acme").await;
    desk.connect(&client, "okx", "acme").await;
    let limits = json!({"participation_cap": "0.9", "loss_budget": "100", "position_limit": "5"});
    let venue = json!({"exchange": "okx", "market": "spot", "pair": "ETH-USDT"});
    let parameters = json!({"max_order_amount": "0.01", "order_interval": "1"});
    let config = |limits: &Value| json!({"kind": "volume", "script": "v2_twap", "venue": venue, "parameters": parameters, "limits": limits});
    let uncapped = json!({"name": "uncapped", "config": config(&json!({}))});
    let refused = desk.served.post(&client.token, "/api/bots", "c0", &uncapped).await;
    assert!(refused.status == 422 && refused.text().contains("participation cap"), "{}", refused.text());
    let body = json!({"name": "volume", "config": config(&limits)});
    let created = desk.served.post(&client.token, "/api/bots", "c1", &body).await.json();
    let bot = created["bot_id"].as_str().unwrap().to_owned();
    desk.want(&client, &bot, "deploy", "d1").await;
    let instance = desk.running(&client, &bot).await["instance"].as_str().unwrap().to_owned();
    desk.has_true_fills(&client, 3).await;
    desk.want(&client, &bot, "stop", "s1").await;
    desk.archived(&client, &instance).await;
    assert!(agrees(&desk, &client, &BTreeMap::from([(instance, bot)])).await >= 3);
}

/// Whether it is a step of a deed, which whoever comes next goes on from.
fn is_step(event: &Event) -> bool {
    if let Event::Bot(told) = event {
        return !matches!(
            told,
            BotEvent::BotStateReported { .. }
                | BotEvent::BotSeenAlive { .. }
                | BotEvent::BotSilent { .. }
                | BotEvent::BotGapOpened { .. }
                | BotEvent::BotGapHealed { .. }
                | BotEvent::BotLogged { .. }
        );
    }
    matches!(event, Event::Credential(_))
}

/// Kills the operator as soon as a step stands in the stream and starts another, once a step, until one stands there that
/// is the last. (Killed each time that a key was opened, it would never get further than to open it again.)
async fn kill_at_each_step(desk: &Desk, client: &Client, reached: &mut u64, until: impl Fn(&Event) -> bool) -> usize {
    let db = desk.database.pool(Login::Projector);
    let (mut operator, mut killed_at, since) = (operator(desk), BTreeSet::new(), Instant::now());
    loop {
        assert!(since.elapsed() < Duration::from_secs(90), "it does not get further than {killed_at:?}");
        let events = read::after(&db, client.id, *reached, 100).await.unwrap();
        *reached = events.last().map_or(*reached, |event| event.seq);
        if events.iter().any(|event| until(&event.event)) {
            return killed_at.len();
        }
        if events.iter().any(|event| is_step(&event.event) && killed_at.insert(event.event.event_type())) {
            operator.kill();
            operator = self::operator(desk);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn operator(desk: &Desk) -> Served {
    Served::of(desk.outside.serve(&desk.database, "operator"))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_step_of_each_deed_the_next_one_goes_on_and_does_nothing_twice() {
    let settings = Settings { prints_per_second: 100, archive_ms: 300, stop_ms: 100, ..Settings::default() };
    let (database, outside) = (Database::new().await, Outside::start(settings).await);
    let served = Served::start(&database, "api,projector");
    let desk = Desk { database, outside, served };
    let client = desk.onboard("acme").await;
    desk.give_key(&client, "binance", "acme").await;
    let bot = desk.maker(&client, "maker", "binance", "BTC-USDT").await;
    desk.want(&client, &bot, "deploy", "d1").await;
    let mut reached = 0;
    let deployed = |event: &Event| matches!(event, Event::Bot(BotEvent::BotDeployed { .. }));
    let mut kills = kill_at_each_step(&desk, &client, &mut reached, deployed).await;
    let change = json!({"parameters": {"buy_spreads": "[0.0001]"}});
    let path = format!("/api/bots/{bot}/config");
    desk.served.command(reqwest::Method::PATCH, &client.token, &path, "c1", &change).send().await.unwrap();
    let applied = |event: &Event| matches!(event, Event::Bot(BotEvent::BotConfigApplied { .. }));
    kills += kill_at_each_step(&desk, &client, &mut reached, applied).await;
    desk.want(&client, &bot, "stop", "s1").await;
    let archived = |event: &Event| matches!(event, Event::Bot(BotEvent::BotArchived { .. }));
    kills += kill_at_each_step(&desk, &client, &mut reached, archived).await;
    let rotated = desk.rotate_key(&client, "binance", "acme-2").await;
    let active = move |event: &Event| matches!(event, Event::Credential(events::credential::CredentialEvent::CredentialActive { at, .. }) if *at > rotated);
    kills += kill_at_each_step(&desk, &client, &mut reached, active).await;
    desk.revoke_key(&client, "binance").await;
    let revoked = |event: &Event| {
        matches!(event, Event::Credential(events::credential::CredentialEvent::CredentialRevoked { .. }))
    };
    kills += kill_at_each_step(&desk, &client, &mut reached, revoked).await;
    assert!(kills >= 9, "{kills}");
    let instances = instances(&desk.database, client.id).await;
    assert_eq!(instances.len(), 1, "one wish, one instance");
    let path = format!("/bot-orchestration/bot-runs?account_name={}", client.id);
    let runs = desk.outside.control(reqwest::Method::GET, &path, None).await;
    assert_eq!(runs["data"].as_array().unwrap().len(), 1, "{runs}");
    agrees(&desk, &client, &instances).await;
    let keys = desk.outside.control(reqwest::Method::GET, &format!("/accounts/{}/credentials", client.id), None).await;
    assert_eq!(keys, json!([]), "the key is out of Hummingbot again");
}

/// Which bot each instance is of.
async fn instances(database: &Database, client: ClientId) -> BTreeMap<String, String> {
    let told = events_of(database, client).await;
    let mut of = BTreeMap::new();
    for (bot, event) in told {
        if let Event::Bot(BotEvent::BotDeployed { instance, .. }) = event {
            of.insert(instance, bot);
        }
    }
    of
}

#[tokio::test(flavor = "multi_thread")]
async fn a_falling_price_trips_the_breaker_which_stops_the_bot_on_the_exchange_and_says_why() {
    let settings = Settings { prints_per_second: 60, archive_ms: 300, stop_ms: 100, ..Settings::default() };
    let desk = Desk::open(settings).await;
    let client = desk.onboard("acme").await;
    desk.connect(&client, "binance", "acme").await;
    let bot = desk.maker(&client, "maker", "binance", "BTC-USDT").await;
    let limits = json!({"limits": {"drawdown_limit": "20", "side_imbalance_max": "0.9"}});
    let path = format!("/api/bots/{bot}/config");
    desk.served.command(reqwest::Method::PATCH, &client.token, &path, "c1", &limits).send().await.unwrap();
    desk.want(&client, &bot, "deploy", "d1").await;
    let instance = desk.running(&client, &bot).await["instance"].as_str().unwrap().to_owned();
    desk.has_true_fills(&client, 3).await;
    let fall = json!({"connector": "binance", "trading_pair": "BTC-USDT", "percent": "30", "prints": 100});
    desk.outside.control(reqwest::Method::POST, "/paper/shock", Some(fall)).await;
    let stopped = desk.until(&client, &format!("/api/bots/{bot}"), |bot| bot["answer"] == "stopped").await;
    let reason = stopped["stop_reason"].as_str().unwrap();
    assert!(reason.contains("passed the limit of"), "{reason}");
    assert!(["drawdown_limit", "side_imbalance_max"].contains(&stopped["broken_limit"].as_str().unwrap()), "{stopped}");
    let status =
        desk.outside.control(reqwest::Method::GET, &format!("/bot-orchestration/{instance}/status"), None).await;
    assert_ne!(status["data"]["status"], "running", "{status}");
    desk.archived(&client, &instance).await;
    agrees(&desk, &client, &BTreeMap::from([(instance, bot)])).await;
}
