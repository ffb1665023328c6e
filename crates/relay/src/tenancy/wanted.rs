//! How a client's account shall be, folded from its subscriptions' events alone: whatever NATS lost is made again from it.

use std::collections::BTreeMap;

use events::{
    Event, Recorded, SubscriptionId,
    subscription::{Filter, SubscriptionEvent, UserNkey},
};

use super::{claims::Tenancy, jwt::seconds, let_go::Bringer};

/// How much longer than it counts a credential is remembered as taken back: servers' clocks are not ours.
const CLOCKS_DIFFER_S: i64 = 300;

/// All subscriptions of one client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub subscriptions: BTreeMap<SubscriptionId, Subscription>,
    issued_at_s: i64,
    /// Who is let in no more, and how long a credential of theirs could count.
    taken_back: BTreeMap<UserNkey, i64>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub filter: Filter,
    /// The first event that it may deliver.
    pub first: u64,
    /// The event that asked for it: one that is asked for again after it was revoked begins anew.
    pub asked: u64,
    pub stage: Stage,
    pub user: UserNkey,
    /// Of that user.
    pub bringer: Bringer,
    expires_at_s: i64,
}

/// What is to be done for a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is asked for by this event, and was not told to be there.
    Open { by: u64 },
    /// It was told to be there.
    Active,
    /// Its user is let in no more. It waits for another.
    Barred,
    /// It is asked by this event to be gone.
    Close { by: u64 },
    /// It was told to be gone.
    Gone,
}

impl Subscription {
    /// Whether NATS shall let its user in.
    pub fn is_let_in(&self) -> bool {
        match self.stage {
            Stage::Open { .. } | Stage::Active => true,
            Stage::Barred | Stage::Close { .. } | Stage::Gone => false,
        }
    }
}

impl Wanted {
    /// Takes in an event of a subscription.
    pub fn hear(&mut self, event: &Recorded) {
        let Event::Subscription(told) = &event.event else { return };
        let Ok(id) = event.aggregate.id.parse() else { return };
        match told {
            SubscriptionEvent::SubscriptionRequested { filter, after, user, session, role, expires_at, .. } => {
                let asked = Subscription {
                    filter: *filter,
                    first: after.map_or(event.seq, |after| after + 1),
                    asked: event.seq,
                    stage: Stage::Open { by: event.seq },
                    user: user.clone(),
                    bringer: Bringer::of(event, *session, *role),
                    expires_at_s: seconds(*expires_at),
                };
                self.subscriptions.insert(id, asked);
                self.changes(event);
            }
            SubscriptionEvent::SubscriptionRotated { user, session, role, expires_at, .. } => {
                self.take_back(id);
                if let Some(one) = self.subscriptions.get_mut(&id) {
                    (one.stage, one.bringer) = (Stage::Open { by: event.seq }, Bringer::of(event, *session, *role));
                    (one.user, one.expires_at_s) = (user.clone(), seconds(*expires_at));
                }
                self.changes(event);
            }
            SubscriptionEvent::SubscriptionBarred { user, .. } => {
                // Of an earlier user it is told too late.
                if self.subscriptions.get(&id).is_some_and(|one| one.is_let_in() && one.user == *user) {
                    self.take_back(id);
                    self.set(id, Stage::Barred);
                    self.changes(event);
                }
            }
            SubscriptionEvent::SubscriptionRevokeRequested { .. } => {
                self.take_back(id);
                self.set(id, Stage::Close { by: event.seq });
                self.changes(event);
            }
            SubscriptionEvent::SubscriptionRenewed { expires_at, .. } => {
                if let Some(one) = self.subscriptions.get_mut(&id) {
                    one.expires_at_s = seconds(*expires_at);
                }
            }
            SubscriptionEvent::SubscriptionActive { user, .. } => {
                let is_waited_for =
                    |one: &&mut Subscription| matches!(one.stage, Stage::Open { .. }) && one.user == *user;
                if let Some(one) = self.subscriptions.get_mut(&id).filter(is_waited_for) {
                    one.stage = Stage::Active;
                }
            }
            SubscriptionEvent::SubscriptionRevoked { .. } => self.set(id, Stage::Gone),
        }
    }

