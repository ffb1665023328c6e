//! The relay itself: sees which streams moved, gives each client its turn, and never ends before it is told to.

use std::{fmt, num::NonZeroU64, pin::pin, sync::Arc, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};
use events::ClientId;
use futures::{StreamExt, stream::FuturesUnordered};
use sqlx::PgPool;
use store::{Streams, Wakes, read};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    checkpoints,
    copy::{self, CopyError, Found},
    dead_man,
    diverged::{self, TellError},
    heads,
    lines::{Line, Lines},
    publish::{PublishFault, publish},
    session::Session,
    tenancy::{keys::RelayKeys, provide::Landlord},
    told::{self, Connected},
};

/// Clients that have their turn at once.
const AT_ONCE: usize = 8;
/// Between two looks at the heads at least, so that many small appends are one look.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// How long another relay is left alone with a client at least.
const STAND_BACK: Duration = Duration::from_millis(50);
/// Between two tries to reach a NATS that does not answer.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What can be chosen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Messages that NATS keeps of each client at most; all, if absent.
    pub kept_max: Option<NonZeroU64>,
}

/// How NATS is reached.
#[derive(Debug, Clone)]
pub enum Access {
    /// It lets everybody in, who then may do anything: for development. There are no subscribers.
    Open,
    /// Under these keys; each client has an account of its own.
    Accounts(Arc<RelayKeys>),
}

/// Any number of these may run, in any processes.
pub struct Relay {
    db: PgPool,
    streams: Streams,
    server: ServerAddr,
    options: ConnectOptions,
    landlord: Option<Landlord>,
    settings: Settings,
    connected: Connected,
    /// Other for each relay, so that of two that met one comes back first.
    stand_back: Duration,
}

