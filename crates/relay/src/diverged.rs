//! A copy that holds something else than what was recorded: told to whoever runs the desk, and left as it is.

use events::{AggregateRef, ClientId, Time, desk::DeskEvent};
use sqlx::PgPool;
use store::{AppendError, Cause, Streams};
use tracing::error;

use crate::{checkpoints, copy::Divergence};

/// Why it could not be told; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TellError {
    #[error("could not record that a copy diverged")]
    Record(#[from] AppendError),
    #[error("could not note that a copy diverged")]
    Checkpoint(#[from] sqlx::Error),
}

/// Tells it: once a copy in the desk's stream, whichever relay sees it and however often.
pub(crate) async fn tell(
    streams: &Streams,
    db: &PgPool,
    client: ClientId,
    divergence: &Divergence,
) -> Result<(), TellError> {
    let Divergence { seq, holds, copy } = divergence;
    let event = DeskEvent::RelayDiverged { client, seq: *seq, at: Time::now() };
    let key = format!("relay_divergence:{client}:{copy}");
    streams.note(AggregateRef::new("desk", client), event, Some(key), &Cause::system("relay")).await?;
    checkpoints::diverged(db, client, *seq).await?;
    error!(
        client.id = %client,
        seq,
        "relay_divergence: NATS holds {holds} at {seq} of client {client}: nothing of this client is published until stream \
         {} is removed from NATS",
        crate::stream_name(client)
    );
    Ok(())
}
