//! Reading streams: events in order, heads, and the lines of an export.

use chrono::{DateTime, Utc};
use events::{AggregateRef, ClientId, Event, EventId, Recorded, Unreadable, export::EventLine};
use futures::TryStreamExt;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("could not read the stream of client {client}")]
    Database {
        client: ClientId,
        #[source]
        cause: sqlx::Error,
    },
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl From<ReadError> for sqlx::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database { cause, .. } => cause,
            corrupt @ ReadError::Corrupt(_) => Self::Decode(Box::new(corrupt)),
        }
    }
}

/// A stored event that this build cannot understand.
#[derive(Debug, thiserror::Error)]
#[error("event {seq} of client {client} cannot be read by this build")]
pub struct Corrupt {
    pub client: ClientId,
    pub seq: u64,
    #[source]
    pub cause: Unreadable,
}

/// A row of `es.events`, as far as a reader of facts needs it.
pub(crate) struct Row {
    pub client_id: Uuid,
    pub client_seq: i64,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub aggregate_seq: i64,
    pub event_id: Uuid,
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub actor: Option<String>,
}

impl Row {
    pub fn read(self) -> Result<Recorded, Corrupt> {
        let (client, seq) = (ClientId(self.client_id), self.client_seq as u64);
        let event = Event::read(&self.aggregate_type, &self.event_type, &self.event_version, &self.payload)
            .map_err(|cause| Corrupt { client, seq, cause })?;
        Ok(Recorded {
            client,
            seq,
            aggregate: AggregateRef { kind: self.aggregate_type, id: self.aggregate_id },
            aggregate_seq: self.aggregate_seq as u64,
            id: EventId(self.event_id),
            event,
            occurred_at: self.occurred_at.into(),
            recorded_at: self.recorded_at.into(),
            actor: self.actor.and_then(|actor| actor.parse().ok()),
        })
    }
}

/// At most `most` events after `reached`, in order, without a gap.
pub async fn after(
    db: impl PgExecutor<'_>,
    client: ClientId,
    reached: u64,
    most: u32,
) -> Result<Vec<Recorded>, ReadError> {
    between(db, client, reached + 1, reached + u64::from(most)).await
}

/// The events numbered `first` to `last`, as far as they are there and can be read, in order, without a gap.
pub async fn between(
    db: impl PgExecutor<'_>,
    client: ClientId,
    first: u64,
    last: u64,
) -> Result<Vec<Recorded>, ReadError> {
    let mut events = Vec::new();
    each(db, client, first, last, |event| {
        events.push(event);
        Ok::<(), ReadError>(())
    })
    .await?;
    Ok(events)
}

/// Hands on the events numbered `first` to `last`, each as it arrives, so that a long stretch takes no room: as far as
/// they are there and can be read, in order, without a gap. An unreadable one is an error only when it comes first, so
/// that it withholds none of the others.
///
/// # Panics
/// If the stream has a gap: a bug, or somebody's hand in the database.
pub async fn each<E: From<ReadError>>(
    db: impl PgExecutor<'_>,
    client: ClientId,
    first: u64,
    last: u64,
    mut take: impl FnMut(Recorded) -> Result<(), E>,
) -> Result<(), E> {
    let mut rows = sqlx::query_as!(
        Row,
        r#"
        select client_id, client_seq, aggregate_type, aggregate_id, aggregate_seq, event_id, event_type, event_version,
               payload::text as "payload!", occurred_at, recorded_at, metadata ->> 'actor' as actor
          from es.events
         where client_id = $1 and client_seq between $2 and $3
         order by client_seq
        "#,
        client.0,
        first as i64,
        last as i64
    )
    .fetch(db);
    let mut expected = first;
    while let Some(row) = rows.try_next().await.map_err(|cause| ReadError::Database { client, cause })? {
        let seq = row.client_seq as u64;
        assert_eq!(seq, expected, "the stream of client {client} has a gap before {seq}");
        match row.read() {
            Ok(event) => take(event)?,
            Err(corrupt) if seq == first => return Err(ReadError::from(corrupt).into()),
            Err(_) => break,
        }
        expected += 1;
    }
    Ok(())
}