impl fmt::Debug for Relay {
    /// The address may hold a password, the options keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why a client's turn failed.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Publish(#[from] PublishFault),
    #[error(transparent)]
    Tell(#[from] TellError),
    #[error("could not note what NATS holds")]
    Checkpoint(#[from] sqlx::Error),
}

impl Relay {
    /// Reads over connections of login `relay`; writes of copies that diverged, and of subscriptions that it let in or go.
    pub fn new(db: PgPool, streams: Streams, server: ServerAddr, access: Access, settings: Settings) -> Self {
        let stand_back = STAND_BACK + Duration::from_millis(u64::from(Uuid::new_v4().as_bytes()[0]) / 2);
        let (options, landlord) = match access {
            Access::Open => (ConnectOptions::new(), None),
            Access::Accounts(keys) => {
                let (db, streams, server) = (db.clone(), streams.clone(), server.clone());
                (keys.as_relay(), Some(Landlord { keys, server, db, streams }))
            }
        };
        Self { db, streams, server, options, landlord, settings, connected: Connected::default(), stand_back }
    }

    /// Whether it is connected, for somebody else to ask.
    pub fn connected(&self) -> Connected {
        self.connected.clone()
    }

    /// Publishes until told to stop; what is in flight then is still waited for. A NATS or Postgres that is away is waited
    /// for, too.
    pub async fn run(self, stop: CancellationToken) {
        told::describe();
        self.connected.tell(false);
        tokio::spawn(dead_man::watch(self.db.clone(), self.streams.clone(), stop.clone()));
        let wakes = Wakes::new(self.db.clone());
        let mut lines = Lines::known(checkpoints::all(&self.db).await.unwrap_or_default());
        let mut pause = CONNECT_PAUSE;
        while !stop.is_cancelled() {
            match Session::open(&self.server, &self.options, self.connected.clone()).await {
                Ok(session) => {
                    pause = CONNECT_PAUSE;
                    self.serve(&session, &mut lines, wakes.clone(), &stop).await;
                    self.connected.tell(false);
                }
                Err(cause) => {
                    warn!(error = causes(&cause), "nothing is published: subscribers wait, nobody else does");
                    match read::heads_of_all(&self.db).await {
                        Ok(heads) => lines.moved(&heads),
                        Err(cause) => warn!(error = %cause, "could not read where the streams stand"),
                    }
                    told::lag(lines.lag_max(), lines.diverged());
                }
            }
            tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => {} }
            pause = (pause * 2).min(CONNECT_PAUSE_MAX);
        }
    }

    /// Gives turns as long as the session lasts. Nothing is waited for outside a `select!`: a turn that is not polled
    /// could hold the connection of the database that is waited for.
    async fn serve(&self, session: &Session, lines: &mut Lines, wakes: Wakes, stop: &CancellationToken) {
        let (tell, mut seen) = watch::channel(Vec::new());
        let heads = seen.clone();
        let mut beside = pin!(async {
            let follow = self.follow_heads(wakes, tell);
            let heads_told = heads::tell(session, &self.db);
            let beats = dead_man::beat(&session.client, &self.db);
            tokio::join!(follow, heads_told, beats, self.look_after(session, heads))
        });
        let mut turns = FuturesUnordered::new();
        while !stop.is_cancelled() && !session.is_closed() {
            let connects = session.connects();
            if session.is_connected() {
                for (client, line) in lines.take(connects, AT_ONCE - turns.len()) {
                    turns.push(self.turn(session, client, line, stop));
                }
            }
            let may_start = session.is_connected() && turns.len() < AT_ONCE;
            tokio::select! {
                Some((client, line)) = turns.next(), if !turns.is_empty() => lines.put(client, line),
                Ok(()) = seen.changed() => lines.moved(&seen.borrow_and_update()),
                () = pause_ends(lines.next_due()), if may_start => {}
                () = session.is_another_than(connects) => {}
                ((), (), (), ()) = &mut beside => {}
                () = stop.cancelled() => {}
            }
            told::lag(lines.lag_max(), lines.diverged());
        }
        while !turns.is_empty() {
            tokio::select! {
                Some((client, line)) = turns.next() => lines.put(client, line),
                ((), (), (), ()) = &mut beside => {}
            }
        }
    }

    /// Tells where the streams stand, for ever: as soon as one moved, and each second.
    async fn follow_heads(&self, mut wakes: Wakes, tell: watch::Sender<Vec<(ClientId, u64)>>) {
        loop {
            match read::heads_of_all(&self.db).await {
                Ok(heads) => drop(tell.send_replace(heads)),
                Err(cause) => warn!(error = %cause, "could not read where the streams stand, looking again"),
            }
            tokio::time::sleep(LOOK_PAUSE).await;
            wakes.next().await;
        }
    }

    /// Keeps clients' accounts, where there are any.
    async fn look_after(&self, session: &Session, heads: watch::Receiver<Vec<(ClientId, u64)>>) {
        match &self.landlord {
            Some(landlord) => landlord.keep(session, heads).await,
            None => std::future::pending().await,
        }
    }

    /// One client's turn: what NATS holds, if that is not known, and then what it lacks.
    async fn turn(
        &self,
        session: &Session,
        client: ClientId,
        mut line: Line,
        stop: &CancellationToken,
    ) -> (ClientId, Line) {
        let faults = line.faults();
        match self.advance(session, client, &mut line, stop).await {
            Ok(()) => {}
            Err(TurnError::Publish(PublishFault::Overtaken { seq })) => {
                debug!(client.id = %client, seq, "NATS does not stand before event {seq} of client {client}");
                told::overtaken();
                line.leave_alone(self.stand_back);
            }
            Err(fault) => {
                let causes = causes(&fault);
                warn!(client.id = %client, error = causes, "could not publish events of client {client}, trying again");
                told::failed();
                line.failed(faults);
            }
        }
        (client, line)
    }

    async fn advance(
        &self,
        session: &Session,
        client: ClientId,
        line: &mut Line,
        stop: &CancellationToken,
    ) -> Result<(), TurnError> {
        let connects = session.connects();
        if !line.is_agreed(connects) {
            match copy::look(session, &self.db, client, line.head, self.settings.kept_max).await? {
                Found::Ours(reached) if line.is_others(reached) => {
                    line.reached = reached;
                    line.leave_alone(self.stand_back);
                    return Ok(());
                }
                Found::Ours(reached) => {
                    checkpoints::found(&self.db, client, reached).await?;
                    line.agreed(connects, reached);
                }
                Found::Diverged(divergence) => {
                    diverged::tell(&self.streams, &self.db, client, &divergence).await?;
                    line.diverged();
                    return Ok(());
                }
            }
        }
        Ok(publish(session, &self.db, client, &mut line.reached, stop).await?)
    }
}

/// Resolves then; never, if nobody pauses.
async fn pause_ends(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What went wrong, down to the first cause.
fn causes(fault: &dyn std::error::Error) -> String {
    let mut said = fault.to_string();
    let mut cause = fault.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}
