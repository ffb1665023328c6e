//! How each bot traded: volume, gross and net of what a client traded with itself, makers' share, orders beside trades, and
//! where the market went afterwards. Kept are the trades, the middles that were told and the orders of each day; figures of
//! any window are made of them when they are asked for.

mod figures;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{
    BotId, ClientId, Decimal, Event, Exchange, Market, Pair, Price, Recorded, Time,
    bot::Venue,
    decimal::ArithmeticError,
    ledger::{Fill, LedgerEvent},
    market::MarketEvent,
    order::OrderEvent,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use self::figures::{Beside, Middle, Trade};
pub use self::figures::{Line, Markout, Orders, Ratio, SelfMatched};
use crate::{
    projection::{ProjectError, Projection},
    rows,
};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 86_400_000_000;
/// Trades so far around a window may be the other halves of some in it, or of those.
const AROUND_US: i64 = 600_000_000;
/// Trades of one window at most; more are asked for in parts.
pub const TRADES_MAX: i64 = 200_000;
/// How each figure is made, in words.
const METHOD: &str = "volume is price x amount of fills as they are known now, by the exchange's time from the begin of the \
                      window to before its end; net volume is without both halves of what the client traded with itself: one \
                      trade with both sides (exact), one price and amount on both sides within 2 s (strong), one amount there \
                      and back by two bots within 10 s (weak); markouts are (middle - price) / price in favour of the trade, \
                      weighted by volume, by the last middle that was seen after the trade and no more than so long after it; \
                      fill rate, order-to-trade and volume share are of the whole days (UTC) that the window touches, and the \
                      share is of what is no trade of the client with itself";

/// What a batch brought.
#[derive(Debug, Default)]
pub struct Trading {
    trades: BTreeMap<u64, Option<Fill>>,
    /// By the minute, and by milliseconds after its begin.
    middles: BTreeMap<(Venue, Time), BTreeMap<u32, Price>>,
    orders: BTreeMap<(BotId, Venue, Time), Orders>,
    markets: BTreeMap<(Venue, Time), (Decimal, Time)>,
}

/// How a bot traded in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TradingFigures)]
pub struct Figures {
    pub bot_id: BotId,
    /// How each figure is made.
    pub method: &'static str,
    /// The first moment of the window.
    pub from: Time,
    /// The first moment behind it.
    pub to: Time,
    /// The whole days (UTC) that it touches: from the first moment of the first one to the first behind the last.
    pub days_from: Time,
    pub days_to: Time,
    /// One for each market that it traded in.
    pub markets: Vec<Line>,
}

#[derive(Serialize)]
struct TradeRow<'a> {
    client_id: Uuid,
    seq: u64,
    at: Time,
    bot_id: BotId,
    exchange: Exchange,
    market: Market,
    pair: &'a Pair,
    side: events::ledger::Side,
    price: Decimal,
    amount: Decimal,
    liquidity: events::ledger::Liquidity,
    trade_id: &'a events::TradeId,
}

impl Projection for Trading {
    const NAME: &'static str = "trading";
    const FOLD: u32 = 2;
    const TABLES: &'static str = r#"
        create table trades (
          client_id uuid        not null,
          seq       bigint      not null,                 -- where the fill was recorded first
          at        timestamptz not null,                 -- the exchange's time
          bot_id    uuid        not null,
          exchange  text        not null,
          market    text        not null,
          pair      text        not null,
          side      text        not null,
          price     numeric     not null,
          amount    numeric     not null,
          liquidity text        not null,
          trade_id  text        not null,
          primary key (client_id, seq)
        );
        create index trades_by_place on trades (client_id, exchange, market, pair, at);
        create table middles (
          client_id uuid        not null,
          exchange  text        not null,
          market    text        not null,
          pair      text        not null,
          minute    timestamptz not null,
          middles   jsonb       not null,                 -- by milliseconds after its begin
          primary key (client_id, exchange, market, pair, minute)
        );
        create table order_days (
          client_id     uuid        not null,
          bot_id        uuid        not null,
          exchange      text        not null,
          market        text        not null,
          pair          text        not null,
          day           timestamptz not null,
          placed        bigint      not null,
          cancelled     bigint      not null,
          rejected      bigint      not null,
          placed_amount numeric     not null,
          primary key (client_id, bot_id, day, exchange, market, pair)
        );
        create table market_days (
          client_id uuid        not null,
          exchange  text        not null,
          market    text        not null,
          pair      text        not null,
          day       timestamptz not null,
          amount    numeric     not null,                 -- everybody's, in the base asset
          known_to  timestamptz not null,                 -- until when it counts
          primary key (client_id, exchange, market, pair, day)
        );
    "#;

