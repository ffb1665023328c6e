//! How far every bot has gone, of what it may not pass: the counters that the limits are held against.
//!
//! One row a book. Days are those of the events, late facts count where they happened, and nothing starts anew with a
//! process: see `past` for what a correction does, and `counters` for what begins again with a deployment.

mod bot;
mod counters;
mod past;

use std::collections::BTreeMap;

use events::{
    BotId, ClientId, Decimal, Event, Exchange, Market, Pair, Recorded, Time,
    bot::{BotEvent, BotKind, Limits, Venue},
    decimal::ArithmeticError,
    ledger::{BookKey, LedgerEvent, Side},
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use store::read;
use uuid::Uuid;

use self::{
    bot::Bot,
    counters::Counters,
    past::{Kept, Past, State},
};
use crate::{
    checkpoints::skips,
    projection::{ProjectError, Projection},
    rows,
};

/// A client's counters.
#[derive(Debug)]
pub struct Risk {
    client: ClientId,
    past: Past,
    bots: BTreeMap<BotId, Bot>,
    /// The last event that spoke of each book.
    told: BTreeMap<BookKey, u64>,
    /// What the table holds, to write only what differs.
    saved: BTreeMap<BookKey, Book>,
}

/// One book's counters, and its bot's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Book {
    /// Whose it is.
    pub client_id: Uuid,
    /// Whose trading it is.
    pub bot_id: BotId,
    /// Where.
    pub exchange: Exchange,
    /// On which of its markets.
    pub market: Market,
    /// What for what.
    pub pair: Pair,
    /// What the bot is for.
    pub kind: BotKind,
    /// What it may not pass.
    pub limits: Limits,
    /// Whether it is asked for or running.
    pub wanted: bool,
    /// Whether this is where its config says that it trades, or where it has traded since it was deployed.
    pub current: bool,
    /// When it was asked for last, and the event that says so; absent: never.
    pub deployed_at: Option<Time>,
    pub deployed_seq: Option<i64>,
    /// The event that says that it could not be stopped, if it is asked for or running only because of that.
    pub stop_failed_seq: Option<i64>,
    /// Begin of the day (UTC) of the client's newest fact: the day that is counted.
    pub day: Option<Time>,
    /// Fills of that day.
    pub fills: i64,
    /// Traded on that day, in the base asset.
    pub amount: Decimal,
    /// Bought on that day, in the quote asset.
    pub bought: Decimal,
    /// Sold on that day, in the quote asset.
    pub sold: Decimal,
    /// Fills since the day began or the bot was deployed, whichever came later: what the balance of sides is taken of.
    pub spell_fills: i64,
    /// Bought since then, in the quote asset.
    pub spell_bought: Decimal,
    /// Sold since then, in the quote asset.
    pub spell_sold: Decimal,
    /// The side of the last fill since the bot was deployed; absent: there was none.
    pub run_side: Option<Side>,
    /// How many of that side came one after the other.
    pub run_fills: i64,
    /// What the book holds, in the base asset; below zero: short.
    pub position: Decimal,
    /// What of it came since the bot was deployed.
    pub position_since_deploy: Decimal,
    /// What has flown in and out since ever, fees and funding included, in the quote asset.
    pub cash: Decimal,
    /// Fees, each as it was worth when it was charged, in the quote asset.
    pub fees_quote: Decimal,
    /// Fills and fundings whose fee or worth nobody knows: they are not in `cash`.
    pub fees_unknown: i64,
    /// The last middle of the pair's book that was seen; absent: none.
    pub mark: Option<Decimal>,
    /// Cash and position at the mark; absent: there is a position and no mark.
    pub equity: Option<Decimal>,
    /// What that was when the day began.
    pub equity_at_day_begin: Option<Decimal>,
    /// The highest that it was since the bot was deployed.
    pub equity_highest: Option<Decimal>,
    /// Everybody's trading on the venue that day, in the base asset; absent: unknown.
    pub market_amount: Option<Decimal>,
    /// Until when that is counted.
    pub market_amount_at: Option<Time>,
    /// The last event that spoke of this book or its bot.
    pub seq: i64,
}

