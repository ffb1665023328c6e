//! Logging in and going on: from an address and a password to tokens, from one refresh token to the next, and out again.
//!
//! A program gets its tokens told. A browser gets them as cookies that no script reads ([`crate::cookies`]).

use access::{Doorman, Email, Opened, Profile, PublicKey, SecondFactors, Sessions, Tokens};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use events::{
    ClientId, SessionId, Time,
    desk::{Factor, Role, Scope, WhyEnded},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cookies::{self, Csrf, Kept},
    input::{Json, NoQuery, Nothing, Said},
    problem::Problem,
    second_factor::{self, CodeNeeded, NextToken, next_token},
    whence::FromWhere,
    who::{Account, May, SignedIn},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(accept))
        .routes(routes!(change_password))
        .routes(routes!(me))
        .routes(routes!(public_keys))
}

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[schema(max_length = 254, pattern = "^[!-?A-~]+@[!-?A-~]+\\.[!-?A-~]+$", example = "desk@acme.example")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// Keep the tokens as cookies, and tell none.
    #[serde(default)]
    browser: bool,
}

/// A session from now on.
#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    /// Send it as `Authorization: Bearer TOKEN`. Absent for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Gets the next tokens at `/api/auth/refresh`, once. Absent for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// For a browser: send it as `X-CSRF-Token` with whatever changes something. The cookie that is no secret tells it, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
    token_type: &'static str,
    /// From then on the access token counts no more,
    expires_at: Time,
    /// and from then on the refresh token.
    refresh_expires_at: Time,
    session_id: SessionId,
    role: Role,
    /// Whose a client's user is; null for whoever belongs to the desk.
    client_id: Option<ClientId>,
}

/// Log in with an e-mail address and a password
///
/// Whoever shows codes gets a ticket, which opens the session with a code at `POST /api/auth/login/code`.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", security(()),
    responses((status = 200, body = LoggedIn), (status = 202, body = CodeNeeded)))]
async fn log_in(
    _: NoQuery,
    State(doorman): State<Doorman>,
    State(factors): State<SecondFactors>,
    State(sessions): State<Sessions>,
    State(csrf): State<Csrf>,
    from: FromWhere,
    Json(who): Json<Credentials>,
) -> Result<Response, Problem> {
    let email: Email = who.email.parse().map_err(Problem::invalid)?;
    let user = doorman.log_in(&email, who.password, from.0.address()).await?;
    if factors.has(user.id).await? {
        return Ok(second_factor::code_needed(&factors.ticket(&user, Time::now()).await?));
    }
    let opened = sessions.open(user, vec![Factor::Password], &from.0, Time::now()).await?;
    Ok(answer(&opened.ok_or_else(changed_meanwhile)?, who.browser, &csrf))
}

/// What a session goes on with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// Left out by a browser, whose cookie says it.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    refresh_token: Option<SecretString>,
}

/// Get the next tokens of a session; a refresh token is good once
///
/// One that comes a second time is in two hands: its session ends. Refresh under a lock, a browser under `navigator.locks`.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", security(()), responses((status = 200, body = LoggedIn)))]
async fn refresh(
    _: NoQuery,
    headers: HeaderMap,
    State(sessions): State<Sessions>,
    State(csrf): State<Csrf>,
    from: FromWhere,
    Said(Refresh { refresh_token: told }): Said<Refresh>,
) -> Result<Response, Problem> {
    let browser = told.is_none();
    let token = match &told {
        Some(token) => token.expose_secret(),
        None => by_cookie(&headers, &csrf)?,
    };
    let opened = sessions.refresh(token, &from.0, Time::now()).await?;
    Ok(answer(&opened, browser, &csrf))
}

/// The refresh token that a page of ours sent along.
fn by_cookie<'a>(headers: &'a HeaderMap, csrf: &Csrf) -> Result<&'a str, Problem> {
    let token = cookies::refresh(headers).ok_or_else(|| Problem::unauthenticated("send a refresh token, or log in"))?;
    if let Some(session) = Sessions::session_of(token) {
        csrf.check(session, headers)?;
    }
    Ok(token)
}

/// End this session
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", responses((status = 204)))]
async fn log_out(
    _: NoQuery,
    who: May<Account, SignedIn>,
    State(sessions): State<Sessions>,
    _: Said<Nothing>,
) -> Result<Response, Problem> {
    let caller = who.caller;
    sessions.end(caller.user(), caller.session(), caller.user(), WhyEnded::LoggedOut, Time::now()).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookies::clear(response.headers_mut());
    Ok(response)
}

