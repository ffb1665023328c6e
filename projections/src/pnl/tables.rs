//! The P&L tables: all their SQL.

use std::{collections::BTreeMap, ops::RangeInclusive};

use chrono::{DateTime, Utc};
use events::{Asset, BotId, ClientId, Decimal, Exchange, Market, Pair, Price, Slug, Time, ledger::BookKey};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use store::read;
use uuid::Uuid;

use super::{
    BLOCK, Pnl,
    book::Book,
    books::{Books, Days},
    entry::Change,
    history::{History, Unsaved},
    report::{Named, Names, Report},
    tally::{Day, Tally},
};
use crate::{
    checkpoints::{reach, skips},
    projection::{ProjectError, Projection},
    rows,
    versions::use_live,
};

/// Where a row belongs.
#[derive(Debug, Serialize, Deserialize)]
struct Of {
    client_id: Uuid,
    bot_id: Uuid,
    exchange: Exchange,
    market: Market,
    pair: Pair,
}

/// A row of `pnl_books`, or of `pnl_days`.
#[derive(Debug, Serialize, Deserialize)]
struct Row<T> {
    #[serde(flatten)]
    of: Of,
    #[serde(flatten)]
    what: T,
}

impl Of {
    fn book(client: ClientId, key: &BookKey) -> Self {
        let BookKey { bot, exchange, market, pair } = key.clone();
        Self { client_id: client.0, bot_id: bot.0, exchange, market, pair }
    }

    fn key(self) -> BookKey {
        BookKey { bot: BotId(self.bot_id), exchange: self.exchange, market: self.market, pair: self.pair }
    }
}

/// The fold of a stretch of event time: begun at the closing before its start, gone on with the events up to its end.
/// `extra` are changes of events being folded, whose blocks are not saved yet.
pub async fn history(
    db: &mut PgConnection,
    client: ClientId,
    reached: u64,
    stretch: RangeInclusive<Time>,
    extra: &[Change],
) -> Result<History, ProjectError> {
    let closing = closing(db, client, *stretch.start()).await?;
    let stretch = closing.as_ref().map_or(Time::BEGINNING, |(at, _)| *at)..=*stretch.end();
    let mut changes = changes(db, client, reached, &stretch).await?;
    changes.extend(extra.iter().cloned());
    changes.retain(|change| stretch.contains(&change.place().at));
    let mut history = History::from_closing(closing);
    history.take(&changes)?.expect("nothing lies before the closing");
    Ok(history)
}

async fn closing(db: &mut PgConnection, client: ClientId, until: Time) -> Result<Option<(Time, Books)>, ProjectError> {
    let row = sqlx::query!(
        r#"
        select at, books
          from pnl_closings
         where client_id = $1 and at <= $2
         order by at desc
         limit 1
        "#,
        client.0,
        DateTime::<Utc>::from(until)
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.at.into(), rows::read(&row.books))))
}

/// The changes that saved blocks hold for a stretch of event time.
async fn changes(
    db: &mut PgConnection,
    client: ClientId,
    reached: u64,
    stretch: &RangeInclusive<Time>,
) -> Result<Vec<Change>, ProjectError> {
    let blocks = sqlx::query_scalar!(
        "select block from pnl_blocks where client_id = $1 and last_at >= $2 and first_at <= $3 order by block",
        client.0,
        DateTime::<Utc>::from(*stretch.start()),
        DateTime::<Utc>::from(*stretch.end())
    )
    .fetch_all(&mut *db)
    .await?;
    let skips = skips(db, Pnl::NAME, client).await?;
    let mut changes = Vec::new();
    for run in blocks.chunk_by(|a, b| a + 1 == *b).flat_map(|run| run.chunks(16)) {
        let first = (run[0] as u64 * BLOCK).max(1);
        let last = (run[run.len() - 1] as u64 * BLOCK + BLOCK - 1).min(reached);
        read::each(&mut *db, client, first, last, |event| {
            if !skips.contains(&(event.seq as i64)) {
                changes.extend(Change::of(&event));
            }
            Ok::<(), ProjectError>(())
        })
        .await?;
    }
    Ok(changes)
}

