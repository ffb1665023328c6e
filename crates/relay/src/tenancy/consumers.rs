//! The durable consumers of subscriptions: made where they are missing, at the right number, and how far each has come.
//!
//! How far is noted now and then, so that a consumer that NATS lost goes on a little before where its subscriber was: what
//! it acknowledged since the last note comes twice, and nothing is left out.

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
    context::GetStreamError,
    stream::{ConsumerError, ConsumerErrorKind},
};
use events::{ClientId, SubscriptionId, Time};
use sqlx::{PgConnection, PgPool};

use super::wanted::Subscription;
use crate::{
    address::{consumer_name, filtered},
    message::stream_name,
    session::Session,
};

/// How long an event may stay unacknowledged before it is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Events that may be on their way unacknowledged, and pull requests that may wait.
const ACK_PENDING_MAX: i64 = 1_000;
const WAITING_MAX: i64 = 64;

/// Why a consumer is not as it shall be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsumersError {
    #[error("could not look at a consumer")]
    Look(#[source] ConsumerError),
    #[error("could not make a consumer")]
    Make(#[source] ConsumerError),
    #[error("could not remove a consumer")]
    Remove(#[source] ConsumerError),
    #[error("could not look at the stream of a consumer")]
    Stream(#[from] GetStreamError),
    /// Made now, it would begin before what NATS lacks, and deliver it a second time.
    #[error("NATS holds events up to {last}, and the consumer begins with {first}: its stream is not filled yet")]
    NotFilled { first: u64, last: u64 },
    #[error("could not note how far a consumer has come")]
    Note(#[from] sqlx::Error),
}

/// How far a subscriber has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Reached {
    /// Everything that it was to get up to this event is acknowledged.
    pub acknowledged: u64,
    /// When that was looked at.
    pub looked_at: Time,
}

/// Has a consumer be there, and notes how far it has come.
pub(crate) async fn ensure(
    session: &Session,
    db: &PgPool,
    client: ClientId,
    id: SubscriptionId,
    wanted: &Subscription,
) -> Result<(), ConsumersError> {
    let (stream, name) = (stream_name(client), consumer_name(id));
    let delivers = filtered(client, wanted.filter);
    let found = session.jetstream.get_consumer_from_stream::<pull::Config, _, _>(&name, &stream).await;
    let consumer = match found {
        Ok(consumer) if consumer.cached_info().config.filter_subject == delivers => consumer,
        Ok(_) => {
            session.jetstream.delete_consumer_from_stream(&name, &stream).await.map_err(ConsumersError::Remove)?;
            make(session, db, client, id, wanted).await?
        }
        Err(error) if is_missing(&error) => make(session, db, client, id, wanted).await?,
        Err(error) => return Err(ConsumersError::Look(error)),
    };
    note(db, client, id, wanted, consumer.cached_info().ack_floor.stream_sequence).await?;
    Ok(())
}

async fn make(
    session: &Session,
    db: &PgPool,
    client: ClientId,
    id: SubscriptionId,
    wanted: &Subscription,
) -> Result<PullConsumer, ConsumersError> {
    let first = wanted.first.max(noted(db, client, id, wanted).await?.map_or(0, |acknowledged| acknowledged + 1));
    let last = session.jetstream.get_stream(stream_name(client)).await?.cached_info().state.last_sequence;
    if last + 1 < first {
        return Err(ConsumersError::NotFilled { first, last });
    }
    let config = pull::Config {
        durable_name: Some(consumer_name(id)),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first },
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        filter_subject: filtered(client, wanted.filter),
        max_ack_pending: ACK_PENDING_MAX,
        max_waiting: WAITING_MAX,
        ..pull::Config::default()
    };
    session.jetstream.create_consumer_on_stream(config, stream_name(client)).await.map_err(ConsumersError::Make)
}

/// Has no consumer be there.
pub(crate) async fn remove(
    session: &Session,
    db: &PgPool,
    client: ClientId,
    id: SubscriptionId,
) -> Result<(), ConsumersError> {
    match session.jetstream.delete_consumer_from_stream(consumer_name(id), stream_name(client)).await {
        Ok(_) => {}
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(ConsumersError::Remove(error)),
    }
    sqlx::query!("delete from relay.consumers where client_id = $1 and subscription_id = $2", client.0, id.0)
        .execute(db)
        .await?;
    Ok(())
}

/// A stream that is missing has no consumers either.
fn is_missing(error: &ConsumerError) -> bool {
    let missing = [ErrorCode::CONSUMER_NOT_FOUND, ErrorCode::STREAM_NOT_FOUND];
    matches!(error.kind(), ConsumerErrorKind::JetStream(error) if missing.contains(&error.error_code()))
}

async fn noted(db: &PgPool, client: ClientId, id: SubscriptionId, wanted: &Subscription) -> sqlx::Result<Option<u64>> {
    let noted = sqlx::query_scalar!(
        "select acknowledged from relay.consumers where client_id = $1 and subscription_id = $2 and asked = $3",
        client.0,
        id.0,
        wanted.asked as i64
    )
    .fetch_optional(db)
    .await?;
    Ok(noted.map(|acknowledged| acknowledged as u64))
}

/// Notes how far a consumer has come. One that NATS made again from an older copy does not take that back.
async fn note(
    db: &PgPool,
    client: ClientId,
    id: SubscriptionId,
    wanted: &Subscription,
    acknowledged: u64,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into relay.consumers (client_id, subscription_id, asked, acknowledged)
        values ($1, $2, $3, $4)
        on conflict (client_id, subscription_id) do update
           set asked = excluded.asked, looked_at = now(),
               acknowledged = case consumers.asked
                                when excluded.asked then greatest(consumers.acknowledged, excluded.acknowledged)
                                else excluded.acknowledged
                              end
         where consumers.asked <= excluded.asked
        "#,
        client.0,
        id.0,
        wanted.asked as i64,
        acknowledged as i64
    )
    .execute(db)
    .await
    .map(drop)
}

/// How far each subscriber of a client had come when NATS was looked at last.
pub async fn reached(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<(SubscriptionId, Reached)>> {
    let rows = sqlx::query!(
        "select subscription_id, acknowledged, looked_at from relay.consumers where client_id = $1",
        client.0
    )
    .fetch_all(db)
    .await?;
    let reached = rows.into_iter().map(|row| {
        let reached = Reached { acknowledged: row.acknowledged as u64, looked_at: row.looked_at.into() };
        (SubscriptionId(row.subscription_id), reached)
    });
    Ok(reached.collect())
}
