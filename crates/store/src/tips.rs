//! What the committer remembers of streams from its own last commits: tips and versions. Never trusted: the database
//! verifies the tip, and a tip that holds proves the versions.

use std::collections::HashMap;

use events::{AggregateRef, ClientId, Time, chain::Hash};
use sqlx::PgConnection;
use uuid::Uuid;

/// Where one stream stands, and the versions of those of its aggregates that were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Tip {
    pub head: u64,
    pub hash: Hash,
    pub recorded_at: Time,
    pub ledger: u64,
    pub versions: HashMap<AggregateRef, u64>,
}

pub(crate) type Tips = HashMap<ClientId, Tip>;

impl Tip {
    /// How many events the aggregate has; its version was read before.
    pub fn version(&self, aggregate: &AggregateRef) -> u64 {
        if aggregate.kind == "ledger" { self.ledger } else { self.versions[aggregate] }
    }

    /// Counts one more event of the aggregate and tells its number.
    pub fn next_version(&mut self, aggregate: &AggregateRef) -> u64 {
        let version = if aggregate.kind == "ledger" {
            &mut self.ledger
        } else {
            self.versions.get_mut(aggregate).expect("versions are read before events are numbered")
        };
        *version += 1;
        *version
    }
}

/// Reads the tips of these streams anew; with `held` they stay locked until the transaction ends.
pub(crate) async fn read(db: &mut PgConnection, clients: &[ClientId], held: bool) -> sqlx::Result<Tips> {
    let ids: Vec<Uuid> = clients.iter().map(|client| client.0).collect();
    let rows = sqlx::query!(
        r#"
        select client_id as "client!", head as "head!", head_hash as "hash!", updated_at as "at!", ledger_version as "ledger!"
          from es.tips($1, $2)
        "#,
        &ids,
        held
    )
    .fetch_all(db)
    .await?;
    let tip = |row: &[u8]| Hash::try_from(row).expect("a chain hash has 32 bytes");
    Ok(rows
        .into_iter()
        .map(|row| {
            let tip = Tip {
                head: row.head as u64,
                hash: tip(&row.hash),
                recorded_at: row.at.into(),
                ledger: row.ledger as u64,
                versions: HashMap::new(),
            };
            (ClientId(row.client), tip)
        })
        .collect())
}

/// Adds the versions of these aggregates where the tips lack them.
pub(crate) async fn read_versions<'a>(
    db: &mut PgConnection,
    tips: &mut Tips,
    aggregates: impl Iterator<Item = (ClientId, &'a AggregateRef)>,
) -> sqlx::Result<()> {
    let missing: Vec<_> = aggregates
        .filter(|(client, aggregate)| aggregate.kind != "ledger" && !tips[client].versions.contains_key(*aggregate))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let clients: Vec<Uuid> = missing.iter().map(|(client, _)| client.0).collect();
    let kinds: Vec<String> = missing.iter().map(|(_, aggregate)| aggregate.kind.clone()).collect();
    let ids: Vec<String> = missing.iter().map(|(_, aggregate)| aggregate.id.clone()).collect();
    let rows = sqlx::query!(
        r#"
        select client_id as "client!", aggregate_type as "kind!", aggregate_id as "id!", version as "version!"
          from es.versions($1, $2, $3)
        "#,
        &clients,
        &kinds,
        &ids
    )
    .fetch_all(db)
    .await?;
    for row in rows {
        let tip = tips.get_mut(&ClientId(row.client)).expect("versions are asked for streams whose tips are known");
        tip.versions.insert(AggregateRef { kind: row.kind, id: row.id }, row.version as u64);
    }
    Ok(())
}
