//! Faults on request: each happens when it is asked for, and never otherwise.

use std::collections::BTreeMap;

use paper::{Faults, Settings};
use serde_json::{Value, json};

use crate::harness::{Bench, parsed, stepped};

/// How often each fill was told, and in which order, with these faults; and what really happened.
async fn told(faults: Value) -> (Vec<String>, Vec<String>) {
    let settings = Settings { markets: vec![], faults: Faults::none(), ..stepped() };
    let bench = Bench::with_account(settings).await;
    bench.faults(faults).await;
    let mut ears = bench.listen("hbot/+/events").await;
    bench.maker("client_a", "one", "ETH-USDT", false).await;
    bench.step(300_000).await;
    let heard =
        ears.all().await.into_iter().map(|(_, text)| parsed(&text)).filter(|event| event["type"] == "OrderFilled");
    let heard = heard.map(|event| event["data"]["exchange_trade_id"].as_str().unwrap().to_owned()).collect();
    let truth = bench.truth().await;
    let happened = truth["fills"].as_array().unwrap().iter();
    (heard, happened.map(|fill| fill["exchange_trade_id"].as_str().unwrap().to_owned()).collect())
}

fn counted(ids: &[String]) -> BTreeMap<&String, usize> {
    ids.iter().fold(BTreeMap::new(), |mut counts, id| {
        *counts.entry(id).or_default() += 1;
        counts
    })
}

#[tokio::test]
async fn without_faults_every_fill_is_told_once_and_in_order() {
    let (heard, happened) = told(json!({})).await;
    assert!(happened.len() > 20);
    assert_eq!(heard, happened);
}

#[tokio::test]
async fn fills_are_told_twice_late_out_of_order_or_never() {
    let (heard, happened) = told(json!({"seed": 3, "fill_duplicate": 0.5})).await;
    assert!(counted(&heard).values().any(|count| *count == 2), "{} of {}", heard.len(), happened.len());
    assert_eq!(counted(&heard).len(), happened.len());
    let (heard, happened) = told(json!({"seed": 3, "fill_drop": 0.5})).await;
    assert!(!heard.is_empty() && heard.len() < happened.len());
    let (heard, happened) = told(json!({"seed": 3, "fill_reorder": 0.5})).await;
    assert!(heard.len() + 3 > happened.len(), "only the last ones may still be on their way");
    assert!(!heard.is_sorted());
    let (heard, happened) = told(json!({"seed": 3, "fill_delay": 1.0, "fill_delay_ms": 1_000_000})).await;
    assert!(heard.is_empty() && !happened.is_empty());
}

#[tokio::test]
async fn a_deploy_can_be_done_and_its_answer_never_come() {
    let bench = Bench::with_account(stepped()).await;
    bench.post("/controllers/configs/c", crate::harness::maker("c", "BTC-USDT")).await;
    bench.faults(json!({"cut_off": {"/bot-orchestration/deploy": 1.0, "/trading/orders": 1.0}})).await;
    let deployment = json!({"instance_name": "one", "credentials_profile": "client_a", "controllers_config": ["c"]});
    let auth = Some(("admin", "admin"));
    assert!(bench.call("POST", "/bot-orchestration/deploy-v2-controllers", Some(&deployment), auth).await.is_none());
    let runs = bench.get("/bot-orchestration/bot-runs").await.body;
    assert_eq!(runs["data"].as_array().unwrap().len(), 1);
    let order = json!({"account_name": "client_a", "connector_name": "binance", "trading_pair": "BTC-USDT", "trade_type": "BUY", "amount": "0.01", "order_type": "MARKET"});
    assert!(bench.call("POST", "/trading/orders", Some(&order), auth).await.is_none());
    bench.step(100).await;
    let truth = bench.truth().await;
    assert_eq!(truth["orders"][0]["placed_by"], "api");
}

