//! What a read model is: tables, a pure fold, and a save that moves with the checkpoint.

use async_trait::async_trait;
use events::{ClientId, Recorded};
use sqlx::PgConnection;
use store::ReadError;

/// A read model of one client, as it stood after some event.
pub trait Projection: Sized + Send + 'static {
    /// In checkpoints, commands and answers.
    const NAME: &'static str;
    /// Raised when the fold means something else than before; a rebuild is due then.
    const FOLD: u32;
    /// Events in one batch, as long as batches are quick. More where a batch costs much by itself and little is kept of each
    /// event until it is saved.
    const BATCH: u64 = 4_096;
    /// The statements that make its tables, run in the schema of one version. `client_id` comes first in every key.
    const TABLES: &'static str;

    /// The model of this client as it stands after `reached`: as much of it as folding needs. Its tables are found by the
    /// connection's search path.
    fn open(
        db: &mut PgConnection,
        client: ClientId,
        reached: u64,
    ) -> impl Future<Output = Result<Self, ProjectError>> + Send;

    /// Takes one event in. Pure: no clock, no chance, nothing read.
    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError>;

    /// Writes what changed since it was opened or saved last.
    fn save(
        &mut self,
        db: &mut PgConnection,
        client: ClientId,
        reached: u64,
    ) -> impl Future<Output = Result<(), ProjectError>> + Send;
}

/// Why events could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("the database did not take the rows")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("event {seq} cannot be folded: {reason}")]
    Unfoldable { seq: u64, reason: String },
    #[error("the fold broke: {0}")]
    Panicked(String),
}

impl ProjectError {
    /// Whether it is the connection's fault rather than the event's: trying again later is right, parking is not.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(cause) | Self::Read(ReadError::Database { cause, .. }) => is_passing(cause),
            Self::Read(ReadError::Corrupt(_)) | Self::Unfoldable { .. } | Self::Panicked(_) => false,
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is sqlx's and open: what it adds must not be tried for ever"
)]
fn is_passing(cause: &sqlx::Error) -> bool {
    match cause {
        // Connections, transaction state, rollbacks, resources, an operator's intervention.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["08", "25", "40", "53", "57"].iter().any(|class| code.starts_with(class)))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// What one step of a worker came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Every client of this read model that is not parked or in another worker's hands has reached its head.
    Idle,
    /// Events were folded and saved.
    Folded { client: ClientId, events: u64, reached: u64 },
    /// A try failed; it was counted and will be made again.
    Failed { client: ClientId, trouble: String },
    /// The client's next event failed too often. A person has to retry or skip it.
    Parked { client: ClientId, seq: u64, trouble: String },
}

/// A worker of one read model, whichever it is.
#[async_trait]
pub trait ReadModel: Send {
    fn name(&self) -> &'static str;

    /// The statements that make its tables.
    fn tables(&self) -> &'static str;

    /// A text that changes with its tables and with its fold.
    fn shape(&self) -> String;

    /// Works on this version instead of the live one.
    fn on_version(&mut self, version: i32);

    /// One more worker of the same version, over the same connections: the two share the work.
    fn another(&self) -> Box<dyn ReadModel>;

    /// Takes one client forward by at most one batch.
    async fn step(&mut self) -> Result<Step, ProjectError>;
}
