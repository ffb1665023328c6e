//! What happened to a bot's orders, in the names and payloads of Hummingbot's `MarketEvent`.
//!
//! A fill may come before the event that tells of its order's creation.

use events::{Amount, Asset, Decimal, OrderId, Pair, Price, Time, TradeId, ledger::Side};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::said::{Fill, json};
use crate::{ConnectorName, OrderType, TradeFee, numbers, times, trading};

/// Something that happened, and when by the bot's clock: whole seconds, shared by many events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotEvent {
    pub at: Time,
    pub happened: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// The exchange took an order. A market order has no price.
    OrderCreated {
        order: OrderId,
        exchange_order: Option<OrderId>,
        pair: Pair,
        side: Side,
        order_type: Option<OrderType>,
        amount: Amount,
        price: Option<Price>,
    },
    OrderFilled(Fill),
    /// The whole of an order was executed. The sums are the bot's own.
    OrderCompleted {
        order: OrderId,
        exchange_order: Option<OrderId>,
        side: Side,
        base: Asset,
        quote: Asset,
        base_amount: Decimal,
        quote_amount: Decimal,
    },
    OrderCancelled {
        order: OrderId,
        exchange_order: Option<OrderId>,
    },
    /// The exchange did not take an order, or the bot gave it up.
    OrderFailed {
        order: OrderId,
        reason: Option<String>,
    },
    OrderExpired {
        order: OrderId,
    },
    /// A perpetual's funding; above zero is received.
    FundingPaid {
        connector: Option<ConnectorName>,
        pair: Pair,
        amount: Decimal,
        rate: Option<Decimal>,
    },
    /// An event that is none of the above, such as those of liquidity pools.
    Other {
        name: String,
    },
}

#[derive(Deserialize)]
pub(super) struct Told {
    #[serde(deserialize_with = "times::seconds")]
    timestamp: Time,
    #[serde(rename = "type")]
    name: String,
    data: Box<RawValue>,
}

#[derive(Deserialize)]
struct CreatedTold {
    #[serde(rename = "type", default)]
    order_type: String,
    trading_pair: Pair,
    #[serde(deserialize_with = "numbers::exact")]
    amount: Decimal,
    #[serde(default, deserialize_with = "numbers::maybe")]
    price: Option<Decimal>,
    order_id: OrderId,
    #[serde(default, deserialize_with = "maybe_order")]
    exchange_order_id: Option<OrderId>,
}

#[derive(Deserialize)]
struct FilledTold {
    order_id: OrderId,
    trading_pair: Pair,
    #[serde(deserialize_with = "trading::told_side")]
    trade_type: Side,
    #[serde(default)]
    order_type: String,
    #[serde(deserialize_with = "numbers::exact")]
    price: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    amount: Decimal,
    trade_fee: TradeFee,
    exchange_trade_id: TradeId,
    #[serde(default, deserialize_with = "maybe_order")]
    exchange_order_id: Option<OrderId>,
}

#[derive(Deserialize)]
struct CompletedTold {
    order_id: OrderId,
    base_asset: Asset,
    quote_asset: Asset,
    #[serde(deserialize_with = "numbers::exact")]
    base_asset_amount: Decimal,
    #[serde(deserialize_with = "numbers::exact")]
    quote_asset_amount: Decimal,
    #[serde(default, deserialize_with = "maybe_order")]
    exchange_order_id: Option<OrderId>,
}

