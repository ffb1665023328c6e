//! What becomes of orders that were placed by hand: their fills, their lives, their ends.
//!
//! The server's rows are wrong now and then, and it loses fills that come within 10 ms of acceptance. So an amount comes
//! from fills alone, and three signs together tell an end: the row's word where it says that something happened (it never
//! says so wrongly), the list of orders that the server holds open, and the sum of the fills. Where they do not agree for
//! longer than a fill may take, the bot has a gap that stays until the ledger holds what is missing.
//!
//! One loss leaves no sign: part of an order executed within those 10 ms, the rest cancelled before a look in between.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use domain::{
    bot::Sight,
    manual::{ManualDeed, ManualOrder, Wanted},
};
use events::{
    AggregateRef, Decimal, Exchange, ManualId, Market, OrderId, Time, TradeId, ledger::Fill, manual::HowEnded,
    order::OrderEvent,
};
use hummingbot::{ConnectorName, Order, OrderStatus, Trade, Window};
use projections::{orders, versions};
use store::{Append, AppendError, Draft, Expected, read};

use tracing::info;

use super::{CLOCKS_APART_US, all, is_like, tell};
use crate::{
    facts::{Owner, order_key},
    keep,
    mandate::{HandError, Mandate},
    quarantine::{self, Stray},
};

/// So many times as long as a call is waited for, one that was given up may still land.
const LANDS_WITHIN: u32 = 10;

/// What is remembered from look to look; a new process looks once more.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Fills that are in the ledger.
    kept: HashSet<(OrderId, TradeId)>,
    /// Since when an order's signs do not agree, or its last fills are waited for.
    waits: HashMap<ManualId, Instant>,
}

/// Everything that the server says of one account's manual orders on one connector.
struct Told {
    active: BTreeSet<OrderId>,
    rows: HashMap<OrderId, Order>,
    trades: Vec<Trade>,
}

/// A sign that an order is over, or that it was filled without a word.
enum Sign {
    Goes,
    /// It is over, and all of it is accounted for.
    Over(HowEnded),
    /// It is over as soon as nothing more can come of it.
    OverSoon(HowEnded),
    /// Fills are missing, unless they come soon.
    Lacks(Option<HowEnded>, String),
}

/// Whether something may still be learnt of an order by looking.
pub(crate) fn is_watched(order: &ManualOrder, patience: Duration) -> bool {
    order.is_open() || order.missing().is_some() || may_come_to_light(order, patience)
}

/// Whether an order that was given up may still show: a call that nobody answered lands sooner or later, or never.
fn may_come_to_light(order: &ManualOrder, patience: Duration) -> bool {
    order.is_unknown() && order.started().is_some_and(|started| Time::now() < lands_until(started, patience))
}

fn lands_until(started: Time, patience: Duration) -> Time {
    started.plus_micros(i64::try_from((patience * LANDS_WITHIN).as_micros()).unwrap_or(i64::MAX))
}

/// One look at all manual orders of which something may be learnt.
pub(crate) async fn look(
    mandate: &Mandate,
    all: &BTreeMap<ManualId, ManualOrder>,
    memory: &mut Memory,
) -> Result<(), HandError> {
    let patience = mandate.means.settings.deploy_max;
    let needed = |order: &&ManualOrder| is_watched(order, patience);
    let places: BTreeSet<(Exchange, Market)> = all
        .values()
        .filter(needed)
        .filter_map(|order| order.wanted().map(|wanted| (wanted.venue.exchange, wanted.venue.market)))
        .collect();
    for (exchange, market) in places {
        let here: BTreeMap<&ManualId, &ManualOrder> = all
            .iter()
            .filter(|(_, order)| {
                order.wanted().is_some_and(|wanted| (wanted.venue.exchange, wanted.venue.market) == (exchange, market))
            })
            .collect();
        let since = here.values().copied().filter(needed).filter_map(ManualOrder::started).min();
        let Some(since) = since else { continue };
        let told = ask(mandate, &ConnectorName::of(exchange, market), since).await?;
        keep_fills(mandate, &here, &told.trades, memory).await?;
        let unknown = |order: &ManualOrder| may_come_to_light(order, patience);
        come_to_light(mandate, here.iter().filter(|(_, order)| unknown(order)), &told).await?;
        for (id, order) in here.into_iter().filter(|(_, order)| needed(order)) {
            judge(mandate, *id, order, &told, memory).await?;
        }
    }
    Ok(())
}

