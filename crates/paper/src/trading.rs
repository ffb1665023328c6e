//! Orders that the API server places itself, their rows, and the trades that it noticed. A bot's are never among them.

mod rows;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use events::{Exchange, Market, Pair, bot::Venue, ledger::Side};
use serde_json::{Value, json};

use crate::{
    bot::Wish,
    connectors::class_missing,
    exchange::{Kind, OrderNo, Owner, from_connector},
    input::{Answer, Form, Refused, answer, ok},
    server::Worlds,
    world::World,
};

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/trading/orders", post(place))
        .route("/trading/{account}/{connector}/orders/{order}/cancel", post(cancel))
        .route("/trading/orders/active", post(rows::active))
        .route("/trading/orders/search", post(rows::search))
        .route("/trading/trades", post(rows::trades))
        .route("/trading/positions", post(rows::positions))
        .route("/trading/funding-payments", post(rows::funding))
}

/// An order as it is asked for.
struct Asked {
    account: String,
    connector: String,
    pair: String,
    side: Side,
    kind: Kind,
    amount: events::Decimal,
    price: Option<events::Decimal>,
}

fn asked(body: &Bytes) -> Result<(Asked, serde_json::Map<String, Value>), Refused> {
    let mut form = Form::body(body)?;
    let (account, connector, pair) =
        (form.text("account_name"), form.text("connector_name"), form.text("trading_pair"));
    let side = form.one_of("trade_type", &["BUY", "SELL"], None);
    let amount = form.exact_required("amount");
    let kind = form.one_of("order_type", &["LIMIT", "MARKET", "LIMIT_MAKER"], Some("LIMIT"));
    let price = form.exact("price");
    form.one_of("position_action", &["OPEN", "CLOSE"], Some("OPEN"));
    let fields = form.fields().clone();
    form.done()?;
    let kind = match kind.as_str() {
        "MARKET" => Kind::Market,
        "LIMIT_MAKER" => Kind::LimitMaker,
        _ => Kind::Limit,
    };
    let side = if side == "BUY" { Side::Buy } else { Side::Sell };
    let price = price.filter(|_| kind != Kind::Market);
    Ok((Asked { account, connector, pair, side, kind, amount, price }, fields))
}

async fn place(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let (asked, fields) = asked(&body)?;
    let mut world = worlds.lock();
    let no = world.place(&asked)?;
    let as_text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => json!(text),
        Some(Value::Number(number)) => json!(number.to_string()),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => Value::Null,
    };
    let told = json!({
        "order_id": world.exchanges.orders[no].id,
        "account_name": asked.account,
        "connector_name": asked.connector,
        "trading_pair": asked.pair,
        "trade_type": crate::exchange::side_name(asked.side),
        "amount": as_text("amount"),
        "order_type": asked.kind.name(),
        "price": as_text("price"),
        "status": "submitted",
    });
    Ok(answer(StatusCode::CREATED, &told))
}

fn unexpected(detail: &str) -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, format!("Unexpected error placing trade: {detail}"))
}

impl World {
    fn place(&mut self, asked: &Asked) -> Result<OrderNo, Refused> {
        if !self.accounts.names.contains(&asked.account) {
            return Err(Refused::missing(format!("Account '{}' not found", asked.account)));
        }
        let (exchange, market) = from_connector(&asked.connector)
            .ok_or_else(|| unexpected(&format!("Connector '{}' not found", asked.connector)))?;
        let wallet = self
            .accounts
            .wallet(&asked.account, &asked.connector)
            .ok_or_else(|| unexpected(&class_missing(exchange, market, &required(exchange, market))))?;
        let pair: Pair = asked.pair.parse().map_err(|_| unexpected(&format!("'{}'", asked.pair)))?;
        if asked.kind != Kind::Market && asked.price.is_none() {
            return Err(Refused::bad("Price is required for LIMIT and LIMIT_MAKER orders"));
        }
        let venue = Venue { exchange, market, pair };
        let listing = self.standing(&venue).listing.clone();
        let amount = crate::exact::floor_to(asked.amount, listing.amount_step);
        let price = asked.price.map(|price| crate::exact::floor_to(price, listing.price_step));
        if !amount.is_positive() {
            return Err(Refused::bad(format!("Order amount {} is below the minimum order size", asked.amount)));
        }
        let wish = Wish { venue, side: asked.side, price, amount };
        let mut order = self.new_order(wallet, &asked.account, Owner::Api, wish);
        order.kind = asked.kind;
        Ok(self.send_for_api(order))
    }
}

async fn cancel(
    State(worlds): State<Worlds>,
    Path((account, connector, id)): Path<(String, String, String)>,
) -> Answer {
    let mut world = worlds.lock();
    let found = world.exchanges.orders.iter().rposition(|order| {
        order.id == id && order.owner == Owner::Api && order.account == account && order.connector() == connector
    });
    let open = found.filter(|no| world.exchanges.orders[*no].is_open());
    let no = open.ok_or_else(|| Refused::missing(format!("Order '{id}' not found in active orders")))?;
    world.cancel(no);
    ok(&json!({"message": format!("Order cancellation initiated for {id}")}))
}

/// The fields without which a connector is not made.
fn required(exchange: Exchange, market: Market) -> Vec<&'static str> {
    exchange.fields(market).iter().filter(|field| field.required).map(|field| field.name).collect()
}
