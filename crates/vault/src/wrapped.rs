//! The table of wrapped data keys, one a client.

use events::ClientId;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    data_key::{BadWrap, DataKey},
    ring::{KekId, KeyRing},
};

/// A data key as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Wrapped {
    pub client: ClientId,
    pub kek: KekId,
    pub token: String,
}

/// Why a data key cannot be had.
#[derive(Debug)]
pub(crate) enum NoDataKey {
    /// The ring lacks what it is wrapped by.
    Missing(KekId),
    Bad(BadWrap),
}

impl Wrapped {
    pub fn unwrap(&self, ring: &KeyRing) -> Result<DataKey, NoDataKey> {
        let kek = ring.key(self.kek.as_str()).ok_or_else(|| NoDataKey::Missing(self.kek.clone()))?;
        DataKey::unwrap(self.client, &self.token, kek).map_err(NoDataKey::Bad)
    }

    /// The client's, made if there is none. Held until the transaction ends: it is not destroyed meanwhile, though it may
    /// be wrapped anew.
    pub async fn of_client(tx: &mut PgConnection, client: ClientId, ring: &KeyRing) -> sqlx::Result<Self> {
        if let Some(found) = held(tx, client).await? {
            return Ok(found);
        }
        let (kek, key) = ring.newest();
        sqlx::query!(
            r#"
            insert into vault.data_keys (client_id, kek_id, wrapped)
            values ($1, $2, $3)
            on conflict do nothing
            "#,
            client.0,
            kek.as_str(),
            DataKey::new().wrap(client, key)
        )
        .execute(&mut *tx)
        .await?;
        // Another process may have been first: what it wrote is the key.
        held(tx, client).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// At most `most` that are wrapped by other keys than this one, in order, after a client. Held until the transaction
    /// ends.
    pub async fn not_by(tx: &mut PgConnection, newest: &KekId, after: ClientId, most: i64) -> sqlx::Result<Vec<Self>> {
        let rows = sqlx::query!(
            r#"
            select client_id, kek_id, wrapped
              from vault.data_keys
             where kek_id <> $1 and client_id > $2
             order by client_id
             limit $3
               for no key update
            "#,
            newest.as_str(),
            after.0,
            most
        )
        .fetch_all(tx)
        .await?;
        let wrapped = rows.into_iter().map(|row| Self::of(row.client_id, &row.kek_id, row.wrapped));
        Ok(wrapped.collect())
    }

    fn of(client: Uuid, kek: &str, token: String) -> Self {
        Self { client: ClientId(client), kek: KekId::stored(kek), token }
    }
}

async fn held(tx: &mut PgConnection, client: ClientId) -> sqlx::Result<Option<Wrapped>> {
    let row = sqlx::query!(
        r#"
        select kek_id, wrapped
          from vault.data_keys
         where client_id = $1
           for key share
        "#,
        client.0
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Wrapped::of(client.0, &row.kek_id, row.wrapped)))
}

/// How many clients' keys are wrapped by each key of the ring, or by one that is not in it.
pub(crate) async fn in_use(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<(KekId, u64)>> {
    let rows = sqlx::query!(
        r#"
        select kek_id, count(*) as "clients!"
          from vault.data_keys
         group by kek_id
         order by kek_id
        "#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (KekId::stored(&row.kek_id), row.clients.unsigned_abs())).collect())
}

/// Puts keys that were wrapped anew in the place of the old ones.
pub(crate) async fn replace(tx: &mut PgConnection, by: &KekId, wrapped: &[Wrapped]) -> sqlx::Result<()> {
    let clients: Vec<Uuid> = wrapped.iter().map(|wrapped| wrapped.client.0).collect();
    let tokens: Vec<String> = wrapped.iter().map(|wrapped| wrapped.token.clone()).collect();
    sqlx::query!(
        r#"
        update vault.data_keys k
           set kek_id = $1, wrapped = n.wrapped
          from unnest($2::uuid[], $3::text[]) n(client_id, wrapped)
         where k.client_id = n.client_id
        "#,
        by.as_str(),
        &clients,
        &tokens
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Overwrites and deletes a client's key. Backups and the write-ahead log know the wrapped key for as long as they are
/// kept; whoever may not read it from there either gives the ring another key afterwards and destroys the old one.
pub(crate) async fn destroy(tx: &mut PgConnection, client: ClientId) -> sqlx::Result<()> {
    sqlx::query!("update vault.data_keys set wrapped = '', kek_id = '' where client_id = $1", client.0)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from vault.data_keys where client_id = $1", client.0).execute(tx).await.map(drop)
}
