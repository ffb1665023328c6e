//! Where engines stand, kept so that a stream is not read from its begin each time somebody takes a client over.

use events::ClientId;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use store::Fence;
use uuid::Uuid;

use crate::{engine::Engine, rules};

/// Raised when the engine's state means something else than before.
const STATE: u32 = 5;

/// A text that changes with the engine's state and with its rules.
fn shape() -> String {
    let rules: Vec<String> = rules::ALL.iter().map(|kind| format!("{}:{}", kind.name, kind.version)).collect();
    let hash = Sha256::digest(format!("{STATE}\n{}", rules.join("\n")));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What was kept of a client's alerts.
pub(crate) struct Kept {
    /// Absent: it never was, or by another build.
    pub engine: Option<Engine>,
    /// Whatever alerts told before this event is over, and nobody has to hear of it any more.
    pub news_from: u64,
}

/// What was kept of a client. From now on nobody keeps anything who held the lease before.
pub(crate) async fn take(db: &PgPool, client: ClientId, fence: &Fence) -> sqlx::Result<Kept> {
    let row = sqlx::query!(
        r#"
        insert into alerts.engines as e (client_id, token, reached, shape, state)
        values ($1, $2, 0, '', '')
        on conflict (client_id) do update set token = excluded.token where e.token <= excluded.token
        returning shape, state, news_from
        "#,
        client.0,
        fence.token() as i64
    )
    .fetch_optional(db)
    .await?;
    let news_from = row.as_ref().map_or(1, |row| row.news_from.unsigned_abs());
    let engine = row.filter(|row| row.shape == shape()).and_then(|row| Engine::restored(&row.state));
    Ok(Kept { engine, news_from })
}

/// Keeps a client's engine, and from where on there may be news, unless somebody else evaluates its alerts by now.
pub(crate) async fn save(
    db: &PgPool,
    client: ClientId,
    fence: &Fence,
    (engine, news_from): (&Engine, u64),
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into alerts.engines as e (client_id, token, reached, shape, state, news_from)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (client_id) do update
           set token = excluded.token, reached = excluded.reached, shape = excluded.shape, state = excluded.state,
               news_from = excluded.news_from, saved_at = now()
         where e.token <= excluded.token
        "#,
        client.0,
        fence.token() as i64,
        engine.reached() as i64,
        shape(),
        engine.written(),
        news_from as i64
    )
    .execute(db)
    .await
    .map(drop)
}

/// Says that the alerts of these clients were evaluated just now.
pub(crate) async fn passed(db: &PgPool, clients: &[ClientId]) -> sqlx::Result<()> {
    let clients: Vec<Uuid> = clients.iter().map(|client| client.0).collect();
    sqlx::query!("update alerts.engines set passed_at = now() where client_id = any($1)", &clients)
        .execute(db)
        .await
        .map(drop)
}
