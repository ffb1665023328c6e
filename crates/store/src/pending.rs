//! A command on its way to its place in a stream.

use std::{collections::HashMap, time::Instant};

use events::{ClientId, EventId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::append::{Append, AppendError, Receipt, stored_key};

pub(crate) type Answer = Result<Receipt, AppendError>;

/// A command that waits for its place. Its events' ids are chosen once, so that a lost answer can be looked up.
pub(crate) struct Pending {
    pub append: Append,
    pub keys: Vec<Option<Uuid>>,
    pub ids: Vec<EventId>,
    /// The number that its first event was last tried at: if the answer was lost, it stands there or nowhere.
    pub tried_at: Option<u64>,
    pub since: Instant,
    reply: oneshot::Sender<Answer>,
}

impl Pending {
    pub fn new(append: Append, reply: oneshot::Sender<Answer>) -> Self {
        let keys = append.events.iter().map(|draft| draft.key.as_deref().map(stored_key)).collect();
        let ids = append.events.iter().map(|_| EventId::new()).collect();
        Self { append, keys, ids, tried_at: None, since: Instant::now(), reply }
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
