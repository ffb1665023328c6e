//! The desk's hands against a Hummingbot on paper: what is wanted is done, and every fill that really happened stands in
//! the right client's ledger once.

use std::collections::BTreeMap;

use paper::Settings;
use serde_json::json;

use crate::desk::{Desk, agrees, ledger};

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_deployed_fills_is_changed_and_stopped_and_its_ledger_is_the_truth() {
    let settings =
        Settings { prints_per_second: 40, archive_ms: 500, stop_ms: 100, heartbeat_ms: 1_000, ..Settings::default() };
    let desk = Desk::open(settings).await;
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

    desk.want(&client, &bot, "stop", "s1").await;
    let stopped = desk.until(&client, &format!("/api/bots/{bot}"), |bot| bot["answer"] == "stopped").await;
    assert_eq!(stopped["stop_reason"], "asked for");
    desk.archived(&client, &instance).await;
    let fills = agrees(&desk, &client, &BTreeMap::from([(instance, bot)])).await;
    assert!(fills >= 5);
    let exact = ledger(&desk.database, client.id).await.values().filter(|fill| fill.precision.is_none()).count();
    assert_eq!(exact, fills, "what the bot told itself is exact");
}