pub async fn save_books(
    db: &mut PgConnection,
    client: ClientId,
    changed: &[(&BookKey, &Book)],
    gone: &[&BookKey],
) -> sqlx::Result<()> {
    for key in gone {
        sqlx::query!(
            r#"
            delete from pnl_books
             where client_id = $1 and bot_id = $2 and exchange = $3 and market = $4 and pair = $5
            "#,
            client.0,
            key.bot.0,
            key.exchange.name(),
            key.market.name(),
            key.pair.as_str()
        )
        .execute(&mut *db)
        .await?;
    }
    let row = |(key, book): &(&BookKey, &Book)| Row { of: Of::book(client, key), what: book.tally.clone() };
    let Some(rows) = rows::written(changed.iter().map(row)) else { return Ok(()) };
    // Wide and few: one JSON value says what forty arrays would.
    sqlx::query!(
        r#"
        delete from pnl_books b
         using jsonb_populate_recordset(null::pnl_books, $1) n
         where (b.client_id, b.bot_id, b.exchange, b.market, b.pair) = (n.client_id, n.bot_id, n.exchange, n.market, n.pair)
        "#,
        rows
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("insert into pnl_books select * from jsonb_populate_recordset(null::pnl_books, $1)", rows)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn save_marks(db: &mut PgConnection, client: ClientId, marks: &[(Pair, Price)]) -> sqlx::Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let (pairs, prices): (Vec<String>, Vec<String>) =
        marks.iter().map(|(pair, price)| (pair.to_string(), price.to_string())).unzip();
    sqlx::query!(
        r#"
        insert into pnl_marks (client_id, pair, price)
        select $1, pair, price::numeric
          from unnest($2::text[], $3::text[]) m(pair, price)
        on conflict (client_id, pair) do update
           set price = excluded.price
        "#,
        client.0,
        &pairs,
        &prices
    )
    .execute(db)
    .await?;
    Ok(())
}

pub async fn save_names(db: &mut PgConnection, client: ClientId, names: &[Named]) -> sqlx::Result<()> {
    for named in names {
        match named {
            Named::Client(slug) => {
                sqlx::query!(
                    r#"
                    insert into pnl_clients (client_id, slug)
                    values ($1, $2)
                    on conflict (client_id) do update
                       set slug = excluded.slug
                    "#,
                    client.0,
                    slug.as_str()
                )
                .execute(&mut *db)
                .await?;
            }
            Named::Bot(bot, name) => {
                sqlx::query!(
                    r#"
                    insert into pnl_bots (client_id, bot_id, name)
                    values ($1, $2, $3)
                    on conflict (client_id, bot_id) do update
                       set name = excluded.name
                    "#,
                    client.0,
                    bot.0,
                    name.as_str()
                )
                .execute(&mut *db)
                .await?;
            }
        }
    }
    Ok(())
}

pub async fn save_blocks(
    db: &mut PgConnection,
    client: ClientId,
    blocks: &BTreeMap<u64, (Time, Time)>,
) -> sqlx::Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = blocks.keys().map(|block| *block as i64).collect();
    let first: Vec<DateTime<Utc>> = blocks.values().map(|(first, _)| (*first).into()).collect();
    let last: Vec<DateTime<Utc>> = blocks.values().map(|(_, last)| (*last).into()).collect();
    sqlx::query!(
        r#"
        insert into pnl_blocks as b (client_id, block, first_at, last_at)
        select $1, block, first_at, last_at
          from unnest($2::bigint[], $3::timestamptz[], $4::timestamptz[]) n(block, first_at, last_at)
        on conflict (client_id, block) do update
           set first_at = least(b.first_at, excluded.first_at),
               last_at  = greatest(b.last_at, excluded.last_at)
        "#,
        client.0,
        &numbers,
        &first,
        &last
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Days, closings, and how far event time has come.
pub async fn save_history(db: &mut PgConnection, client: ClientId, now: &Books, unsaved: &Unsaved) -> sqlx::Result<()> {
    let newest = now.reached.map(|place| DateTime::<Utc>::from(place.at));
    sqlx::query!(
        r#"
        insert into pnl_clients (client_id, newest_at, has_flows, net_flows)
        values ($1, $2, $3, $4::text::numeric)
        on conflict (client_id) do update
           set newest_at = excluded.newest_at, has_flows = excluded.has_flows, net_flows = excluded.net_flows
        "#,
        client.0,
        newest,
        now.net_flows.is_some(),
        now.net_flows.as_ref().and_then(|flows| flows.worth).map(|worth| worth.to_string())
    )
    .execute(&mut *db)
    .await?;
    if let Some(moment) = unsaved.void_after {
        void_after(db, client, moment).await?;
    }
    save_days(db, client, &unsaved.days).await?;
    save_closings(db, client, newest, unsaved).await
}

async fn void_after(db: &mut PgConnection, client: ClientId, moment: Time) -> sqlx::Result<()> {
    let at = DateTime::<Utc>::from(moment);
    sqlx::query!("delete from pnl_days where client_id = $1 and date >= $2", client.0, at.date_naive())
        .execute(&mut *db)
        .await?;
    sqlx::query!("delete from pnl_closings where client_id = $1 and at > $2", client.0, at).execute(db).await?;
    Ok(())
}

async fn save_days(db: &mut PgConnection, client: ClientId, days: &Days) -> sqlx::Result<()> {
    let row = |((_, key), day): (&(_, BookKey), &Day)| Row { of: Of::book(client, key), what: day.clone() };
    let Some(rows) = rows::written(days.iter().map(row)) else { return Ok(()) };
    sqlx::query!(
        r#"
        insert into pnl_days
        select * from jsonb_populate_recordset(null::pnl_days, $1)
        on conflict (client_id, date, bot_id, exchange, market, pair) do update
           set realized = excluded.realized, fees_quote = excluded.fees_quote, funding = excluded.funding,
               volume_quote = excluded.volume_quote, position = excluded.position,
               unrealized_eod = excluded.unrealized_eod, cum_total_net = excluded.cum_total_net, pnl = excluded.pnl
        "#,
        rows
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn save_closings(
    db: &mut PgConnection,
    client: ClientId,
    newest: Option<DateTime<Utc>>,
    unsaved: &Unsaved,
) -> sqlx::Result<()> {
    if unsaved.closings.is_empty() && unsaved.void_after.is_none() {
        return Ok(());
    }
    // The same rule as `history::is_kept`.
    sqlx::query!(
        r#"
        delete from pnl_closings
         where client_id = $1
           and (   (at < date_trunc('hour', $2::timestamptz, 'UTC') and at <> date_trunc('hour', at, 'UTC'))
                or (at < date_trunc('day', $2::timestamptz, 'UTC')  and at <> date_trunc('day', at, 'UTC')))
        "#,
        client.0,
        newest
    )
    .execute(&mut *db)
    .await?;
    let ats: Vec<DateTime<Utc>> = unsaved.closings.keys().map(|at| (*at).into()).collect();
    let books: Vec<String> = unsaved.closings.values().map(rows::text).collect();
    sqlx::query!(
        r#"
        insert into pnl_closings (client_id, at, books)
        select $1, at, books
          from unnest($2::timestamptz[], $3::text[]) n(at, books)
        on conflict (client_id, at) do update
           set books = excluded.books
        "#,
        client.0,
        &ats,
        &books
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A client whose figures could not be made.
#[derive(Debug)]
pub struct Missing {
    /// Which.
    pub client: ClientId,
    /// Why.
    pub cause: ProjectError,
}

/// P&L of every client at `as_of`, as far as the live tables have read, and the clients that are missing from it. For the
/// desk alone.
pub async fn report(db: &mut PgConnection, as_of: Time) -> Result<(Report, Vec<Missing>), ProjectError> {
    let clients = sqlx::query_scalar!(
        r#"
        select c.client_id
          from rm.checkpoints c
          join rm.versions v on v.projection = c.projection and v.live = c.version
         where c.projection = 'pnl' and c.reached > 0
         order by c.client_id
        "#
    )
    .fetch_all(&mut *db)
    .await?;
    let (mut report, mut missing) = (Report::new(as_of), Vec::new());
    for client in clients.into_iter().map(ClientId) {
        match add_client(db, client, as_of, &mut report).await {
            Ok(()) => {}
            Err(cause) if cause.is_transient() => return Err(cause),
            // One client's trouble must not hide the others' figures.
            Err(cause) => missing.push(Missing { client, cause }),
        }
    }
    Ok((report, missing))
}

/// One client in one snapshot: its tables and its checkpoint belong together.
async fn add_client(
    db: &mut PgConnection,
    client: ClientId,
    as_of: Time,
    report: &mut Report,
) -> Result<(), ProjectError> {
    let mut tx = db.begin_with("begin isolation level repeatable read, read only").await?;
    use_live(&mut tx).await?;
    add_from_snapshot(&mut tx, client, as_of, report).await
}

/// The report of one client alone, in a transaction that sees one snapshot and the live tables.
pub async fn report_of(db: &mut PgConnection, client: ClientId, as_of: Time) -> Result<Report, ProjectError> {
    let mut report = Report::new(as_of);
    add_from_snapshot(db, client, as_of, &mut report).await?;
    Ok(report)
}

/// The newest moment that a client's facts speak of; absent while there are none.
pub async fn newest(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Option<Time>> {
    let at = sqlx::query_scalar!("select newest_at from pnl_clients where client_id = $1", client.0)
        .fetch_optional(db)
        .await?;
    Ok(at.flatten().map(Time::from))
}

async fn add_from_snapshot(
    tx: &mut PgConnection,
    client: ClientId,
    as_of: Time,
    report: &mut Report,
) -> Result<(), ProjectError> {
    let reached = reach(&mut *tx, Pnl::NAME, client).await?.reached;
    let Some(names) = names(tx, client).await? else { return Ok(()) };
    let mut days = ended_days(tx, client, as_of).await?;
    let history = history(tx, client, reached, as_of..=as_of, &[]).await?;
    days.extend(history.unsaved().days.clone());
    report.add(&names, history.now().clone(), days, as_of).map_err(|cause| ProjectError::Unfoldable {
        seq: reached,
        reason: format!("the report of {} has a figure that cannot be kept exactly: {cause}", names.client),
    })
}

async fn names(db: &mut PgConnection, client: ClientId) -> Result<Option<Names>, ProjectError> {
    let slug = sqlx::query_scalar!("select slug from pnl_clients where client_id = $1", client.0)
        .fetch_optional(&mut *db)
        .await?
        .flatten();
    let Some(slug) = slug else { return Ok(None) };
    let bots = sqlx::query!("select bot_id, name from pnl_bots where client_id = $1", client.0).fetch_all(db).await?;
    let slug_of = |text: &str| text.parse::<Slug>().expect("it was a slug when it was recorded");
    let bots = bots.into_iter().map(|row| (BotId(row.bot_id), slug_of(&row.name))).collect();
    Ok(Some(Names { client: slug_of(&slug), bots }))
}

/// Days that ended before `as_of`.
async fn ended_days(db: &mut PgConnection, client: ClientId, as_of: Time) -> Result<Days, ProjectError> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(d)::text as "row!"
          from pnl_days d
         where d.client_id = $1
           and d.date < ($2::timestamptz at time zone 'UTC')::date
        "#,
        client.0,
        DateTime::<Utc>::from(as_of)
    )
    .fetch_all(db)
    .await?;
    let day = |text: String| {
        let Row { of, what }: Row<Day> = rows::read(&text);
        ((what.date, of.key()), what)
    };
    Ok(rows.into_iter().map(day).collect())
}

/// What the table of books says, for queries of the present.
pub async fn tallies(db: &mut PgConnection, client: ClientId) -> Result<BTreeMap<BookKey, Tally>, ProjectError> {
    let rows =
        sqlx::query_scalar!(r#"select to_jsonb(b)::text as "row!" from pnl_books b where b.client_id = $1"#, client.0)
            .fetch_all(db)
            .await?;
    let tally = |text: String| {
        let Row { of, what }: Row<Tally> = rows::read(&text);
        (of.key(), what)
    };
    Ok(rows.into_iter().map(tally).collect())
}

/// What every client's books come to at its newest marks, realised net and unrealised (R7, R8), by quote asset; unknown
/// where a position has no mark. For the desk alone.
pub async fn now_of_all(db: &mut PgConnection) -> sqlx::Result<BTreeMap<Uuid, BTreeMap<Asset, Option<Decimal>>>> {
    let rows = sqlx::query!(
        r#"
        select b.client_id, split_part(b.pair, '-', 2) as "quote!",
               case when bool_and(b.position = 0 or m.price is not null)
                    then trim_scale(sum(b.realized - b.fees_quote + b.funding
                                        + coalesce(b.position * m.price, 0) - b.cost))::text end as total
          from pnl_books b
          left join pnl_marks m on m.client_id = b.client_id and m.pair = b.pair
         group by 1, 2
        "#
    )
    .fetch_all(db)
    .await?;
    let mut all: BTreeMap<Uuid, BTreeMap<Asset, Option<Decimal>>> = BTreeMap::new();
    for row in rows {
        let quote = row.quote.parse().expect("it was an asset when it was recorded");
        let total = row.total.map(|total| total.parse().expect("a numeric is a decimal"));
        all.entry(row.client_id).or_default().insert(quote, total);
    }
    Ok(all)
}
