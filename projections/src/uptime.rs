//! How long and how tightly each bot quoted, and how deep the book was that it quoted in: exact time integrals by the minute,
//! and shares of any window of whole minutes.
//!
//! What nobody could tell is left out of every share and shown beside them.

mod depth;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{
    Asset, BotId, ClientId, Decimal, Event, Exchange, Market, Pair, Recorded, Time, bot::Venue,
    decimal::ArithmeticError, market::MarketEvent,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use self::depth::{Book, Depths};
pub use self::depth::{Deep, Mean, MeanBps, Size, Slippage};
use crate::{
    projection::{ProjectError, Projection},
    rows,
};

pub const MINUTE_US: i64 = 60_000_000;
/// The window, if none is asked for: up to the last minute that is known.
const DAY_US: i64 = 86_400_000_000;
/// Shares are told to so many places, half to even.
const SHARE_PLACES: u32 = 12;
/// How each figure is made, in words.
const METHOD: &str = "exact time by the bot's own orders: a side is up while it has an order in the book; shares are of the \
                      known time of the window; the spread is (ask - bid) / middle, weighted by two-sided time; depth is the sum \
                      of price x amount up to a distance from the middle, a mean over the time that the book was known so far \
                      out, looked at every few seconds, and of the bot's own orders over the time that they were known beside it";

/// Minutes that a batch brought.
#[derive(Debug, Default)]
pub struct Uptime {
    minutes: BTreeMap<(BotId, Venue, Time), Sums>,
    depths: Depths,
    /// Changes that were told, by the day (UTC).
    changes: BTreeMap<(BotId, Time), Changes>,
}

/// How many changes of a bot's quotes, and of the book that it quotes in, were told of a day (UTC).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    pub quotes: u32,
    pub depths: u32,
}

/// Times in microseconds, over a minute or many. The spread's is in bps x microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    known_us: i64,
    bid_us: i64,
    ask_us: i64,
    two_sided_us: i64,
    spread_bps_us: Decimal,
    /// Two-sided time whose bands were measured, and how much of it was in each.
    banded_us: i64,
    bands: BTreeMap<u32, i64>,
    left_out: i64,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    client_id: Uuid,
    bot_id: BotId,
    exchange: Exchange,
    market: Market,
    pair: &'a Pair,
    at: Time,
    #[serde(flatten)]
    sums: &'a Sums,
}

/// How a bot quoted in a window. A share is null where nothing of it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Quoting {
    pub bot_id: BotId,
    /// How each figure is made.
    pub method: &'static str,
    /// Begin of the first minute; null: nothing was ever measured.
    pub from: Option<Time>,
    /// End of the last minute.
    pub to: Option<Time>,
    /// How long the window is, in microseconds.
    pub window_us: i64,
    /// How much of it was measured.
    pub known_us: i64,
    /// How much of it nobody could tell; it is in no share.
    pub unknown_us: i64,
    /// Time with an order to buy.
    pub bid: Share,
    /// Time with an order to sell.
    pub ask: Share,
    /// Both sides' times over twice the known time.
    pub sides: Share,
    /// Time with orders on both sides.
    pub two_sided: Share,
    /// Time with orders on both sides and a spread of at most so many bps, for each band of the grid that was met. The
    /// denominator leaves out two-sided time whose bands nobody measured.
    pub within: Vec<Within>,
    /// The spread in bps, weighted by two-sided time.
    pub spread_bps: Spread,
    /// What all that follows is told in; null: nothing is known. A bot that went elsewhere is told of where it was last.
    pub quote: Option<Asset>,
    /// How much stood in the book, and how much of it was the bot's, within each step of the grid that the book was seen out
    /// to.
    pub depth: Vec<Deep>,
    /// How long the bot had so much of its own on each of both sides near the middle, by steps of 1, 2, 5, 10, 20, 50 and so on.
    pub sizes: Vec<Size>,
    /// What it cost to trade an amount at once.
    pub slippage: Vec<Slippage>,
    /// Changes of band or sides that no event tells of, because there were too many.
    pub changes_left_out: i64,
}

