//! Orders' lives that nobody could tell at the time, because the broker was away: read from the archive, where each order
//! stands with its last event. What a bot told itself is exact and stays; an order that ended has ended once.

use std::collections::HashMap;

use events::{AggregateRef, OrderId, ledger::Side, order::OrderEvent};
use hummingbot::ArchivedOrder;
use store::{Append, AppendError, Draft, Expected};

use crate::{
    facts::{Life, Owner, order_key, step_key},
    mandate::{HandError, Mandate},
    quarantine::{self, Stray},
};

/// Orders that are compared with the stream together.
const AT_ONCE: usize = 500;
const PLACED: &str = "OrderPlaced";

/// Records what an archive knows of orders' lives and the stream does not; how many steps that were. `sides`: on which
/// side orders stood, by their fills.
pub(crate) async fn restore(
    mandate: &Mandate,
    owner: &Owner,
    instance: &str,
    orders: &[ArchivedOrder],
    sides: &HashMap<OrderId, Side>,
) -> Result<u64, HandError> {
    let mut lives = Vec::with_capacity(orders.len());
    for told in orders {
        match owner.archived(told, sides.get(&told.order).copied()) {
            Ok(life) => lives.push((&told.order, life)),
            Err(reason) => {
                let (client, raw) = (mandate.client, told.raw.as_bytes());
                let stray = Stray { client, instance, source: "archive", reason, raw };
                quarantine::keep(&mandate.means.db, &mandate.means.streams, stray).await?;
            }
        }
    }
    let mut restored = 0;
    for lives in lives.chunks(AT_ONCE) {
        restored += add_missing(mandate, owner, lives).await?;
    }
    Ok(restored)
}

async fn add_missing(mandate: &Mandate, owner: &Owner, lives: &[(&OrderId, Life)]) -> Result<u64, HandError> {
    let streams = &mandate.means.streams;
    let keys =
        |order: &OrderId| OrderEvent::NAMES.iter().map(|name| step_key(owner.bot, order, name)).collect::<Vec<_>>();
    let keys: Vec<String> = lives.iter().flat_map(|(order, _)| keys(order)).collect();
    let stored = streams.stored_all(mandate.client, &keys).await?;
    let known = stored.chunks(OrderEvent::NAMES.len());
    let missing = lives.iter().zip(known).flat_map(|((_, life), known)| missing(life, known));
    let appends = missing.map(|event| append(mandate, owner, event)).collect();
    let mut added = 0;
    for outcome in streams.committer().append_all(appends).await {
        match outcome {
            Ok(receipt) => added += u64::from(!receipt.repeated),
            Err(AppendError::Stale { .. }) => return Err(HandError::Overtaken),
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(added)
}

/// The steps that are new. `known`: under which number each kind of step of this order is recorded.
fn missing(life: &Life, known: &[Option<u64>]) -> Vec<OrderEvent> {
    let is_known = |is_it: fn(&str) -> bool| {
        OrderEvent::NAMES.iter().zip(known).any(|(name, recorded)| is_it(name) && recorded.is_some())
    };
    let (is_placed, has_ended) = (is_known(|name| name == PLACED), is_known(|name| name != PLACED));
    let placed = life.placed.clone().filter(|_| !is_placed);
    placed.into_iter().chain(life.end.clone().filter(|_| !has_ended)).collect()
}

fn append(mandate: &Mandate, owner: &Owner, event: OrderEvent) -> Append {
    let key = Some(order_key(owner.bot, &event));
    Append {
        client: mandate.client,
        aggregate: AggregateRef::new("orders", owner.bot),
        expected: Expected::Any,
        events: vec![Draft { event: event.into(), key }],
        cause: mandate.cause(),
    }
}

#[cfg(test)]
mod tests {
    use events::{Amount, Exchange, Market, Price, Time, bot::Venue, ledger::Precision};

    use super::*;

    fn life() -> Life {
        let venue = || Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() };
        let (order, at): (OrderId, _) = ("o1".parse().unwrap(), Time::EPOCH);
        let placed = OrderEvent::OrderPlaced {
            order: order.clone(),
            venue: venue(),
            side: Side::Buy,
            price: Some(Price("150".parse().unwrap())),
            amount: Amount("2".parse().unwrap()),
            precision: Some(Precision::SixPlaces),
            at,
        };
        Life { placed: Some(placed), end: Some(OrderEvent::OrderFilled { order, venue: venue(), at }) }
    }

    /// The names of what is new, where these steps are known.
    fn check(known: &[&str], new: &[&str]) {
        let known: Vec<_> = OrderEvent::NAMES.iter().map(|name| known.contains(name).then_some(7)).collect();
        let names: Vec<_> = missing(&life(), &known).iter().map(OrderEvent::name).collect();
        assert_eq!(names, new);
    }

    #[test]
    fn what_the_bot_told_itself_stays_and_an_order_ends_once() {
        check(&[], &["OrderPlaced", "OrderFilled"]);
        check(&["OrderPlaced"], &["OrderFilled"]);
        check(&["OrderFilled"], &["OrderPlaced"]);
        check(&["OrderPlaced", "OrderCancelled"], &[]);
    }
}
