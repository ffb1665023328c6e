//! Signed heads on NATS, so that whoever listens keeps them where the desk cannot reach.

use std::time::Duration;

use events::ClientId;
use sqlx::PgPool;
use store::read;
use tracing::warn;

use crate::{message::heads_subject, session::Session};

/// Heads are signed each minute.
const EVERY: Duration = Duration::from_secs(60);

/// Tells the latest signed head of each client for ever, the unchanged ones too: who listens later hears it as well.
pub(crate) async fn tell(session: &Session, db: &PgPool) {
    let mut minute = tokio::time::interval(EVERY);
    loop {
        minute.tick().await;
        if let Err(cause) = tell_all(session, db).await {
            warn!(error = %cause, "could not read signed heads, trying again in a minute");
        }
    }
}

async fn tell_all(session: &Session, db: &PgPool) -> sqlx::Result<()> {
    let clients = read::heads_of_all(db).await?.into_iter().map(|(client, _)| client);
    for client in clients.filter(|client| *client != ClientId::DESK) {
        let Some(head) = store::latest_signed(db, client).await? else { continue };
        let text = serde_json::to_vec(&head).expect("a signed head always has a JSON form");
        // Core NATS: nobody waits, and the next minute tells it again.
        if let Err(cause) = session.client.publish(heads_subject(client), text.into()).await {
            warn!(client.id = %client, error = %cause, "could not tell the signed head of client {client}");
        }
    }
    Ok(())
}
