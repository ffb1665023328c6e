//! Archived bots: a database file for each, read with six decimals, whose path stands unescaped in the URL.

use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::get,
};
use events::Decimal;
use serde_json::{Value, json};

use crate::{
    bot::{Bot, Seen, words::fee_in_quote},
    exact::{six_decimals, sum},
    exchange::{Order, Status, side_name},
    floats,
    input::{Answer, Form, Refused, ok},
    server::Worlds,
    world::{World, archive_path, second_ms},
};

pub(crate) fn routes() -> Router<Worlds> {
    Router::new().route("/archived-bots/", get(list)).route("/archived-bots/{*rest}", get(read))
}

async fn list(State(worlds): State<Worlds>) -> Answer {
    let world = worlds.lock();
    reachable(&world)?;
    let archived = world.bots.values().filter(|bot| bot.archived);
    ok(&archived.map(|bot| json!(archive_path(&bot.name))).collect())
}

fn reachable(world: &World) -> Result<(), Refused> {
    if world.dice.faults.no_archive { Err(Refused::Plain500) } else { Ok(()) }
}

async fn read(
    State(worlds): State<Worlds>,
    Path(rest): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let (path, what) = rest.rsplit_once('/').ok_or_else(|| Refused::missing("Not Found"))?;
    let mut form = Form::query(query);
    let (limit, offset) = (form.whole("limit").unwrap_or(100), form.whole("offset").unwrap_or_default());
    form.done()?;
    let page =
        Page { limit: usize::try_from(limit).unwrap_or_default(), offset: usize::try_from(offset).unwrap_or_default() };
    let world = worlds.lock();
    reachable(&world)?;
    let bot = world.bots.values().find(|bot| bot.archived && archive_path(&bot.name) == path);
    let bot = bot.ok_or_else(|| Refused::missing(format!("Database not found: {path}")))?;
    match what {
        "status" => ok(&status(path, bot)),
        "summary" => ok(&summary(&world, path, bot)),
        "performance" => performance(&world, path, bot),
        "trades" => ok(&page.of(path, "trades", trades(&world, bot))),
        "orders" => ok(&page.of(path, "orders", orders(&world, bot))),
        "positions" => ok(&page.of(path, "positions", Vec::new())),
        "executors" => ok(&json!({"db_path": path, "executors": []})),
        "controllers" => ok(&controllers(path, bot)),
        _ => Err(Refused::missing("Not Found")),
    }
}

struct Page {
    limit: usize,
    offset: usize,
}

impl Page {
    fn of(&self, path: &str, name: &str, rows: Vec<Value>) -> Value {
        let total = rows.len();
        let page: Vec<Value> = rows.into_iter().skip(self.offset).take(self.limit).collect();
        let has_more = self.offset + page.len() < total;
        let pagination = json!({"total": total, "limit": self.limit, "offset": self.offset, "has_more": has_more});
        let mut told = json!({"db_path": path, "pagination": pagination});
        told[name] = Value::Array(page);
        told
    }
}

fn status(path: &str, bot: &Bot) -> Value {
    json!({
        "db_path": path,
        "status": {
            "db_name": format!("{}.sqlite", bot.name),
            "db_path": format!("sqlite:///{path}"),
            "trade_fill": "Correct",
            "orders": "Correct",
            "order_status": "Correct",
            "executors": "Correct",
            "controllers": "Correct",
            "positions": "Correct",
            "general_status": true,
        },
        "healthy": true,
    })
}

fn summary(world: &World, path: &str, bot: &Bot) -> Value {
    let mut pairs: Vec<&str> = Vec::new();
    let mut exchanges: Vec<String> = Vec::new();
    for order in bot.orders.iter().map(|no| &world.exchanges.orders[*no]) {
        if !pairs.contains(&order.venue.pair.as_str()) {
            pairs.push(order.venue.pair.as_str());
        }
        if !exchanges.contains(&order.connector()) {
            exchanges.push(order.connector());
        }
    }
    json!({
        "db_path": path,
        "total_orders": bot.orders.len(),
        "total_trades": bot.fills.len(),
        "total_executors": 0,
        "total_positions": 0,
        "total_controllers": bot.controllers.len(),
        "trading_pairs": pairs,
        "exchanges": exchanges,
    })
}

