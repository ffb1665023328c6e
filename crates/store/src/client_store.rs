//! One client's streams as a cqrs-es `EventStore`, for everything that is written against cqrs-es.

use std::{collections::HashMap, marker::PhantomData};

use cqrs_es::{Aggregate, AggregateContext, AggregateError, EventEnvelope, EventStore};
use events::{AggregateRef, ClientId, Event};

use crate::{Append, AppendError, Cause, Draft, Expected, ReadError, Streams};

/// A client's streams, for aggregates of type `A`.
#[derive(Debug, Clone)]
pub struct ClientStore<A> {
    streams: Streams,
    client: ClientId,
    cause: Cause,
    of: PhantomData<fn() -> A>,
}

/// An aggregate as it was loaded, and the version that a decision on it expects.
#[derive(Debug)]
pub struct ClientContext<A> {
    id: String,
    aggregate: A,
    version: u64,
}

impl<A: Aggregate> AggregateContext<A> for ClientContext<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A> ClientStore<A> {
    pub fn new(streams: Streams, client: ClientId, cause: Cause) -> Self {
        Self { streams, client, cause, of: PhantomData }
    }
}

impl<A> EventStore<A> for ClientStore<A>
where
    A: Aggregate,
    A::Event: Into<Event>,
{
    type AC = ClientContext<A>;

    async fn load_events(&self, aggregate_id: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let rows = self.streams.history(self.client, A::TYPE, aggregate_id, 0).await.map_err(unreadable)?;
        rows.into_iter()
            .map(|row| {
                Ok(EventEnvelope {
                    aggregate_id: row.aggregate_id,
                    sequence: row.aggregate_seq as usize,
                    payload: serde_json::from_str(&row.payload)?,
                    metadata: HashMap::new(),
                })
            })
            .collect()
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<ClientContext<A>, AggregateError<A::Error>> {
        let (aggregate, version) = self.streams.load::<A>(self.client, aggregate_id).await.map_err(unreadable)?;
        Ok(ClientContext { id: aggregate_id.to_owned(), aggregate, version })
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: ClientContext<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let drafts = events.iter().map(|event| Draft { event: event.clone().into(), key: None }).collect();
        let append = Append {
            client: self.client,
            aggregate: AggregateRef::new(A::TYPE, &context.id),
            expected: Expected::Version(context.version),
            events: drafts,
            cause: self.cause.clone(),
        };
        self.streams.committer().append(append).await.map_err(not_appended)?;
        let envelope = |(payload, sequence)| EventEnvelope {
            aggregate_id: context.id.clone(),
            sequence,
            payload,
            metadata: metadata.clone(),
        };
        Ok(events.into_iter().zip(context.version as usize + 1..).map(envelope).collect())
    }
}

fn unreadable<E: std::error::Error>(error: ReadError) -> AggregateError<E> {
    match error {
        ReadError::Database { .. } => AggregateError::DatabaseConnectionError(Box::new(error)),
        ReadError::Corrupt(_) => AggregateError::DeserializationError(Box::new(error)),
    }
}

fn not_appended<E: std::error::Error>(error: AppendError) -> AggregateError<E> {
    match error {
        AppendError::Conflict { .. } => AggregateError::AggregateConflict,
        AppendError::Fault { .. } => AggregateError::DatabaseConnectionError(Box::new(error)),
        AppendError::Refused { .. }
        | AppendError::PartlyStored { .. }
        | AppendError::Unknown(_)
        | AppendError::Closed => AggregateError::UnexpectedError(Box::new(error)),
    }
}
