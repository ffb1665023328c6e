//! Refresh tokens: each gets the next ones of its session, once. One that comes a second time is in two hands, and nobody
//! can tell which of them is the user's: the session ends, with all that came of it.
//!
//! There is no grace for two uses at one instant. The second of two is refused and ends the session, as a thief's would:
//! a program refreshes under a lock, a browser under `navigator.locks`, which all of its tabs share.

use events::{
    SessionId, Time, UserId,
    desk::{DeskEvent, WhyEnded},
};
use sqlx::PgConnection;
use store::Cause;

use crate::{
    opaque::Presented,
    register::{Change, stamp},
    sessions::{self, Opened, REFRESH, Session, Sessions, Whence, Which},
    users::User,
};

/// Why a session does not go on. Whoever asks is told none of it: only that it has to log in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshRefusal {
    #[error("it is no refresh token that we made")]
    Unknown,
    #[error("it was used before: its session has ended")]
    Reused,
    #[error("it or its session is over")]
    Over,
}

/// Why there are no new tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error(transparent)]
    Refused(#[from] RefreshRefusal),
    #[error("could not look the session up")]
    Database(#[from] sqlx::Error),
}

impl Sessions {
    /// The session that a refresh token says it is of; it proves nothing.
    pub fn session_of(refresh: &str) -> Option<SessionId> {
        Presented::read(REFRESH, refresh).map(|presented| SessionId(presented.of))
    }

    /// The next tokens of a session.
    pub async fn refresh(&self, refresh: &str, from: &Whence, now: Time) -> Result<Opened, RefreshError> {
        let presented = Presented::read(REFRESH, refresh).ok_or(RefreshRefusal::Unknown)?;
        let cause = Cause::system("access");
        let mut change = self.register.change(&cause).await?;
        let Some(expires_at) = take(&mut change.db, &presented, now).await? else {
            let refusal = reused(&mut change, &presented, now).await?;
            change.commit().await?;
            return Err(refusal.into());
        };
        let session = going_on(&mut change.db, SessionId(presented.of), now).await?;
        let session = session.filter(|_| expires_at > now).ok_or(RefreshRefusal::Over)?;
        sessions::seen(&mut change.db, session.id, from, now).await?;
        let opened = self.give(&mut change.db, session, now).await?;
        change.commit().await?;
        Ok(opened)
    }
}

/// Takes one that was not used yet. Of many at once one gets it: the others wait for its row, and find it used.
async fn take(db: &mut PgConnection, presented: &Presented, now: Time) -> sqlx::Result<Option<Time>> {
    let expires_at = sqlx::query_scalar!(
        r#"
        update auth.refresh_tokens
           set used_at = $3
         where hash = $1 and session_id = $2 and used_at is null
        returning expires_at
        "#,
        presented.hash,
        presented.of,
        stamp(now)
    )
    .fetch_optional(db)
    .await?;
    Ok(expires_at.map(Time::from))
}

/// What it is that could not be taken: if it was used before, its session ends.
async fn reused(change: &mut Change<'_>, presented: &Presented, now: Time) -> sqlx::Result<RefreshRefusal> {
    let user = sqlx::query_scalar!(
        r#"
        select s.user_id
          from auth.refresh_tokens r
          join auth.sessions s using (session_id)
         where r.hash = $1 and r.session_id = $2
        "#,
        presented.hash,
        presented.of
    )
    .fetch_optional(&mut *change.db)
    .await?;
    let Some(user) = user.map(UserId) else { return Ok(RefreshRefusal::Unknown) };
    let session = SessionId(presented.of);
    let ended = sessions::end(change, Which::One(user, session), None, WhyEnded::RefreshReused, now).await?;
    if ended == 0 {
        return Ok(RefreshRefusal::Over);
    }
    change.note(user, &DeskEvent::RefreshReused { session, user, at: now }).await?;
    Ok(RefreshRefusal::Reused)
}

/// A session, if it goes on and its user may be let in. It stays as it is to the end of the transaction.
pub(crate) async fn going_on(db: &mut PgConnection, session: SessionId, now: Time) -> sqlx::Result<Option<Session>> {
    let row = sqlx::query!(
        r#"
        select s.auth_time, s.amr, u.user_id, u.role, u.client_id, u.perm_ver
          from auth.sessions s
          join auth.users u using (user_id)
         where s.session_id = $1 and s.revoked_at is null and s.ends_at > $2 and u.barred_at is null
           for update of s
        "#,
        session.0,
        stamp(now)
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let user = User::kept(row.user_id, &row.role, row.client_id, row.perm_ver)?;
        Ok(Session { id: session, user, auth_time: row.auth_time.into(), how: sessions::factors(&row.amr)? })
    })
    .transpose()
}
