//! What really happened on the exchanges, whatever anybody was told of it.

use events::{Decimal, Time};
use serde_json::{Value, json};

use crate::exchange::{Exchanges, Order, OrderNo, Owner, Status, side_name};

pub(crate) type FillNo = usize;

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub fills: Vec<Fill>,
    pub funding: Vec<Funding>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fill {
    pub trade: u64,
    pub order: OrderNo,
    pub price: Decimal,
    pub amount: Decimal,
    pub fee_asset: String,
    pub fee: Decimal,
    pub maker: bool,
    pub at: Time,
}

/// What holding a perpetual position cost or earned.
#[derive(Debug, Clone)]
pub(crate) struct Funding {
    pub wallet: crate::exchange::wallet::WalletKey,
    pub pair: events::Pair,
    pub rate: Decimal,
    pub amount: Decimal,
    pub position: Decimal,
    pub at: Time,
}

impl Truth {
    pub(crate) fn record(&mut self, fill: Fill) -> FillNo {
        self.fills.push(fill);
        self.fills.len() - 1
    }
}

/// All of it, decimals exact and as texts.
pub(crate) fn told(exchanges: &Exchanges) -> Value {
    let fills: Vec<Value> = exchanges.truth.fills.iter().map(|fill| fill_told(exchanges, fill)).collect();
    let orders: Vec<Value> = exchanges.orders.iter().map(order_told).collect();
    let funding: Vec<Value> = exchanges.truth.funding.iter().map(funding_told).collect();
    json!({"fills": fills, "orders": orders, "balances": balances(exchanges), "funding": funding})
}

fn fill_told(exchanges: &Exchanges, fill: &Fill) -> Value {
    let order = &exchanges.orders[fill.order];
    json!({
        "exchange_trade_id": fill.trade.to_string(),
        "order_id": order.id,
        "exchange_order_id": order.exchange_id.to_string(),
        "api_key": order.wallet.key,
        "account": order.account,
        "bot": order.bot(),
        "exchange": order.venue.exchange,
        "market": order.venue.market,
        "pair": order.venue.pair,
        "side": order.side,
        "price": fill.price,
        "amount": fill.amount,
        "fees": [{"asset": fill.fee_asset, "amount": fill.fee}],
        "liquidity": if fill.maker { "maker" } else { "taker" },
        "at_ms": fill.at.millis(),
    })
}

fn order_told(order: &Order) -> Value {
    let (status, reason) = match &order.status {
        Status::Submitted => ("submitted", None),
        Status::Open => ("open", None),
        Status::Filled => ("filled", None),
        Status::Cancelled => ("cancelled", None),
        Status::Rejected(reason) => ("rejected", Some(reason)),
    };
    json!({
        "order_id": order.id,
        "exchange_order_id": order.exchange_id.to_string(),
        "api_key": order.wallet.key,
        "account": order.account,
        "bot": order.bot(),
        "placed_by": match order.owner { Owner::Bot { .. } => "bot", Owner::Api => "api" },
        "exchange": order.venue.exchange,
        "market": order.venue.market,
        "pair": order.venue.pair,
        "side": side_name(order.side).to_lowercase(),
        "kind": order.kind.name(),
        "price": order.price,
        "amount": order.amount,
        "filled": order.filled,
        "status": status,
        "reason": reason,
        "at_ms": order.created.millis(),
    })
}

fn balances(exchanges: &Exchanges) -> Vec<Value> {
    let of = |(key, wallet): (&crate::exchange::wallet::WalletKey, &crate::exchange::wallet::Wallet)| {
        let positions: Vec<Value> = wallet
            .positions
            .iter()
            .map(|(pair, position)| json!({"pair": pair, "amount": position.amount, "entry": position.entry}))
            .collect();
        json!({
            "api_key": key.key,
            "exchange": key.exchange,
            "market": key.market,
            "initial": wallet.initial,
            "units": wallet.units,
            "held": wallet.held,
            "positions": positions,
        })
    };
    exchanges.wallets.iter().map(of).collect()
}

fn funding_told(funding: &Funding) -> Value {
    json!({
        "api_key": funding.wallet.key,
        "exchange": funding.wallet.exchange,
        "pair": funding.pair,
        "rate": funding.rate,
        "amount": funding.amount,
        "position": funding.position,
        "at_ms": funding.at.millis(),
    })
}
