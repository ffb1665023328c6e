//! Sessions: a login and whatever follows from it, until it ends. A session has access tokens, each good for minutes, and
//! one refresh token at a time, which gets the next ones: see [`crate::refresh`].

use std::{fmt, net::IpAddr};

use events::{
    SessionId, Time, UserId,
    desk::{DeskEvent, Factor, WhyEnded},
};
use secrecy::SecretString;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use store::Cause;

use crate::{
    caller::Caller,
    opaque::Opaque,
    refresh::going_on,
    register::{Change, Register, stamp},
    tokens::{AccessToken, Tokens},
    users::User,
};

/// What a refresh token begins with.
pub(crate) const REFRESH: &str = "plr";
/// A session ends so long after it was last refreshed,
const IDLE_US: i64 = 24 * 3_600 * 1_000_000;
/// and so long after its login, however often it was refreshed.
const WHOLE_US: i64 = 14 * 24 * 3_600 * 1_000_000;
/// Characters that are kept of what a program calls itself.
const AGENT_MAX: usize = 200;

/// A login that counts, as far as its tokens tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: User,
    /// When its user last proved who it is, and by what.
    pub auth_time: Time,
    pub how: Vec<Factor>,
}

/// From where somebody comes. Personal data: in schema `auth` and shown to those who may end the session, nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Whence {
    address: IpAddr,
    agent: String,
}

/// What somebody is given who was let in.
#[derive(Debug)]
pub struct Opened {
    pub session: Session,
    pub access: AccessToken,
    /// Gets the next access token, once.
    pub refresh: SecretString,
    pub refresh_expires_at: Time,
}

/// A session that can be ended. Personal data: told to its user, and to whoever decides about users.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ListedSession)]
pub struct Listed {
    pub session_id: SessionId,
    pub made_at: Time,
    /// When it was refreshed last.
    pub last_seen_at: Time,
    /// It lasts no longer, however often it is refreshed.
    pub ends_at: Time,
    pub address: String,
    /// What the program called itself.
    pub agent: String,
    /// When its user last proved who it is, and by what.
    pub auth_time: Time,
    pub how: Vec<Factor>,
}

/// Opens sessions, goes on with them, and ends them. Cloned freely.
#[derive(Debug, Clone)]
pub struct Sessions {
    pub(crate) register: Register,
    pub(crate) tokens: Tokens,
}

