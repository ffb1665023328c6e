//! An exchange refuses many of a bot's orders.

use std::collections::BTreeMap;

use events::{
    Event, Time,
    alert::{Labels, Severity},
    bot::Venue,
    order::OrderEvent,
};

use super::{Rule, Window, count, keep, micros, number, wait};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading},
    exact::percent,
};

pub(crate) struct OrderRejectRate;

const WINDOW_US: i64 = 300_000_000;
const ORDERS_MAX: usize = 20_000;

impl Rule for OrderRejectRate {
    const KIND: Kind = Kind {
        name: "order_reject_rate",
        version: 2,
        about: "of the orders that a bot placed within five minutes the exchange refused too many",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("share", "%", ["0", "10", "100"], "a larger part refused is too many"),
            number("least", "orders", ["0", "10", "100000"], "so few refused are never too many"),
            number("clear_share", "%", ["0", "3", "100"], "a smaller part refused is well").up_to("share"),
            wait("60"),
            keep("0"),
        ],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    /// Whether each order was refused.
    type Memory = BTreeMap<(String, Venue), Window<bool>>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Order(told) = &hearing.event.event else { return };
        let refused = match told {
            OrderEvent::OrderPlaced { .. } => false,
            OrderEvent::OrderRejected { .. } => true,
            OrderEvent::OrderCancelled { .. } | OrderEvent::OrderFilled { .. } | OrderEvent::OrderExpired { .. } => {
                return;
            }
        };
        let (id, venue) = (hearing.event.aggregate.id.clone(), told.venue().clone());
        let Ok(bot) = id.parse() else { return };
        let labels = Labels::of(bot, &venue);
        let orders = memory.entry((id, venue.clone())).or_default();
        orders.push(hearing.at, refused, WINDOW_US, ORDERS_MAX);
        let bad = orders.iter().filter(|(_, refused)| *refused).count();
        let Some(share) = percent(count(bad), count(orders.len())) else { return };
        let [many, least, clear] = ["share", "least", "clear_share"].map(|name| hearing.parameter(&labels, name));
        let steps = Steps { many: micros(many), clear: micros(clear), least: micros(least) };
        let now = steps.reading(bad, orders.len());
        let summary = format!("{} of the orders of {} in {} were refused", bad, hearing.world.name(bot), venue.pair);
        let reading = Reading::new(now, summary).with("share", share, Some(many), "%").with(
            "refused",
            count(bad),
            Some(least),
            "orders",
        );
        let turns = turns(orders, (bad, now), &steps);
        let reading = turns.into_iter().fold(reading, |reading, (at, becomes)| reading.then(at, becomes));
        hearing.say(labels, reading);
    }
}

/// What is held against what was refused, in millionths: whole numbers, because many orders are gone through at each event.
struct Steps {
    many: i64,
    clear: i64,
    least: i64,
}

impl Steps {
    fn reading(&self, refused: usize, all: usize) -> Condition {
        let (refused, all) = (refused as i128 * 1_000_000, all as i128);
        if 100 * refused > i128::from(self.many) * all && refused > i128::from(self.least) {
            Condition::Above(Severity::Warning)
        } else if all == 0 || 100 * refused < i128::from(self.clear) * all {
            Condition::Clear
        } else {
            Condition::Between
        }
    }
}

/// What becomes of it without another order: those that are in the window leave it one by one.
fn turns(orders: &Window<bool>, (mut refused, mut last): (usize, Condition), steps: &Steps) -> Vec<(Time, Condition)> {
    let mut turns = Vec::new();
    let is_above = matches!(last, Condition::Above(_));
    for (at, was_refused, left) in orders.leaving(WINDOW_US) {
        refused -= usize::from(*was_refused);
        // Only what is too much now is gone through; and it does not become so again.
        let becomes = if is_above || left == 0 { steps.reading(refused, left) } else { last };
        if becomes != last && !matches!(becomes, Condition::Above(_)) {
            turns.push((at, becomes));
            last = becomes;
        }
        if last == Condition::Clear && is_above {
            break;
        }
    }
    turns
}