    async fn open(_: &mut PgConnection, _: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self::default())
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let unfoldable =
            |cause: ArithmeticError| ProjectError::Unfoldable { seq: event.seq, reason: cause.to_string() };
        if let Event::Ledger(told) = &event.event {
            self.hear_of_fill(event.seq, told);
        } else if let Event::Market(told) = &event.event {
            self.hear_of_market(told);
        } else if let Event::Order(told) = &event.event
            && let Ok(bot) = event.aggregate.id.parse()
        {
            self.hear_of_order(bot, told).map_err(unfoldable)?;
        }
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        save_trades(db, client, std::mem::take(&mut self.trades)).await?;
        save_middles(db, client, std::mem::take(&mut self.middles)).await?;
        save_orders(db, client, std::mem::take(&mut self.orders)).await?;
        save_markets(db, client, std::mem::take(&mut self.markets)).await?;
        Ok(())
    }
}

impl Trading {
    fn hear_of_fill(&mut self, seq: u64, told: &LedgerEvent) {
        match told {
            LedgerEvent::FillRecorded(fill) => drop(self.trades.insert(seq, Some(fill.clone()))),
            LedgerEvent::FillCorrected { corrects, fill, .. } => {
                drop(self.trades.insert(*corrects, Some((**fill).clone())));
            }
            LedgerEvent::FillVoided { voids, .. } => drop(self.trades.insert(*voids, None)),
            LedgerEvent::FillDisputed { .. }
            | LedgerEvent::OpeningPosition { .. }
            | LedgerEvent::FundingPaid { .. }
            | LedgerEvent::TransferRecorded { .. }
            | LedgerEvent::FeeRateSupplied { .. } => {}
        }
    }

    fn hear_of_market(&mut self, told: &MarketEvent) {
        match told {
            MarketEvent::DepthObserved { venue, middle: Some(middle), at, .. } => {
                let minute = at.plus_micros(-at.micros().rem_euclid(MINUTE_US));
                let since_ms = u32::try_from((at.micros() - minute.micros()) / 1_000).expect("a minute has fewer");
                self.middles.entry((venue.clone(), minute)).or_default().insert(since_ms, *middle);
            }
            MarketEvent::DepthMinute { venue, middles, at, .. } => {
                self.middles.entry((venue.clone(), *at)).or_default().extend(middles);
            }
            MarketEvent::VolumeObserved { venue, day, amount, at } => {
                self.markets.insert((venue.clone(), *day), (amount.0, *at));
            }
            MarketEvent::DepthObserved { middle: None, .. }
            | MarketEvent::MarkObserved { .. }
            | MarketEvent::QuoteObserved { .. }
            | MarketEvent::QuoteMinute { .. }
            | MarketEvent::QuotesUnknown { .. } => {}
        }
    }

    fn hear_of_order(&mut self, bot: BotId, told: &OrderEvent) -> Result<(), ArithmeticError> {
        let orders = self.orders.entry((bot, told.venue().clone(), told.at().midnight())).or_default();
        match told {
            OrderEvent::OrderPlaced { amount, .. } => {
                orders.placed += 1;
                orders.placed_amount = orders.placed_amount.plus(amount.0)?;
            }
            OrderEvent::OrderCancelled { .. } => orders.cancelled += 1,
            OrderEvent::OrderRejected { .. } => orders.rejected += 1,
            OrderEvent::OrderFilled { .. } | OrderEvent::OrderExpired { .. } => {}
        }
        Ok(())
    }
}