/// Fills are asked for last: what the other two know by then is among them, or is missing.
async fn ask(mandate: &Mandate, connector: &ConnectorName, since: Time) -> Result<Told, HandError> {
    let (hummingbot, account) = (&mandate.means.hummingbot, mandate.account());
    let window = Window::new(since.plus_micros(-CLOCKS_APART_US), Time::now().plus_micros(CLOCKS_APART_US));
    let active = hummingbot.active_orders(&account, connector).await?;
    let rows = hummingbot.orders(&account, connector, window).await?;
    let trades = hummingbot.trades(&account, connector, window).await?;
    Ok(Told {
        active: active.into_iter().map(|row| row.order).collect(),
        rows: rows.into_iter().map(|row| (row.order.clone(), row)).collect(),
        trades,
    })
}

/// An order that was given up is the one row that looks like it, that no order claims, and that may be no other's: one under
/// way has its row before it has its answer.
async fn come_to_light<'a>(
    mandate: &Mandate,
    unknown: impl Iterator<Item = (&'a &'a ManualId, &'a &'a ManualOrder)>,
    told: &Told,
) -> Result<(), HandError> {
    let unknown: Vec<(ManualId, &ManualOrder)> = unknown.map(|(id, order)| (**id, *order)).collect();
    if unknown.is_empty() || told.rows.is_empty() {
        return Ok(());
    }
    // Read after the rows: whoever has a row among them stands in the stream.
    let known = all(mandate).await?;
    let patience = mandate.means.settings.deploy_max;
    let may_be = |row: &Order, order: &ManualOrder| {
        let (Some(wanted), Some(started)) = (order.wanted(), order.started()) else { return false };
        is_like(row, wanted)
            && row.created_at >= started.plus_micros(-CLOCKS_APART_US)
            && row.created_at <= lands_until(started, patience)
    };
    let claims = |row: &Order, order: &ManualOrder| {
        order.order() == Some(&row.order) || order.is_under_way() && may_be(row, order)
    };
    let free: Vec<&Order> = told.rows.values().filter(|row| !known.values().any(|order| claims(row, order))).collect();
    for (id, order) in &unknown {
        let rows: Vec<&&Order> = free.iter().filter(|row| may_be(row, order)).collect();
        let [row] = rows[..] else { continue };
        if unknown.iter().any(|(other, order)| other != id && may_be(row, order)) {
            continue;
        }
        info!(manual.id = %id, order = %row.order, "order {id}, which was given up as unknown, has landed");
        tell(mandate, *id, ManualDeed::Found { order: row.order.clone() }).await?;
    }
    Ok(())
}

fn owner(mandate: &Mandate, wanted: &Wanted) -> Owner {
    Owner { bot: wanted.bot, account: mandate.account(), venue: wanted.venue.clone() }
}

