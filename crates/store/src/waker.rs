//! Tells followers that heads have moved, outside every append.
//!
//! `NOTIFY` inside the append would serialise all commits of the database. The signal says nothing but "look": a lost
//! one costs time only, because every follower also looks by itself each second.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::Notify;

/// The channel's name.
pub const HEADS_MOVED: &str = "heads_moved";

/// Signals a second at most: one a millisecond.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a follower trusts silence.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// The sender's side, one in each committer.
pub(crate) struct Waker {
    moved: Arc<Notify>,
}

impl Waker {
    pub fn start(db: PgPool) -> Self {
        let moved = Arc::new(Notify::new());
        tokio::spawn(send(db, Arc::downgrade(&moved), Arc::clone(&moved)));
        Self { moved }
    }

    pub fn wake(&self) {
        self.moved.notify_one();
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.moved.notify_one();
    }
}

async fn send(db: PgPool, alive: std::sync::Weak<Notify>, moved: Arc<Notify>) {
    loop {
        moved.notified().await;
        // Nobody waits for this to be durable; the truth is in the streams.
        let signal = sqlx::raw_sql("begin; set local synchronous_commit = off; notify heads_moved; commit");
        if let Err(cause) = signal.execute(&db).await {
            tracing::debug!(error = %cause, "could not signal that heads moved; followers look by themselves");
        }
        if alive.strong_count() <= 1 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The receiver's side: resolves when heads may have moved.
#[derive(Debug)]
pub struct Wakes {
    db: PgPool,
    listener: Option<PgListener>,
}

impl Wakes {
    /// Listens on a connection of this pool; connects when it is first waited for.
    pub fn new(db: PgPool) -> Self {
        Self { db, listener: None }
    }

    /// Waits for a signal, at most a second. Never fails: without a connection it only waits.
    pub async fn next(&mut self) {
        let _ = tokio::time::timeout(LOOK_ANYWAY, self.signal()).await;
    }

    async fn signal(&mut self) {
        if self.listener.is_none() {
            match self.listen().await {
                // Something may have moved before we listened.
                Ok(listener) => self.listener = Some(listener),
                Err(cause) => {
                    tracing::debug!(error = %cause, "cannot listen for moved heads; looking each second");
                    std::future::pending::<()>().await;
                }
            }
            return;
        }
        let listener = self.listener.as_mut().expect("connected above");
        if listener.recv().await.is_err() {
            self.listener = None;
        }
        while let Some(Ok(Some(_))) =
            self.listener.as_mut().and_then(|l| futures::FutureExt::now_or_never(l.try_recv()))
        {}
    }

    async fn listen(&self) -> sqlx::Result<PgListener> {
        let mut listener = PgListener::connect_with(&self.db).await?;
        listener.listen(HEADS_MOVED).await?;
        Ok(listener)
    }
}
