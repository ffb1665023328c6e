//! Where a subscription's events are found on NATS, and all that its user may do there.

use events::{ClientId, SubscriptionId, subscription::Filter};
use serde::Serialize;

use crate::message::{heads_subject, stream_name, subjects};

/// What the JetStream API is called in a client's account. Its own `$JS.API` answers that JetStream is not enabled.
pub(crate) const API_PREFIX: &str = "PLJS";

/// The names that a subscriber needs. No person ever typed any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Address {
    /// The client's JetStream stream; a message's sequence in it is the event's `client_seq`.
    pub stream: String,
    /// The durable pull consumer, which remembers what was acknowledged.
    pub consumer: String,
    /// The prefix of the JetStream API, in place of `$JS.API`.
    pub api_prefix: String,
    /// What inboxes have to begin with.
    pub inbox_prefix: String,
    /// What may be listened to as it happens, unacknowledged: a hint that there is something to fetch.
    pub live_subjects: String,
    /// Where signed heads of the client's stream are told.
    pub heads_subject: String,
}

impl Address {
    /// Of one subscription of a client.
    pub fn of(client: ClientId, subscription: SubscriptionId) -> Self {
        let consumer = consumer_name(subscription);
        Self {
            stream: stream_name(client),
            api_prefix: API_PREFIX.to_owned(),
            inbox_prefix: format!("_INBOX_{consumer}"),
            live_subjects: subjects(client),
            heads_subject: heads_subject(client),
            consumer,
        }
    }

    /// All that its user may publish: look at its consumer, fetch from it, acknowledge what it delivered.
    pub(crate) fn may_publish(&self) -> [String; 3] {
        let Self { stream, consumer, api_prefix, .. } = self;
        [
            format!("{api_prefix}.CONSUMER.INFO.{stream}.{consumer}"),
            format!("{api_prefix}.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            format!("$JS.ACK.{stream}.{consumer}.>"),
        ]
    }

    /// All that its user may listen to.
    pub(crate) fn may_hear(&self) -> [String; 3] {
        [self.live_subjects.clone(), self.heads_subject.clone(), format!("{}.>", self.inbox_prefix)]
    }
}

/// The durable consumer of a subscription.
pub(crate) fn consumer_name(subscription: SubscriptionId) -> String {
    subscription.0.simple().to_string()
}

/// The subjects of a client's stream that a filter lets through.
pub fn filtered(client: ClientId, filter: Filter) -> String {
    format!("pipelabs.{}.{}", client.0.simple(), filter.subjects())
}
