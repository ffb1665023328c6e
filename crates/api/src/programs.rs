//! Tokens for programs: a person's own, and those of services, which are programs' own accounts. Each is told once, is for
//! what its scopes say, and ends by itself.

use access::{
    Register,
    people::Whose,
    programs::{self, Issued, Service, Token, Wanted},
};
use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::{ClientId, Time, TokenId, UserId, desk::Scope};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    deciding::Deciding,
    input::{Json, NoQuery, Nothing, OnlyClient, Said},
    own::{AnyService, OwnClient, OwnService},
    people::Why,
    problem::Problem,
    who::{Account, May, People, Prove, SeePeople, SeeTeam, SignedIn, Team},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(own, make))
        .routes(routes!(revoke))
        .routes(routes!(every_service, add_service))
        .routes(routes!(end_service))
        .routes(routes!(make_for_service))
        .routes(routes!(revoke_of_service))
        .routes(routes!(services, add_service_of_client))
        .routes(routes!(end_service_of_client))
        .routes(routes!(make_for_service_of_client))
        .routes(routes!(revoke_of_service_of_client))
}

/// A token to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// What people call it; of a service, what the service is called. One line, 1 to 100 characters.
    name: String,
    /// What it is for. Each contains reading; none allows more than its owner may do.
    scopes: Vec<Scope>,
    /// It lasts so long, 1 to 366.
    #[serde(default = "quarter")]
    #[schema(minimum = 1, maximum = 366)]
    days: u16,
}

fn quarter() -> u16 {
    90
}

impl NewToken {
    fn wanted(self) -> Result<Wanted, Problem> {
        let name = self.name.parse().map_err(|error: &str| Problem::invalid(error))?;
        Ok(Wanted { name, scopes: self.scopes.into_iter().collect(), days: self.days })
    }
}

/// A token that was made. It is told once.
#[derive(Serialize, ToSchema)]
struct Made {
    token_id: TokenId,
    /// Send it as `Authorization: Bearer TOKEN`.
    token: String,
    expires_at: Time,
}

/// A service that was made, and its first token.
#[derive(Serialize, ToSchema)]
struct MadeService {
    service_id: UserId,
    #[serde(flatten)]
    token: Made,
}

impl From<Issued> for Made {
    fn from(issued: Issued) -> Self {
        let Issued { id, text, expires_at } = issued;
        Self { token_id: id, token: text.expose_secret().to_owned(), expires_at }
    }
}

fn told<T: Serialize>(made: T) -> Response {
    (StatusCode::CREATED, axum::Json(made)).into_response()
}

/// A path that names a service and one of its tokens.
type OfToken = Result<Path<(UserId, TokenId)>, PathRejection>;

fn there<T>(named: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    named.map(|Path(named)| named).map_err(|_| Problem::not_found())
}

/// Your tokens that count, the newest first
#[utoipa::path(get, path = "/api/auth/tokens", tag = "auth", responses((status = 200, body = Vec<Token>)))]
async fn own(
    who: May<Account, SignedIn>,
    _: NoQuery,
    State(register): State<Register>,
) -> Result<axum::Json<Vec<Token>>, Problem> {
    Ok(axum::Json(programs::list(&register, who.caller.user()).await?))
}

/// Make a token for a program that acts for you; it is told once
#[utoipa::path(post, path = "/api/auth/tokens", tag = "auth", responses((status = 201, body = Made)))]
async fn make(
    who: May<Prove, SignedIn>,
    _: NoQuery,
    State(register): State<Register>,
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    let user = who.caller.user();
    Ok(told(Made::from(programs::issue(&register, user, new.wanted()?, user, Time::now()).await?)))
}

/// Revoke one of your tokens
#[utoipa::path(delete, path = "/api/auth/tokens/{id}", tag = "auth", params(("id" = TokenId, Path)),
    responses((status = 204)))]
