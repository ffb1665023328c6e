//! Boot: a ring that does not open what is sealed is refused at the start, and not at the first use.

use std::collections::BTreeMap;

use sqlx::PgPool;
use store::Streams;

use crate::{
    ring::{KekId, KeyRing},
    token::{self, Unopened},
    vault::Vault,
    wrapped,
};

/// What every canary says.
const SONG: &[u8] = b"pipelabs vault canary 1";

/// Why the vault does not open for this process.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error(
        "ENCRYPTION_KEY lacks {}: the vault is sealed under that, and ENCRYPTION_KEY holds {ring:?}. \
         Put the missing key behind the others, comma separated, newest first",
        told(missing)
    )]
    Missing { missing: BTreeMap<KekId, u64>, ring: KeyRing },
    #[error("key {kek} of ENCRYPTION_KEY does not open what was sealed under it: {why}")]
    Wrong { kek: KekId, why: Unopened },
    #[error("the vault's tables could not be reached: was `pipelabs migrate` run?")]
    Database(#[from] sqlx::Error),
}

fn told(missing: &BTreeMap<KekId, u64>) -> String {
    let each = missing.iter().map(|(kek, clients)| match clients {
        0 => format!("key {kek}"),
        clients => format!("key {kek} ({clients} clients' data keys)"),
    });
    each.collect::<Vec<_>>().join(" and ")
}

impl Vault {
    /// Over connections of login `vault`, with a ring that opens everything: each key that is in use has to be in it and
    /// to open its canary. The first process that has a key writes its canary.
    pub async fn boot(db: PgPool, ring: KeyRing, streams: Streams) -> Result<Self, BootError> {
        let canaries = canaries(&db).await?;
        let canary_alone = canaries.iter().map(|(kek, _)| (kek.clone(), 0));
        let mut missing: BTreeMap<KekId, u64> = canary_alone.collect();
        missing.extend(wrapped::in_use(&db).await?);
        missing.retain(|kek, _| ring.key(kek.as_str()).is_none());
        if !missing.is_empty() {
            return Err(BootError::Missing { missing, ring });
        }
        for (kek, sealed) in &canaries {
            let Some(key) = ring.key(kek.as_str()) else { continue };
            let wrong = |why| BootError::Wrong { kek: kek.clone(), why };
            let song = token::open(key, sealed).map_err(wrong)?;
            if **song != *SONG {
                return Err(wrong(Unopened::Wrong));
            }
        }
        let vault = Self { db, ring, streams };
        vault.write_canary().await?;
        Ok(vault)
    }

    async fn write_canary(&self) -> sqlx::Result<()> {
        let (kek, key) = self.ring.newest();
        sqlx::query!(
            r#"
            insert into vault.canaries (kek_id, sealed)
            values ($1, $2)
            on conflict do nothing
            "#,
            kek.as_str(),
            key.encrypt(SONG)
        )
        .execute(&self.db)
        .await
        .map(drop)
    }

    /// A key that wraps nothing any more may leave the ring.
    pub(crate) async fn retire_canaries(&self) -> sqlx::Result<()> {
        sqlx::query!(
            r#"
            delete from vault.canaries c
             where c.kek_id <> $1
               and not exists (select from vault.data_keys k where k.kek_id = c.kek_id)
            "#,
            self.ring.newest().0.as_str()
        )
        .execute(&self.db)
        .await
        .map(drop)
    }
}

async fn canaries(db: &PgPool) -> sqlx::Result<Vec<(KekId, String)>> {
    let rows = sqlx::query!("select kek_id, sealed from vault.canaries order by kek_id").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (KekId::stored(&row.kek_id), row.sealed)).collect())
}