/// One time over another, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Share {
    /// From 0 to 1; null: nothing is known.
    pub value: Option<Decimal>,
    pub numerator_us: i64,
    pub denominator_us: i64,
}

/// Two-sided time within a spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Within {
    pub bps: u32,
    #[serde(flatten)]
    pub share: Share,
}

/// A mean spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Spread {
    /// In bps of the middle; null: it was never two-sided.
    pub value: Option<Decimal>,
    /// In bps x microseconds.
    pub numerator_bps_us: Decimal,
    /// Two-sided time, in microseconds.
    pub denominator_us: i64,
}

impl Projection for Uptime {
    const NAME: &'static str = "uptime";
    const FOLD: u32 = 4;
    const TABLES: &'static str = r#"
        create table quote_minutes (
          client_id     uuid        not null,
          bot_id        uuid        not null,
          exchange      text        not null,
          market        text        not null,
          pair          text        not null,
          at            timestamptz not null,             -- begin of the minute
          known_us      bigint      not null,
          bid_us        bigint      not null,
          ask_us        bigint      not null,
          two_sided_us  bigint      not null,
          spread_bps_us numeric     not null,
          banded_us     bigint      not null,             -- two-sided time whose bands were measured
          bands         jsonb       not null,
          left_out      bigint      not null,
          primary key (client_id, bot_id, at, exchange, market, pair)
        );
        create table quote_days (
          client_id uuid        not null,
          bot_id    uuid        not null,
          day       timestamptz not null,                 -- begin of the day
          quotes    bigint      not null,                 -- changes that were told
          depths    bigint      not null,
          primary key (client_id, bot_id, day)
        );
        create table depth_minutes (
          client_id    uuid        not null,
          bot_id       uuid        not null,
          exchange     text        not null,
          market       text        not null,
          pair         text        not null,
          at           timestamptz not null,              -- begin of the minute
          known_us     bigint      not null,
          own_known_us bigint      not null,
          within       jsonb       not null,              -- by step of the grid
          slippage     jsonb       not null,              -- by amount of the quote asset
          sized        jsonb       not null,              -- by step of the grid, and by amount of the quote asset
          primary key (client_id, bot_id, at, exchange, market, pair)
        );
    "#;

