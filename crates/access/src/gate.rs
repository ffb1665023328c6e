//! The gate: whether what a token proves still counts, at this moment.
//!
//! Every process keeps what was revoked in memory: loaded before it answers, told of anything new by a signal, and looking
//! by itself twice a second. So a session that ends is refused everywhere within a second, and no request asks the
//! database. When the database is away nothing new is learned, and a token counts until its own time is over, ten
//! minutes at most: whoever reads goes on reading, and nothing can be changed without the database anyway.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use events::Time;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use store::Wakes;
use tokio::sync::watch;

use crate::{
    caller::Caller,
    claims::Claims,
    register::AUTH_CHANGED,
    revoked::{self, Revoked},
    tokens::{Proof, TokenRefusal, Tokens},
};

/// How long a request waits for the first look.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(3);
/// A look that takes longer fails: the line to the database may be cut without a word.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// After so long without a look it is told.
const BLIND_MAX: Duration = Duration::from_secs(30);
/// Tokens whose signature was checked before: to check it again costs more than most answers.
const READ_MAX: u64 = 10_000;

/// Lets callers in. Clones share what they know.
#[derive(Clone)]
pub struct Gate {
    tokens: Tokens,
    seen: watch::Receiver<Seen>,
    read: Cache<[u8; 32], Arc<Claims>>,
}

/// What is known to be revoked, and when that was looked at last; absent before the first look.
#[derive(Debug, Clone, Default)]
struct Seen {
    revoked: Arc<Revoked>,
    at: Option<Time>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLetIn {
    #[error(transparent)]
    Refused(#[from] TokenRefusal),
    #[error("what was revoked could not be looked at yet")]
    Blind,
}

impl Gate {
    /// Watches over connections of login `auth`, until the last clone is gone.
    pub fn watch(auth: PgPool, tokens: Tokens) -> Self {
        let (tell, seen) = watch::channel(Seen::default());
        tokio::spawn(look(auth, tell));
        Self { tokens, seen, read: Cache::new(READ_MAX) }
    }

    /// Who the caller is, at `now`.
    pub async fn admit(&self, token: &str, now: Time) -> Result<Proof, NotLetIn> {
        let proof = self.claims(token).await?.proof(now)?;
        if self.seen().await?.lets_in(&proof.caller) { Ok(proof) } else { Err(TokenRefusal::Revoked.into()) }
    }

    /// Whether a caller who was let in is still let in, as far as is known.
    pub fn lets_in(&self, caller: &Caller) -> bool {
        self.seen.borrow().revoked.lets_in(caller)
    }

    /// Resolves when this caller is let in no more.
    pub async fn shut_for(&self, caller: Caller) {
        let mut seen = self.seen.clone();
        if seen.wait_for(|seen| !seen.revoked.lets_in(&caller)).await.is_err() {
            // Nobody looks any more: the process ends.
            std::future::pending::<()>().await;
        }
    }

    /// When revocations were looked at last; absent before the first look.
    pub fn looked_at(&self) -> Option<Time> {
        self.seen.borrow().at
    }

    async fn claims(&self, token: &str) -> Result<Arc<Claims>, TokenRefusal> {
        let key: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.read.get(&key).await {
            return Ok(claims);
        }
        let claims = Arc::new(self.tokens.read(token)?);
        self.read.insert(key, Arc::clone(&claims)).await;
        Ok(claims)
    }

    async fn seen(&self) -> Result<Arc<Revoked>, NotLetIn> {
        let now = self.seen.borrow().clone();
        if now.at.is_some() {
            return Ok(now.revoked);
        }
        let mut seen = self.seen.clone();
        let first = tokio::time::timeout(FIRST_LOOK_MAX, seen.wait_for(|seen| seen.at.is_some())).await;
        let first = first.map_err(|_| NotLetIn::Blind)?.map_err(|_| NotLetIn::Blind)?;
        Ok(Arc::clone(&first.revoked))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

async fn look(auth: PgPool, tell: watch::Sender<Seen>) {
    let mut wakes = Wakes::to(auth.clone(), &[AUTH_CHANGED]);
    let (mut looked, mut told) = (Instant::now(), false);
    while !tell.is_closed() {
        let reached = tell.borrow().revoked.reached();
        let looked_up = tokio::time::timeout(LOOK_MAX, revoked::after(&auth, reached)).await;
        match looked_up.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(new) => {
                (looked, told) = (Instant::now(), false);
                tell.send_if_modified(|seen| seen.learn(new, Time::now()));
            }
            Err(cause) if looked.elapsed() > BLIND_MAX && !told => {
                told = true;
                tracing::warn!(error = %cause, "revocations cannot be seen: tokens that are out count until they expire");
            }
            Err(cause) => tracing::debug!(error = %cause, "revocations cannot be seen for now"),
        }
        wakes.next().await;
    }
}

impl Seen {
    /// Whether those who wait have to look: not when nothing is new.
    fn learn(&mut self, new: Vec<revoked::Revocation>, now: Time) -> bool {
        let (first, any) = (self.at.is_none(), !new.is_empty());
        self.at = Some(now);
        if any {
            Arc::make_mut(&mut self.revoked).learn(new, now);
        }
        first || any
    }
}
