//! Our figures beside Hummingbot's, and what came in that belongs to nobody. For the desk alone.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use events::BotId;
use futures::FutureExt;
use operator::quarantine::{self, Kept};
use projections::{
    bots::{self, Bots},
    pnl::Pnl,
    projection::Projection,
    reconciliation::{self, Balance, OfBot, Reconciled, Reconciliations},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    page::Limit,
    problem::Problem,
    views::{Asked, Views},
    who::OfTheDesk,
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(every_bot))
        .routes(routes!(one_bot))
        .routes(routes!(balances))
        .routes(routes!(kept_aside))
}

/// The newest deployment of every bot, counted by us and by Hummingbot
#[utoipa::path(get, path = "/api/admin/reconciliation", tag = "admin",
    responses((status = 200, body = Vec<Reconciled>)))]
async fn every_bot(
    _: OfTheDesk,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer_desk(asked, &[Reconciliations::NAME], |db| {
            async move { reconciliation::newest_of_all(db).await }.boxed()
        })
        .await
}

/// Every deployment of one bot, counted by us and by Hummingbot, and our own P&L of the newest
#[utoipa::path(get, path = "/api/admin/reconciliation/{id}", tag = "admin", params(("id" = BotId, Path)),
    responses((status = 200, body = OfBot)))]
async fn one_bot(
    _: OfTheDesk,
    id: Result<Path<BotId>, PathRejection>,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    // One that is no id names no bot either.
    let Path(bot) = id.map_err(|_| Problem::not_found())?;
    views
        .find_desk(asked, &[Reconciliations::NAME, Bots::NAME, Pnl::NAME], |db| {
            async move {
                let Some(client) = bots::owner(&mut *db, bot).await? else { return Ok(None) };
                reconciliation::of_bot(db, client, bot).await.map(Some)
            }
            .boxed()
        })
        .await
}

/// What accounts were seen to hold, against what our ledger says has moved
#[utoipa::path(get, path = "/api/admin/balances", tag = "admin", responses((status = 200, body = Vec<Balance>)))]
async fn balances(
    _: OfTheDesk,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer_desk(asked, &[Reconciliations::NAME], |db| {
            async move { reconciliation::balances_of_all(db).await }.boxed()
        })
        .await
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HowMany {
    #[serde(default)]
    limit: Limit,
}

/// What came in and belongs to nobody for sure, newest first
#[utoipa::path(get, path = "/api/admin/quarantine", tag = "admin", params(HowMany),
    responses((status = 200, body = Vec<Kept>)))]
async fn kept_aside(
    _: OfTheDesk,
    asked: Asked,
    Query(HowMany { limit }): Query<HowMany>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views.answer_now(&asked, async |desk| quarantine::all(desk, limit.items()).await).await
}