    async fn open(_: &mut PgConnection, _: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self::default())
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let unfoldable = |reason: String| ProjectError::Unfoldable { seq: event.seq, reason };
        if let Event::Market(told) = &event.event {
            self.depths.hear(told).map_err(unfoldable)?;
            self.count(told);
        }
        let Event::Market(MarketEvent::QuoteMinute { bot, venue, at, .. }) = &event.event else { return Ok(()) };
        let sums = Sums::of(&event.event).ok_or_else(|| unfoldable("a minute is longer than a minute".to_owned()))?;
        let minute = self.minutes.entry((*bot, venue.clone(), *at)).or_default();
        minute.add(&sums).map_err(|cause| unfoldable(cause.to_string()))
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        self.depths.save(db, client).await?;
        save_changes(db, client, &std::mem::take(&mut self.changes)).await?;
        let mut minutes = std::mem::take(&mut self.minutes);
        if minutes.is_empty() {
            return Ok(());
        }
        let unkept = |cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() };
        // A bot that was deployed twice in a minute has told of it twice, of another part each time.
        for (key, known) in known(db, client, minutes.keys()).await? {
            if let Some(minute) = minutes.get_mut(&key) {
                minute.add(&known).map_err(unkept)?;
            }
        }
        let written = minutes.iter().map(|((bot_id, venue, at), sums)| Row {
            client_id: client.0,
            bot_id: *bot_id,
            exchange: venue.exchange,
            market: venue.market,
            pair: &venue.pair,
            at: *at,
            sums,
        });
        let Some(rows) = rows::written(written) else { return Ok(()) };
        sqlx::query!(
            "delete from quote_minutes m using jsonb_populate_recordset(null::quote_minutes, $1) n
              where (m.client_id, m.bot_id, m.at, m.exchange, m.market, m.pair)
                  = (n.client_id, n.bot_id, n.at, n.exchange, n.market, n.pair)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into quote_minutes select * from jsonb_populate_recordset(null::quote_minutes, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Uptime {
    fn count(&mut self, told: &MarketEvent) {
        let one = |bot: &BotId, at: &Time| (*bot, at.midnight());
        match told {
            MarketEvent::QuoteObserved { bot, at, .. } => self.changes.entry(one(bot, at)).or_default().quotes += 1,
            MarketEvent::DepthObserved { bot, at, .. } => self.changes.entry(one(bot, at)).or_default().depths += 1,
            MarketEvent::QuoteMinute { .. }
            | MarketEvent::QuotesUnknown { .. }
            | MarketEvent::DepthMinute { .. }
            | MarketEvent::MarkObserved { .. }
            | MarketEvent::VolumeObserved { .. } => {}
        }
    }
}

async fn save_changes(
    db: &mut PgConnection,
    client: ClientId,
    changes: &BTreeMap<(BotId, Time), Changes>,
) -> sqlx::Result<()> {
    let bots: Vec<Uuid> = changes.keys().map(|(bot, _)| bot.0).collect();
    let days: Vec<DateTime<Utc>> = changes.keys().map(|(_, day)| DateTime::<Utc>::from(*day)).collect();
    let count = |of: fn(&Changes) -> u32| changes.values().map(|told| i64::from(of(told))).collect::<Vec<i64>>();
    sqlx::query!(
        "insert into quote_days as d (client_id, bot_id, day, quotes, depths)
         select $1, bot, day, quotes, depths from unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::bigint[])
             n(bot, day, quotes, depths)
         on conflict (client_id, bot_id, day) do update
            set quotes = d.quotes + excluded.quotes,
                depths = d.depths + excluded.depths",
        client.0,
        &bots,
        &days,
        &count(|told| told.quotes),
        &count(|told| told.depths)
    )
    .execute(db)
    .await?;
    Ok(())
}

/// How many changes were told of a bot on the day (UTC) of a moment.
pub async fn told_of_day(db: &mut PgConnection, client: ClientId, bot: BotId, at: Time) -> sqlx::Result<Changes> {
    let found = sqlx::query!(
        "select quotes, depths from quote_days where client_id = $1 and bot_id = $2 and day = $3",
        client.0,
        bot.0,
        DateTime::<Utc>::from(at.midnight())
    )
    .fetch_optional(db)
    .await?;
    let count = |told: i64| u32::try_from(told).unwrap_or(u32::MAX);
    Ok(found.map_or_else(Changes::default, |of| Changes { quotes: count(of.quotes), depths: count(of.depths) }))
}

type Key = (BotId, Venue, Time);

/// What is known already of these minutes.
async fn known(
    db: &mut PgConnection,
    client: ClientId,
    keys: impl Iterator<Item = &Key>,
) -> Result<Vec<(Key, Sums)>, ProjectError> {
    #[derive(Deserialize)]
    struct Known {
        bot_id: BotId,
        #[serde(flatten)]
        venue: Venue,
        at: Time,
        sums: Sums,
    }
    let (bots, ats): (Vec<Uuid>, Vec<DateTime<Utc>>) =
        keys.map(|(bot, _, at)| (bot.0, DateTime::<Utc>::from(*at))).unzip();
    let found = sqlx::query_scalar!(
        r#"
        select jsonb_build_object('bot_id', m.bot_id, 'exchange', m.exchange, 'market', m.market, 'pair', m.pair, 'at', m.at,
                 'sums', jsonb_build_object('known_us', m.known_us, 'bid_us', m.bid_us, 'ask_us', m.ask_us,
                   'two_sided_us', m.two_sided_us, 'spread_bps_us', m.spread_bps_us, 'banded_us', m.banded_us,
                   'bands', m.bands, 'left_out', m.left_out))::text as "row!"
          from quote_minutes m
          join (select distinct bot_id, at from unnest($2::uuid[], $3::timestamptz[]) k(bot_id, at)) k using (bot_id, at)
         where m.client_id = $1
        "#,
        client.0,
        &bots,
        &ats
    )
    .fetch_all(db)
    .await?;
    let read = |row: &String| {
        let Known { bot_id, venue, at, sums } = rows::read(row);
        ((bot_id, venue, at), sums)
    };
    Ok(found.iter().map(read).collect())
}

impl Sums {
    /// A minute's; absent where it cannot be one.
    fn of(event: &Event) -> Option<Self> {
        let Event::Market(MarketEvent::QuoteMinute {
            bid_us,
            ask_us,
            two_sided_us,
            spread_bps_us,
            unknown_us,
            band_us,
            changes_left_out,
            ..
        }) = event
        else {
            return None;
        };
        let us = |us: &u64| i64::try_from(*us).ok();
        let (known_us, two_sided_us) = (MINUTE_US.checked_sub(us(unknown_us)?)?, us(two_sided_us)?);
        let (bid_us, ask_us) = (us(bid_us)?, us(ask_us)?);
        if [bid_us, ask_us].into_iter().any(|side| side > known_us) || two_sided_us > bid_us.min(ask_us) {
            return None;
        }
        Some(Self {
            known_us,
            bid_us,
            ask_us,
            two_sided_us,
            spread_bps_us: *spread_bps_us,
            banded_us: if band_us.is_empty() { 0 } else { two_sided_us },
            bands: band_us.iter().map(|(bps, of)| Some((*bps, us(of)?))).collect::<Option<_>>()?,
            left_out: us(&changes_left_out.unwrap_or_default())?,
        })
    }

    fn add(&mut self, other: &Self) -> Result<(), ArithmeticError> {
        self.known_us += other.known_us;
        self.bid_us += other.bid_us;
        self.ask_us += other.ask_us;
        self.two_sided_us += other.two_sided_us;
        self.spread_bps_us = self.spread_bps_us.plus(other.spread_bps_us)?;
        self.banded_us += other.banded_us;
        for (bps, us) in &other.bands {
            *self.bands.entry(*bps).or_default() += us;
        }
        self.left_out += other.left_out;
        Ok(())
    }

    fn quoting(
        &self,
        bot_id: BotId,
        window: Option<&Except>,
        Book { quote, deep, sizes, slippage }: Book,
    ) -> Result<Quoting, ArithmeticError> {
        let window_us = window.map_or(0, Except::us);
        let denominator = Decimal::from_int(self.two_sided_us);
        let spread = match self.two_sided_us {
            0 => None,
            _ => Some(self.spread_bps_us.divided_by(denominator)?.rounded(SHARE_PLACES).normalised()),
        };
        Ok(Quoting {
            bot_id,
            method: METHOD,
            from: window.map(|window| window.begin),
            to: window.map(|window| window.end),
            window_us,
            known_us: self.known_us,
            unknown_us: window_us - self.known_us,
            bid: Share::of(self.bid_us, self.known_us)?,
            ask: Share::of(self.ask_us, self.known_us)?,
            sides: Share::of(self.bid_us + self.ask_us, 2 * self.known_us)?,
            two_sided: Share::of(self.two_sided_us, self.known_us)?,
            within: self.within()?,
            spread_bps: Spread {
                value: spread,
                numerator_bps_us: self.spread_bps_us,
                denominator_us: self.two_sided_us,
            },
            quote,
            depth: deep,
            sizes,
            slippage,
            changes_left_out: self.left_out,
        })
    }

    fn within(&self) -> Result<Vec<Within>, ArithmeticError> {
        let known = self.known_us - (self.two_sided_us - self.banded_us);
        let mut met = 0;
        let each = self.bands.iter().map(|(bps, us)| {
            met += us;
            Ok(Within { bps: *bps, share: Share::of(met, known)? })
        });
        each.collect()
    }
}

impl Share {
    fn of(numerator_us: i64, denominator_us: i64) -> Result<Self, ArithmeticError> {
        let share = || Decimal::from_int(numerator_us).divided_by(Decimal::from_int(denominator_us));
        let value = match denominator_us {
            0 => None,
            _ => Some(share()?.rounded(SHARE_PLACES).normalised()),
        };
        Ok(Self { value, numerator_us, denominator_us })
    }
}

/// A window, but for some times of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Except {
    pub begin: Time,
    pub end: Time,
    /// From and to, in order, apart from each other.
    pub except: Vec<(Time, Time)>,
}

