//! A client's profit and loss.

use axum::{extract::State, response::Response};
use events::Time;
use futures::FutureExt;
use projections::{
    pnl::{By, Grouped, Method, Pnl, grouped},
    projection::Projection,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::Query,
    own::OwnClient,
    problem::Problem,
    views::{Asked, Views},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(profit_and_loss))
}

/// How it is summed up, and for which stretch of event time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct How {
    #[serde(default)]
    group: By,
    #[serde(default)]
    method: Method,
    /// The first moment that counts; from the beginning, if left out.
    from: Option<Time>,
    /// The last moment that counts; that of the newest fact, if left out.
    to: Option<Time>,
}

/// Profit and loss by bot, pair, exchange or day
#[utoipa::path(get, path = "/api/pnl", tag = "trading", params(How), responses((status = 200, body = Grouped)))]
async fn profit_and_loss(
    OwnClient(client): OwnClient,
    asked: Asked,
    Query(How { group, method, from, to }): Query<How>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    is_answerable(group, method, from, to)?;
    views
        .answer(asked, client, Pnl::NAME, |db| {
            async move { grouped(db, client, group, method, from, to).await.map(Some) }.boxed()
        })
        .await
}

const DAY_US: i64 = 86_400_000_000;

fn is_answerable(group: By, method: Method, from: Option<Time>, to: Option<Time>) -> Result<(), Problem> {
    // One in the wrong unit would have years of empty days.
    if let Some(moment) = from.max(to).filter(|moment| *moment > Time::now().plus_micros(DAY_US)) {
        return Err(Problem::invalid(format!("{moment} lies more than a day ahead")));
    }
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::invalid("from lies after to: turn them round"));
    }
    if group == By::Day && method != Method::Average {
        return Err(Problem::invalid(
            "days are told by method average alone: leave the method out, or group otherwise",
        ));
    }
    Ok(())
}
