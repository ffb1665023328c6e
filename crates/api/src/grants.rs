//! Which clients an auditor may read: granted by an admin for a time, with a reason, and seen by the auditor.

use access::{
    Register,
    grants::{self, Grant, Granted},
};
use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use events::{Slug, Time, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Json, NoQuery},
    known::Known,
    own::AnyPerson,
    people::Why,
    problem::Problem,
    who::{Account, May, People, SignedIn},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(own)).routes(routes!(of_user, give)).routes(routes!(withdraw))
}

/// The clients that you were granted
#[utoipa::path(get, path = "/api/auth/grants", tag = "auth", responses((status = 200, body = Vec<Granted>)))]
async fn own(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(register): State<Register>,
) -> Result<axum::Json<Vec<Granted>>, Problem> {
    Ok(axum::Json(grants::of(&register, who.caller.user()).await?))
}

/// The clients that an auditor was granted
#[utoipa::path(get, path = "/api/admin/users/{id}/grants", tag = "people", params(("id" = UserId, Path)),
    responses((status = 200, body = Vec<Granted>)))]
async fn of_user(
    AnyPerson(user): AnyPerson,
    _: NoQuery,
    State(register): State<Register>,
) -> Result<axum::Json<Vec<Granted>>, Problem> {
    Ok(axum::Json(grants::of(&register, user).await?))
}

/// What shall be granted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    client: Slug,
    /// It ends then by itself; within 366 days.
    until: Time,
    /// For the record; 1 to 500 characters.
    reason: String,
}

/// Let an auditor read a client, for a time; granted again, what was said last counts
#[utoipa::path(post, path = "/api/admin/users/{id}/grants", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn give(
    of: May<People, AnyPerson>,
    who: SignedIn,
    _: NoQuery,
    State(register): State<Register>,
    State(known): State<Known>,
    Json(NewGrant { client: slug, until, reason }): Json<NewGrant>,
) -> Result<StatusCode, Problem> {
    let user = of.0;
    let unknown = || Problem::invalid(format!("client: there is no client {slug}"));
    let client = known.client_of(&slug).await?.ok_or_else(unknown)?;
    let reason = reason.parse().map_err(|error: &str| Problem::invalid(error))?;
    grants::give(&register, Grant { user, client, slug, until, reason }, who.caller.user(), Time::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End what an auditor was granted, before its time
#[utoipa::path(post, path = "/api/admin/users/{id}/grants/{client}/withdraw", tag = "people",
    params(("id" = UserId, Path), ("client" = String, Path, description = "Slug or id")), responses((status = 204)))]
async fn withdraw(
    _: May<People, AnyPerson>,
    who: SignedIn,
    _: NoQuery,
    ids: Result<Path<(UserId, String)>, PathRejection>,
    State(register): State<Register>,
    State(known): State<Known>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    let Path((user, client)) = ids.map_err(|_| Problem::not_found())?;
    let client = known.client(&client).await?.ok_or_else(Problem::not_found)?;
    grants::withdraw(&register, user, client, why.reason()?, who.caller.user(), Time::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
