//! How deep the book was that a bot quoted in, and how much of it was its own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use events::{
    Asset, BotId, ClientId, Decimal, Exchange, Market, Pair, Time,
    bot::Venue,
    decimal::ArithmeticError,
    market::{DepthSum, MarketEvent, SlippageSum},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Except, Key, MINUTE_US, SHARE_PLACES, Share};
use crate::{projection::ProjectError, rows};

/// Depth within one distance of the middle, over a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Deep {
    /// How far from the middle, in bps.
    pub bps: u32,
    /// What was bid and offered, by everybody, in the quote asset.
    pub bid_quote: Mean,
    pub ask_quote: Mean,
    /// By the bot itself.
    pub own_bid_quote: Mean,
    pub own_ask_quote: Mean,
    /// Its own mean over everybody's; null: nothing stood there.
    pub own_bid_share: Option<Decimal>,
    pub own_ask_share: Option<Decimal>,
}

/// A mean over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mean {
    /// In the quote asset; null: nothing is known.
    pub value: Option<Decimal>,
    /// In the quote asset x microseconds.
    pub numerator_quote_us: Decimal,
    /// In microseconds.
    pub denominator_us: i64,
}

/// Time with so much of the bot's own on each of both sides near the middle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Size {
    /// How far from the middle, in bps.
    pub bps: u32,
    /// At least so much a side, in the quote asset.
    pub quote_amount: Decimal,
    /// Over the time that the bot's own orders were known beside the book.
    #[serde(flatten)]
    pub share: Share,
}

/// What depth a bot's book had in a window, all in one quote asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub quote: Option<Asset>,
    pub deep: Vec<Deep>,
    pub sizes: Vec<Size>,
    pub slippage: Vec<Slippage>,
}

/// What it cost to trade an amount at once, over a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Slippage {
    /// How much of the quote asset.
    pub quote_amount: u32,
    /// How far the mean price lay from the middle, to buy and to sell.
    pub buy_bps: MeanBps,
    pub sell_bps: MeanBps,
    /// How long the book was known, in microseconds. What a mean leaves out of it was too thin, or was not seen so deep.
    pub known_us: i64,
}

/// A mean over the time that the book was seen deep enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MeanBps {
    /// In bps of the middle; null: it never was.
    pub value: Option<Decimal>,
    /// In bps x microseconds.
    pub numerator_bps_us: Decimal,
    /// In microseconds.
    pub denominator_us: u64,
}

/// Minutes of depth that a batch brought.
#[derive(Debug, Default)]
pub(super) struct Depths {
    minutes: BTreeMap<Key, Sums>,
}

/// Over a minute or many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    known_us: i64,
    own_known_us: i64,
    within: BTreeMap<u32, DepthSum>,
    #[serde(default)]
    slippage: BTreeMap<u32, SlippageSum>,
    /// By distance, and by the highest step of amounts that was reached.
    #[serde(default)]
    sized: BTreeMap<u32, BTreeMap<Decimal, u64>>,
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

impl Depths {
    /// Takes a minute in.
    pub fn hear(&mut self, told: &MarketEvent) -> Result<(), String> {
        let MarketEvent::DepthMinute { bot, venue, known_us, own_known_us, within, slippage, sized_us, at, .. } = told
        else {
            return Ok(());
        };
        let us = |us: &u64| i64::try_from(*us).ok().filter(|us| *us <= MINUTE_US);
        let (Some(known_us), Some(own_known_us)) = (us(known_us), us(own_known_us)) else {
            return Err("a minute of depth is longer than a minute".to_owned());
        };
        if own_known_us > known_us || within.values().any(|sum| us(&sum.beyond_us).is_none_or(|us| us > known_us)) {
            return Err("a minute of depth knows more than was known".to_owned());
        }
        if slippage.values().any(|sum| sum.buy_us.max(sum.sell_us) > known_us.unsigned_abs()) {
            return Err("a minute of slippage is longer than what was known of it".to_owned());
        }
        if sized_us.values().any(|of| of.values().sum::<u64>() > own_known_us.unsigned_abs()) {
            return Err("a minute of sizes is longer than what was known of it".to_owned());
        }
        let (within, slippage, sized) = (within.clone(), slippage.clone(), sized_us.clone());
        let sums = Sums { known_us, own_known_us, within, slippage, sized };
        let minute = self.minutes.entry((*bot, venue.clone(), *at)).or_default();
        minute.add(&sums).map_err(|cause| cause.to_string())
    }

