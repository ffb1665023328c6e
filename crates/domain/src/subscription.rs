//! A subscription's life: wanted, renewed, rotated, revoked. That NATS lets its user in, or lets it go, is told by whoever
//! did it, and decides nothing here; so is that its user is barred, after which only another goes on.
//!
//! A key counts once: NATS is told of the keys that it shall let in no more until their credentials have run out, so one
//! that comes back would be let in and cut off by turns.

use events::{
    SessionId, Slug, Time,
    desk::Role,
    subscription::{Filter, SubscriptionEvent, UserNkey},
};
use serde::{Deserialize, Serialize};

/// How long a credential counts; who follows for longer renews it.
pub const CREDENTIAL_LIFE_US: i64 = 24 * 3_600 * 1_000_000;
/// Keys of one subscription that may have been taken out of use while their credentials would still count. NATS keeps a
/// list of them.
pub const OUTLIVED_MAX: usize = 16;
/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// What can be wanted of a subscription.
#[derive(Debug, Clone)]
pub enum SubscriptionCommand {
    Request { name: Slug, filter: Filter, after: Option<u64>, user: UserNkey, by: Bringer, at: Time },
    Renew { at: Time },
    Rotate { user: UserNkey, by: Bringer, at: Time },
    Revoke { reason: String, at: Time },
}

/// Whoever brings a key: in which login, or by which program's token, and what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bringer {
    pub session: SessionId,
    pub role: Role,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionRefusal {
    #[error("there is a subscription of this name already: rotate or renew it, or revoke it first")]
    AlreadyThere,
    #[error("there is no such subscription")]
    NotThere,
    #[error("the subscription is revoked, or about to be")]
    Revoked,
    #[error("this nkey is let in no more, because of what became of whoever brought it: rotate the subscription")]
    Barred,
    #[error("the subscription has this nkey: renew it, or give another")]
    SameKey,
    #[error("this nkey was taken out of use: make a new one")]
    KeyWasUsed,
    #[error("{OUTLIVED_MAX} nkeys were taken out of use within a day: wait, or renew instead")]
    TooOften,
    #[error("a reason is one line of at most {REASON_MAX} characters")]
    Reason,
}

/// What became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Absent,
    Wanted,
    Barred,
    Revoking,
    Revoked,
}

/// Whom a credential was given to, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub user: UserNkey,
    pub at: Time,
    pub expires_at: Time,
}

/// What a decision about a subscription must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    phase: Phase,
    given: Option<Given>,
    /// What counts no more.
    taken_back: Vec<Given>,
}

impl Subscription {
    /// Decides a command.
    pub fn decide(&self, command: SubscriptionCommand) -> Result<Vec<SubscriptionEvent>, SubscriptionRefusal> {
        match command {
            SubscriptionCommand::Request { name, filter, after, user, by: Bringer { session, role }, at } => {
                self.has_room(&user, at)?;
                Ok(vec![SubscriptionEvent::SubscriptionRequested {
                    name,
                    filter,
                    after,
                    user,
                    session: Some(session),
                    role: Some(role),
                    expires_at: at.plus_micros(CREDENTIAL_LIFE_US),
                    at,
                }])
            }
            SubscriptionCommand::Renew { at } => {
                self.counts()?;
                Ok(vec![SubscriptionEvent::SubscriptionRenewed { expires_at: at.plus_micros(CREDENTIAL_LIFE_US), at }])
            }
            SubscriptionCommand::Rotate { user, by: Bringer { session, role }, at } => {
                let supersedes = self.live()?.user.clone();
                if supersedes == user {
                    return Err(SubscriptionRefusal::SameKey);
                }
                self.is_new(&user, at)?;
                let (session, role, expires_at) = (Some(session), Some(role), at.plus_micros(CREDENTIAL_LIFE_US));
                Ok(vec![SubscriptionEvent::SubscriptionRotated { supersedes, user, session, role, expires_at, at }])
            }
            SubscriptionCommand::Revoke { reason, at } => {
                self.live()?;
                Ok(vec![SubscriptionEvent::SubscriptionRevokeRequested { reason: readable(reason)?, at }])
            }
        }
    }

