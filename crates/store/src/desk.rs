//! The desk's own stream: which clients there are, and what was decided about parked read models.

use events::{AggregateRef, ClientId, Event, Recorded, Slug, Time, desk::DeskEvent};

use crate::{Append, AppendError, Cause, Draft, Expected, ReadError, Streams};

/// Why the desk's stream could not be asked or written.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Streams {
    /// The client that has this slug.
    pub async fn client_of(&self, slug: &Slug) -> Result<Option<ClientId>, ReadError> {
        match self.stored(ClientId::DESK, Some(&key(slug))).await? {
            Some(seq) => Ok(Some(registered(&self.numbered(ClientId::DESK, &[seq]).await?))),
            None => Ok(None),
        }
    }

    /// Gives a new client this slug, or tells which one has it.
    pub async fn register(&self, slug: &Slug, at: Time, cause: &Cause) -> Result<ClientId, DeskError> {
        if let Some(client) = self.client_of(slug).await? {
            return Ok(client);
        }
        let client = ClientId::new();
        let event = DeskEvent::ClientRegistered { client, slug: slug.clone(), at };
        let receipt = self.note(AggregateRef::new("desk", client), event, Some(key(slug)), cause).await?;
        // Two may register one slug at once: the first keeps it.
        Ok(if receipt.repeated { registered(&self.numbered(ClientId::DESK, &[receipt.first]).await?) } else { client })
    }

    /// Records a fact of the desk.
    pub async fn note(
        &self,
        aggregate: AggregateRef,
        event: DeskEvent,
        key: Option<String>,
        cause: &Cause,
    ) -> Result<crate::Receipt, AppendError> {
        let events = vec![Draft { event: event.into(), key }];
        let append =
            Append { client: ClientId::DESK, aggregate, expected: Expected::Any, events, cause: cause.clone() };
        self.committer().append(append).await
    }
}

fn key(slug: &Slug) -> String {
    format!("client:{slug}")
}

fn registered(events: &[Recorded]) -> ClientId {
    match events {
        [Recorded { event: Event::Desk(DeskEvent::ClientRegistered { client, .. }), .. }] => *client,
        other => panic!("the key of a slug belongs to {other:?}"),
    }
}
