//! Where engines stand, kept so that a stream is not read from its begin each time somebody takes a client over.

use events::ClientId;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::{engine::Engine, rules};

/// Raised when the engine's state means something else than before.
const STATE: u32 = 1;

/// A text that changes with the engine's state and with its rules.
fn shape() -> String {
    let rules: Vec<String> = rules::ALL.iter().map(|kind| format!("{}:{}", kind.name, kind.version)).collect();
    let hash = Sha256::digest(format!("{STATE}\n{}", rules.join("\n")));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A client's engine as it was kept; absent: it never was, or by another build.
pub(crate) async fn find(db: &PgPool, client: ClientId) -> sqlx::Result<Option<Engine>> {
    let row = sqlx::query!("select shape, state from alerts.engines where client_id = $1", client.0)
        .fetch_optional(db)
        .await?;
    Ok(row.filter(|row| row.shape == shape()).and_then(|row| Engine::restored(&row.state)))
}

/// Keeps a client's engine. One that has read less takes nobody's place.
pub(crate) async fn save(db: &PgPool, client: ClientId, engine: &Engine) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into alerts.engines as e (client_id, reached, shape, state)
        values ($1, $2, $3, $4)
        on conflict (client_id) do update
           set reached = excluded.reached, shape = excluded.shape, state = excluded.state, saved_at = now()
         where e.shape <> excluded.shape or e.reached <= excluded.reached
        "#,
        client.0,
        engine.reached() as i64,
        shape(),
        engine.written()
    )
    .execute(db)
    .await
    .map(drop)
}
