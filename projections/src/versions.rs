//! Versions of a read model: each in a schema of its own, so that a new one is filled beside the live one, compared with
//! it row by row, and put in its place by changing one row.

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::available_parallelism,
};

use events::ClientId;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::{
    projection::{ProjectError, ReadModel, Step},
    worker,
};

/// Two processes that make tables at once wait for each other on this advisory lock.
const ONE_AT_A_TIME: i64 = 0x7265_6164_6d6f_6465;

/// What stands in the way of a rebuild.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the read model could not be filled")]
    Fill(#[from] ProjectError),
    #[error("the tables could not be made, compared or switched")]
    Tables(#[from] sqlx::Error),
    #[error("read model {0} has never been made: run `pipelabs migrate`")]
    Unknown(String),
    #[error("{projection} parked client {client} at event {seq}: {trouble}")]
    Parked { projection: &'static str, client: ClientId, seq: u64, trouble: String },
}

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub version: i32,
    pub clients: usize,
    /// Whether the tables and the fold are still what filled the live version; where not, differences are meant.
    pub same_shape: bool,
    /// The tables that differ, and whose rows.
    pub differences: Vec<(ClientId, String)>,
}

/// Makes the first version of every read model that has none, in the database as login `projector`. Says which live ones
/// were filled by another fold or into other tables, and so need a rebuild.
pub async fn prepare(db: &PgPool, models: &[Box<dyn ReadModel>]) -> sqlx::Result<Vec<&'static str>> {
    let mut stale = Vec::new();
    let mut db = db.acquire().await?;
    for model in models {
        let mut tx = db.begin().await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", ONE_AT_A_TIME).fetch_one(&mut *tx).await?;
        let shape = sqlx::query_scalar!("select shape from rm.versions where projection = $1", model.name())
            .fetch_optional(&mut *tx)
            .await?;
        match shape {
            Some(shape) if shape == model.shape() => {}
            Some(_) => stale.push(model.name()),
            None => {
                make_tables(&mut tx, &**model, 1).await?;
                sqlx::query!(
                    "insert into rm.versions (projection, live, newest, shape) values ($1, 1, 1, $2)",
                    model.name(),
                    model.shape()
                )
                .execute(&mut *tx)
                .await?;
            }
        }
        tx.commit().await?;
    }
    Ok(stale)
}

/// The search path that finds the live tables of every read model.
pub async fn live_path(db: &mut PgConnection) -> sqlx::Result<String> {
    let path = sqlx::query_scalar!(
        "select string_agg('rm_' || projection || '_v' || live, ', ' order by projection) from rm.versions"
    )
    .fetch_one(db)
    .await?;
    Ok(path.unwrap_or_default())
}

/// Points this connection's transaction at the live tables.
pub async fn use_live(tx: &mut PgConnection) -> sqlx::Result<()> {
    let path = live_path(tx).await?;
    sqlx::query!("select set_config('search_path', $1, true)", path).fetch_one(tx).await?;
    Ok(())
}

/// Fills a new version beside the live one and compares them, each client at the same event. A live one that another
/// fold filled is left as it is: to differ is what the rebuild is for.
pub async fn rebuild(
    db: &PgPool,
    model: &mut dyn ReadModel,
    live: &mut dyn ReadModel,
    mut folded: impl FnMut(u64),
) -> Result<Comparison, RebuildError> {
    let version = new_version(db, model).await?;
    model.on_version(version);
    fill(model, &mut folded).await?;
    let shape =
        sqlx::query_scalar!("select shape from rm.versions where projection = $1", model.name()).fetch_one(db).await?;
    let clients = clients_of(db, model.name()).await?;
    let mut found =
        Comparison { version, clients: clients.len(), same_shape: shape == model.shape(), differences: Vec::new() };
    if found.same_shape {
        fill(live, &mut folded).await?;
        for client in clients {
            found.differences.extend(compare(db, model, live, client, version).await?);
        }
    }
    Ok(found)
}

