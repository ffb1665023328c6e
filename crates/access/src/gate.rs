//! The gate: whether what a token proves still counts, at this moment.
//!
//! Every process keeps what was revoked in memory: loaded before it answers, told of anything new by a signal, and looking
//! by itself twice a second. So a session that ends is refused everywhere within a second, and no request asks the
//! database, but for the token of a program that was not seen for ten minutes. When the database is away nothing new is
//! learned, and a token counts until its own time is over, ten minutes at most: whoever reads goes on reading, and
//! nothing can be changed without the database anyway.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use events::{ClientId, Time, UserId, desk::Role};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use store::Wakes;
use tokio::sync::{Semaphore, watch};

use crate::{
    caller::{Caller, Reach},
    claims::{Claims, LIFETIME_S},
    grants::{self, Grants},
    opaque::Presented,
    programs,
    register::AUTH_CHANGED,
    revoked::{self, Revocation, Revoked},
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
/// Tokens of programs that were looked up. What they allow is looked up again as often as a person's token is made anew.
const LOOKED_UP_MAX: u64 = 10_000;
const LOOKED_UP_FOR: Duration = Duration::from_secs(LIFETIME_S.unsigned_abs());
/// So many are looked up at once, and wait so long for their turn: whoever makes tokens up holds up neither logins nor what
/// is learned of revocations.
const LOOK_UPS_AT_ONCE: usize = 4;
const LOOK_UP_MAX: Duration = Duration::from_secs(1);
/// After so long without a look, what a look tells of is not all that may have changed.
const GRANTS_KEEP_US: i64 = 60 * 1_000_000;

/// Lets callers in. Clones share what they know.
#[derive(Clone)]
pub struct Gate {
    auth: PgPool,
    tokens: Tokens,
    /// Who of them may do nothing dangerous without a second factor.
    strict: Arc<[Role]>,
    seen: watch::Receiver<Seen>,
    read: Cache<[u8; 32], Arc<Claims>>,
    programs: Cache<Presented, Proof>,
    look_ups: Arc<Semaphore>,
}

/// What is known to be revoked and granted, and when that was looked at last; absent before the first look.
#[derive(Debug, Clone, Default)]
struct Seen {
    revoked: Arc<Revoked>,
    grants: Arc<Grants>,
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
    /// Watches over connections of login `auth`, until the last clone is gone. Who has one of the `strict` roles has to
    /// show a second factor before doing what is dangerous.
    pub fn watch(auth: PgPool, tokens: Tokens, strict: &[Role]) -> Self {
        let (tell, seen) = watch::channel(Seen::default());
        tokio::spawn(look(auth.clone(), tell));
        let programs = Cache::builder().max_capacity(LOOKED_UP_MAX).time_to_live(LOOKED_UP_FOR).build();
        let (read, look_ups) = (Cache::new(READ_MAX), Arc::new(Semaphore::new(LOOK_UPS_AT_ONCE)));
        Self { auth, tokens, strict: strict.into(), seen, read, programs, look_ups }
    }

    /// Who the caller is, at `now`.
    pub async fn admit(&self, token: &str, now: Time) -> Result<Proof, NotLetIn> {
        if let Some(presented) = Presented::read(programs::TOKEN, token) {
            return self.admit_program(presented, now).await;
        }
        let claims = self.claims(token).await?;
        let mut proof = claims.proof(now)?;
        proof.caller.lacks_factor = self.strict.contains(&proof.caller.role) && !claims.by_two_factors();
        if self.seen().await?.revoked.lets_in(&proof.caller) { Ok(proof) } else { Err(TokenRefusal::Revoked.into()) }
    }

    /// What was looked up counts as long as nothing that is known since speaks against it.
    async fn admit_program(&self, token: Presented, now: Time) -> Result<Proof, NotLetIn> {
        let seen = self.seen().await?;
        let known = self.programs.get(&token).await.filter(|proof| seen.revoked.lets_in(&proof.caller));
        let proof = match known {
            Some(proof) => proof,
            None => self.look_up(token).await?,
        };
        if proof.expires_at > now { Ok(proof) } else { Err(TokenRefusal::Expired.into()) }
    }

    async fn look_up(&self, token: Presented) -> Result<Proof, NotLetIn> {
        let look_up = async {
            let _turn = self.look_ups.acquire().await;
            programs::find(&self.auth, &token).await
        };
        let found = tokio::time::timeout(LOOK_UP_MAX, look_up).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let found = found.map_err(|cause| {
            tracing::warn!(error = %cause, "the token of a program cannot be looked up");
            NotLetIn::Blind
        })?;
        let proof = found.ok_or(TokenRefusal::Revoked)?;
        self.programs.insert(token, proof).await;
        Ok(proof)
    }

    /// Whether a caller who was let in, to this client's things if to one's, still is, as far as is known.
    pub fn lets_in(&self, caller: &Caller, to: Option<ClientId>) -> bool {
        self.seen.borrow().lets_in(caller, to, Time::now())
    }

    /// Resolves when this caller is let in no more. Time that passes is for the caller to watch.
    pub async fn shut_for(&self, caller: Caller, to: Option<ClientId>) {
        let mut seen = self.seen.clone();
        if seen.wait_for(|seen| !seen.lets_in(&caller, to, Time::now())).await.is_err() {
            // Nobody looks any more: the process ends.
            std::future::pending::<()>().await;
        }
    }

    /// Until when a user may read what this client has.
    pub fn granted(&self, user: UserId, client: ClientId, now: Time) -> Option<Time> {
        self.seen.borrow().grants.until(user, client).filter(|until| *until > now)
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

    async fn seen(&self) -> Result<Seen, NotLetIn> {
        let now = self.seen.borrow().clone();
        if now.at.is_some() {
            return Ok(now);
        }
        let mut seen = self.seen.clone();
        let first = tokio::time::timeout(FIRST_LOOK_MAX, seen.wait_for(|seen| seen.at.is_some())).await;
        let first = first.map_err(|_| NotLetIn::Blind)?.map_err(|_| NotLetIn::Blind)?;
        Ok(first.clone())
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
        let known = tell.borrow().clone();
        let looked_up = tokio::time::timeout(LOOK_MAX, News::after(&auth, &known)).await;
        match looked_up.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(news) => {
                (looked, told) = (Instant::now(), false);
                tell.send_if_modified(|seen| seen.learn(news, Time::now()));
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

/// What one look found.
struct News {
    revoked: Vec<Revocation>,
    /// All of them, if any changed.
    grants: Option<Grants>,
}

impl News {
    /// Grants are read after what tells that they changed: they are at least as new.
    async fn after(auth: &PgPool, known: &Seen) -> sqlx::Result<Self> {
        let revoked = revoked::after(auth, known.revoked.reached()).await?;
        let recent = known.at.is_some_and(|at| Time::now().micros() - at.micros() < GRANTS_KEEP_US);
        let changed = !recent || revoked.iter().any(Revocation::is_of_grants);
        let grants = if changed { Some(grants::all(auth).await?) } else { None };
        Ok(Self { revoked, grants })
    }
}

impl Seen {
    fn lets_in(&self, caller: &Caller, to: Option<ClientId>, now: Time) -> bool {
        let granted = match (caller.reach(), to) {
            (Reach::Granted, Some(client)) => self.grants.until(caller.user, client).is_some_and(|until| until > now),
            (Reach::Granted, None) | (Reach::Every | Reach::Own(_), _) => true,
        };
        granted && self.revoked.lets_in(caller)
    }

    /// Whether those who wait have to look: not when nothing is new.
    fn learn(&mut self, news: News, now: Time) -> bool {
        let (first, any) = (self.at.is_none(), !news.revoked.is_empty());
        self.at = Some(now);
        if any {
            Arc::make_mut(&mut self.revoked).learn(news.revoked, now);
        }
        if let Some(grants) = news.grants {
            self.grants = Arc::new(grants);
        }
        first || any
    }
}