impl Whence {
    pub fn new(address: IpAddr, agent: &str) -> Self {
        let agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect();
        Self { address: address.to_canonical(), agent }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Sessions {
    pub fn new(register: Register, tokens: Tokens) -> Self {
        Self { register, tokens }
    }

    /// A session of a user who has just proved who it is; absent if what it may do, or what it proves itself with, has
    /// become another meanwhile.
    pub async fn open(&self, user: User, how: Vec<Factor>, from: &Whence, now: Time) -> sqlx::Result<Option<Opened>> {
        let session = Session { id: SessionId::new(), user, auth_time: now, how };
        let cause = Cause::user(user.id);
        let mut change = self.register.change(&cause).await?;
        if !is_as_it_was(&mut change.db, &user).await? {
            return Ok(None);
        }
        keep(&mut change.db, &session, from, now).await?;
        let opened = self.give(&mut change.db, session, now).await?;
        let (session, how) = (opened.session.id, opened.session.how.clone());
        change.note(user.id, &DeskEvent::SessionOpened { session, user: user.id, how, at: now }).await?;
        change.commit().await?;
        Ok(Some(opened))
    }

    /// The tokens of a session from now on.
    pub(crate) async fn give(&self, db: &mut PgConnection, session: Session, now: Time) -> sqlx::Result<Opened> {
        let (refresh, refresh_expires_at) = (Opaque::new(REFRESH, session.id.0), now.plus_micros(IDLE_US));
        sqlx::query!(
            r#"
            insert into auth.refresh_tokens (hash, session_id, made_at, expires_at)
            values ($1, $2, $3, $4)
            "#,
            refresh.hash,
            session.id.0,
            stamp(now),
            stamp(refresh_expires_at)
        )
        .execute(db)
        .await?;
        let access = self.tokens.issue(&session, now);
        Ok(Opened { session, access, refresh: refresh.text, refresh_expires_at })
    }

    /// A user's sessions that go on, the newest first.
    pub async fn of(&self, user: UserId) -> sqlx::Result<Vec<Listed>> {
        let rows = sqlx::query!(
            r#"
            select session_id, made_at, last_seen_at, ends_at, address, agent, auth_time, amr
              from auth.sessions
             where user_id = $1 and revoked_at is null and ends_at > now()
             order by made_at desc
            "#,
            user.0
        )
        .fetch_all(self.register.auth())
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Listed {
                    session_id: SessionId(row.session_id),
                    made_at: row.made_at.into(),
                    last_seen_at: row.last_seen_at.into(),
                    ends_at: row.ends_at.into(),
                    address: row.address,
                    agent: row.agent,
                    auth_time: row.auth_time.into(),
                    how: factors(&row.amr)?,
                })
            })
            .collect()
    }

    /// The same, if there is such a user.
    pub async fn of_known(&self, user: UserId) -> sqlx::Result<Option<Vec<Listed>>> {
        let there =
            sqlx::query_scalar!(r#"select exists (select from auth.users where user_id = $1) as "there!""#, user.0)
                .fetch_one(self.register.auth())
                .await?;
        if there { self.of(user).await.map(Some) } else { Ok(None) }
    }

    /// A token of a session whose user has just proved once more who it is; absent if it does not go on.
    pub async fn step_up(&self, caller: &Caller, by: Factor, now: Time) -> sqlx::Result<Option<AccessToken>> {
        let (user, id) = (caller.user, caller.session);
        let cause = Cause::user(user);
        let mut change = self.register.change(&cause).await?;
        proved(&mut change.db, id, by, now).await?;
        let Some(session) = going_on(&mut change.db, id, now).await? else { return Ok(None) };
        change.note(user, &DeskEvent::SteppedUp { session: id, user, how: by, at: now }).await?;
        change.commit().await?;
        Ok(Some(self.tokens.issue(&session, now)))
    }

    /// The next token of a session, after its user has changed what it proves itself with; absent if it does not go on.
    pub async fn token(&self, caller: &Caller, now: Time) -> sqlx::Result<Option<AccessToken>> {
        let session = going_on(&mut *self.register.auth().acquire().await?, caller.session, now).await?;
        Ok(session.map(|session| self.tokens.issue(&session, now)))
    }

    /// Ends one session of a user; whether it went on before.
    pub async fn end(
        &self,
        user: UserId,
        session: SessionId,
        by: UserId,
        reason: WhyEnded,
        at: Time,
    ) -> sqlx::Result<bool> {
        let cause = Cause::user(by);
        let mut change = self.register.change(&cause).await?;
        let ended = end(&mut change, Which::One(user, session), Some(by), reason, at).await?;
        change.commit().await?;
        Ok(ended > 0)
    }

    /// Ends all sessions of a user but one; how many.
    pub async fn end_all(
        &self,
        user: UserId,
        but: Option<SessionId>,
        by: UserId,
        reason: WhyEnded,
        at: Time,
    ) -> sqlx::Result<usize> {
        let cause = Cause::user(by);
        let mut change = self.register.change(&cause).await?;
        let ended = end(&mut change, Which::AllBut(user, but), Some(by), reason, at).await?;
        change.commit().await?;
        Ok(ended)
    }
}

/// Which sessions of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    One(UserId, SessionId),
    AllBut(UserId, Option<SessionId>),
}

/// Whether a user is what it was when it proved itself; it stays so to the end of the transaction.
async fn is_as_it_was(db: &mut PgConnection, user: &User) -> sqlx::Result<bool> {
    let row = sqlx::query!(
        "select user_id from auth.users where user_id = $1 and perm_ver = $2 and barred_at is null for share",
        user.id.0,
        user.perm_ver.cast_signed()
    );
    Ok(row.fetch_optional(db).await?.is_some())
}

