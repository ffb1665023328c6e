//! Every order: what the exchange said of it, and how much of it was filled. What it filled is told by fills alone.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{
    Asset, BotId, ClientId, Decimal, Event, Exchange, Market, OrderId, Pair, Recorded, Time,
    bot::Venue,
    ledger::{Fill, LedgerEvent, Precision, Side},
    order::OrderEvent,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    only::Only,
    projection::{ProjectError, Projection},
    rows,
};

/// An order as it is known now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// The event that told of it first.
    pub seq: u64,
    /// Where it was placed.
    pub exchange: Exchange,
    /// On which of its markets.
    pub market: Market,
    /// What for what.
    pub pair: Pair,
    /// The exchange's own id.
    pub order_id: OrderId,
    /// Whose it is.
    pub bot_id: BotId,
    /// Which way the base asset goes.
    pub side: Option<Side>,
    /// Of one unit of the base asset; null: a market order, or known from its fills alone.
    pub price: Option<Decimal>,
    /// How much of the base asset; null: known from its fills alone.
    pub amount: Option<Decimal>,
    /// How exactly price and amount are known; null: to their last digit.
    pub precision: Option<Precision>,
    /// Null: known from its fills alone.
    pub placed_at: Option<Time>,
    /// How it ended; null: it has not, as far as we know.
    pub ended_as: Option<Ended>,
    /// When.
    pub ended_at: Option<Time>,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// How many fills it has.
    pub fills: i64,
    /// How much of the base asset they are of.
    pub filled: Decimal,
    /// What the amounts are told in.
    pub base_asset: Asset,
    /// What that cost or brought.
    pub filled_quote: Decimal,
    /// What the price and the filled quote are told in.
    pub quote_asset: Asset,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Cancelled,
    Filled,
    Rejected,
    Expired,
}

/// What a batch tells of orders.
#[derive(Debug, Default)]
pub struct Orders {
    told: BTreeMap<(Venue, OrderId), Told>,
}

/// What is new about one order; what is absent stays as it was.
#[derive(Debug, Default)]
struct Told {
    seq: u64,
    bot: Option<BotId>,
    side: Option<String>,
    price: Option<String>,
    amount: Option<String>,
    precision: Option<Precision>,
    placed_at: Option<Time>,
    ended: Option<(&'static str, Time)>,
    reason: Option<String>,
    fills: i64,
    filled: Decimal,
    filled_quote: Decimal,
}

impl Projection for Orders {
    const NAME: &'static str = "orders";
    const FOLD: u32 = 3;
    const TABLES: &'static str = r#"
        create table orders (
          client_id    uuid    not null,
          exchange     text    not null,
          market       text    not null,
          pair         text    not null,
          order_id     text    not null,
          seq          bigint  not null,                  -- the event that told of it first
          bot_id       uuid    not null,
          side         text,
          price        numeric,                           -- null: a market order, or known from its fills alone
          amount       numeric,                           -- null: known from its fills alone
          precision    text,                              -- 6dp: price and amount were cut; null: exact
          placed_at    timestamptz,                       -- null: known from its fills alone
          ended_as     text,                              -- cancelled, filled, rejected, expired; null: not ended
          ended_at     timestamptz,
          reason       text,                              -- why it was rejected
          fills        bigint  not null,
          filled       numeric not null,                  -- of the base asset
          filled_quote numeric not null,                  -- what that cost or brought
          primary key (client_id, exchange, market, pair, order_id)
        );
        create index orders_by_seq on orders (client_id, seq desc);
        create index orders_by_bot on orders (client_id, bot_id, seq desc);
        create index orders_open   on orders (client_id, seq desc) where ended_as is null;
    "#;

