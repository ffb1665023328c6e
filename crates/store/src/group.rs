//! One group commit: what all waiting commands decided goes out with one round trip, and each gets its own answer.
//!
//! A command is answered only when its fate is durable: after the autocommit of the usual call, after the commit of a
//! try under locks. Whatever a try leaves unanswered is tried again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use events::ClientId;
use sqlx::{Acquire, PgConnection, PgPool, Postgres, pool::PoolConnection};
use uuid::Uuid;

use crate::{
    append::{AppendError, Expected, Receipt},
    leases::Fence,
    pending::{Answer, Pending},
    rows::number,
    tips::{self, Tips},
    waker::Waker,
};

/// How long a command is tried again after broken connections or held locks before its caller is told.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
/// How long one try may take: longer than the login's own limits, for a connection that went silent.
const TRY_MAX: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);

/// The commands of one group and what is known of their streams.
pub(crate) struct Group {
    pub waiting: Vec<Pending>,
    pub tips: Tips,
    pub waker: Arc<Waker>,
    /// The one that the last try was well served by; without it the pool is asked.
    pub connection: Option<PoolConnection<Postgres>>,
    /// Settled by the try that is under way, to be answered when it is durable.
    settled: Vec<(Pending, Answer)>,
}

/// What is left when a group is done.
pub(crate) struct Done {
    /// The tips as they stand now.
    pub tips: Tips,
    /// Commands of several clients, one of whose streams somebody holds: each client is to be tried by itself.
    pub apart: Vec<Pending>,
    /// One that works, for the next group.
    pub connection: Option<PoolConnection<Postgres>>,
}

/// What the next try must do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Trust what is remembered.
    Trust,
    /// Read it again under the locks: it was wrong, or somebody else wrote.
    Lock,
}

/// Why a try failed.
enum Trouble {
    /// The connection or the database: the same try may succeed later.
    Passing,
    /// Another transaction holds one of the streams.
    Held,
    /// One of the commands cannot be written, now or ever.
    Deterministic,
}

impl Group {
    pub fn new(waker: Arc<Waker>) -> Self {
        Self { waiting: Vec::new(), tips: Tips::new(), waker, connection: None, settled: Vec::new() }
    }

    /// Writes the group and answers every command that it does not hand back.
    pub async fn commit(mut self, db: &PgPool) -> Done {
        // One that was tried before may stand there already, and a lease may have gone to another: only under the lock can
        // either be told.
        let doubtful = |pending: &Pending| pending.tried_at().is_some() || pending.append.cause.fence.is_some();
        let mut next = if self.waiting.iter().any(doubtful) { Next::Lock } else { Next::Trust };
        while !self.waiting.is_empty() {
            match self.try_once(db, next).await {
                Ok(then) => next = then,
                Err(cause) => {
                    self.unsettle();
                    self.tips.clear();
                    next = Next::Lock;
                    match trouble(&cause) {
                        Trouble::Held if self.clients().len() > 1 => break,
                        Trouble::Held | Trouble::Passing => self.wait_after(cause).await,
                        Trouble::Deterministic => self.commit_apart(db, cause).await,
                    }
                }
            }
        }
        Done { tips: self.tips, apart: self.waiting, connection: self.connection }
    }

