//! What a caller asks the store to write, and what it answers.

use std::{collections::HashSet, sync::Arc};

use events::{Actor, AggregateRef, ClientId, CommandId, Event, EventId, UserId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::leases::Fence;

/// Events of one aggregate that one decision produced: all of them are written, or none.
#[derive(Debug, Clone)]
pub struct Append {
    pub client: ClientId,
    pub aggregate: AggregateRef,
    pub expected: Expected,
    pub events: Vec<Draft>,
    pub cause: Cause,
}

/// An event that has no place yet.
#[derive(Debug, Clone)]
pub struct Draft {
    pub event: Event,
    /// What may be in this client's stream only once. A second append with the same key writes nothing.
    pub key: Option<String>,
}

/// What the aggregate's version must be for the decision to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Facts that depend on nothing before them.
    Any,
    /// The decision was made on exactly this many events.
    Version(u64),
}

/// Who wanted it, and what it follows from.
#[derive(Debug, Clone)]
pub struct Cause {
    pub actor: Actor,
    pub correlation: CommandId,
    pub causation: Option<EventId>,
    /// Under which lease it is done, where only the lease's holder may do it.
    pub fence: Option<Fence>,
}

impl Cause {
    /// A part of the platform, acting by itself.
    pub fn system(part: &str) -> Self {
        Self { actor: Actor::System(part.to_owned()), correlation: CommandId::new(), causation: None, fence: None }
    }

    /// Somebody, by hand.
    pub fn user(user: UserId) -> Self {
        Self { actor: Actor::User(user), correlation: CommandId::new(), causation: None, fence: None }
    }

    /// The same, refused unless this lease is still held when it is written.
    pub fn under(self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self }
    }
}

/// Where the events stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub first: u64,
    pub last: u64,
    /// They stood there before: this command, or this fact, was sent again.
    pub repeated: bool,
}

/// Why nothing was written, or why that is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    #[error("{aggregate} is at version {actual}, the decision was made at {expected}: load it again and decide anew")]
    Conflict { aggregate: AggregateRef, expected: u64, actual: u64 },
    #[error(
        "could not append to the stream of client {client}; if its events carry keys, send the same command again: it is written at most once"
    )]
    Fault {
        client: ClientId,
        #[source]
        cause: Arc<sqlx::Error>,
    },
    #[error("the lease {lease} of client {client} has another holder by now: whoever holds it goes on from here")]
    Stale { client: ClientId, lease: &'static str },
    #[error("{aggregate} cannot take {event_type}: {reason}")]
    Refused { aggregate: AggregateRef, event_type: &'static str, reason: &'static str },
    #[error(
        "{aggregate} is to get {of} events, of which those numbered {stored:?} are stored already: send only the rest"
    )]
    PartlyStored { aggregate: AggregateRef, stored: Vec<u64>, of: usize },
    #[error("what became of {0} is not known; if its events carry keys, send the same command again")]
    Unknown(AggregateRef),
    #[error("the committer has shut down")]
    Closed,
}

/// The largest payload of an event; more belongs elsewhere.
const PAYLOAD_MAX: usize = 256 * 1_024;
/// The longest id of an aggregate, and the longest key.
const NAME_MAX: usize = 512;

impl Append {
    /// Whether the database can take it at all: one that it cannot must not come near the others of its group.
    pub(crate) fn is_possible(&self, payloads: &[String]) -> Result<(), AppendError> {
        let mut keys = HashSet::new();
        let actor = self.cause.actor.to_string();
        for (draft, payload) in self.events.iter().zip(payloads) {
            let refused = |reason| {
                Err(AppendError::Refused {
                    aggregate: self.aggregate.clone(),
                    event_type: draft.event.event_type(),
                    reason,
                })
            };
            let key = draft.key.as_deref().unwrap_or_default();
            if self.aggregate.kind != draft.event.aggregate_type() {
                return refused("it belongs to another kind of aggregate");
            }
            if payload.contains(r"\u0000") || [key, &self.aggregate.id, &actor].iter().any(|t| t.contains('\0')) {
                return refused("it holds a NUL character, which Postgres cannot keep");
            }
            if payload.len() > PAYLOAD_MAX || self.aggregate.id.len() > NAME_MAX || key.len() > NAME_MAX {
                return refused("it is too large");
            }
            if draft.key.as_ref().is_some_and(|key| !keys.insert(key)) {
                return refused("two of its events have one key");
            }
        }
        Ok(())
    }
}

/// The stored form of a key: short, of one size, and saying nothing.
pub(crate) fn stored_key(key: &str) -> Uuid {
    let hash = Sha256::digest(key.as_bytes());
    Uuid::from_slice(&hash[..16]).expect("16 bytes make a UUID")
}