    async fn open(_: &mut PgConnection, _: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self::default())
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let unfoldable = |reason: String| ProjectError::Unfoldable { seq: event.seq, reason };
        let counted = match &event.event {
            Event::Order(order) => {
                let bot = event.aggregate.id.parse().map_err(|_| unfoldable("its bot's id is no id".to_owned()))?;
                self.hear(event.seq, bot, order);
                Ok(())
            }
            Event::Ledger(LedgerEvent::FillRecorded(fill)) => self.count(event.seq, fill, 1),
            Event::Ledger(LedgerEvent::FillCorrected { was, fill, .. }) => {
                self.count(event.seq, was, -1).and_then(|()| self.count(event.seq, fill, 1))
            }
            Event::Ledger(LedgerEvent::FillVoided { was, .. }) => self.count(event.seq, was, -1),
            Event::Ledger(_)
            | Event::Client(_)
            | Event::Bot(_)
            | Event::Market(_)
            | Event::Account(_)
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
            | Event::Desk(_) => Ok(()),
        };
        counted.map_err(|cause| unfoldable(cause.to_string()))
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        let told = std::mem::take(&mut self.told);
        if told.is_empty() {
            return Ok(());
        }
        let key = |of: fn(&Venue, &OrderId) -> String| told.keys().map(|(v, o)| of(v, o)).collect::<Vec<String>>();
        let maybe = |of: fn(&Told) -> Option<String>| told.values().map(of).collect::<Vec<Option<String>>>();
        let time = |of: fn(&Told) -> Option<Time>| told.values().map(|t| of(t).map(DateTime::<Utc>::from)).collect();
        let placed: Vec<Option<DateTime<Utc>>> = time(|told| told.placed_at);
        let ended: Vec<Option<DateTime<Utc>>> = time(|told| told.ended.map(|(_, at)| at));
        let bots: Vec<Option<uuid::Uuid>> = told.values().map(|told| told.bot.map(|bot| bot.0)).collect();
        let fills: Vec<i64> = told.values().map(|told| told.fills).collect();
        sqlx::query!(
            r#"
            insert into orders as o (client_id, exchange, market, pair, order_id, seq, bot_id, side, price, amount, precision,
                                     placed_at, ended_as, ended_at, reason, fills, filled, filled_quote)
            select $1, exchange, market, pair, order_id, seq, bot, side, price::numeric, amount::numeric, precision,
                   placed_at, ended_as, ended_at, reason, fills, filled::numeric, filled_quote::numeric
              from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::text[],
                          $10::timestamptz[], $11::text[], $12::timestamptz[], $13::text[], $14::bigint[], $15::text[],
                          $16::text[], $17::bigint[], $18::text[])
                   n(exchange, market, pair, order_id, bot, side, price, amount, placed_at, ended_as, ended_at, reason,
                     fills, filled, filled_quote, seq, precision)
            on conflict (client_id, exchange, market, pair, order_id) do update
               set bot_id       = excluded.bot_id,
                   side         = coalesce(excluded.side, o.side),
                   price        = coalesce(excluded.price, o.price),
                   amount       = coalesce(excluded.amount, o.amount),
                   precision    = coalesce(excluded.precision, o.precision),
                   placed_at    = coalesce(excluded.placed_at, o.placed_at),
                   ended_as     = coalesce(excluded.ended_as, o.ended_as),
                   ended_at     = coalesce(excluded.ended_at, o.ended_at),
                   reason       = coalesce(excluded.reason, o.reason),
                   fills        = o.fills + excluded.fills,
                   filled       = trim_scale(o.filled + excluded.filled),
                   filled_quote = trim_scale(o.filled_quote + excluded.filled_quote)
            "#,
            client.0,
            &key(|venue, _| venue.exchange.to_string()),
            &key(|venue, _| venue.market.to_string()),
            &key(|venue, _| venue.pair.to_string()),
            &key(|_, order| order.to_string()),
            &bots as &[Option<uuid::Uuid>],
            &maybe(|told| told.side.clone()) as &[Option<String>],
            &maybe(|told| told.price.clone()) as &[Option<String>],
            &maybe(|told| told.amount.clone()) as &[Option<String>],
            &placed as &[Option<DateTime<Utc>>],
            &maybe(|told| told.ended.map(|(how, _)| how.to_owned())) as &[Option<String>],
            &ended as &[Option<DateTime<Utc>>],
            &maybe(|told| told.reason.clone()) as &[Option<String>],
            &fills,
            &maybe(|told| Some(told.filled.to_string())) as &[Option<String>],
            &maybe(|told| Some(told.filled_quote.to_string())) as &[Option<String>],
            &told.values().map(|told| told.seq as i64).collect::<Vec<i64>>(),
            &maybe(|told| told.precision.map(written)) as &[Option<String>],
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

fn written(precision: Precision) -> String {
    match precision {
        Precision::SixPlaces => "6dp".to_owned(),
    }
}

impl Orders {
    /// What is new about an order; the first event that tells of it is its place in lists.
    fn told(&mut self, seq: u64, venue: Venue, order: OrderId) -> &mut Told {
        self.told.entry((venue, order)).or_insert_with(|| Told { seq, ..Told::default() })
    }

