//! What the server says of the exchanges that it can reach.

use axum::{
    Router,
    extract::{Path, Query, State},
    routing::get,
};
use events::{Decimal, Exchange, Market, bot::Venue};
use serde_json::{Value, json};

use crate::{
    exchange::{from_connector, listing::Listing},
    floats,
    input::{Answer, Refused, ok},
    server::Worlds,
};

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/connectors/", get(list))
        .route("/connectors/{connector}/config-map", get(config_map))
        .route("/connectors/{connector}/trading-rules", get(trading_rules))
        .route("/connectors/{connector}/order-types", get(order_types))
}

/// A connector's credential fields, and whether each must be there.
pub(crate) fn fields_of(exchange: Exchange, market: Market) -> Vec<(&'static str, bool)> {
    exchange.fields(market).iter().map(|field| (field.name, field.required)).collect()
}

/// The field by which the exchange knows a wallet.
pub(crate) fn key_field(exchange: Exchange, market: Market) -> &'static str {
    let mut names = exchange.fields(market).iter().map(|field| field.name);
    names.find(|name| name.ends_with("_api_key")).expect("every connector has an API key")
}

/// What Python says when a connector is made without its keys.
pub(crate) fn class_missing(exchange: Exchange, market: Market, missing: &[&str]) -> String {
    let name: String =
        exchange.name().split('_').map(|part| format!("{}{}", part[..1].to_uppercase(), &part[1..])).collect();
    let class = match market {
        Market::Spot => format!("{name}Exchange"),
        Market::Perp => format!("{name}PerpetualDerivative"),
    };
    let mut quoted: Vec<String> = missing.iter().map(|field| format!("'{field}'")).collect();
    quoted.sort();
    let listed = match quoted.as_slice() {
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
        [] => String::new(),
    };
    let noun = if missing.len() == 1 { "argument" } else { "arguments" };
    format!("{class}.__init__() missing {} required positional {noun}: {listed}", missing.len())
}

async fn list() -> Answer {
    let all = Exchange::ALL.into_iter().flat_map(|exchange| Market::ALL.map(|market| exchange.connector(market)));
    ok(&json!(all.collect::<Vec<_>>()))
}

async fn config_map(Path(connector): Path<String>) -> Answer {
    let (exchange, market) = from_connector(&connector).ok_or(Refused::Plain500)?;
    let field = |(name, required): (&str, bool)| {
        let told = if required {
            json!({"type": "SecretStr", "required": true})
        } else {
            json!({"type": "Literal", "required": false, "allowed_values": ["www", "app", "my"]})
        };
        (name.to_owned(), told)
    };
    ok(&Value::Object(fields_of(exchange, market).into_iter().map(field).collect()))
}

async fn trading_rules(
    State(worlds): State<Worlds>,
    Path(connector): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let (exchange, market) = from_connector(&connector).ok_or(Refused::Plain500)?;
    let mut world = worlds.lock();
    let asked: Vec<events::Pair> = query
        .iter()
        .filter(|(name, _)| name == "trading_pairs")
        .flat_map(|(_, pairs)| pairs.split(',').filter_map(|pair| pair.parse().ok()))
        .collect();
    let open = world.exchanges.standings.keys().filter(|venue| (venue.exchange, venue.market) == (exchange, market));
    let pairs = if asked.is_empty() { open.map(|venue| venue.pair.clone()).collect() } else { asked };
    let rules = pairs.into_iter().map(|pair| {
        let listing = world.standing(&Venue { exchange, market, pair: pair.clone() }).listing.clone();
        (pair.to_string(), rule(&listing, pair.quote()))
    });
    ok(&Value::Object(rules.collect()))
}

fn rule(listing: &Listing, quote: &str) -> Value {
    let exact = |text: &str| floats::number(text.parse::<Decimal>().expect("a bound is a decimal"));
    json!({
        "min_order_size": floats::number(listing.amount_step),
        "max_order_size": exact("1e56"),
        "min_price_increment": floats::number(listing.price_step),
        "min_base_amount_increment": floats::number(listing.amount_step),
        "min_quote_amount_increment": exact("1e-56"),
        "min_notional_size": floats::number(Listing::notional_min()),
        "min_order_value": exact("0"),
        "max_price_significant_digits": exact("1e56"),
        "supports_limit_orders": true,
        "supports_market_orders": true,
        "buy_order_collateral_token": quote,
        "sell_order_collateral_token": quote,
    })
}

async fn order_types(Path(connector): Path<String>) -> Answer {
    from_connector(&connector).ok_or(Refused::Plain500)?;
    ok(&json!({"connector": connector, "supported_order_types": ["LIMIT", "LIMIT_MAKER", "MARKET"]}))
}