async fn save_trades(
    db: &mut PgConnection,
    client: ClientId,
    changed: BTreeMap<u64, Option<Fill>>,
) -> sqlx::Result<()> {
    let seqs: Vec<i64> = changed.keys().map(|seq| *seq as i64).collect();
    if seqs.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from trades where client_id = $1 and seq = any($2)", client.0, &seqs)
        .execute(&mut *db)
        .await?;
    let rows = changed.iter().filter_map(|(seq, fill)| {
        let fill = fill.as_ref()?;
        Some(TradeRow {
            client_id: client.0,
            seq: *seq,
            at: fill.at,
            bot_id: fill.bot,
            exchange: fill.exchange,
            market: fill.market,
            pair: &fill.pair,
            side: fill.side,
            price: fill.price.0,
            amount: fill.amount.0,
            liquidity: fill.liquidity,
            trade_id: &fill.trade,
        })
    });
    let Some(rows) = rows::written(rows) else { return Ok(()) };
    sqlx::query!("insert into trades select * from jsonb_populate_recordset(null::trades, $1)", rows)
        .execute(db)
        .await
        .map(drop)
}

async fn save_middles(
    db: &mut PgConnection,
    client: ClientId,
    told: BTreeMap<(Venue, Time), BTreeMap<u32, Price>>,
) -> sqlx::Result<()> {
    let rows = told.iter().filter(|(_, middles)| !middles.is_empty()).map(|((venue, minute), middles)| {
        serde_json::json!({"client_id": client, "exchange": venue.exchange, "market": venue.market, "pair": venue.pair,
                           "minute": minute, "middles": middles})
    });
    let Some(rows) = rows::written(rows) else { return Ok(()) };
    // Two bots of one market tell of it, both.
    sqlx::query!(
        "insert into middles as m select * from jsonb_populate_recordset(null::middles, $1)
         on conflict (client_id, exchange, market, pair, minute) do update set middles = m.middles || excluded.middles",
        rows
    )
    .execute(db)
    .await
    .map(drop)
}

async fn save_orders(
    db: &mut PgConnection,
    client: ClientId,
    counted: BTreeMap<(BotId, Venue, Time), Orders>,
) -> sqlx::Result<()> {
    let rows = counted.iter().map(|((bot, venue, day), orders)| {
        serde_json::json!({"client_id": client, "bot_id": bot, "exchange": venue.exchange, "market": venue.market,
                           "pair": venue.pair, "day": day, "placed": orders.placed, "cancelled": orders.cancelled,
                           "rejected": orders.rejected, "placed_amount": orders.placed_amount.normalised()})
    });
    let Some(rows) = rows::written(rows) else { return Ok(()) };
    sqlx::query!(
        "insert into order_days as o select * from jsonb_populate_recordset(null::order_days, $1)
         on conflict (client_id, bot_id, day, exchange, market, pair) do update
            set placed = o.placed + excluded.placed, cancelled = o.cancelled + excluded.cancelled,
                rejected = o.rejected + excluded.rejected,
                placed_amount = trim_scale(o.placed_amount + excluded.placed_amount)",
        rows
    )
    .execute(db)
    .await
    .map(drop)
}

async fn save_markets(
    db: &mut PgConnection,
    client: ClientId,
    told: BTreeMap<(Venue, Time), (Decimal, Time)>,
) -> sqlx::Result<()> {
    let rows = told.iter().map(|((venue, day), (amount, at))| {
        serde_json::json!({"client_id": client, "exchange": venue.exchange, "market": venue.market, "pair": venue.pair,
                           "day": day, "amount": amount, "known_to": at})
    });
    let Some(rows) = rows::written(rows) else { return Ok(()) };
    sqlx::query!(
        "insert into market_days select * from jsonb_populate_recordset(null::market_days, $1)
         on conflict (client_id, exchange, market, pair, day) do update
            set amount = excluded.amount, known_to = excluded.known_to",
        rows
    )
    .execute(db)
    .await
    .map(drop)
}

/// When a bot traded last; absent: it never did.
pub async fn last(db: &mut PgConnection, client: ClientId, bot: BotId) -> sqlx::Result<Option<Time>> {
    let last = sqlx::query_scalar!("select max(at) from trades where client_id = $1 and bot_id = $2", client.0, bot.0);
    Ok(last.fetch_one(db).await?.map(Time::from))
}

