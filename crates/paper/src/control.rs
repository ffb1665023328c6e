//! What only a test may do: step the clock, move the market, kill, break, and read the truth.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use events::{Decimal, Pair, bot::Venue};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    exchange::{book::Tick, from_connector},
    faults::{Dice, Faults},
    input::{Answer, Refused, ok},
    server::Worlds,
    settings::{MarketSettings, Pace},
    truth,
    world::World,
};

/// Between two calls of others that may come in between while the clock is stepped.
const SLICE_MS: u32 = 100;

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/paper/truth", get(told))
        .route("/paper/counts", get(counts))
        .route("/paper/now", get(now))
        .route("/paper/faults", get(faults).post(set_faults))
        .route("/paper/step", post(step))
        .route("/paper/markets", post(list_market))
        .route("/paper/shock", post(shock))
        .route("/paper/prints", post(prints))
        .route("/paper/funding", post(funding))
        .route("/paper/kill-bot", post(kill_bot))
        .route("/paper/broker/restart", post(broker_restart))
        .route("/paper/broker/stop", post(broker_stop))
        .route("/paper/broker/start", post(broker_start))
}

fn read<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|cause| Refused::bad(cause.to_string()))
}

/// It happened, and what the bots said of it has reached the broker.
async fn done(worlds: &Worlds) -> Answer {
    let reached = worlds.lock().reached();
    reached.await.map_err(|_| Refused::Plain500)?;
    ok(&json!({"now_ms": worlds.lock().now.millis()}))
}

async fn told(State(worlds): State<Worlds>) -> Answer {
    ok(&truth::told(&worlds.lock().exchanges))
}

/// How much the truth holds, for whoever cannot read all of it again and again.
async fn counts(State(worlds): State<Worlds>) -> Answer {
    let world = worlds.lock();
    ok(&json!({"fills": world.exchanges.truth.fills.len(), "orders": world.exchanges.orders.len()}))
}

async fn now(State(worlds): State<Worlds>) -> Answer {
    done(&worlds).await
}

fn faults_told(faults: &Faults) -> Value {
    serde_json::to_value(faults).expect("faults are plain JSON")
}

async fn faults(State(worlds): State<Worlds>) -> Answer {
    ok(&faults_told(&worlds.lock().dice.faults))
}

/// Fields that are not sent stay as they are. Sending a seed throws the dice anew from it.
async fn set_faults(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let sent: serde_json::Map<String, Value> = read(&body)?;
    let mut world = worlds.lock();
    let mut all = faults_told(&world.dice.faults);
    let seeded = sent.contains_key("seed");
    if let Some(fields) = all.as_object_mut() {
        fields.extend(sent);
    }
    let faults: Faults = serde_json::from_value(all).map_err(|cause| Refused::bad(cause.to_string()))?;
    faults.check().map_err(|bad| Refused::bad(bad.to_string()))?;
    if seeded {
        world.dice = Dice::new(faults);
    } else {
        world.dice.faults = faults;
    }
    ok(&faults_told(&world.dice.faults))
}

#[derive(Deserialize)]
struct Step {
    ms: u32,
}

async fn step(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let Step { ms } = read(&body)?;
    if worlds.lock().settings.pace != Pace::Stepped {
        return Err(Refused::bad("the clock of this paper server runs by itself"));
    }
    let stepping = worlds.clone();
    let stepped = tokio::task::spawn_blocking(move || {
        let mut left = ms;
        while left > 0 {
            let slice = left.min(SLICE_MS);
            left -= slice;
            let mut world = stepping.lock();
            let until = world.now.plus_micros(crate::world::ms(slice));
            world.advance(until);
        }
    });
    stepped.await.map_err(|_| Refused::Plain500)?;
    done(&worlds).await
}

async fn list_market(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let market: MarketSettings = read(&body)?;
    worlds.lock().list(&market).map_err(|fault| Refused::bad(fault.to_string()))?;
    done(&worlds).await
}

/// Which market is meant, in the words of the API.
fn venue(connector: &str, pair: &Pair) -> Result<Venue, Refused> {
    let (exchange, market) =
        from_connector(connector).ok_or_else(|| Refused::bad(format!("connector {connector:?} is not known")))?;
    Ok(Venue { exchange, market, pair: pair.clone() })
}

#[derive(Deserialize)]
struct Shock {
    connector: String,
    trading_pair: Pair,
    /// How far the price falls; below zero it rises.
    percent: Decimal,
    prints: u32,
}

async fn shock(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let shock: Shock = read(&body)?;
    let venue = venue(&shock.connector, &shock.trading_pair)?;
    worlds.lock().standing(&venue).shock(shock.percent, shock.prints.max(1));
    done(&worlds).await
}

#[derive(Deserialize)]
struct Prints {
    connector: String,
    trading_pair: Pair,
    prints: Vec<Print>,
}

#[derive(Deserialize)]
struct Print {
    price: Decimal,
    amount: Decimal,
}

impl World {
    fn print(&mut self, venue: &Venue, prints: &[Print]) {
        let step = self.standing(venue).listing.price_step;
        for Print { price, amount } in prints {
            self.move_market(venue, Tick::Print { price: *price, amount: *amount });
            let (bid, ask) = (crate::exact::difference(*price, step), crate::exact::sum(*price, step));
            self.move_market(venue, Tick::Best { bid, ask });
        }
    }
}

/// Prints that happen now; best prices stand around the last one until the feed says otherwise.
async fn prints(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let asked: Prints = read(&body)?;
    let venue = venue(&asked.connector, &asked.trading_pair)?;
    worlds.lock().print(&venue, &asked.prints);
    done(&worlds).await
}

/// Positions are paid for now, besides each eight hours.
async fn funding(State(worlds): State<Worlds>) -> Answer {
    worlds.lock().pay_funding();
    done(&worlds).await
}

#[derive(Deserialize)]
struct KillBot {
    bot: String,
}

async fn kill_bot(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let KillBot { bot } = read(&body)?;
    if !worlds.lock().kill(&bot) {
        return Err(Refused::missing(format!("Bot {bot} not found")));
    }
    done(&worlds).await
}

async fn broker_restart(State(worlds): State<Worlds>) -> Answer {
    worlds.broker.go_down().await;
    broker_start(State(worlds)).await
}

async fn broker_stop(State(worlds): State<Worlds>) -> Answer {
    worlds.broker.go_down().await;
    done(&worlds).await
}

async fn broker_start(State(worlds): State<Worlds>) -> Answer {
    let up = worlds.broker.come_up().await;
    up.map_err(|fault| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()))?;
    done(&worlds).await
}
