//! What bots say over MQTT, in their own spelling: numbers are doubles, a market order's price is a bare `NaN` (which is
//! no JSON), times are whole seconds of the bot's clock.

use std::sync::Arc;

use bytes::Bytes;
use events::{Decimal, Time, ledger::Side};
use serde_json::{Value, json};

use crate::{
    exact::{product, quotient},
    exchange::{Order, side_name},
    floats,
    truth::Fill,
};

/// On its way to the broker.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub topic: Arc<str>,
    pub payload: Bytes,
}

/// What the world hands to the broker's side, in order.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Say(Message),
    /// Everything before it has reached the broker, or was lost while that was down.
    Reached(tokio::sync::oneshot::Sender<()>),
}

impl Message {
    pub(crate) fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into() }
    }

    pub(crate) fn of(bot: &str, kind: &str, payload: String) -> Self {
        Self::new(format!("hbot/{bot}/{kind}"), payload)
    }
}

const fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "Buy",
        Side::Sell => "Sell",
    }
}

fn event(ticked: Time, kind: &str, data: &str) -> String {
    format!(r#"{{"timestamp":{},"type":"{kind}","data":{{{data}}}}}"#, ticked.millis() / 1_000)
}

const fn position(order: &Order) -> &'static str {
    match order.venue.market {
        events::Market::Spot => "NIL",
        events::Market::Perp => "OPEN",
    }
}

pub(crate) fn filled(order: &Order, fill: &Fill, ticked: Time) -> String {
    let data = format!(
        concat!(
            r#""order_id":"{}","trading_pair":"{}","trade_type":"TradeType.{}","order_type":"OrderType.{}","#,
            r#""price":{},"amount":{},"trade_fee":{},"exchange_trade_id":"{}","exchange_order_id":"{}","#,
            r#""leverage":1,"position":"{}""#
        ),
        order.id,
        order.venue.pair,
        side_name(order.side),
        order.kind.name(),
        floats::bot(fill.price),
        floats::bot(fill.amount),
        fee(order, fill),
        fill.trade,
        order.exchange_id,
        position(order),
    );
    event(ticked, "OrderFilled", &data)
}

/// A fill's fee as Hummingbot spells it, with exact decimals as texts.
pub(crate) fn fee(order: &Order, fill: &Fill) -> String {
    let kind = match order.venue.market {
        events::Market::Spot => "DeductedFromReturns",
        events::Market::Perp => "AddedToCost",
    };
    format!(
        r#"{{"fee_type":"{kind}","percent":"0","percent_token":"{0}","flat_fees":[{{"token":"{0}","amount":"{1}"}}]}}"#,
        fill.fee_asset, fill.fee
    )
}

pub(crate) fn created(order: &Order, ticked: Time) -> String {
    let price = order.price.map_or_else(|| "NaN".to_owned(), floats::bot);
    let data = format!(
        concat!(
            r#""type":"OrderType.{}","trading_pair":"{}","amount":{},"price":{},"order_id":"{}","#,
            r#""creation_timestamp":{}.0,"exchange_order_id":"{}","leverage":1,"position":"{}""#
        ),
        order.kind.name(),
        order.venue.pair,
        floats::bot(order.amount),
        price,
        order.id,
        ticked.millis() / 1_000,
        order.exchange_id,
        position(order),
    );
    event(ticked, &format!("{}OrderCreated", side_word(order.side)), &data)
}

pub(crate) fn completed(order: &Order, ticked: Time) -> String {
    let data = format!(
        concat!(
            r#""order_id":"{}","base_asset":"{}","quote_asset":"{}","base_asset_amount":{},"#,
            r#""quote_asset_amount":{},"order_type":"OrderType.{}","exchange_order_id":"{}""#
        ),
        order.id,
        order.venue.pair.base(),
        order.venue.pair.quote(),
        floats::bot(order.filled),
        floats::bot(order.filled_quote),
        order.kind.name(),
        order.exchange_id,
    );
    event(ticked, &format!("{}OrderCompleted", side_word(order.side)), &data)
}

pub(crate) fn cancelled(order: &Order, ticked: Time) -> String {
    event(
        ticked,
        "OrderCancelled",
        &format!(r#""order_id":"{}","exchange_order_id":"{}""#, order.id, order.exchange_id),
    )
}

pub(crate) fn heartbeat(at: Time) -> String {
    format!(r#"{{"ts":{}}}"#, at.micros())
}

pub(crate) fn availability(at: Time, online: bool) -> String {
    let word = if online { "online" } else { "offline" };
    format!(r#"{{"timestamp":{},"type":"availability","msg":"{word}"}}"#, at.millis())
}

/// An answer to a command.
pub(crate) fn reply(data: &Value, at: Time) -> Value {
    json!({
        "header": {
            "reply_to": "",
            "timestamp": at.millis(),
            "content_type": "json",
            "encoding": "utf8",
            "agent": "commlib",
        },
        "data": data,
    })
}

/// A trade as the history call tells it: six decimals and no order id.
pub(crate) fn history_trade(order: &Order, fill: &Fill, ticked: Time) -> Value {
    json!({
        "market": order.connector(),
        "trade_id": fill.trade.to_string(),
        "price": floats::history(fill.price),
        "quantity": floats::history(fill.amount),
        "symbol": order.venue.pair,
        "trade_timestamp": ticked.millis() / 1_000 * 1_000,
        "trade_type": side_name(order.side),
        "base_asset": order.venue.pair.base(),
        "quote_asset": order.venue.pair.quote(),
        "raw_json": {"trade_fee": serde_json::from_str::<Value>(&fee(order, fill)).expect("a fee is JSON")},
    })
}

/// The fee in the quote asset, at the fill's own price where it was charged in the base asset.
pub(crate) fn fee_in_quote(order: &Order, fill: &Fill) -> Decimal {
    if fill.fee_asset == order.venue.pair.quote() { fill.fee } else { product(fill.fee, fill.price) }
}

pub(crate) fn average(order: &Order) -> Option<Decimal> {
    order.filled.is_positive().then(|| quotient(order.filled_quote, order.filled))
}
