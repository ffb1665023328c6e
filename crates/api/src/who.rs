//! Who asks. Having one of these values is having the permission: each can be made only from a verified token.

use access::{Caller, Tokens};
use axum::{
    RequestPartsExt,
    extract::{FromRef, FromRequestParts, Path},
    http::{header, request::Parts},
};
use events::{BotId, ClientId, CredentialId, ManualId, Slug, Time};
use serde::Deserialize;

use crate::{
    input,
    known::Known,
    problem::{Code, Problem},
};

/// Anyone who is logged in, and until when.
#[derive(Debug, Clone, Copy)]
pub struct SignedIn {
    pub caller: Caller,
    pub until: Time,
}

/// Someone of the desk.
#[derive(Debug, Clone, Copy)]
pub struct OfTheDesk(());

/// The client that is asked about: a client's user's own, or the one that an admin names.
#[derive(Debug, Clone, Copy)]
pub struct OwnClient(pub ClientId);

/// A bot of that client.
#[derive(Debug, Clone, Copy)]
pub struct OwnBot {
    pub client: ClientId,
    pub bot: BotId,
}

/// A credential of that client, whatever became of it.
#[derive(Debug, Clone, Copy)]
pub struct OwnCredential {
    pub client: ClientId,
    pub credential: CredentialId,
}

/// An order by hand in a book of that client.
#[derive(Debug, Clone, Copy)]
pub struct OwnManual {
    pub client: ClientId,
    pub manual: ManualId,
}

/// A client as the desk speaks of it: the path names it by slug or id.
#[derive(Debug, Clone, Copy)]
pub struct ClientOfTheDesk(pub ClientId);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn
where
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The edge has looked already.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(*known);
        }
        let given = parts.headers.get(header::AUTHORIZATION).ok_or_else(|| {
            Problem::unauthenticated("log in with POST /api/auth/login and send `Authorization: Bearer TOKEN`")
        })?;
        let token = given.to_str().ok().and_then(|given| given.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        let token = token.ok_or_else(|| Problem::unauthenticated("send `Authorization: Bearer TOKEN`"))?;
        let proved = Tokens::from_ref(state).verify(token, Time::now());
        let proved = proved.map_err(|refusal| Problem::unauthenticated(format!("{refusal}: log in again")))?;
        Ok(Self { caller: proved.caller, until: proved.expires_at })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfTheDesk
where
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = SignedIn::from_request_parts(parts, state).await?.caller;
        let Named { client: named } = input::read_query(parts.uri.query().unwrap_or_default())?;
        match (caller, named) {
            (Caller::Admin(_), None) => Ok(Self(())),
            (Caller::Admin(_), Some(_)) => Err(Problem::invalid("leave ?client= out: this is about all of them")),
            (Caller::Client(_), _) => {
                Err(Problem::new(Code::Forbidden, "only an admin of the desk may see or do this"))
            }
        }
    }
}

/// Which client an admin speaks of.
#[derive(Debug, Deserialize)]
struct Named {
    client: Option<Slug>,
}

impl<S: Send + Sync> FromRequestParts<S> for OwnClient
where
    Tokens: FromRef<S>,
    Known: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = SignedIn::from_request_parts(parts, state).await?.caller;
        let Named { client: named } = input::read_query(parts.uri.query().unwrap_or_default())?;
        match (caller, named) {
            (Caller::Client(user), None) => Ok(Self(user.client())),
            (Caller::Client(_), Some(_)) => Err(Problem::invalid("leave ?client= out: your token says whose you are")),
            (Caller::Admin(_), None) => Err(Problem::invalid("say which client: add ?client=SLUG")),
            (Caller::Admin(_), Some(slug)) => {
                Known::from_ref(state).client_of(&slug).await?.map(Self).ok_or_else(Problem::not_found)
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OwnBot
where
    Tokens: FromRef<S>,
    Known: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(parts, state).await?;
        let Path(id) = parts.extract::<Path<String>>().await.map_err(|_| Problem::not_found())?;
        // One that is no id names no bot either.
        let bot: BotId = id.parse().map_err(|_| Problem::not_found())?;
        let known = Known::from_ref(state).has(client, bot).await?;
        if known { Ok(Self { client, bot }) } else { Err(Problem::not_found()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OwnCredential
where
    Tokens: FromRef<S>,
    Known: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(parts, state).await?;
        let Path(id) = parts.extract::<Path<String>>().await.map_err(|_| Problem::not_found())?;
        let credential: CredentialId = id.parse().map_err(|_| Problem::not_found())?;
        let known = Known::from_ref(state).had(client, credential).await?;
        if known { Ok(Self { client, credential }) } else { Err(Problem::not_found()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OwnManual
where
    Tokens: FromRef<S>,
    Known: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(parts, state).await?;
        let Path((bot, order)) = parts.extract::<Path<(String, String)>>().await.map_err(|_| Problem::not_found())?;
        let bot: BotId = bot.parse().map_err(|_| Problem::not_found())?;
        let manual = Known::from_ref(state).by_hand(client, bot, &order).await?.ok_or_else(Problem::not_found)?;
        Ok(Self { client, manual })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientOfTheDesk
where
    Tokens: FromRef<S>,
    Known: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        OfTheDesk::from_request_parts(parts, state).await?;
        let Path(named) = parts.extract::<Path<String>>().await.map_err(|_| Problem::not_found())?;
        Known::from_ref(state).client(&named).await?.map(Self).ok_or_else(Problem::not_found)
    }
}