/// How many trades a window has to be made of.
pub async fn count(db: &mut PgConnection, client: ClientId, bot: BotId, from: Time, to: Time) -> sqlx::Result<i64> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
          from trades t
         where t.client_id = $1 and t.at >= $3 and t.at < $4
           and (t.exchange, t.market, t.pair) in (select o.exchange, o.market, o.pair
                                                    from trades o
                                                   where o.client_id = $1 and o.bot_id = $2)
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(from.midnight()),
        DateTime::<Utc>::from(end_of_day(to))
    );
    count.fetch_one(db).await
}

/// How a bot traded from one moment to before another.
pub async fn of_bot(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    from: Time,
    to: Time,
) -> Result<Figures, ProjectError> {
    let days = (from.midnight(), end_of_day(to));
    let trades = trades(db, client, bot, days).await?;
    let middles = middles(db, client, bot, (from, to)).await?;
    let beside =
        Beside { orders: orders(db, client, bot, days).await?, everybodys: everybodys(db, client, bot, days).await? };
    let exact = |cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() };
    let markets = figures::lines(bot, (from, to), days, (&trades, &middles, &beside)).map_err(exact)?;
    Ok(Figures { bot_id: bot, method: METHOD, from, to, days_from: days.0, days_to: days.1, markets })
}

/// All trades of the client where the bot traded, with what may be the other half of one.
async fn trades(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    (from, to): (Time, Time),
) -> sqlx::Result<Vec<Trade>> {
    let found = sqlx::query_scalar!(
        r#"
        select to_jsonb(t)::text as "row!"
          from trades t
         where t.client_id = $1 and t.at >= $3 and t.at < $4
           and (t.exchange, t.market, t.pair) in (select o.exchange, o.market, o.pair
                                                    from trades o
                                                   where o.client_id = $1 and o.bot_id = $2)
         order by t.at, t.seq
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(from.plus_micros(-AROUND_US)),
        DateTime::<Utc>::from(to.plus_micros(AROUND_US))
    )
    .fetch_all(db)
    .await?;
    Ok(found.iter().map(|row| rows::read(row)).collect())
}

/// Where the middle lay in the minutes of the bot's trades and those after them, and where it was seen last.
async fn middles(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    (from, to): (Time, Time),
) -> sqlx::Result<Vec<Middle>> {
    #[derive(Deserialize)]
    struct Minute {
        minute: Time,
        /// By milliseconds after its begin, in words: what is flattened knows no other names.
        middles: BTreeMap<String, Decimal>,
    }
    let found = sqlx::query_scalar!(
        r#"
        with traded as (
               select exchange, market, pair, at from trades where client_id = $1 and bot_id = $2),
             near as (
               select exchange, market, pair, date_trunc('minute', at, 'UTC') + k.n * interval '1 minute' as minute
                 from traded, generate_series(0, 1) k(n)
                where at >= $3 and at < $4
                union
               select exchange, market, pair, max(minute)
                 from middles
                where client_id = $1 and minute >= date_trunc('minute', $3::timestamptz, 'UTC') and minute < $4
                  and (exchange, market, pair) in (select exchange, market, pair from traded)
                group by exchange, market, pair)
        select jsonb_build_object('exchange', m.exchange, 'market', m.market, 'pair', m.pair, 'minute', m.minute,
                 'middles', m.middles)::text as "row!"
          from middles m
          join near using (exchange, market, pair, minute)
         where m.client_id = $1
         order by m.minute
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(from),
        DateTime::<Utc>::from(to)
    )
    .fetch_all(db)
    .await?;
    let of_minute = |At { venue, what: Minute { minute, middles } }: At<Minute>| {
        let middle = move |(since_ms, middle): (String, Decimal)| {
            let at = minute.plus_micros(since_ms.parse::<i64>().ok()? * 1_000);
            Some(Middle { venue: venue.clone(), at, middle })
        };
        middles.into_iter().filter_map(middle)
    };
    let mut middles: Vec<Middle> = found.iter().flat_map(|row| of_minute(rows::read(row))).collect();
    middles.sort_by_key(|middle| middle.at);
    Ok(middles)
}

