//! Every subscription: who follows a client's events over NATS, which of them, whether NATS lets them in.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    ClientId, Event, Recorded, Slug, SubscriptionId, Time,
    subscription::{Filter, SubscriptionEvent, UserNkey, WhyBarred},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    changed: BTreeSet<SubscriptionId>,
}

/// One subscription as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// Whose events it delivers.
    pub client_id: Uuid,
    /// Which.
    pub subscription_id: SubscriptionId,
    /// What people call it.
    pub name: Slug,
    /// Which events it delivers.
    pub filter: Filter,
    /// Whether NATS lets it in, and since when it is so.
    pub state: State,
    pub since: Time,
    /// Why it is barred or revoked; absent otherwise.
    pub reason: Option<String>,
    /// The public half of the subscriber's nkey.
    pub user_public_nkey: UserNkey,
    /// When its credential has run out, unless it is renewed.
    pub expires_at: Time,
    /// The number of the first event that it may deliver.
    pub first_seq: u64,
    /// When it was asked for.
    pub requested_at: Time,
    /// Earlier keys, which are let in no more, and when the last credential of each would have run out.
    #[schema(value_type = BTreeMap<String, Time>)]
    pub replaced_nkeys: BTreeMap<UserNkey, Time>,
}

/// Whether NATS lets the user of a subscription in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SubscriptionState)]
pub enum State {
    /// It is asked for; NATS does not let it in yet.
    Wanted,
    /// NATS lets it in, as long as its credential counts.
    Active,
    /// NATS lets it in no more, because of what became of whoever brought its key. Rotate it: what was not delivered waits.
    Barred,
    /// It shall be let in no more; that is under way.
    Revoking,
    /// NATS let it go, and lets it in no more.
    Revoked,
}

