//! The second factor and whatever is proved once more: setting one up, logging in with it, stepping up before something
//! dangerous, and doing without.

use access::{AccessToken, ChangeError, Doorman, FactorError, SecondFactors, Sessions, Ticket};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use events::{Time, UserId, desk::Factor};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    auth::{self, LoggedIn},
    cookies::{self, Csrf},
    input::{Json, NoQuery, Nothing, Said},
    problem::{Code, Problem},
    whence::FromWhere,
    who::{Account, AnyPerson, May, People, Prove, SignedIn},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(log_in_with_code))
        .routes(routes!(step_up))
        .routes(routes!(begin, remove))
        .routes(routes!(confirm))
        .routes(routes!(renew_codes))
        .routes(routes!(remove_of_user))
}

/// What is missing for a session.
#[derive(Serialize, ToSchema)]
pub struct CodeNeeded {
    /// Send it with a code to `POST /api/auth/login/code`. It is good for minutes, and for five tries.
    ticket: String,
    expires_at: Time,
}

/// What somebody gets whose password was right, and who shows codes.
pub fn code_needed(ticket: &Ticket) -> Response {
    let body = CodeNeeded { ticket: ticket.text.expose_secret().to_owned(), expires_at: ticket.expires_at };
    (StatusCode::ACCEPTED, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

/// A ticket and a code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Coded {
    #[schema(value_type = String, format = Password)]
    ticket: SecretString,
    /// The one that is shown now, or one of the recovery codes.
    #[schema(value_type = String, format = Password)]
    code: SecretString,
    /// Keep the tokens as cookies, and tell none.
    #[serde(default)]
    browser: bool,
}

/// Log in with the ticket that the password got, and a code
#[utoipa::path(post, path = "/api/auth/login/code", tag = "auth", security(()),
    responses((status = 200, body = LoggedIn)))]
async fn log_in_with_code(
    _: NoQuery,
    State(factors): State<SecondFactors>,
    State(sessions): State<Sessions>,
    State(csrf): State<Csrf>,
    from: FromWhere,
    Json(Coded { ticket, code, browser }): Json<Coded>,
) -> Result<Response, Problem> {
    let (address, now) = (from.0.address(), Time::now());
    let (user, factor) = factors.redeem(ticket.expose_secret(), &code, address, now).await?;
    let opened = sessions.open(user, vec![Factor::Password, factor], &from.0, now).await?;
    Ok(auth::answer(&opened, browser, &csrf))
}

/// What proves once more who this is: whoever shows codes shows one, everybody else the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Proof {
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    code: Option<SecretString>,
    /// Keep the token as a cookie, and tell none.
    #[serde(default)]
    browser: bool,
}

/// A token that tells of a proof that is minutes old.
#[derive(Serialize, ToSchema)]
struct SteppedUp {
    /// In the place of the one that was sent. Absent for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    expires_at: Time,
}

/// Prove once more who you are, before what takes a fresh proof
#[utoipa::path(post, path = "/api/auth/step-up", tag = "auth", responses((status = 200, body = SteppedUp)))]
async fn step_up(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(doorman): State<Doorman>,
    State(factors): State<SecondFactors>,
    State(sessions): State<Sessions>,
    from: FromWhere,
    Json(proof): Json<Proof>,
) -> Result<Response, Problem> {
    let browser = proof.browser;
    let by = prove(&who, proof, &doorman, &factors, &from).await?;
    let token = sessions.step_up(&who.caller, by, Time::now()).await?;
    let token = token.ok_or_else(|| Problem::unauthenticated("this session has ended: log in again"))?;
    Ok(stepped_up(&token, browser))
}

/// Holds a proof against what there is to prove with.
async fn prove(
    who: &SignedIn,
    Proof { password, code, .. }: Proof,
    doorman: &Doorman,
    factors: &SecondFactors,
    from: &FromWhere,
) -> Result<Factor, Problem> {
    let (user, address) = (who.caller.user(), from.0.address());
    match (factors.has(user).await?, password, code) {
        (true, None, Some(code)) => Ok(factors.check(user, &code, address, Time::now()).await?),
        (true, ..) => Err(Problem::invalid("send a code, and no password: you show codes")),
        (false, Some(password), None) => {
            doorman.confirm(user, password, address).await.map_err(ChangeError::Login)?;
            Ok(Factor::Password)
        }
        (false, ..) => Err(Problem::invalid("send your password, and no code: you have no second factor")),
    }
}