    /// Refuses one that is there already. A revoked one may be asked for again.
    fn has_room(&self, user: &UserNkey, at: Time) -> Result<(), SubscriptionRefusal> {
        match self.phase {
            Phase::Absent | Phase::Revoked => self.is_new(user, at),
            Phase::Wanted | Phase::Barred | Phase::Revoking => Err(SubscriptionRefusal::AlreadyThere),
        }
    }

    fn is_new(&self, user: &UserNkey, at: Time) -> Result<(), SubscriptionRefusal> {
        if self.taken_back.iter().any(|given| given.user == *user) {
            return Err(SubscriptionRefusal::KeyWasUsed);
        }
        let outlived = self.taken_back.iter().filter(|given| given.expires_at > at).count();
        // Whoever was let go locks nobody out by having changed keys.
        let room = outlived < OUTLIVED_MAX || self.phase == Phase::Barred;
        if room { Ok(()) } else { Err(SubscriptionRefusal::TooOften) }
    }

    /// What was given last of a subscription that goes on.
    fn live(&self) -> Result<&Given, SubscriptionRefusal> {
        match self.phase {
            Phase::Absent => Err(SubscriptionRefusal::NotThere),
            Phase::Revoking | Phase::Revoked => Err(SubscriptionRefusal::Revoked),
            Phase::Wanted | Phase::Barred => self.given.as_ref().ok_or(SubscriptionRefusal::NotThere),
        }
    }

    /// The same, if whom it was given to may still be let in.
    fn counts(&self) -> Result<&Given, SubscriptionRefusal> {
        let given = self.live()?;
        if self.phase == Phase::Barred { Err(SubscriptionRefusal::Barred) } else { Ok(given) }
    }

    /// The credential that counts now; absent: none does.
    pub fn given(&self) -> Option<&Given> {
        self.counts().ok()
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: SubscriptionEvent) {
        match event {
            SubscriptionEvent::SubscriptionRequested { user, expires_at, at, .. } => {
                (self.phase, self.given) = (Phase::Wanted, Some(Given { user, at, expires_at }));
            }
            SubscriptionEvent::SubscriptionRenewed { expires_at, at } => {
                self.given = self.given.take().map(|given| Given { at, expires_at, ..given });
            }
            SubscriptionEvent::SubscriptionRotated { user, expires_at, at, .. } => {
                self.phase = Phase::Wanted;
                self.taken_back.extend(self.given.replace(Given { user, at, expires_at }));
            }
            SubscriptionEvent::SubscriptionBarred { user, .. } => {
                // Of an earlier one it is told too late.
                if self.given().is_some_and(|given| given.user == user) {
                    self.phase = Phase::Barred;
                }
            }
            SubscriptionEvent::SubscriptionRevokeRequested { .. } => {
                self.phase = Phase::Revoking;
                self.taken_back.extend(self.given.take());
            }
            SubscriptionEvent::SubscriptionRevoked { .. } => self.phase = Phase::Revoked,
            SubscriptionEvent::SubscriptionActive { .. } => {}
        }
    }
}

fn readable(reason: String) -> Result<String, SubscriptionRefusal> {
    let fine = reason.chars().count() <= REASON_MAX && !reason.contains(char::is_control);
    if fine { Ok(reason) } else { Err(SubscriptionRefusal::Reason) }
}

crate::aggregate!(Subscription, "subscription", SubscriptionCommand, SubscriptionEvent, SubscriptionRefusal);

#[cfg(test)]
mod tests {
    use events::subscription::WhyBarred;
    use proptest::prelude::*;

    use super::*;

    fn at(hours: i64) -> Time {
        Time::EPOCH.plus_micros(hours * 3_600_000_000)
    }

    fn user(n: usize) -> UserNkey {
        let letter = char::from(b'A' + u8::try_from(n % 26).unwrap());
        let other = char::from(b'A' + u8::try_from(n / 26).unwrap());
        format!("U{letter}{other}{}", "A".repeat(53)).parse().unwrap()
    }

    fn by() -> Bringer {
        Bringer { session: SessionId(events::Uuid::from_u128(3)), role: Role::ClientOwner }
    }