    async fn try_once(&mut self, db: &PgPool, next: Next) -> sqlx::Result<Next> {
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => db.acquire().await?,
        };
        match tokio::time::timeout(TRY_MAX, self.attempt(&mut connection, next)).await {
            Ok(outcome) => {
                self.connection = outcome.is_ok().then_some(connection);
                outcome
            }
            Err(_) => {
                // Nobody knows what it is doing: it must not serve another.
                connection.close_on_drop();
                Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the append took too long")))
            }
        }
    }

    /// One try. Answers what it settled; the rest stays waiting.
    async fn attempt(&mut self, db: &mut PgConnection, next: Next) -> sqlx::Result<Next> {
        match next {
            Next::Trust => {
                let then = self.write(db, false).await?;
                self.answer_settled();
                Ok(then)
            }
            Next::Lock => {
                let mut tx = db.begin().await?;
                self.tips = tips::read(&mut tx, &self.clients(), true).await?;
                self.settle_written(&mut tx).await?;
                self.settle_seen(&mut tx).await?;
                self.settle_stale(&mut tx).await?;
                let then = self.write(&mut tx, true).await?;
                tx.commit().await?;
                self.answer_settled();
                Ok(then)
            }
        }
    }

    async fn write(&mut self, db: &mut PgConnection, held: bool) -> sqlx::Result<Next> {
        self.learn_tips(db, held).await?;
        if self.doubt_versions(db, held).await? {
            return Ok(Next::Lock);
        }
        if self.waiting.is_empty() {
            return Ok(Next::Trust);
        }
        let mut moved = self.tips.clone();
        let (rows, receipts) = number(&self.waiting, &mut moved);
        let outcome = rows.append(db).await;
        drop(rows);
        match outcome {
            Ok(unmoved) => {
                self.settle(receipts, moved, &unmoved);
                Ok(if unmoved.is_empty() { Next::Trust } else { Next::Lock })
            }
            // Nothing was written and nobody else was in between: a key is there already.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() && !held => {
                let before = self.waiting.len();
                self.settle_seen(db).await?;
                Ok(if self.waiting.len() < before { Next::Trust } else { Next::Lock })
            }
            Err(error) => Err(error),
        }
    }

    fn clients(&self) -> Vec<ClientId> {
        let unique: HashSet<ClientId> = self.waiting.iter().map(|pending| pending.append.client).collect();
        unique.into_iter().collect()
    }

    async fn learn_tips(&mut self, db: &mut PgConnection, held: bool) -> sqlx::Result<()> {
        let unknown: Vec<ClientId> = self.clients().into_iter().filter(|c| !self.tips.contains_key(c)).collect();
        if !unknown.is_empty() {
            self.tips.extend(tips::read(db, &unknown, held).await?);
        }
        let aggregates = self.waiting.iter().map(|pending| (pending.append.client, &pending.append.aggregate));
        tips::read_versions(db, &mut self.tips, aggregates).await
    }

    /// Settles commands whose keys are stored already.
    async fn settle_seen(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let asked: Vec<(Uuid, Uuid)> = self
            .waiting
            .iter()
            .flat_map(|pending| pending.keys.iter().flatten().map(|key| (pending.append.client.0, *key)))
            .collect();
        let seen = seen(db, &asked).await?;
        self.settle_where(|pending| pending.judge_by_keys(&seen));
        Ok(())
    }

    /// A re-sent command must get its old answer before its version is judged; and only a version that was read just
    /// now, under the lock, is reason to refuse. Says whether the locks are needed to judge.
    async fn doubt_versions(&mut self, db: &mut PgConnection, held: bool) -> sqlx::Result<bool> {
        if !self.waiting.iter().any(|pending| conflict(pending, &self.tips).is_some()) {
            return Ok(false);
        }
        if !held {
            self.settle_seen(db).await?;
            return Ok(!self.waiting.is_empty());
        }
        let tips = std::mem::take(&mut self.tips);
        self.settle_where(|pending| conflict(pending, &tips).map(Err));
        self.tips = tips;
        Ok(false)
    }

    /// After a lost connection: a command whose first event stands at the number it was tried at was written after all.
    async fn settle_written(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let tried: Vec<&Pending> = self.waiting.iter().filter(|pending| pending.tried_at().is_some()).collect();
        if tried.is_empty() {
            return Ok(());
        }
        let clients: Vec<Uuid> = tried.iter().map(|pending| pending.append.client.0).collect();
        let seqs: Vec<i64> = tried.iter().filter_map(|pending| pending.tried_at()).map(|seq| seq as i64).collect();
        let ids: Vec<Uuid> = tried.iter().map(|pending| pending.written[0].id.0).collect();
        let rows = sqlx::query!(
            r#"select event_id as "id!", client_seq as "seq!" from es.written($1, $2, $3)"#,
            &clients,
            &seqs,
            &ids
        )
        .fetch_all(db)
        .await?;
        let written: HashMap<Uuid, u64> = rows.into_iter().map(|row| (row.id, row.seq as u64)).collect();
        self.settle_where(|pending| {
            let first = *written.get(&pending.written[0].id.0)?;
            Some(Ok(Receipt { first, last: first + pending.written.len() as u64 - 1, repeated: false }))
        });
        Ok(())
    }

    /// Refuses what is sent under a lease that somebody else has taken; the leases stay as they are until this commits.
    async fn settle_stale(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let fences: HashSet<(ClientId, Fence)> = self.waiting.iter().filter_map(fenced).collect();
        if fences.is_empty() {
            return Ok(());
        }
        let clients: Vec<Uuid> = fences.iter().map(|(client, _)| client.0).collect();
        let names: Vec<String> = fences.iter().map(|(_, fence)| fence.name().to_owned()).collect();
        let tokens: Vec<i64> = fences.iter().map(|(_, fence)| fence.token() as i64).collect();
        let rows = sqlx::query!(
            r#"select client_id as "client!", name as "name!", token as "token!" from es.stale_fences($1, $2, $3)"#,
            &clients,
            &names,
            &tokens
        )
        .fetch_all(db)
        .await?;
        let stale: HashSet<(ClientId, String, u64)> =
            rows.into_iter().map(|row| (ClientId(row.client), row.name, row.token as u64)).collect();
        self.settle_where(|pending| {
            let (client, fence) = fenced(pending)?;
            let lease = fence.name();
            stale
                .contains(&(client, lease.to_owned(), fence.token()))
                .then_some(Err(AppendError::Stale { client, lease }))
        });
        Ok(())
    }

    fn settle(&mut self, receipts: Vec<Receipt>, moved: Tips, unmoved: &HashSet<ClientId>) {
        let waiting = std::mem::take(&mut self.waiting);
        for (pending, receipt) in waiting.into_iter().zip(receipts) {
            if unmoved.contains(&pending.append.client) {
                self.waiting.push(pending);
            } else {
                self.settled.push((pending, Ok(receipt)));
            }
        }
        self.tips = moved;
        self.tips.retain(|client, _| !unmoved.contains(client));
    }

    fn settle_where(&mut self, answer: impl Fn(&Pending) -> Option<Answer>) {
        let waiting = std::mem::take(&mut self.waiting);
        for pending in waiting {
            match answer(&pending) {
                Some(answer) => self.settled.push((pending, answer)),
                None => self.waiting.push(pending),
            }
        }
    }

    /// What was settled is durable now.
    fn answer_settled(&mut self) {
        let written = self.settled.iter().any(|(_, answer)| answer.as_ref().is_ok_and(|receipt| !receipt.repeated));
        for (pending, answer) in self.settled.drain(..) {
            pending.answer(answer);
        }
        if written {
            self.waker.wake();
        }
    }

    /// What was settled may not have happened: all of it waits again, in the order in which it came.
    fn unsettle(&mut self) {
        self.waiting.extend(self.settled.drain(..).map(|(pending, _)| pending));
        self.waiting.sort_by_key(|pending| pending.since);
    }

    async fn wait_after(&mut self, cause: sqlx::Error) {
        tracing::warn!(error = %cause, "append failed, trying again");
        self.fail(cause, |pending| pending.since.elapsed() > GIVE_UP_AFTER);
        tokio::time::sleep(PAUSE).await;
    }

    /// One of the commands is to blame; the others must not suffer for it: each is tried by itself.
    async fn commit_apart(&mut self, db: &PgPool, cause: sqlx::Error) {
        if self.waiting.len() == 1 {
            return self.fail(cause, |_| true);
        }
        for pending in std::mem::take(&mut self.waiting) {
            let mut alone = Self::new(Arc::clone(&self.waker));
            alone.waiting.push(pending);
            let done = Box::pin(alone.commit(db)).await;
            self.tips.extend(done.tips);
        }
    }

    fn fail(&mut self, cause: sqlx::Error, which: impl Fn(&Pending) -> bool) {
        let cause = Arc::new(cause);
        self.settle_where(|pending| {
            let client = pending.append.client;
            which(pending).then(|| Err(AppendError::Fault { client, cause: Arc::clone(&cause) }))
        });
        self.answer_settled();
    }
}

