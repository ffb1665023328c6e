//! The real server's defects, one by one: each is there, and each can be switched off.

use serde_json::{Value, json};

use crate::harness::{Bench, stepped};

fn data(answer: &Value) -> &Vec<Value> {
    answer["data"].as_array().unwrap()
}

async fn market_orders(bench: &Bench, count: usize) {
    for side in ["BUY", "SELL"].into_iter().cycle().take(count) {
        bench.order("client_a", json!({"trade_type": side, "amount": "0.001", "order_type": "MARKET"})).await;
        bench.step(50).await;
    }
}

async fn trades(bench: &Bench) -> usize {
    let answer = bench.post("/trading/trades", json!({"account_names": ["client_a"], "limit": 1000})).await;
    data(&answer.body).len()
}

#[tokio::test]
async fn fills_of_the_api_itself_that_come_within_ten_milliseconds_are_never_told() {
    let bench = Bench::with_account(stepped()).await;
    market_orders(&bench, 40).await;
    let happened = bench.truth().await["fills"].as_array().unwrap().len();
    let told = trades(&bench).await;
    assert_eq!(happened, 40);
    assert!(told > 0 && told < happened, "{told} of {happened} were told");

    let bench = Bench::with_account(stepped()).await;
    bench.faults(json!({"lost_api_fills": false})).await;
    market_orders(&bench, 40).await;
    assert_eq!(trades(&bench).await, 40);
}

#[tokio::test]
async fn some_filled_orders_say_open_for_ever() {
    let bench = Bench::with_account(stepped()).await;
    market_orders(&bench, 40).await;
    let rows = bench.post("/trading/orders/search", json!({"account_names": ["client_a"], "limit": 1000})).await;
    let open = data(&rows.body).iter().filter(|row| row["status"] == "OPEN").count();
    let filled = data(&rows.body).iter().filter(|row| row["status"] == "FILLED").count();
    assert!(open > 0 && filled > open, "{open} open, {filled} filled");
    let truth = bench.truth().await;
    assert!(truth["orders"].as_array().unwrap().iter().all(|order| order["status"] == "filled"));
}

#[tokio::test]
async fn concurrent_history_calls_are_answered_with_another_bots_trades() {
    let bench = Bench::with_account(stepped()).await;
    let one = bench.maker("client_a", "one", "BTC-USDT", false).await;
    let two = bench.maker("client_a", "two", "PEPE-USDT", false).await;
    bench.step(2_000).await;
    bench.print("BTC-USDT", "70000", "1").await;
    bench.print("PEPE-USDT", "0.00002", "1000000000").await;
    bench.step(1_000).await;
    let paths = [&one, &two].map(|bot| format!("/bot-orchestration/{bot}/history?days=0&timeout=20"));
    let symbol = |answer: &crate::harness::Answer| {
        answer.body["response"]["data"]["data"]["trades"][0]["symbol"].as_str().unwrap().to_owned()
    };
    let (mut mixed_up, mut tried) = (false, 0);
    while !mixed_up && tried < 500 {
        let (first, second) = tokio::join!(bench.get(&paths[0]), bench.get(&paths[1]));
        mixed_up = symbol(&first) == symbol(&second);
        tried += 1;
    }
    assert!(mixed_up, "{tried} pairs of calls were answered right");
    for _ in 0..20 {
        assert_eq!(symbol(&bench.get(&paths[0]).await), "BTC-USDT");
        assert_eq!(symbol(&bench.get(&paths[1]).await), "PEPE-USDT");
    }
    bench.faults(json!({"wrong_bot_history": false})).await;
    for _ in 0..50 {
        let (first, second) = tokio::join!(bench.get(&paths[0]), bench.get(&paths[1]));
        assert_ne!(symbol(&first), symbol(&second));
    }
}

#[tokio::test]
async fn a_credential_field_that_is_not_sent_is_another_accounts() {
    let bench = Bench::with_account(stepped()).await;
    bench.post("/accounts/add-account?account_name=client_b", json!({})).await;
    let secret = json!({"binance_api_secret": "another"});
    assert_eq!(bench.post("/accounts/add-credential/client_b/binance", secret.clone()).await.status, 201);
    bench.order("client_b", json!({"trade_type": "BUY", "amount": "0.01", "order_type": "MARKET"})).await;
    bench.step(100).await;
    let fill = bench.truth().await["fills"][0].clone();
    assert_eq!((fill["account"].as_str(), fill["api_key"].as_str()), (Some("client_b"), Some("keyA")));

    bench.faults(json!({"inherited_credentials": false})).await;
    let refused = bench.post("/accounts/add-credential/client_b/binance", secret).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
}

#[tokio::test]
async fn a_credential_that_the_exchange_refuses_leaves_nothing_behind() {
    let bench = Bench::with_account(stepped()).await;
    bench.post("/accounts/add-account?account_name=client_b", json!({})).await;
    let refused = json!({"binance_api_key": "bad1", "binance_api_secret": "x"});
    assert_eq!(bench.post("/accounts/add-credential/client_b/binance", refused).await.status, 400);
    assert_eq!(bench.get("/accounts/client_b/credentials").await.body, json!([]));
}

async fn paged(bench: &Bench, limit: usize) -> usize {
    let (mut rows, mut cursor) = (0, Value::Null);
    loop {
        let asked = json!({"account_names": ["client_a"], "limit": limit, "cursor": cursor});
        let page = bench.post("/trading/trades", asked).await.body;
        rows += data(&page).len();
        cursor = page["pagination"]["next_cursor"].clone();
        if page["pagination"]["has_more"] == false {
            return rows;
        }
    }
}

