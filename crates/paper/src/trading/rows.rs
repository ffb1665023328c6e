//! Rows of orders, trades, positions and funding, and the pages that they come in.

use axum::{body::Bytes, extract::State};
use events::{Decimal, Time};
use serde_json::{Value, json};

use crate::{
    bot::words::{average, fee_in_quote},
    exact::{difference, product},
    exchange::{Exchanges, Order, OrderNo, Owner, Status, side_name},
    floats,
    input::{Answer, Form, Refused, ok},
    server::Worlds,
    world::World,
};

/// What a list is filtered by.
struct Filter {
    accounts: Option<Vec<String>>,
    connectors: Option<Vec<String>>,
    pairs: Option<Vec<String>>,
    types: Option<Vec<String>>,
    status: Option<String>,
    start_ms: Option<i64>,
    end_ms: Option<i64>,
    cursor: Option<String>,
    limit: usize,
}

impl Filter {
    fn read(body: &Bytes) -> Result<Self, Refused> {
        let mut form = Form::body(body)?;
        let pair = form.text_if("trading_pair");
        let filter = Self {
            accounts: form.texts("account_names"),
            connectors: form.texts("connector_names"),
            pairs: form.texts("trading_pairs").or_else(|| pair.map(|pair| vec![pair])),
            types: form.texts("trade_types"),
            status: form.text_if("status"),
            start_ms: form.whole("start_time"),
            end_ms: form.whole("end_time"),
            cursor: form.text_if("cursor"),
            limit: form.limit(),
        };
        form.done()?;
        Ok(filter)
    }

    fn owner(&self, account: &str, connector: &str, pair: &str) -> bool {
        let within = |names: &Option<Vec<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|other| other == name))
        };
        within(&self.accounts, account) && within(&self.connectors, connector) && within(&self.pairs, pair)
    }

    fn order(&self, order: &Order) -> bool {
        let typed = self.types.as_ref().is_none_or(|types| types.iter().any(|name| name == side_name(order.side)));
        typed && self.owner(&order.account, &order.connector(), order.venue.pair.as_str())
    }

    fn time(&self, at: Time) -> bool {
        let ms = at.millis();
        self.start_ms.is_none_or(|start| ms >= start) && self.end_ms.is_none_or(|end| ms <= end)
    }

    /// A page of rows that come newest first. The real server looks at no more than twice the limit, and the last page of
    /// those says that there is nothing more.
    fn page(&self, mut rows: Vec<(String, Value)>, broken: bool) -> Answer {
        if broken {
            rows.truncate(self.limit.saturating_mul(2));
        }
        let total = rows.len();
        let after = self.cursor.as_ref().and_then(|cursor| rows.iter().position(|(id, _)| id == cursor));
        let from = after.map_or(0, |at| at + 1);
        let page: Vec<(String, Value)> = rows.into_iter().skip(from).take(self.limit).collect();
        let has_more = from + page.len() < total;
        let next = page.last().filter(|_| has_more).map(|(id, _)| id.clone());
        let data: Vec<Value> = page.into_iter().map(|(_, row)| row).collect();
        ok(&json!({
            "data": data,
            "pagination": {"limit": self.limit, "has_more": has_more, "next_cursor": next, "total_count": total},
        }))
    }
}

/// How the API server sees an order of its own: some rows stay as they were when the order was taken.
fn told_status(world: &World, no: OrderNo) -> &'static str {
    let order = &world.exchanges.orders[no];
    match &order.status {
        Status::Submitted => "SUBMITTED",
        Status::Filled if world.stuck_rows.contains(&no) => "OPEN",
        Status::Filled => "FILLED",
        Status::Cancelled => "CANCELLED",
        Status::Rejected(_) => "FAILED",
        Status::Open if order.filled.is_positive() => "PARTIALLY_FILLED",
        Status::Open => "OPEN",
    }
}

fn order_row(world: &World, no: OrderNo) -> Value {
    let order = &world.exchanges.orders[no];
    let optional = |value: Option<Decimal>| value.map_or(Value::Null, floats::number);
    let refused = match &order.status {
        Status::Rejected(reason) => Some(reason),
        Status::Submitted | Status::Open | Status::Filled | Status::Cancelled => None,
    };
    let stuck = world.stuck_rows.contains(&no);
    let filled = if stuck || refused.is_some() { Decimal::ZERO } else { order.filled };
    let fee = (!filled.is_zero()).then_some(order.fees_quote);
    let unknown = |text: &str| if refused.is_some() { "UNKNOWN".to_owned() } else { text.to_owned() };
    json!({
        "order_id": order.id,
        "account_name": order.account,
        "connector_name": order.connector(),
        "trading_pair": unknown(order.venue.pair.as_str()),
        "trade_type": unknown(side_name(order.side)),
        "order_type": unknown(order.kind.name()),
        "amount": floats::number(if refused.is_some() { Decimal::ZERO } else { order.amount }),
        "price": optional(order.price.filter(|_| refused.is_none())),
        "status": told_status(world, no),
        "filled_amount": floats::number(filled),
        "average_fill_price": optional(average(order).filter(|_| !filled.is_zero())),
        "fee_paid": optional(fee),
        "fee_currency": fee.map(|_| order.venue.pair.quote()),
        "created_at": floats::iso(order.created),
        "updated_at": floats::iso(if stuck { order.created } else { order.updated }),
        "exchange_order_id": Some(order.exchange_id).filter(|id| *id > 0 && refused.is_none()).map(|id| id.to_string()),
        "error_message": refused.map(|reason| format!(
            "Error executing request POST http://127.0.0.1/api/v3/order. HTTP status is 400. Error: {{\"code\": -2010, \"msg\": \"{reason}\"}}"
        )),
    })
}

