//! An exchange refuses many of a bot's orders.

use std::collections::BTreeMap;

use events::{Decimal, Event, alert::Labels, bot::Venue, order::OrderEvent};

use super::{Rule, Window, above, count, keep, number, wait};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading},
    exact::{minus, percent},
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
        let bad = count(orders.iter().filter(|(_, refused)| *refused).count());
        let Some(share) = percent(bad, count(orders.len())) else { return };
        let [many, least, clear] = ["share", "least", "clear_share"].map(|name| hearing.parameter(&labels, name));
        let condition = |share, bad| {
            let found = above(share, many, None, clear);
            if found != Condition::Clear && bad <= least { Condition::Between } else { found }
        };
        let now = condition(share, bad);
        let summary = format!("{} of the orders of {} in {} were refused", bad, hearing.world.name(bot), venue.pair);
        let mut reading = Reading::new(now, summary).with("share", share, Some(many), "%").with(
            "refused",
            bad,
            Some(least),
            "orders",
        );
        // Without another order, those that are in the window leave it one by one.
        let (mut last, mut bad) = (now, bad);
        for (at, was_refused, left) in orders.leaving(WINDOW_US) {
            bad = if *was_refused { minus(bad, Decimal::ONE) } else { bad };
            let becomes = percent(bad, count(left)).map_or(Condition::Clear, |share| condition(share, bad));
            if becomes != last && (left == 0 || matches!(now, Condition::Above(_))) {
                (reading, last) = (reading.then(at, becomes), becomes);
            }
        }
        hearing.say(labels, reading);
    }
}