/// Puts a filled version in the live one's place. The old one stays, for a way back.
pub async fn switch(db: &PgPool, model: &dyn ReadModel, version: i32) -> sqlx::Result<()> {
    sqlx::query!(
        "update rm.versions set live = $2, shape = $3 where projection = $1",
        model.name(),
        version,
        model.shape()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Throws a version away that is not live.
pub async fn discard(db: &PgPool, model: &dyn ReadModel, version: i32) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::raw_sql(&format!("drop schema {} cascade", schema(model.name(), version))).execute(&mut *tx).await?;
    sqlx::query!("delete from rm.checkpoints where projection = $1 and version = $2", model.name(), version)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from rm.attempts where projection = $1 and version = $2", model.name(), version)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

fn schema(projection: &str, version: i32) -> String {
    format!("rm_{projection}_v{version}")
}

async fn new_version(db: &PgPool, model: &dyn ReadModel) -> Result<i32, RebuildError> {
    let mut tx = db.begin().await?;
    let newest = sqlx::query_scalar!(
        "update rm.versions set newest = newest + 1 where projection = $1 returning newest",
        model.name()
    )
    .fetch_optional(&mut *tx)
    .await?;
    let version = newest.ok_or_else(|| RebuildError::Unknown(model.name().to_owned()))?;
    make_tables(&mut tx, model, version).await?;
    tx.commit().await?;
    Ok(version)
}

/// The tables of one version, behind the same walls as the streams. The names in these statements are all ours.
async fn make_tables(tx: &mut PgConnection, model: &dyn ReadModel, version: i32) -> sqlx::Result<()> {
    let schema = schema(model.name(), version);
    let statements = format!(
        "create schema {schema};
         set local search_path = {schema};
         {};
         do $$ declare made record; begin
           for made in select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = '{schema}' loop
             call pipelabs_walls.raise(made.name::regclass);
           end loop;
         end $$;
         grant usage on schema {schema} to pipelabs_query, pipelabs_admin_query;
         grant select on all tables in schema {schema} to pipelabs_query, pipelabs_admin_query;
         set local search_path to default",
        model.tables()
    );
    sqlx::raw_sql(&statements).execute(tx).await?;
    Ok(())
}

/// Takes every client to its head, with as many workers as there are processors.
async fn fill(model: &mut dyn ReadModel, folded: &mut impl FnMut(u64)) -> Result<(), RebuildError> {
    let projection = model.name();
    let by_others = Arc::new(AtomicU64::new(0));
    let mut others = JoinSet::new();
    for _ in 1..available_parallelism().map_or(1, NonZero::get) {
        let (mut other, by_others) = (model.another(), Arc::clone(&by_others));
        let count = move |events| {
            by_others.fetch_add(events, Ordering::Relaxed);
        };
        others.spawn(async move { worker::catch_up(&mut *other, count).await });
    }
    let mut parked = worker::catch_up(model, |events| folded(events + by_others.swap(0, Ordering::Relaxed))).await?;
    while let Some(other) = others.join_next().await {
        parked.extend(other.expect("a worker catches what panics in it")?);
    }
    folded(by_others.swap(0, Ordering::Relaxed));
    match parked.into_iter().next() {
        Some(Step::Parked { client, seq, trouble }) => Err(RebuildError::Parked { projection, client, seq, trouble }),
        Some(Step::Idle | Step::Folded { .. } | Step::Failed { .. }) | None => Ok(()),
    }
}

async fn clients_of(db: &PgPool, projection: &str) -> sqlx::Result<Vec<ClientId>> {
    let clients = sqlx::query_scalar!(
        "select distinct client_id from rm.checkpoints where projection = $1 order by client_id",
        projection
    )
    .fetch_all(db)
    .await?;
    Ok(clients.into_iter().map(ClientId).collect())
}

/// Holds both versions of a client still at the same event and compares their rows.
async fn compare(
    db: &PgPool,
    model: &mut dyn ReadModel,
    live: &mut dyn ReadModel,
    client: ClientId,
    version: i32,
) -> Result<Vec<(ClientId, String)>, RebuildError> {
    loop {
        let mut tx = db.begin().await?;
        let versions = sqlx::query!(
            r#"
            select c.version, c.reached
              from rm.checkpoints c
              join rm.versions v on v.projection = c.projection
             where c.client_id = $1 and c.projection = $2 and c.version in ($3, v.live)
             order by c.version
               for update of c
            "#,
            client.0,
            model.name(),
            version
        )
        .fetch_all(&mut *tx)
        .await?;
        if let [old, new] = versions.as_slice()
            && old.reached == new.reached
        {
            return tables_that_differ(&mut tx, model.name(), client, old.version, new.version).await;
        }
        tx.rollback().await?;
        // A worker was faster than we were: both go on to the head.
        fill(model, &mut |_| {}).await?;
        fill(live, &mut |_| {}).await?;
    }
}

async fn tables_that_differ(
    tx: &mut PgConnection,
    projection: &str,
    client: ClientId,
    old: i32,
    new: i32,
) -> Result<Vec<(ClientId, String)>, RebuildError> {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = $1 order by 1")
            .bind(schema(projection, new))
            .fetch_all(&mut *tx)
            .await?;
    let mut differ = Vec::new();
    for table in tables {
        let before = fingerprint(tx, &schema(projection, old), &table, client).await?;
        let after = fingerprint(tx, &schema(projection, new), &table, client).await?;
        if before != after {
            differ.push((client, table));
        }
    }
    Ok(differ)
}

/// Every byte of a client's rows in a table, in 256 bits and a count, whatever order they lie in; none where the table is
/// not there.
async fn fingerprint(
    tx: &mut PgConnection,
    schema: &str,
    table: &str,
    client: ClientId,
) -> sqlx::Result<Option<String>> {
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(format!("{schema}.{table}"))
        .fetch_one(&mut *tx)
        .await?;
    if !there {
        return Ok(None);
    }
    let statement = format!(
        "select count(*) || ':' || coalesce(encode(sha256(string_agg(row, '' order by row)), 'hex'), '')
           from (select sha256(convert_to(t::text, 'UTF8')) as row from {schema}.{table} t where t.client_id = $1) rows"
    );
    sqlx::query_scalar(&statement).bind(client.0).fetch_one(tx).await
}
