//! Another process takes a client's bots over: it goes on where the one before stopped, in what it listens to as well.

use std::time::{Duration, Instant};

use events::{AggregateRef, BotId, Event, Exchange, Market, Time, bot::Venue, market::MarketEvent};
use paper::{FeedSettings, MarketSettings, Settings};
use serde_json::json;
use store::{Login, read};
use tests::{Database, Outside, Served};

use crate::{
    desk::{Client, Desk},
    facts::{append, write},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for an event of a client after `seq` that is like this; where it stands.
async fn comes(desk: &Desk, client: &Client, seq: u64, is_it: impl Fn(&Event) -> bool) -> u64 {
    let since = Instant::now();
    loop {
        let events = after(desk, client, seq).await;
        if let Some((at, _)) = events.iter().find(|(_, event)| is_it(event)) {
            return *at;
        }
        assert!(since.elapsed() < PATIENCE, "it does not come among {events:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn after(desk: &Desk, client: &Client, seq: u64) -> Vec<(u64, Event)> {
    let events = read::after(&desk.database.pool(Login::Projector), client.id, seq, 1_000_000).await.unwrap();
    events.into_iter().map(|event| (event.seq, event.event)).collect()
}

async fn head(desk: &Desk, client: &Client) -> u64 {
    read::head(&desk.database.pool(Login::Projector), client.id).await.unwrap()
}

fn quotes_both_sides(event: &Event) -> bool {
    matches!(event, Event::Market(MarketEvent::QuoteObserved { bid: Some(_), ask: Some(_), .. }))
}

fn tells_depth(event: &Event) -> bool {
    matches!(event, Event::Market(MarketEvent::DepthObserved { middle: Some(_), .. }))
}

fn venue() -> Venue {
    Venue { exchange: Exchange::Binance, market: Market::Spot, pair: "BTC-USDT".parse().unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_go_on_with_the_orders_that_rest_and_the_days_budget_with_what_was_told() {
    // Nothing moves, and no order is ever renewed: whoever comes later hears of none.
    let still = MarketSettings { venue: venue(), feed: FeedSettings::Still, listing: None };
    let settings = Settings { markets: vec![still], heartbeat_ms: 1_000, ..Settings::default() };
    let (database, outside) = (Database::new().await, Outside::start(settings).await);
    let served = Served::of(outside.serve(&database, "api,projector"));
    let desk = Desk { database, outside, served };
    let operator = || Served::of(desk.outside.serve(&desk.database, "operator"));
    let mut hands = operator();
    let client = desk.onboard("acme").await;
    desk.connect(&client, "binance", "acme").await;
    let parameters = json!({
        "total_amount_quote": "2000", "buy_spreads": "[0.001]", "sell_spreads": "[0.001]", "executor_refresh_time": "86400",
    });
    let config = json!({"controller": "pmm_simple", "venue": venue(), "parameters": parameters});
    let created = desk.served.post(&client.token, "/api/bots", "c1", &json!({"name": "maker", "config": config})).await;
    let bot = created.json()["bot_id"].as_str().unwrap().to_owned();
    desk.want(&client, &bot, "deploy", "d1").await;
    comes(&desk, &client, 0, quotes_both_sides).await;
    comes(&desk, &client, 0, tells_depth).await;

    hands.kill();
    let before = head(&desk, &client).await;
    hands = operator();
    comes(&desk, &client, before, quotes_both_sides).await;

    hands.kill();
    let today = Time::now().midnight();
    let id: BotId = bot.parse().unwrap();
    let told = |n: i64| {
        let at = today.plus_micros(n);
        let event = MarketEvent::QuoteObserved { bot: id, venue: venue(), bid: None, ask: None, band_bps: None, at };
        append(client.id, AggregateRef::new("market", "BTC-USDT"), event.into(), None)
    };
    write(&desk.database.streams(), (0..1_400).map(told).collect()).await;
    let before = head(&desk, &client).await;
    let _hands = operator();
    // What the book looks like has a budget of its own. It is told with the quotes or after them.
    let told = comes(&desk, &client, before, tells_depth).await;
    let after: Vec<_> = after(&desk, &client, before).await.into_iter().filter(|(seq, _)| *seq <= told).collect();
    let is_quote = |event: &Event| matches!(event, Event::Market(MarketEvent::QuoteObserved { .. }));
    if Time::now().midnight() == today {
        assert!(!after.iter().any(|(_, event)| is_quote(event)), "the day's budget was spent: {after:?}");
    }
}
