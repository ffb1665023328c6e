//! What bots say over MQTT, and what they obey.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    harness::{Bench, parsed, stepped},
    recorded::shared,
    shapes::differences,
};
use rumqttc::QoS;

/// The kind of a message: the last part of its topic, and its type.
fn kind(topic: &str, payload: &Value) -> String {
    let last = topic.rsplit('/').next().unwrap();
    format!("{last} {}", payload["type"].as_str().unwrap_or_default())
}

fn recorded() -> Option<BTreeMap<String, Vec<Value>>> {
    let log = std::fs::read_to_string(shared()?.join("recorded/mqtt_headless_false.log")).unwrap();
    let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in log.lines() {
        let mut parts = line.splitn(4, ' ').skip(2);
        let (topic, text) = (parts.next().unwrap(), parts.next().unwrap());
        // Long lines were cut when they were recorded.
        if let Ok(payload) = serde_json::from_str::<Value>(&text.replace(":NaN", ":null")) {
            kinds.entry(kind(topic, &payload)).or_default().push(payload);
        }
    }
    Some(kinds)
}

/// A bot on a market that walks, heard for two minutes.
async fn heard(headless: bool) -> Vec<(String, String)> {
    let mut settings = stepped();
    settings.markets.clear();
    let bench = Bench::with_account(settings).await;
    let mut ears = bench.listen("hbot/#").await;
    let mut config = crate::harness::maker("eth", "ETH-USDT");
    config["buy_spreads"] = json!([0.0004, 0.001]);
    config["sell_spreads"] = json!([0.0004, 0.001]);
    bench.post("/controllers/configs/eth", config).await;
    bench.post("/controllers/configs/volume_eth", json!({"id": "volume_eth", "controller_name": "volume_taker", "connector_name": "binance", "trading_pair": "ETH-USDT", "max_order_amount": "0.1", "order_interval": 5})).await;
    let deployment = json!({"instance_name": "m", "credentials_profile": "client_a", "controllers_config": ["eth", "volume_eth"], "headless": headless});
    let bot = bench.post("/bot-orchestration/deploy-v2-controllers", deployment).await.body;
    bench.step(120_000).await;
    bench.post("/bot-orchestration/stop-bot", json!({"bot_name": bot["unique_instance_name"]})).await;
    bench.step(5_000).await;
    ears.all().await
}

#[tokio::test]
async fn every_message_has_the_shape_that_was_recorded() {
    let Some(recorded) = recorded() else { return };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (topic, payload) in heard(false).await {
        let payload = parsed(&payload);
        let kind = kind(&topic, &payload);
        if let Some(samples) = recorded.get(&kind) {
            let closest = samples.iter().map(|sample| named_alike(sample, &payload)).min_by_key(Vec::len).unwrap();
            assert_eq!(closest, Vec::<String>::new(), "{kind}: {payload}");
        }
        *seen.entry(kind).or_default() += 1;
    }
    for kind in
        recorded.keys().filter(|kind| kind.starts_with("events") || kind.starts_with("hb") || kind.starts_with("perf"))
    {
        assert!(seen.contains_key(kind), "no {kind} among {seen:?}");
    }
}

/// Performance is by controller: the first of theirs against each of ours.
fn named_alike(sample: &Value, ours: &Value) -> Vec<String> {
    match (sample.get("pmm_a1"), ours.as_object()) {
        (Some(sample), Some(all)) => all.values().flat_map(|one| differences("", sample, one)).collect(),
        (Some(_) | None, _) => differences("", sample, ours),
    }
}

#[tokio::test]
async fn a_market_orders_price_is_a_bare_nan_and_its_fills_may_come_before_it() {
    let heard = heard(false).await;
    let events: Vec<&String> =
        heard.iter().filter(|(topic, _)| topic.ends_with("/events")).map(|(_, text)| text).collect();
    let created = events.iter().position(|text| text.contains("\"price\":NaN")).expect("a market order was created");
    let order = parsed(events[created])["data"]["order_id"].clone();
    let filled =
        events.iter().position(|text| text.contains("OrderFilled") && parsed(text)["data"]["order_id"] == order);
    assert!(filled.unwrap() < created);
}

