//! What NATS' servers know of accounts: asked and told over the system account.

use std::time::Duration;

use async_nats::{Client, ConnectError, RequestErrorKind, ServerAddr, client::RequestError};
use bytes::Bytes;
use serde::Deserialize;

use super::keys::RelayKeys;

/// How long an answer of a server is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A connection into the system account.
#[derive(Debug)]
pub(crate) struct Registry(Client);

/// Why servers could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("could not connect to the system account of NATS")]
    Connect(#[from] ConnectError),
    #[error("no server keeps accounts: start nats-server with what `pipelabs nats bootstrap` wrote")]
    NobodyKeeps,
    #[error("could not {what} an account")]
    Ask {
        what: &'static str,
        #[source]
        cause: RequestError,
    },
    #[error("NATS did not take an account: {0}")]
    Refused(String),
    #[error("NATS answered something that is no answer")]
    Unreadable(#[from] serde_json::Error),
}

/// What a server says of an account that it was told of.
#[derive(Deserialize)]
struct Answer {
    data: Option<Taken>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Taken {
    code: u16,
    message: String,
}

#[derive(Deserialize)]
struct Refusal {
    description: String,
}

impl Registry {
    pub async fn open(server: &ServerAddr, keys: &RelayKeys) -> Result<Self, RegistryError> {
        let options = keys.as_system().name("pipelabs accounts").request_timeout(Some(ANSWER_MAX));
        Ok(Self(options.connect(server.clone()).await?))
    }

    /// What is claimed of an account; empty if nothing is.
    pub async fn look_up(&self, account: &str) -> Result<Bytes, RegistryError> {
        self.ask("look up", format!("$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP"), Bytes::new()).await
    }

    /// Tells servers what is claimed of an account. They act on it before they answer.
    pub async fn tell(&self, claim: String) -> Result<(), RegistryError> {
        let answer = self.ask("tell of", "$SYS.REQ.CLAIMS.UPDATE".to_owned(), claim.into()).await?;
        match serde_json::from_slice(&answer)? {
            Answer { error: Some(refusal), .. } => Err(RegistryError::Refused(refusal.description)),
            Answer { data: Some(Taken { code: 200, .. }), .. } => Ok(()),
            Answer { data: Some(Taken { message, .. }), .. } => Err(RegistryError::Refused(message)),
            Answer { data: None, error: None } => Err(RegistryError::Refused("no reason was given".to_owned())),
        }
    }

    async fn ask(&self, what: &'static str, subject: String, payload: Bytes) -> Result<Bytes, RegistryError> {
        match self.0.request(subject, payload).await {
            Ok(answer) => Ok(answer.payload),
            Err(cause) if cause.kind() == RequestErrorKind::NoResponders => Err(RegistryError::NobodyKeeps),
            Err(cause) => Err(RegistryError::Ask { what, cause }),
        }
    }
}
