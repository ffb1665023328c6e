//! A client's orders, the one heard of last first.

use axum::{extract::State, response::Response};
use events::{BotId, Exchange, Pair};
use futures::FutureExt;
use projections::{
    only::Only,
    orders::{self, Order, Orders},
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

/// Which orders.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    bot: Option<BotId>,
    exchange: Option<Exchange>,
    pair: Option<Pair>,
    /// Only those that were placed and have not ended.
    #[serde(default)]
    open: bool,
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Orders, the one heard of last first
#[utoipa::path(get, path = "/api/orders", tag = "trading", params(Which), responses((status = 200, body = Page<Order>)))]
async fn page(
    OwnClient(client): OwnClient,
    asked: Asked,
    Query(which): Query<Which>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let after = which.cursor.map(|cursor| cursors.open(client, &question, &cursor)).transpose()?;
    let (only, open) = (Only { bot: which.bot, exchange: which.exchange, pair: which.pair }, which.open);
    let limit = which.limit;
    views
        .answer(asked, client, Orders::NAME, |db| {
            async move {
                let found = orders::page(db, client, &only, open, after, limit.and_one()).await?;
                let place = |order: &Order| (order.seq, order.order_id.clone());
                Ok(Some(Page::new(found, limit, &cursors, client, &question, place)))
            }
            .boxed()
        })
        .await
}
