//! A client's fills, newest first.

use axum::{extract::State, response::Response};
use events::{BotId, Exchange, Pair, Time};
use futures::FutureExt;
use projections::{
    fills::{self, Fills, Known},
    only::{Only, Window},
    projection::Projection,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cursor::Cursors,
    input::Query,
    own::OwnClient,
    page::{Limit, Page},
    problem::Problem,
    views::{Asked, Views},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(page))
}

/// Which fills.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    bot: Option<BotId>,
    exchange: Option<Exchange>,
    pair: Option<Pair>,
    /// The first moment, by the exchange's time.
    from: Option<Time>,
    /// The last moment.
    to: Option<Time>,
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Fills, newest first
#[utoipa::path(get, path = "/api/fills", tag = "trading", params(Which), responses((status = 200, body = Page<Known>)))]
async fn page(
    OwnClient(client): OwnClient,
    asked: Asked,
    Query(which): Query<Which>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let after = which.cursor.map(|cursor| cursors.open(client, &question, &cursor)).transpose()?;
    let window = Window { from: which.from.unwrap_or(Time::BEGINNING), to: which.to.unwrap_or(Time::END) };
    let (only, limit) = (Only { bot: which.bot, exchange: which.exchange, pair: which.pair }, which.limit);
    views
        .answer(asked, client, Fills::NAME, |db| {
            async move {
                let found = fills::page(db, client, &only, window, after, limit.and_one()).await?;
                Ok(Some(Page::new(found, limit, &cursors, client, &question, |fill| (fill.at, fill.seq))))
            }
            .boxed()
        })
        .await
}
