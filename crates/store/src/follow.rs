//! Following one stream: every event once, in order, for as long as one likes.

use events::{ClientId, Recorded};
use sqlx::PgPool;

use crate::{ReadError, Wakes, read};

/// Reads at a time.
const BATCH: u32 = 500;

/// A reader that never skips: it hands out `reached + 1` next, or waits.
#[derive(Debug)]
pub struct Follower {
    db: PgPool,
    wakes: Wakes,
    client: ClientId,
    reached: u64,
}

impl Follower {
    /// Follows a client's stream from after `reached` on. Followers share the connection that wakes them.
    pub fn new(db: PgPool, wakes: Wakes, client: ClientId, reached: u64) -> Self {
        Self { db, wakes, client, reached }
    }

    /// The next events, at least one; waits until there are some.
    pub async fn next(&mut self) -> Result<Vec<Recorded>, ReadError> {
        loop {
            let events = read::after(&self.db, self.client, self.reached, BATCH).await?;
            if let Some(last) = events.last() {
                self.reached = last.seq;
                return Ok(events);
            }
            self.wakes.next().await;
        }
    }
}
