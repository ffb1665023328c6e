//! One client's streams for everything that is written against cqrs-es: as its `EventStore`, and as the repository that
//! its own stores run on.

use std::collections::HashMap;

use cqrs_es::{
    Aggregate, AggregateContext, AggregateError, EventEnvelope, EventStore,
    persist::{
        PersistedEventRepository, PersistenceError, ReplayFeed, ReplayStream, SerializedEvent, SerializedSnapshot,
    },
};
use events::{AggregateRef, ClientId, Event};
use serde_json::Value;

use crate::{Append, AppendError, Cause, Draft, Expected, ReadError, Streams, read::Row};

/// Events that a replay reads ahead.
const AHEAD: usize = 500;

/// A client's streams, as cqrs-es sees them.
#[derive(Debug, Clone)]
pub struct ClientStore {
    streams: Streams,
    client: ClientId,
    cause: Cause,
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

impl ClientStore {
    pub fn new(streams: Streams, client: ClientId, cause: Cause) -> Self {
        Self { streams, client, cause }
    }

    async fn append(&self, kind: &str, id: &str, version: u64, events: Vec<Event>) -> Result<(), AppendError> {
        let events = events.into_iter().map(|event| Draft { event, key: None }).collect();
        let (client, aggregate, expected) = (self.client, AggregateRef::new(kind, id), Expected::Version(version));
        let append = Append { client, aggregate, expected, events, cause: self.cause.clone() };
        self.streams.committer().append(append).await.map(drop)
    }
}

impl<A> EventStore<A> for ClientStore
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
        let ours = events.iter().cloned().map(Into::into).collect();
        self.append(A::TYPE, &context.id, context.version, ours).await.map_err(not_appended)?;
        let envelope = |(payload, sequence)| EventEnvelope {
            aggregate_id: context.id.clone(),
            sequence,
            payload,
            metadata: metadata.clone(),
        };
        Ok(events.into_iter().zip(context.version as usize + 1..).map(envelope).collect())
    }
}

impl PersistedEventRepository for ClientStore {
    async fn get_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.get_last_events::<A>(aggregate_id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let rows = self.streams.history(self.client, A::TYPE, aggregate_id, last_sequence as u64).await;
        rows.map_err(not_read)?.into_iter().map(serialized).collect()
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        let found = self.streams.snapshot(self.client, A::TYPE, aggregate_id, &Streams::shape::<A>()).await;
        Ok(found.map_err(not_read)?.map(|(version, aggregate)| SerializedSnapshot {
            aggregate_id: aggregate_id.to_owned(),
            aggregate,
            current_sequence: version as usize,
            current_snapshot: 1,
        }))
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let ours: Result<Vec<Event>, PersistenceError> = events
            .iter()
            .map(|event| {
                let payload = event.payload.to_string();
                Event::read(&event.aggregate_type, &event.event_type, &event.event_version, &payload)
                    .map_err(|unreadable| PersistenceError::DeserializationError(Box::new(unreadable)))
            })
            .collect();
        let version = first.sequence as u64 - 1;
        self.append(A::TYPE, &first.aggregate_id, version, ours?).await.map_err(|error| match error {
            AppendError::Conflict { .. } => PersistenceError::OptimisticLockError,
            fault @ AppendError::Fault { .. } => PersistenceError::ConnectionError(Box::new(fault)),
            other @ (AppendError::Refused { .. }
            | AppendError::PartlyStored { .. }
            | AppendError::Unknown(_)
            | AppendError::Stale { .. }
            | AppendError::Closed) => PersistenceError::UnknownError(Box::new(other)),
        })?;
        if let Some((id, state, _)) = snapshot_update {
            let (kind, shape) = (A::TYPE, Streams::shape::<A>());
            let saved = self.streams.save_snapshot(self.client, kind, &id, &shape, last.sequence as u64, &state).await;
            saved.map_err(not_read)?;
        }
        Ok(())
    }

    async fn stream_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<ReplayStream, PersistenceError> {
        let events = self.get_events::<A>(aggregate_id).await?;
        let (mut feed, stream) = ReplayStream::new(AHEAD);
        tokio::spawn(async move {
            for event in events {
                if feed.push(Ok(event)).await.is_err() {
                    return;
                }
            }
        });
        Ok(stream)
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let (feed, stream) = ReplayStream::new(AHEAD);
        tokio::spawn(feed_all(self.streams.clone(), self.client, A::TYPE, feed));
        Ok(stream)
    }
}

/// Hands out all events of one kind; a reader that went away ends it, an error is handed out and ends it, too.
async fn feed_all(streams: Streams, client: ClientId, kind: &'static str, mut feed: ReplayFeed) {
    let mut reached = 0;
    loop {
        let rows = match streams.of_kind(client, kind, reached, AHEAD).await {
            Ok(rows) => rows,
            Err(error) => return drop(feed.push(Err(not_read(error))).await),
        };
        let Some(last) = rows.last() else { return };
        reached = last.client_seq as u64;
        for row in rows {
            if feed.push(serialized(row)).await.is_err() {
                return;
            }
        }
    }
}

fn serialized(row: Row) -> Result<SerializedEvent, PersistenceError> {
    let payload = serde_json::from_str(&row.payload);
    Ok(SerializedEvent {
        aggregate_id: row.aggregate_id,
        sequence: row.aggregate_seq as usize,
        aggregate_type: row.aggregate_type,
        event_type: row.event_type,
        event_version: row.event_version,
        payload: payload.map_err(|cause| PersistenceError::DeserializationError(Box::new(cause)))?,
        metadata: Value::Object(serde_json::Map::new()),
    })
}

fn not_read(error: ReadError) -> PersistenceError {
    match error {
        ReadError::Database { .. } => PersistenceError::ConnectionError(Box::new(error)),
        ReadError::Corrupt(_) => PersistenceError::DeserializationError(Box::new(error)),
    }
}

fn unreadable<E: std::error::Error>(error: ReadError) -> AggregateError<E> {
    not_read(error).into()
}

fn not_appended<E: std::error::Error>(error: AppendError) -> AggregateError<E> {
    match error {
        AppendError::Conflict { .. } => AggregateError::AggregateConflict,
        AppendError::Fault { .. } => AggregateError::DatabaseConnectionError(Box::new(error)),
        AppendError::Refused { .. }
        | AppendError::PartlyStored { .. }
        | AppendError::Unknown(_)
        | AppendError::Stale { .. }
        | AppendError::Closed => AggregateError::UnexpectedError(Box::new(error)),
    }
}
