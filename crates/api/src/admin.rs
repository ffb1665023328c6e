//! The desk's own pages: all clients, all bots, what needs a look.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::client::{Client, ClientCommand};
use events::{Asset, ClientId, Slug, Time};
use futures::FutureExt;
use projections::{
    bots::{self, Bots},
    clients::{self, Clients},
    desk::{self, Desk},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    leaving::Leaving,
    onboarding::onboard,
    own::ClientOfTheDesk,
    problem::{Code, Problem},
    views::{Asked, Views},
    who::{May, OfTheDesk, Onboard},
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(overview))
        .routes(routes!(every_client, add_client))
        .routes(routes!(offboard))
        .routes(routes!(every_bot))
}

/// Every client at a glance, and what waits for a person
#[utoipa::path(get, path = "/api/admin/overview", tag = "admin", responses((status = 200, body = Desk)))]
async fn overview(
    _: OfTheDesk,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views.answer_desk(asked, desk::MODELS, |db| async move { desk::desk(db).await }.boxed()).await
}

/// Every client
#[utoipa::path(get, path = "/api/admin/clients", tag = "admin", responses((status = 200, body = Vec<clients::Client>)))]
async fn every_client(
    _: OfTheDesk,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views.answer_desk(asked, &[Clients::NAME], |db| async move { Ok(clients::every(db).await?) }.boxed()).await
}

/// Every bot of every client
#[utoipa::path(get, path = "/api/admin/bots", tag = "admin", responses((status = 200, body = Vec<bots::Bot>)))]
async fn every_bot(
    _: OfTheDesk,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views.answer_desk(asked, &[Bots::NAME], |db| async move { Ok(bots::every(db).await?) }.boxed()).await
}

/// A client to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewClient {
    /// It keeps it for ever.
    slug: Slug,
    /// What people call it; the slug if left out.
    name: Option<String>,
    /// What totals are told in.
    #[serde(default = "Asset::usdt")]
    reporting_currency: Asset,
}

/// A client that is.
#[derive(Debug, Serialize, ToSchema)]
struct Onboarded {
    client_id: ClientId,
    #[serde(flatten)]
    done: Done,
}

/// Onboard a client
#[utoipa::path(post, path = "/api/admin/clients", tag = "admin", request_body = NewClient,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = Onboarded)))]
async fn add_client(
    _: May<Onboard, OfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<NewClient>,
) -> Result<Response, Problem> {
    let NewClient { slug, name, reporting_currency } = &wish.what;
    let name = name.as_deref().unwrap_or(slug.as_str());
    let (client_id, receipt) = onboard(&streams, slug, name, reporting_currency, &wish.cause).await?;
    let first = receipt.map(|receipt| receipt.first).unwrap_or_default();
    if streams.wish_of(client_id, first).await? != Some(wish.cause.correlation) {
        return Err(Problem::new(Code::Conflict, format!("the slug {slug} belongs to another client: take another")));
    }
    let done = wish.done(&streams, client_id, receipt).await?;
    let place = [(header::LOCATION, format!("/api/clients/portfolio?client={slug}"))];
    Ok((StatusCode::CREATED, place, axum::Json(Onboarded { client_id, done })).into_response())
}

/// Why a client leaves, and what shall remain.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Goodbye {
    /// For the record; 1 to 500 characters.
    reason: String,
    /// Make all that was sealed for the client unreadable for ever, once its credentials are revoked. Its history stays,
    /// and still verifies. May be asked for later, by sending the same with another key.
    #[serde(default)]
    destroy_data_key: bool,
}

/// Let a client go: its bots are stopped, its credentials revoked, its users let in no more
#[utoipa::path(post, path = "/api/admin/clients/{client}/offboard", tag = "admin", request_body = Goodbye,
    params(("client" = String, Path, description = "Slug or id"), ("Idempotency-Key" = String, Header)),
    responses((status = 202, body = Done)))]
async fn offboard(
    own: May<Onboard, ClientOfTheDesk>,
    State(leaving): State<Leaving>,
    wish: Wish<Goodbye>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let Goodbye { reason, destroy_data_key } = wish.what.clone();
    let command = ClientCommand::Offboard { reason, destroy_data_key, at: Time::now() };
    let client = own.0;
    let done = wish.carry_out::<Client>(&leaving.streams, &own, &client.to_string(), command).await?;
    // What cannot be done at once is done soon: it is looked for all the time.
    leaving.go_on(client, &wish.cause).await.unwrap_or_else(|error| error.tell(client));
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}
