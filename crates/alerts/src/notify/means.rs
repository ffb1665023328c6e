//! By what means people are told, and who opens where a channel leads.

use std::sync::Arc;

use events::{ChannelId, ClientId, SealedId};
use futures::future::BoxFuture;
use secrecy::SecretString;

use super::{mail::Mailer, post::Post};

/// A target as the vault opens it: where it leads, and what is signed by.
#[derive(Debug, Clone)]
pub struct Opened {
    pub target: SecretString,
    pub signing: SecretString,
}

/// Why a target was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOpened {
    /// It may be the next time: that is no fault of the channel's.
    NotNow(String),
    Never(String),
}

/// Whoever opens targets.
pub trait Keys: Send + Sync {
    fn open(&self, client: ClientId, channel: ChannelId, sealed: SealedId) -> BoxFuture<'_, Result<Opened, NotOpened>>;
}

/// By what means people are told.
#[derive(Clone)]
pub struct Means {
    pub keys: Arc<dyn Keys>,
    pub post: Post,
    /// Absent where this desk sends no e-mail.
    pub mailer: Option<Mailer>,
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("mailer", &self.mailer.is_some()).finish_non_exhaustive()
    }
}
