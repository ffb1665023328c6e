//! What a client holds, and what it is worth.

use axum::{extract::State, response::Response};
use futures::FutureExt;
use projections::{
    portfolio::{self, Portfolio, Summary},
    projection::Projection,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::OwnClient,
    problem::Problem,
    views::{Asked, Views},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(held))
}

/// Holdings on every exchange, at the newest rates
#[utoipa::path(get, path = "/api/clients/portfolio", tag = "portfolio", responses((status = 200, body = Summary)))]
async fn held(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, Portfolio::NAME, |db| {
            async move { portfolio::summary(db, client).await.map(Some) }.boxed()
        })
        .await
}
