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
    /// Absent: all of them.
    kinds: Option<&'static [&'static str]>,
}

impl Follower {
    /// Follows a client's stream from after `reached` on. Followers share the connection that wakes them.
    pub fn new(db: PgPool, wakes: Wakes, client: ClientId, reached: u64) -> Self {
        Self { db, wakes, client, reached, kinds: None }
    }

    /// The same, but hands out only events of these kinds of aggregates; what lies between them is not even fetched.
    #[must_use]
    pub fn only(self, kinds: &'static [&'static str]) -> Self {
        Self { kinds: Some(kinds), ..self }
    }

    /// The next events, at least one; waits until there are some.
    pub async fn next(&mut self) -> Result<Vec<Recorded>, ReadError> {
        loop {
            let events = match self.kinds {
                None => read::after(&self.db, self.client, self.reached, BATCH).await?,
                Some(kinds) => self.of(kinds).await?,
            };
            if let Some(last) = events.last() {
                self.reached = self.reached.max(last.seq);
                return Ok(events);
            }
            self.wakes.next().await;
        }
    }

    async fn of(&mut self, kinds: &[&str]) -> Result<Vec<Recorded>, ReadError> {
        let cause = |cause| ReadError::Database { client: self.client, cause };
        let head = read::head(&self.db, self.client).await.map_err(cause)?;
        if head <= self.reached {
            return Ok(Vec::new());
        }
        let events = read::of_kinds(&self.db, self.client, self.reached, head, kinds, BATCH).await?;
        // Fewer than asked for: there are no more up to the head.
        if events.len() < BATCH as usize {
            self.reached = head;
        }
        Ok(events)
    }
}
