//! A server that hangs, breaks off, lies and leaks: what the client makes of it.

#[path = "stand_in/server.rs"]
mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use events::{AccountName, Amount, OrderId, Pair, Price, ledger::Side};
use hummingbot::{
    BotName, ConnectorName, ControllerDeployment, Fault, Hummingbot, NewOrder, OrderType, PAGE_MAX, Patience, Since,
    Why, Window,
};
use serde_json::{Value, json};
use server::{Answer, Asked, Server, client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn account() -> AccountName {
    "c1".parse().unwrap()
}

fn binance() -> ConnectorName {
    "binance".parse().unwrap()
}

fn bot() -> BotName {
    "mm-a".parse().unwrap()
}

fn hour() -> Window {
    Window::new("2024-01-02T03:00:00Z".parse().unwrap(), "2024-01-02T04:00:00Z".parse().unwrap())
}

fn deployment() -> ControllerDeployment {
    ControllerDeployment {
        instance: bot(),
        account: account(),
        controllers: vec!["c1_pmm".parse().unwrap()],
        global_drawdown_max: Some("12.50".parse().unwrap()),
        controller_drawdown_max: None,
        image: None,
    }
}

/// A server of bytes: says them to everyone who asks, then closes, or never does. Counts who asked.
async fn raw(bytes: &'static [u8], hangs: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            if hangs {
                kept.push(stream);
            }
        }
    });
    (url, count)
}

fn impatient(url: &str) -> Hummingbot {
    let moment = Duration::from_millis(150);
    client(url, Patience { answer: moment, deploy: moment, ..Patience::default() })
}

