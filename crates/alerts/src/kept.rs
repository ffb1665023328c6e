//! Where engines stand, kept so that a stream is not read from its begin each time somebody takes a client over.

use events::ClientId;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use store::Fence;

use crate::{engine::Engine, rules};

/// Raised when the engine's state means something else than before.
const STATE: u32 = 3;

/// A text that changes with the engine's state and with its rules.
fn shape() -> String {
    let rules: Vec<String> = rules::ALL.iter().map(|kind| format!("{}:{}", kind.name, kind.version)).collect();
    let hash = Sha256::digest(format!("{STATE}\n{}", rules.join("\n")));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A client's engine as it was kept; absent: it never was, or by another build. From now on nobody keeps one who held the
/// lease before.
pub(crate) async fn take(db: &PgPool, client: ClientId, fence: &Fence) -> sqlx::Result<Option<Engine>> {
    let row = sqlx::query!(
        r#"
        insert into alerts.engines as e (client_id, token, reached, shape, state)
        values ($1, $2, 0, '', '')
        on conflict (client_id) do update set token = excluded.token where e.token <= excluded.token
        returning shape, state
        "#,
        client.0,
        fence.token() as i64
    )
    .fetch_optional(db)
    .await?;
    Ok(row.filter(|row| row.shape == shape()).and_then(|row| Engine::restored(&row.state)))
}

/// Keeps a client's engine, unless somebody else evaluates its alerts by now.
pub(crate) async fn save(db: &PgPool, client: ClientId, fence: &Fence, engine: &Engine) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into alerts.engines as e (client_id, token, reached, shape, state)
        values ($1, $2, $3, $4, $5)
        on conflict (client_id) do update
           set token = excluded.token, reached = excluded.reached, shape = excluded.shape, state = excluded.state, saved_at = now()
         where e.token <= excluded.token
        "#,
        client.0,
        fence.token() as i64,
        engine.reached() as i64,
        shape(),
        engine.written()
    )
    .execute(db)
    .await
    .map(drop)
}
