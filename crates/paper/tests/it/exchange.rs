//! The paper exchange's own rules, checked against its truth ledger.

use std::collections::BTreeMap;

use events::{Decimal, Exchange, Market, bot::Venue};
use paper::{FeedSettings, MarketSettings, Settings};
use serde_json::{Value, json};

use crate::harness::{Bench, d, stepped, venue};

fn exact(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

async fn resting(bench: &Bench, side: &str, price: &str, amount: &str) -> String {
    let order = json!({"trade_type": side, "amount": amount, "order_type": "LIMIT", "price": price});
    let id = bench.order("client_a", order).await;
    bench.step(10).await;
    id
}

#[tokio::test]
async fn a_resting_order_fills_only_when_a_print_goes_strictly_through_it_and_only_as_far_as_the_print_reaches() {
    let bench = Bench::with_account(stepped()).await;
    resting(&bench, "BUY", "59000", "0.01").await;
    bench.print("BTC-USDT", "59000", "5").await;
    assert_eq!(bench.truth().await["fills"], json!([]), "a print at the price is not through it");
    bench.print("BTC-USDT", "58999.99", "0.004").await;
    bench.print("BTC-USDT", "58000", "5").await;
    let truth = bench.truth().await;
    let fills: Vec<_> =
        truth["fills"].as_array().unwrap().iter().map(|fill| (&fill["price"], &fill["amount"])).collect();
    assert_eq!(fills, [(&json!("59000"), &json!("0.004")), (&json!("59000"), &json!("0.006"))]);
    assert_eq!(truth["orders"][0]["status"], "filled");
}

#[tokio::test]
async fn a_print_is_shared_by_price_and_then_by_age() {
    let bench = Bench::with_account(stepped()).await;
    let first = resting(&bench, "BUY", "59000", "0.01").await;
    resting(&bench, "BUY", "59000", "0.01").await;
    let best = resting(&bench, "BUY", "59500", "0.01").await;
    bench.print("BTC-USDT", "58000", "0.015").await;
    let truth = bench.truth().await;
    let fills: Vec<_> =
        truth["fills"].as_array().unwrap().iter().map(|f| (f["order_id"].as_str().unwrap(), &f["amount"])).collect();
    assert_eq!(fills, [(best.as_str(), &json!("0.01")), (first.as_str(), &json!("0.005"))]);
}

#[tokio::test]
async fn an_order_that_cannot_be_paid_is_submitted_first_and_failed_then() {
    let bench = Bench::with_account(stepped()).await;
    resting(&bench, "BUY", "50000", "100").await;
    let rows = bench.post("/trading/orders/search", json!({"account_names": ["client_a"]})).await.body;
    assert_eq!(rows["data"][0]["status"], "FAILED");
    assert_eq!(bench.truth().await["orders"][0]["status"], "rejected");
}

/// Three markets, two accounts, makers and a taker, for half an hour.
async fn busy(seed: u64) -> Bench {
    let walk = |exchange, market, pair: &str| MarketSettings {
        venue: Venue { exchange, market, pair: pair.parse().unwrap() },
        feed: FeedSettings::Walk { prints_per_second: 5 },
        listing: None,
    };
    let markets = vec![
        walk(Exchange::Binance, Market::Spot, "ETH-USDT"),
        walk(Exchange::Binance, Market::Spot, "PEPE-USDT"),
        walk(Exchange::Binance, Market::Perp, "BTC-USDT"),
    ];
    let bench = Bench::start(Settings { seed, markets, ..stepped() }).await;
    bench.account("client_a", "keyA").await;
    bench.account("client_b", "keyB").await;
    let perp = json!({"binance_perpetual_api_key": "keyA", "binance_perpetual_api_secret": "not-a-secret"});
    assert_eq!(bench.post("/accounts/add-credential/client_a/binance_perpetual", perp).await.status, 201);
    bench.maker("client_a", "eth", "ETH-USDT", false).await;
    bench.maker("client_b", "pepe", "PEPE-USDT", false).await;
    let mut config = crate::harness::maker("perp", "BTC-USDT");
    config["connector_name"] = json!("binance_perpetual");
    bench.post("/controllers/configs/perp", config).await;
    bench.deploy("client_a", "perp", "perp", false).await;
    let taker = json!({"connector_name": "binance", "trading_pair": "ETH-USDT", "max_order_amount": "0.5", "order_interval": 5});
    bench.post("/scripts/configs/volume", taker).await;
    let script = json!({"instance_name": "volume", "credentials_profile": "client_b", "script": "volume_taker", "script_config": "volume"});
    assert_eq!(bench.post("/bot-orchestration/deploy-v2-script", script).await.body["success"], true);
    bench.step(1_800_000).await;
    bench
}

fn steps(pair: &str) -> (Decimal, Decimal) {
    match pair {
        "ETH-USDT" => (d("0.01"), d("0.0001")),
        "PEPE-USDT" => (d("0.00000001"), d("1")),
        _ => (d("0.01"), d("0.00001")),
    }
}

fn is_multiple(value: Decimal, step: Decimal) -> bool {
    value.divided_by(step).unwrap().scale() == 0
}

/// What fills, fees and what perpetuals realised did to each wallet.
fn changes(truth: &Value) -> BTreeMap<(String, String, String), Decimal> {
    let mut changes = BTreeMap::new();
    let mut positions: BTreeMap<(String, String), (Decimal, Decimal)> = BTreeMap::new();
    for fill in truth["fills"].as_array().unwrap() {
        let (key, market) = (fill["api_key"].as_str().unwrap(), fill["market"].as_str().unwrap());
        let (base, quote) = fill["pair"].as_str().unwrap().split_once('-').unwrap();
        let (price, amount) = (exact(&fill["price"]), exact(&fill["amount"]));
        let signed = if fill["side"] == "buy" { amount } else { -amount };
        let mut add = |asset: &str, units: Decimal| {
            let held: &mut Decimal = changes.entry((key.to_owned(), market.to_owned(), asset.to_owned())).or_default();
            *held = held.plus(units).unwrap();
        };
        if market == "spot" {
            add(base, signed);
            add(quote, -signed.times(price).unwrap());
        } else {
            // Cash paid for the position; what it is still worth at its entry is taken off at the end.
            let position = positions.entry((key.to_owned(), quote.to_owned())).or_default();
            position.0 = position.0.plus(signed).unwrap();
            position.1 = position.1.minus(signed.times(price).unwrap()).unwrap();
        }
        for fee in fill["fees"].as_array().unwrap() {
            add(fee["asset"].as_str().unwrap(), -exact(&fee["amount"]));
        }
    }
    for wallet in truth["balances"].as_array().unwrap().iter().filter(|wallet| wallet["market"] == "perp") {
        let key = wallet["api_key"].as_str().unwrap();
        let (_, cash) = positions.get(&(key.to_owned(), "USDT".to_owned())).copied().unwrap_or_default();
        let worth = wallet["positions"].as_array().unwrap().iter().fold(Decimal::ZERO, |worth, position| {
            worth.plus(exact(&position["amount"]).times(exact(&position["entry"])).unwrap()).unwrap()
        });
        let held = changes.entry((key.to_owned(), "perp".to_owned(), "USDT".to_owned())).or_default();
        *held = held.plus(cash).unwrap().plus(worth).unwrap();
    }
    changes
}

#[tokio::test]
async fn balances_change_exactly_by_fills_and_fees_and_everything_goes_in_the_exchanges_steps() {
    for seed in 1..=4 {
        let truth = busy(seed).await.truth().await;
        let fills = truth["fills"].as_array().unwrap();
        assert!(fills.len() > 200, "only {} fills with seed {seed}", fills.len());
        for fill in fills {
            let (price_step, amount_step) = steps(fill["pair"].as_str().unwrap());
            assert!(is_multiple(exact(&fill["price"]), price_step), "{fill}");
            assert!(is_multiple(exact(&fill["amount"]), amount_step), "{fill}");
        }
        let changes = changes(&truth);
        for wallet in truth["balances"].as_array().unwrap() {
            let (key, market) = (wallet["api_key"].as_str().unwrap(), wallet["market"].as_str().unwrap());
            for (asset, units) in wallet["units"].as_object().unwrap() {
                let before = wallet["initial"].get(asset).map(exact).unwrap_or_default();
                let by = changes.get(&(key.to_owned(), market.to_owned(), asset.clone())).copied().unwrap_or_default();
                // An entry price is a quotient: where positions average, the last of 36 places may differ.
                let off = before.plus(by).unwrap().minus(exact(units)).unwrap().abs();
                let allowed = if market == "spot" { Decimal::ZERO } else { d("1e-20") };
                assert!(off <= allowed, "{asset} of {key} on {market} is off by {off} with seed {seed}");
            }
        }
    }
}

#[tokio::test]
async fn the_same_seed_and_the_same_calls_give_the_same_truth() {
    let untimed = |truth: Value| {
        let fills = truth["fills"].as_array().unwrap().clone();
        let facts = fills
            .into_iter()
            .map(|fill| (fill["exchange_trade_id"].clone(), fill["price"].clone(), fill["amount"].clone()));
        facts.collect::<Vec<_>>()
    };
    // Instances are named by the second, and a name decides when in a second a bot ticks.
    let settings = || Settings { markets: vec![], ..stepped() };
    let mut all = Vec::new();
    for _ in 0..2 {
        let bench = Bench::with_account(settings()).await;
        for side in ["BUY", "SELL"].into_iter().cycle().take(20) {
            bench.order("client_a", json!({"trade_type": side, "amount": "0.01", "order_type": "LIMIT", "price": if side == "BUY" { "59900" } else { "60100" }})).await;
        }
        bench.step(600_000).await;
        all.push(untimed(bench.truth().await));
    }
    assert!(!all[0].is_empty());
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn a_shock_moves_the_price_by_so_much_over_so_many_prints() {
    let settings = Settings { markets: vec![], ..stepped() };
    let bench = Bench::with_account(settings).await;
    let mid = async || {
        let asked = json!({"connector_name": "binance", "trading_pairs": ["ETH-USDT"]});
        let prices = bench.post("/market-data/prices", asked).await.body;
        prices["prices"]["ETH-USDT"].to_string().parse::<Decimal>().unwrap()
    };
    let before = mid().await;
    let shock = json!({"connector": "binance", "trading_pair": "ETH-USDT", "percent": "30", "prints": 20});
    bench.post("/paper/shock", shock).await;
    bench.step(10_000).await;
    let after = mid().await;
    let part = after.divided_by(before).unwrap();
    assert!(part > d("0.65") && part < d("0.75"), "from {before} to {after}");
}

#[tokio::test]
async fn a_kill_switch_that_is_turned_while_a_bot_runs_takes_its_orders_away() {
    let bench = Bench::with_account(stepped()).await;
    let bot = bench.maker("client_a", "one", "BTC-USDT", false).await;
    bench.step(2_000).await;
    let open = async || {
        let truth = bench.truth().await;
        truth["orders"].as_array().unwrap().iter().filter(|order| order["status"] == "open").count()
    };
    assert_eq!(open().await, 4);
    let path = format!("/controllers/bots/{bot}/one-config/config");
    assert_eq!(bench.post(&path, json!({"manual_kill_switch": true})).await.status, 200);
    bench.step(2_000).await;
    assert_eq!(open().await, 0);
    bench.post(&path, json!({"manual_kill_switch": false, "buy_spreads": [0.01], "sell_spreads": []})).await;
    bench.step(2_000).await;
    assert_eq!(open().await, 1);
    let truth = bench.truth().await;
    assert_eq!(truth["orders"].as_array().unwrap().last().unwrap()["price"], "59400");
}

#[tokio::test]
async fn a_real_tape_is_played_and_only_its_prints_fill() {
    let tape = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/market/binance_spot_btcusdt_20240808.tape.csv.gz");
    if !tape.exists() {
        eprintln!("the tapes are not here: nothing is played");
        return;
    }
    let markets = vec![MarketSettings {
        venue: venue("BTC-USDT"),
        feed: FeedSettings::Tape { paths: vec![tape] },
        listing: None,
    }];
    let bench = Bench::with_account(Settings { markets, ..stepped() }).await;
    let mut config = crate::harness::maker("tape", "BTC-USDT");
    config["buy_spreads"] = json!([0.0001]);
    config["sell_spreads"] = json!([0.0001]);
    bench.post("/controllers/configs/tape", config).await;
    bench.deploy("client_a", "tape", "tape", false).await;
    bench.step(340_000).await;
    let truth = bench.truth().await;
    let fills = truth["fills"].as_array().unwrap();
    assert!(fills.len() > 10, "only {} fills", fills.len());
    assert!(fills.iter().all(|fill| fill["liquidity"] == "maker"));
    let candles = json!({"connector_name": "binance", "trading_pair": "BTC-USDT", "interval": "1m", "max_records": 3});
    assert_eq!(bench.post("/market-data/candles", candles).await.body.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn perpetual_positions_and_their_funding_are_told() {
    let bench = busy(9).await;
    bench.post("/paper/funding", json!({})).await;
    let asked = json!({"account_names": ["client_a"]});
    let positions = bench.post("/trading/positions", asked.clone()).await.body;
    let held = &bench.truth().await["balances"];
    let real =
        held.as_array().unwrap().iter().find(|wallet| wallet["market"] == "perp").unwrap()["positions"][0].clone();
    if real["amount"] != "0" {
        assert_eq!(positions["data"][0]["trading_pair"], "BTC-USDT");
        let funding = bench.post("/trading/funding-payments", asked).await.body;
        assert_eq!(funding["data"][0]["connector_name"], "binance_perpetual");
    }
}

#[tokio::test]
async fn time_passes_by_itself_so_many_times_as_fast_as_on_the_wall() {
    let bench = Bench::with_account(Settings { pace: paper::Pace::Times(100), ..Settings::default() }).await;
    bench.maker("client_a", "one", "ETH-USDT", false).await;
    while bench.truth().await["fills"] == json!([]) {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.post("/paper/step", json!({"ms": 1})).await.status, 400);
    let http = bench.paper.http;
    bench.paper.stop().await;
    tokio::net::TcpListener::bind(http).await.expect("its port is free again");
}

#[tokio::test]
async fn a_hundred_bots_fill_twenty_times_a_second_each_and_every_fill_is_told() {
    const BOTS: usize = 100;
    const SECONDS: usize = 2;
    let markets = (0..10).map(|no| MarketSettings {
        venue: venue(&format!("COIN{no}-USDT")),
        feed: FeedSettings::Walk { prints_per_second: 50 },
        listing: None,
    });
    let rich = |asset: String| (asset, Decimal::from_int(10_000_000));
    let balances = (0..10).map(|no| format!("COIN{no}")).chain(["USDT".to_owned()]).map(rich).collect();
    let bench = Bench::start(Settings { markets: markets.collect(), balances, ..stepped() }).await;
    bench.account("client_a", "keyA").await;
    // Close to the market on both sides, so that nearly every print goes through some of it.
    let spreads: Vec<&str> = ["0.0001", "0.0002", "0.0003", "0.0004"].repeat(8);
    for no in 0..BOTS {
        let id = format!("bot{no}");
        let mut config = crate::harness::maker(&id, &format!("COIN{}-USDT", no % 10));
        config["buy_spreads"] = json!(spreads);
        config["sell_spreads"] = json!(spreads);
        config["cooldown_time"] = json!(0);
        config["executor_refresh_time"] = json!(1);
        bench.post(&format!("/controllers/configs/{id}"), config).await;
        assert_eq!(bench.deploy("client_a", &id, &id, false).await.body["success"], true);
    }
    // Each has quoted once before it is counted.
    bench.step(1_000).await;
    let before = bench.truth().await["fills"].as_array().unwrap().len();
    let mut ears = bench.listen("hbot/+/events").await;
    let mut told = 0;
    for _ in 0..SECONDS {
        bench.step(1_000).await;
        told += ears.all().await.iter().filter(|(_, text)| text.contains("OrderFilled")).count();
    }
    let happened = bench.truth().await["fills"].as_array().unwrap().len() - before;
    assert_eq!(told, happened);
    assert!(happened >= BOTS * 20 * SECONDS, "only {happened} fills");
}
