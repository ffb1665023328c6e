//! Sessions, as those see them who may end them: their user, and whoever decides about users.

use access::{Listed, Sessions};
use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use events::{SessionId, Time, UserId, desk::WhyEnded};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{NoQuery, Nothing, Said},
    problem::Problem,
    who::{Account, May, People, SeePeople, SignedIn},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(own))
        .routes(routes!(end_own))
        .routes(routes!(of_user, end_all))
        .routes(routes!(end_one))
}

/// One of one's own sessions.
#[derive(Serialize, ToSchema)]
struct Own {
    #[serde(flatten)]
    session: Listed,
    /// The one that asks.
    current: bool,
}

/// Your sessions, the newest first
#[utoipa::path(get, path = "/api/auth/sessions", tag = "auth", responses((status = 200, body = Vec<Own>)))]
async fn own(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(sessions): State<Sessions>,
) -> Result<axum::Json<Vec<Own>>, Problem> {
    let listed = sessions.of(who.caller.user()).await?.into_iter();
    let own = listed.map(|session| Own { current: session.session_id == who.caller.session(), session });
    Ok(axum::Json(own.collect()))
}

/// End one of your sessions
#[utoipa::path(delete, path = "/api/auth/sessions/{id}", tag = "auth", params(("id" = SessionId, Path)),
    responses((status = 204)))]
async fn end_own(
    who: May<Account, SignedIn>,
    _: NoQuery,
    id: Result<Path<SessionId>, PathRejection>,
    State(sessions): State<Sessions>,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    let Path(session) = id.map_err(|_| Problem::not_found())?;
    let user = who.caller.user();
    there(sessions.end(user, session, user, WhyEnded::Ended, Time::now()).await?)
}

/// The sessions of a user, the newest first
#[utoipa::path(get, path = "/api/admin/users/{id}/sessions", tag = "people", params(("id" = UserId, Path)),
    responses((status = 200, body = Vec<Listed>)))]
async fn of_user(
    _: May<SeePeople, SignedIn>,
    _: NoQuery,
    id: Result<Path<UserId>, PathRejection>,
    State(sessions): State<Sessions>,
) -> Result<axum::Json<Vec<Listed>>, Problem> {
    let Path(user) = id.map_err(|_| Problem::not_found())?;
    let listed = sessions.of_known(user).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(listed))
}

/// End every session of a user
#[utoipa::path(delete, path = "/api/admin/users/{id}/sessions", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn end_all(
    who: May<People, SignedIn>,
    _: NoQuery,
    id: Result<Path<UserId>, PathRejection>,
    State(sessions): State<Sessions>,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    let Path(user) = id.map_err(|_| Problem::not_found())?;
    sessions.of_known(user).await?.ok_or_else(Problem::not_found)?;
    sessions.end_all(user, None, who.caller.user(), WhyEnded::Ended, Time::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End one session of a user
#[utoipa::path(delete, path = "/api/admin/users/{id}/sessions/{session}", tag = "people",
    params(("id" = UserId, Path), ("session" = SessionId, Path)), responses((status = 204)))]
async fn end_one(
    who: May<People, SignedIn>,
    _: NoQuery,
    ids: Result<Path<(UserId, SessionId)>, PathRejection>,
    State(sessions): State<Sessions>,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    let Path((user, session)) = ids.map_err(|_| Problem::not_found())?;
    there(sessions.end(user, session, who.caller.user(), WhyEnded::Ended, Time::now()).await?)
}

/// One that has ended is not there, whoever ended it.
fn there(ended: bool) -> Result<StatusCode, Problem> {
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}
