//! What a client holds on each exchange by its own ledger, what that is worth, and what was put in and taken out (R12).
//!
//! A perpetual's position and the money it moved stand in their own market, so equity = sum of holdings at their marks
//! holds for both markets by the identity R9.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{
    Asset, ClientId, Decimal, Event, Exchange, Market, Money, Pair, Price, Recorded, Time,
    decimal::ArithmeticError,
    ledger::{Fill, LedgerEvent, Side},
    market::MarketEvent,
};
use serde::Serialize;
use sqlx::PgConnection;

use crate::{
    projection::{ProjectError, Projection},
    rates::{Rates, convert, sum_known},
};

/// What a batch changes in a client's portfolio.
#[derive(Debug, Default)]
pub struct Portfolio {
    moved: BTreeMap<Place, Decimal>,
    flows: Vec<Flow>,
    marks: Vec<(Pair, Time, u64, Price)>,
}

/// Where a holding lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
pub struct Place {
    pub exchange: Exchange,
    pub market: Market,
    pub asset: Asset,
}

#[derive(Debug)]
struct Flow {
    seq: u64,
    at: Time,
    exchange: Exchange,
    asset: Asset,
    amount: Decimal,
}

impl Projection for Portfolio {
    const NAME: &'static str = "portfolio";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table holdings (
          client_id uuid    not null,
          exchange  text    not null,
          market    text    not null,
          asset     text    not null,
          amount    numeric not null,                     -- below zero: owed, or short
          primary key (client_id, exchange, market, asset)
        );
        create table flows (
          client_id  uuid        not null,
          seq        bigint      not null,
          at         timestamptz not null,
          exchange   text        not null,
          asset      text        not null,
          amount     numeric     not null,                -- below zero: a withdrawal
          worth_usdt numeric,                             -- at its time; null: no rate tells it
          primary key (client_id, seq)
        );
        create index flows_by_time on flows (client_id, at);
        create table marks (
          client_id uuid        not null,
          pair      text        not null,
          at        timestamptz not null,
          seq       bigint      not null,
          price     numeric     not null,
          primary key (client_id, pair, at, seq)
        );
    "#;

    async fn open(_: &mut PgConnection, _: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self::default())
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let folded = match &event.event {
            Event::Ledger(fact) => self.ledger(event.seq, fact),
            Event::Market(MarketEvent::MarkObserved { pair, price, at, .. }) => {
                self.marks.push((pair.clone(), *at, event.seq, *price));
                Ok(())
            }
            Event::Market(
                MarketEvent::QuoteObserved { .. }
                | MarketEvent::QuoteMinute { .. }
                | MarketEvent::QuotesUnknown { .. }
                | MarketEvent::DepthObserved { .. }
                | MarketEvent::DepthMinute { .. }
                | MarketEvent::VolumeObserved { .. },
            )
            | Event::Client(_)
            | Event::Bot(_)
            | Event::Order(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Manual(_)
            | Event::Desk(_)
            | Event::Account(_)
            | Event::Credential(_) => Ok(()),
        };
        folded.map_err(|cause| ProjectError::Unfoldable { seq: event.seq, reason: cause.to_string() })
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        let Self { moved, flows, marks } = std::mem::take(self);
        save_holdings(db, client, &moved).await?;
        let first_mark = marks.iter().map(|(_, at, ..)| *at).min();
        let first_flow = flows.iter().map(|flow| flow.at).min();
        save_marks(db, client, &marks).await?;
        save_flows(db, client, &flows).await?;
        // A flow is worth what was known at its time, late marks included.
        match [first_mark, first_flow].into_iter().flatten().min() {
            Some(from) => value_flows(db, client, from).await,
            None => Ok(()),
        }
    }
}

impl Portfolio {
    fn ledger(&mut self, seq: u64, fact: &LedgerEvent) -> Result<(), ArithmeticError> {
        match fact {
            LedgerEvent::FillRecorded(fill) => self.trade(fill, Decimal::ONE),
            LedgerEvent::FillCorrected { was, fill, .. } => {
                self.trade(was, -Decimal::ONE)?;
                self.trade(fill, Decimal::ONE)
            }
            LedgerEvent::FillVoided { was, .. } => self.trade(was, -Decimal::ONE),
            LedgerEvent::OpeningPosition { book, position, cost, .. } => {
                let (base, quote) = (book.pair.base_asset(), book.pair.quote_asset());
                self.add(book.exchange, book.market, base, *position)?;
                // A spot position was paid for before history began; a perpetual's cost is still to be settled.
                match book.market {
                    Market::Spot => Ok(()),
                    Market::Perp => self.add(book.exchange, book.market, quote, -*cost),
                }
            }
            LedgerEvent::FundingPaid { book, amount, asset, .. } => {
                self.add(book.exchange, book.market, asset.clone(), *amount)
            }
            LedgerEvent::TransferRecorded { exchange, asset, amount, at, .. } => {
                self.flows.push(Flow { seq, at: *at, exchange: *exchange, asset: asset.clone(), amount: *amount });
                self.add(*exchange, Market::Spot, asset.clone(), *amount)
            }
            LedgerEvent::FillDisputed { .. } | LedgerEvent::FeeRateSupplied { .. } => Ok(()),
        }
    }