#[tokio::test]
async fn pages_end_after_twice_the_limit() {
    let bench = Bench::with_account(stepped()).await;
    bench.faults(json!({"lost_api_fills": false})).await;
    market_orders(&bench, 25).await;
    assert_eq!(paged(&bench, 5).await, 10);
    assert_eq!(paged(&bench, 1_000).await, 25);
    bench.faults(json!({"broken_cursor": false})).await;
    assert_eq!(paged(&bench, 5).await, 25);
}

async fn run(bench: &Bench, bot: &str) -> Value {
    bench.get(&format!("/bot-orchestration/bot-runs?bot_name={bot}")).await.body["data"][0].clone()
}

#[tokio::test]
async fn a_crashed_bot_stays_deployed_and_a_stop_is_written_when_it_is_asked_for() {
    let bench = Bench::with_account(stepped()).await;
    let bot = bench.maker("client_a", "one", "BTC-USDT", false).await;
    bench.step(3_000).await;
    bench.post("/paper/kill-bot", json!({"bot": bot})).await;
    bench.step(60_000).await;
    let status = bench.get(&format!("/bot-orchestration/{bot}/status")).await.body;
    assert_eq!(status["data"]["status"], "running");
    assert_eq!(run(&bench, &bot).await["deployment_status"], "DEPLOYED");
    let stopped = bench.post("/bot-orchestration/stop-bot", json!({"bot_name": bot})).await.body;
    assert_eq!(stopped["response"]["success"], true);
    assert_eq!(run(&bench, &bot).await["run_status"], "STOPPED");
    let open =
        bench.truth().await["orders"].as_array().unwrap().iter().filter(|order| order["status"] == "open").count();
    assert_eq!(open, 4, "the dead bot's orders stay");
}

async fn price(bench: &Bench, account: &str, token: &str) -> Value {
    let asked = json!({"account_names": [account], "refresh": true, "skip_gateway": true});
    let state = bench.post("/portfolio/state", asked).await.body;
    let rows = state[account]["binance"].as_array().unwrap();
    rows.iter().find(|row| row["token"] == token).unwrap()["price"].clone()
}

#[tokio::test]
async fn prices_of_the_portfolio_freeze_and_show_no_age() {
    let bench = Bench::with_account(stepped()).await;
    let before = price(&bench, "client_a", "BTC").await;
    bench.print("BTC-USDT", "50000", "1").await;
    assert_eq!(price(&bench, "client_a", "BTC").await, before);
    bench.step(26 * 60_000).await;
    assert_eq!(price(&bench, "client_a", "BTC").await.to_string(), "50000.0");
    bench.faults(json!({"frozen_prices": false})).await;
    bench.print("BTC-USDT", "51000", "1").await;
    assert_eq!(price(&bench, "client_a", "BTC").await.to_string(), "51000.0");
}

#[tokio::test]
async fn the_performance_of_an_archived_bot_answers_500_and_its_trades_have_six_decimals() {
    let bench = Bench::with_account(stepped()).await;
    let bot = bench.maker("client_a", "one", "PEPE-USDT", false).await;
    bench.step(2_000).await;
    bench.print("PEPE-USDT", "0.00002", "1000000000").await;
    bench.step(1_000).await;
    bench
        .post(&format!("/bot-orchestration/stop-and-archive-bot/{bot}?skip_order_cancellation=false"), json!({}))
        .await;
    bench.step(30_000).await;
    let path = bench.get("/archived-bots/").await.body[0].as_str().unwrap().to_owned();
    assert_eq!(bench.get(&format!("/archived-bots/{path}/performance")).await.status, 500);
    let trade = bench.get(&format!("/archived-bots/{path}/trades")).await.body["trades"][0].clone();
    assert_eq!(trade["price"].to_string(), "1.2e-05");
    let fill = bench.truth().await["fills"][0].clone();
    assert_eq!(fill["exchange_trade_id"], trade["exchange_trade_id"]);
    assert_eq!(fill["price"], "0.00001237");
}

#[tokio::test]
async fn two_deploys_of_one_name_in_one_second_collide() {
    let bench = Bench::with_account(stepped()).await;
    bench.maker("client_a", "one", "BTC-USDT", false).await;
    let second = bench.deploy("client_a", "one", "one-config", false).await;
    assert_eq!((second.status, &second.body["success"]), (200, &json!(false)));
    bench.step(1_000).await;
    assert_eq!(bench.deploy("client_a", "one", "one-config", false).await.body["success"], true);
}

#[tokio::test]
async fn archiving_leaves_live_orders_unless_it_is_told_not_to() {
    for (query, left) in [("", 4), ("?skip_order_cancellation=false", 0)] {
        let bench = Bench::with_account(stepped()).await;
        let bot = bench.maker("client_a", "one", "BTC-USDT", false).await;
        bench.step(3_000).await;
        bench.post(&format!("/bot-orchestration/stop-and-archive-bot/{bot}{query}"), json!({})).await;
        bench.step(30_000).await;
        let truth = bench.truth().await;
        let open = truth["orders"].as_array().unwrap().iter().filter(|order| order["status"] == "open").count();
        assert_eq!(open, left, "{query}");
    }
}
