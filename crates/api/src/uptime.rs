//! How long and how tightly a bot quoted.

use axum::{extract::State, response::Response};
use events::{BotId, Time};
use futures::FutureExt;
use projections::{
    projection::Projection,
    uptime::{self, Quoting, Uptime},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::Query,
    own::OwnBot,
    problem::Problem,
    views::{Asked, Views},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(quoting))
}

/// The window, in whole minutes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct When {
    /// From the minute that it lies in; a day before the end, if left out.
    from: Option<Time>,
    /// To the begin of the minute that it lies in; the last minute that is known, if left out.
    to: Option<Time>,
}

/// How long and how tightly a bot quoted
#[utoipa::path(get, path = "/api/bots/{id}/uptime", tag = "bots", params(("id" = BotId, Path), When),
    responses((status = 200, body = Quoting)))]
async fn quoting(
    OwnBot { client, bot }: OwnBot,
    asked: Asked,
    Query(When { from, to }): Query<When>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::invalid("from lies after to: turn them round"));
    }
    views
        .answer(asked, client, Uptime::NAME, |db| {
            async move { uptime::of_bot(db, client, bot, from, to).await.map(Some) }.boxed()
        })
        .await
}
