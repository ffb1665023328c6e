//! What of each client is on its way in this process, so that nobody's slow receivers hold up anybody else's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use events::ClientId;
use tokio::sync::OwnedSemaphorePermit;

/// How many messages of each client are on their way.
#[derive(Debug, Default)]
pub(crate) struct Sending(Mutex<HashMap<ClientId, i64>>);

impl Sending {
    /// How many of each client there are.
    pub fn now(&self) -> HashMap<ClientId, i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, client: ClientId, by: i64) {
        let mut sending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sending.entry(client).or_default() += by;
        sending.retain(|_, count| *count > 0);
    }
}

/// A message that is on its way, until this is dropped, however that comes.
pub(crate) struct OnItsWay {
    sending: Arc<Sending>,
    client: ClientId,
    _place: OwnedSemaphorePermit,
}

impl OnItsWay {
    pub fn new(sending: &Arc<Sending>, client: ClientId, place: OwnedSemaphorePermit) -> Self {
        sending.count(client, 1);
        Self { sending: Arc::clone(sending), client, _place: place }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.sending.count(self.client, -1);
    }
}