impl Projection for Risk {
    const NAME: &'static str = "risk";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table risk (
          client_id             uuid    not null,
          bot_id                uuid    not null,
          exchange              text    not null,
          market                text    not null,
          pair                  text    not null,
          kind                  text    not null,
          limits                jsonb   not null,
          wanted                boolean not null,
          current               boolean not null,
          deployed_at           timestamptz,
          deployed_seq          bigint,
          stop_failed_seq       bigint,
          day                   timestamptz,
          fills                 bigint  not null,
          amount                numeric not null,
          bought                numeric not null,
          sold                  numeric not null,
          spell_fills           bigint  not null,
          spell_bought          numeric not null,
          spell_sold            numeric not null,
          run_side              text,
          run_fills             bigint  not null,
          position              numeric not null,
          position_since_deploy numeric not null,
          cash                  numeric not null,
          fees_quote            numeric not null,
          fees_unknown          bigint  not null,
          mark                  numeric,
          equity                numeric,
          equity_at_day_begin   numeric,
          equity_highest        numeric,
          market_amount         numeric,
          market_amount_at      timestamptz,
          seq                   bigint  not null,
          primary key (client_id, bot_id, exchange, market, pair)
        );
        create table risk_past (
          client_id uuid primary key,
          kept      text not null,                        -- the counters before the facts that are remembered singly
          bots      text not null
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, reached: u64) -> Result<Self, ProjectError> {
        let row = sqlx::query!("select kept, bots from risk_past where client_id = $1", client.0)
            .fetch_optional(&mut *db)
            .await?;
        let (kept, bots): (Kept, BTreeMap<BotId, Bot>) =
            row.map(|row| (rows::read(&row.kept), rows::read(&row.bots))).unwrap_or_default();
        let past = Past::restored(kept.clone(), &since(db, client, &kept, reached).await?).map_err(inexact(reached))?;
        let saved: BTreeMap<BookKey, Book> =
            of_client(db, client).await?.into_iter().map(|book| (book.key(), book)).collect();
        let told = saved.iter().map(|(key, book)| (key.clone(), book.seq as u64)).collect();
        Ok(Self { client, past, bots, told, saved })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        match &event.event {
            Event::Bot(told) => {
                let bot = event.aggregate.id.parse().map_err(|_| ProjectError::Unfoldable {
                    seq: event.seq,
                    reason: "its bot's id is no id".to_owned(),
                })?;
                self.hear_of(bot, told, event.seq);
            }
            Event::Ledger(fact) => {
                let told = self.told_of(fact).into_iter().map(|book| (book, event.seq)).collect::<Vec<_>>();
                self.told.extend(told);
            }
            Event::Market(fact) => {
                self.told.iter_mut().filter(|(book, _)| speaks_of(fact, book)).for_each(|(_, seq)| {
                    *seq = event.seq;
                })
            }
            Event::Client(_)
            | Event::Credential(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Manual(_)
            | Event::Order(_)
            | Event::Desk(_)
            | Event::Account(_) => {}
        }
        self.past.take(event).map_err(inexact(event.seq))
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, reached: u64) -> Result<(), ProjectError> {
        let rows = self.rows().map_err(inexact(reached))?;
        let differing: Vec<&BookKey> = rows.keys().filter(|key| self.saved.get(key) != rows.get(key)).collect();
        let gone: Vec<&Book> =
            self.saved.iter().filter(|(key, _)| !rows.contains_key(key)).map(|(_, book)| book).collect();
        write(db, differing.iter().map(|key| &rows[key]).collect(), gone).await?;
        let (kept, bots) = (rows::text(self.past.kept()), rows::text(&self.bots));
        sqlx::query!(
            r#"
            insert into risk_past (client_id, kept, bots)
            values ($1, $2, $3)
            on conflict (client_id) do update
               set kept = excluded.kept, bots = excluded.bots
            "#,
            client.0,
            kept,
            bots
        )
        .execute(db)
        .await?;
        self.saved = rows;
        Ok(())
    }
}

