//! The door: who has this address and this password. Whoever does not learns nothing, not even that the address is known.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use events::UserId;
use secrecy::SecretString;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::{
    email::Email,
    password::{self, BadHash, Verdict},
    throttle::Throttle,
    users::{self, Profile, User},
};

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    #[error("no user has this address and this password")]
    WrongCredentials,
    #[error("too many failed tries: the next one is heard in {} ms", retry_after.as_millis())]
    Throttled { retry_after: Duration },
}

/// Why there is no user at the end of a login.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Refused(#[from] LoginRefusal),
    #[error("could not look the user up")]
    Database(#[from] sqlx::Error),
}

/// Lets people in. Cloned freely; all clones count failures together.
#[derive(Clone)]
pub struct Doorman {
    auth: PgPool,
    /// One hash takes a core and 46 MiB: as many at once as there are cores, the others wait.
    hashing: Arc<Semaphore>,
    throttle: Arc<Throttle>,
    /// The hash of a password that nobody knows, so that an unknown user is as much work as a known one.
    nobodys: Arc<str>,
}

impl Doorman {
    /// Over connections of login `auth`. Takes as long as one hash.
    pub fn new(auth: PgPool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (hashing, throttle) = (Arc::new(Semaphore::new(cores)), Throttle::new());
        Self { auth, hashing, throttle, nobodys: password::nobodys().into() }
    }

    pub async fn log_in(&self, email: &Email, password: SecretString, from: IpAddr) -> Result<User, LoginError> {
        let attempt = self
            .throttle
            .enter(email, from, Instant::now())
            .map_err(|retry_after| LoginRefusal::Throttled { retry_after })?;
        let answer = self.check(email, password).await;
        if !matches!(answer, Err(LoginError::Refused(_))) {
            attempt.forgive();
        }
        answer
    }

    /// What is known of a user, to be told to that user only.
    pub async fn profile(&self, user: UserId) -> sqlx::Result<Option<Profile>> {
        users::profile(&self.auth, user).await
    }

    async fn check(&self, email: &Email, password: SecretString) -> Result<User, LoginError> {
        let known = users::find(&self.auth, email).await?;
        let hash = known.as_ref().map_or(&*self.nobodys, |(_, hash)| hash).to_owned();
        let verdict = self.judge(password, hash).await.map_err(|bad| sqlx::Error::Decode(bad.into()))?;
        match (known, verdict) {
            (Some((user, _)), Verdict::Right) => Ok(user),
            (Some((user, old)), Verdict::Outdated { renewed }) => {
                users::rehash(&self.auth, user.id, &old, &renewed).await?;
                Ok(user)
            }
            (Some(_), Verdict::Wrong) | (None, Verdict::Wrong | Verdict::Right | Verdict::Outdated { .. }) => {
                Err(LoginRefusal::WrongCredentials.into())
            }
        }
    }

    async fn judge(&self, password: SecretString, hash: String) -> Result<Verdict, BadHash> {
        let turn = self.hashing.clone().acquire_owned().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            // Kept to the end of the work, which goes on when the one who asked has hung up.
            let _turn = turn;
            password::judge(&password, &hash)
        })
        .await
        .expect("hashing does not panic")
    }
}

/// Neither hashes nor connections are shown.
impl fmt::Debug for Doorman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorman").finish_non_exhaustive()
    }
}
