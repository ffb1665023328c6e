//! A client traded with itself, or looks as if it had.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event, TradeId,
    alert::{Labels, Severity},
    bot::Venue,
    ledger::{Fill, LedgerEvent, Side},
};
use serde::{Deserialize, Serialize};

use super::{Rule, Window, micros, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading, venue_of};

pub(crate) struct SelfMatch;

/// How long fills are remembered, and how many: the two halves of one trade may be told a quarter of an hour apart.
const REMEMBERED_US: i64 = 900_000_000;
const FILLS_MAX: usize = 1_000;

/// As much of a fill as it takes to see that another is its other half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Half {
    seq: u64,
    bot: BotId,
    side: Side,
    price: String,
    amount: String,
    trade: TradeId,
}

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sure {
    /// Bought and sold the same amount within a short time: a round trip that changed nothing.
    Weak,
    /// The same price and amount on both sides within moments.
    Strong,
    /// One trade of the exchange has both sides.
    Exact,
}

impl Rule for SelfMatch {
    const KIND: Kind = Kind {
        name: "self_match",
        version: 2,
        about: "fills of one client stand on both sides of one trade, or look as if they did",
        of: Of::Clients,
        names: Names::MARKET,
        parameters: &[
            number("strong_s", "s", ["0", "2", "60"], "how far apart the two halves of one price and amount may be"),
            number(
                "weak_s",
                "s",
                ["0", "10", "60"],
                "how far apart the two halves of a round trip may be; 0: they say nothing",
            ),
        ],
        ends: Ends::ByHand,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = BTreeMap<Venue, Window<Half>>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Ledger(LedgerEvent::FillRecorded(fill)) = &hearing.event.event else { return };
        let venue = venue_of(fill);
        let labels = Labels::at(&venue);
        let [strong, weak] = ["strong_s", "weak_s"].map(|name| micros(hearing.parameter(&labels, name)));
        let half = Half::of(fill, hearing.event.seq);
        let fills = memory.entry(venue.clone()).or_default();
        let met = fills.iter().rev().filter_map(|(at, other)| {
            let apart = (fill.at.micros() - at.micros()).abs();
            Some((half.meets(other, apart, strong, weak)?, apart, other))
        });
        let met = met.max_by_key(|(sure, ..)| *sure).map(|(sure, apart, other)| (sure, apart, other.clone()));
        fills.push(fill.at, half, REMEMBERED_US, FILLS_MAX);
        let Some((sure, apart, other)) = met else { return };
        let (what, most) = match sure {
            Sure::Exact => ("traded with itself", None),
            Sure::Strong => ("bought and sold at one price within moments", Some(strong)),
            Sure::Weak => ("went round without a net change", Some(weak)),
        };
        let shown = |us: i64| Decimal::new(us.into(), 6);
        let names = [fill.bot, other.bot].map(|bot| hearing.world.name(bot));
        let who = if names[0] == names[1] { names[0].clone() } else { names.join(" and ") };
        let summary = format!("{who} {what} in {}: {} at {}", venue.pair, fill.amount, fill.price);
        let reading = Reading::new(Condition::Above(Severity::Critical), summary)
            .with("apart", shown(apart), most.map(shown), "s")
            .with("amount", fill.amount.0, None, venue.pair.base())
            .with("price", fill.price.0, None, venue.pair.quote())
            .by([other.seq]);
        hearing.say(labels, reading);
    }
}

impl Half {
    fn of(fill: &Fill, seq: u64) -> Self {
        let Fill { bot, side, trade, .. } = fill.clone();
        let exact = |number: Decimal| number.normalised().to_string();
        Self { seq, bot, side, price: exact(fill.price.0), amount: exact(fill.amount.0), trade }
    }

    fn meets(&self, other: &Self, apart_us: i64, strong_us: i64, weak_us: i64) -> Option<Sure> {
        if self.side == other.side {
            return None;
        }
        let same = self.amount == other.amount;
        if self.trade == other.trade {
            Some(Sure::Exact)
        } else if same && self.price == other.price && apart_us <= strong_us {
            Some(Sure::Strong)
        } else if same && self.bot != other.bot && apart_us <= weak_us {
            Some(Sure::Weak)
        } else {
            None
        }
    }
}