fn inexact(seq: u64) -> impl Fn(ArithmeticError) -> ProjectError {
    move |cause| ProjectError::Unfoldable { seq, reason: cause.to_string() }
}

/// The events that the facts which are remembered singly come from.
async fn since(
    db: &mut PgConnection,
    client: ClientId,
    kept: &Kept,
    reached: u64,
) -> Result<Vec<Recorded>, ProjectError> {
    let Some(first) = kept.from_seq else { return Ok(Vec::new()) };
    let skips = skips(db, Risk::NAME, client).await?;
    let mut events = Vec::new();
    read::each(db, client, first, reached, |event| {
        if !skips.contains(&(event.seq as i64)) {
            events.push(event);
        }
        Ok::<(), ProjectError>(())
    })
    .await?;
    Ok(events)
}

async fn write(db: &mut PgConnection, differing: Vec<&Book>, gone: Vec<&Book>) -> sqlx::Result<()> {
    let Some(void) = rows::written(differing.iter().chain(&gone)) else { return Ok(()) };
    sqlx::query!(
        "delete from risk r using jsonb_populate_recordset(null::risk, $1) n
          where (r.client_id, r.bot_id, r.exchange, r.market, r.pair)
              = (n.client_id, n.bot_id, n.exchange, n.market, n.pair)",
        void
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "insert into risk select * from jsonb_populate_recordset(null::risk, $1)",
        rows::written(differing.iter())
    )
    .execute(db)
    .await?;
    Ok(())
}

impl Risk {
    fn hear_of(&mut self, id: BotId, told: &BotEvent, seq: u64) {
        if let BotEvent::BotCreated { config, .. } = told {
            self.bots.insert(id, Bot::created(config));
        }
        let Some(bot) = self.bots.get_mut(&id) else { return };
        if !bot.hear(told, seq) {
            return;
        }
        let place = bot.venue.as_ref().filter(|_| bot.deployed_at.is_some());
        if let Some(Venue { exchange, market, pair }) = place.cloned() {
            self.told.insert(BookKey { bot: id, exchange, market, pair }, seq);
        }
        self.told.iter_mut().filter(|(book, _)| book.bot == id).for_each(|(_, last)| *last = seq);
    }

    fn told_of(&self, fact: &LedgerEvent) -> Vec<BookKey> {
        match fact {
            LedgerEvent::FillRecorded(fill) => vec![fill.book()],
            LedgerEvent::FillCorrected { was, fill, .. } => vec![was.book(), fill.book()],
            LedgerEvent::FillVoided { was, .. } => vec![was.book()],
            LedgerEvent::OpeningPosition { book, .. } | LedgerEvent::FundingPaid { book, .. } => vec![book.clone()],
            // Any book may have had a fee that this values.
            LedgerEvent::FeeRateSupplied { .. } => self.told.keys().cloned().collect(),
            LedgerEvent::FillDisputed { .. } | LedgerEvent::TransferRecorded { .. } => Vec::new(),
        }
    }

    /// Every book that has a fact, and where each bot that was ever deployed shall trade.
    fn rows(&mut self) -> Result<BTreeMap<BookKey, Book>, ArithmeticError> {
        let state = self.past.settle()?;
        let mut books: BTreeMap<BookKey, Option<&Counters>> = BTreeMap::new();
        for (id, bot) in self.bots.iter().filter(|(_, bot)| bot.deployed_at.is_some()) {
            if let Some(Venue { exchange, market, pair }) = bot.venue.clone() {
                books.insert(BookKey { bot: *id, exchange, market, pair }, None);
            }
        }
        books.extend(state.books().map(|(key, book)| (key.clone(), Some(book))));
        let row = |(key, book): (BookKey, Option<&Counters>)| {
            let seq = self.told.get(&key).copied().unwrap_or_default();
            let row = Book::of(self.client, &key, book, self.bots.get(&key.bot), state, seq)?;
            Ok((key, row))
        };
        books.into_iter().map(row).collect()
    }
}