/// A link, and the password that somebody chose.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Chosen {
    /// As it was handed over.
    #[schema(value_type = String, format = Password)]
    link: SecretString,
    /// 12 to 256 characters.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Choose a password by a link: the first one, or another in the place of one that was lost
///
/// A link is good once. With another password all sessions and tokens of the user end.
#[utoipa::path(post, path = "/api/auth/accept", tag = "auth", security(()), responses((status = 204)))]
async fn accept(
    _: NoQuery,
    State(doorman): State<Doorman>,
    Json(Chosen { link, password }): Json<Chosen>,
) -> Result<StatusCode, Problem> {
    doorman.accept(link.expose_secret(), password, Time::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The password that is, and the one that shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changed {
    #[schema(value_type = String, format = Password)]
    current: SecretString,
    /// 12 to 256 characters.
    #[schema(value_type = String, format = Password)]
    new: SecretString,
    /// Keep the token as a cookie, and tell none.
    #[serde(default)]
    browser: bool,
}

/// Change your password; your other sessions end, and this one gets another token
#[utoipa::path(post, path = "/api/auth/password", tag = "auth", responses((status = 200, body = NextToken)))]
async fn change_password(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(doorman): State<Doorman>,
    State(sessions): State<Sessions>,
    from: FromWhere,
    Json(Changed { current, new, browser }): Json<Changed>,
) -> Result<Response, Problem> {
    doorman.change_password(&who.caller, current, new, from.0.address(), Time::now()).await?;
    let token = sessions.token(&who.caller, Time::now()).await?.ok_or_else(changed_meanwhile)?;
    Ok(next_token(&token, browser))
}

/// Who is logged in, and by what.
#[derive(Serialize, ToSchema)]
struct Me {
    #[serde(flatten)]
    profile: Profile,
    session_id: SessionId,
    /// When it was last proved who this is.
    auth_time: Time,
    /// What the token is for; null where a person has logged in, who may do whatever the role may.
    scopes: Option<Vec<Scope>>,
}

/// Who is logged in
#[utoipa::path(get, path = "/api/auth/me", tag = "auth", responses((status = 200, body = Me)))]
async fn me(who: SignedIn, _: NoQuery, State(doorman): State<Doorman>) -> Result<axum::Json<Me>, Problem> {
    let caller = who.caller;
    let profile = doorman.profile(caller.user()).await?;
    let profile = profile.ok_or_else(|| Problem::unauthenticated("this user is no more: log in as another"))?;
    let (session_id, auth_time) = (caller.session(), caller.auth_time());
    let scopes = caller.scopes().map(|scopes| scopes.all().collect());
    Ok(axum::Json(Me { profile, session_id, auth_time, scopes }))
}

/// Keys as RFC 7517 lists them.
#[derive(Serialize, ToSchema)]
struct PublicKeys {
    keys: Vec<PublicKey>,
}

/// What access tokens can be checked with
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "auth", security(()),
    responses((status = 200, body = PublicKeys)))]
async fn public_keys(_: NoQuery, State(tokens): State<Tokens>) -> Response {
    let cached = [(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"))];
    (cached, axum::Json(PublicKeys { keys: tokens.public_keys() })).into_response()
}

/// What somebody proved itself with became another while it did.
pub fn changed_meanwhile() -> Problem {
    Problem::unauthenticated("what you log in with was changed in this moment: log in again")
}

/// What somebody gets who was let in.
pub fn answer(opened: &Opened, browser: bool, csrf: &Csrf) -> Response {
    let told = |token: &SecretString| (!browser).then(|| token.expose_secret().to_owned());
    let (user, value) = (opened.session.user, csrf.of(opened.session.id));
    let body = LoggedIn {
        access_token: told(&opened.access.text),
        refresh_token: told(&opened.refresh),
        csrf_token: browser.then(|| value.clone()),
        token_type: "Bearer",
        expires_at: opened.access.expires_at,
        refresh_expires_at: opened.refresh_expires_at,
        session_id: opened.session.id,
        role: user.role,
        client_id: user.client,
    };
    let mut response = axum::Json(body).into_response();
    if browser {
        let access = (&opened.access.text, opened.access.expires_at);
        let kept = Kept { access, refresh: (&opened.refresh, opened.refresh_expires_at), csrf: &value };
        kept.set(response.headers_mut(), Time::now());
    }
    response
}
