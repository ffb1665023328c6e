//! Which exchanges there are, and what each asks for to let a client's bots in.

use axum::extract::Path;
use events::{
    Exchange, Market,
    fields::{DefaultFees, Field},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{NoQuery, WholeQuery},
    problem::Problem,
    who::SignedIn,
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(every)).routes(routes!(fields))
}

/// An exchange and its markets.
#[derive(Debug, Serialize, ToSchema)]
struct Described {
    exchange: Exchange,
    markets: Vec<MarketDescribed>,
}

/// A market of an exchange.
#[derive(Debug, Serialize, ToSchema)]
struct MarketDescribed {
    market: Market,
    /// What Hummingbot calls it.
    connector: String,
    /// What a credential consists of, the API key first.
    fields: &'static [Field],
    /// What a trade costs where the exchange does not tell; null where it always does.
    default_fees: Option<DefaultFees>,
}

/// Every exchange
#[utoipa::path(get, path = "/api/exchanges", tag = "exchanges", responses((status = 200, body = Vec<Described>)))]
async fn every(_: SignedIn, _: NoQuery) -> axum::Json<Vec<Described>> {
    let described = |exchange| Described {
        exchange,
        markets: Market::ALL.map(|market| MarketDescribed::of(exchange, market)).into(),
    };
    axum::Json(Exchange::ALL.map(described).into())
}

/// Which market.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Spot, if left out.
    #[serde(default = "spot")]
    market: Market,
}

fn spot() -> Market {
    Market::Spot
}

/// What one market of an exchange asks for
#[utoipa::path(get, path = "/api/exchanges/{exchange}/fields", tag = "exchanges",
    params(("exchange" = Exchange, Path), Which), responses((status = 200, body = MarketDescribed)))]
async fn fields(
    _: SignedIn,
    Path(exchange): Path<String>,
    WholeQuery(Which { market }): WholeQuery<Which>,
) -> Result<axum::Json<MarketDescribed>, Problem> {
    let exchange = exchange.parse().map_err(|_| Problem::not_found())?;
    Ok(axum::Json(MarketDescribed::of(exchange, market)))
}

impl MarketDescribed {
    fn of(exchange: Exchange, market: Market) -> Self {
        Self {
            market,
            connector: exchange.connector(market),
            fields: exchange.fields(market),
            default_fees: exchange.default_fees(market),
        }
    }
}