/// Whether a fact of the market changes this book's figures.
fn speaks_of(fact: &MarketEvent, book: &BookKey) -> bool {
    match fact {
        MarketEvent::MarkObserved { pair, .. } => book.pair == *pair,
        MarketEvent::VolumeObserved { venue, .. } => is_at(book, venue),
        MarketEvent::QuoteObserved { .. }
        | MarketEvent::QuoteMinute { .. }
        | MarketEvent::QuotesUnknown { .. }
        | MarketEvent::DepthObserved { .. }
        | MarketEvent::DepthMinute { .. } => false,
    }
}

fn is_at(book: &BookKey, venue: &Venue) -> bool {
    (book.exchange, book.market, &book.pair) == (venue.exchange, venue.market, &venue.pair)
}

impl Book {
    fn of(
        client: ClientId,
        key: &BookKey,
        book: Option<&Counters>,
        bot: Option<&Bot>,
        state: &State,
        seq: u64,
    ) -> Result<Self, ArithmeticError> {
        let none = Counters::new(state.mark(key), None);
        let book = book.unwrap_or(&none);
        let configured = bot.and_then(|bot| bot.venue.as_ref()).is_none_or(|venue| is_at(key, venue));
        let volume = state.volume(key);
        Ok(Self {
            client_id: client.0,
            bot_id: key.bot,
            exchange: key.exchange,
            market: key.market,
            pair: key.pair.clone(),
            kind: bot.map(|bot| bot.kind).unwrap_or_default(),
            limits: bot.map(|bot| bot.limits.clone()).unwrap_or_default(),
            wanted: bot.is_some_and(|bot| bot.wanted),
            current: configured || book.run.is_some(),
            deployed_at: bot.and_then(|bot| bot.deployed_at),
            deployed_seq: bot.and_then(|bot| bot.deployed_seq).map(|seq| seq as i64),
            stop_failed_seq: bot.and_then(|bot| bot.stop_failed_seq).map(|seq| seq as i64),
            day: state.day,
            fills: book.today.fills as i64,
            amount: book.today.amount,
            bought: book.today.bought,
            sold: book.today.sold,
            spell_fills: book.spell.fills as i64,
            spell_bought: book.spell.bought,
            spell_sold: book.spell.sold,
            run_side: book.run.map(|run| run.side),
            run_fills: book.run.map_or(0, |run| run.fills as i64),
            position: book.now.position,
            position_since_deploy: book.position_since_deploy()?,
            cash: book.now.cash,
            fees_quote: book.fees_quote,
            fees_unknown: book.fees_unknown as i64,
            mark: book.now.mark.map(|mark| mark.0),
            equity: book.now.equity()?,
            equity_at_day_begin: book.begin.equity()?,
            equity_highest: book.highest_equity(),
            market_amount: volume.map(|volume| volume.amount.0),
            market_amount_at: volume.map(|volume| volume.at),
            seq: seq as i64,
        })
    }

    /// Which book it is.
    pub fn key(&self) -> BookKey {
        BookKey { bot: self.bot_id, exchange: self.exchange, market: self.market, pair: self.pair.clone() }
    }
}

/// Every book of a client.
pub async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Book>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(r)::text as "row!"
          from risk r
         where r.client_id = $1
         order by r.bot_id, r.exchange, r.market, r.pair
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// The books of one bot of a client.
pub async fn of_bot(db: &mut PgConnection, client: ClientId, bot: BotId) -> sqlx::Result<Vec<Book>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(r)::text as "row!"
          from risk r
         where r.client_id = $1 and r.bot_id = $2
         order by r.exchange, r.market, r.pair
        "#,
        client.0,
        bot.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

#[cfg(test)]
mod tests;