#[tokio::test]
async fn a_bot_that_was_deployed_headless_keeps_its_events_to_itself() {
    let heard = heard(true).await;
    assert!(heard.iter().all(|(topic, _)| !topic.ends_with("/events")));
    assert!(heard.iter().any(|(topic, _)| topic.ends_with("/hb")));
    assert!(heard.iter().any(|(topic, _)| topic.ends_with("/performance")));
}

#[tokio::test]
async fn a_heartbeat_comes_each_ten_seconds_and_none_of_a_crashed_bot() {
    let bench = Bench::with_account(stepped()).await;
    let mut ears = bench.listen("hbot/+/hb").await;
    let bot = bench.maker("client_a", "one", "BTC-USDT", false).await;
    bench.step(60_000).await;
    assert_eq!(ears.all().await.len(), 7);
    bench.post("/paper/kill-bot", json!({"bot": bot})).await;
    bench.step(60_000).await;
    assert_eq!(ears.all().await, vec![]);
}

async fn call(ears: &mut crate::harness::Ears, bot: &str, command: &str, data: Value) -> Value {
    let call = json!({"header": {"timestamp": 1, "reply_to": "test/reply", "node_id": "test"}, "data": data});
    ears.client.publish(format!("hbot/{bot}/{command}"), QoS::AtMostOnce, false, call.to_string()).await.unwrap();
    let heard = ears.until("test/reply").await;
    parsed(&heard.last().unwrap().1)["data"].clone()
}

#[tokio::test]
async fn a_command_is_answered_on_the_topic_that_the_caller_names() {
    let bench = Bench::with_account(stepped()).await;
    let bot = bench.maker("client_a", "one", "BTC-USDT", false).await;
    bench.step(2_000).await;
    bench.print("BTC-USDT", "60061", "0.0001").await;
    bench.step(1_000).await;
    let mut ears = bench.listen("test/reply").await;
    let history = call(&mut ears, &bot, "history", json!({"days": 0})).await;
    let trade = &history["trades"][0];
    assert_eq!((&trade["price"], &trade["quantity"]), (&json!("60060."), &json!("0.0001")));
    assert_eq!(trade["trade_id"], bench.truth().await["fills"][0]["exchange_trade_id"]);
    assert!(trade.get("order_id").is_none());
    assert_eq!(call(&mut ears, &bot, "stop", json!({"skip_order_cancellation": false})).await["status"], 200);
    assert_eq!(call(&mut ears, &bot, "stop", json!({})).await["status"], 400);
    assert_eq!(call(&mut ears, &bot, "history", json!({})).await["trades"].as_array().unwrap().len(), 1);
    assert_eq!(call(&mut ears, &bot, "start", json!({})).await["status"], 200);
    let changed = call(&mut ears, &bot, "config", json!({"params": [["manual_kill_switch", true]]})).await;
    assert_eq!(changed["status"], 200);
    let configs = bench.get(&format!("/controllers/bots/{bot}/configs")).await.body;
    assert_eq!(configs[0]["manual_kill_switch"], true);
}

#[tokio::test]
async fn a_broker_that_restarts_puts_everybody_out_and_keeps_nothing() {
    let bench = Bench::with_account(stepped()).await;
    let mut ears = bench.listen("hbot/#").await;
    bench.post("/paper/broker/stop", json!({})).await;
    assert!(ears.next().await.is_err());
    assert_eq!(bench.get("/bot-orchestration/mqtt").await.body["data"]["mqtt_connected"], false);
    bench.maker("client_a", "one", "BTC-USDT", false).await;
    bench.post("/paper/broker/start", json!({})).await;
    let mut ears = bench.listen("hbot/#").await;
    assert_eq!(ears.all().await, vec![], "what was said while it was down is lost");
    bench.post("/paper/broker/restart", json!({})).await;
    assert!(ears.next().await.is_err());
    let mut ears = bench.listen("hbot/#").await;
    bench.step(11_000).await;
    assert!(!ears.all().await.is_empty());
}