impl Except {
    pub fn nothing(begin: Time, end: Time) -> Self {
        Self { begin, end, except: Vec::new() }
    }

    /// How long it is, in whole minutes that none of those times touches.
    pub fn us(&self) -> i64 {
        let mut us = self.end.micros() - self.begin.micros();
        let mut counted = self.begin;
        for (since, until) in &self.except {
            let from = minute(*since).max(counted);
            let to = minute(until.plus_micros(MINUTE_US - 1)).min(self.end);
            us -= (to.micros() - from.micros()).max(0);
            counted = counted.max(to);
        }
        us
    }

    fn since(&self) -> Vec<DateTime<Utc>> {
        self.except.iter().map(|(since, _)| DateTime::<Utc>::from(*since)).collect()
    }

    fn until(&self) -> Vec<DateTime<Utc>> {
        self.except.iter().map(|(_, until)| DateTime::<Utc>::from(*until)).collect()
    }
}

/// The minute that a moment lies in.
fn minute(at: Time) -> Time {
    at.plus_micros(-at.micros().rem_euclid(MINUTE_US))
}

/// How a bot quoted from the minute of `from` to the begin of the minute of `to`. Without an end, up to the last minute that
/// is known; without a begin, a day.
pub async fn of_bot(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    from: Option<Time>,
    to: Option<Time>,
) -> Result<Quoting, ProjectError> {
    let unkept = |cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() };
    let end = match to {
        Some(to) => Some(minute(to)),
        None => last_known(db, client, bot).await?,
    };
    let Some(end) = end else { return Sums::default().quoting(bot, None, Default::default()).map_err(unkept) };
    let begin = from.map_or(end.plus_micros(-DAY_US), minute).min(end);
    of_window(db, client, bot, &Except::nothing(begin, end)).await
}