/// Each fill goes to the bot whose manual order it is of. While an order is looked for, a fill of an unknown one may be
/// its own, and waits; after that it is nobody's, and kept aside.
async fn keep_fills(
    mandate: &Mandate,
    here: &BTreeMap<&ManualId, &ManualOrder>,
    trades: &[Trade],
    memory: &mut Memory,
) -> Result<(), HandError> {
    let patience = mandate.means.settings.deploy_max;
    let searching = here.values().any(|order| order.is_under_way() || may_come_to_light(order, patience));
    let mut fills: Vec<(Fill, &Trade)> = Vec::new();
    let mut strays: Vec<(&Trade, String)> = Vec::new();
    for trade in trades.iter().filter(|trade| !memory.kept.contains(&(trade.order.clone(), trade.key.clone()))) {
        let of = here.values().find(|order| order.order() == Some(&trade.order)).and_then(|order| order.wanted());
        match of.map(|wanted| owner(mandate, wanted).api_fill(trade, wanted.order_type)) {
            Some(Ok(fill)) => fills.push((fill, trade)),
            Some(Err(reason)) => strays.push((trade, reason)),
            None if searching => continue,
            None => strays.push((trade, format!("no manual order of ours is {}", trade.order))),
        }
    }
    let told: Vec<_> = trades.iter().map(|trade| (trade.order.clone(), trade.key.clone())).collect();
    let known = |order: &OrderId| here.values().any(|manual| manual.order() == Some(order));
    if !fills.is_empty() {
        let (fills, rows): (Vec<Fill>, Vec<&Trade>) = fills.into_iter().unzip();
        let kept = keep::fills(mandate, &mandate.gate.close().await, fills).await?;
        strays.extend(kept.impossible.into_iter().map(|(place, reason)| (rows[place], reason)));
    }
    for (trade, reason) in strays {
        set_aside(mandate, reason, trade.raw.as_bytes()).await?;
    }
    memory.kept.extend(told.into_iter().filter(|(order, _)| known(order) || !searching));
    Ok(())
}

async fn set_aside(mandate: &Mandate, reason: String, raw: &[u8]) -> Result<(), HandError> {
    let stray = Stray { client: mandate.client, instance: "", source: "api", reason, raw };
    quarantine::keep(&mandate.means.db, &mandate.means.streams, stray).await
}

async fn judge(
    mandate: &Mandate,
    id: ManualId,
    manual: &ManualOrder,
    told: &Told,
    memory: &mut Memory,
) -> Result<(), HandError> {
    let (Some(wanted), Some(order)) = (manual.wanted(), manual.order()) else { return Ok(()) };
    let of_it = told.trades.iter().filter(|trade| trade.order == *order);
    let filled = of_it.fold(Decimal::ZERO, |sum, trade| sum.plus(trade.amount.0).unwrap_or(sum));
    if manual.missing().is_some() {
        explain(mandate, id, manual, wanted, order).await?;
    }
    if !manual.is_open() {
        return Ok(());
    }
    let row = told.rows.get(order);
    note_placed(mandate, wanted, order, row).await?;
    let waited = match sign(wanted, row, told.active.contains(order), filled) {
        Sign::Goes => {
            memory.waits.remove(&id);
            return Ok(());
        }
        Sign::Over(how) => return end(mandate, id, wanted, order, row, how, filled).await,
        sign @ (Sign::OverSoon(_) | Sign::Lacks(..)) => {
            let since = *memory.waits.entry(id).or_insert_with(Instant::now);
            if since.elapsed() < mandate.means.settings.fills_within {
                return Ok(());
            }
            sign
        }
    };
    memory.waits.remove(&id);
    match waited {
        Sign::OverSoon(how) => end(mandate, id, wanted, order, row, how, filled).await,
        Sign::Lacks(how, reason) => {
            let since = manual.started().unwrap_or(wanted.at);
            if tell(mandate, id, ManualDeed::FillsMissing { filled, reason: reason.clone() }).await? {
                mandate.saw(wanted.bot, Sight::Gap { since, reason }).await?;
            }
            match how {
                Some(how) => end(mandate, id, wanted, order, row, how, filled).await,
                None => Ok(()),
            }
        }
        Sign::Goes | Sign::Over(_) => Ok(()),
    }
}

