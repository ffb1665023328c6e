//! Orders' lives, told by bots while somebody listens, and read from their archives where nobody did.

use std::{collections::BTreeMap, time::Duration};

use events::{Event, Time, ledger::Precision, order::OrderEvent};
use paper::Settings;
use reqwest::Method;
use serde_json::Value;

use crate::desk::{Client, Desk, agrees, events_of};

/// What is recorded of each order: its placing, and its end.
async fn recorded(desk: &Desk, client: &Client) -> BTreeMap<String, (Vec<OrderEvent>, Vec<OrderEvent>)> {
    let mut lives: BTreeMap<String, (Vec<OrderEvent>, Vec<OrderEvent>)> = BTreeMap::new();
    for (_, event) in events_of(&desk.database, client.id).await {
        let Event::Order(told) = event else { continue };
        let life = lives.entry(told.order().to_string()).or_default();
        match told {
            OrderEvent::OrderPlaced { .. } => life.0.push(told),
            OrderEvent::OrderCancelled { .. }
            | OrderEvent::OrderFilled { .. }
            | OrderEvent::OrderRejected { .. }
            | OrderEvent::OrderExpired { .. } => life.1.push(told),
        }
    }
    lives
}

/// The true orders of a client, by their ids.
async fn true_orders(desk: &Desk, client: &Client) -> BTreeMap<String, Value> {
    let truth = desk.outside.truth().await;
    let own = truth["orders"].as_array().unwrap().iter().filter(|order| order["account"] == client.id.to_string());
    own.map(|order| (order["order_id"].as_str().unwrap().to_owned(), order.clone())).collect()
}

async fn has_placed(desk: &Desk, client: &Client, more: usize) {
    let before = true_orders(desk, client).await.len();
    while true_orders(desk, client).await.len() < before + more {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_orders_while_the_broker_was_away_is_read_from_the_archive() {
    let settings =
        Settings { prints_per_second: 60, archive_ms: 300, stop_ms: 100, heartbeat_ms: 1_000, ..Settings::default() };
    let desk = Desk::open(settings).await;
    let client = desk.onboard("acme").await;
    desk.connect(&client, "binance", "acme").await;
    let bot = desk.maker(&client, "maker", "binance", "PEPE-USDT").await;
    desk.want(&client, &bot, "deploy", "d1").await;
    let instance = desk.running(&client, &bot).await["instance"].as_str().unwrap().to_owned();
    desk.has_true_fills(&client, 3).await;
    let away_from = Time::now();
    desk.outside.control(Method::POST, "/paper/broker/stop", None).await;
    has_placed(&desk, &client, 12).await;
    desk.outside.control(Method::POST, "/paper/broker/start", None).await;
    has_placed(&desk, &client, 4).await;
    let back = Time::now();
    let lost = true_orders(&desk, &client).await.len() - recorded(&desk, &client).await.len();
    assert!(lost >= 8, "only {lost} orders went by unheard");
    desk.want(&client, &bot, "stop", "s1").await;
    desk.archived(&client, &instance).await;

    let (ours, truth) = (recorded(&desk, &client).await, true_orders(&desk, &client).await);
    assert_eq!(ours.keys().collect::<Vec<_>>(), truth.keys().collect::<Vec<_>>());
    let mut cut = 0;
    for (order, (placed, ended)) in &ours {
        let OrderEvent::OrderPlaced { precision, at, .. } = is_the_true_one(&truth[order], placed) else { panic!() };
        if precision.is_some() {
            cut += 1;
            // A bot's clock stands at whole seconds.
            assert!(*at >= away_from.plus_micros(-2_000_000) && *at <= back, "{order} at {at}");
        }
        let ends: Vec<&str> = ended.iter().map(OrderEvent::name).collect();
        let end = if truth[order]["status"] == "filled" { "OrderFilled" } else { "OrderCancelled" };
        assert_eq!(ends, [end], "{order}");
    }
    assert!(cut >= 8 && ours.len() - cut >= 4, "{cut} of {} are restored", ours.len());
    let page = desk.served.ask(&client.token, &format!("/api/orders?bot={bot}&open=true&limit=500")).await.json();
    assert_eq!(page["items"], serde_json::json!([]), "nothing is left open");
    agrees(&desk, &client, &BTreeMap::from([(instance, bot)])).await;
}

/// It was placed once, and its numbers are the true ones, or cut and marked so.
fn is_the_true_one<'a>(truth: &Value, placed: &'a [OrderEvent]) -> &'a OrderEvent {
    let [one @ OrderEvent::OrderPlaced { side, price: Some(price), amount, precision, .. }] = placed else {
        panic!("{placed:?} of {truth}");
    };
    let d = |field: &str| -> events::Decimal { truth[field].as_str().unwrap().parse().unwrap() };
    assert_eq!(side.to_string(), truth["side"].as_str().unwrap());
    let off = price.0.minus(d("price")).unwrap().abs();
    match precision {
        None => assert_eq!((price.0, amount.0), (d("price"), d("amount"))),
        Some(Precision::SixPlaces) => assert!(off <= "0.000001".parse().unwrap(), "{one:?} is off by {off}"),
    }
    one
}
