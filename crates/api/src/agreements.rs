//! Agreements: what was promised of a bot, what time counts for nothing, and what each day came to. The desk writes them
//! down; its client sees all of it.

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts as Head},
    response::{IntoResponse, Response},
};
use cqrs_es::Aggregate;
use domain::{
    agreement::{Agreement, AgreementCommand},
    bot::Bot,
};
use events::{AggregateRef, AgreementId, BotId, ClientId, Slug, Time, agreement::Clause};
use futures::FutureExt;
use projections::{
    agreements::{self, Agreements},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::{ClientOfTheDesk, OfClient, OwnClient, theirs},
    page::Limit,
    problem::Problem,
    views::{Asked, Views},
    who::{May, Onboard},
    why::WhyOver,
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(all))
        .routes(routes!(set))
        .routes(routes!(change, end))
        .routes(routes!(exclude))
        .routes(routes!(days))
}

/// An agreement with the client that is asked about, whatever became of it.
#[derive(Debug, Clone, Copy)]
struct OwnAgreement {
    client: ClientId,
    agreement: AgreementId,
}

/// The same as the desk speaks of it: the path names its client, too.
#[derive(Debug, Clone, Copy)]
struct AgreementOfTheDesk(OwnAgreement);

impl OfClient for AgreementOfTheDesk {
    fn client(&self) -> ClientId {
        self.0.client
    }
}

impl FromRequestParts<Parts> for OwnAgreement {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let agreement = theirs::<Agreement, _>(client, head, state).await?;
        Ok(Self { client, agreement })
    }
}

impl FromRequestParts<Parts> for AgreementOfTheDesk {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let ClientOfTheDesk(client) = ClientOfTheDesk::from_request_parts(head, state).await?;
        let agreement = theirs::<Agreement, _>(client, head, state).await?;
        Ok(Self(OwnAgreement { client, agreement }))
    }
}

/// Every agreement, those that ended among them
#[utoipa::path(get, path = "/api/agreements", tag = "agreements",
    responses((status = 200, body = Vec<agreements::Agreement>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, Agreements::NAME, |db| {
            async move { Ok(Some(agreements::of_client(db, client).await?)) }.boxed()
        })
        .await
}

/// An agreement to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAgreement {
    /// What people call it. It can be given again once the agreement has ended.
    name: Slug,
    /// Of whom it is promised.
    bot: BotId,
    clauses: Vec<Clause>,
}

/// An agreement that is.
#[derive(Debug, Serialize, ToSchema)]
struct AgreementKept {
    agreement_id: AgreementId,
    #[serde(flatten)]
    done: Done,
}

/// Write down what is promised of a bot, from the next day (UTC) on
#[utoipa::path(post, path = "/api/admin/clients/{client}/agreements", tag = "admin", request_body = NewAgreement,
    params(("client" = String, Path), ("Idempotency-Key" = String, Header)), responses((status = 201, body = AgreementKept)))]
async fn set(
    own: May<Onboard, ClientOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<NewAgreement>,
) -> Result<Response, Problem> {
    let NewAgreement { name, bot, clauses } = wish.what.clone();
    let client = own.client();
    if !streams.knows(client, &AggregateRef::new(Bot::TYPE, bot)).await? {
        return Err(Problem::invalid("bot: the client has no such bot"));
    }
    let agreement_id = AgreementId::named(client, &name);
    let command = AgreementCommand::Set { name, bot, clauses, at: Time::now() };
    let done = wish.carry_out::<Agreement>(&streams, &own, &agreement_id.to_string(), command).await?;
    let place = [(header::LOCATION, "/api/agreements")];
    Ok((StatusCode::CREATED, place, axum::Json(AgreementKept { agreement_id, done })).into_response())
}

/// What is promised from the next day on.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewClauses {
    /// All of them.
    clauses: Vec<Clause>,
}

/// Promise something else, from the next day (UTC) on
#[utoipa::path(put, path = "/api/admin/clients/{client}/agreements/{id}", tag = "admin", request_body = NewClauses,
    params(("client" = String, Path), ("id" = AgreementId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn change(
    own: May<Onboard, AgreementOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<NewClauses>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    own.want(&streams, &wish, AgreementCommand::Change { clauses: wish.what.clauses.clone(), at: Time::now() }).await
}

/// A time that counts for nothing.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewExclusion {
    from: Time,
    to: Time,
    /// Why: the exchange was down, both sides agreed on it. 1 to 500 characters, for the client to read.
    reason: String,
}

/// Declare that a time counts for nothing; days that were judged with it are judged anew
#[utoipa::path(post, path = "/api/admin/clients/{client}/agreements/{id}/exclusions", tag = "admin", request_body = NewExclusion,
    params(("client" = String, Path), ("id" = AgreementId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn exclude(
    own: May<Onboard, AgreementOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<NewExclusion>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let NewExclusion { from, to, reason } = wish.what.clone();
    own.want(&streams, &wish, AgreementCommand::Exclude { from, to, reason, at: Time::now() }).await
}

/// Promise nothing any more
#[utoipa::path(delete, path = "/api/admin/clients/{client}/agreements/{id}", tag = "admin", request_body = WhyOver,
    params(("client" = String, Path), ("id" = AgreementId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn end(
    own: May<Onboard, AgreementOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    own.want(&streams, &wish, AgreementCommand::End { reason: wish.what.reason.clone(), at: Time::now() }).await
}

/// Which days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Those before this one.
    before: Option<Time>,
    #[serde(default)]
    limit: Limit,
}

/// What the last days came to by each promise, the newest first
#[utoipa::path(get, path = "/api/agreements/{id}/days", tag = "agreements",
    params(("id" = AgreementId, Path), Which), responses((status = 200, body = Vec<agreements::Judged>)))]
async fn days(
    own: OwnAgreement,
    asked: Asked,
    Query(Which { before, limit }): Query<Which>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    let OwnAgreement { client, agreement } = own;
    views
        .answer(asked, client, Agreements::NAME, |db| {
            async move { Ok(Some(agreements::days(db, client, agreement, before, limit.items()).await?)) }.boxed()
        })
        .await
}

impl May<Onboard, AgreementOfTheDesk> {
    async fn want<T>(
        &self,
        streams: &Streams,
        wish: &Wish<T>,
        command: AgreementCommand,
    ) -> Result<(StatusCode, axum::Json<Done>), Problem> {
        let done = wish.carry_out::<Agreement>(streams, self, &self.0.agreement.to_string(), command).await?;
        Ok((StatusCode::ACCEPTED, axum::Json(done)))
    }
}
