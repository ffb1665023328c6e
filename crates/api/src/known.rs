//! What is there once is there for ever: whose a slug is, which bots a client has. It is remembered, so that a question
//! about them is answered while the database is away, too.

use std::fmt;

use cqrs_es::Aggregate;
use domain::bot::Bot;
use events::{AggregateRef, BotId, ClientId, Slug};
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
