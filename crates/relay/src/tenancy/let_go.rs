//! Who is let in no more, folded from the desk's stream: the keys that they brought to NATS go with them.
//!
//! A logout lets nobody go: whoever set a program up and leaves for the day silences no pager.

use std::collections::HashMap;

use events::{
    Actor, Event, Recorded, SessionId, Time, UserId,
    desk::{DeskEvent, WhyEnded},
    subscription::WhyBarred,
};

/// Whoever brought a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bringer {
    /// The event that tells of it.
    pub by: u64,
    at: Time,
    user: Option<UserId>,
    /// Its login, or the program's token.
    session: Option<SessionId>,
}

/// What became of logins, tokens and users.
#[derive(Debug, Default)]
pub(crate) struct LetGo {
    sessions: HashMap<SessionId, WhyBarred>,
    users: HashMap<UserId, Departure>,
}

#[derive(Debug, Clone, Copy)]
struct Departure {
    why: WhyBarred,
    /// What was brought up to then is meant; absent: whatever is brought.
    until: Option<Time>,
}

impl Bringer {
    /// Of the key that this event gives.
    pub fn of(event: &Recorded, session: Option<SessionId>) -> Self {
        let user = match event.actor {
            Some(Actor::User(user)) => Some(user),
            Some(Actor::System(_)) | None => None,
        };
        Self { by: event.seq, at: event.recorded_at, user, session }
    }
}

impl LetGo {
    /// Takes in an event of the desk.
    pub fn hear(&mut self, event: &Recorded) {
        let Event::Desk(told) = &event.event else { return };
        if let DeskEvent::SessionRevoked { session, reason, .. } = told
            && *reason != WhyEnded::LoggedOut
        {
            self.sessions.insert(*session, WhyBarred::SessionEnded);
        } else if let DeskEvent::TokenRevoked { token, .. } = told {
            self.sessions.insert(SessionId(token.0), WhyBarred::TokenRevoked);
        } else if let DeskEvent::UserBarred { user, .. } = told {
            self.users.insert(*user, Departure { why: WhyBarred::UserBarred, until: None });
        } else if let DeskEvent::UserUnbarred { user, .. } = told {
            self.users.insert(*user, Departure { why: WhyBarred::UserBarred, until: Some(event.recorded_at) });
        } else if let DeskEvent::RoleChanged { user, .. } = told
            && self.users.get(user).is_none_or(|known| known.until.is_some())
        {
            self.users.insert(*user, Departure { why: WhyBarred::RoleChanged, until: Some(event.recorded_at) });
        }
    }

    /// Why a key of this bringer counts no more; absent: it does.
    pub fn why(&self, of: &Bringer) -> Option<WhyBarred> {
        let session = of.session.and_then(|session| self.sessions.get(&session).copied());
        let user = of.user.and_then(|user| self.users.get(&user));
        let user = user.filter(|gone| gone.until.is_none_or(|until| of.at <= until)).map(|gone| gone.why);
        user.or(session)
    }
}

#[cfg(test)]
mod tests {
    use events::{AggregateRef, ClientId, EventId, TokenId, Uuid, desk::Role};

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::EPOCH.plus_micros(seconds * 1_000_000)
    }

    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }

    fn session(n: u128) -> SessionId {
        SessionId(Uuid::from_u128(n))
    }

    /// Brought by user 1 in login 10.
    fn brought(second: i64) -> Bringer {
        Bringer { by: 3, at: at(second), user: Some(user(1)), session: Some(session(10)) }
    }

    /// What becomes of them by the desk's telling this, one event a second from second 1 on.
    fn after(told: impl IntoIterator<Item = DeskEvent>) -> LetGo {
        let mut let_go = LetGo::default();
        for (event, seq) in told.into_iter().zip(1..) {
            let_go.hear(&Recorded {
                client: ClientId::DESK,
                seq,
                aggregate: AggregateRef::new("desk", user(1)),
                aggregate_seq: seq,
                id: EventId(Uuid::from_u128(u128::from(seq))),
                occurred_at: event.at(),
                event: event.into(),
                recorded_at: at(seq as i64),
                actor: None,
            });
        }
        let_go
    }

    fn ended(n: u128, reason: WhyEnded) -> DeskEvent {
        DeskEvent::SessionRevoked { session: session(n), user: user(1), by: None, reason, at: at(0) }
    }

    fn barred(n: u128) -> DeskEvent {
        DeskEvent::UserBarred { user: user(n), by: None, reason: "left".into(), at: at(0) }
    }

    fn unbarred() -> DeskEvent {
        DeskEvent::UserUnbarred { user: user(1), by: user(9), reason: "is back".into(), at: at(0) }
    }

    fn another_role() -> DeskEvent {
        let (from, to) = (Role::ClientOwner, Role::ClientViewer);
        DeskEvent::RoleChanged { user: user(1), from, to, by: user(9), reason: "moved".into(), at: at(0) }
    }

    #[test]
    fn a_key_goes_with_the_login_or_token_that_it_was_brought_by_and_no_logout_takes_it() {
        for reason in [
            WhyEnded::Ended,
            WhyEnded::RefreshReused,
            WhyEnded::PasswordChanged,
            WhyEnded::Barred,
            WhyEnded::SecondFactorAdded,
        ] {
            let why = after([ended(10, reason)]).why(&brought(5));
            assert_eq!(why, Some(WhyBarred::SessionEnded), "{reason:?}");
        }
        assert_eq!(after([ended(10, WhyEnded::LoggedOut), ended(11, WhyEnded::Ended)]).why(&brought(0)), None);
        let revoked =
            |n| DeskEvent::TokenRevoked { token: TokenId(Uuid::from_u128(n)), user: user(1), by: user(1), at: at(0) };
        assert_eq!(after([revoked(10)]).why(&brought(0)), Some(WhyBarred::TokenRevoked));
        assert_eq!(after([revoked(11)]).why(&brought(0)), None);
    }

    #[test]
    fn whoever_is_barred_brings_nothing_and_later_only_what_is_new() {
        assert_eq!(after([barred(1)]).why(&brought(0)), Some(WhyBarred::UserBarred));
        assert_eq!(after([barred(1)]).why(&brought(99)), Some(WhyBarred::UserBarred));
        assert_eq!(after([barred(2)]).why(&brought(0)), None);
        let back = after([barred(1), unbarred()]);
        assert_eq!((back.why(&brought(2)), back.why(&brought(3))), (Some(WhyBarred::UserBarred), None));
    }

    #[test]
    fn what_was_brought_in_another_role_counts_no_more_and_a_barred_one_stays_barred() {
        let moved = after([another_role()]);
        assert_eq!((moved.why(&brought(1)), moved.why(&brought(2))), (Some(WhyBarred::RoleChanged), None));
        assert_eq!(after([barred(1), another_role()]).why(&brought(99)), Some(WhyBarred::UserBarred));
    }

    #[test]
    fn whom_nobody_knows_goes_with_nobody() {
        let unknown = Bringer { by: 3, at: at(0), user: None, session: None };
        assert_eq!(after([barred(1), ended(10, WhyEnded::Ended), another_role()]).why(&unknown), None);
    }
}
