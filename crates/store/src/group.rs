//! One group commit: what all waiting commands decided, numbered, chained and written with one round trip.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use events::{
    ClientId, EventId, Metadata, Time,
    chain::{self, Content, canonical},
};
use sqlx::{Acquire, PgConnection, PgPool};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    append::{Append, AppendError, Expected, Receipt, stored_key},
    tips::{self, Tip, Tips},
};

/// How long a group is tried again after a broken connection before its callers are told.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// A command that waits for its place. Its events' ids are chosen once, so that a lost answer can be looked up.
pub(crate) struct Pending {
    pub append: Append,
    pub keys: Vec<Option<Uuid>>,
    ids: Vec<EventId>,
    reply: oneshot::Sender<Result<Receipt, AppendError>>,
}

impl Pending {
    pub fn new(append: Append, reply: oneshot::Sender<Result<Receipt, AppendError>>) -> Self {
        let keys = append.events.iter().map(|draft| draft.key.as_deref().map(stored_key)).collect();
        let ids = append.events.iter().map(|_| EventId::new()).collect();
        Self { append, keys, ids, reply }
    }

    fn answer(self, answer: Result<Receipt, AppendError>) {
        // A caller that went away does not mind.
        let _ = self.reply.send(answer);
    }

    fn already(&self, seq: u64) -> Receipt {
        Receipt { first: seq, last: seq + self.append.events.len() as u64 - 1, repeated: true }
    }
}

/// The commands of one group and what is known of their streams.
pub(crate) struct Group {
    pub waiting: Vec<Pending>,
    pub tips: Tips,
}

/// A numbered group, as the arrays that `es.append` takes.
#[derive(Default)]
struct Rows {
    heads: Heads,
    client: Vec<Uuid>,
    seq: Vec<i64>,
    aggregate_type: Vec<String>,
    aggregate_id: Vec<String>,
    aggregate_seq: Vec<i64>,
    id: Vec<Uuid>,
    event_type: Vec<String>,
    version: Vec<String>,
    payload: Vec<String>,
    metadata: Vec<String>,
    occurred: Vec<DateTime<Utc>>,
    recorded: Vec<DateTime<Utc>>,
    content: Vec<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    dedupe: Vec<Option<Uuid>>,
}

#[derive(Default)]
struct Heads {
    client: Vec<Uuid>,
    head: Vec<i64>,
    hash: Vec<Vec<u8>>,
    new_head: Vec<i64>,
    new_hash: Vec<Vec<u8>>,
    at: Vec<DateTime<Utc>>,
    ledger: Vec<i64>,
}