    fn check(
        given: impl IntoIterator<Item = SubscriptionEvent>,
        when: SubscriptionCommand,
        then: Result<SubscriptionEvent, SubscriptionRefusal>,
    ) {
        let mut subscription = Subscription::default();
        given.into_iter().for_each(|event| subscription.remember(event));
        assert_eq!(subscription.decide(when), then.map(|event| vec![event]));
    }

    fn request(n: usize, hours: i64) -> SubscriptionCommand {
        SubscriptionCommand::Request {
            name: "pager".parse().unwrap(),
            filter: Filter::All,
            after: None,
            user: user(n),
            by: by(),
            at: at(hours),
        }
    }

    fn requested(n: usize, hours: i64) -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionRequested {
            name: "pager".parse().unwrap(),
            filter: Filter::All,
            after: None,
            user: user(n),
            session: Some(by().session),
            role: Some(by().role),
            expires_at: at(hours + 24),
            at: at(hours),
        }
    }

    fn rotate(n: usize, hours: i64) -> SubscriptionCommand {
        SubscriptionCommand::Rotate { user: user(n), by: by(), at: at(hours) }
    }

    fn rotated(from: usize, n: usize, hours: i64) -> SubscriptionEvent {
        let Bringer { session, role } = by();
        SubscriptionEvent::SubscriptionRotated {
            supersedes: user(from),
            user: user(n),
            session: Some(session),
            role: Some(role),
            expires_at: at(hours + 24),
            at: at(hours),
        }
    }

    fn barred(n: usize, hours: i64) -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionBarred { user: user(n), reason: WhyBarred::SessionEnded, at: at(hours) }
    }

    fn revoke(hours: i64) -> SubscriptionCommand {
        SubscriptionCommand::Revoke { reason: "done".into(), at: at(hours) }
    }

    fn revoking(hours: i64) -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionRevokeRequested { reason: "done".into(), at: at(hours) }
    }

    fn revoked() -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionRevoked { at: at(9) }
    }

    #[test]
    fn a_name_has_one_subscription_until_nats_has_let_its_user_go() {
        check([], request(0, 0), Ok(requested(0, 0)));
        check([requested(0, 0)], request(1, 1), Err(SubscriptionRefusal::AlreadyThere));
        check([requested(0, 0), revoking(1)], request(1, 1), Err(SubscriptionRefusal::AlreadyThere));
        check([requested(0, 0), revoking(1), revoked()], request(1, 10), Ok(requested(1, 10)));
    }

    #[test]
    fn a_credential_counts_for_a_day_and_is_renewed_for_another() {
        let renewed = SubscriptionEvent::SubscriptionRenewed { expires_at: at(44), at: at(20) };
        check([requested(0, 0)], SubscriptionCommand::Renew { at: at(20) }, Ok(renewed.clone()));
        let mut subscription = Subscription::default();
        [requested(0, 0), renewed].into_iter().for_each(|event| subscription.remember(event));
        assert_eq!(subscription.given(), Some(&Given { user: user(0), at: at(20), expires_at: at(44) }));
        check([], SubscriptionCommand::Renew { at: at(0) }, Err(SubscriptionRefusal::NotThere));
    }

    #[test]
    fn a_key_that_was_taken_out_of_use_never_comes_back() {
        let given = [requested(0, 0), rotated(0, 1, 1)];
        check([requested(0, 0)], rotate(0, 1), Err(SubscriptionRefusal::SameKey));
        check([requested(0, 0)], rotate(1, 1), Ok(rotated(0, 1, 1)));
        check(given.clone(), rotate(0, 99), Err(SubscriptionRefusal::KeyWasUsed));
        check(given.into_iter().chain([revoking(2), revoked()]), request(1, 99), Err(SubscriptionRefusal::KeyWasUsed));
        check([requested(0, 0), revoking(2), revoked()], request(0, 99), Err(SubscriptionRefusal::KeyWasUsed));
    }

    #[test]
    fn so_many_keys_a_day_and_no_more() {
        let max = OUTLIVED_MAX;
        let given: Vec<_> = [requested(0, 0)].into_iter().chain((0..max).map(|n| rotated(n, n + 1, 1))).collect();
        check(given[..max].to_vec(), rotate(max, 1), Ok(rotated(max - 1, max, 1)));
        check(given.clone(), rotate(max + 1, 1), Err(SubscriptionRefusal::TooOften));
        check(given.clone(), rotate(max + 1, 26), Ok(rotated(max, max + 1, 26)));
        let revoked = given.clone().into_iter().chain([revoking(2), revoked()]);
        check(revoked, request(max + 1, 2), Err(SubscriptionRefusal::TooOften));
        // But whoever is let go by that locks nobody out.
        let barred = given.into_iter().chain([barred(max, 1)]);
        check(barred, rotate(max + 1, 1), Ok(rotated(max, max + 1, 1)));
    }

    #[test]
    fn a_subscription_is_revoked_once_and_takes_nothing_after_that() {
        check([], revoke(0), Err(SubscriptionRefusal::NotThere));
        check([requested(0, 0)], revoke(1), Ok(revoking(1)));
        for given in [vec![requested(0, 0), revoking(1)], vec![requested(0, 0), revoking(1), revoked()]] {
            for command in [revoke(2), rotate(1, 2), SubscriptionCommand::Renew { at: at(2) }] {
                check(given.clone(), command, Err(SubscriptionRefusal::Revoked));
            }
        }
        for reason in ["two\nlines".to_owned(), "x".repeat(REASON_MAX + 1)] {
            let revoke = SubscriptionCommand::Revoke { reason, at: at(1) };
            check([requested(0, 0)], revoke, Err(SubscriptionRefusal::Reason));
        }
    }

    #[test]
    fn after_a_barred_key_only_another_goes_on_and_the_barred_one_never_comes_back() {
        let given = [requested(0, 0), barred(0, 1)];
        check(given.clone(), SubscriptionCommand::Renew { at: at(2) }, Err(SubscriptionRefusal::Barred));
        check(given.clone(), rotate(0, 2), Err(SubscriptionRefusal::SameKey));
        check(given.clone(), request(1, 2), Err(SubscriptionRefusal::AlreadyThere));
        check(given.clone(), rotate(1, 2), Ok(rotated(0, 1, 2)));
        check(given.clone(), revoke(2), Ok(revoking(2)));
        let on = given.into_iter().chain([rotated(0, 1, 2)]);
        check(on.clone(), rotate(0, 3), Err(SubscriptionRefusal::KeyWasUsed));
        // Told too late, of the one before.
        let late = on.chain([barred(0, 3)]);
        let renewed = SubscriptionEvent::SubscriptionRenewed { expires_at: at(28), at: at(4) };
        check(late, SubscriptionCommand::Renew { at: at(4) }, Ok(renewed));
    }

    #[test]
    fn what_nats_tells_of_an_earlier_user_changes_nothing() {
        let late = SubscriptionEvent::SubscriptionActive { user: user(0), at: at(3) };
        check([requested(0, 0), rotated(0, 1, 1), late.clone()], rotate(2, 4), Ok(rotated(1, 2, 4)));
        check([requested(0, 0), revoking(1), late], revoke(4), Err(SubscriptionRefusal::Revoked));
    }

    proptest! {
        #[test]
        fn whatever_is_commanded_no_key_is_given_twice(
            commands in proptest::collection::vec((0..6, 0..30_usize), 0..80)
        ) {
            let (mut subscription, mut given) = (Subscription::default(), Vec::new());
            for ((which, n), hours) in commands.into_iter().zip(0..) {
                let command = match which {
                    0 => request(n, hours),
                    1 => rotate(n, hours),
                    2 => SubscriptionCommand::Renew { at: at(hours) },
                    3 => revoke(hours),
                    4 => {
                        subscription.remember(barred(n, hours));
                        continue;
                    }
                    _ => {
                        if subscription.phase == Phase::Revoking {
                            subscription.remember(revoked());
                        }
                        continue;
                    }
                };
                for event in subscription.decide(command).unwrap_or_default() {
                    if let SubscriptionEvent::SubscriptionRequested { user, .. }
                    | SubscriptionEvent::SubscriptionRotated { user, .. } = &event
                    {
                        prop_assert!(!given.contains(user));
                        given.push(user.clone());
                    }
                    subscription.remember(event);
                }
                prop_assert_eq!(subscription.given().is_some(), subscription.phase == Phase::Wanted);
            }
        }
    }
}
