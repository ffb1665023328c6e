//! Tells followers that heads have moved, outside every append.
//!
//! `NOTIFY` inside the append would serialise all commits of the database. The signal says nothing but "look": a lost
//! one costs time only, because every follower also looks by itself.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::watch;

/// The channel's name.
pub const HEADS_MOVED: &str = "heads_moved";

/// Signals a second at most: one a millisecond.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a follower trusts silence: with what gathers meanwhile, nothing is seen more than a second late.
const LOOK_ANYWAY: Duration = Duration::from_millis(500);

/// The sender's side, one in each committer.
pub(crate) struct Waker {
    moved: watch::Sender<()>,
}

impl Waker {
    pub fn start(db: PgPool) -> Self {
        let (moved, wait) = watch::channel(());
        tokio::spawn(send(db, wait));
        Self { moved }
    }

    pub fn wake(&self) {
        self.moved.send_replace(());
    }
}

/// Ends when the committer is gone.
async fn send(db: PgPool, mut moved: watch::Receiver<()>) {
    while moved.changed().await.is_ok() {
        if let Err(cause) = signal(&db).await {
            tracing::debug!(error = %cause, "could not signal that heads moved; followers look by themselves");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One round trip, outside every other transaction. Nobody waits for it to be durable; the truth is in the streams.
async fn signal(db: &PgPool) -> sqlx::Result<()> {
    sqlx::query("select pg_notify($1, ''), set_config('synchronous_commit', 'off', true)")
        .bind(HEADS_MOVED)
        .execute(db)
        .await
        .map(drop)
}

/// The receiver's side: resolves when heads may have moved. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Wakes {
    moved: watch::Receiver<u64>,
}

impl Wakes {
    /// Listens on a connection of this pool until the last clone is gone.
    pub fn new(db: PgPool) -> Self {
        let (signal, moved) = watch::channel(0);
        tokio::spawn(receive(db, signal));
        Self { moved }
    }

    /// Waits for a signal, at most half a second. Never fails: without a connection it only waits.
    pub async fn next(&mut self) {
        // An ended listener is silence, too.
        let signal = async {
            if self.moved.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(LOOK_ANYWAY, signal).await;
    }
}

async fn receive(db: PgPool, signal: watch::Sender<u64>) {
    while !signal.is_closed() {
        if let Err(cause) = listen(&db, &signal).await {
            tracing::debug!(error = %cause, "cannot listen for moved heads; followers look by themselves");
        }
        tokio::time::sleep(LOOK_ANYWAY).await;
    }
}

async fn listen(db: &PgPool, signal: &watch::Sender<u64>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(db).await?;
    listener.listen(HEADS_MOVED).await?;
    loop {
        // Something may have moved before we listened.
        signal.send_modify(|count| *count += 1);
        tokio::select! {
            heard = listener.recv() => drop(heard?),
            () = signal.closed() => return Ok(()),
        }
    }
}
