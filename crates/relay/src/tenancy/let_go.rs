//! Who is let in no more, folded from the desk's stream: the keys that they brought to NATS go with them.
//!
//! A logout lets nobody go: whoever set a program up and leaves for the day silences no pager. But what was brought in a
//! login that ended so goes with what it was proved by: another password, or a second factor taken away.

use std::collections::{HashMap, HashSet};

use events::{
    Actor, Event, Recorded, SessionId, UserId,
    desk::{DeskEvent, Role, WhyEnded},
    subscription::WhyBarred,
};

/// Whoever brought a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bringer {
    /// The event that tells of it.
    pub by: u64,
    user: Option<UserId>,
    /// Its login, or the program's token.
    session: Option<SessionId>,
    /// What it might do then.
    role: Option<Role>,
}

/// What became of logins, tokens and users.
#[derive(Debug, Default)]
pub(crate) struct LetGo {
    sessions: HashMap<SessionId, WhyBarred>,
    logged_out: HashMap<UserId, Vec<SessionId>>,
    barred: HashSet<UserId>,
    roles: HashMap<UserId, Role>,
}

impl Bringer {
    /// Of the key that this event gives.
    pub fn of(event: &Recorded, session: Option<SessionId>, role: Option<Role>) -> Self {
        let user = match event.actor {
            Some(Actor::User(user)) => Some(user),
            Some(Actor::System(_)) | None => None,
        };
        Self { by: event.seq, user, session, role }
    }
}

impl LetGo {
    /// Takes in an event of the desk.
    pub fn hear(&mut self, event: &Recorded) {
        let Event::Desk(told) = &event.event else { return };
        if let DeskEvent::SessionRevoked { session, user, reason, .. } = told {
            self.ended(*session, *user, *reason);
        } else if let DeskEvent::TokenRevoked { token, .. } = told {
            self.sessions.insert(SessionId(token.0), WhyBarred::TokenRevoked);
        } else if let DeskEvent::PasswordChanged { user, .. } | DeskEvent::SecondFactorRemoved { user, .. } = told {
            self.forget_logins(*user);
        } else if let DeskEvent::UserBarred { user, .. } = told {
            self.forget_logins(*user);
            self.barred.insert(*user);
        } else if let DeskEvent::UserUnbarred { user, .. } = told {
            self.barred.remove(user);
        } else if let DeskEvent::RoleChanged { user, to, .. } = told {
            self.roles.insert(*user, *to);
        }
    }

    fn ended(&mut self, session: SessionId, user: UserId, reason: WhyEnded) {
        match reason {
            WhyEnded::LoggedOut => self.logged_out.entry(user).or_default().push(session),
            // A precaution of its own user, who would silence what it set up by becoming more careful.
            WhyEnded::SecondFactorAdded => {}
            WhyEnded::Ended | WhyEnded::RefreshReused | WhyEnded::PasswordChanged | WhyEnded::Barred => {
                self.sessions.insert(session, WhyBarred::SessionEnded);
            }
        }
    }

    /// What was brought in logins that had ended before counts no more either.
    fn forget_logins(&mut self, user: UserId) {
        let before = self.logged_out.remove(&user).unwrap_or_default();
        self.sessions.extend(before.into_iter().map(|session| (session, WhyBarred::SessionEnded)));
    }

    /// Why a key of this bringer counts no more; absent: it does.
    pub fn why(&self, of: &Bringer) -> Option<WhyBarred> {
        let barred = of.user.filter(|user| self.barred.contains(user)).map(|_| WhyBarred::UserBarred);
        let role = of.user.and_then(|user| self.roles.get(&user)).zip(of.role);
        let moved = role.filter(|(is, was)| *is != was).map(|_| WhyBarred::RoleChanged);
        barred.or(moved).or_else(|| self.sessions.get(&of.session?).copied())
    }
}

#[cfg(test)]
mod tests {
    use events::{AggregateRef, ClientId, EventId, Time, TokenId, Uuid};

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

    /// Brought by user 1, an owner, in login 10.
    fn brought() -> Bringer {
        Bringer { by: 3, user: Some(user(1)), session: Some(session(10)), role: Some(Role::ClientOwner) }
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

    fn revoked(n: u128) -> DeskEvent {
        DeskEvent::TokenRevoked { token: TokenId(Uuid::from_u128(n)), user: user(1), by: user(1), at: at(0) }
    }

    fn password(n: u128) -> DeskEvent {
        DeskEvent::PasswordChanged { user: user(n), at: at(0) }
    }

    #[test]
    fn a_key_goes_with_the_login_or_token_that_it_was_brought_by() {
        for reason in [WhyEnded::Ended, WhyEnded::RefreshReused, WhyEnded::PasswordChanged, WhyEnded::Barred] {
            let why = after([ended(10, reason)]).why(&brought());
            assert_eq!(why, Some(WhyBarred::SessionEnded), "{reason:?}");
        }
        for reason in [WhyEnded::LoggedOut, WhyEnded::SecondFactorAdded] {
            assert_eq!(after([ended(10, reason), ended(11, WhyEnded::Ended)]).why(&brought()), None, "{reason:?}");
        }
        assert_eq!(after([revoked(10)]).why(&brought()), Some(WhyBarred::TokenRevoked));
        assert_eq!(after([revoked(11)]).why(&brought()), None);
    }

    #[test]
    fn who_logs_out_before_the_password_changes_does_not_get_away_with_a_key() {
        let out = || ended(10, WhyEnded::LoggedOut);
        assert_eq!(after([out(), password(1)]).why(&brought()), Some(WhyBarred::SessionEnded));
        let dropped = DeskEvent::SecondFactorRemoved { user: user(1), by: None, at: at(0) };
        assert_eq!(after([out(), dropped]).why(&brought()), Some(WhyBarred::SessionEnded));
        assert_eq!(after([out(), password(2)]).why(&brought()), None);
        // What is proved by the new password is another thing.
        assert_eq!(after([password(1), out()]).why(&brought()), None);
    }

    #[test]
    fn whoever_is_barred_brings_nothing_and_once_back_only_what_is_new() {
        assert_eq!(after([barred(1)]).why(&brought()), Some(WhyBarred::UserBarred));
        assert_eq!(after([barred(2)]).why(&brought()), None);
        let back = after([ended(10, WhyEnded::Barred), ended(12, WhyEnded::LoggedOut), barred(1), unbarred()]);
        assert_eq!(back.why(&brought()), Some(WhyBarred::SessionEnded));
        assert_eq!(back.why(&Bringer { session: Some(session(12)), ..brought() }), Some(WhyBarred::SessionEnded));
        assert_eq!(back.why(&Bringer { session: Some(session(13)), ..brought() }), None);
    }

    #[test]
    fn what_was_brought_in_another_role_counts_no_more_whenever_it_was_recorded() {
        let moved = after([another_role()]);
        assert_eq!(moved.why(&brought()), Some(WhyBarred::RoleChanged));
        assert_eq!(moved.why(&Bringer { role: Some(Role::ClientViewer), ..brought() }), None);
        assert_eq!(moved.why(&Bringer { role: None, ..brought() }), None);
        assert_eq!(after([barred(1), another_role()]).why(&brought()), Some(WhyBarred::UserBarred));
    }

    #[test]
    fn whom_nobody_knows_goes_with_nobody() {
        let unknown = Bringer { by: 3, user: None, session: None, role: None };
        assert_eq!(after([barred(1), ended(10, WhyEnded::Ended), another_role()]).why(&unknown), None);
    }
}
