//! What a bot was told, what was done for it and what it said: its configs, its history, the end of its log.

use axum::{extract::State, response::Response};
use events::BotId;
use futures::FutureExt;
use projections::{
    configs::{self, Config, Configs},
    doings::{self, Doing, Doings},
    logs::{self, Line, Logs},
    projection::Projection,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cursor::Cursors,
    input::Query,
    own::OwnBot,
    page::{Limit, Page},
    problem::Problem,
    views::{Asked, Views},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(config_history)).routes(routes!(history)).routes(routes!(log))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Every config that a bot ever had, newest first: by whom, what is otherwise, what became of it
#[utoipa::path(get, path = "/api/bots/{id}/config/history", tag = "bots", params(("id" = BotId, Path), Which),
    responses((status = 200, body = Page<Config>)))]
async fn config_history(
    OwnBot { client, bot }: OwnBot,
    asked: Asked,
    Query(Which { limit, cursor }): Query<Which>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let before = cursor.map(|cursor| cursors.open(client, &question, &cursor)).transpose()?;
    views
        .answer(asked, client, Configs::NAME, |db| {
            async move {
                let found = configs::page(db, client, bot, before, limit.and_one()).await?;
                Ok(Some(Page::new(found, limit, &cursors, client, &question, |config| config.number)))
            }
            .boxed()
        })
        .await
}

/// What was asked of a bot, done for it and seen of it, newest first
#[utoipa::path(get, path = "/api/bots/{id}/history", tag = "bots", params(("id" = BotId, Path), Which),
    responses((status = 200, body = Page<Doing>)))]
async fn history(
    OwnBot { client, bot }: OwnBot,
    asked: Asked,
    Query(Which { limit, cursor }): Query<Which>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let before = cursor.map(|cursor| cursors.open(client, &question, &cursor)).transpose()?;
    views
        .answer(asked, client, Doings::NAME, |db| {
            async move {
                let found = doings::page(db, client, bot, before, limit.and_one()).await?;
                Ok(Some(Page::new(found, limit, &cursors, client, &question, |doing| doing.seq)))
            }
            .boxed()
        })
        .await
}

/// How much of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Tail {
    #[serde(default)]
    limit: Limit,
}

/// What a bot warned of or complained about last, newest first; 500 lines are kept
#[utoipa::path(get, path = "/api/bots/{id}/log", tag = "bots", params(("id" = BotId, Path), Tail),
    responses((status = 200, body = Vec<Line>)))]
async fn log(
    OwnBot { client, bot }: OwnBot,
    asked: Asked,
    Query(Tail { limit }): Query<Tail>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, Logs::NAME, |db| {
            async move { Ok(Some(logs::last(db, client, bot, limit.items()).await?)) }.boxed()
        })
        .await
}
