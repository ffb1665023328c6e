//! A command's way into a stream: load the aggregate, ask it, append what it decided.

use std::ops::RangeInclusive;

use cqrs_es::{Aggregate, event_sink::EventSink};
use events::{AggregateRef, ClientId, CommandId, Event, Recorded};
use sqlx::PgPool;

use crate::{Append, AppendError, Cause, Committer, Draft, Expected, ReadError, Receipt, read::Row};

/// How often a decision is made anew when another got in between.
const TRIES_MAX: u32 = 16;

/// Events of one kind that are read at once.
const OF_KIND_AT_ONCE: usize = 1_000;

/// Events that one command's answer is looked for among.
const EVENTS_OF_COMMAND_MAX: usize = 8;

/// The key of the n-th event of a keyed command.
fn nth_key(key: &str, place: usize) -> String {
    if place == 1 { key.to_owned() } else { format!("{key}/{place}") }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<Refusal: std::error::Error> {
    /// The aggregate said no.
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The streams, from a command's side.
#[derive(Debug, Clone)]
pub struct Streams {
    writer: PgPool,
    committer: Committer,
}

impl Streams {
    /// Over connections of login `writer`.
    pub fn new(writer: PgPool) -> Self {
        Self { committer: Committer::start(writer.clone()), writer }
    }

    /// The way in for facts that no aggregate has to judge.
    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    /// Carries out a command. With a `key`, a command that was carried out before writes nothing and gets its old answer;
    /// a decision that was overtaken is made anew. `None`: the aggregate decided that nothing happens.
    pub async fn execute<A>(
        &self,
        client: ClientId,
        id: &str,
        command: A::Command,
        key: Option<String>,
        cause: &Cause,
    ) -> Result<Option<Receipt>, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Command: Clone + Send,
        A::Event: Into<Event>,
    {
        let mut tries = 0;
        loop {
            if let Some(receipt) = self.answered(client, key.as_deref()).await? {
                return Ok(Some(receipt));
            }
            tries += 1;
            match self.decide::<A>(client, id, command.clone(), key.as_deref(), cause).await {
                Err(ExecuteError::Append(AppendError::Conflict { .. })) if tries < TRIES_MAX => {}
                // The same command may have been carried out meanwhile: then its answer is the old one.
                Ok(Some(receipt)) => return Ok(Some(receipt)),
                other => {
                    return self.answered(client, key.as_deref()).await?.map_or(other, |receipt| Ok(Some(receipt)));
                }
            }
        }
    }

    /// Decides once, on what is stored now.
    async fn decide<A>(
        &self,
        client: ClientId,
        id: &str,
        command: A::Command,
        key: Option<&str>,
        cause: &Cause,
    ) -> Result<Option<Receipt>, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Event: Into<Event>,
    {
        let (mut aggregate, version) = self.load::<A>(client, id).await?;
        let sink = EventSink::default();
        aggregate.handle(command, &(), &sink).await.map_err(ExecuteError::Refused)?;
        let events = sink.collect().await.into_iter().zip(1..);
        let events: Vec<Draft> = events
            .map(|(event, place)| Draft { event: event.into(), key: key.map(|key| nth_key(key, place)) })
            .collect();
        if events.is_empty() {
            return Ok(None);
        }
        let aggregate = AggregateRef::new(A::TYPE, id);
        let append = Append { client, aggregate, expected: Expected::Version(version), events, cause: cause.clone() };
        Ok(Some(self.committer.append(append).await?))
    }

    /// The old answer of a command that was carried out before.
    async fn answered(&self, client: ClientId, key: Option<&str>) -> Result<Option<Receipt>, ReadError> {
        let Some(key) = key else { return Ok(None) };
        let keys: Vec<String> = (1..=EVENTS_OF_COMMAND_MAX).map(|place| nth_key(key, place)).collect();
        let stored = self.stored_all(client, &keys).await?;
        let last = stored.iter().flatten().max();
        Ok(stored[0].zip(last.copied()).map(|(first, last)| Receipt { first, last, repeated: true }))
    }

    /// Connections of login `writer`.
    pub(crate) fn writer(&self) -> &PgPool {
        &self.writer
    }

    /// Under which number a key is stored, if it is.
    pub async fn stored(&self, client: ClientId, key: Option<&str>) -> Result<Option<u64>, ReadError> {
        let Some(key) = key else { return Ok(None) };
        let found = self.stored_all(client, &[key.to_owned()]).await?;
        Ok(found[0])
    }

    /// Under which numbers these keys are stored, in the order of the keys.
    pub async fn stored_all(&self, client: ClientId, keys: &[String]) -> Result<Vec<Option<u64>>, ReadError> {
        let keys: Vec<_> = keys.iter().map(|key| crate::append::stored_key(key)).collect();
        let clients = vec![client.0; keys.len()];
        let rows =
            sqlx::query!(r#"select dedupe_key as "key!", client_seq as "seq!" from es.seen($1, $2)"#, &clients, &keys)
                .fetch_all(&self.writer)
                .await
                .map_err(|cause| ReadError::Database { client, cause })?;
        let seen: std::collections::HashMap<_, _> = rows.into_iter().map(|row| (row.key, row.seq as u64)).collect();
        Ok(keys.iter().map(|key| seen.get(key).copied()).collect())
    }

    /// Single events by number, in order.
    pub async fn numbered(&self, client: ClientId, numbers: &[u64]) -> Result<Vec<Recorded>, ReadError> {
        let numbers: Vec<i64> = numbers.iter().map(|seq| *seq as i64).collect();
        let rows = sqlx::query_as!(
            Row,
            r#"
            select client_id as "client_id!", client_seq as "client_seq!", aggregate_type as "aggregate_type!",
                   aggregate_id as "aggregate_id!", aggregate_seq as "aggregate_seq!", event_id as "event_id!",
                   event_type as "event_type!", event_version as "event_version!", payload::text as "payload!",
                   occurred_at as "occurred_at!", recorded_at as "recorded_at!", metadata ->> 'actor' as actor
              from es.numbered($1, $2)
            "#,
            client.0,
            &numbers
        )
        .fetch_all(&self.writer)
        .await
        .map_err(|cause| ReadError::Database { client, cause })?;
        rows.into_iter().map(|row| row.read().map_err(ReadError::from)).collect()
    }

    /// Whether there is such a thing in a client's stream.
    pub async fn knows(&self, client: ClientId, aggregate: &AggregateRef) -> Result<bool, ReadError> {
        let version = sqlx::query_scalar!(
            r#"select version as "version!" from es.versions($1, $2, $3)"#,
            &[client.0],
            &[aggregate.kind.clone()],
            &[aggregate.id.clone()]
        )
        .fetch_one(&self.writer)
        .await
        .map_err(|cause| ReadError::Database { client, cause })?;
        Ok(version > 0)
    }

    /// The wish that an event is part of the answer to.
    pub async fn wish_of(&self, client: ClientId, seq: u64) -> Result<Option<CommandId>, ReadError> {
        let wish = sqlx::query_scalar!(
            "select (metadata ->> 'correlation')::uuid from es.numbered($1, $2)",
            client.0,
            &[seq as i64]
        )
        .fetch_optional(&self.writer)
        .await
        .map_err(|cause| ReadError::Database { client, cause })?;
        Ok(wish.flatten().map(CommandId))
    }

    pub(crate) async fn history(
        &self,
        client: ClientId,
        kind: &str,
        id: &str,
        after: u64,
    ) -> Result<Vec<Row>, ReadError> {
        sqlx::query_as!(
            Row,
            r#"
            select client_id as "client_id!", client_seq as "client_seq!", aggregate_type as "aggregate_type!",
                   aggregate_id as "aggregate_id!", aggregate_seq as "aggregate_seq!", event_id as "event_id!",
                   event_type as "event_type!", event_version as "event_version!", payload::text as "payload!",
                   occurred_at as "occurred_at!", recorded_at as "recorded_at!", metadata ->> 'actor' as actor
              from es.history($1, $2, $3, $4)
            "#,
            client.0,
            kind,
            id,
            after as i64
        )
        .fetch_all(&self.writer)
        .await
        .map_err(|cause| ReadError::Database { client, cause })
    }

    /// Every event of one kind of aggregate, in order, of a stretch of the stream.
    pub async fn all_of_kind(
        &self,
        client: ClientId,
        kind: &str,
        stretch: RangeInclusive<u64>,
    ) -> Result<Vec<Recorded>, ReadError> {
        let mut events: Vec<Recorded> = Vec::new();
        loop {
            let reached = events.last().map_or(stretch.start().saturating_sub(1), |event| event.seq);
            let rows = self.of_kind(client, kind, reached, OF_KIND_AT_ONCE).await?;
            let whole = rows.len() < OF_KIND_AT_ONCE;
            for row in rows {
                events.push(row.read()?);
            }
            if whole {
                events.retain(|event| event.seq <= *stretch.end());
                return Ok(events);
            }
        }
    }

    /// At most `most` events of one kind of aggregate after a number, in order.
    pub(crate) async fn of_kind(
        &self,
        client: ClientId,
        kind: &str,
        after: u64,
        most: usize,
    ) -> Result<Vec<Row>, ReadError> {
        sqlx::query_as!(
            Row,
            r#"
            select client_id as "client_id!", client_seq as "client_seq!", aggregate_type as "aggregate_type!",
                   aggregate_id as "aggregate_id!", aggregate_seq as "aggregate_seq!", event_id as "event_id!",
                   event_type as "event_type!", event_version as "event_version!", payload::text as "payload!",
                   occurred_at as "occurred_at!", recorded_at as "recorded_at!", metadata ->> 'actor' as actor
              from es.of_kind($1, $2, $3, $4)
            "#,
            client.0,
            kind,
            after as i64,
            most as i32
        )
        .fetch_all(&self.writer)
        .await
        .map_err(|cause| ReadError::Database { client, cause })
    }
}