/// Ends sessions, as part of a change; how many went on before.
pub(crate) async fn end(
    change: &mut Change<'_>,
    which: Which,
    by: Option<UserId>,
    reason: WhyEnded,
    at: Time,
) -> sqlx::Result<usize> {
    let (user, one, but) = match which {
        Which::One(user, session) => (user, Some(session), None),
        Which::AllBut(user, but) => (user, None, but),
    };
    change.lock(user).await?;
    let ended = sqlx::query_scalar!(
        r#"
        update auth.sessions
           set revoked_at = $4
         where user_id = $1 and revoked_at is null and ends_at > $4
           and ($2::uuid is null or session_id = $2)
           and session_id is distinct from $3
        returning session_id
        "#,
        user.0,
        one.map(|session| session.0),
        but.map(|session| session.0),
        stamp(at)
    )
    .fetch_all(&mut *change.db)
    .await?;
    for session in &ended {
        let event = DeskEvent::SessionRevoked { session: SessionId(*session), user, by, reason, at };
        change.note(user, &event).await?;
    }
    Ok(ended.len())
}

async fn keep(db: &mut PgConnection, session: &Session, from: &Whence, now: Time) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into auth.sessions (session_id, user_id, made_at, last_seen_at, ends_at, address, agent, auth_time, amr)
        values ($1, $2, $3, $3, $4, $5, $6, $7, $8)
        "#,
        session.id.0,
        session.user.id.0,
        stamp(now),
        stamp(now.plus_micros(WHOLE_US)),
        from.address.to_string(),
        from.agent,
        stamp(session.auth_time),
        &session.how.iter().map(|factor| factor_name(*factor).to_owned()).collect::<Vec<_>>()
    )
    .execute(db)
    .await
    .map(drop)
}

/// Notes that a session's user proved who it is, by one more factor.
pub(crate) async fn proved(db: &mut PgConnection, session: SessionId, by: Factor, now: Time) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update auth.sessions
           set auth_time = $2, amr = case when $3 = any(amr) then amr else amr || $3 end
         where session_id = $1
        "#,
        session.0,
        stamp(now),
        factor_name(by)
    )
    .execute(db)
    .await
    .map(drop)
}

/// What a user proved by a second factor counts in none of its sessions any more.
pub(crate) async fn forget_factors(db: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    let forget = sqlx::query!(
        "update auth.sessions set amr = array_remove(array_remove(amr, 'otp'), 'recovery') where user_id = $1",
        user.0
    );
    forget.execute(db).await.map(drop)
}

/// Notes that a session was refreshed.
pub(crate) async fn seen(db: &mut PgConnection, session: SessionId, from: &Whence, now: Time) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update auth.sessions
           set last_seen_at = $2, address = $3, agent = $4
         where session_id = $1
        "#,
        session.0,
        stamp(now),
        from.address.to_string(),
        from.agent
    )
    .execute(db)
    .await
    .map(drop)
}

/// Throws away what is long over: who came from where is kept no longer than somebody may want to look into it.
pub(crate) async fn forget(auth: &PgPool) -> sqlx::Result<()> {
    sqlx::query!("delete from auth.refresh_tokens where expires_at < now() - interval '1 day'").execute(auth).await?;
    sqlx::query!("delete from auth.sessions where coalesce(revoked_at, ends_at) < now() - interval '90 days'")
        .execute(auth)
        .await
        .map(drop)
}

fn factor_name(factor: Factor) -> &'static str {
    match factor {
        Factor::Password => "pwd",
        Factor::Otp => "otp",
        Factor::RecoveryCode => "recovery",
    }
}

pub(crate) fn factors(names: &[String]) -> sqlx::Result<Vec<Factor>> {
    let factor = |name: &String| match name.as_str() {
        "pwd" => Ok(Factor::Password),
        "otp" => Ok(Factor::Otp),
        "recovery" => Ok(Factor::RecoveryCode),
        other => Err(sqlx::Error::Decode(format!("{other} is nothing that anybody proves with who it is").into())),
    };
    names.iter().map(factor).collect()
}

/// Personal data: never in a log.
impl fmt::Debug for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Whence(..)")
    }
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}
