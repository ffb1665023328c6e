//! Who looked at which client: told once an hour for each person and route, of everybody but the client's own people.
//!
//! A look is told before its answer goes out. Where that takes too long, because the database is busy or away, the answer
//! goes out and the look is told as soon as can be: it is kept until then, and whoever looks again waits for nothing.

use std::{collections::VecDeque, fmt, time::Duration};

use events::{ClientId, Time, UserId, desk::DeskEvent};
use moka::sync::Cache;
use serde::Serialize;
use sqlx::PgPool;
use store::{Cause, read};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::register::{Register, stamp};

/// How long an answer waits for its look to be told.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// After trouble with the database.
const PAUSE: Duration = Duration::from_secs(1);
/// A process that ends tells what waits, but not for ever.
const GOODBYE_MAX: Duration = Duration::from_secs(5);
/// Looks that are known to be told, or on their way.
const REMEMBERED_MAX: u64 = 100_000;
const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_US: i64 = 3_600 * 1_000_000;

/// Somebody looks at what a client has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Look {
    pub user: UserId,
    /// Absent where it is about all clients at once.
    pub client: Option<ClientId>,
    /// Method and path as the description writes it.
    pub route: String,
}

/// A look as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Looked {
    /// Later ones have higher places.
    #[serde(skip)]
    pub place: i64,
    /// The first time in that hour.
    pub at: Time,
    pub user_id: UserId,
    /// Null where it was about all clients at once.
    pub client_id: Option<ClientId>,
    pub route: String,
}

/// Notes who looks at what. Clones share what they know.
#[derive(Clone)]
pub struct Looks {
    register: Register,
    known: Cache<(Look, i64), ()>,
    tell: mpsc::UnboundedSender<Told>,
}

/// One to be told, and who waits for that.
struct Told {
    look: Look,
    at: Time,
    done: oneshot::Sender<()>,
}

impl Looks {
    /// Tells them until told to stop, and then what is left.
    pub fn start(register: Register, stop: CancellationToken) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(keep_on(register.clone(), told, stop));
        let known = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(HOUR).build();
        Self { register, known, tell }
    }

    /// Notes a look, if it is the first one in its hour. Each is sent on its way once, so what waits is bounded by how many
    /// people, clients and routes there are.
    pub async fn note(&self, look: Look, at: Time) {
        let mut first = false;
        self.known.get_with((look.clone(), at.micros().div_euclid(HOUR_US)), || first = true);
        if !first {
            return;
        }
        let (done, heard) = oneshot::channel();
        // Nobody tells any more: the process ends, and takes no requests.
        if self.tell.send(Told { look, at, done }).is_ok() {
            drop(tokio::time::timeout(WAIT_MAX, heard).await);
        }
    }

    /// Those of a client and of all clients at once, or else all, before a place, the newest first.
    pub async fn list(&self, client: Option<ClientId>, before: Option<i64>, limit: u32) -> sqlx::Result<Vec<Looked>> {
        let mut tx = self.register.auth().begin().await?;
        if let Some(client) = client {
            read::for_client(&mut tx, client).await?;
        }
        let rows = sqlx::query!(
            r#"
            select place, at, user_id, client_id, route
              from auth.looks
             where ($1::uuid is null or client_id = $1 or client_id = '00000000-0000-0000-0000-000000000000')
               and ($2::bigint is null or place < $2)
             order by place desc
             limit $3
            "#,
            client.map(|client| client.0),
            before,
            i64::from(limit)
        )
        .fetch_all(&mut *tx)
        .await?;
        let looked = rows.into_iter().map(|row| Looked {
            place: row.place,
            at: row.at.into(),
            user_id: UserId(row.user_id),
            client_id: Some(ClientId(row.client_id)).filter(|client| *client != ClientId::DESK),
            route: row.route,
        });
        Ok(looked.collect())
    }
}

async fn keep_on(register: Register, mut told: mpsc::UnboundedReceiver<Told>, stop: CancellationToken) {
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            one = told.recv() => match one {
                Some(one) => waiting.push_back(one),
                None => return,
            },
            () = stop.cancelled() => break,
        }
        tell(&register, &mut waiting, &mut told, &stop).await;
    }
    while let Ok(one) = told.try_recv() {
        waiting.push_back(one);
    }
    let rest = async {
        while let Some(one) = waiting.pop_front() {
            keep(&register, &one).await?;
        }
        Ok::<_, sqlx::Error>(())
    };
    if !matches!(tokio::time::timeout(GOODBYE_MAX, rest).await, Ok(Ok(()))) {
        tracing::error!("who looked at which client could not be told before the process ended");
    }
}

/// Tells what waits, however long that takes, unless told to stop.
async fn tell(
    register: &Register,
    waiting: &mut VecDeque<Told>,
    told: &mut mpsc::UnboundedReceiver<Told>,
    stop: &CancellationToken,
) {
    while let Some(one) = waiting.front() {
        match keep(register, one).await {
            Ok(()) => {
                if let Some(Told { done, .. }) = waiting.pop_front() {
                    // Whoever waited may have gone on.
                    let _ = done.send(());
                }
            }
            Err(cause) => {
                tracing::warn!(error = %cause, waiting = waiting.len(), "who looked at which client is told later");
                tokio::select! { () = tokio::time::sleep(PAUSE) => {}, () = stop.cancelled() => return }
            }
        }
        while let Ok(one) = told.try_recv() {
            waiting.push_back(one);
        }
    }
}

/// One row and its event; nothing where another process was first.
async fn keep(register: &Register, Told { look, at, .. }: &Told) -> sqlx::Result<()> {
    let Look { user, client, route } = look.clone();
    let (at, cause) = (*at, Cause::user(user));
    let mut change = register.change(&cause).await?;
    let hour = Time::EPOCH.plus_micros(at.micros().div_euclid(HOUR_US) * HOUR_US);
    let kept = sqlx::query!(
        r#"
        insert into auth.looks (client_id, hour, user_id, route, at)
        values ($1, $2, $3, $4, $5)
        on conflict do nothing
        "#,
        client.unwrap_or(ClientId::DESK).0,
        stamp(hour),
        user.0,
        route,
        stamp(at)
    );
    if kept.execute(&mut *change.db).await?.rows_affected() > 0 {
        change.note(user, &DeskEvent::ClientAccessed { user, client, route, at }).await?;
    }
    change.commit().await
}

/// Throws away what is long over: the desk's stream keeps it.
pub(crate) async fn forget(auth: &PgPool) -> sqlx::Result<()> {
    sqlx::query!("delete from auth.looks where at < now() - interval '400 days'").execute(auth).await.map(drop)
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks").finish_non_exhaustive()
    }
}
