//! The desk's own alerts, those about the platform itself: looked after, and told to people by channels of the desk's own.

use ::alerts::notify::guard::Guard;
use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts as Head},
    response::Response,
};
use domain::{alert::Alert, channel::Channel};
use events::{AlertId, ChannelId, ClientId, channel::Settings};
use projections::channels as model;
use store::Streams;
use utoipa_axum::{router::OpenApiRouter, routes};
use vault::Vault;

use crate::{
    Parts,
    alerts::{Acknowledge, Snooze},
    channels::{self, ChannelKept, NewChannel, NewTarget, Of, WhichTries},
    input::{Nothing, Query},
    own::{OfClient, theirs},
    problem::Problem,
    views::{Asked, Views},
    who::{May, OfTheDesk, Subscribe, Tend},
    why::WhyOver,
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(acknowledge))
        .routes(routes!(silence))
        .routes(routes!(all, add))
        .routes(routes!(change, remove))
        .routes(routes!(renew))
        .routes(routes!(test))
        .routes(routes!(tries))
}

/// The desk as whoever has a stream of its own.
#[derive(Debug, Clone, Copy)]
struct TheDesk;

/// An alert about the platform.
#[derive(Debug, Clone, Copy)]
struct AlertOfTheDesk(AlertId);

/// A channel of the desk's.
#[derive(Debug, Clone, Copy)]
struct ChannelOfTheDesk(ChannelId);

impl OfClient for TheDesk {
    fn client(&self) -> ClientId {
        ClientId::DESK
    }
}

impl OfClient for AlertOfTheDesk {
    fn client(&self) -> ClientId {
        ClientId::DESK
    }
}

impl OfClient for ChannelOfTheDesk {
    fn client(&self) -> ClientId {
        ClientId::DESK
    }
}

impl FromRequestParts<Parts> for TheDesk {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        OfTheDesk::from_request_parts(head, state).await.map(|_| Self)
    }
}

impl FromRequestParts<Parts> for AlertOfTheDesk {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let TheDesk = TheDesk::from_request_parts(head, state).await?;
        theirs::<Alert, _>(ClientId::DESK, head, state).await.map(Self)
    }
}

impl FromRequestParts<Parts> for ChannelOfTheDesk {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let TheDesk = TheDesk::from_request_parts(head, state).await?;
        theirs::<Channel, _>(ClientId::DESK, head, state).await.map(Self)
    }
}

/// Look after an alert about the platform: nobody is called for it again, unless it becomes worse
#[utoipa::path(post, path = "/api/admin/alerts/platform/{id}/acknowledge", tag = "admin", request_body = Acknowledge,
    params(("id" = AlertId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn acknowledge(
    own: May<Tend, AlertOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<Acknowledge>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let done = wish.carry_out::<Alert>(&streams, &own, &own.0.to_string(), wish.what.command()).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Call nobody for an alert about the platform until then
#[utoipa::path(post, path = "/api/admin/alerts/platform/{id}/silence", tag = "admin", request_body = Snooze,
    params(("id" = AlertId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn silence(
    own: May<Tend, AlertOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<Snooze>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let done = wish.carry_out::<Alert>(&streams, &own, &own.0.to_string(), wish.what.command()).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Every channel of the desk, those that were removed among them
#[utoipa::path(get, path = "/api/admin/alerts/channels", tag = "admin",
    responses((status = 200, body = Vec<model::Channel>)))]
async fn all(_: OfTheDesk, asked: Asked, _: Query<Nothing>, State(views): State<Views>) -> Result<Response, Problem> {
    views.answer_now(&asked, async |desk| Ok(model::of_desk(desk).await?.0)).await
}

/// Tell the desk's people of alerts about the platform by another channel
#[utoipa::path(post, path = "/api/admin/alerts/channels", tag = "admin", request_body = NewChannel,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = ChannelKept)))]
async fn add(
    own: May<Subscribe, TheDesk>,
    State(guard): State<Guard>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    wish: Wish<NewChannel>,
) -> Result<Response, Problem> {
    channels::add_to(&own, Of { guard, vault, streams }, wish).await
}

/// Change what is told by a channel of the desk, and when; all of its settings
#[utoipa::path(put, path = "/api/admin/alerts/channels/{id}", tag = "admin", request_body = Settings,
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn change(
    own: May<Subscribe, ChannelOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<Settings>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    channels::change_one(&own, own.0, &streams, &wish).await
}

/// Let a channel of the desk lead elsewhere, or take another secret
#[utoipa::path(post, path = "/api/admin/alerts/channels/{id}/renew", tag = "admin", request_body = NewTarget,
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 200, body = ChannelKept)))]
async fn renew(
    own: May<Subscribe, ChannelOfTheDesk>,
    State(guard): State<Guard>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    wish: Wish<NewTarget>,
) -> Result<Response, Problem> {
    channels::renew_one(&own, own.0, Of { guard, vault, streams }, wish).await
}

/// Send a message by a channel of the desk that says that it is a test
#[utoipa::path(post, path = "/api/admin/alerts/channels/{id}/test", tag = "admin",
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn test(
    own: May<Subscribe, ChannelOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<Nothing>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    channels::test_one(&own, own.0, &streams, &wish).await
}

/// Tell nothing by a channel of the desk any more, and forget where it led
#[utoipa::path(delete, path = "/api/admin/alerts/channels/{id}", tag = "admin", request_body = WhyOver,
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn remove(
    own: May<Subscribe, ChannelOfTheDesk>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    wish: Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    channels::remove_one(&own, own.0, &vault, &streams, &wish).await
}

/// What became of each message of a channel of the desk, the newest first
#[utoipa::path(get, path = "/api/admin/alerts/channels/{id}/tries", tag = "admin",
    params(("id" = ChannelId, Path), WhichTries), responses((status = 200, body = Vec<model::Try>)))]
async fn tries(
    ChannelOfTheDesk(channel): ChannelOfTheDesk,
    asked: Asked,
    Query(which): Query<WhichTries>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer_now(&asked, async |desk| {
            let mut tries = model::of_desk(desk).await?.1;
            tries.retain(|one| one.channel_id == channel && which.before_seq.is_none_or(|seq| one.seq < seq));
            tries.reverse();
            tries.truncate(which.limit.items() as usize);
            Ok(tries)
        })
        .await
}