/// What the row, the list of open orders and the fills say together.
fn sign(wanted: &Wanted, row: Option<&Order>, is_active: bool, filled: Decimal) -> Sign {
    let whole = filled >= wanted.amount.0;
    if whole {
        return Sign::Over(HowEnded::Filled);
    }
    let lacks = |says: &str| format!("a manual order {says}, but fills tell of {filled} of {} only", wanted.amount);
    match row.map(|row| &row.status) {
        Some(OrderStatus::Failed) => Sign::Over(HowEnded::Rejected),
        Some(OrderStatus::Cancelled) => Sign::OverSoon(HowEnded::Cancelled),
        Some(OrderStatus::Filled) => Sign::Lacks(Some(HowEnded::Filled), lacks("was filled")),
        Some(OrderStatus::PartiallyFilled) if is_active && filled.is_zero() => {
            Sign::Lacks(None, lacks("was filled in part"))
        }
        Some(
            OrderStatus::Submitted
            | OrderStatus::Open
            | OrderStatus::PartiallyFilled
            | OrderStatus::PendingCancel
            | OrderStatus::Other(_),
        )
        | None
            if is_active =>
        {
            Sign::Goes
        }
        Some(
            OrderStatus::Submitted
            | OrderStatus::Open
            | OrderStatus::PartiallyFilled
            | OrderStatus::PendingCancel
            | OrderStatus::Other(_),
        )
        | None => Sign::Lacks(Some(HowEnded::Vanished), lacks("is open no longer and was not seen to be cancelled")),
    }
}

/// The exchange has taken it, or the row says that something came of it.
async fn note_placed(
    mandate: &Mandate,
    wanted: &Wanted,
    order: &OrderId,
    row: Option<&Order>,
) -> Result<(), HandError> {
    let taken = row.filter(|row| match row.status {
        OrderStatus::Submitted | OrderStatus::Failed | OrderStatus::Other(_) => false,
        OrderStatus::Open
        | OrderStatus::PartiallyFilled
        | OrderStatus::PendingCancel
        | OrderStatus::Filled
        | OrderStatus::Cancelled => true,
    });
    let Some(row) = taken else { return Ok(()) };
    let (order, venue, at) = (order.clone(), wanted.venue.clone(), row.created_at);
    let (side, price, amount) = (wanted.side, Some(wanted.price), wanted.amount);
    note(mandate, wanted, OrderEvent::OrderPlaced { order, venue, side, price, amount, precision: None, at }).await
}

async fn end(
    mandate: &Mandate,
    id: ManualId,
    wanted: &Wanted,
    order: &OrderId,
    row: Option<&Order>,
    ended: HowEnded,
    filled: Decimal,
) -> Result<(), HandError> {
    let (order, venue) = (order.clone(), wanted.venue.clone());
    let at = row.map_or_else(Time::now, |row| row.updated_at);
    let life = match ended {
        HowEnded::Filled => Some(OrderEvent::OrderFilled { order, venue, at }),
        HowEnded::Cancelled => Some(OrderEvent::OrderCancelled { order, venue, at }),
        HowEnded::Rejected => {
            let reason = row.and_then(|row| row.error.clone());
            let reason = reason.unwrap_or_else(|| "the exchange gave no reason".to_owned());
            Some(OrderEvent::OrderRejected { order, venue, reason, at })
        }
        // What became of it nobody knows; the gap says so.
        HowEnded::Vanished => None,
    };
    if let Some(life) = life {
        note(mandate, wanted, life).await?;
    }
    tell(mandate, id, ManualDeed::Ended { ended, filled }).await.map(drop)
}

async fn note(mandate: &Mandate, wanted: &Wanted, event: OrderEvent) -> Result<(), HandError> {
    let key = Some(order_key(wanted.bot, &event));
    let append = Append {
        client: mandate.client,
        aggregate: AggregateRef::new("orders", wanted.bot),
        expected: Expected::Any,
        events: vec![Draft { event: event.into(), key }],
        cause: mandate.cause(),
    };
    match mandate.means.streams.committer().append(append).await {
        Ok(_) => Ok(()),
        Err(AppendError::Stale { .. }) => Err(HandError::Overtaken),
        Err(cause) => Err(cause.into()),
    }
}

