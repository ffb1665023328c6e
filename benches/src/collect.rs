//! Whether collecting keeps up: a hundred bots of ten clients that fill some twenty times a second each, on paper, and the
//! operator that writes it all down beside the projector.

use std::time::{Duration, Instant};

use events::{Decimal, bot::Venue};
use paper::{FeedSettings, Listing, MarketSettings, Settings};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Database, Outside, Served, token};

use crate::{
    ground::{Ground, a_second},
    process::{cpu_ticks, resident_mib, share},
    table::{Row, Target},
};

const CLIENTS: usize = 10;
const COINS: usize = 10;
/// Prints a second of each market, once all bots run. Nearly each goes through somebody's order and fills a part of it.
const BUSY: u32 = 200;

pub async fn run(ground: &Ground) -> Vec<Row> {
    let (database, outside) = (ground.database().await, Outside::start(world()).await);
    let edge = Served::start(&database, "api,projector");
    let operator = Served::of(outside.served_by(database.command(&["serve", "--roles", "operator"]), 90));
    for client in 0..CLIENTS {
        deploy_ten(&database, &edge, client).await;
    }
    while running(&outside).await < CLIENTS * COINS {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    all_at(&outside, json!({"walk": {"prints_per_second": BUSY}})).await;
    tokio::time::sleep(ground.turn()).await;
    let (before, spent) = (fills(&outside).await, [&operator, &edge].map(cpu_ticks));
    let since = Instant::now();
    tokio::time::sleep(ground.turn() * 5).await;
    let (happened, elapsed) = (fills(&outside).await - before, since.elapsed());
    let [collects, folds] =
        [(&operator, spent[0]), (&edge, spent[1])].map(|(process, before)| share(cpu_ticks(process) - before, elapsed));
    let rate = a_second(happened, since);
    let stopped = Instant::now();
    all_at(&outside, json!("still")).await;
    let all = fills(&outside).await;
    let behind = until(stopped, async || recorded(&database).await >= all).await;
    let unfolded = until(stopped, async || unfolded(&database).await == 0).await;
    let missing = all.saturating_sub(recorded(&database).await);
    vec![
        Row::value("collect, fills of 100 bots", rate, "fills/s", Target::AtLeast(2_000)),
        Row::latency("collect, from the last fill until all are recorded", behind, Some(5_000)),
        Row::latency("collect, until every read model knows them", unfolded, None),
        Row::value("collect, lost or doubled", missing + doubled(&database).await, "fills", Target::AtMost(0)),
        Row::value("collect, the operator's share of one core", collects, "%", Target::None),
        Row::value("collect, the operator's memory", resident_mib(&operator), "MiB", Target::None),
        Row::value("collect, the projector's share of one core", folds, "%", Target::None),
        Row::value("collect, the projector's memory", resident_mib(&edge), "MiB", Target::None),
    ]
}

/// How long it took from a moment until something was so; as long as was waited at most, if it never was.
async fn until(since: Instant, is_it: impl AsyncFn() -> bool) -> u64 {
    while !is_it().await && since.elapsed() < Duration::from_secs(120) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    u64::try_from(since.elapsed().as_micros()).expect("benches end")
}

/// Ten markets whose prints are small beside what makers quote, so that an order has many fills: it is fills that are
/// measured, and not how fast orders can be placed. Few print while bots come up.
fn world() -> Settings {
    let listing: Listing = serde_json::from_value(listing()).expect("it is one");
    let market = |coin: usize| MarketSettings {
        venue: venue(coin),
        feed: FeedSettings::Walk { prints_per_second: 1 },
        listing: Some(listing.clone()),
    };
    let rich = |asset: String| (asset, Decimal::from_int(10_000_000));
    Settings {
        markets: (0..COINS).map(market).collect(),
        balances: (0..COINS).map(|coin| format!("COIN{coin}")).chain(["USDT".to_owned()]).map(rich).collect(),
        ..Settings::default()
    }
}

fn listing() -> Value {
    json!({"price": "1", "price_step": "0.0001", "amount_step": "0.01", "depth": "4000"})
}

fn venue(coin: usize) -> Venue {
    let pair = format!("COIN{coin}-USDT").parse().expect("it is a pair");
    Venue { exchange: events::Exchange::Binance, market: events::Market::Spot, pair }
}

async fn deploy_ten(database: &Database, edge: &Served, client: usize) {
    let (admin, slug) = (token(database, None), format!("client-{client}"));
    let body = json!({"slug": slug, "name": slug});
    let told = edge.post(&admin, "/api/admin/clients", &slug, &body).await.json();
    let id = told["client_id"].as_str().expect("it tells the id").parse().expect("it is one");
    let own = token(database, Some(id));
    let fields = json!({"binance_api_key": format!("fake-{slug}-key"), "binance_api_secret": "fake-secret"});
    let body = json!({"exchange": "binance", "market": "spot", "fields": fields});
    assert_eq!(edge.post(&own, "/api/clients/credentials", "key", &body).await.status, 201);
    let spreads = "[0.0001,0.0001,0.0002,0.0002,0.0003,0.0003,0.0004,0.0004]";
    for coin in 0..COINS {
        let parameters = json!({"total_amount_quote": "160000", "buy_spreads": spreads, "sell_spreads": spreads,
            "executor_refresh_time": "5", "cooldown_time": "0"});
        let config = json!({"controller": "pmm_simple", "venue": venue(coin), "parameters": parameters});
        let body = json!({"name": format!("maker-{coin}"), "config": config});
        let bot = edge.post(&own, "/api/bots", &format!("create-{coin}"), &body).await.json();
        let path = format!("/api/bots/{}/deploy", bot["bot_id"].as_str().expect("it tells the id"));
        assert_eq!(edge.post(&own, &path, &format!("deploy-{coin}"), &json!({})).await.status, 202);
    }
}

async fn running(outside: &Outside) -> usize {
    let status = outside.control(Method::GET, "/bot-orchestration/status", None).await;
    status["data"].as_object().map_or(0, |bots| bots.len())
}

async fn fills(outside: &Outside) -> u64 {
    let counts = outside.control(Method::GET, "/paper/counts", None).await;
    counts["fills"].as_u64().expect("it counts fills")
}

/// From now on every market prints like this.
async fn all_at(outside: &Outside, feed: Value) {
    for coin in 0..COINS {
        let market: Value = json!({"venue": venue(coin), "feed": feed, "listing": listing()});
        outside.control(Method::POST, "/paper/markets", Some(market)).await;
    }
}

/// Events that some read model does not know yet.
async fn unfolded(database: &Database) -> i64 {
    let behind = "select coalesce(sum(s.head - c.reached), 0)::bigint
                    from es.streams s join rm.checkpoints c using (client_id)
                    join rm.versions v on v.projection = c.projection and v.live = c.version";
    sqlx::query_scalar(behind).fetch_one(&database.superuser()).await.expect("checkpoints can be read")
}

async fn recorded(database: &Database) -> u64 {
    let count: i64 = sqlx::query_scalar("select count(*) from es.events where event_type = 'FillRecorded'")
        .fetch_one(&database.superuser())
        .await
        .expect("events can be counted");
    count.unsigned_abs()
}

async fn doubled(database: &Database) -> u64 {
    let (all, different): (i64, i64) = sqlx::query_as(
        "select count(*), count(distinct (client_id, payload -> 'FillRecorded' ->> 'trade', payload -> 'FillRecorded' ->> 'side'))
           from es.events where event_type = 'FillRecorded'",
    )
    .fetch_one(&database.superuser())
    .await
    .expect("events can be counted");
    all.abs_diff(different)
}
