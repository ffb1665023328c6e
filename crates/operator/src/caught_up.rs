//! Read models that are asked about now have to be as far as the stream is.

use std::time::Duration;

use events::ClientId;
use projections::{checkpoints, projection::Projection};
use tokio::time::Instant;

use crate::mandate::HandError;

/// How long a read model is waited for.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until a read model has read up to an event of a client.
pub(crate) async fn caught_up<P: Projection>(
    tx: &mut sqlx::PgConnection,
    client: ClientId,
    head: u64,
) -> Result<(), HandError> {
    let until = Instant::now() + CATCH_UP_MAX;
    loop {
        let reach = checkpoints::reach(&mut *tx, P::NAME, client).await?;
        if reach.reached >= head {
            return Ok(());
        }
        if Instant::now() >= until {
            let (name, reached) = (P::NAME, reach.reached);
            return Err(HandError::NotYet(format!("the read model of {name} is at {reached}, not yet at {head}")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
