//! How far each read model has come with each client, who holds the lease, and what is parked.

use chrono::{DateTime, Utc};
use events::{AggregateRef, ClientId, Time};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

/// A client that one worker now works on: its checkpoint is locked until the transaction ends.
#[derive(Debug, Clone)]
pub struct Lease {
    pub client: ClientId,
    pub version: i32,
    pub reached: u64,
    pub head: u64,
    /// Events that a person decided to leave out.
    pub skips: Vec<i64>,
    /// How many retries and skips there are.
    pub decisions: i64,
}

/// A read model's client that waits for a person.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Parked {
    pub projection: String,
    pub client_id: Uuid,
    /// The event that failed.
    pub seq: i64,
    pub trouble: Option<String>,
    pub parked_at: DateTime<Utc>,
}

/// How far a read model has come with a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The version of its tables that answers queries.
    pub version: i32,
    pub reached: u64,
    pub head: u64,
    pub parked: bool,
    /// When the first event that it has not read was recorded; absent where it has read all.
    pub behind_since: Option<Time>,
}

impl Reach {
    /// A stream has always reached its head.
    pub fn of_stream(head: u64) -> Self {
        Self { reached: head, head, ..Self::default() }
    }
}

/// The desk's record of what was decided about a parked item.
pub fn parked_item(projection: &str, client: ClientId) -> AggregateRef {
    AggregateRef::new("desk", format!("parked:{projection}:{client}"))
}

/// Whose checkpoints a worker looks for.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub projection: &'static str,
    /// A version that is being filled; absent for the live one.
    pub version: Option<i32>,
    /// What this build's tables and fold are known by: a live version that another build fills is left to that one.
    pub shape: String,
}

/// Clients at most that are named at a time. The desk is named by its id in these texts, so that its partition is known
/// when they are planned and the others are not opened each time.
const WAITING_MAX: i64 = 256;

/// Clients that have something to read, those after `last` first; one that is new has a checkpoint opened before.
pub(crate) async fn waiting(db: &PgPool, work: &Work, last: ClientId) -> sqlx::Result<Vec<ClientId>> {
    let rows = sqlx::query!(
        r#"
        select s.client_id as "client!", c.client_id is null as "new!"
          from rm.versions v
          join es.streams s on s.client_id <> '00000000-0000-0000-0000-000000000000' and s.head > 0
          left join rm.checkpoints c
            on c.client_id = s.client_id and c.projection = v.projection and c.version = coalesce($2, v.live)
         where v.projection = $1
           and ($2 is not null or v.shape = $4)
           and s.head > coalesce(c.reached, 0)
           and (c.parked_at is null
                or exists (select from es.events e
                            where e.client_id = '00000000-0000-0000-0000-000000000000' and e.aggregate_type = 'desk' and e.aggregate_type <> 'ledger'
                              and e.aggregate_id = 'parked:' || c.projection || ':' || c.client_id
                              and e.aggregate_seq > c.decisions))
         order by s.client_id > $3 desc, s.client_id
         limit $5
        "#,
        work.projection,
        work.version,
        last.0,
        work.shape,
        WAITING_MAX
    )
    .fetch_all(db)
    .await?;
    if rows.iter().any(|row| row.new) {
        open(db, work).await?;
    }
    Ok(rows.into_iter().map(|row| ClientId(row.client)).collect())
}