fn fenced(pending: &Pending) -> Option<(ClientId, Fence)> {
    pending.append.cause.fence.clone().map(|fence| (pending.append.client, fence))
}

fn conflict(pending: &Pending, tips: &Tips) -> Option<AppendError> {
    let append = &pending.append;
    let actual = tips[&append.client].version(&append.aggregate);
    match append.expected {
        Expected::Version(expected) if expected != actual => {
            Some(AppendError::Conflict { aggregate: append.aggregate.clone(), expected, actual })
        }
        Expected::Version(_) | Expected::Any => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is sqlx's and open: what it adds is most likely passing")]
fn trouble(cause: &sqlx::Error) -> Trouble {
    match cause {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("55P03") => Trouble::Held,
            // Connection, transaction state, rollback, resources, an operator's intervention.
            Some(code) if ["08", "25", "40", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                Trouble::Passing
            }
            Some(_) | None => Trouble::Deterministic,
        },
        sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Trouble::Deterministic,
        _ => Trouble::Passing,
    }
}

async fn seen(db: &mut PgConnection, asked: &[(Uuid, Uuid)]) -> sqlx::Result<HashMap<(ClientId, Uuid), u64>> {
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let (clients, keys): (Vec<Uuid>, Vec<Uuid>) = asked.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"select client_id as "client!", dedupe_key as "key!", client_seq as "seq!" from es.seen($1, $2)"#,
        &clients,
        &keys
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| ((ClientId(row.client), row.key), row.seq as u64)).collect())
}
