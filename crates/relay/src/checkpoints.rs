//! How far each client has come on NATS, kept for people and figures. No decision is made on it.

use std::collections::HashMap;

use events::ClientId;
use sqlx::PgPool;

/// How far every client was known to have come.
pub(crate) async fn all(db: &PgPool) -> sqlx::Result<HashMap<ClientId, u64>> {
    let rows = sqlx::query!("select client_id, reached from relay.checkpoints").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (ClientId(row.client_id), row.reached as u64)).collect())
}

/// NATS was asked and holds this much, all of it ours.
pub(crate) async fn found(db: &PgPool, client: ClientId, reached: u64) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into relay.checkpoints (client_id, reached)
        values ($1, $2)
        on conflict (client_id) do update
           set reached = excluded.reached, reached_at = now(), diverged = null
         where checkpoints.reached <> excluded.reached or checkpoints.diverged is not null
        "#,
        client.0,
        reached as i64
    )
    .execute(db)
    .await
    .map(drop)
}

/// NATS holds something else at this number, and what is ours before it: the client is stopped.
pub(crate) async fn diverged(db: &PgPool, client: ClientId, seq: u64) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into relay.checkpoints (client_id, reached, diverged)
        values ($1, $2::bigint - 1, $2)
        on conflict (client_id) do update
           set reached = excluded.reached, diverged = excluded.diverged
        "#,
        client.0,
        seq as i64
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