impl Projection for Subscriptions {
    const NAME: &'static str = "subscriptions";
    const FOLD: u32 = 2;
    const TABLES: &'static str = r#"
        create table subscriptions (
          client_id        uuid        not null,
          subscription_id  uuid        not null,
          name             text        not null,
          filter           text        not null,
          state            text        not null,
          since            timestamptz not null,
          reason           text,
          user_public_nkey text        not null,
          expires_at       timestamptz not null,
          first_seq        bigint      not null,
          requested_at     timestamptz not null,
          replaced_nkeys   jsonb       not null,
          primary key (client_id, subscription_id)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let subscriptions = of_client(db, client).await?.into_iter().map(|one| (one.subscription_id, one)).collect();
        Ok(Self { subscriptions, changed: BTreeSet::new() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Subscription(told) = &event.event else { return Ok(()) };
        let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
        let id = event.aggregate.id.parse().map_err(|_| unfoldable("its subscription's id is no id"))?;
        if let SubscriptionEvent::SubscriptionRequested { .. } = told {
            let before = self.subscriptions.remove(&id);
            self.subscriptions.extend(Subscription::requested(event, id, told, before).map(|one| (id, one)));
        }
        let one = self.subscriptions.get_mut(&id).ok_or_else(|| unfoldable("nobody asked for its subscription"))?;
        one.hear(told);
        self.changed.insert(id);
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let changed = std::mem::take(&mut self.changed);
        let Some(rows) = rows::written(changed.iter().map(|id| &self.subscriptions[id])) else { return Ok(()) };
        sqlx::query!(
            "delete from subscriptions s using jsonb_populate_recordset(null::subscriptions, $1) n
              where (s.client_id, s.subscription_id) = (n.client_id, n.subscription_id)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into subscriptions select * from jsonb_populate_recordset(null::subscriptions, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Subscription {
    /// One that was just asked for, maybe again.
    fn requested(
        event: &Recorded,
        subscription_id: SubscriptionId,
        told: &SubscriptionEvent,
        before: Option<Self>,
    ) -> Option<Self> {
        let SubscriptionEvent::SubscriptionRequested { name, filter, after, user, expires_at, at, .. } = told else {
            return None;
        };
        Some(Self {
            client_id: event.client.0,
            subscription_id,
            name: name.clone(),
            filter: *filter,
            state: State::Wanted,
            since: *at,
            reason: None,
            user_public_nkey: user.clone(),
            expires_at: *expires_at,
            first_seq: after.map_or(event.seq, |after| after + 1),
            requested_at: *at,
            replaced_nkeys: before.map(Self::all_nkeys).unwrap_or_default(),
        })
    }

    /// Every key that it ever had.
    fn all_nkeys(mut self) -> BTreeMap<UserNkey, Time> {
        self.replaced_nkeys.insert(self.user_public_nkey, self.expires_at);
        self.replaced_nkeys
    }

    fn hear(&mut self, told: &SubscriptionEvent) {
        match told {
            SubscriptionEvent::SubscriptionRequested { .. } => {}
            SubscriptionEvent::SubscriptionActive { user, at } => {
                // Of an earlier user, or of one that shall be let go: told too late.
                if *user == self.user_public_nkey && self.state == State::Wanted {
                    self.becomes(State::Active, *at);
                }
            }
            SubscriptionEvent::SubscriptionRenewed { expires_at, .. } => self.expires_at = *expires_at,
            SubscriptionEvent::SubscriptionRotated { user, expires_at, at, .. } => {
                let replaced = std::mem::replace(&mut self.user_public_nkey, user.clone());
                self.replaced_nkeys.insert(replaced, self.expires_at);
                (self.expires_at, self.reason) = (*expires_at, None);
                self.becomes(State::Wanted, *at);
            }
            SubscriptionEvent::SubscriptionBarred { user, reason, at } => {
                if *user == self.user_public_nkey && matches!(self.state, State::Wanted | State::Active) {
                    self.reason = Some(in_words(*reason).to_owned());
                    self.becomes(State::Barred, *at);
                }
            }
            SubscriptionEvent::SubscriptionRevokeRequested { reason, at } => {
                self.reason = Some(reason.clone());
                self.becomes(State::Revoking, *at);
            }
            SubscriptionEvent::SubscriptionRevoked { at } => self.becomes(State::Revoked, *at),
        }
    }

    /// Whether somebody shall follow by it.
    pub fn is_wanted(&self) -> bool {
        match self.state {
            State::Wanted | State::Active | State::Barred => true,
            State::Revoking | State::Revoked => false,
        }
    }

    /// Whether this key is or was its subscriber's.
    pub fn knows(&self, user: &UserNkey) -> bool {
        self.user_public_nkey == *user || self.replaced_nkeys.contains_key(user)
    }

    fn becomes(&mut self, state: State, since: Time) {
        (self.state, self.since) = (state, since);
    }
}

/// Why somebody's key is let in no more.
fn in_words(reason: WhyBarred) -> &'static str {
    match reason {
        WhyBarred::SessionEnded => "the login in which its key was brought was ended",
        WhyBarred::TokenRevoked => "the program's token by which its key was brought was revoked",
        WhyBarred::UserBarred => "whoever brought its key is barred",
        WhyBarred::RoleChanged => "whoever brought its key has another role",
    }
}

/// A client's subscriptions, by name.
pub async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Subscription>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(s)::text as "row!"
          from subscriptions s
         where s.client_id = $1
         order by s.name
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

#[cfg(test)]
mod tests {
    use events::AggregateRef;

    use super::*;
    use crate::told::{Told, at};

    fn user(letter: &str) -> UserNkey {
        format!("U{}", letter.repeat(55)).parse().unwrap()
    }

    fn requested(letter: &str, after: Option<u64>) -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionRequested {
            name: "pager".parse().unwrap(),
            filter: Filter::Alerts(None),
            after,
            user: user(letter),
            session: None,
            role: None,
            expires_at: at(100),
            at: at(1),
        }
    }

    fn folded(told: impl IntoIterator<Item = SubscriptionEvent>) -> Subscription {
        let id = SubscriptionId(Uuid::from_u128(5));
        let (mut stream, mut all) =
            (Told::default(), Subscriptions { subscriptions: BTreeMap::new(), changed: BTreeSet::new() });
        for event in told {
            all.fold(&stream.of(AggregateRef::new("subscription", id), event)).unwrap();
        }
        all.subscriptions.remove(&id).unwrap()
    }

    fn active(letter: &str) -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionActive { user: user(letter), at: at(2) }
    }

    fn rotated(from: &str, to: &str) -> SubscriptionEvent {
        let (supersedes, user) = (user(from), user(to));
        SubscriptionEvent::SubscriptionRotated {
            supersedes,
            user,
            session: None,
            role: None,
            expires_at: at(200),
            at: at(3),
        }
    }

    fn revoking() -> SubscriptionEvent {
        SubscriptionEvent::SubscriptionRevokeRequested { reason: "done".into(), at: at(4) }
    }

    #[test]
    fn a_rotated_one_is_wanted_until_nats_lets_its_new_user_in() {
        assert_eq!(folded([requested("A", None)]).state, State::Wanted);
        assert_eq!(folded([requested("A", None), active("A")]).state, State::Active);
        let told = [requested("A", None), active("A"), rotated("A", "B")];
        let one = folded(told.clone().into_iter().chain([active("A")]));
        assert_eq!((one.state, one.since), (State::Wanted, at(3)));
        assert_eq!(one.replaced_nkeys, [(user("A"), at(100))].into());
        assert_eq!(folded(told.into_iter().chain([active("B")])).state, State::Active);
    }

    #[test]
    fn a_barred_one_says_why_until_another_key_takes_its_place() {
        let barred = |letter| SubscriptionEvent::SubscriptionBarred {
            user: user(letter),
            reason: WhyBarred::TokenRevoked,
            at: at(3),
        };
        let told = [requested("A", None), active("A"), barred("A")];
        let one = folded(told.clone());
        assert_eq!((one.state, one.since, one.is_wanted()), (State::Barred, at(3), true));
        assert!(one.reason.unwrap().contains("token"));
        let one = folded(told.into_iter().chain([active("A"), rotated("A", "B"), barred("A")]));
        assert_eq!((one.state, one.reason), (State::Wanted, None));
        assert_eq!(folded([requested("A", None), revoking(), barred("A")]).state, State::Revoking);
    }

    #[test]
    fn one_that_shall_go_is_not_active_again_whoever_is_late() {
        let one = folded([requested("A", None), revoking(), active("A")]);
        assert_eq!((one.state, one.reason.as_deref()), (State::Revoking, Some("done")));
    }

    #[test]
    fn one_that_is_asked_for_again_begins_anew_and_knows_its_earlier_keys() {
        let gone = SubscriptionEvent::SubscriptionRevoked { at: at(5) };
        let one = folded([requested("A", None), rotated("A", "B"), revoking(), gone, requested("C", Some(41))]);
        assert_eq!((one.state, one.first_seq, one.reason), (State::Wanted, 42, None));
        assert_eq!(one.replaced_nkeys, [(user("A"), at(100)), (user("B"), at(200))].into());
        assert_eq!(folded([requested("A", None)]).first_seq, 1);
    }

    #[test]
    fn a_row_reads_back() {
        let one = folded([requested("A", None), rotated("A", "B")]);
        let text = rows::text(&one);
        assert!(text.contains(r#""filter":"alerts","state":"wanted""#), "{text}");
        assert_eq!(rows::read::<Subscription>(&text), one);
    }
}