    /// Base in, quote out, or the other way round; every fee leaves in its own asset. `times` is minus one to undo.
    fn trade(&mut self, fill: &Fill, times: Decimal) -> Result<(), ArithmeticError> {
        let (base, quote) = (fill.pair.base_asset(), fill.pair.quote_asset());
        let sign = match fill.side {
            Side::Buy => times,
            Side::Sell => -times,
        };
        self.add(fill.exchange, fill.market, base, fill.amount.0.times(sign)?)?;
        self.add(fill.exchange, fill.market, quote, fill.price.times(fill.amount)?.times(-sign)?)?;
        for fee in fill.fees.iter().flatten() {
            self.add(fill.exchange, fill.market, fee.asset.clone(), fee.amount.times(-times)?)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        exchange: Exchange,
        market: Market,
        asset: Asset,
        amount: Decimal,
    ) -> Result<(), ArithmeticError> {
        let sum = self.moved.entry(Place { exchange, market, asset }).or_default();
        *sum = sum.plus(amount)?;
        Ok(())
    }
}

async fn save_holdings(
    db: &mut PgConnection,
    client: ClientId,
    moved: &BTreeMap<Place, Decimal>,
) -> Result<(), ProjectError> {
    if moved.is_empty() {
        return Ok(());
    }
    let of = |text: fn(&Place) -> String| moved.keys().map(text).collect::<Vec<String>>();
    let amounts: Vec<String> = moved.values().map(ToString::to_string).collect();
    sqlx::query!(
        r#"
        insert into holdings as h (client_id, exchange, market, asset, amount)
        select $1, exchange, market, asset, amount::numeric
          from unnest($2::text[], $3::text[], $4::text[], $5::text[]) n(exchange, market, asset, amount)
        on conflict (client_id, exchange, market, asset) do update
           set amount = trim_scale(h.amount + excluded.amount)
        "#,
        client.0,
        &of(|place| place.exchange.to_string()),
        &of(|place| place.market.to_string()),
        &of(|place| place.asset.to_string()),
        &amounts
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn save_marks(
    db: &mut PgConnection,
    client: ClientId,
    marks: &[(Pair, Time, u64, Price)],
) -> Result<(), ProjectError> {
    if marks.is_empty() {
        return Ok(());
    }
    let pairs: Vec<String> = marks.iter().map(|(pair, ..)| pair.to_string()).collect();
    let ats: Vec<DateTime<Utc>> = marks.iter().map(|(_, at, ..)| (*at).into()).collect();
    let seqs: Vec<i64> = marks.iter().map(|(_, _, seq, _)| *seq as i64).collect();
    let prices: Vec<String> = marks.iter().map(|(.., price)| price.to_string()).collect();
    sqlx::query!(
        r#"
        insert into marks (client_id, pair, at, seq, price)
        select $1, pair, at, seq, price::numeric
          from unnest($2::text[], $3::timestamptz[], $4::bigint[], $5::text[]) n(pair, at, seq, price)
        "#,
        client.0,
        &pairs,
        &ats,
        &seqs,
        &prices
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn save_flows(db: &mut PgConnection, client: ClientId, flows: &[Flow]) -> Result<(), ProjectError> {
    for flow in flows {
        sqlx::query!(
            r#"
            insert into flows (client_id, seq, at, exchange, asset, amount)
            values ($1, $2, $3, $4, $5, $6::text::numeric)
            "#,
            client.0,
            flow.seq as i64,
            DateTime::<Utc>::from(flow.at),
            flow.exchange.name(),
            flow.asset.as_str(),
            flow.amount.to_string()
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Values every flow at or after a moment anew.
async fn value_flows(db: &mut PgConnection, client: ClientId, from: Time) -> Result<(), ProjectError> {
    let flows = sqlx::query!(
        r#"
        select seq, at, asset, amount::text as "amount!"
          from flows
         where client_id = $1 and at >= $2
        "#,
        client.0,
        DateTime::<Utc>::from(from)
    )
    .fetch_all(&mut *db)
    .await?;
    for flow in flows {
        let rates = rates(db, client, flow.at.into()).await?;
        let asset: Asset = flow.asset.parse().expect("it was an asset when it was recorded");
        let amount: Decimal = flow.amount.parse().expect("a numeric is a decimal");
        let worth = convert(amount, &asset, &Asset::usdt(), |pair| rates.of(pair))
            .map_err(|cause| ProjectError::Unfoldable { seq: flow.seq as u64, reason: cause.to_string() })?;
        sqlx::query!(
            "update flows set worth_usdt = $3::text::numeric where client_id = $1 and seq = $2",
            client.0,
            flow.seq,
            worth.map(|worth| worth.to_string())
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// The rates that were known at a moment: of each pair the last one, of one moment the later in the stream.
async fn rates(db: &mut PgConnection, client: ClientId, at: Time) -> sqlx::Result<Rates> {
    let rows = sqlx::query!(
        r#"
        with recursive pairs as (
          (select pair from marks where client_id = $1 order by pair limit 1)
          union all
          select (select m.pair from marks m where m.client_id = $1 and m.pair > p.pair order by m.pair limit 1)
            from pairs p
           where p.pair is not null)
        select p.pair as "pair!", l.price as "price!"
          from pairs p
         cross join lateral (
               select m.price::text as price
                 from marks m
                where m.client_id = $1 and m.pair = p.pair and m.at <= $2
                order by m.at desc, m.seq desc
                limit 1) l
        "#,
        client.0,
        DateTime::<Utc>::from(at)
    )
    .fetch_all(db)
    .await?;
    let mut rates = Rates::default();
    for row in rows {
        let pair = row.pair.parse().expect("it was a pair when it was recorded");
        rates.observe(pair, Price(row.price.parse().expect("a numeric is a decimal")));
    }
    Ok(rates)
}

/// A client's holdings and what they came to, at the newest marks.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Summary {
    pub holdings: Vec<Holding>,
    /// All holdings in USDT; null where one has no rate.
    pub equity: Option<Money>,
    /// Deposits less withdrawals, each valued when it happened; null where one could not be.
    pub net_flows: Option<Money>,
    /// Equity less net flows.
    pub pnl: Option<Money>,
}

/// So much of an asset on one exchange.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Holding {
    #[serde(flatten)]
    pub place: Place,
    pub amount: Decimal,
    /// In USDT; null where no rate tells it.
    pub worth: Option<Money>,
}

/// What a client holds now.
pub async fn summary(db: &mut PgConnection, client: ClientId) -> Result<Summary, ProjectError> {
    let exact = |cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() };
    let rates = rates(db, client, Time::END).await?;
    let mut holdings = Vec::new();
    let mut equity = Some(Decimal::ZERO);
    for (place, amount) in held(db, client).await? {
        let worth = convert(amount, &place.asset, &Asset::usdt(), |pair| rates.of(pair)).map_err(exact)?;
        equity = sum_known(equity, worth).map_err(exact)?;
        holdings.push(Holding { place, amount, worth: worth.map(usdt) });
    }
    let flows = net_flows(db, client).await?;
    let pnl = sum_known(equity, flows.map(|flows| -flows)).map_err(exact)?;
    Ok(Summary { holdings, equity: equity.map(usdt), net_flows: flows.map(usdt), pnl: pnl.map(usdt) })
}

fn usdt(amount: Decimal) -> Money {
    Money { amount, asset: Asset::usdt() }
}

async fn held(db: &mut PgConnection, client: ClientId) -> sqlx::Result<BTreeMap<Place, Decimal>> {
    let rows = sqlx::query!(
        r#"select exchange, market, asset, amount::text as "amount!" from holdings where client_id = $1 and amount <> 0"#,
        client.0
    )
    .fetch_all(db)
    .await?;
    let known = "it was one when it was recorded";
    let place = |exchange: &str, market: &str, asset: &str| Place {
        exchange: exchange.parse().expect(known),
        market: market.parse().expect(known),
        asset: asset.parse().expect(known),
    };
    let one = |text: &str| text.parse::<Decimal>().expect("a numeric is a decimal");
    Ok(rows.iter().map(|row| (place(&row.exchange, &row.market, &row.asset), one(&row.amount))).collect())
}

async fn net_flows(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Option<Decimal>> {
    let row = sqlx::query!(
        r#"
        select coalesce(trim_scale(sum(worth_usdt)), 0)::text as "worth!", count(*) filter (where worth_usdt is null) as "unknown!"
          from flows
         where client_id = $1
        "#,
        client.0
    )
    .fetch_one(db)
    .await?;
    Ok((row.unknown == 0).then(|| row.worth.parse().expect("a numeric is a decimal")))
}