    /// What its account has to say. The same events always say the same, to the byte.
    pub fn account(&self) -> Tenancy {
        let open = self.subscriptions.values().any(Subscription::is_let_in);
        // Up to when a credential counts it may have been issued, and not later.
        let revoked = self.taken_back.iter().map(|(user, until_s)| (user.clone(), *until_s)).collect();
        Tenancy { open, issued_at_s: self.issued_at_s, revoked }
    }

    fn set(&mut self, id: SubscriptionId, stage: Stage) {
        if let Some(one) = self.subscriptions.get_mut(&id) {
            one.stage = stage;
        }
    }

    fn take_back(&mut self, id: SubscriptionId) {
        if let Some(one) = self.subscriptions.get(&id) {
            self.taken_back.insert(one.user.clone(), one.expires_at_s);
        }
    }

    /// The account says something else from here on.
    fn changes(&mut self, event: &Recorded) {
        let now_s = seconds(event.recorded_at);
        self.issued_at_s = now_s.max(self.issued_at_s + 1);
        self.taken_back.retain(|_, until_s| *until_s + CLOCKS_DIFFER_S >= now_s);
    }
}

#[cfg(test)]
mod tests {
    use events::{AggregateRef, ClientId, EventId, Time, Uuid, subscription::WhyBarred};

    use super::*;

    const DAY_S: i64 = 86_400;

    fn user(letter: char) -> UserNkey {
        format!("U{}", letter.to_string().repeat(55)).parse().unwrap()
    }

    fn at(seconds: i64) -> Time {
        Time::EPOCH.plus_micros(seconds * 1_000_000)
    }

    fn id() -> SubscriptionId {
        SubscriptionId(Uuid::from_u128(1))
    }

    /// A stream that tells one event each second, from second 1 on, beside those that are no subscription's.
    #[derive(Default)]
    struct Told {
        wanted: Wanted,
        seq: u64,
    }

    impl Told {
        fn tell(&mut self, event: SubscriptionEvent) -> &mut Self {
            self.tell_at(event, self.seq as i64 + 1)
        }

        fn tell_at(&mut self, event: SubscriptionEvent, second: i64) -> &mut Self {
            self.seq += 1;
            let event = Recorded {
                client: ClientId(Uuid::from_u128(7)),
                seq: self.seq,
                aggregate: AggregateRef::new("subscription", id()),
                aggregate_seq: self.seq,
                id: EventId(Uuid::from_u128(u128::from(self.seq))),
                occurred_at: event.at(),
                event: event.into(),
                recorded_at: at(second),
                actor: None,
            };
            self.wanted.hear(&event);
            self
        }

        fn stage(&self) -> Stage {
            self.wanted.subscriptions[&id()].stage.clone()
        }
    }

