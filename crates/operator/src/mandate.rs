//! What a hand works with, and in whose name: the client's lease, and the means to act.

use std::{sync::Arc, time::Duration};

use domain::bot::{Bot, BotCommand, BotRefusal, Deed, Sight};
use events::{AccountName, BotId, ClientId, Time};
use hummingbot::{Hummingbot, mqtt::Bots};
use sqlx::PgPool;
use store::{Cause, ExecuteError, Fence, ReadError, Streams};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use vault::Vault;

use crate::{keep::Gate, operator::Settings, switchboard::Switchboard};

/// What every hand of this process works with.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub streams: Streams,
    /// Connections of login `operator`.
    pub db: PgPool,
    /// Connections of login `query`: one client a transaction.
    pub query: PgPool,
    pub hummingbot: Hummingbot,
    pub bots: Bots,
    /// Bots that are asked for their histories at once: answers have megabytes, and all at once would be in each other's way
    /// until each is given up and asked for again.
    pub histories: Arc<Semaphore>,
    pub vault: Vault,
    pub switchboard: Switchboard,
    pub settings: Settings,
}

/// The right to act for one client, for as long as its lease is held.
#[derive(Debug, Clone)]
pub(crate) struct Mandate {
    pub client: ClientId,
    pub fence: Fence,
    /// Until when the lease holds, by this process' own clock.
    pub until: watch::Receiver<Instant>,
    /// Only one at a time compares this client's fills with what is recorded.
    pub gate: Gate,
    pub means: Means,
}

/// Why a deed or a collection came to nothing this time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandError {
    #[error("another process acts for the client by now")]
    Overtaken,
    #[error("could not record it: {0}")]
    Record(#[from] store::AppendError),
    #[error("could not read what was recorded: {0}")]
    Read(#[from] ReadError),
    #[error("could not ask the database: {0}")]
    Model(#[from] sqlx::Error),
    #[error(transparent)]
    Hummingbot(#[from] hummingbot::Fault),
    #[error("{0}")]
    NotYet(String),
}

impl<R: std::error::Error> From<ExecuteError<R>> for HandError {
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::NotYet(refusal.to_string()),
            ExecuteError::Append(store::AppendError::Stale { .. }) => Self::Overtaken,
            ExecuteError::Append(cause) => cause.into(),
            ExecuteError::Read(cause) => cause.into(),
        }
    }
}

impl Mandate {
    /// In whose name and under which lease its events are written.
    pub fn cause(&self) -> Cause {
        Cause::system("operator").under(self.fence.clone())
    }

    /// The client's account with Hummingbot: named by what never changes.
    pub fn account(&self) -> AccountName {
        self.client.into()
    }

    /// Whether anything may still be done outside. What is written is judged by the store; this keeps an overtaken process
    /// from asking Hummingbot.
    pub fn holds(&self) -> Result<(), HandError> {
        if Instant::now() < *self.until.borrow() { Ok(()) } else { Err(HandError::Overtaken) }
    }

    /// A bot as the stream tells it now.
    pub async fn bot(&self, bot: BotId) -> Result<Bot, HandError> {
        Ok(self.means.streams.load::<Bot>(self.client, &bot.to_string()).await?.0)
    }

    /// Tells what was done for a bot.
    pub async fn did(&self, bot: BotId, deed: Deed) -> Result<(), HandError> {
        self.tell(bot, BotCommand::Did { deed, at: Time::now() }).await
    }

    /// Tells what was seen of a bot.
    pub async fn saw(&self, bot: BotId, sight: Sight) -> Result<(), HandError> {
        self.tell(bot, BotCommand::Saw { sight, at: Time::now() }).await
    }

    async fn tell(&self, bot: BotId, command: BotCommand) -> Result<(), HandError> {
        let told = self.means.streams.execute::<Bot>(self.client, &bot.to_string(), command, None, &self.cause()).await;
        match told {
            Ok(_) => Ok(()),
            // Overtaken by another wish: what was done is judged by what is wanted now.
            Err(ExecuteError::Refused(
                BotRefusal::NotAskedToDeploy | BotRefusal::NotAskedToStop | BotRefusal::NotCreated,
            )) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// What a deed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done, or there was nothing to do.
    Done,
    /// It cannot be done yet: look again then.
    Later(Duration),
}
