//! How far each client has come on NATS, kept for people and figures. No decision is made on it.

use std::collections::HashMap;

use events::ClientId;
use sqlx::PgPool;

/// How far every client was known to have come.
pub(crate) async fn all(db: &PgPool) -> sqlx::Result<HashMap<ClientId, u64>> {
    let rows = sqlx::query!("select client_id, reached from relay.checkpoints").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (ClientId(row.client_id), row.reached as u64)).collect())
}

/// NATS was asked and holds this much, or something else from some number on.
pub(crate) async fn found(db: &PgPool, client: ClientId, reached: u64, diverged: Option<u64>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into relay.checkpoints (client_id, reached, diverged)
        values ($1, $2, $3)
        on conflict (client_id) do update
           set reached = excluded.reached, reached_at = now(), diverged = excluded.diverged
         where (checkpoints.reached, checkpoints.diverged) is distinct from (excluded.reached, excluded.diverged)
        "#,
        client.0,
        reached as i64,
        diverged.map(|seq| seq as i64)
    )
    .execute(db)
    .await
    .map(drop)
}

/// NATS took everything up to here. Another relay may have come further.
pub(crate) async fn published(db: &PgPool, client: ClientId, reached: u64) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update relay.checkpoints
           set reached = $2, reached_at = now()
         where client_id = $1 and reached < $2
        "#,
        client.0,
        reached as i64
    )
    .execute(db)
    .await
    .map(drop)
}