/// Takes the lease of a client, if it still has something to read and nobody else has it. Also points the search path of
/// this transaction at the version's tables. Nobody waits for the transaction to be durable: where the database itself
/// crashes, rows and checkpoint go back together and are folded again.
pub(crate) async fn lease(db: &mut PgConnection, work: &Work, client: ClientId) -> sqlx::Result<Option<Lease>> {
    let row = sqlx::query!(
        r#"
        select c.client_id, c.version, c.reached, s.head,
               set_config('search_path', 'rm_' || c.projection || '_v' || c.version, true) as path,
               set_config('synchronous_commit', 'off', true) as durable,
               array(select (e.payload #>> '{ParkedSkipped,seq}')::bigint
                       from es.events e
                      where e.client_id = '00000000-0000-0000-0000-000000000000' and e.aggregate_type = 'desk' and e.aggregate_type <> 'ledger'
                        and e.aggregate_id = 'parked:' || c.projection || ':' || c.client_id
                        and e.event_type = 'ParkedSkipped') as "skips!",
               coalesce(d.decisions, 0) as "decisions!"
          from rm.checkpoints c
          join rm.versions v on v.projection = c.projection
          join es.streams  s on s.client_id = c.client_id
          left join lateral (
               select max(e.aggregate_seq) as decisions
                 from es.events e
                where e.client_id = '00000000-0000-0000-0000-000000000000' and e.aggregate_type = 'desk' and e.aggregate_type <> 'ledger'
                  and e.aggregate_id = 'parked:' || c.projection || ':' || c.client_id) d on true
         where c.client_id = $3
           and c.projection = $1
           and (c.version = $2 or ($2 is null and c.version = v.live and v.shape = $4))
           and s.head > c.reached
           and (c.parked_at is null or d.decisions > c.decisions)
           for update of c skip locked
        "#,
        work.projection,
        work.version,
        client.0,
        work.shape
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Lease {
        client: ClientId(row.client_id),
        version: row.version,
        reached: row.reached as u64,
        head: row.head as u64,
        skips: row.skips,
        decisions: row.decisions,
    }))
}

/// Events of a client that a person decided to leave out of a projection. Whoever folds sees the decisions themselves, the
/// newest included; whoever asks for the client sees those that the live version has followed, and not the desk's stream.
pub(crate) async fn skips(db: &mut PgConnection, projection: &str, client: ClientId) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"
        select (e.payload #>> '{ParkedSkipped,seq}')::bigint as "seq!"
          from es.events e
         where e.client_id = '00000000-0000-0000-0000-000000000000' and e.aggregate_type = 'desk' and e.aggregate_type <> 'ledger'
           and e.aggregate_id = 'parked:' || $2 || ':' || $1::uuid
           and e.event_type = 'ParkedSkipped'
         union
        select unnest(c.skipped)
          from rm.checkpoints c
          join rm.versions v on v.projection = c.projection and v.live = c.version
         where c.client_id = $1 and c.projection = $2
        "#,
        client.0,
        projection
    )
    .fetch_all(db)
    .await
}

/// Opens a checkpoint for every client that has none yet. The desk's own stream is nobody's read model.
async fn open(db: &PgPool, work: &Work) -> sqlx::Result<u64> {
    let opened = sqlx::query!(
        r#"
        insert into rm.checkpoints (client_id, projection, version)
        select s.client_id, v.projection, coalesce($2, v.live)
          from es.streams s
          join rm.versions v on v.projection = $1
         where s.client_id <> $3 and s.head > 0
           and not exists (select from rm.checkpoints c
                            where c.client_id = s.client_id and c.projection = $1 and c.version = coalesce($2, v.live))
        on conflict do nothing
        "#,
        work.projection,
        work.version,
        ClientId::DESK.0
    )
    .execute(db)
    .await?;
    Ok(opened.rows_affected())
}

/// Counts a try at the event after `reached`, for good, before it is made. Not waited to be durable: only a crash of the
/// database itself forgets it.
pub(crate) async fn count_attempt(db: &PgPool, projection: &str, lease: &Lease) -> sqlx::Result<(i32, Option<String>)> {
    let row = sqlx::query!(
        r#"
        with quick as (select set_config('synchronous_commit', 'off', true))
        insert into rm.attempts as a (client_id, projection, version, seq, attempts)
        select $1, $2, $3, $4, 1 from quick
        on conflict (client_id, projection, version) do update
           set attempts = case when a.seq = excluded.seq then a.attempts + 1 else 1 end,
               trouble  = case when a.seq = excluded.seq then a.trouble end,
               seq      = excluded.seq
        returning attempts, trouble
        "#,
        lease.client.0,
        projection,
        lease.version,
        lease.reached as i64 + 1
    )
    .fetch_one(db)
    .await?;
    Ok((row.attempts, row.trouble))
}

