//! What is there for whom. A path names it, and it is there only for those whose it is, or who may see all of its kind: what
//! is another's is answered as what nobody has.
//!
//! That it is there is found out before anything of the request is read, so that no complaint about a body tells it.

use std::{fmt::Display, str::FromStr};

use access::{
    Register,
    people::{self, Whose},
    policy::Deed,
    programs,
};
use axum::{
    RequestPartsExt,
    extract::{FromRef, FromRequestParts, Path, RawPathParams},
    http::request::Parts as Head,
};
use cqrs_es::Aggregate;
use events::{AggregateRef, BotId, ClientId, CredentialId, ManualId, UserId};
use store::Streams;

use crate::{
    Parts,
    known::Known,
    problem::Problem,
    who::{Named, OfTheDesk, SignedIn, which_client},
};

/// The client that is asked about: a client's user's own, or the one that somebody of the desk names.
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

/// A person, for those who may see all of them.
#[derive(Debug, Clone, Copy)]
pub struct AnyPerson(pub UserId);

/// A program's account, of the desk or of a client, for the same.
#[derive(Debug, Clone, Copy)]
pub struct AnyService(pub UserId);

/// One of that client's people.
#[derive(Debug, Clone, Copy)]
pub struct OwnPerson {
    pub client: ClientId,
    pub user: UserId,
}

/// A program's account of that client.
#[derive(Debug, Clone, Copy)]
pub struct OwnService {
    pub client: ClientId,
    pub service: UserId,
}

/// A client as the desk speaks of it: the path names it by slug or id.
#[derive(Debug, Clone, Copy)]
pub struct ClientOfTheDesk(pub ClientId);

/// What belongs to one client.
pub trait OfClient {
    fn client(&self) -> ClientId;
}

macro_rules! of_client {
    ($($own:ty: $client:tt,)+) => {
        $(impl OfClient for $own {
            fn client(&self) -> ClientId {
                self.$client
            }
        })+
    };
}

of_client! {
    OwnClient: 0,
    OwnBot: client,
    OwnCredential: client,
    OwnManual: client,
    ClientOfTheDesk: 0,
}

impl FromRequestParts<Parts> for OwnClient {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let who = SignedIn::of(head, state).await?;
        let Named { client } = Named::by(head)?;
        let client = who.of_whom(client, state).await?.client.ok_or_else(which_client)?;
        who.may(Deed::See)?;
        who.looks(head, Some(client));
        Ok(Self(client))
    }
}

impl FromRequestParts<Parts> for OwnBot {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let Path(id) = head.extract::<Path<String>>().await.map_err(|_| Problem::not_found())?;
        // One that is no id names no bot either.
        let bot: BotId = id.parse().map_err(|_| Problem::not_found())?;
        let known = Known::from_ref(state).has(client, bot).await?;
        if known { Ok(Self { client, bot }) } else { Err(Problem::not_found()) }
    }
}

impl FromRequestParts<Parts> for OwnCredential {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let Path(id) = head.extract::<Path<String>>().await.map_err(|_| Problem::not_found())?;
        let credential: CredentialId = id.parse().map_err(|_| Problem::not_found())?;
        let known = Known::from_ref(state).had(client, credential).await?;
        if known { Ok(Self { client, credential }) } else { Err(Problem::not_found()) }
    }
}

impl FromRequestParts<Parts> for OwnManual {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let Path((bot, order)) = head.extract::<Path<(String, String)>>().await.map_err(|_| Problem::not_found())?;
        let bot: BotId = bot.parse().map_err(|_| Problem::not_found())?;
        let manual = Known::from_ref(state).by_hand(client, bot, &order).await?.ok_or_else(Problem::not_found)?;
        Ok(Self { client, manual })
    }
}

impl FromRequestParts<Parts> for OwnPerson {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let user = first_in_path(head).await?;
        let known = people::is_there(&Register::from_ref(state), Whose::Of(client), user).await?;
        if known { Ok(Self { client, user }) } else { Err(Problem::not_found()) }
    }
}

impl FromRequestParts<Parts> for OwnService {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let service = first_in_path(head).await?;
        let known = programs::is_there(&Register::from_ref(state), Whose::Of(client), service).await?;
        if known { Ok(Self { client, service }) } else { Err(Problem::not_found()) }
    }
}

impl FromRequestParts<Parts> for AnyPerson {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        SignedIn::of(head, state).await?.may(Deed::SeePeople)?;
        let user = first_in_path(head).await?;
        let known = people::is_there(&Register::from_ref(state), Whose::Desk, user).await?;
        if known { Ok(Self(user)) } else { Err(Problem::not_found()) }
    }
}

impl FromRequestParts<Parts> for AnyService {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        SignedIn::of(head, state).await?.may(Deed::SeePeople)?;
        let service = first_in_path(head).await?;
        let known = programs::is_there(&Register::from_ref(state), Whose::Desk, service).await?;
        if known { Ok(Self(service)) } else { Err(Problem::not_found()) }
    }
}

/// The user whom a path names first, whatever else it names.
async fn first_in_path(head: &mut Head) -> Result<UserId, Problem> {
    let named = head.extract::<RawPathParams>().await.map_err(|_| Problem::not_found())?;
    let id = named.iter().next().map(|(_, id)| id.parse());
    id.and_then(Result::ok).ok_or_else(Problem::not_found)
}

/// What a path says in one of its places.
pub(crate) async fn in_path(head: &mut Head, place: &str) -> Option<String> {
    let named = head.extract::<RawPathParams>().await.ok()?;
    named.iter().find(|(name, _)| *name == place).map(|(_, said)| said.to_owned())
}

/// The id that a path names, if that client has such a thing.
pub(crate) async fn theirs<A: Aggregate, I: FromStr + Display>(
    client: ClientId,
    head: &mut Head,
    state: &Parts,
) -> Result<I, Problem> {
    let id: I = in_path(head, "id").await.and_then(|id| id.parse().ok()).ok_or_else(Problem::not_found)?;
    let known = Streams::from_ref(state).knows(client, &AggregateRef::new(A::TYPE, &id)).await?;
    if known { Ok(id) } else { Err(Problem::not_found()) }
}

impl FromRequestParts<Parts> for ClientOfTheDesk {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        OfTheDesk::from_request_parts(head, state).await?;
        let named = in_path(head, "client").await.ok_or_else(Problem::not_found)?;
        Known::from_ref(state).client(&named).await?.map(Self).ok_or_else(Problem::not_found)
    }
}