/// How a bot quoted in a window, but for some times of it. Whole minutes are left out that those times touch.
pub async fn of_window(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    window: &Except,
) -> Result<Quoting, ProjectError> {
    let unkept = |cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() };
    let row = sqlx::query_scalar!(
        r#"
        with minutes as (
               select *
                 from quote_minutes m
                where m.client_id = $1 and m.bot_id = $2 and m.at >= $3 and m.at < $4
                  and not exists (select from unnest($5::timestamptz[], $6::timestamptz[]) x(since, until)
                                   where m.at + interval '1 minute' > x.since and m.at < x.until)),
             bands as (
               select key, sum(value::bigint)::bigint as us from minutes m, jsonb_each_text(m.bands) group by key)
        select jsonb_build_object(
                 'known_us', coalesce(sum(m.known_us), 0)::bigint, 'bid_us', coalesce(sum(m.bid_us), 0)::bigint,
                 'ask_us', coalesce(sum(m.ask_us), 0)::bigint, 'two_sided_us', coalesce(sum(m.two_sided_us), 0)::bigint,
                 'spread_bps_us', coalesce(sum(m.spread_bps_us), 0), 'banded_us', coalesce(sum(m.banded_us), 0)::bigint,
                 'bands', (select coalesce(jsonb_object_agg(key, us), '{}') from bands),
                 'left_out', coalesce(sum(m.left_out), 0)::bigint)::text as "row!"
          from minutes m
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(window.begin),
        DateTime::<Utc>::from(window.end),
        &window.since(),
        &window.until()
    )
    .fetch_one(&mut *db)
    .await?;
    let depth = depth::within(db, client, bot, window).await?;
    rows::read::<Sums>(&row).quoting(bot, Some(window), depth).map_err(unkept)
}

/// The end of the last minute that is known of a bot.
async fn last_known(db: &mut PgConnection, client: ClientId, bot: BotId) -> sqlx::Result<Option<Time>> {
    let last =
        sqlx::query_scalar!("select max(at) from quote_minutes where client_id = $1 and bot_id = $2", client.0, bot.0)
            .fetch_one(db)
            .await?;
    Ok(last.map(|at| Time::from(at).plus_micros(MINUTE_US)))
}

#[cfg(test)]
mod tests;