    fn hear(&mut self, seq: u64, bot: BotId, event: &OrderEvent) {
        let told = self.told(seq, event.venue().clone(), event.order().clone());
        told.bot = Some(bot);
        match event {
            OrderEvent::OrderPlaced { side, price, amount, precision, at, .. } => {
                told.side = Some(side.to_string());
                told.price = price.map(|price| price.to_string());
                told.amount = Some(amount.to_string());
                told.precision = *precision;
                told.placed_at = Some(*at);
            }
            OrderEvent::OrderCancelled { at, .. } => told.ended = Some(("cancelled", *at)),
            OrderEvent::OrderFilled { at, .. } => told.ended = Some(("filled", *at)),
            OrderEvent::OrderExpired { at, .. } => told.ended = Some(("expired", *at)),
            OrderEvent::OrderRejected { reason, at, .. } => {
                told.ended = Some(("rejected", *at));
                told.reason = Some(reason.clone());
            }
        }
    }

    /// Adds a fill to its order, or takes it away again.
    fn count(&mut self, seq: u64, fill: &Fill, times: i64) -> Result<(), events::decimal::ArithmeticError> {
        let Some(order) = fill.order.clone() else { return Ok(()) };
        let venue = Venue { exchange: fill.exchange, market: fill.market, pair: fill.pair.clone() };
        let told = self.told(seq, venue, order);
        let times_of = |value: Decimal| value.times(Decimal::from_int(times));
        told.bot = Some(fill.bot);
        told.side = Some(fill.side.to_string());
        told.fills += times;
        told.filled = told.filled.plus(times_of(fill.amount.0)?)?;
        told.filled_quote = told.filled_quote.plus(times_of(fill.price.times(fill.amount)?)?)?;
        Ok(())
    }
}

/// A client's orders, the one heard of last first, after the one that stands at `after`; at most `most`. `open`: only those
/// that were placed and have not ended.
pub async fn page(
    db: &mut PgConnection,
    client: ClientId,
    only: &Only,
    open: bool,
    after: Option<(u64, OrderId)>,
    most: u32,
) -> sqlx::Result<Vec<Order>> {
    let (seq, order) = after.map_or((i64::MAX as u64, String::new()), |(seq, order)| (seq, order.to_string()));
    let found = sqlx::query_scalar!(
        r#"
        select (to_jsonb(o) || jsonb_build_object(
                 'base_asset', split_part(o.pair, '-', 1), 'quote_asset', split_part(o.pair, '-', 2)))::text as "row!"
          from orders o
         where o.client_id = $1
           and (o.seq < $2 or o.seq = $2 and o.order_id > $3)
           and (not $4 or o.ended_as is null and o.placed_at is not null)
           and ($5::uuid is null or o.bot_id   = $5)
           and ($6::text is null or o.exchange = $6)
           and ($7::text is null or o.pair     = $7)
         order by o.seq desc, o.order_id
         limit $8
        "#,
        client.0,
        seq as i64,
        order,
        open,
        only.bot.map(|bot| bot.0),
        only.exchange.map(Exchange::name),
        only.pair.as_ref().map(Pair::as_str),
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(found.iter().map(|row| rows::read(row)).collect())
}

/// One order of a client by the exchange's own id.
pub async fn one(
    db: &mut PgConnection,
    client: ClientId,
    venue: &Venue,
    order: &OrderId,
) -> sqlx::Result<Option<Order>> {
    let found = sqlx::query_scalar!(
        r#"
        select (to_jsonb(o) || jsonb_build_object(
                 'base_asset', split_part(o.pair, '-', 1), 'quote_asset', split_part(o.pair, '-', 2)))::text as "row!"
          from orders o
         where o.client_id = $1
           and o.exchange  = $2
           and o.market    = $3
           and o.pair      = $4
           and o.order_id  = $5
        "#,
        client.0,
        venue.exchange.name(),
        venue.market.to_string(),
        venue.pair.as_str(),
        order.as_str()
    )
    .fetch_optional(db)
    .await?;
    Ok(found.map(|row| rows::read(&row)))
}
