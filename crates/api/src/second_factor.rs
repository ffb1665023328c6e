//! The second factor and whatever is proved once more: setting one up, logging in with it, stepping up before something
//! dangerous, and doing without.

use access::{AccessToken, ChangeError, Doorman, FactorError, SecondFactors, Sessions, Ticket};
use axum::{
    extract::State,
    http::StatusCode,
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
    own::AnyPerson,
    problem::{Code, Problem},
    whence::FromWhere,
    who::{Account, May, People, Prove, SignedIn},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(log_in_with_code))
        .routes(routes!(step_up))
        .routes(routes!(begin))
        .routes(routes!(remove))
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
    (StatusCode::ACCEPTED, axum::Json(body)).into_response()
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
    let now = Time::now();
    let (user, factor) = factors.redeem(ticket.expose_secret(), &code, now).await?;
    let opened = sessions.open(user, vec![Factor::Password, factor], &from.0, now).await?;
    Ok(auth::answer(&opened.ok_or_else(auth::changed_meanwhile)?, browser, &csrf))
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

/// A session's next token, which tells of what was proved or changed just now.
#[derive(Serialize, ToSchema)]
pub struct NextToken {
    /// In the place of the one that was sent. Absent for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    expires_at: Time,
}

/// Prove once more who you are, before what takes a fresh proof
#[utoipa::path(post, path = "/api/auth/step-up", tag = "auth", responses((status = 200, body = NextToken)))]
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
    Ok(next_token(&token, browser))
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
        (true, None, Some(code)) => Ok(factors.check(user, &code, Time::now()).await?),
        (true, ..) => Err(Problem::invalid("send a code, and no password: you show codes")),
        (false, Some(password), None) => {
            doorman.confirm(user, password, address).await.map_err(ChangeError::Login)?;
            Ok(Factor::Password)
        }
        (false, ..) => Err(Problem::invalid("send your password, and no code: you have no second factor")),
    }
}

impl NextToken {
    fn told(token: &AccessToken, browser: bool) -> Self {
        let access_token = (!browser).then(|| token.text.expose_secret().to_owned());
        Self { access_token, expires_at: token.expires_at }
    }
}

/// Told to a program, kept by a browser.
pub fn next_token(token: &AccessToken, browser: bool) -> Response {
    with_token(axum::Json(NextToken::told(token, browser)), token, browser)
}

fn with_token(body: impl IntoResponse, token: &AccessToken, browser: bool) -> Response {
    let mut response = body.into_response();
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
) -> Result<axum::Json<Begun>, Problem> {
    let user = who.caller.user();
    doorman.confirm(user, password, from.0.address()).await.map_err(ChangeError::Login)?;
    let email = doorman.profile(user).await?.and_then(|profile| profile.email);
    let seed = factors.begin(user, &email.unwrap_or_default(), Time::now()).await?;
    let (secret, url) = (seed.secret.expose_secret().to_owned(), seed.url.expose_secret().to_owned());
    Ok(axum::Json(Begun { secret, url }))
}

/// A code that is shown now.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Shown {
    #[schema(value_type = String, format = Password)]
    code: SecretString,
    /// Keep the token as a cookie, and tell none.
    #[serde(default)]
    browser: bool,
}

/// What there is from now on, told once, and the session's next token.
#[derive(Serialize, ToSchema)]
struct Confirmed {
    #[serde(flatten)]
    codes: RecoveryCodes,
    #[serde(flatten)]
    next: NextToken,
}

/// Each gets in once, for whoever has lost what shows the codes. They are told once.
#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

impl RecoveryCodes {
    fn told(codes: &[SecretString]) -> Self {
        Self { recovery_codes: codes.iter().map(|code| code.expose_secret().to_owned()).collect() }
    }
}

/// Let the second factor count, by showing a code of it
///
/// Your other sessions end, and this one's next token tells of both factors.
#[utoipa::path(post, path = "/api/auth/second-factor/confirm", tag = "auth",
    responses((status = 200, body = Confirmed)))]
async fn confirm(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(factors): State<SecondFactors>,
    State(sessions): State<Sessions>,
    Json(Shown { code, browser }): Json<Shown>,
) -> Result<Response, Problem> {
    let (user, session) = (who.caller.user(), who.caller.session());
    let codes = RecoveryCodes::told(&factors.confirm(user, session, &code, Time::now()).await?);
    let token = sessions.token(&who.caller, Time::now()).await?.ok_or_else(auth::changed_meanwhile)?;
    let body = axum::Json(Confirmed { codes, next: NextToken::told(&token, browser) });
    Ok(with_token(body, &token, browser))
}

/// Do without the second factor, by showing a code of it once more
#[utoipa::path(post, path = "/api/auth/second-factor/remove", tag = "auth",
    responses((status = 200, body = NextToken)))]
async fn remove(
    who: May<Prove, SignedIn>,
    _: NoQuery,
    State(factors): State<SecondFactors>,
    State(sessions): State<Sessions>,
    Json(Shown { code, browser }): Json<Shown>,
) -> Result<Response, Problem> {
    let user = who.caller.user();
    factors.check(user, &code, Time::now()).await?;
    factors.remove(user, Some(user), Time::now()).await?;
    let token = sessions.token(&who.caller, Time::now()).await?.ok_or_else(auth::changed_meanwhile)?;
    Ok(next_token(&token, browser))
}

/// Other recovery codes; the earlier ones count no more
#[utoipa::path(post, path = "/api/auth/recovery-codes", tag = "auth", responses((status = 200, body = RecoveryCodes)))]
async fn renew_codes(
    who: May<Prove, SignedIn>,
    _: NoQuery,
    State(factors): State<SecondFactors>,
    _: Said<Nothing>,
) -> Result<axum::Json<RecoveryCodes>, Problem> {
    Ok(axum::Json(RecoveryCodes::told(&factors.renew_codes(who.caller.user(), Time::now()).await?)))
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
    if of.0 == who.caller.user() {
        let detail =
            "nobody does that to oneself: show a code at POST /api/auth/second-factor/remove, or ask another admin";
        return Err(Problem::new(Code::Conflict, detail));
    }
    match factors.remove(of.0, Some(who.caller.user()), Time::now()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(FactorError::NotThere) => Err(Problem::new(Code::Conflict, "this user has no second factor")),
        Err(error) => Err(error.into()),
    }
}
