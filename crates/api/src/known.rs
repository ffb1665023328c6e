//! What is there once is there for ever: whose a slug is, which bots a client has. It is remembered, so that a question
//! about them is answered while the database is away, too.

use std::fmt;

use cqrs_es::Aggregate;
use domain::{bot::Bot, client::Client, credential::Credential, manual::ManualOrder};
use events::{AggregateRef, BotId, ClientId, CredentialId, Event, ManualId, Slug, manual::ManualOrderEvent};
use moka::future::Cache;
use store::{ReadError, Streams};

/// Slugs, and bots, that are remembered.
const REMEMBERED_MAX: u64 = 100_000;

/// Whose things are.
#[derive(Clone)]
pub struct Known {
    streams: Streams,
    clients: Cache<Slug, ClientId>,
    bots: Cache<(ClientId, BotId), ()>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    pub fn new(streams: Streams) -> Self {
        Self { streams, clients: Cache::new(REMEMBERED_MAX), bots: Cache::new(REMEMBERED_MAX) }
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
        self.streams.knows(client, &AggregateRef::new(Credential::TYPE, credential)).await
    }

    /// The order by hand in a bot's book that is called this: what the wish was answered with, or the order's own id.
    pub async fn by_hand(&self, client: ClientId, bot: BotId, named: &str) -> Result<Option<ManualId>, ReadError> {
        let id = match named.parse() {
            Ok(id) => id,
            Err(_) => match self.submitted_as(client, named).await? {
                Some(id) => id,
                None => return Ok(None),
            },
        };
        let (order, _) = self.streams.load::<ManualOrder>(client, &id.to_string()).await?;
        Ok(order.wanted().filter(|wanted| wanted.bot == bot).map(|_| id))
    }

    /// Orders by hand are few: all of them are looked through.
    async fn submitted_as(&self, client: ClientId, named: &str) -> Result<Option<ManualId>, ReadError> {
        let events = self.streams.all_of_kind(client, ManualOrder::TYPE, u64::MAX).await?;
        let told = events.into_iter().find(|recorded| {
            let Event::Manual(
                ManualOrderEvent::ManualOrderSubmitted { order, .. }
                | ManualOrderEvent::ManualOrderFound { order, .. }
                | ManualOrderEvent::ManualOrderResolved { order: Some(order), .. },
            ) = &recorded.event
            else {
                return false;
            };
            order.as_str() == named
        });
        Ok(told.and_then(|recorded| recorded.aggregate.id.parse().ok()))
    }

    /// Whether a client has this bot.
    pub async fn has(&self, client: ClientId, bot: BotId) -> Result<bool, ReadError> {
        if self.bots.contains_key(&(client, bot)) {
            return Ok(true);
        }
        let known = self.streams.knows(client, &AggregateRef::new(Bot::TYPE, bot)).await?;
        if known {
            self.bots.insert((client, bot), ()).await;
        }
        Ok(known)
    }
}
