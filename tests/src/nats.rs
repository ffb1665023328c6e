//! A nats-server as its tests need it: where it answers, and whoever they want to be there.

use std::{fs, path::PathBuf, sync::Arc};

use async_nats::{Client, ConnectError, ConnectOptions, jetstream::Context};
use pipelabs::{nats_keys::NatsKeys, stack::Stack};
use relay::{Access, tenancy::keys::RelayKeys};
use secrecy::ExposeSecret;

/// How long a test may be somebody who may do anything.
const ADMIN_LIFE_US: i64 = 24 * 3_600 * 1_000_000;

/// Where a nats-server answers, and its keys.
#[derive(Debug, Clone)]
pub struct Nats {
    pub url: String,
    /// Absent where everybody is let in.
    pub keys: Option<NatsKeys>,
}

impl Nats {
    pub fn of(stack: &Stack, url: &str) -> Self {
        Self { url: url.to_owned(), keys: stack.nats_keys() }
    }

    /// `NATS_KEYS` of a process with every role.
    pub fn keys_file(&self) -> Option<PathBuf> {
        self.keys.as_ref().map(NatsKeys::relay)
    }

    /// What a relay has.
    pub fn access(&self) -> Access {
        let Some(file) = self.keys_file() else { return Access::Open };
        let text = fs::read_to_string(file).expect("its keys can be read");
        Access::Accounts(Arc::new(RelayKeys::read(&text.into()).expect("they are keys of a relay")))
    }

    /// Somebody who may do anything with our streams.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn admin(&self) -> Client {
        self.try_admin().await.expect("NATS answers")
    }

    /// The same of one that may be down.
    pub async fn try_admin(&self) -> Result<Client, ConnectError> {
        let options = match &self.keys {
            Some(keys) => {
                let creds = keys.admin(ADMIN_LIFE_US).expect("the offline keys are here");
                ConnectOptions::with_credentials(creds.expose_secret()).expect("they are credentials")
            }
            None => ConnectOptions::new(),
        };
        options.connect(&self.url).await
    }

    /// JetStream, in that hand.
    pub async fn jetstream(&self) -> Context {
        async_nats::jetstream::new(self.admin().await)
    }
}
