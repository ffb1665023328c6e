//! Bots: which there are, and what is wanted of them. A command is answered once its event stands in the stream; the
//! deed follows at its own pace.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    bot::{Bot, BotCommand},
    self_match::beside,
};
use events::{
    BotId, Slug, Time,
    bot::{BotConfig, ConfigChange},
};
use futures::FutureExt;
use operator::risk::wanted;
use projections::{
    bots::{self, Bots},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::{OwnBot, OwnClient},
    problem::{Code, Problem},
    views::{Asked, Views},
    who::{May, Trade},
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(all, create))
        .routes(routes!(one))
        .routes(routes!(change_config))
        .routes(routes!(deploy))
        .routes(routes!(stop))
}

/// Every bot
#[utoipa::path(get, path = "/api/bots", tag = "bots", responses((status = 200, body = Vec<bots::Bot>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, Bots::NAME, |db| async move { Ok(Some(bots::of_client(db, client).await?)) }.boxed())
        .await
}

/// One bot
#[utoipa::path(get, path = "/api/bots/{id}", tag = "bots", params(("id" = BotId, Path)),
    responses((status = 200, body = bots::Bot)))]
async fn one(own: OwnBot, asked: Asked, _: Query<Nothing>, State(views): State<Views>) -> Result<Response, Problem> {
    views
        .answer(asked, own.client, Bots::NAME, |db| {
            async move { Ok(bots::one(db, own.client, own.bot).await?) }.boxed()
        })
        .await
}

/// A bot to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBot {
    /// No other bot of this client has it, ever.
    name: Slug,
    #[serde(default)]
    config: BotConfig,
}

/// A bot that is.
#[derive(Debug, Serialize, ToSchema)]
struct Created {
    bot_id: BotId,
    #[serde(flatten)]
    done: Done,
}

/// Create a bot; it does nothing until it is deployed
#[utoipa::path(post, path = "/api/bots", tag = "bots", request_body = NewBot,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = Created)))]
async fn create(
    own: May<Trade, OwnClient>,
    State(streams): State<Streams>,
    wish: Wish<NewBot>,
) -> Result<Response, Problem> {
    let bot_id = BotId::named(own.0, &wish.what.name);
    let NewBot { name, config } = wish.what.clone();
    let command = BotCommand::Create { name, config, at: Time::now() };
    let done = wish.carry_out::<Bot>(&streams, &own, &bot_id.to_string(), command).await?;
    let place = [(header::LOCATION, format!("/api/bots/{bot_id}"))];
    Ok((StatusCode::CREATED, place, axum::Json(Created { bot_id, done })).into_response())
}

/// Change what a bot is told to do; what is not named stays as it is
#[utoipa::path(patch, path = "/api/bots/{id}/config", tag = "bots", request_body = ConfigChange,
    params(("id" = BotId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn change_config(
    own: May<Trade, OwnBot>,
    State(streams): State<Streams>,
    wish: Wish<ConfigChange>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = BotCommand::ChangeConfig { change: wish.what.clone(), at: Time::now() };
    own.want(&streams, &wish, command).await
}

/// Ask for a bot to run
#[utoipa::path(post, path = "/api/bots/{id}/deploy", tag = "bots",
    params(("id" = BotId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn deploy(
    own: May<Trade, OwnBot>,
    State(streams): State<Streams>,
    State(views): State<Views>,
    wish: Wish<Nothing>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    // What was done under this key before is answered as it was then, whoever has come since.
    if streams.stored(own.client, Some(&wish.key)).await?.is_none() {
        own.may_start(&views).await?;
    }
    own.want(&streams, &wish, BotCommand::Deploy { at: Time::now() }).await
}

/// Why a bot shall stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct StopReason {
    /// For the record; 500 characters at most.
    reason: String,
}

impl Default for StopReason {
    fn default() -> Self {
        Self { reason: "asked for".to_owned() }
    }
}

/// Ask for a bot to stop
#[utoipa::path(post, path = "/api/bots/{id}/stop", tag = "bots", request_body = StopReason,
    params(("id" = BotId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn stop(
    own: May<Trade, OwnBot>,
    State(streams): State<Streams>,
    wish: Wish<StopReason>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = BotCommand::Stop { reason: wish.what.reason.clone(), at: Time::now() };
    own.want(&streams, &wish, command).await
}

impl May<Trade, OwnBot> {
    /// Refuses a start beside a bot of the same owner that it would trade with. The operator asks again before the deed:
    /// what the read model knows now may be older than another start.
    async fn may_start(&self, views: &Views) -> Result<(), Problem> {
        let OwnBot { client, bot } = **self;
        let bots = views.read(client, |db| bots::of_client(db, client).boxed()).await?;
        let Some(this) = bots.iter().find(|one| one.bot_id == bot) else { return Ok(()) };
        beside(bot, &this.config, wanted(&bots)).map_err(|refused| Problem::new(Code::Conflict, refused.to_string()))
    }

    /// Records what is wanted of it; that it was done is another event, later.
    async fn want<T>(
        &self,
        streams: &Streams,
        wish: &Wish<T>,
        command: BotCommand,
    ) -> Result<(StatusCode, axum::Json<Done>), Problem> {
        let done = wish.carry_out::<Bot>(streams, self, &self.bot.to_string(), command).await?;
        Ok((StatusCode::ACCEPTED, axum::Json(done)))
    }
}