async fn revoke(
    who: May<Account, SignedIn>,
    _: NoQuery,
    id: Result<Path<TokenId>, PathRejection>,
    State(register): State<Register>,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    let user = who.caller.user();
    programs::revoke(&register, user, there(id)?, user, Time::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every service, of the desk and of all clients
#[utoipa::path(get, path = "/api/admin/services", tag = "people", responses((status = 200, body = Vec<Service>)))]
async fn every_service(
    _: May<SeePeople, SignedIn>,
    _: NoQuery,
    State(register): State<Register>,
) -> Result<axum::Json<Vec<Service>>, Problem> {
    Ok(axum::Json(programs::services(&register, Whose::Desk).await?))
}

/// Make a service of the desk; its first token is told once
#[utoipa::path(post, path = "/api/admin/services", tag = "people", responses((status = 201, body = MadeService)))]
async fn add_service(
    who: May<People, SignedIn>,
    _: NoQuery,
    State(register): State<Register>,
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    added(&register, None, new, who.caller.user()).await
}

async fn added(register: &Register, client: Option<ClientId>, new: NewToken, by: UserId) -> Result<Response, Problem> {
    let (service_id, issued) = programs::add_service(register, client, new.wanted()?, by, Time::now()).await?;
    Ok(told(MadeService { service_id, token: issued.into() }))
}

/// What is decided about a service, whoever may.
impl<D, S> Deciding<D, S> {
    async fn end(self, why: Why) -> Result<StatusCode, Problem> {
        programs::end_service(&self.register, self.whose, self.about, why.reason()?, self.by, Time::now()).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    async fn make(self, new: NewToken) -> Result<Response, Problem> {
        let Self { register, whose, about, by, .. } = self;
        let issued = programs::issue_for_service(&register, whose, about, new.wanted()?, by, Time::now()).await?;
        Ok(told(Made::from(issued)))
    }

    async fn revoke(self, ids: OfToken) -> Result<StatusCode, Problem> {
        let (_, token) = there(ids)?;
        programs::revoke_of_service(&self.register, self.whose, self.about, token, self.by, Time::now()).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

/// End a service, with all its tokens
#[utoipa::path(post, path = "/api/admin/services/{id}/end", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn end_service(of: Deciding<People, AnyService>, Json(why): Json<Why>) -> Result<StatusCode, Problem> {
    of.end(why).await
}

/// One more token for a service; earlier ones go on until they are revoked
#[utoipa::path(post, path = "/api/admin/services/{id}/tokens", tag = "people", params(("id" = UserId, Path)),
    responses((status = 201, body = Made)))]
async fn make_for_service(of: Deciding<People, AnyService>, Json(new): Json<NewToken>) -> Result<Response, Problem> {
    of.make(new).await
}

/// Revoke one token of a service
#[utoipa::path(delete, path = "/api/admin/services/{id}/tokens/{token}", tag = "people",
    params(("id" = UserId, Path), ("token" = TokenId, Path)), responses((status = 204)))]
async fn revoke_of_service(
    of: Deciding<People, AnyService>,
    ids: OfToken,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    of.revoke(ids).await
}

/// The services of a client
#[utoipa::path(get, path = "/api/clients/services", tag = "people", responses((status = 200, body = Vec<Service>)))]
async fn services(
    own: May<SeeTeam, OwnClient>,
    _: OnlyClient,
    State(register): State<Register>,
) -> Result<axum::Json<Vec<Service>>, Problem> {
    Ok(axum::Json(programs::services(&register, Whose::Of(own.0)).await?))
}

/// Make a service of a client; its first token is told once
#[utoipa::path(post, path = "/api/clients/services", tag = "people", responses((status = 201, body = MadeService)))]
async fn add_service_of_client(
    own: May<Team, OwnClient>,
    who: SignedIn,
    _: OnlyClient,
    State(register): State<Register>,
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    added(&register, Some(own.0), new, who.caller.user()).await
}

/// End a service of a client, with all its tokens
#[utoipa::path(post, path = "/api/clients/services/{id}/end", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn end_service_of_client(of: Deciding<Team, OwnService>, Json(why): Json<Why>) -> Result<StatusCode, Problem> {
    of.end(why).await
}

/// One more token for a service of a client; earlier ones go on until they are revoked
#[utoipa::path(post, path = "/api/clients/services/{id}/tokens", tag = "people", params(("id" = UserId, Path)),
    responses((status = 201, body = Made)))]
async fn make_for_service_of_client(
    of: Deciding<Team, OwnService>,
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    of.make(new).await
}

/// Revoke one token of a service of a client
#[utoipa::path(delete, path = "/api/clients/services/{id}/tokens/{token}", tag = "people",
    params(("id" = UserId, Path), ("token" = TokenId, Path)), responses((status = 204)))]
async fn revoke_of_service_of_client(
    of: Deciding<Team, OwnService>,
    ids: OfToken,
    _: Said<Nothing>,
) -> Result<StatusCode, Problem> {
    of.revoke(ids).await
}