impl Group {
    /// Writes the group and answers every command. Returns the tips as they stand after.
    pub async fn commit(mut self, db: &PgPool) -> Tips {
        let started = Instant::now();
        let mut locked = false;
        while !self.waiting.is_empty() {
            match self.attempt(db, locked).await {
                Ok(again_locked) => locked = again_locked,
                Err(cause) if started.elapsed() < GIVE_UP_AFTER => {
                    tracing::warn!(error = %cause, "append failed, trying again");
                    self.tips.clear();
                    locked = true;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(cause) => {
                    self.tips.clear();
                    self.fail(cause);
                }
            }
        }
        self.tips
    }

    /// One try. Answers what it settled; the rest stays waiting. Says whether the next try must hold the locks.
    async fn attempt(&mut self, db: &PgPool, locked: bool) -> sqlx::Result<bool> {
        let mut connection = db.acquire().await?;
        if !locked {
            return self.write(&mut connection, false).await;
        }
        let mut tx = connection.begin().await?;
        // Read again: what we remember was wrong, or a lost connection left us not knowing what was written.
        let clients = self.clients();
        self.tips = tips::read(&mut tx, &clients, true).await?;
        self.settle_written(&mut tx).await?;
        let again = self.write(&mut tx, true).await;
        tx.commit().await?;
        again
    }

    async fn write(&mut self, db: &mut PgConnection, held: bool) -> sqlx::Result<bool> {
        self.learn_tips(db, held).await?;
        if held {
            self.settle_seen(db).await?;
        }
        if self.doubt_versions(db, held).await? {
            return Ok(true);
        }
        if self.waiting.is_empty() {
            return Ok(false);
        }
        let mut moved = self.tips.clone();
        let (rows, receipts) = number(&self.waiting, &mut moved);
        match rows.append(db).await {
            Ok(unmoved) => {
                self.settle(receipts, moved, &unmoved);
                Ok(true)
            }
            // Nothing was written and nobody else was in between: a key is there already.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() && !held => {
                self.settle_seen(db).await?;
                Ok(true)
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

    /// Answers commands whose keys are stored already.
    async fn settle_seen(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let asked: Vec<(Uuid, Uuid)> = self
            .waiting
            .iter()
            .flat_map(|pending| pending.keys.iter().flatten().map(|key| (pending.append.client.0, *key)))
            .collect();
        let seen = seen(db, &asked).await?;
        self.settle_where(|pending| {
            let known = |key: &Uuid| seen.get(&(pending.append.client.0, *key)).copied();
            pending.keys.iter().flatten().find_map(known).map(|seq| Ok(pending.already(seq)))
        });
        Ok(())
    }

    /// A re-sent command must get its old answer before its version is judged; and only a version that was read just
    /// now, under the lock, is reason to refuse. Says whether the locks are needed to judge.
    async fn doubt_versions(&mut self, db: &mut PgConnection, held: bool) -> sqlx::Result<bool> {
        let stale = |pending: &Pending, tips: &Tips| conflict(pending, tips).is_some();
        if !self.waiting.iter().any(|pending| stale(pending, &self.tips)) {
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

    /// After a lost connection: commands whose first event stands in the stream under its id were written after all.
    async fn settle_written(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let clients: Vec<Uuid> = self.waiting.iter().map(|pending| pending.append.client.0).collect();
        let ids: Vec<Uuid> = self.waiting.iter().map(|pending| pending.ids[0].0).collect();
        let rows =
            sqlx::query!(r#"select event_id as "id!", client_seq as "seq!" from es.written($1, $2)"#, &clients, &ids)
                .fetch_all(db)
                .await?;
        let written: HashMap<Uuid, u64> = rows.into_iter().map(|row| (row.id, row.seq as u64)).collect();
        self.settle_where(|pending| {
            let first = *written.get(&pending.ids[0].0)?;
            Some(Ok(Receipt { first, last: first + pending.ids.len() as u64 - 1, repeated: false }))
        });
        Ok(())
    }

    fn settle(&mut self, receipts: Vec<Receipt>, moved: Tips, unmoved: &HashSet<ClientId>) {
        let waiting = std::mem::take(&mut self.waiting);
        for (pending, receipt) in waiting.into_iter().zip(receipts) {
            if unmoved.contains(&pending.append.client) {
                self.waiting.push(pending);
            } else {
                pending.answer(Ok(receipt));
            }
        }
        self.tips = moved;
        self.tips.retain(|client, _| !unmoved.contains(client));
    }

    fn settle_where(&mut self, answer: impl Fn(&Pending) -> Option<Result<Receipt, AppendError>>) {
        let waiting = std::mem::take(&mut self.waiting);
        for pending in waiting {
            match answer(&pending) {
                Some(answer) => pending.answer(answer),
                None => self.waiting.push(pending),
            }
        }
    }

    fn fail(&mut self, cause: sqlx::Error) {
        let cause = Arc::new(cause);
        for pending in self.waiting.drain(..) {
            let client = pending.append.client;
            pending.answer(Err(AppendError::Fault { client, cause: Arc::clone(&cause) }));
        }
    }
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

async fn seen(db: &mut PgConnection, asked: &[(Uuid, Uuid)]) -> sqlx::Result<HashMap<(Uuid, Uuid), u64>> {
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
    Ok(rows.into_iter().map(|row| ((row.client, row.key), row.seq as u64)).collect())
}

/// Gives every event its number, time and hashes. Commands of one client follow each other as they came; the second of
/// two that expect the same version is found by the unique index of its aggregate only if a bug lets it come this far.
fn number(waiting: &[Pending], tips: &mut Tips) -> (Rows, Vec<Receipt>) {
    let before: BTreeMap<ClientId, Tip> =
        waiting.iter().map(|pending| (pending.append.client, tips[&pending.append.client].clone())).collect();
    let now = Time::now();
    let mut rows = Rows::default();
    let receipts = waiting
        .iter()
        .map(|pending| {
            let tip = tips.get_mut(&pending.append.client).expect("tips of all clients were read");
            rows.number(pending, tip, now)
        })
        .collect();
    for (client, tip) in &before {
        rows.heads.push(*client, tip, &tips[client]);
    }
    (rows, receipts)
}

impl Heads {
    fn push(&mut self, client: ClientId, before: &Tip, after: &Tip) {
        self.client.push(client.0);
        self.head.push(before.head as i64);
        self.hash.push(before.hash.to_vec());
        self.new_head.push(after.head as i64);
        self.new_hash.push(after.hash.to_vec());
        self.at.push(after.recorded_at.into());
        self.ledger.push(after.ledger as i64);
    }
}

impl Rows {
    fn number(&mut self, pending: &Pending, tip: &mut Tip, now: Time) -> Receipt {
        let first = tip.head + 1;
        tip.recorded_at = tip.recorded_at.max(now);
        for at in 0..pending.append.events.len() {
            self.push(pending, at, tip);
        }
        Receipt { first, last: tip.head, repeated: false }
    }

    fn push(&mut self, pending: &Pending, at: usize, tip: &mut Tip) {
        let append = &pending.append;
        let draft = &append.events[at];
        let aggregate_seq = tip.next_version(&append.aggregate);
        tip.head += 1;
        let payload = canonical(&draft.event);
        let metadata = canonical(&Metadata {
            actor: append.cause.actor.clone(),
            correlation: append.cause.correlation,
            causation: append.cause.causation,
            build: BUILD.to_owned(),
            key: draft.key.clone(),
        });
        let content = Content {
            client: append.client,
            aggregate_type: &append.aggregate.kind,
            aggregate_id: &append.aggregate.id,
            event: pending.ids[at],
            event_type: draft.event.event_type(),
            event_version: draft.event.version(),
            occurred_at: draft.event.at(),
            metadata: &metadata,
            payload: &payload,
        }
        .hash();
        tip.hash = chain::link(&tip.hash, tip.head, aggregate_seq, tip.recorded_at, &content);
        self.client.push(append.client.0);
        self.seq.push(tip.head as i64);
        self.aggregate_type.push(append.aggregate.kind.clone());
        self.aggregate_id.push(append.aggregate.id.clone());
        self.aggregate_seq.push(aggregate_seq as i64);
        self.id.push(pending.ids[at].0);
        self.event_type.push(draft.event.event_type().to_owned());
        self.version.push(draft.event.version().to_owned());
        self.payload.push(payload);
        self.metadata.push(metadata);
        self.occurred.push(draft.event.at().into());
        self.recorded.push(tip.recorded_at.into());
        self.content.push(content.to_vec());
        self.chain.push(tip.hash.to_vec());
        self.dedupe.push(pending.keys[at]);
    }

    /// The one call. Returns the clients that were not where we thought.
    async fn append(&self, db: &mut PgConnection) -> sqlx::Result<HashSet<ClientId>> {
        let unmoved = sqlx::query_scalar!(
            r#"select es.append($1, $2, $3, $4, $5, $6, $7,
                                $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) as "unmoved!""#,
            &self.heads.client,
            &self.heads.head,
            &self.heads.hash,
            &self.heads.new_head,
            &self.heads.new_hash,
            &self.heads.at,
            &self.heads.ledger,
            &self.client,
            &self.seq,
            &self.aggregate_type,
            &self.aggregate_id,
            &self.aggregate_seq,
            &self.id,
            &self.event_type,
            &self.version,
            &self.payload,
            &self.metadata,
            &self.occurred,
            &self.recorded,
            &self.content,
            &self.chain,
            &self.dedupe as &[Option<Uuid>],
        )
        .fetch_one(db)
        .await?;
        Ok(unmoved.into_iter().map(ClientId).collect())
    }
}

/// Which build wrote an event: the crate's version and, where the build knew it, the commit.
const BUILD: &str = match option_env!("PIPELABS_BUILD") {
    Some(build) => build,
    None => env!("CARGO_PKG_VERSION"),
};