    fn requested(letter: char, after: Option<u64>) -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionRequested {
            name: "pager".parse().unwrap(),
            filter: Filter::All,
            after,
            user: user(letter),
            session: None,
            role: None,
            expires_at: at(DAY_S),
            at: at(0),
        }
    }

    fn rotated(from: char, to: char) -> SubscriptionEvent {
        let (supersedes, user) = (user(from), user(to));
        SubscriptionEvent::SubscriptionRotated {
            supersedes,
            user,
            session: None,
            role: None,
            expires_at: at(DAY_S + 5),
            at: at(5),
        }
    }

    fn active(letter: char) -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionActive { user: user(letter), at: at(1) }
    }

    fn revoking() -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionRevokeRequested { reason: "done".into(), at: at(6) }
    }

    #[test]
    fn an_account_is_open_as_long_as_one_subscription_is_wanted() {
        let mut told = Told::default();
        assert!(!told.wanted.account().open);
        told.tell(requested('A', None));
        assert_eq!(told.stage(), Stage::Open { by: 1 });
        assert_eq!(told.wanted.account(), Tenancy { open: true, issued_at_s: 1, revoked: vec![] });
        told.tell(active('A')).tell(revoking());
        assert_eq!(told.stage(), Stage::Close { by: 3 });
        assert_eq!(told.wanted.account(), Tenancy { open: false, issued_at_s: 3, revoked: vec![(user('A'), DAY_S)] });
        told.tell(SubscriptionEvent::SubscriptionRevoked { at: at(7) });
        assert_eq!(told.stage(), Stage::Gone);
    }

    #[test]
    fn what_changes_nothing_for_nats_leaves_the_account_as_it_is_to_the_byte() {
        let mut told = Told::default();
        let before = told.tell(requested('A', None)).wanted.account();
        told.tell(active('A')).tell(SubscriptionEvent::SubscriptionRenewed { expires_at: at(DAY_S * 2), at: at(9) });
        assert_eq!(told.wanted.account(), before);
    }

    #[test]
    fn a_user_who_is_replaced_is_revoked_for_all_that_could_have_been_issued_to_it() {
        let mut told = Told::default();
        told.tell(requested('A', None));
        told.tell(SubscriptionEvent::SubscriptionRenewed { expires_at: at(DAY_S * 2), at: at(DAY_S) });
        told.tell(rotated('A', 'B'));
        assert_eq!(told.wanted.account().revoked, [(user('A'), DAY_S * 2)]);
        assert_eq!(told.stage(), Stage::Open { by: 3 });
        // What was told of the first one says nothing of the second.
        told.tell(active('A'));
        assert_eq!(told.stage(), Stage::Open { by: 3 });
        told.tell(active('B'));
        assert_eq!(told.stage(), Stage::Active);
    }

    #[test]
    fn a_barred_user_is_revoked_and_its_subscription_waits_for_another() {
        let barred = |letter| SubscriptionEvent::SubscriptionBarred {
            user: user(letter),
            reason: WhyBarred::SessionEnded,
            at: at(4),
        };
        let mut told = Told::default();
        told.tell(requested('A', None)).tell(active('A')).tell(barred('A'));
        assert_eq!(told.stage(), Stage::Barred);
        assert_eq!(told.wanted.account(), Tenancy { open: false, issued_at_s: 3, revoked: vec![(user('A'), DAY_S)] });
        let first = told.wanted.subscriptions[&id()].first;
        told.tell(rotated('A', 'B')).tell(barred('A'));
        let one = &told.wanted.subscriptions[&id()];
        assert_eq!((&one.stage, one.first, &one.user), (&Stage::Open { by: 4 }, first, &user('B')));
        assert_eq!(told.wanted.account().revoked, [(user('A'), DAY_S)]);
        assert!(told.wanted.account().open);
    }

    #[test]
    fn two_changes_within_one_second_are_told_apart_and_the_later_is_the_younger() {
        let mut told = Told::default();
        told.tell_at(requested('A', None), 50).tell_at(rotated('A', 'B'), 50);
        assert_eq!(told.wanted.account().issued_at_s, 51);
        told.tell_at(rotated('B', 'C'), 50).tell_at(revoking(), 90);
        assert_eq!(told.wanted.account().issued_at_s, 90);
    }

    #[test]
    fn whose_credentials_have_run_out_is_forgotten_at_the_next_change() {
        let mut told = Told::default();
        told.tell(requested('A', None)).tell(rotated('A', 'B'));
        told.tell_at(rotated('B', 'C'), DAY_S + CLOCKS_DIFFER_S);
        assert_eq!(told.wanted.account().revoked.len(), 2);
        told.tell_at(revoking(), DAY_S + CLOCKS_DIFFER_S + 1);
        assert_eq!(told.wanted.account().revoked, [(user('B'), DAY_S + 5), (user('C'), DAY_S + 5)]);
    }

    #[test]
    fn it_delivers_from_its_own_request_on_or_from_where_it_was_asked_to() {
        let mut told = Told::default();
        told.tell(requested('A', None));
        assert_eq!(told.wanted.subscriptions[&id()].first, 1);
        told.tell(revoking()).tell(requested('B', Some(41)));
        let again = &told.wanted.subscriptions[&id()];
        assert_eq!((again.first, again.asked), (42, 3));
    }
}