fn stepped_up(token: &AccessToken, browser: bool) -> Response {
    let access_token = (!browser).then(|| token.text.expose_secret().to_owned());
    let body = SteppedUp { access_token, expires_at: token.expires_at };
    let mut response = ([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response();
    if browser {
        cookies::set_access(response.headers_mut(), (&token.text, token.expires_at), Time::now());
    }
    response
}

/// Who wants a second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WithPassword {
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// What an authenticator is told, once. It counts from when a code of it was shown.
#[derive(Serialize, ToSchema)]
struct Begun {
    /// Base32, to be typed.
    secret: String,
    /// To be shown as a QR code.
    url: String,
}

/// Set up a second factor: what an authenticator is told
#[utoipa::path(post, path = "/api/auth/second-factor", tag = "auth", responses((status = 200, body = Begun)))]
async fn begin(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(doorman): State<Doorman>,
    State(factors): State<SecondFactors>,
    from: FromWhere,
    Json(WithPassword { password }): Json<WithPassword>,
) -> Result<Response, Problem> {
    let user = who.caller.user();
    doorman.confirm(user, password, from.0.address()).await.map_err(ChangeError::Login)?;
    let email = doorman.profile(user).await?.and_then(|profile| profile.email);
    let seed = factors.begin(user, &email.unwrap_or_default(), Time::now()).await?;
    let (secret, url) = (seed.secret.expose_secret().to_owned(), seed.url.expose_secret().to_owned());
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(Begun { secret, url })).into_response())
}

/// A code of the new second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FirstCode {
    #[schema(value_type = String, format = Password)]
    code: SecretString,
}

/// Each gets in once, for whoever has lost what shows the codes. They are told once.
#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

fn recovery_codes(codes: &[SecretString]) -> Response {
    let recovery_codes = codes.iter().map(|code| code.expose_secret().to_owned()).collect();
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(RecoveryCodes { recovery_codes })).into_response()
}

/// Let the second factor count, by showing a code of it
///
/// Your other sessions end. Refresh this one: its next token tells of both factors.
#[utoipa::path(post, path = "/api/auth/second-factor/confirm", tag = "auth",
    responses((status = 200, body = RecoveryCodes)))]
async fn confirm(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(factors): State<SecondFactors>,
    from: FromWhere,
    Json(FirstCode { code }): Json<FirstCode>,
) -> Result<Response, Problem> {
    let (user, session) = (who.caller.user(), who.caller.session());
    let codes = factors.confirm(user, session, &code, from.0.address(), Time::now()).await?;
    Ok(recovery_codes(&codes))
}

/// Do without the second factor
#[utoipa::path(delete, path = "/api/auth/second-factor", tag = "auth", responses((status = 204)))]
async fn remove(
    who: May<Prove, SignedIn>,
    _: NoQuery,
    State(factors): State<SecondFactors>,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    let user = who.caller.user();
    factors.remove(user, Some(user), Time::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Other recovery codes; the earlier ones count no more
#[utoipa::path(post, path = "/api/auth/recovery-codes", tag = "auth", responses((status = 200, body = RecoveryCodes)))]
async fn renew_codes(
    who: May<Prove, SignedIn>,
    _: NoQuery,
    State(factors): State<SecondFactors>,
    _: Said<Nothing>,
) -> Result<Response, Problem> {
    Ok(recovery_codes(&factors.renew_codes(who.caller.user(), Time::now()).await?))
}

/// Take somebody's second factor away, who has lost it and the recovery codes; its sessions end
#[utoipa::path(delete, path = "/api/admin/users/{id}/second-factor", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn remove_of_user(
    of: May<People, AnyPerson>,
    who: SignedIn,
    _: NoQuery,
    State(factors): State<SecondFactors>,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    match factors.remove(of.0, Some(who.caller.user()), Time::now()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(FactorError::NotThere) => Err(Problem::new(Code::Conflict, "this user has no second factor")),
        Err(error) => Err(error.into()),
    }
}
