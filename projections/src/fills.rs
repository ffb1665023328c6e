//! Every fill as it is known now: what corrected or voided it stands beside it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use events::{
    Asset, BotId, ClientId, Decimal, Event, Exchange, Market, OrderId, Pair, Recorded, Time, TradeId,
    ledger::{Fee, Fill, LedgerEvent, Liquidity, Side},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    only::{Only, Window},
    projection::{ProjectError, Projection},
    rows,
};

/// Fills that a batch brought or changed.
#[derive(Debug, Default)]
pub struct Fills {
    changed: BTreeMap<u64, Row>,
}

/// A fill as it is known now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Known {
    /// The event that recorded it first.
    pub seq: u64,
    /// The exchange's time.
    pub at: Time,
    /// Whose order it was.
    pub bot_id: BotId,
    /// Where it was executed.
    pub exchange: Exchange,
    /// On which of its markets.
    pub market: Market,
    /// What was traded for what.
    pub pair: Pair,
    /// Which way the base asset went.
    pub side: Side,
    /// Of one unit of the base asset.
    pub price: Decimal,
    /// What the price, the quote amount and the mid are told in.
    pub quote_asset: Asset,
    /// How much of the base asset.
    pub amount: Decimal,
    /// What the amount is told in.
    pub base_asset: Asset,
    /// Price x amount.
    pub quote_amount: Decimal,
    /// Every charge; null: nobody knows them.
    pub fees: Option<Vec<Fee>>,
    /// Whether our order rested in the book.
    pub liquidity: Liquidity,
    /// Null while only a source without order ids knows it.
    pub order_id: Option<OrderId>,
    /// The exchange's own trade id.
    pub trade_id: TradeId,
    /// Middle of best bid and ask when it happened; null: the source did not tell.
    pub mid_at_fill: Option<Decimal>,
    /// Where we know it from.
    pub source: String,
    /// The last event that told it otherwise.
    pub corrected_by: Option<u64>,
    /// The event that says it never happened: it counts nowhere.
    pub voided_by: Option<u64>,
}

/// A fill and what became of it.
#[derive(Debug)]
struct Row {
    fill: Fill,
    corrected_by: Option<u64>,
    voided_by: Option<u64>,
}