/// At most `most` events of these kinds of aggregates after `reached` and up to `last`, in order.
pub async fn of_kinds(
    db: impl PgExecutor<'_>,
    client: ClientId,
    reached: u64,
    last: u64,
    kinds: &[&str],
    most: u32,
) -> Result<Vec<Recorded>, ReadError> {
    let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        select client_id, client_seq, aggregate_type, aggregate_id, aggregate_seq, event_id, event_type, event_version,
               payload::text as "payload!", occurred_at, recorded_at, metadata ->> 'actor' as actor
          from es.events
         where client_id = $1 and client_seq > $2 and client_seq <= $3 and aggregate_type = any($4)
         order by client_seq
         limit $5
        "#,
        client.0,
        reached as i64,
        last as i64,
        &kinds,
        i64::from(most)
    )
    .fetch_all(db)
    .await
    .map_err(|cause| ReadError::Database { client, cause })?;
    rows.into_iter().map(|row| row.read().map_err(ReadError::from)).collect()
}

/// Every event of alerts that follows this number in a client's stream, in order.
pub async fn of_alerts(db: impl PgExecutor<'_>, client: ClientId, reached: u64) -> Result<Vec<Recorded>, ReadError> {
    // The kind stands here as a constant: that lets a small index of their own be used.
    let rows = sqlx::query_as!(
        Row,
        r#"
        select client_id, client_seq, aggregate_type, aggregate_id, aggregate_seq, event_id, event_type, event_version,
               payload::text as "payload!", occurred_at, recorded_at, metadata ->> 'actor' as actor
          from es.events
         where client_id = $1 and client_seq > $2 and aggregate_type = 'alert'
         order by client_seq
        "#,
        client.0,
        reached as i64
    )
    .fetch_all(db)
    .await
    .map_err(|cause| ReadError::Database { client, cause })?;
    rows.into_iter().map(|row| row.read().map_err(ReadError::from)).collect()
}

/// Every event of subscriptions that follows these numbers in these clients' streams, by client and in order. Behind one
/// that this build cannot read, nothing of that client is told.
pub async fn of_subscriptions(
    db: impl PgExecutor<'_>,
    reached: &[(ClientId, u64)],
) -> sqlx::Result<Vec<Result<Recorded, Corrupt>>> {
    let (clients, reached): (Vec<Uuid>, Vec<i64>) =
        reached.iter().map(|(client, reached)| (client.0, *reached as i64)).unzip();
    // The kind stands here as a constant: that lets a small index of their own be used.
    let rows = sqlx::query_as!(
        Row,
        r#"
        select e.client_id, e.client_seq, e.aggregate_type, e.aggregate_id, e.aggregate_seq, e.event_id, e.event_type,
               e.event_version, e.payload::text as "payload!", e.occurred_at, e.recorded_at, e.metadata ->> 'actor' as actor
          from unnest($1::uuid[], $2::bigint[]) r(client_id, reached)
          join es.events e on e.client_id = r.client_id and e.client_seq > r.reached
         where e.aggregate_type = 'subscription'
         order by e.client_id, e.client_seq
        "#,
        &clients,
        &reached
    )
    .fetch_all(db)
    .await?;
    let mut unreadable = None;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        if unreadable == Some(row.client_id) {
            continue;
        }
        let event = row.read();
        unreadable = event.as_ref().err().map(|corrupt| corrupt.client.0);
        events.push(event);
    }
    Ok(events)
}

/// What the desk's stream tells after this number of people and programs that are let in no more, or otherwise than
/// before, in order.
pub async fn of_departures(db: impl PgExecutor<'_>, after: u64) -> sqlx::Result<Vec<Result<Recorded, Corrupt>>> {
    // The kinds stand here as constants: that lets a small index of their own be used.
    let rows = sqlx::query_as!(
        Row,
        r#"
        select client_id, client_seq, aggregate_type, aggregate_id, aggregate_seq, event_id, event_type, event_version,
               payload::text as "payload!", occurred_at, recorded_at, metadata ->> 'actor' as actor
          from es.events
         where client_id = $1 and client_seq > $2
           and event_type in ('SessionRevoked', 'TokenRevoked', 'PasswordChanged', 'SecondFactorRemoved', 'UserBarred',
                              'UserUnbarred', 'RoleChanged')
         order by client_seq
        "#,
        ClientId::DESK.0,
        after as i64
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Row::read).collect())
}

/// Whether a client's stream tells of such a thing. The ledger is in no index of things: it is not asked for.
pub async fn tells_of(db: impl PgExecutor<'_>, client: ClientId, aggregate: AggregateRef) -> Result<bool, ReadError> {
    sqlx::query_scalar!(
        r#"
        select exists (
          select
            from es.events
           where client_id = $1 and aggregate_type = $2 and aggregate_id = $3 and aggregate_type <> 'ledger') as "told!"
        "#,
        client.0,
        aggregate.kind,
        aggregate.id
    )
    .fetch_one(db)
    .await
    .map_err(|cause| ReadError::Database { client, cause })
}