#[tokio::test]
async fn a_deploy_can_land_when_nobody_waits_for_it_any_more() {
    let bench = Bench::with_account(stepped()).await;
    bench.post("/controllers/configs/c", crate::harness::maker("c", "BTC-USDT")).await;
    bench.faults(json!({"late_ms": {"/bot-orchestration/deploy": 300}})).await;
    let deployment = json!({"instance_name": "one", "credentials_profile": "client_a", "controllers_config": ["c"]});
    let auth = Some(("admin", "admin"));
    assert!(bench.call("POST", "/bot-orchestration/deploy-v2-controllers", Some(&deployment), auth).await.is_none());
    let runs = async || bench.get("/bot-orchestration/bot-runs").await.body["data"].as_array().unwrap().len();
    assert_eq!(runs().await, 0);
    bench.faults(json!({"late_ms": {}})).await;
    // Under another name: two of one name and second would be one.
    bench.deploy("client_a", "two", "c", false).await;
    while runs().await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_error_can_be_hidden_in_a_200_and_then_nothing_was_done() {
    let bench = Bench::with_account(stepped()).await;
    bench.post("/controllers/configs/c", crate::harness::maker("c", "BTC-USDT")).await;
    bench.faults(json!({"error_in_200": {"/bot-orchestration/": 1.0}})).await;
    let deployed = bench.deploy("client_a", "one", "c", false).await;
    assert_eq!((deployed.status, &deployed.body["success"]), (200, &json!(false)));
    let status = bench.get("/bot-orchestration/one/status").await;
    assert_eq!((status.status, &status.body["data"]["status"]), (200, &json!("not_found")));
    let history = bench.get("/bot-orchestration/one/history").await;
    assert_eq!(history.body["response"]["success"], false);
    bench.faults(json!({"error_in_200": {}})).await;
    assert_eq!(bench.get("/bot-orchestration/bot-runs").await.body["data"], json!([]));
}

#[tokio::test]
async fn only_what_is_sent_changes_and_a_probability_above_one_is_refused() {
    let bench = Bench::start(stepped()).await;
    bench.faults(json!({"frozen_prices": false, "fill_drop": 0.25})).await;
    bench.faults(json!({"latency_ms": {"/accounts/": 1}})).await;
    let faults = bench.get("/paper/faults").await.body;
    assert_eq!((&faults["frozen_prices"], &faults["broken_cursor"]), (&json!(false), &json!(true)));
    assert_eq!(faults["fill_drop"].to_string(), "0.25");
    assert_eq!(bench.post("/paper/faults", json!({"fill_drop": 1.5})).await.status, 400);
    assert_eq!(bench.post("/paper/faults", json!({"fill_dropp": 0.5})).await.status, 400);
    assert_eq!(bench.get("/accounts/").await.status, 200);
}

#[tokio::test]
async fn a_wrong_password_or_none_opens_nothing() {
    let bench = Bench::start(stepped()).await;
    for (auth, detail) in [(None, "Not authenticated"), (Some(("admin", "x")), "Incorrect username or password")] {
        for path in ["/accounts/", "/paper/truth", "/portfolio/accounts-distribution"] {
            let refused = bench.call("GET", path, None, auth).await.unwrap();
            assert_eq!((refused.status, &refused.body["detail"]), (401, &json!(detail)));
        }
    }
}

#[tokio::test]
async fn keys_that_nobody_knows_log_in_nowhere_where_keys_are_strict() {
    let keys = [("keyA".to_owned(), Settings::default().balances)].into();
    let bench = Bench::start(Settings { strict: true, keys, ..stepped() }).await;
    bench.account("client_a", "keyA").await;
    bench.post("/accounts/add-account?account_name=client_b", json!({})).await;
    let fields = json!({"binance_api_key": "unknown", "binance_api_secret": "x"});
    assert_eq!(bench.post("/accounts/add-credential/client_b/binance", fields).await.status, 400);
}
