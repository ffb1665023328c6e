//! The door: who has this address and this password. Whoever does not learns nothing, not even that the address is known.
//! Whatever else a password is held against, or chosen for, comes by here, too: hashing takes a core.

use std::{
    fmt,
    hash::Hash,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use events::{
    Time, UserId,
    desk::{DeskEvent, WhyEnded},
};
use secrecy::SecretString;
use sqlx::PgPool;
use store::Cause;
use tokio::sync::Semaphore;

use crate::{
    caller::Caller,
    email::Email,
    failures::{Failures, Many},
    links::{self, LinkError},
    password::{self, BadHash, PasswordRefusal, Verdict},
    refresh::going_on,
    register::Register,
    sessions::{self, Which},
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

/// Why a password stays what it was.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Password(#[from] PasswordRefusal),
    #[error("could not keep the password")]
    Database(#[from] sqlx::Error),
}

/// Lets people in. Cloned freely; all clones count failures together.
#[derive(Clone)]
pub struct Doorman {
    auth: PgPool,
    register: Register,
    /// One hash takes a core and 46 MiB: as many at once as there are cores, the others wait.
    hashing: Arc<Semaphore>,
    throttle: Arc<Throttle>,
    failures: Arc<Failures>,
    /// The hash of a password that nobody knows, so that an unknown user is as much work as a known one.
    nobodys: Arc<str>,
}

impl Doorman {
    /// Over connections of login `auth`. Takes as long as one hash.
    pub fn new(register: Register) -> Self {
        let auth = register.auth().clone();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (hashing, throttle) = (Arc::new(Semaphore::new(cores)), Throttle::new());
        let failures = Arc::default();
        Self { auth, register, hashing, throttle, failures, nobodys: password::nobodys().into() }
    }

    pub async fn log_in(&self, email: &Email, password: SecretString, from: IpAddr) -> Result<User, LoginError> {
        self.attempt(email.account(), from, async {
            let known = users::find(&self.auth, email).await?;
            self.check(known, password).await
        })
        .await
    }

    /// Whether it is this user's password.
    pub async fn confirm(&self, user: UserId, password: SecretString, from: IpAddr) -> Result<User, LoginError> {
        self.attempt(user, from, async {
            let known = users::of_id(&self.auth, user).await?;
            self.check(known, password).await
        })
        .await
    }

    /// Gives a user another password, for the one that it has. Its other sessions end.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: SecretString,
        new: SecretString,
        from: IpAddr,
        now: Time,
    ) -> Result<(), ChangeError> {
        let known = self.confirm(caller.user, current, from).await?;
        let (user, hash) = (known.id, self.hash(new).await?);
        let cause = Cause::user(user);
        let mut change = self.register.change(&cause).await?;
        // What was changed while this was hashed stays changed.
        if !users::set_hash(&mut change.db, &known, &hash).await?
            || going_on(&mut change.db, caller.session, now).await?.is_none()
        {
            return Err(LoginError::Refused(LoginRefusal::WrongCredentials).into());
        }
        links::spoil(&mut change.db, user, now).await?;
        let others = Which::AllBut(user, Some(caller.session));
        sessions::end(&mut change, others, Some(user), WhyEnded::PasswordChanged, now).await?;
        change.note(user, &DeskEvent::PasswordChanged { user, at: now }).await?;
        Ok(change.commit().await?)
    }

    /// Gives a user the password that it chose, by a link.
    pub async fn accept(&self, link: &str, password: SecretString, now: Time) -> Result<(), LinkError> {
        let link = links::look(&self.register, link, now).await?;
        let hash = self.hash(password).await?;
        links::spend(&self.register, link, &hash, now).await
    }

    /// A failure counts against the account and the network.
    async fn attempt<T>(
        &self,
        at: impl Hash,
        from: IpAddr,
        work: impl Future<Output = Result<T, LoginError>>,
    ) -> Result<T, LoginError> {
        let attempt = self.throttle.enter(at, from, Instant::now());
        let attempt = attempt.map_err(|retry_after| LoginRefusal::Throttled { retry_after })?;
        let answer = work.await;
        if !matches!(answer, Err(LoginError::Refused(_))) {
            attempt.forgive();
        }
        answer
    }

    /// What is known of a user, to be told to that user only.
    pub async fn profile(&self, user: UserId) -> sqlx::Result<Option<Profile>> {
        users::profile(&self.auth, user).await
    }

    async fn check(&self, known: Option<(User, String)>, password: SecretString) -> Result<User, LoginError> {
        let hash = known.as_ref().map_or(&*self.nobodys, |(_, hash)| hash).to_owned();
        let verdict = self.judge(password, hash).await.map_err(|bad| sqlx::Error::Decode(bad.into()))?;
        match (known, verdict) {
            (Some((user, _)), Verdict::Right) => {
                self.failures.forget(user.id);
                Ok(user)
            }
            (Some((user, old)), Verdict::Outdated { renewed }) => {
                self.failures.forget(user.id);
                users::rehash(&self.auth, user.id, &old, &renewed).await?;
                Ok(user)
            }
            (Some((user, _)), Verdict::Wrong) => {
                self.failed(user.id);
                Err(LoginRefusal::WrongCredentials.into())
            }
            (None, Verdict::Wrong | Verdict::Right | Verdict::Outdated { .. }) => {
                Err(LoginRefusal::WrongCredentials.into())
            }
        }
    }

    /// Told beside the answer, which takes as long as any other.
    fn failed(&self, user: UserId) {
        let at = Time::now();
        let Some(Many { failures, since }) = self.failures.one_more(user, at) else { return };
        let register = self.register.clone();
        tokio::spawn(async move {
            let cause = Cause::system("access");
            let told = async {
                let mut change = register.change(&cause).await?;
                change.note(user, &DeskEvent::LoginsFailed { user, failures, since, at }).await?;
                change.commit().await
            };
            if let Err(error) = told.await {
                tracing::warn!(error = %error, user.id = %user, "could not tell that {failures} logins failed");
            }
        });
    }

    async fn judge(&self, password: SecretString, hash: String) -> Result<Verdict, BadHash> {
        self.in_turn(move || password::judge(&password, &hash)).await
    }

    async fn hash(&self, password: SecretString) -> Result<String, PasswordRefusal> {
        self.in_turn(move || password::hash(&password)).await
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = self.hashing.clone().acquire_owned().await.expect("the semaphore is never closed");
        let work = move || {
            // Kept to the end of the work, which goes on when the one who asked has hung up.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.expect("hashing does not panic")
    }
}

/// Neither hashes nor connections are shown.
impl fmt::Debug for Doorman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorman").finish_non_exhaustive()
    }
}