    /// Writes what it brought.
    pub async fn save(&mut self, db: &mut PgConnection, client: ClientId) -> Result<(), ProjectError> {
        let mut minutes = std::mem::take(&mut self.minutes);
        if minutes.is_empty() {
            return Ok(());
        }
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
            "delete from depth_minutes m using jsonb_populate_recordset(null::depth_minutes, $1) n
              where (m.client_id, m.bot_id, m.at, m.exchange, m.market, m.pair)
                  = (n.client_id, n.bot_id, n.at, n.exchange, n.market, n.pair)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into depth_minutes select * from jsonb_populate_recordset(null::depth_minutes, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

fn unkept(cause: ArithmeticError) -> ProjectError {
    ProjectError::Unfoldable { seq: 0, reason: cause.to_string() }
}

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
                 'sums', jsonb_build_object('known_us', m.known_us, 'own_known_us', m.own_known_us,
                   'within', m.within, 'slippage', m.slippage, 'sized', m.sized))::text as "row!"
          from depth_minutes m
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

/// How deep the book was in a window. A bot that went elsewhere is told of in the quote asset that it had last.
pub(super) async fn within(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    window: &Except,
) -> Result<Book, ProjectError> {
    let row = sqlx::query!(
        r#"
        with all_minutes as (
               select m.*, split_part(m.pair, '-', 2) as quote
                 from depth_minutes m
                where m.client_id = $1 and m.bot_id = $2 and m.at >= $3 and m.at < $4
                  and not exists (select from unnest($5::timestamptz[], $6::timestamptz[]) x(since, until)
                                   where m.at + interval '1 minute' > x.since and m.at < x.until)),
             minutes as (
               select * from all_minutes where quote = (select quote from all_minutes order by at desc limit 1)),
             -- A step that a minute does not name was beyond all of it.
             steps as (
               select key as step,
                      sum((value ->> 'bid_quote_us')::numeric)                  as bid_quote_us,
                      sum((value ->> 'ask_quote_us')::numeric)                  as ask_quote_us,
                      sum(coalesce(value ->> 'own_bid_quote_us', '0')::numeric) as own_bid_quote_us,
                      sum(coalesce(value ->> 'own_ask_quote_us', '0')::numeric) as own_ask_quote_us,
                      sum(m.known_us - coalesce(value ->> 'beyond_us', '0')::bigint)::bigint as seen_us
                 from minutes m, jsonb_each(m.within)
                group by key)
        select (select max(quote) from minutes) as quote,
               jsonb_build_object(
                 'known_us',     (select coalesce(sum(known_us), 0)::bigint from minutes),
                 'own_known_us', (select coalesce(sum(own_known_us), 0)::bigint from minutes),
                 'within', (
                   select coalesce(jsonb_object_agg(s.step, jsonb_build_object(
                            'bid_quote_us', s.bid_quote_us::text, 'ask_quote_us', s.ask_quote_us::text,
                            'own_bid_quote_us', s.own_bid_quote_us::text, 'own_ask_quote_us', s.own_ask_quote_us::text,
                            'beyond_us', (select sum(known_us) from minutes)::bigint - s.seen_us)), '{}')
                     from steps s),
                 'slippage', (
                   select coalesce(jsonb_object_agg(q.key, jsonb_build_object(
                            'buy_bps_us', q.buy_bps_us::text, 'buy_us', q.buy_us,
                            'sell_bps_us', q.sell_bps_us::text, 'sell_us', q.sell_us)), '{}')
                     from (select key,
                                  sum((value ->> 'buy_bps_us')::numeric)          as buy_bps_us,
                                  sum((value ->> 'buy_us')::bigint)::bigint       as buy_us,
                                  sum((value ->> 'sell_bps_us')::numeric)         as sell_bps_us,
                                  sum((value ->> 'sell_us')::bigint)::bigint      as sell_us
                             from minutes m, jsonb_each(m.slippage)
                            group by key) q),
                 'sized', (
                   select coalesce(jsonb_object_agg(q.step, q.sizes), '{}')
                     from (select step, jsonb_object_agg(size, us) as sizes
                             from (select s.key as step, z.key as size, sum(z.value::bigint)::bigint as us
                                     from minutes m, jsonb_each(m.sized) s, jsonb_each_text(s.value) z
                                    group by s.key, z.key) z
                            group by step) q))::text as "sums!"
        "#,
        client.0,
        bot.0,
        DateTime::<Utc>::from(window.begin),
        DateTime::<Utc>::from(window.end),
        &window.since(),
        &window.until()
    )
    .fetch_one(db)
    .await?;
    let sums: Sums = rows::read(&row.sums);
    let unreadable = |_| ProjectError::Unfoldable { seq: 0, reason: "its quote asset is none".to_owned() };
    let quote = row.quote.map(|quote| quote.parse()).transpose().map_err(unreadable)?;
    let (deep, sizes, slippage) = (sums.deep(), sums.sizes(), sums.slipped());
    Ok(Book { quote, deep: deep.map_err(unkept)?, sizes: sizes.map_err(unkept)?, slippage: slippage.map_err(unkept)? })
}

impl Sums {
    fn add(&mut self, other: &Self) -> Result<(), ArithmeticError> {
        // What one of the two does not name was beyond all of its time.
        let steps: BTreeSet<u32> = self.within.keys().chain(other.within.keys()).copied().collect();
        for step in steps {
            let of = |sums: &Self| sums.within.get(&step).copied().unwrap_or_else(|| beyond(sums.known_us));
            let both = added(of(self), of(other))?;
            self.within.insert(step, both);
        }
        for (amount, more) in &other.slippage {
            let sum = self.slippage.entry(*amount).or_default();
            *sum = sum.plus(*more).ok_or(ArithmeticError::Overflow)?;
        }
        for (bps, sizes) in &other.sized {
            let sum = self.sized.entry(*bps).or_default();
            sizes.iter().for_each(|(size, us)| *sum.entry(*size).or_default() += us);
        }
        self.known_us += other.known_us;
        self.own_known_us += other.own_known_us;
        Ok(())
    }

    /// Each size that was reached, the largest first, with all the time that it or a larger one was.
    fn sizes(&self) -> Result<Vec<Size>, ArithmeticError> {
        let of_step = |(bps, sizes): (&u32, &BTreeMap<Decimal, u64>)| {
            let (bps, mut lasted) = (*bps, 0);
            let each = sizes.iter().rev().map(|(quote_amount, us)| {
                lasted += us.cast_signed();
                Ok(Size { bps, quote_amount: *quote_amount, share: Share::of(lasted, self.own_known_us)? })
            });
            each.collect::<Vec<Result<Size, ArithmeticError>>>()
        };
        self.sized.iter().flat_map(of_step).collect()
    }

    fn slipped(&self) -> Result<Vec<Slippage>, ArithmeticError> {
        let each = self.slippage.iter().map(|(quote_amount, sum)| {
            let (buy_bps, sell_bps) =
                (MeanBps::of(sum.buy_bps_us, sum.buy_us)?, MeanBps::of(sum.sell_bps_us, sum.sell_us)?);
            Ok(Slippage { quote_amount: *quote_amount, buy_bps, sell_bps, known_us: self.known_us })
        });
        each.collect()
    }

    fn deep(&self) -> Result<Vec<Deep>, ArithmeticError> {
        let each = self.within.iter().map(|(bps, sum)| {
            let seen_us = self.known_us - sum.beyond_us.cast_signed();
            let (bid_quote, ask_quote) = (Mean::of(sum.bid_quote_us, seen_us)?, Mean::of(sum.ask_quote_us, seen_us)?);
            let own_bid_quote = Mean::of(sum.own_bid_quote_us, self.own_known_us)?;
            let own_ask_quote = Mean::of(sum.own_ask_quote_us, self.own_known_us)?;
            let (own_bid_share, own_ask_share) = (own_bid_quote.over(&bid_quote)?, own_ask_quote.over(&ask_quote)?);
            Ok(Deep { bps: *bps, bid_quote, ask_quote, own_bid_quote, own_ask_quote, own_bid_share, own_ask_share })
        });
        each.collect()
    }
}

fn beyond(us: i64) -> DepthSum {
    DepthSum { beyond_us: us.unsigned_abs(), ..DepthSum::default() }
}

fn added(one: DepthSum, other: DepthSum) -> Result<DepthSum, ArithmeticError> {
    Ok(DepthSum {
        bid_quote_us: one.bid_quote_us.plus(other.bid_quote_us)?.normalised(),
        ask_quote_us: one.ask_quote_us.plus(other.ask_quote_us)?.normalised(),
        own_bid_quote_us: one.own_bid_quote_us.plus(other.own_bid_quote_us)?.normalised(),
        own_ask_quote_us: one.own_ask_quote_us.plus(other.own_ask_quote_us)?.normalised(),
        beyond_us: one.beyond_us + other.beyond_us,
    })
}

impl MeanBps {
    fn of(numerator_bps_us: Decimal, denominator_us: u64) -> Result<Self, ArithmeticError> {
        let time = Decimal::from_int(denominator_us.cast_signed());
        let value = match denominator_us {
            0 => None,
            _ => Some(numerator_bps_us.divided_by(time)?.rounded(SHARE_PLACES).normalised()),
        };
        Ok(Self { value, numerator_bps_us, denominator_us })
    }
}

impl Mean {
    fn of(numerator_quote_us: Decimal, denominator_us: i64) -> Result<Self, ArithmeticError> {
        let mean = || numerator_quote_us.divided_by(Decimal::from_int(denominator_us));
        let value = match denominator_us {
            0 => None,
            _ => Some(mean()?.rounded(SHARE_PLACES).normalised()),
        };
        Ok(Self { value, numerator_quote_us, denominator_us })
    }

    /// This mean as a share of another; absent where one of them is not known, or the other is nothing.
    fn over(&self, all: &Self) -> Result<Option<Decimal>, ArithmeticError> {
        if self.denominator_us == 0 || all.numerator_quote_us.is_zero() {
            return Ok(None);
        }
        let of_this = self.numerator_quote_us.divided_by(Decimal::from_int(self.denominator_us))?;
        let share = of_this.mul_div(Decimal::from_int(all.denominator_us), all.numerator_quote_us)?;
        Ok(Some(share.rounded(SHARE_PLACES).normalised()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::{Told, at};

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn sum(bid: i64, own: i64, beyond_s: u64) -> DepthSum {
        let us = |quote: i64| Decimal::from_int(quote * 1_000_000);
        DepthSum {
            bid_quote_us: us(bid),
            own_bid_quote_us: us(own),
            beyond_us: beyond_s * 1_000_000,
            ..DepthSum::default()
        }
    }

    fn minute(known_s: u64, own_known_s: u64, within: &[(u32, DepthSum)]) -> MarketEvent {
        MarketEvent::DepthMinute {
            bot: Told::default().bot,
            venue: Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "BTC-USDT".parse().unwrap() },
            known_us: known_s * 1_000_000,
            own_known_us: own_known_s * 1_000_000,
            within: within.iter().copied().collect(),
            changes_left_out: None,
            slippage: BTreeMap::new(),
            sized_us: BTreeMap::new(),
            middles: BTreeMap::new(),
            best_bid: None,
            best_ask: None,
            at: at(0),
        }
    }

    fn check(given: &[MarketEvent], bps: u32) -> Deep {
        let mut depths = Depths::default();
        for told in given {
            depths.hear(told).unwrap();
        }
        let deep = depths.minutes.into_values().next().unwrap().deep().unwrap();
        deep.into_iter().find(|deep| deep.bps == bps).unwrap()
    }

    #[test]
    fn a_mean_is_over_the_time_that_the_book_was_seen_so_far_out() {
        let first = minute(40, 20, &[(50, sum(4_000, 200, 0)), (100, sum(3_000, 200, 10))]);
        let second = minute(20, 20, &[(50, sum(1_000, 200, 0))]);
        let near = check(&[first.clone(), second.clone()], 50);
        assert_eq!((near.bid_quote.value, near.bid_quote.denominator_us), (Some(d("83.333333333333")), 60_000_000));
        assert_eq!((near.own_bid_quote.value, near.own_bid_share), (Some(d("10")), Some(d("0.12"))));
        let far = check(&[first, second], 100);
        assert_eq!((far.bid_quote.value, far.bid_quote.denominator_us), (Some(d("100")), 30_000_000));
        assert_eq!((far.ask_quote.value, far.own_ask_share), (Some(d("0")), None));
    }

    #[test]
    fn a_size_lasted_as_long_as_it_or_a_larger_one_was_there() {
        let sized = |us: &[(&str, u64)]| {
            let sizes = us.iter().map(|(size, seconds)| (d(size), seconds * 1_000_000)).collect();
            let MarketEvent::DepthMinute { bot, venue, at, .. } = minute(60, 40, &[]) else { unreachable!() };
            MarketEvent::DepthMinute {
                bot,
                venue,
                known_us: 60_000_000,
                own_known_us: 40_000_000,
                within: BTreeMap::new(),
                changes_left_out: None,
                slippage: BTreeMap::new(),
                sized_us: [(100, sizes)].into(),
                middles: BTreeMap::new(),
                best_bid: None,
                best_ask: None,
                at,
            }
        };
        let mut depths = Depths::default();
        depths.hear(&sized(&[("500", 10), ("2000", 30)])).unwrap();
        depths.hear(&sized(&[("500", 5), ("1000", 15)])).unwrap();
        let sizes = depths.minutes.into_values().next().unwrap().sizes().unwrap();
        let told: Vec<_> = sizes.iter().map(|of| (of.quote_amount, of.share.value)).collect();
        let share = |text: &str| Some(d(text));
        assert_eq!(told, [(d("2000"), share("0.375")), (d("1000"), share("0.5625")), (d("500"), share("0.75"))]);
        assert!(Depths::default().hear(&sized(&[("500", 41)])).is_err());
    }

    #[test]
    fn a_minute_that_knows_more_than_was_known_is_refused() {
        for impossible in [minute(61, 0, &[]), minute(10, 11, &[]), minute(10, 0, &[(50, sum(1, 0, 11))])] {
            assert!(Depths::default().hear(&impossible).is_err(), "{impossible:?}");
        }
    }
}