impl Projection for Fills {
    const NAME: &'static str = "fills";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table fills (
          client_id    uuid        not null,
          seq          bigint      not null,              -- where it was recorded first
          at           timestamptz not null,              -- the exchange's time
          bot_id       uuid        not null,
          account      text        not null,
          exchange     text        not null,
          market       text        not null,
          pair         text        not null,
          side         text        not null,
          price        numeric     not null,
          amount       numeric     not null,
          fees         jsonb,                             -- null: nobody knows them
          liquidity    text        not null,
          order_id     text,
          trade_id     text        not null,
          mid_at_fill  numeric,
          source       text        not null,
          corrected_by bigint,                            -- the last event that told it otherwise
          voided_by    bigint,                            -- the event that says it never happened
          primary key (client_id, seq)
        );
        create index fills_by_time on fills (client_id, at desc, seq desc);
        create index fills_by_bot  on fills (client_id, bot_id, at desc, seq desc);
    "#;

    async fn open(_: &mut PgConnection, _: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self::default())
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Ledger(fact) = &event.event else { return Ok(()) };
        let (seq, row) = match fact {
            LedgerEvent::FillRecorded(fill) => {
                (event.seq, Row { fill: fill.clone(), corrected_by: None, voided_by: None })
            }
            LedgerEvent::FillCorrected { corrects, fill, .. } => {
                (*corrects, Row { fill: (**fill).clone(), corrected_by: Some(event.seq), voided_by: None })
            }
            LedgerEvent::FillVoided { voids, was, .. } => {
                (*voids, Row { fill: (**was).clone(), corrected_by: None, voided_by: Some(event.seq) })
            }
            LedgerEvent::FillDisputed { .. }
            | LedgerEvent::OpeningPosition { .. }
            | LedgerEvent::FundingPaid { .. }
            | LedgerEvent::TransferRecorded { .. }
            | LedgerEvent::FeeRateSupplied { .. } => return Ok(()),
        };
        let corrected_before = self.changed.get(&seq).and_then(|before| before.corrected_by);
        let corrected_by = row.corrected_by.or(corrected_before);
        self.changed.insert(seq, Row { corrected_by, ..row });
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return Ok(());
        }
        let each = |of: fn(&Fill) -> String| changed.values().map(|row| of(&row.fill)).collect::<Vec<String>>();
        let maybe = |of: fn(&Fill) -> Option<String>| changed.values().map(|row| of(&row.fill)).collect::<Vec<_>>();
        let seqs: Vec<i64> = changed.keys().map(|seq| *seq as i64).collect();
        let ats: Vec<DateTime<Utc>> = changed.values().map(|row| row.fill.at.into()).collect();
        let bots: Vec<uuid::Uuid> = changed.values().map(|row| row.fill.bot.0).collect();
        let corrected: Vec<Option<i64>> = changed.values().map(|row| row.corrected_by.map(|seq| seq as i64)).collect();
        let voided: Vec<Option<i64>> = changed.values().map(|row| row.voided_by.map(|seq| seq as i64)).collect();
        sqlx::query!(
            r#"
            insert into fills as f (client_id, seq, at, bot_id, account, exchange, market, pair, side, price, amount, fees,
                                    liquidity, order_id, trade_id, mid_at_fill, source, corrected_by, voided_by)
            select $1, seq, at, bot, account, exchange, market, pair, side, price::numeric, amount::numeric, fees::jsonb,
                   liquidity, order_id, trade_id, mid::numeric, source, corrected_by, voided_by
              from unnest($2::bigint[], $3::timestamptz[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
                          $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                          $16::text[], $17::text[], $18::bigint[], $19::bigint[])
                   n(seq, at, bot, account, exchange, market, pair, side, price, amount, fees, liquidity, order_id,
                     trade_id, mid, source, corrected_by, voided_by)
            on conflict (client_id, seq) do update
               set bot_id = excluded.bot_id, account = excluded.account, exchange = excluded.exchange,
                   market = excluded.market, pair = excluded.pair, side = excluded.side, price = excluded.price,
                   amount = excluded.amount, fees = excluded.fees, liquidity = excluded.liquidity,
                   order_id = excluded.order_id, trade_id = excluded.trade_id, mid_at_fill = excluded.mid_at_fill,
                   source = excluded.source, voided_by = excluded.voided_by,
                   corrected_by = coalesce(excluded.corrected_by, f.corrected_by)
            "#,
            client.0,
            &seqs,
            &ats,
            &bots,
            &each(|fill| fill.account.to_string()),
            &each(|fill| fill.exchange.to_string()),
            &each(|fill| fill.market.to_string()),
            &each(|fill| fill.pair.to_string()),
            &each(|fill| fill.side.to_string()),
            &each(|fill| fill.price.to_string()),
            &each(|fill| fill.amount.to_string()),
            &maybe(|fill| fill.fees.as_ref().map(rows::text)) as &[Option<String>],
            &each(|fill| fill.liquidity.to_string()),
            &maybe(|fill| fill.order.as_ref().map(OrderId::to_string)) as &[Option<String>],
            &each(|fill| TradeId::to_string(&fill.trade)),
            &maybe(|fill| fill.mid_at_fill.map(|mid| mid.to_string())) as &[Option<String>],
            &each(|fill| fill.source.clone()),
            &corrected as &[Option<i64>],
            &voided as &[Option<i64>],
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

/// A client's fills, newest first, after the one that stands at `after`; at most `most`.
pub async fn page(
    db: &mut PgConnection,
    client: ClientId,
    only: &Only,
    window: Window,
    after: Option<(Time, u64)>,
    most: u32,
) -> sqlx::Result<Vec<Known>> {
    let (at, seq) = after.unwrap_or((Time::END, i64::MAX as u64));
    let found = sqlx::query_scalar!(
        r#"
        select (to_jsonb(f) || jsonb_build_object(
                 'base_asset', split_part(f.pair, '-', 1), 'quote_asset', split_part(f.pair, '-', 2),
                 'quote_amount', trim_scale(f.price * f.amount)))::text as "row!"
          from fills f
         where f.client_id = $1
           and (f.at, f.seq) < ($2, $3)
           and f.at between $4 and $5
           and ($6::uuid is null or f.bot_id   = $6)
           and ($7::text is null or f.exchange = $7)
           and ($8::text is null or f.pair     = $8)
         order by f.at desc, f.seq desc
         limit $9
        "#,
        client.0,
        DateTime::<Utc>::from(at),
        seq as i64,
        DateTime::<Utc>::from(window.from),
        DateTime::<Utc>::from(window.to),
        only.bot.map(|bot| bot.0),
        only.exchange.map(Exchange::name),
        only.pair.as_ref().map(Pair::as_str),
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(found.iter().map(|row| rows::read(row)).collect())
}

/// Which of these trades a bot's fills hold already, by trade id and side, whatever is known of their orders. All
/// of them happened between `from` and `to`.
pub async fn known_trades(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    trades: &[TradeId],
    from: Time,
    to: Time,
) -> sqlx::Result<BTreeSet<(TradeId, Side)>> {
    let trades: Vec<String> = trades.iter().map(TradeId::to_string).collect();
    let rows = sqlx::query!(
        r#"
        select trade_id, side
          from fills
         where client_id = $1 and bot_id = $2 and at between $3 and $4 and trade_id = any($5)
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(from),
        DateTime::<Utc>::from(to),
        &trades
    )
    .fetch_all(db)
    .await?;
    let side = |text: &str| if text == "buy" { Side::Buy } else { Side::Sell };
    Ok(rows
        .into_iter()
        .map(|row| (row.trade_id.parse().expect("it was one when it was written"), side(&row.side)))
        .collect())
}
