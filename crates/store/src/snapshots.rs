//! Folded aggregates, so that a long history need not be replayed for each decision. Outside the hot path and never the
//! truth: snapshot + tail = full replay.

use cqrs_es::Aggregate;
use events::{ClientId, Unreadable};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Corrupt, ReadError, Streams, read::Row};

/// A tail longer than this is worth a snapshot.
const TAIL_MAX: u64 = 200;

impl Streams {
    /// An aggregate and its version: from its snapshot and the events since, or from its whole history. The ledger has
    /// none: it is loaded head-only, because what a decision about it must know stands in keys.
    pub async fn load<A: Aggregate>(&self, client: ClientId, id: &str) -> Result<(A, u64), ReadError> {
        let shape = Self::shape::<A>();
        let found = self.snapshot(client, A::TYPE, id, &shape).await?;
        // One that does not read back is as good as none.
        let known = found.and_then(|(version, state)| Some((serde_json::from_value(state).ok()?, version)));
        let (mut aggregate, mut version): (A, u64) = known.unwrap_or_default();
        let from = version;
        for row in self.history(client, A::TYPE, id, from).await? {
            version = row.aggregate_seq as u64;
            aggregate.apply(event_of::<A>(client, row)?);
        }
        if version - from > TAIL_MAX {
            let state = serde_json::to_value(&aggregate).expect("an aggregate has a JSON form");
            self.save_snapshot(client, A::TYPE, id, &shape, version, &state).await?;
        }
        Ok((aggregate, version))
    }

    /// The same from the whole history, whatever snapshots say.
    pub async fn replay<A: Aggregate>(&self, client: ClientId, id: &str) -> Result<(A, u64), ReadError> {
        let (mut aggregate, mut version) = (A::default(), 0);
        for row in self.history(client, A::TYPE, id, 0).await? {
            version = row.aggregate_seq as u64;
            aggregate.apply(event_of::<A>(client, row)?);
        }
        Ok((aggregate, version))
    }

    /// Changes with the type of the state and with the fields that it has at first: a snapshot of another shape is not
    /// found.
    pub fn shape<A: Aggregate>() -> String {
        let first = serde_json::to_string(&A::default()).expect("an aggregate has a JSON form");
        hex::encode(&Sha256::digest(format!("{}\n{first}", std::any::type_name::<A>()))[..16])
    }

    pub(crate) async fn snapshot(
        &self,
        client: ClientId,
        kind: &str,
        id: &str,
        shape: &str,
    ) -> Result<Option<(u64, Value)>, ReadError> {
        let row = sqlx::query!(
            r#"select version as "version!", state as "state!" from es.load_snapshot($1, $2, $3, $4)"#,
            client.0,
            kind,
            id,
            shape
        )
        .fetch_optional(self.writer())
        .await
        .map_err(|cause| ReadError::Database { client, cause })?;
        Ok(row.map(|row| (row.version as u64, row.state)))
    }

    pub(crate) async fn save_snapshot(
        &self,
        client: ClientId,
        kind: &str,
        id: &str,
        shape: &str,
        version: u64,
        state: &Value,
    ) -> Result<(), ReadError> {
        sqlx::query!(
            "select es.save_snapshot($1, $2, $3, $4, $5, $6)",
            client.0,
            kind,
            id,
            shape,
            version as i64,
            state.to_string()
        )
        .fetch_one(self.writer())
        .await
        .map_err(|cause| ReadError::Database { client, cause })?;
        Ok(())
    }
}

fn event_of<A: Aggregate>(client: ClientId, row: Row) -> Result<A::Event, Corrupt> {
    let seq = row.client_seq as u64;
    serde_json::from_str(&row.payload).map_err(|cause| Corrupt {
        client,
        seq,
        cause: Unreadable::Payload { event_type: row.event_type, cause },
    })
}