#[tokio::test]
async fn a_server_that_hangs_is_asked_thrice_for_a_read_and_once_for_a_deed() {
    let (url, asked) = raw(b"", true).await;
    let fault = impatient(&url).accounts().await.unwrap_err();
    assert!(matches!(fault.why, Why::TimedOut(_)), "{fault}");
    assert_eq!(asked.swap(0, Ordering::SeqCst), 3);
    let fault = impatient(&url).deploy_controllers(&deployment()).await.unwrap_err();
    assert!(matches!(fault.why, Why::TimedOut(_)) && fault.may_have_happened(), "{fault}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_fault_and_the_deed_may_have_been_done() {
    let (url, asked) = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"success\":true,", false).await;
    let fault = impatient(&url).deploy_controllers(&deployment()).await.unwrap_err();
    assert!(matches!(fault.why, Why::Broken(_)) && fault.may_have_happened(), "{fault}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nobody_at_the_address_means_that_nothing_happened() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fault = impatient(&format!("http://{free}")).deploy_controllers(&deployment()).await.unwrap_err();
    assert!(matches!(fault.why, Why::Unreachable(_)) && !fault.may_have_happened(), "{fault}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let (url, _) = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n[", true).await;
    let fault = impatient(&url).accounts().await.unwrap_err();
    assert!(matches!(fault.why, Why::TooLarge(_)), "{fault}");
    // The same when the server does not say how much it will be.
    let huge = "\"".to_owned() + &"x".repeat(65 << 20);
    let server = Server::start(move |_| Answer { status: 500, kind: "text/plain", body: huge.clone() }).await;
    let fault = server.client().accounts().await.unwrap_err();
    assert!(matches!(fault.why, Why::TooLarge(_)), "{fault}");
}

#[tokio::test]
async fn a_page_of_html_is_no_answer_and_a_redirect_is_not_followed() {
    let (url, _) = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>", false).await;
    assert!(matches!(impatient(&url).accounts().await.unwrap_err().why, Why::Unreadable(_)));
    let (url, asked) = raw(b"HTTP/1.1 307 Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", false).await;
    assert_eq!(impatient(&url).accounts().await.unwrap_err().why, Why::Redirected(307));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

async fn told(body: &'static str) -> Hummingbot {
    // The server lives in its own task and outlives this value.
    Server::start(move |_| Answer::json(200, body)).await.client()
}

#[tokio::test]
async fn an_error_with_status_200_is_an_error() {
    let refused = |fault: Fault, reason: &str| {
        assert_eq!(fault.why, Why::Refused { status: 200, reason: reason.to_owned() });
        assert!(!fault.may_have_happened());
    };
    let status = told(r#"{"status":"success","data":{"status":"not_found","error":"Bot mm-a not found"}}"#).await;
    assert!(status.bot_status(&bot()).await.unwrap_err().is_not_found());
    let deploy = told(r#"{"success":false,"message":"No such image"}"#).await;
    refused(deploy.deploy_controllers(&deployment()).await.unwrap_err(), "No such image");
    let stop = told(r#"{"status":"success","response":{"success":false,"message":"not connected"}}"#).await;
    refused(stop.stop_bot(&bot()).await.unwrap_err(), "not connected");
    let archive = told(r#"{"status":"error","message":"Bot 'mm-a' not found"}"#).await;
    refused(archive.stop_and_archive(&bot()).await.unwrap_err(), "Bot 'mm-a' not found");
    let history = r#"{"status":"success","response":{"success":true,"data":{"header":{},"data":{"status":400,"msg":"no strategy"}}}}"#;
    let fault = told(history).await.history(&bot(), Since::Beginning).await.unwrap_err();
    assert_eq!(fault.why, Why::Refused { status: 400, reason: "no strategy".to_owned() });
    let nameless = told(r#"{"success":true}"#).await.deploy_controllers(&deployment()).await.unwrap_err();
    assert!(nameless.may_have_happened());
}

/// What a deed was sent as: method, address, body.
fn sent(server: &Server) -> (String, Value) {
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let Asked { method, path, query, body } = &asked[0];
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() };
    (format!("{method} {path}?{query}"), body)
}

#[tokio::test]
async fn a_bot_is_never_silent_and_never_leaves_its_orders() {
    let server = Server::start(|_| Answer::json(200, r#"{"success":true,"unique_instance_name":"mm-a-1"}"#)).await;
    let hummingbot = server.client();
    assert_eq!(hummingbot.deploy_controllers(&deployment()).await.unwrap().as_str(), "mm-a-1");
    let (address, body) = sent(&server);
    assert_eq!(address, "POST /bot-orchestration/deploy-v2-controllers?");
    let wanted = json!({"instance_name": "mm-a", "credentials_profile": "c1", "controllers_config": ["c1_pmm"], "headless": false});
    assert_eq!(body["max_global_drawdown_quote"].to_string(), "12.5");
    assert!(wanted.as_object().unwrap().iter().all(|(name, value)| body[name] == *value), "{body}");
    hummingbot.stop_bot(&bot()).await.unwrap();
    assert_eq!(sent(&server).1, json!({"bot_name": "mm-a", "skip_order_cancellation": false}));
    hummingbot.stop_and_archive(&bot()).await.unwrap();
    assert_eq!(sent(&server).0, "POST /bot-orchestration/stop-and-archive-bot/mm-a?skip_order_cancellation=false");
}

#[tokio::test]
async fn an_archive_is_read_to_its_end_however_small_the_pages_are() {
    let order = |id: usize| {
        json!({"id": format!("x-{id}"), "connector_name": "binance", "trading_pair": "BTC-USDT", "order_type": "MARKET",
            "amount": 0.5, "price": 0.0, "last_status": "BuyOrderCompleted", "exchange_order_id": "1",
            "creation_timestamp": 1704164645000_u64, "last_update_timestamp": 1704164645123_u64})
    };
    let server = Server::start(move |asked| {
        assert_eq!(asked.path, "/archived-bots/bots/archived/mm-a/data/mm-a.sqlite/orders");
        let offset: usize = asked.query.rsplit("offset=").next().unwrap().parse().unwrap();
        let rows: Vec<Value> = (offset..25).take(10).map(order).collect();
        Answer::json(200, json!({"orders": rows, "pagination": {"total": 25, "limit": 10, "offset": offset}}))
    })
    .await;
    let archive = serde_json::from_value(json!("bots/archived/mm-a/data/mm-a.sqlite")).unwrap();
    let orders = server.client().archived_orders(&archive).await.unwrap();
    assert_eq!(orders.len(), 25);
    assert!(orders.iter().enumerate().all(|(id, order)| order.order.as_str() == format!("x-{id}")));
    assert_eq!((orders[0].price, archive.bot().unwrap().as_str()), (None, "mm-a"));
}

fn order_row(account: &str) -> Value {
    json!({"order_id": "x-1", "account_name": account, "connector_name": "binance", "trading_pair": "BTC-USDT",
        "trade_type": "BUY", "order_type": "LIMIT", "amount": 1, "price": null, "status": "OPEN",
        "created_at": "2024-01-02T03:04:05+00:00", "updated_at": "2024-01-02T03:04:05+00:00"})
}

#[tokio::test]
async fn rows_of_another_account_are_a_fault_and_not_data() {
    let rows = json!({"data": [order_row("c1"), order_row("c2")], "pagination": {}});
    let server = Server::start(move |_| Answer::json(200, &rows)).await;
    let fault = server.client().active_orders(&account(), &binance()).await.unwrap_err();
    assert_eq!(fault.why, Why::OtherAccount("c2".parse().unwrap()));
    assert!(server.client().orders(&account(), &binance(), hour()).await.is_err());

    let balances = told(r#"{"c1":{"binance":[]},"c2":{"binance":[]}}"#).await;
    let fault = balances.portfolio_state(&account(), &binance(), true).await.unwrap_err();
    assert_eq!(fault.why, Why::OtherAccount("c2".parse().unwrap()));
    let placed = told(r#"{"order_id":"x-1","account_name":"c2"}"#).await;
    let fault = placed.place_order(&account(), &order()).await.unwrap_err();
    assert!(fault.may_have_happened() && matches!(fault.why, Why::OtherAccount(_)), "{fault}");
}

fn order() -> NewOrder {
    NewOrder {
        connector: binance(),
        pair: "BTC-USDT".parse().unwrap(),
        side: Side::Sell,
        order_type: OrderType::LimitMaker,
        amount: Amount("0.00012".parse().unwrap()),
        price: Some(Price("60000.10".parse().unwrap())),
        closes: false,
    }
}

#[tokio::test]
async fn an_order_is_sent_once_with_its_digits_and_one_that_contradicts_itself_not_at_all() {
    let server = Server::start(|_| Answer::json(503, r#"{"detail":"restarting"}"#)).await;
    let hummingbot = server.client();
    let fault = hummingbot.place_order(&account(), &order()).await.unwrap_err();
    assert!(fault.may_have_happened(), "{fault}");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    let sent: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!((&sent["amount"], &sent["price"]), (&json!("0.00012"), &json!("60000.1")));
    let unpriced = NewOrder { price: None, ..order() };
    let fault = hummingbot.place_order(&account(), &unpriced).await.unwrap_err();
    assert!(matches!(fault.why, Why::NotSent(_)), "{fault}");
    let up: OrderId = "..".parse().unwrap();
    let fault = hummingbot.cancel_order(&account(), &binance(), &up).await.unwrap_err();
    assert!(matches!(fault.why, Why::NotSent(_)), "{fault}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_read_survives_a_proxy_that_says_502_once() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer { status: 502, kind: "text/html", body: "<html>bad gateway</html>".to_owned() },
        _ => Answer::json(200, r#"["c1"]"#),
    })
    .await;
    assert_eq!(server.client().accounts().await.unwrap(), ["c1"]);
}

/// Trades as the server keeps them, a page at a time, newest first.
fn trades_page(all: &[(i64, usize)], asked: &Asked) -> Answer {
    let question: Value = serde_json::from_slice(&asked.body).unwrap();
    let (from, to) = (question["start_time"].as_i64().unwrap(), question["end_time"].as_i64().unwrap());
    let side = |id: usize| if id.is_multiple_of(2) { "BUY" } else { "SELL" };
    let wanted = |id: usize| question["trade_types"][0].as_str().is_none_or(|wanted| wanted == side(id));
    let row = |(us, id): &(i64, usize)| {
        json!({"trade_id": format!("x-{id}_{id}"), "order_id": format!("x-{id}"), "account_name": "c1",
            "connector_name": "binance", "trading_pair": "BTC-USDT", "trade_type": side(*id), "amount": 0.5,
            "price": 60921.29226907638, "fee_paid": 1e-7, "fee_currency": "USDT",
            "timestamp": events::Time::from_micros(*us).unwrap().to_string()})
    };
    let within = all.iter().rev().filter(|(us, id)| (from * 1_000..=to * 1_000).contains(us) && wanted(*id));
    let rows: Vec<Value> = within.take(PAGE_MAX).map(row).collect();
    Answer::json(200, json!({"data": rows, "pagination": {"has_more": false}}))
}

#[tokio::test]
async fn four_thousand_trades_come_whole_over_a_page_of_a_thousand() {
    let start = events::Time::from_micros(1_704_164_400_000_000).unwrap().micros();
    let mut all: Vec<(i64, usize)> = (0..2_500).map(|id| (start + (id as i64) * 700_123, id)).collect();
    // As many again in one instant: more than a page, less than a page a side.
    all.extend((2_500..4_300).map(|id| (start + 2_000_000_777, id)));
    let rows = all.clone();
    let server = Server::start(move |asked| trades_page(&rows, asked)).await;
    let trades = server.client().trades(&account(), &binance(), hour()).await.unwrap();
    assert_eq!(trades.len(), all.len());
    assert_eq!(trades[0].price.to_string(), "60921.29226907638");
    assert_eq!(trades[7].exchange_trade().unwrap().as_str(), "7");
    assert!(server.asked().len() < 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn history_calls_of_one_process_come_one_at_a_time() {
    let inside = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, high) = (Arc::clone(&inside), Arc::clone(&most));
    let server = Server::start(move |_| {
        high.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        now.fetch_sub(1, Ordering::SeqCst);
        Answer::json(200, r#"{"status":"success","response":{"success":true,"data":{"data":{"trades":[]}}}}"#)
    })
    .await;
    let calls = (0..8).map(|_| {
        let hummingbot = server.client();
        async move { hummingbot.history(&bot(), Since::Ago(Duration::from_mins(5))).await }
    });
    for told in futures::future::join_all(calls).await {
        assert!(told.unwrap().is_empty());
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn balances_are_units_and_nothing_that_is_priced() {
    let told = told(
        r#"{"c1":{"binance":[{"token":"BTC","units":2.00000001,"price":1.0,"value":2.0,"available_units":1.5e-8},
            {"token":"LD-BTC","units":1,"price":0,"value":0,"available_units":1}]}}"#,
    );
    let held = told.await.portfolio_state(&account(), &binance(), true).await.unwrap().unwrap();
    assert_eq!(
        (held.held[0].total.to_string(), held.held[0].available.to_string()),
        ("2.00000001".into(), "0.000000015".into())
    );
    assert_eq!((held.held.len(), &held.unnamed[..]), (1, &["LD-BTC".to_owned()][..]));
    // Of an account that is not there nothing is known; one that is listed empty holds nothing.
    for (answer, known) in [(r#"{"c1":{"okx":[]}}"#, None), (r#"{"c1":{"binance":[]}}"#, Some(0))] {
        let held = self::told(answer).await.portfolio_state(&account(), &binance(), true).await.unwrap();
        assert_eq!(held.map(|held| held.held.len()), known);
    }
}

#[tokio::test]
async fn a_bare_nan_in_an_answer_means_that_there_is_no_number() {
    let prices = told(r#"{"connector":"binance","prices":{"BTC-USDT":NaN,"ETH-USDT":1.5e-9},"timestamp":1.5}"#).await;
    let pairs: [Pair; 2] = ["BTC-USDT".parse().unwrap(), "ETH-USDT".parse().unwrap()];
    let prices = prices.prices(&binance(), &pairs).await.unwrap();
    assert_eq!(prices.len(), 1);
    assert_eq!(prices[&pairs[1]].to_string(), "0.0000000015");
}