/// Whether the ledger holds by now what was missing, wherever it was learnt from; until then the gap stays.
async fn explain(
    mandate: &Mandate,
    id: ManualId,
    manual: &ManualOrder,
    wanted: &Wanted,
    order: &OrderId,
) -> Result<(), HandError> {
    let mut tx = mandate.means.query.begin().await?;
    read::for_client(&mut tx, mandate.client).await?;
    versions::use_live(&mut tx).await?;
    let known = orders::one(&mut tx, mandate.client, &wanted.venue, order).await?;
    let filled = known.map_or(Decimal::ZERO, |known| known.filled);
    let is_there = match manual.ended() {
        Some(_) => filled >= wanted.amount.0,
        None => manual.missing().is_some_and(|before| filled > before),
    };
    let explained = is_there || manual.is_settled();
    if explained {
        tell(mandate, id, ManualDeed::FillsExplained { filled }).await?;
        // A running bot's gap is healed by the next comparison of its history.
        if mandate.bot(wanted.bot).await?.instance().is_none() {
            mandate.saw(wanted.bot, Sight::GapHealed { until: Time::now(), fills: 0 }).await?;
        }
        return Ok(());
    }
    // Another gap of the bot may have been open before, and healed since.
    let since = manual.started().unwrap_or(wanted.at);
    let reason = "fills of a manual order are missing".to_owned();
    mandate.saw(wanted.bot, Sight::Gap { since, reason }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Amount, BotId, Price, Uuid, bot::Venue, ledger::Side, manual::RestingType};

    fn wanted() -> Wanted {
        Wanted {
            bot: BotId(Uuid::from_u128(1)),
            venue: Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() },
            side: Side::Buy,
            order_type: RestingType::LimitMaker,
            price: Price(Decimal::from_int(150)),
            amount: Amount(Decimal::from_int(2)),
            at: Time::EPOCH,
        }
    }

    fn row(status: OrderStatus) -> Order {
        Order {
            account: "a".parse().unwrap(),
            connector: ConnectorName::of(Exchange::Okx, Market::Spot),
            order: "o1".parse().unwrap(),
            exchange_order: None,
            pair: None,
            side: None,
            order_type: None,
            amount: Amount(Decimal::from_int(2)),
            price: None,
            status,
            error: None,
            created_at: Time::EPOCH,
            updated_at: Time::EPOCH,
        }
    }

    fn signs(status: OrderStatus, is_active: bool, filled: i64) -> &'static str {
        match sign(&wanted(), Some(&row(status)), is_active, Decimal::from_int(filled)) {
            Sign::Goes => "goes",
            Sign::Over(_) => "over",
            Sign::OverSoon(_) => "over soon",
            Sign::Lacks(None, _) => "lacks, goes on",
            Sign::Lacks(Some(_), _) => "lacks",
        }
    }

    #[test]
    fn fills_alone_say_that_an_order_was_filled_and_an_end_without_them_is_a_lack() {
        assert_eq!(signs(OrderStatus::Open, true, 0), "goes");
        assert_eq!(signs(OrderStatus::Open, true, 2), "over", "the row is behind");
        assert_eq!(signs(OrderStatus::Filled, false, 2), "over");
        assert_eq!(signs(OrderStatus::Filled, false, 1), "lacks");
        assert_eq!(signs(OrderStatus::Open, false, 0), "lacks", "the row is stuck, and nobody told of a fill");
        assert_eq!(signs(OrderStatus::PartiallyFilled, true, 0), "lacks, goes on");
        assert_eq!(signs(OrderStatus::PartiallyFilled, true, 1), "goes");
        assert_eq!(signs(OrderStatus::Cancelled, false, 1), "over soon");
        assert_eq!(signs(OrderStatus::Failed, false, 0), "over");
    }
}
