//! What the market is worth, as the server sees it: prices, books, candles.

use axum::{Router, body::Bytes, extract::State, routing::post};
use events::{Decimal, bot::Venue, ledger::Side};
use serde_json::{Value, json};

use crate::{
    exchange::{book::Candle, from_connector},
    floats,
    input::{Answer, Form, Refused, ok},
    server::Worlds,
};

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/market-data/prices", post(prices))
        .route("/market-data/order-book", post(order_book))
        .route("/market-data/candles", post(candles))
}

fn venue(connector: &str, pair: &str) -> Result<Venue, Refused> {
    let (exchange, market) = from_connector(connector).ok_or_else(|| {
        Refused::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("Connector '{connector}' not found"))
    })?;
    let pair = pair.parse().map_err(|_| Refused::bad(format!("Invalid trading pair: {pair}")))?;
    Ok(Venue { exchange, market, pair })
}

async fn prices(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (connector, pairs) = (form.text("connector_name"), form.texts_required("trading_pairs"));
    form.done()?;
    let venues: Vec<Venue> = pairs.iter().map(|pair| venue(&connector, pair)).collect::<Result<_, _>>()?;
    let mut world = worlds.lock();
    let prices = venues.into_iter().map(|venue| (venue.pair.to_string(), floats::number(world.standing(&venue).mid())));
    let prices = Value::Object(prices.collect());
    ok(&json!({"connector": connector, "prices": prices, "timestamp": floats::seconds(world.now)}))
}

async fn order_book(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (connector, pair) = (form.text("connector_name"), form.text("trading_pair"));
    let depth = form.whole("depth").unwrap_or(10).clamp(1, 1_000);
    form.done()?;
    let venue = venue(&connector, &pair)?;
    let mut world = worlds.lock();
    let standing = world.standing(&venue);
    let side = |side: Side| {
        let levels = standing.levels(side, usize::try_from(depth).unwrap_or(1));
        let level = |(price, amount): (Decimal, Decimal)| json!({"price": floats::number(price), "amount": floats::number(amount)});
        Value::Array(levels.into_iter().map(level).collect())
    };
    let (bids, asks) = (side(Side::Sell), side(Side::Buy));
    ok(&json!({"trading_pair": pair, "bids": bids, "asks": asks, "timestamp": floats::seconds(world.now)}))
}

async fn candles(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (connector, pair) = (form.text("connector_name"), form.text("trading_pair"));
    let (interval, records) = (form.text_or("interval", "1m"), form.whole("max_records").unwrap_or(500));
    form.done()?;
    let venue = venue(&connector, &pair)?;
    let mut world = worlds.lock();
    let minutes = world.standing(&venue).candles.clone();
    let wide = gathered(&minutes, minutes_of(&interval)?);
    let skipped = wide.len().saturating_sub(usize::try_from(records).unwrap_or_default());
    ok(&wide[skipped..].iter().map(told).collect())
}

fn minutes_of(interval: &str) -> Result<i64, Refused> {
    let (count, unit) = interval.split_at(interval.len().saturating_sub(1));
    let unit = match unit {
        "m" => 1,
        "h" => 60,
        "d" => 1_440,
        _ => 0,
    };
    let minutes = count.parse::<i64>().unwrap_or_default().saturating_mul(unit);
    if minutes > 0 { Ok(minutes) } else { Err(Refused::bad(format!("Interval {interval} is not supported"))) }
}

/// Minutes put together into wider candles.
fn gathered(minutes: &[Candle], wide: i64) -> Vec<Candle> {
    let width_us = wide * 60_000_000;
    let start = |candle: &Candle| candle.minute.micros().div_euclid(width_us);
    let mut all: Vec<Candle> = Vec::new();
    for minute in minutes {
        match all.last_mut().filter(|last| start(last) == start(minute)) {
            Some(last) => last.join(minute),
            None => all.push(*minute),
        }
    }
    all
}

fn told(candle: &Candle) -> Value {
    json!({
        "timestamp": floats::number(Decimal::from_int(candle.minute.millis() / 1_000)),
        "open": floats::number(candle.open),
        "high": floats::number(candle.high),
        "low": floats::number(candle.low),
        "close": floats::number(candle.close),
        "volume": floats::number(candle.volume),
        "quote_asset_volume": floats::number(candle.quote_volume),
        "n_trades": floats::number(Decimal::from_int(candle.prints)),
        "taker_buy_base_volume": floats::number(Decimal::ZERO),
        "taker_buy_quote_volume": floats::number(Decimal::ZERO),
    })
}
