//! What is known of an event beside what it says: whose, where in the stream, by whom, by which build.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{ClientId, CommandId, Event, EventId, Time, UserId};

/// The thing that an event is about, inside one client's stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateRef {
    /// `client`, `account`, `bot`, `credential`, `ledger`, `market`, `orders`, `manual`, `subscription`, `alert`, `rule`,
    /// `silence`, `channel`, `schedule`, `agreement`, `agent` or `desk`.
    pub kind: String,
    /// Which one of its kind.
    pub id: String,
}

impl AggregateRef {
    pub fn new(kind: impl Into<String>, id: impl fmt::Display) -> Self {
        Self { kind: kind.into(), id: id.to_string() }
    }

    /// A client has one ledger; it carries the client's own id.
    pub fn ledger(client: ClientId) -> Self {
        Self::new("ledger", client)
    }
}

impl fmt::Display for AggregateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// Who caused an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A part of the platform, by name: `import`, `operator`.
    System(String),
    User(UserId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(part) => write!(f, "system:{part}"),
            Self::User(user) => write!(f, "user:{user}"),
        }
    }
}

impl FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("system", part)) if !part.is_empty() => Ok(Self::System(part.to_owned())),
            Some(("user", user)) => user.parse().map(Self::User).map_err(|_| format!("actor {text:?} names no user")),
            _ => Err(format!("actor {text:?} is neither system:… nor user:…")),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Why an event is there. Every value is a text, so that any tool can carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who caused it.
    pub actor: Actor,
    /// The wish that this event is part of the answer to.
    pub correlation: CommandId,
    /// The event that it follows from, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
    /// The build that wrote it.
    pub build: String,
    /// What makes it unique in its stream; the stored key is a hash of this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An event in its place in a client's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Whose stream.
    pub client: ClientId,
    /// Its place in the client's stream: 1, 2, 3, no gaps.
    pub seq: u64,
    /// What it is about.
    pub aggregate: AggregateRef,
    /// Its place in the aggregate's own history: 1, 2, 3.
    pub aggregate_seq: u64,
    /// The event's own id.
    pub id: EventId,
    /// What happened.
    pub event: Event,
    /// When the venue says it happened.
    pub occurred_at: Time,
    /// When it entered the stream.
    pub recorded_at: Time,
    /// Who caused it; absent: nobody was named.
    pub actor: Option<Actor>,
}
