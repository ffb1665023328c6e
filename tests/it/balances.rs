//! What an account holds at the exchange, against what its ledger says: the same, until somebody else moves it.

use std::time::{Duration, Instant};

use events::{Decimal, Exchange, Market, Time, bot::Venue};
use paper::{FeedSettings, MarketSettings, Settings};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Database, Outside, Served, token};

use crate::desk::{Client, Desk, ledger};

const PATIENCE: Duration = Duration::from_secs(60);

/// An asset's balance as it is compared, once it was seen after a moment, and what is unexplained of it is like this.
async fn seen_after(desk: &Desk, asset: &str, after: Time, is_it: impl Fn(Decimal) -> bool) -> Value {
    let (admin, since) = (token(&desk.database, None), Instant::now());
    loop {
        let all = desk.served.ask(&admin, "/api/admin/balances").await.json();
        let one = all.as_array().unwrap().iter().find(|one| one["asset"] == asset);
        let is_new = |one: &&Value| one["observed_at"].as_str().unwrap().parse::<Time>().unwrap() > after;
        // While a gap is open nobody can say what is left.
        let told = |one: &&Value| one["unexplained"].as_str().is_some_and(|left| is_it(left.parse().unwrap()));
        if let Some(one) = one.filter(is_new).filter(told) {
            return one.clone();
        }
        assert!(since.elapsed() < PATIENCE, "{asset} is not seen so after {after}: {all}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn print(desk: &Desk, price: &str) {
    let prints = json!([{"price": price, "amount": "5"}]);
    let body = json!({"connector": "binance", "trading_pair": "BTC-USDT", "prints": prints});
    desk.outside.control(Method::POST, "/paper/prints", Some(body)).await;
}

async fn has_fills(desk: &Desk, client: &Client, at_least: usize) {
    let since = Instant::now();
    while ledger(&desk.database, client.id).await.len() < at_least {
        assert!(since.elapsed() < PATIENCE, "fewer than {at_least} fills are recorded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_moves_by_the_ledger_and_what_somebody_else_does_is_left_unexplained() {
    let venue = Venue { exchange: Exchange::Binance, market: Market::Spot, pair: "BTC-USDT".parse().unwrap() };
    let still = MarketSettings { venue: venue.clone(), feed: FeedSettings::Still, listing: None };
    let settings = Settings { markets: vec![still], heartbeat_ms: 1_000, ..Settings::default() };
    let (database, outside) = (Database::new().await, Outside::start(settings).await);
    let served = Served::of(outside.serve(&database, "api,projector"));
    let desk = Desk { database, outside, served };
    let operator = || Served::of(desk.outside.serve(&desk.database, "operator"));
    let mut hands = operator();
    let client = desk.onboard("acme").await;
    desk.connect(&client, "binance", "acme").await;
    let bot = desk.maker(&client, "maker", "binance", "BTC-USDT").await;
    desk.want(&client, &bot, "deploy", "d1").await;
    let nothing = |left: Decimal| left.is_zero();
    assert_eq!(seen_after(&desk, "USDT", Time::EPOCH, nothing).await["market"], "spot");
    // Its orders rest by now; the market comes to them.
    desk.until(&client, "/api/orders?open=true", |page| page["items"].as_array().unwrap().len() >= 4).await;
    print(&desk, "59000").await;
    has_fills(&desk, &client, 2).await;
    // A balance is recorded once a minute, and by whoever takes over.
    hands.kill();
    let again = Time::now();
    hands = operator();
    for asset in ["BTC", "USDT"] {
        let held = seen_after(&desk, asset, again, nothing).await;
        assert_ne!(held["observed"], held["first"], "{held}");
    }

    let strangers = json!({
        "account_name": client.id.to_string(), "connector_name": "binance", "trading_pair": "BTC-USDT",
        "trade_type": "BUY", "amount": "0.5", "order_type": "LIMIT", "price": "58500",
    });
    desk.outside.control(Method::POST, "/trading/orders", Some(strangers)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    print(&desk, "58000").await;
    hands.kill();
    let again = Time::now();
    let _hands = operator();
    seen_after(&desk, "BTC", again, |left| left > "0.4".parse().unwrap()).await;
    seen_after(&desk, "USDT", again, |left| left < "-20000".parse().unwrap()).await;
    let said = desk.database.succeed(&["rebuild", "reconciliation", "--verify"]);
    assert!(said.contains("equal byte for byte"), "{said}");
}
