//! Tells followers that heads, or the read models after them, have moved; outside every append.
//!
//! `NOTIFY` inside the append would serialise all commits of the database. The signal says nothing but "look": a lost
//! one costs time only, because every follower also looks by itself.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::watch;

/// Something was appended.
pub const HEADS_MOVED: &str = "heads_moved";
/// A read model has read on.
pub const CHECKPOINTS_MOVED: &str = "checkpoints_moved";

/// Two signals are so far apart: each has every follower of every process ask the database.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a follower trusts silence: with what gathers meanwhile, nothing is seen more than a second late.
const LOOK_ANYWAY: Duration = Duration::from_millis(500);

/// The sender's side: one in each committer, one for the workers of a process.
#[derive(Debug, Clone)]
pub struct Waker {
    moved: watch::Sender<()>,
}

impl Waker {
    /// Signals on a channel, over connections of this pool.
    pub fn start(db: PgPool, channel: &'static str) -> Self {
        let (moved, wait) = watch::channel(());
        tokio::spawn(send(db, channel, wait));
        Self { moved }
    }

    /// There is something to look at. Never waits.
    pub fn wake(&self) {
        self.moved.send_replace(());
    }
}

/// Ends when its owners are gone.
async fn send(db: PgPool, channel: &'static str, mut moved: watch::Receiver<()>) {
    while moved.changed().await.is_ok() {
        if let Err(cause) = signal(&db, channel).await {
            tracing::debug!(error = %cause, "could not signal {channel}; followers look by themselves");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One round trip, outside every other transaction. Nobody waits for it to be durable; the truth is in the streams.
async fn signal(db: &PgPool, channel: &str) -> sqlx::Result<()> {
    sqlx::query("select pg_notify($1, ''), set_config('synchronous_commit', 'off', true)")
        .bind(channel)
        .execute(db)
        .await
        .map(drop)
}

/// The receiver's side: resolves when something may have moved. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Wakes {
    moved: watch::Receiver<u64>,
}

impl Wakes {
    /// Listens for moved heads on a connection of this pool, until the last clone is gone.
    pub fn new(db: PgPool) -> Self {
        Self::to(db, &[HEADS_MOVED])
    }

    /// Listens to these channels.
    pub fn to(db: PgPool, channels: &'static [&'static str]) -> Self {
        let (signal, moved) = watch::channel(0);
        tokio::spawn(receive(db, channels, signal));
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

async fn receive(db: PgPool, channels: &'static [&'static str], signal: watch::Sender<u64>) {
    while !signal.is_closed() {
        if let Err(cause) = listen(&db, channels, &signal).await {
            tracing::debug!(error = %cause, "cannot listen to {channels:?}; followers look by themselves");
        }
        tokio::time::sleep(LOOK_ANYWAY).await;
    }
}

async fn listen(db: &PgPool, channels: &[&str], signal: &watch::Sender<u64>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(db).await?;
    listener.listen_all(channels.iter().copied()).await?;
    loop {
        // Something may have moved before we listened.
        signal.send_modify(|count| *count += 1);
        tokio::select! {
            heard = listener.recv() => drop(heard?),
            () = signal.closed() => return Ok(()),
        }
    }
}