fn performance(world: &World, path: &str, bot: &Bot) -> Answer {
    if world.dice.faults.failing_performance {
        let detail = "Error calculating performance: Invalid value '[]' for dtype 'float64'";
        return Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
    }
    ok(&json!({"db_path": path, "performance": world.figures(&bot.name, floats::number)}))
}

fn cut(value: Decimal) -> Value {
    floats::number(six_decimals(value))
}

fn common(bot: &Bot, order: &Order) -> Value {
    json!({
        "config_file_path": format!("{}.yml", bot.name),
        "strategy": bot.strategy,
        "connector_name": order.connector(),
        "trading_pair": order.venue.pair,
        "base_asset": order.venue.pair.base(),
        "quote_asset": order.venue.pair.quote(),
        "order_type": order.kind.name(),
        "leverage": 1,
        "position": if order.venue.market == events::Market::Spot { "NIL" } else { "OPEN" },
    })
}

fn with(mut row: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (row.as_object_mut(), more) {
        fields.extend(more);
    }
    row
}

fn trades(world: &World, bot: &Bot) -> Vec<Value> {
    let mut fees = std::collections::BTreeMap::<(&str, &str), Decimal>::new();
    let mut row = |seen: &Seen| {
        let fill = &world.exchanges.truth.fills[seen.fill];
        let order = &world.exchanges.orders[fill.order];
        let fee = fee_in_quote(order, fill);
        let paid = fees.entry((order.venue.exchange.name(), order.venue.pair.as_str())).or_default();
        let before = *paid;
        *paid = sum(before, fee);
        let own = json!({
            "timestamp": second_ms(seen.ticked),
            "order_id": order.id,
            "trade_type": side_name(order.side),
            "price": cut(fill.price),
            "amount": cut(fill.amount),
            "trade_fee": cut(before),
            "trade_fee_in_quote": cut(fee),
            "exchange_trade_id": fill.trade.to_string(),
            "cum_fees_in_quote": cut(*paid),
        });
        with(common(bot, order), own)
    };
    bot.fills.iter().map(&mut row).collect()
}

fn orders(world: &World, bot: &Bot) -> Vec<Value> {
    let row = |no: &usize| {
        let order = &world.exchanges.orders[*no];
        let way = if order.side == events::ledger::Side::Buy { "Buy" } else { "Sell" };
        let last = match order.status {
            Status::Submitted | Status::Open => format!("{way}OrderCreated"),
            Status::Filled => format!("{way}OrderCompleted"),
            Status::Cancelled => "OrderCancelled".to_owned(),
            Status::Rejected(_) => "MarketOrderFailure".to_owned(),
        };
        let own = json!({
            "id": order.id,
            "creation_timestamp": second_ms(order.created),
            "amount": cut(order.amount),
            "price": cut(order.price.unwrap_or_default()),
            "last_status": last,
            "last_update_timestamp": order.updated.millis(),
            "exchange_order_id": order.exchange_id.to_string(),
        });
        with(common(bot, order), own)
    };
    bot.orders.iter().map(row).collect()
}

fn controllers(path: &str, bot: &Bot) -> Value {
    let row = |(no, controller): (usize, &crate::bot::Controller)| {
        json!({
            "id": controller.id,
            "controller_id": no + 1,
            "timestamp": floats::seconds(bot.ticked),
            "type": controller.config["controller_type"],
            "config": floats::dumps(&controller.config),
        })
    };
    let rows: Vec<Value> = bot.controllers.iter().enumerate().map(row).collect();
    json!({"db_path": path, "total": rows.len(), "controllers": rows})
}
