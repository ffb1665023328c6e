//! What came in and belongs to nobody for sure: kept whole, told to the desk, never thrown away.

use chrono::{DateTime, Utc};
use events::{AggregateRef, ClientId, Time, Uuid, desk::DeskEvent};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use store::{Append, Cause, Draft, Expected, Streams};

use crate::mandate::HandError;

/// Something that cannot be attributed.
#[derive(Debug)]
pub(crate) struct Stray<'a> {
    /// The client whose instance it names, if it names one of ours; else the desk.
    pub client: ClientId,
    pub instance: &'a str,
    /// `mqtt`, `history`, `archive`.
    pub source: &'static str,
    pub reason: String,
    pub raw: &'a [u8],
}

/// A message that is kept aside, as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Kept {
    /// The client whose instance it names, if it names one of ours; else the desk.
    pub client_id: Uuid,
    /// The same bytes of the same instance have the same one.
    pub quarantine_id: Uuid,
    /// Whose it says it is.
    pub instance: String,
    /// `mqtt`, `history`, `archive`.
    pub source: String,
    /// Why it belongs to nobody.
    pub reason: String,
    /// The bytes as they came, as text where they are text.
    pub raw: String,
    /// When it came.
    pub at: Time,
}

/// Keeps it aside, once however often it comes.
pub(crate) async fn keep(db: &PgPool, streams: &Streams, stray: Stray<'_>) -> Result<(), HandError> {
    let (hash, at) = (Sha256::digest(stray.raw), Time::now());
    let id = id_of(stray.instance, &hash);
    sqlx::query!(
        "insert into operator.quarantine (client_id, quarantine_id, instance, source, reason, raw, at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict do nothing",
        stray.client.0,
        id,
        stray.instance,
        stray.source,
        stray.reason,
        stray.raw,
        DateTime::<Utc>::from(at)
    )
    .execute(db)
    .await?;
    let event = DeskEvent::Quarantined {
        quarantine: id,
        instance: stray.instance.to_owned(),
        reason: stray.reason,
        raw_hash: hex::encode(hash),
        at,
    };
    let append = Append {
        client: ClientId::DESK,
        aggregate: AggregateRef::new("desk", format!("quarantine:{id}")),
        expected: Expected::Any,
        events: vec![Draft { event: event.into(), key: Some(format!("quarantine:{id}")) }],
        cause: Cause::system("operator"),
    };
    streams.committer().append(append).await?;
    Ok(())
}

/// Everything that is kept aside, newest first. For the desk alone.
pub async fn all(db: &PgPool, most: u32) -> sqlx::Result<Vec<Kept>> {
    let rows = sqlx::query!(
        "select client_id, quarantine_id, instance, source, reason, raw, at
           from operator.quarantine
          order by at desc, quarantine_id
          limit $1",
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Kept {
            client_id: row.client_id,
            quarantine_id: row.quarantine_id,
            instance: row.instance,
            source: row.source,
            reason: row.reason,
            raw: String::from_utf8_lossy(&row.raw).into_owned(),
            at: row.at.into(),
        })
        .collect())
}

fn id_of(instance: &str, hash: &[u8]) -> Uuid {
    let mut whole = Sha256::new();
    whole.update(instance.as_bytes());
    whole.update([0]);
    whole.update(hash);
    let digest = whole.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}