fn own_orders<'a>(world: &'a World, filter: &'a Filter) -> impl Iterator<Item = OrderNo> + 'a {
    let orders = world.exchanges.orders.iter().enumerate().rev();
    orders.filter(|(_, order)| order.owner == Owner::Api && filter.order(order)).map(|(no, _)| no)
}

pub(super) async fn active(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let filter = Filter::read(&body)?;
    let world = worlds.lock();
    let open = own_orders(&world, &filter).filter(|no| world.exchanges.orders[*no].is_open());
    let rows = open.map(|no| (world.exchanges.orders[no].id.clone(), order_row(&world, no))).collect();
    filter.page(rows, false)
}

pub(super) async fn search(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let filter = Filter::read(&body)?;
    let world = worlds.lock();
    let rows = own_orders(&world, &filter)
        .filter(|no| filter.time(world.exchanges.orders[*no].created))
        .filter(|no| filter.status.as_ref().is_none_or(|status| status == told_status(&world, *no)))
        .map(|no| (world.exchanges.orders[no].id.clone(), order_row(&world, no)))
        .collect();
    filter.page(rows, world.dice.faults.broken_cursor)
}

pub(super) async fn trades(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let filter = Filter::read(&body)?;
    let world = worlds.lock();
    let all = world.api_fills.iter().rev().map(|no| &world.exchanges.truth.fills[*no]);
    let rows = all
        .map(|fill| (fill, &world.exchanges.orders[fill.order]))
        .filter(|(fill, order)| filter.order(order) && filter.time(fill.at))
        .map(|(fill, order)| trade_row(fill, order))
        .collect();
    filter.page(rows, world.dice.faults.broken_cursor)
}

fn trade_row(fill: &crate::truth::Fill, order: &Order) -> (String, Value) {
    let id = format!("{}_{}", order.id, fill.trade);
    let row = json!({
        "trade_id": id,
        "order_id": order.id,
        "account_name": order.account,
        "connector_name": order.connector(),
        "trading_pair": order.venue.pair,
        "trade_type": side_name(order.side),
        "amount": floats::number(fill.amount),
        "price": floats::number(fill.price),
        "fee_paid": floats::number(fee_in_quote(order, fill)),
        "fee_currency": order.venue.pair.quote(),
        "timestamp": floats::iso(fill.at),
    });
    (id, row)
}

/// Accounts that hold this wallet's key on a perpetual connector.
fn holders<'a>(
    world: &'a World,
    filter: &'a Filter,
) -> impl Iterator<Item = (&'a str, &'a str, &'a crate::exchange::wallet::WalletKey)> {
    let all = world.accounts.credentials.iter();
    all.filter(|((_, connector), _)| connector.ends_with("_perpetual"))
        .filter(|((account, connector), _)| {
            filter.accounts.as_ref().is_none_or(|names| names.contains(account))
                && filter.connectors.as_ref().is_none_or(|names| names.contains(connector))
        })
        .map(|((account, connector), credential)| (account.as_str(), connector.as_str(), &credential.wallet))
}

pub(super) async fn positions(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let filter = Filter::read(&body)?;
    let world = worlds.lock();
    let mut rows = Vec::new();
    for (account, connector, key) in holders(&world, &filter) {
        let held = world.exchanges.wallets.get(key).into_iter().flat_map(|wallet| &wallet.positions);
        for (pair, position) in held.filter(|(_, position)| !position.amount.is_zero()) {
            let mid = mid(&world.exchanges, key, pair);
            let row = json!({
                "account_name": account,
                "connector_name": connector,
                "trading_pair": pair,
                "side": if position.amount.is_negative() { "SHORT" } else { "LONG" },
                "amount": floats::number(position.amount),
                "entry_price": floats::number(position.entry),
                "unrealized_pnl": floats::number(product(difference(mid, position.entry), position.amount)),
                "leverage": floats::number(Decimal::ONE),
            });
            rows.push((format!("{account}:{connector}:{pair}"), row));
        }
    }
    filter.page(rows, false)
}

fn mid(exchanges: &Exchanges, key: &crate::exchange::wallet::WalletKey, pair: &events::Pair) -> Decimal {
    let venue = events::bot::Venue { exchange: key.exchange, market: key.market, pair: pair.clone() };
    exchanges.standings.get(&venue).map(|standing| standing.mid()).unwrap_or_default()
}

pub(super) async fn funding(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let filter = Filter::read(&body)?;
    let world = worlds.lock();
    let mut rows = Vec::new();
    for (account, connector, key) in holders(&world, &filter) {
        let all = world.exchanges.truth.funding.iter().enumerate().rev();
        for (no, paid) in all.filter(|(_, paid)| paid.wallet == *key && filter.time(paid.at)) {
            if filter.owner(account, connector, paid.pair.as_str()) {
                let id = format!("{connector}_{}_{}", paid.pair, paid.at.millis());
                let row = json!({
                    "id": no + 1,
                    "funding_payment_id": id,
                    "timestamp": floats::iso(paid.at),
                    "account_name": account,
                    "connector_name": connector,
                    "trading_pair": paid.pair,
                    "funding_rate": floats::number(paid.rate),
                    "funding_payment": floats::number(paid.amount),
                    "fee_currency": paid.pair.quote(),
                    "position_size": floats::number(paid.position.abs()),
                    "position_side": if paid.position.is_negative() { "SHORT" } else { "LONG" },
                    "exchange_funding_id": null,
                });
                rows.push((id, row));
            }
        }
    }
    filter.page(rows, world.dice.faults.broken_cursor)
}