/// What is left of an order that ended without being executed.
#[derive(Deserialize)]
struct EndedTold {
    order_id: OrderId,
    #[serde(default, deserialize_with = "maybe_order")]
    exchange_order_id: Option<OrderId>,
    #[serde(default)]
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct FundingTold {
    #[serde(default)]
    market: Option<ConnectorName>,
    trading_pair: Pair,
    #[serde(deserialize_with = "numbers::exact")]
    amount: Decimal,
    #[serde(default, deserialize_with = "numbers::maybe")]
    funding_rate: Option<Decimal>,
}

/// Reads an event by its name.
pub(super) fn read(told: Told) -> Result<BotEvent, String> {
    let data = told.data.get().as_bytes();
    let happened = match told.name.as_str() {
        "BuyOrderCreated" => parsed(data, |told| created(told, Side::Buy)),
        "SellOrderCreated" => parsed(data, |told| created(told, Side::Sell)),
        "OrderFilled" => parsed(data, filled),
        "BuyOrderCompleted" => parsed(data, |told| completed(told, Side::Buy)),
        "SellOrderCompleted" => parsed(data, |told| completed(told, Side::Sell)),
        "OrderCancelled" => parsed(data, |EndedTold { order_id, exchange_order_id, .. }| Happened::OrderCancelled {
            order: order_id,
            exchange_order: exchange_order_id,
        }),
        "OrderFailure" => parsed(data, |EndedTold { order_id, error_message, .. }| Happened::OrderFailed {
            order: order_id,
            reason: error_message,
        }),
        "OrderExpired" => parsed(data, |EndedTold { order_id, .. }| Happened::OrderExpired { order: order_id }),
        "FundingPaymentCompleted" => parsed(data, funding),
        _ => Ok(Happened::Other { name: told.name.clone() }),
    };
    happened.map(|happened| BotEvent { at: told.timestamp, happened }).map_err(|why| format!("{}: {why}", told.name))
}

fn parsed<T: DeserializeOwned>(data: &[u8], happened: impl FnOnce(T) -> Happened) -> Result<Happened, String> {
    json(data).map(happened)
}

fn created(told: CreatedTold, side: Side) -> Happened {
    Happened::OrderCreated {
        order: told.order_id,
        exchange_order: told.exchange_order_id,
        pair: told.trading_pair,
        side,
        order_type: OrderType::named(&told.order_type),
        amount: Amount(told.amount),
        price: told.price.map(Price),
    }
}

fn filled(told: FilledTold) -> Happened {
    Happened::OrderFilled(Fill {
        order: told.order_id,
        trade: told.exchange_trade_id,
        exchange_order: told.exchange_order_id,
        pair: told.trading_pair,
        side: told.trade_type,
        order_type: OrderType::named(&told.order_type),
        price: Price(told.price),
        amount: Amount(told.amount),
        fee: told.trade_fee,
    })
}

fn completed(told: CompletedTold, side: Side) -> Happened {
    Happened::OrderCompleted {
        order: told.order_id,
        exchange_order: told.exchange_order_id,
        side,
        base: told.base_asset,
        quote: told.quote_asset,
        base_amount: told.base_asset_amount,
        quote_amount: told.quote_asset_amount,
    }
}

fn funding(told: FundingTold) -> Happened {
    Happened::FundingPaid {
        connector: told.market,
        pair: told.trading_pair,
        amount: told.amount,
        rate: told.funding_rate,
    }
}

/// An id that is absent, empty or no id at all: all the same, there is none.
fn maybe_order<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<OrderId>, D::Error> {
    let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(name: &str, data: &str) -> Result<Happened, String> {
        let payload = format!(r#"{{"timestamp":1704164645,"type":"{name}","data":{data}}}"#);
        json(payload.as_bytes()).and_then(read).map(|event| event.happened)
    }

    #[test]
    fn an_order_that_ends_says_how() {
        let order: OrderId = "x-1".parse().unwrap();
        assert_eq!(
            happened("OrderFailure", r#"{"order_id":"x-1","order_type":"OrderType.LIMIT","error_message":null}"#),
            Ok(Happened::OrderFailed { order: order.clone(), reason: None })
        );
        assert_eq!(
            happened("OrderExpired", r#"{"order_id":"x-1"}"#),
            Ok(Happened::OrderExpired { order: order.clone() })
        );
        assert_eq!(
            happened("OrderCancelled", r#"{"order_id":"x-1","exchange_order_id":null}"#),
            Ok(Happened::OrderCancelled { order, exchange_order: None })
        );
    }

    #[test]
    fn funding_keeps_its_sign_and_its_digits() {
        let data =
            r#"{"market":"binance_perpetual","trading_pair":"BTC-USDT","amount":-1.25e-7,"funding_rate":0.0001}"#;
        let paid = Happened::FundingPaid {
            connector: Some("binance_perpetual".parse().unwrap()),
            pair: "BTC-USDT".parse().unwrap(),
            amount: "-0.000000125".parse().unwrap(),
            rate: Some("0.0001".parse().unwrap()),
        };
        assert_eq!(happened("FundingPaymentCompleted", data), Ok(paid));
    }

    #[test]
    fn a_fill_without_a_price_or_a_trade_id_is_no_fill() {
        let fill = |price: &str, trade: &str| {
            let data = format!(
                r#"{{"order_id":"x-1","trading_pair":"BTC-USDT","trade_type":"TradeType.BUY","price":{price},"amount":1,
                    "trade_fee":{{"percent":"0.001","percent_token":null,"flat_fees":[]}},"exchange_trade_id":"{trade}"}}"#
            );
            let payload = crate::tolerant(data.as_bytes()).into_owned();
            happened("OrderFilled", &String::from_utf8(payload).unwrap())
        };
        assert!(fill("7.25", "t1").is_ok());
        assert!(fill("NaN", "t1").unwrap_err().starts_with("OrderFilled: price"));
        assert!(fill("7.25", "").unwrap_err().starts_with("OrderFilled: exchange_trade_id"));
    }

    #[test]
    fn an_event_of_another_kind_is_kept_by_its_name() {
        let name = "RangePositionClosed".to_owned();
        assert_eq!(happened(&name, "{}"), Ok(Happened::Other { name: name.clone() }));
    }
}
