//! What was revoked before its time was over, as far as a token that is still out could prove it.
//!
//! The database numbers revocations in the order of their commits, so whoever has read up to a number has missed none
//! before it. What is older than any token lives is forgotten: nothing is out any more that it could refuse.

use std::collections::HashMap;

use events::{SessionId, Time, UserId};
use sqlx::PgPool;

use crate::{caller::Caller, claims::LIFETIME_S};

/// Longer than any token lives, by far more than two machines' clocks are apart.
const REMEMBERED_US: i64 = 3 * LIFETIME_S * 1_000_000;

/// Sessions that have ended, and from which version on a user's tokens count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Revoked {
    sessions: HashMap<SessionId, Time>,
    users: HashMap<UserId, (u64, Time)>,
    /// The last one that was read.
    reached: i64,
}

/// One revocation, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Revocation {
    pub seq: i64,
    pub at: Time,
    pub user: UserId,
    /// The session that has ended, or the token of a program, which is one to whom it proves; absent where all of the
    /// user's tokens below a version count no more.
    pub session: Option<SessionId>,
    pub below: Option<u64>,
}

impl Revocation {
    /// Neither: what the user was granted is another.
    pub fn is_of_grants(&self) -> bool {
        self.session.is_none() && self.below.is_none()
    }
}

impl Revoked {
    /// Whether a caller's token still counts.
    pub fn lets_in(&self, caller: &Caller) -> bool {
        let ended = self.sessions.contains_key(&caller.session);
        let from = self.users.get(&caller.user).map_or(0, |(version, _)| *version);
        !ended && caller.perm_ver >= from
    }

    pub fn reached(&self) -> i64 {
        self.reached
    }

    /// Learns of new ones, and forgets those that no token could meet any more.
    pub fn learn(&mut self, new: Vec<Revocation>, now: Time) {
        for one in new {
            self.reached = one.seq;
            if let Some(session) = one.session {
                self.sessions.insert(session, one.at);
            }
            if let Some(below) = one.below {
                let known = self.users.entry(one.user).or_insert((below, one.at));
                *known = (known.0.max(below), one.at);
            }
        }
        let forgotten = now.plus_micros(-REMEMBERED_US);
        self.sessions.retain(|_, at| *at > forgotten);
        self.users.retain(|_, (_, at)| *at > forgotten);
    }
}

/// Those that follow a number, as far as a token could still meet them.
pub(crate) async fn after(auth: &PgPool, reached: i64) -> sqlx::Result<Vec<Revocation>> {
    let rows = sqlx::query!(
        r#"
        select seq, at, user_id, session_id, perm_ver
          from auth.revocations
         where seq > $1 and at > now() - $2 * interval '1 microsecond'
         order by seq
        "#,
        reached,
        REMEMBERED_US as f64
    )
    .fetch_all(auth)
    .await?;
    let read = rows.into_iter().map(|row| Revocation {
        seq: row.seq,
        at: row.at.into(),
        user: UserId(row.user_id),
        session: row.session_id.map(SessionId),
        below: row.perm_ver.map(|version| version.cast_unsigned()),
    });
    Ok(read.collect())
}

/// Takes those away that nobody could meet any more.
pub(crate) async fn forget(auth: &PgPool) -> sqlx::Result<()> {
    sqlx::query!("delete from auth.revocations where at < now() - interval '1 day'").execute(auth).await.map(drop)
}

#[cfg(test)]
mod tests {
    use events::desk::Role;

    use super::*;

    fn caller(perm_ver: u64) -> Caller {
        let (user, session) = (UserId::new(), SessionId::new());
        let (role, auth_time) = (Role::Admin, Time::EPOCH);
        Caller { user, role, client: None, session, scopes: None, perm_ver, auth_time, lacks_factor: false }
    }

    fn at(seconds: i64) -> Time {
        Time::EPOCH.plus_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_ended_session_and_an_outdated_version_are_refused_and_nobody_else_is() {
        let (ended, outdated, other) = (caller(1), caller(1), caller(1));
        let mut revoked = Revoked::default();
        let session = Revocation { seq: 7, at: at(0), user: ended.user, session: Some(ended.session), below: None };
        let version = Revocation { seq: 9, at: at(0), user: outdated.user, session: None, below: Some(3) };
        revoked.learn(vec![session, version.clone()], at(1));
        assert_eq!(revoked.reached(), 9);
        assert!(!revoked.lets_in(&ended) && !revoked.lets_in(&outdated) && revoked.lets_in(&other));
        assert!(
            !revoked.lets_in(&Caller { perm_ver: 2, ..outdated })
                && revoked.lets_in(&Caller { perm_ver: 3, ..outdated })
        );
        assert!(revoked.lets_in(&Caller { session: SessionId::new(), ..ended }), "the user's other sessions go on");
        // Told in whatever order, the highest counts.
        revoked.learn(vec![Revocation { seq: 10, below: Some(2), ..version }], at(1));
        assert!(!revoked.lets_in(&Caller { perm_ver: 2, ..outdated }));
    }

    #[test]
    fn what_no_token_can_meet_any_more_is_forgotten_and_nothing_before() {
        let ended = caller(1);
        let mut revoked = Revoked::default();
        let session = Revocation { seq: 1, at: at(0), user: ended.user, session: Some(ended.session), below: Some(2) };
        revoked.learn(vec![session], at(0));
        revoked.learn(vec![], at(2 * LIFETIME_S));
        assert!(!revoked.lets_in(&ended));
        revoked.learn(vec![], at(4 * LIFETIME_S));
        assert!(revoked.sessions.is_empty() && revoked.users.is_empty() && revoked.reached() == 1);
    }
}