/// Keeps why a try failed; one that was the connection's fault does not count.
pub(crate) async fn keep_trouble(
    db: &PgPool,
    projection: &str,
    lease: &Lease,
    trouble: &str,
    counts: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update rm.attempts
           set trouble = $4, attempts = attempts - case when $5 then 0 else 1 end
         where client_id = $1 and projection = $2 and version = $3
        "#,
        lease.client.0,
        projection,
        lease.version,
        trouble,
        counts
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Moves the checkpoint, in the transaction that wrote the rows.
///
/// # Panics
/// If somebody else moved it: the lease did not hold.
pub(crate) async fn advance(
    db: &mut PgConnection,
    projection: &str,
    lease: &Lease,
    reached: u64,
    at: Time,
) -> sqlx::Result<()> {
    let moved = sqlx::query!(
        r#"
        update rm.checkpoints
           set reached = $5, reached_at = $6, skipped = $7, parked_at = null, trouble = null
         where client_id = $1 and projection = $2 and version = $3 and reached = $4
        "#,
        lease.client.0,
        projection,
        lease.version,
        lease.reached as i64,
        reached as i64,
        DateTime::<Utc>::from(at),
        &lease.skips
    )
    .execute(db)
    .await?;
    assert_eq!(moved.rows_affected(), 1, "{projection} of client {} was moved by another", lease.client);
    Ok(())
}

/// Gives up on the event after the checkpoint until a person decides.
pub(crate) async fn park(db: &mut PgConnection, projection: &str, lease: &Lease, trouble: &str) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update rm.checkpoints
           set parked_at = now(), trouble = $4, decisions = $5
         where client_id = $1 and projection = $2 and version = $3
        "#,
        lease.client.0,
        projection,
        lease.version,
        trouble,
        lease.decisions
    )
    .execute(&mut *db)
    .await?;
    // The next decision starts with a clean count.
    sqlx::query!(
        "delete from rm.attempts where client_id = $1 and projection = $2 and version = $3",
        lease.client.0,
        projection,
        lease.version
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Everything that waits for a person, in live versions.
pub async fn parked(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Parked>> {
    sqlx::query_as!(
        Parked,
        r#"
        select c.projection, c.client_id, c.reached + 1 as "seq!", c.trouble, c.parked_at as "parked_at!"
          from rm.checkpoints c
          join rm.versions v on v.projection = c.projection and v.live = c.version
         where c.parked_at is not null
         order by c.projection, c.client_id
        "#
    )
    .fetch_all(db)
    .await
}

/// How far a projection's live version has come with a client.
pub async fn reach(db: impl PgExecutor<'_>, projection: &str, client: ClientId) -> sqlx::Result<Reach> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select v.projection, coalesce(s.client_id, $2) as "client_id!", v.live as version, coalesce(c.reached, 0) as "reached!",
               coalesce(s.head, 0) as "head!", c.parked_at is not null as "parked!",
               (select e.recorded_at
                  from es.events e
                 where e.client_id = s.client_id and e.client_seq = coalesce(c.reached, 0) + 1) as behind_since
          from rm.versions v
          left join rm.checkpoints c on c.projection = v.projection and c.version = v.live and c.client_id = $2
          left join es.streams s on s.client_id = $2
         where v.projection = $1
        "#,
        projection,
        client.0
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| row.reach()).unwrap_or_default())
}

/// How far every projection's live version has come with every client. For the parts that work across clients.
pub async fn reaches(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<(String, ClientId, Reach)>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select v.projection, s.client_id, v.live as version, coalesce(c.reached, 0) as "reached!", s.head,
               c.parked_at is not null as "parked!",
               case when s.head > coalesce(c.reached, 0) then
                 (select e.recorded_at
                    from es.events e
                   where e.client_id = s.client_id and e.client_seq = coalesce(c.reached, 0) + 1) end as behind_since
          from es.streams s
         cross join rm.versions v
          left join rm.checkpoints c
                 on c.client_id = s.client_id and c.projection = v.projection and c.version = v.live
         where s.client_id <> $1 and s.head > 0
        "#,
        ClientId::DESK.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.projection.clone(), ClientId(row.client_id), row.reach())).collect())
}

struct Row {
    projection: String,
    client_id: Uuid,
    version: i32,
    reached: i64,
    head: i64,
    parked: bool,
    behind_since: Option<DateTime<Utc>>,
}

impl Row {
    fn reach(&self) -> Reach {
        Reach {
            version: self.version,
            reached: self.reached as u64,
            head: self.head as u64,
            parked: self.parked,
            behind_since: self.behind_since.map(Time::from),
        }
    }
}
