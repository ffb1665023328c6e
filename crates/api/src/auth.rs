//! Logging in, and who one is then.

use std::net::SocketAddr;

use access::{Doorman, Email, Profile, Tokens};
use axum::extract::{ConnectInfo, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use events::{ClientId, Time, desk::Role};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Json, NoQuery},
    problem::Problem,
    who::SignedIn,
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(log_in)).routes(routes!(me))
}

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[schema(max_length = 254, pattern = "^[!-?A-~]+@[!-?A-~]+\\.[!-?A-~]+$", example = "desk@acme.example")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// A login that succeeded.
#[derive(Serialize, ToSchema)]
struct LoggedIn {
    /// Send it as `Authorization: Bearer TOKEN`.
    access_token: String,
    token_type: &'static str,
    /// From then on it counts no more.
    expires_at: Time,
    role: Role,
    /// Whose a user of role `client` is.
    client_id: Option<ClientId>,
}

/// Log in with an e-mail address and a password
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", security(()), responses((status = 200, body = LoggedIn)))]
async fn log_in(
    _: NoQuery,
    State(doorman): State<Doorman>,
    State(tokens): State<Tokens>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Json(who): Json<Credentials>,
) -> Result<Response, Problem> {
    let email: Email = who.email.parse().map_err(Problem::invalid)?;
    let user = doorman.log_in(&email, who.password, from.ip()).await?;
    let token = tokens.issue(&user, Time::now());
    let answer = LoggedIn {
        access_token: token.text.expose_secret().to_owned(),
        token_type: "Bearer",
        expires_at: token.expires_at,
        role: user.role,
        client_id: user.client,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response())
}

/// Who is logged in
#[utoipa::path(get, path = "/api/auth/me", tag = "auth", responses((status = 200, body = Profile)))]
async fn me(who: SignedIn, _: NoQuery, State(doorman): State<Doorman>) -> Result<Response, Problem> {
    let profile = doorman.profile(who.caller.user()).await?;
    let profile = profile.ok_or_else(|| Problem::unauthenticated("this user is no more: log in as another"))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(profile)).into_response())
}
