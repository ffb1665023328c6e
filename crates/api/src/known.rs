//! What is there once is there for ever: whose a slug is, which bots a client has. It is remembered, so that a question
//! about them is answered while the database is away, too.
//!
//! What a client has is looked for as that client: under login `query`, which sees the rows of the client that its
//! transaction names, so that a condition that was forgotten here would find nothing. Whose a slug is stands in the desk's
//! stream, which no client may see, and is asked by the desk alone: under login `writer`, whose functions take the stream
//! that they read as an argument.

use std::fmt;

use cqrs_es::Aggregate;
use domain::{bot::Bot, client::Client, credential::Credential, manual::ManualOrder};
use events::{AggregateRef, BotId, ClientId, CredentialId, Event, ManualId, Recorded, Slug, manual::ManualOrderEvent};
use futures::{FutureExt, future::BoxFuture};
use moka::future::Cache;
use sqlx::{PgConnection, PgPool};
use store::{ReadError, Streams, read};

/// Slugs, and bots, that are remembered.
const REMEMBERED_MAX: u64 = 100_000;

/// Whose things are.
#[derive(Clone)]
pub struct Known {
    streams: Streams,
    query: PgPool,
    clients: Cache<Slug, ClientId>,
    bots: Cache<(ClientId, BotId), ()>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    /// Over connections of logins `writer` and `query`.
    pub fn new(streams: Streams, query: PgPool) -> Self {
        Self { streams, query, clients: Cache::new(REMEMBERED_MAX), bots: Cache::new(REMEMBERED_MAX) }
    }

    /// The client that has this slug.
    pub async fn client_of(&self, slug: &Slug) -> Result<Option<ClientId>, ReadError> {
        if let Some(client) = self.clients.get(slug).await {
            return Ok(Some(client));
        }
        let client = self.streams.client_of(slug).await?;
        if let Some(client) = client {
            self.clients.insert(slug.clone(), client).await;
        }
        Ok(client)
    }

    /// The client that has this slug, or else this id.
    pub async fn client(&self, named: &str) -> Result<Option<ClientId>, ReadError> {
        if let Ok(slug) = named.parse()
            && let Some(client) = self.client_of(&slug).await?
        {
            return Ok(Some(client));
        }
        let Ok(client) = named.parse() else { return Ok(None) };
        let known = self.streams.knows(client, &AggregateRef::new(Client::TYPE, client)).await?;
        Ok(known.then_some(client))
    }

    /// Whether a client has, or had, this credential.
    pub async fn had(&self, client: ClientId, credential: CredentialId) -> Result<bool, ReadError> {
        self.tells_of(client, AggregateRef::new(Credential::TYPE, credential)).await
    }

    /// The order by hand in a bot's book that is called this: what the wish was answered with, or the order's own id.
    pub async fn by_hand(&self, client: ClientId, bot: BotId, named: &str) -> Result<Option<ManualId>, ReadError> {
        let id: Option<ManualId> = named.parse().ok();
        // Orders by hand are few: for one that is called as the exchange does, all of them are looked through.
        let one = id.map(|id| id.to_string());
        let told = self.ask(client, |db| read::told_of(db, client, ManualOrder::TYPE, one).boxed()).await?;
        let id = id.or_else(|| called(&told, named));
        Ok(id.filter(|id| wanted_of(&told, *id, bot)))
    }

    /// Whether a client has this bot.
    pub async fn has(&self, client: ClientId, bot: BotId) -> Result<bool, ReadError> {
        if self.bots.contains_key(&(client, bot)) {
            return Ok(true);
        }
        let known = self.tells_of(client, AggregateRef::new(Bot::TYPE, bot)).await?;
        if known {
            self.bots.insert((client, bot), ()).await;
        }
        Ok(known)
    }

    async fn tells_of(&self, client: ClientId, aggregate: AggregateRef) -> Result<bool, ReadError> {
        self.ask(client, |db| read::tells_of(db, client, aggregate).boxed()).await
    }

    /// Asks as that client.
    async fn ask<T>(
        &self,
        client: ClientId,
        ask: impl for<'a> FnOnce(&'a mut PgConnection) -> BoxFuture<'a, Result<T, ReadError>> + Send,
    ) -> Result<T, ReadError> {
        let database = |cause| ReadError::Database { client, cause };
        let mut tx = self.query.begin().await.map_err(database)?;
        read::for_client(&mut tx, client).await.map_err(database)?;
        ask(&mut tx).await
    }
}

/// The order that the exchange calls this.
fn called(told: &[Recorded], named: &str) -> Option<ManualId> {
    let submitted = |event: &Event| matches!(event, Event::Manual(ManualOrderEvent::ManualOrderSubmitted { order, .. }) if order.as_str() == named);
    told.iter().find(|recorded| submitted(&recorded.event))?.aggregate.id.parse().ok()
}

/// Whether somebody wanted this order in this bot's book.
fn wanted_of(told: &[Recorded], id: ManualId, of: BotId) -> bool {
    let (id, wanted) = (
        id.to_string(),
        |event: &Event| matches!(event, Event::Manual(ManualOrderEvent::ManualOrderRequested { bot, .. }) if *bot == of),
    );
    told.iter().any(|recorded| recorded.aggregate.id == id && wanted(&recorded.event))
}