/// What a client's stream tells of one kind of thing, or of one of them alone, each in its own order.
pub async fn told_of(
    db: impl PgExecutor<'_>,
    client: ClientId,
    kind: &str,
    id: Option<String>,
) -> Result<Vec<Recorded>, ReadError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select client_id, client_seq, aggregate_type, aggregate_id, aggregate_seq, event_id, event_type, event_version,
               payload::text as "payload!", occurred_at, recorded_at, metadata ->> 'actor' as actor
          from es.events
         where client_id = $1 and aggregate_type = $2 and aggregate_type <> 'ledger'
           and ($3::text is null or aggregate_id = $3)
         order by aggregate_id, aggregate_seq
        "#,
        client.0,
        kind,
        id
    )
    .fetch_all(db)
    .await
    .map_err(|cause| ReadError::Database { client, cause })?;
    rows.into_iter().map(|row| row.read().map_err(ReadError::from)).collect()
}

/// Lets this transaction, of login `query` or `auditor`, see one client and no other.
pub async fn for_client(tx: &mut PgConnection, client: ClientId) -> sqlx::Result<()> {
    sqlx::query!("select set_config('app.client_id', $1, true)", client.to_string()).fetch_one(tx).await?;
    Ok(())
}

/// Every asset that a client's ledger speaks of.
pub async fn assets_of_ledger(db: impl PgExecutor<'_>, client: ClientId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        select distinct asset as "asset!"
          from es.events e
         cross join lateral (
               select jsonb_path_query(e.payload, 'strict $.**.asset') #>> '{}' as asset
               union all
               select unnest(string_to_array(jsonb_path_query(e.payload, 'strict $.**.pair') #>> '{}', '-'))) a
         where e.client_id = $1 and e.aggregate_type = 'ledger'
        "#,
        client.0
    )
    .fetch_all(db)
    .await
}

/// Every pair that a stream holds marks of.
pub async fn marked_pairs(db: impl PgExecutor<'_>, client: ClientId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        select distinct aggregate_id
          from es.events
         where client_id = $1 and aggregate_type = 'market' and aggregate_type <> 'ledger'
        "#,
        client.0
    )
    .fetch_all(db)
    .await
}

/// How far a client's stream goes; zero before its first event.
pub async fn head(db: impl PgExecutor<'_>, client: ClientId) -> sqlx::Result<u64> {
    let head =
        sqlx::query_scalar!("select head from es.streams where client_id = $1", client.0).fetch_optional(db).await?;
    Ok(head.unwrap_or_default() as u64)
}

/// Where each stream stands.
pub async fn heads_of_all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<(ClientId, u64)>> {
    let rows =
        sqlx::query!("select client_id, head from es.streams where head > 0 order by client_id").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (ClientId(row.client_id), row.head as u64)).collect())
}

/// The events numbered `first` to `last` as lines of an export.
pub async fn lines(
    db: impl PgExecutor<'_>,
    client: ClientId,
    first: u64,
    last: u64,
) -> Result<Vec<EventLine>, ReadError> {
    let rows = sqlx::query!(
        r#"
        select client_seq, aggregate_type, aggregate_id, aggregate_seq, event_id, event_type, event_version,
               payload, metadata, occurred_at, recorded_at, content_hash, chain_hash
          from es.events
         where client_id = $1 and client_seq between $2 and $3
         order by client_seq
        "#,
        client.0,
        first as i64,
        last as i64
    )
    .fetch_all(db)
    .await
    .map_err(|cause| ReadError::Database { client, cause })?;
    Ok(rows
        .into_iter()
        .map(|row| EventLine {
            client_id: client,
            client_seq: row.client_seq as u64,
            aggregate_type: row.aggregate_type,
            aggregate_id: row.aggregate_id,
            aggregate_seq: row.aggregate_seq as u64,
            event_id: EventId(row.event_id),
            event_type: row.event_type,
            event_version: row.event_version,
            payload: row.payload,
            metadata: row.metadata,
            occurred_at: row.occurred_at.into(),
            recorded_at: row.recorded_at.into(),
            content_hash: hex::encode(row.content_hash),
            chain_hash: hex::encode(row.chain_hash),
        })
        .collect())
}
