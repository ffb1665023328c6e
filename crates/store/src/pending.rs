//! A command on its way to its place in a stream.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use events::{
    ClientId, EventId, Metadata,
    chain::{Content, Hash, canonical},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::append::{Append, AppendError, Draft, Receipt, stored_key};

pub(crate) type Answer = Result<Receipt, AppendError>;

/// A command that waits for its place, made ready by its caller: the committer works for all of them at once, so what
/// can be done before it is.
pub(crate) struct Pending {
    pub append: Append,
    pub keys: Vec<Option<Uuid>>,
    pub written: Vec<Written>,
    /// The number that its first event was last tried at, 0 before: if the answer was lost, it stands there or nowhere.
    tried_at: AtomicU64,
    pub since: Instant,
    reply: oneshot::Sender<Answer>,
}

/// An event as it will be stored, but for its place. Its id is chosen once, so that a lost answer can be looked up.
pub(crate) struct Written {
    pub id: EventId,
    pub payload: String,
    pub metadata: String,
    pub content: Hash,
}

impl Pending {
    pub fn new(append: Append, reply: oneshot::Sender<Answer>) -> Result<Self, AppendError> {
        let payloads: Vec<String> = append.events.iter().map(|draft| canonical(&draft.event)).collect();
        append.is_possible(&payloads)?;
        let keys = append.events.iter().map(|draft| draft.key.as_deref().map(stored_key)).collect();
        let written = append.events.iter().zip(payloads);
        let written = written.map(|(draft, payload)| Written::new(&append, draft, payload)).collect();
        Ok(Self { append, keys, written, tried_at: AtomicU64::new(0), since: Instant::now(), reply })
    }

    pub fn tried_at(&self) -> Option<u64> {
        Some(self.tried_at.load(Ordering::Relaxed)).filter(|seq| *seq > 0)
    }

    /// Noted before the try: its rows borrow the texts of the whole group until the database has answered.
    pub fn try_at(&self, seq: u64) {
        self.tried_at.store(seq, Ordering::Relaxed);
    }

    pub fn answer(self, answer: Answer) {
        // A caller that went away does not mind.
        let _ = self.reply.send(answer);
    }

    /// What its stored keys say of it: all of them, and it was written before; some, and it must not be written.
    pub fn judge_by_keys(&self, seen: &HashMap<(ClientId, Uuid), u64>) -> Option<Answer> {
        let keys: Vec<Uuid> = self.keys.iter().flatten().copied().collect();
        let stored: Vec<u64> = keys.iter().filter_map(|key| seen.get(&(self.append.client, *key)).copied()).collect();
        let (first, last) = (*stored.iter().min()?, *stored.iter().max()?);
        if stored.len() == keys.len() {
            return Some(Ok(Receipt { first, last, repeated: true }));
        }
        let (aggregate, of) = (self.append.aggregate.clone(), self.keys.len());
        Some(Err(AppendError::PartlyStored { aggregate, stored, of }))
    }
}

impl Written {
    fn new(append: &Append, draft: &Draft, payload: String) -> Self {
        let id = EventId::new();
        let metadata = canonical(&Metadata {
            actor: append.cause.actor.clone(),
            correlation: append.cause.correlation,
            causation: append.cause.causation,
            build: BUILD.to_owned(),
            key: draft.key.clone(),
        });
        let content = Content {
            client: append.client,
            aggregate_type: &append.aggregate.kind,
            aggregate_id: &append.aggregate.id,
            event: id,
            event_type: draft.event.event_type(),
            event_version: draft.event.version(),
            occurred_at: draft.event.at(),
            metadata: &metadata,
            payload: &payload,
        }
        .hash();
        Self { id, payload, metadata, content }
    }
}

/// Which build wrote an event: the commit where the build was told it, else the crate's version.
pub const BUILD: &str = match option_env!("PIPELABS_BUILD") {
    Some(build) if !build.is_empty() => build,
    Some(_) | None => env!("CARGO_PKG_VERSION"),
};