/// What became of the orders of whole days, by market.
async fn orders(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    (from, to): (Time, Time),
) -> sqlx::Result<BTreeMap<Venue, Orders>> {
    let found = sqlx::query_scalar!(
        r#"
        select jsonb_build_object('exchange', exchange, 'market', market, 'pair', pair,
                 'placed', sum(placed)::bigint, 'cancelled', sum(cancelled)::bigint, 'rejected', sum(rejected)::bigint,
                 'placed_amount', trim_scale(sum(placed_amount))::text)::text as "row!"
          from order_days
         where client_id = $1 and bot_id = $2 and day >= $3 and day < $4
         group by exchange, market, pair
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(from),
        DateTime::<Utc>::from(to)
    )
    .fetch_all(db)
    .await?;
    Ok(found.iter().map(|row| rows::read::<At<Orders>>(row)).map(|At { venue, what }| (venue, what)).collect())
}

/// What everybody traded where a bot does, of the days of which that is known to their end.
async fn everybodys(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    (from, to): (Time, Time),
) -> sqlx::Result<BTreeMap<(Venue, Time), Decimal>> {
    #[derive(Deserialize)]
    struct Day {
        day: Time,
        amount: Decimal,
    }
    // One that was last looked at earlier is a part of a day.
    let found = sqlx::query_scalar!(
        r#"
        select jsonb_build_object('exchange', m.exchange, 'market', m.market, 'pair', m.pair, 'day', m.day,
                 'amount', trim_scale(m.amount)::text)::text as "row!"
          from market_days m
         where m.client_id = $1 and m.day >= $3 and m.day < $4
           and m.known_to >= m.day + interval '23 hours 50 minutes'
           and (m.exchange, m.market, m.pair) in (select t.exchange, t.market, t.pair
                                                    from trades t
                                                   where t.client_id = $1 and t.bot_id = $2
                                                   union
                                                  select o.exchange, o.market, o.pair
                                                    from order_days o
                                                   where o.client_id = $1 and o.bot_id = $2)
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(from),
        DateTime::<Utc>::from(to)
    )
    .fetch_all(db)
    .await?;
    let read = found.iter().map(|row| rows::read::<At<Day>>(row));
    Ok(read.map(|At { venue, what: Day { day, amount } }| ((venue, day), amount)).collect())
}

/// Something of one market.
#[derive(Deserialize)]
struct At<T> {
    #[serde(flatten)]
    venue: Venue,
    #[serde(flatten)]
    what: T,
}

/// The end of the last day that something before a moment lies in.
fn end_of_day(to: Time) -> Time {
    to.plus_micros(-1).midnight().plus_micros(DAY_US)
}

#[cfg(test)]
mod tests {
    use events::{
        AggregateRef, Amount, ClientId, Uuid,
        ledger::{Liquidity, Side},
    };

    use super::*;
    use crate::told::{Told, at};

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn fill(stream: &Told, price: &str) -> Fill {
        Fill {
            bot: stream.bot,
            account: ClientId(Uuid::from_u128(7)).into(),
            exchange: Exchange::Okx,
            market: Market::Spot,
            pair: "SOL-USDT".parse().unwrap(),
            side: Side::Buy,
            price: Price(d(price)),
            amount: Amount(d("2")),
            fees: None,
            liquidity: Liquidity::Maker,
            order: None,
            trade: "t1".parse().unwrap(),
            mid_at_fill: None,
            source: "test".into(),
            raw_hash: None,
            precision: None,
            at: at(1),
        }
    }

    #[test]
    fn trades_are_as_they_are_known_now() {
        let (mut stream, mut model) = (Told::default(), Trading::default());
        let (first, better) = (fill(&stream, "150"), fill(&stream, "151"));
        let of = || AggregateRef::ledger(ClientId(Uuid::from_u128(7)));
        for told in [
            LedgerEvent::FillRecorded(first.clone()),
            LedgerEvent::FillCorrected {
                corrects: 1,
                was: Box::new(first),
                fill: Box::new(better.clone()),
                reason: "exact".into(),
            },
        ] {
            model.fold(&stream.of(of(), told)).unwrap();
        }
        assert_eq!(model.trades[&1].as_ref().map(|fill| fill.price), Some(Price(d("151"))));
        let voided = LedgerEvent::FillVoided { voids: 1, was: Box::new(better), reason: "it never was".into() };
        model.fold(&stream.of(of(), voided)).unwrap();
        assert_eq!(model.trades[&1], None);
    }
}
